//! The pages of one flow, in a form that grows byte by byte while the flow is seen.
//!
//! The first page stands alone; after it come tokens, each relative to a base, at first the first page:
//!
//! | bytes | meaning |
//! |---|---|
//! | 0x80..=0xFF | mask: bit *i* means page base + 1 + *i* (*i* in 0..7); base += 7 |
//! | 0x00..=0x77 *v* | page base + 8 + *v*; base = that page |
//! | 0x78..=0x7E *v*, *w* | page base + 128 + (*v* - 0x78) * 256 + *w*; base = that page |
//! | 0x7F, u16 *d* | page base + *d*; base = that page |
//!
//! A flow in every page costs one byte for seven pages, a flow in one page nothing. Only the last mask may still change.

use super::PageSet;

/// Longest token.
pub const TOKEN_BYTES_MAX: usize = 3;
/// Pages one mask covers.
const MASK_PAGES: u16 = 7;

/// Where a writer of postings stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// The base of the next token, or of the mask that is still open.
    pub base: u16,
    /// Whether the last byte is a mask that may take more pages.
    pub mask_open: bool,
}

/// What must be done with the token bytes to add a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Or these bits into the last byte.
    Or(u8),
    /// Append the first `len` bytes.
    Push {
        /// The token.
        bytes: [u8; TOKEN_BYTES_MAX],
        /// Its length, 1..=3.
        len: u8,
    },
}

impl Tail {
    /// A writer after the first page.
    #[must_use]
    pub const fn after(first_page: u16) -> Self {
        Self { base: first_page, mask_open: false }
    }

    /// The step that adds `page`, which must be above every page added before.
    #[must_use]
    pub fn step(&mut self, page: u16) -> Step {
        let mut distance = page - self.base;
        if self.mask_open {
            if distance <= MASK_PAGES {
                return Step::Or(1 << (distance - 1));
            }
            self.base += MASK_PAGES;
            distance -= MASK_PAGES;
        }
        self.mask_open = distance <= MASK_PAGES;
        if self.mask_open {
            return Step::Push { bytes: [0x80 | 1 << (distance - 1), 0, 0], len: 1 };
        }
        self.base = page;
        let [low, high] = distance.to_le_bytes();
        match distance {
            0..128 => Step::Push { bytes: [low - 8, 0, 0], len: 1 },
            128..1920 => {
                let [low, high] = (distance - 128).to_le_bytes();
                Step::Push { bytes: [0x78 + high, low, 0], len: 2 }
            }
            _ => Step::Push { bytes: [0x7f, low, high], len: 3 },
        }
    }
}

/// Reads the pages of one flow, ascending. Bytes that lead above the last possible page end the iteration.
#[derive(Clone, Debug)]
pub struct Postings<'a> {
    tokens: &'a [u8],
    base: u32,
    mask: u8,
    /// One past the last page of the segment.
    end: u32,
    /// The first page, until it is given out.
    first: Option<u16>,
    /// From here on every page counts (the memory for postings was full), `end` if none.
    open_from: u32,
}

impl<'a> Postings<'a> {
    /// The pages `first_page` and those of `tokens`, in a segment of `pages`; `open_end` adds every page after the last.
    #[must_use]
    pub fn new(first_page: u16, tokens: &'a [u8], pages: u32, open_end: bool) -> Self {
        let mut postings = Self {
            tokens,
            base: first_page.into(),
            mask: 0,
            end: pages,
            first: Some(first_page),
            open_from: pages,
        };
        if open_end {
            let last = postings.clone().last().unwrap_or(first_page);
            postings.open_from = u32::from(last) + 1;
        }
        postings
    }

    /// Whether the tokens are whole and stay inside the segment.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let mut walk = self.clone();
        walk.open_from = walk.end;
        walk.by_ref().last().is_some() && walk.tokens.is_empty() && walk.mask == 0
    }

    /// Puts the pages into `set`.
    pub fn add_to(self, set: &mut PageSet) {
        let (from, end) = (self.open_from, self.end);
        let mut closed = self;
        closed.open_from = end;
        closed.for_each(|page| set.insert(page));
        set.insert_range(from, end);
    }

    fn token(&mut self) -> Option<()> {
        let (&head, mut rest) = self.tokens.split_first()?;
        let distance = match head {
            0x80.. => {
                self.mask = head & 0x7f;
                0
            }
            0..0x78 => 8 + u32::from(head),
            0x78..0x7f => {
                let (&low, tail) = rest.split_first()?;
                rest = tail;
                128 + (u32::from(head) - 0x78) * 256 + u32::from(low)
            }
            0x7f => {
                let (bytes, tail) = rest.split_first_chunk::<2>()?;
                rest = tail;
                u16::from_le_bytes(*bytes).into()
            }
        };
        let base = self.base + distance;
        if base >= self.end || (distance == 0 && self.mask == 0) {
            return None;
        }
        (self.tokens, self.base) = (rest, base);
        Some(())
    }
}

impl Iterator for Postings<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        if let Some(first) = self.first.take() {
            return (u32::from(first) < self.end).then_some(first);
        }
        loop {
            if self.mask != 0 {
                let bit = self.mask.trailing_zeros();
                let page = self.base + 1 + bit;
                if page >= self.end {
                    return None;
                }
                self.mask &= self.mask - 1;
                if self.mask == 0 {
                    self.base += u32::from(MASK_PAGES);
                }
                return Some(page as u16);
            }
            if self.tokens.is_empty() {
                let page = self.open_from;
                self.open_from += 1;
                return (page < self.end).then_some(page as u16);
            }
            let masked = self.tokens[0] >= 0x80;
            self.token()?;
            if !masked {
                return Some(self.base as u16);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn write(pages: &[u16]) -> Vec<u8> {
        let (mut tail, mut tokens) = (Tail::after(pages[0]), Vec::new());
        for page in &pages[1..] {
            match tail.step(*page) {
                Step::Or(bits) => *tokens.last_mut().unwrap() |= bits,
                Step::Push { bytes, len } => tokens.extend_from_slice(&bytes[..len.into()]),
            }
        }
        tokens
    }

    fn check(pages: &[u16], end: u32) -> usize {
        let tokens = write(pages);
        let postings = Postings::new(pages[0], &tokens, end, false);
        assert!(postings.is_sound());
        assert_eq!(postings.clone().collect::<Vec<_>>(), pages);
        let mut set = PageSet::new();
        postings.add_to(&mut set);
        assert_eq!(set.iter().collect::<Vec<_>>(), pages);
        tokens.len()
    }

    #[test]
    fn every_distance_round_trips() {
        for distance in (1..2_000).chain([9_999, 16_512, 32_760]) {
            check(&[3, 3 + distance], 32_768);
            check(&[0, 2, 2 + distance, 4 + distance], 32_768);
        }
    }

    #[test]
    fn dense_flows_cost_a_byte_for_seven_pages() {
        assert_eq!(check(&(0..4096).collect::<Vec<_>>(), 4096), 585);
        assert_eq!(check(&[4095], 4096), 0);
        assert!(check(&(0..4096).step_by(2).collect::<Vec<_>>(), 4096) <= 586);
        assert_eq!(check(&(0..4096).step_by(100).collect::<Vec<_>>(), 4096), 40);
    }

    #[test]
    fn random_sets_round_trip() {
        let mut state = 1_u64;
        let mut random = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state >> 33
        };
        for _ in 0..500 {
            let one_in = 1 + random() % 300;
            let pages: Vec<u16> = (0..4096).filter(|_| random() % one_in == 0).collect();
            if !pages.is_empty() {
                check(&pages, 4096);
            }
        }
    }

    #[test]
    fn an_open_end_takes_every_page_after_the_last() {
        let tokens = write(&[5, 7, 90]);
        let postings = Postings::new(5, &tokens, 93, true);
        assert_eq!(postings.collect::<Vec<_>>(), [5, 7, 90, 91, 92]);
    }

    #[test]
    fn bytes_that_make_no_sense_end_the_iteration() {
        for tokens in [&[0x80_u8][..], &[0x7f, 1], &[0x78], &[0x7f, 0, 0], &[0x77, 0x77]] {
            let postings = Postings::new(0, tokens, 100, false);
            assert!(!postings.is_sound(), "{tokens:?}");
            assert!(postings.take(200).count() < 10);
        }
        assert!(!Postings::new(100, &[], 100, false).is_sound());
    }
}
