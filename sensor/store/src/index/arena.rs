//! Memory for postings: nodes of 16 bytes, chained, taken in order and never given back before the segment ends.

use hindcap_wire::index::postings::{Step, Tail};

/// No node.
pub(super) const NONE: u16 = u16::MAX;
const NODE_DATA: usize = 14;
/// Token bytes inside the flow itself: the latest ones, so that the memory behind a node is seldom waited for.
pub(super) const INLINE: usize = 4;

#[derive(Clone, Copy, Debug)]
struct Node {
    data: [u8; NODE_DATA],
    next: u16,
}

/// The postings of one flow after its first page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    /// The last one to four bytes; those before, always a multiple of four, are in the nodes.
    inline: [u8; INLINE],
    tail: Tail,
    head: u16,
    last: u16,
    /// Token bytes so far.
    len: u16,
}

impl Chain {
    pub(super) const fn after(page: u16) -> Self {
        Self { inline: [0; INLINE], tail: Tail::after(page), head: NONE, last: NONE, len: 0 }
    }

    /// Bytes in the nodes and bytes inside.
    #[inline]
    const fn parts(&self) -> (usize, usize) {
        let len = self.len as usize;
        let nodes = len.saturating_sub(1) / INLINE * INLINE;
        (nodes, len - nodes)
    }
}

#[derive(Debug)]
pub(super) struct Arena {
    nodes: Vec<Node>,
    capacity: usize,
}

impl Arena {
    pub(super) fn new(capacity: u32) -> Self {
        Self { nodes: Vec::with_capacity(capacity as usize), capacity: capacity as usize }
    }

    pub(super) fn clear(&mut self) {
        self.nodes.clear();
    }

    /// As [`Arena::clear`], and lets the system have the memory of the nodes until they come.
    pub(super) fn rest(&mut self) {
        self.nodes = Vec::new();
        self.nodes.reserve_exact(self.capacity);
    }

    pub(super) const fn bytes(&self) -> usize {
        self.capacity * size_of::<Node>()
    }

    /// Adds `page` to `chain`; the number of token bytes that it took, `None` when it would take more than `spare` bytes
    /// or there is no node left. Then the chain is as before.
    pub(super) fn add(&mut self, chain: &mut Chain, page: u16, spare: u32) -> Option<u32> {
        let mut tail = chain.tail;
        let cost = match tail.step(page) {
            Step::Or(bits) => {
                let (_, inside) = chain.parts();
                *chain.inline.get_mut(inside.checked_sub(1)?)? |= bits;
                0
            }
            Step::Push { bytes, len } => {
                // The length of the postings takes a byte more from 128 bytes on.
                let longer = chain.len + u16::from(len);
                let cost = u32::from(len) + u32::from(chain.len < 128 && longer >= 128);
                let (in_nodes, inside) = chain.parts();
                let moves = inside + usize::from(len) > INLINE;
                if cost > spare || (moves && !self.takes_four_behind(in_nodes)) {
                    return None;
                }
                bytes[..len.into()].iter().for_each(|byte| self.push(chain, *byte));
                cost
            }
        };
        chain.tail = tail;
        Some(cost)
    }

    /// Whether four more bytes have room in a chain of so many.
    fn takes_four_behind(&self, in_nodes: usize) -> bool {
        let used = in_nodes % NODE_DATA;
        (1..=NODE_DATA - INLINE).contains(&used) || self.nodes.len() < self.capacity
    }

    /// Appends one byte; there is room.
    #[inline]
    fn push(&mut self, chain: &mut Chain, byte: u8) {
        let (in_nodes, inside) = chain.parts();
        let place = inside % INLINE;
        if inside == INLINE {
            self.move_out(chain, in_nodes);
        }
        chain.inline[place] = byte;
        chain.len += 1;
    }

    /// Moves the bytes inside into the nodes, which have so many.
    #[inline(never)]
    fn move_out(&mut self, chain: &mut Chain, in_nodes: usize) {
        for (at, byte) in (in_nodes..).zip(chain.inline) {
            if at % NODE_DATA == 0 {
                let new = self.nodes.len() as u16;
                self.nodes.push(Node { data: [0; NODE_DATA], next: NONE });
                match self.nodes.get_mut(usize::from(chain.last)) {
                    Some(node) => node.next = new,
                    None => chain.head = new,
                }
                chain.last = new;
            }
            if let Some(node) = self.nodes.get_mut(usize::from(chain.last)) {
                node.data[at % NODE_DATA] = byte;
            }
        }
    }

    /// The token bytes of `chain`, in order, in pieces.
    pub(super) fn tokens<'a>(&'a self, chain: &'a Chain) -> impl Iterator<Item = &'a [u8]> + Clone {
        let (mut left, inside) = chain.parts();
        let mut at = chain.head;
        let nodes = std::iter::from_fn(move || {
            let node = self.nodes.get(usize::from(at)).filter(|_| left > 0)?;
            let used = left.min(NODE_DATA);
            (at, left) = (node.next, left - used);
            Some(&node.data[..used])
        });
        nodes.chain(std::iter::once(&chain.inline[..inside]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hindcap_wire::index::Postings;

    #[test]
    fn chains_grow_side_by_side_and_stop_when_full() {
        let mut arena = Arena::new(8);
        let mut chains = [Chain::after(0), Chain::after(0)];
        let mut pages = [vec![0_u16], vec![0]];
        for page in (1..32_000).step_by(131) {
            for (chain, pages) in chains.iter_mut().zip(&mut pages) {
                if arena.add(chain, page, 3).is_some() {
                    pages.push(page);
                }
            }
        }
        assert_eq!(arena.nodes.len(), 8);
        for (chain, pages) in chains.iter().zip(&pages) {
            let tokens: Vec<u8> = arena.tokens(chain).flatten().copied().collect();
            let read: Vec<u16> = Postings::new(0, &tokens, 32_768, false).collect();
            assert_eq!(&read, pages);
            assert!(pages.len() > 25, "{}", pages.len());
        }
    }

    #[test]
    fn no_byte_is_taken_beyond_what_is_spare() {
        let mut arena = Arena::new(8);
        let mut chain = Chain::after(0);
        assert_eq!(arena.add(&mut chain, 9, 0), None);
        assert_eq!(arena.add(&mut chain, 1, 1), Some(1));
        assert_eq!(arena.add(&mut chain, 3, 0), Some(0), "a bit in the open mask is free");
        assert_eq!(arena.add(&mut chain, 5_000, 2), None);
        let tokens: Vec<u8> = arena.tokens(&chain).flatten().copied().collect();
        assert_eq!(Postings::new(0, &tokens, 4096, false).collect::<Vec<_>>(), [0, 1, 3]);
    }
}
