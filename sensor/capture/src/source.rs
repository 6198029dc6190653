//! The narrow door between where packets come from and what is done with them.

use std::time::Duration;

use hindcap_wire::drops::DropCounts;
use hindcap_wire::packet::{Interface, Packet};

use crate::CaptureError;

/// Takes packets as they come, borrowed from the source's own memory.
pub trait PacketSink {
    /// Announces interface `index` of the source, before its first packet. A live source announces it again with
    /// the same index when the interface came back with another link type.
    fn interface(&mut self, index: u32, interface: &Interface);
    /// Takes one packet; `packet.interface` was announced. On the hot path: must not block.
    fn packet(&mut self, packet: &Packet<'_>);
    /// Whether packets should stay where they are for now, if the source can keep them. Asked before every few packets.
    fn is_short(&mut self) -> bool {
        false
    }
}

/// Where packets come from: a network interface or a savefile.
pub trait PacketSource {
    /// Delivers what has arrived to `sink`; waits at most `wait` when nothing has.
    ///
    /// # Errors
    /// What the source cannot overcome by itself. After an error it is at its end; all that came before was delivered.
    fn poll<S: PacketSink>(&mut self, wait: Duration, sink: &mut S) -> Result<Polled, CaptureError>;

    /// Packets dropped by cause since the source was opened; never goes backwards.
    fn drops(&mut self) -> DropCounts;
}

/// What one [`PacketSource::poll`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// So many packets were delivered, at least one; there may be more at once.
    Packets(usize),
    /// Nothing arrived within the wait.
    Idle,
    /// The sink is short of room: what arrives waits in the kernel's ring. A short wait has passed.
    Short,
    /// The link or the interface went away, or was away when the source was opened; said once. Packets before it were
    /// delivered. Keep polling.
    LinkDown,
    /// It is back and packets flow again; said once after each `LinkDown`.
    LinkUp,
    /// The savefile is at its end. Live sources never say it.
    End,
}
