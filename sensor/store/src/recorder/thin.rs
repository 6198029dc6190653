//! Where policy meets the recorder: packets are judged before they are indexed and copied, what is left out is
//! counted, and every step of the policy is written into the store.

use std::sync::Arc;

use hindcap_wire::ledger::{Event, EventKind};
use hindcap_wire::packet::Packet;
use hindcap_wire::policy::LeftOut;
use hindcap_wire::time::ClockState;

use super::Recorder;
use crate::policy::{Control, Thinner, Verdict};

#[cfg(test)]
mod tests;

impl Recorder {
    /// Lets `control` decide from here on what of the traffic is recorded. Takes the memory of the flow table; a recorder
    /// without a policy has none.
    pub fn thin(&mut self, control: Arc<Control>) {
        let seed = control.policy().cutoff.unwrap_or_default() ^ self.clock.now.wall.0;
        self.thinner = Some(Box::new(Thinner::new(control, seed)));
        self.look_after_policy();
    }

    /// Counts a packet that a rule of the policy leaves out before it gets here.
    pub fn skip(&mut self, packet: &Packet<'_>) {
        self.clock.left_out.skip(packet.bytes.len());
    }

    /// What policy has left out so far.
    #[must_use]
    pub const fn left_out(&self) -> LeftOut {
        self.clock.left_out
    }

    /// [`Recorder::push`] when there is a policy.
    #[inline(never)]
    pub(super) fn push_by_policy(&mut self, packet: &Packet<'_>) {
        let link_type = self.interfaces.get(packet.interface).map(|interface| interface.link_type);
        let verdict = match (&mut self.thinner, link_type) {
            (Some(thinner), Some(link_type)) => thinner.judge(link_type, packet),
            _ => Verdict::Keep,
        };
        match verdict {
            Verdict::Keep => {
                self.record(packet);
            }
            Verdict::Truncate(caplen) => {
                let (kept, cut) = packet.bytes.split_at_checked(caplen).unwrap_or((packet.bytes, &[]));
                if self.record(&Packet { bytes: kept, ..*packet }) {
                    self.clock.left_out.truncate(cut.len());
                }
            }
            Verdict::Skip => self.clock.left_out.skip(packet.bytes.len()),
        }
    }

    /// Writes a step of the policy, if there was one, and tells the counts.
    pub(super) fn look_after_policy(&mut self) {
        let Some(thinner) = &self.thinner else { return };
        thinner.control().publish(&self.clock.left_out);
        let policy = thinner.control().policy();
        let before = match self.step {
            Some(Event { kind: EventKind::Policy { policy: told, .. }, .. }) if told == policy => return,
            Some(Event { kind: EventKind::Policy { policy: told, .. }, .. }) => told.cutoff,
            _ => None,
        };
        let kind = EventKind::Policy { policy, before };
        let now = self.clock.now;
        self.step = Some(Event { at: now.wall, monotonic_nanos: now.monotonic_nanos, kind });
        self.step_is_dated = now.clock != ClockState::NotSynchronised;
        self.event(kind);
    }

    /// Every segment begins with the step in force, so that it tells by itself what it lacks. A step from before the clock was
    /// set gets its true time: later segments know nothing of the clock of then.
    pub(super) fn repeat_step(&mut self) {
        let now = self.clock.now;
        if let (Some(step), false, ClockState::Synchronised) = (&mut self.step, self.step_is_dated, now.clock)
        {
            step.at = now.wall.minus_nanos(now.monotonic_nanos.saturating_sub(step.monotonic_nanos));
            self.step_is_dated = true;
        }
        if let Some(step) = self.step.filter(|step| !self.events.iter().any(|event| event == step)) {
            // When no room is left, news are waiting that matter more.
            let _ = self.events.push_back(step);
        }
    }
}
