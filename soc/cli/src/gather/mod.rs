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

use std::path::{Path, PathBuf};

use hindcap_soc_api::{Api, Ask, Event};
use hindcap_wire::message::answer::Answer;
use hindcap_wire::message::{Extract, SensorId};

mod part;
mod route;
mod sites;

pub(crate) use part::{Part, table};
pub(crate) use route::choose;
pub(crate) use sites::{Site, Sites};

use crate::exit::{Code, Failure};

/// What is to be fetched.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The request: query, limits and the format of the file.
    pub(crate) extract: Extract,
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
    let [ask] = asks else { return Err(Failure::new("packets of several sensors in one file: not yet")) };
    let sensor = ask.sensor.clone();
    let result = api.fetch(ask, &wanted.extract, to, &mut |event| watch(&sensor, event));
    let (packets, bytes) =
        result.as_ref().map_or((0, 0), |fetched| (fetched.manifest.packets, fetched.manifest.bytes));
    let file = result.as_ref().ok().and_then(|fetched| fetched.path.clone());
    Ok(Gathered { file, packets, bytes, parts: vec![Part { sensor, result }] })
}
