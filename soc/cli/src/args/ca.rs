//! `ca`: who is who at a broker with TLS.

use std::path::PathBuf;

use clap::Subcommand;
use hindcap_wire::message::SensorId;

use crate::authority::HostName;
use crate::exit;

#[derive(clap::Args, Debug)]
#[command(after_help = exit::HELP)]
pub(crate) struct Ca {
    #[command(subcommand)]
    pub(crate) what: CaCommand,
}

#[derive(Subcommand, Debug)]
pub(crate) enum CaCommand {
    /// Make an authority: a key, kept well, and a certificate that broker, boxes and analysts are given
    Init(CaInit),
    /// Issue the broker's certificate
    Server(CaServer),
    /// Issue an analyst's certificate
    Analyst(CaAnalyst),
}

#[derive(clap::Args, Debug)]
pub(crate) struct CaInit {
    /// Where to; made when missing
    #[arg(value_name = "DIRECTORY")]
    pub(crate) directory: PathBuf,
    /// What it is called in certificates [default: Hindcap CA and a random number]
    #[arg(long, value_name = "TEXT")]
    pub(crate) title: Option<String>,
}

#[derive(clap::Args, Debug)]
pub(crate) struct CaServer {
    /// The folder of the authority
    #[arg(value_name = "DIRECTORY")]
    pub(crate) directory: PathBuf,
    /// A name or an address by which boxes and analysts reach the broker; again for more
    #[arg(long, value_name = "HOST", required = true)]
    pub(crate) name: Vec<HostName>,
    /// Write over a certificate of an earlier run
    #[arg(long)]
    pub(crate) overwrite: bool,
}

#[derive(clap::Args, Debug)]
pub(crate) struct CaAnalyst {
    /// The folder of the authority
    #[arg(value_name = "DIRECTORY")]
    pub(crate) directory: PathBuf,
    /// Who; at the broker "analyst:" stands before it
    #[arg(long, value_name = "NAME")]
    pub(crate) name: SensorId,
    /// Write over a certificate of an earlier run
    #[arg(long)]
    pub(crate) overwrite: bool,
}
