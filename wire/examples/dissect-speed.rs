//! How long the dissector takes: nanoseconds per packet for some typical packets, and instructions when run under
//! `perf stat -e instructions:u` with one of the names as the only argument and the rounds after it.
//!
//!     cargo run --release -p hindcap-wire --example dissect-speed
//!     perf stat -e instructions:u target/release/examples/dissect-speed tcp 10000000

use std::hint::black_box;
use std::time::Instant;

use hindcap_wire::flow::FlowKey;
use hindcap_wire::packet::fragments::FragmentCache;
use hindcap_wire::packet::{Dissection, LinkType, dissect};
use hindcap_wire::time::Timestamp;

const ETHERNET: &str = "020000000002020000000001";
const IPV4: &str = "0800450000281234000040060000c0000201c6336407";
const TCP: &str = "9c4001bb00000001000000025012ffff00000000";
const IPV6: &str = "86dd60000000001406402001_0db8000000000000000000000001_20010db8000000000000000000000002";
const VXLAN: &str = "08004500005a1234000040110000c0000201c6336407c00012b500460000080000000000640000";

fn packets() -> [(&'static str, String); 5] {
    [
        ("tcp", [ETHERNET, IPV4, TCP].concat()),
        ("vlan", [ETHERNET, "81000064", IPV4, TCP].concat()),
        ("ipv6", [ETHERNET, IPV6, TCP].concat()),
        ("vxlan", [ETHERNET, VXLAN, ETHERNET, IPV4, TCP].concat()),
        ("arp", [ETHERNET, "08060001080006040001020000000001c0000201000000000000c0000202"].concat()),
    ]
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|digit| *digit != b'_').collect();
    let value = |digit: u8| char::from(digit).to_digit(16).map_or(0, |value| value as u8);
    digits.chunks_exact(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect()
}

/// Runs `work` `rounds` times over copies of a packet, so that it is not always in the same place.
fn time(packet: &[u8], rounds: usize, mut work: impl FnMut(&[u8], &mut Dissection)) -> f64 {
    let copies = packet.repeat(64);
    let mut out = Dissection::new();
    let start = Instant::now();
    for round in 0..rounds {
        let at = (round % 64) * packet.len();
        work(black_box(&copies[at..at + packet.len()]), &mut out);
        black_box(&out);
    }
    start.elapsed().as_nanos() as f64 / rounds as f64
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let only = arguments.next();
    let rounds = arguments.next().and_then(|rounds| rounds.parse().ok()).unwrap_or(10_000_000);
    for (name, hex) in packets().iter().filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name)) {
        let packet = bytes(hex);
        let len = packet.len() as u32;
        let plain = time(&packet, rounds, |bytes, out| dissect(LinkType::ETHERNET, bytes, len, out));
        println!("{name:6} {plain:6.1} ns/packet");
        if only.is_some() {
            continue;
        }
        let mut cache = FragmentCache::new(1024);
        let with_keys = time(&packet, rounds, |bytes, out| {
            dissect(LinkType::ETHERNET, bytes, len, out);
            cache.resolve(out, Timestamp(0));
            for layer in &out.layers {
                black_box(FlowKey::of(&layer.tuple, layer.vlan));
            }
        });
        println!("{name:6} {with_keys:6.1} ns/packet with fragments and flow keys");
    }
}
