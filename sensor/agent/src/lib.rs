//! `hindcapd`, the sensor: command line, configuration and wiring of capture, store, extraction and uplink.
//!
//! Only this crate reads clocks, the environment and configuration files; everything below gets them as arguments.
//! [`command`] is the whole command line, [`run`] does what it says and answers with an [`exit::Code`].

mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod exit;
pub mod logger;
pub mod units;

use cli::{Cli, Command};
use exit::{Code, Failure};

/// Does what the command line says.
///
/// # Errors
/// What could not be done, with the exit code that stands for it.
pub fn run(cli: Cli) -> Result<Code, Failure> {
    logger::init(cli.verbosity());
    match cli.command {
        Command::CheckConfig(args) => check::check_config(&args),
    }
}
