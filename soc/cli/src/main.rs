//! `hindcap`: the analyst's command. Wires the command line, the clock, randomness and signals to [`hindcap_soc_api`];
//! data goes to stdout, progress and messages to stderr.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{SystemTime, UNIX_EPOCH};

use hindcap_soc_api::{Api, MqttApi};
use hindcap_wire::message::{Operation, Ulid};
use hindcap_wire::time::Timestamp;

mod args;
mod authority;
mod beside;
mod commands;
mod exit;
mod extcap;
mod front;
mod gather;
mod harmless;
mod report;
mod secret;
mod watch;

use args::{Args, Command, Known};
use commands::Context;
use exit::{Code, Failure};
use watch::World;

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_parts(since.as_secs(), since.subsec_nanos())
}

fn random() -> u64 {
    // Without randomness the time still tells identifiers of one machine apart.
    getrandom::u64().unwrap_or_else(|_| now().0)
}

fn random_128() -> u128 {
    u128::from(random()) << 64 | u128::from(random())
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

/// Runs what was asked for.
fn run(args: &Args, known: Known) -> Result<Code, Failure> {
    let Some(connection) = args.command.connection() else {
        return match &args.command {
            Command::Parse(parse) => commands::parse(parse, &known),
            Command::Stored(stored) => commands::stored(stored),
            Command::Ca(ca) => commands::ca(ca),
            Command::Provision(new) => commands::provision(new),
            Command::Completion(completion) => commands::completion(completion),
            Command::Man(man) => commands::man(man),
            _ => Err(Failure::new("this command needs a broker")),
        };
    };
    let broker = connection.broker()?;
    let tls = connection.tls()?;
    let make = || MqttApi::new(broker.clone(), Arc::new(now), Arc::new(random)).with_tls(tls.clone());
    let verbose = args.verbose || args.debug;
    if let Command::Watch(watch) = &args.command {
        let api = || -> Box<dyn Api> { Box::new(make()) };
        let interrupted = interrupted();
        let world = World { known: &known, api: &api, clock: &now, random: &random, interrupted };
        return watch::watch(&world, watch);
    }
    let mut api = make();
    let mut cx = Context { api: &mut api, interrupted: interrupted(), known, verbose };
    match &args.command {
        Command::Fetch(fetch) => commands::fetch(&mut cx, fetch),
        Command::Collect(collect) => commands::collect(&mut cx, collect),
        Command::Store(store) => commands::store(&mut cx, store, Ulid::new(now(), random_128())),
        Command::Search(search) => commands::search(&mut cx, search),
        Command::Estimate(estimate) => commands::estimate(&mut cx, &estimate.query, &estimate.ask),
        Command::Summary(summary) => commands::summary(&mut cx, summary),
        Command::Status(status) => commands::status(&mut cx, status),
        Command::Sensors(sensors) => commands::sensors(&mut cx, sensors),
        Command::Jobs(jobs) => commands::ask_only(&mut cx, jobs, &Operation::Jobs),
        Command::Cancel(cancel) => commands::cancel(&mut cx, cancel),
        Command::Hold(hold) => commands::hold(&mut cx, hold),
        Command::Release(release) => commands::release(&mut cx, release),
        Command::Holds(holds) => commands::ask_only(&mut cx, holds, &Operation::Holds),
        Command::Pin(pin) => commands::pin(&mut cx, pin),
        Command::Unpin(unpin) => commands::unpin(&mut cx, unpin),
        Command::Extcap(extcap) => extcap::extcap(&mut cx, extcap, args),
        Command::Pins(pins) => commands::ask_only(&mut cx, pins, &Operation::Pins),
        Command::Watch(_)
        | Command::Stored(_)
        | Command::Parse(_)
        | Command::Ca(_)
        | Command::Provision(_)
        | Command::Completion(_)
        | Command::Man(_) => Ok(Code::Done),
    }
}

fn main() -> ExitCode {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let settings = front::default_path(variable);
    let exit = front::parse(std::env::args_os().collect(), settings.as_deref()).and_then(
        |(args, front::Machines { sources, sites })| {
            if args.debug {
                env_logger::Builder::new().filter_level(log::LevelFilter::Debug).init();
            }
            run(&args, Known { now: now(), sources, sites })
        },
    );
    let exit = exit.unwrap_or_else(|failure| {
        eprintln!("hindcap: {}", harmless::harmless(&failure.message));
        failure.exit
    });
    Code::into(exit)
}
