//! Copies whole sessions to where the general ring cannot overwrite them, and goes on with them while they go on.
//!
//! A [`Follower`] stands for one pin. Its first step finds the sessions that the query leads to, as an extraction with
//! `session` does, and copies what the event ring does not have yet: both rings are read as one stream, and only packets
//! of the general ring without a twin in the event ring are copied. So the step may be repeated at any time, after a
//! crash or for an overlapping pin, and copies nothing twice. Later steps look only at the pages recorded since, for
//! packets of sessions that are still alive, and for new matches; a match in the middle of a session leads back to its
//! beginning in the same way as the first step.
//!
//! What was overwritten before a step had been through it is counted. Memory: the sessions followed
//! ([`limits::SESSION_FLOWS_MAX`](crate::limits::SESSION_FLOWS_MAX), 100 bytes each), and that of an extraction.

mod read;

use std::collections::{BTreeSet, HashMap};

use hindcap_store::reader::{Class, Reader, SegmentInfo, SegmentState};
use hindcap_store::volume::VolumeRead;
use hindcap_wire::flow::FlowKey;
use hindcap_wire::message::answer::{GapCause, Span};
use hindcap_wire::packet::{Interface, Packet};
use hindcap_wire::query::Query;
use hindcap_wire::time::{TimeRange, Timestamp};

use crate::error::ExtractError;
use crate::limits::SESSION_FLOWS_MAX;
use crate::options::Options;
use crate::session::track::Track;
use crate::stream::Report;

/// New sessions of one step that are looked back for one by one; with more, one search finds them all.
const LOOKED_BACK_MAX: usize = 16;

/// Takes the copies.
pub trait PinSink {
    /// Takes a packet; `false` ends the step. `packet.interface` means nothing: `interface` says what it is.
    fn packet(&mut self, interface: &Interface, packet: &Packet<'_>) -> bool;

    /// Makes what was taken readable in the event ring.
    fn flush(&mut self);
}

/// Everything of the general ring before this place has been looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Generation of a segment.
    pub generation: u64,
    /// Page in it.
    pub page: u32,
}

/// What a step copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Packets.
    pub packets: u64,
    /// Their captured bytes.
    pub bytes: u64,
    /// First and last of them.
    pub span: Option<Span>,
    /// Segments of the general ring that were overwritten before they had been looked at.
    pub segments_missed: u64,
    /// Stretches that could not be read because of damage.
    pub damaged: u64,
    /// The step was cancelled or the sink took no more: it is to be repeated.
    pub unfinished: bool,
}

impl Copied {
    fn take(&mut self, at: Timestamp, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
        let span = self.span.unwrap_or(Span { first: at, last: at });
        self.span = Some(Span { first: span.first.min(at), last: span.last.max(at) });
    }
}

/// What a step came to so far. It may read a segment several times and in several pieces, which is one segment all the same.
#[derive(Default)]
struct Tally {
    copied: Copied,
    /// Generations that were overwritten while the step was about to read them.
    overwritten: BTreeSet<u64>,
}

impl Tally {
    fn report(&mut self, report: &Report) {
        self.overwritten.extend(&report.overwritten);
        self.copied.damaged += report.gaps.iter().filter(|gap| gap.cause == GapCause::Damage).count() as u64;
        self.copied.unfinished |= report.cancelled;
    }

    fn done(mut self) -> Copied {
        self.copied.segments_missed += self.overwritten.len() as u64;
        self.copied
    }
}

/// See the module.
#[derive(Debug)]
pub struct Follower {
    query: Query,
    live: HashMap<FlowKey, Track>,
    position: Option<Position>,
}

impl Follower {
    /// For the sessions of `query`. `position` is where a follower before this one had come to, if there was one: what
    /// is overwritten since is missed.
    #[must_use]
    pub fn new(query: &Query) -> Self {
        let query = Query { session: true, ..query.clone() };
        Self { query, live: HashMap::new(), position: None }
    }

    /// How far the general ring has been looked at.
    #[must_use]
    pub const fn position(&self) -> Option<Position> {
        self.position
    }

    /// Sessions that may go on.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live.len()
    }

    /// Whether nothing more can come: no session is alive, and everything in the query's window is on the medium.
    #[must_use]
    pub fn is_over(&self, recorded: Option<Timestamp>) -> bool {
        let passed = recorded.is_some_and(|recorded| self.query.time.end <= recorded);
        self.position.is_some() && self.live.is_empty() && passed
    }

    /// Copies what is new into `sink`. `reader` reads both rings. Sessions that by `now`, the wall clock, were silent for
    /// longer than their idle time-out are over; without it the newest packet tells the time, as where packets are imported.
    ///
    /// # Errors
    /// The query cannot be meant, or leads to too many sessions.
    pub fn step<V: VolumeRead>(
        &mut self,
        reader: &mut Reader<V>,
        options: &Options<'_>,
        now: Option<Timestamp>,
        sink: &mut dyn PinSink,
    ) -> Result<Copied, ExtractError> {
        sink.flush();
        let mut tally = Tally::default();
        if reader.refresh().is_err() {
            return Ok(Copied { unfinished: true, ..Copied::default() });
        }
        let Some(end) = end_of(reader) else { return Ok(Copied::default()) };
        let now = now.or_else(|| newest(reader.segments())).unwrap_or(Timestamp::MIN);
        match self.position {
            None => {
                let query = self.query.clone();
                self.copy(reader, &query, end, options, sink, &mut tally)?;
            }
            Some(from) => {
                tally.copied.segments_missed += missed(reader.segments(), from);
                let found = self.ahead(reader, (from, end), options, sink, &mut tally)?;
                if !tally.copied.unfinished && !found.is_empty() {
                    sink.flush();
                    let _ = reader.refresh();
                    for query in self.back_to(&found) {
                        self.copy(reader, &query, end, options, sink, &mut tally)?;
                    }
                }
            }
        }
        sink.flush();
        if !tally.copied.unfinished {
            self.position = Some(end);
        }
        self.live.retain(|key, track| !track.is_over(key.proto, now));
        Ok(tally.done())
    }

    /// Queries that lead to the whole sessions of `found`: flows and the instants of their matches.
    fn back_to(&self, found: &[(FlowKey, Timestamp)]) -> Vec<Query> {
        let instant = |at: Timestamp| TimeRange::new(at, at.plus_nanos(1));
        if found.len() > LOOKED_BACK_MAX {
            let first = found.iter().map(|(_, at)| *at).min().unwrap_or(Timestamp::MIN);
            let time = TimeRange::new(first, self.query.time.end);
            return vec![Query { time, ..self.query.clone() }];
        }
        found.iter().map(|(key, at)| read::exactly(key, instant(*at))).collect()
    }

    fn see(&mut self, place: crate::sorter::Place, seen: &crate::session::track::Seen) {
        if self.live.len() >= SESSION_FLOWS_MAX && !self.live.contains_key(&seen.key) {
            return;
        }
        let track = self.live.entry(seen.key).or_insert(Track::new(place));
        if track.ends_before(place, seen) {
            *track = Track::new(place);
        }
        track.take(place, seen);
    }
}

/// The general ring's segments.
fn general(segments: &[SegmentInfo]) -> impl Iterator<Item = &SegmentInfo> {
    segments.iter().filter(|segment| segment.class == Class::General)
}

/// The newest packet, as far as segments tell.
fn newest(segments: &[SegmentInfo]) -> Option<Timestamp> {
    general(segments).filter(|segment| segment.packets > 0).last().map(|segment| segment.last)
}

/// Where the general ring ends at present; `None` while it is empty or its newest segment cannot be read.
fn end_of<V: VolumeRead>(reader: &mut Reader<V>) -> Option<Position> {
    let newest = general(reader.segments()).last()?.clone();
    if newest.state == SegmentState::Sealed {
        // Nothing more comes in it, so that it may go.
        return Some(Position { generation: newest.generation + 1, page: 0 });
    }
    let page = reader.index(&newest).ok()?.pages();
    Some(Position { generation: newest.generation, page })
}

/// Segments from `from` on that are no longer there: none while the one that was looked at last is. Older ones say nothing,
/// because held ones stay.
fn missed(segments: &[SegmentInfo], from: Position) -> u64 {
    let last = from.generation - u64::from(from.page == 0 && from.generation > 0);
    let mut from_last = general(segments).map(|segment| segment.generation).filter(|it| *it >= last);
    match from_last.next() {
        Some(oldest) if oldest != last => oldest - from.generation,
        _ => 0,
    }
}
