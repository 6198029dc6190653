//! Log lines to standard error: level and message. Time stamps belong to the journal that reads them.

use std::io::{IsTerminal, Write};
use std::sync::OnceLock;

use log::{Level, LevelFilter, Log, Metadata, Record};

struct Stderr {
    colour: bool,
}

static LOGGER: OnceLock<Stderr> = OnceLock::new();

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // The libraries below us speak at their own levels; their debug chatter is not ours.
        metadata.level() <= Level::Info || metadata.target().starts_with("hindcap")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let (word, colour) = match record.level() {
            Level::Error => ("error", "\x1b[31m"),
            Level::Warn => ("warn", "\x1b[33m"),
            Level::Info => ("info", ""),
            Level::Debug | Level::Trace => ("debug", ""),
        };
        let mut stderr = std::io::stderr().lock();
        // A closed standard error must not stop a recorder.
        let _ = if self.colour && !colour.is_empty() {
            writeln!(stderr, "hindcapd: {colour}{word}\x1b[0m: {}", record.args())
        } else {
            writeln!(stderr, "hindcapd: {word}: {}", record.args())
        };
    }

    fn flush(&self) {}
}

/// Starts logging at `level`. A second call only changes the level.
pub fn init(level: LevelFilter) {
    let logger = LOGGER.get_or_init(|| Stderr {
        colour: std::env::var_os("NO_COLOR").is_none() && std::io::stderr().is_terminal(),
    });
    // Set already: by an earlier call in the same process, as tests do.
    let _ = log::set_logger(logger);
    log::set_max_level(level);
}
