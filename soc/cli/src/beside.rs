//! Files that appear whole or not at all: written beside their place, then renamed.

use std::fmt::Display;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::exit::Failure;

/// Makes the file `to` of what `fill` writes. Whatever goes wrong, nothing of the new one is left and an older one stays.
///
/// # Errors
/// The file cannot be made, or `fill` fails; the message names the file.
pub(crate) fn write<T>(to: &Path, fill: impl FnOnce(&mut File) -> Result<T, Failure>) -> Result<T, Failure> {
    let fail = |error: &dyn Display| Failure::new(format!("{}: {error}", to.display()));
    // As any file that is made, less the umask; a temporary file is private otherwise.
    let mut builder = tempfile::Builder::new();
    let mut beside = builder
        .prefix(".hindcap-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder(to))
        .map_err(|error| fail(&error))?;
    let done = fill(beside.as_file_mut())
        .map_err(|failure| Failure { message: fail(&failure.message).message, ..failure })?;
    beside.as_file().sync_all().map_err(|error| fail(&error))?;
    beside.persist(to).map_err(|error| fail(&error.error))?;
    Ok(done)
}

/// The folder that a file lies in, or will.
pub(crate) fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
