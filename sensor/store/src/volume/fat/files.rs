//! Small files on the card, through `fatfs` behind the sector cache. Never while recording: whoever calls holds the device.
//!
//! `fatfs` is not `Send`, so it lives inside these functions only.

use std::io::{self, Read, Write};

use embedded_io_adapters::std::ToStd;
use fatfs::{FileSystem, FsOptions};

use super::error::{FatError, dev_error};
use super::layout::Layout;
use crate::volume::block::{BlockDev, SectorCache};

/// A file or directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Bytes.
    pub bytes: u64,
    /// Is a directory.
    pub directory: bool,
}

type Stream<'s, 'a, D> = &'s mut ToStd<SectorCache<'a, D>>;

fn with<D: BlockDev, T>(
    dev: &mut D,
    base: u64,
    layout: &Layout,
    what: &'static str,
    act: impl FnOnce(&FileSystem<Stream<'_, '_, D>>) -> io::Result<T>,
) -> Result<T, FatError> {
    let name = dev.name();
    let cache = SectorCache::new(dev, base, layout.sectors.into(), layout.data_start());
    let mut stream = ToStd::new(cache);
    // Without its `chrono` feature `fatfs` knows no time, and so leaves directory times alone.
    let options = FsOptions::new().update_accessed_date(false);
    let run = || {
        let fs = FileSystem::new(&mut stream, options)?;
        let done = act(&fs)?;
        // It writes FSInfo and the clean flag, but does not flush.
        fs.unmount()?;
        stream.flush()?;
        Ok(done)
    };
    run().map_err(dev_error(what, name))
}

/// What a directory holds, as `fatfs` reads it: "" is the root.
///
/// # Errors
/// The volume cannot be mounted or read.
pub fn list(
    dev: &mut impl BlockDev,
    base: u64,
    layout: &Layout,
    path: &str,
) -> Result<Vec<Listed>, FatError> {
    with(dev, base, layout, "list", |fs| {
        let root = fs.root_dir();
        let dir = if path.is_empty() { root } else { root.open_dir(path)? };
        let mut listed = Vec::new();
        for entry in dir.iter() {
            let entry = entry?;
            let name = entry.file_name();
            if name != "." && name != ".." {
                listed.push(Listed { name, bytes: entry.len(), directory: entry.is_dir() });
            }
        }
        Ok(listed)
    })
}

/// Reads a file of at most `most` bytes.
///
/// # Errors
/// There is no such file, or the volume cannot be read.
pub fn read(
    dev: &mut impl BlockDev,
    base: u64,
    layout: &Layout,
    path: &str,
    most: u64,
) -> Result<Vec<u8>, FatError> {
    with(dev, base, layout, "read a file on", |fs| {
        let mut bytes = Vec::new();
        fs.root_dir().open_file(path)?.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    })
}

/// Writes a small file into the room that the ring leaves free; one of that name is replaced.
///
/// # Errors
/// No room, or the volume cannot be written.
pub fn write(
    dev: &mut impl BlockDev,
    base: u64,
    layout: &Layout,
    path: &str,
    bytes: &[u8],
) -> Result<(), FatError> {
    with(dev, base, layout, "write a file on", |fs| {
        let mut file = fs.root_dir().create_file(path)?;
        file.truncate()?;
        file.write_all(bytes)?;
        file.flush()
    })
}
