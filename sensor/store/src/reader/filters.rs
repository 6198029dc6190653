//! Catalog filters in bounded memory, newest segments first.

use std::collections::BTreeMap;

use hindcap_wire::index::{Filter, FilterKey};

use crate::catalog::{self, Entry};
use crate::volume::VolumeRead;

/// Filters by generation.
#[derive(Debug, Default)]
pub(super) struct Filters {
    /// By generation and CRC, because an open segment has other filters before it has its last one. `None` when the
    /// segment has none that can be believed.
    cached: BTreeMap<(u64, u32), Option<Filter>>,
    bytes: usize,
    bytes_max: usize,
}

/// What an entry costs beside its filter.
const ENTRY_BYTES: usize = 64;

fn cost(filter: Option<&Filter>) -> usize {
    ENTRY_BYTES + filter.map_or(0, Filter::bytes)
}

impl Filters {
    pub(super) const fn new(bytes_max: usize) -> Self {
        Self { cached: BTreeMap::new(), bytes: 0, bytes_max }
    }

    /// Whether the segment of `entry` may hold all of `keys`; true when its filter cannot be read.
    pub(super) fn may_contain(
        &mut self,
        volume: &impl VolumeRead,
        segment: u32,
        entry: &Entry,
        keys: &[FilterKey],
    ) -> bool {
        let asked = || keys.iter().filter(|key| entry.classes.covers(**key));
        if asked().next().is_none() {
            return true;
        }
        let which = (entry.generation, entry.filter_crc);
        if !self.cached.contains_key(&which) {
            let filter = catalog::filter(volume, segment, entry).ok().flatten();
            let verdict =
                filter.as_ref().is_none_or(|filter| asked().all(|key| filter.may_contain(key.value())));
            self.keep(which, filter);
            return verdict;
        }
        let filter = self.cached.get(&which).and_then(Option::as_ref);
        filter.is_none_or(|filter| asked().all(|key| filter.may_contain(key.value())))
    }

    /// Keeps a filter as long as no newer ones need its place.
    fn keep(&mut self, which: (u64, u32), filter: Option<Filter>) {
        self.bytes += cost(filter.as_ref());
        self.cached.insert(which, filter);
        while self.bytes > self.bytes_max {
            let Some((_, oldest)) = self.cached.pop_first() else { break };
            self.bytes -= cost(oldest.as_ref());
        }
    }

    /// Forgets what is older than `oldest`.
    pub(super) fn forget_before(&mut self, oldest: u64) {
        let kept = self.cached.split_off(&(oldest, 0));
        let gone = std::mem::replace(&mut self.cached, kept);
        self.bytes -= gone.values().map(|filter| cost(filter.as_ref())).sum::<usize>();
    }
}
