use super::*;
use crate::packet::{Interface, LinkType, Packet};
use crate::time::Timestamp;

fn sample(bytes: &[u8]) -> Packet<'_> {
    Packet { timestamp: Timestamp(0x0102_0304_0506_0708), interface: 0, orig_len: 1500, bytes }
}

#[test]
fn enhanced_packet_has_these_bytes() {
    let mut out = [0xEE; 40];
    assert_eq!(write::packet(&mut out, 2, &sample(&[0xA1, 0xA2, 0xA3, 0xA4, 0xA5])), Some(40));
    #[rustfmt::skip]
    let expected = [
        6, 0, 0, 0,  40, 0, 0, 0,  2, 0, 0, 0,  4, 3, 2, 1,  8, 7, 6, 5,  5, 0, 0, 0,  0xDC, 5, 0, 0,
        0xA1, 0xA2, 0xA3, 0xA4,  0xA5, 0, 0, 0,  40, 0, 0, 0,
    ];
    assert_eq!(out, expected);
    let mut slow = [0; 40];
    assert_eq!(write::packet_with_options(&mut slow, 2, &sample(&out[28..33]), &[]), Some(40));
    assert_eq!(slow, expected);
}

#[test]
fn enhanced_packet_of_every_small_length_reads_back() {
    let data: [u8; 64] = core::array::from_fn(|i| u8::try_from(i).unwrap() | 0x80);
    for caplen in 0..=64 {
        let total = write::packet_block_len(caplen);
        let mut out = [0xEE; 96 + 4];
        assert_eq!(write::packet(&mut out[..total - 1], 0, &sample(&data[..caplen])), None);
        assert!(out.iter().all(|byte| *byte == 0xEE), "what does not fit leaves no trace");
        assert_eq!(write::packet(&mut out, 7, &sample(&data[..caplen])), Some(total));
        assert_eq!(out[total..][..4], [0xEE; 4]);
        let block = Block::parse(&out, ByteOrder::Little).unwrap();
        let packet = read::PacketBlock::enhanced(block.body, ByteOrder::Little).unwrap();
        let expected = read::PacketBlock {
            interface: 7,
            ticks: 0x0102_0304_0506_0708,
            orig_len: 1500,
            bytes: &data[..caplen],
        };
        assert_eq!(packet, expected);
        assert!(block.body[20 + caplen..].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn section_and_interface_have_these_bytes() {
    let mut out = [0xEE; 256];
    let section = write::section_header(&mut out, &[write::BlockOption::text(write::SHB_USERAPPL, "hc")]);
    #[rustfmt::skip]
    let expected = [
        0x0A, 0x0D, 0x0D, 0x0A,  40, 0, 0, 0,  0x4D, 0x3C, 0x2B, 0x1A,  1, 0, 0, 0,
        0xFF, 0xFF, 0xFF, 0xFF,  0xFF, 0xFF, 0xFF, 0xFF,
        4, 0, 2, 0,  b'h', b'c', 0, 0,  0, 0, 0, 0,  40, 0, 0, 0,
    ];
    assert_eq!((section, &out[..40]), (Some(40), &expected[..]));

    let eth1 = Interface { link_type: LinkType::ETHERNET, snaplen: 96, name: "eth1".into() };
    #[rustfmt::skip]
    let expected = [
        1, 0, 0, 0,  40, 0, 0, 0,  1, 0, 0, 0,  0, 0, 4, 0,
        2, 0, 4, 0,  b'e', b't', b'h', b'1',  9, 0, 1, 0,  9, 0, 0, 0,  0, 0, 0, 0,  40, 0, 0, 0,
    ];
    assert_eq!((write::interface(&mut out, &eth1), &out[..40]), (Some(40), &expected[..]));
    let (read_back, scale) = read::interface(&out[8..36], ByteOrder::Little).unwrap();
    assert_eq!((read_back, scale), (write::stored(&eth1), read::TimeScale::NANOS));
    let long = Interface { name: "ü".repeat(200), ..eth1 };
    let len = write::interface(&mut out, &long).unwrap();
    let (read_back, _) = read::interface(&out[8..len - 4], ByteOrder::Little).unwrap();
    assert_eq!((read_back.name.len(), read_back.snaplen), (crate::limits::INTERFACE_NAME_BYTES_MAX, 262_144));
    assert_eq!(read_back, write::stored(&long));
}

#[test]
fn frame_leaves_the_body_alone() {
    let mut out = [0xEE; 32];
    assert_eq!(write::frame(&mut out, 0x8048_4303, 32), Some(32));
    assert_eq!(out[..8], [0x03, 0x43, 0x48, 0x80, 32, 0, 0, 0]);
    assert!(out[8..28].iter().all(|byte| *byte == 0xEE));
    for bad in [0, 8, 13, 36] {
        assert_eq!(write::frame(&mut out, 0x8048_4303, bad), None, "{bad}");
    }
}

#[test]
fn walk_ends_at_the_first_bad_block() {
    let mut out = [0; 64];
    let first = write::local_block(&mut out, 0x8048_4302, &[1, 2, 3, 4, 5]).unwrap();
    let second = write::packet(&mut out[first..], 0, &sample(&[9])).unwrap();
    let mut walk = Blocks::new(&out);
    let block = walk.next().unwrap().unwrap();
    assert_eq!((block.block_type, block.body), (0x8048_4302, &[1, 2, 3, 4, 5, 0, 0, 0][..]));
    let block = walk.next().unwrap().unwrap();
    assert_eq!((block.offset, block.block_type), (first, ENHANCED_PACKET));
    assert!(matches!(walk.next(), Some(Err(BlockError::Malformed(_)))), "zeros terminate");
    assert_eq!((walk.offset(), walk.next()), (first + second, None));

    out[first + second - 1] ^= 1;
    assert!(matches!(Blocks::new(&out).nth(1), Some(Err(BlockError::Malformed(_)))), "lengths differ");
    assert_eq!(Blocks::new(&out[..first + 9]).nth(1), Some(Err(BlockError::Truncated { needed: second })));
}

#[test]
fn lengths_are_not_believed() {
    for (len, what) in [(u32::MAX, "huge"), (PCAPNG_BLOCK_BYTES_MAX + 4, "large"), (8, "small"), (14, "odd")]
    {
        let mut block = [0; 16];
        block[..4].copy_from_slice(&ENHANCED_PACKET.to_le_bytes());
        block[4..8].copy_from_slice(&len.to_le_bytes());
        assert!(
            matches!(BlockHeader::parse(&block, ByteOrder::Little), Err(BlockError::Malformed(_))),
            "{what}"
        );
    }
    for caplen in [6_u32, 262_145, u32::MAX] {
        let mut body = [0; 24];
        body[12..16].copy_from_slice(&caplen.to_le_bytes());
        assert!(read::PacketBlock::enhanced(&body, ByteOrder::Little).is_err(), "{caplen}");
    }
}
