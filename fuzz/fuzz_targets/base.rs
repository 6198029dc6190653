//! A tiny store, made once: a sealed segment and an open one, in memory.

use std::collections::HashMap;
use std::sync::OnceLock;

use hindcap_store::sim::{Image, SimVolume};
use hindcap_store::volume::VolumeRead;
use hindcap_store::{Reading, Recorder, RecorderOptions, Store};
use hindcap_wire::drops::DropCounts;
use hindcap_wire::packet::{Interface, LinkType, Packet};
use hindcap_wire::time::{ClockState, Timestamp};

/// Bytes of a segment: the smallest there is.
pub const SEGMENT_BYTES: u32 = 4 << 20;
/// Segments.
pub const SEGMENTS: u32 = 2;
/// Identity of the store.
pub const UUID: [u8; 16] = [0x5a; 16];

/// Bytes of a packet by its time; no two have the same.
pub type Known = HashMap<Timestamp, Vec<u8>>;

/// The store and what is in it.
pub struct Base {
    pub image: Image,
    #[allow(dead_code, reason = "not every target asks for them")]
    pub packets: Known,
}

/// The clocks at a packet of this number.
pub fn reading(number: u64) -> Reading {
    let nanos = number * 1_000_000;
    Reading {
        wall: Timestamp(1_700_000_000_000_000_000 + nanos),
        monotonic_nanos: nanos,
        clock: ClockState::Synchronised,
    }
}

/// A UDP packet over IPv4, or IPv6 every fifth time, its number in the payload.
fn frame(number: u64, length: usize) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    let host = (number % 23) as u8;
    if number % 5 == 0 {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 200, 17, 64]);
        frame.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host]);
        frame.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
    } else {
        frame.extend([8, 0, 0x45, 0, 0, 200, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, host, 192, 0, 2, 1]);
    }
    frame.extend([4, host, 0, 53, 0, 180, 0, 0]);
    frame.extend(number.to_be_bytes());
    frame.resize(length, number as u8);
    frame
}

/// Records packets of these numbers; what they were.
pub fn record(recorder: &mut Recorder, numbers: std::ops::Range<u64>, length: usize) -> Known {
    let interface = Interface { link_type: LinkType::ETHERNET, snaplen: 0, name: "fuzz0".into() };
    let number_of = recorder.interface(&interface).expect("one interface");
    let mut known = Known::new();
    for number in numbers {
        let (bytes, at) = (frame(number, length), reading(number).wall);
        let orig_len = bytes.len() as u32;
        recorder.push(&Packet { timestamp: at, interface: number_of, orig_len, bytes: &bytes });
        recorder.tick(reading(number), DropCounts::default());
        known.insert(at, bytes);
    }
    known
}

/// Makes the store at the first call.
pub fn base() -> &'static Base {
    static BASE: OnceLock<Base> = OnceLock::new();
    BASE.get_or_init(|| {
        let volume = SimVolume::new(SEGMENT_BYTES, SEGMENTS);
        volume.keep_log(false);
        let store = Store::format(volume.clone(), UUID).expect("a store");
        let mut recorder = store.recorder(RecorderOptions::inline(), reading(0)).expect("a recorder");
        // Segment 0 is filled and sealed, segment 1 holds a few batches.
        let mut packets = record(&mut recorder, 1..3_000, 1_400);
        for batch in 0..3 {
            packets.extend(record(&mut recorder, 3_000 + batch * 40..3_040 + batch * 40, 300));
            recorder.flush();
        }
        recorder.close(reading(4_000)).expect("closed");
        assert_eq!(volume.geometry().segments, SEGMENTS);
        Base { image: volume.image(), packets }
    })
}
