//! `collect`: results of requests that waited at the broker for a site that was away. What is needed to ask for one again, byte
//! for byte, is kept in a file for each request.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hindcap_soc_api::{ApiError, Ask, Ticket};
use hindcap_wire::message::{Format, SensorId, Ulid};
use hindcap_wire::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::fetch::created;
use super::{Context, entries, print, print_json};
use crate::exit::{Code, Failure};
use crate::gather::{self, Part};
use crate::harmless::harmless;
use crate::report::{Watcher, columns};
use crate::{args, beside, front};

/// Largest file that is read here: bounds the work on a wrong one.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A request that waits.
#[derive(Serialize, Deserialize)]
struct Waiting {
    request: Ulid,
    sensor: SensorId,
    until: Timestamp,
    format: Format,
    envelope: Vec<u8>,
}

fn root() -> Result<PathBuf, Failure> {
    let data = front::data_dir(|name| std::env::var_os(name).map(PathBuf::from));
    let none = || Failure::new("where requests that wait are kept is not known: set XDG_DATA_HOME or HOME");
    data.map(|data| data.join("queued")).ok_or_else(none)
}

fn path(root: &Path, request: Ulid) -> PathBuf {
    root.join(format!("{request}.json"))
}

/// Remembers those of `parts` that wait at the broker for their sensors.
///
/// # Errors
/// They cannot be written.
pub(super) fn remember(parts: &[Part], format: Format) -> Result<(), Failure> {
    for part in parts {
        let Err(ApiError::Queued { ticket, .. }) = &part.result else { continue };
        let Ticket { sensor, request, until, envelope } = ticket.clone();
        let waiting = Waiting { request, sensor, until, format, envelope };
        let root = root()?;
        fs::create_dir_all(&root).map_err(|error| Failure::new(format!("{}: {error}", root.display())))?;
        let bytes = serde_json::to_vec(&waiting).map_err(Failure::new)?;
        beside::write(&path(&root, request), |file| file.write_all(&bytes).map_err(Failure::new))?;
    }
    Ok(())
}

fn read(path: &Path) -> io::Result<Waiting> {
    if fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(io::Error::other("larger than any that was written"));
    }
    serde_json::from_slice(&fs::read(path)?).map_err(io::Error::other)
}

pub(crate) fn collect(cx: &mut Context<'_>, args: &args::Collect) -> Result<Code, Failure> {
    let root = root()?;
    let Some(request) = args.request else { return list(&root, cx.known.now, args) };
    let file = path(&root, request);
    let waiting = read(&file).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure {
            message: format!("no request {request} is waited for; `hindcap collect` lists those that are"),
            exit: Code::NothingMatched,
        },
        _ => Failure::new(format!("{}: {error}", file.display())),
    })?;
    let Waiting { request, sensor, until, format, envelope } = waiting;
    let extension = if format == Format::Pcapng { "pcapng" } else { "pcap" };
    let to = args.write.clone().unwrap_or_else(|| PathBuf::from(format!("{sensor}-{request}.{extension}")));
    let left = std::time::Duration::from_nanos(until.0.saturating_sub(cx.known.now.0));
    let ask = Ask {
        timeout: args.timeout.into(),
        life: left,
        interrupted: Arc::clone(&cx.interrupted),
        ..Ask::new(sensor.clone())
    };
    let mut watcher = Watcher::new(args.output.quiet, cx.verbose, false);
    let ticket = Ticket { sensor, request, until, envelope };
    let gathered = gather::collect(cx.api, &ask, &ticket, &to, &mut |event| watcher.see(&ask.sensor, &event));
    watcher.end();
    let gathered = gathered?;
    // There is nothing more to come of it.
    fs::remove_file(&file).map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
    if !args.output.quiet && !args.output.json {
        eprint!("{}", harmless(&gathered.text()));
    }
    if args.output.json {
        print_json(&serde_json::json!({ "file": gathered.file, "sensors": gathered.parts }))?;
    } else if let Some(file) = &gathered.file {
        print(&if args.output.quiet { format!("{}\n", file.display()) } else { created(file, &gathered) })?;
    }
    Ok(gathered.code())
}

/// What is waited for. What has expired is forgotten.
fn list(root: &Path, now: Timestamp, args: &args::Collect) -> Result<Code, Failure> {
    let mut paths: Vec<PathBuf> = entries(root)?.iter().map(fs::DirEntry::path).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort_unstable();
    let mut rows = vec![["REQUEST", "SENSOR", "UNTIL"].map(String::from).to_vec()];
    for path in paths {
        match read(&path) {
            Ok(waiting) if waiting.until <= now => drop(fs::remove_file(&path)),
            Ok(Waiting { request, sensor, until, .. }) if args.output.json => {
                print_json(&serde_json::json!({ "request": request, "sensor": sensor, "until": until }))?;
                rows.push(Vec::new());
            }
            Ok(Waiting { request, sensor, until, .. }) => {
                rows.push(vec![request.to_string(), sensor.to_string(), until.to_string()]);
            }
            Err(error) => eprintln!("hindcap: {}: {error}", path.display()),
        }
    }
    let code = if rows.len() > 1 { Code::Done } else { Code::NothingMatched };
    if code == Code::Done && !args.output.json {
        print(&columns(rows))?;
    }
    Ok(code)
}
