//! The loop that walks one packet header by header, and what the steps share.

use core::ops::ControlFlow;

use super::step;
use super::{Dissection, FlowLayer, Fragment, LinkType, Outcome};
use crate::flow::{AddrBytes, FiveTuple};
use crate::limits::HEADERS_MAX;

/// Where the walk stands in the packet.
pub(super) struct Walk<'a, 'd> {
    /// Bytes that are captured and belong to the innermost container that was understood.
    pub rest: &'a [u8],
    /// Whether `rest` ends where a header said so, not where the capture ends.
    bounded: bool,
    /// Whether the capture has all that the wire had.
    whole: bool,
    /// Length fields that do not fit what surrounds them; the walk goes on all the same.
    flaw: Outcome,
    /// Outermost VLAN identifier of the current frame.
    pub vlan: Option<u16>,
    /// Whether a frame inside a tunnel has been entered, so that tags are no longer those of the outermost one.
    pub inner: bool,
    pub out: &'d mut Dissection,
}

/// Walks the packet from its first header.
#[inline]
pub(super) fn run(link_type: LinkType, bytes: &[u8], orig_len: u32, out: &mut Dissection) {
    let whole = u32::try_from(bytes.len()).is_ok_and(|caplen| caplen >= orig_len);
    let flaw = Outcome::Complete;
    let mut walk = Walk { rest: bytes, bounded: false, whole, flaw, vlan: None, inner: false, out };
    let outcome = match walk.last_outcome(link_type) {
        Outcome::Complete => walk.flaw,
        outcome => outcome,
    };
    walk.out.outcome = outcome;
}

impl<'a> Walk<'a, '_> {
    #[inline]
    fn last_outcome(&mut self, link_type: LinkType) -> Outcome {
        let mut next = step::first(self, link_type);
        for _ in 0..HEADERS_MAX {
            next = match next {
                ControlFlow::Break(outcome) => return outcome,
                ControlFlow::Continue(step) => step::run(self, step),
            };
        }
        if let ControlFlow::Break(outcome) = next { outcome } else { Outcome::Malformed }
    }

    /// Takes a header of `N` bytes.
    #[inline]
    pub fn take<const N: usize>(&mut self) -> ControlFlow<Outcome, &'a [u8; N]> {
        match self.rest.split_first_chunk() {
            Some((header, rest)) => {
                self.rest = rest;
                ControlFlow::Continue(header)
            }
            None => ControlFlow::Break(self.ends_early()),
        }
    }

    /// Steps over `len` bytes.
    #[inline]
    pub fn skip(&mut self, len: usize) -> ControlFlow<Outcome> {
        match self.rest.get(len..) {
            Some(rest) => {
                self.rest = rest;
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(self.ends_early()),
        }
    }

    /// What it means that a header does not fit into `rest`: a lie where lengths are declared, else a short capture.
    #[inline]
    pub fn ends_early(&self) -> Outcome {
        if self.bounded { Outcome::Malformed } else { Outcome::Truncated }
    }

    /// Ends `rest` after `len` bytes, as a length field says; what follows is padding.
    #[inline]
    pub fn limit(&mut self, len: usize) {
        if let Some(rest) = self.rest.get(..len) {
            self.rest = rest;
            self.bounded = true;
        } else if self.bounded {
            self.flaw(Outcome::Malformed);
        } else if self.whole {
            self.flaw(Outcome::Truncated);
        }
    }

    /// Says that the datagram goes on in other packets, so that no length inside can be held against this one.
    #[inline]
    pub fn continues_elsewhere(&mut self) {
        self.bounded = false;
        self.whole = false;
    }

    /// Notes a fault that does not stop the walk; the first one counts.
    #[inline]
    pub fn flaw(&mut self, outcome: Outcome) {
        if self.flaw == Outcome::Complete {
            self.flaw = outcome;
        }
    }

    /// Notes an IP layer.
    #[inline]
    pub fn layer(
        &mut self,
        (src, dst): (AddrBytes, AddrBytes),
        (version, proto): (u8, u8),
        fragment: Option<Fragment>,
    ) -> ControlFlow<Outcome> {
        let tuple = FiveTuple { src, dst, src_port: 0, dst_port: 0, proto, version };
        let layer = FlowLayer { tuple, vlan: self.vlan, tcp_flags: 0, fragment };
        match self.out.layers.push(layer) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(Outcome::Unsupported),
        }
    }

    /// The IP layer that the walk is in.
    #[inline]
    pub fn current(&mut self) -> Option<&mut FlowLayer> {
        self.out.layers.last_mut()
    }

    /// Notes the two ports that TCP, UDP and SCTP begin with, even if the rest of the header is cut off.
    #[inline]
    pub fn ports(&mut self) {
        let Some(&[a, b, c, d]) = self.rest.first_chunk() else { return };
        if let Some(layer) = self.current() {
            layer.tuple.src_port = u16::from_be_bytes([a, b]);
            layer.tuple.dst_port = u16::from_be_bytes([c, d]);
        }
    }
}
