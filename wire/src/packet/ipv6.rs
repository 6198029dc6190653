//! IPv6 and its extension headers, RFC 8200; the authentication header (RFC 4302) is stepped over in either version.

use core::ops::ControlFlow;

use super::step::{Next, Step, behind_ip};
use super::walk::Walk;
use super::{Fragment, Outcome};
use crate::flow::AddrBytes;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const NO_NEXT_HEADER: u8 = 59;
const DESTINATION_OPTIONS: u8 = 60;

/// The fixed header.
struct Header<'a>(&'a [u8; 40]);

impl Header<'_> {
    #[inline]
    const fn version(&self) -> u8 {
        self.0[0] >> 4
    }

    #[inline]
    const fn payload_len(&self) -> usize {
        u16::from_be_bytes([self.0[4], self.0[5]]) as usize
    }

    #[inline]
    const fn next_header(&self) -> u8 {
        self.0[6]
    }

    #[inline]
    fn addr(&self, at: usize) -> AddrBytes {
        let mut addr = [0; 16];
        for (to, from) in addr.iter_mut().zip(self.0.iter().skip(at)) {
            *to = *from;
        }
        addr
    }
}

pub(super) fn step(walk: &mut Walk<'_, '_>) -> Next {
    let header = Header(walk.take()?);
    if header.version() != 6 {
        return ControlFlow::Break(Outcome::Malformed);
    }
    walk.layer((header.addr(8), header.addr(24)), (6, header.next_header()), None)?;
    // 0 is a jumbogram (RFC 2675) or a packet caught before segmentation offload.
    if header.payload_len() != 0 {
        walk.limit(header.payload_len());
    }
    next_step(walk, header.next_header())
}

/// Goes on with what an IPv6 header or extension header announced.
pub(super) fn next_step(walk: &mut Walk<'_, '_>, next_header: u8) -> Next {
    if let Some(layer) = walk.current() {
        layer.tuple.proto = next_header;
    }
    match next_header {
        HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => extension(walk, 8),
        FRAGMENT => fragment(walk),
        NO_NEXT_HEADER => ControlFlow::Break(Outcome::Complete),
        _ => behind_ip(walk, next_header),
    }
}

/// Steps over an extension header whose length counts units of `unit` bytes behind the first eight.
fn extension(walk: &mut Walk<'_, '_>, unit: usize) -> Next {
    let &[next_header, len, _, _, _, _, _, _] = walk.take()?;
    walk.skip(usize::from(len) * unit)?;
    ControlFlow::Continue(Step::NextHeader(next_header))
}

/// Steps over an authentication header: its length counts words of four bytes, less two.
pub(super) fn authentication(walk: &mut Walk<'_, '_>) -> Next {
    extension(walk, 4)
}

fn fragment(walk: &mut Walk<'_, '_>) -> Next {
    let &[next_header, _, o0, o1, i0, i1, i2, i3] = walk.take()?;
    let offset_and_more = u16::from_be_bytes([o0, o1]);
    let (offset, more) = (u32::from(offset_and_more & 0xfff8), offset_and_more & 1 != 0);
    // Neither offset nor more: an atomic fragment (RFC 6946) is a whole datagram.
    if offset == 0 && !more {
        return ControlFlow::Continue(Step::NextHeader(next_header));
    }
    if let Some(layer) = walk.current() {
        layer.fragment = Some(Fragment { id: u32::from_be_bytes([i0, i1, i2, i3]), offset, more });
        layer.tuple.proto = next_header;
    }
    if offset != 0 {
        return ControlFlow::Break(Outcome::Complete);
    }
    walk.continues_elsewhere();
    ControlFlow::Continue(Step::NextHeader(next_header))
}
