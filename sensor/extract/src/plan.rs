//! From a query to what must be read for it, by the catalog and the indexes alone.

use std::collections::BTreeSet;

use hindcap_store::reader::{Class, ReadError, Reader, SegmentInfo, SegmentState};
use hindcap_store::volume::VolumeRead;
use hindcap_wire::index::IndexDoc;
use hindcap_wire::limits::PAGE_BYTES;
use hindcap_wire::message::answer::{Answer, Estimate, GapCause};
use hindcap_wire::packet::LinkType;
use hindcap_wire::query::{Matcher, Query};
use hindcap_wire::time::TimeRange;

use crate::continuity::Continuity;
use crate::error::ExtractError;
use crate::filter::Filter;
use crate::select::Selector;
use crate::stream::Script;
use crate::survey::Survey;

/// What a query will read. Good as long as the segments are: one that is overwritten meanwhile is reported as a gap.
#[derive(Debug)]
pub struct Plan {
    pub(crate) query: Query,
    pub(crate) selector: Selector,
    pub(crate) script: Script,
    pub(crate) survey: Survey,
    pub(crate) link_types: Vec<LinkType>,
    /// Segments that may hold matches.
    candidates: Vec<u64>,
    pub(crate) segments_searched: u32,
    /// Generations of the general ring that could hold matches and were overwritten before their index had been read.
    pub(crate) overwritten: BTreeSet<u64>,
    /// Bytes of segments that could hold matches and whose index cannot be read.
    pub(crate) unreadable: u64,
    /// Whether there may be matches without flow record.
    pub(crate) overflows: bool,
    counts: Counts,
}

/// Upper bounds from flow records and batches.
#[derive(Debug, Default)]
struct Counts {
    packets: u64,
    bytes: u64,
    sessions: u64,
    continuity: Continuity,
}

/// Plans `query`.
///
/// # Errors
/// The query cannot be meant, or libpcap does not understand its filter.
pub fn plan<V: VolumeRead>(reader: &mut Reader<V>, query: &Query) -> Result<Plan, ExtractError> {
    let matcher = Matcher::new(query)?;
    let selector = Selector::new(query, matcher);
    let (segments, pinned) = by_class(reader.segments());
    let mut plan = Plan {
        script: Script { reads: selector.reads, ..Script::default() },
        survey: Survey::new(query.time, &segments, reader.horizon()),
        query: query.clone(),
        selector,
        link_types: Vec::new(),
        candidates: Vec::new(),
        segments_searched: 0,
        overwritten: BTreeSet::new(),
        unreadable: 0,
        overflows: false,
        counts: Counts::default(),
    };
    let near = neighbourhood(query.time, &segments);
    for (segment, near) in segments.iter().zip(near) {
        plan.take(reader, segment, near);
    }
    for segment in &pinned {
        plan.take_pinned(reader, segment);
    }
    plan.survey.set_clocks(reader.clock_remarks());
    plan.script.sort();
    // Only the number is asked for from here on.
    plan.counts.continuity.forget();
    if let Some(expression) = &query.filter {
        Filter::new(expression, &plan.link_types)?;
    }
    Ok(plan)
}

/// The segments of the general ring, and those of the event ring.
pub(crate) fn by_class(segments: &[SegmentInfo]) -> (Vec<SegmentInfo>, Vec<SegmentInfo>) {
    segments.iter().cloned().partition(|segment| segment.class == Class::General)
}

/// Which segments tell about `window`: those that touch it, and the nearest ones on either side.
fn neighbourhood(window: TimeRange, segments: &[SegmentInfo]) -> Vec<bool> {
    let with_packets = || segments.iter().filter(|segment| segment.packets > 0);
    let before =
        with_packets().filter(|segment| segment.last < window.start).map(|segment| segment.last).max();
    let after =
        with_packets().filter(|segment| segment.first >= window.end).map(|segment| segment.first).min();
    let near = |segment: &SegmentInfo| {
        let empty = segment.packets == 0;
        empty
            || window.touches(segment.first, segment.last)
            || Some(segment.last) == before
            || Some(segment.first) == after
    };
    segments.iter().map(near).collect()
}

/// Whether only the index of `segment` can tell what was recorded in `window`: what was lost or left out is counted for
/// the whole segment elsewhere.
fn tells(segment: &SegmentInfo, window: TimeRange) -> bool {
    let counted = segment.drops.total() > 0 || !segment.left_out.is_none();
    let is_within = segment.packets > 0 && window.start <= segment.first && segment.last < window.end;
    segment.eventful || segment.state != SegmentState::Sealed || counted && !is_within
}

/// What the segments tell about `window`, without looking for matches.
pub(crate) fn survey<V: VolumeRead>(
    reader: &mut Reader<V>,
    window: TimeRange,
    segments: &[SegmentInfo],
) -> Survey {
    let mut survey = Survey::new(window, segments, reader.horizon());
    for (segment, near) in segments.iter().zip(neighbourhood(window, segments)) {
        let doc = if near && tells(segment, window) { reader.index(segment).ok() } else { None };
        match doc {
            Some(doc) => survey.add(segment, &doc),
            None if near => survey.add_eventless(segment),
            None => survey.skip(),
        }
    }
    survey.set_clocks(reader.clock_remarks());
    survey
}

impl Plan {
    fn take<V: VolumeRead>(&mut self, reader: &mut Reader<V>, segment: &SegmentInfo, near: bool) {
        let touches = segment.packets > 0 && self.selector.reads.touches(segment.first, segment.last);
        let within = segment.packets > 0 && self.query.time.touches(segment.first, segment.last);
        self.segments_searched += u32::from(within);
        let candidate = touches && self.selector.may_be_in(reader, segment);
        if !candidate && !near {
            self.survey.skip();
            return;
        }
        if !candidate && !tells(segment, self.query.time) {
            self.survey.add_eventless(segment);
            return;
        }
        match reader.index(segment) {
            Ok(doc) => {
                self.survey.add(segment, &doc);
                self.lost_stretches(reader, segment);
                if candidate {
                    self.add(segment, &doc);
                }
            }
            Err(err) => self.lost(segment, &err, candidate),
        }
    }

    /// What lay in lost batches of a segment without index, nobody knows: it may have matched.
    fn lost_stretches<V: VolumeRead>(&mut self, reader: &mut Reader<V>, segment: &SegmentInfo) {
        if segment.state == SegmentState::Sealed {
            return;
        }
        for damage in reader.lost_stretches(segment).unwrap_or_default() {
            let known = damage.times.0 <= damage.times.1;
            let (first, last) = if known { damage.times } else { (segment.first, segment.last) };
            let range = TimeRange::new(first, last.plus_nanos(1));
            if self.query.time.touches(first, last) {
                let bytes = u64::from(damage.pages.1 - damage.pages.0) * u64::from(PAGE_BYTES);
                self.survey.gap(range, GapCause::Damage, bytes);
                self.unreadable += bytes;
            }
        }
    }

    /// Takes a segment of the event ring. It holds copies of some sessions, so it tells nothing of coverage or drops.
    fn take_pinned<V: VolumeRead>(&mut self, reader: &mut Reader<V>, segment: &SegmentInfo) {
        let holds = segment.packets > 0;
        self.segments_searched += u32::from(holds && self.query.time.touches(segment.first, segment.last));
        let touches = holds && self.selector.reads.touches(segment.first, segment.last);
        if !touches || !self.selector.may_be_in(reader, segment) {
            return;
        }
        match reader.index(segment) {
            Ok(doc) => {
                self.add(segment, &doc);
                self.lost_stretches(reader, segment);
            }
            Err(err) => self.lost(segment, &err, true),
        }
    }

    /// Takes note of what a hold would keep; the event ring keeps its own.
    fn candidate(&mut self, segment: &SegmentInfo, may_match: bool) {
        if may_match && segment.class == Class::General {
            self.candidates.push(segment.generation);
        }
    }

    fn lost(&mut self, segment: &SegmentInfo, err: &ReadError, candidate: bool) {
        let range = TimeRange::new(segment.first, segment.last.plus_nanos(1));
        let (cause, bytes) = match err {
            ReadError::Gone { .. } => (GapCause::Overwritten, 0),
            _ => (GapCause::Damage, u64::from(segment.data_bytes).max(u64::from(PAGE_BYTES))),
        };
        if bytes > 0 {
            self.candidate(segment, candidate);
        } else if candidate && segment.class == Class::General {
            self.overwritten.insert(segment.generation);
        }
        self.survey.gap(range, cause, bytes);
        self.unreadable += if candidate { bytes } else { 0 };
    }

    fn add(&mut self, segment: &SegmentInfo, doc: &IndexDoc) {
        for interface in doc.interfaces() {
            if !interface.is_lost() && !self.link_types.contains(&interface.link_type) {
                self.link_types.push(interface.link_type);
            }
        }
        let pages = self.selector.pages(doc);
        if pages.is_empty() {
            return;
        }
        self.candidate(segment, true);
        self.overflows |= self.selector.may_overflow(doc);
        self.counts.add(&self.selector, doc, pages.len() as u64 * u64::from(PAGE_BYTES));
        self.script.add(segment, doc, pages);
    }

    /// The generations of the segments that may hold matches, as far as the indexes tell, and of those whose index cannot be
    /// read: what a hold keeps.
    #[must_use]
    pub fn generations(&self) -> &[u64] {
        &self.candidates
    }

    /// What the query would read and give at most.
    #[must_use]
    pub fn estimate(&self) -> Estimate {
        let mut answer = Answer::default();
        self.survey.tell(&mut answer);
        let mut notes = answer.notes;
        if self.query.filter.is_some() || self.query.mac.is_some() {
            notes.push(
                "filters and MAC addresses are looked at in the packets only; less may match".to_owned(),
            );
        }
        if self.query.session {
            notes.push("the estimate is for the window; sessions may reach beyond it".to_owned());
        }
        if self.counts.continuity.bounded {
            notes.push(
                "too many sessions to tell apart across segments; the number is an upper bound".to_owned(),
            );
        }
        if self.script.parts.iter().any(|part| part.segment.class == Class::Event) {
            notes.push("packets that were pinned may be counted twice; they are given once".to_owned());
        }
        let nothing = self.script.units.is_empty();
        Estimate {
            window: self.query.time,
            segments_searched: self.segments_searched,
            segments: u32::try_from(self.script.parts.len()).unwrap_or(u32::MAX),
            pages: self.script.pages(),
            bytes_to_read: self.script.pages() * u64::from(PAGE_BYTES),
            packets_max: self.counts.packets,
            bytes_max: self.counts.bytes,
            sessions: self.counts.sessions,
            // Of the whole store, which the asker looks at once and not with every query.
            retention_forecast_secs: None,
            coverage: answer.coverage,
            thinned: answer.thinned,
            why_empty: nothing.then(|| self.survey.why_empty(self.unreadable)),
            notes,
        }
    }
}

impl Counts {
    fn add(&mut self, selector: &Selector, doc: &IndexDoc, bytes_max: u64) {
        let (mut packets, mut bytes) = (0, 0);
        for flow in doc.flows().filter(|flow| selector.wants_flow(flow)) {
            packets += u64::from(flow.packets);
            bytes += flow.bytes;
            self.sessions += u64::from(!self.continuity.follow(&flow).goes_on);
        }
        if !selector.matcher.names_layer() {
            let window = selector.matcher.time();
            let touched = doc.batches().iter().filter(|batch| window.touches(batch.first, batch.last));
            packets = touched.map(|batch| u64::from(batch.packets)).sum();
            bytes = bytes_max;
        } else if selector.may_overflow(doc) {
            packets += doc.overflow().packets;
            bytes = bytes_max;
        }
        self.packets += packets;
        self.bytes += bytes.min(bytes_max);
    }
}
