//! ERSPAN types II and III (draft-foschiano-erspan): a mirrored frame behind GRE. Type I has no header of its own.

use core::ops::ControlFlow;

use super::Outcome;
use super::step::{Next, Step};
use super::walk::Walk;

/// Version field of type II and type III.
const VERSION_II: u8 = 1;
const VERSION_III: u8 = 2;
/// Frame types of type III.
const FRAME_ETHERNET: u8 = 0;
const FRAME_IP: u8 = 2;

pub(super) fn type2(walk: &mut Walk<'_, '_>) -> Next {
    let &[version, _, _, _, _, _, _, _] = walk.take()?;
    if version >> 4 != VERSION_II {
        return ControlFlow::Break(Outcome::Malformed);
    }
    ControlFlow::Continue(Step::Ethernet)
}

pub(super) fn type3(walk: &mut Walk<'_, '_>) -> Next {
    let &[version, _, _, _, _, _, _, _, _, _, frame_type, flags] = walk.take()?;
    if version >> 4 != VERSION_III {
        return ControlFlow::Break(Outcome::Malformed);
    }
    // The platform-specific subheader.
    if flags & 1 != 0 {
        walk.take::<8>()?;
    }
    match frame_type >> 2 & 0x1f {
        FRAME_ETHERNET => ControlFlow::Continue(Step::Ethernet),
        FRAME_IP => ControlFlow::Continue(Step::Ip),
        _ => ControlFlow::Break(Outcome::Unsupported),
    }
}
