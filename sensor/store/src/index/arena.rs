//! Memory for postings: nodes of 16 bytes, chained, taken in order and never given back before the segment ends.

use hindcap_wire::index::postings::{Step, Tail};

/// No node.
pub(super) const NONE: u16 = u16::MAX;
const NODE_DATA: usize = 14;
/// Nodes that a chain of fewer than 128 bytes can have.
const NODES_BELOW_128: usize = (127 - INLINE) / NODE_DATA;
/// Token bytes inside the flow itself; most flows need no node.
pub(super) const INLINE: usize = 4;

#[derive(Clone, Copy, Debug)]
struct Node {
    data: [u8; NODE_DATA],
    next: u16,
}

/// The postings of one flow after its first page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    inline: [u8; INLINE],
    tail: Tail,
    head: u16,
    last: u16,
    /// Bytes used in the last node, or inline.
    fill: u8,
    /// Nodes taken, up to 255.
    nodes: u8,
}

impl Chain {
    pub(super) const fn after(page: u16) -> Self {
        Self { inline: [0; INLINE], tail: Tail::after(page), head: NONE, last: NONE, fill: 0, nodes: 0 }
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

    pub(super) const fn bytes(&self) -> usize {
        self.capacity * size_of::<Node>()
    }

    /// Adds `page` to `chain`; the number of token bytes that it took, `None` when it would take more than `spare` bytes
    /// or there is no node left. Then the chain is as before.
    pub(super) fn add(&mut self, chain: &mut Chain, page: u16, spare: u32) -> Option<u32> {
        let mut tail = chain.tail;
        match tail.step(page) {
            Step::Or(bits) => *self.last_byte(chain)? |= bits,
            Step::Push { bytes, len } => {
                // The length of the postings takes a byte more from 128 bytes on: in the ninth node.
                let place = if chain.last == NONE { INLINE } else { NODE_DATA };
                let new = usize::from(chain.fill) + usize::from(len) > place;
                let cost = u32::from(len) + u32::from(new && usize::from(chain.nodes) == NODES_BELOW_128);
                if cost > spare || (new && self.nodes.len() == self.capacity) {
                    return None;
                }
                if new || len > 1 {
                    bytes[..len.into()].iter().for_each(|byte| self.push(chain, *byte));
                } else {
                    chain.fill += 1;
                    *self.last_byte(chain)? = bytes[0];
                }
                chain.tail = tail;
                return Some(cost);
            }
        }
        chain.tail = tail;
        Some(0)
    }

    fn last_byte<'a>(&'a mut self, chain: &'a mut Chain) -> Option<&'a mut u8> {
        let at = usize::from(chain.fill).checked_sub(1)?;
        match self.nodes.get_mut(usize::from(chain.last)) {
            Some(node) => node.data.get_mut(at),
            None => chain.inline.get_mut(at),
        }
    }

    /// Appends one byte; there is room.
    fn push(&mut self, chain: &mut Chain, byte: u8) {
        let place = if chain.last == NONE { INLINE } else { NODE_DATA };
        if usize::from(chain.fill) == place {
            let new = self.nodes.len() as u16;
            self.nodes.push(Node { data: [0; NODE_DATA], next: NONE });
            match self.nodes.get_mut(usize::from(chain.last)) {
                Some(node) => node.next = new,
                None => chain.head = new,
            }
            (chain.last, chain.fill, chain.nodes) = (new, 0, chain.nodes.saturating_add(1));
        }
        match self.nodes.get_mut(usize::from(chain.last)) {
            Some(node) => node.data[usize::from(chain.fill)] = byte,
            None => chain.inline[usize::from(chain.fill)] = byte,
        }
        chain.fill += 1;
    }

    /// What lies where the next page of `chain` goes: of no meaning but to have it near.
    #[inline]
    pub(super) fn touch(&self, chain: &Chain) -> u32 {
        self.nodes.get(usize::from(chain.last)).map_or(chain.fill, |node| node.data[0]).into()
    }

    /// The token bytes of `chain`, in order, in pieces.
    pub(super) fn tokens<'a>(&'a self, chain: &'a Chain) -> impl Iterator<Item = &'a [u8]> + Clone {
        let inline = if chain.head == NONE { usize::from(chain.fill) } else { INLINE };
        let mut at = chain.head;
        let nodes = std::iter::from_fn(move || {
            let node = self.nodes.get(usize::from(at))?;
            let used = if at == chain.last { chain.fill.into() } else { NODE_DATA };
            at = node.next;
            Some(&node.data[..used])
        });
        std::iter::once(&chain.inline[..inline]).chain(nodes)
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
