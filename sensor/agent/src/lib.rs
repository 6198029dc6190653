//! `hindcapd`, the sensor: command line, configuration and wiring of capture, store, extraction and uplink.
//!
//! Only this crate reads clocks, the environment and configuration files; everything below gets them as arguments.
//! [`cli`] is the whole command line, [`run`] does what it says and answers with an [`exit::Code`].

#[macro_use]
mod stdout;

pub mod alarms;
mod broker_line;
pub mod capture;
pub mod card;
mod card_status;
mod certificates;
mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod endurance;
pub mod exit;
mod handler;
mod heap;
pub mod hold;
mod import;
mod lock;
pub mod logger;
pub mod machine;
mod maintain;
pub mod medium;
mod pins;
pub mod policy;
mod query;
mod rates;
mod record;
pub mod report;
mod run;
mod sink;
mod status;
pub mod stop;
mod store;
mod tls;
pub mod units;
mod watch;
mod wear;

use cli::{Cli, Command};
use exit::{Code, Failure};

/// Does what the command line says.
///
/// # Errors
/// What could not be done, with the exit code that stands for it.
pub fn run(cli: &Cli) -> Result<Code, Failure> {
    logger::init(cli.verbosity().unwrap_or(log::LevelFilter::Info));
    if matches!(cli.command, Command::Record(_) | Command::Run(_)) {
        heap::settle();
    }
    let code = command(cli)?;
    stdout::check().map_err(|error| Failure::from(error).doing("write to standard output"))?;
    Ok(code)
}

fn command(cli: &Cli) -> Result<Code, Failure> {
    match &cli.command {
        Command::Record(args) => record::record(args),
        Command::Import(args) => import::import(args),
        Command::Search(args) => query::search(args),
        Command::Summary(args) => query::summary(args),
        Command::Estimate(args) => query::estimate(args),
        Command::Extract(args) => query::extract(args),
        Command::Status(args) => status::status(args),
        Command::Hold(args) => hold::hold(args),
        Command::Release(args) => hold::release(args),
        Command::Holds(args) => hold::holds(args),
        Command::Verify(args) => maintain::verify(args),
        Command::Reindex(args) => maintain::reindex(args),
        Command::Format(args) => card::format(args),
        Command::Eject(args) => card::eject(args),
        Command::Pin(args) => pins::command::pin(args),
        Command::Unpin(args) => pins::command::unpin(args),
        Command::Pins(args) => pins::command::pins(args),
        Command::Run(args) => run::run(args, cli.verbosity()),
        Command::CheckConfig(args) => check::check_config(args),
    }
}
