//! What there is to say about a store, read without a lock beside whoever writes to it.

use std::path::Path;

use hindcap_store::events::open_pins;
use hindcap_store::volume::VolumeRead;
use hindcap_store::volume::any::AnyReader;
use hindcap_store::wear::Wear;
use hindcap_store::{
    Reader, ReaderOptions, SegmentInfo, SegmentState, layout, open_events_reader, open_reader,
};
use hindcap_wire::drops::DropCounts;
use hindcap_wire::ledger::Happened;
use hindcap_wire::message::{
    CardSegments, CardStatus, ClockOffset, ClockStatus, EventsStatus, HeldStatus, StoreStatus, WearStatus,
};
use hindcap_wire::policy::{LeftOut, PolicyStep};
use hindcap_wire::time::{ClockState, NANOS_PER_SEC, Timestamp};
use serde::Serialize;

use crate::card_status::{self, CardSeen};
use crate::exit::Failure;
use crate::hold::usable;
use crate::lock::holder;
use crate::medium::{FIRST_LOOK, MediumWatch, SYS, readers};
use crate::pins::{decode, sum_up};
use crate::wear;

/// Everything `hindcapd status` knows.
#[derive(Clone, Debug, Serialize)]
pub struct StoreReport {
    /// Its directory.
    pub path: String,
    /// Its identity, hexadecimal.
    pub uuid: String,
    /// The process that writes to it now.
    pub writer_pid: Option<u32>,
    /// Bytes of one segment.
    pub segment_bytes: u32,
    /// Segments that fit.
    pub segments_total: u32,
    /// Segments whose summary or index is damaged.
    pub segments_damaged: u32,
    /// Sealed segments that queries read as a whole, because they have no flow records.
    pub segments_without_flows: u32,
    /// Packets that can be found.
    pub packets: u64,
    /// Their captured bytes.
    pub captured_bytes: u64,
    /// Packets lost while these segments were recorded.
    pub drops_total: u64,
    /// The same by cause, for segments that are still open.
    pub drops_open: DropCounts,
    /// The policy that the newest segment was recorded under; absent when everything is recorded.
    pub policy: Option<PolicyStep>,
    /// What policy left out of the segments that the store holds.
    pub left_out: LeftOut,
    /// Clock state at the newest commit, and how far off it was before it was set the last time.
    pub clock: ClockStatus,
    /// In which boot that was.
    #[serde(skip)]
    pub clock_boot: Option<u64>,
    /// The same as the state on the medium has it, at most ten minutes old.
    #[serde(skip)]
    pub worn: Wear,
    /// What has gone to the medium.
    pub wear: Option<WearStatus>,
    /// What was seen of the medium.
    #[serde(skip)]
    pub seen: CardSeen,
    /// The medium; absent before it was looked at.
    pub card: Option<CardStatus>,
    /// What also goes into the status at the broker.
    pub store: StoreStatus,
    /// The event ring, where there is one.
    pub events: Option<EventsStatus>,
    /// As does this: what is held.
    pub held: HeldStatus,
}

/// Reads the store at `path`.
///
/// # Errors
/// There is no store, or it cannot be read; what is known of its medium all the same.
pub fn store_report(path: &Path) -> Result<StoreReport, Box<(Failure, CardStatus)>> {
    let medium = MediumWatch::start(path.to_owned(), SYS.into(), readers());
    let report = look(path, true);
    let (_, disk) = medium.first(FIRST_LOOK);
    let card = card_status::status(path, &disk, report.as_ref().map(|report| &report.seen), None);
    let mut report = match report {
        Ok(report) => report,
        Err(failure) => return Err(Box::new((failure, card))),
    };
    report.card = Some(card);
    report.wear = Some(wear::status(&report.worn, report.worn.plan.as_ref(), &disk));
    Ok(report)
}

/// The part that goes into the status at the broker, without a look into the open segment.
///
/// # Errors
/// As [`store_report`].
pub fn store_status(path: &Path) -> Result<StoreReport, Failure> {
    look(path, false)
}

/// How far back the store at `path` reaches when it is full, seconds, at the rate of late; `None` when not known.
#[must_use]
pub fn retention(path: &Path) -> Option<u64> {
    look(path, false).ok()?.store.retention_forecast_secs
}

/// How old packets become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgeReport {
    /// The age that is asked for, seconds; 0 for none.
    pub min_age_secs: u64,
    /// The oldest packet that is next to be overwritten.
    pub oldest: Option<Timestamp>,
    /// Whether every segment is in use, so that the next one overwrites packets.
    pub full: bool,
    /// How far back the store will reach when it is full, at the rate of late.
    pub forecast_secs: Option<u64>,
}

impl AgeReport {
    /// The age in seconds that packets reach, when it is below the one asked for.
    #[must_use]
    pub fn shortfall(&self, now: Timestamp) -> Option<u64> {
        let oldest = self.oldest.filter(|_| self.full);
        let reached = oldest.map(|oldest| now.0.saturating_sub(oldest.0) / NANOS_PER_SEC);
        reached.or(self.forecast_secs).filter(|reached| *reached < self.min_age_secs)
    }
}

/// How old packets become in the store at `path`.
///
/// # Errors
/// As [`store_report`].
pub fn age_report(path: &Path) -> Result<AgeReport, Failure> {
    let (volume, state) = open_reader(path)?;
    let usable = usable(&volume);
    let reader = Reader::open(volume, ReaderOptions::default())?;
    let segments = reader.segments();
    let free = with_packets(segments).filter(|segment| !state.keep.is_held(segment.generation));
    let held = count(segments, |segment| state.keep.is_held(segment.generation));
    Ok(AgeReport {
        min_age_secs: state.keep.policy.min_age_secs,
        oldest: free.map(|segment| segment.first).min(),
        full: segments.len() >= usable as usize,
        forecast_secs: retention_forecast(segments, usable.saturating_sub(held)),
    })
}

fn look(path: &Path, into_open: bool) -> Result<StoreReport, Failure> {
    let (volume, state) = open_reader(path)?;
    let geometry = volume.geometry();
    let label = volume.label().unwrap_or_default();
    let on_card = card_status::segments(&volume);
    let usable = on_card.whole;
    let mut reader = Reader::open(volume, ReaderOptions::default())?;
    let (drops_open, left_out_open) =
        if into_open { missing_of_open(&mut reader)? } else { Default::default() };
    let policy = if into_open { policy_of_newest(&mut reader)? } else { None };
    let clock_offset = clock_offset(&reader);
    let segments = reader.segments();
    let sum = |field: fn(&SegmentInfo) -> u64| segments.iter().map(field).fold(0_u64, u64::saturating_add);
    let newest = segments.last();
    let present: Vec<u64> = segments.iter().map(|segment| segment.generation).collect();
    let share = state.keep.share(&present, usable, geometry.segment_bytes);
    let asked = |secs: u64| (secs > 0).then_some(secs);
    // Of an open segment only what its batches say, whatever else was left of it.
    let told = |segment: &&SegmentInfo| !(into_open && segment.state == SegmentState::Open);
    let left_out =
        segments.iter().filter(told).fold(left_out_open, |sum, segment| sum.plus(&segment.left_out));
    let drops_told =
        segments.iter().filter(told).fold(0_u64, |sum, segment| sum.saturating_add(segment.drops.total()));
    let (events, event_segments) = match events_status(path) {
        // A status at the broker tells of the ring whatever became of the other.
        Err(failure) if !into_open => {
            log::debug!("status of the event ring: {failure}");
            None
        }
        events => events?,
    }
    .unzip();
    Ok(StoreReport {
        path: path.display().to_string(),
        uuid: card_status::hex(&state.uuid),
        writer_pid: holder(path),
        segment_bytes: geometry.segment_bytes,
        segments_total: geometry.segments,
        segments_damaged: count(segments, |segment| segment.state == SegmentState::Damaged),
        segments_without_flows: count(segments, |segment| !segment.has_flows),
        packets: sum(|segment| segment.packets),
        captured_bytes: sum(|segment| segment.bytes),
        drops_total: drops_told.saturating_add(drops_open.total()),
        drops_open,
        policy,
        left_out,
        clock: ClockStatus {
            state: newest.map_or(ClockState::Unknown, |segment| segment.clock),
            offset: clock_offset.map(|(_, offset)| offset),
            ..ClockStatus::default()
        },
        clock_boot: clock_offset.map(|(boot, _)| boot),
        worn: state.wear,
        wear: None,
        seen: CardSeen { label, segments: on_card, event_segments },
        card: None,
        store: StoreStatus {
            quota_bytes: layout::store_bytes(geometry.segment_bytes, geometry.segments),
            used_bytes: segments.len() as u64 * u64::from(geometry.segment_bytes),
            segments: u32::try_from(segments.len()).unwrap_or(u32::MAX),
            oldest: with_packets(segments).map(|segment| segment.first).min(),
            newest: with_packets(segments).map(|segment| segment.last).max(),
            retention_forecast_secs: retention_forecast(segments, usable.saturating_sub(share.segments)),
        },
        events,
        held: HeldStatus {
            share,
            next_expiry: state.keep.next_expiry(),
            max_age_secs: asked(state.keep.policy.max_age_secs),
            min_age_secs: asked(state.keep.policy.min_age_secs),
        },
    })
}

/// How far the clock was off before it was set, and in which boot: the last time that this is known to have happened.
fn clock_offset(reader: &Reader<AnyReader>) -> Option<(u64, ClockOffset)> {
    let remarks = reader.clock_remarks();
    let known = remarks.iter().rev().find_map(|remark| Some((remark, remark.offset?)));
    known.map(|(remark, nanos)| (remark.boot, ClockOffset { nanos, until: remark.truly.end }))
}

/// What there is to say about the event ring of the store at `path`; `None` without one.
///
/// # Errors
/// It has one that cannot be read.
fn events_status(path: &Path) -> Result<Option<(EventsStatus, CardSegments)>, Failure> {
    let Some((volume, state)) = open_events_reader(path)? else { return Ok(None) };
    let (geometry, on_card) = (volume.geometry(), card_status::segments(&volume));
    let reader = Reader::open(volume, ReaderOptions::default())?;
    let segments = reader.segments();
    let holding = with_packets(segments).count() as u64;
    let mut status = EventsStatus {
        quota_bytes: layout::store_bytes(geometry.segment_bytes, geometry.segments),
        used_bytes: holding * u64::from(geometry.segment_bytes),
        packets: with_packets(segments).map(|segment| segment.packets).sum(),
        oldest: with_packets(segments).map(|segment| segment.first).min(),
        newest: with_packets(segments).map(|segment| segment.last).max(),
        max_age_secs: Some(state.keep.policy.max_age_secs).filter(|secs| *secs > 0),
        ..EventsStatus::default()
    };
    if let Some((_, list)) = open_pins(path)? {
        sum_up(&mut status, &decode(&list));
    }
    Ok(Some((status, on_card)))
}

/// The last policy step that the newest segment tells of, unless a recorder without a policy has started since.
fn policy_of_newest(reader: &mut Reader<AnyReader>) -> Result<Option<PolicyStep>, Failure> {
    let Some(newest) = reader.segments().last().cloned() else { return Ok(None) };
    let index = reader.index(&newest)?;
    let happened = Happened::of(index.events(), newest.created);
    let truly = |step: PolicyStep| PolicyStep { since: index.true_time().at(0, step.since), ..step };
    Ok(happened.step.filter(|step| !step.policy.is_everything()).map(truly))
}

/// Drops, and what policy left out, that only the batches of unsealed segments tell.
fn missing_of_open(reader: &mut Reader<AnyReader>) -> Result<(DropCounts, LeftOut), Failure> {
    let open: Vec<SegmentInfo> =
        reader.segments().iter().filter(|segment| segment.state == SegmentState::Open).cloned().collect();
    let (mut drops, mut left_out) = (DropCounts::default(), LeftOut::NONE);
    for segment in &open {
        let index = reader.index(segment)?;
        for batch in index.batches() {
            (drops, left_out) = (drops.plus(&batch.drops), left_out.plus(&batch.left_out));
        }
    }
    Ok((drops, left_out))
}

fn count(segments: &[SegmentInfo], wanted: impl Fn(&&SegmentInfo) -> bool) -> u32 {
    u32::try_from(segments.iter().filter(wanted).count()).unwrap_or(u32::MAX)
}

fn with_packets(segments: &[SegmentInfo]) -> impl Iterator<Item = &SegmentInfo> {
    segments.iter().filter(|segment| segment.packets > 0)
}

/// Sealed segments whose age tells the rate of late.
const FORECAST_SEGMENTS: usize = 16;

/// How far back the full store will reach if traffic goes on as in the newest sealed segments: the time from the first
/// of them to the last was enough for so many segments.
fn retention_forecast(segments: &[SegmentInfo], total: u32) -> Option<u64> {
    let sealed: Vec<&SegmentInfo> =
        with_packets(segments).filter(|segment| segment.state == SegmentState::Sealed).collect();
    let late = &sealed[sealed.len().saturating_sub(FORECAST_SEGMENTS)..];
    let (first, last) = (late.first()?.first, late.iter().map(|segment| segment.last).max()?);
    let span = last.0.checked_sub(first.0).filter(|span| *span > 0)?;
    let all = u128::from(span) * u128::from(total) / late.len() as u128;
    u64::try_from(all / u128::from(NANOS_PER_SEC)).ok()
}

/// `nanos` as people say it: the two largest units.
#[must_use]
pub fn ago(nanos: u64) -> String {
    let secs = nanos / NANOS_PER_SEC;
    match secs {
        0..60 => format!("{secs} s"),
        60..3_600 => format!("{} min {} s", secs / 60, secs % 60),
        3_600..86_400 => format!("{} h {} min", secs / 3_600, secs / 60 % 60),
        _ => format!("{} d {} h", secs / 86_400, secs / 3_600 % 24),
    }
}

/// The time between two instants, for people.
#[must_use]
pub fn between(first: Timestamp, last: Timestamp) -> String {
    ago(last.0.saturating_sub(first.0))
}

#[cfg(test)]
mod tests {
    use hindcap_store::Class;

    use super::*;

    fn sealed(first: u64, last: u64) -> SegmentInfo {
        SegmentInfo {
            class: Class::General,
            number: 0,
            generation: 1,
            state: SegmentState::Sealed,
            first: Timestamp(first * NANOS_PER_SEC),
            last: Timestamp(last * NANOS_PER_SEC),
            packets: 1,
            bytes: 60,
            data_bytes: 0,
            drops: DropCounts::default(),
            left_out: LeftOut::NONE,
            step: None,
            eventful: false,
            has_flows: true,
            created: Timestamp(0),
            clock: ClockState::Unknown,
        }
    }

    #[test]
    fn the_forecast_is_the_rate_of_the_newest_sealed_segments() {
        assert_eq!(retention_forecast(&[], 8), None);
        assert_eq!(retention_forecast(&[sealed(0, 100), sealed(100, 200)], 8), Some(800));
        let mut many: Vec<_> = (0..20).map(|n| sealed(n, n + 1)).collect();
        many[0] = sealed(0, 1);
        assert_eq!(retention_forecast(&many, 100), Some(100), "only the newest 16 count");
        let open = SegmentInfo { state: SegmentState::Open, ..sealed(0, 100) };
        assert_eq!(retention_forecast(&[open], 8), None);
    }

    #[test]
    fn durations_are_said_in_two_units() {
        for (secs, text) in
            [(0, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (7_260, "2 h 1 min"), (90_000, "1 d 1 h")]
        {
            assert_eq!(ago(secs * NANOS_PER_SEC), text);
        }
    }

    #[test]
    fn a_clock_that_was_set_while_recording_is_told() {
        use hindcap_store::{Reading, RecorderOptions, Store, StoreOptions, StoreSize};
        use hindcap_wire::packet::{Interface, LinkType, Packet};

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let options =
            StoreOptions { segment_bytes: 4 << 20, ..StoreOptions::new(&path, StoreSize::Bytes(32 << 20)) };
        let store = Store::create_any(&options).unwrap();
        let options = RecorderOptions { boot: 7, ..RecorderOptions::inline() };
        let at = |secs: u64, base: u64, clock| Reading {
            wall: Timestamp((base + secs) * NANOS_PER_SEC),
            monotonic_nanos: secs * NANOS_PER_SEC,
            clock,
        };
        let (unset, set) = (ClockState::NotSynchronised, ClockState::Synchronised);
        let mut recorder = store.recorder(options, at(1, 0, unset)).unwrap();
        let ethernet = Interface { link_type: LinkType::ETHERNET, snaplen: 0, name: "eth1".into() };
        let interface = recorder.interface(&ethernet).unwrap();
        for now in [at(10, 0, unset), at(20, 0, unset), at(30, 1_790_000_000, set)] {
            recorder.tick(now, DropCounts::default());
            recorder.push(&Packet { timestamp: now.wall, interface, orig_len: 60, bytes: &[2; 60] });
            recorder.flush();
        }
        recorder.close(at(31, 1_790_000_000, set)).unwrap();
        let report = store_status(&path).unwrap();
        assert_eq!((report.clock.state, report.clock_boot), (set, Some(7)));
        let offset = report.clock.offset.expect("the clock was set");
        assert_eq!(offset.nanos, 1_790_000_000 * NANOS_PER_SEC as i64);
        assert_eq!(offset.until.secs(), 1_790_000_020, "the last that was recorded before");
    }
}
