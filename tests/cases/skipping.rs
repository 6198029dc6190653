//! Skip rules on a live cable: the kernel keeps packets out, tagged or not, answers say so, and all else is recorded.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use hindcap_tests::netns::Cable;
use hindcap_tests::process::Running;
use hindcap_tests::sensor::{Sensor, exit};
use hindcap_tests::{judges, tools};

/// Sends the frames given in hexadecimal as they are.
const SEND: &str = "import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('va', 0))
for frame in sys.argv[1:]:
    s.send(bytes.fromhex(frame))
";
const TAGS_MAX: usize = 2;
const SKIPPED: u16 = 5000;
const RECORDED: u16 = 5001;

/// A UDP packet behind so many VLAN tags.
fn frame(tags: usize, port: u16, number: u8) -> Vec<u8> {
    let mut frame = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9];
    (0..tags).for_each(|tag| frame.extend([0x81, 0, 0, 20 + tag as u8]));
    frame.extend([8, 0, 0x45, 0, 0, 60, 0, number, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
    frame.extend([0x30, 0x39]);
    frame.extend(port.to_be_bytes());
    frame.extend([0, 40, 0, 0]);
    frame.extend([number; 32]);
    frame
}

fn send(cable: &Cable, frames: &[Vec<u8>]) {
    let hex = |frame: &Vec<u8>| frame.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let output = cable.client("python3").args(["-c", SEND]).args(frames.iter().map(hex)).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn the_kernel_keeps_out_what_a_rule_names_behind_any_tags() {
    if !tools::have(&["tcpdump", "python3"]) {
        return;
    }
    let Some(cable) = Cable::new() else { return };
    let sensor = Sensor::new();
    let beside = sensor.path("tcpdump.pcap");
    let mut tcpdump = judges::beside(&cable, &beside, "");
    let mut command = cable.server(tools::ours("hindcapd"));
    command.args(["record", "-i", "vb", "--json", "--flush-interval", "500ms", "--store-size", "192MiB"]);
    let rules = ["--skip", "udp port 5000", "--skip", "tcp port 9999"];
    command.args(["--segment-size", "8MiB"]).args(rules).arg("--store").arg(sensor.store());
    let mut recorder = Running::start(&mut command);
    tools::wait_for("the recorder", || {
        assert!(recorder.runs(), "the recorder ended: {}", recorder.said());
        (sensor.status()["writer_pid"] == recorder.pid()).then_some(())
    });

    let of = |port: u16| (0..=TAGS_MAX).flat_map(move |tags| (0..5).map(move |n| frame(tags, port, n)));
    let (skipped, recorded): (Vec<_>, Vec<_>) = (of(SKIPPED).collect(), of(RECORDED).collect());
    // One of each in turn, and a last one that says that all have arrived.
    let mut frames: Vec<_> =
        skipped.iter().zip(&recorded).flat_map(|(s, r)| [s.clone(), r.clone()]).collect();
    frames.push(frame(0, 5002, 0));
    send(&cable, &frames);
    tools::wait_for("the last packet in the store", || {
        (sensor.extract(["--port", "5002"]).code == exit::DONE).then_some(())
    });
    let udp_to = |port: u16| {
        move |frame: &&Vec<u8>| {
            frame.windows(4).any(|four| four[..2] == [0x30, 0x39] && four[2..] == port.to_be_bytes())
        }
    };
    tools::wait_for("the last packet at tcpdump", || {
        judges::packets(&beside, "")
            .iter()
            .map(|record| &record.2)
            .any(|frame| udp_to(5002)(&frame))
            .then_some(())
    });
    let seen: Vec<Vec<u8>> = judges::packets(&beside, "").into_iter().map(|record| record.2).collect();
    assert_eq!(seen.iter().filter(udp_to(SKIPPED)).count(), skipped.len(), "they were on the cable");

    // Everything else is there, to the byte; of what the rule names there is nothing.
    let all: Vec<Vec<u8>> = sensor.extract([""; 0]).records.into_iter().map(|record| record.2).collect();
    assert_eq!(all.iter().filter(udp_to(SKIPPED)).count(), 0);
    assert!(all.iter().filter(udp_to(RECORDED)).eq(&recorded), "{} frames", all.len());

    // The answer says by what; and that nobody counted, for it was the kernel.
    let none = sensor.extract(["--port", "5000"]);
    assert_eq!((none.code, &none.answer["why_empty"]["skip_rules"]["rules"]), (exit::NOTHING, &2.into()));
    let text = String::from_utf8(sensor.hindcapd("search", ["--port", "5000"]).stdout).unwrap();
    assert!(text.contains("not recorded by rule: packets that match 2 skip rules"), "{text}");
    assert!(text.contains("policy: 2 skip rules; as configured since"), "{text}");
    assert_eq!(none.answer["thinned"]["left_out"]["packets"], 0, "{}", none.answer);
    let status = String::from_utf8(sensor.hindcapd("status", [""; 0]).stdout).unwrap();
    assert!(
        status.contains("policy      2 skip rules") && status.contains("left out    0 packets"),
        "{status}"
    );
    assert!(recorder.stop().0.success() && tcpdump.stop().0.success());
    let summary: serde_json::Value = serde_json::from_str(&recorder.printed()).unwrap();
    assert_eq!(summary["left_out"]["packets"], 0, "{summary}");
}
