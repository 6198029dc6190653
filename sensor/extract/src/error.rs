//! What can go wrong between a query and its result.

use std::fmt;

use hindcap_wire::query::QueryError;

use crate::sink::SinkError;

/// Why there is no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum ExtractError {
    /// The query cannot be meant.
    Query(QueryError),
    /// libpcap does not understand the filter, for any link type of the store.
    Filter {
        /// The expression.
        expression: String,
        /// libpcap's words.
        reason: String,
    },
    /// The result cannot be taken.
    Sink(SinkError),
    /// A `session` query that widens to more flows than fit in memory.
    TooManySessions {
        /// The most.
        most: usize,
    },
}

impl fmt::Display for ExtractError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Query(err) => err.fmt(f),
            Self::Filter { expression, reason } => write!(f, "the filter {expression:?}: {reason}"),
            Self::Sink(err) => err.fmt(f),
            Self::TooManySessions { most } => {
                write!(
                    f,
                    "the query leads to more than {most} sessions; name a host, a port or a shorter time"
                )
            }
        }
    }
}

impl std::error::Error for ExtractError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Sink(err) => err.source(),
            _ => None,
        }
    }
}

impl From<QueryError> for ExtractError {
    fn from(err: QueryError) -> Self {
        Self::Query(err)
    }
}

impl From<SinkError> for ExtractError {
    fn from(err: SinkError) -> Self {
        Self::Sink(err)
    }
}
