//! BSD loopback, LINKTYPE_NULL (address family in the byte order of the capturing host) and LINKTYPE_LOOP (big-endian).

use core::ops::ControlFlow;

use super::Outcome;
use super::step::{Next, Step};
use super::walk::Walk;

/// Address families are small numbers: a value above this was written in the other byte order.
const FAMILY_MAX: u32 = 0xffff;

pub(super) fn step(walk: &mut Walk<'_, '_>) -> Next {
    let written = u32::from_be_bytes(*walk.take()?);
    let family = if written > FAMILY_MAX { written.swap_bytes() } else { written };
    ControlFlow::Continue(match family {
        2 => Step::Ipv4,
        // Linux, NetBSD and OpenBSD, FreeBSD, macOS.
        10 | 24 | 28 | 30 => Step::Ipv6,
        _ => return ControlFlow::Break(Outcome::Unsupported),
    })
}
