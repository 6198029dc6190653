//! `hindcapd run` against a real mosquitto and the real `hindcap`: an imported store, served over MQTT.
#![allow(clippy::unwrap_used, reason = "helpers of tests too")]

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use hindcap_tests::traffic::{Mix, Traffic};
use rustix::process::{Pid, Signal, kill_process};

const DEADLINE: Duration = Duration::from_secs(20);

/// A program that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `hindcap`, built beside `hindcapd` by the same `cargo build --workspace`.
fn hindcap() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_BIN_EXE_hindcapd")).with_file_name("hindcap");
    if !path.exists() {
        println!("skipped: {} is not built (cargo build --workspace)", path.display());
    }
    path.exists().then_some(path)
}

/// A store with a needle in it, a broker, and `hindcapd run` between them.
struct Fixture {
    directory: tempfile::TempDir,
    port: u16,
    hindcap: PathBuf,
    _broker: Running,
    sensor: Option<Running>,
}

impl Fixture {
    fn new(hindcap: PathBuf, unsigned: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("traffic.pcap"), savefile()).unwrap();
        let imported = Command::new(env!("CARGO_BIN_EXE_hindcapd"))
            .args(["import", "--store-size", "64MiB", "--store"])
            .args([at("store"), at("traffic.pcap")])
            .output()
            .unwrap();
        assert!(imported.status.success(), "{imported:?}");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        std::fs::write(at("broker.conf"), format!("listener {port} 127.0.0.1\nallow_anonymous true\n"))
            .unwrap();
        let broker = Command::new("mosquitto").arg("-c").arg(at("broker.conf")).stderr(Stdio::null()).spawn();
        let broker = Running(broker.unwrap());
        wait("the broker", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        std::fs::write(
            at("hindcap.toml"),
            format!(
                "[sensor]\nid = \"s1\"\n[store]\npath = {:?}\n[mqtt]\nbroker = \"mqtt://127.0.0.1:{port}\"\n\
                 state_dir = {:?}\nunsigned = {unsigned}\nstatus_interval = \"1s\"\n",
                at("store"),
                at("uplink")
            ),
        )
        .unwrap();
        let sensor =
            Command::new(env!("CARGO_BIN_EXE_hindcapd")).args(["run", "-c"]).arg(at("hindcap.toml")).spawn();
        Self { port, hindcap, _broker: broker, sensor: Some(Running(sensor.unwrap())), directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn hindcap(&self, args: &[&str]) -> Output {
        Command::new(&self.hindcap)
            .args(args)
            .args(["--sensor", "s1", "--timeout", "20s", "--broker"])
            .arg(format!("mqtt://127.0.0.1:{}", self.port))
            .output()
            .unwrap()
    }
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let since = Instant::now();
    while !done() {
        assert!(since.elapsed() < DEADLINE, "gave up waiting for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Made-up traffic with one session of 200 packets between 203.0.113.7:40000 and 203.0.113.99:8080.
fn savefile() -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(0xa1b2_3c4d_u32.to_le_bytes());
    bytes.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(262_144_u32.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    let mut record = |number: u32, frame: &[u8]| {
        let length = frame.len() as u32;
        for field in [1_790_000_000 + number / 1_000, number % 1_000 * 1_000_000, length, length] {
            bytes.extend(field.to_le_bytes());
        }
        bytes.extend(frame);
    };
    let mut traffic = Traffic::new(Mix::Mixed, 50, 3);
    let needle = Traffic::needle([203, 0, 113, 7], [203, 0, 113, 99], (40_000, 8_080), 200);
    for number in 0..2_000_u32 {
        record(number, traffic.next_frame());
        if let Some(frame) = needle.get(number as usize) {
            record(number, frame);
        }
    }
    bytes
}

fn tcpdump(file: &Path, filter: &str) -> String {
    let output = Command::new("tcpdump")
        .args(["-n", "-tt", "-q", "--nano", "-xx", "-r"])
        .arg(file)
        .arg(filter)
        .output();
    String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
}

#[test]
fn one_session_comes_back_over_mqtt() {
    let Some(hindcap) = hindcap() else { return };
    let mut fixture = Fixture::new(hindcap, true);
    let file = fixture.path("case.pcap");
    let fetch = ["fetch", "--host", "203.0.113.7", "--port", "8080", "-w", file.to_str().unwrap()];
    let output = fixture.hindcap(&fetch);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let expected = tcpdump(&fixture.path("traffic.pcap"), "host 203.0.113.7 and port 8080");
    assert!(!expected.is_empty() && tcpdump(&file, "") == expected, "not the packets that tcpdump finds");
    let absent = fixture.hindcap(&["fetch", "--host", "192.0.2.250", "-w", file.to_str().unwrap()]);
    assert_eq!(absent.status.code(), Some(1), "{absent:?}");
    let status = fixture.hindcap(&["status", "--json"]);
    let said = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(said.contains("\"unsigned_requests\":true") && said.contains("\"used_bytes\""), "{status:?}");
    let sensor = fixture.sensor.as_mut().unwrap();
    kill_process(Pid::from_child(&sensor.0), Signal::TERM).unwrap();
    let since = Instant::now();
    assert_eq!(sensor.0.wait().unwrap().code(), Some(0));
    assert!(since.elapsed() < Duration::from_secs(5), "slow to stop: {:?}", since.elapsed());
}

#[test]
fn unsigned_requests_are_denied_unless_switched_on() {
    let Some(hindcap) = hindcap() else { return };
    let fixture = Fixture::new(hindcap, false);
    let output = fixture.hindcap(&["search", "--host", "203.0.113.7"]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
}
