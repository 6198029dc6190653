//! Frames with everything that a query must look through: tags, tunnels, fragments, IPv6, things nobody knows.

use super::Random;

pub const VLANS: [u16; 4] = [5, 7, 100, 4000];
pub const PORTS: [u16; 5] = [53, 80, 443, 5000, 40_000];

/// One of a few hosts, so that queries find something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host(pub u8);

impl Host {
    pub fn v4(self) -> [u8; 4] {
        [10, 0, self.0 % 3, self.0]
    }

    pub fn v6(self) -> [u8; 16] {
        let mut addr = [0; 16];
        addr[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        addr[15] = self.0;
        addr
    }
}

pub fn ethernet(tags: &[u16], ethertype: u16, payload: &[u8], macs: (u8, u8)) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, macs.0, 2, 0, 0, 0, 0, macs.1];
    for (depth, tag) in tags.iter().enumerate() {
        frame.extend(if depth + 1 < tags.len() { [0x88, 0xa8] } else { [0x81, 0] });
        frame.extend(tag.to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// `fragment`: identification, offset in units of 8, more.
pub fn ipv4(src: Host, dst: Host, proto: u8, fragment: Option<(u16, u16, bool)>, payload: &[u8]) -> Vec<u8> {
    let total = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let (id, offset, more) = fragment.unwrap_or((0, 0, false));
    let flags = (offset | if more { 0x2000 } else { 0 }).to_be_bytes();
    let mut packet = vec![0x45, 0, total[0], total[1]];
    packet.extend(id.to_be_bytes());
    packet.extend([flags[0], flags[1], 64, proto, 0, 0]);
    packet.extend(src.v4());
    packet.extend(dst.v4());
    packet.extend(payload);
    packet
}

pub fn ipv6(src: Host, dst: Host, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, length[0], length[1], next_header, 64];
    packet.extend(src.v6());
    packet.extend(dst.v6());
    packet.extend(payload);
    packet
}

pub fn tcp(ports: (u16, u16), flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut segment = ports.0.to_be_bytes().to_vec();
    segment.extend(ports.1.to_be_bytes());
    segment.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0x20, 0, 0, 0, 0, 0]);
    segment.extend(payload);
    segment
}

pub fn udp(ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap();
    let mut datagram = ports.0.to_be_bytes().to_vec();
    datagram.extend(ports.1.to_be_bytes());
    datagram.extend(length.to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    datagram
}

/// A TCP packet between two hosts, untagged.
pub fn plain_tcp(src: Host, dst: Host, ports: (u16, u16), flags: u8) -> Vec<u8> {
    ethernet(&[], 0x0800, &ipv4(src, dst, 6, None, &tcp(ports, flags, b"")), (1, 2))
}

fn some_bytes(random: &mut Random, most: u64) -> Vec<u8> {
    let length = random.below(most);
    (0..length).map(|_| random.word().to_le_bytes()[3]).collect()
}

fn some_tags(random: &mut Random) -> Vec<u16> {
    let depth = [0, 0, 0, 1, 1, 2][usize::try_from(random.below(6)).unwrap()];
    (0..depth).map(|_| random.of(&VLANS)).collect()
}

pub fn some_host(random: &mut Random) -> Host {
    // Few talk much, many talk little.
    Host(u8::try_from(if random.percent(70) { random.below(6) } else { random.below(200) }).unwrap())
}

/// An IP packet: (ethertype, bytes).
fn some_ip(random: &mut Random) -> (u16, Vec<u8>) {
    let (src, dst) = (some_host(random), some_host(random));
    let ports = (random.of(&PORTS), random.of(&PORTS));
    let payload = some_bytes(random, 700);
    let (proto, inside) = match random.below(10) {
        0..4 => (6, tcp(ports, 0x10, &payload)),
        4..8 => (17, udp(ports, &payload)),
        8 => (1, [&[8, 0, 0, 0, 0, 80, 0, 53][..], &payload].concat()),
        _ => (89, payload),
    };
    if random.percent(30) {
        (0x86dd, ipv6(src, dst, if proto == 1 { 59 } else { proto }, &inside))
    } else {
        (0x0800, ipv4(src, dst, proto, None, &inside))
    }
}

/// Frames that belong together: one, or the fragments of a datagram in some order.
pub fn some_frames(random: &mut Random, id: u16) -> Vec<Vec<u8>> {
    let (tags, macs) = (some_tags(random), (random.below(4) as u8 + 1, random.below(4) as u8 + 1));
    match random.below(20) {
        0 => {
            let (src, dst) = (some_host(random), some_host(random));
            let datagram = udp((random.of(&PORTS), random.of(&PORTS)), &[7; 1000]);
            let mut parts: Vec<Vec<u8>> = datagram
                .chunks(400)
                .enumerate()
                .map(|(number, part)| {
                    let fragment = (id, u16::try_from(number * 50).unwrap(), number < 2);
                    ethernet(&tags, 0x0800, &ipv4(src, dst, 17, Some(fragment), part), macs)
                })
                .collect();
            if random.percent(50) {
                parts.reverse();
            }
            parts
        }
        1 => {
            let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, macs.1];
            arp.extend(some_host(random).v4());
            arp.extend([0; 6]);
            arp.extend(some_host(random).v4());
            vec![ethernet(&tags, 0x0806, &arp, macs)]
        }
        2 => vec![ethernet(&tags, 0x9999, &some_bytes(random, 300), macs)],
        3 | 4 => {
            let (ethertype, inner) = some_ip(random);
            let inner = ethernet(&some_tags(random), ethertype, &inner, (9, 9));
            let vxlan = [&[8, 0, 0, 0, 0, 0, 1, 0][..], &inner].concat();
            let outer = udp((50_000, 4789), &vxlan);
            vec![ethernet(&tags, 0x0800, &ipv4(Host(250), Host(251), 17, None, &outer), macs)]
        }
        5 => {
            let (ethertype, inner) = some_ip(random);
            let gre = [&[0, 0][..], &ethertype.to_be_bytes(), &inner].concat();
            vec![ethernet(&tags, 0x0800, &ipv4(Host(252), Host(253), 47, None, &gre), macs)]
        }
        _ => {
            let (ethertype, packet) = some_ip(random);
            vec![ethernet(&tags, ethertype, &packet, macs)]
        }
    }
}
