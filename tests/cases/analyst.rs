//! What an analyst types: OpenFPC's letters, profiles and variables, and the forms in which a result comes.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::process::Command;

use hindcap_tests::branch::{Broker, hindcap, newest_tcp_session, run, settings, settled, stored};
use hindcap_tests::sensor::{Sensor, exit, said};
use hindcap_tests::{savefile, tools};

#[test]
fn openfpc_habits_and_a_profile_are_enough() {
    let (sensor, _) = stored(5_000);
    let Some(broker) = Broker::start(&sensor) else { return };
    let _daemon = run(&sensor, &broker, true);
    settings(
        &sensor,
        &format!("[profiles.lab]\nbroker = '{}'\nsensor = 'branch-1'\nquiet = true\n", broker.url()),
    );
    let file = sensor.path("letters.pcap");
    let file = file.to_str().unwrap();
    let output =
        settled(&sensor, &[], &["fetch", "-m", "at", "-t", "1790000002", "-e", "1", "-r", "443", "-w", file]);
    assert_eq!(output.status.code(), Some(exit::DONE), "{}", said(&output));
    // Quiet, as the profile says: the file's name and nothing else.
    assert_eq!(
        (output.stdout.as_slice(), output.stderr.as_slice()),
        (format!("{file}\n").as_bytes(), &b""[..])
    );
    let long = ["--start", "1790000001", "--end", "1790000003.000000001", "--dst-port", "443"];
    let expected = sensor.extract(long).records;
    assert!(!expected.is_empty() && savefile::read(file.as_ref()).unwrap().1 == expected);
    // OpenFPC's window, with the sensor from the environment going before the profile's.
    let window =
        ["fetch", "-m", "window", "-b", "1790000001", "-j", "1790000002", "-w", file, "--timeout", "2s"];
    assert_eq!(settled(&sensor, &[], &window).status.code(), Some(exit::DONE));
    assert_eq!(savefile::read(file.as_ref()).unwrap().1.len(), 1_000);
    let elsewhere = settled(&sensor, &[("HINDCAP_SENSOR", "branch-2")], &window);
    assert_eq!(elsewhere.status.code(), Some(exit::OFFLINE), "{}", said(&elsewhere));
    // Mistakes are told before anything is asked.
    for (args, message) in [
        (&["fetch", "-m", "at", "-b", "1790000001"][..], "--timestamp"),
        (&["fetch", "--profile", "nope"], "there are: lab"),
        (&["fetch", "--config", "/nonexistent.toml"], "/nonexistent.toml"),
        (&["status", "--broker", "mqtt://ana:secret@127.0.0.1"], "--password-file"),
        (&["status", "--broker", "mqtt://ana@127.0.0.1", "--password-file", "/nonexistent"], "/nonexistent"),
    ] {
        let output = settled(&sensor, &[], args);
        assert_eq!(output.status.code(), Some(exit::ERROR), "{args:?}");
        assert!(said(&output).contains(message), "{args:?}: {}", said(&output));
        assert!(!said(&output).contains("secret"), "{}", said(&output));
    }
}

#[test]
fn a_dry_run_is_an_estimate() {
    let (sensor, _) = stored(1_000);
    let Some(broker) = Broker::start(&sensor) else { return };
    let _daemon = run(&sensor, &broker, true);
    let ask = |command: &str, flag: &[&str]| {
        let all = [&[command, "--sensor", "branch-1", "--port", "443", "--json"], flag].concat();
        hindcap(&broker, &all)
    };
    let (dry, estimate) = (ask("fetch", &["--dry-run"]), ask("estimate", &[]));
    assert_eq!(dry.status.code(), Some(exit::DONE), "{}", said(&dry));
    assert!(!dry.stdout.is_empty() && dry.stdout == estimate.stdout);
}

#[test]
fn a_zip_file_holds_the_savefile_and_sums_that_others_can_check() {
    if !tools::have(&["unzip", "sha256sum"]) {
        return;
    }
    let (sensor, _) = stored(1_000);
    let Some(broker) = Broker::start(&sensor) else { return };
    let _daemon = run(&sensor, &broker, true);
    let zip = sensor.path("case 7.zip");
    let zip = zip.to_str().unwrap();
    let ask = ["fetch", "--sensor", "branch-1", "--port", "443", "--case", "IR-7", "--comment", "beacon?"];
    let output = hindcap(&broker, &[&ask[..], &["--zip", "-w", zip]].concat());
    assert_eq!(output.status.code(), Some(exit::DONE), "{}", said(&output));
    let folder = sensor.path("unpacked");
    let unpacked = tools::run("unzip", ["-q", zip, "-d", folder.to_str().unwrap()]);
    assert!(unpacked.status.success(), "{}", said(&unpacked));
    let sums = Command::new("sha256sum")
        .args(["--strict", "-c", "SHA256SUMS"])
        .current_dir(&folder)
        .output()
        .unwrap();
    assert!(sums.status.success(), "{}", said(&sums));
    assert_eq!(String::from_utf8_lossy(&sums.stdout).lines().count(), 3);
    let records = savefile::read(&folder.join("case 7.pcap")).unwrap().1;
    assert!(!records.is_empty() && records == sensor.extract(["--port", "443"]).records);
    let report = fs::read_to_string(folder.join("report.txt")).unwrap();
    assert!(report.contains("IR-7") && report.contains("beacon?"), "{report}");
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["case"], "IR-7");
    assert_eq!(manifest["packets"], records.len());
    assert_eq!(manifest["sensors"][0]["manifest"]["packets"], records.len());
    // To a pipe as well, and a place that cannot be written is no half file.
    let piped = hindcap(&broker, &[&ask[..], &["--zip", "-w", "-"]].concat());
    assert!(piped.stdout.starts_with(b"PK\x03\x04"), "{}", said(&piped));
    let output = hindcap(&broker, &[&ask[..], &["--zip", "-w", "/nonexistent/x.zip"]].concat());
    assert_eq!(output.status.code(), Some(exit::ERROR));
    assert!(said(&output).contains("/nonexistent/x.zip"), "{}", said(&output));
}

#[test]
fn a_page_links_to_the_file_or_says_why_there_is_none() {
    let (sensor, _) = stored(1_000);
    let Some(broker) = Broker::start(&sensor) else { return };
    let _daemon = run(&sensor, &broker, true);
    let file = sensor.path("a b.pcap");
    let ask = ["fetch", "--sensor", "branch-1", "--timeout", "2s", "--http", "-w", file.to_str().unwrap()];
    let page = |query: &[&str]| {
        let output = hindcap(&broker, &[&ask[..], query].concat());
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = page(&["--port", "443", "--comment", "<b>"]);
    assert_eq!(code, Some(exit::DONE), "{text}");
    assert!(text.starts_with("<!DOCTYPE html>") && text.contains("href=\"./a%20b.pcap\""), "{text}");
    assert!(text.contains("&lt;b&gt;") && !text.contains("<b>"), "{text}");
    let (code, text) = page(&["--host", "192.0.2.99"]);
    assert!(code == Some(exit::NOTHING) && text.contains("No packet matched"), "{code:?} {text}");
    let (code, text) = page(&["--mode", "at"]);
    assert!(code == Some(exit::ERROR) && text.contains("No packets"), "{code:?} {text}");
    assert!(text.contains("--timestamp"), "{text}");
}

/// A password out of a file opens a broker that wants one; a wrong one does not.
#[test]
fn a_password_comes_from_a_file() {
    if !tools::have(&["mosquitto", "mosquitto_passwd"]) {
        return;
    }
    let sensor = Sensor::new();
    let Some(mut broker) = Broker::start(&sensor) else { return };
    let (passwords, config) = (sensor.path("passwords"), sensor.path("mosquitto.conf"));
    let made = tools::run("mosquitto_passwd", ["-b", "-c", passwords.to_str().unwrap(), "ana", "right"]);
    assert!(made.status.success(), "{}", said(&made));
    broker.kill();
    let text = format!(
        "listener {} 127.0.0.1\nallow_anonymous false\nuser root\npassword_file {}\n",
        broker.port(),
        passwords.display()
    );
    fs::write(config, text).unwrap();
    broker.resume();
    let url = format!("mqtt://ana@127.0.0.1:{}", broker.port());
    for (password, code) in [("right", exit::NOTHING), ("wrong", exit::DENIED)] {
        fs::write(sensor.path("password"), format!("{password}\n")).unwrap();
        let file = sensor.path("password");
        let args = ["status", "--broker", &url, "--password-file", file.to_str().unwrap()];
        let output = settled(&sensor, &[], &args);
        assert_eq!(output.status.code(), Some(code), "{password}: {}", said(&output));
    }
}

/// Paste the line, get the session: what Snort would have written of one that is in the store.
#[test]
fn a_pasted_line_fetches_its_session() {
    let (sensor, _) = stored(5_000);
    let Some(broker) = Broker::start(&sensor) else { return };
    let _daemon = run(&sensor, &broker, true);
    let session = newest_tcp_session(&sensor);
    let text = |key: &str| session[key].as_str().map_or_else(|| session[key].to_string(), str::to_owned);
    let first = text("first");
    let stamp = format!("{}/{}-{}", &first[5..7], &first[8..10], &first[11..26]);
    let ends = ["client", "client_port", "server", "server_port"].map(text);
    let [client, client_port, server, server_port] = &ends;
    let line = format!(
        "{stamp}  [**] [1:2018358:10] ET HUNTING beacon [**] [Priority: 2] {{TCP}} {client}:{client_port} -> {server}:{server_port}"
    );
    let file = sensor.path("line.pcap");
    let _ = fs::remove_file(&file);
    let ask = ["fetch", "--sensor", "branch-1", "-w", file.to_str().unwrap(), "-a", &line];
    let asked = hindcap(&broker, &ask);
    assert_eq!(asked.status.code(), Some(exit::ERROR), "nobody said in which zone");
    assert!(said(&asked).contains("--tz") && !file.exists(), "{}", said(&asked));
    let output = hindcap(&broker, &[&ask[..], &["--tz", "UTC"]].concat());
    assert_eq!(output.status.code(), Some(exit::DONE), "{line}: {}", said(&output));
    assert!(said(&output).contains("year 2026 taken"), "{}", said(&output));
    let by_flags =
        ["--host", client, "--host", server, "--port", client_port, "--port", server_port, "--proto", "tcp"];
    let expected = sensor.extract(by_flags).records;
    assert!(!expected.is_empty() && savefile::read(&file).unwrap().1 == expected, "{line}");
}

/// Every option of OpenFPC's client, by its letter where it has one, against the same by our names.
#[test]
fn every_option_of_openfpc_means_what_it_meant() {
    let (sensor, _) = stored(5_000);
    let Some(broker) = Broker::start(&sensor) else { return };
    let _daemon = run(&sensor, &broker, true);
    let session = newest_tcp_session(&sensor);
    let text = |key: &str| session[key].as_str().map_or_else(|| session[key].to_string(), str::to_owned);
    let [client, client_port, server, server_port] =
        ["client", "client_port", "server", "server_port"].map(text);
    let file = sensor.path("theirs.pcap");
    let file = file.to_str().unwrap();
    let fetch = |args: &[&str]| {
        let _ = fs::remove_file(file);
        let output = hindcap(&broker, &[&["fetch", "--device", "branch-1", "-w", file], args].concat());
        assert_eq!(output.status.code(), Some(exit::DONE), "{args:?}: {}", said(&output));
        output
    };
    let same = |theirs: &[&str], ours: &[&str]| {
        let output = fetch(theirs);
        let expected = sensor.extract(ours).records;
        assert!(!expected.is_empty() && savefile::read(file.as_ref()).unwrap().1 == expected, "{theirs:?}");
        output
    };
    let ends = [
        "--src-addr",
        &client,
        "--dst-addr",
        &server,
        "--src-port",
        &client_port,
        "--dst-port",
        &server_port,
    ];
    same(&["-s", &client, "-d", &server, "-u", &client_port, "-r", &server_port], &ends);
    same(&ends, &ends);
    let window = ["--start", "1790000001", "--end", "1790000002"];
    same(&["-m", "window", "-b", "1790000001", "-j", "1790000002"], &window);
    same(
        &["--mode", "at", "--timestamp", "1790000001", "--each-way", "1"],
        &["--at", "1790000001", "--pad", "1s"],
    );
    // Sourcefire's way of writing times, in its own zone and in one that is given.
    same(&["--sf", "-b", "Mon Sep 21 14:13:21 2026 UTC", "-j", "Mon Sep 21 14:13:22 2026 UTC"], &window);
    let berlin =
        ["--sf", "--tz", "Europe/Berlin", "-b", "Mon Sep 21 16:13:21 2026", "-j", "Sep 21 16:13:22 2026"];
    same(&berlin, &window);
    same(&["--tz", "+02:00", "-b", "2026-09-21 16:13:21", "-j", "2026-09-21T14:13:22Z"], &window);
    same(&["--bpf", "tcp port 443", "--all"], &["--filter", "tcp port 443"]);
    let quiet = same(&["-q", "--last", "90000000"], &["--last", "90000000s"]);
    assert_eq!((quiet.stdout.as_slice(), quiet.stderr.len()), (format!("{file}\n").as_bytes(), 0));
    let page = fetch(&["-l", "--comment", "beacon?"]);
    assert!(String::from_utf8_lossy(&page.stdout).contains("beacon?"));
    assert!(said(&fetch(&["-v"])).contains("accepted"));
    assert!(said(&fetch(&["--debug"])).contains("DEBUG"));
    fetch(&["--zip"]);
    assert!(fs::read(file).unwrap().starts_with(b"PK\x03\x04"));
    // What nobody said is asked for.
    for (args, words) in [
        (&["--sf", "-b", "Mon Sep 21 14:13:21 2026"][..], "in which time zone? Say it with --tz"),
        (&["--sf", "-b", "1790000001"], "Wed Mar 31 13:24:36 2010 UTC"),
        (&["--tz", "UTC", "--last", "1h"], "no time is given"),
    ] {
        let output = hindcap(&broker, &[&["fetch", "--device", "branch-1", "-w", file], args].concat());
        assert_eq!(output.status.code(), Some(exit::ERROR), "{args:?}");
        assert!(said(&output).contains(words), "{args:?}: {}", said(&output));
    }
}
