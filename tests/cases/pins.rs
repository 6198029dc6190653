//! Sessions that are pinned outlast the general ring, in a directory and on a card: by hand on a store at rest, over a broker
//! while packets are recorded, through `kill -9`, and when the medium is pulled. tcpdump is the judge.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hindcap_tests::branch::Recording;
use hindcap_tests::netns::{Cable, SERVER};
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

/// A store in a directory, and one on a card; the card only where its files can be copied.
fn sensors() -> Vec<Sensor> {
    let mut sensors = vec![Sensor::new()];
    if tools::have(&["mcopy"]) {
        let args = ["--segment", "4MiB", "--erase-unit", "1MiB", "--event-share", "30%"];
        sensors.push(Sensor::with_card("64MiB", &args));
    }
    sensors
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
    sensors().iter().for_each(outlasts);
}

fn outlasts(sensor: &Sensor) {
    let original = savefile_of(sensor, "original.pcap", 0, 20_000, 0..400);
    import(sensor, &original);
    let theirs = judges::packets(&original, FILTER);
    assert_eq!(theirs.len(), 400);
    assert_eq!(sensor.extract(ASKED).records, theirs);
    let done = pin(sensor, &[&ASKED[..], &["--reason", "case 17", "--end", "1790000010"]].concat());
    assert_eq!((done["packets"].as_u64(), done["state"].as_str()), (Some(400), Some("ended")), "{done}");
    let again = pin(sensor, &[&ASKED[..], &["--end", "1790000010"]].concat());
    assert_eq!(again["packets"].as_u64(), Some(0), "nothing twice: {again}");
    assert_eq!(sensor.extract(ASKED).records, theirs, "given once although both rings have it");
    wrap(sensor, 30_000);
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
    // The event ring is a store like any other, and everything about it is well; so it is for who mounts a card.
    let copied = sensor.copied();
    let events = copied.path().join("events");
    let verified = tools::run(tools::ours("hindcapd"), ["verify", "--store", events.to_str().unwrap()]);
    assert_eq!(verified.status.code(), Some(exit::DONE), "{}", said(&verified));
    assert_eq!(sensor.hindcapd("verify", [""; 0]).status.code(), Some(exit::DONE));
    assert_eq!(sensor.hindcapd("reindex", [""; 0]).status.code(), Some(exit::DONE));
    assert_eq!(sensor.extract(ASKED).records, theirs);
    let hold = sensor.hindcapd("hold", ["--host", "192.0.2.250"]);
    assert_eq!(hold.status.code(), Some(exit::NOTHING), "{}", said(&hold));
    let status = sensor.status();
    assert_eq!(status["events"]["packets_copied"].as_u64(), Some(400), "{status}");
    assert_eq!(judges::packets(&events.join("segments/000000.pcapng"), FILTER), theirs, "tcpdump opens it");
}

#[test]
fn an_import_follows_what_is_pinned() {
    sensors().iter().for_each(follows_imports);
}

fn follows_imports(sensor: &Sensor) {
    let files = [
        savefile_of(sensor, "first.pcap", 0, 8_000, 0..100),
        // The general ring comes round more than twice, with a packet of the case in each of its segments.
        savefile_of(sensor, "second.pcap", 10_000, 230_000, 100..398),
        savefile_of(sensor, "third.pcap", 250_000, 8_000, 398..400),
    ];
    let theirs: Vec<Record> = files.iter().flat_map(|file| judges::packets(file, FILTER)).collect();
    assert_eq!(theirs.len(), 400);
    import(sensor, &files[0]);
    let begun = pin(sensor, &[&ASKED[..], &["--for", "10d"]].concat());
    assert_eq!(
        (begun["packets"].as_u64(), begun["state"].as_str()),
        (Some(100), Some("following")),
        "{begun}"
    );
    for (file, copied) in [(&files[1], 398), (&files[2], 400)] {
        import(sensor, file);
        let pin = &pins(sensor)[0];
        assert_eq!(
            (pin["packets"].as_u64(), pin["segments_missed"].as_u64()),
            (Some(copied), Some(0)),
            "{pin}"
        );
    }
    let extracted = sensor.extract(ASKED);
    assert_eq!(extracted.records, theirs, "whole, in order, and nothing twice");
    assert!(extracted.answer["pinned_packets"].as_u64().unwrap() > 100, "the general ring has come round");
}

#[test]
fn pins_are_bounded_and_say_what_they_lost() {
    sensors().iter().for_each(bounded);
}

fn bounded(sensor: &Sensor) {
    let original = savefile_of(sensor, "original.pcap", 0, 20_000, 0..400);
    import(sensor, &original);
    let small = pin(sensor, &[&ASKED[..], &["--max-bytes", "4KiB"]].concat());
    assert_eq!(small["state"].as_str(), Some("full"), "{small}");
    assert!(small["bytes"].as_u64().unwrap() <= 4096);
    // Everything of ten seconds, again and again, until the event ring has come round.
    for round in 0..4 {
        let from = 30_000 + round * 120_000;
        wrap(sensor, from);
        let (start, end) = (1_790_000_000 + from / 1_000 + 90, 1_790_000_000 + from / 1_000 + 100);
        pin(sensor, &["--start", &start.to_string(), "--end", &end.to_string()]);
    }
    assert!(pins(sensor)[0]["overwritten"].as_bool().unwrap(), "{:?}", pins(sensor)[0]);
    let id = pins(sensor)[1]["id"].as_str().unwrap().to_owned();
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

#[test]
fn a_card_without_an_event_ring_says_what_to_do() {
    let sensor = Sensor::with_card("64MiB", &["--event-share", "0%"]);
    let refused = sensor.hindcapd("pin", ASKED);
    assert_eq!(refused.status.code(), Some(exit::ERROR));
    assert!(said(&refused).contains("--event-share 10%"), "{}", said(&refused));
    let small = tools::run(
        tools::ours("hindcapd"),
        ["format", &sensor.store().display().to_string(), "--event-share", "1%", "--yes"],
    );
    assert_eq!(small.status.code(), Some(exit::ERROR));
    assert!(said(&small).contains("too little for an event ring"), "{}", said(&small));
}

/// What the pins of a branch are asked for here.
trait Pinned {
    fn pin(&self) -> Value;
    fn more(&self, what: &str, before: u64) -> u64;
}

impl Pinned for Recording<'_> {
    fn pin(&self) -> Value {
        let output = self.ask(&["pins", "--json"]);
        let list: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        list["pins"][0].clone()
    }

    /// Waits until more than `before` packets are copied; how many then.
    fn more(&self, what: &str, before: u64) -> u64 {
        tools::wait_for(what, || self.pin()["packets"].as_u64().filter(|packets| *packets > before))
    }
}

/// Packets of the case in one ring of a copy of the store.
fn of_case(store: &Path) -> Vec<Record> {
    let file = store.join("case.pcap");
    let args =
        ["extract", "--store", store.to_str().unwrap(), "--port", "7000", "-w", file.to_str().unwrap()];
    tools::run(tools::ours("hindcapd"), args);
    savefile::read(&file).map_or_else(|_| Vec::new(), |(_, records)| records)
}

#[test]
fn a_live_session_is_followed_from_syn_to_fin_through_kills_and_a_pulled_medium() {
    if !tools::have(&["mosquitto", "python3", "tcpdump"]) {
        return;
    }
    for sensor in &sensors() {
        let Some(cable) = Cable::new() else { return };
        follows(sensor, &cable);
    }
}

fn follows(sensor: &Sensor, cable: &Cable) {
    let branch = Recording::new(sensor, cable);
    let mut daemon = branch.daemon();
    // One connection that lasts until the file is there.
    let over = sensor.path("over");
    let server = "import socket,sys\nl=socket.create_server((sys.argv[1],7000))\nc=l.accept()[0]\n\
                  while c.recv(999): c.sendall(b'y'*100)\nc.close()";
    let client = "import os,socket,sys,time\ns=socket.create_connection((sys.argv[1],7000))\n\
                  while not os.path.exists(sys.argv[2]): s.sendall(b'x'*200); s.recv(999); time.sleep(0.05)\ns.close()";
    let _server = Running::start(cable.server("python3").args(["-c", server, SERVER]));
    tools::wait_for("the server", || {
        let look = "import sys\nsys.exit(':1B58' not in open('/proc/net/tcp').read())";
        let output = cable.server("python3").args(["-c", look]).output().unwrap();
        output.status.success().then_some(())
    });
    let mut client = Running::start(cable.client("python3").args(["-c", client, SERVER]).arg(&over));
    tools::wait_for("the case", || (sensor.extract(["--port", "7000"]).records.len() > 20).then_some(()));
    let made = branch.ask(&["pin", "--port", "7000", "--for", "1h", "--reason", "case 17"]);
    assert_eq!(made.status.code(), Some(exit::DONE), "{}", said(&made));
    let copied = branch.more("what was there", 0);
    let copied = branch.more("what came after the request", copied);
    // A hold reaches the recorder, here too.
    let held = branch.ask(&["hold", "--port", "7000", "--for", "1h", "--json"]);
    assert_eq!(held.status.code(), Some(exit::DONE), "{}", said(&held));
    let holds: Value = serde_json::from_slice(&sensor.hindcapd("holds", ["--json"]).stdout).unwrap();
    let id = holds["holds"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(branch.ask(&["release", &id]).status.code(), Some(exit::DONE));
    // At whatever moment that is.
    daemon.signal(rustix::process::Signal::KILL);
    daemon.wait();
    let mut daemon = branch.daemon();
    let copied = branch.more("what came after the kill", copied);
    // Pulled, and put in again.
    let (medium, drawer) = (sensor.medium(), sensor.path("drawer"));
    fs::rename(&medium, &drawer).unwrap();
    tools::wait_for("the medium to be missed", || daemon.said().contains("event ring is away").then_some(()));
    fs::rename(&drawer, &medium).unwrap();
    let copied = branch.more("what came after the medium was back", copied);
    assert!(copied > 0);
    fs::write(&over, "").unwrap();
    client.wait();
    // Both rings have the same of it, and nothing twice.
    let both = tools::wait_for("the end of the session", || {
        let copy = sensor.copied();
        let events = of_case(&copy.path().join("events"));
        fs::remove_dir_all(copy.path().join("events")).unwrap();
        let general = of_case(copy.path());
        let ended =
            |records: &[Record]| records.iter().filter(|(_, _, bytes)| bytes[47] & 1 == 1).count() == 2;
        (events.len() == general.len() && ended(&events)).then_some((general, events))
    });
    assert!(both.0 == both.1, "{} packets and {}", both.0.len(), both.1.len());
    assert_eq!(both.1[0].2[47] & 0x3F, 2, "it begins with its SYN");
    let (status, _) = daemon.stop();
    assert!(status.success(), "{}", daemon.said());
}
