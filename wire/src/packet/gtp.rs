//! GTP-U version 1 (3GPP TS 29.281): the packets of mobile subscribers.

use core::ops::ControlFlow;

use super::Outcome;
use super::step::{Next, Step};
use super::walk::Walk;

/// Version 1, protocol type GTP, spare bit 0; the low bits are the flags below.
const VERSION_AND_TYPE: u8 = 0x30;
const FLAGS_MASK: u8 = 0x07;
const FLAG_EXTENSION: u8 = 0x04;
/// Message type of user data.
const G_PDU: u8 = 0xff;

pub(super) fn step(walk: &mut Walk<'_, '_>) -> Next {
    let &[first, message, l0, l1, _, _, _, _] = walk.take()?;
    if first & !FLAGS_MASK != VERSION_AND_TYPE || message != G_PDU {
        return ControlFlow::Break(Outcome::Complete);
    }
    walk.limit(u16::from_be_bytes([l0, l1]).into());
    if first & FLAGS_MASK != 0 {
        let &[_, _, _, next_extension] = walk.take()?;
        if first & FLAG_EXTENSION != 0 && next_extension != 0 {
            return ControlFlow::Continue(Step::GtpExtension);
        }
    }
    inside(walk)
}

/// One extension header: its length in words of four bytes first, the next type last.
pub(super) fn extension(walk: &mut Walk<'_, '_>) -> Next {
    let Some(&words) = walk.rest.first() else { return ControlFlow::Break(walk.ends_early()) };
    let Some(content) = (usize::from(words) * 4).checked_sub(1) else {
        return ControlFlow::Break(Outcome::Malformed);
    };
    walk.skip(content)?;
    match *walk.take()? {
        [0] => inside(walk),
        [_] => ControlFlow::Continue(Step::GtpExtension),
    }
}

/// User data may be Ethernet, PPP or unstructured, which only the signalling tells: IP is recognised.
fn inside(walk: &Walk<'_, '_>) -> Next {
    match walk.rest.first().map(|first| first >> 4) {
        Some(4 | 6) => ControlFlow::Continue(Step::Ip),
        Some(_) => ControlFlow::Break(Outcome::Unsupported),
        None => ControlFlow::Break(walk.ends_early()),
    }
}
