//! What the events of a segment come to: whether anything happened in it, and which policy was in force.
//!
//! With a policy every segment begins with a copy of the step in force. That is no news: a segment with nothing but this
//! copy is as uneventful as one without events, and its catalog entry says all there is to say.

use super::event::{Event, EventKind};
use crate::policy::PolicyStep;
use crate::time::Timestamp;

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Happened {
    /// Something happened: there is an event other than the copy of a policy step from before the segment.
    pub eventful: bool,
    /// The last policy step, unless a recorder without policy was started behind it. In an uneventful segment it was in
    /// force throughout.
    pub step: Option<PolicyStep>,
}

impl Happened {
    /// Of a segment begun at `created`, with event blocks of these bodies, in order.
    #[must_use]
    pub fn of<'a>(bodies: impl IntoIterator<Item = &'a [u8]>, created: Timestamp) -> Self {
        let mut happened = Self::default();
        let mut copy = None;
        for body in bodies {
            let event = Event::decode(body);
            match event.map(|event| (event.at, event.kind)) {
                Some((since, EventKind::Policy { policy, .. })) => {
                    let is_copy = since <= created && copy.is_none_or(|copy| Some(copy) == event);
                    happened.eventful |= !is_copy;
                    happened.step = Some(PolicyStep { since, policy });
                    copy = copy.or(event);
                }
                Some((_, EventKind::RecorderStart { .. })) => {
                    happened = Self { eventful: true, step: None };
                }
                _ => happened.eventful = true,
            }
        }
        happened
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::super::EVENT_BYTES;
    use super::*;
    use crate::policy::{Policy, PolicyReason};

    fn body(at: u64, kind: EventKind) -> Vec<u8> {
        let mut bytes = [0; EVENT_BYTES];
        Event { at: Timestamp(at), monotonic_nanos: at, kind }.encode(&mut bytes);
        bytes[8..EVENT_BYTES - 4].to_vec()
    }

    fn step(at: u64, cutoff: u64) -> Vec<u8> {
        let policy = Policy { cutoff: Some(cutoff), reason: PolicyReason::WearBudget, ..Policy::default() };
        body(at, EventKind::Policy { policy, before: None })
    }

    fn of(bodies: &[Vec<u8>]) -> (bool, Option<u64>) {
        let happened = Happened::of(bodies.iter().map(|body| &body[..]), Timestamp(100));
        (happened.eventful, happened.step.map(|step| step.policy.cutoff.unwrap_or(0) + step.since.0))
    }

    #[test]
    fn only_copies_of_one_older_step_are_no_news() {
        let start = body(90, EventKind::RecorderStart { epoch: 1, unclean: false, boot: 0 });
        assert_eq!(of(&[]), (false, None));
        assert_eq!(of(&[step(100, 7)]), (false, Some(107)));
        assert_eq!(of(&[step(50, 7), step(50, 7)]), (false, Some(57)));
        assert_eq!(of(&[step(101, 7)]), (true, Some(108)), "a step of this segment");
        assert_eq!(of(&[step(50, 7), step(60, 8)]), (true, Some(68)));
        assert_eq!(of(&[start.clone(), step(90, 7)]), (true, Some(97)));
        assert_eq!(of(&[step(50, 7), start]), (true, None), "a recorder without policy");
        assert_eq!(of(&[step(50, 7), body(60, EventKind::RecorderStop)]), (true, Some(57)));
        assert_eq!(of(&[b"not an event".to_vec()]), (true, None));
    }
}
