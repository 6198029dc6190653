//! Opening stores as the command line and the configuration ask for them.

use std::path::Path;

use hindcap_store::volume::any::{AnyVolume, Place};
use hindcap_store::{EventShare, Store, StoreError, StoreOptions, StoreSize};

use hindcap_wire::limits::{SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MIN};

use crate::cli::WriteStoreArgs;
use crate::units::{Quota, Share, Size};

/// Share of the file system that a store gets when nobody said.
const DEFAULT_PERCENT: u8 = 25;
/// Share of a new store that its event ring gets when nobody said.
const DEFAULT_EVENT_PERCENT: u8 = 10;

/// The size in the words of the store.
const fn store_size(quota: Quota) -> StoreSize {
    match quota {
        Quota::Bytes(bytes) => StoreSize::Bytes(bytes),
        Quota::Percent(percent) => StoreSize::Percent(percent),
    }
}

/// Segments that a small store gets at least: pruning drops one at a time, so few of them make the window jump.
const SEGMENTS_WANTED: u64 = 8;

/// The default segment size, less in a store that would have too few of them.
fn segment_bytes_for(quota: u64) -> u32 {
    let mut bytes = SEGMENT_BYTES_DEFAULT;
    while bytes > SEGMENT_BYTES_MIN && quota / u64::from(bytes) < SEGMENTS_WANTED {
        bytes /= 2;
    }
    bytes
}

/// Opens the store for writing, or makes it; `None` keeps what there is.
///
/// # Errors
/// As [`Store::open_any`] and [`Store::create_any`].
pub fn open_for_writing(
    path: &Path,
    quota: Option<Quota>,
    segment: Option<Size>,
    event_share: Option<Share>,
) -> Result<Store<AnyVolume>, StoreError> {
    // A card is made by `hindcapd format`, which asks first; it is never made on the way, and keeps its size.
    let exists = match Place::parse(path) {
        Place::Dir(path) => path.join("hindcap.state").exists(),
        Place::Fat(_) => true,
    };
    let size = match (quota, exists) {
        (Some(quota), _) => store_size(quota),
        (None, true) => StoreSize::Keep,
        (None, false) => StoreSize::Percent(DEFAULT_PERCENT),
    };
    let mut options = StoreOptions::new(path, size);
    options.event_share = match (event_share, exists) {
        (Some(Share(share)), _) => share,
        (None, true) => EventShare::Keep,
        (None, false) => EventShare::Percent(DEFAULT_EVENT_PERCENT),
    };
    options.segment_bytes = match (segment, options.size) {
        // What does not fit is no segment size either: the store says so.
        (Some(Size(bytes)), _) => u32::try_from(bytes).unwrap_or(0),
        (None, StoreSize::Bytes(bytes)) => segment_bytes_for(bytes),
        (None, _) => SEGMENT_BYTES_DEFAULT,
    };
    if exists {
        let store = Store::open_any(&options)?;
        let kept = store.geometry().segment_bytes;
        if segment.is_some() && kept != options.segment_bytes {
            log::warn!(
                "segments of {} keep their size of {}: it is fixed when a store is made",
                path.display(),
                Size(kept.into())
            );
        }
        Ok(store)
    } else {
        Store::create_any(&options)
    }
}

/// As [`open_for_writing`], from the command line.
///
/// # Errors
/// As [`open_for_writing`].
pub fn open_from_args(args: &WriteStoreArgs) -> Result<Store<AnyVolume>, StoreError> {
    open_for_writing(&args.store, args.store_size, args.segment_size, args.event_share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_stores_get_small_segments() {
        for (quota, mib) in [(1 << 40, 64), (512 << 20, 64), (511 << 20, 32), (64 << 20, 8), (1 << 20, 4)] {
            assert_eq!(segment_bytes_for(quota), mib << 20, "{quota}");
        }
    }

    #[test]
    fn a_store_is_made_then_kept_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let made = open_for_writing(&path, Some(Quota::Bytes(64 << 20)), None, None).unwrap().geometry();
        assert_eq!(made.segment_bytes, 8 << 20);
        assert!(made.segments >= 6);
        assert_eq!(open_for_writing(&path, None, None, None).unwrap().geometry(), made);
    }
}
