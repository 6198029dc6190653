//! One request and everything that comes back, without the connection: what to send is put out, what was received is
//! taken in. Repeats the request until it is answered, notes whether the sensor is online, and gives up after silence.

use std::time::{Duration, Instant};

use hindcap_link::{Message, Received};
use hindcap_wire::limits::MESSAGE_BYTES_MAX;
use hindcap_wire::message::status::is_online;
use hindcap_wire::message::{
    self, Ack, Cancel, Channel, Chunk, Encoding, Envelope, Inner, MessageError, Operation, Outcome, Reply,
    ReplyBody, Request, SCHEMA, SensorId, State, Status, Ulid,
};
use hindcap_wire::time::Timestamp;

use crate::{ApiError, Ask, Event, Ticket};

/// First pause before an unanswered request is sent again; doubled each time.
const REPEAT_MIN: Duration = Duration::from_secs(10);
/// See [`REPEAT_MIN`].
const REPEAT_MAX: Duration = Duration::from_secs(300);
/// A sensor that says nothing of itself for this long after connecting is not there.
const RETAINED_WAIT: Duration = Duration::from_secs(2);

/// What one step brought.
#[derive(Debug)]
pub(crate) enum Step {
    /// Nothing that matters.
    Nothing,
    /// A new connection: what was in flight may be lost.
    Connected,
    /// An answer to our request.
    Reply(Box<ReplyBody>),
    /// A part of our result.
    Chunk(Chunk),
}

/// See the module.
pub(crate) struct Exchange<'a> {
    ask: &'a Ask,
    pub(crate) id: Ulid,
    envelope: Vec<u8>,
    encoding: Encoding,
    expires: Timestamp,
    born: Instant,
    /// To be sent, in this order; a few messages at most, since they are taken after every step.
    out: Vec<Message>,
    state: Option<State>,
    status: Option<Status>,
    offline_told: bool,
    connected_at: Option<Instant>,
    answered: bool,
    repeat_at: Option<Instant>,
    repeat_pause: Duration,
    /// When something last got on; absent when silence is no failure any more.
    progress_at: Option<Instant>,
}

/// An envelope around a request, as bytes.
pub(crate) fn seal(request: &Request, encoding: Encoding) -> Result<Vec<u8>, MessageError> {
    let inner = Inner(message::encode(request, encoding)?);
    message::encode(&Envelope { schema: SCHEMA, inner, signature: None }, encoding)
}

/// What a request of `ask` looks like.
pub(crate) fn request(ask: &Ask, id: Ulid, now: Timestamp, operation: Operation) -> Request {
    let life = u64::try_from(ask.life.as_nanos()).unwrap_or(u64::MAX);
    Request {
        schema: SCHEMA,
        id,
        sensor: ask.sensor.clone(),
        issued: now,
        expires: now.plus_nanos(life),
        reason: ask.reason.clone(),
        case: ask.case.clone(),
        operation,
    }
}

/// The topics on which a sensor speaks to us.
pub(crate) fn subscriptions(sensor: &SensorId) -> Vec<String> {
    [Channel::State, Channel::Status, Channel::Reply, Channel::Chunk]
        .map(|channel| channel.topic(sensor))
        .into()
}

impl<'a> Exchange<'a> {
    pub(crate) fn new(ask: &'a Ask, request: &Request, encoding: Encoding) -> Result<Self, ApiError> {
        let envelope = seal(request, encoding).map_err(|error| ApiError::Protocol(error.to_string()))?;
        if envelope.len() > hindcap_wire::limits::REQUEST_BYTES_MAX {
            return Err(ApiError::TooLarge(envelope.len()));
        }
        let ticket =
            Ticket { sensor: ask.sensor.clone(), request: request.id, until: request.expires, envelope };
        Ok(Self::again(ask, ticket, encoding))
    }

    /// The exchange of a request that was sent before.
    pub(crate) fn again(ask: &'a Ask, ticket: Ticket, encoding: Encoding) -> Self {
        Self {
            ask,
            id: ticket.request,
            envelope: ticket.envelope,
            encoding,
            expires: ticket.until,
            born: Instant::now(),
            out: Vec::new(),
            state: None,
            status: None,
            offline_told: false,
            connected_at: None,
            answered: false,
            repeat_at: None,
            repeat_pause: REPEAT_MIN,
            progress_at: Some(Instant::now()),
        }
    }

    pub(crate) const fn ask(&self) -> &'a Ask {
        self.ask
    }

    /// What is to be sent.
    pub(crate) fn outgoing(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.out)
    }

    /// Something got on: patience starts anew.
    pub(crate) fn progressed(&mut self) {
        self.progress_at = self.progress_at.and(Some(Instant::now()));
    }

    /// What matters is here: silence is no failure any more.
    pub(crate) fn content(&mut self) {
        self.progress_at = None;
    }

    fn send(&mut self, channel: Channel, payload: Vec<u8>) {
        self.out.push(Message {
            topic: channel.topic(&self.ask.sensor),
            payload,
            content_type: self.encoding.content_type(),
            retain: false,
            expiry: Some(self.ask.life),
            correlation: None,
        });
    }

    /// Sends the request, again.
    pub(crate) fn ask_again(&mut self) {
        self.send(Channel::Request, self.envelope.clone());
        self.repeat_at = Some(Instant::now() + self.repeat_pause);
        self.repeat_pause = (self.repeat_pause * 2).min(REPEAT_MAX);
    }

    /// Tells what has arrived.
    pub(crate) fn acknowledge(&mut self, ack: &Ack) {
        if let Ok(payload) = message::encode(ack, self.encoding) {
            self.send(Channel::Ack, payload);
        }
    }

    /// Asks the sensor to drop the request, as far as that still gets out.
    pub(crate) fn give_up(&mut self, cancel_id: Ulid, now: Timestamp) {
        let cancel = Operation::Cancel(Cancel { request: self.id });
        if let Ok(payload) = seal(&request(self.ask, cancel_id, now, cancel), self.encoding) {
            self.send(Channel::Request, payload);
        }
    }

    /// A new connection: the sensor may have missed the request, or we its answer.
    pub(crate) fn connected(&mut self) {
        self.connected_at = Some(Instant::now());
        self.ask_again();
    }

    pub(crate) fn disconnected(&mut self) {
        self.connected_at = None;
    }

    /// Looks at the time, between messages.
    ///
    /// # Errors
    /// Nothing was heard for too long.
    pub(crate) fn tick(&mut self, watch: &mut dyn FnMut(Event)) -> Result<(), ApiError> {
        self.tell_if_offline(watch);
        let connected = self.connected_at.is_some();
        if connected && self.repeat_at.is_some_and(|at| at <= Instant::now()) && !self.answered {
            self.ask_again();
        }
        if !self.answered && self.born.elapsed() >= self.ask.life {
            let detail = "the sensor did not take the request in time".to_owned();
            return Err(ApiError::Ended(Outcome::Expired, detail));
        }
        if self.progress_at.is_some_and(|at| at.elapsed() >= self.ask.timeout) {
            return Err(if self.may_stay_queued() { self.queued() } else { self.timeout() });
        }
        Ok(())
    }

    /// Whether the sensor is away and the request may wait for it at the broker.
    pub(crate) fn may_stay_queued(&self) -> bool {
        self.ask.queue && self.connected_at.is_some() && self.offline_told && !self.answered
    }

    /// The end of a request that waits at the broker.
    pub(crate) fn queued(&self) -> ApiError {
        let ticket = Ticket {
            sensor: self.ask.sensor.clone(),
            request: self.id,
            until: self.expires,
            envelope: self.envelope.clone(),
        };
        ApiError::Queued { ticket, last_heard: self.last_heard() }
    }

    /// What cannot be read is not for us: other requesters share the topics.
    pub(crate) fn received(&mut self, received: &Received) -> Step {
        let encoding = Encoding::of(received.content_type.as_deref(), &received.payload);
        let payload = &received.payload;
        match Channel::of(&received.topic, &self.ask.sensor) {
            Some(Channel::State) => {
                self.state = message::decode(payload, encoding, MESSAGE_BYTES_MAX).ok().or(self.state.take());
                self.offline_told &= !self.is_online();
            }
            Some(Channel::Status) => {
                self.status =
                    message::decode(payload, encoding, MESSAGE_BYTES_MAX).ok().or(self.status.take());
            }
            Some(Channel::Reply) => {
                let reply = message::decode::<Reply>(payload, encoding, MESSAGE_BYTES_MAX).ok();
                if let Some(reply) = reply.filter(|reply| reply.request == Some(self.id)) {
                    self.answered = true;
                    self.repeat_at = None;
                    self.progressed();
                    return Step::Reply(Box::new(reply.body));
                }
            }
            Some(Channel::Chunk) => {
                let chunk = message::decode::<Chunk>(payload, encoding, MESSAGE_BYTES_MAX).ok();
                if let Some(chunk) = chunk.filter(|chunk| chunk.job == self.id) {
                    return Step::Chunk(chunk);
                }
            }
            _ => {}
        }
        Step::Nothing
    }

    fn is_online(&self) -> bool {
        self.state.as_ref().is_some_and(|state| is_online(state, self.status.as_ref()))
    }

    fn last_heard(&self) -> Option<Timestamp> {
        self.state.as_ref().map(|state| state.sent).max(self.status.as_ref().map(|status| status.sent))
    }

    fn tell_if_offline(&mut self, watch: &mut dyn FnMut(Event)) {
        let waited = self.connected_at.is_some_and(|at| at.elapsed() >= RETAINED_WAIT);
        let known = self.connected_at.is_some() && self.state.is_some();
        if (waited || known) && !self.is_online() && !self.offline_told {
            self.offline_told = true;
            watch(Event::Offline(self.last_heard()));
        }
    }

    fn timeout(&self) -> ApiError {
        let connected = self.connected_at.is_some();
        let waiting_for = match (connected, self.answered) {
            (false, _) => "the broker",
            (true, false) => "the sensor to answer",
            (true, true) => "the result",
        };
        let offline_since = (connected && !self.is_online()).then(|| self.last_heard());
        ApiError::Timeout { waiting_for, offline_since }
    }
}

/// Replies that mean the same to every operation; the others come back.
pub(crate) fn common(body: ReplyBody, watch: &mut dyn FnMut(Event)) -> Result<Option<ReplyBody>, ApiError> {
    match body {
        ReplyBody::Accepted(accepted) => watch(Event::Accepted(accepted)),
        ReplyBody::Progress(progress) => watch(Event::Progress(progress)),
        ReplyBody::Rejected(rejected) => return Err(ApiError::Rejected(rejected.reason, rejected.detail)),
        other => return Ok(Some(other)),
    }
    Ok(None)
}

/// Whether an outcome comes with a result.
pub(crate) const fn is_success(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Done | Outcome::Partial)
}
