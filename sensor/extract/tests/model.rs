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
use support::frames::{PORTS, VLANS, some_frames, some_host};
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
