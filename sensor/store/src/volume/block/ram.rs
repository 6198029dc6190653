//! A medium in memory that logs every write and flush, fails on demand, and can be put back into any state that a power
//! cut may have left. Blocks are shared between copies until they are written, so that thousands of states are cheap.

use std::collections::BTreeMap;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{BlockDev, DevGeometry, Fault, SECTOR_BYTES, check};

/// Bytes that are shared or copied together.
const BLOCK: usize = 16 * 1024;
const BLOCK_SECTORS: u64 = (BLOCK / SECTOR_BYTES) as u64;

/// What was done to the device.
#[derive(Clone, Debug)]
pub enum DevOperation {
    /// Bytes were written at a sector; durable at the next flush.
    Write {
        /// Sector.
        lba: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// Everything before is durable.
    Flush,
}

/// The content of a device; zeros where nothing was written.
#[derive(Clone, Debug, Default)]
pub struct RamImage {
    sectors: u64,
    blocks: BTreeMap<u64, Arc<[u8; BLOCK]>>,
}

impl RamImage {
    /// Zeros.
    #[must_use]
    pub fn new(sectors: u64) -> Self {
        Self { sectors, blocks: BTreeMap::new() }
    }

    fn each(lba: u64, bytes: usize) -> impl Iterator<Item = (u64, usize, usize)> {
        (0..bytes / SECTOR_BYTES).map(move |sector| {
            let at = lba + sector as u64;
            (at / BLOCK_SECTORS, (at % BLOCK_SECTORS) as usize * SECTOR_BYTES, sector * SECTOR_BYTES)
        })
    }

    /// Reads whole sectors; zeros outside.
    pub fn get(&self, lba: u64, buf: &mut [u8]) {
        for (block, inside, at) in Self::each(lba, buf.len()) {
            let to = &mut buf[at..at + SECTOR_BYTES];
            match self.blocks.get(&block) {
                Some(block) => to.copy_from_slice(&block[inside..inside + SECTOR_BYTES]),
                None => to.fill(0),
            }
        }
    }

    /// Writes whole sectors.
    pub fn put(&mut self, lba: u64, bytes: &[u8]) {
        for (block, inside, at) in Self::each(lba, bytes.len()) {
            let block = self.blocks.entry(block).or_insert_with(|| Arc::new([0; BLOCK]));
            Arc::make_mut(block)[inside..inside + SECTOR_BYTES]
                .copy_from_slice(&bytes[at..at + SECTOR_BYTES]);
        }
    }

    /// Applies an operation, sector by sector where `reached` says so.
    pub fn apply(&mut self, operation: &DevOperation, mut reached: impl FnMut() -> bool) {
        if let DevOperation::Write { lba, bytes } = operation {
            for (sector, content) in bytes.chunks_exact(SECTOR_BYTES).enumerate() {
                if reached() {
                    self.put(lba + sector as u64, content);
                }
            }
        }
    }

    /// Writes the image to a sparse file, for programs that look at files.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let mut file = std::fs::File::create(path)?;
        file.set_len(self.sectors * SECTOR_BYTES as u64)?;
        for (block, bytes) in &self.blocks {
            let at = block * BLOCK as u64;
            let end = (at + BLOCK as u64).min(self.sectors * SECTOR_BYTES as u64);
            file.seek(SeekFrom::Start(at))?;
            file.write_all(&bytes[..(end - at) as usize])?;
        }
        Ok(())
    }
}

/// See the module. Clones share the medium: keep one to look at while a recorder has the other.
#[derive(Clone, Debug)]
pub struct RamDev {
    geometry: DevGeometry,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    image: RamImage,
    log: Vec<DevOperation>,
    operations: usize,
    fault: Option<Fault>,
    forget_flushes: bool,
    short_writes: bool,
    silent: bool,
}

impl RamDev {
    /// A medium of zeros.
    #[must_use]
    pub fn new(sectors: u64) -> Self {
        Self::with_image(RamImage::new(sectors))
    }

    /// A medium that holds `image`.
    #[must_use]
    pub fn with_image(image: RamImage) -> Self {
        let geometry = DevGeometry { sectors: image.sectors, erase_bytes: 0, whole_disk: false, start: 0 };
        let inner = Inner { image, ..Inner::default() };
        Self { geometry, inner: Arc::new(Mutex::new(inner)) }
    }

    /// The same as a whole disk, which gets a partition table when it is formatted.
    #[must_use]
    pub fn whole_disk(mut self) -> Self {
        self.geometry.whole_disk = true;
        self
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it holds, everything that was written included.
    #[must_use]
    pub fn image(&self) -> RamImage {
        self.inner().image.clone()
    }

    /// Writes and flushes so far, failed ones included.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.inner().operations
    }

    /// Takes the log of what succeeded.
    #[must_use]
    pub fn take_log(&self) -> Vec<DevOperation> {
        std::mem::take(&mut self.inner().log)
    }

    /// Length of the log.
    #[must_use]
    pub fn log_len(&self) -> usize {
        self.inner().log.len()
    }

    /// Says "done" to flushes without doing them: the canary of the crash tests.
    pub fn forget_flushes(&self, forget: bool) {
        self.inner().forget_flushes = forget;
    }

    /// Whether a write that fails leaves its first half behind.
    pub fn short_writes(&self, short: bool) {
        self.inner().short_writes = short;
    }

    /// Whether what fails says "done": the canary of the fault loops.
    pub fn silent_faults(&self, silent: bool) {
        self.inner().silent = silent;
    }

    /// Sets or clears the fault.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.inner().fault = fault;
    }
}

impl Inner {
    fn operation(&mut self) -> io::Result<()> {
        let number = self.operations;
        self.operations += 1;
        self.fault.and_then(|fault| fault.strikes(number)).map_or(Ok(()), Err)
    }
}

impl BlockDev for RamDev {
    fn geometry(&self) -> DevGeometry {
        self.geometry
    }

    fn name(&self) -> String {
        String::from("ram")
    }

    fn read(&self, lba: u64, buf: &mut [u8]) -> io::Result<()> {
        check(lba, buf.len(), self.geometry.sectors)?;
        self.inner().image.get(lba, buf);
        Ok(())
    }

    fn write(&mut self, lba: u64, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.inner();
        if let Err(error) = inner.operation() {
            let half = bytes.len() / SECTOR_BYTES / 2 * SECTOR_BYTES;
            if inner.short_writes {
                inner.image.put(lba, &bytes[..half]);
            }
            return if inner.silent { Ok(()) } else { Err(error) };
        }
        check(lba, bytes.len(), self.geometry.sectors)?;
        inner.image.put(lba, bytes);
        inner.log.push(DevOperation::Write { lba, bytes: bytes.to_vec() });
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut inner = self.inner();
        if let Err(error) = inner.operation() {
            return if inner.silent { Ok(()) } else { Err(error) };
        }
        if !inner.forget_flushes {
            inner.log.push(DevOperation::Flush);
        }
        Ok(())
    }

    fn discard(&mut self, _lba: u64, _sectors: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
