//! Where packets come from: a network interface through libpcap, or a savefile.
//!
//! A [`PacketSource`] hands packets to a [`PacketSink`] straight out of its own memory; nothing is copied or allocated
//! per packet. A source never blocks longer than it was told, and a link that goes away is a fact to report, not an end.

mod error;
mod live;
mod savefile;
mod skip;
mod source;
mod wait;

pub use error::CaptureError;
pub use live::{LiveHealth, LiveOptions, LiveSource};
pub use savefile::SavefileSource;
pub use skip::SkipRules;
pub use source::{PacketSink, PacketSource, Polled};
