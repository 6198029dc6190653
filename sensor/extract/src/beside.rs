//! A result file that appears whole or not at all: written beside its name, synced, then renamed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file under construction. Dropped before [`Beside::finish`], it is removed again.
#[derive(Debug)]
pub struct Beside {
    file: Option<File>,
    path: PathBuf,
    part: PathBuf,
}

impl Beside {
    /// Starts `path`; what stands there stays until the new file is whole.
    ///
    /// # Errors
    /// When nothing can be created in the directory of `path`.
    pub fn create(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let mut part = name.to_owned();
        part.push(format!(".{}.part", std::process::id()));
        let part = path.with_file_name(part);
        let file = File::create_new(&part)?;
        Ok(Self { file: Some(file), path: path.to_owned(), part })
    }

    /// Makes the file appear under its name.
    ///
    /// # Errors
    /// When it cannot be synced or renamed; then nothing appears.
    pub fn finish(mut self) -> io::Result<()> {
        if let Some(file) = self.file.take() {
            let done = file.sync_all().and_then(|()| fs::rename(&self.part, &self.path));
            if done.is_err() {
                // The first error is the one to report.
                let _ = fs::remove_file(&self.part);
            }
            return done;
        }
        Ok(())
    }
}

impl Write for Beside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_mut().map_or_else(|| Err(io::ErrorKind::NotConnected.into()), |file| file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // Nobody is left to tell; the name says what it is.
            let _ = fs::remove_file(&self.part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("case.pcap");
        fs::write(&path, "old").unwrap();
        let mut file = Beside::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        let mut file = Beside::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        assert!(Beside::create(&path).is_err(), "two at once");
        file.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
