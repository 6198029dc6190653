//! Maximum age on a card: what is emptied, in every state that a power cut leaves, and without small writes.

use super::crash::Card;
use super::*;
use crate::sim::ageing::{SEGMENTS, every_cut_of_emptying, old_segments_are_emptied};
use crate::sim::drive::{SEGMENT, UUID};
use crate::volume::block::{DevOperation, RamDev, SMALL_WRITE_BYTES};

fn fresh() -> Card {
    let mut dev = RamDev::new(96 * MIB / 512);
    let options = FormatOptions { segments_max: SEGMENTS, uuid: UUID, ..options(1 << 20, SEGMENT) };
    format(&mut dev, &options).unwrap();
    drop(dev.take_log());
    FatVolume::open(dev).unwrap()
}

#[test]
fn on_a_quiet_link_old_segments_of_a_card_are_emptied_without_small_writes() {
    let card = fresh();
    old_segments_are_emptied(card.clone());
    let log = card.device().take_log();
    let writes = || {
        log.iter().filter_map(|operation| match operation {
            DevOperation::Write { bytes, .. } => Some(bytes.len()),
            DevOperation::Flush => None,
        })
    };
    assert!(writes().count() > 20);
    assert!(writes().all(|bytes| bytes >= SMALL_WRITE_BYTES), "{:?}", writes().min());
}

#[test]
fn every_cut_of_emptying_leaves_a_card_whole() {
    assert!(every_cut_of_emptying(fresh()).unwrap() >= 60);
}
