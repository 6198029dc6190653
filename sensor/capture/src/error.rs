//! What can go wrong between a packet and us.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a source could not be opened or could not go on.
#[derive(Debug)]
#[non_exhaustive]
pub enum CaptureError {
    /// The process may not capture on this interface.
    Permission {
        /// The interface.
        interface: String,
        /// libpcap's words.
        message: String,
    },
    /// There is no such interface.
    NoSuchInterface {
        /// What was asked for.
        interface: String,
        /// What there is.
        available: Vec<String>,
    },
    /// The filter expression does not compile.
    Filter {
        /// The expression.
        filter: String,
        /// libpcap's words.
        message: String,
    },
    /// libpcap refused something else.
    Live {
        /// The interface.
        interface: String,
        /// libpcap's words.
        message: String,
    },
    /// A savefile could not be opened or read.
    Io {
        /// The savefile; `-` is standard input.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The savefile has no bytes at all.
    Empty {
        /// The savefile.
        path: PathBuf,
    },
    /// The savefile is compressed.
    Compressed {
        /// The savefile.
        path: PathBuf,
        /// The program that unpacks it.
        with: &'static str,
    },
    /// The file is neither a pcap nor a pcapng savefile.
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// The savefile is damaged or cut short; every packet before `offset` was delivered.
    Damaged {
        /// The savefile.
        path: PathBuf,
        /// Where the record that cannot be read starts, bytes from the start of the file.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// The savefile is sound but uses something Hindcap does not read; every packet before `offset` was delivered.
    Unsupported {
        /// The savefile.
        path: PathBuf,
        /// Where, bytes from the start of the file.
        offset: u64,
        /// What it is.
        reason: String,
    },
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permission { interface, message } => write!(
                f,
                "not allowed to capture on {interface}: run as root or with the capability CAP_NET_RAW ({message})"
            ),
            Self::NoSuchInterface { interface, available } if available.is_empty() => {
                write!(f, "no interface {interface}; there is none to capture on")
            }
            Self::NoSuchInterface { interface, available } => {
                write!(f, "no interface {interface}; there are: {}", available.join(", "))
            }
            Self::Filter { filter, message } => write!(f, "filter '{filter}': {message}"),
            Self::Live { interface, message } => write!(f, "capture on {interface}: {message}"),
            Self::Io { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Empty { path } => write!(f, "{}: the file is empty", path.display()),
            Self::Compressed { path, with } => {
                write!(f, "{}: compressed; unpack it first, for example '{with} {0}'", path.display())
            }
            Self::UnknownFormat { path } => {
                write!(f, "{}: neither a pcap nor a pcapng savefile", path.display())
            }
            Self::Damaged { path, offset, reason } => {
                write!(f, "{}: damaged at byte {offset}: {reason}", path.display())
            }
            Self::Unsupported { path, offset, reason } => {
                write!(f, "{}: not supported at byte {offset}: {reason}", path.display())
            }
        }
    }
}

impl std::error::Error for CaptureError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
