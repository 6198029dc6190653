//! Questions to a store as a user asks them; tcpdump, given the same savefile and filter, is the judge.
#![allow(clippy::unwrap_used, reason = "helpers of tests too")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hindcap_tests::traffic::{Mix, Traffic};

const START: u64 = 1_790_000_000;
const PACKETS: u64 = 20_000;
const NEEDLE: ([u8; 4], [u8; 4], (u16, u16)) = ([203, 0, 113, 7], [203, 0, 113, 99], (40_000, 8_080));

/// A savefile of made-up traffic, a millisecond between packets, one session of ten packets in its middle, and a store
/// that holds it.
struct Fixture {
    directory: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let fixture = Self { directory: tempfile::tempdir().unwrap() };
        std::fs::write(fixture.savefile(), savefile()).unwrap();
        let savefile = fixture.savefile();
        let output = fixture.hindcapd(
            "import",
            &["--store-size", "128MiB", "--segment-size", "32MiB", savefile.to_str().unwrap()],
        );
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        fixture
    }

    fn savefile(&self) -> PathBuf {
        self.directory.path().join("traffic.pcap")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn hindcapd(&self, command: &str, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_hindcapd"))
            .arg(command)
            .arg("--store")
            .arg(self.path("store"))
            .args(args)
            .output()
            .unwrap()
    }

    /// Extracts with `query`; exit code and what tcpdump reads in the result.
    fn extract(&self, query: &[&str]) -> (Option<i32>, String) {
        let file = self.path("result.pcap");
        let _ = std::fs::remove_file(&file);
        let args = [query, &["-w", file.to_str().unwrap()]].concat();
        let output = self.hindcapd("extract", &args);
        (output.status.code(), if file.exists() { tcpdump(&file, "") } else { String::new() })
    }
}

fn savefile() -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(0xa1b2_3c4d_u32.to_le_bytes());
    bytes.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(262_144_u32.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    let mut record = |nanos: u64, frame: &[u8]| {
        let length = frame.len() as u32;
        for field in [(START + nanos / 1_000_000_000) as u32, (nanos % 1_000_000_000) as u32, length, length]
        {
            bytes.extend(field.to_le_bytes());
        }
        bytes.extend(frame);
    };
    let mut traffic = Traffic::new(Mix::Mixed, 300, 7);
    for number in 0..PACKETS {
        if number == PACKETS / 2 {
            for (offset, frame) in Traffic::needle(NEEDLE.0, NEEDLE.1, NEEDLE.2, 10).iter().enumerate() {
                record(number * 1_000_000 + offset as u64, frame);
            }
        }
        record(number * 1_000_000 + 500, traffic.next_frame());
    }
    bytes
}

/// One line per packet: nanosecond time, lengths and all bytes.
fn tcpdump(file: &Path, filter: &str) -> String {
    let output = Command::new("tcpdump")
        .args(["-n", "-tt", "-q", "--nano", "-xx", "-r"])
        .arg(file)
        .arg(filter)
        .output()
        .unwrap();
    text(&output.stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn extractions_equal_tcpdumps() {
    let fixture = Fixture::new();
    let original = fixture.savefile();
    let host = ["--host", "203.0.113.7"];
    for (query, filter) in [
        (&[][..], ""),
        (&host, "host 203.0.113.7"),
        (&["--host", "203.0.113.99", "--port", "8080"], "host 203.0.113.99 and port 8080"),
        (&["--filter", "udp and not vlan"], "udp and not vlan"),
    ] {
        let (code, found) = fixture.extract(query);
        let expected = tcpdump(&original, filter);
        assert_eq!(code, Some(0), "{query:?}");
        assert!(!expected.is_empty() && found == expected, "{query:?} differs from tcpdump's {filter:?}");
    }
}

#[test]
fn exit_codes_tell_what_happened() {
    let fixture = Fixture::new();
    let (nothing, packets) = fixture.extract(&["--host", "192.0.2.250"]);
    assert_eq!((nothing, packets.as_str()), (Some(1), ""));
    let early = ["--start", "2020-01-01T00:00:00Z", "--end", "2020-01-02T00:00:00Z"];
    assert_eq!(fixture.extract(&early).0, Some(1), "nothing was pruned yet");
    assert_eq!(fixture.extract(&["--max-packets", "5"]).0, Some(5));
    let backwards = fixture.hindcapd("estimate", &["--start", "2026-01-02", "--end", "2026-01-01"]);
    assert_eq!(backwards.status.code(), Some(2), "{}", text(&backwards.stderr));
    let bad_filter = fixture.hindcapd("estimate", &["--filter", "tcp prot 80"]);
    assert_eq!(bad_filter.status.code(), Some(2), "{}", text(&bad_filter.stderr));
    let elsewhere = Command::new(env!("CARGO_BIN_EXE_hindcapd"))
        .args(["search", "--store", "/nonexistent/store"])
        .output()
        .unwrap();
    assert_eq!(elsewhere.status.code(), Some(2));
    assert!(text(&elsewhere.stderr).contains("/nonexistent/store"), "{}", text(&elsewhere.stderr));
}

#[test]
fn search_estimate_and_standard_output() {
    let fixture = Fixture::new();
    let query = ["--host", "203.0.113.7", "--json"];
    let found: serde_json::Value =
        serde_json::from_slice(&fixture.hindcapd("search", &query).stdout).unwrap();
    assert_eq!(found["rows"].as_array().map(Vec::len), Some(1));
    assert_eq!((&found["rows"][0]["packets"], &found["rows"][0]["server_port"]), (&10.into(), &8_080.into()));
    let id = found["rows"][0]["community_id"].as_str().unwrap().to_owned();
    let estimate: serde_json::Value =
        serde_json::from_slice(&fixture.hindcapd("estimate", &query).stdout).unwrap();
    assert!(estimate["packets_max"].as_u64() >= Some(10) && estimate["sessions"] == 1, "{estimate}");
    let (code, by_id) = fixture.extract(&["--community-id", &id]);
    assert_eq!((code, by_id), (Some(0), tcpdump(&fixture.savefile(), "host 203.0.113.7")));
    let piped = fixture.hindcapd("extract", &["--host", "203.0.113.7", "-w", "-", "--format", "pcapng"]);
    assert_eq!(piped.status.code(), Some(0));
    assert_eq!(piped.stdout.get(..4), Some(&[0x0a, 0x0d, 0x0d, 0x0a][..]), "a pcapng savefile");
    assert!(text(&piped.stderr).contains("10 packets"), "{}", text(&piped.stderr));
}

#[test]
fn damage_is_found_reported_and_never_served() {
    let fixture = Fixture::new();
    let verify = || -> (Option<i32>, serde_json::Value) {
        let output = fixture.hindcapd("verify", &["--json"]);
        (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
    };
    let (code, report) = verify();
    assert_eq!((code, &report["findings"], &report["packets"]), (Some(0), &0.into(), &(PACKETS + 10).into()));
    let reindexed = fixture.hindcapd("reindex", &[]);
    assert_eq!(reindexed.status.code(), Some(0), "{}", text(&reindexed.stderr));
    assert_eq!(verify().0, Some(0), "reindex leaves a whole store whole");
    let segment = fixture.path("store/segments/000000.pcapng");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[5_000_000] ^= 0x01;
    std::fs::write(&segment, bytes).unwrap();
    let (code, report) = verify();
    assert!(code == Some(5) && report["findings"].as_u64() >= Some(1), "{report}");
    let (code, found) = fixture.extract(&[]);
    assert_eq!(code, Some(5), "an answer with damage in it is partial");
    let original = tcpdump(&fixture.savefile(), "");
    let records = |text: &str| text.split_inclusive("\n\t0x0000").count();
    assert!(records(&found) < records(&original));
    let original: std::collections::HashSet<&str> = original.lines().collect();
    assert!(found.lines().all(|line| original.contains(line)), "a wrong byte was served");
}
