//! SCTP, RFC 9260: ports.

use core::ops::ControlFlow;

use super::Outcome;
use super::step::Next;
use super::walk::Walk;

/// Length of the common header, bytes.
const HEADER_LEN: usize = 12;

pub(super) fn step(walk: &mut Walk<'_, '_>) -> Next {
    walk.ports();
    walk.skip(HEADER_LEN)?;
    ControlFlow::Break(Outcome::Complete)
}
