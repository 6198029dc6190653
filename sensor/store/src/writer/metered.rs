//! A volume that counts what is handed to it: the odometer, and the bytes written per byte of savefile.

use crate::StoreError;
use crate::volume::{Area, Geometry, VolumeError, VolumeRead, VolumeWrite};

/// See the module.
#[derive(Debug)]
pub(crate) struct Metered<V> {
    volume: V,
    bytes: u64,
}

impl<V> Metered<V> {
    pub(crate) const fn new(volume: V) -> Self {
        Self { volume, bytes: 0 }
    }

    /// Bytes handed over since the last call.
    pub(crate) const fn take(&mut self) -> u64 {
        std::mem::replace(&mut self.bytes, 0)
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
        self.bytes += bytes.len() as u64;
        self.volume.write(area, offset, bytes)
    }

    fn flush(&mut self, area: Area) -> Result<(), VolumeError> {
        self.volume.flush(area)
    }

    fn note_contents(&mut self, text: &str) {
        self.bytes += text.len() as u64;
        self.volume.note_contents(text);
    }

    fn is_there(&self, thorough: bool) -> Result<(), VolumeError> {
        self.volume.is_there(thorough)
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        self.volume.reopen()
    }
}
