//! Which queries make sense. Conditions that merely contradict each other are allowed: they match nothing.

use alloc::string::String;
use core::fmt;

use super::{Ends, Query};
use crate::community_id::CommunityId;
use crate::flow::proto;
use crate::limits::{FILTER_BYTES_MAX, QUERY_ENDS_MAX, QUERY_OR_MAX};
use crate::time::TimeRange;

/// Largest VLAN identifier in 12 bits.
const VLAN_MAX: u16 = 0x0fff;

/// A query that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueryError {
    /// The end of the window is not after its start.
    EmptyWindow(TimeRange),
    /// More hosts or networks than a packet has ends.
    TooManyNets(usize),
    /// More ports than a packet has ends.
    TooManyPorts(usize),
    /// More other ends than a query may have.
    TooManyAlternatives(usize),
    /// Ends without any condition, beside which no others matter.
    EmptyAlternative,
    /// A port was asked of a protocol that has none.
    PortWithoutMeaning {
        /// The protocol number.
        proto: u8,
    },
    /// Not a VLAN identifier.
    BadVlan(u16),
    /// Not a Community ID of version 1.
    BadCommunityId(String),
    /// The pcap-filter expression is longer than [`FILTER_BYTES_MAX`].
    FilterTooLong {
        /// Its length, bytes.
        bytes: usize,
    },
    /// The pcap-filter expression holds a zero byte.
    FilterHoldsNul,
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyWindow(range) => {
                write!(
                    f,
                    "the end of the time window, {}, is not after its start, {}",
                    range.end, range.start
                )
            }
            Self::TooManyNets(number) => {
                write!(f, "{number} hosts or networks given, but a packet has {QUERY_ENDS_MAX} ends")
            }
            Self::TooManyPorts(number) => {
                write!(f, "{number} ports given, but a packet has {QUERY_ENDS_MAX} ends")
            }
            Self::TooManyAlternatives(number) => {
                write!(f, "{number} other ends given, the most is {QUERY_OR_MAX}")
            }
            Self::EmptyAlternative => {
                f.write_str("one of several ends has no condition, so that it would match everything")
            }
            Self::PortWithoutMeaning { proto } => {
                write!(f, "IP protocol {proto} has no ports; ports go with TCP (6), UDP (17) and SCTP (132)")
            }
            Self::BadVlan(vlan) => write!(f, "{vlan} is not a VLAN identifier (0 to {VLAN_MAX})"),
            Self::BadCommunityId(text) => {
                write!(f, "{text:?} is not a Community ID such as 1:LQU9qZlK+B5F3KDmev6m5PMibrg=")
            }
            Self::FilterTooLong { bytes } => {
                write!(f, "the filter has {bytes} bytes, the most is {FILTER_BYTES_MAX}")
            }
            Self::FilterHoldsNul => f.write_str("the filter holds a zero byte"),
        }
    }
}

impl core::error::Error for QueryError {}

/// Whether ports of `proto` are looked at: TCP, UDP and SCTP, as in pcap-filter(7).
#[must_use]
pub(super) const fn has_ports(proto: u8) -> bool {
    matches!(proto, proto::TCP | proto::UDP | proto::SCTP)
}

impl Ends {
    /// Whether any condition on ports is set.
    #[must_use]
    pub fn names_ports(&self) -> bool {
        !self.ports.is_empty() || self.src.port.is_some() || self.dst.port.is_some()
    }

    /// Whether no condition is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nets.is_empty() && self.src.net.is_none() && self.dst.net.is_none() && !self.names_ports()
    }

    fn validate(&self, proto: Option<u8>) -> Result<(), QueryError> {
        if self.nets.len() > QUERY_ENDS_MAX {
            return Err(QueryError::TooManyNets(self.nets.len()));
        }
        if self.ports.len() > QUERY_ENDS_MAX {
            return Err(QueryError::TooManyPorts(self.ports.len()));
        }
        match proto.filter(|proto| self.names_ports() && !has_ports(*proto)) {
            Some(proto) => Err(QueryError::PortWithoutMeaning { proto }),
            None => Ok(()),
        }
    }
}

impl Query {
    /// Whether any condition on ports is set.
    #[must_use]
    pub fn names_ports(&self) -> bool {
        self.ends().any(|ends| ends.names_ports())
    }

    /// Checks everything that can be told without the sensor; the syntax of `filter` is libpcap's affair.
    ///
    /// # Errors
    /// The first thing that cannot be meant.
    pub fn validate(&self) -> Result<(), QueryError> {
        if self.time.is_empty() {
            return Err(QueryError::EmptyWindow(self.time));
        }
        if self.or.len() > QUERY_OR_MAX {
            return Err(QueryError::TooManyAlternatives(self.or.len()));
        }
        if !self.or.is_empty() && self.ends().any(|ends| ends.is_empty()) {
            return Err(QueryError::EmptyAlternative);
        }
        self.ends().try_for_each(|ends| ends.validate(self.proto))?;
        if let Some(vlan) = self.vlan.filter(|vlan| *vlan > VLAN_MAX) {
            return Err(QueryError::BadVlan(vlan));
        }
        self.community_id.as_deref().map(parse_community_id).transpose()?;
        self.filter.as_deref().map_or(Ok(()), check_filter)
    }
}

/// The Community ID in `1:<base64>`.
pub(super) fn parse_community_id(text: &str) -> Result<CommunityId, QueryError> {
    text.parse().map_err(|_| QueryError::BadCommunityId(String::from(text)))
}

fn check_filter(filter: &str) -> Result<(), QueryError> {
    if filter.len() > FILTER_BYTES_MAX {
        return Err(QueryError::FilterTooLong { bytes: filter.len() });
    }
    if filter.contains('\0') { Err(QueryError::FilterHoldsNul) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;
    use crate::query::End;
    use crate::time::Timestamp;

    fn message(query: &Query) -> String {
        query.validate().map_or_else(|err| err.to_string(), |()| String::new())
    }

    #[test]
    fn says_what_cannot_be_meant() {
        let any = Query::default();
        let time = TimeRange::new(Timestamp::from_parts(2, 0), Timestamp::from_parts(1, 0));
        let net = "192.0.2.1".parse().unwrap();
        let port = End { port: Some(8), ..End::default() };
        let ends = |ports| Ends { ports: vec![8; ports], ..Ends::default() };
        for (query, words) in [
            (
                Query { time, ..any.clone() },
                "00:00:01.000000000Z, is not after its start, 1970-01-01T00:00:02",
            ),
            (Query { nets: vec![net; 3], ..any.clone() }, "3 hosts or networks given"),
            (Query { ports: vec![1, 2, 3], ..any.clone() }, "3 ports given"),
            (Query { proto: Some(1), src: port, ..any.clone() }, "IP protocol 1 has no ports"),
            (Query { nets: vec![net], or: vec![Ends::default()], ..any.clone() }, "one of several ends"),
            (Query { or: vec![ends(1)], ..any.clone() }, "one of several ends"),
            (Query { ports: vec![1], or: vec![ends(3)], ..any.clone() }, "3 ports given"),
            (Query { ports: vec![1], or: vec![ends(1); 8], ..any.clone() }, "8 other ends given"),
            (Query { nets: vec![net], proto: Some(1), or: vec![ends(1)], ..any.clone() }, "has no ports"),
            (Query { vlan: Some(4096), ..any.clone() }, "4096 is not a VLAN"),
            (Query { community_id: Some("2:abc".into()), ..any.clone() }, "\"2:abc\" is not a Community ID"),
            (Query { community_id: Some("1:abc".into()), ..any.clone() }, "\"1:abc\" is not a Community ID"),
            (Query { filter: Some("x".repeat(4097)), ..any.clone() }, "4097 bytes"),
            (Query { filter: Some("ip\0".into()), ..any.clone() }, "zero byte"),
        ] {
            assert!(message(&query).contains(words), "{}", message(&query));
        }
    }

    #[test]
    fn contradictions_are_allowed() {
        let query = Query {
            nets: vec!["192.0.2.1".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
            src: End { net: Some("198.51.100.1".parse().unwrap()), port: Some(5) },
            ports: vec![1, 2],
            proto: Some(proto::TCP),
            community_id: Some("1:LQU9qZlK+B5F3KDmev6m5PMibrg=".into()),
            filter: Some("icmp".into()),
            ..Query::default()
        };
        assert_eq!(message(&query), "");
        assert_eq!(message(&Query::default()), "");
    }
}
