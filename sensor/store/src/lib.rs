//! Where packets live: a preallocated ring of pcapng segments, written in place, with its index, catalog, recovery and
//! verification (docs/FORMAT.md has the bytes, docs/DESIGN.md the reasons).
//!
//! The writer and the readers share nothing but the volume: a reader finds the open segment by its commit blocks, so a
//! query never touches the hot path and may run in another process.
//!
//! - [`volume`]: the one door to storage; `dir` today, FAT32 next.

pub mod volume;
