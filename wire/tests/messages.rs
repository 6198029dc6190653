//! The documents between sensor and SOC, byte for byte: every kind in both encodings against files under `golden/`, so
//! that what this version writes stays readable for ever. `HINDCAP_BLESS=1 cargo test` writes the files anew; a change in
//! them is a new schema version.

// Helpers outside `#[test]` functions are tests as well.
#![allow(clippy::unwrap_used)]

use std::fmt::Debug;
use std::fs;
use std::path::PathBuf;

use hindcap_wire::drops::DropCounts;
use hindcap_wire::limits::{MESSAGE_BYTES_MAX, REQUEST_BYTES_MAX};
use hindcap_wire::message::alarm::{ALARM_TEXT_MAX, ALARMS_SHOWN_MAX};
use hindcap_wire::message::answer::{
    Answer, Estimate, Gap, GapCause, Partial, PolicySpan, SessionRow, Sessions, Span, Thinned, WhyEmpty,
};
use hindcap_wire::message::status::is_online;
use hindcap_wire::message::*;
use hindcap_wire::packet::LinkType;
use hindcap_wire::policy::{LeftOut, Policy};
use hindcap_wire::query::{End, Ends, Query};
use hindcap_wire::time::{ClockState, TimeRange, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

const AT: Timestamp = Timestamp(1_795_253_400_000_000_001);
const ID: Ulid = Ulid(0x019a_a5b1_23e5_0102_0304_0506_0708_090a);
const ENCODINGS: [(Encoding, &str); 2] = [(Encoding::Json, "json"), (Encoding::Postcard, "hex")];

fn sensor() -> SensorId {
    "branch-12".parse().unwrap()
}

fn query() -> Query {
    Query {
        time: TimeRange::new(AT, Timestamp::MAX),
        nets: vec!["192.0.2.1".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
        ports: vec![443],
        src: End { net: Some("10.0.0.0/8".parse().unwrap()), port: None },
        dst: End { net: None, port: Some(53) },
        proto: Some(17),
        vlan: Some(7),
        mac: Some("02:00:5e:10:00:01".parse().unwrap()),
        community_id: Some("1:LQU9qZlK+B5F3KDmev6m5PMibrg=".into()),
        filter: Some("udp".into()),
        session: true,
        or: vec![Ends { ports: vec![8080], ..Ends::default() }],
    }
}

fn request(operation: Operation) -> Request {
    Request {
        schema: SCHEMA,
        id: ID,
        sensor: sensor(),
        issued: AT,
        expires: AT.plus_nanos(3_600_000_000_000),
        reason: Some("alert 2019401".into()),
        case: None,
        operation,
    }
}

fn operations() -> [(&'static str, Operation); 13] {
    let limits = Limits { max_bytes: Some(1 << 30), max_packets: None, snaplen: Some(96) };
    let hold = Hold {
        query: query(),
        for_secs: Some(90 * 86_400),
        partial: Some(HoldPart::Oldest),
        who: Some("analyst".into()),
    };
    let pin =
        Pin { query: query(), for_secs: Some(86_400), max_bytes: Some(1 << 30), who: Some("analyst".into()) };
    [
        ("extract", Operation::Extract(Extract { query: query(), limits, format: Format::Pcapng })),
        ("search", Operation::Search(Search { query: Query::default(), limit: 10 })),
        ("estimate", Operation::Estimate(EstimateOf { query: Query::default() })),
        ("status", Operation::Status),
        ("cancel", Operation::Cancel(Cancel { request: ID })),
        ("hold", Operation::Hold(hold)),
        ("release", Operation::Release(Release { hold: HoldId::of_request(ID) })),
        ("holds", Operation::Holds),
        ("pin", Operation::Pin(pin)),
        ("unpin", Operation::Unpin(Unpin { pin: PinId::of_request(ID) })),
        ("pins", Operation::Pins),
        ("summary", Operation::Summary(Summarise { query: query(), rows: 10 })),
        ("jobs", Operation::Jobs),
    ]
}

fn answer() -> Answer {
    let window = TimeRange::new(AT, AT.plus_nanos(60_000_000_000));
    Answer {
        window,
        packets: 12,
        bytes: 3_481,
        span: Some(Span { first: AT, last: AT.plus_nanos(1) }),
        segments_searched: 90,
        segments_read: 2,
        bytes_read: 32_768,
        coverage: vec![window],
        gaps: vec![Gap { range: window, cause: GapCause::Damage, bytes: 16_384 }],
        drops: DropCounts([1, 2, 3, 4, 5, 6]),
        thinned: Thinned {
            policies: vec![PolicySpan {
                range: TimeRange::ALL,
                since: Timestamp(9),
                policy: Policy::default(),
            }],
            left_out: LeftOut { packets: 1, truncated: 2, bytes: 3 },
        },
        partial: Some(Partial::PacketsMax(12)),
        why_empty: Some(WhyEmpty::Pruned { oldest: AT }),
        notes: vec!["a note".into()],
        ..Answer::default()
    }
}

fn alarm() -> Alarm {
    let (text, advice) = ("eth1 has no link: nothing is captured".into(), "look at the cable".into());
    Alarm { code: "link_down".into(), severity: Severity::Critical, text, advice, since: AT }
}

fn card() -> CardStatus {
    CardStatus {
        place: "fat:/dev/nvme0n1".into(),
        label: "OFFICE 7".into(),
        medium: MediumStatus {
            kind: MediumKind::Nvme,
            name: "nvme0n1".into(),
            model: "Example 2280".into(),
            serial: "S1".into(),
            size_bytes: Some(256_060_514_304),
            used_permille: Some(850),
            spare_percent: Some(97),
            written_bytes: Some(127_500_000_000_000),
            media_errors: Some(0),
        },
        state: CardState::ReadOnly,
        since: Some(AT),
        detail: "write: Read-only file system".into(),
        swapped: Some(CardSwap { at: AT, before: "0a".repeat(16), now: "0b".repeat(16) }),
        segments: Some(CardSegments { whole: 807, missing: 2 }),
        event_segments: Some(CardSegments { whole: 379, missing: 0 }),
    }
}

fn wear() -> WearStatus {
    WearStatus {
        bytes_captured: 1_000_000_000,
        bytes_written: 1_004_000_000,
        writes: 1_000,
        small_writes: 3,
        flushes: 990,
        errors: 0,
        write_micros: Some(LatencyStatus { p50: 3_071, p99: 12_287, max: 750_000 }),
        flush_micros: None,
        write_amplification_permille: Some(1_000),
        endurance_bytes: Some(150_000_000_000_000),
        endurance_source: Some(EnduranceSource::Registers),
        used_permille: Some(850),
        used_by: Some(UsedBy::Registers),
        written_per_day: Some(304_000_000_000),
        days_left: Some(74),
        budget: Some(BudgetStatus {
            bytes_per_day: 10_000_000_000,
            level_bytes: -1,
            step: 1,
            cutoff_bytes: Some(10_000_000),
        }),
    }
}

fn status() -> Status {
    let store = StoreStatus {
        quota_bytes: 1 << 31,
        used_bytes: 1 << 30,
        segments: 16,
        oldest: Some(AT),
        newest: Some(AT),
        retention_forecast_secs: Some(86_400),
    };
    let capture =
        CaptureStatus { interface: "eth1".into(), link_up: Some(true), packets: 9, ..Default::default() };
    Status {
        sent: AT,
        mqtt_session: MqttSession { run: ID, connection: 3 },
        description: "second shelf".into(),
        version: "0.1.0".into(),
        system: "0.1.0-20261122125829, slot A".into(),
        boot_id: "b".into(),
        uptime_secs: 7,
        unsigned_requests: true,
        capture: Some(capture),
        store: Some(store),
        card: Some(card()),
        wear: Some(wear()),
        events: Some(EventsStatus {
            quota_bytes: 400_000_000,
            used_bytes: 33_554_432,
            packets: 4_000,
            oldest: Some(AT),
            newest: Some(AT),
            pins_active: 1,
            packets_copied: 5_000,
            bytes_copied: 3_000_000,
            segments_missed: 0,
            max_age_secs: Some(365 * 86_400),
        }),
        policy: Some(PolicyStatus {
            policy: Policy { cutoff: Some(1 << 20), sample: 100, ..Policy::default() },
            left_out: LeftOut { packets: 5, truncated: 6, bytes: 7 },
            stored: LeftOut { packets: 50, truncated: 60, bytes: 70 },
        }),
        clock: ClockStatus {
            state: ClockState::Synchronised,
            utc_offset_secs: 3_600,
            offset: Some(ClockOffset { nanos: 1_700_000_000_000_000_000, until: AT }),
        },
        machine: MachineStatus { load_percent: Some(12), ..Default::default() },
        jobs: JobStatus { queued: 1, running: 1, delivering: 0, ended: 4, rejected: 2 },
        config_hash: "c0ffee".into(),
        alarms: vec![alarm()],
        held: Some(HeldStatus {
            share: SHARE,
            next_expiry: Some(AT),
            max_age_secs: Some(90 * 86_400),
            min_age_secs: None,
        }),
        ..Status::new(sensor())
    }
}

fn bodies() -> Vec<(&'static str, ReplyBody)> {
    let row = SessionRow {
        first: AT,
        last: AT,
        proto: 6,
        vlan: Some(7),
        client: [192, 0, 2, 1].into(),
        client_port: 40_000,
        server: [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into(),
        server_port: 443,
        packets: 12,
        bytes: 3_481,
        tcp_flags: 0x1b,
        truncated: None,
        community_id: "1:LQU9qZlK+B5F3KDmev6m5PMibrg=".into(),
    };
    let sessions = Sessions { rows: vec![row], more: true, ..Sessions::default() };
    let manifest = Manifest {
        job: ID,
        format: Format::Pcap,
        link_types: vec![LinkType::ETHERNET],
        packets: 12,
        bytes: 3_481,
        sha256: Sha256([0xab; 32]),
        chunk_bytes: 65_536,
        chunks: 1,
        answer: answer(),
    };
    let rejected = Rejected { reason: Reason::Unsigned, detail: "not signed".into() };
    let progress = Progress { segments_done: 1, segments: 2, packets: 3, bytes: 4 };
    vec![
        ("accepted", ReplyBody::Accepted(Accepted { queued_before: 2 })),
        ("rejected", ReplyBody::Rejected(rejected)),
        ("progress", ReplyBody::Progress(progress)),
        ("manifest", ReplyBody::Manifest(Box::new(manifest))),
        ("sessions", ReplyBody::Sessions(SessionsPage { page: 0, pages: 1, sessions })),
        (
            "estimate",
            ReplyBody::Estimate(Estimate {
                packets_max: 12,
                retention_forecast_secs: Some(9 * 86_400),
                ..Estimate::default()
            }),
        ),
        ("status", ReplyBody::Status(Box::new(status()))),
        ("done", ReplyBody::Done(Done { outcome: Outcome::Gone, detail: "pruned".into() })),
        ("held", ReplyBody::Held(Held { hold: hold(), gone: 1, share: SHARE })),
        ("released", ReplyBody::Released(Released { hold: hold().id, segments: 3, share: SHARE })),
        ("holds", ReplyBody::Holds(HoldList { holds: vec![hold()], share: SHARE })),
        ("pinned", ReplyBody::Pinned(Box::new(pin()))),
        ("unpinned", ReplyBody::Unpinned(Box::new(pin()))),
        ("pins", ReplyBody::Pins(PinList { pins: vec![pin()] })),
        ("summary", ReplyBody::Summary(Box::new(summary()))),
        ("jobs", ReplyBody::Jobs(jobs(progress))),
    ]
}

fn summary() -> Summary {
    let traffic = Traffic { connections: 2, packets: 24, bytes: 6_962 };
    let host = Talker { who: "192.0.2.1".parse().unwrap(), traffic };
    let port = Top {
        by_connections: vec![Talker { who: 443, traffic }],
        by_volume: vec![Talker { who: 443, traffic }],
        distinct: 1,
        inexact: true,
    };
    Summary {
        window: TimeRange::new(AT, Timestamp::MAX),
        total: traffic,
        sources: Top { by_connections: vec![host], by_volume: vec![host], distinct: 1, inexact: false },
        tcp_ports: port,
        segments_read: 2,
        drops: DropCounts([1, 2, 3, 4, 5, 6]),
        notes: vec!["a note".into()],
        ..Summary::default()
    }
}

fn jobs(progress: Progress) -> JobList {
    let request = request(Operation::Jobs);
    let sending = JobStage::Delivering { chunks_arrived: 1, chunks: 2 };
    let stages = [sending, JobStage::Running(progress), JobStage::Queued];
    JobList { jobs: stages.map(|stage| JobInfo::new(&request, stage)).into() }
}

const SHARE: HeldShare = HeldShare { holds: 1, segments: 31, bytes: 31 << 26, segments_max: 36 };

fn pin() -> PinInfo {
    PinInfo {
        id: PinId::of_request(ID),
        query: query(),
        who: "analyst".into(),
        why: "case 17".into(),
        created: AT,
        lasts_secs: 86_400,
        expires: Some(AT.plus_nanos(86_400_000_000_000)),
        max_bytes: 1 << 30,
        state: PinState::Following,
        detail: "3 sessions may go on".into(),
        packets: 12,
        bytes: 3_481,
        span: Some(Span { first: AT, last: AT }),
        segments_missed: 1,
        first_generation: 7,
        overwritten: false,
    }
}

fn hold() -> HoldInfo {
    HoldInfo {
        id: HoldId::of_request(ID),
        who: "analyst".into(),
        why: "case 17".into(),
        created: AT,
        expires: Some(AT.plus_nanos(86_400_000_000_000)),
        lasts_secs: 86_400,
        window: TimeRange::new(AT, Timestamp::MAX),
        segments: 31,
        bytes: 31 << 26,
        follows: true,
        left_out: 2,
    }
}

fn reply(body: ReplyBody) -> Reply {
    Reply { schema: SCHEMA, request: Some(ID), sensor: sensor(), sent: AT, body }
}

fn state(online: bool, connection: u32) -> State {
    let mqtt_session = MqttSession { run: ID, connection };
    State { schema: SCHEMA, sensor: sensor(), online, mqtt_session, sent: AT }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn golden(name: &str, document: &(impl Serialize + DeserializeOwned + PartialEq + Debug)) {
    for (encoding, extension) in ENCODINGS {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.{extension}"));
        let bytes = encode(document, encoding).unwrap();
        let text =
            if extension == "hex" { to_hex(&bytes) } else { String::from_utf8(bytes.clone()).unwrap() };
        if std::env::var_os("HINDCAP_BLESS").is_some() {
            fs::write(&path, format!("{text}\n")).unwrap();
        }
        let known = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(text, known.trim_end(), "{}", path.display());
        let known = if extension == "hex" { from_hex(known.trim_end()) } else { known.into_bytes() };
        assert_eq!(&decode_any(&known, encoding, document), document, "{}", path.display());
    }
}

/// Decodes as the type of `_like`.
fn decode_any<T: DeserializeOwned>(bytes: &[u8], encoding: Encoding, _like: &T) -> T {
    decode(bytes, encoding, MESSAGE_BYTES_MAX).unwrap()
}

#[test]
fn requests_are_as_they_were() {
    for (name, operation) in operations() {
        golden(&format!("request-{name}"), &request(operation));
    }
    let signature = Signature { key_id: "soc-1".into(), ed25519: Blob(vec![0x5a; 64]) };
    for (encoding, name) in ENCODINGS {
        let inner = Inner(encode(&request(Operation::Status), encoding).unwrap());
        let envelope = Envelope { schema: SCHEMA, inner, signature: Some(signature.clone()) };
        if encoding == Encoding::Json {
            golden("envelope", &envelope);
        }
        let bytes = encode(&envelope, encoding).unwrap();
        let back = decode_envelope(&bytes, encoding).unwrap();
        assert_eq!(decode_request(&back.inner.0, encoding).unwrap(), request(Operation::Status), "{name}");
    }
}

#[test]
fn replies_and_results_are_as_they_were() {
    for (name, body) in bodies() {
        golden(&format!("reply-{name}"), &reply(body));
    }
    golden("chunk", &Chunk::new(ID, 3, b"bytes of a savefile".to_vec()));
    let ack = Ack { schema: SCHEMA, job: ID, complete_below: 5, bitmap: Blob(vec![0b110]), resend: true };
    golden("ack", &ack);
    golden("state", &state(true, 3));
    golden("status", &status());
    let event = |body| Event { schema: SCHEMA, sensor: sensor(), at: AT, body };
    golden("event-alarm-raised", &event(EventBody::AlarmRaised(alarm())));
    golden("event-alarm-cleared", &event(EventBody::AlarmCleared(alarm())));
}

#[test]
fn a_status_is_small() {
    let mut status = status();
    let (code, text) = ("name".repeat(5), "d".repeat(ALARM_TEXT_MAX));
    let long = Alarm { code, advice: text.clone(), text, ..alarm() };
    status.alarms = vec![long; ALARMS_SHOWN_MAX + 3];
    // Holds, event ring, policy, wear and the longest alarms together.
    let status = status.fit();
    assert!(encode(&status, Encoding::Json).unwrap().len() <= STATUS_BYTES_MAX);
    assert!(
        status.alarms.len() >= 3 && status.alarms.len() + status.alarms_more as usize == 11,
        "{status:?}"
    );
    let shorter = Status { alarms: vec![alarm(); ALARMS_SHOWN_MAX + 3], ..self::status() }.fit();
    assert!(shorter.alarms.len() > status.alarms.len() && shorter.alarms.len() <= ALARMS_SHOWN_MAX);
    assert_eq!(self::status().fit(), self::status(), "what fits stays");
}

/// Whatever stands in it, and whatever JSON makes of it.
#[test]
fn a_status_fits_its_message() {
    let whole = status();
    for letter in ["x", "\u{1}", "\u{20ac}", "\""] {
        let text = letter.repeat(100_000);
        let (description, system) = (text.clone(), text.clone());
        let mut status = Status { description, system, alarms: vec![alarm(); 8], ..whole.clone() };
        let card = status.card.as_mut().unwrap();
        (card.detail, card.label) = (text.clone(), text.clone());
        status.capture.as_mut().unwrap().interface = text.clone();
        let status = status.fit();
        let bytes = encode(&status, Encoding::Json).unwrap().len();
        assert!(bytes <= STATUS_BYTES_MAX, "{letter:?}: {bytes} bytes");
        assert!(status.description.ends_with(CUT_MARK), "{letter:?}");
        assert!(status.description.len() > 50 && status.description.len() <= DESCRIPTION_BYTES_MAX);
    }
    let long = "x".repeat(DESCRIPTION_BYTES_MAX);
    let status = Status { description: long.clone(), ..whole }.fit();
    assert_eq!(
        (status.description, status.alarms.len()),
        (long, 1),
        "what a configuration may say is shown whole"
    );
}

#[test]
fn a_late_will_of_an_older_connection_loses() {
    let status = status();
    assert!(is_online(&state(true, 3), Some(&status)));
    assert!(
        !is_online(&state(false, 3), Some(&status)),
        "the will of the connection that the status is from"
    );
    assert!(is_online(&state(false, 2), Some(&status)), "the will of an older one");
    assert!(!is_online(&state(false, 2), None));
}

#[test]
fn what_cannot_be_read_is_told_apart() {
    for (encoding, _) in ENCODINGS {
        let bytes = encode(&request(Operation::Status), encoding).unwrap();
        let newer = encode(&Request { schema: 2, ..request(Operation::Status) }, encoding).unwrap();
        let error = decode_request(&newer, encoding).unwrap_err();
        assert_eq!(error, RequestError { id: None, error: MessageError::UnknownVersion(2) });
        let unknown = match encoding {
            Encoding::Json => {
                String::from_utf8(bytes.clone()).unwrap().replace(r#":"status""#, r#":{"juggle":{}}"#).into()
            }
            Encoding::Postcard => [&bytes[..bytes.len() - 1], &[99, 1, 2]].concat(),
        };
        let error = decode_request(&unknown, encoding).unwrap_err();
        assert_eq!(error.id, Some(ID));
        assert!(
            matches!(&error.error, MessageError::UnknownOperation(name) if name == "juggle" || name == "99"),
            "{error:?}"
        );
        let trailing = [bytes.as_slice(), b"x"].concat();
        assert!(matches!(decode_request(&trailing, encoding).unwrap_err().error, MessageError::Malformed(_)));
        let large = vec![b' '; REQUEST_BYTES_MAX + 1];
        assert!(matches!(decode_envelope(&large, encoding), Err(MessageError::TooLarge { .. })));
    }
    let misspelt = br#"{"schema":1,"inner":"","signed":true}"#;
    assert!(
        decode_envelope(misspelt, Encoding::Json).unwrap_err().to_string().contains("unknown field `signed`")
    );
}

#[test]
fn the_content_type_names_the_encoding() {
    let json = Encoding::Json.content_type();
    assert_eq!(Encoding::of(Some(json), b"\x01"), Encoding::Json);
    assert_eq!(Encoding::of(Some(Encoding::Postcard.content_type()), b"{"), Encoding::Postcard);
    assert_eq!(Encoding::of(None, b" {\"schema\":1}"), Encoding::Json);
    assert_eq!(Encoding::of(Some("text/plain"), b"\x01"), Encoding::Postcard);
}

/// Cuts, flips and splices of good documents, and noise: no panic, and whatever is read is written back the same.
#[test]
fn mangled_documents_are_harmless() {
    let mut state = 1_u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below.max(1)
    };
    for (encoding, _) in ENCODINGS {
        let mut seeds: Vec<Vec<u8>> =
            operations().into_iter().map(|(_, op)| encode(&request(op), encoding).unwrap()).collect();
        seeds.extend(bodies().into_iter().map(|(_, body)| encode(&reply(body), encoding).unwrap()));
        for round in 0..20_000 {
            let mut bytes = seeds[random(seeds.len())].clone();
            for _ in 0..=random(4) {
                match random(4) {
                    0 => bytes.truncate(random(bytes.len())),
                    1 if !bytes.is_empty() => {
                        let at = random(bytes.len());
                        bytes[at] ^= 1 << random(8);
                    }
                    2 => bytes.extend(
                        (0..random(9)).map(|_| u8::try_from(random(256)).unwrap()).collect::<Vec<_>>(),
                    ),
                    _ => {
                        let other = &seeds[random(seeds.len())];
                        let (at, from) = (random(bytes.len()), random(other.len()));
                        bytes.splice(at.., other[from..].iter().copied());
                    }
                }
            }
            if let Ok(request) = decode_request(&bytes, encoding) {
                let again = encode(&request, encoding).unwrap();
                assert_eq!(decode_request(&again, encoding).unwrap(), request, "round {round}");
            }
            let _ = decode_envelope(&bytes, encoding);
            let _ = decode::<Reply>(&bytes, encoding, MESSAGE_BYTES_MAX);
            let _ = decode::<Chunk>(&bytes, encoding, MESSAGE_BYTES_MAX);
            let _ = decode::<Status>(&bytes, encoding, MESSAGE_BYTES_MAX);
            if let Ok(ack) = decode::<Ack>(&bytes, encoding, MESSAGE_BYTES_MAX) {
                ChunkSet::new(64).merge(&ack);
            }
        }
    }
}
