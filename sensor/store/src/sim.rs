//! A medium that forgets: an in-memory volume that logs every write and flush, fails on demand, and can be put back into
//! any state that a power cut may have left.
//!
//! Model (docs/FORMAT.md, "What is assumed of the medium"): a flushed write stays; of the writes since the last flush of
//! any area, any subset of sectors may have reached the medium. A crash state is made from a prefix of the log and a
//! choice of sectors.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::layout::catalog_bytes;
use crate::state::STATE_BYTES;
pub use crate::volume::block::Fault;
use crate::volume::{Area, Geometry, VolumeError, VolumeRead, VolumeWrite};

/// What was done to the volume.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Bytes were written; durable at the next flush of the same area.
    Write {
        /// Where.
        area: Area,
        /// Where in it.
        offset: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// Everything written to the area before is durable.
    Flush(Area),
}

/// See the module. Clones share the same medium: keep one to look at while a recorder has the other.
#[derive(Clone, Debug)]
pub struct SimVolume {
    geometry: Geometry,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    image: Image,
    log: Vec<Operation>,
    operations: usize,
    fault: Option<Fault>,
    keep_log: bool,
    forget_flushes: bool,
    short_writes: bool,
    silent: bool,
}

/// The content of all areas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    state: Vec<u8>,
    catalog: Vec<u8>,
    segments: Vec<Vec<u8>>,
}

impl Image {
    fn new(geometry: Geometry) -> Self {
        Self {
            state: vec![0; STATE_BYTES as usize],
            catalog: vec![0; catalog_bytes(geometry.segment_bytes, geometry.segments) as usize],
            segments: vec![vec![0; geometry.segment_bytes as usize]; geometry.segments as usize],
        }
    }

    fn area(&self, area: Area) -> Option<&Vec<u8>> {
        match area {
            Area::State => Some(&self.state),
            Area::Catalog => Some(&self.catalog),
            Area::Segment(number) => self.segments.get(number as usize),
        }
    }

    fn area_mut(&mut self, area: Area) -> Option<&mut Vec<u8>> {
        match area {
            Area::State => Some(&mut self.state),
            Area::Catalog => Some(&mut self.catalog),
            Area::Segment(number) => self.segments.get_mut(number as usize),
        }
    }

    /// Writes; for tests that damage a medium.
    pub fn put(&mut self, area: Area, offset: u64, bytes: &[u8]) {
        let at = offset as usize;
        if let Some(target) = self.area_mut(area).and_then(|bytes_of| bytes_of.get_mut(at..at + bytes.len()))
        {
            target.copy_from_slice(bytes);
        }
    }

    /// Applies an operation, sector by sector where `reached` says so.
    pub fn apply(&mut self, operation: &Operation, sector_bytes: usize, mut reached: impl FnMut() -> bool) {
        if let Operation::Write { area, offset, bytes } = operation {
            for (sector, content) in bytes.chunks(sector_bytes).enumerate() {
                if reached() {
                    self.put(*area, offset + (sector * sector_bytes) as u64, content);
                }
            }
        }
    }
}

impl SimVolume {
    /// A medium of zeros.
    #[must_use]
    pub fn new(segment_bytes: u32, segments: u32) -> Self {
        let geometry = Geometry { segment_bytes, segments, sector_bytes: 512 };
        Self::with_image(geometry, Image::new(geometry))
    }

    /// A medium that holds `image`.
    #[must_use]
    pub fn with_image(geometry: Geometry, image: Image) -> Self {
        let inner = Inner { image, keep_log: true, ..Inner::default() };
        Self { geometry, inner: Arc::new(Mutex::new(inner)) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the medium holds, everything that was written included.
    #[must_use]
    pub fn image(&self) -> Image {
        self.inner().image.clone()
    }

    /// Writes and flushes so far, failed ones included.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.inner().operations
    }

    /// Takes the log of what succeeded.
    #[must_use]
    pub fn take_log(&self) -> Vec<Operation> {
        std::mem::take(&mut self.inner().log)
    }

    /// Length of the log.
    #[must_use]
    pub fn log_len(&self) -> usize {
        self.inner().log.len()
    }

    /// Whether operations are logged (they are, at first).
    pub fn keep_log(&self, keep: bool) {
        self.inner().keep_log = keep;
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
    /// Counts an operation; fails it when its time has come.
    fn operation(&mut self, operation: &'static str) -> Result<(), VolumeError> {
        let number = self.operations;
        self.operations += 1;
        match self.fault.and_then(|fault| fault.strikes(number)) {
            Some(source) => Err(VolumeError::Io { operation, path: PathBuf::from("sim"), source }),
            None => Ok(()),
        }
    }

    fn log(&mut self, operation: Operation) {
        if self.keep_log {
            self.log.push(operation);
        }
    }
}

impl VolumeRead for SimVolume {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read(&self, area: Area, offset: u64, buf: &mut [u8]) -> Result<(), VolumeError> {
        let inner = self.inner();
        let range = offset as usize..offset as usize + buf.len();
        let bytes = inner.image.area(area).and_then(|bytes| bytes.get(range));
        buf.copy_from_slice(bytes.ok_or(VolumeError::OutOfRange { area, offset, bytes: buf.len() })?);
        Ok(())
    }
}

impl VolumeWrite for SimVolume {
    fn write(&mut self, area: Area, offset: u64, bytes: &[u8]) -> Result<(), VolumeError> {
        let sector = u64::from(self.geometry.sector_bytes);
        let mut inner = self.inner();
        if let Err(error) = inner.operation("write") {
            let half = (bytes.len() as u64 / sector / 2 * sector) as usize;
            if inner.short_writes {
                inner.image.put(area, offset, &bytes[..half]);
            }
            return if inner.silent { Ok(()) } else { Err(error) };
        }
        let range = offset as usize..offset as usize + bytes.len();
        let aligned = offset % sector == 0 && bytes.len() as u64 % sector == 0;
        let target = inner.image.area_mut(area).and_then(|bytes| bytes.get_mut(range)).filter(|_| aligned);
        target.ok_or(VolumeError::OutOfRange { area, offset, bytes: bytes.len() })?.copy_from_slice(bytes);
        inner.log(Operation::Write { area, offset, bytes: bytes.to_vec() });
        Ok(())
    }

    fn flush(&mut self, area: Area) -> Result<(), VolumeError> {
        let mut inner = self.inner();
        if let Err(error) = inner.operation("flush") {
            return if inner.silent { Ok(()) } else { Err(error) };
        }
        if !inner.forget_flushes {
            inner.log(Operation::Flush(area));
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod ageing;
#[cfg(test)]
pub(crate) mod drive;
#[cfg(test)]
pub(crate) mod explore;
#[cfg(test)]
pub(crate) mod faults;
#[cfg(test)]
mod flips;
#[cfg(test)]
mod lost_interface;
#[cfg(test)]
pub(crate) mod slot;
#[cfg(test)]
mod tests;
