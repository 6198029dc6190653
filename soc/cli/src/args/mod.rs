//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use hindcap_args::{Nanos, parse_duration};
use hindcap_wire::limits::REQUEST_LIFE_SECS_MAX;
use hindcap_wire::message::Ulid;
use hindcap_wire::time::NANOS_PER_SEC;

use crate::exit;

mod ca;
mod collect;
mod connection;
mod extcap;
mod fetch;
mod keep;
mod line;
mod parse;
mod provision;
mod store;
mod watch;
mod which;
mod whom;

pub(crate) use ca::{Ca, CaAnalyst, CaCommand, CaInit, CaServer};
pub(crate) use collect::Collect;
pub(crate) use connection::{Connection, first_line, this_clock};
pub(crate) use extcap::{Extcap, INTERFACE_PREFIX};
pub(crate) use fetch::{Amount, Fetch};
pub(crate) use keep::{Hold, PartArg, Pin, Release, Unpin};
pub(crate) use line::{Known, line};
pub(crate) use parse::Parse;
pub(crate) use provision::Provision;
pub(crate) use store::{KeptAt, Store, Stored};
pub(crate) use watch::Watch;
pub(crate) use which::{PAD_NANOS, Which, query_of};
pub(crate) use whom::{Pattern, Whom};

/// Ask Hindcap sensors for what they have recorded
#[derive(Parser, Debug)]
#[command(name = "hindcap", version, after_help = exit::HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// The file with profiles [default: ~/.config/hindcap/config.toml]
    #[arg(long, value_name = "FILE", global = true, help_heading = "Settings")]
    pub(crate) config: Option<PathBuf>,
    /// Which profile of it gives flags their values
    #[arg(long, value_name = "NAME", global = true, help_heading = "Settings")]
    pub(crate) profile: Option<String>,
    /// Say on stderr what is asked of whom, and what comes back
    #[arg(short, long, global = true, help_heading = "Settings")]
    pub(crate) verbose: bool,
    /// Say on stderr everything that happens on the connection, too
    #[arg(long, global = true, help_heading = "Settings")]
    pub(crate) debug: bool,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Fetch packets as a savefile
    Fetch(Fetch),
    /// Fetch what came of a request that waited for a site, or list those that wait
    Collect(Collect),
    /// Fetch packets and keep them on this side, with what they cover and sums to check them by
    Store(Store),
    /// List what `store` has kept, or show one of it
    Stored(Stored),
    /// List sessions, newest first
    Search(Search),
    /// Tell what a fetch would read and give, without moving a packet
    Estimate(Estimate),
    /// List the top talkers by connections and by volume: sources, destinations, TCP and UDP ports
    Summary(Summary),
    /// Show how sensors do; of all sensors when none is named
    Status(Status),
    /// List the sensors that this broker knows, a line each
    Sensors(Sensors),
    /// List the requests that a sensor has accepted and not ended
    Jobs(AskOnly),
    /// End a request, whoever made it
    Cancel(Cancel),
    /// Keep the segments that may hold packets of a query, although their turn has come
    Hold(Hold),
    /// End a hold
    Release(Release),
    /// List the holds
    Holds(AskOnly),
    /// Have whole sessions copied into the event ring, with what comes of them, so that they outlast the general ring
    Pin(Pin),
    /// End a pin; what was copied stays
    Unpin(Unpin),
    /// List the pins
    Pins(AskOnly),
    /// Show what a log line means: the session, the time, what was assumed, and what is asked of sensors
    Parse(Parse),
    /// Serve Wireshark as a capture program: sensors are its interfaces, for what was recorded and for what comes
    Extcap(Extcap),
    /// Follow alert files and syslog, and keep the whole session of every event that a rule is for
    Watch(Watch),
    /// Be the authority that says who is who at a broker with TLS
    Ca(Ca),
    /// Write the files that make a new box a sensor of this fleet
    Provision(Provision),
    /// Print a completion script for a shell
    Completion(Completion),
    /// Write the manual pages into a directory
    Man(Man),
}

impl Command {
    /// Through whom sensors are asked; absent where nobody is.
    pub(crate) const fn connection(&self) -> Option<&Connection> {
        Some(match self {
            Self::Fetch(Fetch { ask, .. })
            | Self::Store(Store { ask, .. })
            | Self::Search(Search { ask, .. })
            | Self::Estimate(Estimate { ask, .. })
            | Self::Hold(Hold { ask, .. })
            | Self::Release(Release { ask, .. })
            | Self::Pin(Pin { ask, .. })
            | Self::Unpin(Unpin { ask, .. })
            | Self::Summary(Summary { ask, .. })
            | Self::Cancel(Cancel { ask, .. })
            | Self::Jobs(AskOnly { ask })
            | Self::Holds(AskOnly { ask })
            | Self::Pins(AskOnly { ask }) => &ask.target.connection,
            Self::Collect(collect) => &collect.connection,
            Self::Status(status) => &status.look.connection,
            Self::Sensors(sensors) => &sensors.connection,
            Self::Extcap(extcap) => &extcap.connection,
            Self::Watch(watch) => &watch.connection,
            Self::Stored(_)
            | Self::Parse(_)
            | Self::Ca(_)
            | Self::Provision(_)
            | Self::Completion(_)
            | Self::Man(_) => return None,
        })
    }
}

/// Whom to ask, and how patiently.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Sensor")]
pub(crate) struct Target {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(flatten)]
    pub(crate) whom: Whom,
    /// Give up after this long without progress; an offline sensor is waited for when it is the only one
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = parse_duration)]
    pub(crate) timeout: Nanos,
    /// Do not wait for a sensor that is offline: leave the request at the broker until --expires; so it is with several sensors
    #[arg(long)]
    pub(crate) queue: bool,
    /// How long the request may take, waiting at the broker included; at most 7d [default: 1h, or twice --timeout]
    #[arg(long, value_name = "DURATION", value_parser = parse_life)]
    pub(crate) expires: Option<Nanos>,
    /// Why, for the sensor's audit record
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// The case it belongs to
    #[arg(long, value_name = "TEXT")]
    pub(crate) case: Option<String>,
}

/// How long a request may live.
fn parse_life(text: &str) -> Result<Nanos, String> {
    let life = parse_duration(text).map_err(|error| error.to_string())?;
    let longest = REQUEST_LIFE_SECS_MAX * NANOS_PER_SEC;
    if life.0 > longest { Err("sensors take no request that lives longer than 7d".into()) } else { Ok(life) }
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

/// What every command has that asks sensors.
#[derive(clap::Args, Debug)]
pub(crate) struct Ask {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(clap::Args, Debug)]
#[command(after_help = exit::HELP)]
pub(crate) struct Search {
    #[command(flatten)]
    pub(crate) query: Which,
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
    pub(crate) query: Which,
    #[command(flatten)]
    pub(crate) ask: Ask,
}

/// A question that is nothing but its name.
#[derive(clap::Args, Debug)]
#[command(after_help = exit::HELP)]
pub(crate) struct AskOnly {
    #[command(flatten)]
    pub(crate) ask: Ask,
}

#[derive(clap::Args, Debug)]
#[command(after_help = exit::HELP)]
pub(crate) struct Summary {
    #[command(flatten)]
    pub(crate) query: Which,
    #[command(flatten)]
    pub(crate) ask: Ask,
    /// Rows of each list at most
    #[arg(long, value_name = "NUMBER", default_value_t = 10, help_heading = "Limits",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(hindcap_wire::limits::SUMMARY_ROWS_MAX)))]
    pub(crate) rows: u32,
}

#[derive(clap::Args, Debug)]
#[command(after_help = exit::HELP)]
pub(crate) struct Cancel {
    /// The request, as `hindcap jobs` names it
    #[arg(value_name = "REQUEST")]
    pub(crate) request: Ulid,
    #[command(flatten)]
    pub(crate) ask: Ask,
}

/// A look at what sensors say of themselves.
#[derive(clap::Args, Debug)]
#[command(after_help = exit::HELP)]
pub(crate) struct Sensors {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// Wait this long for the broker
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    pub(crate) timeout: Nanos,
    /// Print JSON, one sensor a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(clap::Args, Debug)]
#[command(after_help = exit::HELP)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) look: Sensors,
    #[command(flatten)]
    pub(crate) whom: Whom,
}

#[derive(clap::Args, Debug)]
pub(crate) struct Completion {
    /// Which shell; for bash: `hindcap completion bash > ~/.local/share/bash-completion/completions/hindcap`
    pub(crate) shell: clap_complete::Shell,
}

#[derive(clap::Args, Debug)]
pub(crate) struct Man {
    /// Where to; made when missing
    #[arg(value_name = "DIRECTORY")]
    pub(crate) directory: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn help_documents_the_exit_codes() {
        for name in [
            "fetch",
            "collect",
            "store",
            "stored",
            "search",
            "estimate",
            "status",
            "hold",
            "release",
            "holds",
            "pin",
            "unpin",
            "pins",
            "parse",
            "extcap",
            "watch",
            "summary",
            "sensors",
            "jobs",
            "cancel",
            "provision",
            "ca",
        ] {
            let mut command = Args::command();
            let help = command.find_subcommand_mut(name).unwrap().render_long_help().to_string();
            assert!(help.contains(exit::HELP), "{help}");
        }
    }
}
