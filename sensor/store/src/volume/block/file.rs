//! An image file or a block device.
//!
//! Written with `O_DIRECT` where the file system takes it; a block device also with `O_EXCL`, which the kernel refuses
//! while anything on it is mounted. Read through the page cache, which the kernel keeps in step with direct writes, so
//! that readers in other processes see what was written. The lock is the kernel's (`flock`): it goes with the process.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use rustix::fs::{FallocateFlags, FlockOperation, OFlags};

use super::super::aligned::AlignedBuf;
use super::error::OpenError;
use super::system::{Facts, SYS_BLOCK, mounted_at};
use super::{BlockDev, DevGeometry, SECTOR_BYTES, check};

/// Bytes that go through an aligned copy at a time, when the caller's buffer is not aligned.
const COPY_BYTES: usize = 256 * 1024;

/// What for a device is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Beside a writer or without one; takes no lock.
    Read,
    /// As the only writer.
    Write,
}

/// See the module. Clones share what is open. When one opens it anew, the others fail as if the device were away until they
/// do so too: what they know of it may be of another card.
#[derive(Clone, Debug)]
pub struct FileDev {
    path: PathBuf,
    access: Access,
    shared: Arc<RwLock<Link>>,
    /// Which opening this clone knows.
    opening: u64,
    /// Failed flushes of that opening that this clone has told.
    failed_flushes: u64,
}

/// What a name means at the moment.
#[derive(Debug)]
struct Link {
    /// Shape, also of what was there last.
    geometry: DevGeometry,
    open: Option<Arc<Open>>,
    /// Counts what was opened.
    opening: u64,
}

/// An open device.
#[derive(Debug)]
struct Open {
    geometry: DevGeometry,
    identity: Identity,
    reader: File,
    writer: Option<File>,
    direct: AtomicBool,
    /// The system tells a failed flush once, to whichever clone flushes first; all must hear of it.
    failed_flushes: AtomicU64,
}

/// What tells a device from one that has its name later: file system, inode, device number.
type Identity = (u64, u64, u64);

fn identity(metadata: &fs::Metadata) -> Identity {
    (metadata.dev(), metadata.ino(), metadata.rdev())
}

impl FileDev {
    /// Opens an existing device or image.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(path: &Path, access: Access) -> Result<Self, OpenError> {
        let open = Arc::new(Open::new(path, access)?);
        let link = Link { geometry: open.geometry, open: Some(open), opening: 1 };
        Ok(Self { opening: 1, ..Self::with(path, access, link) })
    }

    /// A device that is not there yet: everything fails until [`BlockDev::reopen`] finds it.
    #[must_use]
    pub fn absent(path: &Path, access: Access) -> Self {
        let geometry = DevGeometry { sectors: 0, erase_bytes: 0, whole_disk: false, start: 0 };
        Self::with(path, access, Link { geometry, open: None, opening: 0 })
    }

    fn with(path: &Path, access: Access, link: Link) -> Self {
        let shared = Arc::new(RwLock::new(link));
        Self { path: path.to_path_buf(), access, shared, opening: 0, failed_flushes: 0 }
    }

    /// A clone that takes part in what is open now.
    ///
    /// # Errors
    /// Nothing is open.
    pub fn joined(&self) -> io::Result<Self> {
        let link = self.link();
        let open = link.open.as_ref().ok_or_else(away)?;
        let failed_flushes = open.failed_flushes.load(SeqCst);
        Ok(Self { opening: link.opening, failed_flushes, ..self.clone() })
    }

    /// Makes an image file of `bytes` zeros, allocated only where it is written; an existing file stays as it is.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn create_image(path: &Path, bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.set_len(bytes / SECTOR_BYTES as u64 * SECTOR_BYTES as u64)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn link(&self) -> RwLockReadGuard<'_, Link> {
        self.shared.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is open.
    fn there(&self) -> io::Result<Arc<Open>> {
        let link = self.link();
        if link.opening != self.opening {
            return Err(away());
        }
        link.open.clone().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "it is not there"))
    }
}

fn away() -> io::Error {
    rustix::io::Errno::NODEV.into()
}

impl Open {
    fn new(path: &Path, access: Access) -> Result<Self, OpenError> {
        let io = |operation| {
            let path = path.to_path_buf();
            move |source| OpenError::Io { operation, path, source }
        };
        let metadata = fs::metadata(path).map_err(io("open"))?;
        let kind = metadata.file_type();
        if !kind.is_block_device() && !kind.is_file() {
            return Err(OpenError::NoDevice { path: path.to_path_buf() });
        }
        let real = fs::canonicalize(path).map_err(io("open"))?;
        if access == Access::Write {
            if let Some(at) = mounted_at(&real, Path::new("/proc/self/mounts"), Path::new(SYS_BLOCK)) {
                return Err(OpenError::Mounted { path: path.to_path_buf(), at });
            }
        }
        let mut reader = File::open(path).map_err(io("open"))?;
        let bytes = reader.seek(SeekFrom::End(0)).map_err(io("measure"))?;
        if kind.is_block_device() && bytes == 0 {
            // A reader without a card.
            return Err(io("open")(rustix::io::Errno::NOMEDIUM.into()));
        }
        let facts = if kind.is_block_device() {
            Facts::of(Path::new(SYS_BLOCK), &real)
        } else {
            Facts { logical: SECTOR_BYTES as u32, erase_bytes: 0, whole_disk: false, start: 0 }
        };
        if facts.logical != SECTOR_BYTES as u32 {
            return Err(OpenError::Sectors { path: path.to_path_buf(), bytes: facts.logical });
        }
        let geometry = DevGeometry {
            sectors: bytes / SECTOR_BYTES as u64,
            erase_bytes: facts.erase_bytes,
            whole_disk: facts.whole_disk,
            start: facts.start,
        };
        let mut direct = false;
        let writer = match access {
            Access::Read => None,
            Access::Write => {
                let (file, is_direct) =
                    open_for_writing(path, kind.is_block_device()).map_err(|error| match error.kind() {
                        io::ErrorKind::ResourceBusy => OpenError::InUse { path: path.to_path_buf() },
                        _ => io("open for writing")(error),
                    })?;
                rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
                    .map_err(|_| OpenError::InUse { path: path.to_path_buf() })?;
                direct = is_direct;
                Some(file)
            }
        };
        let identity = identity(&metadata);
        let (direct, failed_flushes) = (AtomicBool::new(direct), AtomicU64::new(0));
        Ok(Self { geometry, identity, reader, writer, direct, failed_flushes })
    }

    fn writer(&self) -> io::Result<&File> {
        self.writer.as_ref().ok_or_else(|| io::ErrorKind::PermissionDenied.into())
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let file = self.writer()?;
        match file.write_all_at(bytes, at) {
            // Refused, not failed: nothing was written. From now on through the page cache.
            Err(error)
                if self.direct.load(Relaxed)
                    && error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) =>
            {
                log::warn!("no direct I/O, using the page cache");
                let flags = rustix::fs::fcntl_getfl(file)?;
                rustix::fs::fcntl_setfl(file, flags - OFlags::DIRECT)?;
                self.direct.store(false, Relaxed);
                file.write_all_at(bytes, at)
            }
            written => written,
        }
    }
}

fn open_for_writing(path: &Path, block_device: bool) -> io::Result<(File, bool)> {
    let exclusive = if block_device { OFlags::EXCL } else { OFlags::empty() };
    let open = |flags: OFlags| {
        OpenOptions::new().read(true).write(true).custom_flags(flags.bits() as i32).open(path)
    };
    match open(exclusive | OFlags::DIRECT) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok((open(exclusive)?, false)),
        file => Ok((file?, true)),
    }
}

impl BlockDev for FileDev {
    fn geometry(&self) -> DevGeometry {
        self.link().geometry
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn read(&self, lba: u64, buf: &mut [u8]) -> io::Result<()> {
        let open = self.there()?;
        check(lba, buf.len(), open.geometry.sectors)?;
        open.reader.read_exact_at(buf, lba * SECTOR_BYTES as u64)
    }

    fn will_read(&self, lba: u64, bytes: usize) {
        let length = std::num::NonZeroU64::new(bytes as u64);
        if let Ok(open) = self.there() {
            let advice = rustix::fs::Advice::WillNeed;
            let _ = rustix::fs::fadvise(&open.reader, lba * SECTOR_BYTES as u64, length, advice);
        }
    }

    fn write(&mut self, lba: u64, bytes: &[u8]) -> io::Result<()> {
        let open = self.there()?;
        check(lba, bytes.len(), open.geometry.sectors)?;
        let at = lba * SECTOR_BYTES as u64;
        if !open.direct.load(Relaxed) || bytes.as_ptr().align_offset(SECTOR_BYTES) == 0 {
            return open.write_at(bytes, at);
        }
        let mut copy = AlignedBuf::new(bytes.len().min(COPY_BYTES));
        for (number, piece) in bytes.chunks(COPY_BYTES).enumerate() {
            copy[..piece.len()].copy_from_slice(piece);
            open.write_at(&copy[..piece.len()], at + (number * COPY_BYTES) as u64)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let open = self.there()?;
        let flushed = open.writer()?.sync_data();
        if flushed.is_err() {
            open.failed_flushes.fetch_add(1, SeqCst);
        }
        let failed = open.failed_flushes.load(SeqCst);
        if std::mem::replace(&mut self.failed_flushes, failed) == failed {
            return flushed;
        }
        flushed.and(Err(io::Error::other(
            "a flush of the other ring failed, and with it what was not yet durable",
        )))
    }

    /// A hole in an image; the kernel makes it a discard that leaves zeros, or refuses, on a device.
    fn discard(&mut self, lba: u64, sectors: u64) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let bytes = SECTOR_BYTES as u64;
        Ok(rustix::fs::fallocate(self.there()?.writer()?, flags, lba * bytes, sectors * bytes)?)
    }

    fn read_through(&self, lba: u64, buf: &mut [u8]) -> io::Result<()> {
        let open = self.there()?;
        let Some(writer) = open.writer.as_ref().filter(|_| open.direct.load(Relaxed)) else {
            return self.read(lba, buf);
        };
        check(lba, buf.len(), open.geometry.sectors)?;
        let mut copy = AlignedBuf::new(buf.len());
        writer.read_exact_at(&mut copy, lba * SECTOR_BYTES as u64)?;
        buf.copy_from_slice(&copy);
        Ok(())
    }

    fn is_there(&self) -> io::Result<()> {
        let open = self.there()?;
        let metadata = fs::metadata(&self.path)?;
        let gone = |why| Err(io::Error::new(io::ErrorKind::NotFound, why));
        if identity(&metadata) != open.identity {
            return gone("something else is there");
        }
        // Writing would make it longer again, with holes.
        if metadata.is_file() && metadata.len() < open.geometry.sectors * SECTOR_BYTES as u64 {
            return gone("it was cut short");
        }
        Ok(())
    }

    fn close(&mut self) {
        self.shared.write().unwrap_or_else(PoisonError::into_inner).open = None;
    }

    fn reopen(&mut self) -> Result<(), OpenError> {
        // Another clone may have done so: opening it again would put that one out.
        if let Ok(joined) = self.joined().and_then(|joined| joined.is_there().map(|()| joined)) {
            if joined.opening != self.opening {
                *self = joined;
                return Ok(());
            }
        }
        let mut link = self.shared.write().unwrap_or_else(PoisonError::into_inner);
        // Its lock, and its exclusive hold on the device, go first.
        link.open = None;
        let open = Arc::new(Open::new(&self.path, self.access)?);
        link.opening += 1;
        (self.opening, self.failed_flushes) = (link.opening, 0);
        (link.geometry, link.open) = (open.geometry, Some(open));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_written_whatever_the_buffers_alignment() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("card.img");
        FileDev::create_image(&path, 4 << 20).unwrap();
        let mut dev = FileDev::open(&path, Access::Write).unwrap();
        assert_eq!(dev.geometry().sectors, 8192);
        let mut bytes = AlignedBuf::new((1 << 20) + 1024);
        bytes.iter_mut().enumerate().for_each(|(at, byte)| *byte = (at / 7) as u8);
        dev.write(3, &bytes[..1 << 20]).unwrap();
        dev.write(4000, &bytes[1..1 + (1 << 19)]).unwrap();
        dev.flush().unwrap();
        let reader = FileDev::open(&path, Access::Read).unwrap();
        let mut back = vec![0; 1 << 20];
        reader.read(3, &mut back).unwrap();
        assert!(back[..] == bytes[..1 << 20]);
        reader.read(4000, &mut back[..1 << 19]).unwrap();
        assert!(back[..1 << 19] == bytes[1..1 + (1 << 19)]);
        assert!(dev.read(8192, &mut [0; 512]).is_err() && dev.write(8191, &[0; 1024]).is_err());
    }

    #[test]
    fn one_writer_at_a_time_and_readers_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("card.img");
        FileDev::create_image(&path, 1 << 20).unwrap();
        let held = FileDev::open(&path, Access::Write).unwrap();
        assert!(matches!(FileDev::open(&path, Access::Write), Err(OpenError::InUse { .. })));
        FileDev::open(&path, Access::Read).unwrap();
        drop(held);
        FileDev::open(&path, Access::Write).unwrap();
        assert!(matches!(FileDev::open(dir.path(), Access::Read), Err(OpenError::NoDevice { .. })));
    }
}
