//! A sensor without packets: its results are made-up bytes.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hindcap_uplink::{Extracted, Handler, Job, JobError, Options, Uplink};
use hindcap_wire::message::answer::{Answer, Estimate, SessionRow, Sessions, WhyEmpty};
use hindcap_wire::message::{
    EventBody, Extract, Request, Search, SensorId, Status, Summarise, Summary, Traffic,
};
use hindcap_wire::packet::LinkType;
use hindcap_wire::query::Query;
use hindcap_wire::time::Timestamp;

pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_parts(since.as_secs(), since.subsec_nanos())
}

/// Numbers that differ between calls, good enough for identifiers.
pub fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}

pub fn sensor() -> SensorId {
    "branch-12".parse().unwrap()
}

/// The bytes of a result of `length`.
pub fn bytes(length: usize) -> Vec<u8> {
    (0..length as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// `limits.max_bytes` of the request is the length of the result, `limits.max_packets` the number of packets in it.
#[derive(Default)]
pub struct Fake {
    /// Jobs begun.
    pub begun: AtomicU32,
    /// While set, jobs wait until they are cancelled.
    pub blocked: AtomicBool,
    /// Told one by one.
    pub events: Mutex<VecDeque<(Timestamp, EventBody)>>,
}

impl Handler for Fake {
    fn status(&self) -> Status {
        Status { description: "a shelf".into(), version: "0.0.0".into(), ..Status::new(sensor()) }
    }

    fn next_event(&self) -> Option<(Timestamp, EventBody)> {
        self.events.lock().unwrap().pop_front()
    }

    fn check(&self, query: &Query) -> Result<(), String> {
        if query.filter.as_deref() == Some("nonsense") {
            Err("syntax error in the filter".into())
        } else {
            Ok(())
        }
    }

    fn extract(&self, _: &Request, extract: &Extract, job: &mut Job) -> Result<Extracted, JobError> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        while self.blocked.load(Ordering::SeqCst) {
            if job.is_cancelled() {
                return Err(JobError::Cancelled);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let length = usize::try_from(extract.limits.max_bytes.unwrap_or(3_481)).unwrap();
        job.spool.write_all(&bytes(length))?;
        let packets = extract.limits.max_packets.unwrap_or(12);
        let why_empty = (packets == 0).then_some(WhyEmpty::NoSuchTraffic);
        let answer = Answer { packets, bytes: length as u64, why_empty, ..Answer::default() };
        Ok(Extracted { answer, link_types: vec![LinkType::ETHERNET] })
    }

    fn search(&self, _: &Request, search: &Search, _: &mut Job) -> Result<Sessions, JobError> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let row = |number: u32| SessionRow {
            first: Timestamp(number.into()),
            last: Timestamp(number.into()),
            proto: 6,
            vlan: None,
            client: [192, 0, 2, 1].into(),
            client_port: 40_000,
            server: [192, 0, 2, 2].into(),
            server_port: 443,
            packets: 12,
            bytes: 3_481,
            tcp_flags: 0x1b,
            truncated: None,
            community_id: "1:LQU9qZlK+B5F3KDmev6m5PMibrg=".into(),
        };
        Ok(Sessions { rows: (0..search.limit).map(row).collect(), more: true, ..Sessions::default() })
    }

    fn estimate(&self, _: &Request, query: &Query, _: &mut Job) -> Result<Estimate, JobError> {
        match query.vlan {
            Some(_) => Err(JobError::Gone { oldest: Some(Timestamp(1_000_000_000)) }),
            None => Ok(Estimate { packets_max: 12, ..Estimate::default() }),
        }
    }

    fn summary(&self, _: &Request, wanted: &Summarise, _: &mut Job) -> Result<Summary, JobError> {
        let traffic = Traffic { connections: wanted.rows.into(), ..Traffic::default() };
        Ok(Summary { total: traffic, ..Summary::default() })
    }
}

/// A running uplink with a fake sensor behind it.
pub struct FakeSensor {
    pub fake: Arc<Fake>,
    pub uplink: Option<Uplink>,
    options: Options,
    _dir: tempfile::TempDir,
}

impl FakeSensor {
    pub fn start(broker: &str) -> Self {
        Self::start_with(broker, |_| {})
    }

    pub fn start_with(broker: &str, change: impl FnOnce(&mut Options)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = Options::new(broker.parse().unwrap(), sensor(), dir.path().join("state"));
        options.unsigned_requests = true;
        options.keep_alive = Duration::from_secs(5);
        change(&mut options);
        let mut sensor = Self { fake: Arc::default(), uplink: None, options, _dir: dir };
        sensor.resume();
        sensor
    }

    pub fn resume(&mut self) {
        let handler = Arc::clone(&self.fake) as Arc<dyn Handler>;
        let uplink = Uplink::start(self.options.clone(), handler, Arc::new(now), Box::new(random)).unwrap();
        crate::broker::until("the uplink", || uplink.is_connected());
        self.uplink = Some(uplink);
    }

    pub fn stop(&mut self) {
        if let Some(uplink) = self.uplink.take() {
            uplink.stop();
        }
    }

    /// Names of the files in the spool.
    pub fn spool(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.options.state_dir.join("spool")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for FakeSensor {
    fn drop(&mut self) {
        self.stop();
    }
}
