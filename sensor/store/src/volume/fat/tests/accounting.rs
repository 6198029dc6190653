//! What the card is written for what is captured: bytes of all requests that reach the device per byte of packet records,
//! at every rate and flush interval.
//!
//! A batch ends at a page (16 KiB, what flash writes at once), so that half a page is padding on average when time ends
//! it. In the last tenth of the interval the recorder therefore ends a batch where a page is full: above some 30 kB/s at
//! 5 s nearly nothing is padding, and what a power cut may take stays the flush interval.

use std::sync::Arc;

use hindcap_wire::drops::DropCounts;
use hindcap_wire::packet::{Interface, LinkType, Packet};

use super::recording::{frame, reading};
use super::*;
use crate::sim::drive::Random;
use crate::volume::block::{CountDev, IoCounts, RamDev};
use crate::wear::{Beside, Totals, Wear};
use crate::{Recorder, RecorderOptions, Store};

const RATES: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];
const INTERVALS: [u64; 5] = [1, 5, 10, 30, 60];
/// What padding alone costs when batches of these rates and intervals end at the next page, as computed beforehand.
const EXPECTED: [[f64; 5]; 4] = [
    [16.4, 3.3, 1.64, 1.09, 1.09],
    [1.64, 1.31, 1.15, 1.04, 1.01],
    [1.15, 1.02, 1.02, 1.00, 1.00],
    [1.02, 1.00, 1.00, 1.00, 1.00],
];
/// What the table leaves out: the commit and the terminator of each batch, headers, repeats of the interfaces.
const BESIDE_PADDING: f64 = 0.006;

/// Records `secs` seconds at `rate` and gives device bytes per byte of packet records, small writes, and writes.
fn measured(card: &Card, rate: u64, interval: u64, secs: u64) -> (f64, u64, u64) {
    let dev = CountDev::new(card.writer());
    let counts: Arc<IoCounts> = dev.counts();
    let store = Store::mount(FatVolume::open(dev).unwrap()).unwrap();
    let options = RecorderOptions {
        hash_chain: false,
        flush_interval_nanos: interval * 1_000_000_000,
        ..RecorderOptions::inline()
    };
    let mut recorder = store.recorder(options, reading(0)).unwrap();
    let tap = Interface { link_type: LinkType::ETHERNET, snaplen: 0, name: "tap".into() };
    let interface = recorder.interface(&tap).unwrap();
    let (before, mut random) = (counts.written(), Random(rate * 61 + interval));
    let (mut captured, mut records, mut number) = (0, 0, 0_u32);
    // Until the last batch of the run is closed by its time.
    for tick in 0..secs * 10 {
        while captured < rate * tick / 10 {
            let len = [60, 90, 590, 1_400, 1_400][random.below(5) as usize];
            let bytes = frame(number, len);
            let timestamp = Timestamp(NOW.0 + tick * 100_000_000);
            recorder.push(&Packet { timestamp, interface, orig_len: len as u32, bytes: &bytes });
            captured += len as u64;
            records += (len as u64).next_multiple_of(4) + 32;
            number += 1;
        }
        recorder.tick(reading(tick * 100), DropCounts::default());
    }
    recorder.flush();
    let after = counts.written();
    assert_eq!(recorder.health().snapshot().packets_acked, u64::from(number), "everything is durable");
    let (bytes, small, writes) = (after.1 - before.1, after.2 - before.2, after.0 - before.0);
    (bytes as f64 / records as f64, small, writes)
}

#[test]
fn a_card_is_not_written_more_than_the_table_says() {
    let (card, _) = Card::formatted(400 * MIB, &options(4 << 20, 64 << 20));
    println!("device bytes per byte of packet records; in brackets what padding to pages would cost");
    println!("      rate  {}", INTERVALS.map(|secs| format!("{secs:>11} s")).join(""));
    let mut beyond = Vec::new();
    for (rate, expected) in RATES.into_iter().zip(EXPECTED) {
        let mut row = format!("{:>5} kB/s ", rate / 1_000);
        for (interval, most) in INTERVALS.into_iter().zip(expected) {
            // Ten batches, or as many MiB.
            let secs = (interval * 10).max(30).min(12_000_000 / rate + 1).max(3);
            let (ratio, small, _) = measured(&card, rate, interval, secs);
            row += &format!("{ratio:>7.3} ({most})");
            assert_eq!(small, 0, "writes below 16 KiB while recording");
            let most = if rate >= 100_000 && interval >= 5 { 1.01 } else { most + BESIDE_PADDING };
            if ratio > most {
                beyond.push(format!("{rate} B/s, {interval} s: {ratio:.4} > {most}"));
            }
        }
        println!("{row}");
    }
    assert!(beyond.is_empty(), "{beyond:#?}");
}

/// The odometer of the store tells every byte that reaches the device, whichever ring wrote it, and goes on doing so.
#[test]
fn both_rings_wear_the_same_card() {
    const LIST_BYTES: u64 = 16_384;
    let options = FormatOptions { event_share: Some(EventShare::Percent(30)), ..options(1 << 20, 4 << 20) };
    let mut card = RamDev::new(96 * MIB / 512);
    format(&mut card, &options).unwrap();
    let tap = Interface { link_type: LinkType::ETHERNET, snaplen: 0, name: "tap".into() };
    let plain = RecorderOptions { hash_chain: false, ..RecorderOptions::inline() };
    let mut device = (0, 0);
    for life in 1..4_u64 {
        let at = |second: u64| reading((life * 100 + second) * 1_000);
        let (general, events) = (CountDev::new(card.clone()), CountDev::new(card.clone()));
        let counts = [general.counts(), events.counts()];
        let store = Store::mount(FatVolume::open(general).unwrap()).unwrap();
        let health = store.health();
        let events = Store::mount(FatVolume::open_events(events).unwrap().unwrap()).unwrap();
        let ring = events.state().uuid;
        let tell = |wear: &Wear| health.set_beside(Some(Beside::of(ring, &wear.odometer)));
        let record = |recorder: &mut Recorder, second| {
            let interface = recorder.interface(&tap).unwrap();
            for number in 0..200 {
                let (bytes, timestamp) = (frame(number, 1_400), Timestamp(NOW.0 + u64::from(number)));
                recorder.push(&Packet { timestamp, interface, orig_len: 1_400, bytes: &bytes });
            }
            recorder.tick(at(second), DropCounts::default());
        };
        let mut recorder = store.recorder(plain, at(0)).unwrap();
        // A ring that is met for the first time is counted from then on.
        tell(&events.state().wear);
        record(&mut recorder, 0);
        recorder.flush();
        let mut beside = events.recorder(plain, at(0)).unwrap();
        let beside_health = beside.health();
        for second in 1..40 {
            record(&mut recorder, second);
            record(&mut beside, second);
            tell(&beside_health.snapshot().wear);
        }
        health.wrote_beside(Totals { bytes: LIST_BYTES, writes: 1, flushes: 1, ..Totals::default() });
        beside.close(at(50)).unwrap();
        tell(&beside_health.snapshot().wear);
        recorder.close(at(51)).unwrap();
        let written = counts.map(|counts| counts.written());
        device = written.iter().fold(device, |sum, (writes, bytes, ..)| (sum.0 + writes, sum.1 + bytes));
        let told = health.snapshot().wear.odometer;
        let list = (life, life * LIST_BYTES);
        assert_eq!((told.writes, told.written_bytes), (device.0 + list.0, device.1 + list.1), "life {life}");
        assert!(written[0].1 > 10_000_000 && written[1].1 > 10_000_000, "both have written: {written:?}");
    }
}
