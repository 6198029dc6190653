//! Recording onto a card: what is written, and what others see meanwhile and afterwards.

use std::process::Command;

use hindcap_wire::drops::DropCounts;
use hindcap_wire::packet::{Interface, LinkType, Packet};

use super::*;
use crate::volume::block::{CountDev, IoCounts};
use crate::{Reader, ReaderOptions, Reading, Recorder, RecorderOptions, Store};

pub(super) fn reading(millis: u64) -> Reading {
    let wall = Timestamp(NOW.0 + millis * 1_000_000);
    Reading { wall, monotonic_nanos: millis * 1_000_000, ..Reading::default() }
}

/// An Ethernet frame that carries its number; `len` bytes.
pub(super) fn frame(number: u32, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len.max(18)];
    bytes[..14].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xB5]);
    bytes[14..18].copy_from_slice(&number.to_be_bytes());
    let mut state = u64::from(number) | 1;
    for byte in &mut bytes[18..] {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *byte = (state >> 56) as u8;
    }
    bytes
}

/// A recorder on a volume, one second per call of `second`.
pub(super) struct Run {
    pub recorder: Recorder,
    interface: u32,
    millis: u64,
    next: u32,
}

impl Run {
    pub(super) fn start<V: VolumeWrite + Send + 'static>(volume: V, millis: u64) -> Self {
        Self::start_with(volume, millis, 5)
    }

    fn start_with<V: VolumeWrite + Send + 'static>(volume: V, millis: u64, flush_secs: u64) -> Self {
        let store = Store::mount(volume).unwrap();
        let flush_interval_nanos = flush_secs * 1_000_000_000;
        let options =
            RecorderOptions { hash_chain: false, flush_interval_nanos, ..RecorderOptions::inline() };
        let mut recorder = store.recorder(options, reading(millis)).unwrap();
        let tap = Interface { link_type: LinkType::ETHERNET, snaplen: 0, name: "tap".into() };
        let interface = recorder.interface(&tap).unwrap();
        Self { recorder, interface, millis, next: 0 }
    }

    /// One second with `packets` packets of `len` bytes.
    pub(super) fn second(&mut self, packets: u32, len: usize) {
        for _ in 0..packets {
            let bytes = frame(self.next, len);
            let timestamp = Timestamp(NOW.0 + self.millis * 1_000_000 + u64::from(self.next % 1000));
            let packet =
                Packet { timestamp, interface: self.interface, orig_len: bytes.len() as u32, bytes: &bytes };
            self.recorder.push(&packet);
            self.next += 1;
        }
        self.millis += 1000;
        self.recorder.tick(reading(self.millis), DropCounts::default());
    }

    pub(super) fn close(self) -> u32 {
        self.recorder.close(reading(self.millis)).unwrap();
        self.next
    }
}

fn counted(card: &Card) -> (FatVolume<CountDev<FileDev>>, std::sync::Arc<IoCounts>) {
    let dev = CountDev::new(card.writer());
    let counts = dev.counts();
    (FatVolume::open(dev).unwrap(), counts)
}

#[test]
fn fsck_and_mtools_agree_at_every_moment_of_a_recording() {
    if !judges() {
        return;
    }
    let (card, layout) = Card::formatted(64 * MIB, &small());
    let before = std::fs::read(&card.path).unwrap();
    let mut run = Run::start(card.mounted(), 0);
    let data = layout.sector_of(layout.state.first) as usize * 512;
    for second in 0..90 {
        run.second(900, 1200);
        if second % 9 == 0 {
            fsck(&card.path).unwrap();
            card.mtool_ok("mdir", &["-b", "::/segments"]);
        }
    }
    let after = std::fs::read(&card.path).unwrap();
    let contents = layout.sector_of(layout.contents.first) as usize * 512;
    assert!(before[..contents] == after[..contents], "boot area, FATs and directories are as they were");
    assert!(before[data..] != after[data..]);
    let sealed = run.recorder.health().snapshot().segments_sealed;
    assert!(sealed > u64::from(layout.segments), "{sealed} segments: the ring has turned");
    run.close();
    fsck(&card.path).unwrap();
}

/// Padding costs the more the smaller batches are. Time passes in whole seconds here, so that no batch that is due waits for
/// its page as in a live recording; `accounting` has the whole table with time as it passes there.
#[test]
fn the_card_is_written_once_per_captured_byte_and_never_in_small_pieces() {
    let (card, _) = Card::formatted(400 * MIB, &options(4 << 20, 64 << 20));
    for (packets, seconds, flush_secs, most) in
        [(84, 700, 5, 1.03), (84, 1400, 20, 1.01), (250, 260, 5, 1.01), (830, 90, 5, 1.01)]
    {
        let (volume, counts) = counted(&card);
        let mut run = Run::start_with(volume, 1_000_000, flush_secs);
        let health = run.recorder.health();
        let (start, before) = (counts.written(), health.snapshot());
        for _ in 0..seconds {
            run.second(packets, 1200);
        }
        run.recorder.flush();
        let (end, after) = (counts.written(), health.snapshot());
        let acked = after.packets_acked - before.packets_acked;
        assert_eq!(acked, u64::from(packets * seconds), "everything is durable");
        let records = after.captured_bytes_acked - before.captured_bytes_acked + acked * 32;
        let (bytes, small) = (end.1 - start.1, end.2 - start.2);
        let ratio = bytes as f64 / records as f64;
        println!(
            "{} kB/s, flush every {flush_secs} s: {ratio:.4} bytes per byte of packet records, {} requests, {small} \
             small, {} flushes",
            packets * 1200 / 1000,
            end.0 - start.0,
            end.3 - start.3
        );
        assert!(ratio >= 1.0 && ratio <= most, "{ratio}");
        assert_eq!(small, 0, "writes below 16 KiB while recording");
        // The odometer at the volume's door says what the device got, but for a note that still waits.
        let (from, to) = (&before.wear.odometer, &after.wear.odometer);
        let counted =
            (to.writes - from.writes, to.small_writes - from.small_writes, to.flushes - from.flushes);
        assert!(counted.0 - (end.0 - start.0) <= 1, "{counted:?}");
        assert!(counted.1 <= 1, "{counted:?}: the note for people, on a card as small as this");
        assert!((end.3 - start.3) - counted.2 <= seconds as u64 / 300 + 2, "{counted:?}");
        let bytes = (to.written_bytes - from.written_bytes) - bytes;
        assert!(bytes <= 16 * 4096 + 4096, "{bytes}");
        run.close();
    }
}

#[test]
fn ejected_cards_open_everywhere_without_a_notice() {
    if !judges() {
        return;
    }
    let (card, layout) = Card::formatted(64 * MIB, &small());
    let mut run = Run::start(card.mounted(), 0);
    for _ in 0..9 {
        run.second(900, 1200);
    }
    let packets = run.close();
    let ejected = Store::mount(card.mounted()).unwrap().eject(reading(100_000)).unwrap();
    assert_eq!((ejected.segments, ejected.closed, ejected.boot_repaired), (3, 1, false));
    fsck(&card.path).unwrap();
    let dir = card.path.parent().unwrap();
    let mut seen = 0;
    for number in 0..3 {
        let name = format!("{number:06}.pcapng");
        let file = dir.join(&name);
        card.mtool_ok("mcopy", &["-n", &format!("::/segments/{name}"), file.to_str().unwrap()]);
        let read = Command::new("tcpdump").arg("-nr").arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&read.stderr);
        assert!(read.status.success() && said.lines().count() == 1, "{said}");
        seen += String::from_utf8_lossy(&read.stdout).lines().filter(|line| !line.starts_with('\t')).count();
        let tshark =
            Command::new("tshark").args(["-T", "fields", "-e", "frame.number", "-r"]).arg(&file).output();
        if let Ok(read) = tshark {
            let said = String::from_utf8_lossy(&read.stderr);
            assert!(
                read.status.success() && !said.contains("damaged") && !said.contains("cut short"),
                "{said}"
            );
        }
    }
    assert_eq!(seen, packets as usize);
    let text = dir.join("CONTENTS.txt");
    card.mtool_ok("mcopy", &["-n", "::/CONTENTS.txt", text.to_str().unwrap()]);
    let text = std::fs::read_to_string(text).unwrap();
    assert_eq!(text.len() as u64, layout.bytes(layout.contents), "its size never changes");
    assert!(text.contains("000002   3  "), "{}", text.trim_end());
    // Nothing is lost by it, and recording goes on behind.
    let reader = Reader::open(FatVolume::open(card.reader()).unwrap(), ReaderOptions::default()).unwrap();
    assert_eq!(reader.segments().iter().map(|segment| segment.packets).sum::<u64>(), u64::from(packets));
    let mut run = Run::start(card.mounted(), 200_000);
    run.second(5, 100);
    run.close();
    let reader = Reader::open(FatVolume::open(card.reader()).unwrap(), ReaderOptions::default()).unwrap();
    assert_eq!(reader.segments().len(), 4);
}

#[test]
fn a_lost_state_is_begun_anew_from_what_the_card_knows() {
    let (card, layout) = Card::formatted(64 * MIB, &small());
    let mut run = Run::start(card.mounted(), 0);
    run.second(10, 100);
    run.close();
    for slot in 0..2 {
        card.writer().write(slot_sector(&layout, layout.state, slot), &[0xFF; 16_384]).unwrap();
    }
    let mut run = Run::start(card.mounted(), 10_000);
    run.second(10, 100);
    run.close();
    let volume = FatVolume::open(card.reader()).unwrap();
    let state = crate::store::load_from(&volume, Path::new("")).unwrap();
    assert_eq!((state.0.uuid, state.0.epoch, state.1), (UUID, 2, false));
    let reader = Reader::open(volume, ReaderOptions::default()).unwrap();
    assert_eq!(reader.segments()[0].packets, 20);
}
