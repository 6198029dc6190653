//! The dissector against real savefiles, with tshark as the oracle. Without corpus or tshark a test says so and passes.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hindcap_wire::community_id::CommunityId;
use hindcap_wire::flow::{FlowKey, proto};
use hindcap_wire::limits::FLOW_LAYERS_MAX;
use hindcap_wire::packet::plain::Plain;
use hindcap_wire::packet::{
    Dissection, FlowLayer, Interface, LinkType, Outcome, Packet, dissect, dissect_generally,
};
use hindcap_wire::savefile::{Decoder, Encoder, Event, Format};
use hindcap_wire::time::Timestamp;

/// One packet of the corpus.
struct Sample {
    file: String,
    /// Number within its file, from 1.
    number: usize,
    link_type: LinkType,
    orig_len: u32,
    bytes: Vec<u8>,
}

impl Sample {
    fn dissected(&self) -> Dissection {
        let mut out = Dissection::new();
        dissect(self.link_type, &self.bytes, self.orig_len, &mut out);
        out
    }
}

/// Every packet of every readable savefile, up to the damage in damaged ones.
fn corpus() -> Option<Vec<Sample>> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    let root = std::env::var_os("HINDCAP_CORPUS").map_or(beside, PathBuf::from);
    let mut files: Vec<PathBuf> = Vec::new();
    for set in fs::read_dir(root).ok()?.flatten().filter(|entry| entry.path().is_dir()) {
        files.extend(fs::read_dir(set.path()).ok()?.flatten().map(|entry| entry.path()));
    }
    files.sort();
    let mut samples = Vec::new();
    for file in &files {
        read_savefile(file, &mut samples);
    }
    Some(samples)
}

fn read_savefile(path: &Path, samples: &mut Vec<Sample>) {
    let bytes = fs::read(path).unwrap();
    let file = path.file_name().unwrap().to_string_lossy().into_owned();
    let (mut decoder, mut at, mut number) = (Decoder::new(), 0, 0);
    while let Ok((used, event)) = decoder.next(&bytes[at..]) {
        match event {
            Event::Need(_) => return,
            Event::Packet(packet) => {
                number += 1;
                let link_type = decoder.interface(packet.interface).unwrap().link_type;
                let (orig_len, bytes) = (packet.orig_len, packet.bytes.to_vec());
                samples.push(Sample { file: file.clone(), number, link_type, orig_len, bytes });
            }
            _ => {}
        }
        at += used;
    }
}

/// The short way for plain packets says what the walk says, for every real packet and for changed ones.
#[test]
fn plain_packets_are_told_as_the_walk_tells_them() {
    let Some(samples) = corpus() else { return println!("skipped: no corpus") };
    let (mut plain, mut changed_plain, mut state) = (0, 0, 0x5eed_u64);
    let mut number = |end: usize| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 33) as usize % end
    };
    for sample in samples.iter().filter(|sample| sample.bytes.len() > 14) {
        let orig_len = sample.orig_len;
        plain += u64::from(told_alike(sample, &sample.bytes, orig_len));
        for _ in 0..16 {
            let headers = sample.bytes.len().min(80);
            let mut bytes = sample.bytes[..headers.max(number(sample.bytes.len() + 1))].to_vec();
            let at = number(headers);
            bytes[at] = if number(2) == 0 { number(256) as u8 } else { bytes[at] ^ 1 << number(8) };
            let orig_len = if number(2) == 0 { orig_len } else { bytes.len() as u32 };
            changed_plain += u64::from(told_alike(sample, &bytes, orig_len));
        }
    }
    println!("{plain} of {} packets are plain, {changed_plain} changed ones", samples.len());
    assert!(plain > 0 && changed_plain > plain);
}

fn told_alike(sample: &Sample, bytes: &[u8], orig_len: u32) -> bool {
    let Some(plain) = Plain::read(sample.link_type, bytes, orig_len) else { return false };
    let (mut short, mut walked) = (Dissection::new(), Dissection::new());
    plain.dissection(&mut short);
    dissect_generally(sample.link_type, bytes, orig_len, &mut walked);
    assert_eq!(short, walked, "{} packet {}", sample.file, sample.number);
    true
}

/// The addresses and protocols that a cut packet shows must be those of the whole one, as far as they go.
#[test]
fn every_prefix_of_every_packet_is_dissected_alike() {
    let Some(samples) = corpus() else { return println!("skipped: no corpus") };
    let mut outcomes: HashMap<Outcome, usize> = HashMap::new();
    let mut out = Dissection::new();
    for sample in &samples {
        let whole = sample.dissected();
        *outcomes.entry(whole.outcome).or_default() += 1;
        for caplen in (0..sample.bytes.len()).take(400) {
            dissect(sample.link_type, &sample.bytes[..caplen], sample.orig_len, &mut out);
            let ends = |layers: &[FlowLayer]| -> Vec<_> {
                layers.iter().map(|layer| (layer.tuple.src, layer.tuple.dst)).collect()
            };
            let (cut, full) = (ends(&out.layers), ends(&whole.layers));
            let at = (&sample.file, sample.number, caplen);
            assert!(full.starts_with(&cut), "{at:?}: {out:?} is no beginning of {whole:?}");
        }
    }
    println!("{} packets: {outcomes:?}", samples.len());
    assert!(outcomes[&Outcome::Complete] > samples.len() * 8 / 10);
}

/// Fields that tshark is asked for, in this order.
const FIELDS: [&str; 13] = [
    "frame.protocols",
    "ip.src",
    "ip.dst",
    "ipv6.src",
    "ipv6.dst",
    "tcp.srcport",
    "tcp.dstport",
    "udp.srcport",
    "udp.dstport",
    "sctp.srcport",
    "sctp.dstport",
    "vlan.id",
    "communityid",
];

/// Savefiles in which we and tshark differ, and why that stays.
const ACCEPTED: [(&str, &str); 15] = [
    ("LINKTYPE_USER2_PKTAP.pcap", "link type of Apple's PKTAP"),
    ("bgp-aigp.pcap", "link type of Juniper"),
    ("e1000g.pcap", "link type of Solaris IPNET"),
    ("ipoib.pcap", "link type of IP over InfiniBand"),
    ("nflog-http.pcap", "link type of NFLOG"),
    (
        "detect-ipopts__input.pcap",
        "with a source route, tshark names the last hop; we, as BPF, the header's address",
    ),
    ("of13_ericsson.pcapng", "a packet inside an OpenFlow message travelled elsewhere"),
    ("bigtcp-ipv6-geneve-ipv4.pcap", "UDP length 0 of a packet before segmentation: tshark stops, we go on"),
    ("bigtcp-ipv6-geneve-ipv6.pcap", "likewise"),
    ("bigtcp-ipv6-vxlan-ipv4.pcap", "likewise"),
    (
        "firewall__tcp-session-decode-malformed-ipv4__input.pcap",
        "bad IPv4 length: we note what BPF would match",
    ),
    ("ipv4_invalid_hdr_length.pcap", "likewise"),
    ("trunc__ipv4-internally-truncated-header.pcap", "likewise"),
    ("pim-packet-assortment.pcap", "the dummy header of a null register is no packet"),
    ("tunnels__gtp__pdp_ctx_messages.pcapng", "GTP version 0, withdrawn"),
];

#[test]
fn layers_agree_with_tshark() {
    let Some(samples) = corpus() else { return println!("skipped: no corpus") };
    let Some(lines) = tshark(&samples) else { return println!("skipped: no tshark") };
    assert_eq!(lines.len(), samples.len());
    let mut misses = Vec::new();
    for (sample, line) in samples.iter().zip(&lines) {
        if ACCEPTED.iter().any(|(file, _)| *file == sample.file) {
            continue;
        }
        for miss in missing(sample, line).into_iter().chain(surplus(sample, line)) {
            misses.push(format!("{} {}: {miss} [{}]", sample.file, sample.number, line[0].join(",")));
        }
    }
    for miss in &misses {
        println!("{miss}");
    }
    assert!(misses.is_empty(), "{} differences", misses.len());
}

/// What tshark says of each packet: per field the values, outermost first.
fn tshark(samples: &[Sample]) -> Option<Vec<Vec<Vec<String>>>> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("corpus.pcapng");
    fs::write(&path, as_one_savefile(samples)).unwrap();
    let mut command = Command::new("tshark");
    command
        .args(["-n", "--enable-protocol", "communityid", "-T", "fields", "-E", "occurrence=a", "-r"])
        .arg(path)
        .stderr(Stdio::null());
    for field in FIELDS {
        command.args(["-e", field]);
    }
    // Each packet by itself, as we see it.
    for preference in ["ip.defragment", "ipv6.defragment", "tcp.desegment_tcp_streams", "wlan.defragment"] {
        command.args(["-o", &format!("{preference}:FALSE")]);
    }
    let output = command.output().ok()?;
    let values = |field: &str| field.split(',').filter(|v| !v.is_empty()).map(String::from).collect();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(text.lines().map(|line| line.split('\t').map(values).collect()).collect())
}

fn as_one_savefile(samples: &[Sample]) -> Vec<u8> {
    let (mut out, mut encoder) = (Vec::new(), Encoder::new(Format::Pcapng));
    encoder.start(&mut out, "hindcap-wire tests", &[]);
    let mut interfaces = HashMap::new();
    for sample in samples {
        let link_type = sample.link_type;
        let interface = *interfaces.entry(link_type).or_insert_with(|| {
            encoder.interface(&mut out, &Interface { link_type, snaplen: 0, name: String::new() }).unwrap()
        });
        let (timestamp, orig_len, bytes) = (Timestamp(0), sample.orig_len, &sample.bytes[..]);
        encoder.packet(&mut out, &Packet { timestamp, interface, orig_len, bytes }, &[]);
    }
    encoder.finish(&mut out);
    out
}

/// What tshark found and we did not.
fn missing(sample: &Sample, line: &[Vec<String>]) -> Vec<String> {
    let ours = sample.dissected();
    let protocols = line[0].first().map(String::as_str).unwrap_or_default();
    // Behind ICMP come quoted packets, which are no layers.
    let travelled: Vec<&str> =
        protocols.split(':').take_while(|name| !matches!(*name, "icmp" | "icmpv6")).collect();
    let count = |wanted: &str| travelled.iter().filter(|name| **name == wanted).count();
    let pairs = |src: usize, name: &str| -> Vec<(String, String)> {
        line[src].iter().cloned().zip(line[src + 1].iter().cloned()).take(count(name)).collect()
    };
    let mut missing = Vec::new();
    for (src, dst) in [pairs(1, "ip"), pairs(3, "ipv6")].concat() {
        let (src, dst): (IpAddr, IpAddr) = (src.parse().unwrap(), dst.parse().unwrap());
        let found = |layer: &FlowLayer| layer.tuple.src_addr() == src && layer.tuple.dst_addr() == dst;
        if ours.layers.len() < FLOW_LAYERS_MAX && !ours.layers.iter().any(found) {
            missing.push(format!("no layer {src} > {dst}"));
        }
    }
    for (field, name, number) in [(5, "tcp", proto::TCP), (7, "udp", proto::UDP), (9, "sctp", proto::SCTP)] {
        for (src, dst) in pairs(field, name) {
            let found = |layer: &FlowLayer| {
                let t = &layer.tuple;
                (t.proto, t.src_port.to_string(), t.dst_port.to_string())
                    == (number, src.clone(), dst.clone())
            };
            if ours.layers.len() < FLOW_LAYERS_MAX && !ours.layers.iter().any(found) {
                missing.push(format!("no {name} {src} > {dst}"));
            }
        }
    }
    for vlan in &line[11] {
        let inner = |layer: &FlowLayer| layer.vlan.is_some_and(|own| own.to_string() == *vlan);
        if !ours.vlans.iter().any(|own| own.to_string() == *vlan) && !ours.layers.iter().any(inner) {
            missing.push(format!("no vlan {vlan}"));
        }
    }
    // Of a message cut off behind its type, tshark takes no type.
    let whole = ours.outcome == Outcome::Complete && sample.bytes.len() >= sample.orig_len as usize;
    let alone = whole && ours.layers.len() == 1;
    let layer =
        ours.layers.first().filter(|layer| alone && layer.fragment.is_none() && layer.tuple.proto != 0);
    if let (Some(layer), Some(theirs)) = (layer, line[12].first()) {
        let id = CommunityId::of(&FlowKey::of(&layer.tuple, layer.vlan).0).to_string();
        if id != *theirs {
            missing.push(format!("community ID {id} is {theirs}: {:?}", layer.tuple));
        }
    }
    missing
}

/// What we found and tshark did not.
fn surplus(sample: &Sample, line: &[Vec<String>]) -> Vec<String> {
    let ours = sample.dissected();
    let mut surplus = Vec::new();
    for layer in ours.layers.iter().filter(|layer| layer.tuple.proto != 0) {
        let t = &layer.tuple;
        let (src, dst) = if t.version == 4 { (1, 2) } else { (3, 4) };
        let theirs = |field: usize, addr: IpAddr| line[field].iter().any(|text| text.parse() == Ok(addr));
        if !theirs(src, t.src_addr()) || !theirs(dst, t.dst_addr()) {
            surplus.push(format!("layer {} > {} is ours alone", t.src_addr(), t.dst_addr()));
        }
        let (src, dst) = match t.proto {
            proto::TCP => (5, 6),
            proto::UDP => (7, 8),
            proto::SCTP => (9, 10),
            _ => continue,
        };
        let theirs = |field: usize, port: u16| line[field].contains(&port.to_string());
        if (t.src_port, t.dst_port) != (0, 0) && !(theirs(src, t.src_port) && theirs(dst, t.dst_port)) {
            surplus.push(format!("ports {} > {} of {} are ours alone", t.src_port, t.dst_port, t.proto));
        }
    }
    surplus
}

/// Source, destination, ports.
type Ends = (IpAddr, IpAddr, Option<(u16, u16)>);

/// What the filters `host` and `port` of plain BPF compare in an untagged Ethernet frame: addresses, then ports.
fn seen_by_bpf(bytes: &[u8]) -> Option<Ends> {
    let at = |at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    let has_ports = |protocol: u8| matches!(protocol, proto::TCP | proto::UDP | proto::SCTP);
    let ports = |begin: usize| at(begin).zip(at(begin + 2));
    match at(12)? {
        0x0800 => {
            let addr = |at: usize| -> Option<[u8; 4]> { bytes.get(at..at + 4)?.try_into().ok() };
            let first = at(20)? & 0x1fff == 0;
            let transport = 14 + usize::from(bytes[14] & 0x0f) * 4;
            // Below 5 words BPF would take addresses for ports.
            let found =
                (first && transport >= 34 && has_ports(bytes[23])).then(|| ports(transport)).flatten();
            Some((addr(26)?.into(), addr(30)?.into(), found))
        }
        0x86dd => {
            let addr = |at: usize| -> Option<[u8; 16]> { bytes.get(at..at + 16)?.try_into().ok() };
            Some((addr(22)?.into(), addr(38)?.into(), has_ports(bytes[20]).then(|| ports(54)).flatten()))
        }
        _ => None,
    }
}

/// A capture tool with a plain filter must not find packets that we do not.
#[test]
fn outermost_layer_is_what_bpf_sees() {
    let Some(samples) = corpus() else { return println!("skipped: no corpus") };
    let mut compared = 0;
    for sample in samples.iter().filter(|sample| sample.link_type == LinkType::ETHERNET) {
        let Some((src, dst, ports)) = seen_by_bpf(&sample.bytes) else { continue };
        compared += 1;
        let ours = sample.dissected();
        let place = format!("{} {}: {ours:?}", sample.file, sample.number);
        let Some(layer) = ours.layers.first() else { panic!("{place}: no layer") };
        let t = &layer.tuple;
        assert_eq!((t.src_addr(), t.dst_addr()), (src, dst), "{place}");
        if let Some(ports) = ports {
            assert_eq!((t.src_port, t.dst_port), ports, "{place}");
        }
    }
    println!("{compared} frames compared");
    assert!(compared > 0);
}
