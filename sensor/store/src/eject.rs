//! Leaving a medium to other readers: every segment gets its tail, so that they all read to their end without a notice, and
//! the list for people says what is where.

use crate::catalog;
use crate::index::Indexer;
use crate::reader::{Reader, ReaderOptions, SegmentInfo};
use crate::recovery::{new_indexer, rebuild};
use crate::ring::read_header;
use crate::volume::any::AnyVolume;
use crate::volume::block::BlockDev;
use crate::volume::fat::FatVolume;
use crate::volume::{VolumeError, VolumeRead, VolumeWrite};
use crate::writer::tail::{self, TailBuf};
use crate::{Reading, Store, StoreError};

/// What [`Store::eject`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ejected {
    /// Segments that hold packets.
    pub segments: u32,
    /// Of these, closed now.
    pub closed: u32,
    /// Boot sectors or partition table were damaged and are written anew.
    pub boot_repaired: bool,
}

/// What a volume does beside its areas when it is left to others.
pub trait Eject: VolumeWrite {
    /// Repairs what other systems need to find the files; says whether there was anything to do.
    ///
    /// # Errors
    /// The volume failed.
    fn repair_for_others(&mut self) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// Writes the list for people, now.
    ///
    /// # Errors
    /// The volume failed.
    fn write_list(&mut self, text: &str) -> Result<(), VolumeError> {
        self.note_contents(text);
        Ok(())
    }
}

impl<D: BlockDev> Eject for FatVolume<D> {
    fn repair_for_others(&mut self) -> Result<bool, StoreError> {
        Ok(self.repair_boot()?)
    }

    fn write_list(&mut self, text: &str) -> Result<(), VolumeError> {
        self.write_contents(text)
    }
}

impl Eject for AnyVolume {
    fn repair_for_others(&mut self) -> Result<bool, StoreError> {
        match self {
            Self::Dir(_) | Self::Absent(_) => Ok(false),
            Self::Fat(volume) => volume.repair_for_others(),
        }
    }

    fn write_list(&mut self, text: &str) -> Result<(), VolumeError> {
        match self {
            Self::Dir(volume) => {
                volume.note_contents(text);
                Ok(())
            }
            Self::Fat(volume) => volume.write_contents(text),
            Self::Absent(_) => Ok(()),
        }
    }
}

impl<V: Eject> Store<V> {
    /// Closes what is open, writes the list for people, and lets go of the store. The next recorder begins a new segment.
    ///
    /// # Errors
    /// The volume failed; do it again.
    pub fn eject(mut self, now: Reading) -> Result<Ejected, StoreError> {
        let mut done = Ejected { boot_repaired: self.volume.repair_for_others()?, ..Ejected::default() };
        let (volume, state) = (&mut self.volume, &self.state);
        let (mut indexer, mut pending) = (new_indexer(volume, state), catalog::Pending::new());
        let mut buf = TailBuf::new(volume.geometry().segment_bytes);
        for number in 0..volume.geometry().segments {
            if let Some(entry) = close(volume, &state.uuid, number, now, &mut indexer, &mut buf)? {
                done.closed += 1;
                pending.add(entry);
            }
        }
        if !pending.is_empty() {
            pending.write(volume)?;
        }
        self.state.clean = true;
        self.state.store(&mut self.volume)?;
        let list = list(&self.volume, now)?;
        done.segments = list.1;
        self.volume.write_list(&list.0)?;
        Ok(done)
    }
}

/// Gives segment `number` its tail, when it holds batches and has none.
fn close<V: VolumeWrite>(
    volume: &mut V,
    store: &[u8; 16],
    number: u32,
    now: Reading,
    indexer: &mut Indexer,
    buf: &mut TailBuf,
) -> Result<Option<catalog::Sealed>, StoreError> {
    let Some(header) = read_header(volume, store, number).filter(|_| volume.is_usable(number)) else {
        return Ok(None);
    };
    if let Some(page) = tail::read_summary(volume, number, header.generation) {
        if !tail::blocks_whole(volume, number, &page) {
            tail::repair_skips(volume, number, &page)?;
        }
        return Ok(None);
    }
    indexer.reset();
    let (tables, newest) = rebuild(volume, number, header, true, indexer);
    if newest.is_none() {
        return Ok(None);
    }
    let sealed = tail::seal(&tables, Some(indexer), now, buf);
    sealed.write(volume, number, buf)?;
    Ok(Some(sealed.catalog_entry(number)))
}

/// The list for people, and how many segments it names.
fn list(volume: &impl VolumeRead, now: Reading) -> Result<(String, u32), StoreError> {
    let reader = Reader::open(Borrowed(volume), ReaderOptions::default())
        .map_err(|error| StoreError::Unreadable(error.to_string()))?;
    let lines = reader.segments().iter().map(line);
    let head = contents_head(now.wall, volume.geometry().segments);
    let count = reader.segments().len() as u32;
    Ok((std::iter::once(head).chain(lines).collect(), count))
}

/// The first lines of the list.
pub(crate) fn contents_head(written: hindcap_wire::time::Timestamp, segments: u32) -> String {
    format!(
        "Hindcap store of {}, times in UTC, newest last. Written at {written}.\n\
         Each file segments/NUMBER.pcapng opens in Wireshark; those not listed hold nothing yet.\n\
         segment  generation  first packet                    last packet                     packets\n",
        hindcap_wire::counted::Counted(segments.into(), "segment")
    )
}

fn line(info: &SegmentInfo) -> String {
    let SegmentInfo { number, generation, first, last, packets, .. } = info;
    if *packets == 0 {
        return format!("{number:06}   {generation:<10}  no packets\n");
    }
    format!("{number:06}   {generation:<10}  {first}  {last}  {packets}\n")
}

/// A reader owns its volume; this one is lent.
#[derive(Debug)]
struct Borrowed<'a, V>(&'a V);

impl<V: VolumeRead> VolumeRead for Borrowed<'_, V> {
    fn geometry(&self) -> crate::volume::Geometry {
        self.0.geometry()
    }

    fn read(&self, area: crate::volume::Area, offset: u64, buf: &mut [u8]) -> Result<(), VolumeError> {
        self.0.read(area, offset, buf)
    }

    fn is_usable(&self, segment: u32) -> bool {
        self.0.is_usable(segment)
    }

    fn identity(&self) -> Option<[u8; 16]> {
        self.0.identity()
    }
}
