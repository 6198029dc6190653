//! The whole way: `hindcapd run` with a real mosquitto, `hindcap fetch` and a person with mosquitto_pub.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hindcap_tests::branch::{Broker, hindcap, run, stored};
use hindcap_tests::netns::{CLIENT, Cable, SERVER};
use hindcap_tests::process::Running;
use hindcap_tests::savefile::{self, Record};
use hindcap_tests::sensor::{Sensor, exit, said};
use hindcap_tests::{judges, tools};
use serde_json::{Value, json};

/// Fetches into a file of the sensor's folder: output, and the packets if there is a file.
fn fetch(sensor: &Sensor, broker: &Broker, id: &str, query: &[&str]) -> (Output, Vec<Record>) {
    let file = sensor.path("fetched.pcap");
    let _ = fs::remove_file(&file);
    let target = ["fetch", "--sensor", id, "--timeout", "5s", "-w", file.to_str().unwrap()];
    let output = hindcap(broker, &[&target, query].concat());
    let records = if file.exists() { savefile::read(&file).unwrap().1 } else { Vec::new() };
    (output, records)
}

#[test]
fn what_is_fetched_is_what_is_extracted() {
    let (sensor, records) = stored(5_000);
    let Some(broker) = Broker::start(&sensor) else { return };
    let mut daemon = run(&sensor, &broker, true);
    let original = sensor.path("original.pcap");
    for (query, filter) in [
        (&["--port", "443"][..], "port 443 or (vlan and port 443)"),
        (&["--proto", "udp", "--vlan", "11"], "vlan 11 and udp"),
        (&["--start", "1790000001", "--end", "1790000002"], ""),
    ] {
        let (output, fetched) = fetch(&sensor, &broker, "branch-1", query);
        assert_eq!(output.status.code(), Some(exit::DONE), "{query:?}: {}", said(&output));
        let theirs = match filter {
            "" => records[1_000..2_000].to_vec(),
            filter => judges::packets(&original, filter),
        };
        assert!(!theirs.is_empty() && fetched == theirs, "{query:?}: {} of {}", fetched.len(), theirs.len());
        assert!(fetched == sensor.extract(query).records, "{query:?}");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(printed.contains("fetched.pcap") && printed.lines().count() == 1, "{printed}");
    }
    // Nothing matched; nobody of that name; before the store begins; a question that cannot be meant.
    for (id, query, code) in [
        ("branch-1", &["--host", "192.0.2.99"][..], exit::NOTHING),
        ("branch-2", &["--port", "443"], exit::OFFLINE),
        ("branch-1", &["--start", "2026-01-02", "--end", "2026-01-01"], exit::ERROR),
        ("branch-1", &["--max-packets", "3"], exit::PARTIAL),
    ] {
        let (output, fetched) = fetch(&sensor, &broker, id, query);
        assert_eq!(output.status.code(), Some(code), "{id} {query:?}: {}", said(&output));
        assert_eq!(fetched.len(), if code == exit::PARTIAL { 3 } else { 0 }, "{id} {query:?}");
    }
    let (status, took) = daemon.stop();
    assert!(status.success() && took < Duration::from_secs(2), "{status} after {took:?}: {}", daemon.said());
}

#[test]
fn without_the_unsigned_mode_everything_is_denied() {
    let (sensor, _) = stored(100);
    let Some(broker) = Broker::start(&sensor) else { return };
    let _daemon = run(&sensor, &broker, false);
    let (output, fetched) = fetch(&sensor, &broker, "branch-1", &[]);
    assert_eq!(output.status.code(), Some(exit::DENIED), "{}", said(&output));
    assert!(fetched.is_empty() && said(&output).contains("unsigned"), "{}", said(&output));
}

#[test]
fn a_broker_that_restarts_in_the_middle_costs_nothing() {
    let (sensor, records) = stored(60_000);
    let Some(mut broker) = Broker::start(&sensor) else { return };
    let _daemon = run(&sensor, &broker, true);
    let file = sensor.path("all.pcap");
    let mut command = Command::new(tools::ours("hindcap"));
    command.args(["fetch", "--sensor", "branch-1", "--broker", &broker.url(), "-w"]).arg(&file);
    let mut client = Running::start(&mut command);
    for megabytes in [2, 12] {
        tools::wait_for("some of the result", || {
            assert!(client.runs(), "it ended early: {}", client.said());
            (partly(&sensor) > megabytes << 20).then_some(())
        });
        broker.kill();
        assert!(!file.exists(), "the file appears whole or not at all");
        broker.resume();
    }
    let (status, _) = client.wait_at_most(Duration::from_secs(120));
    assert!(status.success(), "{status}: {}", client.said());
    assert!(savefile::read(&file).unwrap().1 == records, "every packet, once, in order");
}

/// Bytes on the disk of the largest file that is being fetched.
fn partly(sensor: &Sensor) -> u64 {
    let within = |folder: &Path| {
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let folders: Vec<PathBuf> = within(&sensor.path(""));
    let aside = |folder: &&PathBuf| folder.display().to_string().contains("/.hindcap-");
    let files = folders.iter().filter(aside).flat_map(|folder| -> Vec<PathBuf> { within(folder) });
    files.filter_map(|file| Some(file.metadata().ok()?.len())).max().unwrap_or(0)
}

/// What a person writes: an estimate in JSON, answered in JSON.
#[test]
fn mosquitto_pub_is_answered() {
    let (sensor, _) = stored(1_000);
    let Some(broker) = Broker::start(&sensor) else { return };
    let _daemon = run(&sensor, &broker, true);
    let port = broker.port().to_string();
    let client = |program: &str, topic: &str| {
        let mut command = Command::new(program);
        command.args(["-h", "127.0.0.1", "-p", &port, "-V", "5", "-q", "1", "-t", topic]);
        command
    };
    let subscriber =
        Running::start(client("mosquitto_sub", "hindcap/v1/branch-1/up/+").args(["-F", "%t %p"]));
    // The retained status comes at once when the subscription stands.
    tools::wait_for("the subscription", || subscriber.printed().contains("up/st").then_some(()));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let at = |secs: u64| {
        let output = tools::run("date", ["-u", "-d", &format!("@{secs}"), "+%Y-%m-%dT%H:%M:%SZ"]);
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let inner = json!({
        "schema": 1, "id": "01JD7Z3NDEKTSV4RRFFQ69G5FA", "sensor": "branch-1", "issued": at(now), "expires": at(now + 60),
        "operation": { "estimate": { "query": { "ports": [443] } } },
    });
    let envelope = json!({ "schema": 1, "inner": inner.to_string() });
    let topic = "hindcap/v1/branch-1/down/request";
    let sent = client("mosquitto_pub", topic).args(["-m", &envelope.to_string()]).output().unwrap();
    assert!(sent.status.success(), "{}", said(&sent));
    let reply = tools::wait_for("the answer", || {
        let printed = subscriber.printed();
        let lines = printed.lines().filter_map(|line| line.strip_prefix("hindcap/v1/branch-1/up/reply "));
        let mut replies = lines.map(|line| serde_json::from_str::<Value>(line).expect("JSON for JSON"));
        replies.find(|reply| reply["body"]["accepted"].is_null())
    });
    let told = reply["body"].to_string();
    let local: Value =
        serde_json::from_slice(&sensor.hindcapd("estimate", ["--json", "--port", "443"]).stdout).unwrap();
    assert!(told.contains(&format!("\"packets_max\":{}", local["packets_max"])), "{told} is not {local}");
}

/// Capture, status and requests in one process: what was just recorded is fetched.
#[test]
fn a_live_session_is_fetched_from_the_daemon_that_records_it() {
    if !tools::have(&["tcpdump", "ping"]) {
        return;
    }
    let sensor = Sensor::new();
    let Some(cable) = Cable::new() else { return };
    // Broker, daemon and client all live where the interface is.
    let Some(broker) = Broker::start(&sensor) else { return };
    let config = sensor.path("hindcap.toml");
    let text = format!(
        "[sensor]\nid = \"branch-1\"\n[capture]\ninterface = \"vb\"\n[store]\npath = {:?}\nsize = \"64MiB\"\n\
         flush_interval = \"500ms\"\n[mqtt]\nbroker = \"mqtt://127.0.0.1:{}\"\nunsigned = true\nstate_dir = {:?}\n",
        sensor.store(),
        broker.port(),
        sensor.path("uplink"),
    );
    fs::write(&config, text).unwrap();
    let url = broker.url();
    drop(broker);
    let mut inside = cable.server("mosquitto");
    let _broker = Running::start(inside.arg("-c").arg(sensor.path("mosquitto.conf")));
    let mut daemon = cable.server(tools::ours("hindcapd"));
    let mut daemon = Running::start(daemon.args(["run", "-c"]).arg(&config));
    tools::wait_for("the recorder", || (sensor.status()["writer_pid"] == daemon.pid()).then_some(()));
    let ping = cable.client("ping").args(["-q", "-c", "5", "-i", "0.2", SERVER]).output().unwrap();
    assert!(ping.status.success());
    let file = sensor.path("ping.pcap");
    let fetched = tools::wait_for("all of the session", || {
        let mut fetch = cable.server(tools::ours("hindcap"));
        fetch.args([
            "fetch", "--host", CLIENT, "--proto", "icmp", "--sensor", "branch-1", "--broker", &url, "-w",
        ]);
        let output = fetch.arg(&file).output().unwrap();
        let code = output.status.code();
        assert!(matches!(code, Some(exit::DONE | exit::NOTHING)), "{code:?}: {}", said(&output));
        let packets = if file.exists() { judges::packets(&file, "icmp") } else { Vec::new() };
        (packets.len() >= 10).then_some(packets)
    });
    assert_eq!(fetched.len(), 10, "five there and five back");
    let (status, took) = daemon.stop();
    assert!(status.success() && took < Duration::from_secs(2), "{status} after {took:?}: {}", daemon.said());
}
