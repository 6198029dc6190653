//! Indexes: any bytes, and a good one with bytes overwritten, are refused or walked to the end without leaving the
//! segment. (That a changed index is never believed is the CRC's work: target `store`.)
#![no_main]

mod base;

use std::sync::OnceLock;

use base::{SEGMENT_BYTES, SEGMENTS, base};
use hindcap_store::sim::SimVolume;
use hindcap_store::volume::{Area, Geometry, VolumeRead};
use hindcap_wire::index::{Filter, IndexDoc};
use hindcap_wire::ledger::SummaryPage;
use hindcap_wire::net::{IpNet, MacAddr};
use libfuzzer_sys::fuzz_target;

/// The encoded index of the sealed segment.
fn good() -> &'static [u8] {
    static GOOD: OnceLock<Vec<u8>> = OnceLock::new();
    GOOD.get_or_init(|| {
        let geometry = Geometry { segment_bytes: SEGMENT_BYTES, segments: SEGMENTS, sector_bytes: 512 };
        let volume = SimVolume::with_image(geometry, base().image.clone());
        let mut page = vec![0; 16_384];
        let at = u64::from(SEGMENT_BYTES) - 16_384;
        volume.read(Area::Segment(0), at, &mut page).expect("a summary");
        let page = SummaryPage::decode(&page).expect("a summary");
        let mut index = vec![0; page.index_bytes as usize];
        volume.read(Area::Segment(0), u64::from(page.index_offset) + 8, &mut index).expect("an index");
        index
    })
}

fn walk(bytes: Vec<u8>) -> bool {
    let Ok(doc) = IndexDoc::parse(bytes) else { return false };
    for page in 0..doc.pages().min(4_096) {
        let _ = doc.page(page as u16);
    }
    let flows = doc.flows().count();
    let pages = doc.flows().pages_where(|_| true);
    for (start, end) in pages.runs() {
        assert!(start < end);
    }
    let _ = (doc.batches().len(), doc.interfaces().len(), doc.events().count(), flows);
    for version in [4, 6] {
        let _ = doc.hosts(version).iter().count();
    }
    let net: IpNet = "10.0.0.0/8".parse().expect("a network");
    let _ = doc.may_have_host_in(&net);
    let _ = doc.mac_pages(&MacAddr([2, 0, 0, 0, 0, 1]));
    let _ = doc.overflow_pages(&[1, u64::MAX]);
    true
}

fuzz_target!(|input: &[u8]| {
    let _ = walk(input.to_vec());
    if let Some(filter) = Filter::parse(input.to_vec()) {
        let _ = filter;
    }
    let mut changed = good().to_vec();
    assert!(!input.is_empty() || walk(changed.clone()), "the good one is good");
    for patch in input.chunks_exact(4) {
        let at = usize::from(u16::from_be_bytes([patch[0], patch[1]])) % changed.len();
        changed[at] = patch[2];
        // Cut off, now and then.
        if patch[3] == 255 {
            changed.truncate(at.max(1));
        }
    }
    let _ = walk(changed);
});
