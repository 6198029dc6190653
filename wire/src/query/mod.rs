//! What an analyst asks for: a time range and conditions on packets. One type for the command line, the messages and
//! the sensor; the meaning of each key is defined here and nowhere else.
//!
//! A packet matches when it lies in the time range and *one* of its IP layers (outer or inner) meets all address,
//! port and protocol conditions together (those of one of several alternatives), and the frame meets the VLAN, MAC and filter conditions.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::net::{IpNet, MacAddr};
use crate::time::TimeRange;

mod matcher;
mod validate;

pub use matcher::Matcher;
pub use validate::QueryError;

/// One directed end of a query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct End {
    /// Address block.
    pub net: Option<IpNet>,
    /// Port.
    pub port: Option<u16>,
}

/// Ends of a session as another observer sees them, such as behind address translation. The meaning of each key is that of
/// [`Query`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ends {
    /// Hosts or networks in either direction, at most two.
    pub nets: Vec<IpNet>,
    /// Ports in either direction, at most two.
    pub ports: Vec<u16>,
    /// The sending end.
    pub src: End,
    /// The receiving end.
    pub dst: End,
}

/// A request for packets. An empty query (all fields default) means every packet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Query {
    /// Which instants, `[start, end)`.
    pub time: TimeRange,
    /// Hosts or networks in either direction, at most two: one must be an end of the packet, two name both ends.
    pub nets: Vec<IpNet>,
    /// Ports in either direction, at most two, as `nets`. Only TCP, UDP and SCTP have ports.
    pub ports: Vec<u16>,
    /// The sending end.
    pub src: End,
    /// The receiving end.
    pub dst: End,
    /// IP protocol number of the upper layer; 0 is ARP.
    pub proto: Option<u8>,
    /// A VLAN identifier anywhere in the tag stack.
    pub vlan: Option<u16>,
    /// A link-layer address at either end of the outermost frame.
    pub mac: Option<MacAddr>,
    /// Community ID v1 in text form, `1:` + base64.
    pub community_id: Option<String>,
    /// A pcap-filter expression (pcap-filter(7)), compiled by libpcap on the sensor for each link type.
    pub filter: Option<String>,
    /// Widen to the whole session: from the matching packets back to the SYN and forward to FIN, RST or idle time-out.
    pub session: bool,
    /// Other ends that will do as well: a layer matches that meets `nets`, `ports`, `src` and `dst`, or all conditions of one
    /// of these. At most [`crate::limits::QUERY_OR_MAX`].
    pub or: Vec<Ends>,
}

impl Query {
    /// Its own ends, then the other ones.
    pub fn ends(&self) -> impl Iterator<Item = Ends> {
        let own = Ends {
            nets: self.nets.clone(),
            ports: self.ports.clone(),
            src: self.src.clone(),
            dst: self.dst.clone(),
        };
        core::iter::once(own).chain(self.or.iter().cloned())
    }
}
