//! `hindcapd run`: recording, status and MQTT together, as the configuration says.
//!
//! Without an interface it captures nothing and only serves what the store holds; without a broker it only records.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hindcap_capture::{LiveOptions, LiveSource};
use hindcap_store::events::EventsDoor;
use hindcap_store::holds::KeepPolicy;
use hindcap_store::volume::any::{AnyVolume, Place};
use hindcap_store::volume::block::OpenError;
use hindcap_store::volume::fat::FatError;
use hindcap_store::wear::{Plan, Step};
use hindcap_store::{Health, HealthSnapshot, RecorderOptions, Store, StoreError};
use hindcap_uplink::{Broker, Options, Tls, Uplink};
use hindcap_wire::policy::Policy;
use hindcap_wire::time::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::alarms::Alarms;
use crate::broker_line::{BrokerLine, LineFile};
use crate::capture::Capture;
use crate::certificates::CertificateWatch;
use crate::cli::RunArgs;
use crate::clock::{Clock, monotonic_nanos, wall};
use crate::config::Config;
use crate::endurance::Terms;
use crate::exit::{Code, Failure};
use crate::handler::{CaptureView, Sensor};
use crate::machine::{boot_number, random_number};
use crate::medium::{FIRST_LOOK, Look, MediumWatch, SYS, readers};
use crate::pins::{self, Pins, PinsWatch, Work, Worker};
use crate::policy::Rules;
use crate::query::open;
use crate::record::start;
use crate::stop::Stop;
use crate::store::open_for_writing;
use crate::tls;
use crate::watch::{AgeWatch, Watch};
use crate::wear::{self, WearWatch};

/// Bytes of a batch buffer.
const BUFFER_BYTES: u64 = 1024 * 1024;
/// How often the main thread looks at signals and health.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Runs until SIGINT or SIGTERM.
///
/// # Errors
/// The configuration, interface, store or spool cannot be used, or the capture cannot go on.
pub fn run(args: &RunArgs, level: Option<log::LevelFilter>) -> Result<Code, Failure> {
    let config = Config::load(&args.config)?;
    crate::logger::init(level.unwrap_or(config.log_level));
    let stop = Stop::on_signals()?;
    let medium = Arc::new(MediumWatch::start(config.store.clone(), SYS.into(), readers()));
    let (capture, worker) = if config.interface.is_empty() {
        log::info!("no interface is configured: serving {} only", config.store.display());
        open(&config.store)?;
        (None, serve_pins(&config))
    } else {
        let (capture, worker) = record(&config, &medium, &stop)?;
        (Some(capture), worker)
    };
    let pins = worker.as_ref().map(|worker| Arc::clone(&worker.pins));
    let alarms = Arc::<Alarms>::default();
    let line = Arc::new(BrokerLine::new(!config.broker.is_empty()));
    // Its address without user and password.
    let address = config.broker.parse::<Broker>().map(|broker| broker.to_string()).unwrap_or_default();
    let mut line_file = LineFile::new(&config.connection_file, &address);
    let (uplink, tls) = match config.broker.as_str() {
        "" => (None, None),
        broker => {
            let parts = (capture.as_ref(), pins.clone(), Arc::clone(&medium));
            let (uplink, tls) = connect(&config, broker, &fs::read(&args.config)?, parts, (&alarms, &line))?;
            (Some(uplink), tls)
        }
    };
    let watch = Watch::new(Arc::clone(&alarms), config.interface.clone());
    let mut worn = Worn::new(Terms::of(&config), medium, Arc::clone(&alarms), capture.as_ref());
    let mut ages = AgeWatch::new(Arc::clone(&alarms), config.store.clone());
    let mut cases = PinsWatch::new(Arc::clone(&alarms), pins);
    let mut certificates = CertificateWatch::new(Arc::clone(&alarms), tls);
    while !stop.asked() && !capture.as_ref().is_some_and(Capture::is_finished) {
        std::thread::sleep(LOOK_EVERY);
        let works = capture.as_ref().is_none_or(|capture| capture.health.snapshot().medium.is_none());
        cases.look(monotonic_nanos(), wall(), works);
        certificates.look(monotonic_nanos(), wall());
        if let Some(file) = &mut line_file {
            file.look(&line, monotonic_nanos(), wall());
        }
        if let Some(capture) = &capture {
            let (health, now) = (capture.health.snapshot(), wall());
            watch.look(&health, capture.counters.link_up(), now);
            ages.look(monotonic_nanos(), now);
            worn.look(Some((capture, &health)), now);
        } else {
            worn.look(None, wall());
        }
    }
    // The record first: nothing that the broker does may delay the last flush.
    let ended = capture.map_or(Ok(()), Capture::join);
    if let Some(worker) = worker {
        worker.stop();
    }
    if let Some(uplink) = uplink {
        uplink.stop();
    }
    ended.map_err(|error| Failure::from(error).doing(format!("record {}", config.interface)))?;
    log::info!("stopped");
    Ok(Code::Done)
}

/// What the main thread does about wear: passes on what the medium says, raises alarms, steers by the budget.
struct Worn {
    terms: Terms,
    medium: Arc<MediumWatch>,
    watch: WearWatch,
    /// Looks at the medium that were passed on.
    looks: u64,
    /// Whether the medium was away, and which card was swapped in last, as far as the medium was looked at since.
    place: (bool, Option<Timestamp>),
    step: Step,
    /// The budget never records more than the configuration asks for.
    configured: Policy,
}

impl Worn {
    fn new(terms: Terms, medium: Arc<MediumWatch>, alarms: Arc<Alarms>, capture: Option<&Capture>) -> Self {
        let control = capture.and_then(|capture| capture.control.as_ref());
        let configured = control.map_or(wear::POLICY, |control| control.policy());
        let (watch, step) = (WearWatch::new(alarms), Step::default());
        Self { terms, medium, watch, looks: 0, place: (false, None), step, configured }
    }

    fn look(&mut self, recording: Option<(&Capture, &HealthSnapshot)>, now: Timestamp) {
        let (looks, look) = self.medium.last();
        let Some((capture, health)) = recording else { return self.watch.look(None, None, &look, now) };
        if looks != self.looks {
            self.pass_on(looks, &look, capture);
        }
        let place = (health.medium.is_some(), health.swapped.as_ref().map(|swapped| swapped.at));
        if place != self.place {
            self.place = place;
            self.medium.look_again();
        }
        self.watch.look(Some(&health.wear), health.wear.plan.as_ref(), &look, now);
        let asked = health.wear.budget.step;
        if let (Some(control), true) = (&capture.control, asked != self.step) {
            self.step = asked;
            self.step.steer(control, &self.configured);
        }
    }

    /// Tells the recorder what the medium can take and what it says is used of it.
    fn pass_on(&mut self, looks: u64, look: &Look, capture: &Capture) {
        if self.looks == 0 {
            log::info!("the store lies on: {}", look.status());
            if let Some(doubt) = self.terms.doubt(look) {
                log::warn!("{doubt}");
            }
        }
        self.looks = looks;
        let plan = self.terms.plan(look);
        // What was not known at the start cannot steer a recording that has no control: from the next start on it does.
        let enforced = |plan: Plan| Plan { enforced: plan.enforced && capture.control.is_some(), ..plan };
        capture.health.set_plan(plan.map(enforced));
        capture.health.set_used_permille(look.registers.used_permille);
    }
}

/// The worker of the pins where nothing is recorded: in a directory the event ring has a lock of its own. A card has one for
/// both rings, and is left to whoever records into it or pins by hand.
fn serve_pins(config: &Config) -> Option<Worker> {
    match Place::parse(&config.store) {
        Place::Dir(path) => begin_pins(config, EventsDoor::of_dir(&path), None),
        Place::Fat(_) => None,
    }
}

fn begin_pins(config: &Config, door: EventsDoor, health: Option<Arc<Health>>) -> Option<Worker> {
    let work = Work {
        store: config.store.clone(),
        door,
        flush_interval: config.flush_interval.0,
        hash_chain: config.hash_chain,
        health,
        max_age_secs: Some(config.event_max_age.0.as_secs()),
    };
    pins::begin(work, Clock::new(config.synchronised_marker.clone()))
}

fn record(config: &Config, medium: &MediumWatch, stop: &Stop) -> Result<(Capture, Option<Worker>), Failure> {
    let doing = |failure: Failure| failure.doing(format!("record {}", config.interface));
    let rules = Rules::of_config(config).map_err(|error| doing(error.into()))?;
    let source = LiveSource::open(LiveOptions {
        interface: config.interface.clone(),
        ring_bytes: u32::try_from(config.ring.0).unwrap_or(u32::MAX),
        snaplen: u32::try_from(config.snaplen.0).unwrap_or(u32::MAX),
        filter: rules
            .kernel_filter(&config.filter, &config.interface)
            .map_err(|error| doing(error.into()))?,
        promiscuous: config.promiscuous,
    })
    .map_err(|error| doing(error.into()))?;
    let opened =
        open_for_writing(&config.store, Some(config.store_size), config.segment.0, Some(config.event_share));
    let store = or_absent(&config.store, opened).map_err(|error| doing(error.into()))?;
    log::info!("recording {} into {}", config.interface, config.store.display());
    let worker = begin_pins(config, store.events_door(), Some(store.health()));
    let clock = Clock::new(config.synchronised_marker.clone());
    let (terms, (_, look)) = (Terms::of(config), medium.first(FIRST_LOOK));
    let options = RecorderOptions { wear: wear::options(terms.plan(&look)), ..recorder_options(config) };
    // A write budget needs a hand on the recording even where nothing is left out so far.
    let budget = || terms.may_steer(&look).then(|| rules.control_of(wear::POLICY));
    let control = rules.control().or_else(budget);
    Ok((start(source, store, options, clock, stop, control).map_err(doing)?, worker))
}

fn recorder_options(config: &Config) -> RecorderOptions {
    RecorderOptions {
        flush_interval_nanos: config.flush_interval.millis().saturating_mul(1_000_000),
        hash_chain: config.hash_chain,
        keep: Some(keep_policy(config)),
        boot: boot_number(),
        buffers: usize::try_from(config.buffers.0 / BUFFER_BYTES).unwrap_or(RecorderOptions::BUFFERS),
        ..RecorderOptions::live()
    }
}

/// A card may come after the sensor: recording then begins in memory. What a person has to decide (another process, an
/// option) ends the start, as everything does for a directory.
fn or_absent(
    path: &Path,
    opened: Result<Store<AnyVolume>, StoreError>,
) -> Result<Store<AnyVolume>, StoreError> {
    match opened {
        Err(error @ StoreError::Fat(_))
            if !matches!(error, StoreError::Fat(FatError::Open(OpenError::InUse { .. }))) =>
        {
            Ok(Store::absent(path, &error, wall()))
        }
        opened => opened,
    }
}

/// How long packets are kept, in the words of the store.
fn keep_policy(config: &Config) -> KeepPolicy {
    KeepPolicy {
        held_share: config.held_share.0,
        max_age_secs: config.max_age.0.as_secs(),
        min_age_secs: config.min_age.0.as_secs(),
    }
}

/// Starts the way to the broker; what it knows of certificates.
fn connect(
    config: &Config,
    broker: &str,
    file: &[u8],
    (capture, pins, medium): (Option<&Capture>, Option<Arc<Pins>>, Arc<MediumWatch>),
    (alarms, line): (&Arc<Alarms>, &Arc<BrokerLine>),
) -> Result<(Uplink, Option<Tls>), Failure> {
    let mut broker: Broker = broker.parse().map_err(|error| Failure::from(error).doing("mqtt.broker"))?;
    if !config.username.is_empty() {
        broker = broker.with_login(config.username.clone(), password(config)?);
    }
    let sensor = config.sensor_id.parse()?;
    if config.unsigned {
        log::warn!("mqtt.unsigned is on: whoever reaches the broker can have any packet");
    }
    log::info!("sensor {} serves requests through {broker}", config.sensor_id);
    let tls = tls::load(config, broker.is_tls())?;
    if let Some(doubt) = tls.as_ref().and_then(Tls::doubt) {
        log::warn!("{doubt}");
    }
    let options = Options {
        tls: tls.clone(),
        unsigned_requests: config.unsigned,
        spool_bytes_max: config.result_max.0,
        status_interval: config.status_interval.0,
        ..Options::new(broker, sensor, config.state_dir.clone())
    };
    let capture = capture.map(|capture| CaptureView {
        interface: config.interface.clone(),
        counters: Arc::clone(&capture.counters),
        health: Arc::clone(&capture.health),
        control: capture.control.clone(),
        holds: capture.holds.clone(),
    });
    let hash: String = Sha256::digest(file).iter().map(|byte| format!("{byte:02x}")).collect();
    let (alarms, line) = (Arc::clone(alarms), Arc::clone(line));
    let handler = Arc::new(Sensor::new(config.clone(), hash, (capture, pins, medium), alarms, line));
    Ok((Uplink::start(options, handler, Arc::new(wall), Box::new(random_number))?, tls))
}

fn password(config: &Config) -> Result<String, Failure> {
    if config.password_file.is_empty() {
        return Ok(String::new());
    }
    let text = fs::read_to_string(&config.password_file).map_err(|error| {
        Failure::from(error).doing(format!("mqtt.password_file {}", config.password_file))
    })?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use hindcap_store::Reading;
    use hindcap_wire::ledger::{NO_CHAIN, SummaryPage};
    use hindcap_wire::packet::{Interface, LinkType, Packet};
    use hindcap_wire::time::Timestamp;

    use super::*;

    /// The summary of a segment that was recorded as `config` says.
    fn recorded(config: &Config) -> SummaryPage {
        let share = Some(config.event_share);
        let store =
            open_for_writing(&config.store, Some(config.store_size), config.segment.0, share).unwrap();
        let mut recorder = store.recorder(recorder_options(config), Reading::default()).unwrap();
        let ethernet = Interface { link_type: LinkType::ETHERNET, snaplen: 0, name: "eth1".into() };
        let interface = recorder.interface(&ethernet).unwrap();
        recorder.push(&Packet { timestamp: Timestamp(1), interface, orig_len: 60, bytes: &[2; 60] });
        recorder.rotate();
        recorder.close(Reading::default()).unwrap();
        let segment = fs::read(config.store.join("segments/000000.pcapng")).unwrap();
        SummaryPage::decode(&segment[segment.len() - SummaryPage::BYTES..]).unwrap()
    }

    #[test]
    fn the_hash_chain_is_as_the_configuration_says() {
        for (line, chained) in [("", true), ("hash_chain = true", true), ("hash_chain = false", false)] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("store");
            let text = format!("[sensor]\nid = \"s1\"\n[store]\npath = {path:?}\nsize = \"64MiB\"\n{line}\n");
            let config = Config::parse(&text, Path::new("hindcap.toml")).unwrap();
            let summary = recorded(&config).summary;
            assert_eq!((summary.chain != NO_CHAIN, summary.hash != [0; 32]), (chained, chained), "{line:?}");
            assert_eq!(summary.packets, 1);
        }
    }
}
