//! Wireshark's side: sensors as interfaces of tshark, for what was recorded and for what comes, beside tcpdump.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hindcap_tests::branch::{Broker, Recording, newest_tcp_session, run, stored};
use hindcap_tests::netns::{Cable, SERVER};
use hindcap_tests::process::Running;
use hindcap_tests::sensor::{Sensor, exit, said};
use hindcap_tests::{judges, tools};
use rustix::process::Signal;

/// Writes a profile for the broker at `url` and installs the capture program; where.
fn installed(sensor: &Sensor, url: &str) -> PathBuf {
    fs::create_dir_all(sensor.path("xdg/hindcap")).unwrap();
    fs::write(sensor.path("xdg/hindcap/config.toml"), format!("[profiles.lab]\nbroker = '{url}'\n")).unwrap();
    let folder = sensor.path("extcap");
    let mut command = Command::new(tools::ours("hindcap"));
    command.args(["extcap", "--install", "--profile", "lab", "--directory"]).arg(&folder);
    let output = command.env("XDG_CONFIG_HOME", sensor.path("xdg")).output().unwrap();
    assert_eq!(output.status.code(), Some(exit::DONE), "{}", said(&output));
    let wrapper = folder.join("hindcap");
    assert!(String::from_utf8_lossy(&output.stdout).contains(wrapper.to_str().unwrap()), "it says where");
    folder
}

/// tshark that knows our capture program, and no other: run by root it looks into its own folder only, which is therefore
/// covered by ours, for it alone. `None`, with the reason printed, where that is not possible.
fn tshark<'a>(
    sensor: &Sensor,
    folder: &Path,
    outside: impl Fn(&str) -> Command,
    args: impl IntoIterator<Item = &'a str>,
) -> Option<Command> {
    let folders = tools::run("tshark", ["-G", "folders"]);
    let folders = String::from_utf8_lossy(&folders.stdout).into_owned();
    let theirs =
        folders.lines().find_map(|line| line.split_once("xtcap path:").map(|(_, path)| path.trim()))?;
    let cover = "mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"";
    let mut command = outside("unshare");
    command.args(["-m", "sh", "-c", cover, "sh"]).arg(folder).args([theirs, "tshark"]).args(args);
    command.env("XDG_CONFIG_HOME", sensor.path("xdg"));
    Some(command)
}

/// Whether file systems can be mounted here.
fn may_mount() -> bool {
    let may = tools::have(&["unshare", "mount"]) && tools::run("unshare", ["-m", "true"]).status.success();
    if !may {
        println!("skipped: needs root (for a mount namespace)");
    }
    may
}

const INTERFACE: &str = "hindcap-branch-1";

#[test]
fn a_sensor_is_an_interface_of_tshark() {
    if !tools::have(&["tshark", "capinfos", "tcpdump"]) || !may_mount() {
        return;
    }
    let (sensor, _) = stored(5_000);
    let Some(broker) = Broker::start(&sensor) else { return };
    let _daemon = run(&sensor, &broker, true);
    let folder = installed(&sensor, &broker.url());
    let run = |args: &[&str]| {
        let tshark = tshark(&sensor, &folder, |program| Command::new(program), args.iter().copied());
        tshark.unwrap().output().unwrap()
    };
    let listed = run(&["-D"]);
    let list = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(list.contains(&format!("{INTERFACE} (Hindcap: branch-1")), "{list}: {}", said(&listed));
    // What was recorded, with Wireshark's own capture filter; the dialog's fields are preferences of tshark.
    let file = sensor.path("past.pcapng");
    let (original, filter) = (sensor.path("original.pcap"), "tcp port 443");
    let fields = ["start:1790000001", "end:1790000003", "case:IR-7", "reason:beacon?"];
    let fields: Vec<String> = fields.iter().map(|field| format!("extcap.hindcap_branch_1.{field}")).collect();
    let mut args = vec!["-i", INTERFACE, "-f", filter, "-w", file.to_str().unwrap()];
    fields.iter().for_each(|field| args.extend(["-o", field]));
    let output = run(&args);
    assert!(output.status.success(), "{}", said(&output));
    let mut theirs = judges::packets(&original, filter);
    theirs.retain(|(at, ..)| (1_790_000_001_000_000_000..1_790_000_003_000_000_000).contains(at));
    assert!(!theirs.is_empty() && judges::packets(&file, "") == theirs, "{}", said(&output));
    assert_eq!(judges::complaints(&file, false), [""; 0]);
    let infos = tools::run("capinfos", [file.to_str().unwrap()]);
    let infos = String::from_utf8_lossy(&infos.stdout).into_owned();
    for words in ["sensor: branch-1", "request: 01", "case: IR-7", "reason: beacon?", "stat entries = 1"] {
        assert!(infos.contains(words), "{words}: {infos}");
    }
    // A log line instead of a time: its session.
    let session = newest_tcp_session(&sensor);
    let text = |key: &str| session[key].as_str().map_or_else(|| session[key].to_string(), str::to_owned);
    let [first, client, client_port, server, server_port] =
        ["first", "client", "client_port", "server", "server_port"].map(text);
    let line =
        format!("ofpc-v1 type:event sip:{client} dip:{server} spt:{client_port} dpt:{server_port} proto:tcp");
    let secs = tools::run("date", ["-u", "-d", &first, "+%s"]);
    let secs = String::from_utf8(secs.stdout).unwrap();
    let event = format!("extcap.hindcap_branch_1.event:{line} timestamp:{} msg:x", secs.trim());
    let output = run(&["-i", INTERFACE, "-o", &event, "-w", file.to_str().unwrap()]);
    let by_flags = ["--host", &client, "--host", &server, "--port", &client_port, "--port", &server_port];
    let expected = sensor.extract(by_flags).records;
    assert!(!expected.is_empty() && judges::packets(&file, "") == expected, "{}", said(&output));
    // Nothing matches: a capture without packets that says why, and a filter that nobody understands.
    let none =
        run(&["-i", INTERFACE, "-f", "host 192.0.2.99", "-o", &fields[0], "-w", file.to_str().unwrap()]);
    assert!(said(&none).contains("0 packets captured"), "{}", said(&none));
    assert!(judges::packets(&file, "").is_empty());
    let wrong = run(&["-i", INTERFACE, "-f", "tcp prot 80", "-o", &fields[0], "-w", file.to_str().unwrap()]);
    assert!(said(&wrong).contains("tcp prot 80"), "{}", said(&wrong));
}

/// Without a time: what comes, as it comes.
#[test]
fn tshark_follows_a_sensor_live() {
    if !tools::have(&["tshark", "tcpdump", "mosquitto", "python3", "curl", "ping"]) {
        return;
    }
    let Some(cable) = Cable::new() else { return };
    if !may_mount() {
        return;
    }
    let sensor = Sensor::new();
    let branch = Recording::new(&sensor, &cable);
    let _daemon = branch.daemon();
    let folder = installed(&sensor, Recording::URL);
    fs::create_dir(sensor.path("www")).unwrap();
    fs::write(sensor.path("www/file"), vec![b'x'; 200_000]).unwrap();
    let mut http = cable.server("python3");
    http.args(["-u", "-m", "http.server", "--bind", SERVER, "8080", "--directory"]).arg(sensor.path("www"));
    let http = Running::start(&mut http);
    tools::wait_for("the HTTP server", || http.printed().contains("Serving").then_some(()));
    let (ours, theirs) = (sensor.path("live.pcapng"), sensor.path("tcpdump.pcap"));
    let filter = "tcp port 8080 or icmp";
    let _judge = judges::beside(&cable, &theirs, filter);
    let args = ["-i", INTERFACE, "-f", filter, "-w", ours.to_str().unwrap()];
    let mut shark = tshark(&sensor, &folder, |program| cable.server(program), args).unwrap();
    let mut shark = Running::start(&mut shark);
    // From when the interface runs: what came before is not live.
    shark.wait_said("Capture started");
    let get = ["-sS", "-o", "/dev/null", &format!("http://{SERVER}:8080/file")];
    assert!(cable.client("curl").args(get).output().unwrap().status.success());
    // Several requests carry these, and there is no pause where two of them meet.
    let ping = ["-q", "-i", "0.02", "-c", "200", SERVER];
    assert!(cable.client("ping").args(ping).output().unwrap().status.success());
    let packets = |file: &Path| judges::packets(file, "");
    tools::wait_for("the last answer at tcpdump", || {
        (judges::packets(&theirs, "icmp").len() == 400).then_some(())
    });
    let expected = packets(&theirs);
    tools::wait_for("the last packet", || (packets(&ours).len() >= expected.len()).then_some(()));
    judges::assert_alike("no packet twice, none lost", &packets(&ours), &expected);
    shark.signal(Signal::INT);
    assert!(shark.wait().0.success(), "{}", shark.said());
    assert_eq!(judges::complaints(&ours, false), [""; 0]);
}
