//! Sectors: what a card, a partition or an image file is to everything above.
//!
//! - [`FileDev`]: an image file or a block device, written past the page cache where that is possible.
//! - [`CountDev`]: counts what passes through. [`RamDev`]: a medium in memory that logs, fails and forgets, for tests.
//! - [`SectorCache`]: a write-back cache with the reading, writing and seeking traits that `fatfs` asks for.
//!
//! A write is durable when a later [`BlockDev::flush`] has returned. Nothing here retries.

mod cache;
mod count;
mod error;
mod fault;
mod file;
mod ram;
mod system;

use std::io;

pub use cache::SectorCache;
pub use count::{CountDev, IoCounts};
pub use error::OpenError;
pub use fault::Fault;
pub use file::{Access, FileDev};
pub use ram::{DevOperation, RamDev, RamImage};
pub use system::erase_bytes_of;

/// Bytes of a sector.
pub const SECTOR_BYTES: usize = 512;
/// Writes smaller than this cost a card as much as this: one flash page.
pub const SMALL_WRITE_BYTES: usize = 16 * 1024;

/// Shape of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DevGeometry {
    /// Sectors of 512 bytes.
    pub sectors: u64,
    /// Erase or allocation unit, bytes; 0 when the device does not tell.
    pub erase_bytes: u32,
    /// A whole disk, as opposed to a partition or an image file: people expect a partition table on it.
    pub whole_disk: bool,
    /// Where a partition starts on its disk, sectors; 0 otherwise.
    pub start: u64,
}

/// A device of 512-byte sectors. Reads may happen beside writes; one object writes at a time.
pub trait BlockDev {
    /// Its shape.
    fn geometry(&self) -> DevGeometry;

    /// How messages call it: a path.
    fn name(&self) -> String;

    /// Fills `buf`, a whole number of sectors, from sector `lba`.
    ///
    /// # Errors
    /// The device failed, or the range lies outside.
    fn read(&self, lba: u64, buf: &mut [u8]) -> io::Result<()>;

    /// Says that these bytes will be read soon. Only a hint.
    fn will_read(&self, lba: u64, bytes: usize) {
        let _ = (lba, bytes);
    }

    /// Writes `bytes`, a whole number of sectors, at sector `lba`; durable after [`BlockDev::flush`].
    ///
    /// # Errors
    /// The device failed, or the range lies outside.
    fn write(&mut self, lba: u64, bytes: &[u8]) -> io::Result<()>;

    /// Returns when everything written before is durable.
    ///
    /// # Errors
    /// The device failed; what was written since the last successful flush is then unknown.
    fn flush(&mut self) -> io::Result<()>;

    /// Tells the device that `sectors` from `lba` hold nothing of value; what they hold afterwards is undefined.
    ///
    /// # Errors
    /// The device failed or knows no discard; nothing depends on it.
    fn discard(&mut self, lba: u64, sectors: u64) -> io::Result<()>;

    /// As [`BlockDev::read`], from the medium itself where caches can be passed by.
    ///
    /// # Errors
    /// As [`BlockDev::read`].
    fn read_through(&self, lba: u64, buf: &mut [u8]) -> io::Result<()> {
        self.read(lba, buf)
    }

    /// Whether what was opened is still what its name means. Costs a system call.
    ///
    /// # Errors
    /// It is gone, or something else is there now.
    fn is_there(&self) -> io::Result<()> {
        Ok(())
    }

    /// Lets go of what was opened, so that others can have it.
    fn close(&mut self) {}

    /// Lets go of what was opened and opens what the name means now. After an error nothing is open.
    ///
    /// # Errors
    /// Nothing there, or nothing that can be opened.
    fn reopen(&mut self) -> Result<(), OpenError> {
        Ok(())
    }
}

/// Sectors touched by `bytes` bytes at `lba`, checked against a device of `sectors`.
fn check(lba: u64, bytes: usize, sectors: u64) -> io::Result<()> {
    let whole = bytes % SECTOR_BYTES == 0;
    let end = lba.checked_add((bytes / SECTOR_BYTES) as u64);
    if whole && end.is_some_and(|end| end <= sectors) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{bytes} bytes at sector {lba} of {sectors}")))
}
