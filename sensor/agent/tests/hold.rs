//! Holding evidence as a user does it: a held session outlives three turns of the ring, byte for byte by tcpdump's judgement,
//! and goes with its release.
#![allow(clippy::unwrap_used, reason = "helpers of tests too")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use hindcap_tests::traffic::{Mix, Traffic};

const NEEDLE: ([u8; 4], [u8; 4], (u16, u16)) = ([203, 0, 113, 7], [203, 0, 113, 99], (40_000, 8_080));
/// Start of the savefile with the session, and of the traffic that comes after it.
const EARLY: u64 = 1_790_000_000;
const LATE: u64 = EARLY + 10_000;

struct Fixture {
    directory: tempfile::TempDir,
}

impl Fixture {
    /// A store of nine segments of 4 MiB with a session in the second or third of them.
    fn new() -> Self {
        let fixture = Self { directory: tempfile::tempdir().unwrap() };
        std::fs::write(fixture.path("early.pcap"), savefile(EARLY, 16 << 20, true)).unwrap();
        std::fs::write(fixture.path("late.pcap"), savefile(LATE, 36 << 20, false)).unwrap();
        fixture.import("early.pcap");
        fixture
    }

    fn import(&self, name: &str) {
        self.import_into("38MiB", name);
    }

    /// Gives what was said.
    fn import_into(&self, size: &str, name: &str) -> String {
        let file = self.path(name);
        let args = ["--store-size", size, "--segment-size", "4MiB", file.to_str().unwrap()];
        let output = self.hindcapd("import", &args);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stderr)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn hindcapd(&self, command: &str, args: &[&str]) -> Output {
        let program = env!("CARGO_BIN_EXE_hindcapd");
        Command::new(program).arg(command).arg("--store").arg(self.path("store")).args(args).output().unwrap()
    }

    fn json(&self, command: &str, args: &[&str]) -> (Option<i32>, serde_json::Value) {
        let output = self.hindcapd(command, &[args, &["--json"]].concat());
        let json = serde_json::from_slice(&output.stdout);
        (output.status.code(), json.unwrap_or_else(|_| panic!("{command}: {}", text(&output.stderr))))
    }

    /// Extracts with `query`; exit code, the answer, and what tcpdump reads in the result.
    fn extract(&self, query: &[&str]) -> (Option<i32>, String, String) {
        let file = self.path("result.pcap");
        let _ = std::fs::remove_file(&file);
        let output = self.hindcapd("extract", &[query, &["-w", file.to_str().unwrap()]].concat());
        let read = if file.exists() { tcpdump(&file, "") } else { String::new() };
        (output.status.code(), text(&output.stderr), read)
    }
}

/// About `bytes` of made-up traffic, 200 microseconds between packets, with the session in its middle when asked for.
fn savefile(start: u64, bytes: usize, with_needle: bool) -> Vec<u8> {
    let mut file = Vec::with_capacity(bytes + 65_536);
    file.extend(0xa1b2_3c4d_u32.to_le_bytes());
    file.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    file.extend(262_144_u32.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    let (mut nanos, mut needle) = (0_u64, with_needle);
    let mut traffic = Traffic::new(Mix::Mixed, 300, start);
    let mut record = |file: &mut Vec<u8>, frame: &[u8]| {
        nanos += 200_000;
        let (secs, length) = ((start + nanos / 1_000_000_000) as u32, frame.len() as u32);
        for field in [secs, (nanos % 1_000_000_000) as u32, length, length] {
            file.extend(field.to_le_bytes());
        }
        file.extend(frame);
    };
    while file.len() < bytes {
        if needle && file.len() > bytes / 2 {
            needle = false;
            for frame in &Traffic::needle(NEEDLE.0, NEEDLE.1, NEEDLE.2, 10) {
                record(&mut file, frame);
            }
        }
        record(&mut file, traffic.next_frame());
    }
    file
}

/// One line per packet: nanosecond time, lengths and all bytes.
fn tcpdump(file: &Path, filter: &str) -> String {
    let args = ["-n", "-tt", "-q", "--nano", "-xx", "-r"];
    let output = Command::new("tcpdump").args(args).arg(file).arg(filter).output().unwrap();
    text(&output.stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_held_session_outlives_three_turns_and_goes_with_its_release() {
    let fixture = Fixture::new();
    let session = ["--host", "203.0.113.7"];
    let expected = tcpdump(&fixture.path("early.pcap"), "host 203.0.113.7");
    assert!(!expected.is_empty());

    let asked = [&session[..], &["--for", "90d", "--reason", "case 17", "--who", "analyst"]].concat();
    let (code, held) = fixture.json("hold", &asked);
    assert_eq!(
        (code, &held["hold"]["segments"], &held["hold"]["why"]),
        (Some(0), &1.into(), &"case 17".into())
    );
    let id = held["hold"]["id"].as_str().unwrap().to_owned();

    for _ in 0..3 {
        fixture.import("late.pcap");
    }
    let (code, told, found) = fixture.extract(&session);
    assert_eq!(code, Some(0), "{told}");
    assert!(found == expected, "the held session differs from the savefile's");
    // What was around it is gone, before and after, and the answer says that and not that nobody recorded.
    let end = (EARLY + 1).to_string();
    let between =
        [&(EARLY + 20).to_string(), &(LATE - 10).to_string()].map(String::as_str).map(str::to_owned);
    for window in [&["--end", &end][..], &["--start", &between[0], "--end", &between[1]]] {
        let (code, told, _) = fixture.extract(window);
        assert_eq!(code, Some(3), "{window:?}: {told}");
        assert!(told.contains("pruned"), "{told}");
    }
    let status = fixture.json("status", &[]).1;
    assert_eq!(
        (&status["held"]["share"]["segments"], &status["held"]["share"]["holds"]),
        (&1.into(), &1.into())
    );
    let list = fixture.json("holds", &[]).1;
    assert_eq!((list["holds"].as_array().unwrap().len(), &list["holds"][0]["id"]), (1, &id.as_str().into()));

    let (code, released) = fixture.json("release", &[&id]);
    assert_eq!((code, &released["segments"]), (Some(0), &1.into()));
    let again = fixture.hindcapd("release", &[&id]);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains(&format!("there is no hold {id}")), "{}", text(&again.stderr));
    fixture.import("late.pcap");
    let end = (EARLY + 100).to_string();
    let (code, told, _) =
        fixture.extract(&[&session[..], &["--start", &EARLY.to_string(), "--end", &end]].concat());
    assert_eq!(code, Some(3), "{told}");
    assert!(told.contains("pruned"), "{told}");
}

#[test]
fn a_store_that_is_made_smaller_keeps_what_is_held() {
    let fixture = Fixture::new();
    std::fs::write(fixture.path("few.pcap"), savefile(LATE, 64 << 10, false)).unwrap();
    let session = ["--host", "203.0.113.7"];
    let (code, held) = fixture.json("hold", &session);
    assert_eq!((code, &held["hold"]["segments"]), (Some(0), &1.into()));
    let expected = fixture.extract(&session).2;
    assert!(!expected.is_empty());
    // Two segments are asked for: one is held, and two must stay with recording.
    let told = fixture.import_into("10MiB", "few.pcap");
    assert!(
        told.contains("2 segments asked for, but 1 held: the store keeps 3; release holds and start again"),
        "{told}"
    );
    let (code, told, found) = fixture.extract(&session);
    assert!(code == Some(0) && found == expected, "the held session is not whole: {told}");
    let status = fixture.json("status", &[]).1;
    assert_eq!(
        (&status["segments_total"], &status["held"]["share"]["segments"]),
        (&3.into(), &1.into()),
        "{status}"
    );
    assert_eq!(fixture.hindcapd("verify", &[]).status.code(), Some(0));
    let id = held["hold"]["id"].as_str().unwrap().to_owned();
    assert_eq!(fixture.json("release", &[&id]).0, Some(0));
    let told = fixture.import_into("10MiB", "few.pcap");
    assert!(!told.contains("asked for"), "{told}");
    assert_eq!(fixture.json("status", &[]).1["segments_total"], 2);
    assert_eq!(fixture.extract(&session).0, Some(1), "nobody holds it any more");
}

#[test]
fn what_does_not_fit_is_refused_with_figures_or_held_in_part() {
    let fixture = Fixture::new();
    let refused = fixture.hindcapd("hold", &[]);
    assert_eq!(refused.status.code(), Some(2));
    let told = text(&refused.stderr);
    assert!(told.contains("of 2 that holds may take; shorten the range"), "{told}");
    assert!(told.contains("hold: needs ") && told.contains("2 are free"), "{told}");
    assert_eq!(fixture.json("holds", &[]).1["holds"].as_array().unwrap().len(), 0, "nothing is held then");
    let (code, held) = fixture.json("hold", &["--partial", "newest"]);
    assert_eq!((code, &held["hold"]["segments"]), (Some(5), &2.into()));
    assert!(held["hold"]["left_out"].as_u64().unwrap() >= 2, "{held}");
    let nothing = fixture.hindcapd("hold", &["--host", "198.51.100.200"]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(text(&nothing.stderr).contains("nothing to hold"), "{}", text(&nothing.stderr));
    let long = fixture.hindcapd("hold", &["--host", "203.0.113.7", "--reason", &"x".repeat(97)]);
    assert!(text(&long.stderr).contains("96 bytes at most"), "{}", text(&long.stderr));
}

#[test]
fn a_store_that_is_recorded_into_names_the_other_way() {
    let fixture = Fixture::new();
    let mut import = Command::new(env!("CARGO_BIN_EXE_hindcapd"))
        .args(["import", "-r", "-", "--store"])
        .arg(fixture.path("store"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    import.stdin.as_mut().unwrap().write_all(&savefile(LATE, 100_000, false)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let output = fixture.hindcapd("hold", &["--host", "203.0.113.7"]);
        let told = text(&output.stderr);
        if told.contains("store in use by pid") {
            assert!(output.status.code() == Some(2) && told.contains("use 'hindcap hold'"), "{told}");
            break;
        }
        assert!(Instant::now() < deadline, "the store was never in use: {told}");
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(import.stdin.take());
    import.wait().unwrap();
}
