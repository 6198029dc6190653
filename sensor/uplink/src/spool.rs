//! Results on their way: one file per job in the spool directory, bounded, hashed while it is written, removed when
//! delivered or expired.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use hindcap_wire::message::{Chunk, Sha256, Ulid};
use sha2::Digest as _;

/// Name of a result that is being written or delivered; the job's identifier stands before it.
const SUFFIX: &str = ".result";

/// A result while a job writes it. Implements [`Write`]; writing more than its bound is an error.
pub struct Spool {
    file: io::BufWriter<File>,
    path: RemovedLater,
    hash: sha2::Sha256,
    written: u64,
    most: u64,
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Spool({}, {} of at most {} bytes)", self.path.0.display(), self.written, self.most)
    }
}

impl Spool {
    /// Makes the file for `job` in `dir`, for at most `most` bytes.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(dir: &Path, job: Ulid, most: u64) -> io::Result<Self> {
        let path = dir.join(format!("{job}{SUFFIX}"));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        let file = io::BufWriter::with_capacity(64 * 1024, file);
        Ok(Self { file, path: RemovedLater(path), hash: sha2::Sha256::default(), written: 0, most })
    }

    /// Bytes written so far.
    #[must_use]
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// The most bytes that may be written; stop at a packet before it and say so in the answer.
    #[must_use]
    pub const fn most(&self) -> u64 {
        self.most
    }

    /// Ends writing.
    ///
    /// # Errors
    /// When the last bytes cannot be written.
    pub fn finish(mut self) -> io::Result<Spooled> {
        self.file.flush()?;
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Spooled {
            file,
            _path: self.path,
            bytes: self.written,
            sha256: Sha256(self.hash.finalize().into()),
        })
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written.saturating_add(bytes.len() as u64) > self.most {
            let words = format!("the result is larger than the {} bytes that may be spooled", self.most);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, words));
        }
        let count = self.file.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A file that is removed when this is dropped.
#[derive(Debug)]
struct RemovedLater(PathBuf);

impl Drop for RemovedLater {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A finished result. The file is removed when this is dropped.
#[derive(Debug)]
pub struct Spooled {
    file: File,
    _path: RemovedLater,
    bytes: u64,
    sha256: Sha256,
}

impl Spooled {
    /// Its length.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Hash of its bytes.
    #[must_use]
    pub const fn sha256(&self) -> Sha256 {
        self.sha256
    }

    /// Chunk `index` of `chunk_bytes` each.
    pub(crate) fn chunk(&mut self, job: Ulid, index: u32, chunk_bytes: u32) -> io::Result<Chunk> {
        let start = u64::from(index) * u64::from(chunk_bytes);
        let length = self.bytes.saturating_sub(start).min(chunk_bytes.into());
        self.file.seek(SeekFrom::Start(start))?;
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.file.read_exact(&mut bytes)?;
        Ok(Chunk::new(job, index, bytes))
    }
}

/// Makes the spool directory and removes what an earlier run left in it.
pub(crate) fn prepare(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(SUFFIX)) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: Ulid = Ulid(5);

    #[test]
    fn chunks_are_the_bytes_and_the_file_goes() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::create(dir.path(), JOB, 1000).unwrap();
        let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
        spool.write_all(&bytes).unwrap();
        let mut spooled = spool.finish().unwrap();
        assert_eq!(spooled.sha256().0, <[u8; 32]>::from(sha2::Sha256::digest(&bytes)));
        let read: Vec<u8> =
            (0..4).flat_map(|index| spooled.chunk(JOB, index, 300).unwrap().bytes.0).collect();
        assert_eq!((read, spooled.bytes()), (bytes, 1000));
        drop(spooled);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_spool_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::create(dir.path(), JOB, 10).unwrap();
        spool.write_all(&[0; 10]).unwrap();
        let error = spool.write_all(&[0; 1]).unwrap_err();
        drop(spool);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(error.to_string(), "the result is larger than the 10 bytes that may be spooled");
    }

    #[test]
    fn leftovers_are_removed_and_other_files_are_not() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x.result"), "x").unwrap();
        fs::write(dir.path().join("notes"), "x").unwrap();
        prepare(dir.path()).unwrap();
        let left: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["notes"]);
    }
}
