//! Later fragments find their ports.

use super::super::fragments::FragmentCache;
use super::*;
use crate::limits::FRAGMENT_AGE_NANOS_MAX;

const FIRST: Timestamp = Timestamp(1_000_000_000_000);

/// IPv4 from 10.0.0.1 to 10.0.0.2: identification, flags and offset, protocol, payload.
fn fragment(id: u16, flags_and_offset: u16, protocol: u8, payload: &str) -> Dissection {
    let total_len = 20 + hex(payload).len();
    let head = alloc::format!("4500{total_len:04x}{id:04x}{flags_and_offset:04x}40{protocol:02x}0000");
    dissected(LinkType::IPV4, &[&head, "0a000001 0a000002", payload])
}

fn resolved(cache: &mut FragmentCache, mut out: Dissection, at: Timestamp) -> Vec<String> {
    cache.resolve(&mut out, at);
    layers(&out)
}

#[test]
fn fragments_are_marked() {
    let first = fragment(7, 0x2000, 17, "9c40 01bb 0020 0000 0102030405060708");
    assert_eq!(first.layers[0].fragment, Some(Fragment { id: 7, offset: 0, more: true }));
    assert_eq!(
        (layers(&first)[0].as_str(), first.outcome),
        ("17 10.0.0.1:40000>10.0.0.2:443", Outcome::Complete)
    );
    let last = fragment(7, 0x0002, 17, "9c40 01bb 0020 0000");
    assert_eq!(last.layers[0].fragment, Some(Fragment { id: 7, offset: 16, more: false }));
    assert_eq!((layers(&last)[0].as_str(), last.outcome), ("17 10.0.0.1:0>10.0.0.2:0", Outcome::Complete));
    assert_eq!(fragment(7, 0x4000, 17, "9c40 01bb 0008 0000").layers[0].fragment, None);
}

#[test]
fn later_fragments_are_matched_through_the_first() {
    let mut cache = FragmentCache::new(16);
    let whole = ["17 10.0.0.1:40000>10.0.0.2:443"];
    let unknown = ["17 10.0.0.1:0>10.0.0.2:0"];
    let later = || fragment(7, 0x0002, 17, "00000000");
    assert_eq!(resolved(&mut cache, later(), FIRST), unknown);
    resolved(&mut cache, fragment(7, 0x2000, 17, "9c40 01bb 0020 0000"), FIRST);
    assert_eq!(resolved(&mut cache, later(), FIRST), whole);
    let oldest = FIRST.plus_nanos(FRAGMENT_AGE_NANOS_MAX);
    assert_eq!(resolved(&mut cache, later(), oldest), whole);
    assert_eq!(resolved(&mut cache, later(), oldest.plus_nanos(1)), unknown);
    assert_eq!(resolved(&mut cache, fragment(8, 0x0002, 17, "00000000"), FIRST), unknown);
    assert_eq!(resolved(&mut cache, fragment(7, 0x0002, 6, "00000000"), FIRST), ["6 10.0.0.1:0>10.0.0.2:0"]);
    cache.clear();
    assert_eq!(resolved(&mut cache, later(), FIRST), unknown);
}

#[test]
fn a_first_fragment_shorter_than_its_header_still_tells_the_ports() {
    let mut cache = FragmentCache::new(16);
    let first = fragment(7, 0x2000, 6, "9c40 01bb 00000001");
    assert_eq!(
        (layers(&first)[0].as_str(), first.outcome),
        ("6 10.0.0.1:40000>10.0.0.2:443", Outcome::Truncated)
    );
    resolved(&mut cache, first, FIRST);
    let rest = fragment(7, 0x0001, 6, "00000002 5012 ffff 0000 0000");
    assert_eq!(resolved(&mut cache, rest, FIRST), ["6 10.0.0.1:40000>10.0.0.2:443"]);
}

#[test]
fn flows_inside_a_fragmented_tunnel_come_along() {
    let mut cache = FragmentCache::new(16);
    let payload = ["c350 12b5 0100 0000 0800000000006400", MACS, "0800", IPV4_TCP].concat();
    let outer = "17 10.0.0.1:50000>10.0.0.2:4789";
    assert_eq!(resolved(&mut cache, fragment(9, 0x2000, 17, &payload), FIRST), [outer, TCP_LAYER]);
    let mut last = fragment(9, 0x0009, 17, "00000000");
    cache.resolve(&mut last, FIRST);
    assert_eq!(layers(&last), [outer, TCP_LAYER]);
    assert_eq!(last.layers[1].tcp_flags, 0);
}

#[test]
fn ipv6_fragments_take_the_protocol_behind_the_extension_headers() {
    let head = "6000 0000 0018 2c40 20010db8000000000000000000000001 20010db8000000000000000000000002";
    let first = [head, "3c00 0001 00000007 1100 0000 00000000 14e9 0035 0100 0000"];
    let (mut cache, whole) = (FragmentCache::new(16), UDP_LAYER);
    let first = dissected(LinkType::IPV6, &first);
    assert_eq!(first.layers[0].fragment, Some(Fragment { id: 7, offset: 0, more: true }));
    assert_eq!(resolved(&mut cache, first, FIRST), [whole]);
    let later = dissected(LinkType::IPV6, &[head, "3c00 0010 00000007", &"00".repeat(16)]);
    assert_eq!(layers(&later), ["60 2001:db8::1:0>2001:db8::2:0"]);
    assert_eq!(resolved(&mut cache, later, FIRST), [whole]);
    let atomic =
        dissected(LinkType::IPV6, &[head, "1100 0000 00000007 14e9 0035 0010 0000 0000000000000000"]);
    assert_eq!((atomic.layers[0].fragment, layers(&atomic)[0].as_str()), (None, UDP_LAYER));
}

#[test]
fn the_cache_is_bounded_and_keeps_the_newest() {
    let mut cache = FragmentCache::new(64);
    for id in 0..10_000 {
        let out = fragment(id, 0x2000, 17, "9c40 01bb 0020 0000");
        resolved(&mut cache, out, FIRST.plus_nanos(u64::from(id)));
    }
    let found = |cache: &mut FragmentCache, id| {
        resolved(cache, fragment(id, 0x0002, 17, "00000000"), FIRST)[0].contains("40000")
    };
    let kept = (0..10_000).filter(|id| found(&mut cache, *id)).count();
    assert!((32..=64).contains(&kept), "{kept}");
    assert!(found(&mut cache, 9_999) && !found(&mut cache, 0), "the newest, not the oldest");
}
