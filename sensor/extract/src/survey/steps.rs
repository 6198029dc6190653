//! Which policy was in force when.

use hindcap_wire::ledger::{Event, EventKind};
use hindcap_wire::policy::Policy;
use hindcap_wire::time::Timestamp;

/// The policies of a segment, as they came into force. A recorder start ends the one before.
#[derive(Debug)]
pub(super) struct Steps(Vec<(Timestamp, Option<Policy>)>);

impl Steps {
    pub(super) fn of(events: &[Event]) -> Self {
        let step = |event: &Event| match event.kind {
            EventKind::Policy { policy, .. } => Some((event.at, Some(policy))),
            EventKind::RecorderStart { .. } => Some((event.at, None)),
            _ => None,
        };
        Self(events.iter().filter_map(step).collect())
    }

    /// Since when which policy was in force at a commit.
    pub(super) fn in_force(&self, committed: Timestamp) -> Option<(Timestamp, Policy)> {
        let (since, policy) = self.0.iter().rev().find(|(since, _)| *since <= committed)?;
        policy.map(|policy| (*since, policy))
    }
}
