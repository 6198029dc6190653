//! Why a line led to nothing: what was missing and what to do.

use std::fmt;

use crate::reading::Reading;

/// A line that cannot be turned into a query.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Nothing but blanks.
    Empty,
    /// More than [`crate::LINE_BYTES_MAX`].
    TooLong {
        /// Its length, bytes.
        bytes: usize,
    },
    /// More than one line that is no header.
    SeveralLines {
        /// How many.
        lines: usize,
    },
    /// No format knows it, and no address stands in it.
    Unknown,
    /// A format knows the line, but the line lacks what a query needs.
    Lacking {
        /// The format, for people.
        title: &'static str,
        /// What is missing and what to do: a whole sentence without the full stop.
        lack: String,
    },
    /// The stamp has no zone, and none is known.
    NoZone {
        /// The format, for people.
        title: &'static str,
        /// The host or sensor that wrote the line.
        source: Option<String>,
    },
    /// The stamp names no day or hour that exists.
    BadTime {
        /// The format, for people.
        title: &'static str,
        /// The stamp.
        stamp: String,
    },
    /// Several formats know the line, and it means something else in each.
    Ambiguous {
        /// Every reading.
        readings: Vec<Reading>,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there is no text: paste one log line"),
            Self::TooLong { bytes } => write!(
                f,
                "the line has {bytes} bytes, the most is {}: paste one log line",
                crate::LINE_BYTES_MAX
            ),
            Self::SeveralLines { lines } => write!(f, "these are {lines} lines: paste one at a time"),
            Self::Unknown => f.write_str(
                "no known log format, and no IP address in it: give addresses and time by flags (--host, --at)",
            ),
            Self::Lacking { title, lack } => write!(f, "{title}: {lack}"),
            Self::NoZone { title, source } => {
                write!(f, "{title}: no time zone is known for this line: give --tz, or set one for ")?;
                match source {
                    Some(source) => write!(f, "the source {source} or for the site"),
                    None => f.write_str("the site"),
                }
            }
            Self::BadTime { title, stamp } => write!(f, "{title}: {stamp:?} is no time that exists"),
            Self::Ambiguous { readings } => {
                f.write_str("the line can be read in more than one way: ")?;
                for (at, reading) in readings.iter().enumerate() {
                    write!(f, "{}{}", if at == 0 { "" } else { ", or " }, reading.title)?;
                }
                f.write_str("; choose the format with --log-format")
            }
        }
    }
}

impl std::error::Error for Refusal {}
