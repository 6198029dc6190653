//! The sensor's memory at its highest, under a flood of flows and with every buffer full: as it comes, and with everything
//! on: policy, holds, ages, wear and its budget, a pin that follows its session, MQTT, queries, a card that is away.
//!
//! What is held against the budgets is VmHWM, with the program's code counted as `scripts/cross` allows it, all of it
//! resident: a static executable. What this machine's build has of code and shared libraries in memory instead is larger.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use hindcap_tests::netns::Cable;
use hindcap_tests::process::Running;
use hindcap_tests::sensor::Sensor;
use hindcap_tests::tools;
use serde_json::Value;

/// As it comes, KiB.
const PLAIN_KIB_MAX: u64 = 24 * 1024;
/// With everything on, KiB. Boxes with 64 MiB must have room for a kernel and a time daemon beside it.
const EVERYTHING_KIB_MAX: u64 = 32 * 1024;
/// The executable's budget in `scripts/cross`.
const CODE_KIB: u64 = 4_000_000 / 1024;
/// Buffers and flow table of the policy: with these full, at least so much is in use.
const FULL_KIB_MIN: u64 = 8 * 1024;

/// A field of /proc/PID/status, KiB.
fn kib(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Resident memory of the kernel ring, which counts as a file, KiB.
fn ring_kib(pid: u32) -> u64 {
    let maps = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let mut lines = maps.lines().skip_while(|line| !line.contains("socket:["));
    let line = lines.find(|line| line.starts_with("Rss:")).expect("the ring is mapped");
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The highest so far, KiB, as the module says.
fn highest(pid: u32) -> u64 {
    let (all, files, ring) = (kib(pid, "VmHWM:"), kib(pid, "RssFile:"), ring_kib(pid));
    let own = all - (files - ring) + CODE_KIB;
    println!(
        "resident: {own} KiB at most with {CODE_KIB} KiB of code; as built here {all} KiB; the ring has {ring} KiB"
    );
    own
}

fn hindcapd(args: &[&str]) -> Value {
    let output = tools::run(tools::ours("hindcapd"), ["-q"].iter().chain(args));
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// `hindcap`, beside the sensor.
fn hindcap(cable: &Cable, command: &str, args: &[&str]) -> Output {
    let mut hindcap = cable.server(tools::ours("hindcap"));
    hindcap
        .args([command, "--broker", "mqtt://127.0.0.1:1883", "--sensor", "m1"])
        .args(args)
        .output()
        .unwrap()
}

fn asked(cable: &Cable, command: &str, args: &[&str]) -> Value {
    let output = hindcap(cable, command, args);
    assert!(output.status.success(), "hindcap {command} {args:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// Frames of one kind as fast as they go, from the client's side.
fn send(cable: &Cable, mix: &str, packets: u32) {
    let mut command = cable.client(tools::ours("trafficsend"));
    command.args(["-i", "va", "--mix", mix, "--rate", "0", "--packets", &packets.to_string()]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn format_card(store: &str) {
    let made = tools::run(
        tools::ours("hindcapd"),
        ["-q", "format", store, "--image", "512MiB", "--segment", "64MiB", "--yes"],
    );
    assert!(made.status.success(), "{made:?}");
}

/// `hindcapd run`, when it records.
fn record(cable: &Cable, config: &Path, store: &str) -> Running {
    let mut command: Command = cable.server(tools::ours("hindcapd"));
    let mut recorder = Running::start(command.args(["run", "-c"]).arg(config));
    tools::wait_for("the recorder", || {
        assert!(recorder.runs(), "the recorder ended: {}", recorder.said());
        (hindcapd(&["status", "--json", "--store", store])["writer_pid"] == recorder.pid()).then_some(())
    });
    recorder
}

fn stop(mut recorder: Running) {
    let (status, _) = recorder.stop();
    assert!(status.success(), "{status}: {}", recorder.said());
}

#[test]
fn as_it_comes_it_stays_within_its_budget() {
    let Some(cable) = Cable::new() else { return };
    let sensor = Sensor::new();
    let (config, store) = (sensor.path("h.toml"), format!("fat:{}", sensor.path("card.img").display()));
    format_card(&store);
    let text = format!(
        "[sensor]\nid = \"m1\"\n[capture]\ninterface = \"vb\"\n[store]\npath = {store:?}\nflush_interval = \"200ms\"\n"
    );
    fs::write(&config, text).unwrap();
    let recorder = record(&cable, &config, &store);
    // Two indexes in use, the tables full.
    send(&cable, "syn-flood", 60_000);
    send(&cable, "mixed", 120_000);
    let highest = highest(recorder.pid());
    stop(recorder);
    assert!(highest <= PLAIN_KIB_MAX, "{highest} KiB");
}

fn everything_on(store: &str, state: &Path) -> String {
    format!(
        "[sensor]\nid = \"m1\"\n[capture]\ninterface = \"vb\"\n[store]\npath = {store:?}\nflush_interval = \"200ms\"\n\
         [policy]\ncutoff = \"100kB\"\nheaders_only = true\nskip = [\"host 192.0.2.20 and port 10000\"]\n\
         held_share = \"50%\"\nmax_age = \"30d\"\nmin_age = \"1d\"\n[wear]\nendurance = \"10TB\"\nlife = \"3650d\"\n\
         [mqtt]\nbroker = \"mqtt://127.0.0.1:1883\"\nunsigned = true\nstatus_interval = \"1s\"\nstate_dir = {state:?}\n"
    )
}

/// A broker in the sensor's namespace, on the usual port.
fn broker(cable: &Cable, sensor: &Sensor) -> Running {
    let config = sensor.path("mosquitto.conf");
    fs::write(&config, "listener 1883 127.0.0.1\nallow_anonymous true\n").unwrap();
    Running::start(cable.server("mosquitto").arg("-c").arg(&config))
}

/// Pins a session that may go on, and waits until it is followed.
fn pin_a_session(cable: &Cable) {
    let found = asked(cable, "search", &["--json", "--last", "1h", "--proto", "udp"]);
    let session = found["rows"][0]["community_id"].as_str().expect("a session").to_owned();
    let pin = ["--last", "1h", "--community-id", &session, "--session", "--for", "8h"];
    asked(cable, "pin", &pin);
    tools::wait_for("the pin to follow", || {
        let pins = asked(cable, "pins", &["--json"]);
        (pins["pins"][0]["state"] == "following").then_some(())
    });
}

#[test]
fn with_everything_on_and_every_buffer_full_it_stays_within_its_budget() {
    let Some(cable) = Cable::new() else { return };
    if !tools::have(&["mosquitto"]) {
        return;
    }
    let sensor = Sensor::new();
    let (card, drawer, config) = (sensor.path("card.img"), sensor.path("drawer"), sensor.path("h.toml"));
    let store = format!("fat:{}", card.display());
    format_card(&store);
    fs::write(&config, everything_on(&store, &sensor.path("uplink"))).unwrap();
    let _broker = broker(&cable, &sensor);
    let mut recorder = record(&cable, &config, &store);
    send(&cable, "syn-flood", 60_000);
    send(&cable, "mixed", 60_000);
    pin_a_session(&cable);
    asked(&cable, "hold", &["--last", "1h"]);
    // A large result, of the segment that is being written.
    std::thread::scope(|scope| {
        scope.spawn(|| send(&cable, "mixed", 60_000));
        let result = sensor.path("result.pcap");
        asked(&cable, "fetch", &["--last", "1h", "--proto", "tcp", "-w", result.to_str().unwrap()]);
        assert!(fs::metadata(&result).unwrap().len() > 1 << 20, "a small result");
    });
    let held = hindcapd(&["status", "--json", "--store", &store])["packets"].as_u64();
    fs::rename(&card, &drawer).unwrap();
    send(&cable, "mixed", 120_000);
    recorder.wait_said("medium_missing");
    let away = kib(recorder.pid(), "RssAnon:");
    fs::rename(&drawer, &card).unwrap();
    tools::wait_for("what waited in memory", || {
        let packets = hindcapd(&["status", "--json", "--store", &store])["packets"].as_u64();
        (packets > held).then_some(())
    });
    send(&cable, "dns", 60_000);
    let highest = highest(recorder.pid());
    stop(recorder);
    assert!(away > FULL_KIB_MIN, "the buffers were not full: {away} KiB");
    assert!(highest <= EVERYTHING_KIB_MAX, "{highest} KiB");
}
