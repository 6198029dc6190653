//! What a sensor is busy with: the requests that it has accepted and that have not ended.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::reply::Progress;
use super::request::Request;
use super::ulid::Ulid;
use crate::text::beginning;
use crate::time::Timestamp;

/// What is shown of a reason or a case, bytes: sixteen jobs fit a message, also when JSON escapes every byte.
pub const JOB_TEXT_BYTES_MAX: usize = 256;

/// Requests that were accepted and have not ended, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobList {
    /// At most as many as a sensor accepts.
    pub jobs: Vec<JobInfo>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobInfo {
    /// The request; also what cancels it.
    pub request: Ulid,
    /// What it asks for, by the operation's name.
    pub operation: String,
    /// How far it is.
    pub stage: JobStage,
    /// When it was made.
    pub issued: Timestamp,
    /// When it ends at the latest.
    pub expires: Timestamp,
    /// Why; the beginning, [`JOB_TEXT_BYTES_MAX`] at most.
    pub reason: Option<String>,
    /// The case it belongs to; likewise.
    pub case: Option<String>,
}

impl JobInfo {
    /// What is told of `request`.
    #[must_use]
    pub fn new(request: &Request, stage: JobStage) -> Self {
        let short =
            |text: &Option<String>| text.as_deref().map(|text| beginning(text, JOB_TEXT_BYTES_MAX).into());
        Self {
            request: request.id,
            operation: request.operation.name().into(),
            stage,
            issued: request.issued,
            expires: request.expires,
            reason: short(&request.reason),
            case: short(&request.case),
        }
    }
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStage {
    /// It waits for its turn.
    Queued,
    /// It is at work.
    Running(Progress),
    /// Its result is on its way.
    Delivering {
        /// Chunks that have arrived.
        chunks_arrived: u32,
        /// Chunks of the result.
        chunks: u32,
    },
}

impl fmt::Display for JobStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queued => f.write_str("waiting"),
            Self::Running(progress) if progress.segments > 0 => {
                write!(f, "reading, {} of {} segments", progress.segments_done, progress.segments)
            }
            Self::Running(_) => f.write_str("reading"),
            Self::Delivering { chunks_arrived, chunks } => {
                write!(f, "sending, {chunks_arrived} of {chunks} chunks have arrived")
            }
        }
    }
}

impl fmt::Display for JobList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.jobs.is_empty() {
            return f.write_str("nothing is waiting or at work\n");
        }
        for job in &self.jobs {
            write!(f, "{}  {:<10}{}; issued {}", job.request, job.operation, job.stage, job.issued)?;
            write!(f, ", ends by {}", job.expires)?;
            for (name, text) in [("case", &job.case), ("reason", &job.reason)] {
                if let Some(text) = text {
                    write!(f, "; {name}: {}", text.escape_debug())?;
                }
            }
            f.write_str("\n")?;
        }
        Ok(())
    }
}
