//! `store` and `stored`: what is kept on this side.

use std::path::PathBuf;

use hindcap_wire::message::Ulid;

use super::{Amount, Ask, Which};
use crate::exit;

#[derive(clap::Args, Debug)]
#[command(after_help = exit::HELP)]
pub(crate) struct Store {
    #[command(flatten)]
    pub(crate) query: Which,
    #[command(flatten)]
    pub(crate) ask: Ask,
    #[command(flatten)]
    pub(crate) kept: KeptAt,
    /// A remark, kept with the packets
    #[arg(long, value_name = "TEXT", help_heading = "Output")]
    pub(crate) comment: Option<String>,
    #[command(flatten)]
    pub(crate) amount: Amount,
}

#[derive(clap::Args, Debug)]
#[command(after_help = exit::HELP)]
pub(crate) struct Stored {
    /// What `store` answered; everything is listed without it
    #[arg(value_name = "REFERENCE")]
    pub(crate) reference: Option<Ulid>,
    #[command(flatten)]
    pub(crate) kept: KeptAt,
    /// Print JSON
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,
    /// Print nothing but references, or the savefile's name
    #[arg(short, long, help_heading = "Output")]
    pub(crate) quiet: bool,
}

/// Where it is kept.
#[derive(clap::Args, Debug)]
pub(crate) struct KeptAt {
    /// The directory that holds what is kept [default: ~/.local/share/hindcap/store]
    #[arg(long, value_name = "DIRECTORY", help_heading = "Output")]
    pub(crate) store_dir: Option<PathBuf>,
}
