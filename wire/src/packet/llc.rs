//! IEEE 802.2 LLC, and SNAP (RFC 1042) where it announces an EtherType.

use core::ops::ControlFlow;

use super::Outcome;
use super::step::{Next, Step, ethertype};
use super::walk::Walk;

/// Service access points: SNAP extension, and IP itself.
const SAP_SNAP: u8 = 0xaa;
const SAP_IP: u8 = 0x06;
/// Unnumbered information.
const CONTROL_UI: u8 = 0x03;
/// SNAP organisations whose protocol field is an EtherType: RFC 1042, and the bridge tunnel of IEEE 802.1H.
const OUI_RFC1042: [u8; 3] = [0, 0, 0];
const OUI_BRIDGE_TUNNEL: [u8; 3] = [0, 0, 0xf8];

pub(super) fn step(walk: &mut Walk<'_, '_>) -> Next {
    match *walk.take()? {
        [SAP_SNAP, SAP_SNAP, CONTROL_UI] => {
            let &[o0, o1, o2, t0, t1] = walk.take()?;
            match [o0, o1, o2] {
                OUI_RFC1042 | OUI_BRIDGE_TUNNEL => ethertype(u16::from_be_bytes([t0, t1])),
                _ => ControlFlow::Break(Outcome::Unsupported),
            }
        }
        [SAP_IP, SAP_IP, CONTROL_UI] => ControlFlow::Continue(Step::Ipv4),
        _ => ControlFlow::Break(Outcome::Unsupported),
    }
}
