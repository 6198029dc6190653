//! One entry of the catalog: what a query must know of a sealed segment to leave it alone, and to say what was recorded
//! while it was open.

use hindcap_wire::drops::DropCounts;
use hindcap_wire::index::FilterClasses;
use hindcap_wire::ledger::SummaryPage;
use hindcap_wire::policy::{LeftOut, Policy, PolicyStep};
use hindcap_wire::time::{ClockState, Timestamp};

use super::filter_crc;

/// Bytes of an entry.
pub const ENTRY_BYTES: usize = 128;

/// In `flags`: bits 0..3 the filter's classes, bit 3 no flow records, bits 4..6 the clock state, bit 6 events.
const CLOCK_SHIFT: u32 = 4;
const EVENTFUL: u32 = 1 << 6;
const NO_FLOWS: u32 = 1 << 3;

const LEFT_OUT_AT: usize = 40;
const STEP_AT: usize = 64;
const DROPS_AT: usize = 88;
const FLAGS_AT: usize = 112;
const CRC_AT: usize = ENTRY_BYTES - 4;

/// What the catalog says of a sealed segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Generation.
    pub generation: u64,
    /// Earliest timestamp, [`Timestamp::MAX`] without packets.
    pub first: Timestamp,
    /// Latest timestamp, [`Timestamp::MIN`] without packets.
    pub last: Timestamp,
    /// Packets.
    pub packets: u64,
    /// Captured bytes.
    pub bytes: u64,
    /// Drops by cause; each at most `u32::MAX`, which stands for that or more.
    pub drops: DropCounts,
    /// Left out by policy.
    pub left_out: LeftOut,
    /// The last policy step; in force throughout unless the segment is eventful.
    pub step: Option<PolicyStep>,
    /// Kinds of key the filter is complete for; 0 without filter.
    pub classes: FilterClasses,
    /// Clock state of the last commit.
    pub clock: ClockState,
    /// Whether something happened to the recorder that only the index tells.
    pub eventful: bool,
    /// Whether there is an index with flow records; without, queries read all packets until `reindex`.
    pub has_flows: bool,
    /// Bytes of the filter, 0 without.
    pub filter_bytes: u32,
    /// CRC-32 over the generation (8 bytes, little-endian) and the filter.
    pub filter_crc: u32,
}

impl Entry {
    /// Of a segment with this summary page and filter.
    #[must_use]
    pub fn of(page: &SummaryPage, classes: FilterClasses, filter: &[u8]) -> Self {
        let summary = &page.summary;
        let counted = summary.drops.0.map(|count| count.min(u32::MAX.into()));
        Self {
            generation: page.generation,
            first: summary.times.0,
            last: summary.times.1,
            packets: summary.packets,
            bytes: summary.captured_bytes,
            drops: DropCounts(counted),
            left_out: summary.left_out,
            step: summary.step,
            classes: if filter.is_empty() { FilterClasses(0) } else { classes },
            clock: summary.clock,
            // Drops that do not fit are told by the index.
            eventful: summary.eventful || counted.contains(&u32::MAX.into()),
            has_flows: summary.has_flows,
            filter_bytes: filter.len() as u32,
            filter_crc: filter_crc(page.generation, filter),
        }
    }

    /// The 128 bytes on the disk.
    #[must_use]
    pub fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut out = [0; ENTRY_BYTES];
        let [skipped, truncated, left_out_bytes] = self.left_out.counts();
        let (since, [cutoff, how]) =
            self.step.map_or((0, [0; 2]), |step| (step.since.0, step.policy.words()));
        let numbers = [
            self.generation,
            self.first.0,
            self.last.0,
            self.packets,
            self.bytes,
            skipped,
            truncated,
            left_out_bytes,
            since,
            cutoff,
            how,
        ];
        for (slot, number) in out.chunks_exact_mut(8).zip(numbers) {
            slot.copy_from_slice(&number.to_le_bytes());
        }
        for (slot, count) in out[DROPS_AT..FLAGS_AT].chunks_exact_mut(4).zip(self.drops.0) {
            slot.copy_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
        }
        let eventful = if self.eventful { EVENTFUL } else { 0 };
        let no_flows = if self.has_flows { 0 } else { NO_FLOWS };
        let flags =
            no_flows | u32::from(self.classes.0 & 7) | u32::from(self.clock.code()) << CLOCK_SHIFT | eventful;
        let ends = [flags, self.filter_bytes, self.filter_crc];
        for (slot, number) in out[FLAGS_AT..CRC_AT].chunks_exact_mut(4).zip(ends) {
            slot.copy_from_slice(&number.to_le_bytes());
        }
        let crc = crc32fast::hash(&out[..CRC_AT]);
        out[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// The entry in these bytes; `None` if its CRC does not agree or it is of no generation.
    #[must_use]
    pub fn decode(bytes: &[u8; ENTRY_BYTES]) -> Option<Self> {
        let u64_at = |at: usize| bytes[at..at + 8].try_into().map_or(0, u64::from_le_bytes);
        let u32_at = |at: usize| bytes[at..at + 4].try_into().map_or(0, u32::from_le_bytes);
        if u32_at(CRC_AT) != crc32fast::hash(&bytes[..CRC_AT]) || u64_at(0) == 0 {
            return None;
        }
        let flags = u32_at(FLAGS_AT);
        let policy = Policy::of([u64_at(STEP_AT + 8), u64_at(STEP_AT + 16)]);
        Some(Self {
            generation: u64_at(0),
            first: Timestamp(u64_at(8)),
            last: Timestamp(u64_at(16)),
            packets: u64_at(24),
            bytes: u64_at(32),
            drops: DropCounts(std::array::from_fn(|at| u32_at(DROPS_AT + 4 * at).into())),
            left_out: LeftOut::of(std::array::from_fn(|at| u64_at(LEFT_OUT_AT + 8 * at))),
            step: policy.map(|policy| PolicyStep { since: Timestamp(u64_at(STEP_AT)), policy }),
            classes: FilterClasses((flags & 7) as u8),
            clock: ClockState::from_code((flags >> CLOCK_SHIFT & 3) as u16)?,
            eventful: flags & EVENTFUL != 0,
            has_flows: flags & NO_FLOWS == 0,
            filter_bytes: u32_at(FLAGS_AT + 4),
            filter_crc: u32_at(FLAGS_AT + 8),
        })
    }
}

#[cfg(test)]
mod tests {
    use hindcap_wire::policy::PolicyReason;

    use super::*;

    fn entry() -> Entry {
        let policy = Policy {
            cutoff: Some(1 << 20),
            sample: 100,
            headers_only: true,
            skip_rules: 3,
            reason: PolicyReason::WearBudget,
        };
        Entry {
            generation: 0x0102_0304_0506_0708,
            first: Timestamp(1),
            last: Timestamp(u64::MAX),
            packets: 3,
            bytes: 4,
            drops: DropCounts([5, 6, 7, 8, 9, u32::MAX.into()]),
            left_out: LeftOut::of([10, 11, 12]),
            step: Some(PolicyStep { since: Timestamp(13), policy }),
            classes: FilterClasses(5),
            clock: ClockState::Synchronised,
            eventful: true,
            has_flows: false,
            filter_bytes: 14,
            filter_crc: 15,
        }
    }

    #[test]
    fn every_field_comes_back_and_every_torn_bit_is_noticed() {
        for entry in [entry(), Entry { step: None, eventful: false, has_flows: true, ..entry() }] {
            let bytes = entry.encode();
            assert_eq!(Entry::decode(&bytes), Some(entry));
            for bit in 0..ENTRY_BYTES * 8 {
                let mut torn = bytes;
                torn[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Entry::decode(&torn), None, "bit {bit}");
            }
        }
        assert_eq!(Entry::decode(&[0; ENTRY_BYTES]), None);
    }

    #[test]
    fn fields_lie_where_the_format_says() {
        let bytes = entry().encode();
        assert_eq!(bytes[..8], [8, 7, 6, 5, 4, 3, 2, 1]);
        for (at, value) in [(24, 3), (32, 4), (40, 10), (48, 11), (56, 12), (64, 13), (116, 14), (120, 15)] {
            assert_eq!(bytes[at], value, "offset {at}");
        }
        assert_eq!(bytes[72..80], (1_u64 << 20).to_le_bytes(), "cutoff");
        assert_eq!(bytes[80..88], [2, 1, 3, 0, 100, 0, 0, 0], "how");
        assert_eq!(bytes[88..92], [5, 0, 0, 0], "drops");
        assert_eq!(bytes[112..116], [5 | 8 | 2 << 4 | 1 << 6, 0, 0, 0], "flags");
    }
}
