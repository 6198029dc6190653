//! True times of what was recorded by a wrong clock, and the age from which nothing is given out.

use std::path::Path;

use hindcap_wire::time::{ClockState, Timestamp};
use hindcap_wire::true_time::TrueTime;

use super::clock::{self, Anchors, ClockRemark};
use super::scan::Scan;
use super::survey::Known;
use super::{Class, ReadError, Reader, SegmentInfo};
use crate::age::horizon;
use crate::store::load_from;
use crate::volume::VolumeRead;

impl<V: VolumeRead> Reader<V> {
    /// Learns by which clocks was recorded; what was read under other assumptions is forgotten.
    pub(super) fn set_clock(&mut self) -> Result<(), ReadError> {
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
    pub(super) fn true_time(&self, known: &Known) -> TrueTime {
        let generation = known.info.generation;
        let found = self.corrected.binary_search_by_key(&generation, |(generation, _)| *generation);
        found.map_or_else(|_| TrueTime::default(), |at| self.corrected[at].1.clone())
    }

    /// The same, by its batches.
    pub(super) fn true_time_of(&self, known: &Known, scan: &Scan) -> TrueTime {
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
    pub(super) fn hide_old(&mut self) {
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
}
