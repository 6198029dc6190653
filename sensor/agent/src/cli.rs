//! The command line of `hindcapd`: each flag defined once. tcpdump's letters keep their meaning (-i -r -s -w -p).

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use log::LevelFilter;

use crate::exit;
use crate::units::{Quota, Size, Span};

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
    /// Record an interface into the store until SIGINT or SIGTERM
    Record(RecordArgs),
    /// Record savefiles into the store, with their original times
    Import(ImportArgs),
    /// Say how far back the store reaches and how it does; runs beside a recorder
    Status(StatusArgs),
    /// Check a configuration file
    CheckConfig(CheckConfigArgs),
}

/// Which store.
#[derive(Args, Clone, Debug)]
pub struct StoreArgs {
    /// Directory of the store
    #[arg(long, value_name = "PATH", default_value = "/var/lib/hindcap")]
    pub store: PathBuf,
}

/// Which store, and how large it is to be.
#[derive(Args, Clone, Debug)]
pub struct WriteStoreArgs {
    /// Directory of the store; made when there is none
    #[arg(long, value_name = "PATH", default_value = "/var/lib/hindcap")]
    pub store: PathBuf,

    /// What the store may take: 2GiB, or 25% of the file system. A change keeps the newest segments
    /// [default: as it is; a new store 25%]
    #[arg(long, value_name = "SIZE")]
    pub store_size: Option<Quota>,

    /// Bytes of one segment, fixed when the store is made [default: 64MiB, less in a store below 512MiB]
    #[arg(long, value_name = "SIZE")]
    pub segment_size: Option<Size>,
}

/// Arguments of `record`.
#[derive(Args, Debug)]
pub struct RecordArgs {
    /// Interface to listen on
    #[arg(short, long, value_name = "INTERFACE")]
    pub interface: String,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub store: WriteStoreArgs,

    /// Bytes kept of each packet; 0 keeps everything
    #[arg(short, long, value_name = "BYTES", default_value_t = 0)]
    pub snaplen: u32,

    /// Kernel receive ring
    #[arg(long, value_name = "SIZE", default_value = "8MiB")]
    pub ring: Size,

    /// Do not listen to frames addressed to others
    #[arg(short = 'p', long)]
    pub no_promiscuous: bool,

    /// Longest time a packet waits in memory: what a power cut may lose
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    pub flush_interval: Span,

    /// At the end, print the counters as JSON
    #[arg(long)]
    pub json: bool,

    /// pcap-filter expression run in the kernel; packets that do not match are never seen
    #[arg(value_name = "EXPRESSION", trailing_var_arg = true)]
    pub filter: Vec<String>,
}

/// Arguments of `import`.
#[derive(Args, Debug)]
pub struct ImportArgs {
    /// Savefiles, pcap or pcapng; `-` is standard input
    #[arg(short = 'r', long = "read", value_name = "FILE")]
    pub read: Vec<PathBuf>,

    /// Savefiles, as with -r
    #[arg(value_name = "FILE", required_unless_present = "read")]
    pub files: Vec<PathBuf>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub store: WriteStoreArgs,

    /// Print the outcome as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `status`.
#[derive(Args, Debug)]
pub struct StatusArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub store: StoreArgs,

    /// Answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `check-config`.
#[derive(Args, Debug)]
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
