//! `provision`: what a new box is told.

use std::path::PathBuf;

use hindcap_soc_api::Broker;
use hindcap_wire::message::SensorId;

use crate::exit;

#[derive(clap::Args, Debug)]
#[command(after_help = exit::HELP)]
pub(crate) struct Provision {
    /// Where the files go: the drive PROVISION of the box's card, or a folder, which is made when missing
    #[arg(value_name = "DIRECTORY")]
    pub(crate) directory: PathBuf,
    /// The name of the new sensor
    // Not --sensor: a profile names one that is there already.
    #[arg(long, value_name = "ID")]
    pub(crate) id: SensorId,
    /// The broker, as the box reaches it: mqtts://host[:port] with TLS, mqtt://host[:port] without
    #[arg(long, value_name = "URL", hide_env_values = true)]
    pub(crate) broker: Broker,
    /// Issue the box a certificate of its name by the authority in this folder (`hindcap ca init`)
    #[arg(long, value_name = "DIRECTORY", conflicts_with_all = ["box_cert", "box_key"])]
    pub(crate) issue: Option<PathBuf>,
    /// Whose signature makes the broker's certificate good, PEM [default: the authority of --issue]
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// A certificate for the box that somebody else has issued, PEM
    // Not --cert and --key: a profile names the analyst's own.
    #[arg(long, value_name = "FILE", requires = "box_key")]
    pub(crate) box_cert: Option<PathBuf>,
    /// The private key of --box-cert, PEM
    #[arg(long, value_name = "FILE", requires = "box_cert")]
    pub(crate) box_key: Option<PathBuf>,
    /// The box's user at the broker [default: the name of the sensor]
    #[arg(long, value_name = "NAME")]
    pub(crate) box_user: Option<String>,
    /// A file whose first line is the box's password at the broker [default: a new random one where the box has no certificate]
    #[arg(long, value_name = "FILE", conflicts_with = "no_password")]
    pub(crate) box_password_file: Option<PathBuf>,
    /// The broker asks its clients for no password
    #[arg(long)]
    pub(crate) no_password: bool,
    /// Free text for people, such as where the box is
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    /// Have the box obey requests without a signature. Signatures do not exist yet: without this it refuses every request
    #[arg(long)]
    pub(crate) unsigned: bool,
    /// Write over files of an earlier run
    #[arg(long)]
    pub(crate) overwrite: bool,
}
