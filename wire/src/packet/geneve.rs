//! GENEVE, RFC 8926: options, then whatever an EtherType names.

use core::ops::ControlFlow;

use super::Outcome;
use super::step::{Next, ethertype};
use super::walk::Walk;

/// Control packets carry no payload for anybody but the tunnel's ends.
const FLAG_CONTROL: u8 = 0x80;

pub(super) fn step(walk: &mut Walk<'_, '_>) -> Next {
    let &[version_and_len, flags, p0, p1, _, _, _, _] = walk.take()?;
    if version_and_len >> 6 != 0 || flags & FLAG_CONTROL != 0 {
        return ControlFlow::Break(Outcome::Complete);
    }
    walk.skip(usize::from(version_and_len & 0x3f) * 4)?;
    ethertype(u16::from_be_bytes([p0, p1]))
}
