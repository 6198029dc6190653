//! Which flow records go on with a session of a record before, so that sessions across segments count once. Bounded.

use std::collections::HashMap;

use hindcap_wire::flow::FlowKey;
use hindcap_wire::index::FlowRecord;
use hindcap_wire::time::Timestamp;

use crate::limits::{COUNTED_FLOWS_MAX, idle_nanos};

/// Flows as they are so far.
#[derive(Debug, Default)]
pub(crate) struct Continuity {
    flows: HashMap<FlowKey, Session>,
    /// There were more flows than are followed: what is counted by this is an upper bound.
    pub(crate) bounded: bool,
}

/// A session so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session {
    last: Timestamp,
    /// Whether end `a` spoke first, which only the record of its beginning tells.
    pub(crate) a_first: bool,
    /// Whether it has more than one record.
    pub(crate) goes_on: bool,
}

impl Continuity {
    /// Gives back the memory: nothing more is followed.
    pub(crate) fn forget(&mut self) {
        self.flows = HashMap::new();
    }

    /// The session that a record belongs to. Records come in the order of recording.
    pub(crate) fn follow(&mut self, flow: &FlowRecord<'_>) -> Session {
        let key = &flow.key;
        let new = Session { last: flow.last, a_first: flow.a_sent_first, goes_on: false };
        let before = self.flows.get(key).copied();
        let idle = idle_nanos(key.proto);
        let session = match before {
            Some(known) if flow.first <= known.last.plus_nanos(idle) => {
                Session { last: known.last.max(flow.last), goes_on: true, ..known }
            }
            _ => new,
        };
        if self.flows.len() < COUNTED_FLOWS_MAX || before.is_some() {
            self.flows.insert(*key, session);
        } else {
            self.bounded = true;
        }
        session
    }

    /// Lets go of flows that nothing recorded from `now` on can go on with.
    pub(crate) fn forget_before(&mut self, now: Timestamp) {
        self.flows.retain(|key, session| session.last.plus_nanos(idle_nanos(key.proto)) >= now);
    }
}

#[cfg(test)]
mod tests {
    use hindcap_wire::flow::{FiveTuple, proto};
    use hindcap_wire::index::Postings;
    use hindcap_wire::time::NANOS_PER_SEC;

    use super::*;

    fn flow(port: u16, first: u64, last: u64) -> FlowRecord<'static> {
        let (src, dst) = ([1; 16], [2; 16]);
        let tuple = FiveTuple { src, dst, src_port: port, dst_port: 53, proto: proto::UDP, version: 4 };
        FlowRecord {
            key: FlowKey::of(&tuple, None).0,
            a_sent_first: false,
            stacked_vlans: false,
            first: at(first),
            last: at(last),
            packets: 1,
            bytes: 60,
            tcp_flags: 0,
            truncated: false,
            postings: Postings::new(0, &[], 1, false),
        }
    }

    const fn at(secs: u64) -> Timestamp {
        Timestamp(secs * NANOS_PER_SEC)
    }

    #[test]
    fn silence_as_long_as_the_idle_time_out_ends_a_session() {
        let mut continuity = Continuity::default();
        let mut goes_on = |flow: FlowRecord<'_>, forget: u64| {
            continuity.forget_before(at(forget));
            continuity.follow(&flow).goes_on
        };
        assert!(!goes_on(flow(1, 0, 10), 0));
        assert!(goes_on(flow(1, 310, 320), 0));
        assert!(!goes_on(flow(1, 621, 630), 0));
        assert!(!goes_on(flow(2, 621, 630), 0));
        assert!(goes_on(flow(2, 930, 931), 930));
        assert!(!goes_on(flow(1, 900, 1_300), 1_300), "forgotten");
    }

    #[test]
    fn who_spoke_first_is_told_by_the_beginning() {
        let mut continuity = Continuity::default();
        let there = FlowRecord { a_sent_first: true, ..flow(1, 0, 10) };
        assert!(continuity.follow(&there).a_first);
        assert!(continuity.follow(&flow(1, 11, 12)).a_first);
        assert!(!continuity.follow(&flow(1, 500, 501)).a_first);
    }
}
