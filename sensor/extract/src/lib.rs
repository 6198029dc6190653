//! From a query to the packets: plan by the indexes, read only the pages that hold candidates, compare every packet
//! exactly, give the matches as one stream in time order within bounded memory, and say before it what it covers.
//!
//! - [`plan()`]: which segments and pages, by the catalog and the indexes alone; [`Plan::estimate`] says what that means.
//! - [`run()`]: the packets, into a [`ResultSink`], and the answer; with `session`, whole sessions.
//! - [`search()`]: sessions, from flow records; packets are read only for a filter or a MAC address.
//! - [`summarise()`]: the top talkers, from flow records.
//! - [`pin`]: copies whole sessions out of the way of the ring, and goes on with them.
//! - [`sink`]: savefiles in both formats; [`Beside`]: a result file that appears whole or not at all.
//! - [`priority`]: makes room for the capture.
//!
//! Memory: matches that wait ([`limits::WAITING_BYTES_MAX`]), one unit of 1 MiB, the indexes that the reader keeps, and
//! per segment of the plan its set of pages (512 bytes) and at most one unit per MiB (40 bytes).

mod base;
mod beside;
mod clock;
mod continuity;
mod cut;
mod error;
mod filter;
pub mod limits;
mod options;
pub mod pin;
mod plan;
pub mod priority;
mod probe;
mod records;
mod run;
mod search;
mod select;
mod session;
pub mod sink;
mod sorter;
mod stream;
mod summary;
mod survey;
mod twins;

pub use beside::Beside;
pub use error::ExtractError;
pub use options::Options;
pub use plan::{Plan, plan};
pub use run::run;
pub use search::search;

pub use sink::{ResultSink, SavefileSink, SinkError};
pub use summary::summarise;
