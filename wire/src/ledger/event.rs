//! Event blocks: what happened to the recorder, between the packets where it happened.

use serde::{Deserialize, Serialize};

use super::{BLOCK_OVERHEAD_BYTES, Cursor, block_type, u16_at, u64_at};
use crate::drops::DropCause;
use crate::policy::Policy;
use crate::time::Timestamp;

/// Length of an event block, framing included.
pub const EVENT_BYTES: usize = BLOCK_OVERHEAD_BYTES + BODY_BYTES;

const BODY_BYTES: usize = 48;
const MAGIC: [u8; 4] = *b"HCEV";

/// Something that happened, with both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Wall clock.
    pub at: Timestamp,
    /// Monotonic clock, nanoseconds since boot.
    pub monotonic_nanos: u64,
    /// What happened.
    pub kind: EventKind,
}

/// What happened. Numbers on the disk: append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// Recording starts: a new mount, or after a crash.
    RecorderStart {
        /// The mount.
        epoch: u32,
        /// Whether the store had been left without a stop event: what was not yet committed then is lost.
        unclean: bool,
        /// Number of the machine's boot, 0 when nobody knows: which of several lives of the machine goes on from here.
        boot: u64,
    },
    /// Recording stops in order; everything captured is on the disk.
    RecorderStop,
    /// The interface is away.
    LinkDown {
        /// Store-wide number of the interface.
        interface: u32,
    },
    /// The interface is back.
    LinkUp {
        /// Store-wide number of the interface.
        interface: u32,
    },
    /// Nothing, or not everything, was recorded in `[start, end)`.
    Gap {
        /// Since when.
        start: Timestamp,
        /// Until when.
        end: Timestamp,
        /// Why.
        cause: DropCause,
        /// Packets known to be lost; 0 when unknown.
        packets: u64,
    },
    /// The wall clock jumped against the monotonic clock.
    ClockStep {
        /// What it would have shown.
        from: Timestamp,
        /// What it showed.
        to: Timestamp,
    },
    /// From here on this policy is in force. The last one is repeated, as it was written, at the head of each segment;
    /// a recorder start without one behind it records everything.
    Policy {
        /// What is recorded.
        policy: Policy,
        /// The cutoff that was in force before, bytes.
        before: Option<u64>,
    },
    /// In the event ring: copying for a pin begins or ends.
    Pin {
        /// The number of its name.
        pin: u64,
        /// It begins.
        begins: bool,
    },
    /// A later version's event; kept as it is.
    Other {
        /// Its number.
        kind: u16,
        /// Its fields.
        fields: [u64; 3],
    },
}

impl EventKind {
    /// (kind, cause, three fields) as on the disk.
    fn fields(self) -> (u16, u16, [u64; 3]) {
        match self {
            Self::RecorderStart { epoch, unclean, boot } => (1, 0, [epoch.into(), unclean.into(), boot]),
            Self::RecorderStop => (2, 0, [0; 3]),
            Self::LinkDown { interface } => (3, 0, [u64::from(interface), 0, 0]),
            Self::LinkUp { interface } => (4, 0, [u64::from(interface), 0, 0]),
            Self::Gap { start, end, cause, packets } => (5, cause as u16, [start.0, end.0, packets]),
            Self::ClockStep { from, to } => (6, 0, [from.0, to.0, 0]),
            Self::Policy { policy, before } => {
                let [cutoff, how] = policy.words();
                (7, 0, [cutoff, how, before.unwrap_or(0)])
            }
            Self::Pin { pin, begins } => (10, 0, [pin, u64::from(begins), 0]),
            Self::Other { kind, fields } => (kind, 0, fields),
        }
    }

    fn from_fields(kind: u16, cause: u16, fields: [u64; 3]) -> Self {
        let [a, b, c] = fields;
        match (kind, u32::try_from(a)) {
            (1, Ok(epoch)) => Self::RecorderStart { epoch, unclean: b != 0, boot: c },
            (2, _) => Self::RecorderStop,
            (3, Ok(interface)) => Self::LinkDown { interface },
            (4, Ok(interface)) => Self::LinkUp { interface },
            (5, _) => match DropCause::ALL.get(usize::from(cause)) {
                Some(&cause) => Self::Gap { start: Timestamp(a), end: Timestamp(b), cause, packets: c },
                None => Self::Other { kind, fields },
            },
            (6, _) => Self::ClockStep { from: Timestamp(a), to: Timestamp(b) },
            (7, _) => match Policy::of([a, b]) {
                Some(policy) => Self::Policy { policy, before: (c != 0).then_some(c) },
                None => Self::Other { kind, fields },
            },
            (10, _) => Self::Pin { pin: a, begins: b != 0 },
            _ => Self::Other { kind, fields },
        }
    }
}

impl Event {
    /// Writes the block to the front of `out`; returns [`EVENT_BYTES`].
    pub fn encode(&self, out: &mut [u8]) -> usize {
        let (kind, cause, fields) = self.kind.fields();
        let mut cursor = Cursor::new(out);
        cursor.u32(block_type::EVENT).u32(EVENT_BYTES as u32).put(&MAGIC).u16(kind).u16(cause);
        cursor.u64(self.at.0).u64(self.monotonic_nanos);
        for field in fields {
            cursor.u64(field);
        }
        cursor.u32(EVENT_BYTES as u32);
        cursor.at
    }

    /// Reads the body of an event block.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        if body.len() < BODY_BYTES || body[..4] != MAGIC {
            return None;
        }
        let fields = [u64_at(body, 24)?, u64_at(body, 32)?, u64_at(body, 40)?];
        Some(Self {
            at: Timestamp(u64_at(body, 8)?),
            monotonic_nanos: u64_at(body, 16)?,
            kind: EventKind::from_fields(u16_at(body, 4)?, u16_at(body, 6)?, fields),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::PolicyReason;

    #[test]
    fn every_kind_comes_back() {
        let (start, end) = (Timestamp(10), Timestamp(20));
        for kind in [
            EventKind::RecorderStart { epoch: 4, unclean: true, boot: u64::MAX },
            EventKind::RecorderStop,
            EventKind::LinkDown { interface: 2 },
            EventKind::LinkUp { interface: 3 },
            EventKind::Gap { start, end, cause: DropCause::StorageError, packets: 9 },
            EventKind::ClockStep { from: end, to: start },
            EventKind::Policy {
                policy: Policy {
                    cutoff: Some(1 << 40),
                    sample: 100,
                    headers_only: true,
                    skip_rules: 3,
                    reason: PolicyReason::WearBudget,
                },
                before: None,
            },
            EventKind::Policy { policy: Policy::default(), before: Some(1) },
            EventKind::Other { kind: 7, fields: [1, 9, 3] },
            EventKind::Pin { pin: 1 << 39, begins: true },
            EventKind::Other { kind: 900, fields: [1, 2, 3] },
        ] {
            let event = Event { at: Timestamp(5), monotonic_nanos: 6, kind };
            let mut bytes = [0; EVENT_BYTES];
            assert_eq!(event.encode(&mut bytes), EVENT_BYTES);
            assert_eq!(Event::decode(&bytes[8..EVENT_BYTES - 4]), Some(event));
        }
        assert_eq!(Event::decode(&[0; BODY_BYTES]), None);
        assert_eq!(Event::decode(b"HCEV"), None);
    }
}
