//! The two ways of reading for a pin: whole sessions out of both rings, and what the general ring got since.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::rc::Rc;

use hindcap_store::reader::{Class, ReadError, Reader, SegmentInfo};
use hindcap_store::volume::VolumeRead;
use hindcap_wire::flow::{FlowKey, addr_from_bytes, proto};
use hindcap_wire::index::keys::{host_key, overflow_flow_key};
use hindcap_wire::index::{IndexDoc, PageSet};
use hindcap_wire::net::IpNet;
use hindcap_wire::packet::{Dissection, Interface, LinkType, Packet};
use hindcap_wire::query::{Matcher, Query};
use hindcap_wire::time::{TimeRange, Timestamp};

use super::{Copied, Follower, PinSink, Position, Tally, general};
use crate::base::Base;
use crate::error::ExtractError;
use crate::options::Options;
use crate::plan::plan;
use crate::probe::{key_of, matching, without_vlan};
use crate::select::Selector;
use crate::session::track::Seen;
use crate::session::{Chosen, Pair, is_portless, pair_of, widen};
use crate::sorter::{Place, Waiting};
use crate::stream::{Found, Judge, Script, Verdict, is_orphan, stream};
use crate::twins::{Digest, Twins};

/// Packets of one instant that wait; with more, some may be copied although the event ring has them.
const INSTANT_MAX: usize = 4096;

/// The flow of `key`, in `time`, with all that belongs to its session.
pub(super) fn exactly(key: &FlowKey, time: TimeRange) -> Query {
    let host = |addr| IpNet::host(addr_from_bytes(addr, key.version));
    let ports = matches!(key.proto, proto::TCP | proto::UDP | proto::SCTP);
    Query {
        time,
        nets: vec![host(key.a), host(key.b)],
        ports: if ports { vec![key.a_port, key.b_port] } else { Vec::new() },
        proto: Some(key.proto),
        session: true,
        ..Query::default()
    }
}

impl Follower {
    /// Copies the sessions of `query` as far as they lie before `end`, without what the event ring has.
    pub(super) fn copy<V: VolumeRead>(
        &mut self,
        reader: &mut Reader<V>,
        query: &Query,
        end: Position,
        options: &Options<'_>,
        sink: &mut dyn PinSink,
        tally: &mut Tally,
    ) -> Result<(), ExtractError> {
        let plan = plan(reader, query)?;
        let mut widened = widen(reader, &plan, options)?;
        tally.overwritten.extend(&plan.overwritten);
        tally.report(&widened.report);
        if tally.copied.unfinished {
            return Ok(());
        }
        widened.script.end_at(end.generation, end.page);
        let mut judge = Whole { base: Base::new(&plan)?, chosen: widened.chosen, kept: Keeper::default() };
        let mut instant = Instant { digests: Twins::default(), at: Timestamp::MIN, waiting: Vec::new() };
        let mut given = Copied::default();
        let emit = |place: Place, item: &mut Item| {
            item.seen.iter().for_each(|seen| self.see(place, seen));
            Ok(instant.see(place, item, sink, &mut given))
        };
        let waiting = options.waiting_bytes_max;
        let report = stream(reader, &widened.script, &mut judge, waiting, options.cancelled, emit)?;
        if !given.unfinished {
            let _ = instant.give(sink, &mut given);
        }
        tally.report(&report);
        tally.copied.join(&given);
        Ok(())
    }

    /// Copies what the general ring got from `from` on, up to `end`; gives the sessions that were met in their middle.
    pub(super) fn ahead<V: VolumeRead>(
        &mut self,
        reader: &mut Reader<V>,
        (from, end): (Position, Position),
        options: &Options<'_>,
        sink: &mut dyn PinSink,
        tally: &mut Tally,
    ) -> Result<Vec<(FlowKey, Timestamp)>, ExtractError> {
        let selector = Selector::new(&self.query, Matcher::new(&self.query)?);
        let known: HashSet<FlowKey> = self.live.keys().copied().collect();
        let pairs: HashSet<Pair> = known.iter().map(pair_of).collect();
        let news: Vec<SegmentInfo> = general(reader.segments())
            .filter(|segment| segment.generation >= from.generation && segment.packets > 0)
            .cloned()
            .collect();
        let mut script = Script { reads: TimeRange::ALL, ..Script::default() };
        let mut link_types = Vec::new();
        for segment in &news {
            let doc = match reader.index(segment) {
                Ok(doc) => doc,
                Err(ReadError::Gone { .. }) => {
                    tally.overwritten.insert(segment.generation);
                    continue;
                }
                Err(_) => {
                    tally.copied.damaged += 1;
                    continue;
                }
            };
            note_link_types(&doc, &mut link_types);
            let mut pages = candidates(&doc, &selector, &known, &pairs);
            if segment.generation == from.generation {
                let mut fresh = PageSet::range(from.page, doc.pages());
                fresh.intersect(&pages);
                pages = fresh;
            }
            script.add(segment, &doc, pages);
        }
        script.end_at(end.generation, end.page);
        script.sort();
        let base = Base::of(&self.query, &selector.matcher, &link_types)?;
        let from_start = base.decides_by_flow();
        let mut judge = Ahead { base, known, pairs, kept: Keeper::default() };
        let (mut met, mut given) = (Vec::new(), Copied::default());
        let emit = |place: Place, item: &mut Item| {
            let mut wanted = item.loose;
            for seen in &item.seen {
                let goes_on = self.live.get(&seen.key).is_some_and(|track| !track.ends_before(place, seen));
                if !goes_on {
                    if self.live.remove(&seen.key).is_some() && !seen.hit {
                        continue;
                    }
                    if !seen.hit {
                        continue;
                    }
                    if !(from_start && seen.opens()) {
                        met.push((seen.key, place.at));
                    }
                }
                wanted = true;
                self.see(place, seen);
            }
            if wanted { Ok(item.give(sink, &mut given)) } else { Ok(ControlFlow::Continue(())) }
        };
        let waiting = options.waiting_bytes_max;
        let report = stream(reader, &script, &mut judge, waiting, options.cancelled, emit)?;
        tally.report(&report);
        tally.copied.join(&given);
        Ok(met)
    }
}

fn note_link_types(doc: &IndexDoc, link_types: &mut Vec<LinkType>) {
    for interface in doc.interfaces() {
        if !link_types.contains(&interface.link_type) {
            link_types.push(interface.link_type);
        }
    }
}

/// Pages that may hold packets of known flows, or new matches.
fn candidates(
    doc: &IndexDoc,
    selector: &Selector,
    known: &HashSet<FlowKey>,
    pairs: &HashSet<Pair>,
) -> PageSet {
    let mut pages = selector.pages(doc);
    for flow in doc.flows() {
        let key = without_vlan(&flow.key);
        if known.contains(&key) || (is_portless(&key) && pairs.contains(&pair_of(&key))) {
            flow.postings.add_to(&mut pages);
        }
    }
    if !doc.overflow().is_empty() {
        for key in known {
            let (a, b) = (host_key(&key.a, key.version), host_key(&key.b, key.version));
            pages.union(&doc.overflow_pages(&[a, b, overflow_flow_key(key)]));
        }
    }
    pages
}

impl Copied {
    fn join(&mut self, other: &Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.segments_missed += other.segments_missed;
        self.damaged += other.damaged;
        self.unfinished |= other.unfinished;
        self.span = match (self.span, other.span) {
            (Some(one), Some(two)) => Some(hindcap_wire::message::answer::Span {
                first: one.first.min(two.first),
                last: one.last.max(two.last),
            }),
            (one, two) => one.or(two),
        };
    }
}

/// A packet that may be copied, and what it means for its sessions.
struct Item {
    at: Timestamp,
    interface: Rc<Interface>,
    orig_len: u32,
    bytes: Box<[u8]>,
    seen: Vec<Seen>,
    /// It matches and belongs to no flow.
    loose: bool,
}

impl Waiting for Item {
    fn weight(&self) -> usize {
        256 + self.bytes.len() + self.seen.len() * size_of::<Seen>()
    }
}

impl Item {
    /// The packet, out of the stream's hands.
    fn taken(&mut self) -> Self {
        let (bytes, seen) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.seen));
        Self { bytes, seen, interface: Rc::clone(&self.interface), ..*self }
    }

    fn give(&self, sink: &mut dyn PinSink, copied: &mut Copied) -> ControlFlow<()> {
        let packet = Packet { timestamp: self.at, interface: 0, orig_len: self.orig_len, bytes: &self.bytes };
        if !sink.packet(&self.interface, &packet) {
            copied.unfinished = true;
            return ControlFlow::Break(());
        }
        copied.take(self.at, self.bytes.len());
        ControlFlow::Continue(())
    }
}

/// The packets of the general ring at one instant, until it is known which of them the event ring has.
struct Instant {
    digests: Twins,
    at: Timestamp,
    waiting: Vec<(Digest, Item)>,
}

impl Instant {
    fn see(
        &mut self,
        place: Place,
        item: &mut Item,
        sink: &mut dyn PinSink,
        copied: &mut Copied,
    ) -> ControlFlow<()> {
        let over = place.at != self.at || self.waiting.len() >= INSTANT_MAX;
        if over {
            self.at = place.at;
            if self.give(sink, copied).is_break() {
                return ControlFlow::Break(());
            }
        }
        let digest = self.digests.digest(&item.interface, item.orig_len, &item.bytes);
        if place.class == Class::General {
            self.waiting.push((digest, item.taken()));
        } else if let Some(twin) = self.waiting.iter().position(|(other, _)| *other == digest) {
            self.waiting.remove(twin);
        }
        ControlFlow::Continue(())
    }

    /// What is left has no twin.
    fn give(&mut self, sink: &mut dyn PinSink, copied: &mut Copied) -> ControlFlow<()> {
        self.waiting.drain(..).try_for_each(|(_, item)| item.give(sink, copied))
    }
}

/// One shared copy of each interface.
#[derive(Default)]
struct Keeper(Vec<Rc<Interface>>);

impl Keeper {
    fn keep(&mut self, found: &Found<'_>, seen: Vec<Seen>, loose: bool) -> Item {
        let packet = &found.at.packet;
        let known = self.0.iter().find(|known| known.as_ref() == found.interface).cloned();
        let interface = known.unwrap_or_else(|| {
            let interface = Rc::new(found.interface.clone());
            self.0.push(Rc::clone(&interface));
            interface
        });
        let (at, orig_len) = (packet.timestamp, packet.orig_len);
        Item { at, interface, orig_len, bytes: packet.bytes.into(), seen, loose }
    }
}

/// What a packet means for those of its flows that `wanted` names.
fn seen(
    base: &Base,
    dissection: &Dissection,
    hit: bool,
    wanted: impl Fn(&FlowKey, bool) -> bool,
) -> Vec<Seen> {
    let named: Vec<FlowKey> = matching(base, dissection).map(|layer| key_of(layer).0).collect();
    let layers = dissection.layers.iter().filter_map(|layer| {
        let (key, forward) = key_of(layer);
        let hit = hit && named.contains(&key);
        wanted(&key, hit).then_some(Seen { key, forward, tcp_flags: layer.tcp_flags, hit, fits: hit })
    });
    layers.collect()
}

/// Wants the chosen sessions, and matches that belong to none.
struct Whole {
    base: Base,
    chosen: Chosen,
    kept: Keeper,
}

impl Judge for Whole {
    type Item = Item;

    fn judge(&mut self, found: &Found<'_>) -> Verdict {
        match self.chosen.judge(found.place, found.dissection) {
            Verdict::No if found.dissection.layers.is_empty() => self.base.judge(found),
            verdict => verdict,
        }
    }

    fn settle(&mut self, place: Place, dissection: &Dissection) -> bool {
        self.chosen.judge(place, dissection) == Verdict::Yes
    }

    fn item(&mut self, found: &Found<'_>) -> Item {
        let seen = seen(&self.base, found.dissection, false, |key, _| self.chosen.has(key));
        self.kept.keep(found, seen, false)
    }
}

/// Wants the packets of known flows, and new matches.
struct Ahead {
    base: Base,
    known: HashSet<FlowKey>,
    pairs: HashSet<Pair>,
    kept: Keeper,
}

impl Ahead {
    fn knows(&self, dissection: &Dissection) -> bool {
        dissection.layers.iter().any(|layer| self.known.contains(&key_of(layer).0))
    }
}

impl Judge for Ahead {
    type Item = Item;

    fn judge(&mut self, found: &Found<'_>) -> Verdict {
        if self.knows(found.dissection) {
            return Verdict::Yes;
        }
        let last = found.dissection.layers.last().map(|layer| pair_of(&key_of(layer).0));
        if is_orphan(found.dissection) && last.is_some_and(|pair| self.pairs.contains(&pair)) {
            return Verdict::Perhaps;
        }
        self.base.judge(found)
    }

    fn settle(&mut self, place: Place, dissection: &Dissection) -> bool {
        self.knows(dissection) || self.base.settle(place, dissection)
    }

    fn item(&mut self, found: &Found<'_>) -> Item {
        let verdict = self.base.judge(found);
        let hit = verdict == Verdict::Yes;
        let seen = seen(&self.base, found.dissection, hit, |key, hit| hit || self.known.contains(key));
        // A later fragment counts as soon as its ports are known, which is when it is given out.
        let loose = (hit && found.dissection.layers.is_empty()) || is_orphan(found.dissection);
        self.kept.keep(found, seen, loose)
    }
}
