//! `store` and `stored`: packets kept on this side, each result in a directory that is named by its reference: the savefile,
//! `report.txt`, `manifest.json` and `SHA256SUMS`. A directory appears whole: it is made beside its place, then renamed.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use hindcap_events::visible;
use hindcap_wire::counted::Counted;
use hindcap_wire::message::answer::Bytes;
use hindcap_wire::message::{Extract, Format, Ulid};
use serde::Serialize;
use serde_json::Value;

use super::package::{MANIFEST, Papers, copy};
use super::{Context, entries, print, print_json};
use crate::args::{self, KeptAt};
use crate::exit::{Code, Failure};
use crate::front;
use crate::gather::{Part, Wanted};
use crate::harmless::harmless;
use crate::report::columns;

/// The savefile of every result.
const SAVEFILE: &str = "packets.pcapng";
/// Largest manifest that is read: bounds the work on a wrong file.
const MANIFEST_BYTES_MAX: u64 = 64 << 20;

/// What was stored, in JSON.
#[derive(Serialize)]
struct StoredJson<'a> {
    reference: Ulid,
    directory: &'a Path,
    packets: u64,
    bytes: u64,
    duplicates: u64,
    sensors: &'a [Part],
}

fn root(kept: &KeptAt) -> Result<PathBuf, Failure> {
    let usual =
        || front::data_dir(|name| std::env::var_os(name).map(PathBuf::from)).map(|data| data.join("store"));
    kept.store_dir.clone().or_else(usual).ok_or_else(|| Failure::new("where to? Say it with --store-dir"))
}

pub(crate) fn store(cx: &mut Context<'_>, args: &args::Store, reference: Ulid) -> Result<Code, Failure> {
    let query = cx.query(&args.query, &args.ask.output)?;
    let asks = cx.asks(&args.ask, Some(&query))?;
    let root = root(&args.kept)?;
    let fail = |error: io::Error| Failure::new(format!("{}: {error}", root.display()));
    fs::create_dir_all(&root).map_err(fail)?;
    let beside = tempfile::Builder::new().prefix(".hindcap-").tempdir_in(&root).map_err(fail)?;
    let extract = Extract { query, limits: args.amount.into(), format: Format::Pcapng };
    let wanted = Wanted { extract, comment: args.comment.clone() };
    let savefile = beside.path().join(SAVEFILE);
    let gathered = cx.gather(&args.ask.output, &asks, &wanted, &savefile)?;
    let output = &args.ask.output;
    if !output.quiet && !output.json {
        eprint!("{}", harmless(&gathered.text()));
    }
    if gathered.file.is_none() {
        return Ok(gathered.code());
    }
    let hash = File::open(&savefile).and_then(|mut file| copy(&mut file, &mut io::sink())).map_err(fail)?;
    let papers = Papers { target: &args.ask.target, wanted: &wanted, gathered: &gathered, now: cx.known.now };
    for (name, bytes) in papers.files(SAVEFILE, &hash)? {
        let written = File::create_new(beside.path().join(name))
            .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()));
        written.map_err(fail)?;
    }
    let directory = root.join(reference.to_string());
    // As any directory that is made; a temporary one is private otherwise, and so it stays: packets are nobody else's business.
    fs::rename(beside.path(), &directory).and_then(|()| File::open(&root)?.sync_all()).map_err(fail)?;
    let (packets, bytes) = (gathered.packets, gathered.bytes);
    if output.json {
        let (duplicates, sensors) = (gathered.duplicates, gathered.parts.as_slice());
        print_json(&StoredJson { reference, directory: &directory, packets, bytes, duplicates, sensors })?;
    } else if output.quiet {
        print(&format!("{reference}\n"))?;
    } else {
        print(&format!("Stored {reference} ({}, {})\n", Bytes(bytes), Counted(packets, "packet")))?;
    }
    Ok(gathered.code())
}

pub(crate) fn stored(args: &args::Stored) -> Result<Code, Failure> {
    let root = root(&args.kept)?;
    match args.reference {
        Some(reference) => show(args, reference, &root.join(reference.to_string())),
        None => list(args, &root),
    }
}

fn show(args: &args::Stored, reference: Ulid, directory: &Path) -> Result<Code, Failure> {
    let manifest = manifest(directory).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure {
            message: format!("nothing is stored under {reference}; `hindcap stored` lists what is"),
            exit: Code::NothingMatched,
        },
        _ => Failure::new(format!("{}: {error}", directory.display())),
    })?;
    let savefile = directory.join(SAVEFILE);
    if args.json {
        print_json(
            &serde_json::json!({ "reference": reference, "directory": directory, "manifest": manifest }),
        )?;
    } else if args.quiet {
        print(&format!("{}\n", savefile.display()))?;
    } else {
        let report = fs::read_to_string(directory.join("report.txt")).map_err(Failure::new)?;
        print(&format!("reference: {reference}\nfile:     {}\n{report}", savefile.display()))?;
    }
    Ok(Code::Done)
}

fn manifest(directory: &Path) -> io::Result<Value> {
    let path = directory.join(MANIFEST);
    if fs::metadata(&path)?.len() > MANIFEST_BYTES_MAX {
        return Err(io::Error::other("the manifest is larger than any that was written"));
    }
    serde_json::from_slice(&fs::read(path)?).map_err(io::Error::other)
}

fn list(args: &args::Stored, root: &Path) -> Result<Code, Failure> {
    let reference = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<Ulid>().ok();
    let mut references: Vec<Ulid> = entries(root)?.into_iter().filter_map(reference).collect();
    // A reference begins with its time.
    references.sort_unstable();
    let mut rows =
        vec![["REFERENCE", "STORED", "PACKETS", "BYTES", "CASE", "COMMENT"].map(String::from).to_vec()];
    for reference in &references {
        let directory = root.join(reference.to_string());
        if args.quiet && !args.json {
            print(&format!("{reference}\n"))?;
            continue;
        }
        let manifest = match manifest(&directory) {
            Ok(manifest) => manifest,
            Err(error) => {
                eprintln!("hindcap: {}: {error}", directory.display());
                continue;
            }
        };
        if args.json {
            print_json(
                &serde_json::json!({ "reference": reference, "directory": directory, "manifest": manifest }),
            )?;
        } else {
            rows.push(row(*reference, &manifest));
        }
    }
    if !args.json && !args.quiet && rows.len() > 1 {
        print(&columns(rows))?;
    }
    if references.is_empty() {
        eprintln!("hindcap: nothing is stored in {}", root.display());
        return Ok(Code::NothingMatched);
    }
    Ok(Code::Done)
}

fn row(reference: Ulid, manifest: &Value) -> Vec<String> {
    let text = |key: &str| manifest[key].as_str().map_or_else(|| "-".into(), |text| visible(text.as_bytes()));
    let number = |key: &str| manifest[key].as_u64().unwrap_or_default();
    let stored: String = text("fetched").chars().take(19).collect();
    vec![
        reference.to_string(),
        format!("{stored}Z"),
        number("packets").to_string(),
        Bytes(number("bytes")).to_string(),
        text("case"),
        text("comment"),
    ]
}
