//! Who talks most, which sensors there are, and what a log line means.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};

use hindcap_tests::branch::{Broker, hindcap, newest_tcp_session, run, stored};
use hindcap_tests::savefile;
use hindcap_tests::sensor::{Sensor, exit, said};
use hindcap_tests::tools;
use serde_json::Value;

fn shown(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Connections and bytes by what `tshark` says of TCP in a savefile: by client, by server, by server port.
type Tally = BTreeMap<String, (BTreeSet<String>, u64)>;

fn tallies(sensor: &Sensor) -> [Tally; 3] {
    let file = sensor.path("original.pcap");
    let fields = ["tcp.stream", "ip.src", "ipv6.src", "ip.dst", "ipv6.dst", "tcp.dstport", "frame.len"];
    let mut args = vec!["-r", file.to_str().unwrap(), "-Y", "tcp", "-T", "fields", "-E", "separator=|"];
    fields.iter().for_each(|field| args.extend(["-e", field]));
    let output = tools::run("tshark", args);
    assert!(output.status.success(), "{}", said(&output));
    let mut ends = BTreeMap::<String, [String; 3]>::new();
    let mut tallies = <[Tally; 3]>::default();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let [stream, v4_src, v6_src, v4_dst, v6_dst, port, bytes] =
            <[&str; 7]>::try_from(line.split('|').collect::<Vec<_>>()).unwrap();
        // The first packet tells who is who.
        let ends = ends
            .entry(stream.to_owned())
            .or_insert_with(|| [format!("{v4_src}{v6_src}"), format!("{v4_dst}{v6_dst}"), port.to_owned()]);
        for (tally, who) in tallies.iter_mut().zip(ends) {
            let (streams, sum) = tally.entry(who.clone()).or_default();
            streams.insert(stream.to_owned());
            *sum += bytes.parse::<u64>().unwrap();
        }
    }
    tallies
}

/// The rows of a list as (who, connections, bytes).
fn rows(list: &Value) -> Vec<(String, u64, u64)> {
    let row = |row: &Value| {
        let who = row["who"].as_str().map_or_else(|| row["who"].to_string(), str::to_owned);
        let number = |key: &str| row["traffic"][key].as_u64().unwrap();
        (who, number("connections"), number("bytes"))
    };
    list.as_array().unwrap().iter().map(row).collect()
}

#[test]
fn the_top_talkers_are_those_that_tshark_counts() {
    if !tools::have(&["tshark"]) {
        return;
    }
    let (sensor, _) = stored(20_000);
    let Some(broker) = Broker::start(&sensor) else { return };
    let _daemon = run(&sensor, &broker, true);
    let ask = ["summary", "--sensor", "branch-1", "--proto", "tcp", "--rows", "5", "--json"];
    let output = hindcap(&broker, &ask);
    assert_eq!(output.status.code(), Some(exit::DONE), "{}", said(&output));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = tallies(&sensor);
    let connections: usize = expected[2].values().map(|(streams, _)| streams.len()).sum();
    assert_eq!(summary["total"]["connections"], connections);
    for (tally, list) in expected.iter().zip(["sources", "destinations", "tcp_ports"]) {
        assert_eq!(summary[list]["distinct"], tally.len(), "{list}");
        let mut all: Vec<(String, u64, u64)> =
            tally.iter().map(|(who, (streams, bytes))| (who.clone(), streams.len() as u64, *bytes)).collect();
        for (order, key) in [("by_connections", true), ("by_volume", false)] {
            let size = |row: &(String, u64, u64)| if key { (row.1, row.2) } else { (row.2, row.1) };
            all.sort_by_key(|row| std::cmp::Reverse(size(row)));
            let found = rows(&summary[list][order]);
            // Of equal ones any may come.
            assert_eq!(
                found.iter().map(size).collect::<Vec<_>>(),
                all.iter().take(5).map(size).collect::<Vec<_>>()
            );
            assert!(found.iter().all(|row| all.contains(row)), "{list} {order}: {found:?}");
        }
    }
    assert_eq!(summary["udp_ports"]["distinct"], 0);
    // The sensor's own command gives the same, a person reads tables, and nothing is no failure.
    let own = sensor.hindcapd("summary", ["--proto", "tcp", "--rows", "5", "--json"]);
    assert_eq!(serde_json::from_slice::<Value>(&own.stdout).unwrap(), summary);
    let text = shown(&hindcap(&broker, &["summary", "--sensor", "branch-1"]));
    assert!(text.contains("SOURCE by connections") && text.contains("UDP PORT by volume"), "{text}");
    let none = hindcap(&broker, &["summary", "--sensor", "branch-1", "--host", "203.0.113.77"]);
    assert_eq!(none.status.code(), Some(exit::NOTHING), "{}", said(&none));
    assert!(shown(&none).contains("0 connections"), "{}", shown(&none));
}

#[test]
fn sensors_are_listed_a_line_each() {
    let (sensor, _) = stored(100);
    let Some(broker) = Broker::start(&sensor) else { return };
    let none = hindcap(&broker, &["sensors"]);
    assert_eq!(none.status.code(), Some(exit::NOTHING), "{}", said(&none));
    let daemon = run(&sensor, &broker, true);
    let text = shown(&hindcap(&broker, &["sensors"]));
    let line = text.lines().nth(1).unwrap_or_default();
    assert!(line.starts_with("branch-1  online") && line.contains(" MiB of "), "{text}");
    drop(daemon);
    tools::wait_for("its last will", || {
        shown(&hindcap(&broker, &["sensors"])).contains("offline").then_some(())
    });
}

/// What `parse` says is asked for gives what the line itself gives.
#[test]
fn the_flags_that_parse_tells_fetch_the_session_of_the_line() {
    let (sensor, records) = stored(5_000);
    let Some(broker) = Broker::start(&sensor) else { return };
    let _daemon = run(&sensor, &broker, true);
    let session = newest_tcp_session(&sensor);
    let end = |who: &str| session[who].as_str().unwrap().to_owned();
    let line = format!(
        r#"{{"timestamp":"{}","event_type":"alert","proto":"TCP","src_ip":"{}","src_port":{},"dest_ip":"{}","dest_port":{}}}"#,
        session["first"].as_str().unwrap(),
        end("client"),
        session["client_port"],
        end("server"),
        session["server_port"]
    );
    let parsed = tools::run(tools::ours("hindcap"), ["parse", &line]);
    assert_eq!(parsed.status.code(), Some(exit::DONE), "{}", said(&parsed));
    let text = String::from_utf8(parsed.stdout).unwrap();
    assert!(text.starts_with("format      Suricata"), "{text}");
    let flags = text.lines().find_map(|line| line.strip_prefix("asks for    ")).unwrap();
    let flags: Vec<&str> = flags.split_whitespace().collect();
    let by_flags = sensor.extract(&flags).records;
    let file = sensor.path("line.pcap");
    let ask = ["fetch", "--sensor", "branch-1", "-w", file.to_str().unwrap(), "--event", &line];
    let fetched = hindcap(&broker, &ask);
    assert_eq!(fetched.status.code(), Some(exit::DONE), "{}", said(&fetched));
    assert!(!by_flags.is_empty() && by_flags.len() < records.len());
    assert_eq!(savefile::read(&file).unwrap().1, by_flags);
    // In JSON the query is the sensor's own document; what cannot be read is told there too, with the code of a mistake.
    let json = tools::run(tools::ours("hindcap"), ["parse", "--json", &line]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["reading"]["format"], "suricata-eve");
    assert_eq!(json["queries"][0]["session"], true);
    let refused = tools::run(tools::ours("hindcap"), ["parse", "--json", "nothing in here"]);
    assert_eq!(refused.status.code(), Some(exit::ERROR));
    let refused: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert!(refused["refused"].as_str().unwrap().contains("no known log format"), "{refused}");
    // What a line brings along does not reach the terminal.
    let hostile =
        tools::run(tools::ours("hindcap"), ["parse", "\u{1b}]0;owned\u{7} 10.0.0.1:5 -> 10.0.0.2:6 tcp"]);
    assert!(!hostile.stdout.contains(&0x1b), "{}", said(&hostile));
}
