//! IEEE 802.11 data frames, down to the LLC header. Encrypted frames end the walk; of aggregated ones (A-MSDU) the
//! first subframe is followed.

use core::ops::ControlFlow;

use super::Outcome;
use super::step::{Next, Step};
use super::walk::Walk;
use crate::net::MacAddr;

/// Bits of the first byte of frame control: version, type, and the kinds of data frames.
const VERSION_MASK: u8 = 0x03;
const TYPE_MASK: u8 = 0x0c;
const TYPE_DATA: u8 = 0x08;
const DATA_NULL: u8 = 0x40;
const DATA_QOS: u8 = 0x80;
/// Bits of the second byte.
const TO_DS: u8 = 0x01;
const FROM_DS: u8 = 0x02;
const PROTECTED: u8 = 0x40;
const ORDER: u8 = 0x80;
/// Says in the QoS control field that the body is an A-MSDU.
const QOS_AMSDU: u8 = 0x80;

pub(super) fn step(walk: &mut Walk<'_, '_>) -> Next {
    frame(walk, false)
}

/// A frame whose header may be padded to a multiple of four bytes.
pub(super) fn frame(walk: &mut Walk<'_, '_>, padded: bool) -> Next {
    let before = walk.rest.len();
    let &[control, flags, _, _] = walk.take()?;
    if control & VERSION_MASK != 0 || control & TYPE_MASK != TYPE_DATA {
        return ControlFlow::Break(Outcome::Unsupported);
    }
    addresses(walk, flags)?;
    let mut aggregated = false;
    if control & DATA_QOS != 0 {
        let &[qos, _] = walk.take()?;
        aggregated = qos & QOS_AMSDU != 0;
        if flags & ORDER != 0 {
            walk.take::<4>()?;
        }
    }
    if control & DATA_NULL != 0 {
        return ControlFlow::Break(Outcome::Complete);
    }
    if flags & PROTECTED != 0 {
        return ControlFlow::Break(Outcome::Unsupported);
    }
    if padded {
        walk.skip((before - walk.rest.len()).next_multiple_of(4) - (before - walk.rest.len()))?;
    }
    if aggregated {
        let &[_, _, _, _, _, _, _, _, _, _, _, _, l0, l1] = walk.take()?;
        walk.limit(u16::from_be_bytes([l0, l1]).into());
    }
    ControlFlow::Continue(Step::Llc)
}

/// The three or four addresses; which of them are source and destination depends on the direction.
fn addresses(walk: &mut Walk<'_, '_>, flags: u8) -> ControlFlow<Outcome> {
    let addr1 = *walk.take::<6>()?;
    let addr2 = *walk.take::<6>()?;
    let addr3 = *walk.take::<6>()?;
    walk.take::<2>()?;
    let (src, dst) = match (flags & TO_DS != 0, flags & FROM_DS != 0) {
        (false, false) => (addr2, addr1),
        (true, false) => (addr2, addr3),
        (false, true) => (addr3, addr1),
        (true, true) => (*walk.take::<6>()?, addr3),
    };
    if walk.inner {
        walk.vlan = None;
    } else {
        walk.out.macs = Some((MacAddr(src), MacAddr(dst)));
    }
    ControlFlow::Continue(())
}
