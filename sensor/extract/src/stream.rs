//! Reads the pages of a plan, judges every packet in them, and gives what is wanted in time order.
//!
//! Units (pages of neighbouring batches, at most 1 MiB) are read in the order of their earliest time. A match is given
//! out as soon as no unread unit can hold an earlier one. Memory: the waiting matches
//! ([`WAITING_BYTES_MAX`](crate::limits::WAITING_BYTES_MAX), see [`crate::sorter`]), one unit, and the fragment cache.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use hindcap_store::reader::{Class, PacketAt, ReadError, Reader, SegmentInfo, Served, Visitor};
use hindcap_store::volume::VolumeRead;
use hindcap_wire::flow::FlowKey;
use hindcap_wire::index::{IndexDoc, PageSet};
use hindcap_wire::limits::PAGE_BYTES;
use hindcap_wire::message::answer::{Gap, GapCause};
use hindcap_wire::packet::fragments::FragmentCache;
use hindcap_wire::packet::plain::Plain;
use hindcap_wire::packet::{Dissection, Interface, LinkType, dissect};
use hindcap_wire::time::{TimeRange, Timestamp};

use crate::error::ExtractError;
use crate::limits::{FRAGMENTS_MAX, ORPHAN_WAIT_NANOS, UNIT_PAGES_MAX};
use crate::select::batch_pages;
use crate::sorter::{Place, Release, Sorter, Waiting};

/// One segment of a plan.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub segment: SegmentInfo,
    pub pages: PageSet,
    pub interfaces: Vec<Interface>,
}

/// Some pages of a part that are read in one go, `[start, end)`, and the times in them, inclusive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unit {
    part: usize,
    pages: (u32, u32),
    first: Timestamp,
    last: Timestamp,
}

/// What is read, in which order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    pub parts: Vec<Part>,
    pub units: Vec<Unit>,
    /// Packets outside are passed over unseen.
    pub reads: TimeRange,
}

impl Script {
    /// Adds `pages` of a segment.
    pub fn add(&mut self, segment: &SegmentInfo, doc: &IndexDoc, pages: PageSet) {
        if pages.is_empty() {
            return;
        }
        let part = self.parts.len();
        let mut open: Option<Unit> = None;
        for (start, end, batch) in batch_pages(doc.batches()) {
            let mut wanted = PageSet::range(start, end);
            wanted.intersect(&pages);
            if wanted.is_empty() {
                continue;
            }
            let unit = Unit { part, pages: (start, end), first: batch.first, last: batch.last };
            open = match open.take() {
                Some(before) if end - before.pages.0 <= UNIT_PAGES_MAX => Some(Unit {
                    pages: (before.pages.0, end),
                    first: before.first.min(unit.first),
                    last: before.last.max(unit.last),
                    ..before
                }),
                before => {
                    self.units.extend(before);
                    Some(unit)
                }
            };
        }
        self.units.extend(open);
        self.parts.push(Part { segment: segment.clone(), pages, interfaces: doc.interfaces().to_vec() });
    }

    /// Takes out the units that cannot hold a packet within `reads`.
    pub fn narrow(&mut self) {
        let reads = self.reads;
        self.units.retain(|unit| reads.touches(unit.first, unit.last));
    }

    /// Leaves out what the general ring got from this place on.
    pub fn end_at(&mut self, generation: u64, page: u32) {
        for part in self.parts.iter_mut().filter(|part| part.segment.class == Class::General) {
            match part.segment.generation.cmp(&generation) {
                Ordering::Less => {}
                Ordering::Equal => part.pages.truncate(page),
                Ordering::Greater => part.pages.clear(),
            }
        }
        let parts = &self.parts;
        self.units.retain(|unit| !parts[unit.part].pages.is_empty());
    }

    /// Adds what another script reads; a packet that both read is given once.
    pub fn join(&mut self, other: &Self) {
        let shift = self.parts.len();
        self.parts.extend(other.parts.iter().cloned());
        self.units.extend(other.units.iter().map(|unit| Unit { part: unit.part + shift, ..*unit }));
    }

    /// Puts the units in the order of their earliest time.
    pub fn sort(&mut self) {
        let generation = |unit: &Unit| self.parts[unit.part].segment.generation;
        self.units.sort_by_key(|unit| (unit.first, generation(unit), unit.pages.0));
    }

    /// Pages to read.
    pub fn pages(&self) -> u64 {
        self.parts.iter().map(|part| part.pages.len() as u64).sum()
    }
}

/// A packet with all that is known of it.
pub(crate) struct Found<'a> {
    pub place: Place,
    pub at: PacketAt<'a>,
    pub interface: &'a Interface,
    pub dissection: &'a Dissection,
}

/// What a judge says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    No,
    Yes,
    /// Ask again with [`Judge::settle`] when its first fragment has been seen.
    Perhaps,
}

/// Decides which packets are wanted, and what is kept of them.
pub(crate) trait Judge {
    type Item: Waiting;

    /// Whether [`Judge::may_want`] ever says no.
    fn is_choosy(&self) -> bool {
        false
    }

    /// Whether a packet of which nothing is known but its only flow may be wanted: `false` is certain.
    fn may_want(&self, _key: &FlowKey) -> bool {
        true
    }

    fn judge(&mut self, found: &Found<'_>) -> Verdict;

    /// Judges a packet that was perhaps wanted, now that its ports are known; they may still be unknown.
    fn settle(&mut self, place: Place, dissection: &Dissection) -> bool;

    fn item(&mut self, found: &Found<'_>) -> Self::Item;
}

/// What reading came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub bytes_read: u64,
    /// The segments that were read.
    pub segments_read: BTreeSet<(Class, u32)>,
    pub gaps: Vec<Gap>,
    /// Generations of the general ring that were overwritten before they had been read.
    pub overwritten: BTreeSet<u64>,
    pub cancelled: bool,
}

impl Report {
    fn gap(&mut self, gap: Gap) {
        if !self.gaps.contains(&gap) {
            self.gaps.push(gap);
        }
    }

    /// Adds what another reading came to.
    pub fn join(&mut self, other: Self) {
        self.bytes_read += other.bytes_read;
        self.segments_read.extend(other.segments_read);
        self.overwritten.extend(other.overwritten);
        other.gaps.into_iter().for_each(|gap| self.gap(gap));
        self.cancelled |= other.cancelled;
    }

    fn served(&mut self, segment: &SegmentInfo, unit: &Unit, served: Result<Served, ReadError>) {
        let whole = TimeRange::new(unit.first, unit.last.plus_nanos(1));
        match served {
            Ok(served) => {
                self.bytes_read += served.bytes_read;
                self.segments_read.insert((segment.class, segment.number));
                for damage in served.damage {
                    let bytes = u64::from(damage.pages.1 - damage.pages.0) * u64::from(PAGE_BYTES);
                    let known = damage.times.0 <= damage.times.1;
                    let range = if known {
                        TimeRange::new(damage.times.0, damage.times.1.plus_nanos(1))
                    } else {
                        whole
                    };
                    self.gap(Gap { range, cause: GapCause::Damage, bytes });
                }
            }
            Err(ReadError::Gone { .. }) => {
                if segment.class == Class::General {
                    self.overwritten.insert(segment.generation);
                }
                self.gap(Gap { range: whole, cause: GapCause::Overwritten, bytes: 0 });
            }
            Err(_) => {
                let bytes = u64::from(unit.pages.1 - unit.pages.0) * u64::from(PAGE_BYTES);
                self.gap(Gap { range: whole, cause: GapCause::Damage, bytes });
            }
        }
    }
}

/// An item with, for a later fragment that waits for its first one, what is known of it.
struct Held<T> {
    item: T,
    orphan: Option<Box<Dissection>>,
    place: Place,
}

impl<T: Waiting> Waiting for Held<T> {
    fn weight(&self) -> usize {
        self.item.weight() + self.orphan.as_ref().map_or(0, |_| size_of::<Dissection>())
    }
}

/// Reads `script` and hands what `judge` wants to `emit`, in time order, until it breaks.
pub(crate) fn stream<V: VolumeRead, J: Judge>(
    reader: &mut Reader<V>,
    script: &Script,
    judge: &mut J,
    waiting_bytes_max: usize,
    cancelled: Option<&AtomicBool>,
    mut emit: impl FnMut(Place, &mut J::Item) -> Result<ControlFlow<()>, ExtractError>,
) -> Result<Report, ExtractError> {
    let mut run = Run {
        script,
        sorter: Sorter::new(waiting_bytes_max),
        fragments: FragmentCache::when_needed(FRAGMENTS_MAX),
        dissection: Dissection::default(),
        report: Report::default(),
        ended: false,
    };
    loop {
        run.pass(reader, judge, cancelled, &mut emit)?;
        if run.ended || run.sorter.barrier().is_none() {
            return Ok(run.report);
        }
        run.sorter.next_pass();
    }
}

struct Run<'s, T> {
    script: &'s Script,
    sorter: Sorter<Held<T>>,
    fragments: FragmentCache,
    dissection: Dissection,
    report: Report,
    ended: bool,
}

impl<T: Waiting> Run<'_, T> {
    fn pass<V: VolumeRead, J: Judge<Item = T>>(
        &mut self,
        reader: &mut Reader<V>,
        judge: &mut J,
        cancelled: Option<&AtomicBool>,
        emit: &mut impl FnMut(Place, &mut T) -> Result<ControlFlow<()>, ExtractError>,
    ) -> Result<(), ExtractError> {
        let floor = self.sorter.floor();
        let script = self.script;
        let undone = |unit: &&Unit| floor.is_none_or(|floor| floor.at <= unit.last);
        let units: Vec<&Unit> = script.units.iter().filter(undone).collect();
        for (index, unit) in units.iter().enumerate() {
            if cancelled.is_some_and(|flag| flag.load(Relaxed)) {
                (self.ended, self.report.cancelled) = (true, true);
                return Ok(());
            }
            if self.sorter.barrier().is_some_and(|barrier| barrier.at < unit.first) {
                break;
            }
            self.read(reader, judge, unit);
            let before = units.get(index + 1).map_or(Timestamp::MAX, |next| next.first);
            self.release(judge, before, false, emit)?;
            if self.ended {
                return Ok(());
            }
        }
        self.release(judge, Timestamp::MAX, true, emit)
    }

    fn read<V: VolumeRead, J: Judge<Item = T>>(
        &mut self,
        reader: &mut Reader<V>,
        judge: &mut J,
        unit: &Unit,
    ) {
        let part = &self.script.parts[unit.part];
        let mut pages = PageSet::range(unit.pages.0, unit.pages.1);
        pages.intersect(&part.pages);
        let Self { script, sorter, fragments, dissection, report, .. } = self;
        let mut visit = Visit { script, part, judge, sorter, fragments, dissection };
        let served = reader.packets_for(&part.segment, &pages, &mut visit);
        report.served(&part.segment, unit, served);
    }

    /// Gives out what is earlier than `before`; `last` says that nothing more comes in this pass.
    fn release<J: Judge<Item = T>>(
        &mut self,
        judge: &mut J,
        before: Timestamp,
        last: bool,
        emit: &mut impl FnMut(Place, &mut T) -> Result<ControlFlow<()>, ExtractError>,
    ) -> Result<(), ExtractError> {
        let Self { sorter, fragments, ended, .. } = self;
        sorter.release(before, last, |held| {
            if *ended {
                return Ok(Release::Stay);
            }
            if let Some(dissection) = &mut held.orphan {
                fragments.resolve(dissection, held.place.at);
                if !judge.settle(held.place, dissection) {
                    let may_come = !last && held.place.at.plus_nanos(ORPHAN_WAIT_NANOS) >= before;
                    return Ok(if may_come { Release::Stay } else { Release::Next });
                }
            }
            *ended = emit(held.place, &mut held.item)?.is_break();
            Ok(Release::Next)
        })
    }
}

/// One reading of some pages.
struct Visit<'a, J: Judge> {
    script: &'a Script,
    part: &'a Part,
    judge: &'a mut J,
    sorter: &'a mut Sorter<Held<J::Item>>,
    fragments: &'a mut FragmentCache,
    dissection: &'a mut Dissection,
}

impl<J: Judge> Visitor for Visit<'_, J> {
    fn is_choosy(&self) -> bool {
        self.judge.is_choosy()
    }

    /// Only a plain packet is passed over: its front tells its only flow, and it teaches no fragment anything.
    fn may_want(&mut self, link_type: LinkType, head: &[u8], orig_len: u32) -> bool {
        Plain::read(link_type, head, orig_len).is_none_or(|plain| {
            let layer = plain.layer();
            self.judge.may_want(&FlowKey::of(&layer.tuple, layer.vlan).0)
        })
    }

    fn packet(&mut self, at: PacketAt<'_>) -> ControlFlow<()> {
        let Self { script, part, judge, sorter, fragments, dissection } = self;
        let timestamp = at.packet.timestamp;
        let place = Place {
            at: timestamp,
            class: part.segment.class,
            generation: part.segment.generation,
            offset: u64::from(at.offset),
        };
        if script.reads.contains(timestamp) && !sorter.is_done(place) {
            dissect(at.link_type, at.packet.bytes, at.packet.orig_len, dissection);
            fragments.resolve(dissection, timestamp);
            consider(*judge, sorter, part, place, at, dissection);
        }
        ControlFlow::Continue(())
    }
}

fn consider<J: Judge>(
    judge: &mut J,
    sorter: &mut Sorter<Held<J::Item>>,
    part: &Part,
    place: Place,
    at: PacketAt<'_>,
    dissection: &Dissection,
) {
    let number = usize::try_from(at.packet.interface).unwrap_or(usize::MAX);
    let unnamed;
    let interface = match part.interfaces.get(number) {
        Some(interface) => interface,
        None => {
            unnamed = Interface { link_type: at.link_type, snaplen: 0, name: String::new() };
            &unnamed
        }
    };
    let found = Found { place, at, interface, dissection };
    let verdict = judge.judge(&found);
    if verdict == Verdict::No || !sorter.wants(place) {
        return;
    }
    let orphan = (verdict == Verdict::Perhaps).then(|| Box::new(dissection.clone()));
    sorter.offer(place, Held { item: judge.item(&found), orphan, place });
}

/// Whether `dissection` ends with a later fragment whose first one has not been seen.
pub(crate) fn is_orphan(dissection: &Dissection) -> bool {
    dissection.layers.last().is_some_and(|layer| {
        let later = layer.fragment.is_some_and(|fragment| fragment.offset > 0);
        later && (layer.tuple.src_port, layer.tuple.dst_port) == (0, 0)
    })
}
