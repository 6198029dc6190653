//! What goes wrong when an analyst asks: each mishap has its exit code and its words, and none leaves half a file.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use hindcap_tests::branch::{Broker, hindcap, run, run_as, stored};
use hindcap_tests::process::Running;
use hindcap_tests::sensor::{Sensor, exit, said};
use hindcap_tests::tools;
use rustix::process::Signal;

/// Names of what lies in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// `hindcap fetch ARGS` into an empty folder, which is empty still, since it fails.
fn refused(sensor: &Sensor, broker: &Broker, name: &str, args: &[&str]) -> Output {
    let folder = sensor.path("refused");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join(name);
    let output = hindcap(broker, &[&["fetch", "-w", file.to_str().unwrap()], args].concat());
    assert_eq!(names(&folder), Vec::<String>::new(), "{args:?}: {}", said(&output));
    output
}

#[test]
fn mishaps_have_their_codes_and_leave_nothing() {
    let (sensor, _) = stored(1_000);
    let Some(mut broker) = Broker::start(&sensor) else { return };
    let mut daemon = run(&sensor, &broker, true);
    let long = "x".repeat(100_000);
    let hasty = ["--sensor", "branch-1", "--timeout", "2s"];
    let check = |broker: &Broker, args: &[&str], code: i32, words: &str| {
        for name in ["x.pcap", "x.pcapng"] {
            let output = refused(&sensor, broker, name, args);
            assert_eq!(output.status.code(), Some(code), "{words}: {}", said(&output));
            assert!(said(&output).contains(words), "{words}: {}", said(&output));
        }
    };
    let with = |more: &[&'static str]| [&hasty[..], more].concat();
    check(
        &broker,
        &["--sensor", "nobody", "--timeout", "1s"],
        exit::OFFLINE,
        "no sensor of this name has ever been seen",
    );
    check(&broker, &["--sensor", "no*"], exit::OFFLINE, "no sensor that this broker knows fits no*");
    // It hears nothing until it is too late.
    daemon.signal(Signal::STOP);
    check(
        &broker,
        &with(&["--expires", "1s"]),
        exit::OFFLINE,
        "expired: the sensor did not take the request in time",
    );
    daemon.signal(Signal::CONT);
    check(&broker, &with(&["--expires", "8d"]), exit::ERROR, "longer than 7d");
    let too_large = [&hasty[..], &["--reason", &long, "--case", &long]].concat();
    check(&broker, &too_large, exit::ERROR, "too large to send");
    check(&broker, &with(&["--host", "192.0.2.99"]), exit::NOTHING, "no such traffic");
    check(&broker, &with(&["--filter", "nonsense here"]), exit::ERROR, "filter");
    daemon.stop();
    check(&broker, &with(&[]), exit::OFFLINE, "the sensor is offline; it was last heard of");
    check(&broker, &with(&["--queue"]), exit::OFFLINE, "is queued until");
    broker.kill();
    check(&broker, &with(&[]), exit::OFFLINE, "timed out waiting for the broker");
}

#[test]
fn a_disk_that_fills_up_leaves_no_half_file() {
    let (sensor, _) = stored(20_000);
    let Some(broker) = Broker::start(&sensor) else { return };
    let (second, _) = stored(20_000);
    let _daemons = [run(&sensor, &broker, true), run_as("branch-2", &second, &broker, true)];
    let small = sensor.path("small");
    fs::create_dir(&small).unwrap();
    let program = tools::ours("hindcap");
    for (name, sensors, size) in [("x.pcap", "branch-1", "4m"), ("x.pcapng", "branch-1,branch-2", "30m")] {
        let (program, url, place) = (program.display(), broker.url(), small.display());
        let script = format!(
            "'{program}' fetch --broker {url} --sensor {sensors} -w '{place}/{name}'; code=$?; ls -A '{place}'; exit $code"
        );
        let Some(output) = tools::on_tmpfs(&small, &format!("size={size}"), &script) else { return };
        assert_eq!(output.status.code(), Some(exit::ERROR), "{name}: {}", said(&output));
        let told = said(&output);
        assert!(told.contains("No space left on device") && told.contains(name), "{told}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "nothing is left");
    }
}

#[test]
fn an_interrupted_fetch_leaves_nothing_and_says_so() {
    let (sensor, _) = stored(60_000);
    let Some(broker) = Broker::start(&sensor) else { return };
    let _daemon = run(&sensor, &broker, true);
    let folder = sensor.path("interrupted");
    fs::create_dir(&folder).unwrap();
    let mut command = Command::new(tools::ours("hindcap"));
    command.args(["fetch", "--sensor", "branch-1", "--broker", &broker.url(), "-w"]);
    let mut client = Running::start(command.arg(folder.join("x.pcap")));
    tools::wait_for("the first bytes", || {
        assert!(client.runs(), "{}", client.said());
        (!names(&folder).is_empty()).then_some(())
    });
    client.signal(Signal::INT);
    let (status, _) = client.wait();
    assert_eq!(status.code(), Some(exit::INTERRUPTED), "{}", client.said());
    assert!(client.said().contains("interrupted"), "{}", client.said());
    assert_eq!(names(&folder), Vec::<String>::new());
    // The sensor was told: nothing is left to do.
    tools::wait_for("the end of the job", || {
        let jobs = hindcap(&broker, &["jobs", "--sensor", "branch-1"]);
        String::from_utf8_lossy(&jobs.stdout).contains("nothing is waiting").then_some(())
    });
}
