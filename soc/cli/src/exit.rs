//! Exit codes, and which error has which.

use std::process::ExitCode;

use hindcap_soc_api::ApiError;
use hindcap_wire::message::Outcome;

/// How the command ends; documented in `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Done = 0,
    NothingMatched = 1,
    Error = 2,
    OutOfRetention = 3,
    Denied = 4,
    Partial = 5,
    TimeoutOrOffline = 6,
}

/// For `--help` of every command.
pub(crate) const HELP: &str = "Exit codes: 0 done, 1 nothing matched, 2 usage or error, 3 out of retention, 4 denied, \
                               5 partial result, 6 timeout or offline";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What went wrong, for people and for scripts.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) exit: Exit,
}

impl Failure {
    pub(crate) fn new(message: impl ToString) -> Self {
        Self { message: message.to_string(), exit: Exit::Error }
    }
}

/// The code of an outcome that came with a result or without one.
pub(crate) const fn of_outcome(outcome: Outcome) -> Exit {
    match outcome {
        Outcome::Done => Exit::Done,
        Outcome::Partial => Exit::Partial,
        Outcome::Gone => Exit::OutOfRetention,
        Outcome::Expired => Exit::TimeoutOrOffline,
        _ => Exit::Error,
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        let exit = match &error {
            ApiError::Rejected(reason, _) if reason.is_denial() => Exit::Denied,
            ApiError::Denied(_) => Exit::Denied,
            ApiError::Ended(outcome, _) => of_outcome(*outcome),
            ApiError::Timeout { .. } => Exit::TimeoutOrOffline,
            _ => Exit::Error,
        };
        Self { message: error.to_string(), exit }
    }
}

#[cfg(test)]
mod tests {
    use hindcap_wire::message::Reason;

    use super::*;

    #[test]
    fn errors_have_the_documented_codes() {
        let code = |error: ApiError| Failure::from(error).exit as u8;
        assert_eq!(code(ApiError::Rejected(Reason::Unsigned, String::new())), 4);
        assert_eq!(code(ApiError::Rejected(Reason::InvalidQuery, String::new())), 2);
        assert_eq!(code(ApiError::Denied(String::new())), 4);
        assert_eq!(code(ApiError::Ended(Outcome::Gone, String::new())), 3);
        assert_eq!(code(ApiError::Ended(Outcome::Expired, String::new())), 6);
        assert_eq!(code(ApiError::Ended(Outcome::Failed, String::new())), 2);
        assert_eq!(code(ApiError::Timeout { waiting_for: "", offline_since: None }), 6);
        assert_eq!(of_outcome(Outcome::Partial) as u8, 5);
    }
}
