//! The commands.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use hindcap_soc_api::{Api, Ask, Fetched, SensorView};
use hindcap_wire::message::answer::{Bytes, Sessions, WhyEmpty};
use hindcap_wire::message::{
    self, Extract, HoldPart, Limits, Manifest, Operation, Outcome, Release, ReplyBody, State, Status, Unpin,
};
use hindcap_wire::time::{NANOS_PER_SEC, Timestamp};
use serde::Serialize;

use crate::args;
use crate::exit::{Code, Failure, of_outcome};
use crate::report::{self, Watcher};

fn ask(target: &args::Target, interrupted: Arc<AtomicBool>) -> Ask {
    let mut ask = Ask::new(target.sensor.clone());
    ask.reason.clone_from(&target.reason);
    ask.case.clone_from(&target.case);
    ask.timeout = target.timeout.into();
    // The sensor may be away for as long as we wait, and then needs time of its own.
    ask.life = ask.life.max(ask.timeout * 2);
    ask.interrupted = interrupted;
    ask
}

fn print_json<T: Serialize>(document: &T) -> Result<(), Failure> {
    let text = serde_json::to_string(document).map_err(Failure::new)?;
    print(&format!("{text}\n"))
}

/// To stdout; a reader that has gone is no failure.
fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(error)),
        _ => Ok(()),
    }
}

/// A result in JSON.
#[derive(Serialize)]
struct FetchedJson<'a> {
    file: Option<&'a Path>,
    outcome: Outcome,
    detail: &'a str,
    manifest: &'a Manifest,
}

pub(crate) fn fetch(
    api: &mut dyn Api,
    args: &args::Fetch,
    interrupted: Arc<AtomicBool>,
    now: Timestamp,
) -> Result<Code, Failure> {
    let query = args.query.query(now).map_err(Failure::new)?;
    let limits = Limits { max_bytes: args.max_bytes, max_packets: args.max_packets, snaplen: args.snaplen };
    let extract = Extract { query, limits, format: args.format() };
    let to_stdout = args.write.as_deref() == Some(Path::new("-"));
    let spool = to_stdout.then(tempfile::tempdir).transpose().map_err(Failure::new)?;
    let to = match (&spool, &args.write) {
        (Some(dir), _) => dir.path().join("result"),
        (None, Some(path)) => path.clone(),
        (None, None) => default_name(args, now),
    };
    let mut watcher = Watcher::new(args.ask.output.quiet);
    let result =
        api.fetch(&ask(&args.ask.target, interrupted), &extract, &to, &mut |event| watcher.see(&event));
    watcher.end();
    let fetched = result?;
    if let (true, Some(path)) = (to_stdout, &fetched.path) {
        let copied = File::open(path).and_then(|mut file| io::copy(&mut file, &mut io::stdout().lock()));
        copied.map_err(|error| Failure::new(format!("stdout: {error}")))?;
    }
    tell_fetched(args, &fetched, to_stdout)?;
    Ok(exit_of(&fetched))
}

fn default_name(args: &args::Fetch, now: Timestamp) -> PathBuf {
    let extension = if args.format() == message::Format::Pcapng { "pcapng" } else { "pcap" };
    // A second is enough for a person, and colons are not for every file system.
    let stamp: String = now.to_string().chars().take(19).filter(|c| *c != ':' && *c != '-').collect();
    PathBuf::from(format!("{}-{stamp}Z.{extension}", args.ask.target.sensor))
}

fn exit_of(fetched: &Fetched) -> Code {
    let empty = fetched.manifest.packets == 0;
    match of_outcome(fetched.outcome) {
        Code::Done if empty => Code::NothingMatched,
        exit => exit,
    }
}

/// The line that a person and a script look for, last.
fn created(path: &Path, manifest: &Manifest) -> String {
    let plural = if manifest.packets == 1 { "" } else { "s" };
    format!("Created {} ({}, {} packet{plural})\n", path.display(), Bytes(manifest.bytes), manifest.packets)
}

fn tell_fetched(args: &args::Fetch, fetched: &Fetched, to_stdout: bool) -> Result<(), Failure> {
    let Fetched { manifest, outcome, detail, path } = fetched;
    let file = path.as_deref().filter(|_| !to_stdout);
    if args.ask.output.json && !to_stdout {
        return print_json(&FetchedJson { file, outcome: *outcome, detail, manifest });
    }
    let noteworthy = path.is_none() || manifest.answer.is_partial() || manifest.answer.drops.total() > 0;
    if noteworthy && !args.ask.output.quiet {
        eprint!("{}", manifest.answer);
    }
    match (file, path) {
        (Some(file), _) if args.ask.output.quiet => print(&format!("{}\n", file.display())),
        (Some(file), _) => print(&created(file, manifest)),
        (None, Some(_)) if !args.ask.output.quiet => {
            eprint!("{}", created(Path::new("-"), manifest));
            Ok(())
        }
        _ => Ok(()),
    }
}

pub(crate) fn search(
    api: &mut dyn Api,
    args: &args::Search,
    interrupted: Arc<AtomicBool>,
    now: Timestamp,
) -> Result<Code, Failure> {
    let query = args.query.query(now).map_err(Failure::new)?;
    let search = message::Search { query, limit: args.limit };
    let mut watcher = Watcher::new(args.ask.output.quiet);
    let result = api.search(&ask(&args.ask.target, interrupted), &search, &mut |event| watcher.see(&event));
    watcher.end();
    let sessions = result?;
    if args.ask.output.json {
        print_json(&sessions)?
    } else {
        print(&sessions.to_string())?
    }
    Ok(exit_of_list(&sessions))
}

fn exit_of_list(sessions: &Sessions) -> Code {
    match (sessions.rows.is_empty(), sessions.why_empty) {
        (false, _) => Code::Done,
        (true, Some(WhyEmpty::Pruned { .. } | WhyEmpty::TooOld { .. })) => Code::OutOfRetention,
        (true, _) => Code::NothingMatched,
    }
}

pub(crate) fn estimate(
    api: &mut dyn Api,
    args: &args::Estimate,
    interrupted: Arc<AtomicBool>,
    now: Timestamp,
) -> Result<Code, Failure> {
    let query = args.query.query(now).map_err(Failure::new)?;
    let mut watcher = Watcher::new(args.ask.output.quiet);
    let result = api.estimate(&ask(&args.ask.target, interrupted), &query, &mut |event| watcher.see(&event));
    watcher.end();
    let estimate = result?;
    if args.ask.output.json {
        print_json(&estimate)?
    } else {
        print(&estimate.to_string())?
    }
    Ok(match (estimate.packets_max, estimate.why_empty) {
        (0, Some(WhyEmpty::Pruned { .. } | WhyEmpty::TooOld { .. })) => Code::OutOfRetention,
        (0, _) => Code::NothingMatched,
        _ => Code::Done,
    })
}

/// Has the sensor do `operation` and prints the one reply that is its result.
fn order(
    api: &mut dyn Api,
    ask: &Ask,
    operation: &Operation,
    output: &args::Output,
) -> Result<ReplyBody, Failure> {
    let mut watcher = Watcher::new(output.quiet);
    let result = api.order(ask, operation, &mut |event| watcher.see(&event));
    watcher.end();
    let body = result?;
    match &body {
        ReplyBody::Held(held) if output.json => print_json(held)?,
        ReplyBody::Held(held) if output.quiet => print(&format!("{}\n", held.hold.id))?,
        ReplyBody::Held(held) => print(&held.to_string())?,
        ReplyBody::Released(released) if output.json => print_json(released)?,
        ReplyBody::Released(released) => print(&released.to_string())?,
        ReplyBody::Pinned(pin) | ReplyBody::Unpinned(pin) if output.json => print_json(pin)?,
        ReplyBody::Pinned(pin) if output.quiet => print(&format!("{}\n", pin.id))?,
        ReplyBody::Pinned(pin) | ReplyBody::Unpinned(pin) => print(&format!("{pin}\n"))?,
        ReplyBody::Pins(list) if output.json => print_json(list)?,
        ReplyBody::Pins(list) => print(&list.to_string())?,
        ReplyBody::Holds(list) if output.json => print_json(list)?,
        ReplyBody::Holds(list) => print(&list.to_string())?,
        _ => return Err(Failure::new("the sensor gave another answer than was asked for")),
    }
    Ok(body)
}

pub(crate) fn hold(
    api: &mut dyn Api,
    args: &args::Hold,
    interrupted: Arc<AtomicBool>,
    now: Timestamp,
) -> Result<Code, Failure> {
    let hold = message::Hold {
        query: args.query.query(now).map_err(Failure::new)?,
        for_secs: args.lasts.map(|lasts| lasts.0 / NANOS_PER_SEC),
        partial: args.partial.map(|part| match part {
            args::PartArg::Newest => HoldPart::Newest,
            args::PartArg::Oldest => HoldPart::Oldest,
        }),
        who: args.who.clone(),
    };
    match order(api, &ask(&args.ask.target, interrupted), &Operation::Hold(hold), &args.ask.output)? {
        ReplyBody::Held(held) if held.gone > 0 || held.hold.left_out > 0 => Ok(Code::Partial),
        _ => Ok(Code::Done),
    }
}

pub(crate) fn pin(
    api: &mut dyn Api,
    args: &args::Pin,
    interrupted: Arc<AtomicBool>,
    now: Timestamp,
) -> Result<Code, Failure> {
    let pin = message::Pin {
        query: args.query.query(now).map_err(Failure::new)?,
        for_secs: args.lasts.map(|lasts| lasts.0 / NANOS_PER_SEC),
        max_bytes: args.max_pinned,
        who: args.who.clone(),
    };
    order(api, &ask(&args.ask.target, interrupted), &Operation::Pin(pin), &args.ask.output)
        .map(|_| Code::Done)
}

pub(crate) fn unpin(
    api: &mut dyn Api,
    args: &args::Unpin,
    interrupted: Arc<AtomicBool>,
) -> Result<Code, Failure> {
    let unpin = Operation::Unpin(Unpin { pin: args.pin });
    order(api, &ask(&args.ask.target, interrupted), &unpin, &args.ask.output).map(|_| Code::Done)
}

pub(crate) fn pins(
    api: &mut dyn Api,
    args: &args::Holds,
    interrupted: Arc<AtomicBool>,
) -> Result<Code, Failure> {
    order(api, &ask(&args.ask.target, interrupted), &Operation::Pins, &args.ask.output).map(|_| Code::Done)
}

pub(crate) fn release(
    api: &mut dyn Api,
    args: &args::Release,
    interrupted: Arc<AtomicBool>,
) -> Result<Code, Failure> {
    let release = Operation::Release(Release { hold: args.hold });
    order(api, &ask(&args.ask.target, interrupted), &release, &args.ask.output).map(|_| Code::Done)
}

pub(crate) fn holds(
    api: &mut dyn Api,
    args: &args::Holds,
    interrupted: Arc<AtomicBool>,
) -> Result<Code, Failure> {
    order(api, &ask(&args.ask.target, interrupted), &Operation::Holds, &args.ask.output).map(|_| Code::Done)
}

/// A sensor in JSON.
#[derive(Serialize)]
struct SensorJson<'a> {
    sensor: &'a str,
    online: bool,
    last_heard: Option<Timestamp>,
    state: &'a Option<State>,
    status: &'a Option<Status>,
}

pub(crate) fn status(api: &mut dyn Api, args: &args::Status, now: Timestamp) -> Result<Code, Failure> {
    let views = api.sensors(args.sensor.as_ref(), args.timeout.into())?;
    for view in &views {
        let SensorView { sensor, online, state, status } = view;
        if args.json {
            let (sensor, last_heard) = (sensor.as_str(), view.last_heard());
            print_json(&SensorJson { sensor, online: *online, last_heard, state, status })?;
        } else {
            print(&report::sensor(view, now))?;
        }
    }
    match (&args.sensor, views.first()) {
        (Some(sensor), None) => Err(Failure {
            message: format!("no sensor {sensor} has ever been seen at this broker"),
            exit: Code::Offline,
        }),
        (Some(_), Some(view)) if !view.online => Ok(Code::Offline),
        (None, None) => {
            eprintln!("hindcap: no sensor has ever been seen at this broker");
            Ok(Code::NothingMatched)
        }
        _ => Ok(Code::Done),
    }
}
