//! How a log line is read: what the analyst, the settings and the clock add to it.

use std::io::Read as _;

use hindcap_events::{Context, LINE_BYTES_MAX, Reading, Refusal, Source, Zone};
use hindcap_wire::time::Timestamp;

use crate::exit::Failure;
use crate::gather::Sites;

/// The group of the argument that is the line, in every command that reads one: what says how to read it says nothing without.
pub(super) const LOG_LINE: &str = "log_line";

/// What is known besides what was typed.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// The present.
    pub(crate) now: Timestamp,
    /// The settings of machines that write logs.
    pub(crate) sources: Vec<Source>,
    /// The settings of sites.
    pub(crate) sites: Sites,
}

/// How a log line is read. Of the zones the nearest goes first: in the line, `--tz`, of the line's source, of the site.
#[derive(clap::Args, Debug)]
pub(crate) struct LineArgs {
    /// The time zone of the line's times where it names none, and of --at, --start and --end: Europe/Berlin, UTC, +02:00
    #[arg(long, value_name = "ZONE", value_parser = Zone::new)]
    pub(crate) tz: Option<Zone>,
    /// The time zone of the site, where neither the line nor the settings of its source name one
    #[arg(long, value_name = "ZONE", value_parser = Zone::new)]
    pub(crate) site_tz: Option<Zone>,
    /// Read the line as this format only, when several know it
    #[arg(long, value_name = "NAME", requires = LOG_LINE)]
    pub(crate) log_format: Option<String>,
}

impl LineArgs {
    /// What `line` means.
    ///
    /// # Errors
    /// What it lacks.
    pub(crate) fn read(&self, line: &[u8], known: &Known) -> Result<Reading, Refusal> {
        let context = Context {
            zone: self.tz.clone(),
            sources: known.sources.clone(),
            site_zone: self.site_tz.clone(),
            format: self.log_format.clone(),
            ..Context::new(known.now)
        };
        hindcap_events::parse(line, &context)
    }
}

/// The line that was given, or that stands on stdin when `-` was.
///
/// # Errors
/// stdin cannot be read.
pub(crate) fn line(given: &str) -> Result<Vec<u8>, Failure> {
    if given != "-" {
        return Ok(given.as_bytes().to_vec());
    }
    let mut line = Vec::new();
    // One byte too many shows that there is too much.
    let limit = LINE_BYTES_MAX as u64 + 1;
    std::io::stdin()
        .take(limit)
        .read_to_end(&mut line)
        .map_err(|error| Failure::new(format!("stdin: {error}")))?;
    Ok(line)
}
