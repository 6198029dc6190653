//! The reading side: which segments there are, what they may hold, their indexes and their packets.
//!
//! A reader works beside a live writer, also in another process, and never locks: it believes headers, commit blocks,
//! summaries and index only after their own checks, and looks at the generation again after reading, so that a segment
//! overwritten meanwhile is reported as gone and never served. Wrong bytes are never served: every page is compared
//! with its CRC-32 (sealed segments) or lies in a batch whose CRC-32 agrees (open ones).

mod clock;
mod error;
mod filters;
mod info;
mod pages;
mod scan;
mod shelf;
mod survey;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use pages::pages_are_trusted;

pub use clock::ClockRemark;
pub use error::{Damage, ReadError, Served};
pub use info::{Class, SegmentInfo, SegmentState};
pub use shelf::Shelf;

use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::Arc;

use hindcap_wire::index::{FilterKey, IndexDoc, IndexLimits, PageSet};
use hindcap_wire::ledger::ClockLine;
use hindcap_wire::limits::PAGE_BYTES;
use hindcap_wire::packet::{LinkType, Packet};
use hindcap_wire::time::{ClockState, Timestamp};
use hindcap_wire::true_time::TrueTime;

use crate::age::horizon;
use crate::provisional::claimed_end;
use crate::store::load_from;
use crate::volume::{Area, VolumeRead};
use clock::Anchors;
use filters::Filters;
use pages::Pages;
use scan::{Scan, Turn};
use survey::Known;

/// Bounds of a [`Reader`].
#[derive(Clone, Copy, Debug)]
pub struct ReaderOptions {
    /// Bytes of catalog filters kept in memory, newest segments first.
    pub filter_cache_bytes: usize,
    /// Bytes of encoded indexes kept in memory, used last first; the one in use is kept in any case.
    pub index_cache_bytes: usize,
    /// Makes the hash tables of an index that is built here hard to aim at.
    pub seed: u64,
    /// The time, for the maximum age: packets older than that are not given out, unless a hold keeps them. Without it everything is.
    pub now: Option<Timestamp>,
    /// Whether what the index of the open segment was made of is kept, 2.5 MiB, to go on with it after a refresh: for readers
    /// that live longer than one query.
    pub follows: bool,
    /// Packets and indexes bear the times that stand on the disk, also where the clock was set only later.
    pub raw_times: bool,
}

impl Default for ReaderOptions {
    fn default() -> Self {
        Self {
            filter_cache_bytes: 1024 * 1024,
            index_cache_bytes: 1024 * 1024,
            seed: 0,
            now: None,
            follows: true,
            raw_times: false,
        }
    }
}

/// A packet and where it lies.
#[derive(Clone, Copy, Debug)]
pub struct PacketAt<'a> {
    /// The packet; `interface` counts inside its segment.
    pub packet: Packet<'a>,
    /// Link type of its interface.
    pub link_type: LinkType,
    /// Page in which its block starts.
    pub page: u16,
    /// Offset of its block in the segment, bytes. Ascending in the order of capture.
    pub offset: u32,
}

/// What becomes of packets that are read.
pub trait Visitor {
    /// Whether [`Visitor::may_want`] ever says no: then the page behind is read only when a packet wants it.
    fn is_choosy(&self) -> bool {
        false
    }

    /// Whether a packet may be wanted of which only `head` is read yet, the bytes that lie in the page where its block
    /// starts. One that is not is passed over.
    fn may_want(&mut self, _link_type: LinkType, _head: &[u8], _orig_len: u32) -> bool {
        true
    }

    /// Takes a packet.
    fn packet(&mut self, at: PacketAt<'_>) -> ControlFlow<()>;
}

/// Wants every packet.
struct Each<'a>(&'a mut dyn FnMut(PacketAt<'_>) -> ControlFlow<()>);

impl Visitor for Each<'_> {
    fn packet(&mut self, at: PacketAt<'_>) -> ControlFlow<()> {
        (self.0)(at)
    }
}

/// Passes over what has passed the maximum age.
struct Young<'a> {
    not_before: Timestamp,
    visitor: &'a mut dyn Visitor,
}

impl Visitor for Young<'_> {
    fn is_choosy(&self) -> bool {
        self.visitor.is_choosy()
    }

    fn may_want(&mut self, link_type: LinkType, head: &[u8], orig_len: u32) -> bool {
        self.visitor.may_want(link_type, head, orig_len)
    }

    fn packet(&mut self, at: PacketAt<'_>) -> ControlFlow<()> {
        if at.packet.timestamp < self.not_before {
            ControlFlow::Continue(())
        } else {
            self.visitor.packet(at)
        }
    }
}

/// Gives packets their true times.
struct Truly<'a> {
    times: &'a TrueTime,
    visitor: &'a mut dyn Visitor,
}

impl Visitor for Truly<'_> {
    fn is_choosy(&self) -> bool {
        self.visitor.is_choosy()
    }

    fn may_want(&mut self, link_type: LinkType, head: &[u8], orig_len: u32) -> bool {
        self.visitor.may_want(link_type, head, orig_len)
    }

    fn packet(&mut self, mut at: PacketAt<'_>) -> ControlFlow<()> {
        at.packet.timestamp = self.times.at(at.page, at.packet.timestamp);
        self.visitor.packet(at)
    }
}

/// An index and the stretches of its segment, in bytes, that hold no whole batch.
#[derive(Clone, Debug)]
struct Indexed {
    generation: u64,
    doc: Arc<IndexDoc>,
    damage: Vec<Range<u32>>,
    /// Nothing will be added: the segment was not open any more.
    whole: bool,
    /// The refresh before which it was made.
    refresh: u64,
}

/// Reads a store through its volume.
#[derive(Debug)]
pub struct Reader<V> {
    volume: V,
    limits: IndexLimits,
    options: ReaderOptions,
    known: Vec<Known>,
    infos: Vec<SegmentInfo>,
    filters: Filters,
    /// Indexes used lately, the last one at the end.
    indexes: Vec<Indexed>,
    /// The growing index of the open segment.
    scan: Option<Box<Scan>>,
    /// Where it lies between two looks, when readers share it.
    shelf: Option<Shelf>,
    /// It was taken from there.
    borrowed: bool,
    /// Generation of the segment without summary that was looked into last, and how its clock was set.
    scanned_clock: Option<(u64, Vec<ClockLine>)>,
    buffer: Vec<u8>,
    /// The event ring beside this one.
    events: Option<Box<Self>>,
    horizon: Option<Timestamp>,
    /// Generations that the horizon does not touch, ascending.
    exempt: Vec<u64>,
    /// What the clocks of all boots are known by.
    anchors: Anchors,
    /// Number of the last refresh.
    refresh: u64,
    /// Generations whose times are not what they say, ascending, and what they mean.
    corrected: Vec<(u64, TrueTime)>,
}

impl<V: VolumeRead> Reader<V> {
    /// Looks at every segment once.
    ///
    /// # Errors
    /// When the volume cannot be read at all.
    pub fn open(volume: V, options: ReaderOptions) -> Result<Self, ReadError> {
        let mut reader = Self {
            limits: IndexLimits::for_segment(volume.geometry().segment_bytes),
            volume,
            filters: Filters::new(options.filter_cache_bytes),
            options,
            known: Vec::new(),
            infos: Vec::new(),
            indexes: Vec::new(),
            scan: None,
            shelf: None,
            borrowed: false,
            scanned_clock: None,
            buffer: Vec::new(),
            events: None,
            horizon: None,
            exempt: Vec::new(),
            anchors: Anchors::default(),
            refresh: 0,
            corrected: Vec::new(),
        };
        reader.refresh()?;
        Ok(reader)
    }

    /// Reads the event ring as well: its segments come behind those of this ring, as [`Class::Event`], and are served as
    /// these are.
    #[must_use]
    pub fn with_events(mut self, events: Self) -> Self {
        self.events = Some(Box::new(events));
        self.list();
        self
    }

    /// Shares the growing index of the open segment with other readers of this store.
    #[must_use]
    pub fn with_shelf(mut self, shelf: Shelf) -> Self {
        self.shelf = Some(shelf);
        self
    }

    /// Looks at the event ring through `read`, when there is one.
    fn event_ring<T>(
        &mut self,
        segment: &SegmentInfo,
        read: impl FnOnce(&mut Self, &SegmentInfo) -> Result<T, ReadError>,
    ) -> Option<Result<T, ReadError>> {
        if segment.class == Class::General {
            return None;
        }
        let plain = SegmentInfo { class: Class::General, ..segment.clone() };
        let gone = ReadError::Gone { segment: segment.number, generation: segment.generation };
        Some(self.events.as_mut().map_or(Err(gone), |events| read(events, &plain)))
    }

    fn list(&mut self) {
        self.infos = self.known.iter().map(|known| known.info.clone()).collect();
        if !self.options.raw_times {
            for (info, known) in self.infos.iter_mut().zip(&self.known) {
                (info.first, info.last) = self.anchors.times(info, &known.clock);
                if let Some(step) = &mut info.step {
                    let times = self.anchors.true_time(info.generation, &known.clock.lines);
                    step.since = times.at(0, step.since);
                }
            }
        }
        self.hide_old();
        let events = self.events.iter().flat_map(|events| events.segments());
        self.infos.extend(events.map(|info| SegmentInfo { class: Class::Event, ..info.clone() }));
    }

    /// Takes notice of what was written since: one small read per segment, and what was committed to the open one.
    ///
    /// # Errors
    /// When the volume cannot be read at all.
    pub fn refresh(&mut self) -> Result<(), ReadError> {
        self.refresh += 1;
        self.known = survey::survey(&self.volume, std::mem::take(&mut self.known))?;
        if let Some(events) = &mut self.events {
            // The general ring is served whatever became of the other.
            if let Err(error) = events.refresh() {
                log::warn!("the event ring cannot be read: {error}");
            }
        }
        self.set_clock()?;
        self.list();
        let oldest = self.known.first().map_or(0, |known| known.info.generation);
        self.filters.forget_before(oldest);
        self.indexes.retain(|indexed| indexed.generation >= oldest);
        Ok(())
    }

    /// Lets go of memory that only reading packets needs, until they are read again.
    pub fn rest(&mut self) {
        self.buffer = Vec::new();
        if let Some(events) = &mut self.events {
            events.rest();
        }
    }

    /// Learns by which clocks was recorded; what was read under other assumptions is forgotten.
    fn set_clock(&mut self) -> Result<(), ReadError> {
        if self.options.raw_times {
            return Ok(());
        }
        // What happened to the clock between the first boot of the open segment and its last one, only its batches tell.
        let hidden = self.known.last().filter(|known| {
            let unsure = known.header.begun.clock == ClockState::NotSynchronised;
            unsure && known.last_commit.is_some_and(|last| last.boot != known.header.begun.boot)
        });
        if let Some(known) = hidden.filter(|known| !known.clock.exact).cloned() {
            let mut scan = self.scan_of(&known);
            scan.proceed(&self.volume)?;
            if let Some(last) = self.known.last_mut() {
                (last.clock.lines, last.clock.exact) = (scan.clock_lines().to_vec(), true);
            }
            self.scan = Some(scan);
        }
        self.anchors = Anchors::of(&self.known, None);
        let corrected = |known: &Known| {
            let times = self.anchors.true_time(known.info.generation, &known.clock.lines);
            (!times.is_plain()).then_some((known.info.generation, times))
        };
        let corrected: Vec<_> = self.known.iter().filter_map(corrected).collect();
        if corrected != self.corrected {
            self.indexes.clear();
            self.corrected = corrected;
        }
        Ok(())
    }

    /// What the times of `known` mean, whose tail was read.
    fn true_time(&self, known: &Known) -> TrueTime {
        let generation = known.info.generation;
        let found = self.corrected.binary_search_by_key(&generation, |(generation, _)| *generation);
        found.map_or_else(|_| TrueTime::default(), |at| self.corrected[at].1.clone())
    }

    /// The same, by its batches.
    fn true_time_of(&self, known: &Known, scan: &Scan) -> TrueTime {
        let (generation, lines) = (known.info.generation, scan.clock_lines());
        if self.options.raw_times {
            return TrueTime::default();
        }
        Anchors::of(&self.known, Some((generation, lines))).true_time(generation, lines)
    }

    /// What there is to say of clocks that were not set when something was recorded. Those of segments without index only
    /// as far as they were looked into.
    #[must_use]
    pub fn clock_remarks(&self) -> Vec<ClockRemark> {
        if self.options.raw_times {
            return Vec::new();
        }
        let newest = self.known.last().filter(|known| !known.clock.exact).map(|known| known.info.generation);
        let scanned = self.scanned_clock.as_ref().filter(|(generation, _)| Some(*generation) == newest);
        let scan = scanned.map(|(generation, lines)| (*generation, lines.as_slice()));
        clock::remarks(&self.known, scan)
    }

    /// Leaves out segments that have passed the maximum age, and dates those that have in part by the rest of them.
    fn hide_old(&mut self) {
        let state = load_from(&self.volume, Path::new("")).ok().map(|(state, _)| state);
        let keep = state.map(|state| state.keep).unwrap_or_default();
        self.horizon = self.options.now.and_then(|now| horizon(&keep, now));
        let Some(horizon) = self.horizon else { return };
        // Nobody knows how old packets are that were recorded without a clock.
        let exempt = |info: &SegmentInfo| {
            keep.is_held(info.generation) || info.clock == ClockState::NotSynchronised || info.packets == 0
        };
        self.exempt = self.infos.iter().filter(|info| exempt(info)).map(|info| info.generation).collect();
        self.infos.retain(|info| exempt(info) || info.last >= horizon);
        for info in self.infos.iter_mut().filter(|info| !exempt(info)) {
            info.first = info.first.max(horizon);
        }
    }

    /// The instant before which packets have passed the maximum age, if there is one.
    #[must_use]
    pub const fn horizon(&self) -> Option<Timestamp> {
        self.horizon
    }

    /// The instant before which packets of `segment` are not given out.
    #[must_use]
    pub fn not_before(&self, segment: &SegmentInfo) -> Timestamp {
        if segment.class != Class::General {
            // The event ring has an age of its own.
            let plain = SegmentInfo { class: Class::General, ..segment.clone() };
            return self.events.as_ref().map_or(Timestamp::MIN, |events| events.not_before(&plain));
        }
        let exempt = self.exempt.binary_search(&segment.generation).is_ok();
        self.horizon.filter(|_| !exempt).unwrap_or(Timestamp::MIN)
    }

    /// All segments that hold something, oldest generation first; those of the event ring, if it is read, come last.
    #[must_use]
    pub fn segments(&self) -> &[SegmentInfo] {
        &self.infos
    }

    /// The volume.
    #[must_use]
    pub const fn volume(&self) -> &V {
        &self.volume
    }

    fn known(&self, segment: &SegmentInfo) -> Result<&Known, ReadError> {
        let found = self.known.binary_search_by_key(&segment.generation, |known| known.info.generation);
        match found.map(|at| &self.known[at]) {
            Ok(known) if known.info.number == segment.number => Ok(known),
            _ => Err(ReadError::Gone { segment: segment.number, generation: segment.generation }),
        }
    }

    /// Whether `segment` may hold packets that have all of `keys`. `false` is certain; `true` when nothing is known.
    pub fn may_contain(&mut self, segment: &SegmentInfo, keys: &[FilterKey]) -> bool {
        let in_events = self.event_ring(segment, |events, segment| Ok(events.may_contain(segment, keys)));
        if let Some(answer) = in_events {
            return answer.unwrap_or(true);
        }
        let entry = self.known(segment).ok().and_then(|known| known.entry);
        entry.is_none_or(|entry| self.filters.may_contain(&self.volume, segment.number, &entry, keys))
    }

    /// The index of `segment`: from its tail when sealed, else built from its committed batches, and for the open
    /// segment kept and continued at the next call after a [`Reader::refresh`].
    ///
    /// # Errors
    /// [`ReadError::Gone`] when the segment was overwritten, else a failure to read.
    pub fn index(&mut self, segment: &SegmentInfo) -> Result<Arc<IndexDoc>, ReadError> {
        self.indexed(segment).map(|indexed| indexed.doc)
    }

    fn indexed(&mut self, segment: &SegmentInfo) -> Result<Indexed, ReadError> {
        if let Some(indexed) = self.event_ring(segment, Self::indexed) {
            return indexed;
        }
        let known = self.known(segment)?.clone();
        let cached = self.indexes.iter().position(|indexed| indexed.generation == segment.generation);
        let current = |indexed: &Indexed| indexed.whole || indexed.refresh == self.refresh;
        if let Some(at) = cached.filter(|at| current(&self.indexes[*at])) {
            let indexed = self.indexes.remove(at);
            self.indexes.push(indexed.clone());
            return Ok(indexed);
        }
        // The index of a provisional tail is as good as the one that was read from it.
        let end = known.provisional.as_ref().map(|said| said.data_bytes);
        if let Some(at) = cached.filter(|at| end == Some(self.indexes[*at].doc.pages() * PAGE_BYTES)) {
            return Ok(self.indexes[at].clone());
        }
        let whole = known.info.state == SegmentState::Sealed;
        let stored = match &known.provisional {
            Some(said) => said.index(&self.volume, segment.number)?,
            None if whole => self.read_tail(segment)?,
            None => None,
        };
        let indexed = match stored {
            Some(doc) => {
                let doc = Arc::new(doc.with_true_time(self.true_time(&known)));
                Indexed {
                    generation: segment.generation,
                    doc,
                    damage: Vec::new(),
                    whole,
                    refresh: self.refresh,
                }
            }
            None => self.scan_batches(&known)?,
        };
        self.still_there(segment)?;
        self.keep(indexed.clone());
        Ok(indexed)
    }

    fn keep(&mut self, indexed: Indexed) {
        self.indexes.retain(|other| other.generation != indexed.generation);
        self.indexes.push(indexed);
        let mut bytes: usize = self.indexes.iter().map(|indexed| indexed.doc.bytes()).sum();
        while bytes > self.options.index_cache_bytes && self.indexes.len() > 1 {
            bytes -= self.indexes.remove(0).doc.bytes();
        }
    }

    /// The index in the tail, if it is whole and has flow records.
    fn read_tail(&self, segment: &SegmentInfo) -> Result<Option<IndexDoc>, ReadError> {
        let Some(page) = survey::summary(&self.volume, segment.number)? else { return Ok(None) };
        let fits = page.generation == segment.generation
            && page.summary.has_flows
            && page.index_bytes <= self.limits.index_bytes
            && u64::from(page.index_offset) + 8 + u64::from(page.index_bytes)
                <= self.limits.segment_bytes.into();
        if !fits {
            return Ok(None);
        }
        let mut bytes = vec![0; page.index_bytes as usize];
        self.volume.read(Area::Segment(segment.number), u64::from(page.index_offset) + 8, &mut bytes)?;
        let doc = IndexDoc::parse(bytes).ok();
        Ok(doc.filter(|doc| *doc.limits() == self.limits && doc.pages() * PAGE_BYTES == page.data_bytes))
    }

    /// The index of what the commit blocks vouch for.
    fn scan_batches(&mut self, known: &Known) -> Result<Indexed, ReadError> {
        let mut scan = self.scan_of(known);
        let grown = scan.proceed(&self.volume)?;
        self.scanned_clock = Some((known.info.generation, scan.clock_lines().to_vec()));
        let whole = known.info.state != SegmentState::Open;
        let cached = self.indexes.iter().find(|indexed| indexed.generation == known.info.generation);
        let indexed = match cached {
            Some(indexed) if !grown => Indexed { whole, refresh: self.refresh, ..indexed.clone() },
            _ => Indexed {
                whole,
                generation: known.info.generation,
                doc: Arc::new(scan.doc()?.with_true_time(self.true_time_of(known, &scan))),
                damage: self.damage_of(known, &scan),
                refresh: self.refresh,
            },
        };
        if !whole {
            self.put_by(scan);
        } else if let Some(known) = self.known.iter_mut().find(|one| one.info == known.info) {
            known.clock.set_exact(scan.clock_lines());
        }
        Ok(indexed)
    }

    /// The scan of the batches of `known`, as far as it came.
    fn scan_of(&mut self, known: &Known) -> Box<Scan> {
        let turn = Turn::of(&known.info, known.header.store);
        match self.scan.take() {
            Some(scan) if scan.turn == turn => return scan,
            _ => {}
        }
        let shared = self.shelf.as_ref().and_then(|shelf| shelf.take(turn));
        self.borrowed = shared.is_some();
        shared.unwrap_or_else(|| Box::new(Scan::new(turn, self.limits, self.options.seed)))
    }

    /// Keeps a scan until the next look, or leaves it to those who will look again.
    fn put_by(&mut self, scan: Box<Scan>) {
        match &self.shelf {
            Some(shelf) if self.options.follows || self.borrowed => shelf.leave(scan),
            None if self.options.follows => self.scan = Some(scan),
            _ => {}
        }
        self.borrowed = false;
    }

    /// Stretches without a whole batch; at the end only when the last recorder said that there was more.
    fn damage_of(&self, known: &Known, scan: &Scan) -> Vec<Range<u32>> {
        let mut damage = scan.damage().to_vec();
        let epoch = load_from(&self.volume, Path::new("")).ok().map(|(state, _)| state.epoch);
        let claimed =
            epoch.and_then(|epoch| claimed_end(&self.volume, known.info.number, &known.header, epoch));
        if let Some((end, _)) = claimed.filter(|(end, _)| *end > scan.reached()) {
            damage.push(scan.reached()..end);
        }
        damage
    }

    /// Whether the header still names the generation.
    fn still_there(&self, segment: &SegmentInfo) -> Result<(), ReadError> {
        let gone = ReadError::Gone { segment: segment.number, generation: segment.generation };
        let known = self.known(segment)?;
        match survey::header(&self.volume, segment.number)? {
            Some(header) if header.generation == segment.generation => Ok(()),
            // A header that was damaged all along says nothing.
            None if known.header_damaged => Ok(()),
            _ => Err(gone),
        }
    }

    /// Gives the packets whose blocks start in `pages` of `segment` to `visit`, in the order of capture, until it
    /// breaks. Pages that fail their check are left out and reported.
    ///
    /// # Errors
    /// [`ReadError::Gone`] when the segment was overwritten meanwhile: packets given out in this call up to then were
    /// checked one by one and are right. Else a failure to read.
    pub fn packets(
        &mut self,
        segment: &SegmentInfo,
        pages: &PageSet,
        visit: &mut dyn FnMut(PacketAt<'_>) -> ControlFlow<()>,
    ) -> Result<Served, ReadError> {
        self.packets_for(segment, pages, &mut Each(visit))
    }

    /// The same for a visitor that may pass packets over.
    ///
    /// # Errors
    /// As [`Reader::packets`].
    pub fn packets_for(
        &mut self,
        segment: &SegmentInfo,
        pages: &PageSet,
        visitor: &mut dyn Visitor,
    ) -> Result<Served, ReadError> {
        if let Some(served) =
            self.event_ring(segment, |events, segment| events.packets_for(segment, pages, &mut *visitor))
        {
            return served;
        }
        let Indexed { doc, .. } = self.indexed(segment)?;
        let not_before = self.not_before(segment);
        let mut young = Young { not_before, visitor };
        let mut truly = Truly { times: doc.true_time(), visitor: &mut young };
        let visitor: &mut dyn Visitor = if doc.true_time().is_plain() { truly.visitor } else { &mut truly };
        let mut served = Served::default();
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut reading =
            Pages { volume: &self.volume, segment: segment.number, doc: &doc, buffer: &mut buffer };
        let done = reading.serve(pages, &mut served, visitor);
        self.buffer = buffer;
        done?;
        if !served.damage.is_empty() {
            self.still_there(segment)?;
        }
        Ok(served)
    }

    /// Stretches of `segment` that hold no whole batch although later ones do. No index knows what was in them, so no plan
    /// names their pages: whoever tells coverage asks here. Known for segments without index only.
    ///
    /// # Errors
    /// As [`Reader::index`].
    pub fn lost_stretches(&mut self, segment: &SegmentInfo) -> Result<Vec<Damage>, ReadError> {
        let Indexed { doc, damage, .. } = self.indexed(segment)?;
        let stretch = |range: &Range<u32>| {
            let (start, end) = (range.start / PAGE_BYTES, range.end / PAGE_BYTES);
            Damage { pages: (start, end), times: pages::times_of(&doc, start.saturating_sub(1)..end + 1) }
        };
        Ok(damage.iter().map(stretch).collect())
    }
}
