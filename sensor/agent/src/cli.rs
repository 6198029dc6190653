//! The command line of `hindcapd`: each flag defined once. tcpdump's letters keep their meaning.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use log::LevelFilter;

use crate::exit;

/// Full-packet recorder with hindsight: records an interface into a bounded store and gives back exactly the packets
/// asked for.
#[derive(Debug, Parser)]
#[command(name = "hindcapd", version, after_help = exit::HELP, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// Say more on standard error
    #[arg(short, long, global = true)]
    verbose: bool,

    /// Say only errors on standard error
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
}

impl Cli {
    /// The log level asked for.
    #[must_use]
    pub const fn verbosity(&self) -> LevelFilter {
        match (self.verbose, self.quiet) {
            (true, _) => LevelFilter::Debug,
            (_, true) => LevelFilter::Error,
            _ => LevelFilter::Info,
        }
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a configuration file
    CheckConfig(CheckConfigArgs),
}

/// Arguments of `check-config`.
#[derive(Debug, Args)]
pub struct CheckConfigArgs {
    /// The file that `run -c` would read
    #[arg(value_name = "FILE", required_unless_present = "reference")]
    pub file: Option<PathBuf>,

    /// Print every key with default, unit and range instead (docs/CONFIG.md)
    #[arg(long, conflicts_with = "file")]
    pub reference: bool,

    /// Answer as JSON
    #[arg(long)]
    pub json: bool,
}
