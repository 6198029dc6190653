//! Where the list of pins is kept: two slots beside the event ring, written in turn, each with a CRC (docs/FORMAT.md,
//! "Pins"). What is in the list is the business of whoever keeps it; here it is bytes.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::StoreError;
use crate::volume::VolumeWrite;
use crate::volume::block::FileDev;
use crate::volume::dir::io_error;
use crate::volume::fat::FatVolume;
use crate::wear::Totals;

/// File of the pins in the event ring of a `dir` store.
pub const PINS_FILE: &str = "pins.dat";
/// Bytes of a slot.
pub const PINS_SLOT_BYTES: usize = 64 * 1024;
/// Bytes of both.
pub const PINS_BYTES: u64 = 2 * PINS_SLOT_BYTES as u64;
/// Longest list, encoded.
pub const PINS_LIST_BYTES_MAX: usize = PINS_SLOT_BYTES - HEAD;

const MAGIC: [u8; 8] = *b"HCPINS1\0";
/// Magic, counter, length, CRC.
const HEAD: usize = 8 + 8 + 4 + 4;
/// Writes are whole flash pages.
const PAGE: usize = 16 * 1024;

/// The file of the event ring at `events`.
#[must_use]
pub fn pins_path(events: &Path) -> PathBuf {
    events.join(PINS_FILE)
}

#[derive(Debug)]
enum At {
    /// A file.
    Dir(PathBuf),
    /// The event ring of a card.
    Card(Box<FatVolume<FileDev>>),
}

/// See the module. One object writes at a time: the process that holds the store.
#[derive(Debug)]
pub struct PinsFile {
    at: At,
    /// Counter of the slot that counts.
    writes: u64,
    /// Written since somebody asked.
    written: Totals,
}

/// The bytes of a slot, cut to whole pages.
fn encode(writes: u64, list: &[u8]) -> Vec<u8> {
    let mut slot = vec![0; (HEAD + list.len()).next_multiple_of(PAGE)];
    slot[..8].copy_from_slice(&MAGIC);
    slot[8..16].copy_from_slice(&writes.to_le_bytes());
    slot[16..20].copy_from_slice(&(list.len() as u32).to_le_bytes());
    slot[HEAD..HEAD + list.len()].copy_from_slice(list);
    let mut crc = crc32fast::Hasher::new();
    crc.update(&slot[..20]);
    crc.update(list);
    slot[20..24].copy_from_slice(&crc.finalize().to_le_bytes());
    slot
}

/// Counter and list of a slot, when it is whole.
fn decode(slot: &[u8]) -> Option<(u64, &[u8])> {
    let length = u32::from_le_bytes(slot.get(16..20)?.try_into().ok()?) as usize;
    let list = slot.get(HEAD..HEAD.checked_add(length)?)?;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&slot[..20]);
    crc.update(list);
    let whole = slot[..8] == MAGIC && slot[20..24] == crc.finalize().to_le_bytes();
    whole.then_some((u64::from_le_bytes(slot[8..16].try_into().ok()?), list))
}

/// Counter and list of the newer whole slot; an empty list when there is none.
fn newest<'a>(slots: impl Iterator<Item = &'a [u8]>) -> (u64, Vec<u8>) {
    let newest = slots.filter_map(decode).max_by_key(|(writes, _)| *writes);
    newest.map_or((0, Vec::new()), |(writes, list)| (writes, list.to_vec()))
}

impl PinsFile {
    /// Reads the list that is at `path`, beside whoever writes; an empty one when there is none that is whole.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn open(path: PathBuf) -> Result<(Self, Vec<u8>), StoreError> {
        let bytes = match read_slots(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(io_error("read", &path)(error).into()),
        };
        let (writes, list) = newest(bytes.chunks(PINS_SLOT_BYTES));
        Ok((Self { at: At::Dir(path), writes, written: Totals::default() }, list))
    }

    /// Reads the list of the event ring of a card.
    pub(crate) fn open_card(volume: FatVolume<FileDev>) -> Result<(Self, Vec<u8>), StoreError> {
        let slots = [volume.read_pins(0)?, volume.read_pins(1)?];
        let (writes, list) = newest(slots.iter().map(Vec::as_slice));
        Ok((Self { at: At::Card(Box::new(volume)), writes, written: Totals::default() }, list))
    }

    /// Writes `list` into the slot that does not count, durably; then it counts.
    ///
    /// # Errors
    /// The list is longer than [`PINS_LIST_BYTES_MAX`], or it cannot be written; the list before still counts.
    pub fn store(&mut self, list: &[u8]) -> Result<(), StoreError> {
        if list.len() > PINS_LIST_BYTES_MAX {
            return Err(StoreError::Option { what: "the list of pins: 64 KiB at most" });
        }
        let writes = self.writes + 1;
        let (slot, bytes) = (writes % 2, encode(writes, list));
        let news = Totals { bytes: bytes.len() as u64, writes: 1, flushes: 1, ..Totals::default() };
        self.written = self.written.plus(news);
        match &mut self.at {
            At::Dir(path) => write_slot(path, slot, &bytes)?,
            At::Card(volume) => volume.write_pins(slot, &bytes)?,
        }
        self.writes = writes;
        Ok(())
    }

    /// What was written since the last call, for the wear of the medium.
    pub fn take_written(&mut self) -> Totals {
        std::mem::take(&mut self.written)
    }

    /// Whether the list is still where it was opened. Costs a system call.
    ///
    /// # Errors
    /// The medium is away, or another one is there.
    pub fn is_there(&self) -> Result<(), StoreError> {
        match &self.at {
            At::Dir(path) => {
                std::fs::metadata(path).map_err(io_error("look for", path))?;
                Ok(())
            }
            At::Card(volume) => Ok(VolumeWrite::is_there(&**volume, false)?),
        }
    }
}

/// Both slots of a file: at its beginning and in its middle. On a card, seen as files, it is larger than they are.
fn read_slots(path: &Path) -> std::io::Result<Vec<u8>> {
    let file = std::fs::File::open(path)?;
    let middle = file.metadata()?.len() / 2;
    let mut bytes = vec![0; 2 * PINS_SLOT_BYTES];
    for (slot, at) in bytes.chunks_exact_mut(PINS_SLOT_BYTES).zip([0, middle]) {
        // What cannot be read is no slot.
        let _ = file.read_exact_at(slot, at);
    }
    Ok(bytes)
}

fn write_slot(path: &Path, slot: u64, bytes: &[u8]) -> Result<(), StoreError> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).open(path);
    let file = file.map_err(io_error("open", path))?;
    let length = file.metadata().map_err(io_error("inspect", path))?.len();
    if length < PINS_BYTES {
        // Made anew, or cut short.
        file.set_len(PINS_BYTES).map_err(io_error("lengthen", path))?;
    }
    let at = slot * (length.max(PINS_BYTES) / 2);
    file.write_all_at(bytes, at).map_err(io_error("write", path))?;
    Ok(file.sync_data().map_err(io_error("flush", path))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_whole_slot_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = pins_path(dir.path());
        let (mut file, list) = PinsFile::open(path.clone()).unwrap();
        assert!(list.is_empty());
        for text in [&b"one"[..], b"two, which is longer", b"three"] {
            file.store(text).unwrap();
            assert_eq!(PinsFile::open(path.clone()).unwrap().1, text);
        }
        let mut bytes = std::fs::read(&path).unwrap();
        // The third write went where the first one was.
        bytes[PINS_SLOT_BYTES + HEAD] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let (mut file, list) = PinsFile::open(path.clone()).unwrap();
        assert_eq!(list, b"two, which is longer", "the torn slot does not count");
        file.store(b"four").unwrap();
        assert_eq!(PinsFile::open(path).unwrap().1, b"four");
        assert!(file.store(&vec![0; PINS_SLOT_BYTES]).is_err());
    }
}
