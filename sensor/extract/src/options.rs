//! How reading is done: within which limits, and until when.

use std::sync::atomic::AtomicBool;

use hindcap_wire::message::Limits;

use crate::limits::WAITING_BYTES_MAX;

/// How a plan is carried out.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// What the result may hold. A `snaplen` of 0 means no limit.
    pub limits: Limits,
    /// Looked at before every read; when set, the answer is partial.
    pub cancelled: Option<&'a AtomicBool>,
    /// Memory for matches that wait for their turn.
    pub waiting_bytes_max: usize,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self { limits: Limits::default(), cancelled: None, waiting_bytes_max: WAITING_BYTES_MAX }
    }
}
