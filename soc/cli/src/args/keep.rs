//! `hold`, `release`, `pin`, `unpin`: what is to outlast its turn.

use clap::ValueEnum;
use hindcap_args::{Nanos, parse_duration, parse_size};
use hindcap_wire::message::{HoldId, PinId};

use super::{Ask, Which};
use crate::exit;

#[derive(clap::Args, Debug)]
#[command(after_help = exit::HELP)]
pub(crate) struct Hold {
    #[command(flatten)]
    pub(crate) query: Which,
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
    pub(crate) query: Which,
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
