//! `fetch`: packets as a savefile, alone, in a ZIP file with its papers, or behind a link on a page.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use hindcap_soc_api::Ask;
use hindcap_wire::counted::Counted;
use hindcap_wire::message::answer::Bytes;
use hindcap_wire::message::{Extract, Format};
use serde::Serialize;

use super::package::{self, Papers};
use super::{Context, list, page, print, print_json};
use crate::args;
use crate::exit::{Code, Failure};
use crate::gather::{Gathered, Part, Wanted};
use crate::harmless::harmless;

/// A result in JSON.
#[derive(Serialize)]
struct FetchedJson<'a> {
    file: Option<&'a Path>,
    packets: u64,
    bytes: u64,
    duplicates: u64,
    sensors: &'a [Part],
}

pub(crate) fn fetch(cx: &mut Context<'_>, args: &args::Fetch) -> Result<Code, Failure> {
    let result = args.check_mode().and_then(|()| {
        if args.dry_run { list::estimate(cx, &args.query, &args.ask) } else { deliver(cx, args) }
    });
    if let (true, Err(failure)) = (args.http, &result) {
        // Whoever sees the page does not see stderr.
        print(&page::failure(&failure.message))?;
    }
    result
}

fn deliver(cx: &mut Context<'_>, args: &args::Fetch) -> Result<Code, Failure> {
    let query = cx.query(&args.query, &args.ask.output)?;
    let asks = cx.asks(&args.ask, Some(&query))?;
    let extract = Extract { query, limits: args.amount.into(), format: args.format() };
    let wanted = Wanted { extract, comment: args.comment.clone() };
    let to_stdout = args.write.as_deref() == Some(Path::new("-"));
    let to = args.write.clone().unwrap_or_else(|| default_name(cx, args, &asks));
    // What is not the result itself is received out of the way.
    let spool = (to_stdout || args.zip).then(tempfile::tempdir).transpose().map_err(Failure::new)?;
    let received = spool.as_ref().map_or_else(|| to.clone(), |dir| dir.path().join("result"));
    let mut gathered = cx.gather(&args.ask.output, &asks, &wanted, &received)?;
    if let Some(path) = gathered.file.take() {
        let whole = if args.zip {
            let papers =
                Papers { target: &args.ask.target, wanted: &wanted, gathered: &gathered, now: cx.known.now };
            let zipped = if to_stdout { path.with_extension("zip") } else { to.clone() };
            package::write(&papers, &path, &zipped)?;
            zipped
        } else {
            path
        };
        if to_stdout {
            let copied =
                File::open(&whole).and_then(|mut file| io::copy(&mut file, &mut io::stdout().lock()));
            copied.map_err(|error| Failure::new(format!("stdout: {error}")))?;
        }
        gathered.file = Some(whole);
    }
    tell(args, &gathered, to_stdout)?;
    Ok(gathered.code())
}

fn default_name(cx: &Context<'_>, args: &args::Fetch, asks: &[Ask]) -> PathBuf {
    let extension = match args.format() {
        _ if args.zip => "zip",
        Format::Pcapng => "pcapng",
        Format::Pcap => "pcap",
    };
    // A second is enough for a person, and colons are not for every file system.
    let stamp: String =
        cx.known.now.to_string().chars().take(19).filter(|c| *c != ':' && *c != '-').collect();
    let whose = if let [ask] = asks { ask.sensor.as_str() } else { "sensors" };
    PathBuf::from(format!("{whose}-{stamp}Z.{extension}"))
}

/// The line that a person and a script look for, last.
pub(super) fn created(path: &Path, gathered: &Gathered) -> String {
    let packets = Counted(gathered.packets, "packet");
    format!("Created {} ({}, {packets})\n", path.display(), Bytes(gathered.bytes))
}

fn tell(args: &args::Fetch, gathered: &Gathered, to_stdout: bool) -> Result<(), Failure> {
    let file = gathered.file.as_deref().filter(|_| !to_stdout);
    if args.http && !to_stdout {
        return print(&page::result(file, gathered, args.comment.as_deref()));
    }
    let sensors = gathered.parts.as_slice();
    if args.ask.output.json && !to_stdout {
        let Gathered { packets, bytes, duplicates, .. } = *gathered;
        return print_json(&FetchedJson { file, packets, bytes, duplicates, sensors });
    }
    if !args.ask.output.quiet {
        eprint!("{}", harmless(&gathered.text()));
    }
    match (file, &gathered.file) {
        (Some(file), _) if args.ask.output.quiet => print(&format!("{}\n", file.display())),
        (Some(file), _) => print(&created(file, gathered)),
        (None, Some(_)) if !args.ask.output.quiet => {
            eprint!("{}", harmless(&created(Path::new("-"), gathered)));
            Ok(())
        }
        _ => Ok(()),
    }
}
