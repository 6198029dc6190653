//! The SOC's side: asks sensors, follows their replies, receives and checks results.
//!
//! [`Api`] is what the command line (and later the server) works with; [`MqttApi`] is its carrier over a broker. A request
//! is repeated with the same identifier until it is answered, so that a broker that restarts in the middle costs time and
//! nothing else; a result is written beside its destination, checked by CRC per chunk and by SHA-256 as a whole, and only
//! then renamed and acknowledged.
//!
//! Clock and randomness are arguments.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hindcap_wire::message::answer::{Estimate, Sessions};
use hindcap_wire::message::{
    Accepted, Extract, Manifest, Operation, Outcome, Progress, Reason, ReplyBody, Search, SensorId, State,
    Status, Ulid,
};
use hindcap_wire::query::Query;
use hindcap_wire::time::Timestamp;

mod crowd;
mod exchange;
mod fetch;
mod mqtt;
mod receiver;

pub use hindcap_link::{
    Broker, Ending, Identity, Known, ParseBrokerError, Random, TimeSource, Tls, TlsError, Trust, Whose,
    certificates_end, day,
};
pub use mqtt::{Clock, MqttApi};

/// Whom to ask, and how patiently.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The sensor.
    pub sensor: SensorId,
    /// Why, for the sensor's audit record.
    pub reason: Option<String>,
    /// The case it belongs to.
    pub case: Option<String>,
    /// Give up after this long without a sign of progress.
    pub timeout: Duration,
    /// How long the sensor may take before the request has no effect any more; at most
    /// [`hindcap_wire::limits::REQUEST_LIFE_SECS_MAX`].
    pub life: Duration,
    /// Do not wait for the sensor while it is away: leave the request at the broker for when it returns
    /// ([`ApiError::Queued`]).
    pub queue: bool,
    /// Set by a signal handler to give up at once.
    pub interrupted: Arc<AtomicBool>,
}

impl Ask {
    /// Ask `sensor`, for two minutes without progress, an hour in all.
    #[must_use]
    pub fn new(sensor: SensorId) -> Self {
        Self {
            sensor,
            reason: None,
            case: None,
            timeout: Duration::from_secs(120),
            life: Duration::from_secs(3_600),
            queue: false,
            interrupted: Arc::default(),
        }
    }
}

/// What happens meanwhile.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The broker is there.
    Connected,
    /// The broker is not there; trying again.
    Disconnected(String),
    /// The sensor is not connected; last heard of then.
    Offline(Option<Timestamp>),
    /// The sensor has the request.
    Accepted(Accepted),
    /// The job is running.
    Progress(Progress),
    /// The result is ready.
    Manifest(Box<Manifest>),
    /// This many bytes of the result are here.
    Arrived(u64),
}

/// A result that was received and checked.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// What it is and what it covers.
    pub manifest: Manifest,
    /// How the request ended.
    pub outcome: Outcome,
    /// How, for people; may be empty.
    pub detail: String,
    /// The file; absent when no packet matched.
    pub path: Option<PathBuf>,
}

/// A request that was sent and not answered: the same once more has no second effect, and is answered with what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Who was asked.
    pub sensor: SensorId,
    /// The request.
    pub request: Ulid,
    /// When it expires.
    pub until: Timestamp,
    /// What was sent, byte for byte.
    pub envelope: Vec<u8>,
}

/// A sensor as its retained messages show it.
#[derive(Clone, Debug)]
pub struct SensorView {
    /// Who.
    pub sensor: SensorId,
    /// Whether it is connected.
    pub online: bool,
    /// Its birth or last will.
    pub state: Option<State>,
    /// Its last status.
    pub status: Option<Status>,
}

impl SensorView {
    /// When it was last heard of.
    #[must_use]
    pub fn last_heard(&self) -> Option<Timestamp> {
        let state = self.state.as_ref().map(|state| state.sent);
        state.max(self.status.as_ref().map(|status| status.sent))
    }
}

/// Why there is no result.
#[derive(Debug)]
#[non_exhaustive]
pub enum ApiError {
    /// The sensor refused the request.
    Rejected(Reason, String),
    /// The request ended without a result.
    Ended(Outcome, String),
    /// Nothing was heard for too long.
    Timeout {
        /// What was waited for.
        waiting_for: &'static str,
        /// Where the sensor is offline: when it was last heard of.
        offline_since: Option<Option<Timestamp>>,
    },
    /// The sensor is away, and the request waits for it at the broker.
    Queued {
        /// By which it is asked for again.
        ticket: Ticket,
        /// When the sensor was last heard of.
        last_heard: Option<Timestamp>,
    },
    /// The broker cannot be reached.
    Unreachable(String),
    /// The broker does not want us.
    Denied(String),
    /// The result does not match its checksum, twice.
    Damaged,
    /// The sensor sent something that makes no sense.
    Protocol(String),
    /// The request is too large to be sent.
    TooLarge(usize),
    /// Given up by the caller.
    Interrupted,
    /// A file.
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// No thread for the connection.
    Thread(io::Error),
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(_, detail) => write!(f, "the sensor rejected the request: {detail}"),
            Self::Ended(outcome, detail) if detail.is_empty() => {
                write!(f, "the request ended: {}", outcome.name())
            }
            Self::Ended(outcome, detail) => write!(f, "the request ended: {}: {detail}", outcome.name()),
            Self::Timeout { offline_since: Some(Some(since)), .. } => {
                write!(f, "the sensor is offline; it was last heard of at {since}")
            }
            Self::Timeout { offline_since: Some(None), .. } => {
                f.write_str("no sensor of this name has ever been seen at this broker")
            }
            Self::Timeout { waiting_for, .. } => write!(f, "timed out waiting for {waiting_for}"),
            Self::Queued { ticket: Ticket { request, until, .. }, last_heard } => {
                match last_heard {
                    Some(at) => write!(f, "offline, last heard of at {at}; ")?,
                    None => f.write_str("never seen at this broker; ")?,
                }
                write!(f, "request {request} is queued until {until}")
            }
            Self::Unreachable(reason) => write!(f, "no connection to the broker: {reason}"),
            Self::Denied(reason) => write!(f, "denied: {reason}"),
            Self::Damaged => f.write_str("the result does not match its checksum, even sent again"),
            Self::Protocol(detail) => write!(f, "the sensor sent something that makes no sense: {detail}"),
            Self::TooLarge(bytes) => write!(f, "the request has {bytes} bytes, which is too large to send"),
            Self::Interrupted => f.write_str("interrupted"),
            Self::File { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Thread(error) => write!(f, "cannot start the connection: {error}"),
        }
    }
}

impl std::error::Error for ApiError {}

/// What each of several sensors answered, in the order in which they were asked.
pub type Answers<T> = Vec<Result<T, ApiError>>;

/// The only answer.
fn only<T>(answers: Result<Answers<T>, ApiError>) -> Result<T, ApiError> {
    answers?.pop().unwrap_or_else(|| Err(ApiError::Protocol("nobody was asked".into())))
}

/// What can be asked of sensors. All of `asks` are asked at once, over one connection; what concerns one of them only stands in
/// its answer, and an error is what concerns all. `watch` is told what happens meanwhile. The functions without `_all` ask one.
pub trait Api {
    /// Packets, as a savefile for each sensor, at the path of the same number in `to`. An empty result makes no file.
    ///
    /// # Errors
    /// Why nobody can be asked, or that the caller gave up.
    fn fetch_all(
        &mut self,
        asks: &[Ask],
        extract: &Extract,
        to: &[PathBuf],
        watch: &mut dyn FnMut(&SensorId, Event),
    ) -> Result<Answers<Fetched>, ApiError>;

    /// Sessions, newest first.
    ///
    /// # Errors
    /// As [`Api::fetch_all`].
    fn search_all(
        &mut self,
        asks: &[Ask],
        search: &Search,
        watch: &mut dyn FnMut(&SensorId, Event),
    ) -> Result<Answers<Sessions>, ApiError>;

    /// What a fetch would read and give.
    ///
    /// # Errors
    /// As [`Api::fetch_all`].
    fn estimate_all(
        &mut self,
        asks: &[Ask],
        query: &Query,
        watch: &mut dyn FnMut(&SensorId, Event),
    ) -> Result<Answers<Estimate>, ApiError>;

    /// Has sensors do `operation`, whose whole result is one reply: [`Operation::Hold`] and its like.
    ///
    /// # Errors
    /// As [`Api::fetch_all`].
    fn order_all(
        &mut self,
        asks: &[Ask],
        operation: &Operation,
        watch: &mut dyn FnMut(&SensorId, Event),
    ) -> Result<Answers<ReplyBody>, ApiError>;

    /// As [`Api::fetch_all`].
    ///
    /// # Errors
    /// Why there is no result.
    fn fetch(
        &mut self,
        ask: &Ask,
        extract: &Extract,
        to: &Path,
        watch: &mut dyn FnMut(Event),
    ) -> Result<Fetched, ApiError> {
        only(self.fetch_all(slice::from_ref(ask), extract, &[to.into()], &mut |_, event| watch(event)))
    }

    /// What became of an extraction that was left at the broker, as [`Api::fetch`].
    ///
    /// # Errors
    /// Why there is no result.
    fn collect(
        &mut self,
        ask: &Ask,
        ticket: &Ticket,
        to: &Path,
        watch: &mut dyn FnMut(Event),
    ) -> Result<Fetched, ApiError>;

    /// As [`Api::search_all`].
    ///
    /// # Errors
    /// Why there is no result.
    fn search(
        &mut self,
        ask: &Ask,
        search: &Search,
        watch: &mut dyn FnMut(Event),
    ) -> Result<Sessions, ApiError> {
        only(self.search_all(slice::from_ref(ask), search, &mut |_, event| watch(event)))
    }

    /// As [`Api::estimate_all`].
    ///
    /// # Errors
    /// Why there is no result.
    fn estimate(
        &mut self,
        ask: &Ask,
        query: &Query,
        watch: &mut dyn FnMut(Event),
    ) -> Result<Estimate, ApiError> {
        only(self.estimate_all(slice::from_ref(ask), query, &mut |_, event| watch(event)))
    }

    /// As [`Api::order_all`].
    ///
    /// # Errors
    /// Why there is no result.
    fn order(
        &mut self,
        ask: &Ask,
        operation: &Operation,
        watch: &mut dyn FnMut(Event),
    ) -> Result<ReplyBody, ApiError> {
        only(self.order_all(slice::from_ref(ask), operation, &mut |_, event| watch(event)))
    }

    /// What sensors say of themselves; of all of them when none is named. Waits at most `timeout`.
    ///
    /// # Errors
    /// When the broker cannot be asked.
    fn sensors(&mut self, sensor: Option<&SensorId>, timeout: Duration) -> Result<Vec<SensorView>, ApiError>;
}
