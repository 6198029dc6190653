//! The path between SOC and sensor through a real broker: mosquitto, with its own clients as witnesses. Where mosquitto is
//! missing every test says so and passes.

// Helpers outside `#[test]` functions are tests as well.
#![allow(clippy::unwrap_used)]

mod broker;
mod by_hand;
mod command;
mod fake;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use broker::{Mosquitto, until};
use fake::{FakeSensor, bytes, sensor};
use hindcap_soc_api::{Api, ApiError, Ask, Event, Fetched, MqttApi};
use hindcap_wire::message::{Extract, Limits, Outcome, Search};
use hindcap_wire::query::Query;

fn api(broker: &Mosquitto) -> MqttApi {
    MqttApi::new(broker.url().parse().unwrap(), Arc::new(fake::now), Arc::new(fake::random))
}

fn ask() -> Ask {
    Ask { timeout: broker::DEADLINE, ..Ask::new(sensor()) }
}

fn extract(max_bytes: u64) -> Extract {
    let limits = Limits { max_bytes: Some(max_bytes), ..Limits::default() };
    Extract { limits, ..Extract::default() }
}

fn fetch(broker: &Mosquitto, ask: &Ask, length: u64, to: &Path) -> Result<Fetched, ApiError> {
    api(broker).fetch(ask, &extract(length), to, &mut |_| {})
}

#[test]
fn a_result_arrives_whole_and_leaves_nothing_behind() {
    let Some(broker) = Mosquitto::start() else { return };
    let sensor = FakeSensor::start(&broker.url());
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("case.pcap");
    // Sizes around a chunk, and several windows.
    for length in [1, 65_535, 65_536, 65_537, 3_000_001] {
        let fetched = fetch(&broker, &ask(), length, &to).unwrap();
        assert_eq!((fetched.outcome, fetched.path.as_deref()), (Outcome::Done, Some(&*to)));
        assert!(std::fs::read(&to).unwrap() == bytes(usize::try_from(length).unwrap()), "{length}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    assert!(sensor.spool().is_empty(), "{:?}", sensor.spool());
}

#[test]
fn an_empty_result_makes_no_file() {
    let Some(broker) = Mosquitto::start() else { return };
    let _sensor = FakeSensor::start(&broker.url());
    let dir = tempfile::tempdir().unwrap();
    let mut extract = extract(24);
    extract.limits.max_packets = Some(0);
    let fetched = api(&broker).fetch(&ask(), &extract, &dir.path().join("x"), &mut |_| {}).unwrap();
    assert!(fetched.path.is_none() && fetched.manifest.answer.why_empty.is_some());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_broker_restart_in_the_middle_costs_time_only() {
    let Some(mut broker) = Mosquitto::start() else { return };
    let _sensor = FakeSensor::start(&broker.url());
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("large.pcap");
    const LENGTH: u64 = 20_000_000;
    let (url, mut restarts) = (broker.url(), 0);
    let mut api = MqttApi::new(url.parse().unwrap(), Arc::new(fake::now), Arc::new(fake::random));
    let mut watch = |event: Event| {
        // A third of the way, and again at two thirds: nothing survives in the broker.
        if matches!(event, Event::Arrived(bytes) if bytes > (restarts + 1) * LENGTH / 3) && restarts < 2 {
            restarts += 1;
            broker.kill();
            broker.resume();
        }
    };
    let fetched = api.fetch(&ask(), &extract(LENGTH), &to, &mut watch).unwrap();
    assert_eq!((restarts, fetched.outcome), (2, Outcome::Done));
    assert!(std::fs::read(&to).unwrap() == bytes(usize::try_from(LENGTH).unwrap()));
}

#[test]
fn an_accepted_request_survives_a_restart_of_the_sensor() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut sensor = FakeSensor::start(&broker.url());
    sensor.fake.blocked.store(true, Ordering::SeqCst);
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("case.pcap");
    std::thread::scope(|scope| {
        let client = scope.spawn(|| fetch(&broker, &ask(), 200_000, &to));
        until("the job", || sensor.fake.begun.load(Ordering::SeqCst) == 1);
        sensor.stop();
        sensor.fake.blocked.store(false, Ordering::SeqCst);
        sensor.resume();
        assert_eq!(client.join().unwrap().unwrap().outcome, Outcome::Done);
    });
    assert_eq!(sensor.fake.begun.load(Ordering::SeqCst), 2);
    assert!(std::fs::read(&to).unwrap() == bytes(200_000));
}

#[test]
fn long_lists_come_in_pages_and_estimates_at_once() {
    let Some(broker) = Mosquitto::start() else { return };
    let _sensor = FakeSensor::start(&broker.url());
    let search = Search { query: Query::default(), limit: 1_000 };
    let sessions = api(&broker).search(&ask(), &search, &mut |_| {}).unwrap();
    let order: Vec<u64> = sessions.rows.iter().map(|row| row.first.0).collect();
    assert_eq!((order, sessions.more), ((0..1_000).collect(), true));
    let estimate = api(&broker).estimate(&ask(), &Query::default(), &mut |_| {}).unwrap();
    assert_eq!(estimate.packets_max, 12);
    let gone = Query { vlan: Some(7), ..Query::default() };
    let error = api(&broker).estimate(&ask(), &gone, &mut |_| {}).unwrap_err();
    assert!(
        matches!(&error, ApiError::Ended(Outcome::Gone, detail) if detail.contains("1970-01-01")),
        "{error}"
    );
    let invalid = Query { filter: Some("nonsense".into()), ..Query::default() };
    let error = api(&broker).estimate(&ask(), &invalid, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("syntax error in the filter"), "{error}");
}

#[test]
fn an_offline_sensor_is_waited_for_and_says_since_when() {
    let Some(broker) = Mosquitto::start() else { return };
    let mut sensor = FakeSensor::start(&broker.url());
    let listener = broker.listen("hindcap/v1/branch-12/up/state", ".online");
    listener.wait_for("true");
    sensor.stop();
    listener.wait_for("false");
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("case.pcap");
    let hasty = Ask { timeout: Duration::from_secs(1), ..ask() };
    let error = fetch(&broker, &hasty, 1_000, &to).unwrap_err();
    assert!(matches!(error, ApiError::Timeout { offline_since: Some(Some(_)), .. }), "{error:?}");
    let views = api(&broker).sensors(None, broker::DEADLINE).unwrap();
    assert!(views.len() == 1 && !views[0].online);
    std::thread::scope(|scope| {
        let mut told = false;
        let (broker, to) = (&broker, &to);
        let (sender, offline) = std::sync::mpsc::channel();
        let client = scope.spawn(move || {
            api(broker).fetch(&ask(), &extract(1_000), to, &mut |event| {
                if matches!(event, Event::Offline(Some(_))) && !told {
                    told = true;
                    sender.send(()).unwrap();
                }
            })
        });
        offline.recv_timeout(broker::DEADLINE).unwrap();
        sensor.resume();
        assert_eq!(client.join().unwrap().unwrap().outcome, Outcome::Done);
    });
    // The request that was given up was cancelled, whether it had begun or not; ours was done.
    assert!(std::fs::read(&to).unwrap() == bytes(1_000));
}

#[test]
fn an_unknown_sensor_and_a_missing_broker_are_told_apart() {
    let Some(mut broker) = Mosquitto::start() else { return };
    let hasty = Ask { timeout: Duration::from_secs(3), ..ask() };
    let dir = tempfile::tempdir().unwrap();
    let error = fetch(&broker, &hasty, 1, &dir.path().join("x")).unwrap_err();
    assert_eq!(error.to_string(), "no sensor of this name has ever been seen at this broker");
    broker.kill();
    let error = fetch(&broker, &hasty, 1, &dir.path().join("x")).unwrap_err();
    assert_eq!(error.to_string(), "timed out waiting for the broker");
}
