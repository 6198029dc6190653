//! One step of a job: pin, look, fetch. Runs on a thread of its own with a connection of its own; what came of it goes back to
//! the loop, which alone changes the state.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hindcap_soc_api::{Api, ApiError, Ask};
use hindcap_wire::counted::Counted;
use hindcap_wire::message::answer::{Bytes, Sessions};
use hindcap_wire::message::{Extract, Format, Limits, Operation, Pin, Search, SensorId};
use hindcap_wire::time::{NANOS_PER_SEC, Timestamp};

use super::job::{Job, Look, Stage};
use super::store::{SAVEFILE, Store};
use crate::exit::{Code, Failure};
use crate::gather::{Gathered, Part, Sites, Wanted, choose, gather};

/// How long a sensor may take to answer a small question.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a fetch may go without progress.
const FETCH_PATIENCE: Duration = Duration::from_secs(120);
/// How much longer than for the end of the session a sensor that is away is waited for.
const AWAY_NANOS: u64 = 24 * 3_600 * NANOS_PER_SEC;
/// Rows of a look: a session is one, a host's pair of ports a few.
const ROWS: u32 = 64;
/// Least time of a pin, seconds: what was recorded is copied in that.
const PIN_SECS_MIN: u64 = 60;
/// Of the line, as a comment in the savefile.
const COMMENT_CHARS_MAX: usize = 4_096;
/// After the end of a subscription, until what came last is flushed.
const FLUSH_NANOS: u64 = 15 * NANOS_PER_SEC;

/// What steps work with.
#[derive(Clone)]
pub(super) struct Tools<'a> {
    pub(super) sites: &'a Sites,
    pub(super) store: &'a Store,
    pub(super) clock: &'a (dyn Fn() -> Timestamp + Sync),
    pub(super) interrupted: Arc<AtomicBool>,
}

/// What came of a step.
#[derive(Debug)]
pub(super) enum Done {
    /// To be gone on with, at its time; what a person should know of it may be empty.
    Later(Job, String),
    /// It is over; what came of it.
    Over(Job, String),
}

/// A step that did not work, and whether it may yet.
struct Trouble {
    what: String,
    again: bool,
}

impl From<ApiError> for Trouble {
    fn from(error: ApiError) -> Self {
        Failure::from(error).into()
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self { again: failure.exit == Code::Offline, what: failure.message }
    }
}

impl Tools<'_> {
    /// Goes on with `job`.
    pub(super) fn step(&self, api: &mut dyn Api, mut job: Job) -> Done {
        let result = match job.stage {
            Stage::Pin => self.pin(api, &mut job).map(|()| None),
            Stage::Wait(_) => self.look(api, &mut job).map(|()| None),
            Stage::Fetch => self.fetch(api, &mut job),
        };
        let now = (self.clock)();
        match result {
            Ok(Some(told)) => Done::Over(job, told),
            Ok(None) => Done::Later(job, String::new()),
            // Stopped by a person: everything as it was.
            Err(_) if self.interrupted.load(Ordering::Relaxed) => Done::Later(job, String::new()),
            Err(trouble) if trouble.again && now < job.until.plus_nanos(AWAY_NANOS) => {
                job.pause(now);
                Done::Later(job, format!("{}; again later", trouble.what))
            }
            Err(trouble) => {
                self.store.abandon(&job);
                Done::Over(job, format!("given up: {}", trouble.what))
            }
        }
    }

    fn asks(&self, job: &Job, timeout: Duration) -> Vec<Ask> {
        let ask = |sensor: &SensorId| Ask {
            reason: Some(job.deed.reason.clone().unwrap_or_else(|| format!("watch: {}", job.rule))),
            case: job.deed.case.clone(),
            timeout,
            interrupted: Arc::clone(&self.interrupted),
            ..Ask::new(sensor.clone())
        };
        job.sensors.iter().map(ask).collect()
    }

    /// Decides who is asked, and has them keep the session.
    fn pin(&self, api: &mut dyn Api, job: &mut Job) -> Result<(), Trouble> {
        if job.sensors.is_empty() {
            job.sensors = choose(api, self.sites, &job.deed.named.whom(), Some(&job.query))?.sensors;
        }
        if job.deed.pin {
            let pin = Operation::Pin(Pin {
                query: job.query.clone(),
                for_secs: Some((job.until.0.saturating_sub(job.made.0) / NANOS_PER_SEC).max(PIN_SECS_MIN)),
                max_bytes: Some(job.deed.max_bytes),
                who: Some("hindcap watch".into()),
            });
            for ask in self.asks(job, PATIENCE) {
                match api.order(&ask, &pin, &mut |_| ()) {
                    Ok(_) => {}
                    // Without an event ring the session has to do without.
                    Err(error @ (ApiError::Rejected(..) | ApiError::Ended(..))) => {
                        job.notes.push(format!("{}: not pinned: {error}", ask.sensor));
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let now = (self.clock)();
        job.looks = 0;
        if job.is_host {
            (job.stage, job.next) = (Stage::Fetch, job.query.time.end.plus_nanos(FLUSH_NANOS));
        } else {
            job.stage = Stage::Wait(None);
            job.next = now;
        }
        Ok(())
    }

    /// Looks whether the session is over.
    fn look(&self, api: &mut dyn Api, job: &mut Job) -> Result<(), Trouble> {
        let search = Search { query: job.query.clone(), limit: ROWS };
        let mut found = Vec::new();
        for ask in self.asks(job, PATIENCE) {
            match api.search(&ask, &search, &mut |_| ()) {
                Ok(sessions) => found.push(sessions),
                // It is gone from this sensor: what there is will tell.
                Err(ApiError::Ended(..)) => {
                    found.push(Sessions { coverage: vec![job.query.time], ..Sessions::default() });
                }
                Err(error) => return Err(error.into()),
            }
        }
        let now = (self.clock)();
        match job.look(&found, now) {
            Look::Later => job.pause(now),
            Look::Over | Look::Nothing => {
                (job.stage, job.looks, job.next) = (Stage::Fetch, 0, now);
            }
        }
        Ok(())
    }

    /// Fetches and keeps.
    fn fetch(&self, api: &mut dyn Api, job: &mut Job) -> Result<Option<String>, Trouble> {
        let here = self.store.place(job);
        if here.exists() {
            // A kill came between keeping it and saying so.
            return Ok(Some(format!("kept in {}", here.display())));
        }
        let disk = |error: std::io::Error| Trouble { what: error.to_string(), again: true };
        let beside = self.store.beside(job).map_err(disk)?;
        let limits = Limits { max_bytes: Some(job.deed.max_bytes), ..Limits::default() };
        let extract = Extract { query: job.query.clone(), limits, format: Format::Pcapng };
        let line = hindcap_events::visible(&job.line.0);
        let comment = Some(line.trim_end().chars().take(COMMENT_CHARS_MAX).collect());
        let wanted = Wanted { extract, comment };
        let asks = self.asks(job, FETCH_PATIENCE);
        let gathered = gather(api, &asks, &wanted, &beside.join(SAVEFILE), &mut |_, _| ())?;
        if gathered.file.is_none() && gathered.parts.iter().any(|part| part.code() == Code::Offline) {
            return Err(Trouble { what: gathered.parts.iter().map(Part::note).collect(), again: true });
        }
        let place = self.store.keep(job, &gathered, (self.clock)()).map_err(disk)?;
        Ok(Some(told(&gathered, &place)))
    }
}

fn told(gathered: &Gathered, place: &Path) -> String {
    let from: Vec<&str> = gathered.parts.iter().map(|part| part.sensor.as_str()).collect();
    let packets = Counted(gathered.packets, "packet");
    let mut text =
        format!("{packets}, {} from {} in {}", Bytes(gathered.bytes), from.join(", "), place.display());
    for note in gathered.parts.iter().map(Part::note).filter(|note| !note.is_empty()) {
        text.push_str(&format!("; {note}"));
    }
    text
}
