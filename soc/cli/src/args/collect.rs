//! `collect`: results of requests that waited for a site.

use std::path::PathBuf;

use hindcap_args::{Nanos, parse_duration};
use hindcap_wire::message::Ulid;

use super::{Connection, Output};
use crate::exit;

#[derive(clap::Args, Debug)]
#[command(after_help = exit::HELP)]
pub(crate) struct Collect {
    /// Which, as the table of `fetch` named it; all that are waited for are listed without it
    #[arg(value_name = "REQUEST")]
    pub(crate) request: Option<Ulid>,
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// Give up after this long without progress
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = parse_duration, help_heading = "Sensor")]
    pub(crate) timeout: Nanos,
    #[command(flatten)]
    pub(crate) output: Output,
    /// The savefile [default: SENSOR-REQUEST.pcap]
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub(crate) write: Option<PathBuf>,
}
