//! The builder against a plain model: maps without bounds, filled by the same packets.

use std::collections::{BTreeMap, BTreeSet};

use hindcap_wire::flow::{FiveTuple, FlowKey, proto};
use hindcap_wire::index::keys::{host_key, overflow_flow_key, pair_key};
use hindcap_wire::index::{Filter, FilterClasses, FilterKey, IndexDoc, IndexLimits, PageSet};
use hindcap_wire::limits::{CHUNK_BYTES, PAGE_BYTES, SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MIN};
use hindcap_wire::net::MacAddr;
use hindcap_wire::packet::{Dissection, FlowLayer, Packet};
use hindcap_wire::time::Timestamp;

use super::Builder;

/// xorshift64*: small, seeded, good enough to be surprised by.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end
    }
}

/// What the model knows of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Truth {
    first: u64,
    last: u64,
    packets: u32,
    bytes: u64,
    tcp_flags: u8,
    a_sent_first: bool,
    stacked: bool,
    truncated: bool,
    pages: BTreeSet<u16>,
}

/// A mix of made-up packets.
#[derive(Clone, Copy)]
struct Mix {
    /// Flows that live at a time.
    live: usize,
    /// One packet in so many begins a new flow.
    new_one_in: u64,
    /// Hosts on either side.
    hosts: u64,
    /// Mean bytes of a packet block.
    block_bytes: u64,
    /// One packet in so many comes late by up to an hour; 0 for none.
    late_one_in: u64,
}

const OFFICE: Mix = Mix { live: 100, new_one_in: 17, hosts: 2_000, block_bytes: 548, late_one_in: 0 };
const IOT: Mix = Mix { live: 3_000, new_one_in: 11, hosts: 3_000, block_bytes: 181, late_one_in: 0 };
const DNS: Mix = Mix { live: 30, new_one_in: 2, hosts: 400, block_bytes: 155, late_one_in: 0 };
const SYN_FLOOD: Mix = Mix { live: 1, new_one_in: 1, hosts: 1 << 32, block_bytes: 76, late_one_in: 0 };
/// A few huge flows in packets as large as the network takes.
const BULK: Mix = Mix { live: 12, new_one_in: 4_000, hosts: 30, block_bytes: 1_500, late_one_in: 0 };
/// Established sessions in the middle of packets from sources that nobody has.
const SPOOFED: Mix = Mix { live: 200, new_one_in: 2, hosts: 1 << 32, block_bytes: 120, late_one_in: 0 };
const WILD: Mix = Mix { live: 50, new_one_in: 5, hosts: 300, block_bytes: 900, late_one_in: 9 };

fn addr(v6: bool, host: u64) -> [u8; 16] {
    let mut addr = if v6 { [0x20; 16] } else { [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0] };
    addr[12..].copy_from_slice(&(host as u32).to_be_bytes());
    addr
}

fn new_layer(mix: &Mix, random: &mut Random) -> FlowLayer {
    let v6 = random.below(5) == 0;
    let tuple = FiveTuple {
        src: addr(v6, random.below(mix.hosts)),
        dst: addr(v6, random.below(mix.hosts.min(100)) + 500_000),
        src_port: 1024 + random.below(60_000) as u16,
        dst_port: [53, 80, 443][random.below(3) as usize],
        proto: [proto::TCP, proto::UDP, 47][random.below(3) as usize],
        version: if v6 { 6 } else { 4 },
    };
    let vlan = (random.below(4) == 0).then(|| random.below(9) as u16);
    FlowLayer { tuple, vlan, tcp_flags: 0, fragment: None }
}

/// One packet: what was found in it, its time, its length.
fn packet(mix: &Mix, live: &mut Vec<FlowLayer>, random: &mut Random, now: u64) -> (Dissection, u64, u32) {
    let mut found = Dissection::default();
    let (one, other) = (random.below(40) as u8, random.below(3) as u8);
    found.macs = Some((MacAddr([2, 0, 0, 0, 0, one]), MacAddr([2, 0, 0, 0, 1, other])));
    let layers = [0, 1, 1, 1, 1, 1, 1, 1, 2, 3][random.below(10) as usize];
    for _ in 0..if mix.live == 1 { 1 } else { layers } {
        if live.len() < mix.live || random.below(mix.new_one_in) == 0 {
            let layer = new_layer(mix, random);
            if live.len() >= mix.live {
                let at = random.below(live.len() as u64) as usize;
                live.swap_remove(at);
            }
            live.push(layer);
        }
        let mut layer = live[random.below(live.len() as u64) as usize];
        if random.below(2) == 0 && mix.live > 1 {
            layer.tuple = layer.tuple.reversed();
        }
        if layer.tuple.proto == proto::TCP {
            layer.tcp_flags = 1 << random.below(5);
        }
        let _ = found.layers.push(layer);
    }
    for _ in 0..random.below(3) {
        let _ = found.vlans.push(7);
    }
    let late = mix.late_one_in != 0 && random.below(mix.late_one_in) == 0;
    let at = if late { now - random.below(3_600_000_000_000) } else { now };
    (found, at, 40 + random.below(2 * mix.block_bytes) as u32)
}

/// Model of one segment.
#[derive(Default)]
struct Model {
    flows: BTreeMap<FlowKey, Truth>,
    unclassified: BTreeSet<u16>,
    macs: BTreeMap<MacAddr, BTreeSet<u16>>,
    packets: u64,
}

impl Model {
    fn observe(&mut self, page: u16, at: u64, (bytes, truncated): (u32, bool), found: &Dissection) {
        self.packets += 1;
        let (one, other) = found.macs.unwrap();
        self.macs.entry(one).or_default().insert(page);
        self.macs.entry(other).or_default().insert(page);
        if found.layers.is_empty() {
            self.unclassified.insert(page);
        }
        let keys: Vec<_> = found.layers.iter().map(|layer| FlowKey::of(&layer.tuple, layer.vlan)).collect();
        for (n, (key, forward)) in keys.iter().enumerate() {
            if keys[..n].iter().any(|(earlier, _)| earlier == key) {
                continue;
            }
            let truth = self.flows.entry(*key).or_insert_with(|| Truth {
                first: at,
                last: at,
                packets: 0,
                bytes: 0,
                tcp_flags: 0,
                a_sent_first: *forward,
                stacked: false,
                truncated: false,
                pages: BTreeSet::new(),
            });
            (truth.first, truth.last) = (truth.first.min(at), truth.last.max(at));
            truth.packets += 1;
            truth.bytes += u64::from(bytes);
            truth.tcp_flags |= found.layers[n].tcp_flags;
            truth.stacked |= found.vlans.len() > 1;
            truth.truncated |= truncated;
            truth.pages.insert(page);
        }
    }
}

/// Fills a segment of `segment_bytes` with the mix; two builders with different seeds see the same.
fn fill(mix: &Mix, segment_bytes: u32, seed: u64) -> (Model, Builder) {
    let limits = IndexLimits::for_segment(segment_bytes);
    let (mut builder, mut other) = (Builder::new(limits, seed), Builder::new(limits, !seed));
    let (mut random, mut model, mut live) = (Random(seed | 1), Model::default(), Vec::new());
    let (mut offset, mut now) = (0_u64, 1_700_000_000_000_000_000);
    let end = u64::from(segment_bytes - limits.index_bytes - PAGE_BYTES);
    let zeros = [0; 4096];
    while offset < end {
        now += random.below(400_000);
        let (found, at, orig_len) = packet(mix, &mut live, &mut random, now);
        let page = (offset / u64::from(PAGE_BYTES)) as u16;
        // One packet in nine is truncated.
        let truncated = random.below(9) == 0;
        let bytes = if truncated { &zeros[..10] } else { &zeros[..orig_len as usize] };
        let packet = Packet { timestamp: Timestamp(at), interface: 0, orig_len, bytes };
        builder.observe(page, &packet, &found);
        other.observe(page, &packet, &found);
        model.observe(page, at, (orig_len, truncated), &found);
        offset += 1 + random.below(2 * mix.block_bytes);
    }
    for page in 0..=(end / u64::from(PAGE_BYTES)) as u16 {
        builder.page_done(page, u32::from(page) * 7, Some(u32::from(page) % 4096 * 4));
        other.page_done(page, u32::from(page) * 7, Some(u32::from(page) % 4096 * 4));
    }
    let (bytes, same) = (builder.encode(Vec::new()), other.encode(Vec::new()));
    assert!(bytes == same, "the seed shows in the index");
    // No batches and no interfaces were entered, so what is kept for them is no excuse.
    let unused = limits.batch_bytes as usize + 64 * 32;
    assert!(bytes.len() + unused <= builder.encoded_bound(), "records take more than they were charged");
    assert!(builder.encoded_bound() <= limits.index_bytes as usize);
    (model, builder)
}

/// Everything that a query could ask for is found, and flows with a record are told exactly.
fn check(model: &Model, builder: &Builder) -> IndexDoc {
    let doc = IndexDoc::parse(builder.encode(Vec::new())).unwrap();
    let mut records = BTreeMap::new();
    for flow in doc.flows() {
        assert!(records.insert(flow.key, flow).is_none(), "a flow has two records");
    }
    assert_eq!(records.len(), doc.flow_count());
    let overflowed = !doc.overflow().is_empty();
    for (key, truth) in &model.flows {
        let mut pages = PageSet::new();
        if let Some(flow) = records.remove(key) {
            flow.postings.clone().add_to(&mut pages);
            if !overflowed {
                let told = Truth {
                    first: flow.first.0,
                    last: flow.last.0,
                    packets: flow.packets,
                    bytes: flow.bytes,
                    tcp_flags: flow.tcp_flags,
                    a_sent_first: flow.a_sent_first,
                    stacked: flow.stacked_vlans,
                    truncated: flow.truncated,
                    pages: flow.postings.collect(),
                };
                assert_eq!(&told, truth, "{key:?}");
            }
        } else {
            assert!(overflowed, "{key:?} has no record");
        }
        let hosts = [host_key(&key.a, key.version), host_key(&key.b, key.version)];
        for keys in [&[overflow_flow_key(key)][..], &hosts, &hosts[..1], &hosts[1..], &[]] {
            let mut found = doc.overflow_pages(keys);
            found.union(&pages);
            assert!(truth.pages.iter().all(|page| found.contains(*page)), "{key:?} is missed");
        }
    }
    assert!(records.is_empty(), "records of flows that never were");
    assert_eq!(doc.unclassified().iter().collect::<BTreeSet<_>>(), model.unclassified);
    assert_eq!(doc.packets(), model.packets);
    for (mac, pages) in &model.macs {
        let found = doc.mac_pages(mac);
        assert!(pages.iter().all(|page| found.contains(*page)));
    }
    check_filter(model, builder);
    doc
}

fn check_filter(model: &Model, builder: &Builder) {
    let (classes, bytes) = builder.filter();
    let Some(filter) = Filter::parse(bytes) else { return assert_eq!(classes, FilterClasses(0)) };
    assert!(filter.bytes() <= builder.limits().slot_bytes as usize);
    for key in model.flows.keys() {
        let (a, b) = (host_key(&key.a, key.version), host_key(&key.b, key.version));
        let flow = hindcap_wire::community_id::CommunityId::of(key).key();
        for key in
            [FilterKey::Host(a), FilterKey::Host(b), FilterKey::Pair(pair_key(a, b)), FilterKey::Flow(flow)]
        {
            assert!(!classes.covers(key) || filter.may_contain(key.value()));
        }
    }
}

#[test]
fn random_packets_are_told_exactly() {
    for seed in 1..20 {
        let (model, builder) = fill(&WILD, SEGMENT_BYTES_MIN, seed);
        check(&model, &builder);
    }
}

#[test]
fn a_builder_is_reused_without_a_trace() {
    let (_, mut builder) = fill(&IOT, SEGMENT_BYTES_MIN, 5);
    builder.reset();
    let fresh = Builder::new(*builder.limits(), 9);
    assert!(builder.encode(Vec::new()) == fresh.encode(Vec::new()));
    assert_eq!(builder.filter(), fresh.filter());
}

#[test]
fn small_segments_name_their_hosts() {
    const BULK: Mix = Mix { live: 5, new_one_in: 1_500, hosts: 300, block_bytes: 1_400, late_one_in: 0 };
    const RESOLVER: Mix = Mix { live: 30, new_one_in: 2, hosts: 60, block_bytes: 155, late_one_in: 0 };
    let mixes = [("office", OFFICE), ("IoT", IOT), ("DNS", RESOLVER), ("bulk", BULK), ("spoofed", SYN_FLOOD)];
    for chunks in [4, 8, 16, 64] {
        for (name, mix) in mixes {
            let segment_bytes = chunks * CHUNK_BYTES;
            let (model, builder) = fill(&mix, segment_bytes, 3);
            let doc = check(&model, &builder);
            let (classes, filter) = builder.filter();
            let hosts: BTreeSet<_> = model.flows.keys().flat_map(|key| [key.a, key.b]).collect();
            let named = doc.hosts(4).len() + doc.hosts(6).len();
            // Whether every host has its place decides about the filter, and nothing else does.
            assert_eq!(doc.overflow().is_empty() || doc.overflow().hosts_complete, classes.0 != 0, "{name}");
            // Below 16 MiB the summary page and whole pages weigh more than that.
            let pages = if chunks < 16 { 0 } else { 2 * PAGE_BYTES as usize };
            let all = doc.bytes() + builder.limits().slot_bytes as usize + 128 + pages;
            assert!(all <= segment_bytes as usize / 100, "{chunks} MiB, {name}: {all} bytes");
            // Absent hosts: the filter turns them away, or else the index, without a look at any packet.
            let absent = (0..1_000).map(|n| host_key(&addr(false, 600_000 + n), 4));
            let filter = Filter::parse(filter);
            let passed = absent
                .filter(|key| filter.as_ref().is_none_or(|filter| filter.may_contain(*key)))
                .filter(|key| !doc.overflow_pages(&[*key]).is_empty())
                .count();
            println!(
                "{chunks} MiB, {name}: {} flows, {} records; {} hosts, {} named; index {:.2} %, filter {:03b}, {passed} of 1000 absent hosts pass",
                model.flows.len(),
                doc.flow_count(),
                hosts.len(),
                named,
                doc.bytes() as f64 * 100.0 / f64::from(segment_bytes),
                classes.0,
            );
            // Thousands of hosts on either side are more than a small segment has room for: no filter, and it says so.
            if !["IoT", "spoofed"].contains(&name) {
                assert!(classes.0 != 0, "{chunks} MiB, {name}: no filter");
                assert!(passed <= 10, "{chunks} MiB, {name}: {passed} of 1000 absent hosts pass");
            }
        }
    }
}

/// Share of a segment, percent, that a query reads for a host, and for a session, that is not in it, where only its index is
/// asked.
fn read_for_absent(doc: &IndexDoc) -> (f64, f64) {
    let absent = |n: u64| addr(false, 600_000 + n);
    let pages = |keys: &[u64]| doc.overflow_pages(keys).len() as f64 / f64::from(doc.pages()) * 100.0;
    let (mut host, mut session) = (0.0, 0.0);
    for n in 0..500 {
        let tuple = FiveTuple {
            src: absent(n),
            dst: absent(n + 10_000),
            src_port: 5_000,
            dst_port: 443,
            version: 4,
            proto: 6,
        };
        let key = FlowKey::of(&tuple, None).0;
        let hosts = [host_key(&key.a, 4), host_key(&key.b, 4)];
        host += pages(&hosts[..1]) / 500.0;
        session += pages(&[hosts[0], hosts[1], overflow_flow_key(&key)]) / 500.0;
    }
    (host, session)
}

#[test]
fn mixes_stay_inside_one_percent_and_floods_are_still_found() {
    let mixes = [
        ("office", OFFICE),
        ("bulk", BULK),
        ("IoT", IOT),
        ("DNS", DNS),
        ("SYN flood", SYN_FLOOD),
        ("spoofed", SPOOFED),
    ];
    for (name, mix) in mixes {
        let segment_bytes = 16 * CHUNK_BYTES;
        let (model, builder) = fill(&mix, segment_bytes, 3);
        let doc = check(&model, &builder);
        let (classes, filter) = builder.filter();
        println!(
            "{name}: {} packets, {} flows, {} records, index {} bytes, {:.2} % of the segment, filter {} bytes for {:03b}",
            model.packets,
            model.flows.len(),
            doc.flow_count(),
            doc.bytes(),
            doc.bytes() as f64 * 100.0 / f64::from(segment_bytes),
            filter.len(),
            classes.0,
        );
        let (host, session) = read_for_absent(&doc);
        println!(
            "{name}: read for nothing: {host:.1} % for an absent host, {session:.1} % for an absent session"
        );
        // docs/RELIABILITY.md has the figures.
        let most = match name {
            "SYN flood" => (100.0, 90.0),
            "spoofed" => (50.0, 5.0),
            "DNS" => (10.0, 0.2),
            "IoT" => (4.0, 0.05),
            _ => (0.0, 0.0),
        };
        assert!(host <= most.0 && session <= most.1, "{name}: {host:.2} %, {session:.2} %");
        let all = doc.bytes() + filter.len() + 128 + 2 * PAGE_BYTES as usize;
        assert!(all <= segment_bytes as usize / 100, "{name}");
        assert_eq!(doc.overflow().is_empty(), ["office", "bulk"].contains(&name), "{name}");
    }
}

#[test]
fn a_flood_of_known_hosts_leaves_the_filter_exact_for_hosts() {
    let (_, builder) = fill(&DNS, 16 * CHUNK_BYTES, 8);
    assert!(builder.is_flooded());
    let (classes, bytes) = builder.filter();
    assert_eq!(classes, FilterClasses(FilterClasses::HOSTS));
    let filter = Filter::parse(bytes).unwrap();
    let absent = (0..100_000).filter(|n| filter.may_contain(host_key(&addr(false, 600_000 + n), 4))).count();
    assert!(absent < 600, "{absent} of 100,000 absent hosts pass");
}

#[test]
fn any_changed_byte_of_an_index_is_seen() {
    let limits = IndexLimits::for_segment(SEGMENT_BYTES_MIN);
    let mut builder = Builder::new(limits, 1);
    let (mut random, mut live) = (Random(77), Vec::new());
    for page in 0..60 {
        let (found, at, orig_len) = packet(&WILD, &mut live, &mut random, 1_700_000_000_000_000_000);
        let packet = Packet { timestamp: Timestamp(at), interface: 0, orig_len, bytes: &[] };
        builder.observe(page, &packet, &found);
        builder.page_done(page, 5, None);
    }
    builder.event(&[9; 48]);
    let bytes = builder.encode(Vec::new());
    assert_eq!(IndexDoc::parse(bytes.clone()).unwrap().events().collect::<Vec<_>>(), [[9; 48]]);
    for at in 0..bytes.len() {
        for change in [1, 0x80, 0xff] {
            let mut broken = bytes.clone();
            broken[at] ^= change;
            assert!(IndexDoc::parse(broken).is_err(), "byte {at}");
        }
        assert!(IndexDoc::parse(bytes[..at].to_vec()).is_err());
    }
}

#[test]
fn a_flow_in_more_pages_than_there_is_memory_for_is_found_in_all_later_ones() {
    let limits = IndexLimits { posting_nodes: 1, ..IndexLimits::for_segment(SEGMENT_BYTES_MIN) };
    let mut builder = Builder::new(limits, 1);
    let layer = new_layer(&OFFICE, &mut Random(3));
    let mut found = Dissection::default();
    let _ = found.layers.push(layer);
    let pages: Vec<u16> = (0..250).filter(|page| page % 9 == 0 || *page > 200).collect();
    for page in &pages {
        let packet =
            Packet { timestamp: Timestamp(u64::from(*page)), interface: 0, orig_len: 60, bytes: &[] };
        for _ in 0..20 {
            builder.observe(*page, &packet, &found);
        }
    }
    let doc = IndexDoc::parse(builder.encode(Vec::new())).unwrap();
    let told: Vec<u16> = doc.flows().next().unwrap().postings.collect();
    assert!(pages.iter().all(|page| told.contains(page)), "{told:?}");
    assert!(told.len() > pages.len(), "the memory did not run out");
}

#[test]
fn memory_follows_from_the_limits_and_is_bounded() {
    let bytes = |segment_bytes| Builder::new(IndexLimits::for_segment(segment_bytes), 1).bytes();
    let (small, normal, large) =
        (bytes(SEGMENT_BYTES_MIN), bytes(SEGMENT_BYTES_DEFAULT), bytes(512 * CHUNK_BYTES));
    println!("builder: {small} bytes at 4 MiB, {normal} at 64 MiB, {large} at 512 MiB");
    // Two builders, the catalog's cache and what waits for it, an encoded index and the making of a filter.
    let limits = IndexLimits::for_segment(SEGMENT_BYTES_DEFAULT);
    let cache = crate::ReaderOptions::default().filter_cache_bytes + crate::catalog::PENDING_BYTES_MAX;
    // Per byte of the slot about one key of 8 bytes and 22 bytes of scratch.
    let seal = limits.index_bytes as usize + limits.slot_bytes as usize * (8 + 22 + 1);
    assert!(2 * normal + cache + seal <= 8 << 20, "{}", 2 * normal + cache + seal);
    assert!(small < normal / 10 && large < normal + (1 << 19));
}
