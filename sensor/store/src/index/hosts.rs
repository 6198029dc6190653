//! Hosts of one IP version, numbered in the order in which they are first seen.

use prefetch_index::prefetch_index;

/// An empty slot.
const EMPTY: u16 = u16::MAX;

/// A bounded set of addresses of `N` bytes with open addressing; at most half of the slots are taken.
#[derive(Debug)]
pub(super) struct Hosts<const N: usize> {
    addrs: Vec<[u8; N]>,
    capacity: usize,
    slots: Vec<u16>,
}

impl<const N: usize> Hosts<N> {
    pub(super) fn new(capacity: u32) -> Self {
        let capacity = capacity as usize;
        Self { addrs: Vec::with_capacity(capacity), capacity, slots: vec![EMPTY; capacity * 2] }
    }

    pub(super) fn clear(&mut self) {
        self.addrs.clear();
        self.slots.fill(EMPTY);
    }

    pub(super) const fn bytes(&self) -> usize {
        self.capacity * (N + 2 * size_of::<u16>())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = [u8; N]> + '_ {
        self.addrs.iter().copied()
    }

    /// Hosts so far.
    pub(super) fn len(&self) -> usize {
        self.addrs.len()
    }

    /// Hosts that may still come.
    pub(super) fn room(&self) -> usize {
        self.capacity - self.addrs.len()
    }

    #[inline]
    pub(super) fn is(&self, number: u16, addr: &[u8; N]) -> bool {
        self.addrs.get(usize::from(number)).is_some_and(|own| own == addr)
    }

    pub(super) fn addr(&self, number: u16) -> Option<&[u8; N]> {
        self.addrs.get(usize::from(number))
    }

    /// Where the search for a hash begins.
    #[inline]
    fn home(&self, hash: u64) -> usize {
        (((hash >> 32) * self.slots.len() as u64) >> 32) as usize
    }

    /// Has the memory fetch what a search for `hash` will look at first.
    #[inline]
    pub(super) fn fetch(&self, hash: u64) {
        prefetch_index(&self.slots, self.home(hash));
    }

    /// The number of `addr`, whose seeded hash is `hash`: `Ok` when it is known, else `Err` with the slot for
    /// [`Hosts::add`], `Err(None)` when there is no room.
    pub(super) fn find(&self, addr: &[u8; N], hash: u64) -> Result<u16, Option<usize>> {
        let slots = self.slots.len();
        let mut slot = self.home(hash);
        loop {
            match self.slots[slot] {
                EMPTY => return Err((self.addrs.len() < self.capacity).then_some(slot)),
                number if self.addrs[usize::from(number)] == *addr => return Ok(number),
                _ => slot = if slot + 1 == slots { 0 } else { slot + 1 },
            }
        }
    }

    /// Puts `addr` into the slot that [`Hosts::find`] gave; its number.
    pub(super) fn add(&mut self, slot: usize, addr: &[u8; N]) -> u16 {
        let number = self.addrs.len() as u16;
        self.addrs.push(*addr);
        self.slots[slot] = number;
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_the_order_of_arrival_whatever_the_hash() {
        for mixer in [0_u64, u64::MAX, 0x9e37_79b9_7f4a_7c15] {
            let mut hosts = Hosts::<4>::new(100);
            for n in 0..120_u32 {
                let hash = u64::from(n).wrapping_mul(mixer);
                match hosts.find(&n.to_be_bytes(), hash) {
                    Err(Some(slot)) => assert_eq!(u32::from(hosts.add(slot, &n.to_be_bytes())), n),
                    Err(None) => assert!(n >= 100),
                    Ok(_) => panic!("{n} was not added before"),
                }
                assert_eq!(hosts.find(&n.to_be_bytes(), hash).ok(), (n < 100).then_some(n as u16));
            }
            hosts.clear();
            assert!(hosts.find(&7_u32.to_be_bytes(), 7_u64.wrapping_mul(mixer)).is_err());
        }
    }
}
