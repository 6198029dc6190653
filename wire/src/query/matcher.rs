//! Whether a packet is what a query asks for. Everything but the pcap-filter expression, which libpcap evaluates.
//!
//! For untagged traffic outside tunnels the address, port and protocol conditions find what tcpdump finds with the
//! same words (`host`, `net`, `port`, `proto`), and then some: IPv6 behind extension headers, and later fragments whose
//! ports the caller learned from the first one.

use heapless::Vec;

use super::validate::{has_ports, parse_community_id};
use super::{End, Ends, Query, QueryError};
use crate::community_id::CommunityId;
use crate::flow::{AddrBytes, FiveTuple, FlowKey};
use crate::limits::{QUERY_ENDS_MAX, QUERY_OR_MAX};
use crate::net::{IpNet, MacAddr};
use crate::packet::{Dissection, FlowLayer, Outcome};
use crate::time::{TimeRange, Timestamp};

/// A validated query, ready to be asked of packets and of flow records. Matching allocates nothing.
#[derive(Clone, Debug)]
pub struct Matcher {
    time: TimeRange,
    /// Any of these will do.
    ends: Vec<BothEnds, { QUERY_OR_MAX + 1 }>,
    proto: Option<u8>,
    vlan: Option<u16>,
    mac: Option<MacAddr>,
    community_id: Option<CommunityId>,
}

/// Conditions on the ends of one layer.
#[derive(Clone, Debug)]
struct BothEnds {
    nets: Vec<IpNet, QUERY_ENDS_MAX>,
    ports: Vec<u16, QUERY_ENDS_MAX>,
    src: End,
    dst: End,
}

impl BothEnds {
    fn new(ends: Ends) -> Result<Self, QueryError> {
        Ok(Self {
            nets: Vec::from_slice(&ends.nets).map_err(|()| QueryError::TooManyNets(ends.nets.len()))?,
            ports: Vec::from_slice(&ends.ports).map_err(|()| QueryError::TooManyPorts(ends.ports.len()))?,
            src: ends.src,
            dst: ends.dst,
        })
    }

    fn without_ports(&self) -> Self {
        let addr = |end: &End| End { port: None, ..end.clone() };
        Self { nets: self.nets.clone(), ports: Vec::new(), src: addr(&self.src), dst: addr(&self.dst) }
    }

    fn names_ports(&self) -> bool {
        !self.ports.is_empty() || self.src.port.is_some() || self.dst.port.is_some()
    }

    fn names_addrs(&self) -> bool {
        !self.nets.is_empty() || self.src.net.is_some() || self.dst.net.is_some()
    }

    /// Whether `tuple` meets them; where its ports are not known, what `unknown` says of any condition on them.
    fn meet(&self, tuple: &FiveTuple, ports_known: bool, unknown: bool) -> bool {
        let ports = !self.names_ports() || if ports_known { self.ports_meet(tuple) } else { unknown };
        ports && self.addrs_meet(tuple)
    }

    fn addrs_meet(&self, tuple: &FiveTuple) -> bool {
        let within = |net: &IpNet, addr: AddrBytes| net.contains(addr, tuple.version);
        let either_way = match self.nets.as_slice() {
            [] => true,
            [net] => within(net, tuple.src) || within(net, tuple.dst),
            [one, other, ..] => {
                (within(one, tuple.src) && within(other, tuple.dst))
                    || (within(one, tuple.dst) && within(other, tuple.src))
            }
        };
        either_way
            && self.src.net.is_none_or(|net| within(&net, tuple.src))
            && self.dst.net.is_none_or(|net| within(&net, tuple.dst))
    }

    fn ports_meet(&self, tuple: &FiveTuple) -> bool {
        let (src, dst) = (tuple.src_port, tuple.dst_port);
        let either_way = match *self.ports.as_slice() {
            [] => true,
            [port] => src == port || dst == port,
            [one, other, ..] => (src, dst) == (one, other) || (dst, src) == (one, other),
        };
        has_ports(tuple.proto)
            && either_way
            && self.src.port.is_none_or(|port| src == port)
            && self.dst.port.is_none_or(|port| dst == port)
    }
}

impl Matcher {
    /// Prepares `query`.
    ///
    /// # Errors
    /// As [`Query::validate`].
    pub fn new(query: &Query) -> Result<Self, QueryError> {
        query.validate()?;
        Ok(Self {
            time: query.time,
            ends: query.ends().map(BothEnds::new).collect::<Result<_, _>>()?,
            proto: query.proto,
            vlan: query.vlan,
            mac: query.mac,
            community_id: query.community_id.as_deref().map(parse_community_id).transpose()?,
        })
    }

    /// The window.
    #[must_use]
    pub const fn time(&self) -> TimeRange {
        self.time
    }

    /// Whether a packet of time `at`, dissected into `dissection`, is asked for.
    #[must_use]
    pub fn matches(&self, at: Timestamp, dissection: &Dissection) -> bool {
        self.time.contains(at) && self.matches_frame(dissection)
    }

    /// As [`Matcher::matches`], at any time.
    #[must_use]
    pub fn matches_frame(&self, dissection: &Dissection) -> bool {
        self.frame_meets(dissection) && (!self.names_layer() || self.layer_of(dissection).is_some())
    }

    /// The outermost IP layer that meets the conditions on layers.
    #[must_use]
    pub fn layer_of<'a>(&self, dissection: &'a Dissection) -> Option<&'a FlowLayer> {
        dissection.layers.iter().find(|layer| self.layer_meets(layer, dissection))
    }

    /// The same query without what a later IP fragment cannot tell before its first one is seen.
    #[must_use]
    pub fn without_ports(&self) -> Self {
        let ends = self.ends.iter().map(BothEnds::without_ports).collect();
        Self { ends, community_id: None, ..self.clone() }
    }

    /// Whether the query asks for what a later IP fragment cannot tell before its first one is seen.
    #[must_use]
    pub fn asks_for_ports(&self) -> bool {
        self.names_ports() || self.community_id.is_some()
    }

    /// Whether the query has conditions that one IP layer must meet; without, packets without any IP layer match too.
    #[must_use]
    pub fn names_layer(&self) -> bool {
        self.proto.is_some()
            || self.community_id.is_some()
            || self.ends.iter().any(|ends| ends.names_addrs() || ends.names_ports())
    }

    /// Whether packets of the flow `key` can match, judged by the key alone: `false` is certain.
    ///
    /// A flow of TCP, UDP or SCTP without ports stands for fragments whose first one was not seen before them; they
    /// may belong to any ports.
    #[must_use]
    pub fn may_match_flow(&self, key: &FlowKey) -> bool {
        let tuple = FiveTuple {
            src: key.a,
            dst: key.b,
            src_port: key.a_port,
            dst_port: key.b_port,
            proto: key.proto,
            version: key.version,
        };
        let ports_known = (key.a_port, key.b_port) != (0, 0);
        let portless = has_ports(key.proto) && !ports_known;
        let reversed = tuple.reversed();
        let either_way =
            |ends: &BothEnds| ends.meet(&tuple, !portless, true) || ends.meet(&reversed, !portless, true);
        self.proto.is_none_or(|proto| proto == key.proto)
            && self.ends.iter().any(either_way)
            && (portless || self.community_id_meets(key))
    }

    /// Whether the query has conditions on the frame: VLAN or MAC.
    #[must_use]
    pub fn names_frame(&self) -> bool {
        self.vlan.is_some() || self.mac.is_some()
    }

    fn names_ports(&self) -> bool {
        self.ends.iter().any(BothEnds::names_ports)
    }

    fn community_id_meets(&self, key: &FlowKey) -> bool {
        self.community_id.is_none_or(|wanted| wanted == CommunityId::of(key))
    }

    fn frame_meets(&self, dissection: &Dissection) -> bool {
        let vlan_meets = |vlan: u16| {
            dissection.vlans.contains(&vlan) || dissection.layers.iter().any(|layer| layer.vlan == Some(vlan))
        };
        let mac_meets = |mac: MacAddr| dissection.macs.is_some_and(|(src, dst)| src == mac || dst == mac);
        self.vlan.is_none_or(vlan_meets) && self.mac.is_none_or(mac_meets)
    }

    fn layer_meets(&self, layer: &FlowLayer, dissection: &Dissection) -> bool {
        let tuple = &layer.tuple;
        self.proto.is_none_or(|proto| proto == tuple.proto)
            && self.ends.iter().any(|ends| ends.meet(tuple, ports_known(layer, dissection), false))
            && (self.community_id.is_none() || self.community_id_meets(&FlowKey::of(tuple, layer.vlan).0))
    }
}

/// Whether the ports of `layer` were read from a packet: not from a later fragment, nor from a header that was cut.
fn ports_known(layer: &FlowLayer, dissection: &Dissection) -> bool {
    let both_zero = (layer.tuple.src_port, layer.tuple.dst_port) == (0, 0);
    let later_fragment = layer.fragment.is_some_and(|fragment| fragment.offset > 0);
    let cut = matches!(dissection.outcome, Outcome::Truncated | Outcome::Malformed);
    !(both_zero && (later_fragment || cut))
}

#[cfg(test)]
mod tests;
