//! What users and machines get wrong: each a clear error of one line, the right exit code, and nothing lost.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use hindcap_tests::process::Running;
use hindcap_tests::savefile::{self, Record};
use hindcap_tests::sensor::{Sensor, exit, said};
use hindcap_tests::tools;
use hindcap_tests::traffic::{Mix, Traffic};

fn records(count: u64) -> Vec<Record> {
    let mut traffic = Traffic::new(Mix::Mixed, 50, 3);
    let mut record = |number: u64| {
        let frame = traffic.next_frame().to_vec();
        (1_790_000_000_000_000_000 + number * 1_000_000, u32::try_from(frame.len()).unwrap(), frame)
    };
    (0..count).map(&mut record).collect()
}

/// A store of a few packets.
fn stored() -> (Sensor, Vec<Record>) {
    let (sensor, records) = (Sensor::new(), records(200));
    let file = sensor.path("good.pcap");
    fs::write(&file, savefile::encode(1, &records)).unwrap();
    sensor.import_whole("16MiB", &[], &[&file]);
    (sensor, records)
}

/// The exit code is `code`, and standard error is one line with all of `words`, no matter how it is looked at.
fn assert_refused(what: &str, output: &Output, code: i32, words: &[&str]) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(code), "{what}: {said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{what}: one line, not: {said}");
    for word in words {
        assert!(said.contains(word), "{what}: {word:?} is not in: {said}");
    }
}

fn assert_untouched(what: &str, sensor: &Sensor, records: &[Record]) {
    let ours = sensor.extract([""; 0]);
    assert!(ours.code == exit::DONE && ours.records == records, "after {what}: {}", ours.said);
}

#[test]
fn files_that_are_no_savefiles() {
    let (sensor, records) = stored();
    let good = savefile::encode(1, &records[..20]);
    let gzip = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &good[..300]].concat();
    let mut absurd = good.clone();
    absurd[24 + 8..24 + 12].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut pcapng = vec![0x0a, 0x0d, 0x0d, 0x0a, 0xff, 0xff, 0xff, 0xff, 0x4d, 0x3c, 0x2b, 0x1a];
    pcapng.resize(400, 0xff);
    for (name, bytes, code, words) in [
        ("empty.pcap", Vec::new(), exit::ERROR, &["empty.pcap"][..]),
        ("short.pcap", good[..3].to_vec(), exit::ERROR, &["short.pcap"]),
        (
            "text.pcap",
            b"this is no savefile, but a long enough line of text\n".to_vec(),
            exit::ERROR,
            &["text.pcap"],
        ),
        ("capture.pcap.gz", gzip, exit::ERROR, &["capture.pcap.gz", "gunzip"]),
        ("absurd.pcap", absurd, exit::PARTIAL, &["absurd.pcap", "byte 24"]),
        ("block.pcapng", pcapng, exit::PARTIAL, &["block.pcapng"]),
    ] {
        let file = sensor.path(name);
        fs::write(&file, bytes).unwrap();
        let output = sensor.import("16MiB", &[], &[&file]);
        assert_refused(name, &output, code, words);
        assert_untouched(name, &sensor, &records);
    }
    // Cut off inside the last record: all before it is there, and the message says where.
    let cut = sensor.path("cut.pcap");
    fs::write(&cut, &good[..good.len() - 1]).unwrap();
    let fresh = Sensor::new();
    let output = fresh.import("16MiB", &[], &[&cut]);
    let last = good.len() - 16 - records[19].2.len();
    assert_refused("cut.pcap", &output, exit::PARTIAL, &["cut.pcap", &format!("byte {last}")]);
    assert_untouched("cut.pcap", &fresh, &records[..19]);
    for (path, words) in
        [("/nonexistent/a.pcap", "/nonexistent/a.pcap"), ("/", "directory"), ("/dev/null", "/dev/null")]
    {
        assert_refused(path, &sensor.import("16MiB", &[], &[path]), exit::ERROR, &[words]);
    }
    assert_untouched("all of them", &sensor, &records);
}

#[test]
fn questions_that_cannot_be_meant() {
    let (sensor, records) = stored();
    let unwritable = sensor.path("no/such/folder/out.pcap");
    let out = sensor.path("out.pcap");
    let out = out.to_str().unwrap();
    for (args, words) in [
        (&["--start", "2026-01-02", "--end", "2026-01-01", "-w", out][..], &["end"][..]),
        (&["--start", "soon", "-w", out], &["soon", "--start"]),
        (&["--last", "15", "-w", out], &["15", "--last"]),
        (&["--host", "10.0.0.0/8", "-w", out], &["--host", "--net"]),
        (&["--port", "70000", "-w", out], &["70000"]),
        (&["--vlan", "5000", "-w", out], &["5000"]),
        (&["--proto", "tpc", "-w", out], &["tpc"]),
        (&["--mac", "12:34", "-w", out], &["12:34"]),
        (&["--community-id", "2:xyz", "-w", out], &["ommunity"]),
        (&["--filter", "tcp prot 80", "-w", out], &["filter"]),
        (&["--hots", "10.0.0.1", "-w", out], &["--hots", "--host"]),
        (&["--host", "10.0.0.1", "--host", "10.0.0.2", "--host", "10.0.0.3", "-w", out], &["two"]),
        (&["--format", "excel", "-w", out], &["excel"]),
        (&["--host", "10.0.0.1"], &["--write"]),
        (&["-w", unwritable.to_str().unwrap()], &["out.pcap"]),
    ] {
        let output = sensor.hindcapd("extract", args);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(exit::ERROR), "{args:?}: {said}");
        assert!(said.starts_with("error: ") || said.starts_with("hindcapd: "), "{args:?}: {said}");
        assert!(!said.contains("panicked") && output.stdout.is_empty(), "{args:?}: {said}");
        for word in words {
            assert!(said.contains(word), "{args:?}: {word:?} is not in: {said}");
        }
        assert!(!Path::new(out).exists(), "{args:?} left a file");
    }
    assert_untouched("all questions", &sensor, &records);
}

#[test]
fn a_store_of_another_version_is_left_alone() {
    let (sensor, records) = stored();
    let state = sensor.store().join("hindcap.state");
    let ours = fs::read(&state).unwrap();
    let mut theirs = ours.clone();
    for slot in theirs.chunks_mut(4_096) {
        slot[8] = 9;
        let crc = crc32(&slot[..4_092]);
        slot[4_092..].copy_from_slice(&crc.to_le_bytes());
    }
    fs::write(&state, &theirs).unwrap();
    let file = sensor.path("good.pcap");
    let words = &["store format 9", "only 1"];
    assert_refused("import", &sensor.import("16MiB", &[], &[&file]), exit::ERROR, words);
    for command in ["status", "estimate", "search", "verify", "reindex"] {
        assert_refused(command, &sensor.hindcapd(command, [""; 0]), exit::ERROR, words);
    }
    assert_eq!(fs::read(&state).unwrap(), theirs, "nothing was written");
    fs::write(&state, ours).unwrap();
    assert_untouched("the other version", &sensor, &records);
}

/// CRC-32 as in docs/FORMAT.md, bit by bit: independent of the code under test.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0xedb8_8320 },
        )
    })
}

#[test]
fn a_store_in_use_names_its_holder_and_can_be_read() {
    let (sensor, records) = stored();
    // An import that waits for more on its standard input holds the store.
    let fifo = sensor.path("fifo");
    assert!(tools::run("mkfifo", [&fifo]).status.success());
    let mut command = Command::new(tools::ours("hindcapd"));
    let mut holder = Running::start(command.args(["import", "--store"]).arg(sensor.store()).arg(&fifo));
    // Opening the writing end lets the holder go on; nothing is written.
    let writer = fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    let pid = holder.pid();
    tools::wait_for("the holder", || (sensor.status()["writer_pid"] == pid).then_some(()));
    let file = sensor.path("good.pcap");
    let words = [&format!("in use by pid {pid}")[..], "store"];
    assert_refused("import", &sensor.import("16MiB", &[], &[&file]), exit::ERROR, &words);
    assert_refused("reindex", &sensor.hindcapd("reindex", [""; 0]), exit::ERROR, &words);
    assert_untouched("two writers", &sensor, &records);
    drop(writer);
    holder.wait();
    sensor.import_whole("16MiB", &[], &[&file]);
}

#[test]
fn directories_that_are_no_stores() {
    let sensor = Sensor::new();
    let file = sensor.path("good.pcap");
    fs::write(&file, savefile::encode(1, &records(5))).unwrap();
    for command in ["status", "estimate", "search", "verify", "reindex"] {
        let output = sensor.hindcapd(command, [""; 0]);
        assert_refused(command, &output, exit::ERROR, &["store"]);
    }
    assert!(!sensor.store().exists(), "asking makes no store");
    // Other people's files stay.
    fs::create_dir(sensor.store()).unwrap();
    fs::write(sensor.store().join("thesis.txt"), "years of work").unwrap();
    assert_refused(
        "import",
        &sensor.import("16MiB", &[], &[&file]),
        exit::ERROR,
        &["other files", "thesis.txt"],
    );
    assert_eq!(fs::read_dir(sensor.store()).unwrap().count(), 1);
    // A file where the store should be.
    fs::remove_dir_all(sensor.store()).unwrap();
    fs::write(sensor.store(), "a file").unwrap();
    assert_refused("import", &sensor.import("16MiB", &[], &[&file]), exit::ERROR, &["store"]);
    assert_eq!(fs::read_to_string(sensor.store()).unwrap(), "a file");
    fs::remove_file(sensor.store()).unwrap();
    assert_refused("size", &sensor.import("1MiB", &[], &[&file]), exit::ERROR, &["two segments need"]);
    let odd = sensor.import("64MiB", &["--segment-size", "3MiB"], &[&file]);
    assert_refused("segment size", &odd, exit::ERROR, &["segment size"]);
}

#[test]
fn a_file_system_without_room() {
    let sensor = Sensor::new();
    let (small, file, result) = (sensor.path("small"), sensor.path("good.pcap"), sensor.path("out.pcap"));
    let records = records(3_000);
    fs::write(&file, savefile::encode(1, &records)).unwrap();
    let hindcapd = tools::ours("hindcapd");
    let (hindcapd, small_s, file_s) = (hindcapd.display(), small.display(), file.display());
    // Nothing fits at all.
    let script = format!("exec '{hindcapd}' import --store '{small_s}/store' --store-size 64MiB '{file_s}'");
    let Some(output) = tools::on_tmpfs(&small, "size=6m", &script) else { return };
    assert_eq!(output.status.code(), Some(exit::ERROR), "{}", said(&output));
    assert!(said(&output).contains("two segments need"), "{}", said(&output));
    // Less than asked for: what fits is used, and recording works.
    let script = format!(
        "'{hindcapd}' import --store '{small_s}/store' --store-size 64MiB --segment-size 4MiB '{file_s}' && \
         exec '{hindcapd}' extract --store '{small_s}/store' -w '{}'",
        result.display()
    );
    let output = tools::on_tmpfs(&small, "size=20m", &script).unwrap();
    assert_eq!(output.status.code(), Some(exit::DONE), "{}", said(&output));
    assert!(savefile::read(&result).unwrap().1 == records, "{}", said(&output));
    // No room for the result: no half a file, a clear error.
    let full = sensor.path("full");
    let (fresh, full_s) = (Sensor::new(), full.display());
    fresh.import_whole("16MiB", &[], &[&file]);
    let store = fresh.store();
    let script = format!(
        "'{hindcapd}' extract --store '{}' -w '{full_s}/out.pcap'; code=$?; ls '{full_s}'; exit $code",
        store.display()
    );
    let output = tools::on_tmpfs(&full, "size=200k", &script).unwrap();
    assert_eq!(output.status.code(), Some(exit::ERROR), "{}", said(&output));
    assert!(said(&output).contains("No space left"), "{}", said(&output));
    assert!(output.stdout.is_empty(), "nothing is left: {}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_read_only_file_system() {
    let (sensor, records) = stored();
    let hindcapd = tools::ours("hindcapd");
    let (mounted, store, out) = (sensor.path("mounted"), sensor.store(), sensor.path("out.pcap"));
    let bind = format!(
        "mount --bind '{0}' '{1}' && mount -o remount,bind,ro '{1}' || exit 77; ",
        store.display(),
        mounted.display()
    );
    let run = |command: &str| {
        let script = format!("{bind} exec '{}' {command}", hindcapd.display());
        tools::on_tmpfs(&mounted, "size=1m", &script)
    };
    let Some(output) = run(&format!("extract --store '{}' -w '{}'", mounted.display(), out.display())) else {
        return;
    };
    assert_eq!(output.status.code(), Some(exit::DONE), "reading needs no writing: {}", said(&output));
    assert!(savefile::read(&out).unwrap().1 == records);
    let good = sensor.path("good.pcap");
    let output = run(&format!("import --store '{}' '{}'", mounted.display(), good.display())).unwrap();
    assert_refused("import", &output, exit::ERROR, &["Read-only file system"]);
    assert_untouched("the import", &sensor, &records);
}
