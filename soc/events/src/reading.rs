//! What a line means, with everything that was assumed, and the queries that it leads to.

use std::net::IpAddr;
use std::ops::Range;

use hindcap_wire::flow::proto;
use hindcap_wire::net::IpNet;
use hindcap_wire::query::Query;
use hindcap_wire::time::TimeRange;
use serde::Serialize;

/// What one line means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reading {
    /// The name of the format, for machines: `snort-fast`.
    pub format: &'static str,
    /// The name of the format, for people.
    pub title: &'static str,
    /// The ends. Several when the line names the session before and after address translation, or when a port or an
    /// address can be one of several; each is a possible view of the *same* session. Empty for a bare Community ID.
    pub alternatives: Vec<Endpoints>,
    /// What the order of the ends means.
    pub direction: Direction,
    /// IP protocol number.
    pub proto: Option<u8>,
    /// VLAN identifier.
    pub vlan: Option<u16>,
    /// Community ID v1, in text form.
    pub community_id: Option<String>,
    /// When the session's packets were on the wire, as far as the line tells, without any padding. Empty when the line
    /// has no time; several when the stamp means more than one instant (clock change, undecidable order of the date).
    pub times: Vec<TimeRange>,
    /// What the line's stamp stands for.
    pub meaning: Meaning,
    /// What was taken for granted.
    pub assumptions: Vec<Assumption>,
    /// How far to trust it.
    pub confidence: Confidence,
    /// No format knew the line: addresses were picked out of it.
    pub guess: bool,
    /// The host or sensor that wrote the line.
    pub source: Option<String>,
    /// Which bytes of the line as given were used, in order of their start.
    pub spans: Vec<Span>,
}

/// The two ends of a session, as one observer sees them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Endpoints {
    /// Whose view.
    pub view: View,
    /// The first end; what that means is in [`Reading::direction`].
    pub src: Endpoint,
    /// The other end.
    pub dst: Endpoint,
}

/// One end. `None` is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// Address.
    pub addr: Option<IpAddr>,
    /// Port; only of protocols that have ports.
    pub port: Option<u16>,
}

/// From where the ends are seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum View {
    /// The line knows only one view.
    #[default]
    AsLogged,
    /// Before address translation, seen from the side that opened the session.
    BeforeNat,
    /// After address translation.
    AfterNat,
}

/// What the order of the two ends means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Nothing.
    #[default]
    Unknown,
    /// `src` sent the packet that was logged; either end may have opened the session.
    Packet,
    /// `src` opened the session.
    Opener,
}

/// What the stamp of a line stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Meaning {
    /// There is none.
    #[default]
    None,
    /// When the packet that was logged was on the wire.
    Packet,
    /// When the line was written, moments after what it tells.
    Written,
    /// When the session began; its length may be known.
    Start,
    /// When the session ended; it began earlier, by its length where that is known.
    End,
    /// Somewhere in the session, which began earlier and may last longer.
    During,
    /// The first and the last packet, or an interval given as such.
    Interval,
}

impl Meaning {
    /// For people: "the time is that of ...".
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::None => "the line has no time",
            Self::Packet => "the time is that of the packet",
            Self::Written => "the time is when the line was written",
            Self::Start => "the time is the start of the session",
            Self::End => "the time is the end of the session",
            Self::During => "the time lies within the session",
            Self::Interval => "first and last packet are in the line",
        }
    }
}

/// How far a reading can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// A guess, or a time that cannot have been.
    Low,
    /// Something was assumed that may well be otherwise.
    Medium,
    /// All of it stands in the line, or in the settings.
    High,
}

/// Something taken for granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Assumption {
    /// Of what kind.
    pub kind: Kind,
    /// The same for people: a whole sentence without the full stop.
    pub text: String,
}

/// Kinds of assumption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The year of a stamp that has none.
    Year,
    /// The zone of a stamp that has none.
    Zone,
    /// The stamp fell into the hour that a clock change repeats; both instants are searched.
    Fold,
    /// The stamp fell into the hour that a clock change leaves out; both sides are searched.
    Gap,
    /// Day, month and year could stand in more than one order; each is searched.
    DateOrder,
    /// A port that is not in the line.
    Port,
    /// A protocol that is not in the line.
    Protocol,
    /// An address that is not in the line.
    Address,
    /// Only one end is known; the answer can be large.
    OneSided,
    /// How long the session took is not in the line.
    Length,
    /// Which end opened the session.
    Direction,
    /// The line tells of one packet inside another; its text says which was taken.
    Tunnel,
    /// The line's Community ID is not that of its addresses.
    CommunityId,
    /// Something in the line may be forged by the other side.
    Forgeable,
    /// Characters that show as nothing, or turn the order of text round, are in the line.
    Invisible,
    /// The sensor's own words about the quality of the record (losses, one-sided traffic).
    Quality,
    /// No format knew the line.
    Guess,
}

impl Kind {
    /// The most that a reading with this assumption can be trusted.
    const fn caps(self) -> Confidence {
        match self {
            Self::Year
            | Self::Zone
            | Self::Length
            | Self::Direction
            | Self::Invisible
            | Self::CommunityId
            | Self::Quality => Confidence::High,
            Self::Gap | Self::Guess => Confidence::Low,
            Self::Fold
            | Self::DateOrder
            | Self::Port
            | Self::Protocol
            | Self::Address
            | Self::OneSided
            | Self::Tunnel
            | Self::Forgeable => Confidence::Medium,
        }
    }
}

/// The part of the line that a field was read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Span {
    /// What was read there.
    pub field: Field,
    /// Bytes of the line as given, `start..end`.
    pub bytes: Range<usize>,
}

/// What can be read from a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// A stamp.
    Time,
    /// The zone of a stamp, where it stands apart.
    Zone,
    /// How long the session took.
    Duration,
    /// The first end's address.
    Src,
    /// The first end's port.
    SrcPort,
    /// The other end's address.
    Dst,
    /// The other end's port.
    DstPort,
    /// The protocol.
    Protocol,
    /// The VLAN.
    Vlan,
    /// The Community ID.
    CommunityId,
    /// The word that tells the order of the ends.
    Direction,
    /// Who wrote the line.
    Source,
}

impl Reading {
    /// The trust that the assumptions leave.
    pub(crate) fn trust(assumptions: &[Assumption]) -> Confidence {
        assumptions.iter().map(|assumption| assumption.kind.caps()).min().unwrap_or(Confidence::High)
    }

    /// The queries that the line leads to, one for each view of the session and each time it may mean, with `pad_nanos`
    /// around each time. Empty when the line has no time: ask the analyst for one and see [`Reading::queries_in`].
    #[must_use]
    pub fn queries(&self, pad_nanos: u64) -> Vec<Query> {
        let padded = |time: &TimeRange| {
            TimeRange::new(time.start.minus_nanos(pad_nanos), time.end.plus_nanos(pad_nanos))
        };
        self.times.iter().flat_map(|time| self.queries_in(padded(time))).collect()
    }

    /// The queries that the line leads to within `time`, whatever the line says of time.
    ///
    /// Addresses and ports are asked in either direction, so that both halves of the session come. The whole session
    /// is asked for when both ends are known completely, or by Community ID.
    #[must_use]
    pub fn queries_in(&self, time: TimeRange) -> Vec<Query> {
        let base = Query { time, proto: self.proto, vlan: self.vlan, ..Query::default() };
        if self.alternatives.is_empty() {
            let by_id = |id: &String| Query { community_id: Some(id.clone()), session: true, ..base.clone() };
            return self.community_id.iter().map(by_id).collect();
        }
        let mut queries: Vec<Query> = Vec::new();
        for ends in &self.alternatives {
            let query = ends.query(&base);
            if !queries.contains(&query) {
                queries.push(query);
            }
        }
        queries
    }
}

impl Endpoints {
    fn query(&self, base: &Query) -> Query {
        let ends = [self.src, self.dst];
        let has_ports = base.proto.is_none_or(carries_ports);
        let ports: Vec<u16> = ends.iter().filter_map(|end| end.port.filter(|_| has_ports)).collect();
        let nets: Vec<IpNet> = ends.iter().filter_map(|end| end.addr.map(IpNet::host)).collect();
        let session = nets.len() == 2 && ports.len() == 2;
        Query { nets, ports, session, ..base.clone() }
    }
}

/// Whether packets of an IP protocol have ports that a query can ask for.
#[must_use]
pub(crate) const fn carries_ports(number: u8) -> bool {
    matches!(number, proto::TCP | proto::UDP | proto::SCTP)
}

#[cfg(test)]
mod tests {
    use hindcap_wire::time::Timestamp;

    use super::*;

    fn reading() -> Reading {
        let end = |addr: &str, port| Endpoint { addr: Some(addr.parse().unwrap()), port: Some(port) };
        let before =
            Endpoints { view: View::BeforeNat, src: end("10.0.0.1", 4000), dst: end("192.0.2.1", 80) };
        let after = Endpoints { view: View::AfterNat, src: end("198.51.100.1", 61_000), ..before };
        Reading {
            format: "test",
            title: "Test",
            alternatives: vec![before, after, before],
            direction: Direction::Opener,
            proto: Some(6),
            vlan: Some(7),
            community_id: None,
            times: vec![TimeRange::new(Timestamp(1_000), Timestamp(2_000))],
            meaning: Meaning::Packet,
            assumptions: Vec::new(),
            confidence: Confidence::High,
            guess: false,
            source: None,
            spans: Vec::new(),
        }
    }

    #[test]
    fn one_query_for_each_view_and_time() {
        let mut reading = reading();
        reading.times.push(TimeRange::new(Timestamp(5_000), Timestamp(6_000)));
        let queries = reading.queries(100);
        assert_eq!(queries.len(), 4);
        assert_eq!(queries[0].time, TimeRange::new(Timestamp(900), Timestamp(2_100)));
        assert_eq!(queries[0].ports, [4_000, 80]);
        assert_eq!(queries[1].nets[0].to_string(), "198.51.100.1");
        assert_eq!((queries[0].vlan, queries[0].proto, queries[0].session), (Some(7), Some(6), true));
        assert!(queries.iter().all(|query| query.validate().is_ok()));
    }

    #[test]
    fn ports_only_where_the_protocol_has_them() {
        let mut reading = reading();
        reading.proto = Some(1);
        let query = &reading.queries(0)[0];
        assert!(query.ports.is_empty() && !query.session && query.validate().is_ok());
    }

    #[test]
    fn a_community_id_alone_is_a_query() {
        let mut reading = reading();
        reading.alternatives.clear();
        reading.community_id = Some("1:LQU9qZlK+B5F3KDmev6m5PMibrg=".into());
        let queries = reading.queries(0);
        assert!(queries[0].session && queries[0].community_id == reading.community_id);
        reading.times.clear();
        assert!(reading.queries(0).is_empty());
    }
}
