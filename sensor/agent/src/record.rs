//! `hindcapd record`: one interface into the store until told to stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hindcap_capture::{LiveOptions, LiveSource};
use hindcap_store::policy::Control;
use hindcap_store::volume::any::AnyVolume;
use hindcap_store::{RecorderOptions, Store};
use hindcap_wire::counted::Counted;
use hindcap_wire::drops::DropCause;
use hindcap_wire::message::answer::Bytes;
use hindcap_wire::policy::LeftOut;
use serde_json::{Map, json};

use crate::capture::{Capture, reading};
use crate::cli::RecordArgs;
use crate::clock::{Clock, SYNCHRONISED_MARKER, wall};
use crate::exit::{Code, Failure};
use crate::machine::boot_number;
use crate::pins::{self, Work};
use crate::policy::Rules;
use crate::stop::Stop;
use crate::store::open_from_args;
use crate::watch::Watch;
use crate::wear;

/// How often the main thread looks at signals and health.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Records until SIGINT or SIGTERM.
///
/// # Errors
/// Interface or store cannot be opened, the source cannot go on, or the last packets cannot be written.
pub fn record(args: &RecordArgs) -> Result<Code, Failure> {
    let stop = Stop::on_signals()?;
    let doing = |failure: Failure| failure.doing(format!("record {}", args.interface));
    let rules = Rules::of_args(&args.policy).map_err(|error| doing(error.into()))?;
    let filter = rules.kernel_filter(&args.filter.join(" "), &args.interface);
    let source = LiveSource::open(LiveOptions {
        interface: args.interface.clone(),
        ring_bytes: u32::try_from(args.ring.0).unwrap_or(u32::MAX),
        snaplen: args.snaplen,
        filter: filter.map_err(|error| doing(error.into()))?,
        promiscuous: !args.no_promiscuous,
    })
    .map_err(|error| doing(error.into()))?;
    let store = open_from_args(&args.store).map_err(|error| doing(error.into()))?;
    let options = RecorderOptions {
        flush_interval_nanos: args.flush_interval.millis().saturating_mul(1_000_000),
        hash_chain: !args.store.no_hash_chain,
        wear: wear::options(None),
        boot: boot_number(),
        ..RecorderOptions::live()
    };
    let clock = Clock::new(PathBuf::from(SYNCHRONISED_MARKER));
    log::info!("recording {} into {}", args.interface, args.store.store.display());
    let control = rules.control();
    let work = Work {
        store: args.store.store.clone(),
        door: store.events_door(),
        flush_interval: args.flush_interval.0,
        hash_chain: options.hash_chain,
        health: Some(store.health()),
        max_age_secs: None,
    };
    let worker = pins::begin(work, Clock::new(PathBuf::from(SYNCHRONISED_MARKER)));
    let capture = start(source, store, options, clock, &stop, control.clone()).map_err(doing)?;
    let started = Instant::now();
    let watch = Watch::new(Arc::default(), args.interface.clone());
    while !capture.is_finished() {
        std::thread::sleep(LOOK_EVERY);
        watch.look(&capture.health.snapshot(), capture.counters.link_up(), wall());
    }
    let (counters, health) = (capture.counters.clone(), capture.health.clone());
    let ended = capture.join();
    if let Some(worker) = worker {
        worker.stop();
    }
    ended.map_err(|error| doing(error.into()))?;
    let left_out = control.map_or(LeftOut::NONE, |control| control.left_out());
    report(args, &counters, &health.snapshot(), &left_out, started.elapsed());
    Ok(Code::Done)
}

/// Recovers the store and starts the capture and writer threads.
///
/// # Errors
/// The store cannot be recovered, or there is no thread to be had.
pub fn start(
    source: LiveSource,
    store: Store<AnyVolume>,
    options: RecorderOptions,
    mut clock: Clock,
    stop: &Stop,
    control: Option<Arc<Control>>,
) -> Result<Capture, Failure> {
    let recorder = store.recorder(options, reading(&mut clock))?;
    Ok(Capture::start(source, recorder, clock, stop.clone(), control)?)
}

fn report(
    args: &RecordArgs,
    counters: &crate::capture::Counters,
    health: &hindcap_store::HealthSnapshot,
    left_out: &LeftOut,
    elapsed: Duration,
) {
    let drops = counters.drops_with(health);
    if args.json {
        let causes: Map<_, _> = DropCause::ALL
            .into_iter()
            .map(|cause| (cause.name().to_owned(), json!(drops.get(cause))))
            .collect();
        say!(
            "{}",
            json!({
                "interface": args.interface,
                "seconds": elapsed.as_secs_f64(),
                "packets": health.packets_acked,
                "bytes": health.captured_bytes_acked,
                "bytes_written": health.bytes_written,
                "bytes_written_per_savefile_byte": health.bytes_written_per_savefile_byte(),
                "drops": causes,
                "left_out": left_out,
            })
        );
    }
    let lost: Vec<String> = DropCause::ALL
        .into_iter()
        .filter(|cause| drops.get(*cause) > 0)
        .map(|cause| format!("{} {}", cause.name(), drops.get(cause)))
        .collect();
    let lost =
        if lost.is_empty() { "none dropped".to_owned() } else { format!("dropped: {}", lost.join(", ")) };
    if !left_out.is_none() {
        log::info!("left out by policy: {left_out}");
    }
    log::info!(
        "recorded {}, {}, in {} s; {lost}",
        Counted(health.packets_acked, "packet"),
        Bytes(health.captured_bytes_acked),
        elapsed.as_secs()
    );
}
