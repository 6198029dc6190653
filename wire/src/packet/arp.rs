//! ARP (RFC 826) and RARP (RFC 903) for IPv4: sender and target become one layer with `proto` 0.

use core::ops::ControlFlow;

use super::Outcome;
use super::ipv4::mapped;
use super::step::Next;
use super::walk::Walk;

/// EtherType of the addresses asked about.
const PROTOCOL_IPV4: [u8; 2] = [0x08, 0x00];

pub(super) fn step(walk: &mut Walk<'_, '_>) -> Next {
    let &[_, _, p0, p1, hardware_len, protocol_len, _, _] = walk.take()?;
    if [p0, p1] != PROTOCOL_IPV4 {
        return ControlFlow::Break(Outcome::Unsupported);
    }
    if protocol_len != 4 {
        return ControlFlow::Break(Outcome::Malformed);
    }
    walk.skip(hardware_len.into())?;
    let sender = *walk.take::<4>()?;
    walk.skip(hardware_len.into())?;
    let target = *walk.take::<4>()?;
    walk.layer((mapped(sender), mapped(target)), (4, 0), None)?;
    ControlFlow::Break(Outcome::Complete)
}
