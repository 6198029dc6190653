//! The commands.

use std::fmt::Display;
use std::fs::{self, DirEntry};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use hindcap_soc_api::{Answers, Api, ApiError, Ask, Event};
use hindcap_wire::message::SensorId;
use hindcap_wire::query::Query;
use serde::Serialize;

use crate::args::{self, Known};
use crate::exit::Failure;
use crate::gather::{Gathered, Wanted, choose, gather};
use crate::harmless::harmless;
use crate::report::Watcher;

mod ca;
mod collect;
mod fetch;
mod list;
mod many;
mod order;
mod package;
mod page;
mod parse;
mod provision;
mod sensors;
mod shell;
mod status;
mod store;

pub(crate) use ca::ca;
pub(crate) use collect::collect;
pub(crate) use fetch::fetch;
pub(crate) use list::{estimate, search};
pub(crate) use order::{cancel, hold, list as ask_only, pin, release, summary, unpin};
pub(crate) use parse::parse;
pub(crate) use provision::provision;
pub(crate) use sensors::sensors;
pub(crate) use shell::{completion, man};
pub(crate) use status::status;
pub(crate) use store::{store, stored};

/// What lies in a directory; nothing where there is none.
///
/// # Errors
/// It cannot be read.
fn entries(directory: &Path) -> Result<Vec<DirEntry>, Failure> {
    match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Failure::new(format!("{}: {error}", directory.display()))),
        Ok(entries) => Ok(entries.flatten().collect()),
    }
}

/// What every command works with.
pub(crate) struct Context<'a> {
    pub(crate) api: &'a mut dyn Api,
    /// Set by a signal.
    pub(crate) interrupted: Arc<AtomicBool>,
    pub(crate) known: Known,
    /// Whether to tell what is asked and answered.
    pub(crate) verbose: bool,
}

impl Context<'_> {
    /// What is asked for; what was taken for granted in a log line is told.
    fn query(&self, which: &args::Which, output: &args::Output) -> Result<Query, Failure> {
        let (query, notes) = which.query(&self.known)?;
        if !output.quiet {
            notes.iter().for_each(|note| eprintln!("hindcap: {note}"));
        }
        Ok(query)
    }

    /// Asks all of `asks` by `run`, while what happens is shown.
    fn ask_all<T>(
        &mut self,
        args: &args::Ask,
        asks: &[Ask],
        run: impl FnOnce(&mut dyn Api, &mut dyn FnMut(&SensorId, Event)) -> Result<Answers<T>, ApiError>,
    ) -> Result<Answers<T>, Failure> {
        let mut watcher = self.watcher(&args.output, asks);
        let answers = run(self.api, &mut |sensor, event| watcher.see(sensor, &event));
        watcher.end();
        Ok(answers?)
    }

    /// Asks one sensor by `run`, while what happens is shown.
    fn ask<T, E: Into<Failure>>(
        &mut self,
        args: &args::Ask,
        run: impl FnOnce(&mut dyn Api, &Ask, &mut dyn FnMut(Event)) -> Result<T, E>,
    ) -> Result<T, Failure> {
        let asks = self.asks(args, None)?;
        let [ask] = asks.as_slice() else {
            return Err(Failure::new(format!("this command asks one sensor, and {} fit", asks.len())));
        };
        let mut watcher = self.watcher(&args.output, &asks);
        let result = run(self.api, ask, &mut |event| watcher.see(&ask.sensor, &event));
        watcher.end();
        result.map_err(Into::into)
    }

    /// Shows what happens while `asks` are asked.
    fn watcher(&self, output: &args::Output, asks: &[Ask]) -> Watcher {
        Watcher::new(output.quiet, self.verbose, asks.len() > 1)
    }

    /// Gathers `wanted` into `to`, while what happens is shown. The only sensor's failure is that of the command.
    fn gather(
        &mut self,
        output: &args::Output,
        asks: &[Ask],
        wanted: &Wanted,
        to: &Path,
    ) -> Result<Gathered, Failure> {
        let mut watcher = self.watcher(output, asks);
        let gathered = gather(self.api, asks, wanted, to, &mut |sensor, event| watcher.see(sensor, &event));
        watcher.end();
        let mut gathered = gathered?;
        collect::remember(&gathered.parts, wanted.extract.format)?;
        match gathered.parts.as_slice() {
            [part] if part.result.is_err() => {
                let error = gathered.parts.pop().and_then(|part| part.result.err());
                Err(error.map_or_else(|| Failure::new("nobody was asked"), Failure::from))
            }
            _ => Ok(gathered),
        }
    }

    /// How each sensor is asked that the command is for; why these is told.
    fn asks(&mut self, args: &args::Ask, query: Option<&Query>) -> Result<Vec<Ask>, Failure> {
        let chosen = choose(self.api, &self.known.sites, &args.target.whom, query)?;
        if !args.output.quiet {
            chosen.why.iter().for_each(|line| eprintln!("hindcap: {line}"));
        }
        let many = chosen.sensors.len() > 1;
        let ask = |sensor| Ask { queue: many || args.target.queue, ..self.ask_of(sensor, &args.target) };
        Ok(chosen.sensors.into_iter().map(ask).collect())
    }

    fn ask_of(&self, sensor: SensorId, target: &args::Target) -> Ask {
        let mut ask = Ask::new(sensor);
        ask.reason.clone_from(&target.reason);
        ask.case.clone_from(&target.case);
        ask.timeout = target.timeout.into();
        // The sensor may be away for as long as we wait, and then needs time of its own.
        ask.life = target.expires.map_or_else(|| ask.life.max(ask.timeout * 2), Into::into);
        ask.interrupted = Arc::clone(&self.interrupted);
        ask
    }
}

/// A result, in JSON or for people.
fn answer<T: Serialize + Display>(json: bool, document: &T) -> Result<(), Failure> {
    if json { print_json(document) } else { print(&document.to_string()) }
}

fn print_json<T: Serialize>(document: &T) -> Result<(), Failure> {
    let text = serde_json::to_string(document).map_err(Failure::new)?;
    print_as_is(&format!("{text}\n"))
}

/// For people: words of others do nothing to a terminal.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    print_as_is(&harmless(text))
}

/// To stdout; a reader that has gone is no failure.
fn print_as_is(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(error)),
        _ => Ok(()),
    }
}
