//! Machines whose clock is set late, wrongly or never, and what a reader makes of what they recorded.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use hindcap_wire::drops::DropCounts;
use hindcap_wire::index::PageSet;
use hindcap_wire::packet::Packet;
use hindcap_wire::time::{ClockState, NANOS_PER_SEC, Timestamp};

use crate::reader::{Reader, ReaderOptions};
use crate::recorder::tests::{ethernet, frame};
use crate::sim::SimVolume;
use crate::{Reading, Recorder, RecorderOptions, Store};

const SEGMENT: u32 = 4 << 20;
/// What really was when the first machine started: 2026-11-22.
const TRUTH: u64 = 1_795_305_600 * NANOS_PER_SEC;
/// A machine that knows nothing shows this.
const UNSET: u64 = 0;
/// 2038-01-19T03:14:08Z, one second after what 31 bits hold.
const Y2038: u64 = 2_147_483_648 * NANOS_PER_SEC;
const STEP: u64 = NANOS_PER_SEC / 10;

/// A machine, its clock, and what it records; everything that happens is written down with its true time.
struct Machine {
    volume: SimVolume,
    recorder: Option<Recorder>,
    interface: u32,
    boot: u64,
    /// What the recorder is told of the boot.
    told_boot: u64,
    /// True time.
    now: u64,
    booted: u64,
    /// What the wall clock showed at the start of this boot.
    base: u64,
    clock: ClockState,
    /// By number: true time, recorded time, boot.
    packets: Vec<(u64, u64, u64)>,
}

impl Machine {
    fn new(segments: u32) -> Self {
        let volume = SimVolume::new(SEGMENT, segments);
        drop(Store::format(volume.clone(), *b"0123456789abcdef").unwrap());
        Self {
            volume,
            recorder: None,
            interface: 0,
            boot: 0,
            told_boot: 0,
            now: TRUTH,
            booted: TRUTH,
            base: UNSET,
            clock: ClockState::NotSynchronised,
            packets: Vec::new(),
        }
    }

    fn reading(&self) -> Reading {
        let monotonic_nanos = self.now - self.booted + NANOS_PER_SEC;
        Reading { wall: Timestamp(self.wall()), monotonic_nanos, clock: self.clock }
    }

    fn wall(&self) -> u64 {
        self.base + (self.now - self.booted) + NANOS_PER_SEC
    }

    /// Starts, some time later, with a clock that shows `base`.
    fn boot(&mut self, base: u64) {
        drop(self.recorder.take());
        self.now += 60 * NANOS_PER_SEC;
        (self.boot, self.booted, self.base) = (self.boot + 1, self.now, base);
        self.told_boot = 1_000 + self.boot;
        self.clock = ClockState::NotSynchronised;
        self.start();
    }

    /// The recorder starts, on a machine that runs.
    fn start(&mut self) {
        let options = RecorderOptions { boot: self.told_boot, ..RecorderOptions::inline() };
        let mut recorder =
            Store::mount(self.volume.clone()).unwrap().recorder(options, self.reading()).unwrap();
        self.interface = recorder.interface(&ethernet("eth1")).unwrap();
        self.recorder = Some(recorder);
    }

    /// The recorder ends, in order or not.
    fn stop(&mut self, in_order: bool) {
        let (recorder, now) = (self.recorder.take().unwrap(), self.reading());
        if in_order {
            recorder.close(now).unwrap();
        }
    }

    fn set(&mut self, wall: u64, clock: ClockState) {
        self.base = self.base.wrapping_add(wall.wrapping_sub(self.wall()));
        self.clock = clock;
    }

    /// A time daemon finds out what time it is.
    fn synchronise(&mut self) {
        self.set(self.now, ClockState::Synchronised);
        self.record(1, 60);
    }

    /// Packets, ten a second, and what was recorded of them made durable.
    fn record(&mut self, packets: u32, len: usize) {
        for _ in 0..packets {
            self.now += STEP;
            let now = self.reading();
            let recorder = self.recorder.as_mut().unwrap();
            recorder.tick(now, DropCounts::default());
            let mut bytes = frame(self.packets.len() as u32, len);
            // Few enough hosts for flow records of all.
            (bytes[28], bytes[29]) = (0, bytes[29] % 50);
            let timestamp = now.wall;
            recorder.push(&Packet {
                timestamp,
                interface: self.interface,
                orig_len: bytes.len() as u32,
                bytes: &bytes,
            });
            self.packets.push((self.now, timestamp.0, self.boot));
        }
        self.recorder.as_mut().unwrap().flush();
    }

    fn reader(&self) -> Reader<SimVolume> {
        Reader::open(self.volume.clone(), ReaderOptions::default()).unwrap()
    }

    /// Every packet has the time that it should have, and segments, batches and flow records say so too; how many are left
    /// in the ring.
    fn check(&self, reader: &mut Reader<SimVolume>, is_known: impl Fn(u64) -> bool) -> Result<usize, String> {
        let mut found = BTreeMap::new();
        for segment in reader.segments().to_vec() {
            let doc = reader.index(&segment).unwrap();
            let mut here = Vec::new();
            let mut visit = |at: crate::reader::PacketAt<'_>| {
                let number = u32::from_be_bytes(at.packet.bytes[42..46].try_into().unwrap());
                here.push((number, at.page, at.packet.timestamp));
                ControlFlow::Continue(())
            };
            reader.packets(&segment, &PageSet::range(0, doc.pages()), &mut visit).unwrap();
            for (number, page, at) in here {
                let (truly, recorded, boot) = self.packets[number as usize];
                let should = Timestamp(if is_known(boot) { truly } else { recorded });
                if at != should {
                    return Err(format!("packet {number} of boot {boot} is served as {at}, not as {should}"));
                }
                let outside = |first: Timestamp, last: Timestamp| at < first || last < at;
                let batch = doc.batches().iter().find(|batch| batch.last_page >= page).unwrap();
                if outside(segment.first, segment.last) || outside(batch.first, batch.last) {
                    return Err(format!("packet {number} at {at} is outside of its segment or batch"));
                }
                let within = |flow: hindcap_wire::index::FlowRecord<'_>| {
                    !outside(flow.first, flow.last) && flow.postings.clone().any(|one| one == page)
                };
                if !doc.flows().any(within) {
                    return Err(format!("packet {number} at {at} is outside of every flow record"));
                }
                found.insert(number, at);
            }
        }
        let newest = self.packets.len() as u32 - 1;
        let oldest = *found.keys().next().ok_or("no packets")?;
        if found.len() as u32 != newest + 1 - oldest {
            return Err(format!("{} of the packets {oldest} to {newest}", found.len()));
        }
        Ok(found.len())
    }
}

#[test]
fn what_was_recorded_before_the_clock_was_set_has_its_true_time() {
    for (base, segments) in [(UNSET, 8), (TRUTH - 200 * 86_400 * NANOS_PER_SEC, 8), (Y2038, 8), (UNSET, 3)] {
        let mut machine = Machine::new(segments);
        machine.boot(base);
        machine.record(9000, 1200);
        machine.synchronise();
        machine.record(3000, 1200);
        let kept = machine.check(&mut machine.reader(), |_| true).unwrap();
        assert!(segments < 8 || kept == 12_001, "{kept}");
        // Closed, with a provisional tail, and gone on with.
        machine.stop(true);
        machine.check(&mut machine.reader(), |_| true).unwrap();
        machine.start();
        machine.record(20, 1200);
        machine.check(&mut machine.reader(), |_| true).unwrap();
        let remarks = machine.reader().clock_remarks();
        assert_eq!(remarks.len(), 1, "{remarks:?}");
        assert_eq!(remarks[0].boot, 1001);
        let offset = machine.packets[0].0.wrapping_sub(machine.packets[0].1) as i64;
        assert_eq!(remarks[0].offset, Some(offset));
    }
}

#[test]
fn raw_times_are_those_on_the_disk() {
    let mut machine = Machine::new(8);
    machine.boot(UNSET);
    machine.record(300, 200);
    machine.synchronise();
    machine.record(300, 200);
    let options = ReaderOptions { raw_times: true, ..ReaderOptions::default() };
    let mut reader = Reader::open(machine.volume.clone(), options).unwrap();
    machine.check(&mut reader, |_| false).unwrap();
    assert!(reader.clock_remarks().is_empty());
}

#[test]
fn a_reader_that_was_there_before_learns_it() {
    let mut machine = Machine::new(8);
    machine.boot(UNSET);
    machine.record(6000, 1200);
    let mut reader = machine.reader();
    machine.check(&mut reader, |_| false).unwrap();
    machine.synchronise();
    reader.refresh().unwrap();
    machine.check(&mut reader, |_| true).unwrap();
    machine.record(6000, 1200);
    reader.refresh().unwrap();
    machine.check(&mut reader, |_| true).unwrap();
}

#[test]
fn a_recorder_that_starts_again_in_the_same_boot_knows_it() {
    for in_order in [true, false] {
        let mut machine = Machine::new(8);
        machine.boot(UNSET);
        machine.record(5000, 1200);
        machine.stop(in_order);
        machine.now += 30 * NANOS_PER_SEC;
        machine.set(machine.now, ClockState::Synchronised);
        machine.start();
        machine.record(50, 1200);
        machine.check(&mut machine.reader(), |_| true).unwrap();
    }
}

#[test]
fn canary_a_recorder_that_does_not_tell_the_boot_is_caught() {
    let mut machine = Machine::new(8);
    machine.boot(UNSET);
    machine.record(5000, 1200);
    machine.stop(true);
    machine.told_boot = 0;
    machine.set(machine.now, ClockState::Synchronised);
    machine.start();
    machine.record(50, 1200);
    let error = machine.check(&mut machine.reader(), |_| true).unwrap_err();
    assert!(error.contains("is served as 1970"), "{error}");
}

#[test]
fn canary_a_recorder_that_trusts_every_clock_is_caught() {
    let mut machine = Machine::new(8);
    machine.boot(UNSET);
    machine.clock = ClockState::Synchronised;
    machine.record(500, 1200);
    machine.synchronise();
    let error = machine.check(&mut machine.reader(), |_| true).unwrap_err();
    assert!(error.contains("is served as 1970"), "{error}");
}

/// Boots that all begin in 1970, some of which end before anybody knew the time, many in one segment.
#[test]
fn boots_are_told_apart_though_all_begin_in_1970() {
    let mut machine = Machine::new(8);
    let never = [3, 4];
    for boot in 1..=6 {
        machine.boot(UNSET);
        machine.record(80, 300);
        if !never.contains(&boot) {
            machine.synchronise();
            machine.record(100, 300);
        }
    }
    let mut reader = machine.reader();
    machine.check(&mut reader, |boot| !never.contains(&boot)).unwrap();
    let remarks = reader.clock_remarks();
    let unset: Vec<_> = remarks.iter().filter(|remark| remark.offset.is_none()).collect();
    assert_eq!(unset.iter().map(|remark| remark.boot).collect::<Vec<_>>(), [1003, 1004], "{remarks:?}");
    for (remark, boot) in unset.iter().zip(never) {
        let truly = machine.packets.iter().filter(|packet| packet.2 == boot).map(|packet| packet.0);
        assert!(truly.clone().all(|truly| remark.truly.contains(Timestamp(truly))), "{remark:?}");
        assert!(remark.truly.end.0 - remark.truly.start.0 < 1_000 * NANOS_PER_SEC, "{remark:?}");
    }
}

#[test]
fn without_anybody_who_vouches_only_a_first_setting_counts() {
    let mut machine = Machine::new(8);
    machine.boot(UNSET);
    machine.record(100, 200);
    machine.set(machine.now, ClockState::NotSynchronised);
    machine.record(100, 200);
    machine.check(&mut machine.reader(), |_| true).unwrap();
    // An hour forward is somebody's mistake or somebody's correction: nobody knows.
    machine.set(machine.now + 3600 * NANOS_PER_SEC, ClockState::NotSynchronised);
    machine.record(100, 200);
    machine.packets.iter_mut().skip(200).for_each(|packet| packet.0 = packet.1);
    machine.check(&mut machine.reader(), |_| true).unwrap();
    // Years back as well.
    machine.set(UNSET + 500 * NANOS_PER_SEC, ClockState::NotSynchronised);
    machine.record(100, 200);
    machine.packets.iter_mut().skip(300).for_each(|packet| packet.0 = packet.1);
    machine.check(&mut machine.reader(), |_| true).unwrap();
}

#[test]
fn machines_of_all_kinds() {
    for seed in 0..seeds() {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut below = |limit: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 16) % limit
        };
        let mut machine = Machine::new(3 + below(3) as u32);
        let mut known = Vec::new();
        for boot in 1..=6 {
            let base = [UNSET, TRUTH - 90 * 86_400 * NANOS_PER_SEC, Y2038, u64::MAX / 3][below(4) as usize];
            machine.boot(base);
            let len = 200 + below(1200) as usize;
            machine.record(1 + below(3000) as u32, len);
            if below(4) == 0 {
                machine.stop(below(2) == 0);
                machine.start();
                machine.record(1 + below(200) as u32, len);
            }
            if below(4) > 0 {
                machine.synchronise();
                machine.record(1 + below(3000) as u32, len);
                known.push(boot);
            }
            if below(3) == 0 {
                machine.stop(true);
                machine.start();
            }
            let result = machine.check(&mut machine.reader(), |boot| known.contains(&boot));
            result.unwrap_or_else(|error| panic!("seed {seed}, boot {boot}: {error}"));
        }
    }
}

/// Histories that are tried; more by an environment variable.
fn seeds() -> u64 {
    std::env::var("HINDCAP_CLOCK_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(4)
}
