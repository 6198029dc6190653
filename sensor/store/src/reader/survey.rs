//! Which segments hold something: from headers, the catalog, summaries, and, for what is not sealed, commit blocks.

use std::path::Path;

use hindcap_wire::drops::DropCounts;
use hindcap_wire::ledger::{ClockAt, Commit, HEADER_END, SegmentHeader, SummaryPage};
use hindcap_wire::limits::PAGE_BYTES;
use hindcap_wire::policy::LeftOut;
use hindcap_wire::time::{ClockState, Timestamp};

use super::ReadError;
use super::clock::{self, Clock};
use super::info::{Class, SegmentInfo, SegmentState};
use super::scan::Turn;
use crate::catalog::{self, Entry};
use crate::lost_header::{self, begun};
use crate::provisional::{Provisional, believed};
use crate::state::State;
use crate::store::load_from;
use crate::volume::{Area, VolumeError, VolumeRead};

/// A segment that holds something, and how that is known.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub info: SegmentInfo,
    pub header: SegmentHeader,
    /// The header's block does not read back; `header` is made from batches or summary.
    pub header_damaged: bool,
    /// The catalog's entry of this generation, or what stands for it in the provisional tail.
    pub entry: Option<Entry>,
    /// The index of an open segment whose recorder ended in order.
    pub provisional: Option<Provisional>,
    /// The clocks at the last commit of a segment that has no summary.
    pub last_commit: Option<ClockAt>,
    /// How its clock was set.
    pub clock: Clock,
}

impl Known {
    fn new(info: SegmentInfo, header: SegmentHeader, header_damaged: bool) -> Self {
        let clock = Clock::default();
        Self { info, header, header_damaged, entry: None, provisional: None, last_commit: None, clock }
    }
}

/// Reads the header of a segment; `None` when there is none.
pub(super) fn header(volume: &impl VolumeRead, segment: u32) -> Result<Option<SegmentHeader>, VolumeError> {
    Ok(header_or_start(volume, segment)?.0)
}

/// The header, and what stands in its place.
fn header_or_start(
    volume: &impl VolumeRead,
    segment: u32,
) -> Result<(Option<SegmentHeader>, [u8; HEADER_END]), VolumeError> {
    let mut bytes = [0; HEADER_END];
    volume.read(Area::Segment(segment), 0, &mut bytes)?;
    Ok((SegmentHeader::decode(&bytes), bytes))
}

/// Reads the summary of a segment; `None` when its last page is none.
pub(super) fn summary(volume: &impl VolumeRead, segment: u32) -> Result<Option<SummaryPage>, VolumeError> {
    let page = last_page(volume, segment)?;
    Ok(summary_in(volume, &page))
}

fn last_page(volume: &impl VolumeRead, segment: u32) -> Result<Vec<u8>, VolumeError> {
    let mut page = vec![0; SummaryPage::BYTES];
    let offset = u64::from(volume.geometry().segment_bytes) - SummaryPage::BYTES as u64;
    volume.read(Area::Segment(segment), offset, &mut page)?;
    Ok(page)
}

fn summary_in(volume: &impl VolumeRead, page: &[u8]) -> Option<SummaryPage> {
    let data_fits = |page: &SummaryPage| {
        page.data_bytes <= volume.geometry().segment_bytes && page.data_bytes % PAGE_BYTES == 0
    };
    SummaryPage::decode(page).filter(data_fits)
}

/// All segments that hold something, oldest generation first. `before` is what was known; what cannot have changed is
/// taken from it. A segment that cannot be read is left out: others may still be served.
pub(super) fn survey(volume: &impl VolumeRead, before: Vec<Known>) -> Result<Vec<Known>, ReadError> {
    let state = load_from(volume, Path::new("")).ok().map(|(state, _)| state);
    let segments = volume.geometry().segments;
    let entries = catalog::entries(volume).unwrap_or_else(|_| vec![None; segments as usize]);
    let mut before: Vec<Option<Known>> = by_number(before, segments);
    let (mut known, mut failure) = (Vec::new(), None);
    for (number, entry) in (0..segments).zip(entries) {
        match look(volume, number, entry, before[number as usize].take(), state.as_ref()) {
            Ok(Some(segment)) => known.push(segment),
            Ok(None) => {}
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) if known.is_empty() => return Err(error.into()),
        _ => {}
    }
    known.sort_by_key(|known| known.info.generation);
    // Two segments of one generation cannot be; one of them is somebody's copy.
    known.dedup_by(|next, one| next.info.generation == one.info.generation);
    settle(&mut known);
    clock::look(volume, &mut known);
    Ok(known)
}

/// Only the newest segment can be open; others that were never sealed were given up by their writer.
fn settle(known: &mut [Known]) {
    if let Some((_, older)) = known.split_last_mut() {
        for known in older.iter_mut().filter(|known| known.info.state == SegmentState::Open) {
            known.info.state = SegmentState::Damaged;
        }
    }
}

fn by_number(known: Vec<Known>, segments: u32) -> Vec<Option<Known>> {
    let mut table: Vec<Option<Known>> = (0..segments).map(|_| None).collect();
    for known in known {
        if let Some(place) = table.get_mut(known.info.number as usize) {
            *place = Some(known);
        }
    }
    table
}

fn look(
    volume: &impl VolumeRead,
    number: u32,
    entry: Option<Entry>,
    before: Option<Known>,
    state: Option<&State>,
) -> Result<Option<Known>, VolumeError> {
    let store = state.map(|state| state.uuid);
    let (found, start) = header_or_start(volume, number)?;
    let header_damaged = found.is_none();
    let known_damaged = before.as_ref().filter(|known| known.header_damaged).map(|known| known.header);
    let header = match (found, store) {
        (Some(header), _) => Some(header),
        (None, _) if start == [0; HEADER_END] => None,
        (None, Some(store)) => known_damaged.or_else(|| lost_header::find(volume, &store, number, &start)),
        (None, None) => known_damaged.or(header_of_summary(volume, number)?),
    };
    let Some(header) = header else { return Ok(None) };
    if store.is_some_and(|store| store != header.store) {
        return Ok(None);
    }
    let entry = entry.filter(|entry| entry.generation == header.generation);
    let same = before.filter(|known| known.info.generation == header.generation);
    if let Some(same) = same.as_ref().filter(|known| known.info.state == SegmentState::Sealed) {
        return Ok(Some(Known { entry, ..same.clone() }));
    }
    if let Some(entry) = &entry {
        let info = info_of_entry(number, &header, entry);
        let entry = Some(*entry);
        return Ok(Some(Known { entry, ..Known::new(info, header, header_damaged) }));
    }
    let page = last_page(volume, number)?;
    let sealed = summary_in(volume, &page).filter(|page| page.generation == header.generation);
    let given_up = same.as_ref().filter(|known| known.info.state == SegmentState::Damaged);
    let (mut provisional, mut last_commit) = (None, same.as_ref().and_then(|known| known.last_commit));
    let info = match (sealed, given_up) {
        (Some(page), _) => info_of_summary(number, &page),
        (None, Some(known)) => known.info.clone(),
        (None, None) => {
            if let Some(state) = state {
                provisional = believed(volume, number, &header, state.epoch, &page)?;
            }
            match &provisional {
                Some(said) => info_of_provisional(number, &header, said),
                None => {
                    let before = same.as_ref().map(|known| known.info.clone());
                    let (info, at) = info_of_batches(volume, number, &header, before)?;
                    last_commit = at.or(last_commit);
                    info
                }
            }
        }
    };
    let entry = provisional.as_ref().map(|said| said.entry);
    let clock = same.map(|known| known.clock).unwrap_or_default();
    Ok(Some(Known { entry, provisional, last_commit, clock, ..Known::new(info, header, header_damaged) }))
}

/// What the header must have said, when nobody knows which store this is: as the summary has it.
fn header_of_summary(volume: &impl VolumeRead, number: u32) -> Result<Option<SegmentHeader>, VolumeError> {
    let page = summary(volume, number)?;
    Ok(page.map(|page| SegmentHeader {
        store: page.summary.store,
        generation: page.generation,
        segment_bytes: volume.geometry().segment_bytes,
        epoch: 0,
        begun: begun(&page.summary),
        chain_before: page.summary.chain_before,
    }))
}

fn info_of_entry(number: u32, header: &SegmentHeader, entry: &Entry) -> SegmentInfo {
    SegmentInfo {
        class: Class::General,
        number,
        generation: entry.generation,
        state: SegmentState::Sealed,
        first: entry.first,
        last: entry.last,
        packets: entry.packets,
        bytes: entry.bytes,
        data_bytes: 0,
        drops: entry.drops,
        left_out: entry.left_out,
        step: entry.step,
        eventful: entry.eventful,
        has_flows: entry.has_flows,
        created: header.begun.wall,
        clock: entry.clock,
    }
}

/// What the provisional tail says; the segment stays open.
fn info_of_provisional(number: u32, header: &SegmentHeader, said: &Provisional) -> SegmentInfo {
    let info = info_of_entry(number, header, &said.entry);
    SegmentInfo { state: SegmentState::Open, data_bytes: said.data_bytes, ..info }
}

fn info_of_summary(number: u32, page: &SummaryPage) -> SegmentInfo {
    let summary = &page.summary;
    SegmentInfo {
        class: Class::General,
        number,
        generation: page.generation,
        state: SegmentState::Sealed,
        first: summary.times.0,
        last: summary.times.1,
        packets: summary.packets,
        bytes: summary.captured_bytes,
        data_bytes: page.data_bytes,
        drops: summary.drops,
        left_out: summary.left_out,
        step: summary.step,
        eventful: summary.eventful,
        has_flows: summary.has_flows,
        created: summary.created,
        clock: summary.clock,
    }
}

/// What the last whole batch says; only what was written after `before` is looked at.
fn info_of_batches(
    volume: &impl VolumeRead,
    number: u32,
    header: &SegmentHeader,
    before: Option<SegmentInfo>,
) -> Result<(SegmentInfo, Option<ClockAt>), VolumeError> {
    let turn = Turn { store: header.store, segment: number, generation: header.generation };
    let from = before.as_ref().map_or(0, |info| info.data_bytes);
    let commit = turn.last(volume, from)?;
    let at = commit.as_ref().map(Commit::clock_at);
    let last = commit.map(|commit| info_of_commit(number, header, &commit));
    let info = last.or(before).unwrap_or_else(|| SegmentInfo {
        class: Class::General,
        number,
        generation: header.generation,
        state: SegmentState::Open,
        first: Timestamp::MAX,
        last: Timestamp::MIN,
        packets: 0,
        bytes: 0,
        data_bytes: 0,
        drops: DropCounts::default(),
        left_out: LeftOut::NONE,
        step: None,
        eventful: true,
        has_flows: true,
        created: header.begun.wall,
        clock: ClockState::Unknown,
    });
    Ok((info, at))
}

fn info_of_commit(number: u32, header: &SegmentHeader, commit: &Commit) -> SegmentInfo {
    SegmentInfo {
        class: Class::General,
        number,
        generation: header.generation,
        state: SegmentState::Open,
        first: commit.segment_times.0,
        last: commit.segment_times.1,
        packets: commit.segment_packets,
        bytes: commit.segment_captured_bytes,
        data_bytes: commit.offset + commit.bytes,
        // The batches tell; a reader that needs them opens the index.
        drops: DropCounts::default(),
        left_out: LeftOut::NONE,
        step: None,
        eventful: true,
        has_flows: true,
        created: header.begun.wall,
        clock: commit.clock,
    }
}
