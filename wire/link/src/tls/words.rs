//! What a connection failed by, where TLS has to do with it: what happened, what it means, what to do.

use std::error::Error as StdError;
use std::io;

use rumqttc::v5::{ConnectionError, StateError};
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription as Alert, CertificateError as Bad, Error};

/// A day such as 2026-11-22.
pub(super) fn day(at: UnixTime) -> String {
    super::ends::day(at.as_secs())
}

/// The error of TLS that lies below `error`.
fn below<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<Error>() {
            return Some(tls);
        }
        // Two kinds that hide from `source` what they wrap.
        next = match (error.downcast_ref::<io::Error>(), error.downcast_ref::<StateError>()) {
            (Some(error), _) => error.get_ref().map(|inside| inside as &(dyn StdError + 'static)),
            (_, Some(StateError::Deserialization(inside))) => Some(inside),
            _ => error.source(),
        };
    }
    None
}

/// Words for `error`, and whether trying again hardly helps; `None` where TLS has no part in it.
pub(crate) fn explain(error: &(dyn StdError + 'static)) -> Option<(String, bool)> {
    Some(match below(error)? {
        Error::InvalidCertificate(bad) => (certificate(bad), true),
        Error::AlertReceived(alert) => refused(*alert),
        Error::PeerIncompatible(_) => {
            ("the broker does not speak TLS 1.3, or shares no cipher suite with us".into(), true)
        }
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } => (
            "what answers there does not speak TLS: is it the broker's port without TLS (mqtt://)?".into(),
            true,
        ),
        other => (format!("TLS: {other}"), false),
    })
}

/// What a connection that ended before the broker said a word may have been about.
pub(crate) fn hint(error: &ConnectionError, tls: bool) -> &'static str {
    match (error, tls) {
        // Nobody listens there, or not for us.
        (ConnectionError::Io(error), _) if error.kind() == io::ErrorKind::ConnectionRefused => "",
        (ConnectionError::Tls(_), true) => {
            "; is it the broker's port without TLS (mqtt://)? A broker that wants another certificate may end like this too"
        }
        (ConnectionError::MqttState(_) | ConnectionError::Io(_), true) => {
            "; a broker that does not take our certificate may end like this: its log says why"
        }
        (ConnectionError::MqttState(_) | ConnectionError::NotConnAck(_), false) => {
            "; is it the broker's port with TLS (mqtts://)?"
        }
        _ => "",
    }
}

/// Why the broker's certificate is not believed.
fn certificate(bad: &Bad) -> String {
    match bad {
        Bad::UnknownIssuer | Bad::BadSignature => {
            "the broker's certificate was not issued by the authority that we trust: it is another broker, or the CA file is \
             not that of this one; give the certificate of the authority that issued the broker's"
                .into()
        }
        Bad::NotValidForNameContext { expected, presented } => {
            let names = if presented.is_empty() { "no name".into() } else { shown(presented) };
            format!(
                "the broker's certificate is not for {}, it is for {names}: write a name it is for into the broker's address, \
                 or give the broker a certificate with this one as a subject alternative name",
                expected.to_str()
            )
        }
        Bad::ExpiredContext { time, not_after } => format!(
            "the broker's certificate ended on {} and today is {} or later: give the broker a new one",
            day(*not_after),
            day(*time)
        ),
        Bad::NotValidYetContext { time, not_before } => format!(
            "the broker's certificate begins on {} and today is {}: the clock here or the one it was issued by is wrong",
            day(*not_before),
            day(*time)
        ),
        Bad::InvalidPurposeContext { .. } | Bad::InvalidPurpose => {
            "the broker's certificate is not for a server (extended key usage serverAuth): give the broker one that is".into()
        }
        other => format!("the broker's certificate cannot be used: {}", Error::from(other.clone())),
    }
}

/// The names of a certificate, which a stranger wrote: of one line, and not too many.
fn shown(names: &[String]) -> String {
    const NAMES_MAX: usize = 4;
    let mut names: Vec<_> = names
        .iter()
        .take(NAMES_MAX)
        .map(|name| {
            // webpki writes DnsName("...") and IpAddress(...).
            let bare = name.split_once('(').map_or(name.as_str(), |(_, rest)| rest.trim_end_matches(')'));
            bare.trim_matches('"').escape_debug().take(80).collect::<String>()
        })
        .collect();
    if names.len() == NAMES_MAX {
        names.push("others".into());
    }
    names.join(", ")
}

/// Why the broker ended it.
fn refused(alert: Alert) -> (String, bool) {
    let why = match alert {
        Alert::CertificateRequired => {
            return ("the broker wants a client certificate, and none is configured".into(), true);
        }
        Alert::ProtocolVersion | Alert::InsufficientSecurity | Alert::HandshakeFailure => {
            return (format!("the broker does not speak TLS 1.3 with us ({alert:?})"), true);
        }
        Alert::UnknownCA => "it was not issued by an authority that the broker trusts",
        Alert::CertificateExpired => "it has ended by the broker's clock, or has not begun; issue a new one",
        Alert::CertificateRevoked => "it is revoked",
        Alert::BadCertificate | Alert::UnsupportedCertificate | Alert::CertificateUnknown => {
            "it is not for clients, or not of a kind that the broker knows"
        }
        Alert::AccessDenied => "it may not connect",
        Alert::DecryptError => "it was issued by an authority that only has the name of the broker's",
        other => return (format!("the broker ended the connection: TLS alert {other:?}"), false),
    };
    (format!("the broker refuses our certificate: {why}"), true)
}
