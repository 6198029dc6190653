//! PPPoE sessions, RFC 2516. Discovery has no packets inside.

use core::ops::ControlFlow;

use super::Outcome;
use super::step::{Next, Step};
use super::walk::Walk;

/// Version 1, type 1.
const VERSION_AND_TYPE: u8 = 0x11;
/// The code of session data.
const CODE_SESSION: u8 = 0;

pub(super) fn step(walk: &mut Walk<'_, '_>) -> Next {
    let &[version_and_type, code, _, _, l0, l1] = walk.take()?;
    if version_and_type != VERSION_AND_TYPE {
        return ControlFlow::Break(Outcome::Malformed);
    }
    if code != CODE_SESSION {
        return ControlFlow::Break(Outcome::Unsupported);
    }
    walk.limit(u16::from_be_bytes([l0, l1]).into());
    ControlFlow::Continue(Step::Ppp)
}
