//! Teredo, RFC 4380: IPv6 in UDP, behind an optional authentication and an optional origin indication.

use core::ops::ControlFlow;

use super::Outcome;
use super::step::{Next, Step};
use super::walk::Walk;

/// First two bytes of the indications; an IPv6 packet never begins so.
const AUTHENTICATION: [u8; 2] = [0, 1];
const ORIGIN: [u8; 2] = [0, 0];
/// Nonce and confirmation byte at the end of an authentication.
const NONCE_AND_CONFIRMATION: usize = 9;
/// An origin indication: its mark, port and address.
const ORIGIN_LEN: usize = 8;

pub(super) fn step(walk: &mut Walk<'_, '_>) -> Next {
    if walk.rest.first_chunk() == Some(&AUTHENTICATION) {
        let &[_, _, id_len, value_len] = walk.take()?;
        walk.skip(usize::from(id_len) + usize::from(value_len) + NONCE_AND_CONFIRMATION)?;
    }
    if walk.rest.first_chunk() == Some(&ORIGIN) {
        walk.skip(ORIGIN_LEN)?;
    }
    if walk.rest.first().is_some_and(|first| first >> 4 == 6) {
        return ControlFlow::Continue(Step::Ipv6);
    }
    ControlFlow::Break(Outcome::Complete)
}
