//! `hindcapd run` with a card that is not there at first, pulled, and put in again. The card is an image file that is moved
//! away and back. Needs root for an interface of its own; says so otherwise.
#![allow(clippy::unwrap_used, reason = "helpers of tests too")]

#[path = "../../capture/tests/common/netns.rs"]
mod netns;

use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const BINARY: &str = env!("CARGO_BIN_EXE_hindcapd");
/// A card is to be back in use within 30 s.
const DEADLINE: Duration = Duration::from_secs(30);

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn hindcapd(args: &[&str]) -> Output {
    Command::new(BINARY).arg("-q").args(args).output().expect("it runs")
}

fn status(store: &str) -> serde_json::Value {
    serde_json::from_slice(&hindcapd(&["status", "--json", "--store", store]).stdout).unwrap_or_default()
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let since = Instant::now();
    while !done() {
        assert!(since.elapsed() < DEADLINE, "gave up waiting for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn send(count: u32) {
    let socket = UdpSocket::bind("192.0.2.1:0").expect("a socket");
    for number in 0..count {
        socket.send_to(&number.to_be_bytes(), "192.0.2.2:9").expect("sent");
    }
}

#[test]
fn a_card_that_comes_and_goes() {
    netns::in_namespace("a_card_that_comes_and_goes", || {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let (image, away) = (at("card.img"), at("drawer"));
        let store = format!("fat:{}", image.display());
        let made = hindcapd(&[
            "format",
            &store,
            "--image",
            "64MiB",
            "--segment",
            "4MiB",
            "--erase-unit",
            "1MiB",
            "--yes",
        ]);
        assert!(made.status.success(), "{made:?}");
        fs::rename(&image, &away).unwrap();
        let config = format!(
            "[sensor]\nid = \"s1\"\n[capture]\ninterface = \"vb\"\nfilter = \"udp dst port 9\"\n[store]\n\
             path = {store:?}\nflush_interval = \"200ms\"\n"
        );
        fs::write(at("hindcap.toml"), config).unwrap();
        let log = fs::File::create(at("log")).unwrap();
        let child = Command::new(BINARY).args(["run", "-c"]).arg(at("hindcap.toml")).stderr(log).spawn();
        let mut running = Running(child.unwrap());
        let said = |text: &str| fs::read_to_string(at("log")).unwrap().contains(text);
        until("the alarm", || said("medium_missing"));
        assert!(status(&store)["error"].is_string(), "{}", status(&store));
        assert_eq!(status(&store)["card"]["state"], "missing");
        assert!(netns::try_ip("addr replace 192.0.2.1/24 dev va"));
        assert!(netns::try_ip("neigh replace 192.0.2.2 lladdr 02:00:00:00:00:02 dev va"));
        send(50);
        fs::rename(&away, &image).unwrap();
        until("what came before the card", || status(&store)["packets"] == 50);
        fs::rename(&image, &away).unwrap();
        send(100);
        until("the card to be missed", || {
            fs::read_to_string(at("log")).unwrap().matches("medium_missing").count() >= 3
        });
        fs::rename(&away, &image).unwrap();
        until("what came without the card", || status(&store)["packets"] == 150);
        send(25);
        until("what comes now", || status(&store)["packets"] == 175);
        kill_process(Pid::from_child(&running.0), Signal::TERM).unwrap();
        assert_eq!(running.0.wait().unwrap().code(), Some(0), "{}", fs::read_to_string(at("log")).unwrap());
        assert_eq!(status(&store)["drops_total"], 0);
        judged(&image, &store, dir.path());
    });
}

/// What others say of it.
fn judged(image: &Path, store: &str, dir: &Path) {
    let verified = hindcapd(&["verify", "--store", store]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    let file = dir.join("all.pcap");
    let extracted = hindcapd(&["extract", "--store", store, "--filter", "udp", "-w", file.to_str().unwrap()]);
    assert!(extracted.status.success(), "{extracted:?}");
    let read = Command::new("tcpdump").arg("-nr").arg(&file).stderr(Stdio::null()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&read.stdout).lines().count(), 175);
    if let Ok(fsck) = Command::new("fsck.fat").arg("-n").arg(image).output() {
        assert!(fsck.status.success(), "{fsck:?}");
    }
}
