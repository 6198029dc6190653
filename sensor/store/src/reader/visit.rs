//! Packets as they are read, and who takes them.

use std::ops::ControlFlow;

use hindcap_wire::packet::{LinkType, Packet};
use hindcap_wire::time::Timestamp;
use hindcap_wire::true_time::TrueTime;

/// A packet and where it lies.
#[derive(Clone, Copy, Debug)]
pub struct PacketAt<'a> {
    /// The packet; `interface` counts inside its segment.
    pub packet: Packet<'a>,
    /// Link type of its interface.
    pub link_type: LinkType,
    /// Page in which its block starts.
    pub page: u16,
    /// Offset of its block in the segment, bytes. Ascending in the order of capture.
    pub offset: u32,
}

/// What becomes of packets that are read.
pub trait Visitor {
    /// Whether [`Visitor::may_want`] ever says no: then the page behind is read only when a packet wants it.
    fn is_choosy(&self) -> bool {
        false
    }

    /// Whether a packet may be wanted of which only `head` is read yet, the bytes that lie in the page where its block
    /// starts. One that is not is passed over.
    fn may_want(&mut self, _link_type: LinkType, _head: &[u8], _orig_len: u32) -> bool {
        true
    }

    /// Takes a packet.
    fn packet(&mut self, at: PacketAt<'_>) -> ControlFlow<()>;
}

/// Wants every packet.
pub(super) struct Each<'a>(pub(super) &'a mut dyn FnMut(PacketAt<'_>) -> ControlFlow<()>);

impl Visitor for Each<'_> {
    fn packet(&mut self, at: PacketAt<'_>) -> ControlFlow<()> {
        (self.0)(at)
    }
}

/// Passes over what has passed the maximum age.
pub(super) struct Young<'a> {
    pub(super) not_before: Timestamp,
    pub(super) visitor: &'a mut dyn Visitor,
}

impl Visitor for Young<'_> {
    fn is_choosy(&self) -> bool {
        self.visitor.is_choosy()
    }

    fn may_want(&mut self, link_type: LinkType, head: &[u8], orig_len: u32) -> bool {
        self.visitor.may_want(link_type, head, orig_len)
    }

    fn packet(&mut self, at: PacketAt<'_>) -> ControlFlow<()> {
        if at.packet.timestamp < self.not_before {
            ControlFlow::Continue(())
        } else {
            self.visitor.packet(at)
        }
    }
}

/// Gives packets their true times.
pub(super) struct Truly<'a> {
    pub(super) times: &'a TrueTime,
    pub(super) visitor: &'a mut dyn Visitor,
}

impl Visitor for Truly<'_> {
    fn is_choosy(&self) -> bool {
        self.visitor.is_choosy()
    }

    fn may_want(&mut self, link_type: LinkType, head: &[u8], orig_len: u32) -> bool {
        self.visitor.may_want(link_type, head, orig_len)
    }

    fn packet(&mut self, mut at: PacketAt<'_>) -> ControlFlow<()> {
        at.packet.timestamp = self.times.at(at.page, at.packet.timestamp);
        self.visitor.packet(at)
    }
}
