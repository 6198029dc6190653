//! The reading side: which segments there are, what they may hold, their indexes and their packets.
//!
//! A reader works beside a live writer, also in another process, and never locks: it believes headers, commit blocks,
//! summaries and index only after their own checks, and looks at the generation again after reading, so that a segment
//! overwritten meanwhile is reported as gone and never served. Wrong bytes are never served: every page is compared
//! with its CRC-32 (sealed segments) or lies in a batch whose CRC-32 agrees (open ones).

mod clock;
mod error;
mod filters;
mod indexes;
mod info;
mod pages;
mod scan;
mod shelf;
mod survey;
#[cfg(test)]
mod tests;
mod times;
mod visit;

#[cfg(test)]
pub(crate) use pages::pages_are_trusted;

pub use clock::ClockRemark;
pub use error::{Damage, ReadError, Served};
pub use info::{Class, SegmentInfo, SegmentState};
pub use shelf::Shelf;
pub use visit::{PacketAt, Visitor};

use std::ops::{ControlFlow, Range};

use hindcap_wire::index::{FilterKey, IndexLimits, PageSet};
use hindcap_wire::ledger::ClockLine;
use hindcap_wire::limits::PAGE_BYTES;
use hindcap_wire::time::Timestamp;
use hindcap_wire::true_time::TrueTime;

use crate::volume::VolumeRead;
use clock::Anchors;
use filters::Filters;
use indexes::Indexed;
use pages::Pages;
use scan::Scan;
use survey::Known;
use visit::{Each, Truly, Young};

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
