//! One MQTT 5 connection with an outbox of its own: what sensor and SOC share above rumqttc.
//!
//! A [`Link`] has a polling thread that connects, with back-off and jitter, for as long as the link lives. Its owner calls
//! [`Link::send`] and [`Link::wait`] from one thread; neither ever waits for the network. Messages stay in the
//! [outbox](OutboxFull) until the broker has acknowledged them and are sent again on every new connection; PUBACK is not
//! delivery, so whatever must arrive is acknowledged end to end by the messages themselves.
//!
//! A received message is acknowledged to the broker by [`Link::acknowledge`], after it has had its effect.
//!
//! A broker is reached by TCP, or by TLS 1.3 with what [`Tls`] has read and checked.
//!
//! Bounds are in [`limits`]. This crate holds no Hindcap document and decides nothing.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rumqttc::v5::AsyncClient;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Filter, Publish, PublishProperties};

mod address;
pub mod limits;
mod outbox;
mod poll;
mod tls;

pub use address::{Broker, ParseBrokerError};
pub use outbox::{Message, OutboxFull, Token};
pub use poll::{Random, WillOf};
pub use tls::{Ending, Identity, Known, TimeSource, Tls, TlsError, Trust, Whose, certificates_end, day};

use limits::{CHANNEL, EVENTS, FAREWELL};
use outbox::Outbox;
use poll::{Poller, Raw, Stop};

/// How to connect.
#[derive(Clone, Debug)]
pub struct LinkOptions {
    /// Where to.
    pub broker: Broker,
    /// How to speak TLS, for a broker that is reached by it; no other uses it.
    pub tls: Option<Tls>,
    /// MQTT client identifier; two clients with one name throw each other out.
    pub client_id: String,
    /// How long the broker keeps subscriptions and messages while we are away; 0: it forgets at once.
    pub session_expiry_secs: u32,
    /// How often to show that we live, at least five seconds.
    pub keep_alive: Duration,
    /// Topic filters, subscribed on every connection.
    pub subscriptions: Vec<String>,
}

/// What happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum LinkEvent {
    /// Connected; subscriptions are on their way, and after them everything in the outbox.
    Connected {
        /// How many connections were tried, this one included.
        connection: u32,
        /// Whether the broker still knew us.
        session_present: bool,
        /// The largest packet that the broker takes.
        packet_bytes_max: Option<u32>,
    },
    /// The connection is lost, or could not be made.
    Disconnected {
        /// Why, for people.
        reason: String,
        /// Whether the broker does not want us; trying again hardly helps.
        denied: bool,
        /// When the next attempt is.
        retry_in: Duration,
    },
    /// A message.
    Received(Box<Received>),
    /// The broker has this message; that is not delivery.
    Acknowledged(Token),
    /// The broker will not take this message.
    Refused(Token, String),
    /// The broker will not deliver a subscription.
    SubscriptionRefused(String),
}

/// A message that was received.
#[derive(Debug)]
pub struct Received {
    /// Where it was published.
    pub topic: String,
    /// Its bytes.
    pub payload: Vec<u8>,
    /// MQTT 5 content type.
    pub content_type: Option<String>,
    /// MQTT 5 response topic.
    pub response_topic: Option<String>,
    /// MQTT 5 correlation data.
    pub correlation: Option<Vec<u8>>,
    /// Whether it is from before the subscription.
    pub retained: bool,
    /// For [`Link::acknowledge`].
    pub receipt: Receipt,
}

/// Shows that a message was received.
#[derive(Debug)]
pub struct Receipt {
    publish: Publish,
    connection: u32,
}

/// See the crate.
pub struct Link {
    events: Receiver<Raw>,
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
    subscriptions: Vec<String>,
    client: Option<AsyncClient>,
    connection: u32,
    packet_bytes_max: Option<u32>,
    outbox: Outbox,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Link(connection {}, {} in flight)", self.connection, self.outbox.in_flight())
    }
}

impl Link {
    /// Starts connecting. `will_of` makes the last will of each connection; `random` gives jitter.
    ///
    /// # Errors
    /// When the thread or its runtime cannot be made, or the broker is reached by TLS and nothing says how.
    pub fn start(options: LinkOptions, will_of: WillOf, random: Random) -> io::Result<Self> {
        if options.broker.is_tls() && options.tls.is_none() {
            return Err(io::Error::other("mqtts:// without certificates to judge the broker by"));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (sender, events) = mpsc::sync_channel(EVENTS);
        let stop = Arc::new(Stop::default());
        let subscriptions = options.subscriptions.clone();
        let poller = Poller { options, will_of, random, events: sender, stop: Arc::clone(&stop), runtime };
        let thread = thread::Builder::new().name("mqtt".into()).spawn(move || poller.run())?;
        Ok(Self {
            events,
            stop,
            thread: Some(thread),
            subscriptions,
            client: None,
            connection: 0,
            packet_bytes_max: None,
            outbox: Outbox::default(),
        })
    }

    /// Whether there is a connection, as far as is known.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.client.is_some()
    }

    /// Messages that the broker has not acknowledged.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Puts a message in the outbox and sends what can be sent.
    ///
    /// # Errors
    /// When the outbox is full.
    pub fn send(&mut self, message: Message) -> Result<Token, OutboxFull> {
        let token = self.outbox.push(message, Instant::now())?;
        self.pump();
        Ok(token)
    }

    /// The next event, waiting for it at most `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> Option<LinkEvent> {
        let deadline = Instant::now() + timeout;
        loop {
            self.pump();
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(raw) => {
                    if let Some(event) = self.take(raw) {
                        self.pump();
                        return Some(event);
                    }
                }
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => {
                    // The polling thread is gone, which only a stop brings about.
                    thread::sleep(left);
                    return None;
                }
            }
        }
    }

    fn take(&mut self, raw: Raw) -> Option<LinkEvent> {
        match raw {
            Raw::Connected { client, connection, session_present, packet_bytes_max } => {
                self.outbox.restart();
                (self.connection, self.packet_bytes_max) = (connection, packet_bytes_max);
                let filters =
                    self.subscriptions.iter().map(|filter| Filter::new(filter.clone(), QoS::AtLeastOnce));
                if !self.subscriptions.is_empty() && client.try_subscribe_many(filters).is_err() {
                    log::warn!("a subscription could not be sent: not a topic filter");
                }
                self.client = Some(client);
                Some(LinkEvent::Connected { connection, session_present, packet_bytes_max })
            }
            Raw::Disconnected { reason, denied, retry_in } => {
                self.client = None;
                Some(LinkEvent::Disconnected { reason, denied, retry_in })
            }
            Raw::Received { publish, connection } => {
                Some(LinkEvent::Received(Box::new(received(publish, connection))))
            }
            Raw::Published { packet_id, connection } => {
                if connection == self.connection {
                    self.outbox.published(packet_id);
                }
                None
            }
            Raw::Acknowledged { packet_id, connection, refused } => {
                let token =
                    (connection == self.connection).then(|| self.outbox.acknowledged(packet_id))??;
                Some(match refused {
                    Some(reason) => LinkEvent::Refused(token, reason),
                    None => LinkEvent::Acknowledged(token),
                })
            }
            Raw::SubscriptionRefused(reason) => Some(LinkEvent::SubscriptionRefused(reason)),
        }
    }

    /// Tells the broker that a message has had its effect and must not be delivered again.
    pub fn acknowledge(&mut self, receipt: &Receipt) {
        let client = self.client.as_ref().filter(|_| receipt.connection == self.connection);
        // The channel has room for every delivery under way; on another connection the broker delivers again.
        if client.is_some_and(|client| client.try_ack(&receipt.publish).is_err()) {
            log::warn!("an acknowledgement to the broker was lost; it will deliver again");
        }
    }

    /// Gives to rumqttc what it takes; never waits.
    fn pump(&mut self) {
        let Some(client) = &self.client else { return };
        while let Some((message, left)) = self.outbox.next(Instant::now()) {
            if self.packet_bytes_max.is_some_and(|most| packet_bytes(message) > most as usize) {
                log::error!("{message:?} is larger than the broker takes and cannot be sent");
                self.outbox.give_up();
                continue;
            }
            let properties = PublishProperties {
                message_expiry_interval: left
                    .map(|left| u32::try_from(left.as_secs()).unwrap_or(u32::MAX).max(1)),
                content_type: (!message.content_type.is_empty()).then(|| message.content_type.into()),
                correlation_data: message.correlation.clone().map(Into::into),
                ..PublishProperties::default()
            };
            let (topic, payload) = (message.topic.clone(), message.payload.clone());
            let sent = client.try_publish_with_properties(
                topic,
                QoS::AtLeastOnce,
                message.retain,
                payload,
                properties,
            );
            if sent.is_err() {
                return;
            }
            self.outbox.sent();
        }
    }

    /// Sends `last` and what waits, says goodbye (no last will then) and ends; takes two seconds at most.
    pub fn close(mut self, last: Option<Message>) {
        if let Some(last) = last.filter(|_| self.is_connected()) {
            let _ = self.send(last);
        }
        let deadline = Instant::now() + FAREWELL;
        while self.is_connected() && !self.outbox.is_empty() && Instant::now() < deadline {
            self.wait(Duration::from_millis(20));
        }
        self.stop.stop();
        if let Some(client) = self.client.take() {
            let _ = client.try_disconnect();
        }
        // Not joined without a bound: a thread that is connecting notices the stop only afterwards.
        let thread = self.thread.take();
        while thread.as_ref().is_some_and(|thread| !thread.is_finished()) && Instant::now() < deadline {
            let _ = self.events.recv_timeout(Duration::from_millis(10));
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

/// Upper bound of the packet that carries `message`.
fn packet_bytes(message: &Message) -> usize {
    let correlation = message.correlation.as_ref().map_or(0, Vec::len);
    message.payload.len() + message.topic.len() + message.content_type.len() + correlation + 64
}

fn received(mut publish: Publish, connection: u32) -> Received {
    let properties = publish.properties.take().unwrap_or_default();
    Received {
        topic: String::from_utf8_lossy(&publish.topic).into_owned(),
        payload: std::mem::take(&mut publish.payload).into(),
        content_type: properties.content_type,
        response_topic: properties.response_topic,
        correlation: properties.correlation_data.map(Into::into),
        retained: publish.retain,
        receipt: Receipt { publish, connection },
    }
}

const _: () = assert!(CHANNEL > limits::IN_FLIGHT_MAX);
