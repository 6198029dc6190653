//! A real mosquitto of our own on a free port of the loopback, and its command-line clients.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Longest wait for anything.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "timed out waiting for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn installed(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    found.is_ok_and(|output| output.status.success())
}

/// A broker that forgets everything when it ends.
pub struct Mosquitto {
    dir: TempDir,
    port: u16,
    child: Option<Child>,
}

impl Mosquitto {
    /// Starts one; `None`, with a message, where mosquitto, its clients or jq are missing.
    pub fn start() -> Option<Self> {
        if let Some(missing) =
            ["mosquitto", "mosquitto_pub", "mosquitto_sub", "jq"].into_iter().find(|name| !installed(name))
        {
            println!("skipped: {missing} is not installed");
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dir = tempfile::tempdir().unwrap();
        let config = format!("listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 1000\n");
        fs::write(dir.path().join("mosquitto.conf"), config).unwrap();
        let mut broker = Self { dir, port, child: None };
        broker.resume();
        Some(broker)
    }

    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// Kills it; sessions, queues and retained messages are lost.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it (again), on the same port.
    pub fn resume(&mut self) {
        let log = fs::File::options().append(true).create(true).open(self.dir.path().join("log")).unwrap();
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(self.dir.path().join("mosquitto.conf")).stdin(Stdio::null());
        self.child = Some(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
        let port = self.port;
        until("the broker", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-V", "5", "-q", "1"]);
        command
    }

    /// Publishes with mosquitto_pub.
    pub fn publish(&self, topic: &str, content_type: &str, payload: &[u8]) {
        let mut command = self.client("mosquitto_pub");
        command.args(["-t", topic, "-s"]);
        if !content_type.is_empty() {
            command.args(["-D", "publish", "content-type", content_type]);
        }
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(payload).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// Listens to `topic` with mosquitto_sub, one message a line, through `jq -c FILTER`.
    pub fn listen(&self, topic: &str, filter: &str) -> Listener {
        let mut sub = self.client("mosquitto_sub");
        let mut sub = sub.args(["-t", topic, "-F", "%p"]).stdout(Stdio::piped()).spawn().unwrap();
        let (lines, out) = self.lines_file(&sub);
        let jq = Command::new("jq")
            .args(["-c", "--unbuffered", filter])
            .stdin(sub.stdout.take().unwrap())
            .stdout(out)
            .spawn()
            .unwrap();
        self.subscribed(topic, Listener { children: vec![sub, jq], lines })
    }

    /// Listens to `topic` with mosquitto_sub, one message a line in hexadecimal.
    pub fn listen_to_bytes(&self, topic: &str) -> Listener {
        let path = self.dir.path().join("lines-of-bytes");
        let out = fs::File::create(&path).unwrap();
        let sub = self.client("mosquitto_sub").args(["-t", topic, "-F", "%x"]).stdout(out).spawn().unwrap();
        self.subscribed(topic, Listener { children: vec![sub], lines: path })
    }

    fn lines_file(&self, of: &Child) -> (std::path::PathBuf, fs::File) {
        let path = self.dir.path().join(format!("lines-{}", of.id()));
        let file = fs::File::create(&path).unwrap();
        (path, file)
    }

    /// Waits until a message of our own comes back.
    fn subscribed(&self, topic: &str, listener: Listener) -> Listener {
        until("mosquitto_sub", || {
            self.publish(topic, "", br#"{"body":{"probe":true}}"#);
            fs::metadata(&listener.lines).is_ok_and(|meta| meta.len() > 0)
        });
        listener
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Running mosquitto_sub and jq.
pub struct Listener {
    children: Vec<Child>,
    lines: std::path::PathBuf,
}

impl Listener {
    /// The lines so far, without those of the probe.
    pub fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.lines).unwrap();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let probe = |line: &str| line == "null" || line.contains("probe") || line.contains("70726f6265");
        whole.lines().filter(|line| !probe(line)).map(String::from).collect()
    }

    /// Waits for a line that holds `text`.
    pub fn wait_for(&self, text: &str) -> String {
        let mut found = None;
        until(text, || {
            found = self.lines().into_iter().find(|line| line.contains(text));
            found.is_some()
        });
        found.unwrap()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
