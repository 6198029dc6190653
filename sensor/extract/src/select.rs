//! Which segments, and which pages of them, may hold what a query asks for. Never too few; too many cost time only.

use hindcap_store::reader::{Reader, SegmentInfo};
use hindcap_store::volume::VolumeRead;
use hindcap_wire::community_id::CommunityId;
use hindcap_wire::flow::{AddrBytes, FiveTuple, FlowKey, addr_bytes, proto};
use hindcap_wire::index::keys::{host_key, overflow_flow_key, pair_key};
use hindcap_wire::index::{BatchEntry, FilterKey, FlowRecord, IndexDoc, PageSet};
use hindcap_wire::net::IpNet;
use hindcap_wire::query::{Ends, Matcher, Query};
use hindcap_wire::time::TimeRange;

use crate::limits::ORPHAN_WAIT_NANOS;

/// Keys of which a segment must have all.
#[derive(Clone, Debug, Default)]
struct Keys {
    catalog: Vec<FilterKey>,
    overflow: Vec<u64>,
}

/// A query as the indexes see it.
#[derive(Debug)]
pub(crate) struct Selector {
    pub matcher: Matcher,
    vlan: Option<u16>,
    mac: Option<hindcap_wire::net::MacAddr>,
    /// Any of these will do.
    alternatives: Vec<Keys>,
    /// The window, with room on either side for the fragments that tell each other's ports.
    pub reads: TimeRange,
}

/// A single host in its 16-byte form, with its IP version.
type Host = (AddrBytes, u8);

fn host(net: &IpNet) -> Option<Host> {
    net.is_host().then(|| (addr_bytes(net.addr()), if net.addr().is_ipv4() { 4 } else { 6 }))
}

/// What ends name exactly.
struct Named {
    hosts: Vec<Host>,
    /// The two ends of every packet that matches.
    pair: Option<(Host, Host)>,
    /// Ports of the pair's ends, in the pair's order; each combination that is possible.
    ports: Vec<(u16, u16)>,
}

impl Named {
    fn of(ends: &Ends) -> Self {
        let nets = ends.nets.iter().chain(&ends.src.net).chain(&ends.dst.net);
        let hosts = nets.filter_map(host).collect();
        let (src, dst) = (ends.src.net.as_ref().and_then(host), ends.dst.net.as_ref().and_then(host));
        let either_way = match ends.nets.as_slice() {
            [one, other] => host(one).zip(host(other)),
            _ => None,
        };
        let mut ports = Vec::new();
        if let (Some(src), Some(dst)) = (ends.src.port, ends.dst.port) {
            // Directed ports with undirected hosts fit either way round.
            ports.extend([(src, dst), (dst, src)]);
        } else if let [one, other] = *ends.ports.as_slice() {
            ports.extend([(one, other), (other, one)]);
        }
        Self { hosts, pair: src.zip(dst).or(either_way), ports }
    }

    /// The flows that can match, when there are few enough to name.
    fn flows(&self, query: &Query) -> Vec<FlowKey> {
        let Some((proto, (one, other))) = query.proto.zip(self.pair) else { return Vec::new() };
        if !matches!(proto, proto::TCP | proto::UDP | proto::SCTP)
            || one.1 != other.1
            || self.ports.is_empty()
        {
            return Vec::new();
        }
        // Later fragments whose first one was not seen before them are indexed without ports.
        let ports = self.ports.iter().copied().chain([(0, 0)]);
        let key = |(src_port, dst_port)| {
            let tuple = FiveTuple { src: one.0, dst: other.0, src_port, dst_port, proto, version: one.1 };
            FlowKey::of(&tuple, None).0
        };
        ports.map(key).collect()
    }
}

/// What a segment must have for packets of `ends` to be in it: all of one of these.
fn keys(query: &Query, ends: &Ends) -> Vec<Keys> {
    let named = Named::of(ends);
    let hosts: Vec<u64> = named.hosts.iter().map(|(addr, version)| host_key(addr, *version)).collect();
    let mut common =
        Keys { catalog: hosts.iter().copied().map(FilterKey::Host).collect(), overflow: hosts.clone() };
    if let Some((one, other)) = named.pair {
        common.catalog.push(FilterKey::Pair(pair_key(host_key(&one.0, one.1), host_key(&other.0, other.1))));
    }
    if let Some(id) = query.community_id.as_deref().and_then(|id| id.parse::<CommunityId>().ok()) {
        common.catalog.push(FilterKey::Flow(id.key()));
    }
    let with_flow = |key: &FlowKey| {
        let mut keys = common.clone();
        keys.catalog.push(FilterKey::Flow(CommunityId::of(key).key()));
        keys.overflow.push(overflow_flow_key(key));
        keys
    };
    let mut alternatives: Vec<Keys> = named.flows(query).iter().map(with_flow).collect();
    if alternatives.is_empty() {
        alternatives.push(common);
    }
    alternatives
}

impl Selector {
    /// For `query`, whose `matcher` this is.
    pub fn new(query: &Query, matcher: Matcher) -> Self {
        let alternatives = query.ends().flat_map(|ends| keys(query, &ends)).collect();
        let room = if matcher.asks_for_ports() { ORPHAN_WAIT_NANOS } else { 0 };
        let end = query.time.end.plus_nanos(room);
        let reads = TimeRange::new(query.time.start.minus_nanos(room), end);
        Self { matcher, vlan: query.vlan, mac: query.mac, alternatives, reads }
    }

    /// Whether the catalog leaves it possible that `segment` holds something.
    pub fn may_be_in<V: VolumeRead>(&self, reader: &mut Reader<V>, segment: &SegmentInfo) -> bool {
        self.alternatives
            .iter()
            .any(|keys| keys.catalog.is_empty() || reader.may_contain(segment, &keys.catalog))
    }

    /// Whether packets of `flow` may match in the window.
    pub fn wants_flow(&self, flow: &FlowRecord<'_>) -> bool {
        self.reads.touches(flow.first, flow.last) && self.matcher.may_match_flow(&flow.key)
    }

    /// The pages that may hold matches.
    pub fn pages(&self, doc: &IndexDoc) -> PageSet {
        let mut pages = if self.matcher.names_layer() {
            let mut pages = doc.flows().pages_where(|flow| self.wants_flow(flow));
            self.alternatives.iter().for_each(|keys| pages.union(&doc.overflow_pages(&keys.overflow)));
            pages
        } else if let Some(vlan) = self.vlan {
            // A tagged frame with IP inside has a flow with its outermost tag.
            let tagged = |flow: &FlowRecord<'_>| flow.key.vlan == vlan || flow.stacked_vlans;
            let mut pages = doc.flows().pages_where(tagged);
            pages.union(doc.unclassified());
            pages.union(&doc.overflow_pages(&[]));
            pages
        } else {
            PageSet::range(0, doc.pages())
        };
        if let Some(mac) = &self.mac {
            pages.intersect(&doc.mac_pages(mac));
        }
        pages.intersect(&pages_within(doc.batches(), self.reads));
        pages
    }

    /// Whether `doc` may hold matches that have no flow record.
    pub fn may_overflow(&self, doc: &IndexDoc) -> bool {
        self.alternatives.iter().any(|keys| !doc.overflow_pages(&keys.overflow).is_empty())
    }
}

/// The pages `[start, end)` of each batch.
pub(crate) fn batch_pages(batches: &[BatchEntry]) -> impl Iterator<Item = (u32, u32, &BatchEntry)> {
    let mut start = 0;
    batches.iter().map(move |batch| {
        let end = u32::from(batch.last_page) + 1;
        let pages = (start, end, batch);
        start = end;
        pages
    })
}

/// The pages of the batches that touch `range`.
fn pages_within(batches: &[BatchEntry], range: TimeRange) -> PageSet {
    let mut pages = PageSet::new();
    for (start, end, batch) in batch_pages(batches) {
        if range.touches(batch.first, batch.last) {
            pages.insert_range(start, end);
        }
    }
    pages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_view_of_a_session_has_keys_of_its_own() {
        let net = |addr: &str| addr.parse::<IpNet>().unwrap();
        let or = vec![Ends { nets: vec![net("192.0.2.2")], ..Ends::default() }];
        let query = Query { nets: vec![net("192.0.2.1")], or, ..Query::default() };
        let selector = Selector::new(&query, Matcher::new(&query).unwrap());
        let hosts: Vec<u64> = ["192.0.2.1", "192.0.2.2"]
            .map(|addr| host(&net(addr)).unwrap())
            .map(|(addr, version)| host_key(&addr, version))
            .into();
        let overflow: Vec<u64> =
            selector.alternatives.iter().flat_map(|keys| keys.overflow.clone()).collect();
        assert_eq!(overflow, hosts);
    }
}
