//! Several sensors asked by one command: who is asked, and one file of what they gave.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;

use hindcap_tests::branch::{Broker, hindcap, run_as, settings, settled, store, stored};
use hindcap_tests::process::Running;
use hindcap_tests::savefile::{self, Record};
use hindcap_tests::sensor::{Sensor, exit, said};
use hindcap_tests::{judges, tools};
use serde_json::Value;

/// Two branches on one broker: the second saw what the first did in the second of its three seconds, 0.3 ms later, and
/// another second of its own.
struct Fleet {
    one: Sensor,
    two: Sensor,
    records: [Vec<Record>; 2],
    broker: Broker,
    daemons: [Running; 2],
}

impl Fleet {
    fn start() -> Option<Self> {
        let (all, records) = stored(4_000);
        let broker = Broker::start(&all)?;
        let first = records[..3_000].to_vec();
        let later = |(at, length, bytes): &Record| (at + 300_000, *length, bytes.clone());
        let second: Vec<Record> = records[2_000..].iter().map(later).collect();
        let (one, two) = (all, Sensor::new());
        std::fs::remove_dir_all(one.store()).unwrap();
        store(&one, &first);
        store(&two, &second);
        let daemons = [run_as("branch-1", &one, &broker, true), run_as("branch-2", &two, &broker, true)];
        Some(Self { one, two, records: [first, second], broker, daemons })
    }

    /// `hindcap fetch ARGS` into `name`: its exit code, what it said, and its JSON.
    fn fetch(&self, name: &str, args: &[&str]) -> (Option<i32>, String, Value) {
        let file = self.one.path(name);
        let ask = ["fetch", "--json", "-w", file.to_str().unwrap()];
        let output = hindcap(&self.broker, &[&ask, args].concat());
        let json = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code(), said(&output), json)
    }

    /// Everything that both hold, in time order.
    fn merged(&self) -> Vec<Record> {
        let mut all = self.records.concat();
        all.sort_by_key(|record| record.0);
        all
    }
}

fn value<'a>(json: &'a Value, path: &str) -> &'a Value {
    json.pointer(path).unwrap_or(&Value::Null)
}

/// How many packets of a savefile tshark shows for a display filter.
fn shown(file: &Path, display: &str) -> usize {
    judges::fields(file, display, &["frame.number"]).len()
}

#[test]
fn packets_of_several_sensors_become_one_file() {
    let Some(fleet) = Fleet::start() else { return };
    let (code, said, json) = fleet.fetch("both.pcap", &["--sensor", "branch-1,branch-2"]);
    assert_eq!(code, Some(exit::DONE), "{said}");
    let file = fleet.one.path("both.pcap");
    assert!(savefile::read(&file).unwrap().1 == fleet.merged(), "{json}");
    assert_eq!((&json["packets"], &json["duplicates"]), (&5_000.into(), &1_000.into()));
    assert_eq!(value(&json, "/sensors/0/packets"), 3_000);
    assert_eq!(value(&json, "/sensors/1/state"), "answered");
    assert_eq!(value(&json, "/sensors/1/duplicates"), 1_000);
    assert!(value(&json, "/sensors/1/coverage/0/start").is_string(), "{json}");
    // The same with names and remarks in pcapng, as others read it.
    let ask = ["--sensor", "branch-*", "--case", "IR-7", "--comment", "beacon?"];
    let (code, said, _) = fleet.fetch("both.pcapng", &ask);
    assert_eq!(code, Some(exit::DONE), "{said}");
    assert!(said.contains("asking branch-1, branch-2"), "{said}");
    let file = fleet.one.path("both.pcapng");
    assert_eq!(judges::complaints(&file, false), Vec::<String>::new());
    assert!(judges::packets(&file, "") == fleet.merged());
    assert_eq!(shown(&file, "frame.comment contains \"duplicate: seen by branch-1 0.300 ms before\""), 1_000);
    assert_eq!(shown(&file, "frame.comment"), 1_000);
    assert_eq!(shown(&file, "frame.interface_name == \"branch-2\""), 2_000);
    let infos = tools::run("capinfos", [file.to_str().unwrap()]);
    let infos = String::from_utf8_lossy(&infos.stdout).into_owned();
    for words in
        ["case: IR-7", "comment: beacon?", "sensor: branch-2, answered, request 01", "branch-1: window: "]
    {
        assert!(infos.contains(words), "{words}: {infos}");
    }
    // mergecap makes the same of what each gives alone.
    for id in ["branch-1", "branch-2"] {
        assert_eq!(fleet.fetch(&format!("{id}.pcap"), &["--sensor", id]).0, Some(exit::DONE));
    }
    let paths = ["theirs.pcapng", "branch-1.pcap", "branch-2.pcap"].map(|name| fleet.one.path(name));
    let output =
        tools::run("mergecap", ["-w".as_ref()].into_iter().chain(paths.iter().map(|path| path.as_os_str())));
    assert!(output.status.success(), "{output:?}");
    assert!(judges::packets(&paths[0], "") == fleet.merged());
    let left: Vec<_> = std::fs::read_dir(fleet.one.path("")).unwrap().flatten().collect();
    assert!(
        left.iter().all(|entry| !entry.file_name().to_string_lossy().starts_with(".hindcap")),
        "{left:?}"
    );
}

#[test]
fn some_answers_are_better_than_none() {
    let Some(mut fleet) = Fleet::start() else { return };
    fleet.daemons[1].stop();
    let url = fleet.broker.url();
    let one = fleet.one.path("one.pcap");
    let asked = ["fetch", "--json", "--all-sensors", "--expires", "2h", "-w", one.to_str().unwrap()];
    let output = settled(&fleet.one, &[("HINDCAP_BROKER", &url)], &asked);
    assert_eq!(output.status.code(), Some(exit::PARTIAL), "{}", said(&output));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(savefile::read(&fleet.one.path("one.pcap")).unwrap().1 == fleet.records[0]);
    assert_eq!(value(&json, "/sensors/1/state"), "offline");
    let note = value(&json, "/sensors/1/note").as_str().unwrap();
    assert!(note.contains("last heard of at") && note.contains("is queued until"), "{note}");
    // It is carried out once the branch is back.
    let id = note.split_whitespace().skip_while(|word| *word != "request").nth(1).unwrap().to_owned();
    fleet.daemons[1] = run_as("branch-2", &fleet.two, &fleet.broker, true);
    tools::wait_for("the queued request", || {
        let jobs = hindcap(&fleet.broker, &["jobs", "--sensor", "branch-2"]);
        String::from_utf8_lossy(&jobs.stdout).contains(&id).then_some(())
    });
    // And collected by whoever asked; once.
    let late = fleet.one.path("late.pcap");
    let collect =
        |args: &[&str]| settled(&fleet.one, &[("HINDCAP_BROKER", &url)], &[&["collect"], args].concat());
    let listed = collect(&[]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains(&id), "{}", said(&listed));
    let output = collect(&[&id, "-w", late.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(exit::DONE), "{}", said(&output));
    assert!(savefile::read(&late).unwrap().1 == fleet.records[1]);
    assert_eq!(collect(&[]).status.code(), Some(exit::NOTHING));
    assert_eq!(collect(&[&id]).status.code(), Some(exit::NOTHING));
    let table = hindcap(&fleet.broker, &["fetch", "--sensor", "branch-1,branch-9", "-w", "/dev/null/x"]);
    assert_eq!(table.status.code(), Some(exit::ERROR), "{}", said(&table));
}

#[test]
fn who_saw_it_is_answered_by_each_sensor_without_packets() {
    let Some(fleet) = Fleet::start() else { return };
    let ask = ["search", "--all-sensors", "--start", "1790000000", "--end", "1790000001"];
    let output = hindcap(&fleet.broker, &ask);
    assert_eq!(output.status.code(), Some(exit::DONE), "{}", said(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let state = |sensor: &str| {
        let line = text.lines().find(|line| line.starts_with(&format!("{sensor} "))).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!((state("branch-1"), state("branch-2")), ("answered".into(), "nothing".into()), "{text}");
    let json = hindcap(&fleet.broker, &[&ask[..], &["--json"]].concat());
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(!value(&json, "/sensors/0/answer/rows").as_array().unwrap().is_empty(), "{json}");
    assert_eq!(value(&json, "/sensors/1/answer/rows"), &Value::Array(Vec::new()));
}

#[test]
fn the_networks_of_sites_decide_who_is_asked() {
    let Some(fleet) = Fleet::start() else { return };
    settings(
        &fleet.one,
        &format!(
            "[profiles.lab]\nbroker = '{}'\n[sites.ulm]\nsensors = ['branch-1']\nnetworks = ['10.0.0.0/8', '2001:db8::/32']\n\
             [sites.kiel]\nsensors = ['branch-2']\nnetworks = ['192.0.2.0/24']\n[groups]\nnorth = ['kiel', 'branch-1']\n",
            fleet.broker.url()
        ),
    );
    let ask = |args: &[&str]| {
        let output = settled(&fleet.one, &[], &[&["estimate", "--json"], args].concat());
        (output.status.code(), said(&output), String::from_utf8(output.stdout).unwrap())
    };
    let (_, told, _) = ask(&["--net", "10.1.2.0/24"]);
    assert!(told.contains("asking branch-1: 10.1.2.0/24 lies in 10.0.0.0/8 of site ulm"), "{told}");
    let (_, told, json) = ask(&["--host", "10.1.2.3", "--host", "192.0.2.7"]);
    assert!(told.contains("site ulm") && told.contains("site kiel"), "{told}");
    assert!(json.contains("branch-1") && json.contains("branch-2"), "{json}");
    for (args, words) in [
        (&["--host", "203.0.113.9"][..], "no site of the settings has a network with 203.0.113.9"),
        (&["--port", "443"], "no address by which the sites"),
        (&["--group", "south"], "there are: north, kiel, ulm"),
    ] {
        let (code, told, _) = ask(args);
        assert_eq!(code, Some(exit::ERROR), "{told}");
        assert!(told.contains(words), "{told}");
    }
    let (code, told, json) = ask(&["--group", "north", "--port", "443"]);
    assert_eq!(code, Some(exit::DONE), "{told}");
    assert!(json.contains("branch-1") && json.contains("branch-2"), "{json}");
    let (code, told, _) = ask(&["--sensor", "south-*", "--port", "443"]);
    assert_eq!(code, Some(exit::OFFLINE), "{told}");
    assert!(told.contains("no sensor that this broker knows fits south-*"), "{told}");
}

/// A TCP packet without options in Ethernet, from one address and port to another.
fn tcp(from: ([u8; 4], u16), to: ([u8; 4], u16), flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend([8, 0, 0x45, 0]);
    frame.extend(u16::try_from(40 + payload.len()).unwrap().to_be_bytes());
    frame.extend([0, 1, 0, 0, 64, 6, 0, 0]);
    frame.extend([from.0, to.0].concat());
    frame.extend([from.1.to_be_bytes(), to.1.to_be_bytes()].concat());
    frame.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    frame.extend(payload);
    frame
}

/// The firewall's line knows the session before and after address translation: the tap inside has the one, the tap outside the
/// other, and a tap on both sides both.
#[test]
fn both_sides_of_a_translation_are_asked_and_joined() {
    const AT: u64 = 1_790_000_000_000_000_000; // 2026-09-21T14:13:20Z
    let (server, inner, outer) =
        (([203, 0, 113, 9], 443), ([10, 12, 0, 7], 50_000), ([198, 51, 100, 12], 61_000));
    let session = |client| -> Vec<Record> {
        let packets =
            [tcp(client, server, 2, b""), tcp(server, client, 18, b""), tcp(client, server, 24, b"hello")];
        // Somebody else's, through the same firewall.
        let other = tcp((client.0, client.1 + 1), server, 2, b"");
        let records = (0..).zip(packets.into_iter().chain([other]));
        records
            .map(|(number, frame)| (AT + number * 1_000_000, u32::try_from(frame.len()).unwrap(), frame))
            .collect()
    };
    let (before, after) = (session(inner), session(outer));
    let later = |records: &[Record]| -> Vec<Record> {
        records.iter().map(|(at, length, frame)| (at + 100_000, *length, frame.clone())).collect()
    };
    let after = later(&after);
    let mut both = [&before[..], &after[..]].concat();
    both.sort_by_key(|record| record.0);
    let [inside, outside, middle] = [(); 3].map(|()| Sensor::new());
    let Some(broker) = Broker::start(&inside) else { return };
    store(&inside, &before);
    store(&outside, &after);
    store(&middle, &both);
    let _daemons = [("inside", &inside), ("outside", &outside), ("middle", &middle)]
        .map(|(id, sensor)| run_as(id, sensor, &broker, true));
    settings(
        &inside,
        &format!(
            "[profiles.lab]\nbroker = '{}'\n[sites.office]\nsensors = ['inside']\nnetworks = ['10.12.0.0/16']\n\
             [sites.uplink]\nsensors = ['outside']\nnetworks = ['198.51.100.0/24']\n",
            broker.url()
        ),
    );
    let line = "Sep 21 2026 14:13:21 asa : %ASA-6-302013: Built outbound TCP connection 7 for \
                outside:203.0.113.9/443 (203.0.113.9/443) to inside:10.12.0.7/50000 (198.51.100.12/61000)";
    let expected: Vec<Record> =
        both.iter().filter(|(at, ..)| at % 1_000_000_000 < 3_000_000).cloned().collect();
    assert_eq!(expected.len(), 6);
    for whom in [&[][..], &["--sensor", "middle"]] {
        let file = inside.path("nat.pcap");
        let ask = ["fetch", "-w", file.to_str().unwrap(), "--tz", "UTC", "-a", line];
        let output = settled(&inside, &[], &[&ask, whom].concat());
        assert_eq!(output.status.code(), Some(exit::DONE), "{}", said(&output));
        if whom.is_empty() {
            let told = said(&output);
            assert!(told.contains("of site office") && told.contains("of site uplink"), "{told}");
        }
        assert!(savefile::read(&file).unwrap().1 == expected, "{whom:?}: {}", said(&output));
    }
}

/// Kept on this side, found again by its reference, and checked by other people's program.
#[test]
fn what_is_stored_is_found_by_its_reference() {
    if !tools::have(&["sha256sum"]) {
        return;
    }
    let Some(fleet) = Fleet::start() else { return };
    let url = fleet.broker.url();
    let hindcap = |args: &[&str]| {
        let output = settled(&fleet.one, &[("HINDCAP_BROKER", &url)], args);
        (output.status.code(), String::from_utf8(output.stdout.clone()).unwrap(), said(&output))
    };
    let (code, _, said) = hindcap(&["stored"]);
    assert!(code == Some(exit::NOTHING) && said.contains("nothing is stored in"), "{said}");
    let ask = ["store", "-q", "--all-sensors", "--case", "IR-7", "--comment", "beacon?\x1b[2J"];
    let (code, reference, told) = hindcap(&ask);
    assert_eq!(code, Some(exit::DONE), "{told}");
    let reference = reference.trim();
    let (code, file, _) = hindcap(&["stored", "-q", reference]);
    let file = Path::new(file.trim());
    assert_eq!(code, Some(exit::DONE));
    assert!(judges::packets(file, "") == fleet.merged());
    let folder = file.parent().unwrap();
    let sums = std::process::Command::new("sha256sum")
        .args(["--strict", "-c", "SHA256SUMS"])
        .current_dir(folder)
        .output();
    let sums = sums.unwrap();
    assert!(
        sums.status.success() && sums.stdout.iter().filter(|byte| **byte == b'\n').count() == 3,
        "{sums:?}"
    );
    let (_, list, _) = hindcap(&["stored"]);
    assert!(list.lines().count() == 2 && list.contains(reference) && list.contains("IR-7"), "{list}");
    assert!(list.contains("beacon?") && !list.contains('\x1b'), "{list:?}");
    let (_, shown, _) = hindcap(&["stored", reference]);
    assert!(shown.contains("case:     IR-7") && shown.contains("branch-2  answered"), "{shown}");
    let (_, json, _) = hindcap(&["stored", "--json", reference]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (value(&json, "/manifest/packets"), value(&json, "/manifest/sensors/0/sensor")),
        (&5_000.into(), &"branch-1".into())
    );
    // Nothing matched: nothing is kept. Nobody knows this reference.
    assert_eq!(hindcap(&["store", "--all-sensors", "--host", "192.0.2.99"]).0, Some(exit::NOTHING));
    let (code, _, told) = hindcap(&["stored", "01KAJV28Z5041061050R3GG28A"]);
    assert!(code == Some(exit::NOTHING) && told.contains("nothing is stored under"), "{told}");
    let kept = std::fs::read_dir(folder.parent().unwrap()).unwrap().count();
    assert_eq!(kept, 1, "no half result");
}
