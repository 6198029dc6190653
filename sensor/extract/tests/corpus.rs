//! The same questions to Hindcap and to tcpdump, over real savefiles: untagged traffic outside tunnels must give the same
//! packets. Two things are more here, by intent: later fragments that match through their first one, and IPv6 behind
//! extension headers. Skipped without the corpus or without tcpdump.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use hindcap_extract::Options;
use hindcap_wire::net::IpNet;
use hindcap_wire::packet::{Dissection, FlowLayer, LinkType};
use hindcap_wire::query::{End, Query};
use hindcap_wire::savefile::{Decoder, Event};
use support::{Lab, Random, START, Shot, dissected, extract};

/// Savefiles above this are left to the benchmarks.
const FILE_BYTES_MAX: usize = 6 << 20;
/// Questions per savefile.
const QUESTIONS: usize = 4;

fn corpus() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    let root = std::env::var_os("HINDCAP_CORPUS").map_or(beside, PathBuf::from);
    root.is_dir().then_some(root)
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// The packets of a savefile that can be read to its end.
fn shots(bytes: &[u8]) -> Option<Vec<Shot>> {
    let (mut decoder, mut rest, mut shots) = (Decoder::new(), bytes, Vec::new());
    loop {
        let (used, event) = decoder.next(rest).ok()?;
        match event {
            Event::Need(more) if more > rest.len() => return decoder.finish(rest).ok().map(|()| shots),
            Event::Packet(packet) => {
                let interface = decoder.interface(packet.interface)?;
                let (at, orig_len, link_type) = (packet.timestamp, packet.orig_len, interface.link_type);
                // As libpcap: a record longer than the file's own limit is cut.
                let snaplen = usize::try_from(interface.snaplen).unwrap();
                let bytes = packet.bytes.get(..snaplen).filter(|_| snaplen > 0).unwrap_or(packet.bytes);
                shots.push(Shot { at, orig_len, link_type, bytes: bytes.to_vec() });
            }
            Event::Need(_) | Event::Interface(_) | Event::Skipped => {}
        }
        rest = &rest[used..];
    }
}

/// A question in both languages.
struct Question {
    query: Query,
    words: String,
}

fn question(random: &mut Random, layer: &FlowLayer) -> Question {
    let tuple = &layer.tuple;
    let (src, dst): (IpAddr, IpAddr) = (tuple.src_addr(), tuple.dst_addr());
    let (one, other) = (IpNet::host(src), IpNet::host(dst));
    let any = Query::default();
    let ports = [6, 17, 132].contains(&tuple.proto);
    let end = |addr, port| End { net: Some(IpNet::host(addr)), port };
    let (query, words) = match random.below(8) {
        0 | 1 => (Query { nets: vec![one], ..any }, format!("host {src}")),
        2 if src != dst => (Query { nets: vec![one, other], ..any }, format!("host {src} and host {dst}")),
        3 => (Query { src: end(src, None), ..any }, format!("src host {src}")),
        4 if ports => {
            let port = tuple.dst_port;
            (
                Query { dst: End { net: Some(other), port: Some(port) }, ..any },
                format!("dst host {dst} and dst port {port}"),
            )
        }
        5 if src.is_ipv4() => {
            let block = IpNet::new(src, 16).unwrap();
            (Query { nets: vec![block], ..any }, format!("net {block}"))
        }
        _ if ports => {
            let port = tuple.src_port;
            (Query { ports: vec![port], ..any }, format!("port {port}"))
        }
        _ if tuple.proto == 0 => (Query { proto: Some(0), ..any }, "arp or rarp".to_owned()),
        _ => {
            let proto = tuple.proto;
            (Query { proto: Some(proto), ..any }, format!("ip proto {proto} or ip6 proto {proto}"))
        }
    };
    Question { query, words }
}

/// What tcpdump finds; `None` when it does not read the file or the filter.
fn tcpdump(path: &Path, words: &str) -> Option<Vec<Shot>> {
    let output = Command::new("tcpdump").args(["-n", "-w", "-", "-r"]).arg(path).arg(words).output().unwrap();
    output.status.success().then(|| shots(&output.stdout)).flatten()
}

/// What can be compared: the bytes. Times and lengths are compared elsewhere; tcpdump mends those that make no sense.
fn comparable(shots: &[Shot]) -> Vec<&[u8]> {
    let mut bytes: Vec<&[u8]> = shots.iter().map(|shot| shot.bytes.as_slice()).collect();
    bytes.sort_unstable();
    bytes
}

/// Whether IP or ARP follow the link layer at once, and nothing is inside them.
fn is_plain(shot: &Shot, dissection: &Dissection) -> bool {
    let ethertype = shot.bytes.get(12..14).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
    let direct = match shot.link_type {
        LinkType::ETHERNET => matches!(ethertype, Some(0x0800 | 0x86dd | 0x0806 | 0x8035)),
        LinkType::RAW | LinkType::IPV4 | LinkType::IPV6 | LinkType::NULL | LinkType::LINUX_SLL => true,
        _ => false,
    };
    dissection.layers.is_empty() || (direct && dissection.vlans.is_empty() && dissection.layers.len() == 1)
}

/// Whether tcpdump's words miss the packet although it is meant.
fn beyond_tcpdump(dissection: &Dissection) -> bool {
    dissection
        .layers
        .iter()
        .any(|layer| layer.fragment.is_some_and(|fragment| fragment.offset > 0) || layer.tuple.version == 6)
}

/// Whether both are the same but for what only we find.
fn agree(found: &[Shot], expected: &[Shot]) -> bool {
    let dissections = dissected(found);
    let expected = comparable(expected);
    let shared: Vec<Shot> = found
        .iter()
        .zip(&dissections)
        .filter(|(shot, dissection)| {
            !beyond_tcpdump(dissection) || expected.binary_search(&shot.bytes.as_slice()).is_ok()
        })
        .map(|(shot, _)| shot.clone())
        .collect();
    comparable(&shared) == expected
}

#[test]
fn tcpdump_finds_the_same() {
    let Some(root) = corpus() else { return println!("skipped: no corpus") };
    if Command::new("tcpdump").arg("--version").output().is_err() {
        return println!("skipped: no tcpdump");
    }
    let mut paths = Vec::new();
    files(&root, &mut paths);
    paths.sort();
    let (mut compared, mut packets, mut different) = (0, 0, Vec::new());
    let mut random = Random(2_026);
    for path in paths {
        let bytes = std::fs::read(&path).unwrap();
        let Some(shots) = shots(&bytes).filter(|shots| !shots.is_empty() && bytes.len() <= FILE_BYTES_MAX)
        else {
            continue;
        };
        let dissections = dissected(&shots);
        if !shots.iter().zip(&dissections).all(|(shot, dissection)| is_plain(shot, dissection)) {
            continue;
        }
        let layers: Vec<FlowLayer> =
            dissections.iter().flat_map(|found| found.layers.iter().copied()).collect();
        if layers.is_empty() {
            continue;
        }
        let mut lab = Lab::new(8, false, START);
        shots.into_iter().for_each(|shot| lab.push(shot));
        lab.flush();
        let mut reader = lab.reader();
        for _ in 0..QUESTIONS {
            let question = {
                let layer = random.of(&layers);
                question(&mut random, &layer)
            };
            let Some(expected) = tcpdump(&path, &question.words) else { continue };
            let (found, _) = extract(&mut reader, &question.query, &Options::default()).unwrap();
            if !agree(&found, &expected) {
                let (name, words) = (path.display(), &question.words);
                different.push(format!("{name}: {words}: {} found, tcpdump {}", found.len(), expected.len()));
            }
            compared += 1;
            packets += found.len();
        }
    }
    println!("{compared} questions, {packets} packets");
    assert!(different.is_empty(), "{}", different.join("\n"));
    assert!(compared > 100);
}
