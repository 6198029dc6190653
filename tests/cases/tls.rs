//! TLS with certificates between sensor, broker and analyst: mosquitto with the configuration that is given to people
//! (soc/mosquitto), good certificates and such as nobody may believe.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};

use hindcap_tests::authority::{ALWAYS, Authority, Issued, Role};
use hindcap_tests::branch::stored;
use hindcap_tests::process::Running;
use hindcap_tests::savefile;
use hindcap_tests::sensor::{Sensor, exit, said};
use hindcap_tests::tools;

/// A site, its analyst, and mosquitto between them, which calls itself `localhost`.
struct Office {
    sensor: Sensor,
    authority: Authority,
    ana: Issued,
    port: u16,
    _broker: Running,
}

impl Office {
    /// Starts the broker with a certificate for `localhost`.
    fn open(sensor: Sensor) -> Option<Self> {
        let authority = Authority::new(&sensor.path("ca"));
        let server = authority.issue("localhost", Role::Server, ALWAYS);
        Self::open_with(sensor, authority, &server)
    }

    /// Starts the broker with the sample configuration, its paths put to where the files of the test lie.
    fn open_with(sensor: Sensor, authority: Authority, server: &Issued) -> Option<Self> {
        if !tools::have(&["mosquitto", "mosquitto_pub", "mosquitto_sub"]) {
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let samples = tools::workspace().join("soc/mosquitto");
        let at = |path: &Path| path.display().to_string();
        let mut text = fs::read_to_string(samples.join("mosquitto.conf")).unwrap();
        for (line, ours) in [
            ("listener 8883", format!("listener {port} 127.0.0.1\nuser root")),
            ("/etc/mosquitto/hindcap/ca.crt", at(&authority.certificate())),
            ("/etc/mosquitto/hindcap/server.crt", at(&server.certificate)),
            ("/etc/mosquitto/hindcap/server.key", at(&server.key)),
            ("acl_file /etc/mosquitto/hindcap/acl", format!("acl_file {}", at(&samples.join("acl")))),
            ("/var/lib/mosquitto/", format!("{}/", at(&sensor.path("broker")))),
        ] {
            assert!(text.contains(&format!("\n{line}")) || text.contains(&format!(" {line}\n")), "{line}");
            text = text.replace(line, &ours);
        }
        fs::create_dir(sensor.path("broker")).unwrap();
        let config = sensor.path("mosquitto.conf");
        fs::write(&config, text).unwrap();
        let broker = Running::start(Command::new("mosquitto").arg("-c").arg(&config));
        tools::wait_for("the broker", || TcpStream::connect(("127.0.0.1", port)).ok());
        let ana = authority.issue("analyst:ana", Role::Client, ALWAYS);
        Some(Self { sensor, authority, ana, port, _broker: broker })
    }

    fn url(&self) -> String {
        format!("mqtts://localhost:{}", self.port)
    }

    /// `hindcap COMMAND ARGS`, as the analyst.
    fn hindcap(&self, args: &[&str]) -> Output {
        self.hindcap_as(&self.url(), &self.authority.certificate(), Some(&self.ana), args)
    }

    fn hindcap_as(&self, url: &str, ca: &Path, who: Option<&Issued>, args: &[&str]) -> Output {
        let mut command = Command::new(tools::ours("hindcap"));
        command.args(args).args(["--broker", url, "--ca"]).arg(ca);
        if let Some(Issued { certificate, key }) = who {
            command.arg("--cert").arg(certificate).arg("--key").arg(key);
        }
        command.env_clear().output().unwrap()
    }

    /// Starts the sensor `branch-1`, which believes `ca` and is `who`; `more` goes into its configuration.
    fn sensor_as(&self, url: &str, ca: &Path, who: Option<&Issued>, more: &str) -> Running {
        let mut text = format!(
            "[sensor]\nid = \"branch-1\"\nsystem = \"image 7, slot A\"\n[capture]\ninterface = \"\"\n[store]\npath = {:?}\n{more}\n[mqtt]\nbroker = {url:?}\n\
             ca = {ca:?}\nunsigned = true\nstatus_interval = \"1s\"\nstate_dir = {:?}\n\
             connection_file = {:?}\n",
            self.sensor.store(),
            self.sensor.path("uplink"),
            self.sensor.path("connection"),
        );
        if let Some(Issued { certificate, key }) = who {
            text += &format!("certificate = {certificate:?}\nkey = {key:?}\n");
        }
        let config = self.sensor.path("hindcap.toml");
        fs::write(&config, text).unwrap();
        Running::start(Command::new(tools::ours("hindcapd")).args(["run", "-c"]).arg(&config))
    }

    /// Waits until the sensor's file about its connection says so.
    fn wait_line(&self, words: &str) {
        let file = self.sensor.path("connection");
        let read = || fs::read_to_string(&file).ok().filter(|line| line.contains(words));
        let line = tools::wait_for(words, read);
        assert!(line.ends_with('\n') && line.lines().count() == 1, "{line:?}");
    }

    /// The sensor as it should be.
    fn sensor(&self) -> Running {
        let who = self.authority.issue("branch-1", Role::Client, ALWAYS);
        self.sensor_as(&self.url(), &self.authority.certificate(), Some(&who), "")
    }

    /// `mosquitto_pub` or `mosquitto_sub` with a certificate.
    fn by_hand(&self, program: &str, who: &Issued, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(["-h", "localhost", "-p", &self.port.to_string(), "-V", "5", "-q", "1", "--cafile"]);
        command.arg(self.authority.certificate()).arg("--cert").arg(&who.certificate).arg("--key");
        command.arg(&who.key).args(args);
        command
    }
}

#[test]
fn requests_and_answers_pass_by_certificates() {
    let (sensor, records) = stored(2_000);
    let Some(office) = Office::open(sensor) else { return };
    let mut daemon = office.sensor();
    daemon.wait_said("connected to the broker");
    office.wait_line(&format!("connected to {} since 2", office.url()));
    let to = office.sensor.path("case.pcap");
    let output = office.hindcap(&["fetch", "--sensor", "branch-1", "-w", to.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(exit::DONE), "{}", said(&output));
    assert_eq!(savefile::read(&to).unwrap().1, records);
    let output = office.hindcap(&["sensors"]);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains("branch-1") && table.contains("image 7, slot A"), "{output:?}");
    let output = office.hindcap(&["status", "--sensor", "branch-1"]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.contains("  version: ") && told.contains(" on image 7, slot A, up "), "{told}");
}

#[test]
fn a_name_at_the_broker_is_that_of_the_certificate() {
    let Some(office) = Office::open(Sensor::new()) else { return };
    let one = office.authority.issue("branch-1", Role::Client, ALWAYS);
    let two = office.authority.issue("branch-2", Role::Client, ALWAYS);
    let listen = |who: &Issued, topic: &str| {
        Running::start(&mut office.by_hand("mosquitto_sub", who, &["-v", "-t", topic]))
    };
    let (all, own) = (listen(&office.ana, "hindcap/v1/+/up/#"), listen(&one, "hindcap/v1/branch-1/down/#"));
    let (mut foreign, wild) = (listen(&one, "hindcap/v1/branch-2/down/#"), listen(&one, "#"));
    let say = |who: &Issued, topic: &str, text: &str| {
        office.by_hand("mosquitto_pub", who, &["-t", topic, "-m", text]).output().unwrap()
    };
    // Repeated until it is heard: subscriptions take a moment.
    tools::wait_for("what is allowed", || {
        say(&one, "hindcap/v1/branch-2/up/reply", "stolen");
        say(&two, "hindcap/v1/branch-2/up/reply", "honest");
        say(&one, "hindcap/v1/branch-1/down/request", "stolen");
        say(&office.ana, "hindcap/v1/branch-1/down/request", "asked");
        say(&office.ana, "hindcap/v1/branch-2/down/request", "asked-2");
        say(&office.ana, "hindcap/v1/branch-1/up/state", "forged");
        (all.printed().contains("honest") && own.printed().contains("asked")).then_some(())
    });
    for listener in [&all, &own, &foreign, &wild] {
        assert!(!listener.printed().contains("stolen") && !listener.printed().contains("forged"));
    }
    assert!(
        !foreign.printed().contains("asked") && !own.printed().contains("asked-2"),
        "{}",
        foreign.printed()
    );
    assert!(!wild.printed().contains("asked-2") && !wild.printed().contains("honest"), "{}", wild.printed());
    assert!(foreign.runs() || foreign.said().contains("denied"), "{}", foreign.said());
}

#[test]
fn who_does_not_belong_here_is_refused_and_told_why() {
    let Some(office) = Office::open(stored(10).0) else { return };
    let stranger = Authority::new(&office.sensor.path("stranger"));
    let (url, ca) = (office.url(), office.authority.certificate());
    let good = office.authority.issue("branch-1", Role::Client, ALWAYS);
    let stolen = stranger.issue("branch-1", Role::Client, ALWAYS);
    let old = office.authority.issue("branch-9", Role::Client, (2020, 2021));
    let by_address = format!("mqtts://127.0.0.1:{}", office.port);
    let plainly = format!("mqtt://localhost:{}", office.port);
    let foreign_ca = stranger.certificate();
    let cases: [(&str, &Path, Option<&Issued>, &str); 5] = [
        (&url, &ca, Some(&stolen), "the broker refuses our certificate: it was not issued by an authority"),
        (&url, &ca, Some(&old), "the broker refuses our certificate: it has ended"),
        (&url, &ca, None, "the broker wants a client certificate, and none is configured"),
        (&url, &foreign_ca, Some(&good), "was not issued by the authority that we trust"),
        (&by_address, &ca, Some(&good), "is not for 127.0.0.1, it is for localhost"),
    ];
    for (url, ca, who, words) in cases {
        let mut daemon = office.sensor_as(url, ca, who, "");
        daemon.wait_said(words);
        office.wait_line(&format!("no connection to {url} since 2"));
        office.wait_line(words);
        assert!(daemon.runs(), "it goes on recording and trying");
        let output = office.hindcap_as(url, ca, who, &["status"]);
        assert_eq!(output.status.code(), Some(exit::DENIED), "{words}: {}", said(&output));
        assert!(said(&output).contains(words), "{words}: {}", said(&output));
    }
    let output = office.hindcap_as(&plainly, &ca, None, &["status"]);
    assert!(said(&output).contains("write mqtts://"), "{}", said(&output));
}

#[test]
fn a_port_without_tls_and_one_with_it_are_told_apart() {
    let Some(office) = Office::open(Sensor::new()) else { return };
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = office.sensor.path("plain.conf");
    fs::write(&config, format!("listener {port} 127.0.0.1\nallow_anonymous true\n")).unwrap();
    let _plain = Running::start(Command::new("mosquitto").arg("-c").arg(&config));
    tools::wait_for("the broker", || TcpStream::connect(("127.0.0.1", port)).ok());
    let url = format!("mqtts://localhost:{port}");
    let output =
        office.hindcap_as(&url, &office.authority.certificate(), None, &["status", "--timeout", "3s"]);
    assert_eq!(output.status.code(), Some(exit::OFFLINE), "{}", said(&output));
    assert!(said(&output).contains("without TLS (mqtt://)"), "{}", said(&output));
    let mut command = Command::new(tools::ours("hindcap"));
    let plainly = format!("mqtt://localhost:{}", office.port);
    let output =
        command.args(["status", "--timeout", "3s", "--broker", &plainly]).env_clear().output().unwrap();
    assert_eq!(output.status.code(), Some(exit::OFFLINE), "{}", said(&output));
    assert!(said(&output).contains("with TLS (mqtts://)"), "{}", said(&output));
}

/// What ends within 30 days is told while it still works, by a sensor that knows what time it is, and by the analyst's command.
#[test]
fn the_end_of_certificates_is_told_before_it_comes() {
    let sensor = stored(10).0;
    let authority = Authority::ending(&sensor.path("ca"), 20);
    let server = authority.issue_ending("localhost", Role::Server, 12);
    let Some(office) = Office::open_with(sensor, authority, &server) else { return };
    let who = office.authority.issue_ending("branch-1", Role::Client, 9);
    let (url, ca, marker) =
        (office.url(), office.authority.certificate(), office.sensor.path("synchronised"));
    let clock = format!("[clock]\nsynchronised_marker = {marker:?}");
    let mut daemon = office.sensor_as(&url, &ca, Some(&who), &clock);
    daemon.wait_said("connected to the broker");
    let status = || {
        let output = office.hindcap(&["status", "--sensor", "branch-1"]);
        said(&output) + &String::from_utf8_lossy(&output.stdout)
    };
    let told = status();
    assert!(
        told.contains("branch-1: online") && !told.contains("ALARM"),
        "nobody knows what time it is: {told}"
    );
    // The analyst's computer does: its authority ends, and its own certificate does not.
    assert_eq!(told.matches("ca.crt: the authority ends on").count(), 1, "{told}");
    assert!(
        told.contains(", in 20 days, and with it all that it issued") && !told.contains("your certificate")
    );
    fs::write(&marker, "").unwrap();
    let told = tools::wait_for("the alarms", || {
        Some(status()).filter(|told| told.matches("ALARM: warning: ").count() == 3)
    });
    for (code, days) in [("certificate_ends", 9), ("ca_ends", 20), ("broker_certificate_ends", 12)] {
        let line = told.lines().find(|line| line.contains(&format!(" {code}: "))).unwrap_or_default();
        assert!(line.contains(&format!("in {days} days")) && line.contains("hindcap "), "{code}: {told}");
    }
    let ana = office.authority.issue_ending("analyst:ana", Role::Client, 3);
    let output = office.hindcap_as(&url, &ca, Some(&ana), &["sensors"]);
    assert_eq!(output.status.code(), Some(exit::DONE), "{}", said(&output));
    assert!(said(&output).contains("analyst-ana.crt: your certificate ends on"), "{}", said(&output));
    // Renewed, it is over.
    let who = office.authority.issue("branch-1", Role::Client, ALWAYS);
    drop(daemon);
    let mut daemon = office.sensor_as(&url, &ca, Some(&who), &clock);
    daemon.wait_said("ca_ends: ");
    let told =
        tools::wait_for("two alarms", || Some(status()).filter(|told| told.matches("ALARM").count() == 2));
    assert!(!told.contains(" certificate_ends"), "{told}");
}

/// What a box with a clock of which nothing is known makes of a broker's certificate.
#[test]
fn a_wrong_clock_locks_no_box_out_and_a_right_one_counts_every_day() {
    for (years, without, with) in [
        (ALWAYS, "connected to the broker", "connected to the broker"),
        // By the clock here it has not begun: a box that does not know the time takes it.
        ((2098, 2099), "connected to the broker", "the broker's certificate begins on 2098-01-01"),
        // It ended before the sensor was written.
        ((2020, 2021), "the broker's certificate ended on 2021-01-01", "certificate ended on 2021-01-01"),
    ] {
        let (sensor, _) = stored(10);
        let authority = Authority::new(&sensor.path("ca"));
        let server = authority.issue("localhost", Role::Server, years);
        let Some(office) = Office::open_with(sensor, authority, &server) else { return };
        let (ca, who) =
            (office.authority.certificate(), office.authority.issue("branch-1", Role::Client, ALWAYS));
        let marker = office.sensor.path("synchronised");
        let clock = format!("[clock]\nsynchronised_marker = {marker:?}");
        office.sensor_as(&office.url(), &ca, Some(&who), &clock).wait_said(without);
        fs::write(&marker, "").unwrap();
        office.sensor_as(&office.url(), &ca, Some(&who), &clock).wait_said(with);
    }
}
