//! A store on a card: FAT32 that every laptop opens, and a ring that no FAT code ever touches while it records.
//!
//! The volume is made once with all its files, contiguous and aligned ([`format()`]). From then on a segment is a range of
//! sectors: recording writes these and nothing else, so no power cut can damage the file system. When a card comes back,
//! FATs and directories are read once to see what somebody did to it ([`checkup`]), and only what is whole is used.
//!
//! A card may have a second ring, for sessions that were pinned: [`FatVolume::open_events`] opens it as a volume of its own, beside
//! the first one and through the same device.
//!
//! - [`layout`]: where everything lies. [`boot`], [`names`]: sectors and directory entries as other systems read them.
//! - [`probe`]: what is on a device. [`files`]: small files, through `fatfs`, never while recording.

mod blank;
mod boot;
mod checkup;
mod error;
mod event_ring;
pub mod files;
pub mod format;
pub mod layout;
mod names;
mod plan;
mod probe;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;

pub use blank::{BLANK_BYTES, Done, format_blank};
pub use error::FatError;
pub use event_ring::EventRing;
pub use format::{ERASE_BYTES_DEFAULT, EVENT_PERCENT_DEFAULT, FormatOptions, format, plan};
pub use layout::{Extent, Layout};
pub use probe::Content;

use super::aligned::AlignedBuf;
use super::block::{BlockDev, SECTOR_BYTES};
use super::{Area, Geometry, VolumeError, VolumeRead, VolumeWrite};
use crate::StoreError;
use crate::events::pins::PINS_SLOT_BYTES;
use crate::layout::{SEGMENTS_MIN, catalog_bytes};
use crate::state::{SLOT_BYTES, STATE_BYTES};
use checkup::Checkup;
use probe::{Finding, Located};

/// A state slot is written as one flash page, zeros behind it.
pub(crate) const STATE_PAGE_BYTES: usize = 16 * 1024;

/// What is on a device, in words; `None` when it is a Hindcap card.
///
/// # Errors
/// The device cannot be read. Rings that contradict each other are foreign content here.
pub fn content(dev: &impl BlockDev) -> Result<Option<Content>, FatError> {
    match probe::find(dev) {
        Ok(Finding::Ring(_)) => Ok(None),
        Ok(Finding::Other(content)) => Ok(Some(content)),
        Err(error @ FatError::Io { .. }) => Err(error),
        Err(_) => Ok(Some(Content::Unknown)),
    }
}

/// First sector of a slot of the state or of the list of pins, from the start of the volume: one at the beginning of the
/// extent, one in its middle, each in an erase unit of its own.
fn slot_sector(layout: &Layout, extent: Extent, slot: u64) -> u64 {
    layout.sector_of(extent.first) + slot * layout.bytes(extent) / 2 / SECTOR_BYTES as u64
}

/// `CONTENTS.txt`, which never changes its size: the text, cut to what fits, and blanks.
fn contents_text(layout: &Layout, text: &str) -> AlignedBuf {
    let mut out = AlignedBuf::new(layout.bytes(layout.contents) as usize);
    out.fill(b' ');
    let room = out.len() - 1;
    let cut = if text.len() <= room { text.len() } else { text[..=room].rfind('\n').map_or(0, |at| at + 1) };
    out[..cut].copy_from_slice(&text.as_bytes()[..cut]);
    out[room] = b'\n';
    out
}

/// Which ring of a card a volume is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Store,
    Events,
}

/// Finds a ring on a device and sees what is left of it; `None` without an event ring.
fn mount(dev: &impl BlockDev, which: Which) -> Result<Option<(Located, Layout, Checkup)>, FatError> {
    let mut located = match probe::find(dev)? {
        Finding::Ring(located) => *located,
        Finding::Other(content) => return Err(FatError::Foreign { name: dev.name(), content }),
    };
    let events = which == Which::Events;
    if events && located.layout.events.is_none() {
        return Ok(None);
    }
    let (general, other) = checkup::examine(dev, &located)?;
    let (ring, checkup) = match (located.layout.event_ring(), other) {
        (Some(ring), Some(other)) if events => (ring, other),
        _ => (located.layout, general),
    };
    if events {
        // Who opens the store says so.
        located.warnings.clear();
    }
    let left = checkup.usable.iter().filter(|usable| **usable).count() as u32;
    if left < SEGMENTS_MIN {
        return Err(FatError::RingLost { name: dev.name(), events, left, of: ring.segments });
    }
    Ok(Some((located, ring, checkup)))
}

/// See the module. Reads and, when its device can, writes.
#[derive(Debug)]
pub struct FatVolume<D: BlockDev> {
    dev: D,
    located: Located,
    which: Which,
    /// Its ring, as if it were the only one.
    ring: Layout,
    checkup: Checkup,
    /// Waits for the next write of the catalog, or for the end.
    note: Option<String>,
}

impl<D: BlockDev> FatVolume<D> {
    /// Mounts a card: finds the ring, and sees what is left of it. Writes nothing.
    ///
    /// # Errors
    /// No ring there, rings that contradict each other, fewer than two segments left, or the device failed.
    pub fn open(dev: D) -> Result<Self, FatError> {
        let mounted = mount(&dev, Which::Store)?;
        let (located, ring, checkup) = mounted.expect("every card has a ring");
        Ok(Self { dev, located, which: Which::Store, ring, checkup, note: None })
    }

    /// Mounts the event ring of a card; `None` when it was formatted without one. Writes nothing.
    ///
    /// # Errors
    /// As [`FatVolume::open`].
    pub fn open_events(dev: D) -> Result<Option<Self>, FatError> {
        let Some((located, ring, checkup)) = mount(&dev, Which::Events)? else { return Ok(None) };
        Ok(Some(Self { dev, located, which: Which::Events, ring, checkup, note: None }))
    }

    /// Where everything lies: of this ring, and what all rings share.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.ring
    }

    /// The name that computers show for the card; `None` when it has none, or cannot be read.
    #[must_use]
    pub fn label(&self) -> Option<String> {
        let layout = &self.located.layout;
        let mut root = vec![0; layout.cluster_bytes() as usize];
        self.dev.read(self.located.base + layout.sector_of(layout.root.first), &mut root).ok()?;
        names::label_in(&root)
    }

    /// The list of pins, a slot; zeros where it is missing.
    ///
    /// # Errors
    /// The device failed.
    pub fn read_pins(&self, slot: u64) -> Result<Vec<u8>, VolumeError> {
        let mut bytes = vec![0; PINS_SLOT_BYTES];
        if let Some(sector) = self.pins_sector(slot) {
            self.dev.read(sector, &mut bytes).map_err(self.error("read"))?;
        }
        Ok(bytes)
    }

    /// Writes `bytes`, whole flash pages, into a slot of the list of pins, durably.
    ///
    /// # Errors
    /// The list was removed, or the device failed.
    pub fn write_pins(&mut self, slot: u64, bytes: &[u8]) -> Result<(), VolumeError> {
        let removed =
            || io::Error::new(io::ErrorKind::NotFound, "events/pins.dat was removed; format the card");
        let sector = self.pins_sector(slot).ok_or_else(removed).map_err(self.error("write"))?;
        self.dev.write(sector, bytes).map_err(self.error("write"))?;
        self.dev.flush().map_err(self.error("flush"))
    }

    fn pins_sector(&self, slot: u64) -> Option<u64> {
        let events = self.located.layout.events.filter(|_| self.checkup.pins)?;
        Some(self.located.base + slot_sector(&self.ring, events.pins, slot))
    }

    /// What a person should know about this card, each with what can be done.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        let name = self.dev.name();
        let all = self.located.warnings.iter().chain(&self.checkup.warnings);
        all.map(|warning| format!("{name}: {warning}")).collect::<Vec<_>>().into_iter()
    }

    /// The device.
    #[must_use]
    pub const fn device(&self) -> &D {
        &self.dev
    }

    /// Writes boot sectors, ring sectors and partition table again, when one of them is damaged; says whether it did.
    ///
    /// # Errors
    /// The device failed.
    pub fn repair_boot(&mut self) -> Result<bool, FatError> {
        if self.located.warnings.is_empty() {
            return Ok(false);
        }
        format::repair(&mut self.dev, &self.located)?;
        self.located.warnings.clear();
        Ok(true)
    }

    /// Writes `CONTENTS.txt` now, in place.
    ///
    /// # Errors
    /// The device failed.
    pub fn write_contents(&mut self, text: &str) -> Result<(), VolumeError> {
        if !self.checkup.contents {
            return Ok(());
        }
        let sector = self.ring.sector_of(self.ring.contents.first);
        let bytes = contents_text(&self.ring, text);
        self.dev.write(self.located.base + sector, &bytes).map_err(self.error("write"))?;
        self.dev.flush().map_err(self.error("flush"))
    }

    fn error(&self, operation: &'static str) -> impl FnOnce(io::Error) -> VolumeError + use<D> {
        let path = PathBuf::from(self.dev.name());
        move |source| VolumeError::Io { operation, path, source }
    }

    fn area_bytes(&self, area: Area) -> Option<u64> {
        let layout = &self.ring;
        match area {
            Area::State => Some(STATE_BYTES),
            Area::Catalog => Some(catalog_bytes(layout.segment_bytes, layout.segments)),
            Area::Segment(number) => (number < layout.segments).then_some(layout.segment_bytes.into()),
        }
    }

    /// Whether the area is still ours.
    fn is_there(&self, area: Area) -> bool {
        match area {
            Area::State => self.checkup.state,
            Area::Catalog => self.checkup.catalog,
            Area::Segment(number) => self.checkup.usable.get(number as usize).copied().unwrap_or(false),
        }
    }

    fn check(&self, area: Area, offset: u64, bytes: usize) -> Result<(), VolumeError> {
        let end = offset.checked_add(bytes as u64);
        if end.is_some_and(|end| self.area_bytes(area).is_some_and(|most| end <= most)) {
            return Ok(());
        }
        Err(VolumeError::OutOfRange { area, offset, bytes })
    }

    /// Sector of an area's byte on the device, and the byte in that sector. State offsets stay inside a slot.
    fn place(&self, area: Area, offset: u64) -> (u64, usize) {
        let layout = &self.ring;
        let sector = SECTOR_BYTES as u64;
        let (start, offset) = match area {
            Area::State => {
                (slot_sector(layout, layout.state, offset / SLOT_BYTES as u64), offset % SLOT_BYTES as u64)
            }
            Area::Catalog => (layout.sector_of(layout.catalog.first), offset),
            Area::Segment(number) => (layout.sector_of(layout.segment(number).first), offset),
        };
        (self.located.base + start + offset / sector, (offset % sector) as usize)
    }

    fn read_part(&self, area: Area, offset: u64, buf: &mut [u8]) -> Result<(), VolumeError> {
        let (sector, inside) = self.place(area, offset);
        if inside == 0 && buf.len() % SECTOR_BYTES == 0 {
            return self.dev.read(sector, buf).map_err(self.error("read"));
        }
        let mut whole = vec![0; (inside + buf.len()).next_multiple_of(SECTOR_BYTES)];
        self.dev.read(sector, &mut whole).map_err(self.error("read"))?;
        buf.copy_from_slice(&whole[inside..inside + buf.len()]);
        Ok(())
    }
}

impl<D: BlockDev> VolumeRead for FatVolume<D> {
    fn geometry(&self) -> Geometry {
        let Layout { segment_bytes, segments, .. } = self.ring;
        Geometry { segment_bytes, segments, sector_bytes: SECTOR_BYTES as u32 }
    }

    /// What was removed reads as zeros.
    fn read(&self, area: Area, offset: u64, buf: &mut [u8]) -> Result<(), VolumeError> {
        self.check(area, offset, buf.len())?;
        if !self.is_there(area) {
            buf.fill(0);
            return Ok(());
        }
        if area != Area::State {
            return self.read_part(area, offset, buf);
        }
        let mut at = offset;
        let mut rest = buf;
        while !rest.is_empty() {
            let count = rest.len().min(SLOT_BYTES - at as usize % SLOT_BYTES);
            let (part, after) = rest.split_at_mut(count);
            self.read_part(area, at, part)?;
            (rest, at) = (after, at + count as u64);
        }
        Ok(())
    }

    fn will_read(&self, area: Area, offset: u64, bytes: usize) {
        if area != Area::State && self.is_there(area) && self.check(area, offset, bytes).is_ok() {
            self.dev.will_read(self.place(area, offset).0, bytes);
        }
    }

    fn is_usable(&self, segment: u32) -> bool {
        self.is_there(Area::Segment(segment))
    }

    fn identity(&self) -> Option<[u8; 16]> {
        Some(self.ring.uuid)
    }
}

impl<D: BlockDev> VolumeWrite for FatVolume<D> {
    fn write(&mut self, area: Area, offset: u64, bytes: &[u8]) -> Result<(), VolumeError> {
        self.check(area, offset, bytes.len())?;
        if offset % SECTOR_BYTES as u64 != 0 || bytes.len() % SECTOR_BYTES != 0 {
            return Err(VolumeError::OutOfRange { area, offset, bytes: bytes.len() });
        }
        let (sector, _) = self.place(area, offset);
        match area {
            Area::Segment(_) if !self.is_there(area) => {
                Err(self.error("write")(io::Error::new(io::ErrorKind::NotFound, "the segment was removed")))
            }
            // State and catalog can be done without.
            _ if !self.is_there(area) => Ok(()),
            Area::State => {
                let mut page = AlignedBuf::new(STATE_PAGE_BYTES);
                page[..bytes.len()].copy_from_slice(bytes);
                self.dev.write(sector, &page).map_err(self.error("write"))
            }
            _ => self.dev.write(sector, bytes).map_err(self.error("write")),
        }
    }

    fn flush(&mut self, area: Area) -> Result<(), VolumeError> {
        self.dev.flush().map_err(self.error("flush"))?;
        let due = if area == Area::Catalog { self.note.take() } else { None };
        if let Some(text) = due {
            // A person's convenience, kept fresh at the pace of the catalog.
            if let Err(error) = self.write_contents(&text) {
                log::warn!("CONTENTS.txt: {error}");
            }
        }
        Ok(())
    }

    /// By discard, where the card knows one; what it then holds, the caller reads.
    fn erase(&mut self, area: Area, offset: u64, bytes: u64) -> Result<bool, VolumeError> {
        self.check(area, offset, bytes as usize)?;
        let whole = offset % SECTOR_BYTES as u64 == 0 && bytes % SECTOR_BYTES as u64 == 0;
        if !whole || !matches!(area, Area::Segment(_)) || !self.is_there(area) {
            return Ok(false);
        }
        let (sector, _) = self.place(area, offset);
        Ok(self.dev.discard(sector, bytes / SECTOR_BYTES as u64).is_ok())
    }

    fn request_bytes(&self, area: Area, bytes: usize) -> u64 {
        if area == Area::State { STATE_PAGE_BYTES as u64 } else { bytes as u64 }
    }

    fn note_contents(&mut self, text: &str) -> u64 {
        let waits = self.note.replace(text.to_owned()).is_some();
        if waits || !self.checkup.contents { 0 } else { contents_text(&self.ring, text).len() as u64 }
    }

    /// `thorough`: a ring sector is read from the medium and must still be this ring's.
    fn is_there(&self, thorough: bool) -> Result<(), VolumeError> {
        self.dev.is_there().map_err(self.error("look for"))?;
        if !thorough {
            return Ok(());
        }
        let mut sector = [0; SECTOR_BYTES];
        let mut is_ours = false;
        for at in layout::RING_SECTORS {
            self.dev.read_through(self.located.base + at, &mut sector).map_err(self.error("read"))?;
            is_ours |= Layout::decode(&sector).is_some_and(|layout| layout.uuid == self.located.layout.uuid);
        }
        let other = || self.error("read")(io::Error::new(io::ErrorKind::NotFound, "another card is there"));
        if is_ours { Ok(()) } else { Err(other()) }
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        self.note = None; // of the card before
        self.dev.reopen()?;
        let mounted = mount(&self.dev, self.which);
        if mounted.is_err() && self.which == Which::Store {
            // Whoever wants to look at what is there, or format it, can.
            self.dev.close();
        }
        (self.located, self.ring, self.checkup) =
            mounted?.ok_or_else(|| FatError::NoEventRing { name: self.dev.name() })?;
        self.warnings().for_each(|warning| log::warn!("{warning}"));
        Ok(())
    }
}

/// Simulations keep one to look at while a recorder has the other.
#[cfg(test)]
impl<D: BlockDev + Clone> Clone for FatVolume<D> {
    fn clone(&self) -> Self {
        Self {
            dev: self.dev.clone(),
            located: self.located.clone(),
            which: self.which,
            ring: self.ring,
            checkup: self.checkup.clone(),
            note: None,
        }
    }
}

impl<D: BlockDev> Drop for FatVolume<D> {
    fn drop(&mut self) {
        if let Some(text) = self.note.take() {
            if let Err(error) = self.write_contents(&text) {
                log::warn!("CONTENTS.txt: {error}");
            }
        }
    }
}
