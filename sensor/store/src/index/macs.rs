//! Link-layer addresses and the parts of the segment they are seen in.

use hindcap_wire::index::MacEntry;
use hindcap_wire::net::MacAddr;

const EMPTY: u16 = u16::MAX;

/// Pairs that are remembered.
const RECENT: usize = 256;

/// A bounded table with open addressing; remembers pairs seen lately, which need no second look.
#[derive(Debug)]
pub(super) struct Macs {
    entries: Vec<MacEntry>,
    capacity: usize,
    slots: Vec<u16>,
    seed: u64,
    complete: bool,
    /// By a hash of the frame's first 12 bytes: these, and the part.
    recent: Vec<[u64; 2]>,
}

/// What no packet leaves: the part is none.
const NOTHING: [u64; 2] = [u64::MAX; 2];

impl Macs {
    pub(super) fn new(capacity: u32, seed: u64) -> Self {
        let capacity = capacity as usize;
        let slots = vec![EMPTY; capacity * 2];
        let (entries, recent) = (Vec::with_capacity(capacity), vec![NOTHING; RECENT]);
        Self { entries, capacity, slots, seed, complete: true, recent }
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.slots.fill(EMPTY);
        self.complete = true;
        self.recent.fill(NOTHING);
    }

    pub(super) const fn bytes(&self) -> usize {
        self.capacity * (size_of::<MacEntry>() + 2 * size_of::<u16>()) + RECENT * size_of::<[u64; 2]>()
    }

    pub(super) fn entries(&self) -> &[MacEntry] {
        &self.entries
    }

    /// Whether every address seen is in the table.
    pub(super) const fn complete(&self) -> bool {
        self.complete
    }

    /// Takes note of the two addresses at the front of a frame.
    #[inline]
    pub(super) fn observe_frame(&mut self, pair: &[u8; 12], part: u32) {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *pair;
        let front = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        let words = [front, u64::from(u32::from_le_bytes([i, j, k, l])) | u64::from(part) << 32];
        let hash = (front ^ words[1].rotate_left(29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let recent = &mut self.recent[(hash >> 56) as usize % RECENT];
        if *recent != words {
            *recent = words;
            self.note(MacAddr([g, h, i, j, k, l]), part);
            self.note(MacAddr([a, b, c, d, e, f]), part);
        }
    }

    /// Takes note of a source and a destination.
    pub(super) fn observe(&mut self, (source, destination): (MacAddr, MacAddr), part: u32) {
        self.note(source, part);
        self.note(destination, part);
    }

    #[inline(never)]
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
