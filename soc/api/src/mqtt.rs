//! [`Api`] over an MQTT broker: one connection per request.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hindcap_link::{Broker, Link, LinkEvent, LinkOptions, Random, Received};
use hindcap_wire::limits::{MESSAGE_BYTES_MAX, SEARCH_SESSIONS_MAX};
use hindcap_wire::message::answer::{Estimate, Sessions};
use hindcap_wire::message::status::is_online;
use hindcap_wire::message::topic::PREFIX;
use hindcap_wire::message::{
    self, Channel, Done, Encoding, EstimateOf, Extract, Manifest, Operation, Outcome, ReplyBody, Search,
    SensorId, SessionsPage, State, Status, Ulid,
};
use hindcap_wire::query::Query;
use hindcap_wire::time::Timestamp;

use crate::exchange::{Exchange, Step, request, subscriptions};
use crate::receiver::{Arrival, Receiver, is_sound};
use crate::{Api, ApiError, Ask, Event, Fetched, SensorView};

/// Reads the wall clock.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Chunks that may arrive before they are acknowledged: a quarter of the window, so that it never runs dry.
const ACK_CHUNKS: u32 = 4;
/// Longest time a chunk waits for its acknowledgement.
const ACK_DELAY: Duration = Duration::from_millis(200);
/// Silence after which whatever lacks is asked for again; doubled each time.
const STALL_MIN: Duration = Duration::from_secs(3);
/// See [`STALL_MIN`].
const STALL_MAX: Duration = Duration::from_secs(30);
/// How long to wait for the sensor to say that it has ended, once everything is here and checked.
const DONE_WAIT: Duration = Duration::from_secs(5);
/// Sensors listed at most.
const SENSORS_MAX: usize = 100_000;
/// Retained messages come at once; this much silence is their end.
const RETAINED_QUIET: Duration = Duration::from_millis(500);

/// See the module.
pub struct MqttApi {
    broker: Broker,
    clock: Clock,
    random: Arc<dyn Fn() -> u64 + Send + Sync>,
    encoding: Encoding,
}

impl std::fmt::Debug for MqttApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MqttApi({})", self.broker)
    }
}

impl MqttApi {
    /// Over `broker`. Nothing is connected before something is asked.
    #[must_use]
    pub fn new(broker: Broker, clock: Clock, random: Arc<dyn Fn() -> u64 + Send + Sync>) -> Self {
        Self { broker, clock, random, encoding: Encoding::Postcard }
    }

    fn new_id(&self) -> Ulid {
        let random = u128::from((self.random)()) << 64 | u128::from((self.random)());
        Ulid::new((self.clock)(), random)
    }

    fn link(&self, subscriptions: Vec<String>) -> Result<Link, ApiError> {
        let options = LinkOptions {
            broker: self.broker.clone(),
            client_id: format!("hindcap-soc-{}", self.new_id()),
            session_expiry_secs: 0,
            keep_alive: Duration::from_secs(10),
            subscriptions,
        };
        let random = Arc::clone(&self.random);
        let random: Random = Box::new(move || random());
        Link::start(options, Box::new(|_| None), random).map_err(ApiError::Thread)
    }

    fn exchange<'a>(&self, ask: &'a Ask, operation: Operation) -> Result<Exchange<'a>, ApiError> {
        let request = request(ask, self.new_id(), (self.clock)(), operation);
        let link = self.link(subscriptions(&ask.sensor))?;
        Exchange::new(link, ask, &request, self.encoding)
    }

    /// Runs `follow` over one exchange; when it fails in the middle the sensor is told.
    fn run<T>(
        &self,
        ask: &Ask,
        operation: Operation,
        follow: impl FnOnce(&mut Exchange<'_>) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let mut exchange = self.exchange(ask, operation)?;
        let result = follow(&mut exchange);
        let over =
            matches!(result, Ok(_) | Err(ApiError::Rejected(..) | ApiError::Ended(..) | ApiError::Denied(_)));
        if over {
            exchange.close()
        } else {
            exchange.give_up(self.new_id(), (self.clock)())
        }
        result
    }
}

/// Replies that mean the same to every operation; the others come back.
fn common(body: ReplyBody, watch: &mut dyn FnMut(Event)) -> Result<Option<ReplyBody>, ApiError> {
    match body {
        ReplyBody::Accepted(accepted) => watch(Event::Accepted(accepted)),
        ReplyBody::Progress(progress) => watch(Event::Progress(progress)),
        ReplyBody::Rejected(rejected) => return Err(ApiError::Rejected(rejected.reason, rejected.detail)),
        other => return Ok(Some(other)),
    }
    Ok(None)
}

impl Api for MqttApi {
    fn fetch(
        &mut self,
        ask: &Ask,
        extract: &Extract,
        to: &Path,
        watch: &mut dyn FnMut(Event),
    ) -> Result<Fetched, ApiError> {
        self.run(ask, Operation::Extract(extract.clone()), |exchange| Fetch::new(exchange, to).run(watch))
    }

    fn search(
        &mut self,
        ask: &Ask,
        search: &Search,
        watch: &mut dyn FnMut(Event),
    ) -> Result<Sessions, ApiError> {
        self.run(ask, Operation::Search(search.clone()), |exchange| {
            let mut pages = BTreeMap::new();
            loop {
                let Step::Reply(body) = exchange.step(watch)? else { continue };
                match common(*body, watch)? {
                    Some(ReplyBody::Sessions(page)) if page.pages <= SEARCH_SESSIONS_MAX => {
                        pages.insert(page.page, page);
                    }
                    Some(ReplyBody::Done(done)) => match join(std::mem::take(&mut pages)) {
                        Some(sessions) => return Ok(sessions),
                        None if is_success(done.outcome) => {
                            return Err(ApiError::Protocol("the list of sessions came in parts only".into()));
                        }
                        None => return Err(ApiError::Ended(done.outcome, done.detail)),
                    },
                    _ => {}
                }
            }
        })
    }

    fn estimate(
        &mut self,
        ask: &Ask,
        query: &Query,
        watch: &mut dyn FnMut(Event),
    ) -> Result<Estimate, ApiError> {
        self.run(ask, Operation::Estimate(EstimateOf { query: query.clone() }), |exchange| {
            loop {
                let Step::Reply(body) = exchange.step(watch)? else { continue };
                match common(*body, watch)? {
                    Some(ReplyBody::Estimate(estimate)) => return Ok(estimate),
                    Some(ReplyBody::Done(Done { outcome, detail })) => {
                        return Err(ApiError::Ended(outcome, detail));
                    }
                    _ => {}
                }
            }
        })
    }

    fn order(
        &mut self,
        ask: &Ask,
        operation: &Operation,
        watch: &mut dyn FnMut(Event),
    ) -> Result<ReplyBody, ApiError> {
        self.run(ask, operation.clone(), |exchange| {
            loop {
                let Step::Reply(body) = exchange.step(watch)? else { continue };
                match common(*body, watch)? {
                    Some(ReplyBody::Done(Done { outcome, detail })) => {
                        return Err(ApiError::Ended(outcome, detail));
                    }
                    Some(body) => return Ok(body),
                    None => {}
                }
            }
        })
    }

    fn sensors(&mut self, sensor: Option<&SensorId>, timeout: Duration) -> Result<Vec<SensorView>, ApiError> {
        let level = sensor.map_or("+", SensorId::as_str);
        let filters = ["state", "status"].map(|kind| format!("{PREFIX}/{level}/up/{kind}"));
        let mut link = self.link(filters.into())?;
        let mut seen = BTreeMap::<SensorId, (Option<State>, Option<Status>)>::new();
        let (deadline, mut connected, mut quiet_since) = (Instant::now() + timeout, false, Instant::now());
        while Instant::now() < deadline && !(connected && quiet_since.elapsed() >= RETAINED_QUIET) {
            match link.wait(Duration::from_millis(50)) {
                Some(LinkEvent::Connected { .. }) => (connected, quiet_since) = (true, Instant::now()),
                Some(
                    LinkEvent::Disconnected { reason, denied: true, .. }
                    | LinkEvent::SubscriptionRefused(reason),
                ) => {
                    return Err(ApiError::Denied(reason));
                }
                Some(LinkEvent::Received(received)) => {
                    quiet_since = Instant::now();
                    note(&received, &mut seen);
                    link.acknowledge(&received.receipt);
                }
                _ => {}
            }
        }
        link.close(None);
        if !connected {
            return Err(ApiError::Timeout { waiting_for: "the broker", offline_since: None });
        }
        Ok(seen.into_iter().map(|(sensor, (state, status))| view(sensor, state, status)).collect())
    }
}

fn note(received: &Received, seen: &mut BTreeMap<SensorId, (Option<State>, Option<Status>)>) {
    let encoding = Encoding::of(received.content_type.as_deref(), &received.payload);
    let level = received.topic.strip_prefix(PREFIX).and_then(|rest| rest.split('/').nth(1));
    let Some(sensor) = level.and_then(|level| level.parse::<SensorId>().ok()) else { return };
    let channel = Channel::of(&received.topic, &sensor);
    if seen.len() >= SENSORS_MAX && !seen.contains_key(&sensor) {
        return;
    }
    let (state, status) = seen.entry(sensor).or_default();
    match channel {
        Some(Channel::State) => {
            *state = message::decode(&received.payload, encoding, MESSAGE_BYTES_MAX).ok().or(state.take());
        }
        Some(Channel::Status) => {
            *status = message::decode(&received.payload, encoding, MESSAGE_BYTES_MAX).ok().or(status.take());
        }
        _ => {}
    }
}

fn view(sensor: SensorId, state: Option<State>, status: Option<Status>) -> SensorView {
    let online = state.as_ref().is_some_and(|state| is_online(state, status.as_ref()));
    SensorView { sensor, online, state, status }
}

fn is_success(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Done | Outcome::Partial)
}

/// All pages as one list; `None` when one is missing.
fn join(pages: BTreeMap<u32, SessionsPage>) -> Option<Sessions> {
    let expected = pages.values().next()?.pages;
    if pages.len() != expected as usize {
        return None;
    }
    let mut pages = pages.into_values().map(|page| page.sessions);
    let mut sessions = pages.next()?;
    pages.for_each(|page| sessions.rows.extend(page.rows));
    Some(sessions)
}

/// One extraction on its way to us.
struct Fetch<'a, 'b> {
    exchange: &'a mut Exchange<'b>,
    to: &'a Path,
    receiver: Option<Receiver>,
    unacknowledged: u32,
    arrived_at: Instant,
    asked_at: Instant,
    stall: Duration,
    damaged_before: bool,
}

impl<'a, 'b> Fetch<'a, 'b> {
    fn new(exchange: &'a mut Exchange<'b>, to: &'a Path) -> Self {
        let now = Instant::now();
        Self {
            exchange,
            to,
            receiver: None,
            unacknowledged: 0,
            arrived_at: now,
            asked_at: now,
            stall: STALL_MIN,
            damaged_before: false,
        }
    }

    fn file_error(&self, error: std::io::Error) -> ApiError {
        ApiError::File { path: self.to.into(), error }
    }

    fn run(mut self, watch: &mut dyn FnMut(Event)) -> Result<Fetched, ApiError> {
        loop {
            match self.exchange.step(watch)? {
                Step::Reply(body) => match common(*body, watch)? {
                    Some(ReplyBody::Manifest(manifest)) => self.manifest(*manifest, watch)?,
                    Some(ReplyBody::Done(done)) => return self.ended(done),
                    _ => {}
                },
                Step::Chunk(chunk) => {
                    let arrival = self.receiver.as_mut().map(|receiver| receiver.take(&chunk)).transpose();
                    if arrival.map_err(|error| self.file_error(error))? == Some(Arrival::New) {
                        self.exchange.progressed();
                        (self.arrived_at, self.stall) = (Instant::now(), STALL_MIN);
                        self.unacknowledged += 1;
                        watch(Event::Arrived(self.receiver.as_ref().map_or(0, Receiver::bytes)));
                    }
                }
                // The request was repeated, which makes the sensor send again.
                Step::Connected | Step::Nothing => {}
            }
            if self.receiver.as_ref().is_some_and(Receiver::is_complete) {
                if self.is_verified()? {
                    return self.complete(watch);
                }
            } else {
                self.acknowledge_if_due();
            }
        }
    }

    fn manifest(&mut self, manifest: Manifest, watch: &mut dyn FnMut(Event)) -> Result<(), ApiError> {
        if self.receiver.as_ref().is_some_and(|receiver| receiver.manifest().sha256 == manifest.sha256) {
            // The sensor starts at the first chunk again unless it is told.
            self.send_ack(false);
            return Ok(());
        }
        if !is_sound(&manifest) || manifest.job != self.exchange.id {
            return Err(ApiError::Protocol("a manifest that contradicts itself".into()));
        }
        watch(Event::Manifest(Box::new(manifest.clone())));
        self.receiver = None;
        let receiver = Receiver::create(manifest, self.to).map_err(|error| self.file_error(error))?;
        self.receiver = Some(receiver);
        self.arrived_at = Instant::now();
        Ok(())
    }

    fn send_ack(&mut self, resend: bool) {
        if let Some(receiver) = &self.receiver {
            self.exchange.acknowledge(&receiver.ack(resend));
            self.unacknowledged = 0;
            self.asked_at = Instant::now();
        }
    }

    fn acknowledge_if_due(&mut self) {
        let waiting = self.arrived_at.max(self.asked_at).elapsed();
        let due = self.unacknowledged >= ACK_CHUNKS || self.unacknowledged > 0 && waiting >= ACK_DELAY;
        if due {
            self.send_ack(false);
        } else if self.receiver.is_some() && waiting >= self.stall {
            self.stall = (self.stall * 2).min(STALL_MAX);
            self.send_ack(true);
        }
    }

    /// Checks the whole before the sensor may forget it.
    fn is_verified(&mut self) -> Result<bool, ApiError> {
        let verified = self.receiver.as_mut().map(Receiver::verify).transpose();
        let fine = verified.map_err(|error| self.file_error(error))?.unwrap_or(false);
        if !fine {
            if self.damaged_before {
                return Err(ApiError::Damaged);
            }
            self.damaged_before = true;
            self.exchange.ask_again();
            self.send_ack(true);
        }
        Ok(fine)
    }

    fn complete(mut self, watch: &mut dyn FnMut(Event)) -> Result<Fetched, ApiError> {
        let deadline = Instant::now() + DONE_WAIT;
        self.send_ack(false);
        let mut done = None;
        while done.is_none() && Instant::now() < deadline {
            match self.exchange.step(watch) {
                Ok(Step::Reply(body)) => {
                    if let ReplyBody::Done(end) = *body {
                        done = Some(end);
                    }
                }
                Ok(Step::Connected) => self.send_ack(false),
                Ok(_) if self.asked_at.elapsed() >= Duration::from_secs(1) => self.send_ack(false),
                Ok(_) => {}
                // Everything is here: silence now is no failure.
                Err(_) => break,
            }
        }
        self.placed(done)
    }

    fn placed(self, done: Option<Done>) -> Result<Fetched, ApiError> {
        let path = self.to.to_path_buf();
        let Some(receiver) = self.receiver else {
            return Err(ApiError::Protocol("the end without a manifest".into()));
        };
        let manifest = receiver.manifest().clone();
        let done = done.unwrap_or_else(|| Done {
            outcome: if manifest.answer.is_partial() { Outcome::Partial } else { Outcome::Done },
            detail: String::new(),
        });
        let empty = manifest.packets == 0;
        let path = if empty {
            None
        } else {
            Some(receiver.place().map_err(|error| ApiError::File { path, error })?)
        };
        Ok(Fetched { manifest, outcome: done.outcome, detail: done.detail, path })
    }

    /// The sensor says that it is over before everything is here: an empty result, or none.
    fn ended(self, done: Done) -> Result<Fetched, ApiError> {
        let complete = self.receiver.as_ref().is_some_and(Receiver::is_complete);
        if complete { self.placed(Some(done)) } else { Err(ApiError::Ended(done.outcome, done.detail)) }
    }
}
