//! TCP, RFC 9293: ports and flags.

use core::ops::ControlFlow;

use super::Outcome;
use super::step::Next;
use super::walk::Walk;

/// Shortest header, bytes.
const HEADER_MIN: usize = 20;

#[inline]
pub(super) fn step(walk: &mut Walk<'_, '_>) -> Next {
    let Some(&[s0, s1, d0, d1, _, _, _, _, _, _, _, _, offset, flags]) = walk.rest.first_chunk() else {
        walk.ports();
        return ControlFlow::Break(walk.ends_early());
    };
    if let Some(layer) = walk.current() {
        layer.tuple.src_port = u16::from_be_bytes([s0, s1]);
        layer.tuple.dst_port = u16::from_be_bytes([d0, d1]);
        layer.tcp_flags = flags;
    }
    let header_len = usize::from(offset >> 4) * 4;
    if header_len < HEADER_MIN {
        return ControlFlow::Break(Outcome::Malformed);
    }
    walk.skip(header_len)?;
    ControlFlow::Break(Outcome::Complete)
}
