//! VLAN tags, IEEE 802.1Q and 802.1ad (QinQ), any depth: two bytes of tag control, two bytes of the next type.

use super::ethernet::type_or_length;
use super::step::Next;
use super::walk::Walk;

/// The VLAN identifier within the tag control information.
const VID_MASK: u16 = 0x0fff;

#[inline]
pub(super) fn step(walk: &mut Walk<'_, '_>) -> Next {
    let &[c0, c1, t0, t1] = walk.take()?;
    let vid = u16::from_be_bytes([c0, c1]) & VID_MASK;
    if !walk.inner {
        // Deeper tags than the list holds are stepped over.
        let _ = walk.out.vlans.push(vid);
    }
    // Identifier 0 marks a priority tag: the frame belongs to no VLAN.
    if walk.vlan.is_none() && vid != 0 {
        walk.vlan = Some(vid);
    }
    type_or_length(walk, u16::from_be_bytes([t0, t1]))
}
