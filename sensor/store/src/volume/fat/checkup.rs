//! What a card is like when it comes back: which segments are still where they were put, and what a laptop did to it.
//!
//! A segment counts as long as its clusters are one chain as it was made, in either FAT, and no other file owns them. Its
//! name does not matter: it may have been renamed, moved, or lost in a repair. Everything is read; nothing is written.

use super::boot::{END_OF_CHAIN_MIN, ENTRY_MASK};
use super::error::{FatError, dev_error};
use super::layout::{Extent, Layout};
use super::names::{Found, Parser};
use super::probe::Located;
use crate::volume::block::{BlockDev, SECTOR_BYTES};
use hindcap_wire::counted::Counted;
use hindcap_wire::ledger::{HEADER_END, SegmentHeader};

/// Sectors of a FAT read at once.
const WINDOW_SECTORS: u64 = 256;
/// Directories looked into, and clusters of one: bounds against loops.
const DIRECTORIES_MAX: usize = 4096;
const DIRECTORY_BYTES_MAX: u64 = 2 << 20;
/// Segments named in one message.
const NAMED_MAX: usize = 5;

/// What one of the card's rings is like. See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checkup {
    /// Per segment: it is whole and may be written.
    pub usable: Vec<bool>,
    /// `CONTENTS.txt`, state, catalog and the list of pins are where they were put. Only an event ring has pins.
    pub contents: bool,
    pub state: bool,
    pub catalog: bool,
    pub pins: bool,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// Looks at FATs and directories, for the store's ring and its event ring.
///
/// # Errors
/// Neither FAT can be read.
pub(crate) fn examine(
    dev: &impl BlockDev,
    located: &Located,
) -> Result<(Checkup, Option<Checkup>), FatError> {
    let events = located.layout.event_ring();
    let mut tree = Tree::new(&located.layout, events.as_ref());
    tree.walk(dev, located);
    let general = examine_ring(dev, located, &tree, 0)?;
    let events = if events.is_some() { Some(examine_ring(dev, located, &tree, 1)?) } else { None };
    Ok((general, events))
}

fn examine_ring(
    dev: &impl BlockDev,
    located: &Located,
    tree: &Tree<'_>,
    which: usize,
) -> Result<Checkup, FatError> {
    let Owned { layout, .. } = &tree.rings[which];
    let (name, folder) = if which == 0 { ("", "") } else { (" of the event ring", "events/") };
    let segments: Vec<Extent> = (0..layout.segments).map(|number| layout.segment(number)).collect();
    let chained = chains(dev, located, &segments)?;
    let pins = located.layout.events.filter(|_| which > 0).map(|events| events.pins);
    let files = [Some(layout.contents), Some(layout.state), Some(layout.catalog), pins];
    let extents: Vec<Extent> = files.into_iter().flatten().collect();
    let few = chains(dev, located, &extents)?;
    let is_there = |file: usize| few.get(file) == Some(&true) && !tree.taken(extents[file]);
    let mut checkup = Checkup {
        usable: Vec::new(),
        contents: is_there(0),
        state: is_there(1),
        catalog: is_there(2),
        pins: is_there(3),
        warnings: Vec::new(),
    };
    let mut list = Lists::default();
    for number in 0..layout.segments {
        let ours = || header_is_ours(dev, located, layout, number);
        let usable = chained[number as usize] && tree.leaves(which, number, ours, &mut list);
        if !usable {
            let replaced = tree.rings[which].misplaced.contains(&number);
            if replaced { &mut list.replaced } else { &mut list.removed }.push(number);
        }
        checkup.usable.push(usable);
    }
    list.say(layout.segments, name, &mut checkup.warnings);
    for (there, file, cost) in [
        (checkup.contents, "CONTENTS.txt", "the store works without it"),
        (checkup.state, "hindcap.state", "the store works without it"),
        (checkup.catalog, "catalog.dat", "the store works without it"),
        (checkup.pins || pins.is_none(), "pins.dat", "no session can be pinned until the card is formatted"),
    ] {
        if !there {
            checkup.warnings.push(format!("{folder}{file} was removed or replaced; {cost}"));
        }
    }
    Ok(checkup)
}

/// Per extent: it is one chain in the first FAT, or in the second.
fn chains(dev: &impl BlockDev, located: &Located, extents: &[Extent]) -> Result<Vec<bool>, FatError> {
    let mut fats = [Fat::new(dev, located, 0), Fat::new(dev, located, 1)];
    let mut whole = Vec::with_capacity(extents.len());
    let mut failed = None;
    for extent in extents {
        let mut is_whole = false;
        for fat in &mut fats {
            match fat.is_chain(*extent) {
                Ok(chain) => is_whole |= chain,
                Err(error) => failed = Some(error),
            }
            if is_whole {
                break;
            }
        }
        whole.push(is_whole);
    }
    match failed {
        Some(error) if !whole.contains(&true) => Err(error),
        _ => Ok(whole),
    }
}

/// One of the two FATs, read window by window.
struct Fat<'a, D> {
    dev: &'a D,
    start: u64,
    sectors: u64,
    window: Vec<u8>,
    loaded: Option<u64>,
}

impl<'a, D: BlockDev> Fat<'a, D> {
    fn new(dev: &'a D, located: &Located, which: u64) -> Self {
        let layout = &located.layout;
        let sectors = u64::from(layout.fat_sectors);
        let start = located.base + u64::from(layout.reserved_sectors) + which * sectors;
        Self { dev, start, sectors, window: Vec::new(), loaded: None }
    }

    fn entry(&mut self, cluster: u32) -> Result<u32, FatError> {
        let sector = u64::from(cluster) * 4 / SECTOR_BYTES as u64;
        let window = sector / WINDOW_SECTORS * WINDOW_SECTORS;
        if self.loaded != Some(window) {
            let count = WINDOW_SECTORS.min(self.sectors.saturating_sub(window));
            self.window.resize(count as usize * SECTOR_BYTES, 0);
            self.loaded = None;
            let read = self.dev.read(self.start + window, &mut self.window);
            read.map_err(dev_error("read", self.dev.name()))?;
            self.loaded = Some(window);
        }
        let at = (u64::from(cluster) * 4 - window * SECTOR_BYTES as u64) as usize;
        let bytes = self.window.get(at..at + 4).and_then(|bytes| bytes.first_chunk());
        Ok(bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes)) & ENTRY_MASK)
    }

    fn is_chain(&mut self, extent: Extent) -> Result<bool, FatError> {
        for cluster in extent.range() {
            let entry = self.entry(cluster)?;
            let last = cluster + 1 == extent.range().end;
            if (last && entry < END_OF_CHAIN_MIN) || (!last && entry != cluster + 1) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Whether segment `number` begins with a header of this ring.
fn header_is_ours(dev: &impl BlockDev, located: &Located, layout: &Layout, number: u32) -> bool {
    let mut first = [0; SECTOR_BYTES];
    let sector = located.base + layout.sector_of(layout.segment(number).first);
    dev.read(sector, &mut first).is_ok()
        && first
            .first_chunk::<HEADER_END>()
            .and_then(|start| SegmentHeader::decode(start))
            .is_some_and(|header| header.store == layout.uuid)
}

/// A ring, and what the directories say about its clusters.
struct Owned {
    layout: Layout,
    /// Per segment, the file that begins where it does.
    owners: Vec<Option<Found>>,
    /// Segments whose name another file bears.
    misplaced: Vec<u32>,
}

/// What the directories say about the clusters of all rings.
struct Tree<'a> {
    layout: &'a Layout,
    /// The store's ring, and its event ring.
    rings: Vec<Owned>,
    /// First clusters of files that begin elsewhere inside our areas, not counting what we put there.
    intruders: Vec<u32>,
    unread: bool,
}

impl<'a> Tree<'a> {
    fn new(layout: &'a Layout, events: Option<&Layout>) -> Self {
        let owned = |ring: &Layout| Owned {
            layout: *ring,
            owners: vec![None; ring.segments as usize],
            misplaced: Vec::new(),
        };
        let rings = [Some(layout), events].into_iter().flatten().map(owned).collect();
        Self { layout, rings, intruders: Vec::new(), unread: false }
    }

    fn walk(&mut self, dev: &impl BlockDev, located: &Located) {
        let mut fat = Fat::new(dev, located, 0);
        let mut waiting = vec![self.layout.root.first];
        let mut seen = 0;
        while let Some(first) = waiting.pop() {
            seen += 1;
            if seen > DIRECTORIES_MAX {
                self.unread = true;
                return;
            }
            let found = self.directory(dev, located, &mut fat, first);
            for file in found {
                if file.directory && file.first >= 2 {
                    waiting.push(file.first);
                } else {
                    self.note(file);
                }
            }
        }
    }

    fn directory<D: BlockDev>(
        &mut self,
        dev: &D,
        located: &Located,
        fat: &mut Fat<'_, D>,
        first: u32,
    ) -> Vec<Found> {
        let (mut parser, mut found, mut cluster, mut bytes) = (Parser::default(), Vec::new(), first, 0);
        let mut buf = vec![0; self.layout.cluster_bytes() as usize];
        while !parser.ended && bytes < DIRECTORY_BYTES_MAX {
            let inside = (2..self.layout.clusters() + 2).contains(&cluster);
            if !inside || dev.read(located.base + self.layout.sector_of(cluster), &mut buf).is_err() {
                self.unread |= cluster < END_OF_CHAIN_MIN;
                break;
            }
            parser.take(&buf, &mut found);
            bytes += buf.len() as u64;
            match fat.entry(cluster) {
                Ok(next) => cluster = next,
                Err(_) => break,
            }
        }
        found
    }

    fn note(&mut self, file: Found) {
        for Owned { layout, owners, .. } in &mut self.rings {
            if let Some(number) = layout.segment_at(file.first) {
                owners[number as usize] = Some(file);
                return;
            }
        }
        // In which of the rings the name was is not known: it counts only where the segment is missing.
        for Owned { layout, misplaced, .. } in &mut self.rings {
            let number = segment_number(&file.name).filter(|number| *number < layout.segments);
            misplaced.extend(number.filter(|number| file.is_named_as_segment(*number)));
        }
        let pins = self.layout.events.map(|events| events.pins);
        let files = self
            .rings
            .iter()
            .flat_map(|Owned { layout, .. }| [layout.contents, layout.state, layout.catalog]);
        let begins =
            |extent: Extent| extent.first == file.first && self.layout.bytes(extent) == u64::from(file.bytes);
        if file.first >= 2 && !files.chain(pins).any(begins) {
            self.intruders.push(file.first);
        }
    }

    /// Whether another file begins inside `extent`.
    fn taken(&self, extent: Extent) -> bool {
        self.intruders.iter().any(|first| extent.range().contains(first))
    }

    /// Whether the directories leave segment `number` of ring `which` to us.
    fn leaves(&self, which: usize, number: u32, ours: impl Fn() -> bool, list: &mut Lists) -> bool {
        let Owned { layout, owners, .. } = &self.rings[which];
        let Some(owner) = &owners[number as usize] else {
            list.nameless += 1;
            return true;
        };
        if owner.bytes != layout.segment_bytes {
            return false;
        }
        if owner.is_named_as_segment(number) {
            return true;
        }
        let ours = ours();
        if ours {
            list.renamed.push(format!("{number:06} is {}", owner.name));
        }
        ours
    }
}

/// The number that a segment's name begins with.
fn segment_number(name: &str) -> Option<u32> {
    name.get(..6)?.parse().ok()
}

/// What there is to say about segments.
#[derive(Default)]
struct Lists {
    removed: Vec<u32>,
    replaced: Vec<u32>,
    renamed: Vec<String>,
    nameless: u32,
}

impl Lists {
    fn say(&self, of: u32, name: &str, warnings: &mut Vec<String>) {
        let named = |numbers: &[u32]| {
            let mut list: Vec<String> =
                numbers.iter().take(NAMED_MAX).map(|number| format!("{number:06}")).collect();
            if numbers.len() > NAMED_MAX {
                list.push(format!("{} more", numbers.len() - NAMED_MAX));
            }
            list.join(", ")
        };
        for (numbers, what) in [(&self.removed, "removed"), (&self.replaced, "replaced by another file")] {
            if !numbers.is_empty() {
                let were = if numbers.len() == 1 { "was" } else { "were" };
                warnings.push(format!(
                    "{} of {of} segments{name} {were} {what} on another computer ({}); the others are used. To get their \
                     room back, format the card",
                    numbers.len(),
                    named(numbers)
                ));
            }
        }
        if !self.renamed.is_empty() {
            let list: Vec<&str> = self.renamed.iter().take(NAMED_MAX).map(String::as_str).collect();
            let renamed = Counted(self.renamed.len() as u64, "renamed segment");
            warnings.push(format!(
                "{renamed}{name} ({}); they stay part of the ring and will be overwritten in their turn",
                list.join(", ")
            ));
        }
        if self.nameless > 0 {
            let nameless = Counted(self.nameless.into(), "segment");
            warnings.push(format!(
                "{nameless}{name} without a name: other computers do not show them, but the store has them all"
            ));
        }
    }
}
