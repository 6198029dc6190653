//! Code codes, and which error has which.

pub(crate) use hindcap_args::exit::{Code, HELP};
use hindcap_soc_api::ApiError;
use hindcap_wire::message::{Outcome, Reason};

/// What went wrong, for people and for scripts.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) exit: Code,
}

impl Failure {
    pub(crate) fn new(message: impl ToString) -> Self {
        Self { message: message.to_string(), exit: Code::Error }
    }
}

/// The code of an outcome that came with a result or without one.
pub(crate) const fn of_outcome(outcome: Outcome) -> Code {
    match outcome {
        Outcome::Done => Code::Done,
        Outcome::Partial => Code::Partial,
        Outcome::Gone => Code::OutOfRetention,
        Outcome::Expired => Code::Offline,
        _ => Code::Error,
    }
}

/// The code of a request that gave nothing.
pub(crate) const fn of_error(error: &ApiError) -> Code {
    match error {
        ApiError::Rejected(reason, _) if reason.is_denial() => Code::Denied,
        ApiError::Rejected(Reason::Expired, _) => Code::Offline,
        ApiError::Denied(_) => Code::Denied,
        ApiError::Interrupted => Code::Interrupted,
        ApiError::Ended(outcome, _) => of_outcome(*outcome),
        ApiError::Timeout { .. } | ApiError::Unreachable(_) | ApiError::Queued { .. } => Code::Offline,
        _ => Code::Error,
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self { message: error.to_string(), exit: of_error(&error) }
    }
}

#[cfg(test)]
mod tests {
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
