//! What a crash took from the catalog comes back when the store is next opened for writing: entries and filters of sealed
//! segments, made from their tails.
//!
//! Only segments whose entry names another generation than their header are looked at. The writer leaves at most
//! [`catalog::GROUP`] of them; a lost catalog leaves all, of which each start mends the newest [`MENDED_MAX`].

use std::cmp::Reverse;

use hindcap_wire::index::{FilterClasses, IndexDoc};
use hindcap_wire::ledger::SummaryPage;

use crate::catalog::{self, Pending, Sealed};
use crate::index::filter_of;
use crate::ring::Ring;
use crate::volume::{VolumeError, VolumeWrite};
use crate::writer::tail;

/// Segments that one start mends: 40 MiB of indexes at most, less than the open segment that is read as well.
pub(crate) const MENDED_MAX: usize = 4 * catalog::GROUP;

/// Writes the entries and filters that are missing, at most `most`; returns how many were written, and how many are left
/// for the next start.
///
/// # Errors
/// The volume failed. Queries then look into the tails, as before.
pub(crate) fn mend(
    volume: &mut impl VolumeWrite,
    ring: &Ring,
    most: usize,
) -> Result<(usize, usize), VolumeError> {
    let entries = catalog::entries(volume).unwrap_or_default();
    let is_stale = |&(number, generation): &(u32, u64)| {
        entries.get(number as usize).copied().flatten().is_none_or(|entry| entry.generation != generation)
    };
    let mut stale: Vec<(u32, u64)> = ring.used().filter(is_stale).collect();
    stale.sort_by_key(|(_, generation)| Reverse(*generation));
    let (mut pending, mut mended, mut left) = (Pending::new(), 0, 0);
    for (number, generation) in stale {
        let Some(page) = tail::read_summary(volume, number, generation) else { continue };
        if mended == most {
            left += 1;
            continue;
        }
        pending.add(entry_of(number, &page, tail::read_index(volume, number, &page)));
        mended += 1;
        if pending.is_due() {
            pending.write(volume)?;
        }
    }
    if !pending.is_empty() {
        pending.write(volume)?;
    }
    Ok((mended, left))
}

/// What the catalog says of a segment with this tail. Without an index that can be read it has no filter: queries then
/// look into the segment.
fn entry_of(segment: u32, page: &SummaryPage, index: Option<Vec<u8>>) -> Sealed {
    let doc = index.filter(|_| page.summary.has_flows).and_then(|bytes| IndexDoc::parse(bytes).ok());
    let (classes, filter) = doc.as_ref().map_or((FilterClasses(0), Vec::new()), filter_of);
    let mut sealed = Sealed::of(segment, page, classes, filter);
    sealed.entry.has_flows = doc.is_some();
    sealed
}

#[cfg(test)]
mod tests {
    use hindcap_wire::index::IndexLimits;

    use super::*;
    use crate::recorder::tests::{ethernet, finished, push, reading, store};
    use crate::sim::{Image, SimVolume};
    use crate::volume::{Area, VolumeRead};
    use crate::{Reader, ReaderOptions, RecorderOptions, SegmentState, Store};

    /// Sealed segments whose entries wait in memory when the recorder is killed.
    fn killed(sealed: u32) -> SimVolume {
        let (volume, mut recorder) = store(sealed + 2);
        let interface = recorder.interface(&ethernet("eth1")).unwrap();
        for segment in 0..sealed {
            (0..300).for_each(|number| push(&mut recorder, interface, segment * 1000 + number, 120));
            recorder.rotate();
        }
        (0..5).for_each(|number| push(&mut recorder, interface, 900_000 + number, 120));
        recorder.flush();
        drop(recorder);
        volume
    }

    fn catalog_bytes(volume: &SimVolume) -> Vec<u8> {
        let shape = volume.geometry();
        let mut bytes = vec![0; crate::layout::catalog_bytes(shape.segment_bytes, shape.segments) as usize];
        volume.read(Area::Catalog, 0, &mut bytes).unwrap();
        bytes
    }

    fn restarted(image: Image, like: &SimVolume) -> SimVolume {
        let volume = SimVolume::with_image(like.geometry(), image);
        let store = Store::mount(volume.clone()).unwrap();
        drop(store.recorder(RecorderOptions::inline(), reading(90)).unwrap());
        volume
    }

    fn wiped(volume: &SimVolume) -> Image {
        let mut image = volume.image();
        image.put(Area::Catalog, 0, &vec![0; catalog_bytes(volume).len()]);
        image
    }

    #[test]
    fn a_kill_costs_no_entry_and_no_filter() {
        let volume = killed(7);
        assert!(catalog::entries(&volume).unwrap().iter().all(Option::is_none), "all were pending");
        let mended = restarted(volume.image(), &volume);
        let entries = catalog::entries(&mended).unwrap();
        assert_eq!(entries.iter().flatten().count(), 7, "one per sealed segment, none for the open one");
        for (number, entry) in entries.iter().enumerate().filter_map(|(at, entry)| Some((at, (*entry)?))) {
            let filter = catalog::filter(&mended, number as u32, &entry).unwrap();
            assert!(filter.is_some() && entry.classes.0 == 7, "segment {number}");
        }
        let reader = Reader::open(mended, ReaderOptions::default()).unwrap();
        let sealed = reader.segments().iter().filter(|segment| segment.state == SegmentState::Sealed);
        assert_eq!(sealed.count(), 7);
    }

    #[test]
    fn what_is_mended_is_what_the_writer_would_have_written() {
        let (volume, mut recorder) = store(6);
        let interface = recorder.interface(&ethernet("eth1")).unwrap();
        for segment in 0..4 {
            (0..300).for_each(|number| push(&mut recorder, interface, segment * 1000 + number, 120));
            recorder.rotate();
        }
        finished(recorder);
        // Behind the four sealed segments comes the slot of the open one, with the filter of its provisional tail.
        let sealed = 16_384 + 4 * IndexLimits::for_segment(4 << 20).slot_bytes as usize;
        let mended = restarted(wiped(&volume), &volume);
        assert!(catalog_bytes(&mended)[..sealed] == catalog_bytes(&volume)[..sealed], "to the byte");
    }

    #[test]
    fn an_entry_of_another_turn_is_replaced_and_good_ones_cost_nothing() {
        let volume = killed(3);
        let mended = restarted(volume.image(), &volume);
        let right = catalog_bytes(&mended);
        let mut image = mended.image();
        let other = catalog::Entry { generation: 99, ..catalog::entries(&mended).unwrap()[1].unwrap() };
        image.put(Area::Catalog, catalog::ENTRY_BYTES as u64, &other.encode());
        assert!(catalog_bytes(&restarted(image, &mended)) == right);
        let store = Store::mount(mended.clone()).unwrap();
        let ring = Ring::scan(&mended, &store.state().uuid);
        assert_eq!(mend(&mut mended.clone(), &ring, 9).unwrap(), (0, 0));
    }

    #[test]
    fn a_lost_catalog_is_mended_in_steps_newest_first() {
        let volume = killed(5);
        let store = Store::mount(volume.clone()).unwrap();
        let ring = Ring::scan(&volume, &store.state().uuid);
        let present = |volume: &SimVolume| -> Vec<bool> {
            catalog::entries(volume).unwrap().iter().map(Option::is_some).collect()
        };
        assert_eq!(mend(&mut volume.clone(), &ring, 2).unwrap(), (2, 3));
        assert_eq!(present(&volume), [false, false, false, true, true, false, false], "the newest first");
        assert_eq!(mend(&mut volume.clone(), &ring, 9).unwrap(), (3, 0));
        assert_eq!(present(&volume), [true, true, true, true, true, false, false]);
    }

    #[test]
    fn a_damaged_index_gives_an_entry_without_filter() {
        let volume = killed(2);
        let store = Store::mount(volume.clone()).unwrap();
        let header = crate::ring::read_header(&volume, &store.state().uuid, 0).unwrap();
        let page = tail::read_summary(&volume, 0, header.generation).unwrap();
        let mut image = volume.image();
        image.put(Area::Segment(0), u64::from(page.index_offset) + 60, &[0x5A; 40]);
        let mended = restarted(image, &volume);
        let entries = catalog::entries(&mended).unwrap();
        assert_eq!(entries[0].map(|entry| (entry.filter_bytes, entry.packets)), Some((0, 300)));
        assert_eq!(entries.iter().flatten().map(|entry| entry.has_flows).collect::<Vec<_>>(), [false, true]);
        assert_ne!(entries[1].map(|entry| entry.filter_bytes), Some(0));
    }
}
