//! Bytes on a cable or a disk, nothing else: packets and flows as they are dissected, queries, the formats of the
//! store and of the savefiles, and the messages between sensor and SOC.
//!
//! Everything here is `no_std` + `alloc`, takes bytes and gives values, and never reads a clock, a file or a random
//! number. Input comes from a cable, a disk or a broker: no function panics on it, and truncated, malformed and
//! unsupported input are told apart (STYLE: they feed three counters).
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod community_id;
pub mod counted;
pub mod drops;
pub mod flow;
pub mod index;
pub mod ledger;
pub mod limits;
pub mod message;
pub mod net;
pub mod packet;
pub mod pcap;
pub mod pcapng;
pub mod policy;
pub mod query;
pub mod savefile;
mod text;
pub mod time;
pub mod time_text;
pub mod true_time;
