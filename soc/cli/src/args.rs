//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use hindcap_args::{Nanos, QueryArgs, parse_duration, parse_size};
use hindcap_soc_api::Broker;
use hindcap_wire::message::{Format, HoldId, PinId, SensorId};

use crate::exit;

/// Ask Hindcap sensors for what they have recorded
#[derive(Parser, Debug)]
#[command(name = "hindcap", version, after_help = exit::HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Fetch packets as a savefile
    Fetch(Fetch),
    /// List sessions, newest first
    Search(Search),
    /// Tell what a fetch would read and give, without moving a packet
    Estimate(Estimate),
    /// Show how sensors do; of all sensors when none is named
    Status(Status),
    /// Keep the segments that may hold packets of a query, although their turn has come
    Hold(Hold),
    /// End a hold
    Release(Release),
    /// List the holds
    Holds(Holds),
    /// Have whole sessions copied into the event ring, with what comes of them, so that they outlast the general ring
    Pin(Pin),
    /// End a pin; what was copied stays
    Unpin(Unpin),
    /// List the pins
    Pins(Holds),
}

impl Command {
    pub(crate) const fn broker(&self) -> &Broker {
        match self {
            Self::Fetch(Fetch { ask, .. })
            | Self::Search(Search { ask, .. })
            | Self::Estimate(Estimate { ask, .. })
            | Self::Hold(Hold { ask, .. })
            | Self::Release(Release { ask, .. })
            | Self::Pin(Pin { ask, .. })
            | Self::Unpin(Unpin { ask, .. })
            | Self::Holds(Holds { ask, .. })
            | Self::Pins(Holds { ask, .. }) => &ask.target.broker,
            Self::Status(status) => &status.broker,
        }
    }
}

/// Whom to ask, and how patiently.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Sensor")]
pub(crate) struct Target {
    /// The broker: mqtt://[user[:password]@]host[:port]
    #[arg(long, value_name = "URL", env = "HINDCAP_BROKER", hide_env_values = true)]
    pub(crate) broker: Broker,
    /// The sensor's name
    #[arg(long, value_name = "ID", env = "HINDCAP_SENSOR")]
    pub(crate) sensor: SensorId,
    /// Give up after this long without progress; an offline sensor is waited for
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = parse_duration)]
    pub(crate) timeout: Nanos,
    /// Why, for the sensor's audit record
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// The case it belongs to
    #[arg(long, value_name = "TEXT")]
    pub(crate) case: Option<String>,
}

/// What is printed.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Output")]
pub(crate) struct Output {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Print nothing but the result
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// What every command has that asks one sensor.
#[derive(clap::Args, Debug)]
pub(crate) struct Ask {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum FormatArg {
    Pcap,
    Pcapng,
}

#[derive(clap::Args, Debug)]
#[command(after_help = exit::HELP)]
pub(crate) struct Fetch {
    #[command(flatten)]
    pub(crate) query: QueryArgs,
    #[command(flatten)]
    pub(crate) ask: Ask,
    /// The savefile, or - for stdout [default: SENSOR-ID.pcap, ID being made for each request]
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub(crate) write: Option<PathBuf>,
    /// Its format [default: by its name, else classic pcap with nanoseconds]
    #[arg(long, value_enum, help_heading = "Output")]
    pub(crate) format: Option<FormatArg>,
    /// Stop at this many packets
    #[arg(short = 'c', long, value_name = "NUMBER", help_heading = "Limits")]
    pub(crate) max_packets: Option<u64>,
    /// Stop at this size, such as 64MiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Limits")]
    pub(crate) max_bytes: Option<u64>,
    /// Keep this many bytes of each packet
    #[arg(short = 's', long, value_name = "BYTES", help_heading = "Limits")]
    pub(crate) snaplen: Option<u32>,
}

impl Fetch {
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

#[derive(clap::Args, Debug)]
#[command(after_help = exit::HELP)]
pub(crate) struct Search {
    #[command(flatten)]
    pub(crate) query: QueryArgs,
    #[command(flatten)]
    pub(crate) ask: Ask,
    /// How many sessions at most
    #[arg(long, value_name = "NUMBER", default_value_t = 100, help_heading = "Limits",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(hindcap_wire::limits::SEARCH_SESSIONS_MAX)))]
    pub(crate) limit: u32,
}

#[derive(clap::Args, Debug)]
#[command(after_help = exit::HELP)]
pub(crate) struct Estimate {
    #[command(flatten)]
    pub(crate) query: QueryArgs,
    #[command(flatten)]
    pub(crate) ask: Ask,
}

#[derive(clap::Args, Debug)]
#[command(after_help = exit::HELP)]
pub(crate) struct Hold {
    #[command(flatten)]
    pub(crate) query: QueryArgs,
    #[command(flatten)]
    pub(crate) ask: Ask,
    /// How long, such as 90d [default: the sensor's, 30d]
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration, help_heading = "Hold")]
    pub(crate) lasts: Option<Nanos>,
    /// When there is not room for everything, hold this part instead of nothing
    #[arg(long, value_enum, value_name = "PART", help_heading = "Hold")]
    pub(crate) partial: Option<PartArg>,
    /// Who asks, kept with the hold
    #[arg(long, value_name = "TEXT", help_heading = "Hold")]
    pub(crate) who: Option<String>,
}

#[derive(clap::Args, Debug)]
#[command(after_help = exit::HELP)]
pub(crate) struct Pin {
    #[command(flatten)]
    pub(crate) query: QueryArgs,
    #[command(flatten)]
    pub(crate) ask: Ask,
    /// How long sessions are followed, such as 8h [default: the sensor's, 1h]
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration, help_heading = "Pin")]
    pub(crate) lasts: Option<Nanos>,
    /// Captured bytes copied at most [default: half of the event ring]
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Pin")]
    pub(crate) max_pinned: Option<u64>,
    /// Who asks, kept with the pin
    #[arg(long, value_name = "TEXT", help_heading = "Pin")]
    pub(crate) who: Option<String>,
}

#[derive(clap::Args, Debug)]
#[command(after_help = exit::HELP)]
pub(crate) struct Unpin {
    /// The pin's name, as `pin` and `pins` print it
    #[arg(value_name = "ID")]
    pub(crate) pin: PinId,
    #[command(flatten)]
    pub(crate) ask: Ask,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum PartArg {
    Newest,
    Oldest,
}

#[derive(clap::Args, Debug)]
#[command(after_help = exit::HELP)]
pub(crate) struct Release {
    /// The hold's name, as `hold` and `holds` print it
    #[arg(value_name = "ID")]
    pub(crate) hold: HoldId,
    #[command(flatten)]
    pub(crate) ask: Ask,
}

#[derive(clap::Args, Debug)]
#[command(after_help = exit::HELP)]
pub(crate) struct Holds {
    #[command(flatten)]
    pub(crate) ask: Ask,
}

#[derive(clap::Args, Debug)]
#[command(after_help = exit::HELP)]
pub(crate) struct Status {
    /// The broker: mqtt://[user[:password]@]host[:port]
    #[arg(long, value_name = "URL", env = "HINDCAP_BROKER", hide_env_values = true)]
    pub(crate) broker: Broker,
    /// The sensor's name
    #[arg(long, value_name = "ID", env = "HINDCAP_SENSOR")]
    pub(crate) sensor: Option<SensorId>,
    /// Wait this long for the broker
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    pub(crate) timeout: Nanos,
    /// Print JSON, one sensor a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn help_documents_the_exit_codes() {
        for name in
            ["fetch", "search", "estimate", "status", "hold", "release", "holds", "pin", "unpin", "pins"]
        {
            let mut command = Args::command();
            let help = command.find_subcommand_mut(name).unwrap().render_long_help().to_string();
            assert!(help.contains(exit::HELP), "{help}");
        }
    }

    #[test]
    fn formats_follow_the_name_unless_told() {
        let format = |flags: &str| {
            let words = "hindcap fetch --broker mqtt://h --sensor s "
                .split_whitespace()
                .chain(flags.split_whitespace());
            let Command::Fetch(fetch) = Args::parse_from(words).command else { unreachable!() };
            fetch.format()
        };
        assert_eq!(format("-w a.pcapng"), Format::Pcapng);
        assert_eq!(format("-w a.pcap"), Format::Pcap);
        assert_eq!(format("-w -"), Format::Pcap);
        assert_eq!(format("-w a.pcap --format pcapng"), Format::Pcapng);
    }
}
