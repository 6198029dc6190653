//! Cutting the power everywhere. A scripted run (record, rotate, wrap, kill, resume) is logged; every prefix of its writes,
//! with nothing, everything, or random sectors of what was not yet flushed, must mount again: every acknowledged packet
//! is there, byte for byte, unless its segment was taken for newer ones; nothing is there that was not recorded; recording
//! goes on, and a second cut is survived as well. What a hold keeps is there in every state after the hold was acknowledged. A writer that forgets to flush must be caught.
//!
//! The same for every volume: [`Medium`] is what a volume must offer to be cut.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use hindcap_wire::drops::DropCounts;
use hindcap_wire::index::PageSet;
use hindcap_wire::ledger::{BatchItem, BatchItems, SegmentHeader};
use hindcap_wire::limits::PAGE_BYTES;
use hindcap_wire::message::HoldId;
use hindcap_wire::packet::{Interface, LinkType, Packet};
use hindcap_wire::time::{TimeRange, Timestamp};

use crate::holds::{HoldOrder, KeepPolicy};
use crate::ring::read_header;
use crate::scan::{chunk_buffer, scan_batches};
use crate::volume::{Area, VolumeWrite};
use crate::{Reader, ReaderOptions, Reading, Recorder, RecorderOptions, Store};

pub(crate) const UUID: [u8; 16] = *b"sixteen bytes id";
pub(crate) const SEGMENT: u32 = 4 << 20;

/// A volume whose power can be cut. Clones share what is stored.
pub(crate) trait Medium: VolumeWrite + Clone + Send + 'static {
    /// Everything stored.
    type Image: Clone;
    /// A write or a flush.
    type Operation: Clone;

    fn image(&self) -> Self::Image;
    /// Mounts what is stored in `image`.
    fn with_image(image: Self::Image) -> Result<Self, String>;
    fn log_len(&self) -> usize;
    fn take_log(&self) -> Vec<Self::Operation>;
    fn is_write(operation: &Self::Operation) -> bool;
    /// Whether `later` makes `write` durable.
    fn flushes(later: &Self::Operation, write: &Self::Operation) -> bool;
    /// Applies a write, sector by sector where `reached` says so.
    fn apply(image: &mut Self::Image, operation: &Self::Operation, reached: &mut dyn FnMut() -> bool);
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

/// What holds keep in one state of the medium.
#[derive(Clone, Debug, Default)]
struct HeldThen {
    /// Packets that must be there whatever happens.
    packets: BTreeSet<u32>,
    /// Generations that are held for sure, and those that are so at some time: a hold may be on the medium before it is
    /// acknowledged, and a release not yet.
    surely: BTreeSet<u64>,
    ever: BTreeSet<u64>,
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

    fn finish(self) -> Run<M> {
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

/// Which packets are where: generation by segment and number, taken from the batches in the log.
#[derive(Default)]
struct Written {
    /// Packet -> (segment, generation).
    place: BTreeMap<u32, (u32, u64)>,
    /// Segment -> generation that was written to it last.
    owner: BTreeMap<u32, u64>,
}

impl Written {
    fn note<M: Medium>(&mut self, operation: &M::Operation) {
        let Some((segment, offset, bytes)) = M::segment_write(operation) else { return };
        if let Some(header) = SegmentHeader::decode(bytes).filter(|_| offset == 0) {
            self.owner.insert(segment, header.generation);
        }
        let Some(generation) = self.owner.get(&segment).copied() else { return };
        for item in BatchItems::new(bytes) {
            if let BatchItem::Packet { packet, .. } = item {
                self.place.insert(number_of(packet.bytes), (segment, generation));
            }
        }
    }

    /// Whether the packet's segment has not been taken for newer packets.
    fn is_kept(&self, number: u32) -> bool {
        self.place
            .get(&number)
            .is_some_and(|(segment, generation)| self.owner.get(segment) == Some(generation))
    }
}

fn number_of(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}

/// All packets that are served; each must be one that was recorded, byte for byte.
pub(crate) fn served(volume: &impl VolumeWrite, pushed: u32) -> Result<BTreeSet<u32>, String> {
    let mut found = BTreeSet::new();
    let mut wrong = None;
    for number in 0..volume.geometry().segments {
        let Some(header) = read_header(volume, &UUID, number) else { continue };
        scan_batches(volume, number, &header, &mut chunk_buffer(), |commit, batch| {
            let mut packets = 0;
            for item in BatchItems::new(batch) {
                if let BatchItem::Packet { packet, .. } = item {
                    let number = number_of(packet.bytes);
                    packets += 1;
                    if number >= pushed || packet.bytes != content(number) || !found.insert(number) {
                        wrong =
                            Some(format!("packet {number} was never recorded like this, or is served twice"));
                    }
                }
            }
            if packets != commit.packets {
                wrong = Some(format!("a commit counts {} packets of {packets}", commit.packets));
            }
        });
    }
    wrong.map_or(Ok(found), Err)
}

/// Where a segment ends in a page with the magic of a provisional tail, readers must find what a walk finds.
fn reader_agrees<M: Medium>(volume: &M, pushed: u32) -> Result<(), String> {
    let mut magic = [0; 8];
    let has_one = (0..volume.geometry().segments).any(|number| {
        let at = u64::from(SEGMENT - PAGE_BYTES) + 8;
        volume.read(Area::Segment(number), at, &mut magic).is_ok() && magic == *b"HCPROV01"
    });
    if !has_one {
        return Ok(());
    }
    let mut reader = Reader::open(volume.clone(), ReaderOptions::default()).map_err(|e| e.to_string())?;
    let mut found = BTreeSet::new();
    for segment in reader.segments().to_vec() {
        let everything = PageSet::range(0, SEGMENT / PAGE_BYTES);
        let served = reader.packets(&segment, &everything, &mut |at| {
            found.insert(number_of(at.packet.bytes));
            ControlFlow::Continue(())
        });
        served.map_err(|error| format!("segment {}: {error}", segment.number))?;
    }
    if found != served(volume, pushed)? {
        return Err(String::from("a reader finds other packets than a walk"));
    }
    Ok(())
}

/// Checks one state of the medium after a cut, then records and cuts again.
fn check<M: Medium>(
    image: M::Image,
    believed: &BTreeSet<u32>,
    written: &Written,
    held: &HeldThen,
    next: u32,
    again: bool,
) -> Result<(), String> {
    let start = again.then(|| image.clone());
    let volume = M::with_image(image)?;
    reader_agrees(&volume, next)?;
    let missing = |found: &BTreeSet<u32>| {
        believed.iter().copied().find(|number| written.is_kept(*number) && !found.contains(number))
    };
    let found = served(&volume, next)?;
    if let Some(number) = held.packets.difference(&found).next() {
        return Err(format!("packet {number} was held and is gone"));
    }
    if let Some(number) = missing(&found) {
        return Err(format!("packet {number} was acknowledged and is gone"));
    }
    let mut driver = Driver::new(volume.clone());
    (driver.next, driver.now) = (next, 10_000_000);
    driver.start();
    driver.push(3);
    driver.wait(5_100);
    driver.push(2);
    let resumed = driver.believed.clone();
    driver.kill();
    let found = served(&volume, driver.next)?;
    if resumed.is_empty() || !resumed.is_subset(&found) {
        return Err(format!("recording did not go on: {resumed:?}"));
    }
    // The segment in use before may be overwritten by now only if it was the oldest: at most one was taken.
    let gone: BTreeSet<_> = believed.iter().filter(|n| written.is_kept(**n) && !found.contains(n)).collect();
    let segments: BTreeSet<_> = gone.iter().map(|number| written.place[number]).collect();
    let oldest_but = |held: &BTreeSet<u64>| written.owner.values().filter(|g| !held.contains(g)).min();
    let oldest = [oldest_but(&held.surely), oldest_but(&held.ever)];
    if segments.len() > 1 || segments.iter().any(|(_, generation)| !oldest.contains(&Some(generation))) {
        return Err(format!("acknowledged packets went with resuming: {segments:?}"));
    }
    if let Some(number) = held.packets.difference(&found).next() {
        return Err(format!("packet {number} was held and went with resuming"));
    }
    match start {
        Some(start) => second_cut::<M>(&start, &driver.finish(), &resumed, held, next + 5),
        None => Ok(()),
    }
}

/// Cuts the resumed run as well, at each of its writes, half of the sectors written.
fn second_cut<M: Medium>(
    image: &M::Image,
    run: &Run<M>,
    resumed: &BTreeSet<u32>,
    held: &HeldThen,
    next: u32,
) -> Result<(), String> {
    let mut random = Random(77);
    for prefix in 0..=run.log.len() {
        let (mut state, mut written) = (image.clone(), Written::default());
        for (at, operation) in run.log[..prefix].iter().enumerate() {
            let flushed = run.log[at..prefix].iter().any(|later| M::flushes(later, operation));
            M::apply(&mut state, operation, &mut || flushed || random.next() % 2 == 0);
            written.note::<M>(operation);
        }
        let believed = believed_at(&run.beliefs, prefix);
        debug_assert!(believed.is_subset(resumed));
        check::<M>(state, &believed, &written, held, next, false)
            .map_err(|error| format!("second cut at {prefix}: {error}"))?;
    }
    Ok(())
}

fn believed_at(beliefs: &[(usize, BTreeSet<u32>)], prefix: usize) -> BTreeSet<u32> {
    beliefs
        .iter()
        .rev()
        .find(|(at, _)| *at <= prefix)
        .map(|(_, believed)| believed.clone())
        .unwrap_or_default()
}

/// What holds keep when the cut comes behind `prefix` operations.
fn held_at<M: Medium>(run: &Run<M>, prefix: usize, believed: &BTreeSet<u32>, written: &Written) -> HeldThen {
    let surely = run.held.iter().rev().find(|(at, _)| *at <= prefix);
    let surely = surely.map(|(_, held)| held.clone()).unwrap_or_default();
    let is_held =
        |number: &&u32| written.place.get(number).is_some_and(|(_, generation)| surely.contains(generation));
    let packets = believed.iter().filter(is_held).copied().collect();
    let ever = run.held.iter().flat_map(|(_, held)| held.iter().copied()).collect();
    HeldThen { packets, surely, ever }
}

/// One state in so many is shown to other programs.
const JUDGED: u32 = 20;

/// Explores the crash states of a run; `random_states` per prefix beside the fixed ones. Gives the number of states.
pub(crate) fn explore<M: Medium>(run: &Run<M>, start: &M::Image, random_states: u32) -> Result<u32, String> {
    explore_lying(run, start, random_states, None)
}

/// Operations behind a flush that lied up to which the power is cut.
const AFTER_A_LIE: usize = 6;

/// As [`explore`]; with `lie`, the flush of that number says "done" and does nothing, and the cut comes at most
/// [`AFTER_A_LIE`] operations later. What was called durable by then may be lost until the next true flush, and nothing
/// else: what was durable before stays, nothing wrong is served, and recording goes on.
pub(crate) fn explore_lying<M: Medium>(
    run: &Run<M>,
    start: &M::Image,
    random_states: u32,
    lie: Option<usize>,
) -> Result<u32, String> {
    let (mut durable, mut written) = (start.clone(), Written::default());
    let mut unflushed: Vec<&M::Operation> = Vec::new();
    let mut doubtful = 0;
    let mut random = Random(2026);
    let mut states = 0;
    let next = run.beliefs.iter().flat_map(|(_, believed)| believed.last().copied()).max().unwrap_or(0) + 100;
    for prefix in 0..=run.log.len() {
        if let Some(operation) = prefix.checked_sub(1).map(|at| &run.log[at]) {
            written.note::<M>(operation);
            if M::is_write(operation) {
                unflushed.push(operation);
            }
            if lie == Some(prefix - 1) {
                doubtful = unflushed.iter().filter(|write| M::flushes(operation, write)).count();
            } else {
                let (mut number, doubtful_before) = (0, doubtful);
                unflushed.retain(|write| {
                    let flushed = M::flushes(operation, write);
                    if flushed {
                        M::apply(&mut durable, write, &mut || true);
                        doubtful -= usize::from(number < doubtful_before);
                    }
                    number += 1;
                    !flushed
                });
            }
        }
        if lie.is_some_and(|lie| !(lie + 1..=lie + AFTER_A_LIE).contains(&prefix)) {
            continue;
        }
        // What a lie concerns is believed in vain until a true flush has made it durable.
        let sure = if doubtful > 0 { lie.unwrap_or(prefix) } else { prefix };
        let believed = believed_at(&run.beliefs, sure);
        let held = held_at(run, prefix, &believed, &written);
        let kinds = if unflushed.is_empty() { 1 } else { 4 + random_states };
        for kind in 0..kinds {
            let mut image = durable.clone();
            let tear = random.below(2050);
            for write in &unflushed {
                let mut sector = 0;
                M::apply(&mut image, write, &mut || {
                    sector += 1;
                    match kind {
                        0 => false,
                        1 => true,
                        2 => sector <= tear % 40 + 1, // a torn write: its beginning
                        3 => sector > tear % 40 + 1,  // its end
                        _ => random.next() >> 40 & 1 == 0,
                    }
                });
            }
            states += 1;
            let again = states % 16 == 0;
            if states % JUDGED == 0 {
                M::judge(&image)
                    .map_err(|error| format!("cut after {prefix} operations, kind {kind}: {error}"))?;
            }
            check::<M>(image, &believed, &written, &held, next, again)
                .map_err(|error| format!("cut after {prefix} operations, kind {kind}: {error}"))?;
        }
    }
    Ok(states)
}
