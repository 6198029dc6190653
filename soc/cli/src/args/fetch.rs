//! `fetch`: packets as a savefile.

use std::path::PathBuf;

use clap::ValueEnum;
use hindcap_args::parse_size;
use hindcap_wire::message::{Format, Limits};

use super::{Ask, Which};
use crate::exit::{self, Failure};

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum FormatArg {
    Pcap,
    Pcapng,
}

#[derive(clap::Args, Debug)]
#[command(after_help = exit::HELP)]
pub(crate) struct Fetch {
    #[command(flatten)]
    pub(crate) query: Which,
    #[command(flatten)]
    pub(crate) ask: Ask,
    /// What the times mean: `at` an instant (--at), or a `window` (--start, --end, --last)
    #[arg(long, value_enum, value_name = "MODE", help_heading = "Query: which packets")]
    pub(crate) mode: Option<Mode>,
    /// Search the event ring and held segments as well; that is always done
    #[arg(long, help_heading = "Query: which packets")]
    pub(crate) all: bool,
    /// Tell what would be read and given, without moving a packet; as `hindcap estimate`
    #[arg(long, conflicts_with_all = ["write", "zip", "http"], help_heading = "Output")]
    pub(crate) dry_run: bool,
    /// The savefile, or - for stdout [default: SENSOR-TIME.pcap]
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub(crate) write: Option<PathBuf>,
    /// Its format [default: by its name, else classic pcap with nanoseconds]
    #[arg(long, value_enum, help_heading = "Output")]
    pub(crate) format: Option<FormatArg>,
    /// Pack the savefile with a report and a manifest of SHA-256 sums into a ZIP file
    #[arg(long, help_heading = "Output")]
    pub(crate) zip: bool,
    /// Print an HTML page with a link to the file, for a web server that calls this command
    #[arg(long, conflicts_with = "json", help_heading = "Output")]
    pub(crate) http: bool,
    /// A remark, kept with the result: in the report of --zip, on the page of --http
    #[arg(long, value_name = "TEXT", help_heading = "Output")]
    pub(crate) comment: Option<String>,
    #[command(flatten)]
    pub(crate) amount: Amount,
}

/// How much at most, of each sensor.
#[derive(clap::Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Limits")]
pub(crate) struct Amount {
    /// Stop at this many packets
    #[arg(short = 'c', long, value_name = "NUMBER")]
    pub(crate) max_packets: Option<u64>,
    /// Stop at this size, such as 64MiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) max_bytes: Option<u64>,
    /// Keep this many bytes of each packet
    #[arg(long, value_name = "BYTES")]
    pub(crate) snaplen: Option<u32>,
}

impl From<Amount> for Limits {
    fn from(amount: Amount) -> Self {
        let Amount { max_packets, max_bytes, snaplen } = amount;
        Self { max_bytes, max_packets, snaplen }
    }
}

/// How OpenFPC told its two kinds of time apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    At,
    Window,
}

impl Fetch {
    /// Whether the times given fit the mode asked for.
    ///
    /// # Errors
    /// They do not.
    pub(crate) fn check_mode(&self) -> Result<(), Failure> {
        let query = &self.query.query;
        let window = query.start.is_some() || query.end.is_some() || query.last.is_some();
        match self.mode {
            Some(Mode::At) if query.at.is_none() && self.query.event.is_none() => {
                Err(Failure::new("--mode at wants an instant: give it with --timestamp (-t) or --event (-a)"))
            }
            Some(Mode::Window) if !window => Err(Failure::new(
                "--mode window wants a window: give it with --start (-b) and --end (-j), or --last",
            )),
            _ => Ok(()),
        }
    }

    pub(crate) fn format(&self) -> Format {
        let extension = self.write.as_ref().and_then(|path| path.extension());
        match self.format {
            Some(FormatArg::Pcap) => Format::Pcap,
            Some(FormatArg::Pcapng) => Format::Pcapng,
            None if extension.is_some_and(|extension| extension.eq_ignore_ascii_case("pcapng")) => {
                Format::Pcapng
            }
            None => Format::Pcap,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Command};

    fn fetch(flags: &str) -> Fetch {
        let words = "hindcap fetch --broker mqtt://h --sensor s ".split_whitespace();
        let Command::Fetch(fetch) = Args::parse_from(words.chain(flags.split_whitespace())).command else {
            unreachable!()
        };
        fetch
    }

    #[test]
    fn formats_follow_the_name_unless_told() {
        assert_eq!(fetch("-w a.pcapng").format(), Format::Pcapng);
        assert_eq!(fetch("-w a.pcap").format(), Format::Pcap);
        assert_eq!(fetch("-w -").format(), Format::Pcap);
        assert_eq!(fetch("-w a.pcap --format pcapng").format(), Format::Pcapng);
    }

    #[test]
    fn a_mode_wants_its_times() {
        assert!(fetch("--mode at --at 15m").check_mode().is_ok());
        assert!(fetch("--mode window --start 15m").check_mode().is_ok());
        assert!(fetch("--mode window --last 15m").check_mode().is_ok());
        assert!(fetch("--last 15m").check_mode().is_ok());
        assert!(fetch("--mode at --start 15m").check_mode().is_err());
        assert!(fetch("--mode window --at 15m").check_mode().is_err());
    }
}
