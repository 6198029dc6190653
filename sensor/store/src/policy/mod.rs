//! What the recorder leaves out on purpose: the per-flow cutoff and headers-only for encrypted bulk.
//!
//! [`Control`] holds the policy in force and may be changed from any thread while packets are recorded; the recorder
//! writes every change into the store. The `Thinner` judges packet by packet, inside `Recorder::push`, and only when a
//! policy was asked for: its flow table is allocated once then, of fixed capacity, and in every doubt (no room in the
//! table, a packet that is not understood, a clock that jumps) the packet is kept whole.
//!
//! - `look`: which flow a packet belongs to, and where its payload lies.
//! - `flows`: the table.
//! - `bulk`: whether a packet is payload that nobody can read, of TLS or QUIC behind its handshake.
//! - `thinner`: keep, truncate or skip.

mod bulk;
mod control;
mod flows;
mod look;
#[cfg(test)]
mod tests;
mod thinner;

pub use control::Control;
pub(crate) use thinner::{Thinner, Verdict};

/// Bytes on the wire that every flow keeps whole, whatever the cutoff: room for every handshake, login and small
/// transfer. A lower cutoff counts as this one.
pub const CUTOFF_BYTES_MIN: u64 = 100_000;
/// Largest cutoff: flows count in 32 bits.
pub const CUTOFF_BYTES_MAX: u64 = u32::MAX as u64;
/// Behind the cutoff one in so many packets is recorded, unless the configuration says otherwise.
pub const SAMPLE_DEFAULT: u32 = 100;
/// Largest sample.
pub const SAMPLE_MAX: u32 = 10_000;
/// Addresses and blocks whose flows are never cut: looked through for each packet that would be, so not more.
pub const NEVER_CUT_MAX: usize = 64;
/// Bytes of a truncated packet; more when its headers are longer.
pub const HEADERS_BYTES: usize = 96;
