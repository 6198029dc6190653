//! Sessions that are pinned outlast the general ring: by hand on a store at rest, over a broker while packets are recorded,
//! and through `kill -9`. tcpdump, given the original savefile, is the judge.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hindcap_tests::process::Running;
use hindcap_tests::savefile::{self, Record};
use hindcap_tests::sensor::{Sensor, exit, said};
use hindcap_tests::traffic::{Mix, Traffic};
use hindcap_tests::{judges, tools};
use serde_json::Value;

const START: u64 = 1_790_000_000_000_000_000;
/// The session to be pinned: address, address, ports.
const CASE: ([u8; 4], [u8; 4], (u16, u16)) = ([203, 0, 113, 7], [203, 0, 113, 99], (40_000, 8_080));
const ASKED: [&str; 4] = ["--host", "203.0.113.7", "--host", "203.0.113.99"];
const FILTER: &str = "host 203.0.113.7 and host 203.0.113.99";

/// A savefile of `packets` packets a millisecond apart, from `from` milliseconds on, with packets of the case among them.
fn savefile_of(
    sensor: &Sensor,
    name: &str,
    from: u64,
    packets: u64,
    case: std::ops::Range<usize>,
) -> PathBuf {
    let mut traffic = Traffic::new(Mix::Mixed, 200, 11 + from);
    let session = Traffic::needle(CASE.0, CASE.1, CASE.2, 400);
    let mut inserted = session[case.clone()].iter();
    let every = packets / (case.len() as u64 + 1);
    let mut records: Vec<Record> = Vec::new();
    for number in 0..packets {
        let at = START + (from + number) * 1_000_000;
        let frame = traffic.next_frame().to_vec();
        records.push((at, u32::try_from(frame.len()).unwrap(), frame));
        if every > 0 && number % every == every - 1 {
            if let Some(frame) = inserted.next() {
                records.push((at + 7, u32::try_from(frame.len()).unwrap(), frame.clone()));
            }
        }
    }
    for frame in inserted {
        let at = records.last().map_or(START, |record| record.0) + 1;
        records.push((at, u32::try_from(frame.len()).unwrap(), frame.clone()));
    }
    let path = sensor.path(name);
    fs::write(&path, savefile::encode(1, &records)).unwrap();
    path
}

fn import(sensor: &Sensor, file: &Path) {
    sensor.import_whole("64MiB", &["--segment-size", "4MiB", "--event-share", "20%"], &[file]);
}

fn pin(sensor: &Sensor, args: &[&str]) -> Value {
    let output = sensor.hindcapd("pin", [args, &["--json"]].concat());
    assert_ne!(output.status.code(), Some(exit::ERROR), "{}", said(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn pins(sensor: &Sensor) -> Vec<Value> {
    let output = sensor.hindcapd("pins", ["--json"]);
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    list["pins"].as_array().unwrap().clone()
}

/// Overwrites the whole general ring.
fn wrap(sensor: &Sensor, from: u64) {
    let file = savefile_of(sensor, "later.pcap", from, 110_000, 0..0);
    import(sensor, &file);
    fs::remove_file(file).unwrap();
}

#[test]
fn a_pinned_session_outlasts_the_general_ring() {
    let sensor = Sensor::new();
    let original = savefile_of(&sensor, "original.pcap", 0, 20_000, 0..400);
    import(&sensor, &original);
    let theirs = judges::packets(&original, FILTER);
    assert_eq!(theirs.len(), 400);
    assert_eq!(sensor.extract(ASKED).records, theirs);
    let done = pin(&sensor, &[&ASKED[..], &["--reason", "case 17", "--end", "1790000010"]].concat());
    assert_eq!((done["packets"].as_u64(), done["state"].as_str()), (Some(400), Some("ended")), "{done}");
    let again = pin(&sensor, &[&ASKED[..], &["--end", "1790000010"]].concat());
    assert_eq!(again["packets"].as_u64(), Some(0), "nothing twice: {again}");
    assert_eq!(sensor.extract(ASKED).records, theirs, "given once although both rings have it");
    wrap(&sensor, 30_000);
    let extracted = sensor.extract(ASKED);
    assert_eq!(extracted.records, theirs);
    assert_eq!(extracted.answer["pinned_packets"].as_u64(), Some(400));
    // As bytes: the same file as tcpdump makes of the original.
    let (ours, judge) = (sensor.path("ours.pcap"), sensor.path("theirs.pcap"));
    sensor.hindcapd("extract", [&ASKED[..], &["-w", ours.to_str().unwrap()]].concat());
    let mut tcpdump = vec!["-r", original.to_str().unwrap(), "--time-stamp-precision=nano", "-w"];
    tcpdump.extend([judge.to_str().unwrap(), FILTER]);
    assert!(tools::run("tcpdump", tcpdump).status.success());
    assert_eq!(fs::read(ours).unwrap()[24..], fs::read(judge).unwrap()[24..]);
    // The event ring is a store like any other, and everything about it is well.
    let events = sensor.store().join("events");
    let verified = tools::run(tools::ours("hindcapd"), ["verify", "--store", events.to_str().unwrap()]);
    assert_eq!(verified.status.code(), Some(exit::DONE), "{}", said(&verified));
    assert_eq!(sensor.hindcapd("verify", [""; 0]).status.code(), Some(exit::DONE));
    assert_eq!(sensor.hindcapd("reindex", [""; 0]).status.code(), Some(exit::DONE));
    assert_eq!(sensor.extract(ASKED).records, theirs);
    let status = sensor.status();
    assert_eq!(status["events"]["packets_copied"].as_u64(), Some(400), "{status}");
    assert_eq!(judges::packets(&events.join("segments/000000.pcapng"), FILTER), theirs, "tcpdump opens it");
}

#[test]
fn pins_are_bounded_and_say_what_they_lost() {
    let sensor = Sensor::new();
    let original = savefile_of(&sensor, "original.pcap", 0, 20_000, 0..400);
    import(&sensor, &original);
    let small = pin(&sensor, &[&ASKED[..], &["--max-bytes", "4KiB"]].concat());
    assert_eq!(small["state"].as_str(), Some("full"), "{small}");
    assert!(small["bytes"].as_u64().unwrap() <= 4096);
    // Everything of ten seconds, again and again, until the event ring has come round.
    for round in 0..4 {
        let from = 30_000 + round * 120_000;
        wrap(&sensor, from);
        let (start, end) = (1_790_000_000 + from / 1_000 + 90, 1_790_000_000 + from / 1_000 + 100);
        pin(&sensor, &["--start", &start.to_string(), "--end", &end.to_string()]);
    }
    assert!(pins(&sensor)[0]["overwritten"].as_bool().unwrap(), "{:?}", pins(&sensor)[0]);
    let id = pins(&sensor)[1]["id"].as_str().unwrap().to_owned();
    let ended = sensor.hindcapd("unpin", [&id]);
    assert_eq!(ended.status.code(), Some(exit::DONE), "{}", said(&ended));
    assert_eq!(sensor.hindcapd("unpin", ["zzzzzzzz"]).status.code(), Some(exit::ERROR));
}

/// mosquitto on a free port.
fn broker(sensor: &Sensor) -> Option<(Running, String)> {
    if !tools::have(&["mosquitto"]) {
        return None;
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = sensor.path("mosquitto.conf");
    fs::write(&config, format!("listener {port} 127.0.0.1\nallow_anonymous true\n")).unwrap();
    let running = Running::start(Command::new("mosquitto").arg("-c").arg(&config));
    tools::wait_for("the broker", || TcpStream::connect(("127.0.0.1", port)).ok());
    Some((running, format!("mqtt://127.0.0.1:{port}")))
}

/// A daemon that serves the store and records nothing: imports stand in for what is recorded.
fn daemon(sensor: &Sensor, url: &str) -> Running {
    let config = sensor.path("hindcap.toml");
    let text = format!(
        "[sensor]\nid = \"branch-1\"\n[store]\npath = {:?}\nflush_interval = \"1s\"\n[mqtt]\nbroker = {url:?}\nunsigned = true\n\
         status_interval = \"1s\"\nstate_dir = {:?}\n",
        sensor.store(),
        sensor.path("uplink"),
    );
    fs::write(&config, text).unwrap();
    let running = Running::start(Command::new(tools::ours("hindcapd")).args(["run", "-c"]).arg(&config));
    tools::wait_for("the sensor's status", || {
        hindcap(url, &["status", "--json"]).status.success().then_some(())
    });
    running
}

fn hindcap(url: &str, args: &[&str]) -> Output {
    let all = [&args[..1], &["--broker", url], &args[1..]].concat();
    tools::run(tools::ours("hindcap"), all)
}

fn listed(url: &str) -> Vec<Value> {
    let output = hindcap(url, &["pins", "--sensor", "branch-1", "--json"]);
    assert!(output.status.success(), "{}", said(&output));
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    list["pins"].as_array().unwrap().clone()
}

fn wait_copied(url: &str, packets: u64) -> Value {
    tools::wait_for("the copies", || {
        listed(url).into_iter().find(|pin| pin["packets"].as_u64() == Some(packets))
    })
}

#[test]
fn a_session_that_goes_on_is_followed_through_restarts_and_kills() {
    let sensor = Sensor::new();
    let parts = [(0, 0..100), (10_000, 100..150), (20_000, 150..270), (30_000, 270..400)];
    let files: Vec<PathBuf> = parts
        .iter()
        .map(|(from, case)| savefile_of(&sensor, &format!("{from}.pcap"), *from, 8_000, case.clone()))
        .collect();
    let theirs: Vec<Record> = files.iter().flat_map(|file| judges::packets(file, FILTER)).collect();
    assert_eq!(theirs.len(), 400);
    import(&sensor, &files[0]);
    let Some((_broker, url)) = broker(&sensor) else { return };
    let mut running = daemon(&sensor, &url);
    let target = ["pin", "--sensor", "branch-1", "--for", "10d"];
    let made = hindcap(&url, &[&target[..], &ASKED, &["--json"]].concat());
    assert_eq!(made.status.code(), Some(exit::DONE), "{}", said(&made));
    wait_copied(&url, 100);
    // What comes after the request, while the daemon runs.
    import(&sensor, &files[1]);
    let pin = wait_copied(&url, 150);
    assert_eq!(pin["state"].as_str(), Some("following"), "{pin}");
    // By hand it is refused while the daemon has the event ring, and the way is named.
    let refused = sensor.hindcapd("pin", ASKED);
    assert_eq!(refused.status.code(), Some(exit::ERROR));
    assert!(said(&refused).contains("'hindcap pin'"), "{}", said(&refused));
    // An orderly restart, with packets recorded in between.
    running.stop();
    import(&sensor, &files[2]);
    let mut running = daemon(&sensor, &url);
    wait_copied(&url, 270);
    // kill -9 while it copies: at whatever moment that is.
    import(&sensor, &files[3]);
    running.signal(rustix::process::Signal::KILL);
    running.wait();
    let mut running = daemon(&sensor, &url);
    let events = sensor.store().join("events");
    let inside = || {
        let (file, store) = (sensor.path("events.pcap"), events.to_str().unwrap().to_owned());
        let _ = fs::remove_file(&file);
        tools::run(tools::ours("hindcapd"), ["extract", "--store", &store, "-w", file.to_str().unwrap()]);
        savefile::read(&file).map_or_else(|_| Vec::new(), |(_, records)| records)
    };
    tools::wait_for("the rest", || (inside().len() >= 400).then_some(()));
    assert_eq!(inside(), theirs, "no packet twice, none lost");
    let id = listed(&url)[0]["id"].as_str().unwrap().to_owned();
    let ended = hindcap(&url, &["unpin", &id, "--sensor", "branch-1"]);
    assert_eq!(ended.status.code(), Some(exit::DONE), "{}", said(&ended));
    assert_eq!(listed(&url)[0]["state"].as_str(), Some("released"));
    running.stop();
    wrap(&sensor, 40_000);
    assert_eq!(sensor.extract(ASKED).records, theirs);
}
