//! Why a job has no result, in the words of the uplink.

use hindcap_extract::ExtractError;
use hindcap_store::holds::HoldError;
use hindcap_uplink::JobError;
use hindcap_wire::message::answer::WhyEmpty;

use crate::exit::Failure;

pub(super) fn no_pins() -> JobError {
    JobError::Invalid("this sensor's store has no event ring in use, so no session can be pinned".to_owned())
}

pub(super) fn refused_hold(error: HoldError) -> JobError {
    match error {
        HoldError::Storage(_) | HoldError::Gone => JobError::Failed(error.to_string()),
        error => JobError::Invalid(error.to_string()),
    }
}

pub(super) fn refused(error: ExtractError) -> JobError {
    match error {
        ExtractError::Query(_) | ExtractError::Filter { .. } => JobError::Invalid(error.to_string()),
        other => JobError::Failed(Failure::from(other).to_string()),
    }
}

/// An empty answer because everything has been pruned ends the job as gone.
pub(super) fn gone(found: u64, why: Option<&WhyEmpty>) -> Result<(), JobError> {
    match why {
        Some(WhyEmpty::Pruned { oldest }) if found == 0 => Err(JobError::Gone { oldest: Some(*oldest) }),
        Some(WhyEmpty::TooOld { before }) if found == 0 => Err(JobError::Gone { oldest: Some(*before) }),
        _ => Ok(()),
    }
}
