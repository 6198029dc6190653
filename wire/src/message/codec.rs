//! Documents to bytes and back, in two encodings of the same types.
//!
//! Postcard is not self-describing, so every document starts with its schema version, and everything else is read only
//! when that is known. What cannot be read is told apart: another version, another operation, or malformed.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::SCHEMA;
use super::request::{Envelope, Operation, Request};
use super::topic::SensorId;
use super::ulid::Ulid;
use crate::time::Timestamp;

/// How a document is written; an answer uses the encoding of its request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Compact.
    #[default]
    Postcard,
    /// For people, `mosquitto_pub` and `jq`.
    Json,
}

impl Encoding {
    /// The MQTT 5 content type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Postcard => "application/vnd.hindcap.v1+postcard",
            Self::Json => "application/vnd.hindcap.v1+json",
        }
    }

    /// The encoding that a message of this content type has. Without a (known) type the first byte decides: JSON
    /// documents start with `{`, which as a postcard schema version would be 123.
    #[must_use]
    pub fn of(content_type: Option<&str>, payload: &[u8]) -> Self {
        match content_type {
            Some(name) if name == Self::Postcard.content_type() => Self::Postcard,
            Some(name) if name == Self::Json.content_type() || name == "application/json" => Self::Json,
            _ if payload.trim_ascii_start().first() == Some(&b'{') => Self::Json,
            _ => Self::Postcard,
        }
    }
}

/// A document that cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageError {
    /// More bytes than allowed.
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The most allowed.
        most: usize,
    },
    /// Of a version that is not spoken here.
    UnknownVersion(u16),
    /// An operation that does not exist here; by name in JSON, by number in postcard.
    UnknownOperation(String),
    /// Not a document of this kind in this encoding.
    Malformed(String),
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { bytes, most } => write!(f, "the message has {bytes} bytes, the most is {most}"),
            Self::UnknownVersion(schema) => {
                write!(f, "schema version {schema} is not spoken here, only version {SCHEMA}")
            }
            Self::UnknownOperation(name) => {
                write!(f, "operation {name} is unknown; there are ")?;
                Operation::NAMES.iter().enumerate().try_for_each(|(position, name)| {
                    write!(f, "{}{name}", if position == 0 { "" } else { ", " })
                })
            }
            Self::Malformed(detail) => write!(f, "malformed message: {detail}"),
        }
    }
}

impl core::error::Error for MessageError {}

fn postcard_error(error: postcard::Error) -> MessageError {
    MessageError::Malformed(format!("{error} (postcard)"))
}

fn json_error(error: serde_json::Error) -> MessageError {
    MessageError::Malformed(format!("{error} (JSON)"))
}

/// Writes `document`.
///
/// # Errors
/// Only for documents that the encoding cannot express, which ours are not.
pub fn encode<T: Serialize>(document: &T, encoding: Encoding) -> Result<Vec<u8>, MessageError> {
    match encoding {
        Encoding::Postcard => postcard::to_allocvec(document).map_err(postcard_error),
        Encoding::Json => serde_json::to_vec(document).map_err(json_error),
    }
}

/// Reads a document that starts with its schema version.
///
/// # Errors
/// When it is larger than `most`, of another version, or malformed.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], encoding: Encoding, most: usize) -> Result<T, MessageError> {
    if bytes.len() > most {
        return Err(MessageError::TooLarge { bytes: bytes.len(), most });
    }
    check_schema(bytes, encoding)?;
    exact(bytes, encoding)
}

fn exact<T: DeserializeOwned>(bytes: &[u8], encoding: Encoding) -> Result<T, MessageError> {
    match encoding {
        Encoding::Json => serde_json::from_slice(bytes).map_err(json_error),
        Encoding::Postcard => match postcard::take_from_bytes(bytes).map_err(postcard_error)? {
            (document, []) => Ok(document),
            (_, rest) => Err(MessageError::Malformed(format!("{} bytes too many (postcard)", rest.len()))),
        },
    }
}

/// The start of every document; the rest is left unread.
#[derive(Deserialize)]
struct Start {
    schema: u16,
}

fn start<T: DeserializeOwned>(bytes: &[u8], encoding: Encoding) -> Result<T, MessageError> {
    match encoding {
        Encoding::Json => serde_json::from_slice(bytes).map_err(json_error),
        Encoding::Postcard => {
            postcard::take_from_bytes(bytes).map(|(start, _)| start).map_err(postcard_error)
        }
    }
}

fn check_schema(bytes: &[u8], encoding: Encoding) -> Result<(), MessageError> {
    let Start { schema } = start(bytes, encoding)?;
    if schema == SCHEMA { Ok(()) } else { Err(MessageError::UnknownVersion(schema)) }
}

/// A request that cannot be read, with its identifier when that much could be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestError {
    /// The request.
    pub id: Option<Ulid>,
    /// What is wrong.
    pub error: MessageError,
}

/// Reads the envelope of a request.
///
/// # Errors
/// As [`decode`], with [`crate::limits::REQUEST_BYTES_MAX`].
pub fn decode_envelope(bytes: &[u8], encoding: Encoding) -> Result<Envelope, MessageError> {
    decode(bytes, encoding, crate::limits::REQUEST_BYTES_MAX)
}

/// Reads the request inside an envelope.
///
/// # Errors
/// As [`decode`]; unknown operations are told apart from malformed ones.
pub fn decode_request(inner: &[u8], encoding: Encoding) -> Result<Request, RequestError> {
    let anonymous = |error| RequestError { id: None, error };
    check_schema(inner, encoding).map_err(anonymous)?;
    let id = start::<Head>(inner, encoding).map_err(anonymous)?.id;
    exact(inner, encoding).map_err(|error| RequestError {
        id: Some(id),
        error: unknown_operation(inner, encoding).unwrap_or(error),
    })
}

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "schema")]
    _schema: u16,
    id: Ulid,
}

/// Everything ahead of the operation, in the order of [`Request`].
#[derive(Deserialize)]
struct Ahead {
    _schema: u16,
    _id: Ulid,
    _sensor: SensorId,
    _issued: Timestamp,
    _expires: Timestamp,
    _reason: Option<String>,
    _case: Option<String>,
}

#[derive(Deserialize)]
struct OperationOnly {
    operation: serde_json::Value,
}

fn unknown_operation(inner: &[u8], encoding: Encoding) -> Option<MessageError> {
    let name = match encoding {
        Encoding::Json => match serde_json::from_slice::<OperationOnly>(inner).ok()?.operation {
            serde_json::Value::String(name) => Some(name),
            serde_json::Value::Object(object) => object.keys().next().cloned(),
            _ => None,
        }
        .filter(|name| !Operation::NAMES.contains(&name.as_str())),
        Encoding::Postcard => {
            let (_, rest) = postcard::take_from_bytes::<Ahead>(inner).ok()?;
            let (number, _) = postcard::take_from_bytes::<u32>(rest).ok()?;
            (number as usize >= Operation::NAMES.len()).then(|| number.to_string())
        }
    };
    name.map(|name| {
        MessageError::UnknownOperation(name.chars().filter(|c| !c.is_control()).take(40).collect())
    })
}
