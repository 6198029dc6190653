//! Extraction against the model: exact packets, exact order, for hundreds of random queries over random traffic.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use hindcap_extract::Options;
use hindcap_wire::community_id::CommunityId;
use hindcap_wire::flow::FlowKey;
use hindcap_wire::net::{IpNet, MacAddr};
use hindcap_wire::packet::Dissection;
use hindcap_wire::query::{End, Query};
use hindcap_wire::time::{TimeRange, Timestamp};
use support::frames::{Host, PORTS, VLANS, ethernet, ipv4, plain_tcp, some_frames, some_host, udp};
use support::{Lab, Random, START, Shot, dissected, extract, model};

const MILLI: u64 = 1_000_000;

/// `count` frames from `from` on, a millisecond apart, up to `jitter` milliseconds late; fragments of a datagram stay
/// together. `id` numbers the datagrams.
fn traffic(random: &mut Random, id: &mut u16, from: u64, count: usize, jitter: u64) -> Vec<Shot> {
    let mut shots = Vec::new();
    while shots.len() < count {
        *id = id.checked_add(1).unwrap();
        let late = random.below(jitter + 1);
        for frame in some_frames(random, *id) {
            let at = from + (shots.len() as u64 + late) * MILLI;
            let mut shot = Shot::ethernet(at, frame);
            if random.percent(2) {
                shot.orig_len += 100;
            }
            shots.push(shot);
        }
    }
    shots
}

fn some_net(random: &mut Random) -> IpNet {
    let host = some_host(random);
    let addr = if random.percent(30) { host.v6().into() } else { host.v4().into() };
    if random.percent(20) { IpNet::new(addr, 24).unwrap() } else { IpNet::host(addr) }
}

fn some_query(random: &mut Random, shots: &[Shot], dissections: &[Dissection]) -> Query {
    let mut query = Query::default();
    if random.percent(50) {
        let (one, other) = (random.of(shots).at, random.of(shots).at);
        query.time = TimeRange::new(one.min(other), Timestamp(one.max(other).0 + 1));
    }
    match random.below(12) {
        0 => {}
        1..5 => query.nets.push(some_net(random)),
        5..8 => query.nets = vec![some_net(random), some_net(random)],
        8 => query.src = End { net: Some(some_net(random)), port: None },
        9 => {
            query.src = End { net: Some(some_net(random)), port: Some(random.of(&PORTS)) };
            query.dst.net = random.percent(50).then(|| some_net(random));
        }
        _ => {
            // A flow that is there, named in full or by its Community ID.
            let layers: Vec<_> = random.of(dissections).layers.iter().copied().collect();
            if let Some(layer) = layers.last() {
                let tuple = &layer.tuple;
                if random.percent(50) {
                    query.community_id = Some(CommunityId::of(&FlowKey::of(tuple, None).0).to_string());
                } else if [6, 17].contains(&tuple.proto) {
                    query.nets = vec![IpNet::host(tuple.src_addr()), IpNet::host(tuple.dst_addr())];
                    query.ports = vec![tuple.src_port, tuple.dst_port];
                    query.proto = Some(tuple.proto);
                }
            }
        }
    }
    if random.percent(20) && query.ports.is_empty() {
        query.ports = if random.percent(70) {
            vec![random.of(&PORTS)]
        } else {
            vec![random.of(&PORTS), random.of(&PORTS)]
        };
    }
    if random.percent(20) && query.proto.is_none() {
        let protos = if query.names_ports() { &[6, 17][..] } else { &[0, 1, 6, 17, 47, 89][..] };
        query.proto = Some(random.of(protos));
    }
    query.vlan = random.percent(15).then(|| random.of(&VLANS));
    query.mac = random.percent(10).then(|| MacAddr([2, 0, 0, 0, 0, random.below(5) as u8]));
    query
}

/// Asks `queries` random questions; the number of packets that came back.
fn ask(lab: &Lab, random: &mut Random, queries: usize) -> u64 {
    let dissections = dissected(&lab.shots);
    let mut reader = lab.reader();
    let mut found = 0;
    for number in 0..queries {
        let query = some_query(random, &lab.shots, &dissections);
        let waiting_bytes_max = random.of(&[200_000, 1 << 20, 4 << 20]);
        let options = Options { waiting_bytes_max, ..Options::default() };
        let (shots, answer) = extract(&mut reader, &query, &options).unwrap();
        let expected = model(&lab.shots, &dissections, &query);
        if shots != expected {
            let missing = expected.iter().filter(|shot| !shots.contains(shot)).count();
            for (shot, dissection) in lab.shots.iter().zip(&dissections) {
                if expected.contains(shot) && !shots.contains(shot) {
                    println!("missing {} {:?}", shot.at, dissection.layers);
                }
            }
            let extra = shots.iter().filter(|shot| !expected.contains(shot)).count();
            panic!(
                "query {number} {query:?}, {waiting_bytes_max} bytes: {} of {} packets, {missing} missing, {extra} \
                 extra, in order {}\n{answer}",
                shots.len(),
                expected.len(),
                shots.is_sorted_by_key(|shot| shot.at)
            );
        }
        assert!(answer.gaps.is_empty() && answer.partial.is_none(), "{answer}");
        found += shots.len() as u64;
    }
    found
}

#[test]
fn live_traffic_over_many_segments() {
    let mut random = Random(0x1234_5678_9abc_def1);
    let mut lab = Lab::new(12, true, START);
    for (number, shot) in traffic(&mut random, &mut 0, START, 24_000, 3).into_iter().enumerate() {
        let at = shot.at.0;
        lab.push(shot);
        if number % 100 == 0 {
            lab.tick(at, Default::default());
        }
    }
    lab.flush();
    assert!(lab.reader().segments().len() >= 3);
    assert!(ask(&lab, &mut random, 90) > 10_000);
}

#[test]
fn savefiles_that_overlap_and_are_out_of_order() {
    let mut random = Random(0xfeed_beef_cafe_f00d);
    let mut lab = Lab::new(12, false, START + 1_000_000 * MILLI);
    let mut id = 0;
    for file in 0..4 {
        let mut shots = traffic(&mut random, &mut id, START + file * 2_000 * MILLI, 5_000, 1_500);
        if file == 2 {
            // The worst that a savefile can be: fully shuffled, but for fragments, which stay within two seconds.
            shots.sort_by_key(|shot| (shot.at.0 / (1_000 * MILLI)).wrapping_mul(0x9e37_79b9) % 97);
        }
        shots.into_iter().for_each(|shot| lab.push(shot));
    }
    lab.flush();
    assert!(ask(&lab, &mut random, 80) > 10_000);
}

#[test]
fn equal_times_keep_the_order_of_recording() {
    let mut random = Random(77);
    let mut lab = Lab::new(6, true, START);
    for shot in traffic(&mut random, &mut 0, START, 10_000, 0) {
        lab.push(Shot { at: Timestamp(START + (shot.at.0 - START) / (500 * MILLI) * 500 * MILLI), ..shot });
    }
    lab.flush();
    ask(&lab, &mut random, 40);
}

/// 5 MiB of other traffic between `from` and `to`, so that what comes before and after lies in different segments.
fn filler(from: u64, to: u64) -> Vec<Shot> {
    let payload = udp((9, 10), &[0; 1_000]);
    let frame = ethernet(&[], 0x0800, &ipv4(Host(60), Host(61), 17, None, &payload), (1, 2));
    (0..5_000).map(|number| Shot::ethernet(from + number * (to - from) / 5_000, frame.clone())).collect()
}

#[test]
fn a_first_fragment_may_come_late_but_not_too_late() {
    let datagram = udp((5_000, 53), &[7; 1_000]);
    let fragment = |id: u16, offset: u16, more: bool| {
        let part = &datagram[usize::from(offset) * 8..][..400];
        ethernet(&[], 0x0800, &ipv4(Host(1), Host(2), 17, Some((id, offset, more)), part), (1, 2))
    };
    let mut lab = Lab::new(6, true, START);
    let mut expected = Vec::new();
    for (id, late) in [(1, 1_000 * MILLI), (2, 5_000 * MILLI)] {
        let from = START + u64::from(id) * 10_000 * MILLI;
        let later = Shot::ethernet(from, fragment(id, 50, true));
        let first = Shot::ethernet(from + late, fragment(id, 0, true));
        lab.push(later.clone());
        filler(from + 1, from + late).into_iter().for_each(|shot| lab.push(shot));
        lab.push(first.clone());
        expected.extend((id == 1).then_some(later).into_iter().chain([first]));
    }
    // The catalog is written at the end: its filters, too, must let the fragments through.
    lab.stop(START + 40_000 * MILLI);
    let query = Query { ports: vec![53], ..Query::default() };
    assert_eq!(extract(&mut lab.reader(), &query, &Options::default()).unwrap().0, expected);
    let ends = [Host(1), Host(2)].map(|host| IpNet::host(host.v4().into())).to_vec();
    let exact = Query { nets: ends, ports: vec![53, 5_000], proto: Some(17), ..Query::default() };
    assert_eq!(extract(&mut lab.reader(), &exact, &Options::default()).unwrap().0, expected);
    let within = TimeRange::new(Timestamp(START), Timestamp(START + 10_500 * MILLI));
    let query = Query { time: within, ..query };
    let found = extract(&mut lab.reader(), &query, &Options::default()).unwrap().0;
    assert_eq!(
        found,
        expected[..1],
        "the first fragment lies outside the window and tells the ports all the same"
    );
}

#[test]
fn little_is_read_for_little() {
    let mut lab = Lab::new(12, true, START);
    let needle = plain_tcp(Host(1), Host(2), (5_000, 80), 0x10);
    let unknown = ethernet(&[7], 0x9999, &[1; 60], (1, 2));
    for round in 0..5 {
        filler(START + round * 1_000 * MILLI, START + (round + 1) * 1_000 * MILLI)
            .into_iter()
            .for_each(|shot| lab.push(shot));
        if round == 2 {
            lab.push(Shot::ethernet(START + 3_000 * MILLI, needle.clone()));
            lab.push(Shot::ethernet(START + 3_000 * MILLI, unknown.clone()));
        }
    }
    lab.flush();
    let mut reader = lab.reader();
    assert!(reader.segments().len() > 4);
    let host = Query { nets: vec![IpNet::host(Host(1).v4().into())], ..Query::default() };
    let tag = Query { vlan: Some(7), ..Query::default() };
    for (query, frame) in [(&host, &needle), (&tag, &unknown)] {
        let (shots, answer) = extract(&mut reader, query, &Options::default()).unwrap();
        assert_eq!((shots.len(), &shots[0].bytes), (1, frame));
        assert!(answer.segments_read == 1 && answer.bytes_read <= 3 * 16_384, "{answer}");
    }
    let absent = Query { nets: vec![IpNet::host(Host(3).v4().into())], ..Query::default() };
    let (_, answer) = extract(&mut reader, &absent, &Options::default()).unwrap();
    assert_eq!((answer.segments_read, answer.bytes_read), (0, 0), "{answer}");
}
