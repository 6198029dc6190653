//! VXLAN, RFC 7348: an Ethernet frame behind eight bytes.

use core::ops::ControlFlow;

use super::Outcome;
use super::step::{Next, Step};
use super::walk::Walk;

/// Says that the network identifier is valid; every real packet has it. RFC 7348 wants the other flags ignored.
const FLAG_VNI: u8 = 0x08;

pub(super) fn step(walk: &mut Walk<'_, '_>) -> Next {
    let &[flags, _, _, _, _, _, _, _] = walk.take()?;
    if flags & FLAG_VNI == 0 {
        return ControlFlow::Break(Outcome::Complete);
    }
    ControlFlow::Continue(Step::Ethernet)
}
