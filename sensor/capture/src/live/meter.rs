//! Cumulative drops over the life of a source, whatever happens to the kernel's counters below.

use hindcap_wire::drops::{DropCause, DropCounts};

/// Turns libpcap's 32-bit counters, which wrap and start anew with each opening, into totals that only grow.
#[derive(Debug, Default)]
pub(crate) struct DropMeter {
    total: DropCounts,
    last: Counters,
}

/// What libpcap reports as lost since a capture was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// `ps_drop`: the receive ring was full.
    pub(crate) ring_full: u32,
    /// `ps_ifdrop`: the interface or its driver lost them.
    pub(crate) interface: u32,
}

impl DropMeter {
    /// Takes a reading of the capture that is open now. What the ring had no room for is told as what it is: `left`, when
    /// packets were left in it because nobody had a buffer for them.
    pub(crate) fn read(&mut self, now: Counters, left: bool) {
        let cause = if left { DropCause::BuffersFull } else { DropCause::RingFull };
        self.total.add(cause, grown(self.last.ring_full, now.ring_full));
        self.total.add(DropCause::Interface, grown(self.last.interface, now.interface));
        self.last = now;
    }

    /// The next reading comes from a newly opened capture, which counts from zero.
    pub(crate) fn reopened(&mut self) {
        self.last = Counters::default();
    }

    /// Notes that the link went away.
    pub(crate) fn link_down(&mut self) {
        self.total.add(DropCause::LinkDown, 1);
    }

    /// All drops so far.
    pub(crate) const fn total(&self) -> DropCounts {
        self.total
    }
}

/// How far a wrapping counter went. A step back of less than half its range is a reset by the driver, not growth.
fn grown(before: u32, now: u32) -> u64 {
    let step = now.wrapping_sub(before);
    if step <= u32::MAX / 2 { u64::from(step) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(meter: &mut DropMeter, ring_full: u32, interface: u32) -> (u64, u64) {
        meter.read(Counters { ring_full, interface }, false);
        (meter.total().get(DropCause::RingFull), meter.total().get(DropCause::Interface))
    }

    #[test]
    fn totals_survive_reopening_wrapping_and_resets() {
        let mut meter = DropMeter::default();
        assert_eq!(read(&mut meter, 10, 1), (10, 1));
        assert_eq!(read(&mut meter, 10, 1), (10, 1));
        meter.reopened();
        assert_eq!(read(&mut meter, 0, 0), (10, 1));
        assert_eq!(read(&mut meter, 5, 0), (15, 1));
        assert_eq!(read(&mut meter, 5, 3_000_000_000), (15, 1), "far behind zero: a reset");
        meter.reopened();
        assert_eq!(read(&mut meter, 2_000_000_000, 0), (2_000_000_015, 1));
        assert_eq!(read(&mut meter, 4_000_000_000, 0), (4_000_000_015, 1));
        assert_eq!(read(&mut meter, 5, 0), (4_294_967_316, 1), "wrapped: {}", u64::from(u32::MAX));
        meter.read(Counters { ring_full: 12, interface: 0 }, true);
        assert_eq!(
            meter.total().get(DropCause::BuffersFull),
            7,
            "the ring was full because it was not emptied"
        );
        meter.link_down();
        assert_eq!(meter.total().total(), 4_294_967_316 + 7 + 1 + 1);
    }
}
