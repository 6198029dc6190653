//! Recording less on purpose: what a cutoff, headers-only and skip rules leave of made-up and of real traffic, with
//! tcpdump and tshark as judges.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use hindcap_tests::savefile::{self, Record};
use hindcap_tests::sensor::{Sensor, exit};
use hindcap_tests::traffic::{Mix, Traffic};
use hindcap_tests::{judges, tools};
use hindcap_wire::flow::FlowKey;
use hindcap_wire::packet::{Dissection, LinkType, dissect};
use serde_json::Value;

const SYN: u8 = 2;
const ENDS: u8 = 1 | SYN | 4;

/// Half of it ordinary sessions, half of it three large downloads; a tenth of a millisecond between packets.
fn traffic(packets: u64) -> Vec<Record> {
    let mut traffic = Traffic::new(Mix::Mixed, 40, 11);
    let start = 1_790_000_000_000_000_000;
    let last = packets / 6 - 1;
    (0..packets)
        .map(|n| {
            let (download, position) = ((n / 2 % 3) as u8, n / 6);
            let frame = match position {
                _ if n % 2 == 0 => traffic.next_frame().to_vec(),
                0 => download_frame(download, SYN, 0),
                _ if position == last => download_frame(download, 0x11, 0),
                _ => download_frame(download, 0x10, 1400),
            };
            (start + n * 100_000, frame.len() as u32, frame)
        })
        .collect()
}

fn download_frame(download: u8, flags: u8, payload: usize) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
    frame.extend((40 + payload as u16).to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 64, 6, 0, 0, 10, 9, 0, download, 10, 9, 1, 1, 0xc3, 0x50, 0x1f, 0x90]);
    frame.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    frame.resize(frame.len() + payload, download);
    frame
}

/// Flow, TCP flags and whether it is a name service.
fn flow(record: &Record) -> (FlowKey, u8, bool) {
    let mut found = Dissection::new();
    dissect(LinkType::ETHERNET, &record.2, record.1, &mut found);
    let layer = found.layers.last().unwrap();
    let (key, _) = FlowKey::of(&layer.tuple, layer.vlan);
    (key, layer.tcp_flags, layer.tuple.src_port == 53 || layer.tuple.dst_port == 53)
}

/// What a cutoff leaves of `records`, packet by packet, by the words of docs/CONFIG.md: a second way to say it.
fn model(records: &[Record], cutoff: u64, sample: u64) -> Vec<Record> {
    let mut flows: HashMap<FlowKey, (u64, u64, bool)> = HashMap::new();
    let mut kept = Vec::new();
    for record in records {
        let (key, flags, names) = flow(record);
        let (bytes, behind, marked) = flows.entry(key).or_default();
        if flags & (SYN | 16) == SYN {
            (*bytes, *behind, *marked) = (0, 0, false);
        }
        let whole = *bytes < cutoff || names;
        *bytes += u64::from(record.1);
        if whole {
            kept.push(record.clone());
            continue;
        }
        *behind += 1;
        // The first that can be truncated marks the flow.
        let marks = !*marked && record.2.len() > 96;
        if *behind % sample == 0 || flags & ENDS != 0 || marks {
            *marked |= record.2.len() > 96;
            kept.push((record.0, record.1, record.2[..record.2.len().min(96)].to_vec()));
        }
    }
    kept
}

fn import_json(sensor: &Sensor, args: &[&str], file: &Path) -> Value {
    let output = sensor.import("256MiB", &[&["--segment-size", "16MiB", "--json"], args].concat(), &[file]);
    assert_eq!(output.status.code(), Some(exit::DONE), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_cutoff_keeps_small_flows_whole_and_the_start_samples_and_ends_of_large_ones() {
    if !tools::have(&["tcpdump", "tshark"]) {
        return;
    }
    let (sensor, records) = (Sensor::new(), traffic(120_000));
    let file = sensor.path("traffic.pcap");
    fs::write(&file, savefile::encode(1, &records)).unwrap();
    let imported = import_json(&sensor, &["--cutoff", "1MB"], &file);
    let expected = model(&records, 1_000_000, 100);
    let extracted = sensor.extract([""; 0]);
    let (missing, extra) = judges::difference(&expected, &extracted.records);
    assert!(missing.is_empty() && extra.is_empty(), "{} missing, {} more", missing.len(), extra.len());

    // The sizes of it: flows above the cutoff are few and have most of the bytes.
    let mut sizes: HashMap<FlowKey, u64> = HashMap::new();
    records.iter().for_each(|record| *sizes.entry(flow(record).0).or_default() += u64::from(record.1));
    let large: HashSet<FlowKey> =
        sizes.iter().filter(|(_, bytes)| **bytes > 1_000_000).map(|(key, _)| *key).collect();
    let (all, kept): (u64, u64) = (
        records.iter().map(|record| record.2.len() as u64).sum(),
        extracted.records.iter().map(|record| record.2.len() as u64).sum(),
    );
    println!("{} of {} flows cut off; {kept} of {all} bytes kept", large.len(), sizes.len());
    assert!(!large.is_empty() && large.len() * 5 < sizes.len() && kept * 10 < all * 7);
    let of_small = |records: &[Record]| -> Vec<Record> {
        records.iter().filter(|record| !large.contains(&flow(record).0)).cloned().collect()
    };
    assert!(of_small(&extracted.records) == of_small(&records), "small flows to the byte");

    // The account: every packet and byte is recorded or counted.
    let left_out = &imported["left_out"];
    assert_eq!(left_out["packets"], records.len() - extracted.records.len());
    assert_eq!(left_out["bytes"], all - kept);
    let truncated = extracted.records.iter().filter(|record| record.2.len() < record.1 as usize).count();
    assert_eq!(left_out["truncated"], truncated);
    let thinned = &extracted.answer["thinned"];
    assert_eq!(thinned["left_out"], *left_out);
    assert_eq!(thinned["policies"][0]["policy"]["cutoff"], 1_000_000);
    assert_eq!((extracted.code, &extracted.answer["partial"]), (exit::DONE, &Value::Null));
    assert_eq!(extracted.answer["gaps"], Value::Array(Vec::new()), "left out is not lost");

    // The judges: both ends of every connection, and lengths on the wire where bytes are missing.
    let result = sensor.path("result.pcap");
    fs::write(&result, savefile::encode(1, &extracted.records)).unwrap();
    let ends = "tcp[tcpflags] & (tcp-syn|tcp-fin|tcp-rst) != 0";
    assert_eq!(judges::packets(&result, ends).len(), judges::packets(&file, ends).len());
    let cut = judges::fields(&result, "frame.cap_len < frame.len", &["frame.cap_len", "ip.len", "ipv6.plen"]);
    assert_eq!(cut.len(), truncated);
    assert!(cut.iter().all(|line| line[0] == ["96"]), "{:?}", cut.first());
    assert_eq!(judges::complaints(&sensor.segment(0), false), Vec::<String>::new());

    // A large flow by itself: index and session find it, its answer says what it lacks.
    let (key, _) = sizes.iter().max_by_key(|(key, bytes)| (**bytes, **key)).unwrap();
    let id = hindcap_wire::community_id::CommunityId::of(key).to_string();
    let one = sensor.extract(["--community-id", &id]);
    // What it lacks, by its sequence numbers, is what left_out says of it: flows of this traffic count from 1 again and
    // again, so only that it says so, and where.
    assert_eq!(one.answer["cut_off"]["sessions"], 1, "{}", one.answer);
    let expected: Vec<_> = expected.iter().filter(|record| flow(record).0 == *key).cloned().collect();
    let same_ends = |record: &Record| FlowKey { vlan: key.vlan, ..flow(record).0 } == *key;
    assert!(one.records.into_iter().filter(same_ends).collect::<Vec<_>>() == expected, "{id}");
    let search = String::from_utf8(sensor.hindcapd("search", ["--community-id", &id]).stdout).unwrap();
    assert!(
        search.contains("policy: flows cut off at 976.6 KiB (of the packets behind that 1 in 100"),
        "{search}"
    );
    let row = search.lines().find(|line| line.contains(&id)).unwrap();
    assert_eq!(row.split_whitespace().rev().nth(1), Some("policy"), "{search}");
    let estimate = String::from_utf8(sensor.hindcapd("estimate", ["--community-id", &id]).stdout).unwrap();
    assert!(estimate.contains("left out: "), "{estimate}");
    let status = String::from_utf8(sensor.hindcapd("status", [""; 0]).stdout).unwrap();
    assert!(status.contains("policy      flows cut off at 976.6 KiB"), "{status}");

    // The index made anew from the packets is the same.
    let reindexed = String::from_utf8(sensor.hindcapd("reindex", ["--json"]).stdout).unwrap();
    assert!(reindexed.contains("same") && !reindexed.contains("rewritten"), "{reindexed}");
    let verified = sensor.hindcapd("verify", [""; 0]);
    assert_eq!(verified.status.code(), Some(exit::DONE), "{}", String::from_utf8_lossy(&verified.stdout));
}

/// What tshark sees of the handshakes in a savefile: types, names, certificates, suites.
fn handshakes(file: &Path) -> Vec<String> {
    let mut args =
        vec!["-n", "-T", "fields", "-E", "occurrence=a", "-Y", "tls.handshake || quic.long.packet_type == 0"];
    for field in [
        "tls.handshake.type",
        "tls.handshake.extensions_server_name",
        "tls.handshake.ciphersuite",
        "tls.handshake.certificate",
        "quic.version",
        "quic.long.packet_type",
    ] {
        args.extend(["-e", field]);
    }
    args.push("-r");
    let output = tools::run("tshark", args.into_iter().map(std::ffi::OsStr::new).chain([file.as_os_str()]));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn headers_only_keeps_every_handshake_of_real_traffic() {
    if !tools::have(&["tshark"]) {
        return;
    }
    let named = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        ["tls", "quic", "ssl", "https"].iter().any(|word| name.contains(word))
    };
    let files: Vec<_> = tools::corpus().into_iter().filter(|file| named(file)).collect();
    let results = tools::in_parallel(&files, |file| {
        let sensor = Sensor::new();
        let imported =
            sensor.import("16MiB", &["--segment-size", "4MiB", "--headers-only", "--json"], &[file]);
        let imported: Value = serde_json::from_slice(&imported.stdout).unwrap_or_default();
        let result = sensor.path("all.pcapng");
        sensor.hindcapd("extract", ["-w", result.to_str().unwrap()]);
        (file.clone(), handshakes(file), handshakes(&result), imported["left_out"]["truncated"].as_u64())
    });
    let (mut seen, mut truncated) = (0, 0);
    for (file, before, after, cut) in results {
        assert_eq!(after, before, "{}", file.display());
        seen += before.len();
        truncated += cut.unwrap_or(0);
    }
    println!("{} savefiles, {seen} packets of handshakes, {truncated} packets truncated", files.len());
    assert!(files.is_empty() || (files.len() > 30 && seen > 200 && truncated > 50), "{seen} {truncated}");
}

#[test]
fn skip_rules_leave_out_tagged_packets_too_and_count_them() {
    if !tools::have(&["tcpdump"]) {
        return;
    }
    let (sensor, records) = (Sensor::new(), traffic(20_000));
    let file = sensor.path("traffic.pcap");
    fs::write(&file, savefile::encode(1, &records)).unwrap();
    let imported = import_json(&sensor, &["--skip", "tcp port 443", "--skip", "udp"], &file);
    let rule = "(tcp port 443 or udp) or (vlan and (tcp port 443 or udp))";
    let (skipped, kept) = (judges::packets(&file, rule), judges::packets(&file, &format!("not ({rule})")));
    let tagged = judges::packets(&file, "vlan and tcp port 443").len();
    assert!(tagged > 100 && skipped.len() + kept.len() == records.len());
    assert_eq!(imported["left_out"]["packets"], skipped.len());
    assert_eq!(imported["left_out"]["bytes"], skipped.iter().map(|record| record.2.len()).sum::<usize>());
    assert!(sensor.extract([""; 0]).records == kept);
    let none = sensor.extract(["--port", "443"]);
    assert_eq!(none.code, exit::NOTHING);
    assert_eq!(none.answer["why_empty"]["left_out"]["packets"], skipped.len(), "{}", none.answer);
    let wrong = sensor.import("256MiB", &["--skip", "tcp prot 443"], &[&file]);
    assert_eq!(wrong.status.code(), Some(exit::ERROR));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("tcp prot 443"));
}
