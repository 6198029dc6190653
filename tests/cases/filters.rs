//! Queries by host, port, protocol and VLAN over real traffic: what tcpdump's filter finds where it can look, and what
//! tshark dissects where tags and tunnels hide it.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use hindcap_tests::random::Random;
use hindcap_tests::savefile::{self, Record};
use hindcap_tests::sensor::{Sensor, exit};
use hindcap_tests::{judges, tools};

/// Savefiles with packets that we and tshark take for different things, for reasons given in wire/tests/corpus.rs.
const ACCEPTED: [&str; 8] = [
    "detect-ipopts__input",
    "of13_ericsson",
    "bigtcp-ipv6",
    "tcp-session-decode-malformed-ipv4",
    "ipv4_invalid_hdr_length",
    "trunc__ipv4-internally",
    "pim-packet-assortment",
    "tunnels__gtp__pdp_ctx",
];

/// One packet as tshark dissects it.
#[derive(Clone, Debug)]
struct Packet {
    record: Record,
    /// Addresses of all layers but quoted ones, outermost first.
    addresses: Vec<IpAddr>,
    /// (transport, ports) of all layers.
    ports: Vec<(&'static str, u16)>,
    vlans: Vec<u16>,
    /// Ethernet, one IP header, no fragment, no extension header: tcpdump's filters see all of it.
    plain: bool,
}

/// The Ethernet packets of the corpus, as tshark dissects them; none where something is missing.
fn packets() -> Vec<Packet> {
    if !tools::have(&["tcpdump", "tshark"]) {
        return Vec::new();
    }
    let accepted = |file: &Path| ACCEPTED.iter().any(|name| file.display().to_string().contains(name));
    let files: Vec<PathBuf> = tools::corpus().into_iter().filter(|file| !accepted(file)).collect();
    let (records, scratch) = (judges::ethernet(&files), Sensor::new());
    let all = scratch.path("all.pcap");
    fs::write(&all, savefile::encode(1, &records)).unwrap();
    if records.is_empty() {
        return Vec::new();
    }
    let lines = judges::fields(
        &all,
        "frame",
        &[
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
            "ip.flags.mf",
            "ip.frag_offset",
            "ipv6.nxt",
        ],
    );
    assert_eq!(lines.len(), records.len(), "tshark dissects every packet");
    records.into_iter().zip(lines).map(|(record, line)| packet(record, &line)).collect()
}

fn packet(record: Record, line: &[Vec<String>]) -> Packet {
    let protocols: Vec<&str> = line[0].first().map_or(Vec::new(), |names| names.split(':').collect());
    // Behind ICMP come quoted packets.
    let own = protocols.iter().take_while(|name| !matches!(**name, "icmp" | "icmpv6"));
    let own: Vec<&str> = own.copied().collect();
    let count = |wanted: &str| own.iter().filter(|name| **name == wanted).count();
    let mut addresses = Vec::new();
    for (name, src) in [("ip", 1), ("ipv6", 3)] {
        let values = [src, src + 1].map(|field| line[field].iter().take(count(name)));
        addresses.extend(values.into_iter().flatten().map(|text| text.parse::<IpAddr>().unwrap()));
    }
    let mut ports = Vec::new();
    for (name, src) in [("tcp", 5), ("udp", 7), ("sctp", 9)] {
        let values = [src, src + 1].map(|field| line[field].iter().take(count(name)));
        ports.extend(values.into_iter().flatten().map(|text| (name, text.parse::<u16>().unwrap())));
    }
    let vlans = line[11].iter().map(|text| text.parse().unwrap()).collect();
    let whole = !line[12].iter().any(|flag| flag == "1" || flag == "True")
        && line[13].iter().all(|offset| offset == "0")
        && line[14].iter().all(|next| matches!(next.as_str(), "6" | "17" | "58" | "132"));
    let outer = matches!(protocols.get(..3), Some(["eth", "ethertype", "ip" | "ipv6" | "arp"]));
    // Cut inside the addresses, a packet has none for us; BPF may still see the protocol before them.
    let addressed = record.2.len() >= 34;
    let plain = outer && whole && addressed && count("ip") + count("ipv6") <= 1 && line[11].is_empty();
    Packet { record, addresses, ports, vlans, plain }
}

/// A store and a savefile of the same packets.
fn stored(packets: &[&Packet]) -> (Sensor, PathBuf) {
    let sensor = Sensor::new();
    let file = sensor.path("original.pcap");
    let records: Vec<Record> = packets.iter().map(|packet| packet.record.clone()).collect();
    fs::write(&file, savefile::encode(1, &records)).unwrap();
    // Small segments: the queries cross sealed ones and the open one.
    sensor.import_whole("40MiB", &["--segment-size", "4MiB"], &[&file]);
    (sensor, file)
}

/// One question in both languages.
struct Question {
    ours: Vec<String>,
    theirs: String,
}

/// Questions about traffic that is there, of every kind.
fn questions(packets: &[&Packet], random: &mut Random, count: usize) -> Vec<Question> {
    let with_ports: Vec<&&Packet> = packets.iter().filter(|packet| packet.ports.len() == 2).collect();
    let with_hosts: Vec<&&Packet> = packets.iter().filter(|packet| packet.addresses.len() == 2).collect();
    (0..count)
        .map(|number| {
            let packet = with_ports[random.below(with_ports.len() as u64) as usize];
            let other = with_hosts[random.below(with_hosts.len() as u64) as usize];
            let (a, b) = (packet.addresses[0], packet.addresses[1]);
            let ((proto, p), (_, q)) = (packet.ports[0], packet.ports[1]);
            let host = other.addresses[random.below(2) as usize];
            let (ours, theirs) = match number % 10 {
                0 => (format!("--host {host}"), format!("host {host}")),
                1 => (format!("--port {q}"), format!("port {q}")),
                2 => (format!("--proto {proto} --port {p}"), format!("{proto} port {p}")),
                3 => (format!("--host {a} --port {q}"), format!("host {a} and port {q}")),
                4 => (format!("--host {a} --host {b}"), format!("host {a} and host {b}")),
                5 => (
                    format!("--host {a} --host {b} --port {p} --port {q}"),
                    format!("host {a} and host {b} and port {p} and port {q}"),
                ),
                6 => (format!("--src-addr {a}"), format!("src host {a}")),
                7 => (format!("--dst-addr {b} --dst-port {q}"), format!("dst host {b} and dst port {q}")),
                8 => (format!("--host {host} --proto icmp"), format!("host {host} and icmp")),
                _ => {
                    let names = [
                        ("tcp", "tcp"),
                        ("udp", "udp"),
                        ("icmp", "icmp"),
                        ("icmp6", "icmp6"),
                        ("2", "ip proto 2"),
                    ];
                    let (ours, theirs) = names[number / 10 % names.len()];
                    (format!("--proto {ours}"), theirs.to_owned())
                }
            };
            Question { ours: ours.split(' ').map(String::from).collect(), theirs }
        })
        .collect()
}

#[test]
fn plain_traffic_is_found_as_tcpdump_finds_it() {
    let all = packets();
    let plain: Vec<&Packet> = all.iter().filter(|packet| packet.plain).collect();
    if plain.is_empty() {
        return;
    }
    assert!(plain.len() * 2 > all.len(), "{} of {} packets are plain", plain.len(), all.len());
    let (sensor, file) = stored(&plain);
    let questions = questions(&plain, &mut Random::new(20_261_121), 120);
    let outcomes = tools::in_parallel(&questions, |question| {
        let (theirs, ours) = (judges::packets(&file, &question.theirs), sensor.extract(&question.ours));
        let code = if theirs.is_empty() { exit::NOTHING } else { exit::DONE };
        if (ours.code, &ours.records) == (code, &theirs) {
            return Ok(theirs.len());
        }
        let (missing, surplus) = judges::difference(&theirs, &ours.records);
        let first = missing.first().or(surplus.first());
        let counts = (missing.len(), surplus.len());
        Err(format!(
            "{:?} ended with {}: of {}, {} are missing, {} too many: {first:02x?}",
            question.ours.join(" "),
            ours.code,
            theirs.len(),
            counts.0,
            counts.1
        ))
    });
    let complaints: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    let found: usize = outcomes.iter().flatten().sum();
    println!("{} questions to {} packets, {found} answers", questions.len(), plain.len());
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert!(outcomes.iter().filter(|outcome| matches!(outcome, Ok(1..))).count() > 80, "most find something");
}

#[test]
fn tagged_and_tunnelled_traffic_is_found_by_its_inner_addresses() {
    let all = packets();
    // What tcpdump's plain filter does not see: tags, and more than one IP header.
    let hidden: Vec<&Packet> =
        all.iter().filter(|packet| !packet.vlans.is_empty() || packet.addresses.len() > 2).collect();
    if hidden.is_empty() {
        return;
    }
    let (sensor, _) = stored(&hidden);
    let mut by_address: BTreeMap<IpAddr, BTreeSet<&Record>> = BTreeMap::new();
    let mut by_vlan: BTreeMap<u16, BTreeSet<&Record>> = BTreeMap::new();
    for packet in &hidden {
        for address in &packet.addresses {
            by_address.entry(*address).or_default().insert(&packet.record);
        }
        for vlan in &packet.vlans {
            by_vlan.entry(*vlan).or_default().insert(&packet.record);
        }
    }
    let addresses = by_address.iter().map(|(address, records)| ("--host", address.to_string(), records));
    let vlans = by_vlan.iter().map(|(vlan, records)| ("--vlan", vlan.to_string(), records));
    // One of two addresses: both ends of a tunnel answer alike.
    let questions: Vec<_> = addresses.step_by(2).chain(vlans).collect();
    let outcomes = tools::in_parallel(&questions, |(flag, value, records)| {
        let ours = sensor.extract([*flag, value.as_str()]);
        let found: BTreeSet<&Record> = ours.records.iter().collect();
        if ours.code == exit::DONE && found == **records {
            return None;
        }
        let first = found.symmetric_difference(records).next();
        Some(format!(
            "{flag} {value} ended with {}: {} of {}: {first:02x?}",
            ours.code,
            found.len(),
            records.len()
        ))
    });
    let complaints: Vec<_> = outcomes.into_iter().flatten().collect();
    println!("{} questions to {} packets", questions.len(), hidden.len());
    assert!(complaints.is_empty(), "{} complaints: {complaints:#?}", complaints.len());
    assert!(questions.len() > 50 && hidden.len() > 500, "{} {}", questions.len(), hidden.len());
}
