//! `fetch`: packets as a savefile, alone, in a ZIP file with its papers, or behind a link on a page.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use hindcap_soc_api::{ApiError, Fetched};
use hindcap_wire::message::answer::Bytes;
use hindcap_wire::message::{Extract, Format, Limits, Manifest, Outcome};
use serde::Serialize;

use super::package::{self, Papers};
use super::{Context, list, page, print, print_json};
use crate::args;
use crate::exit::{Code, Failure, of_outcome};

/// A result in JSON.
#[derive(Serialize)]
struct FetchedJson<'a> {
    file: Option<&'a Path>,
    outcome: Outcome,
    detail: &'a str,
    manifest: &'a Manifest,
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
    let limits = Limits { max_bytes: args.max_bytes, max_packets: args.max_packets, snaplen: args.snaplen };
    let extract = Extract { query, limits, format: args.format() };
    let to_stdout = args.write.as_deref() == Some(Path::new("-"));
    let to = args.write.clone().unwrap_or_else(|| default_name(cx, args));
    // What is not the result itself is received out of the way.
    let spool = (to_stdout || args.zip).then(tempfile::tempdir).transpose().map_err(Failure::new)?;
    let received = spool.as_ref().map_or_else(|| to.clone(), |dir| dir.path().join("result"));
    let mut fetched =
        cx.ask::<_, ApiError>(&args.ask, |api, ask, watch| api.fetch(ask, &extract, &received, watch))?;
    if let Some(path) = fetched.path.take() {
        let whole = if args.zip {
            let papers = Papers { args, extract: &extract, manifest: &fetched.manifest, now: cx.known.now };
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
        fetched.path = Some(whole);
    }
    tell(args, &fetched, to_stdout)?;
    Ok(exit_of(&fetched))
}

fn default_name(cx: &Context<'_>, args: &args::Fetch) -> PathBuf {
    let extension = match args.format() {
        _ if args.zip => "zip",
        Format::Pcapng => "pcapng",
        Format::Pcap => "pcap",
    };
    // A second is enough for a person, and colons are not for every file system.
    let stamp: String =
        cx.known.now.to_string().chars().take(19).filter(|c| *c != ':' && *c != '-').collect();
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

fn tell(args: &args::Fetch, fetched: &Fetched, to_stdout: bool) -> Result<(), Failure> {
    let Fetched { manifest, outcome, detail, path } = fetched;
    let file = path.as_deref().filter(|_| !to_stdout);
    if args.http && !to_stdout {
        return print(&page::result(file, manifest, args.comment.as_deref()));
    }
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
