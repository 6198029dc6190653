//! From a query to a file: who is asked, what they give, and one savefile of it all.
//!
//! This is what `fetch` does, as functions, for every command that needs packets:
//!
//! 1. [`choose`] turns names, groups or the query's own addresses into sensors.
//! 2. [`gather`] asks them all at once and makes one savefile of what they give: whole, or not at all.
//!
//! ```ignore
//! let chosen = gather::choose(api, &known.sites, &Whom::default(), Some(&query))?;
//! chosen.why.iter().for_each(|line| eprintln!("hindcap: {line}"));
//! let asks: Vec<Ask> = chosen.sensors.into_iter().map(|sensor| Ask { case: case.clone(), ..Ask::new(sensor) }).collect();
//! let wanted = Wanted { extract: Extract { query, limits, format }, comment: None };
//! let gathered = gather::gather(api, &asks, &wanted, path, &mut |sensor, event| ..)?;
//! gathered.file   // None: no packet matched
//! gathered.code() // how it went, as an exit code
//! ```
//!
//! Nothing is printed here.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hindcap_soc_api::{Api, ApiError, Ask, Event, Fetched, Ticket};
use hindcap_wire::message::answer::Answer;
use hindcap_wire::message::{Extract, Format, SensorId};

mod merge;
mod part;
mod route;
mod sites;

pub(crate) use part::{Part, state, table};
pub(crate) use route::choose;
pub(crate) use sites::{Site, Sites};

use merge::{Given, Merged, merge};

use crate::beside;
use crate::exit::{Code, Failure};

/// What is to be fetched.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The request: query, limits and the format of the file.
    pub(crate) extract: Extract,
    /// A remark that a pcapng result carries.
    pub(crate) comment: Option<String>,
}

/// What they gave together.
#[derive(Debug)]
pub(crate) struct Gathered {
    /// The savefile; absent when no packet matched, or nobody answered.
    pub(crate) file: Option<PathBuf>,
    /// Packets in it.
    pub(crate) packets: u64,
    /// Its size, bytes.
    pub(crate) bytes: u64,
    /// Packets of it that an other sensor had seen before.
    pub(crate) duplicates: u64,
    /// Who gave what, in the order in which they were asked.
    pub(crate) parts: Vec<Part>,
}

impl Gathered {
    /// What a person should know of it: of one sensor its answer where that is noteworthy, else a table of all.
    pub(crate) fn text(&self) -> String {
        let [part] = self.parts.as_slice() else { return table(&self.parts) };
        let answer = part.manifest().map(|manifest| &manifest.answer);
        let noteworthy =
            |answer: &&Answer| self.file.is_none() || answer.is_partial() || answer.drops.total() > 0;
        answer.filter(noteworthy).map(ToString::to_string).unwrap_or_default()
    }

    /// How it went: as with one sensor where there is one.
    pub(crate) fn code(&self) -> Code {
        together(&self.parts.iter().map(Part::code).collect::<Vec<_>>())
    }
}

/// One exit code for what several sensors did: what all agree on; [`Code::Partial`] where some answered and others failed.
pub(crate) fn together(codes: &[Code]) -> Code {
    let answered = |code: &&Code| matches!(code, Code::Done | Code::NothingMatched);
    match codes {
        [] => Code::Error,
        [one] => *one,
        [first, ..] if codes.iter().all(|code| code == first) => *first,
        _ if codes.iter().all(|code| answered(&code)) => Code::Done,
        _ if codes.iter().any(|code| answered(&code) || *code == Code::Partial) => Code::Partial,
        // Everybody failed, in different ways.
        [first, ..] => *first,
    }
}

/// Asks everybody of `asks` for `wanted` and makes `to` of what they give. `to` appears whole or not at all. That some
/// sensors did not answer is told in the parts; `watch` hears what happens meanwhile.
///
/// # Errors
/// Nothing could be asked, `to` cannot be written, or the caller was interrupted.
pub(crate) fn gather(
    api: &mut dyn Api,
    asks: &[Ask],
    wanted: &Wanted,
    to: &Path,
    watch: &mut dyn FnMut(&SensorId, Event),
) -> Result<Gathered, Failure> {
    let format = wanted.extract.format;
    // Next to the result, so that what arrives fits where the result has to fit.
    let folder = tempfile::Builder::new()
        .prefix(".hindcap-")
        .tempdir_in(beside::folder(to))
        .map_err(|error| Failure::new(format!("{}: {error}", to.display())))?;
    let places: Vec<PathBuf> = (0..asks.len()).map(|place| folder.path().join(place.to_string())).collect();
    let answers = api.fetch_all(asks, &wanted.extract, &places, watch)?;
    if let Some(Err(ApiError::File { error, .. })) =
        answers.iter().find(|answer| matches!(answer, Err(ApiError::File { .. })))
    {
        // It is our disk: what one could not write, no other can.
        return Err(Failure::new(format!("{}: {error}", to.display())));
    }
    let mut parts: Vec<Part> =
        asks.iter().zip(answers).map(|(ask, result)| Part::new(ask.sensor.clone(), result)).collect();
    let given: Vec<Given<'_>> =
        parts.iter().enumerate().filter_map(|(place, part)| part.given(place)).collect();
    let (merged, file) = match given.as_slice() {
        [] => (Merged::default(), None),
        // The savefile of one sensor is what was asked for, as it came, unless there is something to be added.
        [one] if format == Format::Pcap || wanted.comment.is_none() && parts.len() == 1 => {
            fs::rename(one.path, to).map_err(|error| Failure::new(format!("{}: {error}", to.display())))?;
            (
                Merged { packets: one.manifest.packets, bytes: one.manifest.bytes, ..Merged::default() },
                Some(to.into()),
            )
        }
        given => {
            let interrupted = asks.first().map(|ask| Arc::clone(&ask.interrupted)).unwrap_or_default();
            let about = about(wanted, asks, &parts);
            let merged = beside::write(to, |file| merge(given, format, &about, file, &interrupted))?;
            (merged, Some(to.into()))
        }
    };
    let took: Vec<usize> = given.iter().map(|given| given.place).collect();
    for (place, duplicates) in took.into_iter().zip(&merged.duplicates) {
        parts[place].duplicates = *duplicates;
    }
    for Fetched { path, .. } in parts.iter_mut().filter_map(|part| part.result.as_mut().ok()) {
        // What was received apart is gone now.
        *path = file.clone().filter(|_| path.is_some());
    }
    let duplicates = merged.duplicates.iter().sum();
    Ok(Gathered { file, packets: merged.packets, bytes: merged.bytes, duplicates, parts })
}

/// What became of a request that waited at the broker; the savefile is at `to`.
///
/// # Errors
/// Why there is no result.
pub(crate) fn collect(
    api: &mut dyn Api,
    ask: &Ask,
    ticket: &Ticket,
    to: &Path,
    watch: &mut dyn FnMut(Event),
) -> Result<Gathered, Failure> {
    let fetched = api.collect(ask, ticket, to, watch)?;
    let (file, packets, bytes) = (fetched.path.clone(), fetched.manifest.packets, fetched.manifest.bytes);
    let parts = vec![Part::new(ask.sensor.clone(), Ok(fetched))];
    Ok(Gathered { file, packets, bytes, duplicates: 0, parts })
}

/// What a pcapng result says of itself first; of one sensor the lines that the sensor itself writes. One line each: what a
/// person wrote cannot pass for another line.
fn about(wanted: &Wanted, asks: &[Ask], parts: &[Part]) -> Vec<String> {
    let mut lines: Vec<String> = match parts {
        [Part { sensor, result: Ok(Fetched { manifest, .. }), .. }] => {
            vec![format!("sensor: {sensor}"), format!("request: {}", manifest.job)]
        }
        parts => parts.iter().map(in_a_line).collect(),
    };
    let asked = asks.first().map(|ask| [("case", &ask.case), ("reason", &ask.reason)]);
    for (name, value) in asked.into_iter().flatten().chain([("comment", &wanted.comment)]) {
        let value = value.iter().map(|value| value.replace(char::is_control, " "));
        lines.extend(value.map(|value| format!("{name}: {value}")));
    }
    lines
}

fn in_a_line(part: &Part) -> String {
    let (sensor, state) = (&part.sensor, part.state());
    match part.manifest() {
        Some(manifest) => format!("sensor: {sensor}, {state}, request {}", manifest.job),
        None => format!("sensor: {sensor}, {state}: {}", part.note()),
    }
}
