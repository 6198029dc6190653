//! `extcap --capture`: what was recorded, into Wireshark's pipe.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use hindcap_soc_api::Ask;
use hindcap_wire::message::{Extract, Format, Limits, SensorId};
use hindcap_wire::query::Query;

use super::relay::Relay;
use super::tail;
use crate::args;
use crate::commands::Context;
use crate::exit::{Code, Failure};
use crate::gather::{Part, Wanted, gather};
use crate::harmless::harmless;
use crate::report::Watcher;

/// What `error` means: a reader that has gone had enough.
pub(super) fn written(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("Wireshark's pipe: {error}")))
        }
        _ => Ok(()),
    }
}

pub(super) fn capture(cx: &mut Context<'_>, args: &args::Extcap) -> Result<Code, Failure> {
    let (query, notes) = args.query(&cx.known)?;
    notes.iter().for_each(|note| eprintln!("hindcap: {note}"));
    let sensor = args.chosen()?;
    let mut pipe = open(args)?;
    if args.follow || args.is_timeless() {
        return tail::follow(cx, args, &sensor, query, pipe);
    }
    let spool = tempfile::tempdir().map_err(Failure::new)?;
    let limits = Limits { max_bytes: args.max_bytes, ..Limits::default() };
    let part = fetch(cx, args, &sensor, query, limits, &spool.path().join("result"))?;
    let code = part.code();
    let fetched = part.result?;
    if let Some(path) = &fetched.path {
        let copied = File::open(path).and_then(|mut file| io::copy(&mut file, &mut pipe));
        written(copied.map(drop))?;
    } else {
        // A stream without packets ends a capture in peace, where nothing at all would be a broken pipe.
        written(Relay::new(pipe, &about(&sensor, args)).map(drop))?;
        eprint!("{}", harmless(&fetched.manifest.answer.to_string()));
    }
    Ok(code)
}

/// What the stream says of itself.
pub(super) fn about(sensor: &SensorId, args: &args::Extcap) -> Vec<String> {
    let mut about = vec![format!("sensor: {sensor}")];
    about.extend(args.case.iter().map(|case| format!("case: {case}")));
    about.extend(args.reason.iter().map(|reason| format!("reason: {reason}")));
    about
}

/// Opens the pipe; Wireshark made it and has its other end.
fn open(args: &args::Extcap) -> Result<Box<dyn Write>, Failure> {
    match args.fifo.as_deref() {
        Some(path) if path == Path::new("-") => Ok(Box::new(io::stdout())),
        Some(path) => {
            let file = File::options().write(true).create(true).truncate(true).open(path);
            let file = file.map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
            Ok(Box::new(file))
        }
        None => Err(Failure::new("--capture wants the pipe: --fifo FILE")),
    }
}

/// One request of one sensor; its result at `to`.
pub(super) fn fetch(
    cx: &mut Context<'_>,
    args: &args::Extcap,
    sensor: &SensorId,
    query: Query,
    limits: Limits,
    to: &Path,
) -> Result<Part, Failure> {
    let wanted = Wanted { extract: Extract { query, limits, format: Format::Pcapng }, comment: None };
    let ask = Ask {
        reason: args.reason.clone(),
        case: args.case.clone(),
        timeout: args.timeout.into(),
        interrupted: Arc::clone(&cx.interrupted),
        ..Ask::new(sensor.clone())
    };
    let mut watcher = Watcher::new(false, cx.verbose, false);
    let gathered = gather(cx.api, &[ask], &wanted, to, &mut |sensor, event| watcher.see(sensor, &event));
    watcher.end();
    gathered?.parts.pop().ok_or_else(|| Failure::new("nobody was asked"))
}
