//! [`Api`] over an MQTT broker: one connection for each thing that is asked, of however many sensors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hindcap_link::{Broker, Link, LinkEvent, LinkOptions, Random, Received, Tls};
use hindcap_wire::limits::{MESSAGE_BYTES_MAX, SEARCH_SESSIONS_MAX};
use hindcap_wire::message::answer::{Estimate, Sessions};
use hindcap_wire::message::status::is_online;
use hindcap_wire::message::topic::PREFIX;
use hindcap_wire::message::{
    self, Channel, Done, Encoding, EstimateOf, Extract, Operation, ReplyBody, Search, SensorId, SessionsPage,
    State, Status, Ulid,
};
use hindcap_wire::query::Query;
use hindcap_wire::time::Timestamp;

use crate::crowd::{self, Follow, Member};
use crate::exchange::{Exchange, Step, common, is_success, request, subscriptions};
use crate::fetch::Fetch;
use crate::{Answers, Api, ApiError, Ask, Event, Fetched, SensorView, Ticket, only};

/// Reads the wall clock.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Sensors asked at a time: with a full window of each, what waits for us at the broker stays below the 1,000 messages that
/// mosquitto keeps for a client. More are asked after these.
const AT_ONCE: usize = 48;
/// Sensors listed at most.
const SENSORS_MAX: usize = 100_000;
/// Retained messages come at once; this much silence is their end.
const RETAINED_QUIET: Duration = Duration::from_millis(500);

/// See the module.
pub struct MqttApi {
    broker: Broker,
    tls: Option<Tls>,
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
        Self { broker, tls: None, clock, random, encoding: Encoding::Postcard }
    }

    /// The same, with what TLS needs; a broker that is reached by it is not asked without.
    #[must_use]
    pub fn with_tls(self, tls: Option<Tls>) -> Self {
        Self { tls, ..self }
    }

    fn new_id(&self) -> Ulid {
        let random = u128::from((self.random)()) << 64 | u128::from((self.random)());
        Ulid::new((self.clock)(), random)
    }

    fn link(&self, subscriptions: Vec<String>) -> Result<Link, ApiError> {
        let options = LinkOptions {
            broker: self.broker.clone(),
            tls: self.tls.clone(),
            client_id: format!("hindcap-soc-{}", self.new_id()),
            session_expiry_secs: 0,
            keep_alive: Duration::from_secs(10),
            subscriptions,
        };
        let random = Arc::clone(&self.random);
        let random: Random = Box::new(move || random());
        Link::start(options, Box::new(|_| None), random).map_err(ApiError::Thread)
    }

    /// Asks everybody, [`AT_ONCE`] over one connection, and follows the answers by what `follow` makes, for each in its order.
    fn run<F: Follow>(
        &self,
        asks: &[Ask],
        operation: &Operation,
        mut follow: impl FnMut(usize) -> F,
        watch: &mut dyn FnMut(&SensorId, Event),
    ) -> Result<Answers<F::Answer>, ApiError> {
        let mut answers = Vec::with_capacity(asks.len());
        for asks in asks.chunks(AT_ONCE) {
            let mut members = Vec::with_capacity(asks.len());
            for (number, ask) in (answers.len()..).zip(asks) {
                let request = request(ask, self.new_id(), (self.clock)(), operation.clone());
                members.push(Member::new(Exchange::new(ask, &request, self.encoding)?, follow(number)));
            }
            let link = self.link(asks.iter().flat_map(|ask| subscriptions(&ask.sensor)).collect())?;
            answers.extend(crowd::run(link, members, &|| (self.new_id(), (self.clock)()), watch)?);
        }
        Ok(answers)
    }
}

/// Follows replies that need nothing but themselves.
struct Replies<F>(F);

impl<T, F: FnMut(ReplyBody) -> Result<Option<T>, ApiError>> Follow for Replies<F> {
    type Answer = T;

    fn take(
        &mut self,
        _: &mut Exchange<'_>,
        step: Step,
        watch: &mut dyn FnMut(Event),
    ) -> Result<Option<T>, ApiError> {
        let Step::Reply(body) = step else { return Ok(None) };
        common(*body, watch)?.map_or(Ok(None), &mut self.0)
    }
}

/// Follows a list of sessions, which comes in pages.
fn paged() -> impl FnMut(ReplyBody) -> Result<Option<Sessions>, ApiError> {
    let mut pages = BTreeMap::new();
    move |body| match body {
        ReplyBody::Sessions(page) if page.pages <= SEARCH_SESSIONS_MAX => {
            pages.insert(page.page, page);
            Ok(None)
        }
        ReplyBody::Done(done) => match join(std::mem::take(&mut pages)) {
            Some(sessions) => Ok(Some(sessions)),
            None if is_success(done.outcome) => {
                Err(ApiError::Protocol("the list of sessions came in parts only".into()))
            }
            None => Err(ApiError::Ended(done.outcome, done.detail)),
        },
        _ => Ok(None),
    }
}

impl Api for MqttApi {
    fn fetch_all(
        &mut self,
        asks: &[Ask],
        extract: &Extract,
        to: &[PathBuf],
        watch: &mut dyn FnMut(&SensorId, Event),
    ) -> Result<Answers<Fetched>, ApiError> {
        let place = |number: usize| Fetch::new(to.get(number).map_or(Path::new(""), PathBuf::as_path));
        self.run(asks, &Operation::Extract(extract.clone()), place, watch)
    }

    fn collect(
        &mut self,
        ask: &Ask,
        ticket: &Ticket,
        to: &Path,
        watch: &mut dyn FnMut(Event),
    ) -> Result<Fetched, ApiError> {
        let member = Member::new(Exchange::again(ask, ticket.clone(), self.encoding), Fetch::new(to));
        let link = self.link(subscriptions(&ask.sensor))?;
        let stamp = || (self.new_id(), (self.clock)());
        only(crowd::run(link, vec![member], &stamp, &mut |_, event| watch(event)))
    }

    fn search_all(
        &mut self,
        asks: &[Ask],
        search: &Search,
        watch: &mut dyn FnMut(&SensorId, Event),
    ) -> Result<Answers<Sessions>, ApiError> {
        self.run(asks, &Operation::Search(search.clone()), |_| Replies(paged()), watch)
    }

    fn estimate_all(
        &mut self,
        asks: &[Ask],
        query: &Query,
        watch: &mut dyn FnMut(&SensorId, Event),
    ) -> Result<Answers<Estimate>, ApiError> {
        let take = |body| match body {
            ReplyBody::Estimate(estimate) => Ok(Some(estimate)),
            ReplyBody::Done(Done { outcome, detail }) => Err(ApiError::Ended(outcome, detail)),
            _ => Ok(None),
        };
        let operation = Operation::Estimate(EstimateOf { query: query.clone() });
        self.run(asks, &operation, |_| Replies(take), watch)
    }

    fn order_all(
        &mut self,
        asks: &[Ask],
        operation: &Operation,
        watch: &mut dyn FnMut(&SensorId, Event),
    ) -> Result<Answers<ReplyBody>, ApiError> {
        let take = |body| match body {
            ReplyBody::Done(Done { outcome, detail }) => Err(ApiError::Ended(outcome, detail)),
            body => Ok(Some(body)),
        };
        self.run(asks, operation, |_| Replies(take), watch)
    }

    fn sensors(&mut self, sensor: Option<&SensorId>, timeout: Duration) -> Result<Vec<SensorView>, ApiError> {
        let level = sensor.map_or("+", SensorId::as_str);
        let filters = ["state", "status"].map(|kind| format!("{PREFIX}/{level}/up/{kind}"));
        let mut link = self.link(filters.into())?;
        let mut seen = BTreeMap::<SensorId, (Option<State>, Option<Status>)>::new();
        let (deadline, mut connected, mut quiet_since) = (Instant::now() + timeout, false, Instant::now());
        let mut why_not = None;
        while Instant::now() < deadline && !(connected && quiet_since.elapsed() >= RETAINED_QUIET) {
            match link.wait(Duration::from_millis(50)) {
                Some(LinkEvent::Connected { .. }) => (connected, quiet_since) = (true, Instant::now()),
                Some(
                    LinkEvent::Disconnected { reason, denied: true, .. }
                    | LinkEvent::SubscriptionRefused(reason),
                ) => {
                    return Err(ApiError::Denied(reason));
                }
                Some(LinkEvent::Disconnected { reason, .. }) => why_not = Some(reason),
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
            let timeout = ApiError::Timeout { waiting_for: "the broker", offline_since: None };
            return Err(why_not.map_or(timeout, ApiError::Unreachable));
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
