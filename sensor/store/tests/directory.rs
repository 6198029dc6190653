//! A recorder with its own thread on a real directory, judged by other people's programs: tcpdump, tshark and capinfos
//! open every sealed segment without notice and count the packets that were pushed.

#![allow(clippy::unwrap_used)] // helpers of a test, outside of #[test] functions

use std::path::Path;
use std::process::Command;

use hindcap_store::holds::KeepPolicy;
use hindcap_store::verify::{SegmentKind, verify};
use hindcap_store::{Reading, RecorderOptions, Store, StoreOptions, StoreSize, open_reader, segment_path};
use hindcap_wire::drops::DropCounts;
use hindcap_wire::packet::{Interface, LinkType, Packet};
use hindcap_wire::time::Timestamp;

const START: u64 = 1_700_000_000_000_000_000;

fn reading(millis: u64) -> Reading {
    let wall = Timestamp(START + millis * 1_000_000);
    Reading { wall, monotonic_nanos: 1 + millis * 1_000_000, ..Reading::default() }
}

/// An Ethernet, IPv4, UDP frame.
fn frame(number: u32, len: usize) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
    bytes.extend(((len - 14) as u16).to_be_bytes());
    bytes.extend([0, 0, 0, 0, 64, 17, 0, 0, 10, 0, (number >> 8) as u8 % 16, number as u8, 192, 0, 2, 1]);
    bytes.extend([0x30, 0x39, 0x9c, 0x40]);
    bytes.extend(((len - 34) as u16).to_be_bytes());
    bytes.resize(len, 0);
    bytes
}

fn options(path: &Path, mib: u64) -> StoreOptions {
    StoreOptions { segment_bytes: 4 << 20, ..StoreOptions::new(path, StoreSize::Bytes(mib << 20)) }
}

/// Records `packets` more; the recorder is closed, or dropped as if it were killed.
fn record(path: &Path, first: u32, packets: u32, close: bool) {
    let store = Store::open_or_create(&options(path, 40)).unwrap();
    let mut recorder = store
        .recorder(RecorderOptions { may_wait: true, ..RecorderOptions::live() }, reading(first.into()))
        .unwrap();
    let tap = Interface { link_type: LinkType::ETHERNET, snaplen: 0, name: "eth1".into() };
    let interface = recorder.interface(&tap).unwrap();
    for number in first..first + packets {
        let bytes = frame(number, 60 + number as usize % 1400);
        let timestamp = Timestamp(START + u64::from(number) * 1_000_000);
        recorder.push(&Packet { timestamp, interface, orig_len: bytes.len() as u32, bytes: &bytes });
        if number % 500 == 0 {
            recorder.tick(reading(number.into()), DropCounts::default());
        }
    }
    if close {
        recorder.close(reading((first + packets).into())).unwrap();
    } else {
        recorder.flush();
    }
}

/// Standard output and error of a program; `None` when it is not installed.
fn ask(program: &str, arguments: &[&str]) -> Option<(String, String)> {
    let output = Command::new(program).args(arguments).output().ok()?;
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some((text(&output.stdout), text(&output.stderr)))
}

fn judge(segment: &Path, packets: u64) {
    let file = segment.to_str().unwrap();
    let mut judges = 0;
    if let Some((out, err)) = ask("tcpdump", &["-nn", "-r", file]) {
        assert_eq!((out.lines().count() as u64, err.lines().count()), (packets, 1), "tcpdump says {err}");
        judges += 1;
    }
    if let Some((out, err)) = ask("tshark", &["-r", file, "-T", "fields", "-e", "frame.number"]) {
        let err: Vec<_> = err.lines().filter(|line| !line.starts_with("Running as user")).collect();
        assert_eq!((out.lines().count() as u64, err.len()), (packets, 0), "tshark says {err:?}");
        judges += 1;
    }
    if let Some((out, err)) = ask("capinfos", &["-c", "-M", file]) {
        let counts = out
            .lines()
            .any(|line| line.starts_with("Number of packets") && line.ends_with(&packets.to_string()));
        assert!(counts && err.is_empty(), "capinfos says {out} {err}");
        judges += 1;
    }
    if judges == 0 {
        println!("skipped: none of tcpdump, tshark, capinfos is installed");
    }
}

#[test]
fn sealed_segments_open_without_notice_and_a_killed_recorder_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    record(&path, 0, 9_000, true);
    record(&path, 9_000, 6_000, false);
    record(&path, 15_000, 6_000, true);
    let (reader, state) = open_reader(&path).unwrap();
    let mut packets = 0;
    let mut sealed = 0;
    verify(&reader, &state, |report| {
        assert_eq!(report.findings, [], "segment {}", report.number);
        packets += report.packets;
        if report.kind == SegmentKind::Sealed {
            sealed += 1;
            judge(&segment_path(&path, report.number), report.packets);
        }
    });
    assert_eq!(packets, 21_000);
    assert!(sealed >= 2, "{sealed} sealed segments");
    // Those of the killed recorder too, whose entries were still in its memory.
    let entries = hindcap_store::catalog::entries(&reader).unwrap();
    assert_eq!(entries.iter().flatten().count(), sealed, "every sealed segment is in the catalog");
    let notes = std::fs::read_to_string(path.join("CONTENTS.txt")).unwrap();
    let lines: Vec<&str> = notes.lines().filter(|line| line.starts_with("0000")).collect();
    let generations: Vec<&str> = lines.iter().map(|line| line.split_whitespace().nth(4).unwrap()).collect();
    // Those of the recorders before as well; newest last.
    assert_eq!(generations, (1..=sealed + 1).map(|n| n.to_string()).collect::<Vec<_>>(), "{notes}");
    assert!(lines.iter().rev().skip(1).all(|line| line.ends_with("  sealed")), "{notes}");
    assert!(lines.last().unwrap().ends_with("  open"), "{notes}");
}

/// What has passed the maximum age is gone from the files, which keep their room; nothing is written for it where the file
/// system can forget a range.
#[test]
fn what_has_passed_the_maximum_age_is_gone_from_the_files() {
    use std::os::unix::fs::MetadataExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    record(&path, 0, 6_000, true);
    let keep = KeepPolicy { max_age_secs: 3_600, ..KeepPolicy::default() };
    let options = RecorderOptions { keep: Some(keep), ..RecorderOptions::inline() };
    // Two hours later the recorder is back, on a link on which nothing happens.
    let later = 7_200_000;
    let mut recorder =
        Store::open_or_create(&self::options(&path, 40)).unwrap().recorder(options, reading(later)).unwrap();
    recorder.rotate();
    let before = recorder.health().snapshot().bytes_written;
    (0..8_000).for_each(|tick| recorder.tick(reading(later + tick * 100), DropCounts::default()));
    let written = recorder.health().snapshot().bytes_written - before;
    recorder.close(reading(later + 900_000)).unwrap();
    let (_, state) = open_reader(&path).unwrap();
    let mut empty = 0;
    for number in 0..state.segments {
        let file = segment_path(&path, number);
        let bytes = std::fs::read(&file).unwrap();
        empty += u32::from(bytes.iter().all(|byte| *byte == 0));
        let allocated = std::fs::metadata(&file).unwrap().blocks() * 512;
        assert!(allocated >= 4 << 20, "{} has {allocated} bytes of room left", file.display());
        assert!(
            !bytes.windows(8).any(|eight| eight == [192, 0, 2, 1, 0x30, 0x39, 0x9c, 0x40]),
            "packets are left"
        );
    }
    assert!(empty >= state.segments - 1, "{empty} of {} are empty", state.segments);
    println!("{written} bytes written");
}
