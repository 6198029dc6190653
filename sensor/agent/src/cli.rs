//! The command line of `hindcapd`: each flag defined once. tcpdump's letters keep their meaning (-i -r -s -w -p).

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use hindcap_args::{Nanos, QueryArgs, parse_duration};
use hindcap_wire::limits::SUMMARY_ROWS_MAX;
use hindcap_wire::message::{Format, HoldId, HoldPart, PinId};
use log::LevelFilter;

use crate::card::FormatArgs;
use crate::exit;
use crate::policy::PolicyArgs;
use crate::units::{Quota, Share, Size, Span};

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
    pub const fn verbosity(&self) -> Option<LevelFilter> {
        match (self.verbose, self.quiet) {
            (true, _) => Some(LevelFilter::Debug),
            (_, true) => Some(LevelFilter::Error),
            _ => None,
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
    /// List sessions, newest first; runs beside a recorder, as do the next ones
    Search(SearchArgs),
    /// List the top talkers by connections and by volume: sources, destinations, TCP and UDP ports
    Summary(SummaryArgs),
    /// Say what an extraction would read and give, from the indexes alone
    Estimate(EstimateArgs),
    /// Write the packets that match as a savefile
    Extract(ExtractArgs),
    /// Say how far back the store reaches and how it does
    Status(WholeStoreArgs),
    /// Keep the segments that may hold packets of a query although their turn has come; the store must not be in use
    Hold(HoldArgs),
    /// End a hold; the store must not be in use
    Release(ReleaseArgs),
    /// List the holds
    Holds(HoldsArgs),
    /// Check batches, indexes, hashes and chain of every segment; reads only
    Verify(WholeStoreArgs),
    /// Build every index and the catalog anew from the packets; the store must not be in use
    Reindex(WholeStoreArgs),
    /// Make a card, partition or image file (fat:PATH) an empty store; everything on it is lost
    Format(FormatArgs),
    /// Close the open segment and list the contents, so that other computers open every file; then remove the card
    Eject(WholeStoreArgs),
    /// Copy whole sessions into the event ring, where they outlast the general ring; the store must not be in use
    Pin(PinArgs),
    /// End a pin; what was copied stays. The store must not be in use
    Unpin(UnpinArgs),
    /// List the pins
    Pins(WholeStoreArgs),
    /// Record, serve requests and keep a status at the broker, as a configuration file says
    Run(RunArgs),
    /// Check a configuration file
    CheckConfig(CheckConfigArgs),
}

/// Which store.
#[derive(Args, Clone, Debug)]
pub struct StoreArgs {
    /// Directory of the store, or fat:PATH of a card, partition or image file
    #[arg(long, value_name = "PATH", default_value = "/var/lib/hindcap")]
    pub store: PathBuf,
}

/// Which store is asked, and what its times mean.
#[derive(Args, Clone, Debug)]
pub struct ReadStoreArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub place: StoreArgs,

    /// Take times as they were recorded, also those from before the clock was set
    #[arg(long)]
    pub raw_times: bool,
}

/// Which store, and how large it is to be.
#[derive(Args, Clone, Debug)]
pub struct WriteStoreArgs {
    /// Directory of the store, made when there is none; or fat:PATH of a formatted card, partition or image file
    #[arg(long, value_name = "PATH", default_value = "/var/lib/hindcap")]
    pub store: PathBuf,

    /// What the store may take: 2GiB, or 25% of the file system. A change keeps the newest segments
    /// [default: as it is; a new store 25%]
    #[arg(long, value_name = "SIZE")]
    pub store_size: Option<Quota>,

    /// Bytes of one segment, fixed when the store is made [default: 64MiB, less in a store below 512MiB]
    #[arg(long, value_name = "SIZE")]
    pub segment_size: Option<Size>,

    /// What of the store is for the event ring, where pinned sessions are kept: 2GiB, or 8% of it; 0% takes it away with all
    /// that is in it. A card has the one it was formatted with [default: as it is; a new store 10%]
    #[arg(long, value_name = "SIZE")]
    pub event_share: Option<Share>,

    /// Do not hash the segments: less work, but nothing shows that a segment was changed on purpose
    #[arg(long)]
    pub no_hash_chain: bool,
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

    #[command(flatten)]
    #[allow(missing_docs)]
    pub policy: PolicyArgs,

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

    #[command(flatten)]
    #[allow(missing_docs)]
    pub policy: PolicyArgs,

    /// Print the outcome as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `summary`.
#[derive(Args, Debug)]
pub struct SummaryArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub store: ReadStoreArgs,

    /// Rows of each list at most
    #[arg(long, value_name = "NUMBER", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(SUMMARY_ROWS_MAX)))]
    pub rows: u32,

    /// Answer as JSON
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub query: QueryArgs,
}

/// Arguments of `search`.
#[derive(Args, Debug)]
pub struct SearchArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub store: ReadStoreArgs,

    /// Sessions listed at most
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    pub limit: usize,

    /// Answer as JSON
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub query: QueryArgs,
}

/// Arguments of `estimate`.
#[derive(Args, Debug)]
pub struct EstimateArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub store: ReadStoreArgs,

    /// Answer as JSON
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub query: QueryArgs,
}

/// Arguments of `extract`.
#[derive(Args, Debug)]
pub struct ExtractArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub store: ReadStoreArgs,

    /// Savefile to write; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    pub write: PathBuf,

    /// Format of the savefile: pcap (nanoseconds) or pcapng [default: by extension, else pcap]
    #[arg(long, value_name = "FORMAT", value_parser = parse_format)]
    pub format: Option<Format>,

    /// Bytes kept of each packet; 0 keeps all that was recorded
    #[arg(short, long, value_name = "BYTES", default_value_t = 0)]
    pub snaplen: u32,

    /// Largest savefile; a larger one ends as partial
    #[arg(long, value_name = "SIZE")]
    pub max_bytes: Option<Size>,

    /// Most packets; more end as partial
    #[arg(long, value_name = "NUMBER")]
    pub max_packets: Option<u64>,

    /// Answer as JSON; on standard error when the savefile goes to standard output
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub query: QueryArgs,
}

/// Arguments of `hold`.
#[derive(Args, Debug)]
pub struct HoldArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub store: StoreArgs,

    /// How long, such as 90d [default: 30d]
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    pub lasts: Option<Nanos>,

    /// Why, kept with the hold; up to 96 bytes
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,

    /// Who asks, kept with the hold; up to 32 bytes
    #[arg(long, value_name = "TEXT")]
    pub who: Option<String>,

    /// When there is not room for everything, hold this part instead of nothing: newest or oldest
    #[arg(long, value_name = "PART", value_parser = parse_part)]
    pub partial: Option<HoldPart>,

    /// Answer as JSON
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub query: QueryArgs,
}

fn parse_part(text: &str) -> Result<HoldPart, &'static str> {
    match text {
        "newest" => Ok(HoldPart::Newest),
        "oldest" => Ok(HoldPart::Oldest),
        _ => Err("expected newest or oldest"),
    }
}

/// Arguments of `release`.
#[derive(Args, Debug)]
pub struct ReleaseArgs {
    /// The hold's name, as `hold` and `holds` print it
    #[arg(value_name = "ID")]
    pub hold: HoldId,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub store: StoreArgs,

    /// Answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `holds`.
#[derive(Args, Debug)]
pub struct HoldsArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub store: StoreArgs,

    /// Answer as JSON
    #[arg(long)]
    pub json: bool,
}

fn parse_format(text: &str) -> Result<Format, &'static str> {
    match text {
        "pcap" => Ok(Format::Pcap),
        "pcapng" => Ok(Format::Pcapng),
        _ => Err("expected pcap or pcapng"),
    }
}

/// Arguments of `pin`.
#[derive(Args, Debug)]
pub struct PinArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub store: StoreArgs,

    /// How long sessions that go on are followed by whoever records next
    #[arg(long = "for", value_name = "DURATION", default_value = "1h", value_parser = parse_duration)]
    pub lasts: Nanos,

    /// Captured bytes copied at most [default: half of the event ring]
    #[arg(long, value_name = "SIZE")]
    pub max_bytes: Option<Size>,

    /// Why, kept with the pin
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,

    /// Who asks, kept with the pin
    #[arg(long, value_name = "TEXT")]
    pub who: Option<String>,

    /// Answer as JSON
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub query: QueryArgs,
}

/// Arguments of `unpin`.
#[derive(Args, Debug)]
pub struct UnpinArgs {
    /// The pin's name, as `pin` and `pins` print it
    #[arg(value_name = "ID")]
    pub pin: PinId,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub store: StoreArgs,

    /// Answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Configuration file, see docs/CONFIG.md
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Arguments of the commands that concern a store as a whole.
#[derive(Args, Debug)]
pub struct WholeStoreArgs {
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

    /// Look at the keys alone, and not at the files with certificates that they name
    #[arg(long)]
    pub keys_only: bool,

    /// Answer as JSON
    #[arg(long)]
    pub json: bool,
}
