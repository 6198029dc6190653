//! Savefiles as a whole: one [`Decoder`] for pcap and pcapng, told apart by their first bytes, and one [`Encoder`] for
//! results in either format.
//!
//! Neither reads nor writes a file: the caller fills and empties buffers.

mod decode;
mod encode;

#[cfg(test)]
mod tests;

pub use decode::{DecodeError, Decoder, Event};
pub use encode::{EncodeError, Encoder, Format, Statistics};
