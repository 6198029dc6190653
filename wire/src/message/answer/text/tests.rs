use alloc::vec;

use super::super::{ClockSpan, SessionRow, Sessions, Span};
use super::*;
use crate::flow::proto;

#[test]
fn bytes_read_as_people_say_them() {
    for (bytes, text) in [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (3_481, "3.4 KiB"),
        (1_048_575, "1.0 MiB"),
        (1 << 30, "1.0 GiB"),
        (u64::MAX, "16.0 EiB"),
    ] {
        assert_eq!(Bytes(bytes).to_string(), text);
    }
}

#[test]
fn an_answer_says_what_it_covers() {
    let window = TimeRange::new(Timestamp::from_parts(60, 0), Timestamp::from_parts(120, 0));
    let mut drops = DropCounts::default();
    drops.add(DropCause::RingFull, 7);
    let answer = Answer {
        window,
        packets: 1,
        bytes: 3_481,
        span: Some(Span { first: Timestamp::from_parts(61, 0), last: Timestamp::from_parts(61, 0) }),
        segments_searched: 90,
        segments_read: 2,
        bytes_read: 32_768,
        coverage: vec![window],
        gaps: vec![Gap { range: window, cause: GapCause::Damage, bytes: 16_384 }],
        drops,
        clock: vec![ClockSpan { range: window, state: ClockState::NotSynchronised }],
        partial: Some(Partial::Unreadable),
        ..Answer::default()
    };
    let minute = "1970-01-01T00:01:00.000000000Z to 1970-01-01T00:02:00.000000000Z";
    let expected = format!(
        "1 packet, 3.4 KiB, 1970-01-01T00:01:01.000000000Z to 1970-01-01T00:01:01.000000000Z\n\
         partial: parts of the store that could hold matches cannot be read back\n\
         window: {minute}\n\
         searched: 90 segments, packets of 2 read (32.0 KiB)\n\
         recorded: the whole window\n\
         gap: damaged on the medium: {minute} (16.0 KiB)\n\
         dropped: 7 packets (ring_full 7)\n\
         clock: not synchronised {minute}\n"
    );
    assert_eq!(answer.to_string(), expected);
}

#[test]
fn an_answer_says_what_policy_left_out() {
    let window = TimeRange::new(Timestamp::from_parts(60, 0), Timestamp::from_parts(120, 0));
    let policy = Policy {
        cutoff: Some(1 << 20),
        sample: 100,
        headers_only: true,
        skip_rules: 2,
        reason: PolicyReason::WearBudget,
    };
    let span = PolicySpan { range: window, since: Timestamp::from_parts(30, 0), policy };
    let left_out = LeftOut { packets: 7, truncated: 3, bytes: 3_481 };
    let thinned = Thinned { policies: vec![span], left_out };
    let expected = "policy: flows cut off at 1.0 MiB (of the packets behind that 1 in 100, without payload); TLS \
                    and QUIC without payload behind the handshake; 2 skip rules; because of the wear budget since \
                    1970-01-01T00:00:30.000000000Z: 1970-01-01T00:01:00.000000000Z to \
                    1970-01-01T00:02:00.000000000Z\nleft out: 7 packets not recorded, 3 truncated, 3.4 KiB\n";
    for text in [
        Answer { thinned: thinned.clone(), ..Answer::default() }.to_string(),
        Estimate { thinned: thinned.clone(), ..Estimate::default() }.to_string(),
        Sessions { thinned: thinned.clone(), ..Sessions::default() }.to_string(),
    ] {
        assert!(text.ends_with(expected), "{text}");
    }
    let why = WhyEmpty::LeftOut { packets: 1 }.to_string();
    assert!(why.ends_with("in this window policy left out 1 packet"), "{why}");
    assert_eq!(Policy::default().to_string(), "everything is recorded");
}

#[test]
fn an_answer_says_what_was_cut_off_its_sessions() {
    let span = |cutoff| PolicySpan {
        range: TimeRange::ALL,
        since: Timestamp(1),
        policy: Policy { cutoff: Some(cutoff), ..Policy::default() },
    };
    let answer = |policies, at_least| Answer {
        cut_off: CutOff { sessions: 1, bytes: 3 << 20, at_least },
        thinned: Thinned { policies, left_out: LeftOut::NONE },
        ..Answer::default()
    };
    let one = answer(vec![span(1 << 20)], false).to_string();
    assert!(one.contains("\ncut off: 3.0 MiB of 1 session by policy at 1.0 MiB\n"), "{one}");
    let two = answer(vec![span(1 << 20), span(1 << 21)], true).to_string();
    assert!(two.contains("\ncut off: at least 3.0 MiB of 1 session by policy\n"), "{two}");
    assert!(!Answer::default().to_string().contains("cut off"));
}

#[test]
fn sessions_are_a_table() {
    let row = SessionRow {
        first: Timestamp::from_parts(60, 0),
        last: Timestamp::from_parts(61, 500_000_000),
        proto: proto::TCP,
        vlan: Some(7),
        client: [192, 0, 2, 1].into(),
        client_port: 40_000,
        server: [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into(),
        server_port: 443,
        packets: 12,
        bytes: 3_481,
        tcp_flags: 0x1b,
        truncated: Some(TruncatedBy::Policy),
        community_id: "1:x".into(),
    };
    let text = Sessions { rows: vec![row], more: true, ..Sessions::default() }.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("FIRST                           SECONDS  PROTO  VLAN  CLIENT"), "{text}");
    assert!(
        lines[1].ends_with(
            "  1.500  tcp    7     192.0.2.1:40000  [2001:db8::1]:443       12   3481  FSP.   policy  1:x"
        ),
        "{text}"
    );
    assert_eq!(lines[2], "more: the list was cut at 1 sessions, older ones follow");
    let none = Sessions { why_empty: Some(WhyEmpty::EmptyStore), ..Sessions::default() };
    assert_eq!(none.to_string(), "empty: nothing has been recorded in this store yet\n");
}

#[test]
fn answers_travel_in_both_encodings() {
    let answer = Answer {
        why_empty: Some(WhyEmpty::Pruned { oldest: Timestamp(9) }),
        partial: Some(Partial::BytesMax(5)),
        ..Answer::default()
    };
    let json = serde_json::to_string(&answer).unwrap();
    assert!(json.contains(r#""why_empty":{"pruned":{"oldest":"1970-01-01T00:00:00.000000009Z"}}"#), "{json}");
    assert_eq!(serde_json::from_str::<Answer>(&json).unwrap(), answer);
    let bytes = postcard::to_allocvec(&answer).unwrap();
    assert_eq!(postcard::from_bytes::<Answer>(&bytes).unwrap(), answer);
}
