//! The thinner against the rules it follows, and the recorder's account of it.

use std::sync::Arc;

use hindcap_wire::limits::CAPLEN_MAX;
use hindcap_wire::packet::{LinkType, Packet};
use hindcap_wire::policy::{Policy, PolicyReason};
use hindcap_wire::time::Timestamp;

use super::*;

const ETHERNET: LinkType = LinkType::ETHERNET;

/// A TCP or UDP frame as a test wants it.
#[derive(Clone)]
struct Frame {
    ports: (u16, u16),
    /// `None`: UDP.
    flags: Option<u8>,
    sequence: u32,
    payload: Vec<u8>,
    tags: usize,
    pppoe: bool,
    v6: bool,
}

impl Frame {
    fn tcp(flags: u8, payload: Vec<u8>) -> Self {
        Self {
            ports: (40_000, 443),
            flags: Some(flags),
            sequence: 0,
            payload,
            tags: 0,
            pppoe: false,
            v6: false,
        }
    }

    fn udp(payload: Vec<u8>) -> Self {
        Self { flags: None, ..Self::tcp(0, payload) }
    }

    fn back(self) -> Self {
        Self { ports: (self.ports.1, self.ports.0), ..self }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        (0..self.tags).for_each(|tag| frame.extend([0x81, 0, 0, 5 + tag as u8]));
        let mut transport = [self.ports.0.to_be_bytes(), self.ports.1.to_be_bytes()].concat();
        match self.flags {
            Some(flags) => {
                transport.extend(self.sequence.to_be_bytes());
                transport.extend([0, 0, 0, 0, 0x50, flags, 1, 0, 0, 0, 0, 0]);
            }
            None => transport.extend([(8 + self.payload.len() as u16).to_be_bytes(), [0, 0]].concat()),
        }
        transport.extend(&self.payload);
        let proto = if self.flags.is_some() { 6 } else { 17 };
        let len = transport.len() as u16;
        // The lower port is always at the same host.
        let hosts = if self.ports.0 > self.ports.1 { (1, 2) } else { (2, 1) };
        let ip = if self.v6 {
            let mut ip = vec![0x60, 0, 0, 0];
            ip.extend(len.to_be_bytes());
            ip.extend([proto, 64]);
            for host in [hosts.0, hosts.1] {
                ip.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host]);
            }
            ip
        } else {
            let mut ip = vec![0x45, 0];
            ip.extend((20 + len).to_be_bytes());
            ip.extend([0, 0, 0x40, 0, 64, proto, 0, 0, 10, 0, 0, hosts.0, 10, 0, 0, hosts.1]);
            ip
        };
        let ethertype: [u8; 2] = if self.v6 { [0x86, 0xdd] } else { [8, 0] };
        if self.pppoe {
            frame.extend([0x88, 0x64, 0x11, 0, 0, 7]);
            frame.extend((2 + (ip.len() + transport.len()) as u16).to_be_bytes());
            frame.extend(if self.v6 { [0, 0x57] } else { [0, 0x21] });
        } else {
            frame.extend(ethertype);
        }
        frame.extend(ip);
        frame.extend(transport);
        frame
    }
}

fn thinner(cutoff: Option<u64>, sample: u32, headers_only: bool) -> Thinner {
    let policy = Policy { cutoff, sample, headers_only, ..Policy::default() };
    Thinner::new(Control::new(policy).into(), 7)
}

fn judge_at(thinner: &mut Thinner, bytes: &[u8], secs: u64) -> Verdict {
    let timestamp = Timestamp((1_700_000_000 + secs) * 1_000_000_000);
    thinner.judge(ETHERNET, &Packet { timestamp, interface: 0, orig_len: bytes.len() as u32, bytes })
}

fn judge(thinner: &mut Thinner, frame: &Frame) -> Verdict {
    judge_at(thinner, &frame.bytes(), 0)
}

const PSH: u8 = 0x18;
const SYN: u8 = 2;
const FIN: u8 = 0x11;

#[test]
fn behind_the_cutoff_one_in_sample_is_kept_and_the_ends_of_the_session() {
    for (tags, pppoe, v6) in
        [(0, false, false), (1, false, false), (2, false, false), (0, true, false), (1, true, true)]
    {
        let mut thinner = thinner(Some(200_000), 100, false);
        let dress = |frame: Frame| Frame { tags, pppoe, v6, ..frame };
        assert_eq!(judge(&mut thinner, &dress(Frame::tcp(SYN, vec![]))), Verdict::Keep);
        let data = dress(Frame::tcp(PSH, vec![7; 1400]));
        let wire = data.bytes().len();
        let syn = dress(Frame::tcp(SYN, vec![])).bytes().len();
        // Both directions count together.
        let whole = (200_000 - syn).div_ceil(wire);
        for n in 0..whole {
            let frame = if n % 3 == 0 { data.clone().back() } else { data.clone() };
            assert_eq!(judge(&mut thinner, &frame), Verdict::Keep, "{n} of {whole}");
        }
        for n in 1..=350 {
            // The first marks the flow.
            let expected = if n == 1 || n % 100 == 0 { Verdict::Truncate(96) } else { Verdict::Skip };
            assert_eq!(judge(&mut thinner, &data), expected, "{n} behind, {tags} tags");
        }
        assert_eq!(judge(&mut thinner, &dress(Frame::tcp(FIN, vec![7; 900]))), Verdict::Truncate(96));
        assert_eq!(judge(&mut thinner, &dress(Frame::tcp(4, vec![]))), Verdict::Keep, "nothing to cut off");
        // A new connection from the same port.
        assert_eq!(judge(&mut thinner, &dress(Frame::tcp(SYN, vec![]))), Verdict::Keep);
        assert_eq!(judge(&mut thinner, &data), Verdict::Keep);
    }
}

#[test]
fn long_headers_stay_whole_when_a_packet_is_truncated() {
    let mut thinner = thinner(Some(0), 1, false);
    let mut frame = Frame { tags: 1, v6: true, ..Frame::tcp(PSH, vec![7; 1400]) }.bytes();
    // 40 bytes of options: behind 14 + 4 + 40 + 20.
    frame[14 + 4 + 40 + 12] = 0xf0;
    let verdicts: Vec<_> = (0..80).map(|_| judge_at(&mut thinner, &frame, 0)).collect();
    assert_eq!((verdicts[0], verdicts[79]), (Verdict::Keep, Verdict::Truncate(14 + 4 + 40 + 60)));
}

#[test]
fn names_and_other_flows_are_whole_and_silence_begins_anew() {
    let mut thinner = thinner(Some(1), 0, false);
    let dns = Frame { ports: (40_000, 53), ..Frame::udp(vec![7; 1000]) };
    let bulk = Frame::udp(vec![7; 1000]);
    for n in 0..1000 {
        assert_eq!(judge(&mut thinner, &dns), Verdict::Keep);
        // The floor, whatever the cutoff; and a mark, whatever the sample.
        let expected = match n * 1042 {
            0..CUTOFF_BYTES_MIN => Verdict::Keep,
            CUTOFF_BYTES_MIN..101_042 => Verdict::Truncate(96),
            _ => Verdict::Skip,
        };
        assert_eq!(judge(&mut thinner, &bulk), expected, "{n}");
    }
    assert_eq!(judge(&mut thinner, &Frame { ports: (40_001, 443), ..bulk.clone() }), Verdict::Keep);
    assert_eq!(judge_at(&mut thinner, &bulk.bytes(), 300), Verdict::Skip);
    assert_eq!(judge_at(&mut thinner, &bulk.bytes(), 601), Verdict::Keep);
}

#[test]
fn a_step_takes_effect_at_the_next_packet() {
    let mut thinner = thinner(None, 0, false);
    let bulk = Frame::udp(vec![7; 1000]);
    for _ in 0..500 {
        assert_eq!(judge(&mut thinner, &bulk), Verdict::Keep);
    }
    thinner.control().set_cutoff(Some(100_000), PolicyReason::WearBudget);
    // What came before the step was not counted: a flow is younger than it is rather than older.
    let kept = (0..500).filter(|_| judge(&mut thinner, &bulk) == Verdict::Keep).count();
    assert_eq!(kept, 100_000_usize.div_ceil(1042));
    thinner.control().set_cutoff(None, PolicyReason::WearBudget);
    assert_eq!(judge(&mut thinner, &bulk), Verdict::Keep);
}

/// TLS records: (type, payload bytes) each.
fn records(records: &[(u8, usize)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (kind, len) in records {
        out.extend([*kind, 3, 3]);
        out.extend((*len as u16).to_be_bytes());
        out.resize(out.len() + len, 0x5a);
    }
    out
}

/// The verdicts on a stream of one direction, cut into segments of `mss` bytes; with where each segment begins.
fn stream(thinner: &mut Thinner, bytes: &[u8], mss: usize) -> Vec<(usize, Verdict)> {
    let start = u32::MAX - 3000;
    let segment = |(n, payload): (usize, &[u8])| {
        let sequence = start.wrapping_add((n * mss) as u32);
        let frame = Frame { sequence, ..Frame::tcp(PSH, payload.to_vec()) }.back();
        (n * mss, judge(thinner, &frame))
    };
    bytes.chunks(mss).enumerate().map(segment).collect()
}

#[test]
fn tls_is_whole_to_the_first_4_kib_of_data() {
    for mss in [1448, 1400, 517] {
        let mut thinner = thinner(None, 0, true);
        let hello = [(0x16, 90), (0x16, 5200), (0x16, 333), (0x14, 1), (0x16, 40)];
        let handshake = records(&hello).len();
        let bytes = records(&[&hello[..], &[(0x17, 16_000); 3]].concat());
        let verdicts = stream(&mut thinner, &bytes, mss);
        let whole = |at: usize| at < handshake + 4096;
        for (at, verdict) in &verdicts {
            let expected = if whole(*at) { Verdict::Keep } else { Verdict::Truncate(96) };
            assert_eq!(*verdict, expected, "mss {mss}: segment at {at}, handshake of {handshake}");
        }
        assert!(verdicts.iter().filter(|(_, verdict)| *verdict == Verdict::Truncate(96)).count() > 20);
        // The other direction has its own account, and acknowledgements are no payload.
        assert_eq!(judge(&mut thinner, &Frame::tcp(16, vec![])), Verdict::Keep);
        assert_eq!(judge(&mut thinner, &Frame::tcp(PSH, records(&[(0x16, 900)]))), Verdict::Keep);
    }
}

#[test]
fn a_handshake_whose_records_cannot_be_followed_ends_after_32_kib() {
    let mut thinner = thinner(None, 0, true);
    let mut bytes = records(&[(0x16, 90)]);
    bytes.resize(100_000, 0x99);
    let cut = stream(&mut thinner, &bytes, 1000).iter().position(|(_, verdict)| *verdict != Verdict::Keep);
    // 32 KiB, the segment that goes over, and 4 KiB.
    assert!((36..=38).contains(&cut.unwrap()), "{cut:?}");
}

#[test]
fn what_is_not_tls_from_its_first_byte_is_whole() {
    let mut thinner = thinner(None, 0, true);
    for first in [&b"GET / HTTP/1.1"[..], &records(&[(0x17, 1000)]), &[0x16, 3, 9, 0, 0], &[0x16, 3]] {
        judge(&mut thinner, &Frame::tcp(SYN, vec![]));
        let mut bytes = first.to_vec();
        bytes.extend(records(&[(0x16, 50)]));
        bytes.resize(60_000, 0x17);
        assert!(stream(&mut thinner, &bytes, 1200).iter().all(|(_, verdict)| *verdict == Verdict::Keep));
    }
}

#[test]
fn quic_keeps_its_first_packets_and_its_handshake() {
    let packet = |long: bool, version: u32| {
        let mut payload = vec![if long { 0xc3 } else { 0x43 }];
        payload.extend(version.to_be_bytes());
        payload.resize(1200, 0x11);
        Frame::udp(payload)
    };
    let mut thinner1 = thinner(None, 0, true);
    let verdicts: Vec<_> = (0..10).map(|n| judge(&mut thinner1, &packet(n < 8, 1))).collect();
    assert_eq!(verdicts[..8], [Verdict::Keep; 8], "long headers");
    assert_eq!(verdicts[8..], [Verdict::Truncate(96); 2]);
    for (long, version) in [(true, 0), (true, 0x1234_5678), (false, 1)] {
        let mut thinner = thinner(None, 0, true);
        assert!((0..20).all(|_| judge(&mut thinner, &packet(long, version)) == Verdict::Keep));
    }
}

#[test]
fn a_tunnelled_packet_is_truncated_only_where_all_its_flows_stay() {
    // VXLAN: the inner frame is a flow of its own, and what counts.
    let inner = Frame::tcp(PSH, vec![7; 1300]).bytes();
    let vxlan = |inner: &[u8]| {
        let mut payload = vec![8, 0, 0, 0, 0, 0, 9, 0];
        payload.extend(inner);
        Frame { ports: (50_000, 4789), ..Frame::udp(payload) }
    };
    let mut thinner = thinner(Some(1), 1, false);
    let other = Frame { ports: (40_001, 443), ..Frame::tcp(PSH, vec![7; 1300]) }.bytes();
    for _ in 0..100 {
        judge(&mut thinner, &vxlan(&inner));
    }
    assert_eq!(judge(&mut thinner, &vxlan(&inner)), Verdict::Truncate(256));
    assert_eq!(judge(&mut thinner, &vxlan(&other)), Verdict::Keep, "the tunnel is not one flow");
}

#[test]
fn a_packet_whose_headers_would_be_cut_off_stays_whole() {
    // IPv6 with 264 bytes of destination options before TCP.
    let plain = Frame { v6: true, ..Frame::tcp(PSH, vec![7; 1000]) }.bytes();
    let mut frame = plain[..54].to_vec();
    frame[18..20].copy_from_slice(&(264 + 1020_u16).to_be_bytes());
    frame[20] = 60;
    frame.extend([6, 32, 1, 254]);
    frame.resize(54 + 258, 0);
    frame.extend([1, 4, 0, 0, 0, 0]);
    frame.extend(&plain[54..]);
    let mut found = hindcap_wire::packet::Dissection::new();
    hindcap_wire::packet::dissect(ETHERNET, &frame, frame.len() as u32, &mut found);
    assert_eq!(found.layers[0].tuple.dst_port, 443, "{found:?}");
    let mut thinner = thinner(Some(1), 1, false);
    assert!((0..200).all(|_| judge_at(&mut thinner, &frame, 0) == Verdict::Keep));
}

/// Whatever comes: no panic, and a truncated packet stays what it was, with its length on the wire.
#[test]
fn any_bytes_at_all() {
    let mut state = 1_u64;
    let mut random = move |end: u64| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 33) % end
    };
    let mut thinner = thinner(Some(1), 2, true);
    let mut seen = [0; 3];
    for n in 0..200_000_u64 {
        let mut frame = Frame {
            ports: (40_000 + random(3) as u16, 443),
            flags: (random(3) > 0).then(|| [2, 0x10, 0x18, 0x18, 0x18, 0x18, 0x11, 0x18][random(8) as usize]),
            sequence: random(1 << 32) as u32,
            payload: if random(2) == 0 { records(&[(0x16, 500), (0x17, 600)]) } else { vec![0xc3; 900] },
            tags: random(4) as usize,
            pppoe: random(4) == 0,
            v6: random(2) == 0,
        }
        .bytes();
        if random(3) == 0 {
            for _ in 0..=random(6) {
                let at = random(frame.len().min(90) as u64) as usize;
                frame[at] = random(256) as u8;
            }
            frame.truncate(random(frame.len() as u64 + 1) as usize);
        }
        let orig_len = match random(9) {
            0 => random(u64::from(CAPLEN_MAX)) as u32,
            _ => frame.len() as u32,
        };
        let link_type = LinkType([1, 1, 1, 101, 113, 228, 276, 9, 999][random(9) as usize]);
        let timestamp = Timestamp(if random(5000) == 0 { random(u64::MAX) } else { n << 20 });
        let packet = Packet { timestamp, interface: 0, orig_len, bytes: &frame };
        match thinner.judge(link_type, &packet) {
            Verdict::Keep => seen[0] += 1,
            Verdict::Skip => seen[1] += 1,
            Verdict::Truncate(caplen) => {
                seen[2] += 1;
                assert!(caplen < frame.len() && caplen < orig_len as usize);
                let (mut whole, mut cut) = Default::default();
                hindcap_wire::packet::dissect(link_type, &frame, orig_len, &mut whole);
                hindcap_wire::packet::dissect(link_type, &frame[..caplen], orig_len, &mut cut);
                assert_eq!((whole.layers, whole.vlans, whole.macs), (cut.layers, cut.vlans, cut.macs));
            }
        }
    }
    assert!(seen.iter().all(|count| *count > 1000), "{seen:?}");
}

/// A flow that was cut off shows it, whatever was sampled: its first packet behind the cutoff that has anything to lose is
/// truncated.
#[test]
fn every_flow_that_is_cut_off_is_marked() {
    for sample in [0, 2, 100, SAMPLE_MAX] {
        let mut thinner = thinner(Some(100_000), sample, false);
        let (small, data) = (Frame::tcp(16, vec![7; 9]), Frame::tcp(PSH, vec![7; 1400]));
        for _ in 0..69 {
            assert_eq!(judge(&mut thinner, &data), Verdict::Keep);
        }
        while judge(&mut thinner, &small) == Verdict::Keep {}
        assert_eq!(judge(&mut thinner, &data), Verdict::Truncate(96), "sample {sample}");
        assert_eq!(judge(&mut thinner, &small), Verdict::Skip);
    }
}

#[test]
fn hosts_that_are_never_cut_stay_whole() {
    let nets = ["10.0.0.0/8", "2001:db8:1::/48"].map(|net| net.parse().unwrap());
    let policy = Policy { cutoff: Some(100_000), sample: 0, headers_only: true, ..Policy::default() };
    let mut spared = Thinner::new(Arc::new(Control::new(policy).sparing(&nets)), 1);
    let mut other = Thinner::new(Arc::new(Control::new(policy)), 1);
    let data = Frame::tcp(PSH, vec![7; 1400]);
    let addresses = &data.bytes()[26..34];
    assert!(addresses.contains(&10), "one end lies in 10/8: {addresses:?}");
    let kept = |thinner: &mut Thinner, frame: &Frame| {
        (0..200).filter(|_| judge(thinner, frame) == Verdict::Keep).count()
    };
    assert_eq!((kept(&mut spared, &data), kept(&mut other, &data)), (200, 69));
    let v6 = Frame { v6: true, ..data };
    assert!(kept(&mut spared, &v6) < 100, "another network");
}
