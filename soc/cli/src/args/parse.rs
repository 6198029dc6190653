//! `parse`: what a log line means.

use super::line::{LOG_LINE, LineArgs};
use crate::exit;

#[derive(clap::Args, Debug)]
#[command(after_help = exit::HELP)]
pub(crate) struct Parse {
    /// The log line, pasted as it is; - reads it from stdin
    #[arg(value_name = "LINE", group = LOG_LINE)]
    pub(crate) line: String,
    #[command(flatten)]
    pub(crate) how: LineArgs,
    /// Print JSON: the reading with the parts it was read from, and the queries
    #[arg(long)]
    pub(crate) json: bool,
}
