//! The card in the hands of other people's programs: `fsck.fat`, mtools, `fatfs`, tshark, tcpdump.

mod accounting;
mod ageing;
mod blank;
mod crash;
mod events;
mod laptop;
mod pair;
mod recording;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use hindcap_wire::time::Timestamp;

use super::*;
use crate::EventShare;
use crate::volume::block::{Access, FileDev, OpenError};

const UUID: [u8; 16] = *b"sixteen bytes id";
const MIB: u64 = 1 << 20;
const NOW: Timestamp = Timestamp(1_795_300_215_000_000_000);

fn options(erase: u32, segment: u32) -> FormatOptions {
    FormatOptions { segment_bytes: Some(segment), erase_bytes: Some(erase), ..FormatOptions::new(UUID, NOW) }
}

/// A small card: 4 MiB segments, as many as `segments`.
fn small() -> FormatOptions {
    options(1 << 20, 4 << 20)
}

/// An image file with a fresh ring.
struct Card {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Card {
    fn blank(bytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("card.img");
        FileDev::create_image(&path, bytes).unwrap();
        Self { _dir: dir, path }
    }

    fn formatted(bytes: u64, options: &FormatOptions) -> (Self, Layout) {
        let card = Self::blank(bytes);
        let layout = format(&mut card.writer(), options).unwrap();
        (card, layout)
    }

    /// Another test's `fork` may hold a copy of a closed descriptor, and its lock, until its `exec`: that is waited for.
    fn writer(&self) -> FileDev {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            match FileDev::open(&self.path, Access::Write) {
                Err(OpenError::InUse { .. }) if Instant::now() < deadline => std::thread::yield_now(),
                opened => return opened.unwrap(),
            }
        }
    }

    fn reader(&self) -> FileDev {
        FileDev::open(&self.path, Access::Read).unwrap()
    }

    fn mounted(&self) -> FatVolume<FileDev> {
        FatVolume::open(self.writer()).unwrap()
    }

    /// Runs one of the mtools on the card; `-i` and the image come first.
    fn mtool(&self, program: &str, args: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.env("MTOOLS_SKIP_CHECK", "0").env("MTOOLSRC", "/dev/null");
        command.arg("-i").arg(&self.path).args(args).output().unwrap()
    }

    fn mtool_ok(&self, program: &str, args: &[&str]) -> String {
        let output = self.mtool(program, args);
        assert!(output.status.success(), "{program} {args:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// `fsck.fat -n`: the whole of what it says when it finds anything.
fn fsck(path: &Path) -> Result<(), String> {
    let output = Command::new("fsck.fat").arg("-n").arg(path).output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stdout).into_owned()) }
}

/// Whether the programs that judge are here; `make setup` installs them.
fn judges() -> bool {
    let there = ["fsck.fat", "mdir"].iter().all(|name| {
        let dirs = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&dirs).any(|dir| dir.join(name).exists())
    });
    if !there {
        println!("skipped: no fsck.fat or mtools");
    }
    there
}

#[test]
fn every_size_is_clean_for_fsck_mtools_and_fatfs() {
    if !judges() {
        return;
    }
    for (bytes, erase, segment) in
        [(48 * MIB, 1 << 20, 4 << 20), (300 * MIB, 4 << 20, 16 << 20), (3000 * MIB, 16 << 20, 64 << 20)]
    {
        let (card, layout) = Card::formatted(bytes, &options(erase, segment));
        fsck(&card.path).unwrap();
        let listed = card.mtool_ok("mdir", &["-b", "::/segments"]);
        assert_eq!(listed.lines().count(), layout.segments as usize, "{listed}");
        assert!(listed.contains("000000.pcapng"));
        let root = card.mtool_ok("mdir", &["::"]);
        for name in ["CONTENTS.txt", "hindcap.state", "catalog.dat", "HINDCAP"] {
            assert!(root.contains(name), "{root}");
        }
        let names = files::list(&mut card.writer(), 0, &layout, "segments").unwrap();
        assert_eq!(names.len(), layout.segments as usize);
        assert!(names.iter().all(|file| file.bytes == u64::from(segment) && file.name.ends_with(".pcapng")));
        fsck(&card.path).unwrap();
    }
}

#[test]
fn a_card_of_64_gb_is_formatted_in_seconds_and_almost_nothing_is_written() {
    let card = Card::blank(64_000_000_000);
    let begun = Instant::now();
    let mut dev = crate::volume::block::CountDev::new(card.writer());
    let counts = dev.counts();
    let layout = format(&mut dev, &FormatOptions::new(UUID, NOW)).unwrap();
    let (_, bytes, ..) = counts.written();
    println!("{} segments, {bytes} bytes written in {:?}", layout.segments, begun.elapsed());
    assert_eq!((layout.segments, layout.segment_bytes), (809, 64 << 20));
    assert_eq!(layout.events.map(|events| (events.segments, events.segment_bytes)), Some((379, 16 << 20)));
    assert!(bytes < 17_000_000, "{bytes}: FATs, directories, state");
    drop(dev);
    assert_eq!(card.mounted().geometry().segments, 809);
    if judges() {
        fsck(&card.path).unwrap();
    }
}

#[test]
fn a_disk_gets_a_partition_table_and_is_found_by_it() {
    // As on a whole disk: the volume begins one erase unit behind the table.
    struct Disk(FileDev);
    impl BlockDev for Disk {
        fn geometry(&self) -> crate::volume::block::DevGeometry {
            crate::volume::block::DevGeometry { whole_disk: true, ..self.0.geometry() }
        }
        fn name(&self) -> String {
            self.0.name()
        }
        fn read(&self, lba: u64, buf: &mut [u8]) -> io::Result<()> {
            self.0.read(lba, buf)
        }
        fn write(&mut self, lba: u64, bytes: &[u8]) -> io::Result<()> {
            self.0.write(lba, bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            self.0.flush()
        }
        fn discard(&mut self, lba: u64, sectors: u64) -> io::Result<()> {
            self.0.discard(lba, sectors)
        }
    }
    let card = Card::blank(64 * MIB);
    let layout = format(&mut Disk(card.writer()), &small()).unwrap();
    assert_eq!(layout.start, 2048);
    assert_eq!(*FatVolume::open(card.reader()).unwrap().layout(), layout);
    if judges() {
        let image = format!("{}@@1M", card.path.display());
        let listed = Command::new("mdir").args(["-b", "-i", &image, "::/segments"]).output().unwrap();
        assert!(listed.status.success());
        let volume = card.path.with_extension("volume");
        let bytes = std::fs::read(&card.path).unwrap();
        std::fs::write(&volume, &bytes[1 << 20..]).unwrap();
        fsck(&volume).unwrap();
    }
    // The table is damaged: found all the same, said, and written anew.
    card.writer().write(0, &[0x5A; 512]).unwrap();
    let mut volume = card.mounted();
    assert!(volume.warnings().any(|warning| warning.contains("partition table")));
    assert!(volume.repair_boot().unwrap());
    drop(volume);
    assert_eq!(FatVolume::open(card.reader()).unwrap().warnings().count(), 0);
}

#[test]
fn damaged_boot_sectors_are_stood_in_for_and_repaired() {
    let (card, layout) = Card::formatted(64 * MIB, &small());
    let warnings =
        |card: &Card| FatVolume::open(card.reader()).unwrap().warnings().collect::<Vec<_>>().join("\n");
    assert_eq!(warnings(&card), "");
    for (sectors, said) in [
        (vec![0], "its backup is used"),
        (vec![6], "the backup boot sector is damaged"),
        (vec![0, 6], "both boot sectors are damaged"),
        (vec![16], "one of two ring sectors"),
        (vec![48], "one of two ring sectors"),
        (vec![0, 1, 6, 7, 16], "both boot sectors are damaged"),
    ] {
        for sector in &sectors {
            card.writer().write(*sector, &[0xA5; 512]).unwrap();
        }
        assert!(warnings(&card).contains(said), "{sectors:?}: {}", warnings(&card));
        let mut volume = card.mounted();
        assert_eq!(*volume.layout(), layout);
        assert!(volume.repair_boot().unwrap() && !volume.repair_boot().unwrap());
        drop(volume);
        assert_eq!(warnings(&card), "");
        if judges() {
            fsck(&card.path).unwrap();
        }
    }
}

#[test]
fn what_is_no_ring_is_named() {
    let text = |card: &Card| FatVolume::open(card.reader()).unwrap_err().to_string();
    let card = Card::blank(64 * MIB);
    assert!(text(&card).contains("it is blank") && text(&card).contains("hindcapd format fat:"));
    let mut sector = [0; 512];
    for (name, said) in [(b"EXFAT   ", "exFAT"), (b"NTFS    ", "NTFS")] {
        sector[3..11].copy_from_slice(name);
        card.writer().write(0, &sector).unwrap();
        assert!(text(&card).contains(said), "{}", text(&card));
    }
    card.writer().write(0, &[7; 512]).unwrap();
    assert!(text(&card).contains("something unknown"));
    if judges() {
        // Quick-formatted on a laptop: our ring sectors are still there, and are not believed.
        for (args, said) in [(vec!["-F", "32"], "FAT file system"), (vec!["-F", "16"], "FAT file system")] {
            let (card, _) = Card::formatted(64 * MIB, &small());
            let made = Command::new("mkfs.fat").args(args).arg(&card.path).output().unwrap();
            assert!(made.status.success(), "{made:?}");
            assert!(text(&card).contains(said), "{}", text(&card));
        }
    }
}

#[test]
fn rings_that_contradict_each_other_are_said() {
    let (card, _) = Card::formatted(64 * MIB, &small());
    let other = FormatOptions { uuid: [9; 16], ..options(1 << 20, 8 << 20) };
    let (other, _) = Card::formatted(64 * MIB, &other);
    let mut sector = [0; 512];
    other.reader().read(48, &mut sector).unwrap();
    card.writer().write(48, &sector).unwrap();
    assert_eq!(
        FatVolume::open(card.reader()).unwrap().layout().segment_bytes,
        4 << 20,
        "the boot sector decides"
    );
    card.writer().write(0, &[0; 512]).unwrap();
    let error = FatVolume::open(card.reader()).unwrap_err().to_string();
    assert!(error.contains("describes two rings") && error.contains("format it again"), "{error}");

    // Two partitions with a ring each.
    let card = Card::blank(200 * MIB);
    let mut table = [0; 512];
    for (at, start) in [(446, 2048_u32), (462, 200_000)] {
        table[at + 4] = 0x0C;
        table[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
        table[at + 12..at + 16].copy_from_slice(&131_072_u32.to_le_bytes());
        let mut bytes = vec![0; 512 * 64];
        other.reader().read(0, &mut bytes).unwrap();
        card.writer().write(start.into(), &bytes).unwrap();
    }
    table[510..].copy_from_slice(&[0x55, 0xAA]);
    card.writer().write(0, &table).unwrap();
    let error = FatVolume::open(card.reader()).unwrap_err().to_string();
    assert!(error.contains("partitions 1 and 2"), "{error}");
}

#[test]
fn a_ring_in_a_guid_partition_is_found_by_either_table() {
    let (ring, layout) = Card::formatted(64 * MIB, &small());
    let card = Card::blank(80 * MIB);
    let sectors = 80 * MIB / 512;
    let mut protective = [0; 512];
    protective[446 + 4] = 0xEE;
    protective[446 + 8] = 1;
    protective[446 + 12..446 + 16].copy_from_slice(&(sectors as u32 - 1).to_le_bytes());
    protective[510..].copy_from_slice(&[0x55, 0xAA]);
    let header = |entries: u64| {
        let mut header = [0; 512];
        header[..8].copy_from_slice(b"EFI PART");
        header[72..80].copy_from_slice(&entries.to_le_bytes());
        header[80..84].copy_from_slice(&128_u32.to_le_bytes());
        header[84..88].copy_from_slice(&128_u32.to_le_bytes());
        header
    };
    // The third entry is the ring's; the first is somebody else's, the second is not used.
    let mut entries = [0; 512];
    for (at, first, last) in [(0, 34_u64, 99_u64), (256, 4096, 4096 + 64 * MIB / 512 - 1)] {
        entries[at..at + 16].fill(7);
        entries[at + 32..at + 40].copy_from_slice(&first.to_le_bytes());
        entries[at + 40..at + 48].copy_from_slice(&last.to_le_bytes());
    }
    let mut dev = card.writer();
    dev.write(0, &protective).unwrap();
    for (at, table) in [(1, 2), (sectors - 1, sectors - 33)] {
        dev.write(at, &header(table)).unwrap();
        dev.write(table, &entries).unwrap();
    }
    let bytes = std::fs::read(&ring.path).unwrap();
    for (piece, content) in bytes.chunks(1 << 20).enumerate() {
        dev.write(4096 + piece as u64 * 2048, content).unwrap();
    }
    drop(dev);
    assert_eq!(*FatVolume::open(card.reader()).unwrap().layout(), layout);
    card.writer().write(1, &[0; 512]).unwrap();
    assert_eq!(*FatVolume::open(card.reader()).unwrap().layout(), layout, "by the copy at the end");
    // Without the ring it is somebody's disk; with neither header nothing is guessed.
    card.writer().write(sectors - 1, &[0; 512]).unwrap();
    let error = FatVolume::open(card.reader()).unwrap_err().to_string();
    assert!(error.contains("a partition with something else") && error.contains("format"), "{error}");
}

#[test]
fn a_copy_on_a_smaller_card_is_refused() {
    let (card, _) = Card::formatted(64 * MIB, &small());
    std::fs::OpenOptions::new().write(true).open(&card.path).unwrap().set_len(60 * MIB).unwrap();
    let error = FatVolume::open(card.reader()).unwrap_err().to_string();
    assert!(error.contains("the copy of a larger card"), "{error}");
}

#[test]
fn formatting_that_fails_anywhere_leaves_the_old_store_or_none() {
    use crate::volume::block::{Fault, RamDev};
    let mut dev = RamDev::new(64 * MIB / 512);
    let old = format(&mut dev, &small()).unwrap();
    let image = dev.image();
    let operations = {
        let mut dev = RamDev::with_image(image.clone());
        format(&mut dev, &FormatOptions { uuid: [9; 16], ..small() }).unwrap();
        dev.operations()
    };
    let (mut kept, mut none) = (0, 0);
    for from in 0..operations {
        let mut dev = RamDev::with_image(image.clone());
        dev.set_fault(Some(Fault { from, count: 1, errno: 5 }));
        format(&mut dev, &FormatOptions { uuid: [9; 16], ..small() }).unwrap_err();
        match FatVolume::open(dev) {
            Ok(volume) if *volume.layout() == old => kept += 1,
            Ok(volume) => assert_eq!(volume.layout().uuid, [9; 16], "whole, but for the last flush"),
            Err(FatError::Foreign { .. }) => none += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(kept >= 1 && none > 5, "{kept} {none}");
}
