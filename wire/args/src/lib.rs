//! The query on the command line: [`QueryArgs`] is flattened into every command of `hindcapd` and `hindcap` that takes a
//! query, so that a flag means the same everywhere, and is turned into a [`Query`] here.
//!
//! The clock is an argument of the conversion. [`parse_duration`] and [`parse_when`] serve other flags as well.

pub mod exit;
mod flags;
mod suggest;

use std::fmt;

use clap::Args;
use hindcap_wire::flow::proto;
use hindcap_wire::net::{IpNet, MacAddr};
use hindcap_wire::query::{End, Query, QueryError};
use hindcap_wire::time::{TimeRange, Timestamp};

pub use flags::Flags;
pub use suggest::nearest;

/// Which packets. Times are UTC unless a zone is given.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Query: which packets")]
pub struct QueryArgs {
    /// From this instant on: RFC 3339, "2026-11-21 10:00:00", seconds since 1970, or how long ago (15m)
    #[arg(long, value_name = "TIME", value_parser = parse_when)]
    pub start: Option<When>,
    /// Until just before this instant; as --start
    #[arg(long, value_name = "TIME", value_parser = parse_when)]
    pub end: Option<When>,
    /// Around this instant, see --pad; as --start
    #[arg(long, value_name = "TIME", value_parser = parse_when, group = "instant",
          conflicts_with_all = ["start", "end", "last"])]
    pub at: Option<When>,
    /// How far around --at: 90s, 15m, 2h, 1d [default: 60s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "instant")]
    pub pad: Option<Nanos>,
    /// From this long ago until now: 90s, 15m, 2h, 1d
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, conflicts_with_all = ["start", "end"])]
    pub last: Option<Nanos>,
    /// A host at either end; given twice, both ends
    #[arg(long, value_name = "ADDRESS", value_parser = parse_host)]
    pub host: Vec<IpNet>,
    /// A network at either end, such as 192.0.2.0/24; given twice, both ends
    #[arg(long, value_name = "NETWORK")]
    pub net: Vec<IpNet>,
    /// A port at either end; given twice, both ends
    #[arg(long, value_name = "PORT")]
    pub port: Vec<u16>,
    /// The sending end: an address or a network
    #[arg(long, value_name = "ADDRESS")]
    pub src_addr: Option<IpNet>,
    /// The receiving end: an address or a network
    #[arg(long, value_name = "ADDRESS")]
    pub dst_addr: Option<IpNet>,
    /// The sending end's port
    #[arg(long, value_name = "PORT")]
    pub src_port: Option<u16>,
    /// The receiving end's port
    #[arg(long, value_name = "PORT")]
    pub dst_port: Option<u16>,
    /// IP protocol, by name (tcp, udp, icmp, icmp6, sctp, gre, esp ...) or number
    #[arg(long, value_name = "PROTOCOL", value_parser = parse_proto)]
    pub proto: Option<u8>,
    /// A VLAN identifier anywhere in the tags
    #[arg(long, value_name = "ID")]
    pub vlan: Option<u16>,
    /// A link-layer address at either end
    #[arg(long, value_name = "MAC")]
    pub mac: Option<MacAddr>,
    /// A Community ID, version 1
    #[arg(long, value_name = "ID")]
    pub community_id: Option<String>,
    /// A pcap-filter(7) expression
    #[arg(long, value_name = "EXPRESSION")]
    pub filter: Option<String>,
    /// The whole session: back to the SYN, forward to FIN, RST or idle time-out
    #[arg(long)]
    pub session: bool,
}

/// What `--at` is padded with when `--pad` is not given.
const PAD_DEFAULT: Nanos = Nanos(60_000_000_000);

impl QueryArgs {
    /// The query, with relative times counted from `now`.
    ///
    /// # Errors
    /// What cannot be meant, such as an end before its start, in words for people.
    pub fn query(&self, now: Timestamp) -> Result<Query, QueryError> {
        let query = Query {
            time: self.time(now),
            nets: self.host.iter().chain(&self.net).copied().collect(),
            ports: self.port.clone(),
            src: End { net: self.src_addr, port: self.src_port },
            dst: End { net: self.dst_addr, port: self.dst_port },
            proto: self.proto,
            vlan: self.vlan,
            mac: self.mac,
            community_id: self.community_id.clone(),
            filter: self.filter.clone(),
            session: self.session,
            or: Vec::new(),
        };
        query.validate().map(|()| query)
    }

    fn time(&self, now: Timestamp) -> TimeRange {
        if let Some(at) = self.at {
            let (at, pad) = (at.instant(now), self.pad.unwrap_or(PAD_DEFAULT).0);
            // Half-open: the last nanosecond of the pad is inside, so that `--pad 0s` is the instant itself.
            return TimeRange::new(at.minus_nanos(pad), at.plus_nanos(pad).plus_nanos(1));
        }
        if let Some(last) = self.last {
            return TimeRange::new(now.minus_nanos(last.0), now);
        }
        let start = self.start.map_or(Timestamp::MIN, |start| start.instant(now));
        TimeRange::new(start, self.end.map_or(Timestamp::MAX, |end| end.instant(now)))
    }
}

/// A length of time, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nanos(pub u64);

impl From<Nanos> for std::time::Duration {
    fn from(nanos: Nanos) -> Self {
        Self::from_nanos(nanos.0)
    }
}

/// An instant, or how long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// An instant.
    At(Timestamp),
    /// How long ago.
    Ago(Nanos),
}

impl When {
    /// The instant, counted from `now`.
    #[must_use]
    pub const fn instant(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(Nanos(nanos)) => now.minus_nanos(nanos),
        }
    }
}

/// A value of a flag that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseArgError(&'static str);

impl fmt::Display for ParseArgError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}", self.0)
    }
}

impl std::error::Error for ParseArgError {}

/// Reads a duration with its unit: `500ms`, `90s`, `1.5h`, `15m`, `2h`, `1d`, `1w`.
///
/// # Errors
/// When the unit is missing or the number is none.
pub fn parse_duration(text: &str) -> Result<Nanos, ParseArgError> {
    const ERROR: ParseArgError = ParseArgError("a duration such as 90s, 15m, 2h or 1d");
    const UNITS: [(&str, u64); 6] = [
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
        ("d", 86_400_000_000_000),
        ("w", 604_800_000_000_000),
    ];
    let text = text.trim();
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).ok_or(ERROR)?;
    let (number, unit) = text.split_at(unit_at);
    let (_, scale) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or(ERROR)?;
    scaled(number, scale).map(Nanos).ok_or(ERROR)
}

/// Reads a size in bytes: `4096`, `64KiB`, `1.5GiB`, `10MB`.
///
/// # Errors
/// When it is none.
pub fn parse_size(text: &str) -> Result<u64, ParseArgError> {
    const ERROR: ParseArgError = ParseArgError("a size such as 4096, 64KiB, 10MB or 1.5GiB");
    const UNITS: [(&str, u64); 11] = [
        ("", 1),
        ("B", 1),
        ("kB", 1_000),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
    ];
    let text = text.trim();
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let (_, scale) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or(ERROR)?;
    scaled(number.trim_end(), scale).ok_or(ERROR)
}

/// A decimal number times `scale`, cut to a whole.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let parts = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = u64::try_from(fraction.parse::<u128>().ok()? * u128::from(scale) / parts).ok()?;
    whole.parse::<u64>().ok()?.checked_mul(scale)?.checked_add(part)
}

/// Reads an instant, or a duration that means "so long ago".
///
/// # Errors
/// When it is neither.
pub fn parse_when(text: &str) -> Result<When, ParseArgError> {
    const ERROR: ParseArgError = ParseArgError(
        "a time such as 2026-11-21T09:30:00Z, \"2026-11-21 10:30:00+01:00\" (UTC without a zone), seconds since 1970, \
         or how long ago, such as 15m",
    );
    if text.trim() == "now" {
        return Ok(When::Ago(Nanos(0)));
    }
    let instant = text.parse().map(When::At).ok();
    instant.or_else(|| parse_duration(text).map(When::Ago).ok()).ok_or(ERROR)
}

fn parse_host(text: &str) -> Result<IpNet, ParseArgError> {
    const ERROR: ParseArgError = ParseArgError("one IPv4 or IPv6 address; blocks go with --net");
    text.parse().ok().filter(IpNet::is_host).ok_or(ERROR)
}

/// Names of pcap-filter(7) and of IANA that people use.
const PROTOCOLS: [(&str, u8); 20] = [
    ("icmp", proto::ICMP),
    ("igmp", 2),
    ("ipip", 4),
    ("tcp", proto::TCP),
    ("igrp", 9),
    ("udp", proto::UDP),
    ("6in4", 41),
    ("rsvp", 46),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("icmp6", proto::ICMPV6),
    ("icmpv6", proto::ICMPV6),
    ("ipv6-icmp", proto::ICMPV6),
    ("eigrp", 88),
    ("ospf", 89),
    ("pim", 103),
    ("vrrp", 112),
    ("l2tp", 115),
    ("sctp", proto::SCTP),
];

/// The name of an IP protocol, or its number where it has none here.
#[must_use]
pub fn protocol_name(number: u8) -> String {
    let named = PROTOCOLS.into_iter().find(|(_, known)| *known == number);
    named.map_or_else(|| number.to_string(), |(name, _)| name.to_owned())
}

fn parse_proto(text: &str) -> Result<u8, ParseArgError> {
    const ERROR: ParseArgError = ParseArgError(
        "a protocol name (tcp, udp, icmp, icmp6, sctp, gre, esp, ospf ...) or a number from 0 to 255",
    );
    let lower = text.trim().to_ascii_lowercase();
    let named = PROTOCOLS.into_iter().find(|(name, _)| *name == lower).map(|(_, number)| number);
    named.or_else(|| lower.parse().ok()).ok_or(ERROR)
}

#[cfg(test)]
mod tests;
