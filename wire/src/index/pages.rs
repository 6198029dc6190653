//! Sets of pages of one segment: what a plan names and a reader reads.

use alloc::vec;
use alloc::vec::Vec;

use crate::limits::{PAGE_BYTES, SEGMENT_BYTES_MAX};

/// Most pages a segment can have.
const PAGES_MAX: u32 = SEGMENT_BYTES_MAX / PAGE_BYTES;

/// A set of page numbers; grows to the highest page put in, at most 4 KiB of bits.
#[derive(Clone, Debug, Default)]
pub struct PageSet {
    words: Vec<u64>,
}

impl PageSet {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { words: Vec::new() }
    }

    /// The pages `[start, end)`.
    #[must_use]
    pub fn range(start: u32, end: u32) -> Self {
        let mut set = Self::new();
        set.insert_range(start, end);
        set
    }

    fn reach(&mut self, words: usize) {
        if self.words.len() < words {
            self.words.resize(words, 0);
        }
    }

    /// Puts `page` in.
    pub fn insert(&mut self, page: u16) {
        let word = usize::from(page) / 64;
        self.reach(word + 1);
        self.words[word] |= 1 << (page % 64);
    }

    /// Puts the pages `[start, end)` in; `end` is cut to the largest possible segment.
    pub fn insert_range(&mut self, start: u32, end: u32) {
        for page in start..end.min(PAGES_MAX) {
            self.insert(page as u16);
        }
    }

    /// Takes out everything; keeps the memory.
    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// Takes out the pages from `end` on.
    pub fn truncate(&mut self, end: u32) {
        self.words.truncate((end as usize).div_ceil(64));
        if let Some(last) = self.words.get_mut(end as usize / 64) {
            *last &= (1 << (end % 64)) - 1;
        }
    }

    /// Whether `page` is in.
    #[must_use]
    pub fn contains(&self, page: u16) -> bool {
        self.words.get(usize::from(page) / 64).is_some_and(|word| word >> (page % 64) & 1 == 1)
    }

    /// Puts in what is in `other`.
    pub fn union(&mut self, other: &Self) {
        self.reach(other.words.len());
        for (own, word) in self.words.iter_mut().zip(&other.words) {
            *own |= word;
        }
    }

    /// Keeps what is in `other` too.
    pub fn intersect(&mut self, other: &Self) {
        self.words.truncate(other.words.len());
        for (own, word) in self.words.iter_mut().zip(&other.words) {
            *own &= word;
        }
    }

    /// Number of pages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// The pages, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.words.iter().enumerate().flat_map(|(at, word)| {
            let mut rest = *word;
            core::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros())?;
                rest &= rest - 1;
                Some((at * 64) as u16 + bit as u16)
            })
        })
    }

    /// The pages as runs `[start, end)`, ascending, with gaps between them.
    pub fn runs(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let mut pages = self.iter().map(u32::from).peekable();
        core::iter::from_fn(move || {
            let start = pages.next()?;
            let mut end = start + 1;
            while pages.next_if_eq(&end).is_some() {
                end += 1;
            }
            Some((start, end))
        })
    }

    /// The bits as bytes, lowest page first, for a segment of `pages`.
    pub(super) fn to_bytes(&self, pages: u32) -> Vec<u8> {
        let mut bytes = vec![0; (pages as usize).div_ceil(8)];
        for page in self.iter().filter(|page| u32::from(*page) < pages) {
            bytes[usize::from(page / 8)] |= 1 << (page % 8);
        }
        bytes
    }

    /// The set behind [`PageSet::to_bytes`].
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let mut set = Self::new();
        for (at, byte) in bytes.iter().enumerate().take(PAGES_MAX as usize / 8) {
            (0..8).filter(|bit| byte >> bit & 1 == 1).for_each(|bit| set.insert((at * 8 + bit) as u16));
        }
        set
    }
}

impl PartialEq for PageSet {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for PageSet {}

impl FromIterator<u16> for PageSet {
    fn from_iter<I: IntoIterator<Item = u16>>(pages: I) -> Self {
        let mut set = Self::new();
        pages.into_iter().for_each(|page| set.insert(page));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_join_across_words_and_bytes_round_trip() {
        let mut set = PageSet::range(62, 66);
        set.insert(130);
        assert_eq!(set.runs().collect::<Vec<_>>(), [(62, 66), (130, 131)]);
        assert_eq!(
            (set.len(), set.contains(65), set.contains(66), set.contains(60_000)),
            (5, true, false, false)
        );
        assert_eq!(PageSet::from_bytes(&set.to_bytes(131)).iter().collect::<Vec<_>>(), [62, 63, 64, 65, 130]);
        set.truncate(65);
        assert_eq!(set.iter().collect::<Vec<_>>(), [62, 63, 64]);
        set.truncate(64);
        set.intersect(&PageSet::range(63, 900));
        assert_eq!(set.iter().collect::<Vec<_>>(), [63]);
    }
}
