//! Files that only their owner may read.

use std::fmt::Display;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::exit::Failure;

/// Says that something is the matter with `path`.
pub(crate) fn at(path: &Path, error: &dyn Display) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
}

/// Refuses to go on where one of `paths` exists already.
pub(crate) fn none_exists<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Result<(), Failure> {
    match paths.into_iter().find(|path| path.symlink_metadata().is_ok()) {
        Some(path) => Err(Failure::new(format!("{} exists; --overwrite replaces it", path.display()))),
        None => Ok(()),
    }
}

/// Writes a file that only its owner may read, and has it on the medium. One that is there is replaced.
pub(crate) fn write(path: &Path, content: &str) -> Result<(), Failure> {
    // A file of somebody else's permissions must not keep them.
    remove(path)?;
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error: io::Error| at(path, &error))
}

/// Removes a file; one that is not there is no error.
pub(crate) fn remove(path: &Path) -> Result<(), Failure> {
    fs::remove_file(path).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(at(path, &error)),
    })
}
