//! `hindcapd format` and `eject`: making a card a store, and leaving it to other computers.

use std::io::{self, BufRead as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use hindcap_store::volume::any::Place;
use hindcap_store::volume::block::{Access, BlockDev as _, FileDev};
use hindcap_store::volume::fat::{self, Content, Done, FormatOptions, Layout};
use hindcap_store::{Reading, Store, StoreOptions, StoreSize};
use hindcap_wire::counted::Counted;
use serde_json::json;

use crate::card_status::hex;
use crate::cli::WholeStoreArgs;
use crate::clock::{monotonic_nanos, wall};
use crate::exit::{Code, Failure};
use crate::machine::random;
use crate::units::{Share, Size};

/// Arguments of `format`.
#[derive(Args, Debug)]
pub struct FormatArgs {
    /// fat:PATH of a block device, a partition or an image file
    #[arg(value_name = "fat:PATH")]
    pub place: PathBuf,

    /// Bytes of one segment [default: 64MiB, less on a small card]
    #[arg(long, value_name = "SIZE")]
    pub segment: Option<Size>,

    /// Erase unit of the card: auto asks the card, else 4MiB
    #[arg(long, value_name = "SIZE", default_value = "auto", value_parser = parse_unit)]
    pub erase_unit: Unit,

    /// What of the card is for the event ring, where pinned sessions are kept: 2GiB, or 8% of it; it cannot be changed later.
    /// 0% for none [default: 10%, none on a small card]
    #[arg(long, value_name = "SIZE")]
    pub event_share: Option<Share>,

    /// Name that computers show
    #[arg(long, value_name = "LABEL", default_value = "HINDCAP")]
    pub label: String,

    /// Make an image file of this size first
    #[arg(long, value_name = "SIZE")]
    pub image: Option<Size>,

    /// Do not ask. Content of somebody else must still be named by --overwrite
    #[arg(long)]
    pub yes: bool,

    /// Format only what nobody uses: the first 8 MiB are all zero or all 0xFF, or the power went while it was formatted. In
    /// every other case leave it as it is, which is no error
    #[arg(long, conflicts_with_all = ["image", "overwrite"])]
    pub if_blank: bool,

    /// Overwrite what is there although it is no Hindcap card: NAME is the last part of PATH
    #[arg(long, value_name = "NAME")]
    pub overwrite: Option<String>,

    /// Answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// An erase unit; `None` asks the card.
#[derive(Clone, Copy, Debug)]
pub struct Unit(pub Option<Size>);

fn parse_unit(text: &str) -> Result<Unit, String> {
    if text == "auto" {
        return Ok(Unit(None));
    }
    text.parse().map(|size| Unit(Some(size))).map_err(|error| format!("{error}"))
}

/// Makes a card, partition or image file an empty store.
///
/// # Errors
/// It is mounted, in use, too small, holds something else that was not named, or fails.
pub fn format(args: &FormatArgs) -> Result<Code, Failure> {
    let doing = |failure: Failure| failure.doing("format");
    let Place::Fat(path) = Place::parse(&args.place) else {
        let what = format!("{}: only cards are formatted; say fat:PATH", args.place.display());
        return Err(doing(what.into()));
    };
    if let Some(Size(bytes)) = args.image {
        FileDev::create_image(&path, bytes)
            .map_err(|error| doing(Failure::from(error).doing(format!("create {}", path.display()))))?;
    }
    let mut dev = FileDev::open(&path, Access::Write).map_err(|error| doing(error.into()))?;
    let options = options(args).map_err(doing)?;
    let layout = if args.if_blank {
        match fat::format_blank(&mut dev, &options).map_err(|error| doing(error.into()))? {
            Done::Formatted(layout) => layout,
            Done::Left(content) => {
                tell_left(args, &path, content);
                return Ok(Code::Done);
            }
        }
    } else {
        let layout = fat::plan(&dev, &options).map_err(|error| doing(error.into()))?;
        let content = fat::content(&dev).map_err(|error| doing(error.into()))?;
        confirm(args, &path, &dev, content, &layout).map_err(doing)?;
        fat::format(&mut dev, &options).map_err(|error| doing(error.into()))?
    };
    check(&mut dev, &layout).map_err(doing)?;
    tell(args, &path, &layout);
    Ok(Code::Done)
}

fn options(args: &FormatArgs) -> Result<FormatOptions, Failure> {
    // What does not fit is no size either: the planner says so.
    let bytes = |size: Size| u32::try_from(size.0).unwrap_or(0);
    Ok(FormatOptions {
        segment_bytes: args.segment.map(bytes),
        erase_bytes: args.erase_unit.0.map(bytes),
        event_share: args.event_share.map(|share| share.0),
        label: args.label.clone(),
        ..FormatOptions::new(random()?, wall())
    })
}

/// Nothing is formatted that nobody meant: foreign content must be named, the rest asks.
fn confirm(
    args: &FormatArgs,
    path: &Path,
    dev: &FileDev,
    content: Option<Content>,
    layout: &Layout,
) -> Result<(), Failure> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let foreign = content.filter(|content| !matches!(content, Content::Blank | Content::Unfinished));
    let named = args.overwrite.as_deref() == Some(&*name);
    if let Some(content) = foreign.filter(|_| !named) {
        if args.yes {
            let path = path.display();
            return Err(format!("{path}: {content}; to overwrite it, add --overwrite {name}").into());
        }
    }
    if args.yes || named {
        return Ok(());
    }
    eprint!(
        "{} ({}): {}. Everything on it will be lost; {} of {} are made{}.\nType {name} to go on: ",
        path.display(),
        Size(dev.geometry().sectors * 512),
        described(content),
        Counted(layout.segments.into(), "segment"),
        Size(layout.segment_bytes.into()),
        event_ring(layout)
    );
    io::stderr().flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    if line.trim() == name { Ok(()) } else { Err("nothing was changed".into()) }
}

fn described(content: Option<Content>) -> String {
    content.map_or_else(|| String::from("it is a Hindcap card"), |content| content.to_string())
}

/// An independent reader must find every segment.
fn check(dev: &mut FileDev, layout: &Layout) -> Result<(), Failure> {
    let base = layout.start - dev.geometry().start;
    let events = layout.events.map(|events| ("events/segments", events.segments));
    for (folder, segments) in [Some(("segments", layout.segments)), events].into_iter().flatten() {
        let listed = fat::files::list(dev, base, layout, folder)?;
        if listed.len() != segments as usize {
            let what = "read back; the card does not keep what is written";
            return Err(format!("only {} of {segments} files of {folder} {what}", listed.len()).into());
        }
    }
    Ok(())
}

/// The event ring in words, behind those of the ring.
fn event_ring(layout: &Layout) -> String {
    match layout.events {
        None => String::from("; no event ring, so sessions cannot be pinned"),
        Some(events) => {
            let segments = Counted(events.segments.into(), "segment");
            format!(", and {segments} of {} for pinned sessions", Size(events.segment_bytes.into()))
        }
    }
}

fn tell_left(args: &FormatArgs, path: &Path, content: Option<Content>) {
    let content = described(content);
    if args.json {
        say!("{}", json!({ "path": path, "left": content }));
    } else {
        say!("{}: {content}; left as it is", path.display());
    }
}

fn tell(args: &FormatArgs, path: &Path, layout: &Layout) {
    let uuid = hex(&layout.uuid);
    if args.json {
        let (segments, segment_bytes) = (layout.segments, layout.segment_bytes);
        let erase_bytes = layout.erase_bytes;
        let events = layout
            .events
            .map(|events| json!({ "segments": events.segments, "segment_bytes": events.segment_bytes }));
        say!(
            "{}",
            json!({ "path": path, "uuid": uuid, "segments": segments, "segment_bytes": segment_bytes,
                "erase_bytes": erase_bytes, "events": events })
        );
    } else {
        say!(
            "{}: {} of {}, aligned to {}{}; use it as --store fat:{}",
            path.display(),
            Counted(layout.segments.into(), "segment"),
            Size(layout.segment_bytes.into()),
            Size(layout.erase_bytes.into()),
            event_ring(layout),
            path.display()
        );
    }
}

/// Closes the open segment and refreshes the list of contents, so that every program opens every file.
///
/// # Errors
/// There is no store, it is in use, or it cannot be written.
pub fn eject(args: &WholeStoreArgs) -> Result<Code, Failure> {
    let doing = |failure: Failure| failure.doing("eject");
    let options = StoreOptions::new(&args.store.store, StoreSize::Keep);
    let store = Store::open_any(&options).map_err(|error| doing(error.into()))?;
    let now = Reading { wall: wall(), monotonic_nanos: monotonic_nanos(), ..Reading::default() };
    let events = store.open_events().map_err(|error| doing(error.into()))?;
    let mut done = store.eject(now).map_err(|error| doing(error.into()))?;
    if let Some(events) = events {
        let pinned = events.eject(now).map_err(|error| doing(error.into()))?;
        done.segments += pinned.segments;
        done.closed += pinned.closed;
    }
    if args.json {
        say!(
            "{}",
            json!({ "segments": done.segments, "closed": done.closed, "boot_repaired": done.boot_repaired })
        );
    } else {
        let repaired = if done.boot_repaired { "; boot sectors written anew" } else { "" };
        say!(
            "{} with packets, {} closed now{repaired}; remove the card",
            Counted(done.segments.into(), "segment"),
            done.closed
        );
    }
    Ok(Code::Done)
}
