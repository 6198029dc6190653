//! Builds the index of a segment while its packets pass (docs/FORMAT.md, "Index").
//!
//! [`Indexer`] is what everybody uses: the recorder while it writes, recovery, `reindex` and the reader of an open
//! segment. The same packets in the same pages give the same bytes, whatever the seed and whoever asks: tables are bounded
//! by [`IndexLimits`](hindcap_wire::index::IndexLimits) alone, and nothing depends on when it is asked.
//!
//! - [`Builder`]: tables of fixed size, filled by [`Builder::observe`], the hot path: no allocation, no lock, no log.
//! - `seal`: from the tables to the encoded index and the catalog's filter; not on the hot path, allocates.

mod arena;
mod builder;
mod hosts;
mod indexer;
mod macs;
mod overflow;
mod plain;
mod seal;
mod table;
mod waiting;

#[cfg(test)]
mod tests;

pub use builder::Builder;
pub use indexer::{FirstBlocks, Indexer, Walked};
pub(crate) use seal::filter_of;
