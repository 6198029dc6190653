//! Radiotap (radiotap.org): what the radio knew, before an 802.11 frame. Everything in it is little-endian.

use core::ops::ControlFlow;

use super::Outcome;
use super::ieee80211;
use super::step::Next;
use super::walk::Walk;

/// Bits of the first presence word: the two fields that come first, and "another presence word follows".
const PRESENT_TSFT: u32 = 1;
const PRESENT_FLAGS: u32 = 2;
const PRESENT_MORE: u32 = 1 << 31;
/// Bits of the flags field: the 802.11 header is padded to four bytes.
const FLAG_PADDED: u8 = 0x20;
/// Presence words looked at; real ones have up to six (one for each antenna and some).
const PRESENT_WORDS_MAX: usize = 16;

pub(super) fn step(walk: &mut Walk<'_, '_>) -> Next {
    let header = walk.rest;
    let &[version, _, l0, l1] = walk.take()?;
    let len = usize::from(u16::from_le_bytes([l0, l1]));
    let (fixed, present) = (size_of::<[u8; 4]>(), size_of::<u32>());
    if version != 0 || len < fixed + present {
        return ControlFlow::Break(Outcome::Malformed);
    }
    walk.skip(len - fixed)?;
    let padded = header.get(..len).and_then(flags).unwrap_or(0) & FLAG_PADDED != 0;
    ieee80211::frame(walk, padded)
}

/// The flags field, if present: first after the presence words, but for a timestamp aligned to eight bytes.
fn flags(header: &[u8]) -> Option<u8> {
    let words = header.get(4..)?.chunks_exact(4).take(PRESENT_WORDS_MAX);
    let mut words = words.map(|word| word.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte)));
    let first = words.next()?;
    if first & PRESENT_FLAGS == 0 {
        return None;
    }
    let mut fields = 8;
    let mut last = first;
    while last & PRESENT_MORE != 0 {
        last = words.next()?;
        fields += 4;
    }
    if first & PRESENT_TSFT != 0 {
        fields = usize::next_multiple_of(fields, 8) + 8;
    }
    header.get(fields).copied()
}
