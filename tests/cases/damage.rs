//! Bytes that change on the disk: `verify` names them, `extract` leaves out what they touch and says so, everything else
//! comes back exactly, and `reindex` makes every cache what it was.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use hindcap_tests::judges;
use hindcap_tests::random::Random;
use hindcap_tests::savefile::{self, Record};
use hindcap_tests::sensor::{Sensor, exit, said};
use hindcap_tests::traffic::{Mix, Traffic};
use serde_json::Value;

const PAGE: u64 = 16_384;
const SEGMENT: u64 = 4 << 20;
/// Packets of the store: three sealed segments and an open one.
const PACKETS: u64 = 20_000;

/// Made-up traffic, one packet a millisecond; few sessions, so that even the filter of a small segment has room for them.
fn records() -> Vec<Record> {
    let mut traffic = Traffic::new(Mix::Mixed, 20, 5);
    let mut record = |number: u64| {
        let frame = traffic.next_frame().to_vec();
        (1_790_000_000_000_000_000 + number * 1_000_000, u32::try_from(frame.len()).unwrap(), frame)
    };
    (0..PACKETS).map(&mut record).collect()
}

/// A store of [`records`].
fn stored() -> (Sensor, Vec<Record>) {
    let (sensor, records) = (Sensor::new(), records());
    let file = sensor.path("original.pcap");
    fs::write(&file, savefile::encode(1, &records)).unwrap();
    sensor.import_whole("32MiB", &["--segment-size", "4MiB"], &[&file]);
    let whole = sensor.extract([""; 0]);
    assert!(whole.code == exit::DONE && whole.records == records, "{}", whole.said);
    assert_eq!(verify(&sensor), (exit::DONE, Vec::new()), "a new store is whole");
    (sensor, records)
}

/// Exit code and findings, "segment: finding".
fn verify(sensor: &Sensor) -> (i32, Vec<String>) {
    let output = sensor.hindcapd("verify", ["--json"]);
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    let mut findings = Vec::new();
    for segment in report["segments"].as_array().unwrap() {
        for finding in segment["findings"].as_array().unwrap() {
            findings.push(format!("{}: {}", segment["number"], finding.as_str().unwrap()));
        }
    }
    assert_eq!(report["findings"], findings.len());
    (output.status.code().unwrap(), findings)
}

fn reindex(sensor: &Sensor) {
    let output = sensor.hindcapd("reindex", ["--json"]);
    assert_eq!(output.status.code(), Some(exit::DONE), "{}", said(&output));
}

/// Turns over one bit of each of `count` bytes from `at`.
fn flip(file: &Path, at: u64, count: usize) {
    let file = OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut bytes = vec![0; count];
    file.read_exact_at(&mut bytes, at).unwrap();
    bytes.iter_mut().for_each(|byte| *byte ^= 0x10);
    file.write_all_at(&bytes, at).unwrap();
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()).into()
}

/// Of a sealed segment, by its summary page: end of the batches, offset and length of the encoded index.
fn tail(segment: &Path) -> (u64, u64, u64) {
    let bytes = fs::read(segment).unwrap();
    let page = &bytes[bytes.len() - usize::try_from(PAGE).unwrap()..];
    assert_eq!(page[8..16], *b"HCSUM001", "{}", segment.display());
    (word(page, 24), word(page, 28) + 8, word(page, 32))
}

/// Packets whose blocks touch the page at `at`, as tcpdump reads the whole segment.
fn touching(segment: &Path, at: u64) -> BTreeSet<Record> {
    let bytes = fs::read(segment).unwrap();
    let (mut offset, mut count, mut touched) = (0_usize, 0, Vec::new());
    while let length @ 12.. = usize::try_from(word(&bytes, offset + 4)).unwrap() {
        if word(&bytes, offset) == 6 {
            let (start, end) = (offset as u64, (offset + length) as u64);
            touched.extend((start < at + PAGE && end > at).then_some(count));
            count += 1;
        }
        offset += length;
        if offset >= bytes.len() {
            break;
        }
    }
    let packets = judges::packets(segment, "");
    assert_eq!(packets.len(), count, "one way or the other, the same packets");
    touched.into_iter().map(|number| packets[number].clone()).collect()
}

#[test]
fn a_damaged_page_is_a_gap_and_nothing_else_is_missing() {
    let (sensor, records) = stored();
    let mut random = Random::new(99);
    // One page in each of two sealed segments, wherever chance has it.
    let mut lost = BTreeSet::new();
    for number in [0, 2] {
        let segment = sensor.segment(number);
        let at = random.below(tail(&segment).0 / PAGE) * PAGE;
        lost.extend(touching(&segment, at));
        flip(&segment, at + random.below(PAGE), 1);
    }
    let (code, findings) = verify(&sensor);
    assert_eq!(code, exit::PARTIAL);
    for number in ["0: ", "2: "] {
        assert!(
            findings.iter().any(|finding| finding.starts_with(number) && finding.contains("damaged")),
            "{findings:?}"
        );
    }
    assert!(findings.iter().all(|finding| !finding.starts_with("1: ")), "{findings:?}");
    let ours = sensor.extract([""; 0]);
    assert_eq!(ours.code, exit::PARTIAL, "{}", ours.said);
    let expected: Vec<_> = records.iter().filter(|record| !lost.contains(record)).cloned().collect();
    let (missing, surplus) = judges::difference(&expected, &ours.records);
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "{} missing, {} too many",
        missing.len(),
        surplus.len()
    );
    assert!(ours.records == expected, "in time order");
    let gaps = ours.answer["gaps"].as_array().unwrap();
    assert_eq!(gaps.iter().filter(|gap| gap["cause"] == "damage").count(), 2, "{gaps:?}");
    // A question that the damage has nothing to do with is answered in full.
    let away = sensor.extract(["--start", "1790000008", "--end", "1790000009"]);
    assert_eq!((away.code, away.records.len()), (exit::DONE, 1_000), "{}", away.said);
}

#[test]
fn damage_in_the_open_segment_costs_one_batch() {
    let (sensor, records) = stored();
    // The newest segment: the one without a summary.
    let open = (0..7)
        .filter(|number| {
            let bytes = fs::read(sensor.segment(*number)).unwrap();
            bytes[..4] == [0x0a, 0x0d, 0x0d, 0x0a]
                && bytes[bytes.len() - 16_376..bytes.len() - 16_368] != *b"HCSUM001"
        })
        .collect::<Vec<_>>();
    assert_eq!(open.len(), 1, "{open:?}");
    let segment = sensor.segment(open[0]);
    let whole = fs::read(&segment).unwrap();
    // Its first batch says what its interfaces are; the one behind it says so again.
    flip(&segment, 3 * PAGE + 77, 2);
    let ours = sensor.extract([""; 0]);
    let (missing, surplus) = judges::difference(&records, &ours.records);
    assert!(surplus.is_empty(), "nothing that was not recorded");
    assert!(!missing.is_empty() && missing.len() < 2_000, "one batch is lost: {}", missing.len());
    assert_eq!((ours.code, verify(&sensor).0), (exit::PARTIAL, exit::PARTIAL), "{}", ours.said);
    fs::write(&segment, whole).unwrap();
    // As does any other batch.
    flip(&segment, (1 << 20) + 3 * PAGE + 77, 2);
    assert_eq!(verify(&sensor).0, exit::PARTIAL);
    let ours = sensor.extract([""; 0]);
    let (missing, surplus) = judges::difference(&records, &ours.records);
    assert!(surplus.is_empty(), "nothing that was not recorded");
    assert!(!missing.is_empty() && missing.len() < 2_000, "a batch of 1 MiB is lost: {}", missing.len());
    assert_eq!(ours.code, exit::PARTIAL, "{}", ours.said);
    // The store can be recorded into, and loses no more by that.
    let (file, more) = (sensor.path("more.pcap"), [(1_790_001_000_000_000_000, 60, vec![7; 60])]);
    fs::write(&file, savefile::encode(1, &more)).unwrap();
    sensor.import_whole("32MiB", &[], &[&file]);
    let after = sensor.extract([""; 0]);
    // Recovery believes whole batches only, where the page table of an orderly stop told single pages apart.
    let (missing, surplus) = judges::difference(&records, &after.records);
    assert!(missing.len() < 2_000 && surplus.len() == 1, "{} missing, {} new", missing.len(), surplus.len());
    assert_eq!(after.records.last(), more.last());
}

#[test]
fn damaged_caches_cost_nothing_and_reindex_makes_them_what_they_were() {
    let (sensor, records) = stored();
    // The last import left its catalog entries to the tails; reindex writes all there is.
    reindex(&sensor);
    let files: Vec<_> = (0..3).map(|number| sensor.segment(number)).collect();
    let catalog = sensor.store().join("catalog.dat");
    let before: Vec<_> = files.iter().chain([&catalog]).map(|file| fs::read(file).unwrap()).collect();
    let (_, index, length) = tail(&files[1]);
    flip(&files[1], index + length / 2, 3);
    // The summary of one segment, gone altogether; an entry of the catalog, and a filter of another.
    let summary = OpenOptions::new().write(true).open(&files[2]).unwrap();
    summary.write_all_at(&[0; 512], SEGMENT - PAGE).unwrap();
    flip(&catalog, 128, 64);
    let filter_bytes = word(&before[3], 116);
    assert!(filter_bytes > 100, "the first entry names a filter");
    flip(&catalog, PAGE + filter_bytes / 2, 5);

    let (code, findings) = verify(&sensor);
    assert_eq!(code, exit::PARTIAL);
    // An entry that cannot be read counts as one that was not written yet.
    for (number, words) in [("0", "catalog"), ("1", "index is damaged"), ("2", "no summary")] {
        let found = |finding: &String| finding.starts_with(&format!("{number}: ")) && finding.contains(words);
        assert!(findings.iter().any(found), "{number} {words}: {findings:?}");
    }
    // They are caches: the answer is whole, if slower.
    let ours = sensor.extract([""; 0]);
    assert!(ours.records == records, "{} of {}: {}", ours.records.len(), records.len(), ours.said);
    reindex(&sensor);
    assert_eq!(verify(&sensor), (exit::DONE, Vec::new()));
    for (file, before) in files.iter().chain([&catalog]).zip(&before) {
        let after = fs::read(file).unwrap();
        let difference = after.iter().zip(before).position(|(a, b)| a != b);
        // The third one's summary says when it was sealed: now.
        let allowed = file == &files[2] && difference >= usize::try_from(SEGMENT - PAGE).ok();
        assert!(difference.is_none() || allowed, "{} differs at {difference:?}", file.display());
    }
    let ours = sensor.extract([""; 0]);
    assert!(ours.code == exit::DONE && ours.records == records, "{}", ours.said);
}

#[test]
fn one_state_slot_is_enough_and_without_both_nothing_is_lost() {
    let (sensor, records) = stored();
    let state = sensor.store().join("hindcap.state");
    let whole = fs::read(&state).unwrap();
    for slot in [0, 4_096] {
        flip(&state, slot + 20, 1);
        let ours = sensor.extract([""; 0]);
        assert!(ours.code == exit::DONE && ours.records == records, "slot at {slot}: {}", ours.said);
        fs::write(&state, &whole).unwrap();
    }
    flip(&state, 20, 1);
    flip(&state, 4_116, 1);
    let (file, more) = (sensor.path("more.pcap"), [(1_790_001_000_000_000_000, 60, vec![7; 60])]);
    fs::write(&file, savefile::encode(1, &more)).unwrap();
    let import = sensor.import("32MiB", &[], &[&file]);
    let ours = sensor.extract([""; 0]);
    if import.status.code() == Some(exit::DONE) {
        assert!(ours.records.starts_with(&records), "the segments told who they are");
        assert_eq!(ours.records.last(), more.last());
    } else {
        assert!(said(&import).contains("hindcap.state is damaged"), "{}", said(&import));
        fs::write(&state, &whole).unwrap();
        assert!(sensor.extract([""; 0]).records == records, "nothing was touched");
    }
}
