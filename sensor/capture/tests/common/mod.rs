//! What the tests of this crate share.
#![allow(dead_code, reason = "each test uses its part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hindcap_capture::PacketSink;
use hindcap_wire::packet::{Interface, Packet};
use hindcap_wire::time::Timestamp;

/// A packet with bytes of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub timestamp: Timestamp,
    pub orig_len: u32,
    pub bytes: Vec<u8>,
}

/// Keeps everything.
#[derive(Debug, Default)]
pub struct Keep {
    pub interfaces: Vec<Interface>,
    pub packets: Vec<Seen>,
}

impl PacketSink for Keep {
    fn interface(&mut self, index: u32, interface: &Interface) {
        assert!(index as usize <= self.interfaces.len(), "interface numbers go up");
        self.interfaces.push(interface.clone());
    }

    fn packet(&mut self, packet: &Packet<'_>) {
        assert!((packet.interface as usize) < self.interfaces.len(), "announced before its packets");
        let Packet { timestamp, orig_len, bytes, .. } = *packet;
        self.packets.push(Seen { timestamp, orig_len, bytes: bytes.to_vec() });
    }
}

/// Runs a program; `None` when it is not installed.
pub fn run(program: &str, arguments: &[&str]) -> Option<Output> {
    match Command::new(program).args(arguments).output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => panic!("{program}: {error}"),
    }
}

/// The packets of a nanosecond pcap as tcpdump writes it, read by no code of ours.
pub fn parse_tcpdump(file: &[u8]) -> Vec<Seen> {
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    let (mut packets, mut at) = (Vec::new(), 24);
    while at < file.len() {
        let caplen = word(at + 8) as usize;
        packets.push(Seen {
            timestamp: Timestamp(u64::from(word(at)) * 1_000_000_000 + u64::from(word(at + 4))),
            orig_len: word(at + 12),
            bytes: file[at + 16..at + 16 + caplen].to_vec(),
        });
        at += 16 + caplen;
    }
    packets
}

/// All files of the corpus; `None` when there is none.
pub fn corpus() -> Option<Vec<PathBuf>> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    let root = std::env::var_os("HINDCAP_CORPUS").map_or(beside, PathBuf::from);
    let mut files = Vec::new();
    for directory in std::fs::read_dir(root).ok()? {
        let Ok(entries) = std::fs::read_dir(directory.unwrap().path()) else { continue };
        files.extend(entries.map(|entry| entry.unwrap().path()));
    }
    files.sort();
    (!files.is_empty()).then_some(files)
}
