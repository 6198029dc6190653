//! Log lines to standard error: level and message. Time stamps belong to the journal that reads them.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use log::{Level, LevelFilter, Log, Metadata, Record};

struct Stderr {
    colour: bool,
}

impl Stderr {
    /// Each line by one call: on the console of a box it would be mixed with the status page otherwise.
    fn write(&self, record: &Record<'_>, to: &mut impl Write) -> io::Result<()> {
        let (word, colour) = match record.level() {
            Level::Error => ("error", "\x1b[31m"),
            Level::Warn => ("warn", "\x1b[33m"),
            Level::Info => ("info", ""),
            Level::Debug | Level::Trace => ("debug", ""),
        };
        let line = if self.colour && !colour.is_empty() {
            format!("hindcapd: {colour}{word}\x1b[0m: {}\n", record.args())
        } else {
            format!("hindcapd: {word}: {}\n", record.args())
        };
        to.write_all(line.as_bytes())
    }
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
        // A closed standard error must not stop a recorder.
        let _ = self.write(record, &mut io::stderr().lock());
    }

    fn flush(&self) {}
}

/// Starts logging at `level`. A second call only changes the level.
pub fn init(level: LevelFilter) {
    let logger = LOGGER.get_or_init(|| Stderr {
        colour: std::env::var_os("NO_COLOR").is_none() && io::stderr().is_terminal(),
    });
    // Set already: by an earlier call in the same process, as tests do.
    let _ = log::set_logger(logger);
    log::set_max_level(level);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each call of `write` was given.
    struct Calls(Vec<String>);

    impl Write for Calls {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_written_by_one_call() {
        for (colour, expected) in
            [(false, "hindcapd: warn: 2 of 3\n"), (true, "hindcapd: \x1b[33mwarn\x1b[0m: 2 of 3\n")]
        {
            let mut calls = Calls(Vec::new());
            // Rust 1.85 keeps format_args! for one statement only.
            Stderr { colour }
                .write(
                    &Record::builder().level(Level::Warn).args(format_args!("{} of {}", 2, 3)).build(),
                    &mut calls,
                )
                .unwrap();
            assert_eq!(calls.0, [expected]);
        }
    }
}
