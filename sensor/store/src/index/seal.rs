//! From the tables to bytes: the encoded index and the catalog's filter. Runs at a seal, off the hot path.

use hindcap_wire::community_id::CommunityId;
use hindcap_wire::flow::{FlowKey, proto};
use hindcap_wire::index::keys::{host_key, pair_key};
use hindcap_wire::index::limits::{MAC_BYTES, QUARTERS};
use hindcap_wire::index::{
    Encoder, FilterClasses, FlowParts, FlowRecord, IndexDoc, PageEntry, Tables, filter,
};

use super::builder::Builder;
use super::table::Flow;

impl Builder {
    /// Bytes of the encoded index, at most, as far as it is filled now. Never above `limits().index_bytes`.
    #[must_use]
    pub fn encoded_bound(&self) -> usize {
        let limits = &self.limits;
        let fixed = limits.index_bytes - limits.flow_bytes;
        let unused = limits.event_bytes as usize - self.events.len()
            + (limits.macs as usize - self.macs.entries().len()) * MAC_BYTES
            + limits.pages as usize * PageEntry::BYTES
            - self.page_bytes_max();
        fixed as usize - unused + self.flow_bytes()
    }

    /// Page table of the pages seen so far.
    fn page_bytes_max(&self) -> usize {
        (usize::from(self.page) + 1).max(self.pages.len()) * PageEntry::BYTES
    }

    /// Flow records, hosts, postings and filters.
    fn flow_bytes(&self) -> usize {
        let filters = self.overflowed.iter().filter(|used| **used).count();
        (self.used + self.host_used) as usize + filters * self.limits.overflow_bytes as usize
    }

    /// Encodes what was observed, into `out`, whose memory is reused. The builder stays as it is, so that an open segment
    /// can be looked at.
    #[must_use]
    pub fn encode(&self, out: Vec<u8>) -> Vec<u8> {
        debug_assert!(self.waiting.is_empty() && self.late.is_empty(), "packets wait");
        let mut encoder = Encoder::new(&self.limits, out);
        encoder.tables(&Tables {
            pages: &self.pages,
            batches: &self.batches,
            events: &self.events,
            lost_events: self.lost_events,
            interfaces: &self.interfaces,
            packets: self.packets,
            unclassified_packets: self.unclassified_packets,
            unclassified: &self.unclassified,
            macs: self.macs.entries(),
            macs_complete: self.macs.complete(),
        });
        encoder.hosts(self.hosts_v4.iter(), self.hosts_v6.iter());
        for flow in &self.table.flows {
            let (a, b) = self.host_numbers(flow);
            encoder.flow(&flow.parts(a, b), self.arena.tokens(&flow.chain));
        }
        let bytes = self.limits.overflow_bytes as usize;
        let filters: [&[u8]; QUARTERS] = std::array::from_fn(|quarter| {
            if self.overflowed[quarter] { &self.overflow[quarter * bytes..][..bytes] } else { &[][..] }
        });
        encoder.overflow(self.overflow_packets, self.overflow_flows, self.hosts_complete, filters);
        let index = encoder.finish();
        assert!(index.len() <= self.limits.index_bytes as usize, "the budget of the index is hard");
        index
    }

    /// The catalog's filter: hosts, then host pairs, then flows, as many of these kinds as fit; empty without any.
    #[must_use]
    pub fn filter(&self) -> (FilterClasses, Vec<u8>) {
        largest_filter(self.kinds(), self.limits.slot_bytes, |kinds| self.keys(kinds))
    }

    /// Kinds that the tables are complete for.
    fn kinds(&self) -> u8 {
        if !self.hosts_complete {
            return 0;
        }
        if self.is_flooded() {
            return FilterClasses::HOSTS;
        }
        let portless = |flow: &Flow| {
            let FlowParts { proto, a_port, b_port, .. } = flow.parts(0, 0);
            is_portless(proto, a_port, b_port)
        };
        all_kinds_but_flows_if(self.table.flows.iter().any(portless))
    }

    fn keys(&self, kinds: u8) -> Vec<u64> {
        let mut keys = Vec::with_capacity(self.limits.slot_bytes as usize);
        keys.extend(self.hosts_v4.iter().map(|addr| host_key(&mapped(addr), 4)));
        keys.extend(self.hosts_v6.iter().map(|addr| host_key(&addr, 6)));
        for flow in &self.table.flows {
            let key = self.key_of(flow);
            push_flow_keys(&key, kinds, &mut keys);
        }
        keys
    }

    /// Numbers of the flow's hosts in the table of their version.
    fn host_numbers(&self, flow: &Flow) -> (u16, u16) {
        let (a, b) = flow.words.ends();
        if flow.words.version() == 6 {
            return (a as u16, b as u16);
        }
        let number = |addr: u32| self.host(&mapped(addr.to_be_bytes()), 4).unwrap_or_default();
        (number(a), number(b))
    }

    fn key_of(&self, flow: &Flow) -> FlowKey {
        let (a, b) = flow.words.ends();
        let host = |end: u32| match flow.words.version() {
            6 => self.hosts_v6.addr(end as u16).copied().unwrap_or_default(),
            _ => mapped(end.to_be_bytes()),
        };
        let FlowParts { a_port, b_port, vlan, proto, version, .. } = flow.parts(0, 0);
        FlowKey { a: host(a), b: host(b), a_port, b_port, vlan, proto, version }
    }
}

/// The catalog's filter, made from the encoded index: the same bytes as [`Builder::filter`] gave with it.
pub(crate) fn filter_of(doc: &IndexDoc) -> (FilterClasses, Vec<u8>) {
    let portless = |flow: FlowRecord<'_>| is_portless(flow.key.proto, flow.key.a_port, flow.key.b_port);
    let kinds = match doc.overflow() {
        overflow if !overflow.hosts_complete => 0,
        overflow if !overflow.is_empty() => FilterClasses::HOSTS,
        _ => all_kinds_but_flows_if(doc.flows().any(portless)),
    };
    largest_filter(kinds, doc.limits().slot_bytes, |kinds| {
        let mut keys = Vec::new();
        for version in [4, 6] {
            keys.extend(doc.hosts(version).iter().map(|addr| host_key(&addr, version)));
        }
        doc.flows().for_each(|flow| push_flow_keys(&flow.key, kinds, &mut keys));
        keys
    })
}

/// Fragments without ports may belong to any flow of their hosts.
const fn is_portless(proto: u8, a_port: u16, b_port: u16) -> bool {
    matches!(proto, proto::TCP | proto::UDP | proto::SCTP) && a_port == 0 && b_port == 0
}

const fn all_kinds_but_flows_if(portless: bool) -> u8 {
    FilterClasses::HOSTS | FilterClasses::PAIRS | if portless { 0 } else { FilterClasses::FLOWS }
}

fn push_flow_keys(key: &FlowKey, kinds: u8, keys: &mut Vec<u64>) {
    if kinds & FilterClasses::PAIRS != 0 {
        keys.push(pair_key(host_key(&key.a, key.version), host_key(&key.b, key.version)));
    }
    if kinds & FilterClasses::FLOWS != 0 {
        keys.push(CommunityId::of(key).key());
    }
}

/// A filter of as many of `kinds` as fit a slot.
fn largest_filter(mut kinds: u8, slot_bytes: u32, keys: impl Fn(u8) -> Vec<u64>) -> (FilterClasses, Vec<u8>) {
    while kinds != 0 {
        if let Some(bytes) = filter::encode(&mut keys(kinds), slot_bytes as usize) {
            return (FilterClasses(kinds), bytes);
        }
        // The most expensive kind goes first: flows, then pairs.
        kinds &= kinds >> 1;
    }
    (FilterClasses(0), Vec::new())
}

/// The 16-byte form of an IPv4 address.
const fn mapped([a, b, c, d]: [u8; 4]) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}
