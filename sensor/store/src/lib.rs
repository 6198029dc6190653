//! Where packets live: a preallocated ring of pcapng segments, written in place, with its index, catalog, recovery and
//! verification (docs/FORMAT.md has the bytes, docs/DESIGN.md the reasons).
//!
//! The writer and the readers share nothing but the volume: a reader finds the open segment by its commit blocks, so a
//! query never touches the hot path and may run in another process.
//!
//! - [`Store`] is made, opened and resized; [`Store::recorder`] gives the [`Recorder`], which the capture thread feeds.
//! - [`open_reader`] opens the areas for reading; [`state`] is what a store knows about itself.
//! - [`holds`]: segments that keep their place although their turn has come.
//! - [`index`]: builds the index of a segment; [`catalog`]: entries and filters of all segments.
//! - [`policy`]: what is left out on purpose, per packet.
//! - [`reader`]: segments, indexes and packets for queries.
//! - [`verify`] looks for damage, [`reindex()`] builds indexes and catalog anew from the packets.
//! - [`events`]: the event ring, a second store for sessions that were pinned.
//! - [`wear`]: odometer, endurance, health registers, forecasts, the write budget.
//! - [`volume`]: the one door to storage; a directory, or FAT32 on a card. [`sim`] is a medium that forgets, for tests.

mod age;
pub mod catalog;
mod chain;
mod eject;
mod error;
pub mod events;
mod health;
pub mod holds;
pub mod index;
pub mod layout;
mod lost_header;
mod medium;
mod mend;
mod options;
mod place;
pub mod policy;
mod provisional;
pub mod reader;
mod recorder;
mod recovery;
mod reindex;
mod resize;
mod ring;
mod salvage;
mod scan;
pub mod sim;
pub mod state;
mod store;
pub mod verify;
pub mod volume;
pub mod wear;
mod writer;

pub use eject::{Eject, Ejected};
pub use error::StoreError;
pub use events::open_events_reader;
pub use health::{Health, HealthSnapshot};
pub use index::Indexer;
pub use medium::{MediumTrouble, Swapped, Trouble};
pub use options::{BackEnd, EventShare, Reading, RecorderOptions, StoreOptions, StoreSize};
pub use place::{open_card, open_reader};
pub use reader::{
    Class, PacketAt, ReadError, Reader, ReaderOptions, SegmentInfo, SegmentState, Served, Shelf,
};
pub use recorder::Recorder;
pub use reindex::{Reindexed, reindex};
pub use state::State;
pub use store::{Store, segment_path};
