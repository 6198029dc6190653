//! Every real savefile goes in and comes out again: the same packets (bytes, lengths, nanosecond times) that tcpdump
//! reads from the original, in time order; and every segment opens in tcpdump, tshark and capinfos.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};

use hindcap_tests::judges::{self, Reading};
use hindcap_tests::savefile;
use hindcap_tests::sensor::{Sensor, exit, said};
use hindcap_tests::tools;

/// Files of the corpus and what is needed to judge them; none where something is missing.
fn corpus(programs: &[&str]) -> Vec<PathBuf> {
    if tools::have(programs) { tools::corpus() } else { Vec::new() }
}

/// Imports and extracts one file; returns a complaint, if any.
fn round_trip(file: &Path) -> Result<&'static str, String> {
    let sensor = Sensor::new();
    let import = sensor.import("12MiB", &["--segment-size", "4MiB"], &[file]);
    let code = import.status.code();
    let complaint = |what: &str| Err(format!("{what}: {code:?}: {}", said(&import)));
    if said(&import).contains("panicked") || !matches!(code, Some(exit::DONE | exit::ERROR | exit::PARTIAL)) {
        return complaint("import");
    }
    let (link_type, theirs) = match judges::tcpdump(file, "") {
        Reading::Packets(link_type, theirs) => (link_type, theirs),
        Reading::Mixed => return as_tshark_reads_it(&sensor, file),
        Reading::Unreadable => return Ok("not readable by tcpdump"),
    };
    if code == Some(exit::ERROR) {
        return complaint("tcpdump reads it");
    }
    let extracted = sensor.extract([""; 0]);
    match (extracted.code, theirs.is_empty()) {
        (exit::NOTHING, true) => return Ok("empty"),
        (exit::DONE, false) => {}
        (code, _) => {
            return Err(format!("{} packets; extract ended with {code}: {}", theirs.len(), extracted.said));
        }
    }
    if extracted.link_type == link_type && extracted.records == theirs {
        return Ok("equal");
    }
    // libpcap cuts packets to what the savefile's header promises, and does not carry microseconds above a million.
    as_tshark_reads_it(&sensor, file).map_err(|complaint| {
        let first = extracted.records.iter().zip(&theirs).position(|(a, b)| a != b);
        let counts = (extracted.records.len(), theirs.len());
        format!(
            "{} packets, tcpdump reads {}; first difference {first:?}; tshark: {complaint}",
            counts.0, counts.1
        )
    })
}

/// Lets tshark judge where tcpdump has its own ways.
fn as_tshark_reads_it(sensor: &Sensor, file: &Path) -> Result<&'static str, String> {
    if !tools::have(&["tshark"]) {
        return Ok("no tshark");
    }
    let result = sensor.path("result.pcapng");
    let output = sensor.hindcapd("extract", ["-w".as_ref(), result.as_os_str()]);
    if output.status.code() != Some(exit::DONE) {
        return Err(format!("extract: {}", said(&output)));
    }
    let (theirs, ours) = (judges::tshark(file)?, judges::tshark(&result)?);
    if ours == theirs { Ok("as tshark reads it") } else { Err(format!("{} of {}", ours.len(), theirs.len())) }
}

#[test]
fn every_savefile_comes_back_as_tcpdump_reads_it() {
    let files = corpus(&["tcpdump"]);
    if files.is_empty() {
        return;
    }
    let (mut complaints, mut equal, mut others) = (Vec::new(), 0, Vec::new());
    for (file, outcome) in files.iter().zip(tools::in_parallel(&files, |file| round_trip(file))) {
        match outcome {
            Ok("equal") => equal += 1,
            Ok(other) => others.push(format!("{}: {other}", file.display())),
            Err(complaint) => complaints.push(format!("{}: {complaint}", file.display())),
        }
    }
    println!("{equal} of {} savefiles came back equal; the others:\n{}", files.len(), others.join("\n"));
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
    assert!(equal * 100 > files.len() * 95, "only {equal} of {} savefiles could be compared", files.len());
}

/// Interfaces with different link types in one savefile: tcpdump gives up, tshark judges.
#[test]
fn savefiles_with_mixed_link_types_come_back_as_tshark_reads_them() {
    let files = corpus(&["tcpdump", "tshark", "mergecap"]);
    let of_type = |wanted: u32| {
        files.iter().filter(move |file| {
            matches!(judges::tcpdump(file, ""), Reading::Packets(found, records)
                if found == wanted && !records.is_empty() && records.len() < 200 && records[0].0 > 1_000_000_000)
        })
    };
    // Ethernet, raw IP, Linux cooked, null.
    let picked: Vec<_> = [1, 101, 113, 0].into_iter().flat_map(|kind| of_type(kind).take(2)).collect();
    if picked.len() < 4 {
        return println!("skipped: no savefiles of different link types");
    }
    let sensor = Sensor::new();
    let (mixed, ours) = (sensor.path("mixed.pcapng"), sensor.path("ours.pcapng"));
    let merge = ["-F".as_ref(), "pcapng".as_ref(), "-w".as_ref(), mixed.as_os_str()];
    assert!(
        tools::run("mergecap", merge.into_iter().chain(picked.iter().map(|f| f.as_os_str())))
            .status
            .success()
    );
    assert!(matches!(judges::tcpdump(&mixed, ""), Reading::Mixed), "tcpdump should not read this");
    sensor.import_whole("12MiB", &[], &[&mixed]);
    let output = sensor.hindcapd("extract", ["-w".as_ref(), ours.as_os_str()]);
    assert_eq!(output.status.code(), Some(exit::DONE), "{}", said(&output));
    let (theirs, ours) = (judges::tshark(&mixed).unwrap(), judges::tshark(&ours).unwrap());
    assert!(theirs.len() > 20 && theirs == ours, "{} packets, we gave {}", theirs.len(), ours.len());
    assert_segments_open(&sensor, &[0], true);
    // Classic pcap has one link type: a clear refusal, no file.
    let classic = sensor.extract([""; 0]);
    assert!(
        classic.code == exit::ERROR && classic.said.contains("pcapng"),
        "{}: {}",
        classic.code,
        classic.said
    );
    assert!(classic.records.is_empty(), "nothing is left of the refused savefile");
}

#[test]
fn a_store_that_wraps_keeps_the_newest_and_every_segment_opens() {
    let files = corpus(&["tcpdump", "tshark", "capinfos"]);
    if files.is_empty() {
        return;
    }
    let (sensor, all) = (Sensor::new(), judges::ethernet(&files));
    // Ten savefiles, imported one by one: the store is left and opened again, and wraps on the way.
    let parts: Vec<_> = all
        .chunks(all.len().div_ceil(10))
        .zip(0..)
        .map(|(part, number)| {
            let path = sensor.path(&format!("part{number}.pcap"));
            fs::write(&path, savefile::encode(1, part)).unwrap();
            path
        })
        .collect();
    for part in &parts {
        sensor.import_whole("13MiB", &["--segment-size", "4MiB"], &[part]);
    }
    let status = sensor.status();
    assert_eq!(status["segments_total"], 3, "{status}");
    let bytes: usize = all.iter().map(|record| record.2.len()).sum();
    assert!(bytes > 13 << 20, "the corpus is too small to wrap: {bytes} bytes");
    let kept = sensor.extract([""; 0]);
    assert_eq!(kept.code, exit::DONE, "{}", kept.said);
    let newest = &all[all.len() - kept.records.len()..];
    assert!(
        kept.records == newest,
        "{} packets kept are not the newest of {}",
        kept.records.len(),
        all.len()
    );
    let bytes: usize = newest.iter().map(|record| record.2.len()).sum();
    assert!(bytes > 6 << 20, "two whole segments and more are kept: {bytes}");
    let size: u64 = walk(&sensor.store()).iter().map(|file| file.metadata().unwrap().len()).sum();
    assert!(size <= 13 << 20, "{size} bytes is above the quota");
    let gone = sensor.extract(["--start", "2023-11-14T22:13:20Z", "--end", "2023-11-14T22:13:21Z"]);
    assert_eq!(gone.code, exit::OUT_OF_RETENTION, "{}", gone.said);
    let segments: Vec<u32> = (0..3).collect();
    assert_segments_open(&sensor, &segments, false);
    // The segments themselves hold exactly what is extracted, as tcpdump reads them.
    let mut read: Vec<_> =
        segments.iter().flat_map(|number| judges::packets(&sensor.segment(*number), "")).collect();
    read.sort();
    assert!(read == newest, "tcpdump reads {} packets from the segments", read.len());
}

/// All files below a folder.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// Every file after the other into one store: nothing of one changes what comes back of another.
#[test]
fn one_store_takes_every_savefile() {
    let files = corpus(&["tcpdump", "tshark", "capinfos"]);
    if files.is_empty() {
        return;
    }
    let sensor = Sensor::new();
    let import = sensor.import("64MiB", &["--segment-size", "4MiB", "--json"], &files);
    assert_eq!(import.status.code(), Some(exit::PARTIAL), "some are damaged: {}", said(&import));
    let outcome: serde_json::Value = serde_json::from_slice(&import.stdout).unwrap();
    let estimate = sensor.hindcapd("estimate", ["--json"]);
    let estimate: serde_json::Value = serde_json::from_slice(&estimate.stdout).unwrap();
    assert_eq!(estimate["packets_max"], outcome["packets"], "{estimate}");
    assert_eq!(sensor.status()["packets"], outcome["packets"]);
    let result = sensor.path("all.pcapng");
    let output = sensor.hindcapd("extract", ["-w".as_ref(), result.as_os_str()]);
    assert_eq!(output.status.code(), Some(exit::DONE), "{}", said(&output));
    let capinfos = tools::run("capinfos", ["-Mc".as_ref(), result.as_os_str()]);
    let counted = String::from_utf8_lossy(&capinfos.stdout).into_owned();
    assert!(counted.contains(&format!(" {}\n", outcome["packets"])), "{counted}");
    let used: Vec<u32> = (0..15).filter(|number| is_used(&sensor.segment(*number))).collect();
    assert!(used.len() >= 5, "{} segments are used", used.len());
    assert_segments_open(&sensor, &used, true);
}

/// Every segment opens in tcpdump (unless `mixed`), tshark and capinfos; all but the open one without a notice.
fn assert_segments_open(sensor: &Sensor, numbers: &[u32], mixed: bool) {
    let (sealed, open): (Vec<u32>, Vec<u32>) =
        numbers.iter().partition(|number| is_sealed(&sensor.segment(**number)));
    assert_eq!(open.len(), 1, "one segment is open: {open:?}");
    let complaints: Vec<_> =
        tools::in_parallel(&sealed, |number| judges::complaints(&sensor.segment(*number), mixed)).concat();
    assert!(complaints.is_empty(), "{complaints:#?}");
    // The open one ends with a notice; everything before it is read.
    let path = sensor.segment(open[0]);
    for complaint in judges::complaints(&path, mixed) {
        assert!(complaint.contains("length 0") || complaint.contains("length of 0"), "{complaint}");
    }
}

/// By docs/FORMAT.md: a summary page of the generation in the header.
fn is_sealed(path: &Path) -> bool {
    let bytes = fs::read(path).unwrap();
    let summary = &bytes[bytes.len() - 16_384..];
    summary[8..16] == *b"HCSUM001" && summary[16..24] == bytes[60..68]
}

/// Whether anything was written to a segment.
fn is_used(path: &Path) -> bool {
    let mut magic = [0; 4];
    std::io::Read::read_exact(&mut fs::File::open(path).unwrap(), &mut magic).unwrap();
    magic == [0x0a, 0x0d, 0x0d, 0x0a]
}
