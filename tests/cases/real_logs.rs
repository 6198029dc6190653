//! Lines that real programs write of real connections: each is pasted, and what comes is what tcpdump saw of the session.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hindcap_tests::branch::Recording;
use hindcap_tests::netns::{CLIENT, Cable, SERVER};
use hindcap_tests::process::Running;
use hindcap_tests::savefile::Record;
use hindcap_tests::sensor::{Sensor, exit, said};
use hindcap_tests::{judges, tools};

/// A place where real programs run, beside a sensor and tcpdump.
struct Site<'a> {
    sensor: &'a Sensor,
    cable: &'a Cable,
    branch: &'a Recording<'a>,
    beside: PathBuf,
}

impl Site<'_> {
    /// Pastes `line`; the packets that come.
    fn fetch(&self, line: &str) -> Vec<Record> {
        let file = self.sensor.path("fetched.pcap");
        let _ = fs::remove_file(&file);
        let output =
            self.branch.ask(&["fetch", "--tz", "UTC", "-w", file.to_str().unwrap(), "--event", line]);
        let code = output.status.code();
        assert!(matches!(code, Some(exit::DONE | exit::NOTHING)), "{line}: {}", said(&output));
        if file.exists() { judges::packets(&file, "") } else { Vec::new() }
    }

    /// What `line` leads to is what passes `filter` at tcpdump.
    fn compare(&self, line: &str, filter: &str) {
        let closed = format!("({filter}) and tcp[tcpflags] & (tcp-fin|tcp-rst) != 0");
        tools::wait_for("the end of the session at tcpdump", || {
            (!judges::packets(&self.beside, &closed).is_empty()).then_some(())
        });
        let theirs = judges::packets(&self.beside, filter);
        let ours = tools::wait_for("the whole session", || {
            let ours = self.fetch(line);
            (ours.len() >= theirs.len()).then_some(ours)
        });
        judges::assert_alike(line, &ours, &theirs);
    }

    /// The first line with `words` of a log.
    fn line(&self, log: &Path, words: &str) -> String {
        tools::wait_for(words, || {
            let text = fs::read_to_string(log).ok()?;
            text.lines().find(|line| line.contains(words)).map(String::from)
        })
    }

    /// A program at the client's side, to its end.
    fn client(&self, program: &str, args: &[&str]) {
        self.cable.client(program).args(args).output().unwrap();
    }

    fn wait_listening(&self, port: u16) {
        let look = format!("import sys\nsys.exit(':{port:04X} ' not in open('/proc/net/tcp').read())");
        tools::wait_for("a listener", || {
            let output = self.cable.server("python3").args(["-c", &look]).output().unwrap();
            output.status.success().then_some(())
        });
    }
}

#[test]
fn real_lines_lead_to_what_tcpdump_saw() {
    if !tools::have(&["mosquitto", "tcpdump", "python3", "curl"]) {
        return;
    }
    let Some(cable) = Cable::new() else { return };
    let sensor = Sensor::new();
    let branch = Recording::new(&sensor, &cable);
    let _daemon = branch.daemon();
    let beside = sensor.path("tcpdump.pcap");
    let _judge = judges::beside(&cable, &beside, "tcp");
    let site = Site { sensor: &sensor, cable: &cable, branch: &branch, beside };
    for program in [nginx, exim, dropbear, ulogd] {
        program(&site);
    }
}

/// One side only, and no port of the client: everything that it had with a web server at that time.
fn nginx(site: &Site<'_>) {
    if !tools::have(&["nginx"]) {
        return;
    }
    let folder = site.sensor.path("nginx");
    fs::create_dir(&folder).unwrap();
    let place = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {place}/{kind};\n"))
        .concat();
    let text = format!(
        "daemon off;\nmaster_process off;\nuser root;\npid {place}/pid;\nevents {{}}\nhttp {{\n{temporary}\
         access_log {place}/access.log combined;\nserver {{ listen {SERVER}:80; root {place}; }}\n}}\n"
    );
    fs::write(folder.join("conf"), text).unwrap();
    fs::write(folder.join("page"), vec![b'x'; 50_000]).unwrap();
    let mut nginx = site.cable.server("nginx");
    // One process: a worker would outlive it.
    let _nginx = Running::start(nginx.args(["-e", "stderr", "-c"]).arg(folder.join("conf")));
    site.wait_listening(80);
    site.client("curl", &["-s", "-o", "/dev/null", &format!("http://{SERVER}/page")]);
    let line = site.line(&folder.join("access.log"), "GET /page");
    site.compare(&line, &format!("host {CLIENT} and tcp port 80"));
}

/// Both ends with their ports, and the time of the end.
fn exim(site: &Site<'_>) {
    if !tools::have(&["exim4", "chown"]) {
        return;
    }
    // Exim writes as a user of its own, who must come to its folders.
    let folder = tempfile::Builder::new().prefix("hindcap-exim-").tempdir().unwrap();
    let place = folder.path().display().to_string();
    let text = format!(
        "keep_environment =\nspool_directory = {place}/spool\nlog_file_path = {place}/log/%s\n\
         primary_hostname = mx.example\nacl_smtp_rcpt = accept\nhost_lookup =\ntls_advertise_hosts =\n\
         log_selector = +incoming_port +incoming_interface\nrfc1413_query_timeout = 0s\n\
         begin routers\nall:\n  driver = redirect\n  data = :blackhole:\n"
    );
    fs::write(folder.path().join("conf"), text).unwrap();
    for name in ["spool", "log"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    let open = Command::new("sh")
        .args(["-c", "chmod 755 \"$1\" && chown -R Debian-exim \"$1/spool\" \"$1/log\"", "sh", &place])
        .status();
    if !open.is_ok_and(|status| status.success()) {
        println!("skipped: Exim has no user Debian-exim here");
        return;
    }
    let mut exim = site.cable.server("exim4");
    exim.args(["-bdf", "-oX", &format!("{SERVER}.25"), "-oP", &format!("{place}/log/pid"), "-C"]);
    let _exim = Running::start(exim.arg(folder.path().join("conf")));
    site.wait_listening(25);
    let mail = format!(
        "import smtplib\ns = smtplib.SMTP('{SERVER}', 25, 'client.example')\n\
         s.sendmail('a@b.example', ['c@mx.example'], 'Subject: [9.9.9.9]:9\\r\\n\\r\\nhello\\r\\n')\ns.quit()"
    );
    site.client("python3", &["-c", &mail]);
    let line = site.line(&folder.path().join("log/main"), " <= ");
    site.compare(&line, &format!("host {CLIENT} and tcp port 25"));
}

/// The client's end, and the time within the session.
fn dropbear(site: &Site<'_>) {
    if !tools::have(&["dropbear"]) {
        return;
    }
    let key = site.sensor.path("dropbear.key");
    let mut dropbear = site.cable.server("dropbear");
    // -R: makes the host key when a client wants it.
    dropbear.args(["-F", "-E", "-R", "-p", &format!("{SERVER}:22"), "-r"]).arg(key);
    let dropbear = Running::start(&mut dropbear);
    site.wait_listening(22);
    let hello = format!(
        "import socket\ns = socket.create_connection(('{SERVER}', 22))\ns.recv(100)\ns.send(b'SSH-2.0-x\\r\\n')\ns.close()"
    );
    site.client("python3", &["-c", &hello]);
    let line = tools::wait_for("the end of the session", || {
        dropbear.said().lines().find(|line| line.contains("Exit before auth from <")).map(String::from)
    });
    let port = line.split_once('<').unwrap().1.split(['>', ':']).nth(1).unwrap();
    site.compare(&line, &format!("host {CLIENT} and tcp port {port} and tcp port 22"));
}

/// A packet that the kernel's filter saw: both ends, to the second.
fn ulogd(site: &Site<'_>) {
    if !tools::have(&["ulogd", "iptables"]) {
        return;
    }
    let Some(plugins) = plugins() else {
        println!("skipped: ulogd's plugins are not where Debian has them");
        return;
    };
    let log = site.sensor.path("fw.log");
    let names = [
        "inppkt_NFLOG",
        "raw2packet_BASE",
        "filter_IFINDEX",
        "filter_IP2STR",
        "filter_PRINTPKT",
        "output_LOGEMU",
    ];
    let load: String =
        names.map(|name| format!("plugin=\"{}/ulogd_{name}.so\"\n", plugins.display())).concat();
    let text = format!(
        "[global]\nlogfile=\"stdout\"\n{load}stack=log1:NFLOG,base1:BASE,ifi1:IFINDEX,ip2str1:IP2STR,print1:PRINTPKT,\
         emu1:LOGEMU\n[log1]\ngroup=7\n[emu1]\nfile=\"{}\"\nsync=1\n",
        log.display()
    );
    fs::write(site.sensor.path("ulogd.conf"), text).unwrap();
    let rule = "-A INPUT -p tcp --syn --dport 81 -j NFLOG --nflog-group 7 --nflog-prefix fw-in";
    let made = site.cable.server("iptables").args(rule.split(' ')).output().unwrap();
    if !made.status.success() {
        println!("skipped: this kernel has no NFLOG: {}", said(&made));
        return;
    }
    let mut ulogd = site.cable.server("ulogd");
    let mut ulogd = Running::start(ulogd.arg("-c").arg(site.sensor.path("ulogd.conf")));
    // Nobody listens there: the answer is a reset. Tried until ulogd is there to see it.
    tools::wait_for("the line", || {
        assert!(ulogd.runs(), "ulogd ended: {}{}", ulogd.said(), ulogd.printed());
        site.client("curl", &["-s", "--max-time", "2", &format!("http://{SERVER}:81/")]);
        fs::read_to_string(&log).is_ok_and(|text| text.contains("fw-in")).then_some(())
    });
    let line = site.line(&log, "fw-in");
    let port = line.split_once(" SPT=").unwrap().1.split(' ').next().unwrap();
    site.compare(&line, &format!("host {CLIENT} and tcp port {port} and tcp port 81"));
}

/// Where ulogd's plugins are.
fn plugins() -> Option<PathBuf> {
    let libraries = fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path().join("ulogd"));
    libraries.chain([PathBuf::from("/usr/lib/ulogd")]).find(|path| path.is_dir())
}
