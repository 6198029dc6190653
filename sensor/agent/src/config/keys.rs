//! Every configuration key: name, default, unit and range, meaning. The reader, the messages and docs/CONFIG.md all
//! come from this table.

use std::str::FromStr;
use std::time::Duration;

use hindcap_store::policy::SAMPLE_MAX;
use hindcap_uplink::Broker;
use hindcap_wire::limits::{
    CAPLEN_MAX, CHUNK_BYTES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SENSOR_ID_BYTES_MAX,
};
use hindcap_wire::message::{DESCRIPTION_BYTES_MAX, SYSTEM_BYTES_MAX};

use crate::clock::SYNCHRONISED_MARKER;
use crate::endurance::{Amplification, Endurance};
use crate::policy::{Cutoff, NetList, SkipList};
use crate::units::{Percent, Quota, Share, Size, Span};

/// Characters of a wrong value that a message repeats.
const SHOWN_MAX: usize = 80;

/// One configuration key.
#[derive(Debug)]
pub struct Key {
    /// `section.key`.
    pub name: &'static str,
    /// The value when the file does not name it; `None`: the file must.
    pub default: Option<&'static str>,
    /// What it takes.
    pub kind: Kind,
    /// What it means.
    pub meaning: &'static str,
}

impl Key {
    /// The part of the name before the dot.
    #[must_use]
    pub fn section(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(section, _)| section)
    }
}

/// What a key takes, with its range.
#[derive(Debug)]
pub enum Kind {
    /// Any text.
    Text,
    /// Text of at most so many bytes.
    Short(usize),
    /// A name: letters, digits, `-`, `_` and `.`, at most 64 bytes; it becomes one level of an MQTT topic.
    Name,
    /// A path.
    Path,
    /// The address of a broker, or empty.
    Broker,
    /// `true` or `false`.
    Bool,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A number of bytes with its unit, from and to inclusive.
    Size(u64, u64),
    /// The size of a segment, or `auto`.
    Segment,
    /// `off`, or the bytes of a flow that are recorded whole.
    Cutoff,
    /// `auto`, bytes written in a medium's life, or program/erase cycles.
    Endurance,
    /// `auto`, or the factor by which a medium writes more than it is given.
    Amplification,
    /// A whole number, from and to inclusive.
    Number(u32, u32),
    /// A list of pcap-filter expressions.
    Expressions,
    /// A list of addresses and blocks.
    Nets,
    /// Bytes with unit, at least this many, or a share of the file system.
    Quota(u64),
    /// A share of the store, or a size, for the event ring.
    Share,
    /// A share in percent, such as "10%", from and to inclusive.
    Percent(u8, u8),
    /// A duration with its unit, milliseconds from and to inclusive.
    Duration(u64, u64),
}

impl Kind {
    /// What a value must look like, for messages and the reference.
    #[must_use]
    pub fn expected(&self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Short(most) => format!("text of at most {most} bytes"),
            Self::Name => "a name of letters, digits, '-', '_' and '.', 1 to 64 bytes".to_owned(),
            Self::Path => "a path".to_owned(),
            Self::Broker => {
                "empty, or mqtts://host[:port], or mqtt://[user[:password]@]host[:port] without TLS"
                    .to_owned()
            }
            Self::Bool => "true or false".to_owned(),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::Size(from, to) => format!("a size from {} to {}", Size(*from), Size(*to)),
            Self::Segment => format!(
                "auto, or a size from {} to {}, a whole number of {}",
                Size(SEGMENT_BYTES_MIN.into()),
                Size(SEGMENT_BYTES_MAX.into()),
                Size(CHUNK_BYTES.into())
            ),
            Self::Cutoff => Cutoff::expected(),
            Self::Endurance => Endurance::expected(),
            Self::Amplification => Amplification::EXPECTED.to_owned(),
            Self::Number(from, to) => format!("a number from {from} to {to}"),
            Self::Expressions => "a list of pcap-filter expressions".to_owned(),
            Self::Nets => "a list of addresses and blocks".to_owned(),
            Self::Quota(from) => {
                format!(
                    "a size of at least {}, or 1% to {}% of the file system",
                    Size(*from),
                    Quota::PERCENT_MAX
                )
            }
            Self::Share => Share::expected(),
            Self::Percent(from, to) => format!("a share from {from}% to {to}%"),
            Self::Duration(from, to) => format!("a duration from {} to {}", millis(*from), millis(*to)),
        }
    }

    /// Accepts `text` or says what was expected. `quoted`: it stood in the file as a string.
    ///
    /// # Errors
    /// The reason, for a person.
    pub fn check(&self, text: &str, quoted: bool) -> Result<(), String> {
        let fits = match self {
            Self::Text => quoted,
            Self::Short(most) => quoted && text.len() <= *most,
            Self::Path => quoted && !text.is_empty(),
            Self::Broker => quoted && (text.is_empty() || text.parse::<Broker>().is_ok()),
            Self::Name => quoted && is_name(text),
            Self::Bool => !quoted && matches!(text, "true" | "false"),
            Self::Choice(words) => quoted && words.contains(&text),
            Self::Size(from, to) => text.parse().is_ok_and(|size: Size| (*from..=*to).contains(&size.0)),
            Self::Segment => quoted && text.parse::<SegmentSize>().is_ok(),
            Self::Cutoff => quoted && text.parse::<Cutoff>().is_ok(),
            Self::Endurance => quoted && text.parse::<Endurance>().is_ok(),
            Self::Amplification => text.parse::<Amplification>().is_ok(),
            Self::Number(from, to) => {
                !quoted && text.parse().is_ok_and(|number: u32| (*from..=*to).contains(&number))
            }
            Self::Expressions => return SkipList::check(text),
            Self::Nets => return text.parse::<NetList>().map(drop),
            Self::Quota(from) => match text.parse() {
                Ok(Quota::Bytes(bytes)) => bytes >= *from,
                Ok(Quota::Percent(_)) => true,
                Err(_) => false,
            },
            Self::Share => quoted && text.parse::<Share>().is_ok(),
            Self::Percent(from, to) => {
                text.parse().is_ok_and(|share: Percent| (*from..=*to).contains(&share.0))
            }
            Self::Duration(from, to) => {
                text.parse().is_ok_and(|span: Span| (*from..=*to).contains(&span.millis()))
            }
        };
        if fits {
            return Ok(());
        }
        let shown: String = text.chars().take(SHOWN_MAX).collect();
        let more =
            if shown.len() < text.len() { format!("... ({} bytes)", text.len()) } else { String::new() };
        Err(format!("expected {}, not {shown:?}{more}", self.expected()))
    }
}

fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=SENSOR_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

const fn millis(millis: u64) -> Span {
    Span(Duration::from_millis(millis))
}

const MIB: u64 = 1024 * 1024;

/// Smallest store: four segments of the smallest size.
pub const STORE_BYTES_MIN: u64 = 4 * SEGMENT_BYTES_MIN as u64;

/// The value of `store.segment`: a size, or `None` for `auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentSize(pub Option<Size>);

impl FromStr for SegmentSize {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "auto" {
            return Ok(Self(None));
        }
        let range = u64::from(SEGMENT_BYTES_MIN)..=u64::from(SEGMENT_BYTES_MAX);
        let fits = |size: &Size| range.contains(&size.0) && size.0 % u64::from(CHUNK_BYTES) == 0;
        text.parse().ok().filter(fits).map(|size| Self(Some(size))).ok_or(())
    }
}

/// All keys, in the order of the reference.
pub const KEYS: &[Key] = &[
    Key {
        name: "sensor.id",
        default: None,
        kind: Kind::Name,
        meaning: "name of this sensor in the fleet; one level of its MQTT topics",
    },
    Key {
        name: "sensor.description",
        default: Some(""),
        kind: Kind::Short(DESCRIPTION_BYTES_MAX),
        meaning: "free text for people, shown in the status",
    },
    Key {
        name: "sensor.system",
        default: Some(""),
        kind: Kind::Short(SYSTEM_BYTES_MAX),
        meaning: "free text: what the sensor runs on, shown in the status beside its version; a box says its image and slot there",
    },
    Key {
        name: "capture.interface",
        default: Some(""),
        kind: Kind::Text,
        meaning: "network interface of the tap port; empty: capture nothing, only serve what the store holds",
    },
    Key {
        name: "capture.ring",
        default: Some("8MiB"),
        kind: Kind::Size(MIB, 1024 * MIB),
        meaning: "kernel receive ring; larger rides out longer stalls and costs memory",
    },
    Key {
        name: "capture.snaplen",
        default: Some("0B"),
        kind: Kind::Size(0, CAPLEN_MAX as u64),
        meaning: "bytes kept of each packet; 0B keeps everything",
    },
    Key {
        name: "capture.filter",
        default: Some(""),
        kind: Kind::Text,
        meaning: "pcap-filter expression run in the kernel; packets that do not match are never seen",
    },
    Key {
        name: "capture.promiscuous",
        default: Some("true"),
        kind: Kind::Bool,
        meaning: "listen to frames addressed to others; a mirror port needs it",
    },
    Key {
        name: "store.path",
        default: Some("/var/lib/hindcap"),
        kind: Kind::Path,
        meaning: "directory of the store, made at the first start; or fat:PATH of a card that `hindcapd format` has made",
    },
    Key {
        name: "store.size",
        default: Some("25%"),
        kind: Kind::Quota(STORE_BYTES_MIN),
        meaning: "what the store may take, never exceeded; a change takes effect at the next start and keeps the newest segments",
    },
    Key {
        name: "store.segment",
        default: Some("auto"),
        kind: Kind::Segment,
        meaning: "bytes of one segment, fixed when the store is made; auto: 64MiB, less in a store below 512MiB",
    },
    Key {
        name: "store.flush_interval",
        default: Some("5s"),
        kind: Kind::Duration(100, 600_000),
        meaning: "longest time a packet waits in memory before it is written and flushed: what a power cut may lose",
    },
    Key {
        name: "store.buffers",
        default: Some("6MiB"),
        kind: Kind::Size(3 * MIB, 64 * MIB),
        meaning: "memory that packets wait in while the medium is busy or away, used when needed; while it is busy capture.ring holds more: 6MiB and a ring of 8MiB carry 100 Mbit/s for 0.75 s",
    },
    Key {
        name: "store.hash_chain",
        default: Some("true"),
        kind: Kind::Bool,
        meaning: "hash every segment with BLAKE3 and chain the hashes; false spares weak processors, but then nothing shows that a segment was changed on purpose",
    },
    Key {
        name: "policy.event_share",
        default: Some("10%"),
        kind: Kind::Share,
        meaning: "what of store.size is for the event ring, half of it at most, where pinned sessions are kept whole; 0% takes it away with all that is in it. A card has the one it was formatted with",
    },
    Key {
        name: "policy.cutoff",
        default: Some("off"),
        kind: Kind::Cutoff,
        meaning: "bytes of each flow, both directions together, that are recorded whole; DNS and the ends of TCP connections always are; off: everything",
    },
    Key {
        name: "policy.sample",
        default: Some("100"),
        kind: Kind::Number(0, SAMPLE_MAX),
        meaning: "of the packets behind the cutoff one in so many is recorded, without payload, so that a flow's length and rate stay visible; 0: none",
    },
    Key {
        name: "policy.headers_only",
        default: Some("false"),
        kind: Kind::Bool,
        meaning: "record TLS and QUIC without payload behind the handshake and the first 4 KiB of each direction",
    },
    Key {
        name: "policy.never_cut",
        default: Some(""),
        kind: Kind::Nets,
        meaning: "flows with an end at one of these addresses or in one of these blocks, 64 at most, are recorded whole, whatever cutoff and headers_only say",
    },
    Key {
        name: "policy.skip",
        default: Some(""),
        kind: Kind::Expressions,
        meaning: "packets that match one of these, tagged or not, are not recorded: the kernel leaves them out, uncounted",
    },
    Key {
        name: "policy.held_share",
        default: Some("20%"),
        kind: Kind::Percent(0, 50),
        meaning: "segments that holds may take together, rounded up; half of the ring and two segments always stay with recording",
    },
    Key {
        name: "policy.max_age",
        default: Some("0s"),
        kind: Kind::Duration(0, 3_650 * 86_400_000),
        meaning: "age from which on packets are not given out any more and are removed from the medium, unless they are held. 0s: no limit. Copies of pinned sessions have event_max_age",
    },
    Key {
        name: "policy.event_max_age",
        default: Some("0s"),
        kind: Kind::Duration(0, 3_650 * 86_400_000),
        meaning: "the same for copies of pinned sessions in the event ring, which nothing else keeps: neither pins nor holds. 0s: no limit, they go when the event ring comes round",
    },
    Key {
        name: "policy.min_age",
        default: Some("0s"),
        kind: Kind::Duration(0, 3_650 * 86_400_000),
        meaning: "age that packets are to reach before they are overwritten; an alarm says when the store is too small for it. 0s: none",
    },
    Key {
        name: "wear.endurance",
        default: Some("auto"),
        kind: Kind::Endurance,
        meaning: "what the medium can take in its life; cycles are multiplied by its size. auto: what its registers tell, else what is usual for its kind, which forecasts but leaves nothing out",
    },
    Key {
        name: "wear.write_amplification",
        default: Some("auto"),
        kind: Kind::Amplification,
        meaning: "bytes that reach the cells per byte written to the medium. auto: 1.05 for cards and eMMC, 1.2 for drives, 1.5 behind USB, 1 where the medium's registers count it themselves",
    },
    Key {
        name: "wear.life",
        default: Some("1825d"),
        kind: Kind::Duration(86_400_000, 36_500 * 86_400_000),
        meaning: "how long the medium is to last, from the making of the store on it",
    },
    Key {
        name: "mqtt.broker",
        default: Some(""),
        kind: Kind::Broker,
        meaning: "where the broker is; empty: record only. mqtts:// is TLS 1.3, port 8883 unless another is named; mqtt:// is without TLS, port 1883",
    },
    Key {
        name: "mqtt.ca",
        default: Some(""),
        kind: Kind::Text,
        meaning: "file (PEM) with the certificate of whoever issued the broker's; needed with mqtts://, and nobody else is believed",
    },
    Key {
        name: "mqtt.certificate",
        default: Some(""),
        kind: Kind::Text,
        meaning: "file (PEM) with the sensor's own certificate, and those that lead to its issuer after it; empty: none",
    },
    Key {
        name: "mqtt.key",
        default: Some(""),
        kind: Kind::Text,
        meaning: "file (PEM) with the private key of mqtt.certificate, not encrypted: ECDSA P-256 or P-384, Ed25519, or RSA",
    },
    Key { name: "mqtt.username", default: Some(""), kind: Kind::Text, meaning: "user name at the broker" },
    Key {
        name: "mqtt.password_file",
        default: Some(""),
        kind: Kind::Text,
        meaning: "file whose first line is the password at the broker",
    },
    Key {
        name: "mqtt.unsigned",
        default: Some("false"),
        kind: Kind::Bool,
        meaning: "development mode: obey requests without a signature. Signatures do not exist yet, so with false every request is refused",
    },
    Key {
        name: "mqtt.status_interval",
        default: Some("30s"),
        kind: Kind::Duration(1_000, 3_600_000),
        meaning: "how often the retained status is renewed",
    },
    Key {
        name: "mqtt.state_dir",
        default: Some("/var/lib/hindcap-uplink"),
        kind: Kind::Path,
        meaning: "directory of the request queue and of results that wait for delivery",
    },
    Key {
        name: "mqtt.connection_file",
        default: Some(""),
        kind: Kind::Text,
        meaning: "file whose only line says how the connection to the broker stands, renewed when that changes and gone when the sensor ends; its directory must be there and be the sensor's. empty: none",
    },
    Key {
        name: "mqtt.result_max",
        default: Some("256MiB"),
        kind: Kind::Size(MIB, 64 * 1024 * MIB),
        meaning: "largest result of one request; a larger one ends as partial",
    },
    Key {
        name: "clock.synchronised_marker",
        default: Some(SYNCHRONISED_MARKER),
        kind: Kind::Path,
        meaning: "file that exists while the clock is synchronised",
    },
    Key {
        name: "log.level",
        default: Some("info"),
        kind: Kind::Choice(&["off", "error", "warn", "info", "debug"]),
        meaning: "what goes to standard error",
    },
];
