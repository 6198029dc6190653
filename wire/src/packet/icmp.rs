//! ICMP (RFC 792) and ICMPv6 (RFC 4443): type and code take the place of ports.
//!
//! The packet that an error message quotes is no flow layer: it did not travel here.

use core::ops::ControlFlow;

use super::Outcome;
use super::step::Next;
use super::walk::Walk;

/// Type, code and checksum, which every message has; bytes.
const HEADER_LEN: usize = 4;

pub(super) fn step(walk: &mut Walk<'_, '_>) -> Next {
    if let (Some(&[icmp_type, code]), Some(layer)) = (walk.rest.first_chunk(), walk.current()) {
        layer.tuple.src_port = icmp_type.into();
        layer.tuple.dst_port = code.into();
    }
    walk.skip(HEADER_LEN)?;
    ControlFlow::Break(Outcome::Complete)
}
