//! A volume that counts and times what is handed to it: the one place where the odometer runs, for every kind of volume.

use crate::StoreError;
use crate::volume::{Area, Geometry, VolumeError, VolumeRead, VolumeWrite};
use crate::wear::Meter;

/// See the module.
#[derive(Debug)]
pub(crate) struct Metered<V> {
    volume: V,
    pub meter: Meter,
}

impl<V> Metered<V> {
    pub(crate) const fn new(volume: V, meter: Meter) -> Self {
        Self { volume, meter }
    }

    /// Does it, and says how long it took where there is a stopwatch.
    fn timed<T>(&mut self, work: impl FnOnce(&mut V) -> T) -> (T, Option<u64>) {
        let Some(stopwatch) = self.meter.stopwatch() else { return (work(&mut self.volume), None) };
        let start = stopwatch();
        let done = work(&mut self.volume);
        (done, Some(stopwatch().saturating_sub(start)))
    }
}

impl<V: VolumeRead> VolumeRead for Metered<V> {
    fn geometry(&self) -> Geometry {
        self.volume.geometry()
    }

    fn read(&self, area: Area, offset: u64, buf: &mut [u8]) -> Result<(), VolumeError> {
        self.volume.read(area, offset, buf)
    }

    fn will_read(&self, area: Area, offset: u64, bytes: usize) {
        self.volume.will_read(area, offset, bytes);
    }

    fn is_usable(&self, segment: u32) -> bool {
        self.volume.is_usable(segment)
    }

    fn identity(&self) -> Option<[u8; 16]> {
        self.volume.identity()
    }
}

impl<V: VolumeWrite> VolumeWrite for Metered<V> {
    fn write(&mut self, area: Area, offset: u64, bytes: &[u8]) -> Result<(), VolumeError> {
        let request = self.volume.request_bytes(area, bytes.len());
        let (done, nanos) = self.timed(|volume| volume.write(area, offset, bytes));
        self.meter.wrote(request, nanos, done.is_ok());
        done
    }

    fn flush(&mut self, area: Area) -> Result<(), VolumeError> {
        let (done, nanos) = self.timed(|volume| volume.flush(area));
        self.meter.flushed(nanos, done.is_ok());
        done
    }

    fn erase(&mut self, area: Area, offset: u64, bytes: u64) -> Result<bool, VolumeError> {
        self.volume.erase(area, offset, bytes)
    }

    fn note_contents(&mut self, text: &str) -> u64 {
        let bytes = self.volume.note_contents(text);
        if bytes > 0 {
            self.meter.wrote(bytes, None, true);
        }
        bytes
    }

    fn request_bytes(&self, area: Area, bytes: usize) -> u64 {
        self.volume.request_bytes(area, bytes)
    }

    fn is_there(&self, thorough: bool) -> Result<(), VolumeError> {
        self.volume.is_there(thorough)
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        self.volume.reopen()
    }
}
