//! A branch and its SOC: a store, a broker, `hindcapd run`, and `hindcap` that asks it.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "helpers of tests")]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

use crate::process::Running;
use crate::savefile::{self, Record};
use crate::sensor::Sensor;
use crate::tools;
use crate::traffic::{Mix, Traffic};

/// mosquitto on a free port of the loopback; it forgets everything when it is stopped.
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

/// Writes a configuration and starts `hindcapd run`; returns when its status is at the broker.
pub fn run(sensor: &Sensor, broker: &Broker, unsigned: bool) -> Running {
    let config = sensor.path("hindcap.toml");
    let text = format!(
        "[sensor]\nid = \"branch-1\"\n[capture]\ninterface = \"\"\n[store]\npath = {:?}\n[mqtt]\nbroker = {:?}\n\
         unsigned = {unsigned}\nstatus_interval = \"1s\"\nstate_dir = {:?}\n",
        sensor.store(),
        broker.url(),
        sensor.path("uplink"),
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new(tools::ours("hindcapd"));
    let running = Running::start(command.args(["run", "-c"]).arg(&config));
    tools::wait_for("the sensor's status", || {
        hindcap(broker, &["status", "--json"]).status.success().then_some(())
    });
    running
}

/// `hindcap COMMAND --broker URL ARGS`.
pub fn hindcap(broker: &Broker, args: &[&str]) -> Output {
    let url = broker.url();
    let all = [&args[..1], &["--broker", &url], &args[1..]].concat();
    tools::run(tools::ours("hindcap"), all)
}

/// A store of made-up traffic.
pub fn stored(packets: u64) -> (Sensor, Vec<Record>) {
    let (sensor, mut traffic) = (Sensor::new(), Traffic::new(Mix::Mixed, 200, 11));
    let mut record = |number: u64| {
        let frame = traffic.next_frame().to_vec();
        (1_790_000_000_000_000_000 + number * 1_000_000, u32::try_from(frame.len()).unwrap(), frame)
    };
    let records: Vec<Record> = (0..packets).map(&mut record).collect();
    let file = sensor.path("original.pcap");
    fs::write(&file, savefile::encode(1, &records)).unwrap();
    sensor.import_whole("128MiB", &[], &[&file]);
    (sensor, records)
}

/// The session that a search lists first, as its row.
pub fn newest_tcp_session(sensor: &Sensor) -> Value {
    let listed = sensor.hindcapd("search", ["--json", "--proto", "tcp", "--limit", "1"]);
    let mut sessions: Value = serde_json::from_slice(&listed.stdout).unwrap();
    sessions["rows"][0].take()
}
