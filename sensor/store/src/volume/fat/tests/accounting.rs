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
use crate::volume::block::{CountDev, IoCounts};
use crate::{RecorderOptions, Store};

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
