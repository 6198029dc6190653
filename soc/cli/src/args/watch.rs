//! `watch`: sessions of alerts into long-term storage.

use std::path::PathBuf;

use hindcap_events::Zone;

use super::Connection;
use crate::exit;

#[derive(clap::Args, Debug)]
#[command(after_help = exit::HELP)]
pub(crate) struct Watch {
    /// The rules: what is followed, which events matter, what is done (docs/WATCH.md)
    #[arg(long, value_name = "FILE")]
    pub(crate) rules: PathBuf,
    /// What must outlast a restart: how far files were read, which sessions are waited for [default: in the store]
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    /// Tell what would be asked of whom; nothing is asked, nothing is remembered
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Read files to their ends, deal with what was found, and stop
    #[arg(long)]
    pub(crate) once: bool,
    /// Read files that were not followed before from their beginning, not from their end
    #[arg(long)]
    pub(crate) from_start: bool,
    /// The time zone of the site, where neither the line nor its source names one
    #[arg(long, value_name = "ZONE", value_parser = Zone::new)]
    pub(crate) site_tz: Option<Zone>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}
