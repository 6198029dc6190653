//! Bounds of the link, each with its reason.

use std::time::Duration;

use hindcap_wire::limits::{MESSAGE_BYTES_MAX, REQUEST_BYTES_MAX, RESULT_CHUNK_BYTES, RESULT_WINDOW_MAX};

/// Publishes that wait for their PUBACK at a time: a window of chunks and as many other messages. rumqttc allocates a
/// slot for each ahead of time.
pub const IN_FLIGHT_MAX: usize = 2 * RESULT_WINDOW_MAX as usize;

/// Deliveries that the broker may have under way to us.
pub const RECEIVE_MAXIMUM: u16 = 32;

/// Slots of the channel to rumqttc: every publish in flight, every acknowledgement, a subscription and a farewell fit, so
/// that sending never waits.
pub(crate) const CHANNEL: usize = IN_FLIGHT_MAX + RECEIVE_MAXIMUM as usize + 4;

/// Events on their way from the polling thread. When they are not fetched the polling thread waits, and TCP slows the
/// broker down.
pub(crate) const EVENTS: usize = 64;

/// Messages in the outbox.
pub const OUTBOX_MESSAGES_MAX: usize = 256;
/// Bytes in the outbox: two windows of chunks as base64, and half a mebibyte of other messages.
pub const OUTBOX_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Largest packet that is received, header and properties included. Larger ones are not delivered by the broker; rumqttc's
/// default of 10 KiB would end the connection.
pub const PACKET_BYTES_MAX: u32 = 256 * 1024;

/// First pause after a lost connection; doubled each time.
pub(crate) const BACK_OFF_MIN: Duration = Duration::from_millis(500);
/// Longest pause, so that a site is back within a minute of its broker.
pub(crate) const BACK_OFF_MAX: Duration = Duration::from_secs(60);
/// A connection that held this long was a good one: the next pause is short again. Shorter ones may be two sensors with
/// one name that throw each other out.
pub(crate) const GOOD_CONNECTION: Duration = Duration::from_secs(10);
/// For connecting, CONNACK included.
pub(crate) const CONNECT_SECS: u64 = 10;
/// Bytes of a file with certificates or a key: the list of authorities of a whole operating system has a quarter of it.
pub const PEM_BYTES_MAX: u64 = 1024 * 1024;
/// Certificates of ours: one, and those that lead to its issuer. Brokers take no longer chains.
pub const CERTIFICATES_MAX: usize = 10;
/// Certificates of a chain at most whose dates are gone through one after another.
pub(crate) const LATER_MAX: usize = 8;
/// How long before its end a certificate is told of, seconds: 30 days, for a walk to a box takes weeks to arrange.
pub const ENDS_SOON_SECS: u64 = 30 * 86_400;
/// How long a farewell may take.
pub(crate) const FAREWELL: Duration = Duration::from_secs(2);

const _: () = assert!(PACKET_BYTES_MAX as usize > REQUEST_BYTES_MAX + 64 * 1024);
const _: () = assert!(PACKET_BYTES_MAX as usize > MESSAGE_BYTES_MAX + 64 * 1024);
const _: () =
    assert!(OUTBOX_BYTES_MAX > 2 * RESULT_WINDOW_MAX as usize * (RESULT_CHUNK_BYTES as usize * 4 / 3 + 1024));
const _: () = assert!(IN_FLIGHT_MAX < OUTBOX_MESSAGES_MAX);
