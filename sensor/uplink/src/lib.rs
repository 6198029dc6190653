//! The sensor's side of MQTT: requests, status, results; never in the way of recording.
//!
//! [`Uplink::start`] makes three threads: one polls the broker, one (the engine) decides and publishes, one runs jobs
//! through the [`Handler`] that the agent implements. Nothing here is called by, or waits for, the capture thread.
//!
//! A request is checked, written to the request queue on disk, and only then accepted. One identifier has one effect,
//! however often it arrives, and every accepted request ends: done, partial, rejected, expired, gone, cancelled or failed.
//! An extraction is spooled to a file, announced by a manifest and sent in chunks that the receiver acknowledges by bitmap;
//! the request ends when everything has arrived. Topics and documents are [`hindcap_wire::message`]; docs/PROTOCOL.md
//! tells the story on the wire.
//!
//! Requests are not signed yet: they are obeyed only where `unsigned_requests` is switched on by name, and the status
//! shows it. Bounds are in [`limits`].

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hindcap_link::{Link, LinkEvent, LinkOptions};
use hindcap_wire::message::{Channel, MqttSession, SensorId, Ulid};
use hindcap_wire::time::Timestamp;

mod admission;
mod delivery;
mod engine;
mod handler;
mod journal;
pub mod limits;
mod outgoing;
mod spool;
mod worker;

pub use handler::{Extracted, Handler, Job, JobError};
pub use hindcap_link::{
    Broker, Ending, Identity, Known, ParseBrokerError, Random, TimeSource, Tls, TlsError, Trust, Whose,
};
pub use spool::{Spool, Spooled};

use engine::{Engine, Settings};

/// How the uplink is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// The broker.
    pub broker: Broker,
    /// How to speak TLS with a broker that is reached by it.
    pub tls: Option<Tls>,
    /// This sensor's name.
    pub sensor: SensorId,
    /// Where the request queue and the spool live; made when missing.
    pub state_dir: PathBuf,
    /// Obey requests that are not signed: a development mode.
    pub unsigned_requests: bool,
    /// Bytes of results that may wait for delivery; default 256 MiB.
    pub spool_bytes_max: u64,
    /// Pause between two status messages; default 30 s.
    pub status_interval: Duration,
    /// How often to show the broker that we live, at least 5 s; default 30 s.
    pub keep_alive: Duration,
}

impl Options {
    /// The defaults: nothing unsigned is obeyed.
    #[must_use]
    pub fn new(broker: Broker, sensor: SensorId, state_dir: PathBuf) -> Self {
        Self {
            broker,
            tls: None,
            sensor,
            state_dir,
            unsigned_requests: false,
            spool_bytes_max: 256 * 1024 * 1024,
            status_interval: Duration::from_secs(30),
            keep_alive: Duration::from_secs(30),
        }
    }
}

/// Reads the wall clock.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Why the uplink cannot start.
#[derive(Debug)]
#[non_exhaustive]
pub enum UplinkError {
    /// The state directory cannot be used.
    StateDir {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A thread cannot be made.
    Thread(io::Error),
}

impl fmt::Display for UplinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StateDir { path, error } => write!(f, "state directory {}: {error}", path.display()),
            Self::Thread(error) => write!(f, "cannot start the uplink: {error}"),
        }
    }
}

impl std::error::Error for UplinkError {}

/// The running uplink. Dropping it without [`Uplink::stop`] leaves its threads running.
#[derive(Debug)]
pub struct Uplink {
    stop: Arc<AtomicBool>,
    connected: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Uplink {
    /// Starts the uplink; connecting goes on in the background for as long as it takes.
    ///
    /// # Errors
    /// When the state directory cannot be used or a thread cannot be made.
    pub fn start(
        options: Options,
        handler: Arc<dyn Handler>,
        clock: Clock,
        mut random: Random,
    ) -> Result<Self, UplinkError> {
        let now = clock();
        let run = Ulid::new(now, u128::from(random()) << 64 | u128::from(random()));
        let Options { broker, tls, sensor, state_dir, .. } = options;
        let settings = Settings {
            sensor: sensor.clone(),
            run,
            unsigned_requests: options.unsigned_requests,
            state_dir: state_dir.clone(),
            spool_bytes_max: options.spool_bytes_max,
            status_interval: options.status_interval,
        };
        let engine = Engine::open(settings, handler, now, Instant::now())
            .map_err(|error| UplinkError::StateDir { path: state_dir, error })?;
        let link = LinkOptions {
            broker,
            tls,
            client_id: format!("hindcap-sensor-{sensor}"),
            session_expiry_secs: limits::SESSION_EXPIRY_SECS,
            keep_alive: options.keep_alive,
            subscriptions: vec![Channel::Request.topic(&sensor), Channel::Ack.topic(&sensor)],
        };
        let will_clock = Arc::clone(&clock);
        let will_of = Box::new(move |connection| {
            engine::offline(&sensor, MqttSession { run, connection }, will_clock())
        });
        let link = Link::start(link, will_of, random).map_err(UplinkError::Thread)?;
        let (stop, connected) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (flag, shown) = (Arc::clone(&stop), Arc::clone(&connected));
        let thread = thread::Builder::new()
            .name("uplink".into())
            .spawn(move || run_engine(engine, link, &clock, &flag, &shown))
            .map_err(UplinkError::Thread)?;
        Ok(Self { stop, connected, thread })
    }

    /// Whether the broker is connected.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Says goodbye and ends: a job at work is told to stop and waited for, its request is taken up at the next start.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.thread.join().is_err() {
            log::error!("the uplink thread has panicked");
        }
    }
}

/// Longest wait for an event while nothing is at work; timers of the engine are coarser.
const IDLE_WAIT: Duration = Duration::from_millis(250);
/// The same while a job is at work, whose reports come on another way.
const BUSY_WAIT: Duration = Duration::from_millis(20);

fn run_engine(mut engine: Engine, mut link: Link, clock: &Clock, stop: &AtomicBool, connected: &AtomicBool) {
    let mut reason_shown = String::new();
    while !stop.load(Ordering::Relaxed) {
        let event = link.wait(if engine.is_busy() { BUSY_WAIT } else { IDLE_WAIT });
        let (now, instant) = (clock(), Instant::now());
        match event {
            Some(LinkEvent::Connected { connection, .. }) => {
                log::info!("connected to the broker");
                reason_shown.clear();
                connected.store(true, Ordering::Relaxed);
                engine.connected(connection, &mut link, now, instant);
            }
            Some(LinkEvent::Disconnected { reason, .. }) => {
                connected.store(false, Ordering::Relaxed);
                engine.disconnected(&reason);
                if reason != reason_shown {
                    log::warn!("no connection to the broker: {reason}; trying again until there is one");
                    reason_shown = reason;
                }
            }
            Some(LinkEvent::Received(received)) => {
                engine.received(&received, &mut link, now, instant);
                link.acknowledge(&received.receipt);
            }
            Some(LinkEvent::Refused(_, reason)) => log::warn!("the broker refused a message: {reason}"),
            Some(LinkEvent::SubscriptionRefused(reason)) => {
                log::error!("the broker refused a subscription: {reason}; no request will arrive");
            }
            _ => {}
        }
        engine.tick(&mut link, now, instant);
    }
    let farewell = engine.farewell(clock());
    engine.stop();
    link.close(farewell);
    connected.store(false, Ordering::Relaxed);
}
