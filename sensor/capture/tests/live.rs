//! Live capture on veth pairs in network namespaces; needs root.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[path = "common/netns.rs"]
mod netns;

use std::time::{Duration, Instant, SystemTime};

use common::{Keep, Seen};
use hindcap_capture::{CaptureError, LiveOptions, LiveSource, PacketSource, Polled};
use hindcap_wire::drops::DropCause;
use hindcap_wire::time::Timestamp;
use netns::{in_namespace, ip, try_ip};
use pcap::{Active, Capture};

/// Longest that anything here may take.
const DEADLINE: Duration = Duration::from_secs(5);
const WAIT: Duration = Duration::from_millis(50);

/// A frame of an EtherType for local experiments, so that nothing answers, behind `tags`.
fn frame(tags: &[u8], number: u32, len: usize) -> Vec<u8> {
    let mut frame =
        [&[0xFF; 6][..], &[2, 0, 0, 0, 0, 1], tags, &[0x88, 0xB5], &number.to_be_bytes()].concat();
    frame.resize(len.max(frame.len()), 0x5A);
    frame
}

/// Whether the frame is one of [`frame`]'s, tagged or not; the kernel sends things of its own.
fn is_ours(packet: &Seen) -> bool {
    packet.bytes.get(6..12) == Some(&[2, 0, 0, 0, 0, 1])
}

fn sender(interface: &str) -> Capture<Active> {
    Capture::from_device(interface).unwrap().open().unwrap()
}

fn source(change: impl FnOnce(&mut LiveOptions)) -> LiveSource {
    let mut options = LiveOptions::new("va");
    change(&mut options);
    LiveSource::open(options).unwrap()
}

/// Polls until `done` says so.
fn poll_until(source: &mut LiveSource, keep: &mut Keep, mut done: impl FnMut(Polled, &Keep) -> bool) {
    let start = Instant::now();
    loop {
        let polled = source.poll(WAIT, keep).unwrap();
        if done(polled, keep) {
            return;
        }
        assert!(start.elapsed() < DEADLINE, "still not there; last was {polled:?}");
    }
}

fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp::from_parts(now.as_secs(), now.subsec_nanos())
}

fn ours(keep: &Keep) -> Vec<Seen> {
    keep.packets.iter().filter(|packet| is_ours(packet)).cloned().collect()
}

/// Sends one frame and expects to get it.
fn expect_flow(source: &mut LiveSource, number: u32) {
    let (mut keep, sent) = (Keep { interfaces: vec![port()], ..Keep::default() }, frame(&[], number, 60));
    sender("vb").sendpacket(&sent[..]).unwrap();
    poll_until(source, &mut keep, |_, keep| keep.packets.iter().any(|packet| packet.bytes == sent));
}

/// Stands for the interface when it was announced to an earlier sink.
fn port() -> hindcap_wire::packet::Interface {
    hindcap_wire::packet::Interface {
        link_type: hindcap_wire::packet::LinkType::ETHERNET,
        snaplen: 262_144,
        name: "va".into(),
    }
}

#[test]
fn frames_come_as_they_were_sent() {
    in_namespace("frames_come_as_they_were_sent", || {
        let (mut source, mut keep) = (source(|_| {}), Keep::default());
        let vlan = [0x81, 0x00, 0x60, 7];
        let qinq = [0x88, 0xA8, 0, 9, 0x81, 0x00, 0x60, 7];
        let sent: Vec<_> = [(&[][..], 60), (&vlan, 64), (&qinq, 68), (&[], 1514), (&vlan, 1518)]
            .into_iter()
            .enumerate()
            .map(|(i, (tags, len))| frame(tags, u32::try_from(i).unwrap(), len))
            .collect();
        let (mut out, before) = (sender("vb"), now());
        sent.iter().for_each(|frame| out.sendpacket(&frame[..]).unwrap());
        poll_until(&mut source, &mut keep, |_, keep| ours(keep).len() == sent.len());

        let seen = ours(&keep);
        assert_eq!(seen.iter().map(|packet| packet.bytes.clone()).collect::<Vec<_>>(), sent);
        assert!(seen.iter().all(|packet| packet.orig_len as usize == packet.bytes.len()));
        assert_eq!(keep.interfaces, [port()]);
        assert!(seen.iter().all(|packet| (before..=now()).contains(&packet.timestamp)), "{before} {seen:?}");
        assert!(seen.iter().any(|packet| packet.timestamp.0 % 1000 != 0), "nanoseconds");
        assert_eq!((source.drops().total(), source.health().super_frames), (0, 0));
    });
}

#[test]
fn tag_of_a_vlan_interface_is_kept() {
    in_namespace("tag_of_a_vlan_interface_is_kept", || {
        if !try_ip("link add link vb name vb.7 type vlan id 7") {
            return println!("skipped: this kernel makes no VLAN interfaces");
        }
        ip("link set vb.7 up");
        let (mut source, mut keep) = (source(|_| {}), Keep::default());
        sender("vb.7").sendpacket(&frame(&[], 1, 60)[..]).unwrap();
        poll_until(&mut source, &mut keep, |_, keep| ours(keep).len() == 1);
        assert_eq!(ours(&keep)[0].bytes, frame(&[0x81, 0x00, 0, 7], 1, 64));
    });
}

#[test]
fn silent_link_returns_in_time() {
    in_namespace("silent_link_returns_in_time", || {
        let mut source = source(|options| options.filter = Some("ether proto 0x1234".into()));
        for wait in [0, 1, 100] {
            let (wait, start) = (Duration::from_millis(wait), Instant::now());
            assert_eq!(source.poll(wait, &mut Keep::default()).unwrap(), Polled::Idle);
            assert!(start.elapsed() < wait + Duration::from_secs(1), "{:?}", start.elapsed());
        }
    });
}

#[test]
fn filter_works_in_the_kernel() {
    in_namespace("filter_works_in_the_kernel", || {
        let filter = "ether proto 0x88b5 and ether[14:4] = 2";
        let (mut source, mut keep) =
            (source(|options| options.filter = Some(filter.into())), Keep::default());
        let mut out = sender("vb");
        (0..4).for_each(|number| out.sendpacket(&frame(&[], number, 60)[..]).unwrap());
        poll_until(&mut source, &mut keep, |polled, _| polled == Polled::Packets(1));
        assert_eq!(keep.packets[0].bytes, frame(&[], 2, 60));

        let wrong = LiveOptions { filter: Some("hots 1".into()), ..LiveOptions::new("va") };
        let error = LiveSource::open(wrong).err().unwrap().to_string();
        assert!(error.starts_with("filter 'hots 1': ") && error.contains("syntax error"), "{error}");
    });
}

#[test]
fn snaplen_truncates_and_orig_len_tells() {
    in_namespace("snaplen_truncates_and_orig_len_tells", || {
        let (mut source, mut keep) = (source(|options| options.snaplen = 96), Keep::default());
        sender("vb").sendpacket(&frame(&[], 1, 500)[..]).unwrap();
        poll_until(&mut source, &mut keep, |_, keep| ours(keep).len() == 1);
        let packet = &ours(&keep)[0];
        assert_eq!((packet.bytes.len(), packet.orig_len, keep.interfaces[0].snaplen), (96, 500, 96));
    });
}

#[test]
fn link_lost_and_back() {
    in_namespace("link_lost_and_back", || {
        let (mut source, mut keep) = (source(|_| {}), Keep::default());
        expect_flow_first(&mut source, &mut keep);
        let carrier_only = ("link set vb down", &["link set vb up"][..]);
        let taken_down = ("link set va down", &["link set va up"][..]);
        let made_anew =
            ("link del va", &["link add va type veth peer name vb", "link set va up", "link set vb up"][..]);
        for (round, (lose, regain)) in (1..).zip([carrier_only, taken_down, made_anew]) {
            ip(lose);
            poll_until(&mut source, &mut keep, |polled, _| polled == Polled::LinkDown);
            assert!(!source.health().link_up);
            assert_eq!(source.poll(WAIT, &mut keep).unwrap(), Polled::Idle, "said once");
            regain.iter().for_each(|words| ip(words));
            let start = Instant::now();
            poll_until(&mut source, &mut keep, |polled, _| polled == Polled::LinkUp);
            assert!(start.elapsed() < Duration::from_secs(2), "round {round}: {:?}", start.elapsed());
            assert!(source.health().link_up);
            expect_flow(&mut source, round);
            assert_eq!(source.drops().get(DropCause::LinkDown), u64::from(round));
            assert_eq!(source.drops().total(), u64::from(round));
        }
        assert_eq!((source.health().link_losses, source.health().reopened), (3, 1));
    });
}

/// As [`expect_flow`], before anything was announced.
fn expect_flow_first(source: &mut LiveSource, keep: &mut Keep) {
    sender("vb").sendpacket(&frame(&[], 0, 60)[..]).unwrap();
    poll_until(source, keep, |_, keep| ours(keep).len() == 1);
}

#[test]
fn flap_between_two_looks_is_told() {
    in_namespace("flap_between_two_looks_is_told", || {
        let (mut source, mut keep) = (source(|_| {}), Keep::default());
        expect_flow_first(&mut source, &mut keep);
        ip("link set vb down");
        ip("link set vb up");
        let mut told = Vec::new();
        poll_until(&mut source, &mut keep, |polled, _| {
            told.extend(matches!(polled, Polled::LinkDown | Polled::LinkUp).then_some(polled));
            told.len() == 2
        });
        assert_eq!(told, [Polled::LinkDown, Polled::LinkUp]);
        expect_flow(&mut source, 9);
    });
}

#[test]
fn opened_while_down_begins_when_up() {
    in_namespace("opened_while_down_begins_when_up", || {
        ip("link set va down");
        let (mut source, mut keep) = (source(|_| {}), Keep::default());
        assert_eq!(source.poll(WAIT, &mut keep).unwrap(), Polled::LinkDown);
        assert_eq!(source.poll(WAIT, &mut keep).unwrap(), Polled::Idle);
        ip("link set va up");
        poll_until(&mut source, &mut keep, |polled, _| polled == Polled::LinkUp);
        expect_flow_first(&mut source, &mut keep);
    });
}

#[test]
fn what_the_ring_cannot_hold_is_counted() {
    in_namespace("what_the_ring_cannot_hold_is_counted", || {
        let only_ours = Some("ether src 02:00:00:00:00:01".into());
        let (mut source, mut keep) = (
            source(|options| (options.ring_bytes, options.filter) = (512 * 1024, only_ours)),
            Keep::default(),
        );
        let (mut out, sent) = (sender("vb"), 5_000);
        (0..sent).for_each(|number| out.sendpacket(&frame(&[], number, 1000)[..]).unwrap());
        let mut last = 0;
        poll_until(&mut source, &mut keep, |polled, _| matches!(polled, Polled::Packets(_)));
        poll_until(&mut source, &mut keep, |polled, _| polled == Polled::Idle);
        let drops = source.drops();
        assert!(drops.get(DropCause::RingFull) > 0, "5 MB into half a MiB");
        assert_eq!(keep.packets.len() as u64 + drops.total(), u64::from(sent));
        for packet in &keep.packets {
            let number = u32::from_be_bytes(packet.bytes[14..18].try_into().unwrap());
            assert!(number >= last, "in order");
            last = number;
        }
        assert_eq!(source.drops(), drops, "cumulative");
    });
}

#[test]
fn merged_frames_are_counted() {
    in_namespace("merged_frames_are_counted", || {
        let name = std::env::var("HINDCAP_TEST_NETNS").unwrap();
        ip(&format!("netns add {name}-peer"));
        let _peer = Peer(format!("{name}-peer"));
        ip(&format!("link set vb netns {name}-peer"));
        ip("addr add 10.9.0.1/24 dev va");
        ip(&format!("-n {name}-peer addr add 10.9.0.2/24 dev vb"));
        ip(&format!("-n {name}-peer link set vb up"));
        let listener = std::net::TcpListener::bind("10.9.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let sink = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            std::io::copy(&mut stream, &mut std::io::sink()).unwrap()
        });
        let (mut source, mut keep) = (source(|_| {}), Keep::default());
        let send = format!("head -c 1000000 /dev/zero > /dev/tcp/10.9.0.1/{port}");
        let status = std::process::Command::new("ip")
            .args(["netns", "exec", &format!("{name}-peer"), "bash", "-c", &send])
            .status();
        assert!(status.unwrap().success());
        assert_eq!(sink.join().unwrap(), 1_000_000);
        poll_until(&mut source, &mut keep, |polled, keep| polled == Polled::Idle && !keep.packets.is_empty());
        let merged = keep.packets.iter().filter(|packet| packet.orig_len > 1526).count() as u64;
        assert!(merged > 0, "veth passes merged segments on");
        assert_eq!(source.health().super_frames, merged);
    });
}

/// Deletes the second namespace.
struct Peer(String);

impl Drop for Peer {
    fn drop(&mut self) {
        ip(&format!("netns del {}", self.0));
    }
}

#[test]
fn unknown_interface_names_the_others() {
    in_namespace("unknown_interface_names_the_others", || {
        for wrong in ["vc", "", "../va", "va\0"] {
            match LiveSource::open(LiveOptions::new(wrong)) {
                Err(CaptureError::NoSuchInterface { interface, available }) => {
                    assert_eq!(interface, wrong);
                    assert!(["va", "vb"].iter().all(|name| available.iter().any(|other| other == name)));
                }
                other => panic!("{wrong:?}: {:?}", other.err()),
            }
        }
    });
}
