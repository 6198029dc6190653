//! What a person does with mosquitto_pub, mosquitto_sub and jq; and what nobody should send.

use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use hindcap_wire::message::{self, Alarm, Encoding, EventBody, Reason, Reply, ReplyBody, Severity, Ulid};
use hindcap_wire::time::Timestamp;

use crate::broker::{Mosquitto, until};
use crate::fake::{self, FakeSensor};

const REQUEST: &str = "hindcap/v1/branch-12/down/request";
const ACK: &str = "hindcap/v1/branch-12/down/ack";
const REPLY: &str = "hindcap/v1/branch-12/up/reply";
const JSON: &str = "application/vnd.hindcap.v1+json";

fn id(number: u128) -> Ulid {
    Ulid::new(fake::now(), number)
}

/// An envelope, made by jq as a person would.
fn envelope(id: Ulid, sensor: &str, expires_in_secs: i64, operation: &str) -> Vec<u8> {
    let issued = fake::now();
    let nanos = i64::try_from(issued.0).unwrap() + expires_in_secs * 1_000_000_000;
    let expires = Timestamp(u64::try_from(nanos).unwrap());
    let filter = format!(
        r#"{{schema:1, id:"{id}", sensor:"{sensor}", issued:"{issued}", expires:"{expires}", operation:{operation}}}
           | {{schema:1, inner:tojson}}"#
    );
    let output = Command::new("jq").args(["-nc", &filter]).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success());
    output.stdout
}

const EXTRACT: &str = r#"{extract:{query:{nets:["192.0.2.1"],ports:[80]},limits:{max_bytes:70000}}}"#;

#[test]
fn mosquitto_pub_and_jq_are_enough() {
    let Some(broker) = Mosquitto::start() else { return };
    let _sensor = FakeSensor::start(&broker.url());
    let replies = broker.listen(REPLY, ".body");
    let chunks = broker.listen("hindcap/v1/branch-12/up/chunk", "{index, bytes: (.bytes|length)}");
    let id = id(1);
    broker.publish(REQUEST, JSON, &envelope(id, "branch-12", 60, EXTRACT));
    replies.wait_for(r#"{"accepted":{"queued_before":0}}"#);
    let manifest = replies.wait_for("manifest");
    assert!(manifest.contains(r#""bytes":70000"#) && manifest.contains(r#""chunks":2"#), "{manifest}");
    chunks.wait_for(r#"{"index":0,"bytes":87384}"#);
    chunks.wait_for(r#"{"index":1,"bytes":5952}"#);
    let ack = format!(r#"{{"schema":1,"job":"{id}","complete_below":2}}"#);
    broker.publish(ACK, JSON, ack.as_bytes());
    replies.wait_for(r#"{"done":{"outcome":"done","detail":""}}"#);
    // Status and search by hand; JSON is recognised without its content type.
    broker.publish(REQUEST, "", &envelope(self::id(2), "branch-12", 60, r#""status""#));
    assert!(replies.wait_for(r#""status""#).contains(r#""unsigned_requests":true"#));
    broker.publish(REQUEST, JSON, &envelope(self::id(3), "branch-12", 60, "{search:{limit:1}}"));
    let answer = replies.wait_for(r#"{"sessions":{"#);
    assert!(answer.contains(r#""client":"192.0.2.1""#), "{answer}");
}

#[test]
fn alarms_are_events_and_wait_for_a_broker() {
    let Some(mut broker) = Mosquitto::start() else { return };
    let sensor = FakeSensor::start(&broker.url());
    let words = "[.sensor, .at, (.body | keys[0]), (.body[] | .code, .severity)] | join(\" \")";
    let filter = &format!("if .body.probe then \"probe\" else {words} end");
    let raised = broker.listen("hindcap/v1/branch-12/up/event", filter);
    let alarm = |code: &str| Alarm {
        code: code.to_owned(),
        severity: Severity::Critical,
        text: "writing fails".to_owned(),
        advice: "look at the card".to_owned(),
        since: Timestamp(1),
    };
    let tell = |body| sensor.fake.events.lock().unwrap().push_back((Timestamp(1_000_000_000), body));
    tell(EventBody::AlarmRaised(alarm("storage_failing")));
    let line = raised.wait_for("alarm_raised storage_failing critical");
    assert!(line.starts_with("\"branch-12 1970-01-01T00:00:01"), "{line}");
    // What happens while there is no broker waits for the next one.
    broker.kill();
    until("the loss", || !sensor.uplink.as_ref().unwrap().is_connected());
    tell(EventBody::AlarmCleared(alarm("storage_failing")));
    let waiting = || sensor.fake.events.lock().unwrap().len();
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(waiting(), 1, "two looks of the engine later");
    broker.resume();
    until("the event to be taken", || waiting() == 0);
}

#[test]
fn one_identifier_has_one_effect() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut sensor = FakeSensor::start(&broker.url());
    let replies = broker.listen(REPLY, "(.body // {}) | keys[0]");
    let search = envelope(id(4), "branch-12", 60, "{search:{limit:1}}");
    for times in 1..=3 {
        broker.publish(REQUEST, JSON, &search);
        until("an answer each time", || {
            replies.lines().iter().filter(|line| *line == r#""done""#).count() >= times
        });
    }
    sensor.stop();
    sensor.resume();
    broker.publish(REQUEST, JSON, &search);
    until("the answer after a restart", || {
        replies.lines().iter().filter(|line| *line == r#""done""#).count() >= 4
    });
    assert_eq!(sensor.fake.begun.load(Ordering::SeqCst), 1);
    assert_eq!(replies.lines().iter().filter(|line| *line == r#""accepted""#).count(), 1);
    // An extraction under way tells its manifest again, for a requester that missed it, and is not done twice.
    let extract = envelope(id(9), "branch-12", 60, EXTRACT);
    for times in 1..=2 {
        broker.publish(REQUEST, JSON, &extract);
        let manifests = || replies.lines().iter().filter(|line| *line == r#""manifest""#).count();
        until("a manifest each time", || manifests() >= times);
    }
    assert_eq!(sensor.fake.begun.load(Ordering::SeqCst), 2);
}

#[test]
fn what_makes_no_sense_is_rejected_with_a_reason() {
    let Some(broker) = Mosquitto::start() else { return };
    let sensor = FakeSensor::start(&broker.url());
    let replies = broker.listen(REPLY, ".body.rejected.reason");
    let reused = id(20);
    broker.publish(REQUEST, JSON, &envelope(reused, "branch-12", 60, "{estimate:{}}"));
    let long_reason = format!(r#"{{extract:{{query:{{filter:"{}"}}}}}}"#, "x".repeat(5_000));
    for (payload, content_type, reason) in [
        (b"\xff\xfegarbage".to_vec(), JSON, "malformed"),
        (Vec::from(*b"{"), JSON, "malformed"),
        (Vec::from(*br#"{"schema":1,"inner":"{}"}"#), JSON, "malformed"),
        (Vec::from(*br#"{"schema":2,"inner":"x"}"#), JSON, "unknown_version"),
        (envelope(id(10), "branch-12", 60, "{format_disk:{}}"), JSON, "unknown_operation"),
        (envelope(id(11), "branch-13", 60, EXTRACT), JSON, "wrong_sensor"),
        (envelope(id(12), "branch-12", -1, EXTRACT), JSON, "expired"),
        (envelope(id(13), "branch-12", 30 * 86_400, EXTRACT), JSON, "expired"),
        (
            envelope(id(14), "branch-12", 60, r#"{extract:{query:{proto:1,ports:[80]}}}"#),
            JSON,
            "invalid_query",
        ),
        (envelope(id(15), "branch-12", 60, &long_reason), JSON, "invalid_query"),
        (envelope(id(16), "branch-12", 60, r#"{search:{limit:5000}}"#), JSON, "invalid_query"),
        (envelope(id(17), "branch-12", 60, r#"{extract:{query:{colour:1}}}"#), JSON, "malformed"),
        (
            envelope(id(18), "branch-12", 60, &format!(r#"{{cancel:{{request:"{}"}}}}"#, id(99))),
            JSON,
            "unknown_request",
        ),
        (envelope(reused, "branch-12", 60, EXTRACT), JSON, "id_in_use"),
        (
            [b"{\"schema\":1,\"inner\":\"".as_slice(), &vec![b' '; 130 * 1024], b"\"}"].concat(),
            JSON,
            "too_large",
        ),
    ] {
        let before = replies.lines().len();
        broker.publish(REQUEST, content_type, &payload);
        until(reason, || replies.lines().len() > before);
        assert_eq!(
            replies.lines()[before],
            format!("\"{reason}\""),
            "{}",
            String::from_utf8_lossy(&payload[..40.min(payload.len())])
        );
    }
    // More than the sensor takes at all: the broker keeps it, and the connection lives on.
    broker.publish(REQUEST, JSON, &vec![b' '; 1_000_000]);
    broker.publish(ACK, JSON, b"garbage");
    let count = replies.lines().len();
    broker.publish(REQUEST, JSON, &envelope(id(30), "branch-12", 60, "{colours:{}}"));
    until("an answer still", || replies.lines().len() > count);
    assert_eq!(sensor.fake.begun.load(Ordering::SeqCst), 0);
}

#[test]
fn answers_use_the_encoding_of_the_request() {
    let Some(broker) = Mosquitto::start() else { return };
    let _sensor = FakeSensor::start(&broker.url());
    let replies = broker.listen_to_bytes(REPLY);
    for (payload, content_type, reason) in [
        (b"\x01".as_slice(), Encoding::Postcard.content_type(), Reason::Malformed),
        (b"\xff\xfe\xff\xffgarbage", "", Reason::Malformed),
        (b"\x07rest", "", Reason::UnknownVersion),
    ] {
        let before = replies.lines().len();
        broker.publish(REQUEST, content_type, payload);
        until("an answer", || replies.lines().len() > before);
        let hex = replies.lines().remove(before);
        let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(digits).collect();
        let reply: Reply = message::decode(&bytes, Encoding::Postcard, bytes.len()).unwrap();
        assert!(
            matches!(&reply.body, ReplyBody::Rejected(rejected) if rejected.reason == reason),
            "{reply:?}"
        );
    }
}

#[test]
fn unsigned_requests_are_refused_unless_switched_on() {
    let Some(broker) = Mosquitto::start() else { return };
    let sensor = FakeSensor::start_with(&broker.url(), |options| options.unsigned_requests = false);
    let replies = broker.listen(REPLY, ".body.rejected");
    broker.publish(REQUEST, JSON, &envelope(id(5), "branch-12", 60, EXTRACT));
    replies.wait_for(r#"{"reason":"unsigned","detail":"unsigned requests are switched off"#);
    let status = broker.listen("hindcap/v1/branch-12/up/status", ".unsigned_requests");
    status.wait_for("false");
    assert_eq!(sensor.fake.begun.load(Ordering::SeqCst), 0);
}

#[test]
fn a_request_expires_and_can_be_cancelled() {
    let Some(broker) = Mosquitto::start() else { return };
    let sensor = FakeSensor::start(&broker.url());
    sensor.fake.blocked.store(true, Ordering::SeqCst);
    let replies = broker.listen(REPLY, "[.request, .body.done.outcome]");
    let (short, long) = (id(6), id(7));
    broker.publish(REQUEST, JSON, &envelope(short, "branch-12", 2, EXTRACT));
    broker.publish(REQUEST, JSON, &envelope(long, "branch-12", 60, EXTRACT));
    replies.wait_for(&format!(r#"["{short}","expired"]"#));
    until("the second job", || sensor.fake.begun.load(Ordering::SeqCst) == 2);
    let cancel = format!(r#"{{cancel:{{request:"{long}"}}}}"#);
    broker.publish(REQUEST, JSON, &envelope(id(8), "branch-12", 60, &cancel));
    replies.wait_for(&format!(r#"["{long}","cancelled"]"#));
    assert!(sensor.spool().is_empty());
}

/// Not a test of its own: the process that [`a_killed_sensor_leaves_its_last_will`] kills.
#[test]
fn sensor_process() {
    if let Ok(url) = std::env::var("HINDCAP_TEST_SENSOR_OF") {
        let _sensor = FakeSensor::start(&url);
        std::thread::sleep(Duration::from_secs(120));
    }
}

#[test]
fn a_killed_sensor_leaves_its_last_will() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "by_hand::sensor_process"])
        .env("HINDCAP_TEST_SENSOR_OF", broker.url())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let states = broker.listen("hindcap/v1/branch-12/up/state", "[.online, .mqtt_session]");
    let birth = states.wait_for("[true");
    process.kill().unwrap();
    process.wait().unwrap();
    let will = states.wait_for("[false");
    // The will is about the connection that died.
    assert_eq!(will.replace("false", "true"), birth);
}
