//! The capture thread: feeds the recorder from a source, lets its time pass, and notes when the link goes and comes.
//!
//! Nothing here waits for storage, the broker or a query. What others want to know is in [`Counters`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hindcap_capture::{CaptureError, PacketSource, Polled};
use hindcap_store::holds::HoldControl;
use hindcap_store::policy::Control;
use hindcap_store::{Health, HealthSnapshot, Reading, Recorder, StoreError};
use hindcap_wire::drops::{DropCause, DropCounts};
use hindcap_wire::ledger::EventKind;

use crate::clock::{Clock, monotonic_nanos, wall};
use crate::sink::RecorderSink;
use crate::stop::Stop;

/// Longest wait of one poll: bounds the time to stop, and the age of the recorder's clock, on a silent link.
const WAIT: Duration = Duration::from_millis(50);
/// How often the recorder's time passes under load.
const TICK_NANOS: u64 = 50_000_000;
/// How often the source is asked for its drops: libpcap opens two files for an answer.
const DROPS_NANOS: u64 = 250_000_000;
/// How long the source is asked on after a stop: libpcap hands a block over after 100 ms, full or not, and what came
/// before the stop is to be recorded.
const LAST_BLOCK_NANOS: u64 = 150_000_000;
/// Longest time that a backlog may take then; the rest is lost.
const BACKLOG_NANOS: u64 = 1_000_000_000;

/// What the capture thread tells the others: totals since its start.
#[derive(Debug, Default)]
pub struct Counters {
    packets: AtomicU64,
    bytes: AtomicU64,
    drops: [AtomicU64; DropCause::COUNT],
    link_up: AtomicBool,
}

impl Counters {
    /// Packets handed to the recorder.
    pub fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }

    /// Their captured bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Packets that the source lost, by cause.
    pub fn drops(&self) -> DropCounts {
        DropCounts(std::array::from_fn(|cause| self.drops[cause].load(Ordering::Relaxed)))
    }

    /// Everything that was lost, by cause: by the source, for want of a buffer, and by storage.
    pub fn drops_with(&self, health: &HealthSnapshot) -> DropCounts {
        let mut drops = self.drops();
        drops.add(DropCause::StorageError, health.packets_lost);
        drops = drops.plus(&health.dropped);
        drops
    }

    /// Whether the link is up, as the source saw it last.
    pub fn link_up(&self) -> bool {
        self.link_up.load(Ordering::Relaxed)
    }

    fn store(&self, sink: &RecorderSink, drops: DropCounts) {
        self.packets.store(sink.packets, Ordering::Relaxed);
        self.bytes.store(sink.bytes, Ordering::Relaxed);
        for (slot, count) in self.drops.iter().zip(drops.0) {
            slot.store(count, Ordering::Relaxed);
        }
    }
}

/// Why a capture ended before it was asked to.
#[derive(Debug)]
pub enum Ended {
    /// The source could not go on.
    Source(CaptureError),
    /// The last batches could not be made durable.
    Store(StoreError),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Source(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Ended {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Source(error) => error.source(),
            Self::Store(error) => error.source(),
        }
    }
}

/// A running capture.
#[derive(Debug)]
pub struct Capture {
    thread: JoinHandle<Result<(), Ended>>,
    /// Its totals.
    pub counters: Arc<Counters>,
    /// The recorder's own counters and the state of storage.
    pub health: Arc<Health>,
    /// What decides about leaving out: a configured policy, or a write budget.
    pub control: Option<Arc<Control>>,
    /// Reaches the recorder to hold and to release.
    pub holds: HoldControl,
}

impl Capture {
    /// Starts the thread. It ends when `stop` is asked or the source cannot go on; the recorder is closed either way.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn start<S>(
        source: S,
        mut recorder: Recorder,
        clock: Clock,
        stop: Stop,
        control: Option<Arc<Control>>,
    ) -> std::io::Result<Self>
    where
        S: PacketSource + Send + 'static,
    {
        let counters = Arc::<Counters>::default();
        counters.link_up.store(true, Ordering::Relaxed);
        let (health, holds) = (recorder.health(), recorder.hold_control());
        if let Some(control) = &control {
            log::info!("policy: {}", control.policy());
            recorder.thin(Arc::clone(control));
        }
        let shared = Arc::clone(&counters);
        let thread = std::thread::Builder::new()
            .name("capture".to_owned())
            .spawn(move || run(source, recorder, clock, &stop, &shared))?;
        Ok(Self { thread, counters, health, control, holds })
    }

    /// Whether the thread has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the thread.
    ///
    /// # Errors
    /// Why it ended early.
    ///
    /// # Panics
    /// When the capture thread did: the process is to end, and the init system starts it again.
    pub fn join(self) -> Result<(), Ended> {
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// The clocks now.
pub fn reading(clock: &mut Clock) -> Reading {
    Reading { wall: wall(), monotonic_nanos: monotonic_nanos(), clock: clock.state() }
}

fn run(
    mut source: impl PacketSource,
    recorder: Recorder,
    mut clock: Clock,
    stop: &Stop,
    counters: &Counters,
) -> Result<(), Ended> {
    let mut sink = RecorderSink::new(recorder);
    let (mut ticked, mut asked) = (0, 0);
    let mut drops = DropCounts::default();
    let mut ended = Ok(());
    let mut stopped = None;
    let mut idle = false;
    loop {
        if stop.asked() {
            let now = monotonic_nanos();
            let since = now.saturating_sub(*stopped.get_or_insert(now));
            if since >= BACKLOG_NANOS || (idle && since >= LAST_BLOCK_NANOS) {
                break;
            }
        }
        let polled = source.poll(WAIT, &mut sink);
        idle = matches!(polled, Ok(Polled::Idle));
        match polled {
            Ok(Polled::Packets(_) | Polled::Idle | Polled::Short) => {}
            Ok(Polled::LinkDown) => link(&mut sink, counters, false),
            Ok(Polled::LinkUp) => link(&mut sink, counters, true),
            Ok(Polled::End) => break,
            Err(error) => {
                ended = Err(Ended::Source(error));
                break;
            }
        }
        let now = monotonic_nanos();
        if now.saturating_sub(ticked) >= TICK_NANOS {
            ticked = now;
            if now.saturating_sub(asked) >= DROPS_NANOS {
                asked = now;
                drops = source.drops();
            }
            counters.store(&sink, drops);
            sink.recorder().tick(reading(&mut clock), drops);
        }
    }
    let drops = source.drops();
    counters.store(&sink, drops);
    sink.recorder().tick(reading(&mut clock), drops);
    let closed = sink.into_recorder().close(reading(&mut clock)).map_err(Ended::Store);
    ended.and(closed)
}

fn link(sink: &mut RecorderSink, counters: &Counters, up: bool) {
    counters.link_up.store(up, Ordering::Relaxed);
    // A source that opened while its link was down has announced no interface yet: 0 is the one it will have.
    let interface = sink.number(0).unwrap_or(0);
    if up {
        log::info!("link up");
        sink.recorder().event(EventKind::LinkUp { interface });
    } else {
        log::warn!("link down: nothing is captured until it comes back");
        sink.recorder().event(EventKind::LinkDown { interface });
    }
}
