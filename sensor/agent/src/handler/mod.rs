//! The sensor behind the uplink: its status, and the jobs it does for requests.
//!
//! Jobs read the store as any other reader does, at idle priority, on the uplink's worker thread; the capture thread is
//! only looked at through its counters.

mod refusal;
mod spooling;

use std::cell::RefCell;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hindcap_extract::{Options, plan, priority, run, search as list, summarise};
use hindcap_store::holds::HoldControl;
use hindcap_store::policy::Control;
use hindcap_store::volume::any::AnyReader;
use hindcap_store::wear::Wear;
use hindcap_store::{Health, Reader, Reading, Trouble};
use hindcap_uplink::{Extracted, Handler, Job, JobError};
use hindcap_wire::message::answer::{Estimate, Sessions};
use hindcap_wire::message::{
    CaptureStatus, CardStatus, ClockStatus, EventBody, EventsStatus, Extract, Held, Hold, HoldId, HoldList,
    Limits, MachineStatus, Pin, PinId, PinInfo, PinList, PolicyStatus, Release, Released, Request, Search,
    Status, Summarise, Summary, Unpin, WearStatus,
};
use hindcap_wire::policy::LeftOut;
use hindcap_wire::query::Query;
use hindcap_wire::time::Timestamp;

use crate::alarms::Alarms;
use crate::broker_line::BrokerLine;
use crate::capture::{Counters, reading};
use crate::card_status;
use crate::clock::{Clock, monotonic_nanos};
use crate::config::Config;
use crate::exit::Failure;
use crate::hold;
use crate::machine;
use crate::medium::MediumWatch;
use crate::pins::{Pins, sum_up};
use crate::query::{file_format, open};
use crate::rates::Rates;
use crate::report::{StoreReport, store_status};
use crate::wear;
use refusal::{gone, no_pins, refused, refused_hold};
use spooling::Spooling;

/// How long a look at the store is good enough for the status, nanoseconds.
const STORE_LOOK_NANOS: u64 = 5_000_000_000;

/// What the status needs of a running capture.
#[derive(Debug)]
pub struct CaptureView {
    /// The interface.
    pub interface: String,
    /// Totals of the capture thread.
    pub counters: Arc<Counters>,
    /// State of storage.
    pub health: Arc<Health>,
    /// What is left out, if anything is.
    pub control: Option<Arc<Control>>,
    /// Reaches the recorder to hold and to release.
    pub holds: HoldControl,
}

/// What a look at the store found, or why it found nothing.
type Seen = Result<Arc<StoreReport>, Arc<Failure>>;

/// Implements the uplink's [`Handler`].
#[derive(Debug)]
pub struct Sensor {
    config: Config,
    config_hash: String,
    capture: Option<CaptureView>,
    boot_id: String,
    boot_number: u64,
    rates: Rates,
    clock: Mutex<Clock>,
    store_seen: Mutex<Option<(u64, Seen)>>,
    medium: Arc<MediumWatch>,
    alarms: Arc<Alarms>,
    pins: Option<Arc<Pins>>,
    line: Arc<BrokerLine>,
}

impl Sensor {
    /// The sensor that `config` describes, with `capture` where it captures.
    #[must_use]
    pub fn new(
        config: Config,
        config_hash: String,
        (capture, pins, medium): (Option<CaptureView>, Option<Arc<Pins>>, Arc<MediumWatch>),
        alarms: Arc<Alarms>,
        line: Arc<BrokerLine>,
    ) -> Self {
        let clock = Mutex::new(Clock::new(config.synchronised_marker.clone()));
        Self {
            config,
            config_hash,
            capture,
            boot_id: machine::boot_id(),
            boot_number: machine::boot_number(),
            rates: Rates::default(),
            clock,
            store_seen: Mutex::default(),
            medium,
            alarms,
            pins,
            line,
        }
    }

    fn store(&self) -> &Path {
        &self.config.store
    }

    fn capture_status(&self) -> Option<CaptureStatus> {
        let capture = self.capture.as_ref()?;
        let (counters, health) = (&capture.counters, capture.health.snapshot());
        let (packets, bytes) = (counters.packets(), counters.bytes());
        let (packets_per_sec, bytes_per_sec) = self.rates.look(monotonic_nanos(), packets, bytes);
        Some(CaptureStatus {
            interface: capture.interface.clone(),
            link_up: Some(counters.link_up()),
            packets: health.packets_recorded.saturating_sub(health.packets_lost),
            bytes,
            drops: counters.drops_with(&health),
            packets_per_sec,
            bytes_per_sec,
        })
    }

    fn policy_status(&self, stored: LeftOut) -> Option<PolicyStatus> {
        let control = self.capture.as_ref()?.control.as_ref()?;
        Some(PolicyStatus { policy: control.policy(), left_out: control.left_out(), stored })
    }

    /// The store as it was seen at most a few seconds ago, or why it was not.
    fn store_seen(&self) -> Seen {
        let now = monotonic_nanos();
        let mut seen = lock(&self.store_seen);
        let fresh = seen.as_ref().filter(|(at, _)| now.saturating_sub(*at) < STORE_LOOK_NANOS);
        if let Some((_, fresh)) = fresh {
            return fresh.clone();
        }
        let found = store_status(self.store()).map(Arc::new).map_err(|failure| {
            log::debug!("status: {failure}");
            Arc::new(failure)
        });
        *seen = Some((now, found.clone()));
        found
    }

    fn card_status(&self, seen: &Seen) -> CardStatus {
        let health = self.capture.as_ref().map(|capture| capture.health.snapshot());
        let seen = seen.as_ref().map(|report| &report.seen).map_err(Arc::as_ref);
        card_status::status(self.store(), &self.medium.last().1, seen, health.as_ref())
    }

    /// Wear as the recorder knows it now, or as the store's state tells.
    fn wear_status(&self, stored: Option<Wear>) -> Option<WearStatus> {
        let live = self.capture.as_ref().map(|capture| capture.health.snapshot().wear);
        let (wear, (_, look)) = (live.or(stored)?, self.medium.last());
        Some(wear::status(&wear, wear.plan.as_ref(), &look))
    }

    /// The clock now, and how far off it was before it was set in this boot.
    fn clock_status(&self, seen: Option<&StoreReport>) -> ClockStatus {
        let ours = seen.filter(|seen| seen.clock_boot == Some(self.boot_number));
        let state = lock(&self.clock).state();
        ClockStatus { state, offset: ours.and_then(|seen| seen.clock.offset), ..ClockStatus::default() }
    }

    fn reading(&self) -> Reading {
        reading(&mut lock(&self.clock))
    }

    /// What was seen of the store is not true any more.
    fn look_again(&self) {
        *lock(&self.store_seen) = None;
    }
}

impl Sensor {
    /// Why a job cannot read the store: while its medium is away, that, and since when.
    fn failed(&self, failure: Failure) -> JobError {
        let medium = self.capture.as_ref().and_then(|capture| capture.health.snapshot().medium);
        match medium {
            Some(medium) if medium.trouble != Trouble::ReadOnly => JobError::Failed(format!(
                "{} since {}: {failure}; {}",
                medium.trouble,
                medium.since,
                medium.trouble.advice()
            )),
            _ => JobError::Failed(failure.to_string()),
        }
    }

    /// Reads the store for one job.
    fn reader(&self) -> Result<Reader<AnyReader>, JobError> {
        let reader = open(self.store()).map_err(|failure| self.failed(failure))?;
        Ok(match &self.pins {
            Some(pins) => reader.with_shelf(pins.shelf.clone()),
            None => reader,
        })
    }

    /// The event ring as it was seen, with the pins as they are.
    fn events_status(&self, seen: Option<&StoreReport>) -> Option<EventsStatus> {
        let mut status = seen?.events.clone()?;
        if let Some(pins) = &self.pins {
            sum_up(&mut status, &pins.list().pins);
        }
        Some(status)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Handler for Sensor {
    fn status(&self) -> Status {
        let id = self.config.sensor_id.parse().expect("the configuration was checked for it");
        let found = self.store_seen();
        let card = Some(self.card_status(&found));
        let seen = found.as_deref().ok();
        let wear = self.wear_status(seen.map(|seen| seen.worn));
        let stored = seen.map_or(LeftOut::NONE, |seen| seen.left_out);
        Status {
            description: self.config.sensor_description.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            system: self.config.sensor_system.clone(),
            boot_id: self.boot_id.clone(),
            uptime_secs: monotonic_nanos() / 1_000_000_000,
            capture: self.capture_status(),
            store: seen.map(|seen| seen.store.clone()),
            held: seen.map(|seen| seen.held),
            card,
            wear,
            events: self.events_status(seen),
            policy: self.policy_status(stored),
            clock: self.clock_status(seen),
            machine: MachineStatus {
                load_percent: machine::load_percent(),
                resident_bytes: machine::resident_bytes(),
                available_bytes: machine::available_bytes(),
                temperature_millicelsius: machine::temperature_millicelsius(),
            },
            config_hash: self.config_hash.clone(),
            alarms: self.alarms.standing(),
            ..Status::new(id)
        }
    }

    fn connection(&self, lost: Option<&str>) {
        self.line.told(lost, monotonic_nanos());
    }

    fn next_event(&self) -> Option<(Timestamp, EventBody)> {
        self.alarms.next_change()
    }

    fn extract(&self, request: &Request, extract: &Extract, job: &mut Job) -> Result<Extracted, JobError> {
        step_back();
        let mut reader = self.reader()?;
        let plan = plan(&mut reader, &extract.query).map_err(refused)?;
        let cancelled = job.cancelled();
        let room = job.spool.most();
        let max_bytes = Some(extract.limits.max_bytes.map_or(room, |bytes| bytes.min(room)));
        let options = Options {
            limits: Limits { max_bytes, ..extract.limits },
            cancelled: Some(&cancelled),
            ..Options::default()
        };
        let (answer, link_types) = {
            let job = RefCell::new(&mut *job);
            let mut sink = Spooling::new(&job, file_format(extract.format), request);
            (run(&mut reader, &plan, &options, &mut sink).map_err(refused)?, sink.link_types)
        };
        if job.is_cancelled() {
            return Err(JobError::Cancelled);
        }
        gone(answer.packets, answer.why_empty.as_ref())?;
        Ok(Extracted { answer, link_types })
    }

    fn search(&self, _request: &Request, search: &Search, job: &mut Job) -> Result<Sessions, JobError> {
        step_back();
        let mut reader = self.reader()?;
        let limit = usize::try_from(search.limit).unwrap_or(usize::MAX);
        let cancelled = job.cancelled();
        let sessions = list(&mut reader, &search.query, limit, Some(&cancelled)).map_err(refused)?;
        if job.is_cancelled() {
            return Err(JobError::Cancelled);
        }
        gone(sessions.rows.len() as u64, sessions.why_empty.as_ref())?;
        Ok(sessions)
    }

    fn estimate(&self, _request: &Request, query: &Query, _job: &mut Job) -> Result<Estimate, JobError> {
        step_back();
        let mut reader = self.reader()?;
        let estimate = plan(&mut reader, query).map_err(refused)?.estimate();
        let retention_forecast_secs =
            self.store_seen().ok().and_then(|seen| seen.store.retention_forecast_secs);
        Ok(Estimate { retention_forecast_secs, ..estimate })
    }

    fn summary(&self, _request: &Request, wanted: &Summarise, job: &mut Job) -> Result<Summary, JobError> {
        step_back();
        let mut reader = self.reader()?;
        let cancelled = job.cancelled();
        let summary = summarise(&mut reader, wanted, Some(&cancelled)).map_err(refused)?;
        if job.is_cancelled() {
            return Err(JobError::Cancelled);
        }
        gone(summary.total.connections, summary.why_empty.as_ref())?;
        Ok(summary)
    }

    fn hold(&self, request: &Request, hold: &Hold, _job: &mut Job) -> Result<Held, JobError> {
        step_back();
        let mut reader = self.reader()?;
        let id = HoldId::of_request(request.id);
        let order = hold::order(&mut reader, hold, id, request.reason.as_deref()).map_err(refused)?;
        drop(reader);
        let held = match &self.capture {
            Some(capture) => capture.holds.hold(order, HOLD_PATIENCE),
            None => hold::open_to_hold(self.store())
                .map_err(|failure| self.failed(failure))?
                .hold(&order, self.reading()),
        };
        self.look_again();
        held.map_err(refused_hold)
    }

    fn release(&self, _request: &Request, release: &Release, _job: &mut Job) -> Result<Released, JobError> {
        let released = match &self.capture {
            Some(capture) => capture.holds.release(release.hold, HOLD_PATIENCE),
            None => hold::open_to_hold(self.store())
                .map_err(|failure| self.failed(failure))?
                .release(release.hold),
        };
        self.look_again();
        released.map_err(refused_hold)
    }

    fn holds(&self, _request: &Request, _job: &mut Job) -> Result<HoldList, JobError> {
        hold::list(self.store()).map_err(|failure| self.failed(failure))
    }

    fn pin(&self, request: &Request, pin: &Pin, _job: &mut Job) -> Result<PinInfo, JobError> {
        let pins = self.pins.as_ref().ok_or_else(no_pins)?;
        let why = request.reason.as_deref().unwrap_or_default();
        pins.pin(PinId::of_request(request.id), pin, why, self.reading()).map_err(JobError::Failed)
    }

    fn unpin(&self, _request: &Request, unpin: &Unpin, _job: &mut Job) -> Result<PinInfo, JobError> {
        self.pins.as_ref().ok_or_else(no_pins)?.unpin(unpin.pin).map_err(JobError::Invalid)
    }

    fn pins(&self, _request: &Request, _job: &mut Job) -> Result<PinList, JobError> {
        Ok(self.pins.as_ref().ok_or_else(no_pins)?.list())
    }
}

/// A hold is durable within two flushes; storage that takes longer than this fails.
const HOLD_PATIENCE: Duration = Duration::from_secs(30);

/// The worker thread steps back behind the recorder; it stays there.
fn step_back() {
    if let Err(error) = priority::idle() {
        log::debug!("no idle priority for jobs: {error}");
    }
}
