//! MPLS label stacks, RFC 3032, and what is guessed below them.
//!
//! Nothing in the packet says what a label carries. The first nibble decides, as everywhere (RFC 4928): 4 and 6 are IP,
//! 0 is a pseudowire control word (RFC 4385) before an Ethernet frame, 1 an associated channel. Anything else is taken
//! for Ethernet without control word; a frame to a MAC address that begins with 4 or 6 is told from IP by a header
//! that does not fit.

use core::ops::ControlFlow;

use super::Outcome;
use super::ipv4;
use super::step::{Next, Step};
use super::walk::Walk;

/// Marks the last label.
const BOTTOM_OF_STACK: u8 = 0x01;

/// One label.
pub(super) fn step(walk: &mut Walk<'_, '_>) -> Next {
    let &[_, _, label_and_bottom, _] = walk.take()?;
    if label_and_bottom & BOTTOM_OF_STACK == 0 {
        return ControlFlow::Continue(Step::Mpls);
    }
    let Some(&first) = walk.rest.first() else { return ControlFlow::Break(walk.ends_early()) };
    ControlFlow::Continue(match first >> 4 {
        4 if ipv4::plausible(walk.rest) => Step::Ipv4,
        6 => Step::Ipv6,
        0 => {
            walk.take::<4>()?;
            Step::Ethernet
        }
        1 => return ControlFlow::Break(Outcome::Unsupported),
        _ => Step::Ethernet,
    })
}
