//! `hindcap watch`: lines of logs become sessions in long-term storage, each once, through kills, rotation and floods.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs::{self, File};
use std::io::Write as _;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use hindcap_tests::branch::{Broker, Recording, run, stored};
use hindcap_tests::netns::{CLIENT, Cable, SERVER};
use hindcap_tests::process::Running;
use hindcap_tests::sensor::{Sensor, exit, said};
use hindcap_tests::{judges, tools};
use rustix::process::Signal;
use serde_json::Value;

/// A session of the store, as Snort would have told of it.
struct Session {
    line: String,
    /// How a query for it names its client's port.
    port: String,
    filter: String,
}

/// Sessions of a TCP port, newest first.
fn sessions(sensor: &Sensor, most: usize) -> Vec<Session> {
    let most = most.to_string();
    let listed = sensor.hindcapd("search", ["--json", "--proto", "tcp", "--limit", &most]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let session = |row: &Value| {
        let text = |key: &str| row[key].as_str().map_or_else(|| row[key].to_string(), str::to_owned);
        let first = text("first");
        let stamp = format!("{}/{}-{}", &first[5..7], &first[8..10], &first[11..26]);
        let [client, client_port, server, server_port] =
            ["client", "client_port", "server", "server_port"].map(text);
        Session {
            port: format!("--port {client_port} "),
            line: format!(
                "{stamp}  [**] [1:2018358:10] ET HUNTING beacon [**] [Priority: 2] {{TCP}} \
                 {client}:{client_port} -> {server}:{server_port}\n"
            ),
            filter: {
                let ends = format!(
                    "tcp and host {client} and port {client_port} and host {server} and port {server_port}"
                );
                format!("({ends}) or (vlan and {ends})")
            },
        }
    };
    listed["rows"].as_array().unwrap().iter().map(session).collect()
}

/// A place with rules, a log and a store of results.
struct Desk<'a> {
    sensor: &'a Sensor,
    broker: String,
}

impl Desk<'_> {
    /// Rules for `source`, with more keys of the one rule.
    fn rules(&self, source: &str, rule: &str) {
        let text = format!(
            "[watch]\nstore = {:?}\nper-minute = 600\n[[source]]\n{source}\nsensors = ['branch-1']\ntz = 'UTC'\n\
             [[rule]]\nname = 'noise'\ntext = 'ET INFO'\nignore = true\n\
             [[rule]]\nname = 'hunting'\ntext = 'HUNTING'\nseverity = 'medium'\ncase = 'IR-7'\nfollow = '20s'\n{rule}\n",
            self.sensor.path("cases")
        );
        fs::write(self.sensor.path("rules.toml"), text).unwrap();
    }

    fn log(&self) -> PathBuf {
        self.sensor.path("alert.fast")
    }

    fn append(&self, text: &str) {
        let mut file = File::options().create(true).append(true).open(self.log()).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(tools::ours("hindcap"));
        self.arguments(&mut command, args);
        command
    }

    fn arguments(&self, command: &mut Command, args: &[&str]) {
        command.args(["watch", "--broker", &self.broker, "--rules"]);
        command.arg(self.sensor.path("rules.toml")).args(args);
    }

    fn once(&self, args: &[&str]) -> Output {
        self.command(&[&["--once"], args].concat()).output().unwrap()
    }

    /// The directories of events, and what they say.
    fn events(&self) -> Vec<(PathBuf, Value)> {
        let mut events = Vec::new();
        for day in fs::read_dir(self.sensor.path("cases")).into_iter().flatten().flatten() {
            if day.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            for event in fs::read_dir(day.path()).unwrap().flatten() {
                let json = fs::read(event.path().join("event.json")).expect("an event is whole");
                events.push((event.path(), serde_json::from_slice(&json).unwrap()));
            }
        }
        events
    }

    /// Lines of events that are kept, sorted.
    fn lines(&self) -> Vec<String> {
        let line = |(path, _): &(PathBuf, Value)| fs::read_to_string(path.join("event.log")).unwrap();
        let mut lines: Vec<String> = self.events().iter().map(line).collect();
        lines.sort();
        lines
    }
}

#[test]
fn events_become_sessions_and_noise_does_not() {
    let (sensor, _) = stored(5_000);
    let Some(broker) = Broker::start(&sensor) else { return };
    let _daemon = run(&sensor, &broker, true);
    let desk = Desk { sensor: &sensor, broker: broker.url() };
    desk.rules(&format!("file = {:?}", desk.log()), "keep = '90d'");
    let sessions = sessions(&sensor, 3);
    desk.append(&sessions[0].line);
    desk.append(&sessions[1].line.replace("HUNTING", "INFO"));
    desk.append(&sessions[1].line.replace("Priority: 2", "Priority: 3"));
    desk.append(&sessions[0].line);
    desk.append("HUNTING [Priority: 1] but nothing that can be read\n");
    // What would be asked is told first, and nothing is remembered of it.
    let dry = desk.once(&["--dry-run"]);
    let told = String::from_utf8_lossy(&dry.stdout).into_owned();
    assert_eq!(dry.status.code(), Some(exit::DONE), "{}", said(&dry));
    assert!(told.contains("would ask branch-1 for the session: --start"), "{told}");
    assert!(desk.events().is_empty());
    let output = desk.once(&[]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(exit::DONE), "{}", said(&output));
    assert!(told.contains("asked for already") && told.contains("1 line could not be read"), "{told}");
    let events = desk.events();
    assert_eq!(events.len(), 1, "{told}");
    let (place, event) = &events[0];
    assert_eq!((event["case"].as_str(), event["rule"].as_str()), (Some("IR-7"), Some("hunting")));
    assert!(event["expires"].as_str() > event["stored"].as_str(), "{event}");
    let file = place.join("session.pcapng");
    let theirs = judges::packets(&sensor.path("original.pcap"), &sessions[0].filter);
    assert!(!theirs.is_empty() && judges::packets(&file, "") == theirs, "{told}");
    assert_eq!(judges::complaints(&file, false), [""; 0]);
    let infos = tools::run("capinfos", [file.to_str().unwrap()]);
    let infos = String::from_utf8_lossy(&infos.stdout).into_owned();
    for words in ["sensor: branch-1", "case: IR-7", "comment: 09/21-", "ET HUNTING beacon"] {
        assert!(infos.contains(words), "{words}: {infos}");
    }
    // Once more: everything was read.
    assert!(desk.once(&[]).stdout.is_empty() && desk.events().len() == 1);
    // A mistake in the rules is told with its line.
    desk.rules("file = 'x'", "sverity = 'low'");
    let wrong = desk.once(&[]);
    assert_eq!(wrong.status.code(), Some(exit::ERROR));
    assert!(
        said(&wrong).contains("rules.toml:18: ") && said(&wrong).contains("severity"),
        "{}",
        said(&wrong)
    );
}

/// Killed again and again while lines come and files are rotated: every line leads to one event.
#[test]
fn no_line_is_lost_or_counts_twice_whenever_it_is_killed() {
    let (sensor, _) = stored(20_000);
    let Some(broker) = Broker::start(&sensor) else { return };
    let _daemon = run(&sensor, &broker, true);
    let desk = Desk { sensor: &sensor, broker: broker.url() };
    desk.rules(&format!("file = {:?}", desk.log()), "pin = false");
    let sessions = sessions(&sensor, 18);
    assert_eq!(sessions.len(), 18);
    for (round, lines) in sessions.chunks(3).enumerate() {
        let mut watch = Running::start(&mut desk.command(&["--from-start"]));
        let before = desk.events().len();
        for session in lines {
            desk.append(&session.line);
        }
        // At another moment each time: when the new file was read, at once, when something is kept.
        match round % 3 {
            0 => tools::wait_for("a line", || watch.printed().contains(&lines[0].port).then_some(())),
            1 => {}
            _ => tools::wait_for("an event", || (desk.events().len() > before).then_some(())),
        }
        watch.signal(Signal::KILL);
        watch.wait();
        // A file is rotated once it was followed.
        if round % 3 == 1 {
            fs::rename(desk.log(), sensor.path(&format!("alert.fast.{round}"))).unwrap();
        }
    }
    let output = desk.once(&["--from-start"]);
    assert_eq!(output.status.code(), Some(exit::DONE), "{}", said(&output));
    let mut expected: Vec<&str> = sessions.iter().map(|session| session.line.as_str()).collect();
    expected.sort_unstable();
    assert_eq!(desk.lines(), expected);
    for (place, _) in desk.events() {
        assert_eq!(judges::complaints(&place.join("session.pcapng"), false), [""; 0]);
    }
}

#[test]
fn datagrams_and_stdin_are_sources_and_a_host_can_be_followed() {
    let (sensor, _) = stored(5_000);
    let Some(broker) = Broker::start(&sensor) else { return };
    let _daemon = run(&sensor, &broker, true);
    let desk = Desk { sensor: &sensor, broker: broker.url() };
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    desk.rules(&format!("syslog = 'udp://{free}'"), "host = 'src'\nhost-for = '2s'");
    let session = sessions(&sensor, 1).remove(0);
    let mut watch = Running::start(&mut desk.command(&[]));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    tools::wait_for("both events", || {
        socket.send_to(format!("<13>{}", session.line).as_bytes(), free).unwrap();
        (desk.events().len() == 2).then_some(())
    });
    let (status, _) = watch.stop();
    assert!(status.success(), "{}", watch.said());
    let host = desk.events().into_iter().find(|(path, _)| path.to_string_lossy().contains("-host-")).unwrap();
    let ends = host.1["query"]["nets"].as_array().unwrap().len();
    assert!(ends == 1 && host.1["packets"].as_u64() > Some(0), "{}", host.1);
    // Line by line from a pipe, and the end of it is the end.
    desk.rules("stdin = true", "");
    fs::write(sensor.path("piped"), session.line.replace("HUNTING", "HUNTING again")).unwrap();
    let mut command = desk.command(&["--state", sensor.path("other.json").to_str().unwrap()]);
    let output = command.stdin(File::open(sensor.path("piped")).unwrap()).output().unwrap();
    assert_eq!(output.status.code(), Some(exit::DONE), "{}", said(&output));
    assert_eq!(desk.events().len(), 3, "{}", String::from_utf8_lossy(&output.stdout));
}

/// An alert in the middle of a session: what is kept begins with the SYN and ends with the FIN that came a while after it.
#[test]
fn a_session_that_goes_on_is_kept_to_its_end() {
    if !tools::have(&["mosquitto", "tcpdump", "python3"]) {
        return;
    }
    let Some(cable) = Cable::new() else { return };
    let sensor = Sensor::new();
    let branch = Recording::new(&sensor, &cable);
    let _daemon = branch.daemon();
    let theirs = sensor.path("tcpdump.pcap");
    let _judge = judges::beside(&cable, &theirs, "tcp port 7000");
    let server = "import socket,sys\nl=socket.create_server((sys.argv[1],7000))\nprint('ready',flush=True)\n\
                  c=l.accept()[0]\nwhile c.recv(999): c.sendall(b'y'*100)\nc.close()";
    let client = "import os,socket,sys,time\ns=socket.create_connection((sys.argv[1],7000))\n\
                  print(s.getsockname()[1],flush=True)\nwhile not os.path.exists(sys.argv[2]):\n \
                  s.sendall(b'x'*200); s.recv(999); time.sleep(0.05)\ns.close()";
    let server = Running::start(cable.server("python3").args(["-c", server, SERVER]));
    tools::wait_for("the server", || server.printed().contains("ready").then_some(()));
    let over = sensor.path("over");
    let mut client = Running::start(cable.client("python3").args(["-c", client, SERVER]).arg(&over));
    let port = tools::wait_for("the client", || client.printed().lines().next().map(String::from));
    let desk = Desk { sensor: &sensor, broker: Recording::URL.to_owned() };
    desk.rules(&format!("file = {:?}", desk.log()), "");
    let text =
        fs::read_to_string(sensor.path("rules.toml")).unwrap().replace("follow = '20s'", "follow = '5m'");
    fs::write(sensor.path("rules.toml"), text).unwrap();
    let mut command = cable.server(tools::ours("hindcap"));
    desk.arguments(&mut command, &["--from-start"]);
    let mut watch = Running::start(&mut command);
    let stamp = tools::run("date", ["-u", "+%m/%d-%H:%M:%S.%6N"]);
    let stamp = String::from_utf8(stamp.stdout).unwrap();
    desk.append(&format!(
        "{}  [**] [1:1:1] ET HUNTING beacon [**] [Priority: 1] {{TCP}} {SERVER}:7000 -> {CLIENT}:{port}\n",
        stamp.trim()
    ));
    tools::wait_for("the pin", || {
        let pins = branch.ask(&["pins", "--json"]);
        String::from_utf8_lossy(&pins.stdout).contains("hindcap watch").then_some(())
    });
    // Long enough for several looks.
    let when = judges::packets(&theirs, "").len();
    tools::wait_for("more of the session", || {
        (judges::packets(&theirs, "").len() > when + 400).then_some(())
    });
    assert!(desk.events().is_empty(), "the session goes on");
    fs::write(&over, "").unwrap();
    client.wait();
    let (place, event) = tools::wait_at_most(Duration::from_secs(120), "the event", || desk.events().pop());
    let ours = judges::packets(&place.join("session.pcapng"), "");
    judges::assert_alike("SYN to FIN", &ours, &judges::packets(&theirs, &format!("port {port}")));
    let flags: Vec<u8> = ours.iter().map(|(_, _, bytes)| bytes[47]).collect();
    assert_eq!(flags[0] & 0x3F, 2, "it begins with its SYN");
    assert_eq!(flags.iter().filter(|flags| *flags & 1 == 1).count(), 2, "both directions were closed");
    assert_eq!(
        event["notes"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|note| note.to_string().contains("not pinned"))
            .count(),
        0
    );
    assert!(watch.stop().0.success(), "{}", watch.said());
}
