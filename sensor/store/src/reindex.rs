//! Building every index anew, from the packets alone, and the catalog with it. Where nothing was damaged the result is the
//! same to the byte; a segment that never got its tail gets one.

use hindcap_wire::ledger::SegmentHeader;

use crate::catalog;
use crate::index::Indexer;
use crate::recovery::{new_indexer, rebuild};
use crate::ring::read_header;
use crate::volume::VolumeWrite;
use crate::writer::tail::{self, TailBuf};
use crate::{Reading, Store, StoreError};

/// What [`reindex`] did to one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reindexed {
    /// Its tail was already what the packets give.
    Same,
    /// Its tail was written anew.
    Rewritten,
    /// It had no tail and has one now.
    Sealed,
    /// The newest: a recorder goes on in it.
    Open,
    /// It holds no whole batch.
    Empty,
}

/// Rebuilds the index of every sealed segment and the catalog, oldest first; tells `report` (number, generation, result)
/// of each as it is done.
///
/// # Errors
/// The volume failed. What was done before stays; start again.
pub fn reindex<V: VolumeWrite>(
    store: &mut Store<V>,
    now: Reading,
    mut report: impl FnMut(u32, u64, Reindexed),
) -> Result<(), StoreError> {
    let (volume, state) = (&mut store.volume, &store.state);
    let mut headers: Vec<_> = (0..volume.geometry().segments)
        .filter_map(|number| Some((number, read_header(volume, &state.uuid, number)?)))
        .collect();
    headers.sort_by_key(|(_, header)| header.generation);
    let newest = headers.last().map(|(_, header)| header.generation);
    let (mut indexer, mut pending) = (new_indexer(volume, state), catalog::Pending::new());
    let mut buf = TailBuf::new(volume.geometry().segment_bytes);
    for (number, header) in headers {
        let is_newest = newest == Some(header.generation);
        let (done, entry) = segment(volume, number, header, is_newest, now, &mut indexer, &mut buf)?;
        entry.into_iter().for_each(|entry| pending.add(entry));
        if pending.is_due() {
            pending.write(volume)?;
        }
        report(number, header.generation, done);
    }
    if !pending.is_empty() {
        pending.write(volume)?;
    }
    Ok(())
}

fn segment<V: VolumeWrite>(
    volume: &mut V,
    number: u32,
    header: SegmentHeader,
    newest: bool,
    now: Reading,
    indexer: &mut Indexer,
    buf: &mut TailBuf,
) -> Result<(Reindexed, Option<catalog::Sealed>), StoreError> {
    let old = tail::read_summary(volume, number, header.generation);
    if newest && old.is_none() {
        return Ok((Reindexed::Open, None));
    }
    indexer.reset();
    let (tables, last) = rebuild(volume, number, header, old.is_none(), indexer);
    if last.is_none() {
        return Ok((Reindexed::Empty, None));
    }
    let mut sealed = tail::seal(&tables, Some(indexer), now, buf);
    if let Some(old) = &old {
        // What was true at sealing stays: hash, chain, counts. Damage since then does not rewrite history.
        sealed.page.data_bytes = old.data_bytes;
        sealed.page.summary.clone_from(&old.summary);
        sealed.page.summary.has_flows = true;
        sealed.refill_summary(buf);
    }
    let same = old.as_ref().is_some_and(|old| {
        *old == sealed.page
            && tail::read_index(volume, number, old).is_some()
            && tail::blocks_whole(volume, number, old)
    });
    if !same {
        sealed.write(volume, number, buf)?;
    }
    let done = match (same, old) {
        (true, _) => Reindexed::Same,
        (false, Some(_)) => Reindexed::Rewritten,
        (false, None) => Reindexed::Sealed,
    };
    Ok((done, Some(sealed.catalog_entry(number))))
}
