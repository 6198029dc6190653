//! UDP, RFC 768, and the tunnels known by its ports.

use core::ops::ControlFlow;

use super::Outcome;
use super::step::{Next, udp_tunnel};
use super::walk::Walk;

/// Header length, bytes; the length field counts it.
const HEADER_LEN: usize = 8;

#[inline]
pub(super) fn step(walk: &mut Walk<'_, '_>) -> Next {
    walk.ports();
    let &[s0, s1, d0, d1, l0, l1, _, _] = walk.take()?;
    // 0 is a jumbogram (RFC 2675) or a packet caught before segmentation offload.
    match usize::from(u16::from_be_bytes([l0, l1])).checked_sub(HEADER_LEN) {
        Some(payload_len) => walk.limit(payload_len),
        None if [l0, l1] != [0, 0] => return ControlFlow::Break(Outcome::Malformed),
        None => {}
    }
    udp_tunnel(u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]))
}
