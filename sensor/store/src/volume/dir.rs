//! A store in a directory of ext4, XFS, f2fs or anything else: files that are allocated once and overwritten in place
//! (docs/FORMAT.md, "The store").
//!
//! Segments are written with `O_DIRECT`, where the file system takes it, and with `fdatasync`; no file changes its length
//! after the store was made, so recording changes no directory, inode size or allocation. At most two files are open at
//! a time. Readers open their own descriptors, read-only, without any lock.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::fs::{Advice, FallocateFlags, FlockOperation, OFlags};

use super::{Area, Geometry, VolumeError, VolumeRead, VolumeWrite, aligned};

/// File of the state area.
pub const STATE_FILE: &str = "hindcap.state";
/// File of the catalog area.
pub const CATALOG_FILE: &str = "catalog.dat";
/// Directory of the segments.
pub const SEGMENTS_DIR: &str = "segments";
/// Held locked by the process that writes; holds its pid.
pub const LOCK_FILE: &str = "LOCK";
/// For people: which segment covers what.
pub const CONTENTS_FILE: &str = "CONTENTS.txt";

/// Largest direct-I/O granularity of common devices; every file is a multiple of it.
const SECTOR_MAX: u32 = 4096;

/// The file of an area.
#[must_use]
pub fn area_path(store: &Path, area: Area) -> PathBuf {
    match area {
        Area::State => store.join(STATE_FILE),
        Area::Catalog => store.join(CATALOG_FILE),
        Area::Segment(number) => store.join(SEGMENTS_DIR).join(format!("{number:06}.pcapng")),
    }
}

/// Bytes of an area.
fn area_bytes(geometry: Geometry, area: Area) -> u64 {
    match area {
        Area::State => crate::state::STATE_BYTES,
        Area::Catalog => crate::layout::catalog_bytes(geometry.segment_bytes, geometry.segments),
        Area::Segment(_) => u64::from(geometry.segment_bytes),
    }
}

fn check(geometry: Geometry, area: Area, offset: u64, bytes: usize) -> Result<(), VolumeError> {
    let exists = !matches!(area, Area::Segment(number) if number >= geometry.segments);
    let end = offset.checked_add(bytes as u64);
    if exists && end.is_some_and(|end| end <= area_bytes(geometry, area)) {
        return Ok(());
    }
    Err(VolumeError::OutOfRange { area, offset, bytes })
}

/// An `io::Error` with what was attempted.
pub(crate) fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> VolumeError {
    let path = path.to_path_buf();
    move |source| VolumeError::Io { operation, path, source }
}

/// Reads a store without locking it, beside a writer or without one.
#[derive(Debug)]
pub struct DirReader {
    path: PathBuf,
    geometry: Geometry,
    open: Mutex<Option<(Area, File)>>,
}

impl DirReader {
    /// Opens the areas of `geometry` under `path`; [`crate::open_reader`] finds the geometry.
    #[must_use]
    pub const fn new(path: PathBuf, geometry: Geometry) -> Self {
        Self { path, geometry, open: Mutex::new(None) }
    }

    /// The store's directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl VolumeRead for DirReader {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read(&self, area: Area, offset: u64, buf: &mut [u8]) -> Result<(), VolumeError> {
        check(self.geometry, area, offset, buf.len())?;
        let mut open = self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let path = area_path(&self.path, area);
        let file = turn_to(&mut open, area, &path)?;
        file.read_exact_at(buf, offset).map_err(io_error("read", &path))
    }

    fn will_read(&self, area: Area, offset: u64, bytes: usize) {
        let mut open = self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Ok(file) = turn_to(&mut open, area, &area_path(&self.path, area)) {
            let _ = rustix::fs::fadvise(file, offset, NonZeroU64::new(bytes as u64), Advice::WillNeed);
        }
    }
}

/// The file of `area`, opened if it is not the one that is open.
fn turn_to<'a>(open: &'a mut Option<(Area, File)>, area: Area, path: &Path) -> Result<&'a File, VolumeError> {
    if !matches!(open, Some((at, _)) if *at == area) {
        *open = None;
    }
    match open {
        Some((_, file)) => Ok(file),
        None => {
            let file = File::open(path).map_err(io_error("open", path))?;
            Ok(&open.insert((area, file)).1)
        }
    }
}

/// Holds the right to write to a store, for as long as it lives.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock of the store at `path`; the inner error is the pid of whoever holds it, if readable.
    ///
    /// # Errors
    /// The lock file cannot be opened or written.
    pub fn take(path: &Path) -> Result<Result<Self, Option<u32>>, VolumeError> {
        let path = path.join(LOCK_FILE);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(io_error("open", &path))?;
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut text = String::new();
            let _ = file.read_to_string(&mut text);
            return Ok(Err(text.trim().parse().ok()));
        }
        let note = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        // The pid is a courtesy; a full or read-only file system must not keep us from taking the lock.
        if let Err(error) = note(&mut file) {
            log::warn!("{}: cannot note the pid: {error}", path.display());
        }
        Ok(Ok(Self { file }))
    }
}

/// The writing side: there is one per store, by its lock.
#[derive(Debug)]
pub struct DirVolume {
    reader: DirReader,
    lock: Lock,
    /// The area written last.
    open: Option<(Area, File, Mode)>,
    mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Direct,
    Buffered,
}

impl DirVolume {
    /// Opens the areas for writing; [`crate::Store`] has made or found them.
    #[must_use]
    pub fn new(path: PathBuf, segment_bytes: u32, segments: u32, lock: Lock) -> Self {
        let (mode, sector_bytes) = probe(&area_path(&path, Area::State));
        let geometry = Geometry { segment_bytes, segments, sector_bytes };
        Self { reader: DirReader::new(path, geometry), lock, open: None, mode }
    }

    /// The store's directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.reader.path
    }

    fn file(&mut self, area: Area, mode: Mode) -> Result<&File, VolumeError> {
        if !matches!(&self.open, Some((at, _, as_mode)) if *at == area && *as_mode == mode) {
            let path = area_path(self.path(), area);
            let file = open_for_writing(&path, mode).map_err(io_error("open", &path))?;
            self.open = Some((area, file, mode));
        }
        match &self.open {
            Some((_, file, _)) => Ok(file),
            None => Err(VolumeError::OutOfRange { area, offset: 0, bytes: 0 }),
        }
    }
}

fn open_for_writing(path: &Path, mode: Mode) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true);
    if mode == Mode::Direct {
        options.custom_flags(OFlags::DIRECT.bits() as i32);
    }
    options.open(path)
}

/// Whether `path` takes direct I/O, and with which granularity.
fn probe(path: &Path) -> (Mode, u32) {
    let Ok(file) = OpenOptions::new().read(true).custom_flags(OFlags::DIRECT.bits() as i32).open(path) else {
        return (Mode::Buffered, 512);
    };
    let mut buf = aligned::AlignedBuf::new(SECTOR_MAX as usize);
    // A read that starts and ends off the 4 KiB grid, in the file and in memory.
    if file.read_exact_at(&mut buf[512..1024], 512).is_ok() {
        (Mode::Direct, 512)
    } else if file.read_exact_at(&mut buf, 0).is_ok() {
        (Mode::Direct, SECTOR_MAX)
    } else {
        (Mode::Buffered, 512)
    }
}

impl VolumeRead for DirVolume {
    fn geometry(&self) -> Geometry {
        self.reader.geometry
    }

    fn read(&self, area: Area, offset: u64, buf: &mut [u8]) -> Result<(), VolumeError> {
        self.reader.read(area, offset, buf)
    }
}

impl VolumeWrite for DirVolume {
    fn write(&mut self, area: Area, offset: u64, bytes: &[u8]) -> Result<(), VolumeError> {
        let sector = u64::from(self.geometry().sector_bytes);
        check(self.geometry(), area, offset, bytes.len())?;
        if offset % sector != 0 || bytes.len() as u64 % sector != 0 {
            return Err(VolumeError::OutOfRange { area, offset, bytes: bytes.len() });
        }
        let on_grid = bytes.as_ptr().align_offset(sector as usize) == 0;
        let mode = if matches!(area, Area::Segment(_)) && on_grid { self.mode } else { Mode::Buffered };
        let path = area_path(self.path(), area);
        let written = self.file(area, mode)?.write_all_at(bytes, offset);
        match written {
            // Refused, not failed: nothing has been written. From now on through the page cache.
            Err(error)
                if mode == Mode::Direct
                    && error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) =>
            {
                log::warn!("{}: no direct I/O, using the page cache", path.display());
                self.mode = Mode::Buffered;
                self.write(area, offset, bytes)
            }
            written => written.map_err(io_error("write", &path)),
        }
    }

    fn flush(&mut self, area: Area) -> Result<(), VolumeError> {
        let path = area_path(self.path(), area);
        let mode = match &self.open {
            Some((at, _, mode)) if *at == area => *mode,
            _ => Mode::Buffered,
        };
        let file = self.file(area, mode)?;
        file.sync_data().map_err(io_error("flush", &path))
    }

    /// Keeps the room and forgets what is in it: the file system notes that the range was never written.
    fn erase(&mut self, area: Area, offset: u64, bytes: u64) -> Result<bool, VolumeError> {
        check(self.geometry(), area, offset, bytes as usize)?;
        let path = area_path(self.path(), area);
        let flags = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(self.file(area, Mode::Buffered)?, flags, offset, bytes) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS | rustix::io::Errno::INVAL) => {
                Ok(false)
            }
            Err(error) => Err(io_error("erase", &path)(error.into())),
        }
    }

    /// Replaces `CONTENTS.txt` through a temporary name; a failure costs a person's convenience only.
    fn note_contents(&mut self, text: &str) -> u64 {
        let (path, fresh) = (self.path().join(CONTENTS_FILE), self.path().join("CONTENTS.new"));
        if let Err(error) = fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, &path)) {
            log::warn!("{}: {error}", path.display());
        }
        text.len() as u64
    }

    /// The lock that is held must still be the one at its place: a file system that was unmounted or moved away takes
    /// its own along. `thorough` also reads the state from the disk.
    fn is_there(&self, thorough: bool) -> Result<(), VolumeError> {
        let path = self.path().join(LOCK_FILE);
        let held = self.lock.file.metadata().map_err(io_error("look for", &path))?;
        let found = fs::metadata(&path).map_err(io_error("look for", &path))?;
        if (held.dev(), held.ino()) != (found.dev(), found.ino()) {
            let error = io::Error::new(io::ErrorKind::NotFound, "another file system is there");
            return Err(io_error("look for", &path)(error));
        }
        if thorough { read_through(&area_path(self.path(), Area::State)) } else { Ok(()) }
    }
}

/// Reads the beginning of a file, past the page cache where that can be.
fn read_through(path: &Path) -> Result<(), VolumeError> {
    let open = |flags: OFlags| OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path);
    let mut buf = aligned::AlignedBuf::new(SECTOR_MAX as usize);
    let read = match open(OFlags::DIRECT) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => open(OFlags::empty()),
        file => file,
    };
    read.and_then(|file| file.read_exact_at(&mut buf, 0)).map_err(io_error("read", path))
}

/// Makes `path` a file of exactly `bytes`, allocated but not written; an existing one of that size stays as it is.
///
/// # Errors
/// No space, or the file system failed. The file may then exist and must be removed by the caller.
pub(crate) fn allocate(path: &Path, bytes: u64) -> Result<(), VolumeError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let file = options.open(path).map_err(io_error("create", path))?;
    let length = file.metadata().map_err(io_error("inspect", path))?.len();
    if length == bytes {
        return Ok(());
    }
    if length > bytes {
        return file.set_len(bytes).map_err(io_error("shorten", path));
    }
    match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) => {}
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            file.set_len(bytes).map_err(io_error("lengthen", path))?;
        }
        Err(error) => return Err(io_error("allocate", path)(error.into())),
    }
    file.sync_all().map_err(io_error("flush", path))
}

/// Makes the names in `path` durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), VolumeError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(io_error("flush", path))
}
