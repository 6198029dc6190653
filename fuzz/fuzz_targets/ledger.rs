//! What recovery believes: header, commit, event and summary blocks from a disk that may hold anything.
#![no_main]

use hindcap_wire::ledger::{Commit, Event, SegmentHeader, SummaryPage};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = SegmentHeader::decode(input);
    let _ = Event::decode(input);
    let _ = SummaryPage::decode(input);
    let _ = Commit::decode(input);
    let _ = Commit::at_end_of(input);
    if let Some((store, batch)) = input.split_first_chunk::<16>() {
        let _ = Commit::check(store, 1, 0, batch);
    }
});
