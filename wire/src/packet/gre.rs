//! GRE, RFC 2784 and 2890 (checksum, key, sequence number), NVGRE (RFC 7637), and the version 1 of PPTP (RFC 2637).

use core::ops::ControlFlow;

use super::Outcome;
use super::step::{Next, Step, ethertype};
use super::walk::Walk;

const CHECKSUM: u16 = 0x8000;
const ROUTING: u16 = 0x4000;
const KEY: u16 = 0x2000;
const SEQUENCE: u16 = 0x1000;
const ACKNOWLEDGMENT: u16 = 0x0080;
const VERSION_MASK: u16 = 0x0007;

/// Protocol types that are no EtherTypes of their own.
const ERSPAN_I_II: u16 = 0x88be;
const ERSPAN_III: u16 = 0x22eb;
const PPP: u16 = 0x880b;
const WCCP: u16 = 0x883e;
/// A tunnelled 802.11 frame; the low bits are the queue (Aruba).
const WLAN_FIRST: u16 = 0x8200;
const WLAN_LAST: u16 = 0x82ff;

pub(super) fn step(walk: &mut Walk<'_, '_>) -> Next {
    let &[f0, f1, p0, p1] = walk.take()?;
    let (flags, protocol) = (u16::from_be_bytes([f0, f1]), u16::from_be_bytes([p0, p1]));
    let version = flags & VERSION_MASK;
    if version > 1 {
        return ControlFlow::Break(Outcome::Malformed);
    }
    if flags & ROUTING != 0 {
        return ControlFlow::Break(Outcome::Unsupported);
    }
    let acknowledgment = if version == 1 { ACKNOWLEDGMENT } else { 0 };
    for optional in [CHECKSUM, KEY, SEQUENCE, acknowledgment] {
        if flags & optional != 0 {
            walk.take::<4>()?;
        }
    }
    match protocol {
        // PPTP sends bare acknowledgments too.
        _ if version == 1 && walk.rest.is_empty() => ControlFlow::Break(Outcome::Complete),
        PPP => ControlFlow::Continue(Step::Ppp),
        ERSPAN_I_II if flags & SEQUENCE == 0 => ControlFlow::Continue(Step::Ethernet),
        ERSPAN_I_II => ControlFlow::Continue(Step::Erspan2),
        ERSPAN_III => ControlFlow::Continue(Step::Erspan3),
        WCCP => wccp(walk),
        WLAN_FIRST..=WLAN_LAST => ControlFlow::Continue(Step::Ieee80211),
        // A keepalive carries nothing.
        0 => ControlFlow::Break(Outcome::Complete),
        _ => ethertype(protocol),
    }
}

/// WCCP version 2 puts a redirect header of four bytes before the IPv4 packet, version 1 does not.
fn wccp(walk: &mut Walk<'_, '_>) -> Next {
    if walk.rest.first().is_some_and(|first| first >> 4 != 4) {
        walk.take::<4>()?;
    }
    ControlFlow::Continue(Step::Ipv4)
}
