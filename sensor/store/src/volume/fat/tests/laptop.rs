//! What people and their computers do to a card, done with mtools.

use super::recording::Run;
use super::*;
use crate::{Reader, ReaderOptions};

/// A card whose first segments hold packets, and how many of them.
fn used() -> (Card, Layout, u32) {
    let (card, layout) = Card::formatted(64 * MIB, &small());
    let mut run = Run::start(card.mounted(), 0);
    for _ in 0..15 {
        run.second(900, 1200);
    }
    run.close();
    let segments = with_packets(&card).len() as u32;
    assert!(segments >= 4 && segments < layout.segments);
    (card, layout, segments)
}

fn with_packets(card: &Card) -> Vec<u32> {
    let volume = FatVolume::open(card.reader()).unwrap();
    let reader = Reader::open(volume, ReaderOptions::default()).unwrap();
    reader.segments().iter().filter(|segment| segment.packets > 0).map(|segment| segment.number).collect()
}

fn warnings(card: &Card) -> String {
    FatVolume::open(card.reader()).unwrap().warnings().collect::<Vec<_>>().join("\n")
}

/// Records two laps and sees that the file system stays as it is and that foreign files keep their content.
fn goes_on(card: &Card, foreign: &[(&str, &[u8])]) {
    let sound = fsck(&card.path).is_ok();
    let mut run = Run::start(card.mounted(), 1_000_000);
    for _ in 0..90 {
        run.second(900, 1200);
    }
    let sealed = run.recorder.health().snapshot();
    assert!(sealed.segments_sealed > 20 && sealed.packets_lost == 0, "{sealed:?}");
    run.close();
    assert!(!sound || fsck(&card.path).is_ok());
    for (name, content) in foreign {
        let copy = card.path.with_extension("copy");
        card.mtool_ok("mcopy", &["-n", &format!("::/{name}"), copy.to_str().unwrap()]);
        assert!(std::fs::read(&copy).unwrap() == *content, "{name} was overwritten");
    }
}

fn file(card: &Card, bytes: usize) -> (PathBuf, Vec<u8>) {
    let path = card.path.with_extension("foreign");
    let content: Vec<u8> = (0..bytes).map(|at| (at * 7 / 3) as u8).collect();
    std::fs::write(&path, &content).unwrap();
    (path, content)
}

#[test]
fn deleted_segments_are_missing_and_the_others_are_kept() {
    if !judges() {
        return;
    }
    let (card, layout, segments) = used();
    card.mtool_ok("mattrib", &["-r", "::/segments/000001.pcapng", "::/segments/000003.pcapng"]);
    card.mtool_ok("mdel", &["::/segments/000001.pcapng", "::/segments/000003.pcapng"]);
    let said = warnings(&card);
    assert!(said.contains("2 of") && said.contains("removed") && said.contains("000001, 000003"), "{said}");
    let kept = with_packets(&card);
    assert_eq!(kept.len() as u32, segments - 2);
    assert!(!kept.contains(&1) && !kept.contains(&3));
    // A foreign file moves into the room that became free.
    let (path, content) = file(&card, 10 << 20);
    card.mtool_ok("mcopy", &["-o", path.to_str().unwrap(), "::/holiday.mp4"]);
    let volume = FatVolume::open(card.reader()).unwrap();
    assert_eq!((0..layout.segments).filter(|number| !volume.is_usable(*number)).count(), 2);
    drop(volume);
    goes_on(&card, &[("holiday.mp4", &content)]);
}

#[test]
fn a_segment_replaced_by_a_foreign_file_is_left_alone() {
    if !judges() {
        return;
    }
    let (card, layout, _) = used();
    // Shorter, then of the very same length and, as the allocation has it, in the same place.
    for (bytes, said) in [(1 << 20, "replaced by another file"), (layout.segment_bytes as usize, "")] {
        let (path, content) = file(&card, bytes);
        card.mtool_ok("mattrib", &["-r", "::/segments/000002.pcapng"]);
        card.mtool_ok("mdel", &["::/segments/000002.pcapng"]);
        card.mtool_ok("mcopy", &["-o", path.to_str().unwrap(), "::/segments/000002.pcapng"]);
        assert!(warnings(&card).contains(said), "{}", warnings(&card));
        assert!(!with_packets(&card).contains(&2));
        if !said.is_empty() {
            goes_on(&card, &[("segments/000002.pcapng", &content)]);
        }
    }
}

#[test]
fn renamed_moved_and_repaired_names_do_not_matter() {
    if !judges() {
        return;
    }
    let (card, layout, segments) = used();
    card.mtool_ok("mren", &["::/segments/000001.pcapng", "evidence.pcapng"]);
    card.mtool_ok("mmd", &["::/case 17"]);
    card.mtool_ok("mmove", &["::/segments/000002.pcapng", "::/case 17/"]);
    card.mtool_ok("mattrib", &["-r", "-a", "+h", "::/segments/000003.pcapng"]);
    // A repair that knows no long names: the long entry of 000000 is gone.
    let entry = layout.sector_of(layout.names.first);
    let mut sector = [0; 512];
    card.reader().read(entry, &mut sector).unwrap();
    sector[64] = 0xE5;
    card.writer().write(entry, &sector).unwrap();
    let said = warnings(&card);
    assert!(said.contains("000001 is evidence.pcapng") && !said.contains("removed"), "{said}");
    assert_eq!(with_packets(&card).len() as u32, segments);
    goes_on(&card, &[]);
}

#[test]
fn what_other_systems_leave_behind_does_no_harm() {
    if !judges() {
        return;
    }
    let (card, _, segments) = used();
    let (path, content) = file(&card, 300_000);
    for dir in ["System Volume Information", ".Trashes", ".fseventsd"] {
        card.mtool_ok("mmd", &[&format!("::/{dir}")]);
    }
    card.mtool_ok("mcopy", &["-o", path.to_str().unwrap(), "::/.Trashes/note.txt"]);
    card.mtool_ok("mlabel", &["::MY CARD"]);
    // Mounted and pulled: the dirty bit.
    let layout = *FatVolume::open(card.reader()).unwrap().layout();
    let mut sector = [0; 512];
    card.reader().read(layout.reserved_sectors.into(), &mut sector).unwrap();
    sector[7] &= !0x08;
    card.writer().write(layout.reserved_sectors.into(), &sector).unwrap();
    assert_eq!(warnings(&card), "");
    assert_eq!(with_packets(&card).len() as u32, segments);
    goes_on(&card, &[(".Trashes/note.txt", &content)]);
}

#[test]
fn without_catalog_state_and_contents_it_still_records() {
    if !judges() {
        return;
    }
    let (card, _, segments) = used();
    for name in ["::/catalog.dat", "::/hindcap.state", "::/CONTENTS.txt"] {
        card.mtool_ok("mattrib", &["-r", name]);
        card.mtool_ok("mdel", &[name]);
    }
    let said = warnings(&card);
    assert!(
        ["catalog.dat", "hindcap.state", "CONTENTS.txt"].iter().all(|name| said.contains(name)),
        "{said}"
    );
    assert_eq!(with_packets(&card).len() as u32, segments);
    let (path, content) = file(&card, 6 << 20);
    card.mtool_ok("mcopy", &["-o", path.to_str().unwrap(), "::/big.iso"]);
    goes_on(&card, &[("big.iso", &content)]);
}

#[test]
fn a_directory_that_is_gone_leaves_the_segments() {
    if !judges() {
        return;
    }
    let (card, layout, segments) = used();
    let zeros = vec![0xE5; layout.bytes(layout.names) as usize];
    card.writer().write(layout.sector_of(layout.names.first), &zeros).unwrap();
    assert!(warnings(&card).contains("without a name"), "{}", warnings(&card));
    assert_eq!(with_packets(&card).len() as u32, segments);
    goes_on(&card, &[]);
}

#[test]
fn an_emptied_card_says_so() {
    if !judges() {
        return;
    }
    let (card, layout, _) = used();
    for number in 0..layout.segments {
        let name = format!("::/segments/{number:06}.pcapng");
        card.mtool_ok("mattrib", &["-r", &name]);
        card.mtool_ok("mdel", &[&name]);
    }
    let error = FatVolume::open(card.reader()).unwrap_err().to_string();
    assert!(error.contains("only 0 of") && error.contains("hindcapd format"), "{error}");
}

#[test]
fn a_damaged_first_fat_is_stood_in_for_by_the_second() {
    let (card, layout, segments) = used();
    let entry = u64::from(layout.segment(1).first) * 4 / 512;
    card.writer().write(u64::from(layout.reserved_sectors) + entry, &[0; 512]).unwrap();
    assert_eq!(warnings(&card), "");
    assert_eq!(with_packets(&card).len() as u32, segments);
}

#[test]
fn small_files_are_written_into_free_room() {
    let (card, layout, segments) = used();
    files::write(&mut card.writer(), 0, &layout, "export.txt", &[b'x'; 100_000]).unwrap();
    assert_eq!(files::read(&mut card.writer(), 0, &layout, "export.txt", 1 << 20).unwrap(), [b'x'; 100_000]);
    if judges() {
        fsck(&card.path).unwrap();
    }
    assert_eq!(with_packets(&card).len() as u32, segments);
}
