//! The index of a segment: which flows it holds, in which 16 KiB pages their packets start, and what a reader needs to
//! check those pages (docs/FORMAT.md, "Index").
//!
//! This module is the bytes: [`IndexDoc`] checks and reads them, [`Encoder`] puts them together from the parts that the
//! store's builder keeps. An index is a cache; whatever fails a check here is rebuilt from the packets, never repaired.
//!
//! - [`limits`]: how large each part may become in a segment of a given size; the sum is the hard budget.
//! - [`keys`]: 64-bit keys of hosts, host pairs and flows; [`filter`]: the catalog's filter over them.
//! - [`pages`]: sets of pages; [`postings`]: the compact form of one flow's pages.
//! - [`flows`]: flow records and host tables; [`tables`]: pages, batches, MACs; [`overflow`]: Bloom filters of a flood.

pub mod doc;
pub mod filter;
pub mod flows;
pub mod keys;
pub mod limits;
pub mod overflow;
pub mod pages;
pub mod postings;
pub mod tables;
mod varint;

pub use doc::{Encoder, IndexDoc, IndexError, Tables};
pub use filter::{Filter, FilterClasses};
pub use flows::{FlowParts, FlowRecord, Flows, HostTable};
pub use keys::FilterKey;
pub use limits::IndexLimits;
pub use overflow::Overflow;
pub use pages::PageSet;
pub use postings::Postings;
pub use tables::{BatchEntry, MacEntry, PageEntry};
