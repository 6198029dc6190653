//! Small headers that only stand between others: tags of switches, MACsec, PIM registers, service function chaining.
//! All say what comes next and none carries a VLAN of the packet.

use core::ops::ControlFlow;

use super::Outcome;
use super::ethernet::type_or_length;
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

/// Cisco FabricPath: two bytes of tag between the addresses of switches and the frame of the hosts.
pub(super) fn fabric_path(walk: &mut Walk<'_, '_>) -> Next {
    walk.take::<2>()?;
    ControlFlow::Continue(Step::Ethernet)
}

/// MACsec, IEEE 802.1AE: a tag of six bytes, eight more with an explicit channel, then the type, unless encrypted.
pub(super) fn macsec(walk: &mut Walk<'_, '_>) -> Next {
    const ENCRYPTED_OR_CHANGED: u8 = 0x0c;
    const EXPLICIT_CHANNEL: u8 = 0x20;
    let &[control, _, _, _, _, _] = walk.take()?;
    if control & ENCRYPTED_OR_CHANGED != 0 {
        return ControlFlow::Break(Outcome::Unsupported);
    }
    if control & EXPLICIT_CHANNEL != 0 {
        walk.take::<8>()?;
    }
    let &[t0, t1] = walk.take()?;
    type_or_length(walk, u16::from_be_bytes([t0, t1]))
}

/// PIM, RFC 7761: a register message tunnels one multicast packet to the rendezvous point.
pub(super) fn pim(walk: &mut Walk<'_, '_>) -> Next {
    const VERSION_2_REGISTER: u8 = 0x21;
    const NULL_REGISTER: u8 = 0x40;
    let &[version_and_type, _, _, _] = walk.take()?;
    if version_and_type != VERSION_2_REGISTER {
        return ControlFlow::Break(Outcome::Unsupported);
    }
    // A null register has no packet inside, at most a dummy header.
    let &[flags, _, _, _] = walk.take()?;
    if flags & NULL_REGISTER != 0 {
        return ControlFlow::Break(Outcome::Complete);
    }
    ControlFlow::Continue(Step::Ip)
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
