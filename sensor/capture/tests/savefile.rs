//! Savefiles that are sound, damaged, or no savefiles.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::Keep;
use hindcap_capture::{CaptureError, PacketSource, Polled, SavefileSource};
use hindcap_wire::packet::{Interface, LinkType, Packet};
use hindcap_wire::pcap;
use hindcap_wire::savefile::{Encoder, Format};
use hindcap_wire::time::Timestamp;

/// A savefile of `count` packets of `len` bytes, a nanosecond apart.
fn savefile(count: u32, len: usize) -> Vec<u8> {
    let mut file = pcap::file_header(LinkType::ETHERNET, 262_144).to_vec();
    for i in 0..count {
        let bytes = vec![i.to_le_bytes()[0]; len];
        let timestamp = Timestamp::from_parts(1_700_000_000, i);
        let orig_len = u32::try_from(len).unwrap();
        file.extend(pcap::record_header(&Packet { timestamp, interface: 0, orig_len, bytes: &bytes }));
        file.extend(bytes);
    }
    file
}

fn replay(path: &Path) -> (Keep, Result<(), CaptureError>) {
    let mut keep = Keep::default();
    let mut source = match SavefileSource::open(path) {
        Ok(source) => source,
        Err(error) => return (keep, Err(error)),
    };
    let end = loop {
        match source.poll(Duration::ZERO, &mut keep) {
            Ok(Polled::End) => break Ok(()),
            Ok(_) => {}
            Err(error) => break Err(error),
        }
    };
    assert_eq!(source.poll(Duration::ZERO, &mut keep).unwrap(), Polled::End, "stays at its end");
    (keep, end)
}

/// Replays these bytes as a file; gives the number of packets and the error's words without the path.
fn replay_bytes(bytes: &[u8]) -> (usize, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let (keep, end) = replay(file.path());
    let words = end.err().map_or(String::new(), |error| error.to_string());
    (keep.packets.len(), words.replace(&file.path().display().to_string(), "FILE"))
}

#[test]
fn packets_larger_and_more_than_the_buffer() {
    for (count, len) in [(40_000, 60), (9, 262_144), (1, 0), (0, 0)] {
        let (packets, error) = replay_bytes(&savefile(count, len));
        assert_eq!((packets, error.as_str()), (count as usize, ""), "{count} of {len}");
    }
}

#[test]
fn damage_is_told_after_what_came_before() {
    let whole = savefile(100, 60);
    let (cut, mut absurd) = (whole.len() - 1, whole.clone());
    absurd[24 + 50 * 76 + 8..][..4].copy_from_slice(&u32::MAX.to_le_bytes());
    for (bytes, packets, words) in [
        (&whole[..cut], 99, "FILE: damaged at byte 7548: the file ends inside the record that starts here"),
        (&absurd, 50, "FILE: damaged at byte 3824: captured length over 262144"),
        (&whole[..20], 0, "FILE: damaged at byte 0: the file ends inside the record that starts here"),
    ] {
        assert_eq!(replay_bytes(bytes), (packets, words.into()));
    }
}

#[test]
fn what_is_no_savefile_is_told_apart() {
    for (bytes, words) in [
        (&b""[..], "FILE: the file is empty"),
        (b"\x1F\x8B\x08\0\0\0", "FILE: compressed; unpack it first, for example 'gunzip FILE'"),
        (b"\x28\xB5\x2F\xFD\0\0", "FILE: compressed; unpack it first, for example 'unzstd FILE'"),
        (b"ab", "FILE: neither a pcap nor a pcapng savefile"),
        (b"\xD4\xC3\xB2", "FILE: neither a pcap nor a pcapng savefile"),
        (&[b'x'; 4096], "FILE: neither a pcap nor a pcapng savefile"),
    ] {
        assert_eq!(replay_bytes(bytes), (0, words.into()), "{bytes:.8?}");
    }
    let (_, missing) = replay(Path::new("/nonexistent/file.pcap"));
    assert!(missing.unwrap_err().to_string().contains("No such file"));
    let (_, directory) = replay(Path::new("/"));
    assert!(directory.unwrap_err().to_string().contains("directory"));
}

/// A block of 16 MiB that claims to be a packet is asked for once and costs no more than that.
#[test]
fn a_block_of_the_largest_size_is_bounded() {
    let section =
        b"\x0A\x0D\x0D\x0A\x1C\0\0\0\x4D\x3C\x2B\x1A\x01\0\0\0\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x1C\0\0\0";
    let block = |total: u32| [&section[..], &6_u32.to_le_bytes(), &total.to_le_bytes(), &[0; 64]].concat();
    assert_eq!(
        replay_bytes(&block(16 << 20)).1,
        "FILE: damaged at byte 28: the file ends inside the record that starts here"
    );
    assert_eq!(replay_bytes(&block((16 << 20) + 4)).1, "FILE: damaged at byte 28: block length over 16 MiB");
}

#[test]
fn a_block_larger_than_the_buffer_is_read() {
    let (mut encoder, mut out) = (Encoder::new(Format::Pcapng), Vec::new());
    encoder.start(&mut out, "hindcap", &[]);
    let port = Interface { link_type: LinkType::ETHERNET, snaplen: 0, name: String::new() };
    encoder.interface(&mut out, &port).unwrap();
    let comment = "long ".repeat(12_000);
    for _ in 0..2 {
        let packet = Packet { timestamp: Timestamp(1), interface: 0, orig_len: 60, bytes: &[1; 60] };
        encoder.packet(&mut out, &packet, &[comment.as_str(); 40]);
    }
    assert!(out.len() > 4 << 20);
    assert_eq!(replay_bytes(&out), (2, String::new()));
}

const CHILD: &str = "HINDCAP_TEST_STDIN";

/// Runs itself with a pipe: the child must neither block on an open pipe nor miss what comes later.
#[test]
fn standard_input_is_waited_for() {
    if std::env::var_os(CHILD).is_some() {
        return read_standard_input();
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "standard_input_is_waited_for", "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut input, file) = (child.stdin.take().unwrap(), savefile(1000, 60));
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    input.write_all(&file[..24 + 76 * 600 + 5]).unwrap();
    assert!(lines.any(|line| line == "idle after 600"), "everything complete is delivered");
    input.write_all(&file[24 + 76 * 600 + 5..]).unwrap();
    drop(input);
    assert!(lines.any(|line| line == "end after 1000"));
    assert!(child.wait().unwrap().success());
}

fn read_standard_input() {
    let (mut source, mut keep) = (SavefileSource::open("-").unwrap(), Keep::default());
    println!();
    loop {
        match source.poll(Duration::from_millis(10), &mut keep).unwrap() {
            Polled::Idle => println!("idle after {}", keep.packets.len()),
            Polled::End => return println!("end after {}", keep.packets.len()),
            _ => {}
        }
    }
}
