//! The polling thread: connects, waits, connects again. It owns rumqttc's event loop and nothing else; publishing happens
//! on the other side of rumqttc's channel and never waits, so the two cannot dead-lock.

use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnectProperties, ConnectReturnCode, LastWill, LastWillProperties, Packet, PubAckReason, Publish,
    SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions};
use rumqttc::{Outgoing, TlsConfiguration, Transport};

use crate::limits::{
    BACK_OFF_MAX, BACK_OFF_MIN, CHANNEL, CONNECT_SECS, GOOD_CONNECTION, IN_FLIGHT_MAX, PACKET_BYTES_MAX,
    RECEIVE_MAXIMUM,
};
use crate::tls::words;
use crate::{LinkOptions, Message};

/// Makes the last will of connection number n.
pub type WillOf = Box<dyn FnMut(u32) -> Option<Message> + Send>;
/// Gives random numbers, for jitter.
pub type Random = Box<dyn FnMut() -> u64 + Send>;

/// What the polling thread tells.
pub(crate) enum Raw {
    Connected { client: AsyncClient, connection: u32, session_present: bool, packet_bytes_max: Option<u32> },
    Disconnected { reason: String, denied: bool, retry_in: Duration },
    Received { publish: Publish, connection: u32 },
    Published { packet_id: u16, connection: u32 },
    Acknowledged { packet_id: u16, connection: u32, refused: Option<String> },
    SubscriptionRefused(String),
}

/// Ends the polling thread's pauses.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    stopped: Mutex<bool>,
    wake: Condvar,
}

impl Stop {
    pub(crate) fn stop(&self) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.wake.notify_all();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until stopped, `pause` at most.
    pub(crate) fn wait(&self, pause: Duration) {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.wake.wait_timeout_while(stopped, pause, |stopped| !*stopped);
    }
}

/// Pause number `failures` (from 0): doubled each time, half of it random.
fn back_off(failures: u32, random: u64) -> Duration {
    let longest = BACK_OFF_MIN.saturating_mul(2_u32.saturating_pow(failures)).min(BACK_OFF_MAX);
    let half = u64::try_from(longest.as_millis() / 2).unwrap_or(0);
    Duration::from_millis(half + random % (half + 1))
}

pub(crate) struct Poller {
    pub(crate) options: LinkOptions,
    pub(crate) will_of: WillOf,
    pub(crate) random: Random,
    pub(crate) events: SyncSender<Raw>,
    pub(crate) stop: Arc<Stop>,
    pub(crate) runtime: tokio::runtime::Runtime,
}

impl Poller {
    pub(crate) fn run(mut self) {
        let (mut failures, mut connection) = (0, 0);
        while !self.stop.is_stopped() {
            connection += 1;
            let started = Instant::now();
            let (client, event_loop) = AsyncClient::new(self.mqtt_options(connection), CHANNEL);
            let Some((error, connected)) = self.connection(client, event_loop, connection) else { return };
            if started.elapsed() >= GOOD_CONNECTION {
                failures = 0;
            }
            let retry_in = back_off(failures, (self.random)());
            failures = failures.saturating_add(1);
            let (reason, denied) = words::explain(&error).unwrap_or_else(|| {
                let (reason, denied) = explain(&error);
                let hint = if connected { "" } else { words::hint(&error, self.options.broker.is_tls()) };
                (reason + hint, denied)
            });
            if self.events.send(Raw::Disconnected { reason, denied, retry_in }).is_err() {
                return;
            }
            self.stop.wait(retry_in);
        }
    }

    /// One connection to its end, and whether it ever came about; `None` when nobody listens any more or all is over.
    fn connection(
        &self,
        client: AsyncClient,
        mut event_loop: EventLoop,
        connection: u32,
    ) -> Option<(ConnectionError, bool)> {
        let mut connected = false;
        loop {
            let event = match self.runtime.block_on(event_loop.poll()) {
                Ok(event) => event,
                Err(_) if self.stop.is_stopped() => return None,
                Err(error) => return Some((error, connected)),
            };
            connected |= matches!(event, Event::Incoming(Packet::ConnAck(_)));
            if self.stop.is_stopped() && event == Event::Outgoing(Outgoing::Disconnect) {
                return None;
            }
            let raw = translate(event, &client, connection);
            if raw.is_some_and(|raw| self.events.send(raw).is_err()) {
                return None;
            }
        }
    }

    fn mqtt_options(&mut self, connection: u32) -> MqttOptions {
        let LinkOptions { broker, tls, client_id, session_expiry_secs, keep_alive, .. } = &self.options;
        // rumqttc joins host and port with a colon: in brackets, where the host has colons itself. With TLS it takes the same
        // text for the name of the certificate, which has none; the resolver then takes the last colon for the port's.
        let host = if broker.tls { broker.certified() } else { &broker.host };
        let mut options = MqttOptions::new(client_id.clone(), host, broker.port);
        if let (true, Some(tls)) = (broker.tls, tls) {
            options
                .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::clone(&tls.config))));
        }
        if let Some((user, password)) = &broker.login {
            options.set_credentials(user.clone(), password.clone());
        }
        let mut properties = ConnectProperties::new();
        properties.session_expiry_interval = Some(*session_expiry_secs);
        properties.receive_maximum = Some(RECEIVE_MAXIMUM);
        properties.max_packet_size = Some(PACKET_BYTES_MAX);
        options
            .set_connect_properties(properties)
            .set_clean_start(*session_expiry_secs == 0)
            .set_manual_acks(true)
            .set_connection_timeout(CONNECT_SECS)
            // rumqttc refuses less than five seconds by a panic.
            .set_keep_alive((*keep_alive).max(Duration::from_secs(5)))
            .set_outgoing_inflight_upper_limit(u16::try_from(IN_FLIGHT_MAX).unwrap_or(u16::MAX));
        if let Some(will) = (self.will_of)(connection) {
            options.set_last_will(last_will(will));
        }
        options
    }
}

fn last_will(will: Message) -> LastWill {
    let properties = LastWillProperties {
        delay_interval: None,
        payload_format_indicator: None,
        message_expiry_interval: None,
        content_type: Some(will.content_type.into()),
        response_topic: None,
        correlation_data: None,
        user_properties: Vec::new(),
    };
    LastWill::new(will.topic, will.payload, QoS::AtLeastOnce, will.retain, Some(properties))
}

fn translate(event: Event, client: &AsyncClient, connection: u32) -> Option<Raw> {
    Some(match event {
        Event::Incoming(Packet::ConnAck(connack)) => Raw::Connected {
            client: client.clone(),
            connection,
            session_present: connack.session_present,
            packet_bytes_max: connack.properties.and_then(|properties| properties.max_packet_size),
        },
        Event::Incoming(Packet::Publish(publish)) => Raw::Received { publish, connection },
        Event::Incoming(Packet::PubAck(ack)) => {
            let fine = matches!(ack.reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers);
            let refused = (!fine).then(|| format!("{:?}", ack.reason));
            Raw::Acknowledged { packet_id: ack.pkid, connection, refused }
        }
        Event::Incoming(Packet::SubAck(ack)) => {
            let refused =
                ack.return_codes.iter().find(|code| !matches!(code, SubscribeReasonCode::Success(_)))?;
            Raw::SubscriptionRefused(format!("{refused:?}"))
        }
        Event::Outgoing(Outgoing::Publish(packet_id)) => Raw::Published { packet_id, connection },
        _ => return None,
    })
}

/// Words for people, and whether the broker does not want us.
fn explain(error: &ConnectionError) -> (String, bool) {
    match error {
        ConnectionError::ConnectionRefused(code) => {
            let denied = matches!(
                code,
                ConnectReturnCode::NotAuthorized
                    | ConnectReturnCode::BadUserNamePassword
                    | ConnectReturnCode::Banned
                    | ConnectReturnCode::BadAuthenticationMethod
            );
            (format!("the broker refused the connection: {code:?}"), denied)
        }
        ConnectionError::Timeout(_) => ("the broker does not answer".into(), false),
        ConnectionError::Io(error) => (error.to_string(), false),
        other => (other.to_string(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_within_bounds_and_differ() {
        assert_eq!(back_off(0, 0), BACK_OFF_MIN / 2);
        assert_eq!(back_off(0, 250), BACK_OFF_MIN);
        assert_eq!(back_off(3, 0), BACK_OFF_MIN * 4);
        for failures in [7, 31, 32, u32::MAX] {
            assert_eq!(back_off(failures, 0), BACK_OFF_MAX / 2);
            assert!(back_off(failures, u64::MAX) <= BACK_OFF_MAX);
        }
    }

    #[test]
    fn a_stop_ends_a_pause() {
        let stop = Arc::new(Stop::default());
        let started = Instant::now();
        let waiter = Arc::clone(&stop);
        let thread = std::thread::spawn(move || waiter.wait(Duration::from_secs(60)));
        stop.stop();
        thread.join().unwrap();
        assert!(started.elapsed() < Duration::from_secs(30) && stop.is_stopped());
    }
}
