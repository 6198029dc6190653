//! What our encoders write is what tcpdump, tshark and capinfos read.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Seen, parse_tcpdump, run};
use hindcap_wire::packet::{Interface, LinkType, Packet};
use hindcap_wire::savefile::{Encoder, Format, Statistics};
use hindcap_wire::time::Timestamp;

/// Packets of many lengths, one of the largest that may be.
fn packets() -> Vec<Seen> {
    let packet = |i: u64, caplen: usize| Seen {
        timestamp: Timestamp::from_parts(1_700_000_000 + i, 123_456_789),
        orig_len: u32::try_from(caplen).unwrap() + 3,
        bytes: vec![u8::try_from(i).unwrap(); caplen],
    };
    let mut packets: Vec<_> = (1..80).map(|i| packet(i, usize::try_from(i).unwrap() + 13)).collect();
    packets.push(packet(80, 262_144));
    packets
}

fn encode(format: Format, packets: &[Seen], snaplens: &[u32]) -> Vec<u8> {
    let (mut encoder, mut out) = (Encoder::new(format), Vec::new());
    encoder.start(&mut out, "hindcap", &["session 1:abc", "covers everything"]);
    for snaplen in snaplens {
        let port = Interface { link_type: LinkType::ETHERNET, snaplen: *snaplen, name: "eth1".into() };
        encoder.interface(&mut out, &port).unwrap();
    }
    for (i, Seen { timestamp, orig_len, bytes }) in packets.iter().enumerate() {
        let interface = u32::try_from(i % snaplens.len()).unwrap();
        let packet = Packet { timestamp: *timestamp, interface, orig_len: *orig_len, bytes };
        encoder.packet(&mut out, &packet, if i == 5 { &["remarkable", "twice"] } else { &[] });
    }
    let statistics = Statistics { at: Timestamp(7), received: 80, dropped_interface: 1, dropped_system: 2 };
    encoder.statistics(&mut out, 0, &statistics, &[]);
    encoder.finish(&mut out);
    out
}

#[test]
fn results_are_read_by_tcpdump_and_tshark() {
    if run("tcpdump", &["--version"]).is_none() || run("capinfos", &["--version"]).is_none() {
        return println!("skipped: no tcpdump or capinfos");
    }
    let (directory, expected) = (tempfile::tempdir().unwrap(), packets());
    for (format, snaplens) in [(Format::Pcap, &[0][..]), (Format::Pcapng, &[0, 65_535][..])] {
        let path = directory.path().join(format!("{format:?}"));
        std::fs::write(&path, encode(format, &expected, snaplens)).unwrap();
        let path = path.to_str().unwrap();

        let tcpdump = run("tcpdump", &["--nano", "-r", path, "-w", "-"]).unwrap();
        let complaint = String::from_utf8_lossy(&tcpdump.stderr).into_owned();
        assert!(tcpdump.status.success(), "{format:?}: {complaint}");
        assert!(parse_tcpdump(&tcpdump.stdout) == expected, "{format:?}: {complaint}");

        let capinfos = run("capinfos", &["-M", path]).unwrap();
        let text = String::from_utf8(capinfos.stdout).unwrap();
        assert!(capinfos.status.success(), "{text}");
        let has = |words: &str| assert!(text.contains(words), "{format:?}: no {words} in\n{text}");
        has("nanoseconds (9)");
        has("Number of packets:   80");
        if format == Format::Pcapng {
            has("Number of interfaces in file: 2");
            has("session 1:abc");
            has("covers everything");
        }
    }
}

#[test]
fn comments_reach_tshark() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("result.pcapng");
    std::fs::write(&path, encode(Format::Pcapng, &packets(), &[0])).unwrap();
    let arguments =
        ["-n", "-r", path.to_str().unwrap(), "-T", "fields", "-e", "frame.number", "-e", "frame.comment"];
    let Some(output) = run("tshark", &[&arguments[..], &["-Y", "frame.comment"]].concat()) else {
        return println!("skipped: no tshark");
    };
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "6\tremarkable,twice\n");
}
