//! Linux cooked captures, LINKTYPE_LINUX_SLL and LINKTYPE_LINUX_SLL2: what `any` and interfaces without link layer give.
//!
//! They have the sender's address only; the receiver's is reported as all zeros.

use core::ops::ControlFlow;

use super::Outcome;
use super::step::{Next, Step, ethertype};
use super::walk::Walk;
use crate::net::MacAddr;

/// ARPHRD_ values (Linux if_arp.h) whose protocol field is no EtherType.
const ARPHRD_IEEE80211: u16 = 801;
const ARPHRD_IEEE80211_RADIOTAP: u16 = 803;
const ARPHRD_NETLINK: u16 = 824;
/// Protocol values below the EtherTypes: a Novell frame without LLC, and LLC.
const ETH_P_802_2: u16 = 0x0004;

/// Version 1: packet type, ARPHRD, address length, address, protocol.
pub(super) fn version1(walk: &mut Walk<'_, '_>) -> Next {
    let &[_, _, h0, h1, l0, l1, a, b, c, d, e, f, _, _, p0, p1] = walk.take()?;
    sender(walk, u16::from_be_bytes([l0, l1]), [a, b, c, d, e, f]);
    inside(u16::from_be_bytes([h0, h1]), u16::from_be_bytes([p0, p1]))
}

/// Version 2: protocol, reserved, interface index, ARPHRD, packet type, address length, address.
pub(super) fn version2(walk: &mut Walk<'_, '_>) -> Next {
    let &[p0, p1, _, _, _, _, _, _, h0, h1, _, len, a, b, c, d, e, f, _, _] = walk.take()?;
    sender(walk, len.into(), [a, b, c, d, e, f]);
    inside(u16::from_be_bytes([h0, h1]), u16::from_be_bytes([p0, p1]))
}

fn sender(walk: &mut Walk<'_, '_>, len: u16, addr: [u8; 6]) {
    if usize::from(len) == addr.len() {
        walk.out.macs = Some((MacAddr(addr), MacAddr([0; 6])));
    }
}

fn inside(arphrd: u16, protocol: u16) -> Next {
    match (arphrd, protocol) {
        (ARPHRD_NETLINK, _) => ControlFlow::Break(Outcome::Unsupported),
        (ARPHRD_IEEE80211, _) => ControlFlow::Continue(Step::Ieee80211),
        (ARPHRD_IEEE80211_RADIOTAP, _) => ControlFlow::Continue(Step::Radiotap),
        (_, ETH_P_802_2) => ControlFlow::Continue(Step::Llc),
        _ => ethertype(protocol),
    }
}
