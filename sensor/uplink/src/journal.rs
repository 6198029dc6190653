//! The request queue on disk: what was accepted and has not ended, and what has ended (so that a repeated request has no
//! second effect). One small file, appended and synced before a request is answered, rewritten when it has grown.
//!
//! | offset | length | meaning |
//! |---|---|---|
//! | 0 | 8 | `HCREQ`, 0, 0, version 1 |
//! | 8 | | records: length u32 LE, CRC-32 u32 LE of the body, body: postcard of [`Record`] |
//!
//! A torn or damaged record ends the file: what stands before it counts.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hindcap_wire::limits::REQUEST_BYTES_MAX;
use hindcap_wire::message::{Encoding, Outcome, Ulid};
use hindcap_wire::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::limits::{ACTIVE_MAX, JOURNAL_GROWTH_BYTES, REPLAY_MAX, REPLAY_NANOS};

const MAGIC: &[u8; 8] = b"HCREQ\0\0\x01";
const NAME: &str = "requests.journal";
/// Larger records are damage.
const RECORD_BYTES_MAX: usize = REQUEST_BYTES_MAX + 4096;

/// A request that was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Accepted {
    pub(crate) id: Ulid,
    /// The inner document.
    pub(crate) inner: Vec<u8>,
    pub(crate) encoding: Encoding,
    /// Where replies go, if not to the usual topic.
    pub(crate) reply_topic: Option<String>,
    pub(crate) correlation: Option<Vec<u8>>,
    pub(crate) expires: Timestamp,
}

/// A request that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    /// CRC-32 of the inner document.
    pub(crate) crc32: u32,
    pub(crate) expires: Timestamp,
    pub(crate) at: Timestamp,
}

/// What stands in the file. Append only.
#[derive(Serialize, Deserialize)]
enum Record {
    Accepted(Accepted),
    Ended(Ulid, Ended),
}

/// What is known of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Active,
    Ended(Outcome),
    /// The identifier belongs to another request.
    Other,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    grown: u64,
    active: Vec<Accepted>,
    ended: HashMap<Ulid, Ended>,
}

impl Journal {
    /// Opens or makes the queue in `dir` and rewrites it without what is not needed any more.
    pub(crate) fn open(dir: &Path, now: Timestamp) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let path = dir.join(NAME);
        let (mut active, mut ended) = (Vec::new(), HashMap::new());
        match fs::read(&path) {
            Ok(bytes) => replay(&bytes, &mut active, &mut ended),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        forget(&mut ended, now);
        let file = rewrite(&path, &active, &ended)?;
        Ok(Self { path, file, grown: 0, active, ended })
    }

    /// Accepted and not ended, oldest first.
    pub(crate) fn active(&self) -> &[Accepted] {
        &self.active
    }

    /// What is known of request `id` with these bytes.
    pub(crate) fn known(&self, id: Ulid, inner: &[u8]) -> Option<Known> {
        if let Some(accepted) = self.active.iter().find(|accepted| accepted.id == id) {
            return Some(if accepted.inner == inner { Known::Active } else { Known::Other });
        }
        let ended = self.ended.get(&id)?;
        let same = ended.crc32 == crc32fast::hash(inner);
        Some(if same { Known::Ended(ended.outcome) } else { Known::Other })
    }

    /// Whether one more request can be taken and remembered.
    pub(crate) fn has_room(&mut self, now: Timestamp) -> bool {
        if self.ended.len() + self.active.len() >= REPLAY_MAX {
            // Requests past their expiry are refused for that already.
            self.ended.retain(|_, ended| ended.expires > now);
        }
        self.active.len() < ACTIVE_MAX && self.ended.len() + self.active.len() < REPLAY_MAX
    }

    /// Notes an accepted request; on disk when this returns.
    pub(crate) fn accept(&mut self, accepted: Accepted, now: Timestamp) -> io::Result<()> {
        self.append(&Record::Accepted(accepted.clone()))?;
        self.active.push(accepted);
        self.compact(now);
        Ok(())
    }

    /// Notes that a request has ended; on disk when this returns. In memory it has ended in any case.
    pub(crate) fn end(&mut self, id: Ulid, outcome: Outcome, now: Timestamp) -> io::Result<()> {
        let Some(at) = self.active.iter().position(|accepted| accepted.id == id) else { return Ok(()) };
        let accepted = self.active.remove(at);
        let ended =
            Ended { outcome, crc32: crc32fast::hash(&accepted.inner), expires: accepted.expires, at: now };
        self.ended.insert(id, ended);
        self.append(&Record::Ended(id, ended))?;
        self.compact(now);
        Ok(())
    }

    fn append(&mut self, record: &Record) -> io::Result<()> {
        let bytes = frame(record)?;
        self.file.write_all(&bytes)?;
        self.file.sync_data()?;
        self.grown += bytes.len() as u64;
        Ok(())
    }

    fn compact(&mut self, now: Timestamp) {
        if self.grown < JOURNAL_GROWTH_BYTES {
            return;
        }
        forget(&mut self.ended, now);
        match rewrite(&self.path, &self.active, &self.ended) {
            Ok(file) => (self.file, self.grown) = (file, 0),
            // The old file is whole; it only goes on growing.
            Err(error) => {
                log::warn!("the request queue {} cannot be rewritten: {error}", self.path.display())
            }
        }
    }
}

fn forget(ended: &mut HashMap<Ulid, Ended>, now: Timestamp) {
    ended.retain(|_, ended| ended.expires.max(ended.at.plus_nanos(REPLAY_NANOS)) > now);
}

fn frame(record: &Record) -> io::Result<Vec<u8>> {
    let body = postcard::to_allocvec(record).map_err(io::Error::other)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend(crc32fast::hash(&body).to_le_bytes());
    bytes.extend(body);
    Ok(bytes)
}

fn rewrite(path: &Path, active: &[Accepted], ended: &HashMap<Ulid, Ended>) -> io::Result<File> {
    let mut bytes = MAGIC.to_vec();
    for accepted in active {
        bytes.extend(frame(&Record::Accepted(accepted.clone()))?);
    }
    for (id, ended) in ended {
        bytes.extend(frame(&Record::Ended(*id, *ended))?);
    }
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(&bytes)?;
    file.sync_data()?;
    fs::rename(&beside, path)?;
    if let Some(dir) = path.parent() {
        File::open(dir)?.sync_all()?;
    }
    Ok(file)
}

fn replay(bytes: &[u8], active: &mut Vec<Accepted>, ended: &mut HashMap<Ulid, Ended>) {
    let Some(mut rest) = bytes.strip_prefix(MAGIC) else { return };
    while let Some((record, after)) = next_record(rest) {
        match record {
            Record::Accepted(accepted) => active.push(accepted),
            Record::Ended(id, how) => {
                active.retain(|accepted| accepted.id != id);
                ended.insert(id, how);
            }
        }
        rest = after;
    }
    active.truncate(ACTIVE_MAX);
}

fn next_record(bytes: &[u8]) -> Option<(Record, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (crc32, rest) = rest.split_first_chunk()?;
    let length =
        usize::try_from(u32::from_le_bytes(*length)).ok().filter(|length| *length <= RECORD_BYTES_MAX)?;
    let (body, after) = rest.split_at_checked(length)?;
    let intact = crc32fast::hash(body) == u32::from_le_bytes(*crc32);
    intact.then(|| postcard::from_bytes(body).ok()).flatten().map(|record| (record, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000_000);

    fn accepted(id: u128) -> Accepted {
        Accepted {
            id: Ulid(id),
            inner: vec![u8::try_from(id).unwrap(); 100],
            encoding: Encoding::Json,
            reply_topic: None,
            correlation: Some(vec![1]),
            expires: NOW.plus_nanos(1_000),
        }
    }

    fn ids(journal: &Journal) -> Vec<u128> {
        journal.active().iter().map(|accepted| accepted.id.0).collect()
    }

    #[test]
    fn accepted_requests_survive_and_ended_ones_are_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), NOW).unwrap();
        for id in 1..=3 {
            journal.accept(accepted(id), NOW).unwrap();
        }
        journal.end(Ulid(2), Outcome::Gone, NOW).unwrap();
        let journal = Journal::open(dir.path(), NOW).unwrap();
        assert_eq!(ids(&journal), [1, 3]);
        assert_eq!(journal.active()[1], accepted(3));
        assert_eq!(journal.known(Ulid(1), &[1; 100]), Some(Known::Active));
        assert_eq!(journal.known(Ulid(1), &[9; 100]), Some(Known::Other));
        assert_eq!(journal.known(Ulid(2), &[2; 100]), Some(Known::Ended(Outcome::Gone)));
        assert_eq!(journal.known(Ulid(2), &[3; 100]), Some(Known::Other));
        assert_eq!(journal.known(Ulid(4), &[]), None);
        let much_later = NOW.plus_nanos(REPLAY_NANOS + 1);
        assert_eq!(Journal::open(dir.path(), much_later).unwrap().known(Ulid(2), &[2; 100]), None);
    }

    #[test]
    fn every_torn_end_keeps_what_stands_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let mut journal = Journal::open(dir.path(), NOW).unwrap();
        let mut ends = vec![fs::metadata(&path).unwrap().len()];
        for id in 1..=3 {
            journal.accept(accepted(id), NOW).unwrap();
            ends.push(fs::metadata(&path).unwrap().len());
        }
        let whole = fs::read(&path).unwrap();
        for length in 0..=whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let expected = ends[1..].iter().filter(|end| **end <= length as u64).count();
            assert_eq!(Journal::open(dir.path(), NOW).unwrap().active().len(), expected, "{length}");
        }
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let mut journal = Journal::open(dir.path(), NOW).unwrap();
        journal.accept(accepted(1), NOW).unwrap();
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            fs::write(&path, &damaged).unwrap();
            assert_eq!(Journal::open(dir.path(), NOW).unwrap().active(), [], "{at}");
        }
    }

    #[test]
    fn bounded_in_number_and_size() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), NOW).unwrap();
        for id in 0..ACTIVE_MAX as u128 {
            assert!(journal.has_room(NOW));
            journal.accept(accepted(id), NOW).unwrap();
        }
        assert!(!journal.has_room(NOW));
        journal.end(Ulid(0), Outcome::Done, NOW).unwrap();
        assert!(journal.has_room(NOW));
        journal.grown = JOURNAL_GROWTH_BYTES;
        let later = NOW.plus_nanos(2 * REPLAY_NANOS);
        journal.end(Ulid(1), Outcome::Done, later).unwrap();
        assert_eq!((journal.grown, journal.ended.len()), (0, 1));
        assert_eq!(ids(&Journal::open(dir.path(), later).unwrap()).len(), ACTIVE_MAX - 2);
    }
}
