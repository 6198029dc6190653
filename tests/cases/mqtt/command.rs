//! The analyst's command against a fake sensor: what it prints and how it exits.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::Ordering;

use crate::broker::{Mosquitto, until};
use crate::fake::{FakeSensor, bytes};

/// The command, built beside this test.
fn program() -> PathBuf {
    let status =
        Command::new(env!("CARGO")).args(["build", "--quiet", "--package", "hindcap"]).status().unwrap();
    assert!(status.success());
    let exe = std::env::current_exe().unwrap();
    exe.ancestors().nth(2).unwrap().join("hindcap")
}

struct Analyst<'a> {
    program: PathBuf,
    broker: &'a Mosquitto,
    dir: tempfile::TempDir,
}

impl<'a> Analyst<'a> {
    fn at(broker: &'a Mosquitto) -> Self {
        Self { program: program(), broker, dir: tempfile::tempdir().unwrap() }
    }

    fn run(&self, flags: &str) -> Output {
        Command::new(&self.program)
            .args(flags.split_whitespace())
            .env("HINDCAP_BROKER", self.broker.url())
            .env("HINDCAP_SENSOR", "branch-12")
            .current_dir(self.dir.path())
            .output()
            .unwrap()
    }

    /// Exit code and stdout.
    fn says(&self, flags: &str) -> (Option<i32>, String) {
        let output = self.run(flags);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    }
}

#[test]
fn the_command_prints_and_exits_as_documented() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut sensor = FakeSensor::start(&broker.url());
    let analyst = Analyst::at(&broker);
    let created = "Created case.pcap (3.4 KiB, 12 packets)\n";
    assert_eq!(analyst.says("fetch --host 192.0.2.1 --last 1h -w case.pcap"), (Some(0), created.into()));
    assert!(std::fs::read(analyst.dir.path().join("case.pcap")).unwrap() == bytes(3_481));
    assert_eq!(analyst.says("fetch -q -w case.pcap"), (Some(0), "case.pcap\n".into()));
    let output = analyst.run("fetch -w - --max-bytes 1MB");
    assert!(output.status.success() && output.stdout == bytes(1_000_000));
    assert!(String::from_utf8(output.stderr).unwrap().ends_with("Created - (976.6 KiB, 12 packets)\n"));
    let (code, json) = analyst.says("fetch --json -w case.pcapng");
    assert!(
        code == Some(0) && json.contains(r#""file":"case.pcapng""#) && json.contains(r#""format":"pcapng""#)
    );
    // Where something is added the result is read first; this one is no savefile.
    let nonsense = analyst.run("fetch -w remarked.pcapng --comment beacon");
    assert_eq!(nonsense.status.code(), Some(2));
    let said = String::from_utf8(nonsense.stderr).unwrap();
    assert!(said.contains("what branch-12 sent cannot be read"), "{said}");
    let empty = analyst.run("fetch -c 0 -w none.pcap");
    assert!(empty.status.code() == Some(1) && empty.stdout.is_empty());
    assert!(String::from_utf8(empty.stderr).unwrap().contains("no such traffic"));
    let (code, table) = analyst.says("search --limit 2");
    assert!(code == Some(0) && table.lines().count() == 4, "{table}");
    let (code, json) = analyst.says("search --limit 2 --json");
    assert!(code == Some(0) && json.starts_with('{') && json.lines().count() == 1, "{json}");
    let (code, text) = analyst.says("estimate");
    assert!(code == Some(0) && text.starts_with("at most 12 packets"), "{text}");
    assert_eq!(analyst.says("estimate --vlan 7").0, Some(3));
    assert_eq!(analyst.says("estimate --filter nonsense").0, Some(2));
    assert_eq!(analyst.says("estimate --start 1h --end 2h").0, Some(2));
    assert_eq!(analyst.says("estimate --unheard-of").0, Some(2));
    // Neither a broker of another kind, nor half of a certificate, nor one where there is no TLS.
    for flags in ["--broker wss://h", "--broker mqtts://h --cert x", "--broker mqtt://h --ca x"] {
        assert_eq!(analyst.says(&format!("estimate {flags}")).0, Some(2), "{flags}");
    }
    let (code, text) = analyst.says("status");
    assert!(code == Some(0) && text.contains("branch-12: online") && text.contains("UNSIGNED"), "{text}");
    sensor.stop();
    let offline = analyst.run("estimate --timeout 1s");
    assert_eq!(offline.status.code(), Some(6));
    assert!(String::from_utf8(offline.stderr).unwrap().contains("offline; it was last heard of at 2"));
    let (code, json) = analyst.says("status --json");
    assert!(code == Some(6) && json.contains(r#""online":false"#), "{json}");
    assert_eq!(std::fs::read_dir(analyst.dir.path()).unwrap().count(), 2);
}

#[test]
fn a_denied_request_exits_with_four() {
    let Some(broker) = Mosquitto::start() else { return };
    let _sensor = FakeSensor::start_with(&broker.url(), |options| options.unsigned_requests = false);
    let analyst = Analyst::at(&broker);
    let output = analyst.run("fetch -w case.pcap");
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8(output.stderr).unwrap().contains("unsigned requests are switched off"));
}

/// What a sensor is busy with is listed, and whoever is at the desk can end it.
#[test]
fn a_job_is_listed_and_cancelled() {
    let Some(broker) = Mosquitto::start() else { return };
    let sensor = FakeSensor::start(&broker.url());
    let analyst = Analyst::at(&broker);
    assert_eq!(analyst.says("jobs"), (Some(0), "nothing is waiting or at work\n".into()));
    sensor.fake.blocked.store(true, Ordering::SeqCst);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| analyst.run("fetch -w case.pcap --case IR-7 --reason beacon"));
        until("the job", || sensor.fake.begun.load(Ordering::SeqCst) == 1);
        let (code, text) = analyst.says("jobs");
        assert!(code == Some(0) && text.contains("extract") && text.contains("case: IR-7"), "{text}");
        let (_, json) = analyst.says("jobs --json");
        assert!(json.contains(r#""stage":{"running""#) && json.contains(r#""reason":"beacon""#), "{json}");
        let request = text.split_whitespace().next().unwrap();
        let done = analyst.says(&format!("cancel {request}"));
        assert_eq!(done, (Some(0), format!("cancelled request {request}\n")));
        let cancelled = waiting.join().unwrap();
        assert_eq!(cancelled.status.code(), Some(2));
        assert!(String::from_utf8(cancelled.stderr).unwrap().contains("cancelled"));
    });
    assert_eq!(std::fs::read_dir(analyst.dir.path()).unwrap().count(), 0, "no half file");
    assert_eq!(analyst.says("jobs").1, "nothing is waiting or at work\n");
    let unknown = analyst.run("cancel 01KAJV28Z5041061050R3GG28A");
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8(unknown.stderr).unwrap().contains("is not waiting or at work"));
}

#[test]
fn a_summary_has_as_many_rows_as_asked_for() {
    let Some(broker) = Mosquitto::start() else { return };
    let _sensor = FakeSensor::start(&broker.url());
    let analyst = Analyst::at(&broker);
    let (code, json) = analyst.says("summary --last 1h --rows 7 --json");
    assert!(code == Some(0) && json.contains(r#""connections":7"#), "{json}");
    assert_eq!(analyst.run("summary --rows 0").status.code(), Some(2));
}
