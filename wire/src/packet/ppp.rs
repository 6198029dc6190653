//! PPP (RFC 1661) with or without the framing of RFC 1662, and Cisco HDLC, which shares link type 50 with it.

use core::ops::ControlFlow;

use super::Outcome;
use super::step::{Next, Step, ethertype};
use super::walk::Walk;

/// Address and control of RFC 1662.
const ALL_STATIONS: [u8; 2] = [0xff, 0x03];
/// Cisco HDLC: unicast and multicast.
const CISCO_UNICAST: [u8; 2] = [0x0f, 0x00];
const CISCO_MULTICAST: [u8; 2] = [0x8f, 0x00];

/// A whole PPP frame, or one of Cisco HDLC.
pub(super) fn framed(walk: &mut Walk<'_, '_>) -> Next {
    if let Some(&(CISCO_UNICAST | CISCO_MULTICAST)) = walk.rest.first_chunk() {
        let &[_, _, t0, t1] = walk.take()?;
        return ethertype(u16::from_be_bytes([t0, t1]));
    }
    step(walk)
}

pub(super) fn step(walk: &mut Walk<'_, '_>) -> Next {
    if walk.rest.first_chunk() == Some(&ALL_STATIONS) {
        walk.skip(ALL_STATIONS.len())?;
    }
    ControlFlow::Continue(match protocol(walk)? {
        0x0021 => Step::Ipv4,
        0x0057 => Step::Ipv6,
        0x0281 | 0x0283 => Step::Mpls,
        _ => return ControlFlow::Break(Outcome::Unsupported),
    })
}

/// The protocol field: two bytes, or one odd byte where compression was agreed.
fn protocol(walk: &mut Walk<'_, '_>) -> ControlFlow<Outcome, u16> {
    let &[high] = walk.take()?;
    if high & 1 != 0 {
        return ControlFlow::Continue(high.into());
    }
    let &[low] = walk.take()?;
    ControlFlow::Continue(u16::from_be_bytes([high, low]))
}
