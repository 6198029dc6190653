//! A branch and its SOC: a store, a broker, `hindcapd run`, and `hindcap` that asks it.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "helpers of tests")]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

use crate::netns::Cable;
use crate::process::Running;
use crate::savefile::{self, Record};
use crate::sensor::Sensor;
use crate::tools;
use crate::traffic::{Mix, Traffic};

/// mosquitto on a free port of the loopback; it forgets everything when it is stopped.
#[derive(Debug)]
pub struct Broker {
    config: PathBuf,
    port: u16,
    running: Option<Running>,
}

impl Broker {
    /// Starts one; `None`, with a message, where mosquitto or its clients are missing.
    pub fn start(sensor: &Sensor) -> Option<Self> {
        if !tools::have(&["mosquitto", "mosquitto_pub", "mosquitto_sub"]) {
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = sensor.path("mosquitto.conf");
        fs::write(&config, format!("listener {port} 127.0.0.1\nallow_anonymous true\n")).unwrap();
        let mut broker = Self { config, port, running: None };
        broker.resume();
        Some(broker)
    }

    /// Takes it away from under everybody's feet.
    pub fn kill(&mut self) {
        self.running = None;
    }

    /// Starts it again, on the same port.
    pub fn resume(&mut self) {
        self.running = Some(Running::start(Command::new("mosquitto").arg("-c").arg(&self.config)));
        tools::wait_for("the broker", || TcpStream::connect(("127.0.0.1", self.port)).ok());
    }

    /// Where it listens.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }
}

/// As [`run_as`], under the name `branch-1`.
pub fn run(sensor: &Sensor, broker: &Broker, unsigned: bool) -> Running {
    run_as("branch-1", sensor, broker, unsigned)
}

/// Writes a configuration and starts `hindcapd run` as sensor `id`; returns when its status is at the broker.
pub fn run_as(id: &str, sensor: &Sensor, broker: &Broker, unsigned: bool) -> Running {
    let config = sensor.path("hindcap.toml");
    let text = format!(
        "[sensor]\nid = {id:?}\n[capture]\ninterface = \"\"\n[store]\npath = {:?}\n[mqtt]\nbroker = {:?}\n\
         unsigned = {unsigned}\nstatus_interval = \"1s\"\nstate_dir = {:?}\n",
        sensor.store(),
        broker.url(),
        sensor.path("uplink"),
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new(tools::ours("hindcapd"));
    let running = Running::start(command.args(["run", "-c"]).arg(&config));
    tools::wait_for("the sensor's status", || {
        hindcap(broker, &["status", "--json", "--sensor", id]).status.success().then_some(())
    });
    running
}

/// `hindcap COMMAND --broker URL ARGS`.
pub fn hindcap(broker: &Broker, args: &[&str]) -> Output {
    let url = broker.url();
    let all = [&args[..1], &["--broker", &url], &args[1..]].concat();
    tools::run(tools::ours("hindcap"), all)
}

/// A sensor that records what passes a cable, at the server's end, with a broker there, and who asks it for something.
#[derive(Debug)]
pub struct Recording<'a> {
    sensor: &'a Sensor,
    cable: &'a Cable,
    _broker: Running,
}

impl<'a> Recording<'a> {
    /// Where everybody on that side finds the broker.
    pub const URL: &'static str = "mqtt://127.0.0.1:1883";

    /// Starts the broker.
    pub fn new(sensor: &'a Sensor, cable: &'a Cable) -> Self {
        let config = sensor.path("mosquitto.conf");
        fs::write(&config, "listener 1883 127.0.0.1\nallow_anonymous true\n").unwrap();
        let broker = Running::start(cable.server("mosquitto").arg("-c").arg(&config));
        Self { sensor, cable, _broker: broker }
    }

    /// `hindcap COMMAND --broker URL --sensor branch-1 ARGS`.
    pub fn ask(&self, args: &[&str]) -> Output {
        let all = [&args[..1], &["--broker", Self::URL, "--sensor", "branch-1"], &args[1..]].concat();
        self.cable.server(tools::ours("hindcap")).args(all).output().unwrap()
    }

    /// `hindcapd run`, recording.
    pub fn daemon(&self) -> Running {
        let config = self.sensor.path("hindcap.toml");
        let text = format!(
            "[sensor]\nid = \"branch-1\"\n[capture]\ninterface = \"vb\"\n[store]\npath = {:?}\nsize = \"64MiB\"\n\
             flush_interval = \"300ms\"\nsegment = \"4MiB\"\n[policy]\nevent_share = \"20%\"\n[mqtt]\nbroker = {:?}\n\
             unsigned = true\nstatus_interval = \"1s\"\nstate_dir = {:?}\n",
            self.sensor.store(),
            Self::URL,
            self.sensor.path("uplink"),
        );
        fs::write(&config, text).unwrap();
        let mut command = self.cable.server(tools::ours("hindcapd"));
        let mut running = Running::start(command.args(["run", "-c"]).arg(&config));
        tools::wait_for("the sensor's status", || {
            assert!(running.runs(), "it ended: {}", running.said());
            self.ask(&["pins"]).status.success().then_some(())
        });
        running
    }
}

/// A store of made-up traffic.
pub fn stored(packets: u64) -> (Sensor, Vec<Record>) {
    let (sensor, mut traffic) = (Sensor::new(), Traffic::new(Mix::Mixed, 200, 11));
    let mut record = |number: u64| {
        let frame = traffic.next_frame().to_vec();
        (1_790_000_000_000_000_000 + number * 1_000_000, u32::try_from(frame.len()).unwrap(), frame)
    };
    let records: Vec<Record> = (0..packets).map(&mut record).collect();
    store(&sensor, &records);
    (sensor, records)
}

/// A store of these packets; `original.pcap` beside it holds them as well.
pub fn store(sensor: &Sensor, records: &[Record]) {
    let file = sensor.path("original.pcap");
    fs::write(&file, savefile::encode(1, records)).unwrap();
    sensor.import_whole("128MiB", &[], &[&file]);
}

/// `hindcap ARGS`, with settings out of the sensor's folder ([`settings`]) and these variables only.
pub fn settled(sensor: &Sensor, variables: &[(&str, &str)], args: &[&str]) -> Output {
    let mut command = Command::new(tools::ours("hindcap"));
    command.args(args).env("XDG_CONFIG_HOME", sensor.path("xdg")).env("XDG_DATA_HOME", sensor.path("data"));
    command.envs(variables.iter().copied()).output().unwrap()
}

/// Writes the analyst's settings.
pub fn settings(sensor: &Sensor, text: &str) {
    fs::create_dir_all(sensor.path("xdg/hindcap")).unwrap();
    fs::write(sensor.path("xdg/hindcap/config.toml"), text).unwrap();
}

/// The session that a search lists first, as its row.
pub fn newest_tcp_session(sensor: &Sensor) -> Value {
    let listed = sensor.hindcapd("search", ["--json", "--proto", "tcp", "--limit", "1"]);
    let mut sessions: Value = serde_json::from_slice(&listed.stdout).unwrap();
    sessions["rows"][0].take()
}
