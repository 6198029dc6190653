//! Link-layer addresses and the parts of the segment they are seen in.

use hindcap_wire::index::MacEntry;
use hindcap_wire::net::MacAddr;

const EMPTY: u16 = u16::MAX;

/// A bounded table with open addressing; remembers the pair seen last.
#[derive(Debug)]
pub(super) struct Macs {
    entries: Vec<MacEntry>,
    capacity: usize,
    slots: Vec<u16>,
    seed: u64,
    complete: bool,
    last: (MacAddr, MacAddr, u32),
}

/// The pair that no packet sets: the part is none.
const NOTHING: (MacAddr, MacAddr, u32) = (MacAddr([0; 6]), MacAddr([0; 6]), u32::MAX);

impl Macs {
    pub(super) fn new(capacity: u32, seed: u64) -> Self {
        let capacity = capacity as usize;
        let slots = vec![EMPTY; capacity * 2];
        Self { entries: Vec::with_capacity(capacity), capacity, slots, seed, complete: true, last: NOTHING }
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.slots.fill(EMPTY);
        (self.complete, self.last) = (true, NOTHING);
    }

    pub(super) const fn bytes(&self) -> usize {
        self.capacity * (size_of::<MacEntry>() + 2 * size_of::<u16>())
    }

    pub(super) fn entries(&self) -> &[MacEntry] {
        &self.entries
    }

    /// Whether every address seen is in the table.
    pub(super) const fn complete(&self) -> bool {
        self.complete
    }

    #[inline]
    pub(super) fn observe(&mut self, pair: (MacAddr, MacAddr), part: u32) {
        let (one, other, last_part) = self.last;
        if last_part == part && ((one, other) == pair || (other, one) == pair) {
            return;
        }
        self.last = (pair.0, pair.1, part);
        self.note(pair.0, part);
        self.note(pair.1, part);
    }

    fn note(&mut self, mac: MacAddr, part: u32) {
        let [a, b, c, d, e, f] = mac.0;
        let hash =
            (u64::from_le_bytes([a, b, c, d, e, f, 0, 0]) ^ self.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let slots = self.slots.len();
        let mut slot = (((hash >> 32) * slots as u64) >> 32) as usize;
        loop {
            let number = self.slots[slot];
            if number == EMPTY {
                return self.add(slot, mac, part);
            }
            let entry = &mut self.entries[usize::from(number)];
            if entry.mac == mac {
                entry.parts |= 1 << part;
                return;
            }
            slot = if slot + 1 == slots { 0 } else { slot + 1 };
        }
    }

    fn add(&mut self, slot: usize, mac: MacAddr, part: u32) {
        if self.entries.len() == self.capacity {
            self.complete = false;
            return;
        }
        self.slots[slot] = self.entries.len() as u16;
        self.entries.push(MacEntry { mac, parts: 1 << part });
    }
}
