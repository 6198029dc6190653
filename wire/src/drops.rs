//! Packets that were lost, counted by cause. A *drop* is never a *skip* (left out by policy) nor a *truncation*.

use alloc::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why packets were lost. The discriminant is the position in [`DropCounts`] and on the disk: append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum DropCause {
    /// The kernel's receive ring was full (`tp_drops`).
    RingFull = 0,
    /// The network interface dropped before the kernel saw them (`ps_ifdrop`).
    Interface = 1,
    /// No free batch buffer: storage was slower than the traffic.
    BuffersFull = 2,
    /// A batch could not be written: `ENOSPC`, `EIO`, read-only medium, medium absent.
    StorageError = 3,
    /// A record that could not be kept: impossible lengths.
    Malformed = 4,
    /// Unknown number, counted as events: the link or the interface was away.
    LinkDown = 5,
}

impl DropCause {
    /// Number of causes.
    pub const COUNT: usize = 6;
    /// All causes, in order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::RingFull,
        Self::Interface,
        Self::BuffersFull,
        Self::StorageError,
        Self::Malformed,
        Self::LinkDown,
    ];

    /// Stable name, as in metrics and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RingFull => "ring_full",
            Self::Interface => "interface",
            Self::BuffersFull => "buffers_full",
            Self::StorageError => "storage_error",
            Self::Malformed => "malformed",
            Self::LinkDown => "link_down",
        }
    }
}

/// Drops by cause, packets. In JSON an object by the names of the causes, in postcard the counts in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DropCounts(pub [u64; DropCause::COUNT]);

impl DropCounts {
    /// Counts `packets` more for `cause`.
    pub fn add(&mut self, cause: DropCause, packets: u64) {
        let slot = &mut self.0[cause as usize];
        *slot = slot.saturating_add(packets);
    }

    /// The count for `cause`.
    #[must_use]
    pub const fn get(&self, cause: DropCause) -> u64 {
        self.0[cause as usize]
    }

    /// Sum over all causes.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Counts both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self(core::array::from_fn(|i| self.0[i].saturating_add(other.0[i])))
    }

    /// What came since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self(core::array::from_fn(|i| self.0[i].saturating_sub(earlier.0[i])))
    }
}

impl Serialize for DropCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_map(DropCause::ALL.iter().map(|cause| (cause.name(), self.get(*cause))))
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for DropCounts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return <[u64; DropCause::COUNT]>::deserialize(deserializer).map(Self);
        }
        let named = BTreeMap::<DropCause, u64>::deserialize(deserializer)?;
        let mut counts = Self::default();
        named.into_iter().for_each(|(cause, packets)| counts.add(cause, packets));
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_positions_agree() {
        for (position, cause) in DropCause::ALL.into_iter().enumerate() {
            let mut counts = DropCounts::default();
            counts.add(cause, 3);
            assert_eq!((counts.0[position], counts.total()), (3, 3), "{}", cause.name());
            assert_eq!(counts.plus(&counts).since(&counts), counts);
        }
    }
    #[test]
    fn json_names_the_causes() {
        let counts = DropCounts([1, 2, 3, 4, 5, 6]);
        let json = serde_json::to_string(&counts).unwrap();
        assert!(
            json.starts_with(r#"{"ring_full":1,"interface":2,"#) && json.ends_with(r#""link_down":6}"#),
            "{json}"
        );
        assert_eq!(serde_json::from_str::<DropCounts>(&json).unwrap(), counts);
        assert_eq!(serde_json::from_str::<DropCounts>(r#"{"interface":9}"#).unwrap().total(), 9);
        assert_eq!(postcard::to_allocvec(&counts).unwrap(), [1, 2, 3, 4, 5, 6]);
    }
}
