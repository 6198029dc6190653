//! The event ring of a card, in the hands of other programs and of people.

use super::recording::Run;
use super::*;
use crate::{Reader, ReaderOptions};

/// A card with event ring, some packets in both rings, and how many.
fn used() -> (Card, Layout, [u32; 2]) {
    let (card, layout) =
        Card::formatted(128 * MIB, &FormatOptions { event_share: Some(EventShare::Percent(30)), ..small() });
    let mut packets = [0; 2];
    for (events, packets) in [false, true].into_iter().zip(&mut packets) {
        let mut run = Run::start(opened(&card, events), 0);
        for _ in 0..15 {
            run.second(900, 1200);
        }
        *packets = run.close();
    }
    (card, layout, packets)
}

fn opened(card: &Card, events: bool) -> FatVolume<FileDev> {
    if events { FatVolume::open_events(card.writer()).unwrap().unwrap() } else { card.mounted() }
}

/// Packets that a reader finds in both rings.
fn packets(card: &Card) -> [u64; 2] {
    let store = FatVolume::open(card.reader()).unwrap();
    let events = FatVolume::open_events(card.reader()).unwrap().unwrap();
    [store, events].map(|volume| {
        let reader = Reader::open(volume, ReaderOptions::default()).unwrap();
        reader.segments().iter().map(|segment| segment.packets).sum()
    })
}

fn warnings(card: &Card) -> String {
    let events = FatVolume::open_events(card.reader()).unwrap().unwrap();
    events.warnings().collect::<Vec<_>>().join("\n")
}

#[test]
fn fsck_and_mtools_agree_while_both_rings_are_written() {
    if !judges() {
        return;
    }
    let (card, layout) =
        Card::formatted(128 * MIB, &FormatOptions { event_share: Some(EventShare::Percent(30)), ..small() });
    let events = layout.events.unwrap();
    fsck(&card.path).unwrap();
    let listed = card.mtool_ok("mdir", &["-b", "::/events/segments"]);
    assert_eq!(listed.lines().count(), events.segments as usize, "{listed}");
    let root = card.mtool_ok("mdir", &["::/events"]);
    for name in ["CONTENTS.txt", "hindcap.state", "catalog.dat", "pins.dat", "segments"] {
        assert!(root.contains(name), "{root}");
    }
    let before = std::fs::read(&card.path).unwrap();
    // Both through one device, as a recorder and the worker of the pins have it.
    let dev = card.writer();
    let volume = FatVolume::open_events(dev.clone()).unwrap().unwrap();
    let mut runs = [Run::start(FatVolume::open(dev).unwrap(), 0), Run::start(volume, 0)];
    for second in 0..60 {
        runs.iter_mut().for_each(|run| run.second(900, 1200));
        if second % 9 == 0 {
            fsck(&card.path).unwrap();
            card.mtool_ok("mdir", &["-b", "::/events/segments"]);
        }
    }
    let after = std::fs::read(&card.path).unwrap();
    let contents = layout.sector_of(layout.contents.first) as usize * 512;
    assert!(before[..contents] == after[..contents], "boot area, FATs and directories are as they were");
    let sealed = runs.map(|run| {
        let sealed = run.recorder.health().snapshot().segments_sealed;
        run.close();
        sealed
    });
    assert!(sealed[1] > u64::from(events.segments), "{sealed:?}: the event ring has turned");
    fsck(&card.path).unwrap();
    assert!(packets(&card).iter().all(|count| *count > 1000), "{:?}", packets(&card));
}

#[test]
fn a_card_without_event_ring_says_so_and_works() {
    for event_share in [Some(EventShare::Percent(0)), Some(EventShare::Bytes(0)), None] {
        let (card, layout) = Card::formatted(64 * MIB, &FormatOptions { event_share, ..small() });
        assert_eq!(layout.events, None, "too small by default");
        assert!(FatVolume::open_events(card.reader()).unwrap().is_none());
        let mut run = Run::start(card.mounted(), 0);
        run.second(10, 100);
        run.close();
    }
    let asked = FormatOptions { event_share: Some(EventShare::Percent(10)), ..small() };
    let error = plan(&Card::blank(64 * MIB).reader(), &asked).unwrap_err().to_string();
    assert!(error.contains("10 % of 64 MiB are too little") && error.contains("--event-share 0%"), "{error}");
    let asked = |mib: u64| FormatOptions { event_share: Some(EventShare::Bytes(mib << 20)), ..small() };
    let card = Card::blank(64 * MIB);
    let error = |mib| plan(&card.reader(), &asked(mib)).unwrap_err().to_string();
    assert!(error(3).contains("3 MiB of 64 MiB are too little"), "{}", error(3));
    assert!(
        error(33).contains("33 MiB of 64 MiB are too much") && error(33).contains("--event-share"),
        "{}",
        error(33)
    );
    let events = plan(&card.reader(), &asked(26)).unwrap().events.unwrap();
    let bytes = u64::from(events.segments) * u64::from(events.segment_bytes);
    assert!((12 * MIB..=26 * MIB).contains(&bytes), "{events:?}");
    let larger = FormatOptions { event_share: Some(EventShare::Percent(40)), ..small() };
    assert!(plan(&Card::blank(64 * MIB).reader(), &larger).unwrap().events.is_some());
}

#[test]
fn segments_of_the_event_ring_may_be_deleted_and_renamed() {
    if !judges() {
        return;
    }
    let (card, layout, recorded) = used();
    assert_eq!(packets(&card), recorded.map(u64::from));
    assert_eq!(warnings(&card), "");
    card.mtool_ok("mattrib", &["-r", "::/events/segments/000001.pcapng"]);
    card.mtool_ok("mdel", &["::/events/segments/000001.pcapng"]);
    // The same number of the other ring stays what it is.
    card.mtool_ok("mren", &["::/segments/000001.pcapng", "evidence.pcapng"]);
    card.mtool_ok("mren", &["::/events/segments/000002.pcapng", "case 17.pcapng"]);
    let said = warnings(&card);
    assert!(said.contains("segments of the event ring was removed"), "{said}");
    assert!(said.contains("000002 is case 17.pcapng") && !said.contains("000001 is"), "{said}");
    let [store, events] = packets(&card);
    assert_eq!(store, u64::from(recorded[0]), "nothing is missing there");
    assert!(events > 0 && events < u64::from(recorded[1]), "{events}");
    // A file of somebody else where the segment was: both rings turn, and it stays.
    let content: Vec<u8> = (0..layout.events.unwrap().segment_bytes).map(|at| (at * 7 / 3) as u8).collect();
    let foreign = card.path.with_extension("foreign");
    std::fs::write(&foreign, &content).unwrap();
    card.mtool_ok("mcopy", &["-o", foreign.to_str().unwrap(), "::/holiday.mp4"]);
    for events in [false, true] {
        let mut run = Run::start(opened(&card, events), 1_000_000);
        (0..100).for_each(|_| run.second(900, 1200));
        assert_eq!(run.recorder.health().snapshot().packets_lost, 0);
        run.close();
    }
    fsck(&card.path).unwrap();
    let copy = card.path.with_extension("copy");
    card.mtool_ok("mcopy", &["-n", "::/holiday.mp4", copy.to_str().unwrap()]);
    assert!(std::fs::read(&copy).unwrap() == content, "it was overwritten");
}

#[test]
fn an_event_ring_that_was_deleted_leaves_the_store() {
    if !judges() {
        return;
    }
    let (card, _, recorded) = used();
    card.mtool_ok("mattrib", &["-r", "-/", "::/events/*"]);
    card.mtool_ok("mdeltree", &["::/events"]);
    let error = FatVolume::open_events(card.reader()).unwrap_err().to_string();
    assert!(error.contains("of the event ring are left") && error.contains("hindcapd format"), "{error}");
    let store = FatVolume::open(card.reader()).unwrap();
    assert_eq!(store.warnings().count(), 0, "it is whole");
    let reader = Reader::open(store, ReaderOptions::default()).unwrap();
    assert_eq!(reader.segments().iter().map(|segment| segment.packets).sum::<u64>(), u64::from(recorded[0]));
    let mut run = Run::start(card.mounted(), 1_000_000);
    (0..60).for_each(|_| run.second(900, 1200));
    run.close();
    fsck(&card.path).unwrap();
}

#[test]
fn the_list_of_pins_has_two_slots_and_can_be_done_without() {
    use crate::events::pins::PinsFile;
    let (card, layout, _) = used();
    let open = || PinsFile::open_card(FatVolume::open_events(card.writer()).unwrap().unwrap()).unwrap();
    for text in [&b"one"[..], b"two, which is longer", b"three"] {
        let (mut file, _) = open();
        file.store(text).unwrap();
        drop(file);
        assert_eq!(open().1, text);
    }
    let events = layout.events.unwrap();
    card.writer().write(slot_sector(&layout, events.pins, 1), &[0xA5; 16_384]).unwrap();
    assert_eq!(open().1, b"two, which is longer", "the torn slot does not count");
    if judges() {
        card.mtool_ok("mattrib", &["-r", "::/events/pins.dat"]);
        card.mtool_ok("mdel", &["::/events/pins.dat"]);
        let (mut file, list) = open();
        assert!(list.is_empty());
        assert!(file.store(b"four").unwrap_err().to_string().contains("pins.dat was removed"));
        drop(file);
        assert!(warnings(&card).contains("events/pins.dat was removed"), "{}", warnings(&card));
    }
}

#[test]
fn a_mounted_card_is_a_store_with_the_same_event_ring() {
    use crate::events::{open_events_reader, open_pins, pins::PinsFile};
    if !judges() {
        return;
    }
    let (card, _, recorded) = used();
    let events = FatVolume::open_events(card.writer()).unwrap().unwrap();
    let (mut file, _) = PinsFile::open_card(events).unwrap();
    file.store(b"a list").unwrap();
    file.store(b"a newer list").unwrap();
    drop(file);
    let folder = tempfile::tempdir().unwrap();
    card.mtool_ok("mcopy", &["-s", "-n", "::/*", folder.path().to_str().unwrap()]);
    let count = |volume| {
        let reader = Reader::open(volume, ReaderOptions::default()).unwrap();
        reader.segments().iter().map(|segment| segment.packets).sum::<u64>()
    };
    let rings =
        [crate::open_reader(folder.path()).unwrap().0, open_events_reader(folder.path()).unwrap().unwrap().0];
    assert_eq!(rings.map(count), recorded.map(u64::from));
    assert_eq!(open_pins(folder.path()).unwrap().unwrap().1, b"a newer list");
}

#[test]
fn whoever_opens_a_card_anew_puts_the_other_ring_out_until_it_does_too() {
    let (card, ..) = used();
    let mut dev = card.writer();
    let mut events = FatVolume::open_events(dev.clone()).unwrap().unwrap();
    let mut page = [0; 16_384];
    events.read(Area::State, 0, &mut page[..4096]).unwrap();
    // Another card comes to the same place.
    let (other, _) =
        Card::formatted(128 * MIB, &FormatOptions { event_share: Some(EventShare::Percent(30)), ..small() });
    std::fs::rename(&other.path, &card.path).unwrap();
    assert!(VolumeWrite::is_there(&events, false).is_err());
    dev.reopen().unwrap();
    let refused = events.write(Area::Catalog, 0, &page).unwrap_err();
    assert!(crate::medium::has_gone(&refused), "{refused}: it knows the card before");
    assert!(events.write_pins(0, &page).is_err());
    events.reopen().unwrap();
    events.write_pins(0, &page).unwrap();
    dev.is_there().unwrap();
    let mut sector = [0; 512];
    dev.read(0, &mut sector).unwrap();
}
