//! Indexes of segments: from the tail, or built from the batches.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use hindcap_wire::index::IndexDoc;
use hindcap_wire::limits::PAGE_BYTES;

use super::scan::{Scan, Turn};
use super::survey::{self, Known};
use super::{ReadError, Reader, SegmentInfo, SegmentState};
use crate::provisional::claimed_end;
use crate::store::load_from;
use crate::volume::{Area, VolumeRead};

/// An index and the stretches of its segment, in bytes, that hold no whole batch.
#[derive(Clone, Debug)]
pub(super) struct Indexed {
    pub(super) generation: u64,
    pub(super) doc: Arc<IndexDoc>,
    pub(super) damage: Vec<Range<u32>>,
    /// Nothing will be added: the segment was not open any more.
    whole: bool,
    /// The refresh before which it was made.
    refresh: u64,
}

impl<V: VolumeRead> Reader<V> {
    /// The index of `segment`: from its tail when sealed, else built from its committed batches, and for the open
    /// segment kept and continued at the next call after a [`Reader::refresh`].
    ///
    /// # Errors
    /// [`ReadError::Gone`] when the segment was overwritten, else a failure to read.
    pub fn index(&mut self, segment: &SegmentInfo) -> Result<Arc<IndexDoc>, ReadError> {
        self.indexed(segment).map(|indexed| indexed.doc)
    }

    pub(super) fn indexed(&mut self, segment: &SegmentInfo) -> Result<Indexed, ReadError> {
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
    pub(super) fn scan_of(&mut self, known: &Known) -> Box<Scan> {
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
}
