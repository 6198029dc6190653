//! Long-term storage: a directory for each day, in it one for each event: the savefile, the line, and `event.json` with what was
//! asked and what came of it. A directory appears whole: made beside, then renamed.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use hindcap_wire::message::Ulid;
use hindcap_wire::query::Query;
use hindcap_wire::time::{NANOS_PER_SEC, Timestamp};
use serde::{Deserialize, Serialize};

use super::job::Job;
use crate::gather::{Gathered, Part};

/// In every event's directory.
const EVENT_FILE: &str = "event.json";
/// Ahead of directories that are being made.
const BESIDE_PREFIX: &str = ".making-";
/// Name of the savefile.
pub(super) const SAVEFILE: &str = "session.pcapng";

/// `event.json`.
#[derive(Serialize)]
struct EventJson<'a> {
    id: Ulid,
    rule: &'a str,
    case: Option<&'a str>,
    reason: Option<&'a str>,
    source: &'a str,
    format: &'a str,
    /// The line as text; byte for byte it is in `event.log`.
    line: String,
    event_time: Timestamp,
    stored: Timestamp,
    expires: Option<Timestamp>,
    query: &'a Query,
    file: Option<&'a str>,
    packets: u64,
    bytes: u64,
    notes: &'a [String],
    sensors: &'a [Part],
}

/// What keeping an event needs to be known of it.
#[derive(Deserialize)]
struct Kept {
    expires: Option<Timestamp>,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Store {
    root: PathBuf,
}

impl Store {
    /// The store at `root`, which is not touched.
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.into() }
    }

    /// The store at `root`. What an earlier run left unfinished is removed.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        for entry in fs::read_dir(root)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(BESIDE_PREFIX) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(Self::new(root))
    }

    /// Where the result of `job` will be; the same in every run.
    pub(super) fn place(&self, job: &Job) -> PathBuf {
        let at = job.at.to_string();
        let (day, time) = at.split_at_checked(10).unwrap_or(("", &at));
        let time: String = time.chars().filter(char::is_ascii_digit).take(6).collect();
        let kind = if job.is_host { "-host" } else { "" };
        self.root.join(day).join(format!("{time}-{}{kind}-{}", job.rule, job.id))
    }

    /// A directory to receive the result of `job` in, empty.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn beside(&self, job: &Job) -> io::Result<PathBuf> {
        let dir = self.root.join(format!("{BESIDE_PREFIX}{}", job.id));
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::create_dir(&dir).map(|()| dir)
    }

    /// Puts the papers of `job` to what was received in its directory, and the whole in its place, which is given.
    ///
    /// # Errors
    /// Something cannot be written.
    pub(super) fn keep(&self, job: &Job, gathered: &Gathered, now: Timestamp) -> io::Result<PathBuf> {
        let beside = self.root.join(format!("{BESIDE_PREFIX}{}", job.id));
        let keep_nanos = |secs: u64| secs.saturating_mul(NANOS_PER_SEC);
        let json = EventJson {
            id: job.id,
            rule: &job.rule,
            case: job.deed.case.as_deref(),
            reason: job.deed.reason.as_deref(),
            source: &job.source,
            format: &job.format,
            line: String::from_utf8_lossy(&job.line.0).trim_end().to_owned(),
            event_time: job.at,
            stored: now,
            expires: job.deed.keep_secs.map(|secs| now.plus_nanos(keep_nanos(secs))),
            query: &job.query,
            file: gathered.file.is_some().then_some(SAVEFILE),
            packets: gathered.packets,
            bytes: gathered.bytes,
            notes: &job.notes,
            sensors: &gathered.parts,
        };
        let mut line = job.line.0.clone();
        if !line.ends_with(b"\n") {
            line.push(b'\n');
        }
        write(&beside.join("event.log"), &line)?;
        write(&beside.join(EVENT_FILE), &[serde_json::to_vec_pretty(&json)?, b"\n".to_vec()].concat())?;
        File::open(&beside)?.sync_all()?;
        let place = self.place(job);
        let day = place.parent().unwrap_or(&self.root);
        fs::create_dir_all(day)?;
        fs::rename(&beside, &place)?;
        File::open(day)?.sync_all()?;
        Ok(place)
    }

    /// Removes what `job` left unfinished.
    pub(super) fn abandon(&self, job: &Job) {
        let _ = fs::remove_dir_all(self.root.join(format!("{BESIDE_PREFIX}{}", job.id)));
    }

    /// Bytes of all events; those whose time is over at `now` are removed and told.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) fn sweep(&self, now: Timestamp) -> io::Result<(u64, Vec<PathBuf>)> {
        let (mut bytes, mut removed) = (0, Vec::new());
        for day in directories(&self.root)? {
            for event in directories(&day)? {
                let kept = fs::read(event.join(EVENT_FILE)).ok();
                let kept = kept.and_then(|text| serde_json::from_slice::<Kept>(&text).ok());
                let over = kept.and_then(|kept| kept.expires).is_some_and(|expires| expires <= now);
                if over {
                    fs::remove_dir_all(&event)?;
                    removed.push(event);
                } else {
                    bytes += files(&event)?;
                }
            }
            // Only empty ones can be removed like this.
            let _ = fs::remove_dir(&day);
        }
        Ok((bytes, removed))
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The directories in one, without hidden ones.
fn directories(path: &Path) -> io::Result<Vec<PathBuf>> {
    let is_shown = |entry: &fs::DirEntry| !entry.file_name().to_string_lossy().starts_with('.');
    let is_dir = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    let entries = fs::read_dir(path)?.flatten().filter(|entry| is_shown(entry) && is_dir(entry));
    Ok(entries.map(|entry| entry.path()).collect())
}

pub(super) fn files(path: &Path) -> io::Result<u64> {
    let entries = fs::read_dir(path)?.flatten();
    Ok(entries
        .filter_map(|entry| entry.metadata().ok())
        .filter(fs::Metadata::is_file)
        .map(|meta| meta.len())
        .sum())
}

#[cfg(test)]
mod tests {
    use super::super::job::tests::job;
    use super::*;

    fn gathered() -> Gathered {
        Gathered { file: None, packets: 0, bytes: 0, duplicates: 0, parts: Vec::new() }
    }

    #[test]
    fn an_event_appears_whole_and_goes_when_its_time_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let (mut job, now) = (job(), Timestamp(NANOS_PER_SEC));
        (job.deed.keep_secs, job.deed.case) = (Some(10), Some("IR-7".into()));
        let beside = store.beside(&job).unwrap();
        fs::write(beside.join(SAVEFILE), b"12345").unwrap();
        assert!(!store.place(&job).exists());
        let place = store.keep(&job, &gathered(), now).unwrap();
        assert!(place.ends_with("1970-01-01/000140-c2-00000000000000000000000007"), "{}", place.display());
        assert_eq!(fs::read(place.join("event.log")).unwrap(), b"a line\n");
        let json: serde_json::Value =
            serde_json::from_slice(&fs::read(place.join(EVENT_FILE)).unwrap()).unwrap();
        assert_eq!((json["case"].as_str(), json["line"].as_str()), (Some("IR-7"), Some("a line")));
        let (bytes, removed) = store.sweep(now.plus_nanos(9 * NANOS_PER_SEC)).unwrap();
        assert!(bytes > 5 && removed.is_empty());
        let (bytes, removed) = store.sweep(now.plus_nanos(10 * NANOS_PER_SEC)).unwrap();
        assert!(bytes == 0 && removed == [place.clone()] && !place.parent().unwrap().exists());
    }

    #[test]
    fn half_an_event_is_gone_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        fs::write(store.beside(&job()).unwrap().join(SAVEFILE), b"12345").unwrap();
        Store::open(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
