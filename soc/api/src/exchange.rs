//! One request and everything that comes back, over a link. Repeats the request until it is answered, notes whether the
//! sensor is online, and gives up after silence.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hindcap_link::{Link, LinkEvent, Message, Received};
use hindcap_wire::limits::MESSAGE_BYTES_MAX;
use hindcap_wire::message::status::is_online;
use hindcap_wire::message::{
    self, Ack, Cancel, Channel, Chunk, Encoding, Envelope, Inner, MessageError, Operation, Reply, ReplyBody,
    Request, SCHEMA, SensorId, State, Status, Ulid,
};
use hindcap_wire::time::Timestamp;

use crate::{ApiError, Ask, Event};

/// First pause before an unanswered request is sent again; doubled each time.
const REPEAT_MIN: Duration = Duration::from_secs(10);
/// See [`REPEAT_MIN`].
const REPEAT_MAX: Duration = Duration::from_secs(300);
/// Longest wait inside one step, so that signals are noticed.
const STEP_MAX: Duration = Duration::from_millis(100);
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
    link: Link,
    ask: &'a Ask,
    pub(crate) id: Ulid,
    envelope: Vec<u8>,
    encoding: Encoding,
    expires_in: Duration,
    state: Option<State>,
    status: Option<Status>,
    offline_told: bool,
    connected_at: Option<Instant>,
    answered: bool,
    repeat_at: Option<Instant>,
    repeat_pause: Duration,
    progress_at: Instant,
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
    pub(crate) fn new(
        link: Link,
        ask: &'a Ask,
        request: &Request,
        encoding: Encoding,
    ) -> Result<Self, ApiError> {
        let envelope = seal(request, encoding).map_err(|error| ApiError::Protocol(error.to_string()))?;
        if envelope.len() > hindcap_wire::limits::REQUEST_BYTES_MAX {
            return Err(ApiError::TooLarge(envelope.len()));
        }
        Ok(Self {
            link,
            ask,
            id: request.id,
            envelope,
            encoding,
            expires_in: ask.life,
            state: None,
            status: None,
            offline_told: false,
            connected_at: None,
            answered: false,
            repeat_at: None,
            repeat_pause: REPEAT_MIN,
            progress_at: Instant::now(),
        })
    }

    /// Something got on: patience starts anew.
    pub(crate) fn progressed(&mut self) {
        self.progress_at = Instant::now();
    }

    fn send(&mut self, channel: Channel, payload: Vec<u8>) {
        let message = Message {
            topic: channel.topic(&self.ask.sensor),
            payload,
            content_type: self.encoding.content_type(),
            retain: false,
            expiry: Some(self.expires_in),
            correlation: None,
        };
        // A full outbox means that the broker does not answer; repeating takes care of it.
        let _ = self.link.send(message);
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

    /// Asks the sensor to drop the request, as far as that still gets out, and closes.
    pub(crate) fn give_up(mut self, cancel_id: Ulid, now: Timestamp) {
        let cancel = Operation::Cancel(Cancel { request: self.id });
        if let Ok(payload) = seal(&request(self.ask, cancel_id, now, cancel), self.encoding) {
            self.send(Channel::Request, payload);
        }
        self.link.close(None);
    }

    pub(crate) fn close(self) {
        self.link.close(None);
    }

    /// Waits a little for the next thing.
    pub(crate) fn step(&mut self, watch: &mut dyn FnMut(Event)) -> Result<Step, ApiError> {
        if self.ask.interrupted.load(Ordering::Relaxed) {
            return Err(ApiError::Interrupted);
        }
        let event = self.link.wait(STEP_MAX);
        let step = event.map_or(Ok(Step::Nothing), |event| self.take(event, watch))?;
        self.tell_if_offline(watch);
        if self.link.is_connected() && self.repeat_at.is_some_and(|at| at <= Instant::now()) && !self.answered
        {
            self.ask_again();
        }
        if self.progress_at.elapsed() >= self.ask.timeout {
            return Err(self.timeout());
        }
        Ok(step)
    }

    fn take(&mut self, event: LinkEvent, watch: &mut dyn FnMut(Event)) -> Result<Step, ApiError> {
        match event {
            LinkEvent::Connected { .. } => {
                watch(Event::Connected);
                self.connected_at = Some(Instant::now());
                // The sensor may have missed the request, or we its answer.
                self.ask_again();
                Ok(Step::Connected)
            }
            LinkEvent::Disconnected { reason, denied: true, .. } => Err(ApiError::Denied(reason)),
            LinkEvent::Disconnected { reason, .. } => {
                self.connected_at = None;
                watch(Event::Disconnected(reason));
                Ok(Step::Nothing)
            }
            LinkEvent::Received(received) => {
                let step = self.received(&received);
                self.link.acknowledge(&received.receipt);
                Ok(step)
            }
            LinkEvent::SubscriptionRefused(reason) => {
                Err(ApiError::Denied(format!("the broker refused the subscription: {reason}")))
            }
            LinkEvent::Refused(_, reason) => {
                Err(ApiError::Denied(format!("the broker refused the request: {reason}")))
            }
            _ => Ok(Step::Nothing),
        }
    }

    /// What cannot be read is not for us: other requesters share the topics.
    fn received(&mut self, received: &Received) -> Step {
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
