//! What is on a device: our ring, somebody else's data, or nothing.

use std::fmt;

use super::boot::{self, BACKUP_BOOT, Partition, Sector};
use super::error::{FatError, dev_error};
use super::layout::{Layout, RING_SECTORS};
use crate::volume::block::{BlockDev, SECTOR_BYTES};

/// Where a volume starts when the partition table is damaged: the erase units there are, and 1 MiB.
pub(crate) const STARTS: [u64; 8] = [2048, 8192, 16_384, 24_576, 32_768, 49_152, 65_536, 131_072];

/// What a person reads in the first sector of a device that the power left half formatted.
const UNFINISHED: &[u8] = b"Hindcap: formatting was begun and not ended; nothing was recorded here yet.\n";

/// What is on a device that is no Hindcap card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Zeros, or 0xFF, at the beginning.
    Blank,
    /// A FAT volume of somebody else.
    Fat,
    /// exFAT.
    ExFat,
    /// NTFS.
    Ntfs,
    /// ext2, ext3 or ext4.
    Ext,
    /// Partitions, with this many entries, none of them a ring.
    Partitions(usize),
    /// A store whose formatting was begun and not ended.
    Unfinished,
    /// Something unknown.
    Unknown,
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => f.write_str("it is blank"),
            Self::Fat => f.write_str("it holds a FAT file system with other files"),
            Self::ExFat => f.write_str("it holds an exFAT file system"),
            Self::Ntfs => f.write_str("it holds an NTFS file system"),
            Self::Ext => f.write_str("it holds an ext file system"),
            Self::Partitions(1) => f.write_str("it holds a partition with something else"),
            Self::Partitions(count) => write!(f, "it holds {count} partitions with something else"),
            Self::Unfinished => f.write_str("formatting it was begun and not ended"),
            Self::Unknown => f.write_str("it holds something unknown"),
        }
    }
}

/// A ring that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    /// First sector of its volume on this device.
    pub base: u64,
    pub layout: Layout,
    /// What was damaged and stood in for, for a person.
    pub warnings: Vec<String>,
    /// Boot sector, its copy: whether they are whole.
    pub boots: [bool; 2],
    /// The partition table is not whole, although there must have been one.
    pub table_lost: bool,
}

/// What is on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    Ring(Box<Located>),
    Other(Content),
}

/// Reads one sector.
pub(crate) fn sector(dev: &impl BlockDev, lba: u64) -> Result<Sector, FatError> {
    let mut bytes = [0; SECTOR_BYTES];
    dev.read(lba, &mut bytes).map_err(dev_error("read", dev.name()))?;
    Ok(bytes)
}

/// Finds the ring, or says what is there instead.
///
/// # Errors
/// The device cannot be read, or it holds rings that contradict each other.
pub(crate) fn find(dev: &impl BlockDev) -> Result<Finding, FatError> {
    if dev.geometry().sectors < 128 {
        return Ok(Finding::Other(Content::Blank));
    }
    let first = sector(dev, 0)?;
    if let Finding::Ring(located) = volume_at(dev, 0, &first)? {
        return Ok(Finding::Ring(located));
    }
    let content = content(dev, &first)?;
    match (content, boot::partitions(&first)) {
        (Content::Partitions(_), Some(table)) if boot::is_protective(&table) => {
            in_partitions(dev, &gpt(dev)?.unwrap_or(table))
        }
        (Content::Partitions(_), Some(table)) => in_partitions(dev, &table),
        (Content::Unknown | Content::Blank | Content::Unfinished, _) => without_table(dev, content),
        _ => Ok(Finding::Other(content)),
    }
}

/// The partitions of a GUID partition table, or of its copy at the end; `None` when neither header is whole.
fn gpt(dev: &impl BlockDev) -> Result<Option<Vec<Partition>>, FatError> {
    for header in [1, dev.geometry().sectors - 1] {
        let Some((first, count, bytes)) = boot::gpt_entries(&sector(dev, header)?) else { continue };
        let mut found = Vec::new();
        for number in 0..count {
            let at = number as usize * bytes;
            let lba = first.saturating_add((at / SECTOR_BYTES) as u64);
            if lba >= dev.geometry().sectors {
                break;
            }
            let inside = at % SECTOR_BYTES;
            found.extend(boot::gpt_entry(number + 1, &sector(dev, lba)?[inside..inside + bytes]));
        }
        return Ok(Some(found));
    }
    Ok(None)
}

fn in_partitions(dev: &impl BlockDev, table: &[Partition]) -> Result<Finding, FatError> {
    let mut rings = Vec::new();
    for entry in table
        .iter()
        .filter(|entry| entry.start.checked_add(128).is_some_and(|end| end <= dev.geometry().sectors))
    {
        if let Finding::Ring(located) = volume_at(dev, entry.start, &sector(dev, entry.start)?)? {
            rings.push((entry.number, located));
        }
    }
    match (rings.pop(), rings.is_empty()) {
        (Some((_, located)), true) => Ok(Finding::Ring(located)),
        (Some((number, _)), false) => {
            let partitions = rings.iter().map(|(number, _)| *number).chain([number]).collect();
            Err(FatError::SeveralRings { name: dev.name(), partitions })
        }
        (None, _) => Ok(Finding::Other(Content::Partitions(table.len()))),
    }
}

/// The partition table is gone: a ring sector where partitions of cards start.
fn without_table(dev: &impl BlockDev, content: Content) -> Result<Finding, FatError> {
    for start in STARTS.into_iter().filter(|start| start + 128 <= dev.geometry().sectors) {
        let found = volume_at(dev, start, &sector(dev, start)?)?;
        if let Finding::Ring(mut located) = found {
            if located.layout.start == start {
                located.table_lost = true;
                located.warnings.push(String::from(
                    "the partition table is damaged, so other computers will not find the files; hindcapd eject writes \
                     it anew",
                ));
                return Ok(Finding::Ring(located));
            }
        }
    }
    Ok(Finding::Other(content))
}

/// Looks for a ring volume that starts at sector `base`, whose first sector is `boot`.
fn volume_at(dev: &impl BlockDev, base: u64, first: &Sector) -> Result<Finding, FatError> {
    let other = Ok(Finding::Other(Content::Unknown));
    let mut copies = Vec::new();
    for at in RING_SECTORS {
        copies.extend(sector(dev, base + at).ok().and_then(|bytes| Layout::decode(&bytes)));
    }
    let second = sector(dev, base + BACKUP_BOOT)?;
    // A laptop that formatted the card anew leaves ring sectors behind, but its boot sector is another.
    let foreign = |layout: &Layout| {
        let replaced = boot::is_fat(first) || is_named(first, b"EXFAT   ") || is_named(first, b"NTFS    ");
        replaced && !boot::is_boot_of(first, layout)
    };
    copies.retain(|layout| !foreign(layout));
    if let [one, two] = copies[..] {
        if one != two {
            let matching =
                |layout: &Layout| boot::is_boot_of(first, layout) && first[67..71] == layout.uuid[..4];
            match (matching(&one), matching(&two)) {
                (true, false) => copies = vec![one],
                (false, true) => copies = vec![two],
                _ => {
                    let rings = [one, two].map(|layout| (layout.segments, layout.segment_bytes));
                    return Err(FatError::TwoGeometries { name: dev.name(), rings });
                }
            }
        }
    }
    let Some(layout) = copies.first().copied() else { return other };
    let boots = [boot::is_boot_of(first, &layout), boot::is_boot_of(&second, &layout)];
    let have = dev.geometry().sectors.saturating_sub(base);
    if u64::from(layout.sectors) > have {
        return Err(FatError::Truncated {
            name: dev.name(),
            needed_bytes: u64::from(layout.sectors) * SECTOR_BYTES as u64,
            available_bytes: have * SECTOR_BYTES as u64,
        });
    }
    let mut warnings = Vec::new();
    let repair = "hindcapd eject writes it anew";
    match boots {
        [true, true] => {}
        [false, true] => {
            warnings.push(format!("the boot sector is damaged; its backup is used; {repair}"));
        }
        [true, false] => warnings.push(format!("the backup boot sector is damaged; {repair}")),
        [false, false] => warnings.push(format!(
            "both boot sectors are damaged, so other computers cannot read the card; {repair}"
        )),
    }
    if copies.len() == 1 {
        warnings.push(format!("one of two ring sectors is damaged; {repair}"));
    }
    Ok(Finding::Ring(Box::new(Located { base, layout, warnings, boots, table_lost: false })))
}

/// The first sector of a device while it is being formatted, which the very last write replaces.
pub(crate) fn unfinished() -> Sector {
    let mut sector = [0; SECTOR_BYTES];
    sector[..UNFINISHED.len()].copy_from_slice(UNFINISHED);
    sector
}

pub(crate) fn is_unfinished(sector: &Sector) -> bool {
    *sector == unfinished()
}

fn is_named(sector: &Sector, name: &[u8; 8]) -> bool {
    sector[3..11] == *name
}

/// What a device without a ring holds.
fn content(dev: &impl BlockDev, first: &Sector) -> Result<Content, FatError> {
    let ext = sector(dev, 2)?;
    Ok(if is_unfinished(first) {
        Content::Unfinished
    } else if is_named(first, b"EXFAT   ") {
        Content::ExFat
    } else if is_named(first, b"NTFS    ") {
        Content::Ntfs
    } else if boot::is_fat(first) {
        Content::Fat
    } else if let Some(table) = boot::partitions(first) {
        Content::Partitions(table.len())
    } else if ext[56..58] == [0x53, 0xEF] {
        Content::Ext
    } else {
        let blank =
            |byte: u8| first.iter().all(|other| *other == byte) && ext.iter().all(|other| *other == byte);
        if blank(0) || blank(0xFF) { Content::Blank } else { Content::Unknown }
    })
}
