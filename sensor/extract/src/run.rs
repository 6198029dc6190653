//! Carries out a plan: reads, compares, gives out in time order, and says what it covers.

use std::ops::ControlFlow;
use std::rc::Rc;

use hindcap_store::reader::{Class, Reader};
use hindcap_store::volume::VolumeRead;
use hindcap_wire::flow::FlowKey;
use hindcap_wire::message::Limits;
use hindcap_wire::message::answer::{Answer, Gap, Partial, Span};
use hindcap_wire::packet::{Dissection, Interface, Packet};
use hindcap_wire::time::Timestamp;

use crate::base::Base;
use crate::cut::Cut;
use crate::error::ExtractError;
use crate::options::Options;
use crate::plan::Plan;
use crate::session::{self, Chosen};
use crate::sink::{ResultSink, SinkError};
use crate::sorter::{Place, Waiting};
use crate::stream::{Found, Judge, Report, Verdict, stream};
use crate::twins::Twins;

/// Extracts what `plan` found possible into `sink`.
///
/// # Errors
/// The sink takes no more, or a `session` query widens to too many flows.
pub fn run<V: VolumeRead>(
    reader: &mut Reader<V>,
    plan: &Plan,
    options: &Options<'_>,
    sink: &mut dyn ResultSink,
) -> Result<Answer, ExtractError> {
    let mut answer = Answer { segments_searched: plan.segments_searched, ..Answer::default() };
    plan.survey.tell(&mut answer);
    sink.begin(&answer)?;
    let mut judge = Match::new(plan, options.limits)?;
    let mut report = Report::default();
    let mut widened = None;
    if plan.query.session {
        let sessions = session::widen(reader, plan, options)?;
        report.join(sessions.report);
        judge.chosen = Some(sessions.chosen);
        widened = Some(sessions.script);
    }
    let twins = Twins::new(reader.segments());
    let cut = answer.thinned.policies.iter().any(|span| span.policy.truncates()).then(Cut::default);
    let mut given = Given { answer: &mut answer, limits: options.limits, full: None, twins, cut };
    if !report.cancelled {
        let script = widened.as_ref().unwrap_or(&plan.script);
        let emit = |place: Place, kept: &mut Kept| Ok(given.packet(place, kept, sink)?);
        report.join(stream(reader, script, &mut judge, options.waiting_bytes_max, options.cancelled, emit)?);
    }
    let full = given.full;
    let cut_off = given.cut.as_ref().map(Cut::finish).unwrap_or_default();
    answer.cut_off = cut_off;
    finish(&mut answer, plan, &judge, &report, full);
    sink.end(&answer)?;
    Ok(answer)
}

/// Counts what is given out, and stops at the limits.
struct Given<'a> {
    answer: &'a mut Answer,
    limits: Limits,
    /// The limit that was reached while there was more to give.
    full: Option<Partial>,
    twins: Twins,
    /// Where a policy was in force that truncates.
    cut: Option<Cut>,
}

impl Given<'_> {
    fn packet(
        &mut self,
        place: Place,
        kept: &Kept,
        sink: &mut dyn ResultSink,
    ) -> Result<ControlFlow<()>, SinkError> {
        if self.twins.is_given(place, &kept.interface, kept.orig_len, &kept.bytes) {
            return Ok(ControlFlow::Continue(()));
        }
        let packets_max = self.limits.max_packets.filter(|max| self.answer.packets >= *max);
        let bytes_max = self.limits.max_bytes.filter(|max| sink.bytes_with(kept.bytes.len()) > *max);
        self.full = packets_max.map(Partial::PacketsMax).or(bytes_max.map(Partial::BytesMax));
        if self.full.is_some() {
            return Ok(ControlFlow::Break(()));
        }
        let packet =
            Packet { timestamp: kept.timestamp, interface: 0, orig_len: kept.orig_len, bytes: &kept.bytes };
        sink.packet(&kept.interface, &packet)?;
        if let Some(cut) = &mut self.cut {
            cut.packet(kept.interface.link_type, &packet, kept.stored);
        }
        self.answer.packets += 1;
        self.answer.pinned_packets += u64::from(place.class == Class::Event);
        self.answer.bytes += kept.bytes.len() as u64;
        let first = self.answer.span.map_or(kept.timestamp, |span| span.first);
        self.answer.span = Some(Span { first, last: kept.timestamp });
        Ok(ControlFlow::Continue(()))
    }
}

fn finish(answer: &mut Answer, plan: &Plan, judge: &Match, report: &Report, full: Option<Partial>) {
    answer.segments_read = u32::try_from(report.segments_read.len()).unwrap_or(u32::MAX);
    answer.bytes_read = report.bytes_read;
    let news: Vec<Gap> = report.gaps.iter().filter(|gap| !is_told(answer, gap)).cloned().collect();
    answer.gaps.extend(news);
    answer.gaps.sort_by_key(|gap| (gap.range.start, gap.range.end));
    answer.gaps.dedup();
    let unreadable = plan.unreadable + report.gaps.iter().map(|gap| gap.bytes).sum::<u64>();
    let lost = unreadable > 0 || !report.gaps.is_empty();
    let cancelled = report.cancelled.then_some(Partial::Cancelled);
    answer.partial = full.or(cancelled).or(lost.then_some(Partial::Unreadable));
    if answer.packets == 0 && full.is_none() && !report.cancelled {
        answer.why_empty = Some(plan.survey.why_empty(unreadable));
    }
    answer.notes.extend(judge.base.notes());
    let window = plan.query.time;
    if answer.span.is_some_and(|span| !(window.contains(span.first) && window.contains(span.last))) {
        answer.notes.push("the sessions reach beyond the window".to_owned());
    }
}

/// Whether the answer has a gap that includes this one, as far as both lie in the window.
fn is_told(answer: &Answer, gap: &Gap) -> bool {
    let window = answer.window;
    let (start, end) = (gap.range.start.max(window.start), gap.range.end.min(window.end));
    answer.gaps.iter().any(|told| {
        told.cause == gap.cause
            && told.bytes >= gap.bytes
            && told.range.start <= start
            && end <= told.range.end
    })
}

/// A match that waits for its turn.
struct Kept {
    timestamp: Timestamp,
    interface: Rc<Interface>,
    orig_len: u32,
    /// Bytes that were recorded; the query may ask for fewer.
    stored: u32,
    bytes: Box<[u8]>,
}

/// Memory of a match beside its bytes: itself, its place in the tree, its allocation.
const KEPT_BYTES: usize = 192;

impl Waiting for Kept {
    fn weight(&self) -> usize {
        KEPT_BYTES + self.bytes.len()
    }
}

/// Wants what the query asks for, or what belongs to the sessions it led to.
struct Match {
    base: Base,
    chosen: Option<Chosen>,
    snaplen: usize,
    interfaces: Vec<Rc<Interface>>,
}

impl Match {
    fn new(plan: &Plan, limits: Limits) -> Result<Self, ExtractError> {
        let snaplen =
            limits.snaplen.filter(|snaplen| *snaplen > 0).and_then(|snaplen| usize::try_from(snaplen).ok());
        let snaplen = snaplen.unwrap_or(usize::MAX);
        Ok(Self { base: Base::new(plan)?, chosen: None, snaplen, interfaces: Vec::new() })
    }

    /// One shared copy of each interface.
    fn shared(&mut self, interface: &Interface) -> Rc<Interface> {
        if let Some(known) = self.interfaces.iter().find(|known| known.as_ref() == interface) {
            return Rc::clone(known);
        }
        let interface = Rc::new(interface.clone());
        self.interfaces.push(Rc::clone(&interface));
        interface
    }
}

impl Judge for Match {
    type Item = Kept;

    fn is_choosy(&self) -> bool {
        self.chosen.is_none() && self.base.matcher().names_layer()
    }

    fn may_want(&self, key: &FlowKey) -> bool {
        self.chosen.is_some() || self.base.matcher().may_match_flow(key)
    }

    fn judge(&mut self, found: &Found<'_>) -> Verdict {
        let Some(chosen) = &self.chosen else { return self.base.judge(found) };
        match chosen.judge(found.place, found.dissection) {
            // What belongs to no flow cannot be widened; it is given as it matches.
            Verdict::No if found.dissection.layers.is_empty() => self.base.judge(found),
            verdict => verdict,
        }
    }

    fn settle(&mut self, place: Place, dissection: &Dissection) -> bool {
        match &self.chosen {
            Some(chosen) => chosen.judge(place, dissection) == Verdict::Yes,
            None => self.base.settle(place, dissection),
        }
    }

    fn item(&mut self, found: &Found<'_>) -> Kept {
        let packet = &found.at.packet;
        let bytes = packet.bytes.get(..self.snaplen).unwrap_or(packet.bytes);
        Kept {
            timestamp: packet.timestamp,
            interface: self.shared(found.interface),
            orig_len: packet.orig_len,
            stored: u32::try_from(packet.bytes.len()).unwrap_or(u32::MAX),
            bytes: bytes.into(),
        }
    }
}
