//! Payload that nobody can read: TLS and QUIC behind their handshakes.
//!
//! A direction of a TCP flow is TLS when its first payload begins with a handshake record. Its records are followed from
//! length to length; the handshake ends where the first record of application data begins, at the latest after
//! [`HANDSHAKE_BYTES_MAX`], should the thread of records be lost. A UDP flow is QUIC when its first packet has a long
//! header of a known version. In doubt nothing is bulk.

use hindcap_wire::flow::proto;

use super::flows::Entry;
use super::look::Look;

/// Payload of one direction that a handshake may take: several times the longest certificate chains in use.
const HANDSHAKE_BYTES_MAX: u32 = 32 * 1024;
/// Application data per direction that stays whole: in TLS 1.3 the certificates are in there, and the shape of the first
/// request and reply says much even when it cannot be read.
const APPLICATION_BYTES: u32 = 4096;
/// Packets of a QUIC flow that stay whole, and packets with a long header (the handshake) at the most.
const QUIC_PACKETS: u16 = 6;
const QUIC_HANDSHAKE_PACKETS: u16 = 64;

/// States of a direction.
const NEW: u8 = 0;
const HANDSHAKE: u8 = 1;
const APPLICATION: u8 = 2;
const BULK: u8 = 3;
const QUIC: u8 = 4;
const OTHER: u8 = 5;

const RECORD_HEADER: usize = 5;
const HANDSHAKE_RECORD: u8 = 0x16;
const APPLICATION_RECORD: u8 = 0x17;

/// Takes note of a packet of `entry`'s flow; whether its payload may be cut off.
pub(super) fn is_bulk(entry: &mut Entry, look: &Look<'_>) -> bool {
    let Some(transport) = &look.transport else { return false };
    if transport.payload_bytes == 0 {
        return false;
    }
    if look.proto == proto::UDP {
        return quic(entry, transport.payload);
    }
    let direction = usize::from(look.forward);
    let mut tls = Tls {
        next: &mut entry.next[direction],
        count: &mut entry.count[direction],
        state: &mut entry.state[direction],
    };
    tls.segment(transport.sequence, transport.payload, transport.payload_bytes)
}

fn quic(entry: &mut Entry, payload: &[u8]) -> bool {
    let (state, count) = (&mut entry.state[0], &mut entry.count[0]);
    let long = is_quic_long(payload);
    if *state == NEW {
        *state = if long { QUIC } else { OTHER };
    }
    *count = count.saturating_add(1);
    *state == QUIC && *count > QUIC_PACKETS && !(long && *count <= QUIC_HANDSHAKE_PACKETS)
}

/// A long header (RFC 8999) of a version in use: 1, 2 (RFC 9369), drafts, Google's and Facebook's.
fn is_quic_long(payload: &[u8]) -> bool {
    let Some(&[first, v0, v1, v2, v3]) = payload.first_chunk() else { return false };
    let known = matches!(
        [v0, v1, v2, v3],
        [0, 0, 0, 1]
            | [0x6b, 0x33, 0x43, 0xcf]
            | [0xff, 0, 0, _]
            | [0xfa, 0xce, 0xb0, _]
            | [b'Q' | b'T', b'0', ..]
    );
    first & 0xc0 == 0xc0 && known
}

/// Whether a TLS record begins here, and its type and length with header.
fn record(payload: &[u8]) -> Option<(u8, u32)> {
    let &[kind @ 0x14..=0x18, 3, 0..=4, l0, l1] = payload.first_chunk::<RECORD_HEADER>()? else {
        return None;
    };
    Some((kind, u32::from(u16::from_be_bytes([l0, l1])) + RECORD_HEADER as u32))
}

/// One direction.
struct Tls<'e> {
    /// Sequence number of the next record's first byte.
    next: &'e mut u32,
    /// Payload in this state.
    count: &'e mut u16,
    state: &'e mut u8,
}

impl Tls<'_> {
    /// Takes a segment with payload; whether it is bulk.
    fn segment(&mut self, sequence: u32, payload: &[u8], bytes: u32) -> bool {
        if *self.state == NEW {
            let hello = record(payload).is_some_and(|(kind, _)| kind == HANDSHAKE_RECORD);
            (*self.state, *self.next) = (if hello { HANDSHAKE } else { OTHER }, sequence);
        }
        match *self.state {
            HANDSHAKE => {
                let so_far = u32::from(*self.count).saturating_add(bytes);
                let data = self.application_data(sequence, payload);
                if data.is_none() && so_far <= HANDSHAKE_BYTES_MAX {
                    *self.count = so_far as u16;
                } else {
                    *self.state = APPLICATION;
                    *self.count = bytes.saturating_sub(data.unwrap_or(0)).min(APPLICATION_BYTES) as u16;
                }
                false
            }
            APPLICATION if u32::from(*self.count) < APPLICATION_BYTES => {
                *self.count = u32::from(*self.count).saturating_add(bytes).min(APPLICATION_BYTES) as u16;
                false
            }
            APPLICATION => {
                *self.state = BULK;
                true
            }
            BULK => true,
            _ => false,
        }
    }

    /// Follows the records through a segment; where in it the first one of application data begins.
    fn application_data(&mut self, sequence: u32, payload: &[u8]) -> Option<u32> {
        let mut at = self.next.wrapping_sub(sequence);
        if at > u32::MAX / 2 {
            // Something before this segment is missing. Where a record begins with the segment, it may go on.
            record(payload)?;
            at = 0;
        }
        while let Some((kind, bytes)) = payload.get(at as usize..).and_then(record) {
            if kind == APPLICATION_RECORD {
                return Some(at);
            }
            at = at.saturating_add(bytes);
        }
        *self.next = sequence.wrapping_add(at);
        None
    }
}
