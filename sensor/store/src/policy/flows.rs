//! The flow table: sets of four entries, found by a seeded hash. A new flow takes the place of one that has been silent;
//! when all four are busy it gets none, and its packets are kept whole.

/// Sets of four: 65,536 flows in 2 MiB. A busy branch office has some thousand at a time.
const SETS: usize = 16 * 1024;
const WAYS: usize = 4;

/// A flow that was silent for longer begins anew: routers and firewalls forget idle flows after a few minutes.
pub(super) const IDLE_SECS: u32 = 300;
/// An entry of a small flow may be taken after this silence already, so that a scan does not fill the table for long.
pub(super) const IDLE_SECS_SMALL: u32 = 10;
/// Bytes of a small flow: it loses nothing when it is counted anew.
const SMALL_BYTES: u32 = 10_000;

/// One flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// 0: free.
    pub hash: u64,
    /// Bytes on the wire so far.
    pub bytes: u32,
    /// Last packet, seconds.
    pub seen: u32,
    /// For `bulk`: by direction.
    pub next: [u32; 2],
    pub count: [u16; 2],
    pub state: [u8; 2],
    /// Packets behind the cutoff, modulo the sample; [`MARKED`].
    behind: u16,
}

/// In `behind`: one of the packets behind the cutoff was truncated.
const MARKED: u16 = 1 << 15;

const _: () = assert!(super::SAMPLE_MAX < MARKED as u32, "the count and the mark share a word");
const _: () = assert!(size_of::<Entry>() == 32, "two entries in a cache line");

impl Entry {
    /// Begins anew.
    pub(super) fn restart(&mut self) {
        *self = Self { hash: self.hash, seen: self.seen, ..Self::default() };
    }

    /// Counts a packet behind the cutoff: whether it is one in `sample`.
    pub(super) fn is_sampled(&mut self, sample: u32) -> bool {
        let behind = u32::from(self.behind & !MARKED) + 1;
        let due = behind >= sample;
        self.behind = self.behind & MARKED | if due { 0 } else { behind as u16 };
        due && sample > 0
    }

    /// Whether a packet behind the cutoff was truncated, so that the flow's record tells of the cutoff.
    pub(super) const fn is_marked(&self) -> bool {
        self.behind & MARKED != 0
    }

    /// Seconds of silence; a clock that was set back counts as silence too, in favour of keeping.
    const fn silence(&self, now: u32) -> u32 {
        self.seen.abs_diff(now)
    }

    const fn is_free(&self, now: u32) -> bool {
        let patience = if self.bytes < SMALL_BYTES { IDLE_SECS_SMALL } else { IDLE_SECS };
        self.hash == 0 || self.silence(now) > patience
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Flows {
    sets: Vec<[Entry; WAYS]>,
}

impl Flows {
    /// An empty table; its memory is taken here.
    pub(super) fn new() -> Self {
        Self { sets: vec![[Entry::default(); WAYS]; SETS] }
    }

    /// Notes that a packet of the flow behind the cutoff was truncated.
    pub(super) fn mark(&mut self, hash: u64, now: u32) {
        if let Some(entry) = self.entry(hash, now) {
            entry.behind |= MARKED;
        }
    }

    /// The entry of a flow, perhaps a new one, as of `now` in seconds; `None` when there is no room.
    #[inline]
    pub(super) fn entry(&mut self, hash: u64, now: u32) -> Option<&mut Entry> {
        let at = ((hash >> 32) * self.sets.len() as u64 >> 32) as usize;
        let set = self.sets.get_mut(at)?;
        let way = match set.iter().position(|entry| entry.hash == hash) {
            Some(way) => {
                if set[way].silence(now) > IDLE_SECS {
                    set[way].restart();
                }
                way
            }
            None => {
                let way = set.iter().position(|entry| entry.is_free(now))?;
                set[way] = Entry { hash, ..Entry::default() };
                way
            }
        };
        let entry = set.get_mut(way)?;
        entry.seen = now;
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The n-th hash of one set.
    fn hash(n: u64) -> u64 {
        7 << 40 | (n + 1)
    }

    #[test]
    fn a_full_set_refuses_until_somebody_falls_silent() {
        let mut flows = Flows::new();
        for n in 0..WAYS as u64 {
            flows.entry(hash(n), 1000).unwrap().bytes = if n == 2 { 5 } else { SMALL_BYTES };
        }
        assert!(flows.entry(hash(9), 1000 + IDLE_SECS_SMALL).is_none(), "all are busy");
        assert_eq!(
            flows.entry(hash(0), 1000 + IDLE_SECS_SMALL).unwrap().bytes,
            SMALL_BYTES,
            "known ones stay"
        );
        assert_eq!(flows.entry(hash(9), 1001 + IDLE_SECS_SMALL).unwrap().bytes, 0, "the small one is gone");
        assert!(flows.entry(hash(10), 1001 + IDLE_SECS_SMALL).is_none());
        assert!(flows.entry(hash(10), 1001 + IDLE_SECS).is_some());
    }

    #[test]
    fn a_silent_flow_begins_anew_and_so_does_one_whose_clock_went_back() {
        let mut flows = Flows::new();
        let at = |flows: &mut Flows, now| {
            let entry = flows.entry(hash(1), now).unwrap();
            entry.bytes += 1;
            entry.bytes
        };
        assert_eq!((at(&mut flows, 5000), at(&mut flows, 5000 + IDLE_SECS)), (1, 2));
        assert_eq!(at(&mut flows, 5001 + 2 * IDLE_SECS), 1);
        assert_eq!(at(&mut flows, 4000), 1);
    }
}
