//! `hindcapd record` on a cable between two network namespaces, beside tcpdump, while real programs talk.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hindcap_tests::netns::{CLIENT, CLIENT6, Cable, SERVER, SERVER6};
use hindcap_tests::process::Running;
use hindcap_tests::sensor::{Sensor, exit};
use hindcap_tests::{judges, tools};
use rustix::process::Signal;
use serde_json::Value;

/// Flush interval of these recorders.
const FLUSH: Duration = Duration::from_millis(500);

/// Starts a recorder on the server's end of the cable and waits until it captures.
fn record(cable: &Cable, sensor: &Sensor, args: &[&str]) -> Running {
    let mut command = cable.server(tools::ours("hindcapd"));
    command.args(["record", "-i", "vb", "--json", "--flush-interval", "500ms", "--store-size", "192MiB"]);
    command.args(["--segment-size", "8MiB", "--store"]).arg(sensor.store()).args(args);
    let mut recorder = Running::start(&mut command);
    tools::wait_for("the recorder", || {
        assert!(recorder.runs(), "the recorder ended: {}", recorder.said());
        (sensor.status()["writer_pid"] == recorder.pid()).then_some(())
    });
    recorder
}

/// Runs a program at the client's side to its good end.
fn client(cable: &Cable, words: &str) {
    let mut words = words.split(' ');
    let output = cable.client(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Sends one datagram to the discard port, and waits until the extraction and tcpdump's file have it.
fn marker(cable: &Cable, sensor: &Sensor, beside: Option<&Path>, port: u16) -> Duration {
    let since = Instant::now();
    client(
        cable,
        &format!("python3 -c import\u{a0}socket;socket.socket(2,2).sendto(b'here',('{SERVER}',{port}))")
            .replace('\u{a0}', "\t"),
    );
    let port = port.to_string();
    tools::wait_for("the marker in the store", || {
        (sensor.extract(["--proto", "udp", "--port", &port]).code == exit::DONE).then_some(())
    });
    let took = since.elapsed();
    if let Some(file) = beside {
        tools::wait_for("the marker at tcpdump", || {
            (!judges::packets(file, &format!("udp port {port}")).is_empty()).then_some(())
        });
    }
    took
}

#[test]
fn real_programs_are_recorded_as_tcpdump_sees_them() {
    if !tools::have(&["tcpdump", "python3", "curl", "ping"]) {
        return;
    }
    let Some(cable) = Cable::new() else { return };
    let sensor = Sensor::new();
    let tagged = cable.tagged();
    let www = sensor.path("www");
    fs::create_dir(&www).unwrap();
    fs::write(www.join("file"), vec![b'x'; 300_000]).unwrap();
    let mut http = cable.server("python3");
    http.args(["-u", "-m", "http.server", "--bind", "::", "8080", "--directory"]).arg(&www);
    let http = Running::start(&mut http);
    tools::wait_for("the HTTP server", || http.printed().contains("Serving").then_some(()));

    let beside = sensor.path("tcpdump.pcap");
    let mut tcpdump = judges::beside(&cable, &beside, "");
    let mut recorder = record(&cable, &sensor, &[]);
    marker(&cable, &sensor, Some(&beside), 9);
    for words in [
        format!("curl -sS -o /dev/null http://{SERVER}:8080/file"),
        format!("curl -sS -o /dev/null -g http://[{SERVER6}]:8080/file"),
        format!("ping -q -c 3 -i 0.2 {SERVER}"),
        format!("ping -6 -q -c 3 -i 0.2 {SERVER6}"),
    ] {
        client(&cable, &words);
    }
    if tagged {
        client(&cable, "curl -sS -o /dev/null http://10.78.0.2:8080/file");
    }
    // Tagged frames whatever the kernel can, of networks 10 to 13.
    send(&cable, 500, 0);
    let took = marker(&cable, &sensor, Some(&beside), 19);
    assert!(took < FLUSH + Duration::from_secs(2), "found only after {took:?}");

    let mut questions = vec![
        (format!("--host {SERVER} --port 8080"), format!("host {SERVER} and port 8080")),
        (
            format!("--host {CLIENT6} --host {SERVER6} --proto tcp"),
            format!("host {CLIENT6} and host {SERVER6} and tcp"),
        ),
        ("--vlan 10".to_owned(), "vlan 10".to_owned()),
        (format!("--host {CLIENT} --proto icmp"), format!("host {CLIENT} and icmp")),
        (format!("--host {SERVER6} --proto icmp6"), format!("host {SERVER6} and icmp6")),
        (format!("--host {CLIENT} --port 8080 --session --last 1h"), format!("host {CLIENT} and port 8080")),
    ];
    if tagged {
        questions.push(("--host 10.78.0.1 --proto tcp".into(), "vlan and host 10.78.0.1 and tcp".into()));
        questions.push(("--vlan 7 --port 8080".into(), "vlan 7 and port 8080".into()));
    }
    for (query, filter) in &questions {
        let ours = sensor.extract(query.split(' '));
        assert_eq!(ours.code, exit::DONE, "{query}: {}", ours.said);
        assert_eq!(drops(&ours.answer), 0);
        judges::assert_alike(query, &ours.records, &judges::packets(&beside, filter));
    }
    let (status, took) = recorder.stop();
    assert!(
        status.success() && took < Duration::from_secs(2),
        "{status} after {took:?}: {}",
        recorder.said()
    );
    assert!(tcpdump.stop().0.success());
    // Stopped, with an open segment: still all there, and every segment opens.
    let ours = sensor.extract(["--port", "8080"]);
    judges::assert_alike(
        "after the stop",
        &ours.records,
        &judges::packets(&beside, "port 8080 or (vlan and port 8080)"),
    );
}

/// Packets lost, by an answer.
fn drops(answer: &Value) -> u64 {
    answer["drops"].as_object().expect("an answer has drops").values().filter_map(Value::as_u64).sum()
}

#[test]
fn a_silent_link_does_not_delay_the_stop() {
    let Some(cable) = Cable::new() else { return };
    let sensor = Sensor::new();
    // A filter that nothing passes: silence, whatever the kernel says by itself.
    let mut recorder = record(&cable, &sensor, &["ether proto 0x1234"]);
    let (status, took) = recorder.stop();
    assert!(status.success(), "{status}: {}", recorder.said());
    assert!(took < Duration::from_secs(2), "it took {took:?}");
    let counters: Value = serde_json::from_str(&recorder.printed()).unwrap();
    assert_eq!(counters["packets"], 0);
    assert!(!sensor.status()["writer_pid"].is_u64());
}

/// The frames of the generator, and nothing that the kernel says by itself.
const GENERATED: &str = "ether src 02:00:5e:10:00:00 or ether src 02:00:5e:10:00:01";

/// Sends made-up traffic from the client's side until the end; how many frames.
fn send(cable: &Cable, packets: u64, rate: u64) -> u64 {
    let (packets, rate) = (packets.to_string(), rate.to_string());
    let output = sender(cable).args(["--packets", &packets, "--rate", &rate]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap()
}

fn sender(cable: &Cable) -> Command {
    let mut command = cable.client(tools::ours("trafficsend"));
    command.args(["-i", "va"]);
    command
}

/// What tcpdump says it was given: captured, and dropped by the kernel.
fn received_by_filter(said: &str) -> u64 {
    let line = said.lines().find(|line| line.contains("received by filter")).expect("tcpdump's statistics");
    line.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn written_and_dropped_are_what_was_delivered() {
    if !tools::have(&["tcpdump"]) {
        return;
    }
    let Some(cable) = Cable::new() else { return };
    // The second receive ring is far too small for the speed: packets are dropped, and counted.
    for (ring, rate) in [("16MiB", 5_000), ("128KiB", 0)] {
        let sensor = Sensor::new();
        let mut tcpdump = judges::beside(&cable, Path::new("/dev/null"), GENERATED);
        let mut recorder = record(&cable, &sensor, &["--ring", ring, GENERATED]);
        let sent = send(&cable, 40_000, rate);
        let (status, _) = recorder.stop();
        assert!(status.success(), "{status}: {}", recorder.said());
        assert!(tcpdump.stop().0.success());
        let delivered = received_by_filter(&tcpdump.said());
        let counters: Value = serde_json::from_str(&recorder.printed()).unwrap();
        let dropped: u64 = counters["drops"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
        let written = counters["packets"].as_u64().unwrap();
        println!("ring {ring}: {sent} sent, {delivered} delivered, {written} written, {dropped} dropped");
        assert_eq!(written + dropped, delivered, "{counters}");
        assert_eq!(delivered, sent, "the cable loses nothing");
        assert_eq!(dropped == 0, rate > 0, "dropped at full speed only: {counters}");
        // The store says the same, and an answer tells the drops.
        let ours = sensor.extract([""; 0]);
        assert_eq!(ours.records.len() as u64, written);
        assert_eq!((drops(&ours.answer), &sensor.status()["drops_total"]), (dropped, &dropped.into()));
    }
}

#[test]
fn killed_at_load_it_keeps_what_is_older_than_the_flush_interval() {
    if !tools::have(&["tcpdump"]) {
        return;
    }
    let Some(cable) = Cable::new() else { return };
    let sensor = Sensor::new();
    let beside = sensor.path("tcpdump.pcap");
    let mut tcpdump = judges::beside(&cable, &beside, GENERATED);
    let mut recorder = record(&cable, &sensor, &[GENERATED]);
    let load = Running::start(sender(&cable).args(["--rate", "4000"]));
    // Some segments are sealed by then.
    tools::wait_for("20 MB of packets", || {
        (sensor.status()["captured_bytes"].as_u64()? > 20_000_000).then_some(())
    });
    recorder.signal(Signal::KILL);
    let killed = now();
    recorder.wait();
    drop(load);
    assert!(tcpdump.stop().0.success());
    let at_once = sensor.extract([""; 0]);
    let theirs = judges::packets(&beside, "");
    // A batch closes within a tick (100 ms) of its interval and is then on its way to the disk.
    let old = killed - 2 * FLUSH.as_nanos() as u64;
    let expected: Vec<_> = theirs.iter().filter(|record| record.0 < old).collect();
    let found = &at_once.records[..expected.len().min(at_once.records.len())];
    let same = found.iter().zip(&expected).all(|(ours, theirs)| ours.2 == theirs.2);
    assert!(same && found.len() == expected.len(), "{} of {} old packets", found.len(), expected.len());
    assert!(expected.len() > 20_000, "{} packets are too few to tell", expected.len());

    let verify = sensor.hindcapd("verify", ["--json"]);
    assert_eq!(verify.status.code(), Some(exit::DONE), "before recovery: {verify:?}");
    let mut recorder = record(&cable, &sensor, &[GENERATED]);
    let sent = send(&cable, 1_000, 4_000) as usize;
    assert!(recorder.stop().0.success(), "{}", recorder.said());
    let after = sensor.extract([""; 0]);
    assert_eq!(after.records.len(), at_once.records.len() + sent, "recovered, and recorded on");
    assert!(after.records.starts_with(&at_once.records), "nothing changed behind it");
    let gaps = after.answer["gaps"].as_array().unwrap();
    assert!(gaps.iter().any(|gap| gap["cause"] == "recorder_down"), "{gaps:?}");
    let verify = sensor.hindcapd("verify", ["--json"]);
    assert_eq!(verify.status.code(), Some(exit::DONE), "after recovery: {verify:?}");
}

/// Nanoseconds since 1970.
fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now.as_nanos().try_into().unwrap()
}

#[test]
fn a_link_that_goes_and_comes_leaves_a_gap_and_no_restart() {
    let Some(cable) = Cable::new() else { return };
    let sensor = Sensor::new();
    let mut recorder = record(&cable, &sensor, &[]);
    send(&cable, 100, 0);
    marker(&cable, &sensor, None, 9);
    cable.server_ip("link set vb down");
    let gap = |wanted: bool| {
        tools::wait_for("what the answer says of the link", || {
            let answer = sensor.extract(["--last", "1h"]).answer;
            let gaps = answer["gaps"].as_array()?.clone();
            (gaps.iter().any(|gap| gap["cause"] == "link_down") == wanted).then_some(gaps)
        })
    };
    gap(true);
    let down = Instant::now();
    tools::wait_for("a second without a link", || (down.elapsed() > Duration::from_secs(1)).then_some(()));
    cable.server_ip("link set vb up");
    let up = Instant::now();
    // Recording is back within two seconds; the sender tries until a frame comes through.
    let before = sensor.extract(["--mac", "02:00:5e:10:00:00"]).records.len();
    tools::wait_for("packets after the gap", || {
        send(&cable, 10, 0);
        (sensor.extract(["--mac", "02:00:5e:10:00:00"]).records.len() > before).then_some(())
    });
    assert!(up.elapsed() < Duration::from_secs(2) + FLUSH + Duration::from_secs(2), "{:?}", up.elapsed());
    let link_gaps: Vec<_> = gap(true).into_iter().filter(|gap| gap["cause"] == "link_down").collect();
    assert_eq!(link_gaps.len(), 1, "{link_gaps:?}");
    assert_eq!(sensor.status()["writer_pid"], recorder.pid(), "the same process records");
    assert!(recorder.runs());
    let (status, _) = recorder.stop();
    assert!(status.success(), "{status}: {}", recorder.said());
}
