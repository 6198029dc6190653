//! Counts what passes through to a device.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{BlockDev, DevGeometry, OpenError, SMALL_WRITE_BYTES};

/// Totals since the device was wrapped; read by any thread.
#[derive(Debug, Default)]
pub struct IoCounts {
    /// Write requests.
    pub writes: AtomicU64,
    /// Bytes written.
    pub bytes: AtomicU64,
    /// Write requests below 16 KiB.
    pub small_writes: AtomicU64,
    /// Flushes.
    pub flushes: AtomicU64,
    /// Read requests.
    pub reads: AtomicU64,
    /// Bytes discarded.
    pub discarded_bytes: AtomicU64,
}

impl IoCounts {
    /// (writes, bytes, small writes, flushes)
    #[must_use]
    pub fn written(&self) -> (u64, u64, u64, u64) {
        let get = |counter: &AtomicU64| counter.load(Relaxed);
        (get(&self.writes), get(&self.bytes), get(&self.small_writes), get(&self.flushes))
    }
}

/// See the module.
#[derive(Debug)]
pub struct CountDev<D> {
    inner: D,
    counts: Arc<IoCounts>,
}

impl<D> CountDev<D> {
    /// Wraps a device.
    pub fn new(inner: D) -> Self {
        Self { inner, counts: Arc::default() }
    }

    /// The counters; they outlive the device.
    #[must_use]
    pub fn counts(&self) -> Arc<IoCounts> {
        Arc::clone(&self.counts)
    }
}

impl<D: BlockDev> BlockDev for CountDev<D> {
    fn geometry(&self) -> DevGeometry {
        self.inner.geometry()
    }

    fn name(&self) -> String {
        self.inner.name()
    }

    fn read(&self, lba: u64, buf: &mut [u8]) -> io::Result<()> {
        self.counts.reads.fetch_add(1, Relaxed);
        self.inner.read(lba, buf)
    }

    fn will_read(&self, lba: u64, bytes: usize) {
        self.inner.will_read(lba, bytes);
    }

    fn write(&mut self, lba: u64, bytes: &[u8]) -> io::Result<()> {
        self.counts.writes.fetch_add(1, Relaxed);
        self.counts.bytes.fetch_add(bytes.len() as u64, Relaxed);
        if bytes.len() < SMALL_WRITE_BYTES {
            self.counts.small_writes.fetch_add(1, Relaxed);
        }
        self.inner.write(lba, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.counts.flushes.fetch_add(1, Relaxed);
        self.inner.flush()
    }

    fn discard(&mut self, lba: u64, sectors: u64) -> io::Result<()> {
        self.counts.discarded_bytes.fetch_add(sectors * 512, Relaxed);
        self.inner.discard(lba, sectors)
    }

    fn read_through(&self, lba: u64, buf: &mut [u8]) -> io::Result<()> {
        self.counts.reads.fetch_add(1, Relaxed);
        self.inner.read_through(lba, buf)
    }

    fn is_there(&self) -> io::Result<()> {
        self.inner.is_there()
    }

    fn reopen(&mut self) -> Result<(), OpenError> {
        self.inner.reopen()
    }
}
