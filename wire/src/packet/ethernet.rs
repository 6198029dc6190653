//! Ethernet II and IEEE 802.3 frames: two addresses and a type or length.

use core::ops::ControlFlow;

use super::step::{Next, Step, behind_ethertype};
use super::vlan;
use super::walk::Walk;
use crate::net::MacAddr;

/// Largest value that is a length (IEEE 802.3); types start at 0x0600.
const LENGTH_MAX: u16 = 1500;

/// The EtherType of IEEE 802.1Q.
const TAGGED: u16 = 0x8100;

/// The frame that was on the cable.
#[inline]
pub(super) fn outermost(walk: &mut Walk<'_, '_>) -> Next {
    let &[d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = walk.take()?;
    walk.out.macs = Some((MacAddr([s0, s1, s2, s3, s4, s5]), MacAddr([d0, d1, d2, d3, d4, d5])));
    match u16::from_be_bytes([t0, t1]) {
        // The first tag at once, too; more of them go through the loop, which bounds them.
        TAGGED => vlan::step(walk),
        field => type_or_length(walk, field),
    }
}

/// A frame inside a tunnel: outer tags are no longer in force.
pub(super) fn step(walk: &mut Walk<'_, '_>) -> Next {
    let &[_, _, _, _, _, _, _, _, _, _, _, _, t0, t1] = walk.take()?;
    walk.vlan = None;
    walk.inner = true;
    type_or_length(walk, u16::from_be_bytes([t0, t1]))
}

/// Goes on behind a field that is an EtherType or the length of an LLC frame.
#[inline]
pub(super) fn type_or_length(walk: &mut Walk<'_, '_>, field: u16) -> Next {
    if field > LENGTH_MAX {
        return behind_ethertype(walk, field);
    }
    walk.limit(field.into());
    ControlFlow::Continue(Step::Llc)
}
