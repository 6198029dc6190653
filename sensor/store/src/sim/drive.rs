//! Scripted runs of a recorder (record, rotate, wrap, kill, resume, hold) on a volume whose every write is logged, and what
//! the recorder believed at each of them: what [`super::explore`] cuts, and [`super::faults`] breaks. [`Medium`] is what a
//! volume must offer for it.

use std::collections::BTreeSet;

use hindcap_wire::drops::DropCounts;
use hindcap_wire::message::HoldId;
use hindcap_wire::packet::{Interface, LinkType, Packet};
use hindcap_wire::time::{TimeRange, Timestamp};

use crate::holds::{HoldOrder, KeepPolicy};
use crate::volume::VolumeWrite;
use crate::{Reading, Recorder, RecorderOptions, Store};

pub(crate) const UUID: [u8; 16] = *b"sixteen bytes id";
pub(crate) const SEGMENT: u32 = 4 << 20;

/// A write or a flush.
pub(crate) trait Logged: Clone {
    /// What it is applied to.
    type Image;

    fn is_write(&self) -> bool;
    /// Whether `write` is durable behind this one.
    fn flushes(&self, write: &Self) -> bool;
    /// Applies a write, sector by sector where `reached` says so.
    fn apply(&self, image: &mut Self::Image, reached: &mut dyn FnMut() -> bool);
}

/// A volume whose power can be cut. Clones share what is stored.
pub(crate) trait Medium: VolumeWrite + Clone + Send + 'static {
    /// Everything stored.
    type Image: Clone;
    type Operation: Logged<Image = Self::Image>;

    fn image(&self) -> Self::Image;
    /// Mounts what is stored in `image`.
    fn with_image(image: Self::Image) -> Result<Self, String>;
    fn log_len(&self) -> usize;
    fn take_log(&self) -> Vec<Self::Operation>;
    /// Segment, offset and bytes of a write to the ring.
    fn segment_write(operation: &Self::Operation) -> Option<(u32, u64, &[u8])>;
    /// Other programs' opinion of what is stored.
    fn judge(_image: &Self::Image) -> Result<(), String> {
        Ok(())
    }
}

/// xorshift64*: the same seed, the same run.
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 33) % bound
    }
}

/// The content of packet `number`: its number, then bytes that follow from it.
pub(crate) fn content(number: u32) -> Vec<u8> {
    let mut random = Random(u64::from(number) * 2 + 1);
    let len = match number % 97 {
        0 => 100_000,
        n if n % 5 == 0 => 60,
        n => 200 + 13 * n as usize,
    };
    // Long runs of zeros: sectors of different packets may then be equal, which a torn batch could profit from.
    let mut bytes: Vec<u8> =
        (0..len).map(|at| if at % 2048 < 1024 { 0 } else { random.next() as u8 }).collect();
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    bytes
}

pub(crate) fn reading(millis: u64) -> Reading {
    let wall = Timestamp(1_700_000_000_000_000_000 + millis * 1_000_000);
    Reading { wall, monotonic_nanos: millis * 1_000_000, ..Reading::default() }
}

/// What a run did and believed.
pub(crate) struct Run<M: Medium> {
    pub volume: M,
    pub log: Vec<M::Operation>,
    /// (length of the log, packets that the recorder called durable by then).
    pub beliefs: Vec<(usize, BTreeSet<u32>)>,
    /// (length of the log, generations that are held by then).
    pub held: Vec<(usize, BTreeSet<u64>)>,
}

/// Drives a recorder and takes note of what it believes.
pub(crate) struct Driver<M> {
    volume: M,
    pub recorder: Option<Recorder>,
    pub interface: u32,
    pub now: u64,
    pub next: u32,
    /// First packet of this recorder.
    first: u32,
    pub believed: BTreeSet<u32>,
    beliefs: Vec<(usize, BTreeSet<u32>)>,
    held: Vec<(usize, BTreeSet<u64>)>,
    /// Every recorder started from now on ignores holds: the canary.
    pub ignore_holds: bool,
    /// Every fourth reading the wall clock is set to another of [`WALLS`], and each start is a boot.
    pub clock_steps: bool,
    readings: usize,
    booted: u64,
    wall: Timestamp,
    /// Maximum age of what is recorded.
    pub max_age_secs: u64,
}

/// Seconds that the wall clock is set to: as a box without a clock begins, before and behind the end of 32 bits with and
/// without sign, today, an hour back, a day on.
const WALLS: [u64; 7] =
    [5, 2_147_483_640, 1_700_000_000, 1_699_996_400, 4_294_967_290, 2_147_483_655, 1_700_086_400];

impl<M: Medium> Driver<M> {
    pub(crate) fn new(volume: M) -> Self {
        let (believed, beliefs) = (BTreeSet::new(), Vec::new());
        Self {
            volume,
            recorder: None,
            interface: 0,
            now: 1000,
            next: 0,
            first: 0,
            believed,
            beliefs,
            held: Vec::new(),
            ignore_holds: false,
            clock_steps: false,
            readings: 0,
            booted: 0,
            wall: Timestamp(1_000),
            max_age_secs: 0,
        }
    }

    fn clock(&mut self) -> Reading {
        if !self.clock_steps {
            return reading(self.now);
        }
        let second = WALLS[self.readings / 4 % WALLS.len()];
        self.readings += 1;
        self.wall = Timestamp(second * 1_000_000_000 + self.now % 20_000 * 1_000_000);
        let monotonic_nanos = (self.now - self.booted) * 1_000_000;
        Reading { wall: self.wall, monotonic_nanos, ..Reading::default() }
    }

    pub(crate) fn start(&mut self) {
        let store = Store::mount(self.volume.clone()).unwrap();
        let max_age_secs = self.max_age_secs;
        let keep = Some(KeepPolicy { held_share: 50, max_age_secs, min_age_secs: 0 });
        let options = RecorderOptions { hash_chain: false, keep, ..RecorderOptions::inline() };
        self.booted = self.now - 100;
        let mut recorder = store.recorder(options, self.clock()).unwrap();
        if self.ignore_holds {
            recorder.ignore_holds();
        }
        let tap = Interface { link_type: LinkType::RAW, snaplen: 0, name: "tap".into() };
        self.interface = recorder.interface(&tap).unwrap();
        self.first = self.next;
        self.recorder = Some(recorder);
    }

    pub(crate) fn push(&mut self, packets: u32) {
        for _ in 0..packets {
            let bytes = content(self.next);
            let timestamp = self.wall.plus_nanos(u64::from(self.next));
            let (interface, orig_len) = (self.interface, bytes.len() as u32);
            self.recorder.as_mut().unwrap().push(&Packet { timestamp, interface, orig_len, bytes: &bytes });
            self.next += 1;
            self.note();
        }
    }

    /// Packets are durable in the order in which they came, and none is dropped in these runs.
    fn note(&mut self) {
        let Some(recorder) = &self.recorder else { return };
        let acked = recorder.health().snapshot().packets_acked as u32;
        self.believed.extend(self.first..self.first + acked);
        if self.beliefs.last().is_none_or(|(_, believed)| believed.len() != self.believed.len()) {
            self.beliefs.push((self.volume.log_len(), self.believed.clone()));
        }
    }

    pub(crate) fn wait(&mut self, millis: u64) {
        self.now += millis;
        let now = self.clock();
        self.recorder.as_mut().unwrap().tick(now, DropCounts::default());
        self.note();
    }

    pub(crate) fn rotate(&mut self) {
        self.recorder.as_mut().unwrap().rotate();
        self.note();
    }

    fn close(&mut self) {
        let recorder = self.recorder.take().unwrap();
        let health = recorder.health();
        recorder.close(self.clock()).unwrap();
        let acked = health.snapshot().packets_acked as u32;
        self.believed.extend(self.first..self.first + acked);
        self.beliefs.push((self.volume.log_len(), self.believed.clone()));
    }

    pub(crate) fn kill(&mut self) {
        self.note();
        self.recorder = None;
    }

    pub(crate) fn finish(self) -> Run<M> {
        let log = self.volume.take_log();
        Run { volume: self.volume, log, beliefs: self.beliefs, held: self.held }
    }

    fn held_now(&self) -> BTreeSet<u64> {
        self.held.last().map(|(_, held)| held.clone()).unwrap_or_default()
    }

    /// Holds `generations`; believes in it from the answer on.
    pub(crate) fn hold(&mut self, id: u64, generations: &[u64]) {
        let order = HoldOrder {
            id: HoldId::new(id),
            who: String::new(),
            why: "explore".into(),
            lasts_secs: 86_400 * 300,
            window: TimeRange::new(Timestamp::MIN, Timestamp::MAX),
            generations: generations.to_vec(),
            partial: None,
        };
        let answer = self.recorder.as_ref().unwrap().hold_control().ask_hold(order);
        self.wait(10);
        let held = answer.try_recv().unwrap().unwrap();
        assert_eq!(held.hold.segments as usize, generations.len());
        let now = self.held_now().union(&generations.iter().copied().collect()).copied().collect();
        self.held.push((self.volume.log_len(), now));
    }

    /// Releases hold `id` of `generations`; does not count on it from the question on.
    pub(crate) fn release(&mut self, id: u64, generations: &[u64]) {
        let now = self.held_now().into_iter().filter(|held| !generations.contains(held)).collect();
        self.held.push((self.volume.log_len(), now));
        let answer = self.recorder.as_ref().unwrap().hold_control().ask_release(HoldId::new(id));
        self.wait(10);
        answer.try_recv().unwrap().unwrap();
    }
}

/// At least 200 operations with everything in them.
pub(crate) fn run<M: Medium>(volume: M) -> Run<M> {
    everything(Driver::new(volume))
}

/// The same while the wall clock is set back and forth, across batches, rotations, turns of the ring and restarts.
pub(crate) fn run_with_clock_steps<M: Medium>(volume: M) -> Run<M> {
    let mut driver = Driver::new(volume);
    driver.clock_steps = true;
    everything(driver)
}

fn everything<M: Medium>(mut driver: Driver<M>) -> Run<M> {
    for lap in 0..6 {
        driver.start();
        for step in 0..9 {
            driver.push(1 + (step * 7 + lap) % 5);
            driver.wait(5_100);
        }
        driver.rotate();
        driver.push(3);
        driver.wait(5_100);
        driver.push(2);
        driver.kill();
        driver.start();
        driver.wait(200);
        driver.push(20);
        driver.wait(5_000);
        driver.push(1);
        if lap % 2 == 0 { driver.close() } else { driver.kill() }
    }
    // A segment filled to its end, so that the ring turns by itself.
    driver.start();
    driver.push(1200);
    driver.close();
    driver.finish()
}

/// A ring of five segments that turns several times while one or two of them are held, over crashes.
pub(crate) fn run_with_holds<M: Medium>(volume: M, ignore_holds: bool) -> Run<M> {
    let mut driver = Driver::new(volume);
    driver.ignore_holds = ignore_holds;
    driver.start();
    for generation in 1..=18 {
        for step in 0..3 {
            driver.push(1 + step);
            driver.wait(5_100);
        }
        match generation {
            3 => driver.hold(1, &[1, 2]),
            8 => driver.release(1, &[1, 2]),
            9 => driver.hold(2, &[8]),
            10 => driver.hold(3, &[9]),
            13 => driver.release(2, &[8]),
            _ => {}
        }
        if generation % 4 == 1 {
            driver.kill();
            driver.start();
        }
        if generation % 4 == 3 {
            driver.close();
            driver.start();
        }
        driver.rotate();
    }
    driver.push(2);
    driver.close();
    driver.finish()
}
