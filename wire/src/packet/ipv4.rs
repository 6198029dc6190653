//! IPv4, RFC 791, with options and fragments.

use core::ops::ControlFlow;

use super::step::{Next, behind_ip};
use super::walk::Walk;
use super::{Fragment, Outcome};
use crate::flow::AddrBytes;

/// The fixed part of the header.
struct Header<'a>(&'a [u8; 20]);

impl Header<'_> {
    #[inline]
    const fn version(&self) -> u8 {
        self.0[0] >> 4
    }

    /// Header length with options, bytes.
    #[inline]
    const fn header_len(&self) -> usize {
        (self.0[0] & 0x0f) as usize * 4
    }

    #[inline]
    const fn total_len(&self) -> usize {
        u16::from_be_bytes([self.0[2], self.0[3]]) as usize
    }

    #[inline]
    fn fragment(&self) -> Option<Fragment> {
        let flags_and_offset = u16::from_be_bytes([self.0[6], self.0[7]]);
        let more = flags_and_offset & 0x2000 != 0;
        let offset = u32::from(flags_and_offset & 0x1fff) * 8;
        let id = u32::from(u16::from_be_bytes([self.0[4], self.0[5]]));
        (more || offset != 0).then_some(Fragment { id, offset, more })
    }

    #[inline]
    const fn protocol(&self) -> u8 {
        self.0[9]
    }

    #[inline]
    const fn src(&self) -> AddrBytes {
        mapped([self.0[12], self.0[13], self.0[14], self.0[15]])
    }

    #[inline]
    const fn dst(&self) -> AddrBytes {
        mapped([self.0[16], self.0[17], self.0[18], self.0[19]])
    }
}

/// The 16-byte form of an IPv4 address.
#[inline]
pub(super) const fn mapped([a, b, c, d]: [u8; 4]) -> AddrBytes {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

pub(super) fn step(walk: &mut Walk<'_, '_>) -> Next {
    let Some(header) = walk.rest.first_chunk().map(Header) else {
        return ControlFlow::Break(walk.ends_early());
    };
    if header.version() != 4 {
        return ControlFlow::Break(Outcome::Malformed);
    }
    let fragment = header.fragment();
    walk.layer((header.src(), header.dst()), (4, header.protocol()), fragment)?;
    let (header_len, total_len) = (header.header_len(), header.total_len());
    if header_len < size_of_val(header.0) {
        return ControlFlow::Break(Outcome::Malformed);
    }
    // Segmentation offload leaves 0 in packets caught before the card filled it in.
    if total_len >= header_len {
        walk.limit(total_len);
    } else if total_len != 0 {
        walk.flaw(Outcome::Malformed);
    }
    walk.skip(header_len)?;
    match fragment {
        Some(Fragment { offset: 0, .. }) => walk.continues_elsewhere(),
        Some(_) => return ControlFlow::Break(Outcome::Complete),
        None => {}
    }
    behind_ip(walk, header.protocol())
}

/// Whether bytes whose protocol is not named can be an IPv4 packet: version and lengths agree.
pub(super) fn plausible(bytes: &[u8]) -> bool {
    let header = bytes.first_chunk().map(Header);
    header.is_none_or(|header| header.header_len() >= 20 && header.total_len() >= header.header_len())
}
