//! Exit codes of `hindcapd` and `hindcap`.

use std::process::ExitCode;

/// What a caller learns from the exit status; the same codes for every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// Done.
    Done = 0,
    /// Nothing matched.
    NothingMatched = 1,
    /// Wrong usage, or an error.
    Error = 2,
    /// The time asked for is no longer, or was never, in the store.
    OutOfRetention = 3,
    /// Denied.
    Denied = 4,
    /// A result, but not all of it: damage, gaps, limits; some of several sensors did not answer.
    Partial = 5,
    /// Time-out, or the other side is offline.
    Offline = 6,
    /// Given up by a signal, as shells say it.
    Interrupted = 130,
}

/// The paragraph of `--help`.
pub const HELP: &str = "\
Exit codes: 0 done, 1 nothing matched, 2 usage or error, 3 out of retention, 4 denied, 5 partial result (damaged input, \
gaps, limits, some of several sensors), 6 time-out or offline, \
130 interrupted.";

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_code() {
        for code in 0..=Code::Offline as u8 {
            assert!(HELP.contains(&format!("{code} ")), "{code}");
        }
    }
}
