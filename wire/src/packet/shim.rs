//! Small tags of switches between the addresses and the type of a frame, and service function chaining: all say what
//! comes next and none carries a VLAN of the packet.

use core::ops::ControlFlow;

use super::Outcome;
use super::step::{Next, Step, ethertype};
use super::walk::Walk;

/// IEEE 802.1BR E-TAG: six bytes and a type.
pub(super) fn e_tag(walk: &mut Walk<'_, '_>) -> Next {
    let &[_, _, _, _, _, _, t0, t1] = walk.take()?;
    ethertype(u16::from_be_bytes([t0, t1]))
}

/// Cisco VN-Tag: four bytes and a type.
pub(super) fn vn_tag(walk: &mut Walk<'_, '_>) -> Next {
    let &[_, _, _, _, t0, t1] = walk.take()?;
    ethertype(u16::from_be_bytes([t0, t1]))
}

/// IEEE 802.1ah I-TAG (provider backbone bridges): four bytes, then the customer's frame.
pub(super) fn i_tag(walk: &mut Walk<'_, '_>) -> Next {
    walk.take::<4>()?;
    ControlFlow::Continue(Step::Ethernet)
}

/// Network service header, RFC 8300: a length in words of four bytes, which counts the header, and a next protocol.
pub(super) fn nsh(walk: &mut Walk<'_, '_>) -> Next {
    let &[_, len, _, next_protocol] = walk.take()?;
    let Some(rest) = (usize::from(len & 0x3f) * 4).checked_sub(4) else {
        return ControlFlow::Break(Outcome::Malformed);
    };
    walk.skip(rest)?;
    ControlFlow::Continue(match next_protocol {
        1 => Step::Ipv4,
        2 => Step::Ipv6,
        3 => Step::Ethernet,
        4 => Step::Nsh,
        5 => Step::Mpls,
        _ => return ControlFlow::Break(Outcome::Unsupported),
    })
}
