//! Takes block bodies apart, in either byte order.

use alloc::string::String;

use super::ByteOrder;
use super::write::{IF_NAME, IF_TSOFFSET, IF_TSRESOL};
use crate::limits::{CAPLEN_MAX, INTERFACE_NAME_BYTES_MAX};
use crate::packet::{Interface, LinkType};
use crate::time::{NANOS_PER_SEC, Timestamp};

/// Why a body could not be read; the block around it was whole.
pub type BodyError = &'static str;

/// An Enhanced, Simple or obsolete Packet Block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketBlock<'a> {
    /// Interface number in its section.
    pub interface: u32,
    /// Time in units of the interface's resolution; nanoseconds in the store.
    pub ticks: u64,
    /// Length on the wire.
    pub orig_len: u32,
    /// Captured bytes.
    pub bytes: &'a [u8],
}

impl<'a> PacketBlock<'a> {
    /// The body of an Enhanced Packet Block.
    ///
    /// # Errors
    /// When the body is too short or the captured length is more than it holds or than [`CAPLEN_MAX`].
    #[inline]
    pub fn enhanced(body: &'a [u8], order: ByteOrder) -> Result<Self, BodyError> {
        let Some((head, data)) = body.split_first_chunk::<20>() else {
            return Err("enhanced packet block too short");
        };
        let word = |at: usize| order.u32([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let ticks = u64::from(word(4)) << 32 | u64::from(word(8));
        Ok(Self { interface: word(0), ticks, orig_len: word(16), bytes: captured(data, word(12))? })
    }

    /// The body of an obsolete Packet Block.
    ///
    /// # Errors
    /// As [`PacketBlock::enhanced`].
    pub fn obsolete(body: &'a [u8], order: ByteOrder) -> Result<Self, BodyError> {
        let Some((head, _)) = body.split_first_chunk::<2>() else { return Err("packet block too short") };
        // Only the first word differs: a 16-bit interface and a 16-bit drop count.
        Ok(Self { interface: u32::from(order.u16(*head)), ..Self::enhanced(body, order)? })
    }

    /// The body of a Simple Packet Block on an interface with this `snaplen` (0 = no limit).
    ///
    /// # Errors
    /// As [`PacketBlock::enhanced`].
    pub fn simple(body: &'a [u8], order: ByteOrder, snaplen: u32) -> Result<Self, BodyError> {
        let Some((head, data)) = body.split_first_chunk::<4>() else {
            return Err("simple packet block too short");
        };
        let orig_len = order.u32(*head);
        // Padding cannot be told from a packet cut short, so the smallest of the three limits holds.
        let limit = if snaplen == 0 { orig_len } else { orig_len.min(snaplen) };
        let caplen = limit.min(u32::try_from(data.len()).unwrap_or(u32::MAX));
        Ok(Self { interface: 0, ticks: 0, orig_len, bytes: captured(data, caplen)? })
    }
}

#[inline]
fn captured(data: &[u8], caplen: u32) -> Result<&[u8], BodyError> {
    if caplen > CAPLEN_MAX {
        return Err("captured length over 262144");
    }
    data.get(..caplen as usize).ok_or("captured length is more than the block holds")
}

/// The byte order of the section that starts with `block` (at least 12 bytes of a Section Header Block).
///
/// # Errors
/// When the magic is neither.
pub fn section_order(block: &[u8]) -> Result<ByteOrder, BodyError> {
    match block.get(8..12) {
        Some([0x4D, 0x3C, 0x2B, 0x1A]) => Ok(ByteOrder::Little),
        Some([0x1A, 0x2B, 0x3C, 0x4D]) => Ok(ByteOrder::Big),
        _ => Err("section header without byte-order magic"),
    }
}

/// Major and minor version in the body of a Section Header Block.
///
/// # Errors
/// When the body is too short.
pub fn section_version(body: &[u8], order: ByteOrder) -> Result<(u16, u16), BodyError> {
    match body {
        [_, _, _, _, a, b, c, d, rest @ ..] if rest.len() >= 8 => {
            Ok((order.u16([*a, *b]), order.u16([*c, *d])))
        }
        _ => Err("section header too short"),
    }
}

/// How an interface counts time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeScale {
    /// Ticks per second; never 0.
    ticks_per_sec: u64,
    /// Nanoseconds per tick where that is a whole number, else 0. Saves a division for each packet.
    nanos_per_tick: u64,
    /// Seconds to add.
    offset_secs: i64,
}

impl TimeScale {
    /// Nanoseconds, as in the store.
    pub const NANOS: Self = Self::new(NANOS_PER_SEC);
    /// Microseconds, when an interface says nothing.
    pub const MICROS: Self = Self::new(1_000_000);

    const fn new(ticks_per_sec: u64) -> Self {
        let whole = NANOS_PER_SEC % ticks_per_sec == 0;
        let nanos_per_tick = if whole { NANOS_PER_SEC / ticks_per_sec } else { 0 };
        Self { ticks_per_sec, nanos_per_tick, offset_secs: 0 }
    }

    /// From the `if_tsresol` byte: a negative power of ten, or of two when the top bit is set.
    fn with_resolution(self, resolution: u8) -> Result<Self, BodyError> {
        let exponent = u32::from(resolution & 0x7F);
        let ticks =
            if resolution & 0x80 == 0 { 10_u64.checked_pow(exponent) } else { 2_u64.checked_pow(exponent) };
        let ticks_per_sec = ticks.ok_or("time resolution finer than 64 bits can count")?;
        Ok(Self { offset_secs: self.offset_secs, ..Self::new(ticks_per_sec) })
    }

    /// The instant `ticks` stands for; finer times are cut to the nanosecond, times outside 1970..2554 saturate.
    #[must_use]
    #[inline]
    pub fn timestamp(self, ticks: u64) -> Timestamp {
        if self.nanos_per_tick != 0 && self.offset_secs == 0 {
            return Timestamp(ticks.saturating_mul(self.nanos_per_tick));
        }
        let (secs, rest) = (ticks / self.ticks_per_sec, ticks % self.ticks_per_sec);
        let nanos = u128::from(rest) * u128::from(NANOS_PER_SEC) / u128::from(self.ticks_per_sec);
        let secs = secs.saturating_add_signed(self.offset_secs);
        Timestamp::from_parts(secs, u32::try_from(nanos).unwrap_or(0))
    }
}

/// The body of an Interface Description Block.
///
/// # Errors
/// When the body is too short, or its times cannot be counted. Other damage in the options ends their list only.
pub fn interface(body: &[u8], order: ByteOrder) -> Result<(Interface, TimeScale), BodyError> {
    let Some((head, mut options)) = body.split_first_chunk::<8>() else {
        return Err("interface description too short");
    };
    let [l0, l1, _, _, snaplen @ ..] = *head;
    let mut scale = TimeScale::MICROS;
    let mut name = String::new();
    while let Some((code, value)) = next_option(&mut options, order) {
        match (code, value) {
            (IF_NAME, value) => name = text(value),
            (IF_TSRESOL, [resolution]) => scale = scale.with_resolution(*resolution)?,
            (IF_TSOFFSET, value) => {
                if let Ok(bytes) = <[u8; 8]>::try_from(value) {
                    scale.offset_secs = i64::from_le_bytes(order.u64(bytes).to_le_bytes());
                }
            }
            _ => {}
        }
    }
    let link_type = LinkType(order.u16([l0, l1]));
    Ok((Interface { link_type, snaplen: order.u32(snaplen), name }, scale))
}

/// Takes the next option off the list; `None` at its end or where it is damaged.
pub fn next_option<'a>(options: &mut &'a [u8], order: ByteOrder) -> Option<(u16, &'a [u8])> {
    let (head, rest) = options.split_first_chunk::<4>()?;
    let [c0, c1, l0, l1] = *head;
    let (code, len) = (order.u16([c0, c1]), usize::from(order.u16([l0, l1])));
    let value = rest.get(..len)?;
    *options = rest.get(super::padded(len)..).unwrap_or_default();
    (code != 0).then_some((code, value))
}

fn text(value: &[u8]) -> String {
    let short = &value[..value.len().min(INTERFACE_NAME_BYTES_MAX)];
    let end = short.iter().position(|byte| *byte == 0).unwrap_or(short.len());
    String::from_utf8_lossy(&short[..end]).into_owned()
}
