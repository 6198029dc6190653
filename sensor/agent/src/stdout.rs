//! Standard output: results and nothing else. `say!` and `say_text!` stand for `println!` and `print!`, which panic when the
//! reader has gone (`hindcapd status | head`) or the disk behind a redirection is full.

use std::fmt::{Arguments, Display};
use std::io::{self, ErrorKind, Write};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// The first thing that went wrong, until [`check`] tells it.
static FAILED: Mutex<Option<io::Error>> = Mutex::new(None);

macro_rules! say {
    ($($part:tt)*) => { $crate::stdout::write(format_args!("{}\n", format_args!($($part)*))) };
}

macro_rules! say_text {
    ($($part:tt)*) => { $crate::stdout::write(format_args!($($part)*)) };
}

/// One result: as a line of JSON, or as `text` puts it, line end included.
///
/// # Errors
/// It cannot be put as JSON.
pub(crate) fn answer<T: Serialize>(
    json: bool,
    result: &T,
    text: impl Display,
) -> Result<(), serde_json::Error> {
    if json {
        say!("{}", serde_json::to_string(result)?);
    } else {
        say_text!("{text}");
    }
    Ok(())
}

/// Writes `text`. What goes wrong is told by [`check`].
pub(crate) fn write(text: Arguments<'_>) {
    if let Err(error) = io::stdout().lock().write_fmt(text) {
        FAILED.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
}

/// Whether all that was said has arrived. A reader that has gone had enough, which is no failure.
///
/// # Errors
/// What kept the output from being written.
pub(crate) fn check() -> io::Result<()> {
    if let Err(error) = io::stdout().flush() {
        FAILED.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
    match FAILED.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}
