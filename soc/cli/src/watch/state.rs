//! What must outlast a kill: how far each file has been read, the sessions that are waited for, and those that were asked for
//! of late. One JSON file, replaced as a whole: lines read and what came of them are in it together, so that after a kill no
//! line is lost and none counts twice.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use hindcap_args::Nanos;
use hindcap_wire::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::job::Job;
use crate::beside;
use crate::exit::Failure;

/// Sessions that are remembered so as not to be asked for twice.
const RECENT_MAX: usize = 20_000;
/// Lines of sessions that are waited for, bytes in all: bounds the file and the memory.
const LINES_BYTES_MAX: usize = 16 << 20;
const SCHEMA: u16 = 1;

/// A place in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    pub(super) device: u64,
    pub(super) inode: u64,
    /// Everything before it has been read.
    pub(super) offset: u64,
}

/// A session that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recent {
    key: String,
    /// The event's time.
    at: Timestamp,
}

/// The file's content.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    schema: u16,
    files: BTreeMap<PathBuf, Place>,
    jobs: Vec<Job>,
    recent: VecDeque<Recent>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct State {
    path: PathBuf,
    content: Content,
    dirty: bool,
    /// Held while we run: two that keep one state would do everything twice.
    _lock: Option<File>,
}

impl State {
    /// The state at `path`; a new one where there is none.
    ///
    /// # Errors
    /// It cannot be read, is none, or belongs to a process that runs.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let fail = |error: &dyn std::fmt::Display| Failure::new(format!("{}: {error}", path.display()));
        let lock = path.with_extension("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(lock)
            .map_err(|error| fail(&error))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| fail(&"another `hindcap watch` uses this state; give each its own with --state"))?;
        Ok(Self { _lock: Some(lock), ..Self::look(path)? })
    }

    /// The state at `path` as it is, not to be saved.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub(super) fn look(path: &Path) -> Result<Self, Failure> {
        let fail = |error: &dyn std::fmt::Display| Failure::new(format!("{}: {error}", path.display()));
        let content = match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| fail(&format!("this is no state of `hindcap watch`: {error}")))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Content { schema: SCHEMA, ..Content::default() }
            }
            Err(error) => return Err(fail(&error)),
        };
        if content.schema != SCHEMA {
            return Err(fail(&format!("schema {} is not ours, {SCHEMA}", content.schema)));
        }
        Ok(Self { path: path.into(), content, dirty: false, _lock: None })
    }

    /// Writes what changed: beside, then renamed.
    ///
    /// # Errors
    /// It cannot be written; nothing has changed on the disk then.
    pub(super) fn save(&mut self) -> Result<(), Failure> {
        if !self.dirty {
            return Ok(());
        }
        let written = self.write();
        self.dirty = written.is_err();
        written.map_err(|error| Failure::new(format!("{}: {error}", self.path.display())))
    }

    fn write(&self) -> io::Result<()> {
        let dir = beside::folder(&self.path);
        let mut new = tempfile::Builder::new().prefix(".state").tempfile_in(dir)?;
        new.write_all(&serde_json::to_vec(&self.content)?)?;
        new.as_file().sync_data()?;
        new.persist(&self.path).map_err(|error| error.error)?;
        File::open(dir)?.sync_all()
    }

    pub(super) fn place(&self, path: &Path) -> Option<&Place> {
        self.content.files.get(path)
    }

    /// Notes how far the file at `path` has been read.
    pub(super) fn set_place(&mut self, path: &Path, place: &Place) {
        if self.place(path) != Some(place) {
            self.content.files.insert(path.into(), place.clone());
            self.dirty = true;
        }
    }

    pub(super) fn jobs(&self) -> &[Job] {
        &self.content.jobs
    }

    pub(super) fn add(&mut self, job: Job) {
        self.content.jobs.push(job);
        self.dirty = true;
    }

    /// Puts `job` in the place of the one with its identifier.
    pub(super) fn replace(&mut self, job: Job) {
        if let Some(known) = self.content.jobs.iter_mut().find(|known| known.id == job.id) {
            *known = job;
            self.dirty = true;
        }
    }

    pub(super) fn remove(&mut self, job: &Job) {
        self.content.jobs.retain(|known| known.id != job.id);
        self.dirty = true;
    }

    /// How many lines there is room for, of `queue` in all.
    pub(super) fn room(&self, queue: usize) -> usize {
        let bytes: usize = self.content.jobs.iter().map(|job| job.line.0.len()).sum();
        if bytes >= LINES_BYTES_MAX { 0 } else { queue.saturating_sub(self.content.jobs.len()) }
    }

    /// Whether the session `key` has been asked for within `window` of the time `at`; it is remembered in any case.
    pub(super) fn is_known(&mut self, key: &str, at: Timestamp, window: Nanos) -> bool {
        let near = |recent: &Recent| recent.at.0.abs_diff(at.0) <= window.0;
        if self.content.recent.iter().any(|recent| recent.key == key && near(recent)) {
            return true;
        }
        // Old ones go as soon as they cannot matter, the oldest when there are too many.
        self.content.recent.retain(near);
        if self.content.recent.len() >= RECENT_MAX {
            self.content.recent.pop_front();
        }
        self.content.recent.push_back(Recent { key: key.into(), at });
        self.dirty = true;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_there_again_and_one_process_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        let place = Place { device: 1, inode: 2, offset: 3 };
        let mut state = State::open(&path).unwrap();
        assert!(!path.exists());
        state.set_place(Path::new("/var/log/x"), &place);
        assert!(!state.is_known("a", Timestamp(100), Nanos(10)));
        state.save().unwrap();
        let message = State::open(&path).unwrap_err().message;
        assert!(message.contains("another `hindcap watch`"), "{message}");
        drop(state);
        let mut state = State::open(&path).unwrap();
        assert_eq!(state.place(Path::new("/var/log/x")), Some(&place));
        assert!(state.is_known("a", Timestamp(110), Nanos(10)));
        assert!(!state.is_known("a", Timestamp(111), Nanos(10)), "too far apart");
    }

    #[test]
    fn a_file_that_is_no_state_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        for text in ["", "{}", "{\"schema\":2,\"files\":{},\"jobs\":[],\"recent\":[]}", "[watch]"] {
            fs::write(&path, text).unwrap();
            assert!(State::open(&path).is_err(), "{text}");
        }
    }
}
