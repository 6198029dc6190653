//! Whole sessions, and the list of sessions, across segments.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use hindcap_extract::{Options, search, summarise};
use hindcap_wire::message::answer::{Sessions, WhyEmpty};
use hindcap_wire::message::{Summarise, Talker, Traffic};
use hindcap_wire::net::{IpNet, MacAddr};
use hindcap_wire::query::{Ends, Query};
use hindcap_wire::time::{NANOS_PER_SEC, TimeRange, Timestamp};
use support::frames::{Host, ethernet, ipv4, plain_tcp, tcp, udp};
use support::{Lab, START, Shot, extract, noise};

const SEC: u64 = NANOS_PER_SEC;
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// Megabytes of other people's packets: whatever comes next is in other segments.
const MANY: u64 = 8;

/// A packet of the connection 1:port -> 2:80, or its answer.
fn packet(secs: u64, port: u16, flags: u8, there: bool) -> Shot {
    let frame = if there {
        plain_tcp(Host(1), Host(2), (port, 80), flags)
    } else {
        plain_tcp(Host(2), Host(1), (80, port), flags)
    };
    Shot::ethernet(START + secs * SEC, frame)
}

/// Handshake, one packet every `pace` seconds, both FINs.
fn connection(from: u64, to: u64, pace: usize, port: u16) -> Vec<Shot> {
    let mut shots = vec![
        packet(from, port, SYN, true),
        packet(from, port, SYN | ACK, false),
        packet(from, port, ACK, true),
    ];
    shots.extend((from + 1..to).step_by(pace).map(|secs| packet(secs, port, ACK, secs % 2 == 0)));
    shots.extend([packet(to, port, FIN | ACK, true), packet(to, port, FIN | ACK, false)]);
    shots
}

/// A store with all of `parts` in time order.
fn lab(parts: &[Vec<Shot>]) -> Lab {
    let mut lab = Lab::new(24, true, START);
    lab.record(parts);
    lab
}

fn asked(from: u64, to: u64, port: u16) -> Query {
    let time = TimeRange::new(Timestamp(START + from * SEC), Timestamp(START + to * SEC));
    let nets = vec![IpNet::host(Host(1).v4().into())];
    Query { time, nets, ports: vec![port, 80], session: true, ..Query::default() }
}

fn whole(lab: &Lab, query: &Query) -> Vec<Shot> {
    extract(&mut lab.reader(), query, &Options::default()).unwrap().0
}

#[test]
fn from_any_instant_back_to_the_syn_and_on_to_the_fin() {
    let long = connection(100, 2_000, 30, 5_000);
    let next = connection(2_100, 2_200, 10, 5_000);
    let other = connection(110, 2_100, 50, 5_001);
    let lab =
        lab(&[noise(0, 2_500, MANY), noise(500, 2_000, MANY), long.clone(), next.clone(), other.clone()]);
    assert!(lab.reader().segments().len() > 3);
    // On a packet, between two packets, at the very ends.
    for (from, to) in [(131, 132), (1_000, 1_003), (905, 906), (100, 101), (2_000, 2_001), (0, 101)] {
        assert_eq!(whole(&lab, &asked(from, to, 5_000)), long, "{from}..{to}");
    }
    assert_eq!(whole(&lab, &asked(2_150, 2_151, 5_000)), next);
    assert_eq!(whole(&lab, &asked(2_050, 2_060, 5_000)), [], "between two connections on the same ports");
    assert_eq!(whole(&lab, &asked(1_990, 2_110, 5_000)), [long.clone(), next].concat());
    let mut both = [long, other].concat();
    both.sort_by_key(|shot| shot.at);
    let host = Query { ports: vec![80], ..asked(1_000, 1_010, 0) };
    let mut found = whole(&lab, &host);
    // Equal times keep the order of recording, which the stable sort above has too.
    found.sort_by_key(|shot| shot.at);
    assert_eq!(found, both);
}

#[test]
fn filters_and_times_alone_lead_to_sessions_too() {
    let one = connection(100, 400, 7, 5_000);
    let two = connection(300, 600, 7, 5_001);
    let lab = lab(&[noise(0, 90, MANY), one.clone(), two.clone(), noise(700, 800, MANY)]);
    let time = asked(350, 380, 0).time;
    let by_filter = Query { time, filter: Some("tcp port 5001".into()), session: true, ..Query::default() };
    assert_eq!(whole(&lab, &by_filter), two);
    let mut both = [one, two].concat();
    both.sort_by_key(|shot| shot.at);
    assert_eq!(whole(&lab, &Query { time, session: true, ..Query::default() }).len(), both.len());
    let tagged = Query { vlan: Some(7), ..asked(350, 380, 5_000) };
    assert_eq!(whole(&lab, &tagged), []);
    let all = Query { session: true, ..Query::default() };
    assert!(extract(&mut lab.reader(), &all, &Options::default()).is_ok());
}

/// A session that lies in several segments is one connection of a summary, with all of its packets.
#[test]
fn a_session_across_segments_counts_once() {
    let long = connection(100, 2_400, 7, 5_000);
    let lab = lab(&[noise(0, 2_500, MANY), noise(0, 2_500, MANY), long.clone()]);
    let nets = vec![IpNet::host(Host(1).v4().into())];
    let wanted = Summarise { query: Query { nets, ..Query::default() }, rows: 3 };
    let summary = summarise(&mut lab.reader(), &wanted, None).unwrap();
    assert!(summary.segments_read > 2, "{summary}");
    let traffic = Traffic {
        connections: 1,
        packets: long.len() as u64,
        bytes: long.iter().map(|shot| u64::from(shot.orig_len)).sum(),
    };
    assert_eq!(summary.total, traffic, "{summary}");
    assert_eq!(
        summary.tcp_ports.by_volume,
        [Talker { who: 80, traffic }],
        "the port of the end that answered"
    );
    assert_eq!(summary.sources.by_connections, [Talker { who: Host(1).v4().into(), traffic }]);
}

/// One session as two observers see it, before and after address translation.
#[test]
fn either_view_of_a_session_is_given_in_one_answer() {
    let (before, after) = (connection(100, 900, 7, 5_000), connection(100, 900, 7, 61_000));
    let lab = lab(&[noise(0, 2_500, MANY), before.clone(), after.clone(), connection(100, 900, 7, 5_002)]);
    let view = |port| Ends { nets: asked(0, 1, 0).nets, ports: vec![port, 80], ..Ends::default() };
    let query = Query { or: vec![view(61_000)], ..asked(400, 500, 5_000) };
    let mut both = [before, after].concat();
    both.sort_by_key(|shot| shot.at);
    assert_eq!(whole(&lab, &query).len(), both.len());
    let packets = Query { session: false, ..query };
    let inside: Vec<Shot> = both.into_iter().filter(|shot| packets.time.contains(shot.at)).collect();
    assert!(!inside.is_empty() && whole(&lab, &packets).len() == inside.len());
    // The catalog rules out the one view, not the other.
    let nets = vec![IpNet::host(Host(99).v4().into())];
    let other_only = Query { nets, or: vec![view(61_000)], ..asked(400, 500, 5_000) };
    assert_eq!(whole(&lab, &other_only).len(), connection(100, 900, 7, 61_000).len());
    let neither = Query { or: vec![view(5_003)], ..asked(400, 500, 5_004) };
    assert_eq!(whole(&lab, &neither), []);
}

#[test]
fn silence_ends_a_session() {
    let datagram = |secs: u64| {
        let frame = ethernet(&[], 0x0800, &ipv4(Host(1), Host(2), 17, None, &udp((500, 53), b"")), (1, 2));
        Shot::ethernet(START + secs * SEC, frame)
    };
    let times = [10, 100, 350, 651, 700];
    let lab = lab(&[times.map(datagram).to_vec()]);
    let asked = |from| Query { ports: vec![53], ..asked(from, from + 1, 0) };
    let secs = |shots: Vec<Shot>| shots.iter().map(|shot| (shot.at.0 - START) / SEC).collect::<Vec<_>>();
    assert_eq!(secs(whole(&lab, &asked(100))), [10, 100, 350]);
    assert_eq!(secs(whole(&lab, &asked(200))), [10, 100, 350]);
    assert_eq!(secs(whole(&lab, &asked(690))), [651, 700]);
    assert!(whole(&lab, &asked(500)).is_empty());
}

#[test]
fn search_merges_segments_and_lists_newest_first() {
    let long = connection(100, 2_000, 30, 5_000);
    let other = connection(110, 2_100, 50, 5_001);
    let early = connection(20, 40, 5, 5_002);
    let lab = lab(&[noise(0, 2_500, MANY), long.clone(), other.clone(), early.clone()]);
    let host = |from, to| Query { ports: Vec::new(), session: false, ..asked(from, to, 0) };
    let list = |query: &Query, limit| search(&mut lab.reader(), query, limit, None).unwrap();
    for query in [host(0, 3_000), Query { time: TimeRange::ALL, ..host(0, 1) }] {
        let found = list(&query, 10);
        let ports: Vec<u16> = found.rows.iter().map(|row| row.client_port).collect();
        assert_eq!((ports, found.more), (vec![5_001, 5_000, 5_002], false), "{found}");
        let packets: Vec<u64> = found.rows.iter().map(|row| row.packets).collect();
        assert_eq!(packets, [other.len() as u64, long.len() as u64, early.len() as u64], "{found}");
        assert!(
            found.rows.iter().all(|row| row.tcp_flags == FIN | SYN | ACK && row.server_port == 80),
            "{found}"
        );
        let row = &found.rows[1];
        assert_eq!((row.first, row.last), (long[0].at, long[long.len() - 1].at));
        assert_eq!(row.bytes, long.iter().map(|shot| u64::from(shot.orig_len)).sum::<u64>());
        assert_eq!(row.community_id.len(), 30);
    }
    // A window in the middle still tells the whole session.
    let middle = list(&host(1_000, 1_100), 10);
    assert_eq!(
        middle.rows.iter().map(|row| row.packets).collect::<Vec<_>>(),
        [other.len() as u64, long.len() as u64]
    );
    let cut = list(&host(0, 3_000), 1);
    assert_eq!((cut.rows.len(), cut.more, cut.rows[0].client_port), (1, true, 5_001), "{cut}");
    assert_eq!(cut.rows[0].packets, other.len() as u64);
    let none = list(&Query { ports: vec![81], ..host(0, 3_000) }, 10);
    assert_eq!((none.rows.len(), none.why_empty), (0, Some(WhyEmpty::NoSuchTraffic)), "{none}");
    // What records do not know is looked up in the packets; the row still tells the whole session.
    let filter = |text: &str| Query { filter: Some(text.into()), ..Query::default() };
    let ports = |found: &Sessions| found.rows.iter().map(|row| row.client_port).collect::<Vec<u16>>();
    let filtered = list(&filter("tcp port 5000"), 10);
    assert_eq!((ports(&filtered), filtered.rows[0].packets), (vec![5_000], long.len() as u64), "{filtered}");
    let opened = Query { time: host(100, 105).time, ..filter("tcp[tcpflags] & tcp-syn != 0") };
    assert_eq!(ports(&list(&opened, 10)), [5_000]);
    let alive = Query { time: host(115, 130).time, ..filter("tcp[tcpflags] & tcp-syn != 0") };
    assert!(list(&alive, 10).rows.is_empty(), "alive is not opened");
    let by_mac =
        |last| Query { mac: Some(MacAddr([2, 0, 0, 0, 0, last])), ports: vec![80], ..Query::default() };
    assert_eq!(ports(&list(&by_mac(1), 10)), [5_001, 5_000, 5_002]);
    assert!(list(&by_mac(0xee), 10).rows.is_empty());
    assert!(search(&mut lab.reader(), &filter("tcp port"), 10, None).is_err(), "no filter");
}

#[test]
fn a_filter_picks_one_of_two_sessions_on_the_same_ports() {
    let (fine, mut refused) = (connection(20, 40, 5, 5_000), connection(12_000, 12_010, 5, 5_000));
    refused.push(packet(12_010, 5_000, RST, false));
    let lab = lab(&[fine, noise(0, 12_500, MANY), refused.clone()]);
    let query = Query { filter: Some("tcp[tcpflags] & tcp-rst != 0".into()), ..Query::default() };
    let found = search(&mut lab.reader(), &query, 10, None).unwrap();
    let rows: Vec<_> = found.rows.iter().map(|row| (row.first, row.packets)).collect();
    assert_eq!(rows, [(refused[0].at, refused.len() as u64)], "{found}");
}

#[test]
fn a_flood_is_told_and_loses_no_packet() {
    // More flows than a segment of 4 MiB keeps records of, and one session among them.
    let mut lab = Lab::new(8, true, START);
    for number in 0..60_000_u64 {
        let [_, _, .., high, middle, low] = number.to_be_bytes();
        let mut packet = ipv4(Host(0), Host(2), 6, None, &tcp((1 + (number % 60_000) as u16, 80), SYN, b""));
        packet[12..16].copy_from_slice(&[11, high, middle, low]);
        lab.push(Shot::ethernet(START + number * 1_000_000, ethernet(&[], 0x0800, &packet, (1, 2))));
        if number % 1_000 == 500 {
            lab.push(packet_at(number));
        }
    }
    lab.flush();
    let time = TimeRange::new(Timestamp(START + 30 * SEC), Timestamp(START + 31 * SEC));
    let session: Vec<Shot> = (0..60).map(|number| packet_at(number * 1_000 + 500)).collect();
    let query = Query { time, ..asked(0, 1, 5_000) };
    assert_eq!(whole(&lab, &query), session);
    let needle = Query { nets: vec![IpNet::host([11, 0, 200, 7].into())], ..Query::default() };
    assert_eq!(whole(&lab, &needle).len(), 1);
    let found = search(&mut lab.reader(), &Query { ports: vec![80], ..Query::default() }, 5, None).unwrap();
    assert!(found.notes.iter().any(|note| note.contains("not itemised")), "{found}");
}

fn packet_at(number: u64) -> Shot {
    let shot = packet(0, 5_000, ACK, true);
    Shot { at: Timestamp(START + number * 1_000_000 + 1), ..shot }
}
