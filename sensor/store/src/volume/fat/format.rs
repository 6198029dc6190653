//! The ring formatter: FAT32 with every file there from the start, contiguous and aligned (docs/FORMAT.md, "FAT layout").
//!
//! Order of writes, with a flush after each step, so that a cut leaves either the old store, or nothing that anyone would
//! take for a store, or the new one: what makes the old one a volume is wiped; FATs, directories, the beginnings of state
//! and catalog are written; backup boot sector and ring sectors; boot sector and partition table last. No segment is
//! touched: old packets in them bear another store's uuid and are never served.

use hindcap_wire::time::Timestamp;

use super::boot::{self, BACKUP_BOOT};
use super::error::{FatError, dev_error};
use super::layout::{Extent, Layout, RESERVED_MIN, RING_SECTORS, Shape};
use super::names::{self, DIRECTORY, DosTime, Name, READ_ONLY};
use super::probe::{Located, STARTS, unfinished};
use crate::EventShare;
use crate::catalog::ENTRY_BYTES;
use crate::layout::SEGMENTS_MIN;
use crate::state::{SLOT_BYTES, State};
use crate::volume::aligned::AlignedBuf;
use crate::volume::block::{BlockDev, SECTOR_BYTES};

/// Erase unit when nobody tells: what cards of up to 32 GB use at most, and most larger ones.
pub const ERASE_BYTES_DEFAULT: u32 = 4 << 20;
/// Share of a card that its event ring gets when nobody said, percent: as of a store in a directory.
pub const EVENT_PERCENT_DEFAULT: u8 = 10;
/// Bytes written at once.
const STEP: usize = 1 << 20;
const SEGMENT_BYTES_DEFAULT: u32 = hindcap_wire::limits::SEGMENT_BYTES_DEFAULT;
/// Segments that a small card gets at least, by smaller segments.
const SEGMENTS_WANTED: u32 = 8;

/// How to format.
#[derive(Clone, Debug)]
pub struct FormatOptions {
    /// Identity of the store.
    pub uuid: [u8; 16],
    /// Bytes of a segment; `None` for 64 MiB, or less on a small card.
    pub segment_bytes: Option<u32>,
    /// Erase unit; `None` for what the device tells, else 4 MiB.
    pub erase_bytes: Option<u32>,
    /// Most segments.
    pub segments_max: u32,
    /// What of the card the event ring gets, half of it at most; `None` for [`EVENT_PERCENT_DEFAULT`], or no event ring on a
    /// card that is too small for one.
    pub event_share: Option<EventShare>,
    /// Up to 11 letters and digits.
    pub label: String,
    /// Whether the device is told to forget everything first.
    pub discard: bool,
    /// Time of the directory entries.
    pub now: Timestamp,
}

impl FormatOptions {
    /// The defaults for a store with this identity.
    #[must_use]
    pub fn new(uuid: [u8; 16], now: Timestamp) -> Self {
        let label = String::from("HINDCAP");
        Self {
            uuid,
            segment_bytes: None,
            erase_bytes: None,
            segments_max: u32::MAX,
            event_share: None,
            label,
            discard: true,
            now,
        }
    }
}

/// What [`format()`] would make of `dev`.
///
/// # Errors
/// An option makes no sense, or the device is too small.
pub fn plan(dev: &impl BlockDev, options: &FormatOptions) -> Result<Layout, FatError> {
    let geometry = dev.geometry();
    let told = Some(geometry.erase_bytes).filter(|bytes| *bytes > 0);
    let erase_bytes = options.erase_bytes.or(told).unwrap_or(ERASE_BYTES_DEFAULT);
    // A disk gets a partition table, as cards have it from the factory; images and partitions get none.
    let table = if geometry.whole_disk { u64::from(erase_bytes) / SECTOR_BYTES as u64 } else { 0 };
    let shape = |segment_bytes| Shape {
        sectors: geometry.sectors.saturating_sub(table),
        start: geometry.start + table,
        erase_bytes,
        segment_bytes,
        segments_max: options.segments_max.max(SEGMENTS_MIN),
        event_share: options.event_share.unwrap_or(EventShare::Percent(EVENT_PERCENT_DEFAULT)),
    };
    let asked = options.event_share.filter(|share| !share.is_none());
    let sectors = geometry.sectors;
    if let Some(share) = asked.filter(|share| share.is_too_much(sectors * SECTOR_BYTES as u64)) {
        return Err(FatError::EventShare { share, sectors });
    }
    let with_events = |layout: Layout| match asked.filter(|_| layout.events.is_none()) {
        Some(share) => Err(FatError::EventShare { share, sectors }),
        None => Ok(layout),
    };
    if let Some(segment_bytes) = options.segment_bytes {
        return Layout::plan(&shape(segment_bytes), options.uuid).and_then(with_events);
    }
    // As near to 64 MiB as the unit allows; half of it as long as the card has room for too few.
    let mut units = (SEGMENT_BYTES_DEFAULT / erase_bytes.max(1)).max(1);
    let least = hindcap_wire::limits::SEGMENT_BYTES_MIN.div_ceil(erase_bytes.max(1));
    loop {
        let planned = Layout::plan(&shape(units * erase_bytes), options.uuid);
        let enough = planned.as_ref().is_ok_and(|layout| {
            layout.segments >= SEGMENTS_WANTED.min(options.segments_max) || units / 2 < least
        });
        if enough || units / 2 < least {
            return planned.and_then(with_events);
        }
        units /= 2;
    }
}

/// Makes `dev` an empty ring volume. Whatever was on it is lost.
///
/// # Errors
/// As [`plan`], or the device failed; it then holds no store.
pub fn format(dev: &mut impl BlockDev, options: &FormatOptions) -> Result<Layout, FatError> {
    let layout = plan(dev, options)?;
    let label = names::label(&options.label)
        .ok_or(FatError::Option { what: "label: 1 to 11 letters, digits, blanks or -_#$%&@!()" })?;
    let base = layout.start - dev.geometry().start;
    let mut out = Out { dev, base };
    out.wipe()?;
    if options.discard {
        out.discard(&layout);
    }
    out.fats(&layout)?;
    out.directories(&layout, label, DosTime::of(options.now))?;
    out.areas(&layout)?;
    out.flush()?;
    let free = layout.clusters() - chains(&layout).iter().map(|extent| extent.count).sum::<u32>();
    out.boot(&layout, label, free, base > 0)?;
    Ok(layout)
}

/// Writes the sectors again that other systems read first, from what the ring sector says: for a card on which one of
/// them was damaged. The partition table only where it is lost: there may be other partitions in it.
pub(crate) fn repair(dev: &mut impl BlockDev, located: &Located) -> Result<(), FatError> {
    const FREE_UNKNOWN: u32 = u32::MAX;
    let mut out = Out { dev, base: located.base };
    out.boot(&located.layout, *b"HINDCAP    ", FREE_UNKNOWN, located.table_lost)
}

struct Out<'a, D> {
    dev: &'a mut D,
    base: u64,
}

impl<D: BlockDev> Out<'_, D> {
    /// At a sector of the volume.
    fn write(&mut self, sector: u64, bytes: &[u8]) -> Result<(), FatError> {
        let name = self.dev.name();
        self.dev.write(self.base + sector, bytes).map_err(dev_error("write", name))
    }

    fn flush(&mut self) -> Result<(), FatError> {
        let name = self.dev.name();
        self.dev.flush().map_err(dev_error("flush", name))
    }

    /// Whatever was there is no volume any more: boot sectors and ring sectors, here and wherever they are looked for. The
    /// first sector says until the end that this is not ended.
    fn wipe(&mut self) -> Result<(), FatError> {
        let zeros = AlignedBuf::new(RESERVED_MIN as usize * SECTOR_BYTES);
        let mut first = AlignedBuf::new(zeros.len());
        first[..SECTOR_BYTES].copy_from_slice(&unfinished());
        let geometry = self.dev.geometry();
        let starts = STARTS.into_iter().filter(|_| geometry.start == 0);
        for at in starts.chain([self.base, 0]) {
            if at + RESERVED_MIN <= geometry.sectors {
                let name = self.dev.name();
                let bytes = if at == 0 { &first } else { &zeros };
                self.dev.write(at, bytes).map_err(dev_error("write", name))?;
            }
        }
        self.flush()
    }

    /// Nothing depends on it, so it may fail, and ends with the first refusal.
    fn discard(&mut self, layout: &Layout) {
        let from = self.base + layout.data_start();
        let end = self.base + u64::from(layout.sectors);
        let step = (64 << 20) / SECTOR_BYTES as u64;
        for at in (from..end).step_by(step as usize) {
            if let Err(error) = self.dev.discard(at, step.min(end - at)) {
                log::debug!("{}: no discard: {error}", self.dev.name());
                return;
            }
        }
    }

    fn fats(&mut self, layout: &Layout) -> Result<(), FatError> {
        let chains = chains(layout);
        let entries = layout.clusters() + 2;
        let mut buf = AlignedBuf::new(STEP);
        let per_step = (STEP / 4) as u32;
        for from in (0..entries).step_by(per_step as usize) {
            for (cluster, entry) in (from..).zip(buf.chunks_exact_mut(4)) {
                entry.copy_from_slice(&boot::fat_entry(&chains, cluster).to_le_bytes());
            }
            let bytes = ((entries - from).min(per_step) as usize * 4).next_multiple_of(SECTOR_BYTES);
            let sector = u64::from(from) * 4 / SECTOR_BYTES as u64;
            for fat in [0, u64::from(layout.fat_sectors)] {
                self.write(u64::from(layout.reserved_sectors) + fat + sector, &buf[..bytes])?;
            }
        }
        Ok(())
    }

    fn directories(&mut self, layout: &Layout, label: [u8; 11], at: DosTime) -> Result<(), FatError> {
        let mut root = Vec::new();
        names::append_label(&mut root, label, at);
        append_ring(&mut root, layout, at);
        if let (Some(events), Some(ring)) = (layout.events, layout.event_ring()) {
            names::append(&mut root, &Name::new("events", b"EVENTS     "), DIRECTORY, events.dir, 0, at);
            let mut dir = Vec::new();
            names::append_dots(&mut dir, events.dir, 0, at);
            append_ring(&mut dir, &ring, at);
            let (pins, bytes) = (Name::new("pins.dat", b"PINS    DAT"), layout.bytes(events.pins) as u32);
            names::append(&mut dir, &pins, READ_ONLY, events.pins, bytes, at);
            self.fill(layout, events.dir, &dir)?;
            self.fill(layout, events.names, &segment_names(&ring, events.dir.first, at))?;
        }
        self.fill(layout, layout.root, &root)?;
        self.fill(layout, layout.names, &segment_names(layout, 0, at))
    }

    /// State, catalog, contents and pins must not be those of the store before.
    fn areas(&mut self, layout: &Layout) -> Result<(), FatError> {
        if let (Some(events), Some(ring)) = (layout.events, layout.event_ring()) {
            let zeros = AlignedBuf::new(super::STATE_PAGE_BYTES);
            for slot in 0..2 {
                self.write(super::slot_sector(layout, events.pins, slot), &zeros)?;
            }
            self.areas_of(&ring, "Hindcap event ring, no session pinned yet.\n")?;
        }
        self.areas_of(layout, "Hindcap store, nothing recorded yet.\n")
    }

    /// As [`Out::areas`], of one ring.
    fn areas_of(&mut self, layout: &Layout, text: &str) -> Result<(), FatError> {
        let slot = AlignedBuf::new(super::STATE_PAGE_BYTES.max(SLOT_BYTES));
        let mut first = slot;
        let (segment_bytes, segments, uuid) = (layout.segment_bytes, layout.segments, layout.uuid);
        let state = State::new(uuid, segment_bytes, segments);
        first[..SLOT_BYTES].copy_from_slice(&state.encode());
        self.write(layout.sector_of(layout.state.first), &first)?;
        let zeros = AlignedBuf::new(first.len());
        self.write(super::slot_sector(layout, layout.state, 1), &zeros)?;
        let entries = (layout.segments as usize * ENTRY_BYTES).next_multiple_of(super::STATE_PAGE_BYTES);
        self.write(layout.sector_of(layout.catalog.first), &AlignedBuf::new(entries))?;
        let text = super::contents_text(layout, text);
        self.write(layout.sector_of(layout.contents.first), &text)
    }

    /// `bytes` and zeros behind them, to the end of the extent.
    fn fill(&mut self, layout: &Layout, extent: Extent, bytes: &[u8]) -> Result<(), FatError> {
        let mut buf = AlignedBuf::new(layout.bytes(extent) as usize);
        buf[..bytes.len()].copy_from_slice(bytes);
        self.write(layout.sector_of(extent.first), &buf)
    }

    fn boot(&mut self, layout: &Layout, label: [u8; 11], free: u32, table: bool) -> Result<(), FatError> {
        let boot = boot::boot_sector(layout, label);
        let info = boot::fs_info(free, layout.end());
        // Sectors 1 to 63: everything but the boot sector.
        let mut head = AlignedBuf::new(63 * SECTOR_BYTES);
        let mut put = |sector: u64, bytes: &boot::Sector| {
            let at = (sector as usize - 1) * SECTOR_BYTES;
            head[at..at + SECTOR_BYTES].copy_from_slice(bytes);
        };
        put(1, &info);
        put(BACKUP_BOOT, &boot);
        put(BACKUP_BOOT + 1, &info);
        for sector in RING_SECTORS {
            put(sector, &layout.encode());
        }
        self.write(1, &head)?;
        self.flush()?;
        self.write(0, &boot)?;
        if table {
            let name = self.dev.name();
            self.dev.write(0, &boot::partition_table(layout)).map_err(dev_error("write", name))?;
        }
        self.flush()
    }
}

/// Appends what the directory of a store holds: the one of its segments, and its files.
fn append_ring(out: &mut Vec<u8>, layout: &Layout, at: DosTime) {
    names::append(out, &Name::new("segments", b"SEGMENTS   "), DIRECTORY, layout.names, 0, at);
    for (name, short, extent) in [
        ("CONTENTS.txt", b"CONTENTSTXT", layout.contents),
        ("hindcap.state", b"HINDCA~1STA", layout.state),
        ("catalog.dat", b"CATALOG DAT", layout.catalog),
    ] {
        let bytes = layout.bytes(extent) as u32;
        names::append(out, &Name::new(name, short), READ_ONLY, extent, bytes, at);
    }
}

/// The directory of a ring's segments.
fn segment_names(layout: &Layout, parent: u32, at: DosTime) -> Vec<u8> {
    let mut segments = Vec::new();
    names::append_dots(&mut segments, layout.names, parent, at);
    for number in 0..layout.segments {
        let extent = layout.segment(number);
        names::append(&mut segments, &Name::segment(number), READ_ONLY, extent, layout.segment_bytes, at);
    }
    segments
}

/// Every chain of a fresh volume, ascending.
fn chains(layout: &Layout) -> Vec<Extent> {
    let events = layout.event_ring();
    let mut chains = Vec::new();
    for extent in layout.extents() {
        let ring = [Some(layout), events.as_ref()].into_iter().flatten().find(|ring| ring.ring == extent);
        match ring {
            Some(ring) => chains.extend((0..ring.segments).map(|number| ring.segment(number))),
            None => chains.push(extent),
        }
    }
    chains
}
