//! The policy in force: set by anyone, read for every packet.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hindcap_wire::flow::FlowKey;
use hindcap_wire::net::IpNet;
use hindcap_wire::policy::{LeftOut, Policy, PolicyReason};

use super::{CUTOFF_BYTES_MAX, CUTOFF_BYTES_MIN, NEVER_CUT_MAX, SAMPLE_MAX};

const CUTOFF_BITS: u32 = 48;
const REASON_SHIFT: u32 = CUTOFF_BITS;
const HEADERS_ONLY: u64 = 1 << 63;

/// A policy that can be changed while packets are recorded, and what it has left out so far.
///
/// A change takes effect at the next packet; the recorder writes it into the store at its next tick.
#[derive(Debug)]
pub struct Control {
    /// Cutoff, 0 for none; from bit 48 the reason; bit 63 headers only. One word, so that nobody sees half a step.
    word: AtomicU64,
    sample: u32,
    skip_rules: u16,
    never_cut: Vec<IpNet>,
    left_out: [AtomicU64; 3],
}

/// What a packet is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// `u64::MAX` for none.
    pub cutoff: u64,
    pub headers_only: bool,
}

impl Control {
    /// Begins with `policy`. A cutoff below [`CUTOFF_BYTES_MIN`] counts as that.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            word: AtomicU64::new(word(policy.cutoff, policy.headers_only, policy.reason)),
            sample: policy.sample.min(SAMPLE_MAX),
            skip_rules: policy.skip_rules,
            never_cut: Vec::new(),
            left_out: Default::default(),
        }
    }

    /// Keeps every packet whole that has an end in one of `nets`, whatever the cutoff; the first [`NEVER_CUT_MAX`] count.
    #[must_use]
    pub fn sparing(mut self, nets: &[IpNet]) -> Self {
        self.never_cut = nets.iter().copied().take(NEVER_CUT_MAX).collect();
        self
    }

    /// Whether a flow must stay whole.
    #[must_use]
    pub fn spares(&self, key: &FlowKey) -> bool {
        self.never_cut.iter().any(|net| net.contains(key.a, key.version) || net.contains(key.b, key.version))
    }

    /// Sets the bytes that are kept whole of each flow; `None` keeps everything. Less than [`CUTOFF_BYTES_MIN`] counts as
    /// that.
    pub fn set_cutoff(&self, cutoff: Option<u64>, reason: PolicyReason) {
        let step = |now: u64| Some(word(cutoff, now & HEADERS_ONLY != 0, reason));
        let _ = self.word.fetch_update(Relaxed, Relaxed, step);
    }

    /// Sets whether TLS and QUIC are recorded without payload behind their handshakes.
    pub fn set_headers_only(&self, headers_only: bool, reason: PolicyReason) {
        let step = |now: u64| Some(word(cutoff_of(now), headers_only, reason));
        let _ = self.word.fetch_update(Relaxed, Relaxed, step);
    }

    /// Bytes that are kept whole of each flow.
    #[must_use]
    pub fn cutoff(&self) -> Option<u64> {
        cutoff_of(self.word.load(Relaxed))
    }

    /// The policy in force.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let word = self.word.load(Relaxed);
        Policy {
            cutoff: cutoff_of(word),
            sample: self.sample,
            headers_only: word & HEADERS_ONLY != 0,
            skip_rules: self.skip_rules,
            reason: PolicyReason::from_code((word >> REASON_SHIFT) as u8 & 0x7f).unwrap_or_default(),
        }
    }

    /// What was left out since the recorder was made, as of its last tick.
    #[must_use]
    pub fn left_out(&self) -> LeftOut {
        LeftOut::of(std::array::from_fn(|at| self.left_out[at].load(Relaxed)))
    }

    pub(crate) fn publish(&self, left_out: &LeftOut) {
        for (slot, count) in self.left_out.iter().zip(left_out.counts()) {
            slot.store(count, Relaxed);
        }
    }

    #[inline]
    pub(crate) fn rules(&self) -> Rules {
        let word = self.word.load(Relaxed);
        Rules { cutoff: cutoff_of(word).unwrap_or(u64::MAX), headers_only: word & HEADERS_ONLY != 0 }
    }

    pub(crate) const fn sample(&self) -> u32 {
        self.sample
    }
}

#[inline]
const fn cutoff_of(word: u64) -> Option<u64> {
    match word & ((1 << CUTOFF_BITS) - 1) {
        0 => None,
        cutoff => Some(cutoff),
    }
}

fn word(cutoff: Option<u64>, headers_only: bool, reason: PolicyReason) -> u64 {
    let cutoff = cutoff.map_or(0, |bytes| bytes.clamp(CUTOFF_BYTES_MIN, CUTOFF_BYTES_MAX));
    cutoff | u64::from(reason as u8) << REASON_SHIFT | if headers_only { HEADERS_ONLY } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_changes_what_it_names_and_keeps_the_floor() {
        let control = Control::new(Policy { sample: 7, skip_rules: 2, ..Policy::default() });
        assert!(control.rules() == Rules { cutoff: u64::MAX, headers_only: false });
        control.set_headers_only(true, PolicyReason::Person);
        control.set_cutoff(Some(1), PolicyReason::WearBudget);
        let expected = Policy {
            cutoff: Some(CUTOFF_BYTES_MIN),
            sample: 7,
            headers_only: true,
            skip_rules: 2,
            reason: PolicyReason::WearBudget,
        };
        assert_eq!(control.policy(), expected);
        assert!(control.rules() == Rules { cutoff: CUTOFF_BYTES_MIN, headers_only: true });
        control.set_cutoff(Some(u64::MAX), PolicyReason::Person);
        assert_eq!(control.cutoff(), Some(CUTOFF_BYTES_MAX));
        control.set_cutoff(None, PolicyReason::Person);
        assert_eq!((control.cutoff(), control.policy().headers_only), (None, true));
    }
}
