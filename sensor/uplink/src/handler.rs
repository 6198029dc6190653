//! What the uplink asks of the sensor: the agent implements [`Handler`], tests have their own.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hindcap_wire::message::answer::{Answer, Estimate, Sessions};
use hindcap_wire::message::{
    EventBody, Extract, Held, Hold, HoldList, Pin, PinInfo, PinList, Progress, Release, Released, Request,
    Search, Status, Summarise, Summary, Unpin,
};
use hindcap_wire::packet::LinkType;
use hindcap_wire::query::Query;
use hindcap_wire::time::Timestamp;

use crate::spool::Spool;

/// The sensor behind the uplink. Jobs run one at a time on the uplink's worker thread; `status` and `check` are called
/// on its engine thread and must be quick. None of them may touch the capture thread.
pub trait Handler: Send + Sync + 'static {
    /// How the sensor does. The uplink fills in `sensor`, `sent`, `mqtt_session`, `unsigned_requests` and `jobs`.
    fn status(&self) -> Status;

    /// The broker is connected from now on, or it is not, and why, in words for people. A broker's own words may be among them:
    /// of any length, with any character. Called on the engine thread, each time that a connection fails as well; must be quick.
    fn connection(&self, lost: Option<&str>) {
        let _ = lost;
    }

    /// What happened since the last call and is worth a message of its own, oldest first, and when. Called on the engine
    /// thread while the broker is connected, often; must be quick. What is not taken waits, within a bound of its own.
    fn next_event(&self) -> Option<(Timestamp, EventBody)> {
        None
    }

    /// Called once on the worker thread before its first job: the place to lower its priority.
    fn prepare_worker(&self) {}

    /// Whether `query` can be answered at all, before the request is accepted; the words go to the requester.
    ///
    /// # Errors
    /// What cannot be meant. The query's own [`Query::validate`] has passed.
    fn check(&self, query: &Query) -> Result<(), String> {
        let _ = query;
        Ok(())
    }

    /// Writes the savefile of `extract` into `job.spool`, in `extract.format`, within `extract.limits`.
    ///
    /// # Errors
    /// Why there is no result.
    fn extract(&self, request: &Request, extract: &Extract, job: &mut Job) -> Result<Extracted, JobError>;

    /// Sessions, newest first, at most `search.limit`.
    ///
    /// # Errors
    /// Why there is no result.
    fn search(&self, request: &Request, search: &Search, job: &mut Job) -> Result<Sessions, JobError>;

    /// What an extraction would read and give.
    ///
    /// # Errors
    /// Why there is no result.
    fn estimate(&self, request: &Request, query: &Query, job: &mut Job) -> Result<Estimate, JobError>;

    /// The top talkers, at most `wanted.rows` of each kind.
    ///
    /// # Errors
    /// Why there is no result.
    fn summary(&self, request: &Request, wanted: &Summarise, job: &mut Job) -> Result<Summary, JobError>;

    /// Keeps segments. The same request again gives the hold that it made before.
    ///
    /// # Errors
    /// Why nothing is held.
    fn hold(&self, request: &Request, hold: &Hold, job: &mut Job) -> Result<Held, JobError> {
        let _ = (request, hold, job);
        Err(no_holds())
    }

    /// Ends a hold.
    ///
    /// # Errors
    /// There is no such hold, or it cannot be ended durably.
    fn release(&self, request: &Request, release: &Release, job: &mut Job) -> Result<Released, JobError> {
        let _ = (request, release, job);
        Err(no_holds())
    }

    /// Lists the holds.
    ///
    /// # Errors
    /// The store cannot be read.
    fn holds(&self, request: &Request, job: &mut Job) -> Result<HoldList, JobError> {
        let _ = (request, job);
        Err(no_holds())
    }

    /// Has the sessions of a query copied, which goes on after the reply. The same request again gives the pin that it
    /// made before.
    ///
    /// # Errors
    /// Why nothing is pinned.
    fn pin(&self, request: &Request, pin: &Pin, job: &mut Job) -> Result<PinInfo, JobError> {
        let _ = (request, pin, job);
        Err(no_pins())
    }

    /// Ends a pin.
    ///
    /// # Errors
    /// There is no such pin.
    fn unpin(&self, request: &Request, unpin: &Unpin, job: &mut Job) -> Result<PinInfo, JobError> {
        let _ = (request, unpin, job);
        Err(no_pins())
    }

    /// Lists the pins.
    ///
    /// # Errors
    /// There is no event ring.
    fn pins(&self, request: &Request, job: &mut Job) -> Result<PinList, JobError> {
        let _ = (request, job);
        Err(no_pins())
    }
}

fn no_pins() -> JobError {
    JobError::Invalid("this sensor has no event ring, so no session can be pinned".into())
}

fn no_holds() -> JobError {
    JobError::Invalid("this sensor records nothing at the moment, so nothing can be held or released".into())
}

/// What an extraction gave; its bytes are in the spool.
#[derive(Clone, Debug, Default)]
pub struct Extracted {
    /// What it covers; `packets` is the number in the savefile.
    pub answer: Answer,
    /// Link types in the savefile.
    pub link_types: Vec<LinkType>,
}

/// What a job works with.
pub struct Job {
    /// Where its result goes.
    pub spool: Spool,
    pub(crate) cancelled: Arc<AtomicBool>,
    pub(crate) report: Box<dyn FnMut(Progress) + Send>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("spool", &self.spool).finish_non_exhaustive()
    }
}

impl Job {
    /// Tells how far the job is; as often as you like, a reply is sent every few seconds.
    pub fn progress(&mut self, progress: Progress) {
        (self.report)(progress);
    }

    /// Whether the job is to end with [`JobError::Cancelled`]: by request, expiry or shutdown. Look often.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// The flag behind [`Job::is_cancelled`], for code that takes one.
    #[must_use]
    pub fn cancelled(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.cancelled)
    }
}

/// Why a job has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobError {
    /// Everything asked for has been pruned; the oldest packet still there.
    Gone {
        /// The oldest packet still there.
        oldest: Option<Timestamp>,
    },
    /// The query turned out to be impossible, for example its filter.
    Invalid(String),
    /// [`Job::is_cancelled`] said so.
    Cancelled,
    /// Anything else.
    Failed(String),
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone { oldest: Some(oldest) } => {
                write!(f, "pruned: the oldest packet still there is of {oldest}")
            }
            Self::Gone { oldest: None } => f.write_str("pruned: nothing is left of that time"),
            Self::Invalid(detail) | Self::Failed(detail) => f.write_str(detail),
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
}

impl std::error::Error for JobError {}

impl From<std::io::Error> for JobError {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}
