//! Frames, stores on a simulated medium, and the model: every packet of the store compared with the query, in order.
#![allow(dead_code, reason = "each test file uses its part")]

use hindcap_extract::{ExtractError, Options, ResultSink, SinkError, plan, run};
use hindcap_store::reader::{Reader, ReaderOptions};
use hindcap_store::sim::SimVolume;
use hindcap_store::volume::VolumeRead;
use hindcap_store::{Reading, Recorder, RecorderOptions, Store};
use hindcap_wire::drops::DropCounts;
use hindcap_wire::message::answer::{Answer, Partial};
use hindcap_wire::packet::fragments::FragmentCache;
use hindcap_wire::packet::{Dissection, Interface, LinkType, Packet, dissect};
use hindcap_wire::query::{Matcher, Query};
use hindcap_wire::time::{ClockState, NANOS_PER_SEC, Timestamp};

pub mod frames;

use frames::{Host, ethernet, ipv4, udp};

/// Segments of the stores here: the smallest there are, so that a test has many.
pub const SEGMENT_BYTES: u32 = 4 << 20;

/// Where the tests' time begins.
pub const START: u64 = 1_700_000_000 * NANOS_PER_SEC;

/// Deterministic random numbers (xorshift64*).
pub struct Random(pub u64);

impl Random {
    pub fn word(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        (self.word() >> 11) % bound
    }

    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap()].clone()
    }
}

/// A packet as it was recorded, or as it came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shot {
    pub at: Timestamp,
    pub orig_len: u32,
    pub link_type: LinkType,
    pub bytes: Vec<u8>,
}

impl Shot {
    pub fn ethernet(at: u64, bytes: Vec<u8>) -> Self {
        let orig_len = u32::try_from(bytes.len()).unwrap();
        Self { at: Timestamp(at), orig_len, link_type: LinkType::ETHERNET, bytes }
    }
}

/// Other people's packets, so many megabytes of them, spread over `[from, to)` seconds.
pub fn noise(from: u64, to: u64, megabytes: u64) -> Vec<Shot> {
    let step = (to - from) * NANOS_PER_SEC / (megabytes * 1_000);
    let frame = |number: u64| {
        let payload = udp((9_999, 9_998), &[0; 1000]);
        ethernet(&[], 0x0800, &ipv4(Host((number % 100) as u8 + 100), Host(99), 17, None, &payload), (1, 2))
    };
    let at = |number: u64| START + from * NANOS_PER_SEC + number * step;
    (0..megabytes * 1_000).map(|number| Shot::ethernet(at(number), frame(number))).collect()
}

pub fn interface(link_type: LinkType) -> Interface {
    Interface { link_type, snaplen: 0, name: "tap0".into() }
}

/// The clocks at `wall`; `live` says that times are those of the recording, not of an import.
pub fn reading(wall: u64, live: bool) -> Reading {
    let clock = if live { ClockState::Synchronised } else { ClockState::Unknown };
    Reading { wall: Timestamp(wall), monotonic_nanos: wall - START / 2, clock }
}

/// A store on a simulated medium and what was recorded into it, in order.
pub struct Lab {
    pub volume: SimVolume,
    pub recorder: Option<Recorder>,
    pub shots: Vec<Shot>,
    live: bool,
}

impl Lab {
    pub fn new(segments: u32, live: bool, at: u64) -> Self {
        let volume = SimVolume::new(SEGMENT_BYTES, segments);
        volume.keep_log(false);
        let store = Store::format(volume.clone(), *b"0123456789abcdef").unwrap();
        let recorder = store.recorder(RecorderOptions::inline(), reading(at, live)).unwrap();
        Self { volume, recorder: Some(recorder), shots: Vec::new(), live }
    }

    pub fn recorder(&mut self) -> &mut Recorder {
        self.recorder.as_mut().unwrap()
    }

    pub fn push(&mut self, shot: Shot) {
        let recorder = self.recorder.as_mut().unwrap();
        let number = recorder.interface(&interface(shot.link_type)).unwrap();
        recorder.push(&Packet {
            timestamp: shot.at,
            interface: number,
            orig_len: shot.orig_len,
            bytes: &shot.bytes,
        });
        self.shots.push(shot);
    }

    /// Records `parts` in time order, and makes them readable.
    pub fn record(&mut self, parts: &[Vec<Shot>]) {
        let mut shots = parts.concat();
        shots.sort_by_key(|shot| shot.at);
        for shot in shots {
            let at = shot.at.0;
            self.push(shot);
            self.tick(at, Default::default());
        }
        self.flush();
    }

    pub fn tick(&mut self, wall: u64, drops: DropCounts) {
        let live = self.live;
        self.recorder().tick(reading(wall, live), drops);
    }

    pub fn flush(&mut self) {
        self.recorder().flush();
    }

    pub fn stop(&mut self, wall: u64) {
        self.recorder.take().unwrap().close(reading(wall, self.live)).unwrap();
    }

    pub fn restart(&mut self, wall: u64) {
        let store = Store::mount(self.volume.clone()).unwrap();
        self.recorder = Some(store.recorder(RecorderOptions::inline(), reading(wall, self.live)).unwrap());
    }

    pub fn reader(&self) -> Reader<SimVolume> {
        Reader::open(self.volume.clone(), ReaderOptions::default()).unwrap()
    }
}

/// Collects packets.
#[derive(Default)]
pub struct Collected {
    pub shots: Vec<Shot>,
    pub begun: Option<Answer>,
    pub ended: Option<Answer>,
}

impl ResultSink for Collected {
    fn begin(&mut self, expected: &Answer) -> Result<(), SinkError> {
        self.begun = Some(expected.clone());
        Ok(())
    }

    fn packet(&mut self, interface: &Interface, packet: &Packet<'_>) -> Result<(), SinkError> {
        let (at, orig_len) = (packet.timestamp, packet.orig_len);
        self.shots.push(Shot { at, orig_len, link_type: interface.link_type, bytes: packet.bytes.to_vec() });
        Ok(())
    }

    fn bytes_with(&self, caplen: usize) -> u64 {
        (self.shots.iter().map(|shot| shot.bytes.len() + 16).sum::<usize>() + 24 + 16 + caplen) as u64
    }

    fn end(&mut self, answer: &Answer) -> Result<(), SinkError> {
        self.ended = Some(answer.clone());
        Ok(())
    }
}

/// Plans and runs.
pub fn extract<V: VolumeRead>(
    reader: &mut Reader<V>,
    query: &Query,
    options: &Options<'_>,
) -> Result<(Vec<Shot>, Answer), ExtractError> {
    let plan = plan(reader, query)?;
    let estimate = plan.estimate();
    let mut sink = Collected::default();
    let answer = run(reader, &plan, options, &mut sink)?;
    assert_eq!(sink.ended.as_ref(), Some(&answer));
    assert_eq!(answer.packets, sink.shots.len() as u64);
    let complete = matches!(answer.partial, None | Some(Partial::Unreadable));
    assert_eq!(answer.why_empty.is_some(), answer.packets == 0 && complete, "{answer:?}");
    if !query.session {
        assert!(
            estimate.packets_max >= answer.packets,
            "{query:?}: {estimate:?} but {} packets",
            answer.packets
        );
        assert!(answer.bytes_read <= estimate.bytes_to_read * 64, "{estimate:?} {answer:?}");
    }
    Ok((sink.shots, answer))
}

/// Every packet with the ports that its first fragment told, wherever that one stands.
pub fn dissected(shots: &[Shot]) -> Vec<Dissection> {
    let mut cache = FragmentCache::new(1 << 16);
    let mut dissections = vec![Dissection::default(); shots.len()];
    for _ in 0..2 {
        for (shot, dissection) in shots.iter().zip(&mut dissections) {
            dissect(shot.link_type, &shot.bytes, shot.orig_len, dissection);
            cache.resolve(dissection, shot.at);
        }
    }
    dissections
}

/// What must come back: every packet that matches, by time, equal times in the order of recording.
pub fn model(shots: &[Shot], dissections: &[Dissection], query: &Query) -> Vec<Shot> {
    let matcher = Matcher::new(query).unwrap();
    let both = shots.iter().zip(dissections);
    let mut found: Vec<Shot> = both
        .filter(|(shot, dissection)| matcher.matches(shot.at, dissection))
        .map(|(shot, _)| shot.clone())
        .collect();
    found.sort_by_key(|shot| shot.at);
    found
}
