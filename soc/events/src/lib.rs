//! A log line, pasted, becomes a query: "traffic is requested in the context of the requesting device".
//!
//! [`parse`] takes one line (or one JSON object) and a [`Context`] and gives a [`Reading`]: the ends of the session,
//! protocol, VLAN, the time in the format's own meaning, everything that was assumed, and which bytes were used; or a
//! [`Refusal`] that says what was missing. [`Reading::queries`] turns it into what sensors are asked.
//!
//! Rules. Formats are recognised strictly and read loosely. Nothing is invented: no time that is not in the line, no
//! zone that nobody gave, no port without saying so. A line that two formats read differently is refused, with both
//! readings. When no format knows a line, addresses are picked out of it and the reading is marked as a guess. What the
//! other side of a connection can write into a line (user names, HELO, URLs) never becomes an address.
//!
//! The crate is pure: no I/O, no clock, no settings of its own. Work is linear in the length of the line, which is at
//! most [`LINE_BYTES_MAX`].
//!
//! # How a line is read
//!
//! [`text`] undoes colours and typography and keeps a map to the bytes as given; [`envelope`] finds every place where
//! the text of a format can begin; each entry of [`formats::FORMATS`] looks at each beginning; [`resolve`] applies zone
//! and year; [`finish`] checks the ends and collects the assumptions.
//!
//! # How a format is added
//!
//! One file in `formats/` and one [`Format`] in the table of `formats/mod.rs`. Its `read` gets a [`line::Line`] and
//! returns `None` when the line is of another kind, `Some(Err(Lack))` when it is of this kind and lacks something (a
//! whole sentence of what, and what to do), or `Some(Ok(Draft))`. Give the draft slices of the line, never copies: they
//! become the spans. Stamps come from [`stamp`] and stay unresolved; lengths of time go into `before_nanos` and
//! `after_nanos`. Set [`reading::Meaning`] and [`reading::Direction`] from the format's documents, and name the source
//! in the file's header. Then write `tests/golden/<format>.txt` from those documents, not from the output.

mod context;
mod draft;
mod envelope;
mod fields;
mod finish;
mod formats;
mod json;
mod line;
mod reading;
mod refusal;
mod resolve;
mod scan;
mod stamp;
mod text;
mod typed;

pub use context::{Context, Source, Zone, ZoneError};
pub use formats::{Format, formats};
pub use reading::{
    Assumption, Confidence, Direction, Endpoint, Endpoints, Field, Kind, Meaning, Reading, Span, View,
};
pub use refusal::Refusal;
pub use typed::{TimeStyle, typed_time};

/// Longest line that is read, bytes. Alert records with a packet's payload in base64 reach some hundred kilobytes.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// A line, or a part of one, as it can be shown: without colours, and with U+FFFD for what cannot be seen or would turn
/// the order of text round.
#[must_use]
pub fn visible(bytes: &[u8]) -> String {
    text::Clean::new(bytes).text().replace(['\n', '\t'], " ")
}

/// Reads one line, or one JSON object; header lines (`#fields ...`) may stand before it.
///
/// # Errors
/// When nothing can be asked of a sensor by this line alone; the text says what was missing and what to do.
pub fn parse(line: &[u8], context: &Context) -> Result<Reading, Refusal> {
    if line.len() > LINE_BYTES_MAX {
        return Err(Refusal::TooLong { bytes: line.len() });
    }
    line::read(&text::Clean::new(line), context)
}
