//! Made-up branch-office traffic: sessions with handshakes and ends, IPv4 and IPv6, VLAN tags, in the mixes that the
//! benchmarks and the index tests name. Frames carry right lengths and IPv4 header checksums; TCP and UDP checksums are
//! zero, as on a host with checksum offload.

use crate::random::Random;

/// Which traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mix {
    /// About 684 B per packet, 18 % IPv6, 22 % VLAN-tagged, heavy-tailed sessions.
    Mixed,
    /// 60 to 64 B packets, otherwise as mixed.
    Small,
    /// DNS queries and answers only: two packets per flow.
    Dns,
    /// TCP SYNs from random sources to one server: one packet per flow.
    SynFlood,
}

/// One live session of the generator.
#[derive(Clone, Debug)]
struct Session {
    client: [u8; 16],
    server: [u8; 16],
    client_port: u16,
    server_port: u16,
    tcp: bool,
    v6: bool,
    vlan: Option<u16>,
    sent: u64,
    total: u64,
}

/// An endless, deterministic stream of Ethernet frames.
#[derive(Clone, Debug)]
pub struct Traffic {
    mix: Mix,
    random: Random,
    sessions: Vec<Session>,
    frame: Vec<u8>,
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const SERVER_PORTS: [u16; 8] = [443, 443, 443, 80, 53, 22, 445, 993];

impl Traffic {
    /// `concurrent` sessions at a time of the given mix.
    #[must_use]
    pub fn new(mix: Mix, concurrent: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let sessions = (0..concurrent.max(1)).map(|_| Session::running(mix, &mut random)).collect();
        Self { mix, random, sessions, frame: Vec::with_capacity(2048) }
    }

    /// The next frame.
    pub fn next_frame(&mut self) -> &[u8] {
        let slot = self.random.below(self.sessions.len() as u64) as usize;
        if self.sessions[slot].sent >= self.sessions[slot].total {
            self.sessions[slot] = Session::start(self.mix, &mut self.random);
        }
        let session = &mut self.sessions[slot];
        let position = session.sent;
        session.sent += 1;
        let last = session.sent == session.total;
        let from_client = match position {
            0 | 2 => true,
            1 => false,
            _ => self.random.percent(40),
        };
        let flags = match (position, last) {
            (0, _) => 0x02,
            (1, _) => 0x12,
            (_, true) => 0x11,
            _ => 0x10,
        };
        let bare = session.tcp && (position < 3 || last);
        let payload = if bare { 0 } else { payload_bytes(self.mix, from_client, &mut self.random) };
        session.write_frame(from_client, flags, payload, &mut self.random, &mut self.frame);
        &self.frame
    }

    /// A TCP session of `packets` frames between two fixed hosts, for a test that must find exactly these again.
    #[must_use]
    pub fn needle(client: [u8; 4], server: [u8; 4], ports: (u16, u16), packets: u64) -> Vec<Vec<u8>> {
        let mut random = Random::new(7);
        let session = Session {
            client: mapped(client),
            server: mapped(server),
            client_port: ports.0,
            server_port: ports.1,
            tcp: true,
            v6: false,
            vlan: None,
            sent: 0,
            total: packets,
        };
        (0..packets)
            .map(|position| {
                let flags = match position {
                    0 => 0x02,
                    1 => 0x12,
                    _ if position + 1 == packets => 0x11,
                    _ => 0x18,
                };
                let mut frame = Vec::new();
                let payload = if position < 2 { 0 } else { 100 + 10 * position as usize };
                session.write_frame(position % 2 == 0, flags, payload, &mut random, &mut frame);
                frame
            })
            .collect()
    }
}

impl Session {
    /// A session that was already under way when the recorder was plugged in.
    fn running(mix: Mix, random: &mut Random) -> Self {
        let session = Self::start(mix, random);
        let sent = random.below(session.total);
        Self { sent, ..session }
    }

    fn start(mix: Mix, random: &mut Random) -> Self {
        let v6 = mix != Mix::SynFlood && random.percent(18);
        let vlan = random.percent(22).then(|| 10 + random.below(4) as u16);
        let total = match mix {
            Mix::Mixed | Mix::Small => 4 + 6 * random.heavy_tail(5_000),
            Mix::Dns => 2,
            Mix::SynFlood => 1,
        };
        let (client, server) = match mix {
            Mix::SynFlood => (mapped((random.word() as u32).to_be_bytes()), mapped([10, 20, 0, 80])),
            _ if v6 => (inside_v6(random.below(400)), outside_v6(random.below(1_500))),
            _ => (mapped(inside_v4(random.below(400))), mapped(outside_v4(random.below(1_500)))),
        };
        let server_port = match mix {
            Mix::Dns => 53,
            _ => SERVER_PORTS[random.below(SERVER_PORTS.len() as u64) as usize],
        };
        let client_port = 1_024 + random.below(64_000) as u16;
        let tcp = mix == Mix::SynFlood || (mix != Mix::Dns && server_port != 53);
        Self { client, server, client_port, server_port, tcp, v6, vlan, sent: 0, total }
    }

    fn write_frame(
        &self,
        from_client: bool,
        flags: u8,
        payload: usize,
        random: &mut Random,
        frame: &mut Vec<u8>,
    ) {
        let (src, dst, src_port, dst_port) = if from_client {
            (&self.client, &self.server, self.client_port, self.server_port)
        } else {
            (&self.server, &self.client, self.server_port, self.client_port)
        };
        frame.clear();
        frame.extend_from_slice(&[2, 0, 0x5e, 0x10, 0, u8::from(from_client)]);
        frame.extend_from_slice(&[2, 0, 0x5e, 0x10, 0, u8::from(!from_client)]);
        if let Some(vlan) = self.vlan {
            frame.extend_from_slice(&[0x81, 0x00]);
            frame.extend_from_slice(&vlan.to_be_bytes());
        }
        let header = if self.tcp { 20 } else { 8 };
        let proto = if self.tcp { TCP } else { UDP };
        if self.v6 {
            write_ipv6(frame, src, dst, proto, header + payload);
        } else {
            write_ipv4(frame, src, dst, proto, header + payload);
        }
        frame.extend_from_slice(&src_port.to_be_bytes());
        frame.extend_from_slice(&dst_port.to_be_bytes());
        if self.tcp {
            frame.extend_from_slice(&(random.word() as u32).to_be_bytes());
            frame.extend_from_slice(&(random.word() as u32).to_be_bytes());
            frame.extend_from_slice(&[0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        } else {
            frame.extend_from_slice(&((header + payload) as u16).to_be_bytes());
            frame.extend_from_slice(&[0, 0]);
        }
        let filled = frame.len() + payload;
        while frame.len() < filled {
            let word = random.word().to_le_bytes();
            let take = word.len().min(filled - frame.len());
            frame.extend_from_slice(&word[..take]);
        }
        if frame.len() < 60 {
            frame.resize(60, 0);
        }
    }
}

fn payload_bytes(mix: Mix, from_client: bool, random: &mut Random) -> usize {
    match mix {
        Mix::Small => random.below(5) as usize,
        Mix::SynFlood => 0,
        Mix::Dns => {
            if from_client {
                30 + random.below(20) as usize
            } else {
                80 + random.below(120) as usize
            }
        }
        Mix::Mixed => match random.below(100) {
            0..33 => random.below(24) as usize,
            33..50 => 200 + random.below(700) as usize,
            _ => 1_440,
        },
    }
}

fn write_ipv4(frame: &mut Vec<u8>, src: &[u8; 16], dst: &[u8; 16], proto: u8, payload: usize) {
    frame.extend_from_slice(&[0x08, 0x00]);
    let start = frame.len();
    frame.extend_from_slice(&[0x45, 0]);
    frame.extend_from_slice(&((20 + payload) as u16).to_be_bytes());
    frame.extend_from_slice(&[0, 0, 0x40, 0, 64, proto, 0, 0]);
    frame.extend_from_slice(&src[12..]);
    frame.extend_from_slice(&dst[12..]);
    let mut sum: u32 =
        frame[start..].chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let checksum = (!(sum as u16)).to_be_bytes();
    frame[start + 10..start + 12].copy_from_slice(&checksum);
}

fn write_ipv6(frame: &mut Vec<u8>, src: &[u8; 16], dst: &[u8; 16], proto: u8, payload: usize) {
    frame.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0]);
    frame.extend_from_slice(&(payload as u16).to_be_bytes());
    frame.extend_from_slice(&[proto, 64]);
    frame.extend_from_slice(src);
    frame.extend_from_slice(dst);
}

fn mapped([a, b, c, d]: [u8; 4]) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

fn inside_v4(host: u64) -> [u8; 4] {
    [10, 20, (host / 200) as u8, (host % 200 + 10) as u8]
}

fn outside_v4(host: u64) -> [u8; 4] {
    [198, 18, (host / 250) as u8, (host % 250 + 1) as u8]
}

fn inside_v6(host: u64) -> [u8; 16] {
    [0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, (host >> 8) as u8, host as u8]
}

fn outside_v6(host: u64) -> [u8; 16] {
    [0x20, 0x01, 0x0d, 0xb8, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, (host >> 8) as u8, host as u8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixed_traffic_has_the_advertised_shape() {
        let mut traffic = Traffic::new(Mix::Mixed, 6_000, 1);
        let (mut bytes, mut v6, mut tagged, count) = (0, 0, 0, 100_000);
        for _ in 0..count {
            let frame = traffic.next_frame();
            bytes += frame.len();
            tagged += usize::from(frame[12] == 0x81);
            let ethertype = if frame[12] == 0x81 { &frame[16..18] } else { &frame[12..14] };
            v6 += usize::from(ethertype == [0x86, 0xdd]);
        }
        assert!((640..730).contains(&(bytes / count)), "{} bytes per packet", bytes / count);
        assert!((14..22).contains(&(v6 * 100 / count)), "{} % IPv6", v6 * 100 / count);
        assert!((18..26).contains(&(tagged * 100 / count)), "{} % tagged", tagged * 100 / count);
    }

    #[test]
    fn the_same_seed_gives_the_same_frames() {
        let (mut one, mut two) = (Traffic::new(Mix::Dns, 9, 3), Traffic::new(Mix::Dns, 9, 3));
        for _ in 0..100 {
            assert_eq!(one.next_frame(), two.next_frame());
        }
    }
}
