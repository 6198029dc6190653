//! Keep, truncate or skip: the decision for one packet.

use std::sync::Arc;

use hindcap_wire::index::keys::fold;
use hindcap_wire::packet::{Dissection, LinkType, Packet, dissect_generally};
use hindcap_wire::time::NANOS_PER_SEC;

use super::bulk::is_bulk;
use super::flows::Flows;
use super::look::{Look, look};
use super::{Control, HEADERS_BYTES};

/// A truncated packet whose headers are not located: deeper than any real stack of tunnels.
const HEADERS_BYTES_TUNNEL: usize = 256;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// What is to be done with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Record it whole.
    Keep,
    /// Record so many of its bytes, fewer than it has.
    Truncate(usize),
    /// Do not record it.
    Skip,
}

/// Judges packets by a [`Control`]. All memory is taken in [`Thinner::new`].
#[derive(Debug)]
pub(crate) struct Thinner {
    control: Arc<Control>,
    seed: [u64; 4],
    flows: Flows,
    found: Dissection,
    /// What is left of a packet that is not plain, once truncated.
    rest: Dissection,
}

impl Thinner {
    /// `seed` makes the table hard to aim at.
    pub(crate) fn new(control: Arc<Control>, seed: u64) -> Self {
        let mut state = seed;
        let seed = std::array::from_fn(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            fold(state ^ 0x94d0_49bb_1331_11eb, 0xbf58_476d_1ce4_e5b9)
        });
        Self { control, seed, flows: Flows::new(), found: Dissection::new(), rest: Dissection::new() }
    }

    pub(crate) fn control(&self) -> &Control {
        &self.control
    }

    /// Judges a packet of the given link type.
    pub(crate) fn judge(&mut self, link_type: LinkType, packet: &Packet<'_>) -> Verdict {
        let rules = self.control.rules();
        if rules.cutoff == u64::MAX && !rules.headers_only {
            return Verdict::Keep;
        }
        let Some(look) = look(link_type, packet, &mut self.found, &self.seed) else { return Verdict::Keep };
        if look.names {
            return Verdict::Keep;
        }
        let now = (packet.timestamp.0 / NANOS_PER_SEC) as u32;
        let Some(entry) = self.flows.entry(look.hash, now) else { return Verdict::Keep };
        if look.tcp_flags & (SYN | ACK) == SYN {
            entry.restart();
        }
        let before = u64::from(entry.bytes);
        entry.bytes = entry.bytes.saturating_add(packet.orig_len);
        let bulk = rules.headers_only && is_bulk(entry, &look);
        if (before >= rules.cutoff || bulk) && self.control.spares(&look.key) {
            return Verdict::Keep;
        }
        if before >= rules.cutoff {
            let sampled = entry.is_sampled(self.control.sample());
            let wanted = sampled || look.tcp_flags & (SYN | FIN | RST) != 0;
            if !wanted && entry.is_marked() {
                return Verdict::Skip;
            }
            // The first one that can be truncated is: it marks the flow, whatever the sample.
            let hash = look.hash;
            let verdict = self.headers(link_type, packet, &look);
            return match verdict {
                Verdict::Truncate(_) => {
                    self.flows.mark(hash, now);
                    verdict
                }
                _ if wanted => verdict,
                _ => Verdict::Skip,
            };
        }
        if !bulk {
            return Verdict::Keep;
        }
        self.headers(link_type, packet, &look)
    }

    /// Truncates behind the headers, unless that would save nothing or lose a flow of the packet.
    fn headers(&mut self, link_type: LinkType, packet: &Packet<'_>, look: &Look<'_>) -> Verdict {
        let end = match &look.transport {
            Some(transport) => transport.headers_end.max(HEADERS_BYTES),
            None => HEADERS_BYTES_TUNNEL,
        };
        // Where the length on the wire is not the larger one, a truncated packet would pass for a whole one.
        if end >= packet.bytes.len() || end >= packet.orig_len as usize {
            return Verdict::Keep;
        }
        if !look.plain {
            dissect_generally(link_type, &packet.bytes[..end], packet.orig_len, &mut self.rest);
            if self.rest.layers != self.found.layers || self.rest.vlans != self.found.vlans {
                return Verdict::Keep;
            }
        }
        Verdict::Truncate(end)
    }
}
