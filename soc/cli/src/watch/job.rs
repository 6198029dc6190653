//! One event that is being dealt with: what is asked, how far that is, and when to go on. Everything of it is in the state.

use hindcap_events::Reading;
use hindcap_wire::flow::proto;
use hindcap_wire::message::answer::Sessions;
use hindcap_wire::message::{Blob, SensorId, Ulid};
use hindcap_wire::net::IpNet;
use hindcap_wire::query::Query;
use hindcap_wire::time::{NANOS_PER_SEC, TimeRange, Timestamp};
use serde::{Deserialize, Serialize};

use super::rule::{Deed, Side, Subscription};

/// First and longest pause between two looks, nanoseconds; doubled in between.
const LOOK_NANOS: (u64, u64) = (2 * NANOS_PER_SEC, 60 * NANOS_PER_SEC);
/// How long a session that is not there (yet) is looked for: flushing takes seconds, clocks of machines differ.
const NOTHING_NANOS: u64 = 5 * 60 * NANOS_PER_SEC;
/// How long after its last packet a session with FIN or RST is over for certain, both directions.
const CLOSED_NANOS: u64 = 30 * NANOS_PER_SEC;
/// Silence that ends a session without FIN or RST, nanoseconds: of TCP, and of others (RFC 5382, RFC 4787).
const IDLE_NANOS: (u64, u64) = ((2 * 3_600 + 240) * NANOS_PER_SEC, 300 * NANOS_PER_SEC);
/// FIN and RST.
const ENDING_FLAGS: u8 = 0x05;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Job {
    pub(super) id: Ulid,
    /// The rule that matched.
    pub(super) rule: String,
    /// Where the line came from.
    pub(super) source: String,
    /// The line, byte for byte.
    pub(super) line: Blob,
    /// What it was read as.
    pub(super) format: String,
    /// The event's time.
    pub(super) at: Timestamp,
    /// When the line was read.
    pub(super) made: Timestamp,
    pub(super) query: Query,
    pub(super) deed: Deed,
    /// Who is asked; empty until that was decided.
    pub(super) sensors: Vec<SensorId>,
    pub(super) stage: Stage,
    /// When to go on.
    pub(super) next: Timestamp,
    /// Looks so far.
    pub(super) looks: u32,
    /// Until when the end is waited for, or a sensor that is away.
    pub(super) until: Timestamp,
    /// A host's traffic after an event, not a session.
    pub(super) is_host: bool,
    /// What a person should know of it.
    pub(super) notes: Vec<String>,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    /// To be pinned.
    Pin,
    /// The end of the session is waited for; what was seen of it last.
    Wait(Option<Seen>),
    /// To be fetched.
    Fetch,
}

/// What flow records say of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    last: Timestamp,
    packets: u64,
}

/// What a look at flow records means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It goes on, or is not there yet.
    Later,
    /// It is over.
    Over,
    /// There is nothing, and nothing will come.
    Nothing,
}

impl Job {
    /// When to look again, counted from `now`.
    pub(super) fn pause(&mut self, now: Timestamp) {
        let pause = LOOK_NANOS.0.saturating_mul(1 << self.looks.min(8)).min(LOOK_NANOS.1);
        self.looks = self.looks.saturating_add(1);
        self.next = now.plus_nanos(pause);
    }

    /// Takes in what the sensors' flow records say.
    pub(super) fn look(&mut self, found: &[Sessions], now: Timestamp) -> Look {
        let rows = || found.iter().flat_map(|sessions| &sessions.rows);
        let Some(last) = rows().map(|row| row.last).max() else {
            let acknowledged = |sessions: &Sessions| {
                sessions.coverage.last().is_some_and(|range| range.end >= self.query.time.end)
            };
            let complete = !found.is_empty() && found.iter().all(acknowledged);
            let patience = now.0.saturating_sub(self.made.0) >= NOTHING_NANOS;
            return if complete || patience || now >= self.until { Look::Nothing } else { Look::Later };
        };
        let seen = Seen { last, packets: rows().map(|row| row.packets).sum() };
        let still = self.stage == Stage::Wait(Some(seen));
        let quiet = now.0.saturating_sub(last.0);
        // Of several sessions the last one decides.
        let newest = || rows().filter(|row| row.last == last);
        let tcp = newest().any(|row| row.proto == proto::TCP);
        let closed = newest().any(|row| row.tcp_flags & ENDING_FLAGS != 0);
        let over = if closed && tcp {
            still || quiet >= CLOSED_NANOS
        } else {
            quiet >= if tcp { IDLE_NANOS.0 } else { IDLE_NANOS.1 }
        };
        self.stage = Stage::Wait(Some(seen));
        if closed && tcp && !over {
            // The other direction follows soon.
            self.looks = 0;
        }
        // A line that names no whole session names whatever was there around its time.
        let around = !self.query.session && now >= self.query.time.end.plus_nanos(CLOSED_NANOS);
        if over || around || now >= self.until { Look::Over } else { Look::Later }
    }
}

/// What makes two events ask for the same: ends in one order, protocol, Community ID.
pub(super) fn key(query: &Query) -> String {
    let one = |nets: &[IpNet], ports: &[u16]| {
        let mut nets: Vec<String> = nets.iter().map(ToString::to_string).collect();
        let mut ports = ports.to_vec();
        nets.sort_unstable();
        ports.sort_unstable();
        format!("{nets:?}{ports:?}")
    };
    let mut ends: Vec<String> = query.ends().map(|ends| one(&ends.nets, &ends.ports)).collect();
    ends.sort_unstable();
    format!("{ends:?} {:?} {:?}", query.proto, query.community_id)
}

/// The query of a subscription; `None` where the line does not name that end.
pub(super) fn host_query(reading: &Reading, host: &Subscription, at: Timestamp) -> Option<Query> {
    let side = |ends: &hindcap_events::Endpoints| match host.side {
        Side::Src => ends.src,
        Side::Dst => ends.dst,
    };
    let addr = reading.alternatives.iter().find_map(|ends| side(ends).addr)?;
    let time = TimeRange::new(at, at.plus_nanos(host.for_secs.saturating_mul(NANOS_PER_SEC)));
    Some(Query { time, nets: vec![IpNet::host(addr)], ..Query::default() })
}

#[cfg(test)]
pub(super) mod tests {
    use hindcap_wire::message::answer::SessionRow;

    use super::*;

    pub(in crate::watch) fn job() -> Job {
        Job {
            id: Ulid(7),
            rule: "c2".into(),
            source: "stdin".into(),
            line: Blob(b"a line\n".to_vec()),
            format: "snort-fast".into(),
            at: at(100),
            made: at(101),
            query: Query { time: TimeRange::new(at(40), at(160)), session: true, ..Query::default() },
            deed: super::super::rules::tests::parse(
                "[watch]\nstore = 'x'\n[[source]]\nstdin = true\n[[rule]]\nname = 'c2'\n",
            )
            .rules
            .remove(0)
            .deed,
            sensors: Vec::new(),
            stage: Stage::Wait(None),
            next: at(101),
            looks: 0,
            until: at(3_600),
            is_host: false,
            notes: Vec::new(),
        }
    }

    const fn at(secs: u64) -> Timestamp {
        Timestamp(secs * NANOS_PER_SEC)
    }

    fn found(last: u64, tcp_flags: u8) -> [Sessions; 1] {
        let row = SessionRow {
            first: at(90),
            last: at(last),
            proto: proto::TCP,
            vlan: None,
            client: [10, 0, 0, 1].into(),
            client_port: 1,
            server: [10, 0, 0, 2].into(),
            server_port: 2,
            packets: last,
            bytes: 1,
            tcp_flags,
            truncated: None,
            community_id: String::new(),
        };
        [Sessions { rows: vec![row], ..Sessions::default() }]
    }

    #[test]
    fn a_session_is_over_when_it_was_closed_and_nothing_more_comes() {
        let mut job = job();
        assert_eq!(job.look(&found(101, 0x02), at(102)), Look::Later);
        job.looks = 7;
        assert_eq!(job.look(&found(105, 0x13), at(106)), Look::Later, "the other direction may go on");
        assert_eq!(job.looks, 0, "not for long");
        assert_eq!(job.look(&found(106, 0x13), at(108)), Look::Later);
        assert_eq!(job.look(&found(106, 0x13), at(112)), Look::Over);
        assert_eq!(self::job().look(&found(101, 0x04), at(140)), Look::Over, "long ago");
    }

    #[test]
    fn an_open_session_is_waited_for_until_the_time_is_over() {
        let mut job = job();
        assert_eq!(job.look(&found(101, 0x02), at(102)), Look::Later);
        assert_eq!(job.look(&found(101, 0x02), at(3_599)), Look::Later);
        assert_eq!(job.look(&found(101, 0x02), at(3_600)), Look::Over);
    }

    #[test]
    fn nothing_is_final_once_its_time_is_acknowledged() {
        let nothing =
            |end: u64| [Sessions { coverage: vec![TimeRange::new(at(1), at(end))], ..Sessions::default() }];
        assert_eq!(job().look(&nothing(159), at(102)), Look::Later);
        assert_eq!(job().look(&nothing(160), at(102)), Look::Nothing);
        assert_eq!(job().look(&nothing(1), at(500)), Look::Nothing, "an idle link acknowledges nothing");
    }

    #[test]
    fn looks_become_rarer() {
        let mut job = job();
        let pauses: Vec<u64> = (0..8)
            .map(|_| {
                job.pause(at(0));
                job.next.secs()
            })
            .collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn both_directions_are_one_session() {
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let there =
            Query { nets: vec![net("10.0.0.1"), net("10.0.0.2")], ports: vec![4000, 80], ..Query::default() };
        let back =
            Query { nets: vec![net("10.0.0.2"), net("10.0.0.1")], ports: vec![80, 4000], ..Query::default() };
        let other = Query { ports: vec![80, 4001], ..back.clone() };
        assert_eq!(key(&there), key(&back));
        assert_ne!(key(&there), key(&other));
    }
}
