//! `hindcap`: the analyst's command. Wires the command line, the clock, randomness and signals to [`hindcap_soc_api`];
//! data goes to stdout, progress and messages to stderr.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;
use hindcap_soc_api::MqttApi;
use hindcap_wire::time::Timestamp;

mod args;
mod commands;
mod exit;
mod report;

use args::{Args, Command};
use exit::Code;

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_parts(since.as_secs(), since.subsec_nanos())
}

fn random() -> u64 {
    // Without randomness the time still tells identifiers of one machine apart.
    getrandom::u64().unwrap_or_else(|_| now().0)
}

/// A flag that SIGINT and SIGTERM set; a second signal ends the process at once.
fn interrupted() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        let _ = signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&flag));
        let _ = signal_hook::flag::register(signal, Arc::clone(&flag));
    }
    flag
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut api = MqttApi::new(args.command.broker().clone(), Arc::new(now), Arc::new(random));
    let interrupted = interrupted();
    let result = match &args.command {
        Command::Fetch(fetch) => commands::fetch(&mut api, fetch, interrupted, now()),
        Command::Search(search) => commands::search(&mut api, search, interrupted, now()),
        Command::Estimate(estimate) => commands::estimate(&mut api, estimate, interrupted, now()),
        Command::Status(status) => commands::status(&mut api, status, now()),
        Command::Hold(hold) => commands::hold(&mut api, hold, interrupted, now()),
        Command::Release(release) => commands::release(&mut api, release, interrupted),
        Command::Holds(holds) => commands::holds(&mut api, holds, interrupted),
        Command::Pin(pin) => commands::pin(&mut api, pin, interrupted, now()),
        Command::Unpin(unpin) => commands::unpin(&mut api, unpin, interrupted),
        Command::Pins(pins) => commands::pins(&mut api, pins, interrupted),
    };
    let exit = result.unwrap_or_else(|failure| {
        eprintln!("hindcap: {}", failure.message);
        failure.exit
    });
    Code::into(exit)
}
