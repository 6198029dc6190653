//! Where the broker is: `mqtt://[user[:password]@]host[:port]`, or `mqtts://` with TLS.

use std::fmt;
use std::str::FromStr;

use rustls::pki_types::ServerName;

/// The registered port of MQTT without TLS.
const PORT: u16 = 1883;
/// The registered port of MQTT with TLS.
const TLS_PORT: u16 = 8883;

/// Where the broker is and as whom to connect.
#[derive(Clone, PartialEq, Eq)]
pub struct Broker {
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) login: Option<(String, String)>,
}

impl Broker {
    /// Adds a user name and password that do not stand in the address.
    #[must_use]
    pub fn with_login(self, user: String, password: String) -> Self {
        Self { login: Some((user, password)), ..self }
    }

    /// Sets the password of the user that the address names.
    ///
    /// # Errors
    /// The address names no user.
    pub fn with_password(self, password: String) -> Result<Self, ParseBrokerError> {
        let (user, _) = self.login.ok_or(ParseBrokerError::NoUser)?;
        Ok(Self { login: Some((user, password)), ..self })
    }

    /// The name or address that its certificate must be for: without brackets.
    pub(crate) fn certified(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Whether it is reached by TLS.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.tls
    }

    /// Whether it names a user.
    #[must_use]
    pub const fn has_login(&self) -> bool {
        self.login.is_some()
    }

    /// Whether it holds a password.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.login.as_ref().is_some_and(|(_, password)| !password.is_empty())
    }
}

/// Without credentials: they never reach a log.
impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mqtt{}://{}:{}", if self.tls { "s" } else { "" }, self.host, self.port)
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not the address of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseBrokerError {
    /// Another scheme, or none.
    UnknownScheme,
    /// The host is missing.
    NoHost,
    /// The host is neither a name nor an address that a certificate could be for.
    BadHost,
    /// The port is no number from 1 to 65535.
    BadPort,
    /// A percent sign that is not followed by two hexadecimal digits.
    BadEscape,
    /// Something after the port.
    Trailing,
    /// A password for nobody.
    NoUser,
}

impl fmt::Display for ParseBrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownScheme => {
                "expected a broker such as mqtts://broker.example:8883, or mqtt://broker.example:1883 without TLS"
            }
            Self::NoHost => {
                "the broker's address has no host; expected one such as mqtts://broker.example:8883"
            }
            Self::BadHost => "the broker's host is neither a DNS name nor an IP address",
            Self::BadPort => "the broker's port must be a number from 1 to 65535",
            Self::BadEscape => "a % in the broker's address must be followed by two hexadecimal digits",
            Self::Trailing => "nothing may follow the port in the broker's address",
            Self::NoUser => "a password needs a user in the broker's address: mqtt://user@host",
        })
    }
}

impl std::error::Error for ParseBrokerError {}

impl FromStr for Broker {
    type Err = ParseBrokerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once("://").ok_or(ParseBrokerError::UnknownScheme)?;
        let tls = match scheme {
            "mqtt" | "tcp" => false,
            "mqtts" | "ssl" | "tls" => true,
            _ => return Err(ParseBrokerError::UnknownScheme),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (login, place) = match rest.rsplit_once('@') {
            Some((login, place)) => (Some(parse_login(login)?), place),
            None => (None, rest),
        };
        // Brackets stay: rumqttc joins host and port with a colon.
        let host_end =
            place.rfind(']').map_or_else(|| place.find(':'), |at| Some(at + 1)).unwrap_or(place.len());
        let (host, port) = place.split_at(host_end);
        if host.is_empty() {
            return Err(ParseBrokerError::NoHost);
        }
        if place.contains(['/', '?', '#']) {
            return Err(ParseBrokerError::Trailing);
        }
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or(ParseBrokerError::BadPort)?,
            None if port.is_empty() => {
                if tls {
                    TLS_PORT
                } else {
                    PORT
                }
            }
            None => return Err(ParseBrokerError::BadPort),
        };
        let broker = Self { tls, host: host.into(), port, login };
        if tls && ServerName::try_from(broker.certified()).is_err() {
            return Err(ParseBrokerError::BadHost);
        }
        Ok(broker)
    }
}

fn parse_login(text: &str) -> Result<(String, String), ParseBrokerError> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    Ok((unescape(user)?, unescape(password)?))
}

fn unescape(text: &str) -> Result<String, ParseBrokerError> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or("").as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).ok_or(ParseBrokerError::BadEscape)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| ParseBrokerError::BadEscape)?);
        bytes.extend(rest.as_bytes());
    }
    String::from_utf8(bytes).map_err(|_| ParseBrokerError::BadEscape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses_and_hides_credentials() {
        for (text, shown) in [
            ("mqtt://broker.example", "mqtt://broker.example:1883"),
            ("mqtt://127.0.0.1:18830/", "mqtt://127.0.0.1:18830"),
            ("mqtt://b1:s3cr%40t@[2001:db8::1]:1884", "mqtt://[2001:db8::1]:1884"),
            ("mqtt://[::1]", "mqtt://[::1]:1883"),
            ("mqtts://broker.example", "mqtts://broker.example:8883"),
            ("mqtts://b1@[::1]:88", "mqtts://[::1]:88"),
        ] {
            let broker: Broker = text.parse().unwrap();
            assert_eq!((broker.to_string(), format!("{broker:?}")), (shown.into(), shown.into()));
        }
        let broker: Broker = "mqtt://b1:s3cr%40t@h".parse().unwrap();
        assert_eq!(broker.login, Some(("b1".into(), "s3cr@t".into())));
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, error) in [
            ("broker.example", ParseBrokerError::UnknownScheme),
            ("http://broker.example", ParseBrokerError::UnknownScheme),
            ("wss://broker.example", ParseBrokerError::UnknownScheme),
            ("mqtts://broker_.example..", ParseBrokerError::BadHost),
            ("mqtt://", ParseBrokerError::NoHost),
            ("mqtt://:1883", ParseBrokerError::NoHost),
            ("mqtt://h:0", ParseBrokerError::BadPort),
            ("mqtt://h:70000", ParseBrokerError::BadPort),
            ("mqtt://[::1]x", ParseBrokerError::BadPort),
            ("mqtt://h/topic", ParseBrokerError::Trailing),
            ("mqtt://a%4@h", ParseBrokerError::BadEscape),
            ("mqtt://a%é@h", ParseBrokerError::BadEscape),
        ] {
            assert_eq!(text.parse::<Broker>(), Err(error), "{text}");
        }
    }
}
