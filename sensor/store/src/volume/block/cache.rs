//! A write-back cache of 256 sectors that makes a window of a device a byte stream: `embedded-io` traits here, the std
//! traits that `fatfs` 0.3 asks for through `embedded-io-adapters`.
//!
//! Without it `fatfs` writes single sectors, and a directory entry in twelve pieces. On a flush the sectors before
//! `barrier` (boot area and FATs) become durable first, then the rest (directories, files): a power cut between leaves
//! lost clusters, never a name on clusters that are free. Not for the hot path, which never comes here.

use std::collections::BTreeMap;
use std::io;

use embedded_io::{ErrorType, Read, Seek, SeekFrom, Write};

use super::{BlockDev, SECTOR_BYTES};

/// Sectors kept.
const SECTORS: usize = 256;
/// Sectors read at once: directories and FATs are read in order.
const READ_AHEAD: u64 = 16;

#[derive(Debug)]
struct Sector {
    bytes: [u8; SECTOR_BYTES],
    dirty: bool,
    used: u64,
}

/// See the module.
#[derive(Debug)]
pub struct SectorCache<'a, D> {
    dev: &'a mut D,
    start: u64,
    sectors: u64,
    barrier: u64,
    position: u64,
    cached: BTreeMap<u64, Sector>,
    clock: u64,
}

impl<'a, D: BlockDev> SectorCache<'a, D> {
    /// The window of `sectors` sectors from `start`; `barrier` counts inside it.
    pub const fn new(dev: &'a mut D, start: u64, sectors: u64, barrier: u64) -> Self {
        Self { dev, start, sectors, barrier, position: 0, cached: BTreeMap::new(), clock: 0 }
    }

    fn end(&self) -> u64 {
        self.sectors * SECTOR_BYTES as u64
    }

    /// The cached sector, read when it is not there.
    fn sector(&mut self, sector: u64) -> io::Result<&mut Sector> {
        self.clock += 1;
        if !self.cached.contains_key(&sector) {
            self.load(sector)?;
        }
        let clock = self.clock;
        let entry = self.cached.get_mut(&sector).ok_or(io::ErrorKind::UnexpectedEof)?;
        entry.used = clock;
        Ok(entry)
    }

    fn load(&mut self, sector: u64) -> io::Result<()> {
        let count = READ_AHEAD.min(self.sectors.saturating_sub(sector)).max(1);
        let mut bytes = [0; READ_AHEAD as usize * SECTOR_BYTES];
        let bytes = &mut bytes[..count as usize * SECTOR_BYTES];
        self.dev.read(self.start + sector, bytes)?;
        while self.cached.len() + count as usize > SECTORS {
            self.evict()?;
        }
        for (number, content) in (sector..).zip(bytes.chunks_exact(SECTOR_BYTES)) {
            let mut bytes = [0; SECTOR_BYTES];
            bytes.copy_from_slice(content);
            // One that is there is newer than the device.
            self.cached.entry(number).or_insert(Sector { bytes, dirty: false, used: self.clock });
        }
        Ok(())
    }

    /// Makes room: drops the sector that was not used for longest; when it is dirty, everything dirty is written first,
    /// in the order of a flush.
    fn evict(&mut self) -> io::Result<()> {
        let oldest = self.cached.iter().min_by_key(|(_, sector)| sector.used).map(|(number, _)| *number);
        let Some(oldest) = oldest else { return Ok(()) };
        if self.cached.get(&oldest).is_some_and(|sector| sector.dirty) {
            self.write_back()?;
        }
        self.cached.remove(&oldest);
        Ok(())
    }

    fn write_back(&mut self) -> io::Result<()> {
        let barrier = self.barrier;
        for range in [0..barrier, barrier..u64::MAX] {
            let dirty: Vec<u64> = self
                .cached
                .range(range)
                .filter(|(_, sector)| sector.dirty)
                .map(|(number, _)| *number)
                .collect();
            if dirty.is_empty() {
                continue;
            }
            // Neighbours in one request.
            for run in dirty.chunk_by(|one, next| one + 1 == *next) {
                let bytes: Vec<u8> = run.iter().flat_map(|number| self.cached[number].bytes).collect();
                self.dev.write(self.start + run[0], &bytes)?;
            }
            self.dev.flush()?;
            for number in dirty {
                if let Some(sector) = self.cached.get_mut(&number) {
                    sector.dirty = false;
                }
            }
        }
        Ok(())
    }

    /// The sector and offset of the position, and how many of `bytes` lie in that sector.
    fn place(&self, bytes: usize) -> (u64, usize, usize) {
        let left = self.end().saturating_sub(self.position);
        let at = (self.position % SECTOR_BYTES as u64) as usize;
        let count = bytes.min(SECTOR_BYTES - at).min(usize::try_from(left).unwrap_or(usize::MAX));
        (self.position / SECTOR_BYTES as u64, at, count)
    }
}

impl<D: BlockDev> ErrorType for SectorCache<'_, D> {
    type Error = io::Error;
}

impl<D: BlockDev> Read for SectorCache<'_, D> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let (sector, at, count) = self.place(buf.len());
        if count == 0 {
            return Ok(0);
        }
        let from = self.sector(sector)?;
        buf[..count].copy_from_slice(&from.bytes[at..at + count]);
        self.position += count as u64;
        Ok(count)
    }
}

impl<D: BlockDev> Write for SectorCache<'_, D> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let (sector, at, count) = self.place(buf.len());
        if count == 0 {
            return if buf.is_empty() { Ok(0) } else { Err(io::ErrorKind::WriteZero.into()) };
        }
        let to = self.sector(sector)?;
        to.bytes[at..at + count].copy_from_slice(&buf[..count]);
        to.dirty = true;
        self.position += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_back()
    }
}

impl<D: BlockDev> Seek for SectorCache<'_, D> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.end().checked_add_signed(by),
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CountDev, RamDev};
    use super::*;

    #[test]
    fn behaves_like_memory_and_combines_writes() {
        let mut dev = CountDev::new(RamDev::new(2048));
        let counts = dev.counts();
        let mut model = vec![0_u8; 1000 * SECTOR_BYTES];
        let mut cache = SectorCache::new(&mut dev, 8, 1000, 10);
        let mut random = 0x9E37_79B9_u64;
        for _ in 0..4000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (random >> 20) as usize % (model.len() - 40);
            let mut bytes = random.to_le_bytes().repeat(5);
            cache.seek(SeekFrom::Start(at as u64)).unwrap();
            if random >> 63 == 0 {
                cache.write_all(&bytes).unwrap();
                model[at..at + 40].copy_from_slice(&bytes);
            } else {
                cache.read_exact(&mut bytes).unwrap();
                assert_eq!(bytes, model[at..at + 40]);
            }
        }
        cache.flush().unwrap();
        let mut stored = vec![0; model.len()];
        dev.read(8, &mut stored).unwrap();
        assert!(stored == model);
        let (writes, ..) = counts.written();
        assert!(writes < 2000, "{writes} requests");
    }

    #[test]
    fn the_boot_area_is_durable_before_the_rest() {
        let mut dev = RamDev::new(64);
        let mut cache = SectorCache::new(&mut dev, 0, 64, 10);
        for sector in [20, 3] {
            cache.seek(SeekFrom::Start(sector * 512)).unwrap();
            cache.write_all(b"x").unwrap();
        }
        cache.flush().unwrap();
        let order: Vec<Option<u64>> = dev
            .take_log()
            .iter()
            .map(|operation| match operation {
                super::super::DevOperation::Write { lba, .. } => Some(*lba),
                super::super::DevOperation::Flush => None,
            })
            .collect();
        assert_eq!(order, [Some(3), None, Some(20), None]);
    }

    #[test]
    fn ends_where_the_window_ends() {
        let mut dev = RamDev::new(64);
        let mut cache = SectorCache::new(&mut dev, 0, 2, 1);
        cache.seek(SeekFrom::End(-1)).unwrap();
        assert_eq!(cache.write(b"ab").unwrap(), 1);
        assert!(cache.write(b"b").is_err());
        assert_eq!(cache.read(&mut [0; 4]).unwrap(), 0);
    }
}
