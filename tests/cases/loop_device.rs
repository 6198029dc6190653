//! Real file systems and block devices under a running recorder, on loop devices: ext4 unmounted while it is written to, and
//! a card as a block device that nobody else may use, that vanishes and comes back. Needs root and loop devices; says so
//! otherwise.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use hindcap_tests::process::Running;
use hindcap_tests::sensor::{Sensor, exit, said};
use hindcap_tests::tools;
use serde_json::Value;

const IMAGE_BYTES: u64 = 96 << 20;
/// A medium that is back is to be in use within so long.
const BACK_IN_USE: Duration = Duration::from_secs(30);
/// `O_DIRECT` in the flags of /proc/PID/fdinfo.
const O_DIRECT: u32 =
    if cfg!(any(target_arch = "x86_64", target_arch = "x86")) { 0o40_000 } else { 0o200_000 };

fn run(program: &str, args: &[&str]) -> Output {
    tools::run(program, args)
}

fn hindcapd(args: &[&str]) -> Output {
    tools::run(tools::ours("hindcapd"), ["-q"].iter().chain(args))
}

fn status(store: &str) -> Value {
    serde_json::from_slice(&hindcapd(&["status", "--json", "--store", store]).stdout).unwrap_or_default()
}

/// A loop device, and what may be mounted from it. Gone after the test.
struct Loop {
    device: String,
    image: PathBuf,
    mounted: PathBuf,
}

impl Loop {
    /// `None`, with the reason printed, where that is not possible.
    fn new(sensor: &Sensor) -> Option<Self> {
        if !tools::have(&["losetup", "mount", "umount", "mkfs.ext4"]) {
            return None;
        }
        let (image, mounted) = (sensor.path("medium.img"), sensor.path("mounted"));
        fs::File::create(&image).unwrap().set_len(IMAGE_BYTES).unwrap();
        fs::create_dir(&mounted).unwrap();
        let made = run("losetup", &["-f", "--show", image.to_str().unwrap()]);
        if !made.status.success() {
            println!("skipped: needs root and a loop device: {}", said(&made));
            return None;
        }
        Some(Self { device: String::from_utf8_lossy(&made.stdout).trim().to_owned(), image, mounted })
    }

    fn mount(&self) -> Output {
        run("mount", &[&self.device, self.mounted.to_str().unwrap()])
    }

    fn unmount(&self) {
        let done = run("umount", &["-l", self.mounted.to_str().unwrap()]);
        assert!(done.status.success(), "{}", said(&done));
    }

    /// The device keeps its name and has no room any more: as a card that was pulled.
    fn pull(&self) -> PathBuf {
        let kept = self.image.with_extension("kept");
        assert!(run("sync", &["-f", self.image.to_str().unwrap()]).status.success());
        fs::copy(&self.image, &kept).unwrap();
        fs::OpenOptions::new().write(true).open(&self.image).unwrap().set_len(0).unwrap();
        assert!(run("losetup", &["-c", &self.device]).status.success());
        kept
    }

    fn put_in(&self, kept: &Path) {
        let bytes = fs::read(kept).unwrap();
        std::os::unix::fs::FileExt::write_all_at(
            &fs::OpenOptions::new().write(true).open(&self.image).unwrap(),
            &bytes,
            0,
        )
        .unwrap();
        assert!(run("losetup", &["-c", &self.device]).status.success());
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // Whatever of it is still there.
        let _ = run("umount", &["-l", self.mounted.to_str().unwrap()]);
        let _ = run("losetup", &["-d", &self.device]);
    }
}

/// A recorder of what is sent to `port` on this machine.
struct Recorder {
    running: Running,
    store: String,
    port: u16,
}

impl Recorder {
    fn start(sensor: &Sensor, store: &str) -> Self {
        // A port that is nobody's: held for a moment, then left free.
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = sensor.path("hindcap.toml");
        let text = format!(
            "[sensor]\nid = \"s1\"\n[capture]\ninterface = \"lo\"\nfilter = \"udp dst port {port}\"\n[store]\n\
             path = {store:?}\nsize = \"48MiB\"\nsegment = \"4MiB\"\nflush_interval = \"200ms\"\n\
             [policy]\nevent_share = \"0%\"\n"
        );
        let text = if store.starts_with("fat:") {
            text.replace("size = \"48MiB\"\nsegment = \"4MiB\"\n", "")
                .replace("[policy]\nevent_share = \"0%\"\n", "")
        } else {
            text
        };
        fs::write(&config, text).unwrap();
        let mut running =
            Running::start(Command::new(tools::ours("hindcapd")).args(["run", "-c"]).arg(&config));
        tools::wait_for("the recorder", || {
            assert!(running.runs(), "the recorder ended: {}", running.said());
            (status(store)["writer_pid"] == running.pid()).then_some(())
        });
        running.wait_said("recording lo");
        Self { running, store: store.into(), port }
    }

    fn send(&self, count: u32) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for number in 0..count {
            socket.send_to(&number.to_be_bytes(), ("127.0.0.1", self.port)).unwrap();
        }
    }

    fn has(&mut self, packets: u32) {
        let since = Instant::now();
        tools::wait_for("the packets", || {
            assert!(self.running.runs(), "the recorder ended: {}", self.running.said());
            (status(&self.store)["packets"] == packets).then_some(())
        });
        assert!(since.elapsed() < BACK_IN_USE, "{:?}", since.elapsed());
    }
}

#[test]
fn recording_goes_on_while_its_file_system_is_unmounted() {
    let sensor = Sensor::new();
    let Some(medium) = Loop::new(&sensor) else { return };
    assert!(run("mkfs.ext4", &["-q", &medium.device]).status.success());
    assert!(medium.mount().status.success());
    let store = medium.mounted.join("store").display().to_string();
    let mut recorder = Recorder::start(&sensor, &store);
    recorder.send(100);
    recorder.has(100);
    medium.unmount();
    recorder.send(200);
    recorder.running.wait_said("medium_missing");
    recorder.send(50);
    assert!(!Path::new(&store).exists(), "nothing is made where the file system was");
    assert!(medium.mount().status.success());
    recorder.has(350);
    recorder.send(25);
    recorder.has(375);
    let (ended, _) = recorder.running.stop();
    assert!(ended.success(), "{ended}: {}", recorder.running.said());
    assert_eq!(status(&store)["drops_total"], 0);
    let verified = hindcapd(&["verify", "--store", &store]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    medium.unmount();
    let judged = run("e2fsck", &["-fn", &medium.device]);
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));
}

#[test]
fn a_card_as_a_block_device_is_nobody_elses_and_may_be_pulled() {
    let sensor = Sensor::new();
    let Some(medium) = Loop::new(&sensor) else { return };
    let store = format!("fat:{}", medium.device);
    let made = hindcapd(&["format", &store, "--segment", "4MiB", "--erase-unit", "1MiB", "--yes"]);
    assert!(made.status.success(), "{}", said(&made));
    let mut recorder = Recorder::start(&sensor, &store);
    recorder.send(100);
    recorder.has(100);
    let direct =
        fs::read_dir(format!("/proc/{}/fdinfo", recorder.running.pid())).unwrap().flatten().any(|info| {
            let text = fs::read_to_string(info.path()).unwrap_or_default();
            let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
            flags
                .and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok())
                .is_some_and(|flags| flags & O_DIRECT != 0)
        });
    assert!(direct, "writes go through the page cache");
    assert!(!medium.mount().status.success(), "mounted while it is recorded to");
    let second = hindcapd(&["eject", "--store", &store]);
    assert_eq!(second.status.code(), Some(exit::ERROR), "{}", said(&second));
    assert!(said(&second).contains("another process"), "{}", said(&second));

    let kept = medium.pull();
    recorder.send(200);
    recorder.running.wait_said("medium_");
    medium.put_in(&kept);
    recorder.has(300);
    let (ended, _) = recorder.running.stop();
    assert!(ended.success(), "{ended}: {}", recorder.running.said());
    assert_eq!(status(&store)["drops_total"], 0);
    let verified = hindcapd(&["verify", "--store", &store]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    if tools::have(&["fsck.fat"]) {
        let judged = run("fsck.fat", &["-n", &medium.device]);
        assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));
    }

    // Mounted on a laptop: neither recorded to nor formatted.
    let mounted = medium.mount();
    if said(&mounted).contains("unknown filesystem type") {
        println!("skipped: this kernel does not mount FAT");
        return;
    }
    assert!(mounted.status.success(), "a file system for everybody: {}", said(&mounted));
    for command in [["eject", "--store", &store].as_slice(), &["format", &store, "--yes"]] {
        let refused = hindcapd(command);
        assert_eq!(refused.status.code(), Some(exit::ERROR), "{command:?}");
        assert!(said(&refused).contains("mounted"), "{command:?}: {}", said(&refused));
    }
    medium.unmount();
}

/// What is refused is any medium that is mounted, whatever is on it: also where the kernel has no FAT.
#[test]
fn a_mounted_medium_is_never_formatted() {
    let sensor = Sensor::new();
    let Some(medium) = Loop::new(&sensor) else { return };
    assert!(run("mkfs.ext4", &["-q", &medium.device]).status.success());
    assert!(medium.mount().status.success());
    fs::write(medium.mounted.join("letter"), "to somebody").unwrap();
    let name = medium.device.rsplit('/').next().unwrap().to_owned();
    // The device, and the image behind it.
    let image = medium.image.display().to_string();
    for (place, name) in [(medium.device.clone(), name.clone()), (image, "medium.img".to_owned())] {
        let refused = hindcapd(&["format", &format!("fat:{place}"), "--yes", "--overwrite", &name]);
        assert_eq!(refused.status.code(), Some(exit::ERROR), "{place}: {}", said(&refused));
        let told = format!("mounted at {}; unmount it first", medium.mounted.display());
        assert!(said(&refused).contains(&told), "{place}: {}", said(&refused));
    }
    assert_eq!(fs::read_to_string(medium.mounted.join("letter")).unwrap(), "to somebody");
    let done = run("umount", &[medium.mounted.to_str().unwrap()]);
    assert!(done.status.success(), "{}", said(&done));
    let judged = run("e2fsck", &["-fn", &medium.device]);
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));
    // Unmounted it is somebody's all the same, and must be named; then it becomes a card.
    let place = format!("fat:{}", medium.device);
    let unnamed = hindcapd(&["format", &place, "--yes"]);
    assert!(said(&unnamed).contains(&format!("add --overwrite {name}")), "{}", said(&unnamed));
    let made = hindcapd(&["format", &place, "--yes", "--overwrite", &name]);
    assert!(made.status.success(), "{}", said(&made));
}
