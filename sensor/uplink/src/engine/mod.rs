//! What happens to requests, from arrival to their end. Owns the request queue and the results; its thread is the only
//! one that publishes. Everything that comes in is a call, everything that goes out goes through [`Outlet`].

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hindcap_link::{Link, Message, OutboxFull, Received};
use hindcap_wire::limits::MESSAGE_BYTES_MAX;
use hindcap_wire::message::topic::is_own_reply_topic;
use hindcap_wire::message::{
    self, Ack, Channel, Done, Encoding, JobInfo, JobList, JobStage, MqttSession, Operation, Outcome,
    Progress, Reason, Rejected, ReplyBody, Request, SensorId, Status, Ulid,
};
use hindcap_wire::time::Timestamp;

use crate::admission::Gate;
use crate::handler::Handler;
use crate::journal::{Accepted, Journal, Known};
use crate::limits::CORRELATION_BYTES_MAX;
use crate::outgoing::{self, Address};
use crate::worker::Worker;

mod jobs;
mod status;

use jobs::Parcel;
pub(crate) use status::offline;

/// Where messages go; the link, or a list in tests.
pub(crate) trait Outlet {
    fn send(&mut self, message: Message) -> Result<(), OutboxFull>;
}

impl Outlet for Link {
    fn send(&mut self, message: Message) -> Result<(), OutboxFull> {
        Self::send(self, message).map(|_| ())
    }
}

/// How the engine is set up.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) sensor: SensorId,
    pub(crate) run: Ulid,
    pub(crate) unsigned_requests: bool,
    pub(crate) state_dir: PathBuf,
    pub(crate) spool_bytes_max: u64,
    pub(crate) status_interval: Duration,
}

/// How far an accepted request is.
#[derive(Debug)]
enum Stage {
    Queued,
    Running { cancelled: Arc<AtomicBool>, told: Instant, progress: Progress },
    Delivering(Box<Parcel>),
}

#[derive(Debug)]
struct Active {
    request: Request,
    address: Address,
    stage: Stage,
    /// Decided while the worker is still busy with it.
    ending: Option<Done>,
}

/// See the module.
pub(crate) struct Engine {
    settings: Settings,
    handler: Arc<dyn Handler>,
    worker: Worker,
    journal: Journal,
    /// Accepted and not ended, oldest first.
    active: Vec<Active>,
    /// Final replies of requests that ended lately.
    recent: VecDeque<(Ulid, Vec<ReplyBody>)>,
    mqtt_session: MqttSession,
    online: bool,
    ended: u64,
    rejected: u64,
    status_due: Instant,
    status_look: Instant,
    status_shown: Option<Status>,
    /// An event that found the outbox full.
    event_waiting: Option<Message>,
}

impl Engine {
    pub(crate) fn open(
        settings: Settings,
        handler: Arc<dyn Handler>,
        now: Timestamp,
        instant: Instant,
    ) -> io::Result<Self> {
        let spool_dir = settings.state_dir.join("spool");
        crate::spool::prepare(&spool_dir)?;
        let journal = Journal::open(&settings.state_dir, now)?;
        let worker = Worker::start(Arc::clone(&handler), spool_dir)?;
        let mut active = Vec::new();
        for accepted in journal.active() {
            match message::decode_request(&accepted.inner, accepted.encoding) {
                Ok(request) => active.push(Active::new(request, accepted)),
                Err(error) => log::error!("an accepted request cannot be read back: {}", error.error),
            }
        }
        let mqtt_session = MqttSession { run: settings.run, connection: 0 };
        Ok(Self {
            settings,
            handler,
            worker,
            journal,
            active,
            recent: VecDeque::new(),
            mqtt_session,
            online: false,
            ended: 0,
            rejected: 0,
            status_due: instant,
            status_look: instant,
            status_shown: None,
            event_waiting: None,
        })
    }

    /// The link is up: says who we are.
    pub(crate) fn connected(
        &mut self,
        connection: u32,
        out: &mut dyn Outlet,
        now: Timestamp,
        instant: Instant,
    ) {
        self.online = true;
        self.handler.connection(None);
        self.mqtt_session.connection = connection;
        self.publish_status(out, now, instant);
    }

    /// The link is down, and why.
    pub(crate) fn disconnected(&mut self, reason: &str) {
        self.online = false;
        self.handler.connection(Some(reason));
    }

    /// A message for us.
    pub(crate) fn received(
        &mut self,
        received: &Received,
        out: &mut dyn Outlet,
        now: Timestamp,
        instant: Instant,
    ) {
        let encoding = Encoding::of(received.content_type.as_deref(), &received.payload);
        match Channel::of(&received.topic, &self.settings.sensor) {
            Some(Channel::Request) => {
                let sensor = &self.settings.sensor;
                let address = Address {
                    encoding,
                    reply_topic: received
                        .response_topic
                        .clone()
                        .filter(|topic| is_own_reply_topic(topic, sensor)),
                    correlation: received
                        .correlation
                        .clone()
                        .filter(|data| data.len() <= CORRELATION_BYTES_MAX),
                    expires: now.plus_nanos(3_600_000_000_000),
                };
                self.request(&received.payload, address, out, now, instant);
            }
            Some(Channel::Ack) => self.ack(&received.payload, encoding, out, now, instant),
            _ => log::debug!("a message on a topic that is not ours"),
        }
    }

    fn request(
        &mut self,
        payload: &[u8],
        mut address: Address,
        out: &mut dyn Outlet,
        now: Timestamp,
        instant: Instant,
    ) {
        let gate = Gate {
            sensor: &self.settings.sensor,
            unsigned_requests: self.settings.unsigned_requests,
            handler: &*self.handler,
            now,
        };
        let (request, inner) = match gate.admit(payload, address.encoding) {
            Ok(admitted) => admitted,
            Err((id, rejected)) => return self.reject(id, rejected, &address, out, now),
        };
        address.expires = request.expires;
        match (&request.operation, self.journal.known(request.id, &inner)) {
            (Operation::Status, _) => {
                let status = ReplyBody::Status(Box::new(self.status(now)));
                self.tell(request.id, status, &address, out, now);
            }
            (Operation::Jobs, _) => {
                let jobs = self.active.iter().map(Active::info).collect();
                self.tell(request.id, ReplyBody::Jobs(JobList { jobs }), &address, out, now);
            }
            (Operation::Cancel(cancel), _) => self.cancel(request.id, cancel.request, &address, out, now),
            (_, Some(Known::Active)) => self.repeat(request.id, out, now, instant),
            (_, Some(Known::Ended(outcome))) => self.repeat_end(request.id, outcome, &address, out, now),
            (_, Some(Known::Other)) => {
                let detail = format!("{} is the identifier of another request", request.id);
                let rejected = Rejected { reason: Reason::IdInUse, detail };
                self.reject(Some(request.id), rejected, &address, out, now);
            }
            (_, None) => self.accept(request, inner, address, out, now),
        }
    }

    fn accept(
        &mut self,
        request: Request,
        inner: Vec<u8>,
        address: Address,
        out: &mut dyn Outlet,
        now: Timestamp,
    ) {
        let id = request.id;
        if !self.journal.has_room(now) {
            let detail = format!("{} requests are waiting already", self.active.len());
            return self.reject(Some(id), Rejected { reason: Reason::Busy, detail }, &address, out, now);
        }
        let accepted = Accepted {
            id,
            inner,
            encoding: address.encoding,
            reply_topic: address.reply_topic.clone(),
            correlation: address.correlation.clone(),
            expires: request.expires,
        };
        let active = Active::new(request, &accepted);
        if let Err(error) = self.journal.accept(accepted, now) {
            let detail = format!("the request queue cannot be written: {error}");
            return self.reject(
                Some(id),
                Rejected { reason: Reason::StorageError, detail },
                &address,
                out,
                now,
            );
        }
        log::info!("request {id} accepted");
        self.active.push(active);
        self.tell_accepted(self.active.len() - 1, out, now);
    }

    fn tell_accepted(&self, at: usize, out: &mut dyn Outlet, now: Timestamp) {
        let queued_before = self.active[..at].iter().filter(|other| !other.is_delivering()).count();
        let queued_before = u32::try_from(queued_before).unwrap_or(u32::MAX);
        let body = ReplyBody::Accepted(message::Accepted { queued_before });
        self.reply(self.active[at].request.id, body, &self.active[at].address, out, now);
    }

    /// The same request once more: the requester may have missed what was said.
    fn repeat(&mut self, id: Ulid, out: &mut dyn Outlet, now: Timestamp, instant: Instant) {
        let Some(at) = self.active.iter().position(|active| active.request.id == id) else { return };
        self.tell_accepted(at, out, now);
        if let Stage::Delivering(parcel) = &mut self.active[at].stage {
            parcel.delivery.restart(instant);
            let manifest = ReplyBody::Manifest(Box::new(parcel.manifest.clone()));
            self.reply(id, manifest, &self.active[at].address, out, now);
        }
    }

    fn repeat_end(
        &self,
        id: Ulid,
        outcome: Outcome,
        address: &Address,
        out: &mut dyn Outlet,
        now: Timestamp,
    ) {
        match self.recent.iter().find(|(recent, _)| *recent == id) {
            Some((_, bodies)) => {
                bodies.iter().for_each(|body| self.reply(id, body.clone(), address, out, now));
            }
            None => self.reply(id, done(outcome, "this request has ended before"), address, out, now),
        }
    }

    fn cancel(&mut self, id: Ulid, target: Ulid, address: &Address, out: &mut dyn Outlet, now: Timestamp) {
        let Some(at) = self.active.iter().position(|active| active.request.id == target) else {
            let detail = format!("request {target} is not waiting or at work");
            let rejected = Rejected { reason: Reason::UnknownRequest, detail };
            return self.reject(Some(id), rejected, address, out, now);
        };
        self.finish(
            at,
            Done { outcome: Outcome::Cancelled, detail: "cancelled by request".into() },
            out,
            now,
        );
        self.reply(id, done(Outcome::Done, ""), address, out, now);
    }

    fn ack(
        &mut self,
        payload: &[u8],
        encoding: Encoding,
        out: &mut dyn Outlet,
        now: Timestamp,
        instant: Instant,
    ) {
        let ack = match message::decode::<Ack>(payload, encoding, MESSAGE_BYTES_MAX) {
            Ok(ack) => ack,
            Err(error) => return log::warn!("an acknowledgement cannot be read: {error}"),
        };
        let Some(at) = self.active.iter().position(|active| active.request.id == ack.job) else {
            // The receiver has missed the end.
            let recent = self.recent.iter().find(|(id, _)| *id == ack.job);
            let end = recent.and_then(|(_, bodies)| bodies.last().cloned());
            let address = Address { encoding, reply_topic: None, correlation: None, expires: now };
            return end.into_iter().for_each(|body| self.reply(ack.job, body, &address, out, now));
        };
        let Stage::Delivering(parcel) = &mut self.active[at].stage else { return };
        parcel.delivery.acknowledge(&ack, instant);
        if parcel.delivery.is_complete() {
            let done = parcel.done();
            self.finish(at, done, out, now);
        }
    }

    fn reject(
        &mut self,
        id: Option<Ulid>,
        rejected: Rejected,
        address: &Address,
        out: &mut dyn Outlet,
        now: Timestamp,
    ) {
        self.rejected += 1;
        log::warn!("a request was rejected: {:?}", rejected.reason);
        self.answer(id, ReplyBody::Rejected(rejected), address, out, now);
    }

    /// The whole answer to a request that is no job.
    fn tell(&self, id: Ulid, body: ReplyBody, to: &Address, out: &mut dyn Outlet, now: Timestamp) {
        self.reply(id, body, to, out, now);
        self.reply(id, done(Outcome::Done, ""), to, out, now);
    }

    fn reply(&self, id: Ulid, body: ReplyBody, to: &Address, out: &mut dyn Outlet, now: Timestamp) {
        self.answer(Some(id), body, to, out, now);
    }

    fn answer(&self, id: Option<Ulid>, body: ReplyBody, to: &Address, out: &mut dyn Outlet, now: Timestamp) {
        match outgoing::reply(&self.settings.sensor, id, body, to, now) {
            Ok(message) => {
                if out.send(message).is_err() {
                    log::warn!("a reply was not sent: the outbox is full; the requester will ask again");
                }
            }
            Err(error) => log::error!("a reply cannot be written: {error}"),
        }
    }

    /// Tells the job at work to stop and the worker to end; the request stays accepted.
    pub(crate) fn stop(self) {
        for active in &self.active {
            if let Stage::Running { cancelled, .. } = &active.stage {
                cancelled.store(true, Ordering::Relaxed);
            }
        }
        drop(self.worker.orders);
        if self.worker.thread.join().is_err() {
            log::error!("the worker thread has panicked");
        }
    }
}

fn done(outcome: Outcome, detail: &str) -> ReplyBody {
    ReplyBody::Done(Done { outcome, detail: detail.into() })
}

impl Active {
    fn new(request: Request, accepted: &Accepted) -> Self {
        let address = Address {
            encoding: accepted.encoding,
            reply_topic: accepted.reply_topic.clone(),
            correlation: accepted.correlation.clone(),
            expires: accepted.expires,
        };
        Self { request, address, stage: Stage::Queued, ending: None }
    }

    fn info(&self) -> JobInfo {
        let stage = match &self.stage {
            Stage::Queued => JobStage::Queued,
            Stage::Running { progress, .. } => JobStage::Running(*progress),
            Stage::Delivering(parcel) => JobStage::Delivering {
                chunks_arrived: parcel.delivery.arrived(),
                chunks: parcel.manifest.chunks,
            },
        };
        JobInfo::new(&self.request, stage)
    }

    const fn is_delivering(&self) -> bool {
        matches!(self.stage, Stage::Delivering(_))
    }

    fn spooled_bytes(&self) -> u64 {
        if let Stage::Delivering(parcel) = &self.stage { parcel.spooled.bytes() } else { 0 }
    }
}
