use super::*;
use crate::packet::{Interface, LinkType, Packet};
use crate::pcap;
use crate::time::Timestamp;

/// A packet as it was decoded, with bytes of its own.
type Seen = (Timestamp, u32, u32, Vec<u8>);

/// Decodes `file`, offered `step` bytes more at a time.
fn decode(file: &[u8], step: usize) -> (Vec<Seen>, Vec<Interface>, Result<(), DecodeError>) {
    let (mut decoder, mut packets, mut interfaces) = (Decoder::new(), Vec::new(), Vec::new());
    let (mut at, mut end) = (0, 0);
    loop {
        assert_eq!(decoder.offset(), at as u64);
        match decoder.next(&file[at..end]) {
            Err(error) => return (packets, interfaces, Err(error)),
            Ok((0, Event::Need(bytes))) if end == file.len() => {
                assert!(bytes > end - at, "asks for what it has");
                return (packets, interfaces, decoder.finish(&file[at..end]));
            }
            Ok((used, event)) => {
                at += used;
                match event {
                    Event::Need(_) => end = (end + step).min(file.len()),
                    Event::Interface(index) => interfaces.push(decoder.interface(index).unwrap().clone()),
                    Event::Packet(p) => {
                        packets.push((p.timestamp, p.interface, p.orig_len, p.bytes.to_vec()))
                    }
                    Event::Skipped => {}
                }
            }
        }
    }
}

/// Builds pcapng in either byte order.
#[derive(Clone, Copy)]
struct Builder {
    big: bool,
}

impl Builder {
    fn u16(self, value: u16) -> Vec<u8> {
        if self.big { value.to_be_bytes().to_vec() } else { value.to_le_bytes().to_vec() }
    }

    fn u32(self, value: u32) -> Vec<u8> {
        if self.big { value.to_be_bytes().to_vec() } else { value.to_le_bytes().to_vec() }
    }

    fn block(self, block_type: u32, body: &[u8]) -> Vec<u8> {
        assert_eq!(body.len() % 4, 0);
        let total = u32::try_from(body.len() + 12).unwrap();
        [&self.u32(block_type)[..], &self.u32(total), body, &self.u32(total)].concat()
    }

    fn section(self) -> Vec<u8> {
        let body = [self.u32(0x1A2B_3C4D), self.u16(1), self.u16(0), vec![0xFF; 8]].concat();
        self.block(0x0A0D_0D0A, &body)
    }

    /// An interface of link type `link_type` with options given as (code, value).
    fn interface(self, link_type: u16, snaplen: u32, options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = [self.u16(link_type), self.u16(0), self.u32(snaplen)].concat();
        for (code, value) in options {
            body.extend([self.u16(*code), self.u16(u16::try_from(value.len()).unwrap())].concat());
            body.extend_from_slice(value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        self.block(1, &body)
    }

    fn enhanced(self, interface: u32, ticks: u64, bytes: &[u8]) -> Vec<u8> {
        let caplen = u32::try_from(bytes.len()).unwrap();
        let words = [interface, u32::try_from(ticks >> 32).unwrap(), ticks as u32, caplen, 99];
        let mut body: Vec<u8> = words.into_iter().flat_map(|word| self.u32(word)).collect();
        body.extend_from_slice(bytes);
        body.resize(body.len().next_multiple_of(4), 0);
        self.block(6, &body)
    }
}

/// Two sections of different byte order, three interfaces, every packet block, and blocks of no interest.
fn two_sections() -> (Vec<u8>, Vec<Seen>) {
    let (little, big) = (Builder { big: false }, Builder { big: true });
    let simple = [little.u32(3), vec![1, 2, 3, 0]].concat();
    let obsolete = [
        big.u16(1),
        big.u16(77),
        big.u32(0),
        big.u32(1_500_000),
        big.u32(5),
        big.u32(60),
        vec![1, 2, 3, 4, 5, 0, 0, 0],
    ];
    let file = [
        little.section(),
        little.interface(1, 0, &[(2, b"eth0"), (9, &[9])]),
        little.block(0x8048_4303, &[0xEE; 40]),
        little.enhanced(0, 1_700_000_000_123_456_789, &[0xAA; 5]),
        little.block(3, &simple),
        big.section(),
        big.interface(113, 65_535, &[]),
        big.interface(276, 65_535, &[(9, &[3]), (14, &(-5_i64).to_be_bytes())]),
        big.block(0x0000_0BAD, &[]),
        big.enhanced(0, 2_000_001, &[]),
        big.block(2, &obsolete.concat()),
    ];
    let packets = vec![
        (Timestamp(1_700_000_000_123_456_789), 0, 99, vec![0xAA; 5]),
        (Timestamp(0), 0, 3, vec![1, 2, 3]),
        (Timestamp(2_000_001_000), 1, 99, vec![]),
        (Timestamp::from_parts(1500 - 5, 0), 2, 60, vec![1, 2, 3, 4, 5]),
    ];
    (file.concat(), packets)
}

/// A classic savefile of three packets.
fn classic() -> (Vec<u8>, Vec<Seen>) {
    let mut file = pcap::file_header(LinkType::ETHERNET, 262_144).to_vec();
    let mut packets = Vec::new();
    for len in [0_u32, 1, 300] {
        let bytes: Vec<u8> = (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect();
        let timestamp = Timestamp::from_parts(u64::from(len), 999_999_999);
        let packet = Packet { timestamp, interface: 0, orig_len: len + 4, bytes: &bytes };
        file.extend_from_slice(&pcap::record_header(&packet));
        file.extend_from_slice(&bytes);
        packets.push((timestamp, 0, len + 4, bytes));
    }
    (file, packets)
}

#[test]
fn same_packets_however_the_bytes_come() {
    for (file, expected) in [two_sections(), classic()] {
        for step in [1, 2, 3, 7, 64, file.len()] {
            let (packets, _, end) = decode(&file, step);
            assert_eq!((packets, end), (expected.clone(), Ok(())), "{step} bytes at a time");
        }
    }
    let names: Vec<_> =
        decode(&two_sections().0, 64).1.into_iter().map(|i| (i.link_type.0, i.name)).collect();
    assert_eq!(names, [(1, "eth0".into()), (113, String::new()), (276, String::new())]);
}

#[test]
fn cut_anywhere_gives_all_before_and_says_where() {
    for (file, expected) in [two_sections(), classic()] {
        let mut whole = 0;
        for len in 1..file.len() {
            let (packets, _, end) = decode(&file[..len], file.len());
            assert_eq!(packets[..], expected[..packets.len()], "cut at {len}");
            match end {
                Ok(()) => whole += 1,
                Err(DecodeError::Truncated { offset }) => assert!(offset < len as u64),
                Err(other) => panic!("cut at {len}: {other}"),
            }
        }
        assert!(whole >= expected.len(), "ends between records are ends");
    }
    assert_eq!(decode(&[], 1).2, Err(DecodeError::Truncated { offset: 0 }));
}

#[test]
fn no_damaged_byte_panics_or_runs_away() {
    for (file, _) in [two_sections(), classic()] {
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut damaged = file.clone();
                damaged[at] ^= 1 << bit;
                let (packets, ..) = decode(&damaged, 64);
                assert!(packets.len() <= file.len() / 16);
            }
        }
    }
}

#[test]
fn damage_is_told_with_its_offset() {
    let little = Builder { big: false };
    let head = [little.section(), little.interface(1, 0, &[])].concat();
    let offset = head.len() as u64;
    let mut lengths_differ = little.block(0x0BAD, &[0; 8]);
    lengths_differ[16] ^= 4;
    let cases: [(&str, Vec<u8>); 5] = [
        ("zeros", vec![0; 64]),
        ("no such interface", little.enhanced(1, 0, &[])),
        ("lengths differ", lengths_differ),
        ("length of 4 GiB", [little.u32(6), little.u32(u32::MAX - 3)].concat()),
        ("resolution of 10^-99", little.interface(1, 0, &[(9, &[99])])),
    ];
    for (what, tail) in cases {
        let (_, _, end) = decode(&[&head[..], &tail].concat(), 9);
        assert!(
            matches!(end, Err(DecodeError::Malformed { offset: at, .. }) if at == offset),
            "{what}: {end:?}"
        );
    }
    let unknown = [&b"GET / HTTP/1.1\r\n"[..], &[0x1F, 0x8B, 8, 0], b"abcd"];
    assert!(unknown.iter().all(|file| decode(file, 1).2 == Err(DecodeError::UnknownFormat)));
}

#[test]
fn every_time_resolution() {
    let little = Builder { big: false };
    for (resolution, ticks, expected) in [
        (0, 1_700_000_000, Timestamp::from_parts(1_700_000_000, 0)),
        (3, 1_700_000_000_123, Timestamp::from_parts(1_700_000_000, 123_000_000)),
        (6, 1_500_000, Timestamp::from_parts(1, 500_000_000)),
        (9, u64::MAX, Timestamp::MAX),
        (12, 1_999_999_999_999, Timestamp::from_parts(1, 999_999_999)),
        (19, 15_000_000_000_000_000_000, Timestamp::from_parts(1, 500_000_000)),
        (0x80, 7, Timestamp::from_parts(7, 0)),
        (0x80 | 10, 1024 + 512, Timestamp::from_parts(1, 500_000_000)),
        (0x80 | 20, (1 << 20) * 3 + 1, Timestamp::from_parts(3, 953)),
        (0x80 | 63, (1 << 63) | (1 << 62), Timestamp::from_parts(1, 500_000_000)),
    ] {
        let file =
            [little.section(), little.interface(1, 0, &[(9, &[resolution])]), little.enhanced(0, ticks, &[])];
        assert_eq!(decode(&file.concat(), 64).0[0].0, expected, "resolution {resolution:#x}");
    }
}

#[test]
fn damaged_options_end_their_list_only() {
    let little = Builder { big: false };
    let body = [little.u16(1), little.u16(0), little.u32(0), little.u16(9), little.u16(1), vec![9, 0, 0, 0]];
    let damaged = [body.concat(), [little.u16(2), little.u16(60_000)].concat()].concat();
    let file = [little.section(), little.block(1, &damaged), little.enhanced(0, 5, &[1])].concat();
    assert_eq!(
        decode(&file, 64),
        (
            vec![(Timestamp(5), 0, 99, vec![1])],
            vec![Interface { link_type: LinkType::ETHERNET, snaplen: 0, name: String::new() }],
            Ok(())
        )
    );
}

/// What both formats make of two interfaces and three packets.
fn encode(format: Format, link_types: [LinkType; 2]) -> (Vec<u8>, Result<u32, EncodeError>) {
    let (mut encoder, mut out) = (Encoder::new(format), Vec::new());
    encoder.start(&mut out, "hindcap", &["one session", "no gaps"]);
    let port = |link_type, name: &str| Interface { link_type, snaplen: 0, name: name.into() };
    assert_eq!(encoder.interface(&mut out, &port(link_types[0], "eth1")), Ok(0));
    let second = encoder.interface(&mut out, &port(link_types[1], ""));
    for (interface, comments) in
        [(0, &[][..]), (0, &["first"][..]), (second.unwrap_or(0), &["second", "x"][..])]
    {
        let packet = Packet { timestamp: Timestamp(1_000_000_007), interface, orig_len: 70, bytes: &[7; 61] };
        encoder.packet(&mut out, &packet, comments);
    }
    let statistics = Statistics { received: 3, dropped_system: 2, ..Statistics::default() };
    encoder.statistics(&mut out, 0, &statistics, &["gap"]);
    encoder.finish(&mut out);
    (out, second)
}

#[test]
fn what_is_encoded_is_decoded() {
    let seen = |interface| (Timestamp(1_000_000_007), interface, 70, vec![7; 61]);
    let (file, second) = encode(Format::Pcapng, [LinkType::ETHERNET, LinkType::RAW]);
    let (packets, interfaces, end) = decode(&file, 64);
    assert_eq!((second, packets, end), (Ok(1), vec![seen(0), seen(0), seen(1)], Ok(())));
    assert_eq!(
        interfaces[0],
        Interface { link_type: LinkType::ETHERNET, snaplen: 262_144, name: "eth1".into() }
    );
    for text in ["hindcap", "one session", "no gaps", "first", "second", "gap"] {
        assert!(file.windows(text.len()).any(|window| window == text.as_bytes()), "{text}");
    }

    let (file, second) = encode(Format::Pcap, [LinkType::ETHERNET; 2]);
    assert_eq!((second, decode(&file, 64).0, file.len()), (Ok(1), vec![seen(0); 3], 24 + 3 * (16 + 61)));
    let error = EncodeError::SecondLinkType { first: LinkType::ETHERNET, second: LinkType::RAW };
    assert_eq!(encode(Format::Pcap, [LinkType::ETHERNET, LinkType::RAW]).1, Err(error));
}

#[test]
fn an_empty_result_is_a_savefile() {
    for format in [Format::Pcap, Format::Pcapng] {
        let (mut encoder, mut out) = (Encoder::new(format), Vec::new());
        encoder.start(&mut out, "hindcap", &[]);
        encoder.finish(&mut out);
        let (packets, _, end) = decode(&out, 64);
        assert_eq!((packets, end), (vec![], Ok(())), "{format:?}");
    }
}
