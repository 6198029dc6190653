//! The short way and the general walk say the same.

use super::*;
use crate::packet::plain::{Ends, mapped};

/// A fixed sequence of numbers (xorshift), so that a failure can be repeated.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }
}

/// Holds both ways against each other; whether the packet is plain.
#[track_caller]
fn agree(bytes: &[u8], orig_len: u32) -> bool {
    let mut walked = Dissection::new();
    dissect_generally(LinkType::ETHERNET, bytes, orig_len, &mut walked);
    let Some(plain) = Plain::read(LinkType::ETHERNET, bytes, orig_len) else { return false };
    let mut out = Dissection::new();
    plain.dissection(&mut out);
    assert_eq!(out, walked, "{bytes:02x?} of {orig_len}");
    let (key, _) = crate::flow::FlowKey::of(&walked.layers[0].tuple, walked.layers[0].vlan);
    assert_eq!(plain.vlan(), key.vlan);
    true
}

fn frames() -> Vec<Vec<u8>> {
    let udp = "8035 0035 0010 0000 0001020304050607";
    let tcp = "9c40 01bb 00000001 00000002 6012 ffff 0000 0000 020405b4 aabbccdd";
    let v6 = |next: &str, payload: &str| {
        let len = hex(payload).len();
        alloc::format!(
            "6000 0000 {len:04x} {next}40 20010db8000000000000000000000001 20010db8000000000000000000000002 {payload}"
        )
    };
    let packets = [
        ("0800", ipv4(6, tcp)),
        ("0800", ipv4(17, udp)),
        ("86dd", v6("06", tcp)),
        ("86dd", v6("11", udp)),
        ("0800", ipv4(1, "0800 0000 0001 0002")),
    ];
    let mut frames = Vec::new();
    for (ethertype, packet) in &packets {
        for tags in ["", "81000007", "81006000", "81000007 8100000b", "88a80007"] {
            for padding in ["", "000000000000"] {
                frames.push(hex(&[MACS, tags, ethertype, packet, padding].concat()));
            }
        }
    }
    frames
}

#[test]
fn plain_packets_are_taken_and_others_are_not() {
    let taken = |frame: &[u8]| agree(frame, frame.len() as u32);
    let count = frames().iter().filter(|frame| taken(frame)).count();
    assert_eq!(count, 4 * 3 * 2, "four protocols, three kinds of tag, with and without padding");
    let vxlan = hex(&[MACS, "0800", &ipv4(17, "8035 12b5 0010 0000 0800000000000100")].concat());
    assert!(!taken(&vxlan));
    let fragment =
        hex(&[MACS, "0800", &ipv4(6, &IPV4_TCP[..40]).replacen("0001 0000", "0001 2000", 1)].concat());
    assert!(!taken(&fragment));
}

#[test]
fn every_cut_and_a_million_changes_agree() {
    let (mut numbers, mut plain, mut rounds) = (Numbers(0x5eed), 0, 0);
    for frame in frames() {
        for caplen in 0..=frame.len() {
            for orig_len in [caplen, frame.len(), frame.len() + 9] {
                agree(&frame[..caplen], orig_len as u32);
            }
        }
        for _ in 0..20_000 {
            let mut changed = frame.clone();
            for _ in 0..=numbers.below(3) {
                let at = numbers.below(changed.len());
                changed[at] = match numbers.below(4) {
                    0 => numbers.below(256) as u8,
                    1 => changed[at] ^ 1 << numbers.below(8),
                    2 => changed[at].wrapping_add(1),
                    _ => [0, 4, 6, 8, 17, 0x45, 0x50, 0x81][numbers.below(8)],
                };
            }
            changed.truncate(changed.len() - numbers.below(3) * numbers.below(40).min(changed.len() / 2));
            let orig_len =
                changed.len() + numbers.below(3) * numbers.below(30) - numbers.below(2).min(changed.len());
            plain += usize::from(agree(&changed, orig_len as u32));
            rounds += 1;
        }
    }
    assert!(plain > rounds / 8, "{plain} of {rounds} were plain");
}

#[test]
fn addresses_are_numbers_in_the_order_of_their_bytes() {
    let frame = hex(&[MACS, "0800", IPV4_TCP].concat());
    let plain = Plain::read(LinkType::ETHERNET, &frame, 54).unwrap();
    assert_eq!(plain.ends, Ends::V4(0xc000_0201, 0xc633_6407));
    let out = dissected(LinkType::ETHERNET, &[MACS, "0800", IPV4_TCP]);
    assert_eq!(mapped(0xc000_0201), out.layers[0].tuple.src);
}
