//! `hindcapd record` on a real interface, inside a network namespace of its own. Needs root; says so otherwise.
#![allow(clippy::unwrap_used, reason = "helpers of tests too")]

#[path = "../../capture/tests/common/netns.rs"]
mod netns;

use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const BINARY: &str = env!("CARGO_BIN_EXE_hindcapd");
const DEADLINE: Duration = Duration::from_secs(20);

/// A recorder on `vb`; killed should the test fail.
struct Recorder(Child);

impl Recorder {
    fn start(store: &Path) -> Self {
        let mut command = Command::new(BINARY);
        command.args([
            "record",
            "-i",
            "vb",
            "--json",
            "--flush-interval",
            "200ms",
            "--store-size",
            "32MiB",
            "--store",
        ]);
        let child = command.arg(store).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Self(child.expect("the binary was built for this test"))
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("the recorder runs");
    }

    /// What it said, and how long it took to end.
    fn wait(mut self) -> (Output, Duration) {
        let since = Instant::now();
        let status = self.0.wait().expect("it can be waited for");
        let took = since.elapsed();
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        for (pipe, text) in [
            (self.0.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn std::io::Read>), &mut stdout),
            (self.0.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn std::io::Read>), &mut stderr),
        ] {
            pipe.expect("piped").read_to_end(text).expect("it can be read");
        }
        (Output { status, stdout, stderr }, took)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn status(store: &Path) -> serde_json::Value {
    let output = Command::new(BINARY).args(["status", "--json", "--store"]).arg(store).output();
    serde_json::from_slice(&output.expect("it runs").stdout).unwrap_or_default()
}

/// Waits until `done` of the status, at most [`DEADLINE`].
fn until(store: &Path, what: &str, done: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    let since = Instant::now();
    loop {
        let answer = status(store);
        if done(&answer) {
            return answer;
        }
        assert!(since.elapsed() < DEADLINE, "gave up waiting for {what}: {answer}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// `count` datagrams out of `va` to a neighbour that is there in name only.
fn send(count: u32) {
    assert!(netns::try_ip("addr replace 192.0.2.1/24 dev va"));
    assert!(netns::try_ip("neigh replace 192.0.2.2 lladdr 02:00:00:00:00:02 dev va"));
    let socket = UdpSocket::bind("192.0.2.1:4000").expect("a socket");
    for number in 0..count {
        socket.send_to(&number.to_be_bytes(), "192.0.2.2:9").expect("sent");
    }
}

fn writer(answer: &serde_json::Value) -> bool {
    answer["writer_pid"].is_u64()
}

#[test]
fn silent_link() {
    netns::in_namespace("silent_link", || {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store");
        let recorder = Recorder::start(&store);
        let pid = until(&store, "the recorder", writer)["writer_pid"].as_u64().unwrap();
        assert_eq!(pid, u64::from(recorder.0.id()));
        let (second, _) = Recorder::start(&store).wait();
        assert_eq!(second.status.code(), Some(2));
        let said = String::from_utf8_lossy(&second.stderr).into_owned();
        assert!(said.contains(&format!("store in use by pid {pid}")), "{said}");
        recorder.signal(Signal::INT);
        let (output, took) = recorder.wait();
        assert_eq!(output.status.code(), Some(0));
        assert!(took < Duration::from_secs(1), "a silent link must not delay the stop: {took:?}");
        assert!(!writer(&status(&store)));
    });
}

#[test]
fn recorded_and_counted() {
    netns::in_namespace("recorded_and_counted", || {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store");
        let recorder = Recorder::start(&store);
        until(&store, "the recorder", writer);
        send(100);
        // Beside the live recorder, without its lock, within the flush interval.
        until(&store, "the packets", |answer| answer["packets"].as_u64() >= Some(100));
        recorder.signal(Signal::TERM);
        let (output, _) = recorder.wait();
        assert_eq!(output.status.code(), Some(0));
        let counters: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let answer = status(&store);
        assert_eq!(counters["packets"], answer["packets"]);
        assert_eq!(counters["drops"]["ring_full"], 0);
        // tshark is the judge: each datagram once, in order.
        let tshark = Command::new("tshark")
            .args(["-n", "-T", "fields", "-e", "data.data", "-Y", "udp.dstport==9", "-r"])
            .arg(store.join("segments/000000.pcapng"))
            .output()
            .unwrap();
        let payloads: Vec<u32> = String::from_utf8_lossy(&tshark.stdout)
            .lines()
            .map(|line| u32::from_str_radix(line.trim(), 16).unwrap())
            .collect();
        assert_eq!(payloads, (0..100).collect::<Vec<u32>>());
    });
}

#[test]
fn killed_and_recovered() {
    netns::in_namespace("killed_and_recovered", || {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store");
        let recorder = Recorder::start(&store);
        until(&store, "the recorder", writer);
        send(50);
        until(&store, "the packets", |answer| answer["packets"].as_u64() >= Some(50));
        let before = status(&store)["packets"].as_u64();
        recorder.signal(Signal::KILL);
        drop(recorder);
        assert!(status(&store)["packets"].as_u64() >= before, "what was flushed is still there");
        let recorder = Recorder::start(&store);
        until(&store, "the recorder", writer);
        send(50);
        until(&store, "the packets of the second run", |answer| {
            answer["packets"].as_u64() >= before.map(|n| n + 50)
        });
        recorder.signal(Signal::TERM);
        assert_eq!(recorder.wait().0.status.code(), Some(0));
    });
}
