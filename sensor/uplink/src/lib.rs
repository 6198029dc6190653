//! The sensor's side of MQTT.

mod handler;
pub mod spool;

pub use handler::{Extracted, Handler, Job, JobError};
pub use spool::{Spool, Spooled};
