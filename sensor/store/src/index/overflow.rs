//! Flows that get no record: they go into the quarter's filter, and their hosts into the host tables.
//!
//! A dozen cache lines are looked at for each, and none is near. So a few flows wait until these are fetched; whatever
//! asks for filter or hosts enters them first.

use hindcap_wire::flow::{AddrBytes, FlowKey};
use hindcap_wire::index::keys::{host_key, overflow_flow_key_of, pair_key};
use hindcap_wire::index::overflow;
use prefetch_index::prefetch_index;

use super::builder::Builder;

/// Flows without a record that are remembered, by hash, in sets of some, the latest first.
pub(super) const SPILLED: usize = 2048;
const SPILLED_WAYS: usize = 4;

/// Flows that wait at most.
pub(super) const LATE: usize = 8;

/// One set, in one cache line: 64 seeded bits each, so that another flow is as good as never taken for one of them.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(32))]
pub(super) struct Spilled([u64; SPILLED_WAYS]);

/// A flow that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Late {
    key: FlowKey,
    /// What the filter holds of it: both hosts, the flow.
    keys: [u64; 3],
}

impl Builder {
    /// Counts a packet without record whose flow was seen before in this quarter; whether it was.
    #[inline]
    pub(super) fn was_spilled(&mut self, hash: u64) -> bool {
        let known = self.spilled[hash as usize % SPILLED].0.contains(&(hash | 1));
        self.overflow_packets += u64::from(known);
        known
    }

    /// Takes note of a packet whose flow has no record.
    #[cold]
    pub(super) fn overflow(&mut self, key: &FlowKey, hash: u64) {
        if self.was_spilled(hash) {
            return;
        }
        self.overflow_packets += 1;
        let Spilled(set) = &mut self.spilled[hash as usize % SPILLED];
        set.rotate_right(1);
        set[0] = hash | 1;
        if self.late.is_full() {
            self.enter_late();
        }
        let (a, b) = (host_key(&key.a, key.version), host_key(&key.b, key.version));
        let keys = [a, b, overflow_flow_key_of(pair_key(a, b), key)];
        let bytes = self.limits.overflow_bytes as usize;
        for place in keys.iter().flat_map(|key| overflow::places(bytes, *key)) {
            prefetch_index(&self.overflow, self.quarter * bytes + place);
        }
        self.fetch_hosts(&key.a, &key.b, key.version);
        // There is room.
        let _ = self.late.push(Late { key: *key, keys });
    }

    /// Enters the flows that wait, in the order in which they came.
    #[inline]
    pub(super) fn enter_late(&mut self) {
        if !self.late.is_empty() {
            self.enter_all_late();
        }
    }

    #[inline(never)]
    fn enter_all_late(&mut self) {
        let bytes = self.limits.overflow_bytes as usize;
        self.overflowed[self.quarter] = true;
        for at in 0..self.late.len() {
            let Some(&Late { key, keys: [a, b, flow] }) = self.late.get(at) else { break };
            let filter = &mut self.overflow[self.quarter * bytes..][..bytes];
            overflow::insert(filter, a);
            overflow::insert(filter, b);
            self.overflow_flows += u64::from(overflow::insert(filter, flow));
            self.overflow_host(&key.a, key.version);
            self.overflow_host(&key.b, key.version);
        }
        self.late.clear();
    }

    /// Hosts are named even then, as long as there is room, so that the catalog's filter stays exact for hosts.
    fn overflow_host(&mut self, addr: &[u8; 16], version: u8) {
        let width = if version == 6 { 16 } else { 4 };
        match self.host(addr, version) {
            Ok(_) => {}
            Err(Some(_)) if width <= self.host_limit.saturating_sub(self.host_used) => {
                self.host_used += width;
                let _ = self.host_or_add(addr, version);
            }
            Err(_) => self.hosts_complete = false,
        }
    }

    /// Has the memory fetch what a look for two hosts needs first.
    pub(super) fn fetch_hosts(&self, a: &AddrBytes, b: &AddrBytes, version: u8) {
        for hash in [a, b].map(|addr| self.table.host_hash(addr)) {
            if version == 6 {
                self.hosts_v6.fetch(hash);
            } else {
                self.hosts_v4.fetch(hash);
            }
        }
    }
}
