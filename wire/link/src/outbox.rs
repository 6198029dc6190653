//! Messages that are not acknowledged yet.
//!
//! rumqttc forgets QoS 1 messages when the broker has forgotten the session (`EventLoop::poll` clears what is pending on a
//! CONNACK without `session_present`), so the outbox keeps every message until its PUBACK and sends everything again, in
//! order, on every new connection. Receivers drop duplicates by their identifiers.
//!
//! The matching of PUBACKs: rumqttc tells the packet identifier of each publish as it takes it from its channel, in
//! the order in which they were put there. Each connection has a fresh event loop, so nothing of an earlier one is left.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::limits::{IN_FLIGHT_MAX, OUTBOX_BYTES_MAX, OUTBOX_MESSAGES_MAX};

/// A message on its way out.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Where to.
    pub topic: String,
    /// What.
    pub payload: Vec<u8>,
    /// MQTT 5 content type.
    pub content_type: &'static str,
    /// Kept by the broker for later subscribers; a newer one replaces one that waits.
    pub retain: bool,
    /// Not to be delivered later than this after it was put in the outbox.
    pub expiry: Option<Duration>,
    /// MQTT 5 correlation data.
    pub correlation: Option<Vec<u8>>,
}

/// Lengths only: payload never reaches a log.
impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Message({}, {} bytes)", self.topic, self.payload.len())
    }
}

/// Names a message in the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(u64);

/// The outbox is full: nothing can be sent until the broker acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxFull;

impl std::fmt::Display for OutboxFull {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("too many messages wait for the broker")
    }
}

impl std::error::Error for OutboxFull {}

#[derive(Debug)]
struct Entry {
    token: Token,
    message: Message,
    expires: Option<Instant>,
    sent: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    entries: VecDeque<Entry>,
    bytes: usize,
    next: u64,
    /// Put in rumqttc's channel, packet identifier not known yet.
    in_channel: VecDeque<Token>,
    by_packet_id: HashMap<u16, Token>,
}

impl Outbox {
    /// Puts a message at the end. A waiting retained message of the same topic is replaced.
    pub(crate) fn push(&mut self, message: Message, now: Instant) -> Result<Token, OutboxFull> {
        if message.retain {
            let stale =
                |entry: &Entry| !entry.sent && entry.message.retain && entry.message.topic == message.topic;
            self.remove_where(stale);
        }
        if self.entries.len() >= OUTBOX_MESSAGES_MAX || self.bytes + message.payload.len() > OUTBOX_BYTES_MAX
        {
            return Err(OutboxFull);
        }
        self.next += 1;
        self.bytes += message.payload.len();
        let expires = message.expiry.and_then(|expiry| now.checked_add(expiry));
        let token = Token(self.next);
        self.entries.push_back(Entry { token, message, expires, sent: false });
        Ok(token)
    }

    fn remove_where(&mut self, unwanted: impl Fn(&Entry) -> bool) {
        self.entries.retain(|entry| !unwanted(entry));
        self.bytes = self.entries.iter().map(|entry| entry.message.payload.len()).sum();
    }

    /// The next message to give to rumqttc and the time it has left; call [`Outbox::sent`] when that worked.
    pub(crate) fn next(&mut self, now: Instant) -> Option<(&Message, Option<Duration>)> {
        self.remove_where(|entry| !entry.sent && entry.expires.is_some_and(|expires| expires <= now));
        if self.in_flight() >= IN_FLIGHT_MAX {
            return None;
        }
        let entry = self.entries.iter().find(|entry| !entry.sent)?;
        Some((&entry.message, entry.expires.map(|expires| expires.saturating_duration_since(now))))
    }

    /// The message of the last [`Outbox::next`] is in rumqttc's channel.
    pub(crate) fn sent(&mut self) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| !entry.sent) {
            entry.sent = true;
            self.in_channel.push_back(entry.token);
        }
    }

    /// Takes out the message of the last [`Outbox::next`]: it can never be sent.
    pub(crate) fn give_up(&mut self) {
        if let Some(at) = self.entries.iter().position(|entry| !entry.sent) {
            self.entries.remove(at);
            self.remove_where(|_| false);
        }
    }

    /// rumqttc has given a packet identifier to the oldest message in its channel.
    pub(crate) fn published(&mut self, packet_id: u16) {
        if let Some(token) = self.in_channel.pop_front() {
            self.by_packet_id.insert(packet_id, token);
        }
    }

    /// The broker has acknowledged.
    pub(crate) fn acknowledged(&mut self, packet_id: u16) -> Option<Token> {
        let token = self.by_packet_id.remove(&packet_id)?;
        self.remove_where(|entry| entry.token == token);
        Some(token)
    }

    /// A new connection: everything that is not acknowledged is to be sent again.
    pub(crate) fn restart(&mut self) {
        self.in_channel.clear();
        self.by_packet_id.clear();
        self.entries.iter_mut().for_each(|entry| entry.sent = false);
        // Of several retained messages of a topic only the newest still matters.
        let newest: HashMap<String, Token> = self
            .entries
            .iter()
            .filter(|entry| entry.message.retain)
            .map(|entry| (entry.message.topic.clone(), entry.token))
            .collect();
        self.remove_where(|entry| {
            newest.get(&entry.message.topic).is_some_and(|token| *token != entry.token)
        });
    }

    /// Given to rumqttc and not acknowledged.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_channel.len() + self.by_packet_id.len()
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(topic: &str, retain: bool) -> Message {
        Message {
            topic: topic.into(),
            payload: vec![0; 10],
            content_type: "",
            retain,
            expiry: None,
            correlation: None,
        }
    }

    /// Sends everything that can be sent; the topics in order.
    fn pump(outbox: &mut Outbox, now: Instant) -> Vec<String> {
        let mut topics = Vec::new();
        while let Some((message, _)) = outbox.next(now) {
            topics.push(message.topic.clone());
            outbox.sent();
        }
        topics
    }

    #[test]
    fn unacknowledged_messages_are_sent_again_in_order() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        let tokens: Vec<_> =
            ["a", "b", "c"].map(|topic| outbox.push(message(topic, false), now).unwrap()).into();
        assert_eq!(pump(&mut outbox, now), ["a", "b", "c"]);
        (1..=3).for_each(|packet_id| outbox.published(packet_id));
        assert_eq!(outbox.acknowledged(2), Some(tokens[1]));
        assert_eq!(outbox.acknowledged(2), None);
        outbox.restart();
        assert_eq!(pump(&mut outbox, now), ["a", "c"]);
        (1..=2).for_each(|packet_id| outbox.published(packet_id));
        assert_eq!((outbox.acknowledged(1), outbox.acknowledged(2)), (Some(tokens[0]), Some(tokens[2])));
        assert!(outbox.is_empty() && outbox.in_flight() == 0 && outbox.bytes == 0);
    }

    #[test]
    fn newest_retained_message_replaces_waiting_ones() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        for topic in ["state", "status", "status"] {
            outbox.push(message(topic, true), now).unwrap();
        }
        assert_eq!(pump(&mut outbox, now), ["state", "status"]);
        outbox.push(message("status", true), now).unwrap();
        outbox.restart();
        assert_eq!(pump(&mut outbox, now), ["state", "status"]);
    }

    #[test]
    fn expired_messages_are_not_sent() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        outbox.push(Message { expiry: Some(Duration::from_secs(5)), ..message("a", false) }, now).unwrap();
        let (_, left) = outbox.next(now + Duration::from_secs(2)).unwrap();
        assert_eq!(left, Some(Duration::from_secs(3)));
        assert!(outbox.next(now + Duration::from_secs(5)).is_none() && outbox.is_empty());
    }

    #[test]
    fn bounded_in_number_bytes_and_flight() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        for _ in 0..OUTBOX_MESSAGES_MAX {
            outbox.push(message("a", false), now).unwrap();
        }
        assert_eq!(outbox.push(message("a", false), now), Err(OutboxFull));
        assert_eq!(pump(&mut outbox, now).len(), IN_FLIGHT_MAX);
        let mut outbox = Outbox::default();
        let large = Message { payload: vec![0; OUTBOX_BYTES_MAX - 1], ..message("a", false) };
        outbox.push(large, now).unwrap();
        assert_eq!(outbox.push(message("a", false), now), Err(OutboxFull));
    }
}
