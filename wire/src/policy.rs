//! What the recorder leaves out on purpose. A packet that policy *skips* is not recorded; one that it *truncates* is
//! recorded with its `orig_len` and fewer bytes. Neither is a *drop* ([`crate::drops`]): drops are losses.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// What policy left out, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Packets not recorded at all.
    pub packets: u64,
    /// Packets recorded without all of their captured bytes.
    pub truncated: u64,
    /// Captured bytes not recorded: of both.
    pub bytes: u64,
}

impl LeftOut {
    /// Nothing.
    pub const NONE: Self = Self { packets: 0, truncated: 0, bytes: 0 };

    /// A packet of `caplen` captured bytes is not recorded.
    pub const fn skip(&mut self, caplen: usize) {
        self.packets = self.packets.saturating_add(1);
        self.bytes = self.bytes.saturating_add(caplen as u64);
    }

    /// A packet is recorded without `bytes` of its captured bytes.
    pub const fn truncate(&mut self, bytes: usize) {
        self.truncated = self.truncated.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Both together.
    #[must_use]
    pub const fn plus(&self, other: &Self) -> Self {
        Self {
            packets: self.packets.saturating_add(other.packets),
            truncated: self.truncated.saturating_add(other.truncated),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    /// What came since `earlier`.
    #[must_use]
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            packets: self.packets.saturating_sub(earlier.packets),
            truncated: self.truncated.saturating_sub(earlier.truncated),
            bytes: self.bytes.saturating_sub(earlier.bytes),
        }
    }

    /// Whether nothing was left out.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.packets == 0 && self.truncated == 0
    }

    /// The counts in the order of the disk.
    #[must_use]
    pub const fn counts(&self) -> [u64; 3] {
        [self.packets, self.truncated, self.bytes]
    }

    /// From the counts in the order of the disk.
    #[must_use]
    pub const fn of([packets, truncated, bytes]: [u64; 3]) -> Self {
        Self { packets, truncated, bytes }
    }
}

/// Who set the policy in force. Numbers on the disk: append only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum PolicyReason {
    /// The configuration, or the command line.
    #[default]
    Configuration = 1,
    /// The budget controller, so that the medium reaches its planned life.
    WearBudget = 2,
    /// A person, while recording.
    Person = 3,
}

impl PolicyReason {
    /// The reason with this number.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Configuration),
            2 => Some(Self::WearBudget),
            3 => Some(Self::Person),
            _ => None,
        }
    }
}

/// What is recorded of the traffic, and what is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Bytes on the wire that are recorded whole of each flow; `None`: all.
    pub cutoff: Option<u64>,
    /// Of the packets behind the cutoff each so-and-so-manieth is recorded, truncated to its headers; 0: none.
    pub sample: u32,
    /// TLS and QUIC behind the handshake are recorded without payload.
    pub headers_only: bool,
    /// Rules for packets that are not recorded at all.
    pub skip_rules: u16,
    /// Who set it.
    pub reason: PolicyReason,
}

impl Policy {
    /// Whether everything is recorded.
    #[must_use]
    pub const fn is_everything(&self) -> bool {
        self.cutoff.is_none() && !self.headers_only && self.skip_rules == 0
    }

    /// Whether packets are recorded without their payload.
    #[must_use]
    pub const fn truncates(&self) -> bool {
        self.cutoff.is_some() || self.headers_only
    }

    /// The two words on the disk: cutoff, 0 for none, and how (docs/FORMAT.md).
    #[must_use]
    pub const fn words(&self) -> [u64; 2] {
        let cutoff = match self.cutoff {
            Some(bytes) => bytes,
            None => 0,
        };
        let how = self.reason as u64
            | (self.headers_only as u64) << 8
            | (self.skip_rules as u64) << 16
            | (self.sample as u64) << 32;
        [cutoff, how]
    }

    /// From the two words on the disk; `None` when nobody has set it.
    #[must_use]
    pub fn of([cutoff, how]: [u64; 2]) -> Option<Self> {
        Some(Self {
            cutoff: (cutoff != 0).then_some(cutoff),
            sample: (how >> 32) as u32,
            headers_only: how >> 8 & 1 != 0,
            skip_rules: (how >> 16) as u16,
            reason: PolicyReason::from_code(how as u8)?,
        })
    }
}

/// A policy and since when it is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyStep {
    /// Since when, wall clock.
    pub since: Timestamp,
    /// What it is.
    pub policy: Policy,
}
