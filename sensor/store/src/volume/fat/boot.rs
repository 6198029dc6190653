//! The sectors that other systems read first: boot sector, FSInfo, partition table. Offsets as in Microsoft's "FAT: General
//! Overview of On-Disk Format" 1.03 and, for the partition table, the SD File System Specification.

use super::layout::{Extent, Layout};
use crate::volume::block::SECTOR_BYTES;

/// A sector.
pub(crate) type Sector = [u8; SECTOR_BYTES];

/// Where the second boot sector and FSInfo lie.
pub(crate) const BACKUP_BOOT: u64 = 6;
/// FAT32 with LBA, the type of partition that every laptop mounts from a card.
pub(crate) const PARTITION_FAT32_LBA: u8 = 0x0C;

const SIGNATURE: [u8; 2] = [0x55, 0xAA];

fn put(out: &mut Sector, at: usize, bytes: &[u8]) {
    out[at..at + bytes.len()].copy_from_slice(bytes);
}

fn u16_at(sector: &Sector, at: usize) -> u16 {
    u16::from_le_bytes([sector[at], sector[at + 1]])
}

fn u32_at(sector: &Sector, at: usize) -> u32 {
    u32::from_le_bytes([sector[at], sector[at + 1], sector[at + 2], sector[at + 3]])
}

/// The boot sector; `label` is 11 bytes, padded with spaces.
pub(crate) fn boot_sector(layout: &Layout, label: [u8; 11]) -> Sector {
    let mut out = [0; SECTOR_BYTES];
    put(&mut out, 0, &[0xEB, 0x58, 0x90]);
    put(&mut out, 3, b"HINDCAP ");
    put(&mut out, 11, &(SECTOR_BYTES as u16).to_le_bytes());
    out[13] = layout.cluster_sectors as u8;
    put(&mut out, 14, &(layout.reserved_sectors as u16).to_le_bytes());
    out[16] = 2; // FATs
    out[21] = 0xF8; // fixed disk
    put(&mut out, 24, &63_u16.to_le_bytes());
    put(&mut out, 26, &255_u16.to_le_bytes());
    put(&mut out, 28, &(layout.start as u32).to_le_bytes());
    put(&mut out, 32, &layout.sectors.to_le_bytes());
    put(&mut out, 36, &layout.fat_sectors.to_le_bytes());
    put(&mut out, 44, &layout.root.first.to_le_bytes());
    put(&mut out, 48, &1_u16.to_le_bytes()); // FSInfo
    put(&mut out, 50, &(BACKUP_BOOT as u16).to_le_bytes());
    out[64] = 0x80;
    out[66] = 0x29;
    put(&mut out, 67, &layout.uuid[..4]);
    put(&mut out, 71, &label);
    put(&mut out, 82, b"FAT32   ");
    put(&mut out, 90, &[0xF4, 0xEB, 0xFD]); // hlt; jump back: not for booting
    put(&mut out, 510, &SIGNATURE);
    out
}

/// Whether a boot sector describes this layout. What laptops change (label, serial, flags) does not matter.
pub(crate) fn is_boot_of(sector: &Sector, layout: &Layout) -> bool {
    let own = boot_sector(layout, [b' '; 11]);
    let same = |from: usize, to: usize| sector[from..to] == own[from..to];
    same(11, 17) && same(19, 21) && same(22, 24) && same(32, 40) && same(44, 48) && same(510, 512)
}

/// Whether this is the boot sector of some FAT volume.
pub(crate) fn is_fat(sector: &Sector) -> bool {
    let fat_name = &sector[54..57] == b"FAT" || &sector[82..85] == b"FAT";
    let jump = matches!(sector[0], 0xEB | 0xE9);
    sector[510..] == SIGNATURE
        && jump
        && fat_name
        && matches!(u16_at(sector, 11), 512 | 1024 | 2048 | 4096)
        && sector[13].is_power_of_two()
        && sector[16] > 0
}

/// FSInfo: free clusters, and where a laptop starts to look for them (behind the ring).
pub(crate) fn fs_info(free: u32, next: u32) -> Sector {
    let mut out = [0; SECTOR_BYTES];
    put(&mut out, 0, b"RRaA");
    put(&mut out, 484, b"rrAa");
    put(&mut out, 488, &free.to_le_bytes());
    put(&mut out, 492, &next.to_le_bytes());
    put(&mut out, 510, &SIGNATURE);
    out
}

/// A partition table with one partition.
pub(crate) fn partition_table(layout: &Layout) -> Sector {
    let mut out = [0; SECTOR_BYTES];
    put(&mut out, 440, &layout.uuid[4..8]);
    put(&mut out, 446, &[0, 0xFE, 0xFF, 0xFF, PARTITION_FAT32_LBA, 0xFE, 0xFF, 0xFF]);
    put(&mut out, 454, &(layout.start as u32).to_le_bytes());
    put(&mut out, 458, &layout.sectors.to_le_bytes());
    put(&mut out, 510, &SIGNATURE);
    out
}

/// An entry of a partition table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Partition {
    /// From 1.
    pub number: u32,
    /// Type.
    pub kind: u8,
    /// First sector.
    pub start: u64,
    /// Sectors.
    pub sectors: u64,
}

/// The partitions of a table; `None` when this is none.
pub(crate) fn partitions(sector: &Sector) -> Option<Vec<Partition>> {
    if sector[510..] != SIGNATURE {
        return None;
    }
    let mut found = Vec::new();
    for (number, at) in (1..).zip([446, 462, 478, 494]) {
        if !matches!(sector[at], 0 | 0x80) {
            return None;
        }
        let entry = Partition {
            number,
            kind: sector[at + 4],
            start: u32_at(sector, at + 8).into(),
            sectors: u32_at(sector, at + 12).into(),
        };
        if entry.kind != 0 && entry.sectors != 0 {
            found.push(entry);
        }
    }
    (!found.is_empty()).then_some(found)
}

/// The type of the one partition that stands for a GUID partition table where other programs look for partitions.
const PARTITION_PROTECTIVE: u8 = 0xEE;

/// Whether the partitions are in a GUID partition table instead (UEFI specification 2.10, 5.2.3).
pub(crate) fn is_protective(table: &[Partition]) -> bool {
    table.iter().any(|entry| entry.kind == PARTITION_PROTECTIVE)
}

/// Where a GUID partition table has its entries: first sector, number, bytes of each (UEFI specification 2.10, 5.3.2);
/// `None` when this is no header that makes sense. The entries' CRC is not looked at: a ring tells by itself what it is.
pub(crate) fn gpt_entries(header: &Sector) -> Option<(u64, u32, usize)> {
    let first = u64::from(u32_at(header, 72)) | u64::from(u32_at(header, 76)) << 32;
    let (count, bytes) = (u32_at(header, 80), u32_at(header, 84) as usize);
    let ok = &header[..8] == b"EFI PART" && first > 0 && matches!(bytes, 128 | 256 | 512);
    ok.then_some((first, count.min(GPT_ENTRIES_MAX), bytes))
}

/// Entries of a GUID partition table that are looked at: as many as every system makes.
const GPT_ENTRIES_MAX: u32 = 128;

/// An entry of a GUID partition table; `None` when it is not used.
pub(crate) fn gpt_entry(number: u32, entry: &[u8]) -> Option<Partition> {
    let lba = |at: usize| Some(u64::from_le_bytes(entry.get(at..at + 8)?.try_into().ok()?));
    let used = entry.get(..16)?.iter().any(|byte| *byte != 0);
    let (start, last) = (lba(32)?, lba(40)?);
    let sectors = last.checked_sub(start)?.checked_add(1)?;
    used.then_some(Partition { number, kind: 0, start, sectors })
}

/// FAT entry of a cluster that belongs to a chain made of `extents`: the next cluster, the end mark, or free. `extents` are
/// ascending and apart.
pub(crate) fn fat_entry(extents: &[Extent], cluster: u32) -> u32 {
    match cluster {
        0 => 0x0FFF_FFF8,
        1 => 0x0FFF_FFFF,
        _ => {
            let at = extents.partition_point(|extent| extent.range().end <= cluster);
            match extents.get(at).map(Extent::range) {
                Some(range) if range.contains(&cluster) => {
                    if cluster + 1 == range.end {
                        END_OF_CHAIN
                    } else {
                        cluster + 1
                    }
                }
                _ => 0,
            }
        }
    }
}

/// The last cluster of a chain.
pub(crate) const END_OF_CHAIN: u32 = 0x0FFF_FFFF;
/// Values from here on end a chain.
pub(crate) const END_OF_CHAIN_MIN: u32 = 0x0FFF_FFF8;
/// The bits of a FAT entry that count.
pub(crate) const ENTRY_MASK: u32 = 0x0FFF_FFFF;
