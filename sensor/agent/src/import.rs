//! `hindcapd import`: savefiles into the store, original times kept.
//!
//! A damaged file gives everything before the damage and a message with file and offset; the other files are imported
//! all the same, and the exit code says that something is missing. Pinned sessions that go on in a savefile are copied into
//! the event ring, as they are while recording.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hindcap_capture::{CaptureError, PacketSource, Polled, SavefileSource};
use hindcap_store::{Health, Reading, RecorderOptions};
use hindcap_wire::counted::Counted;
use hindcap_wire::message::answer::Bytes;
use hindcap_wire::policy::LeftOut;
use serde_json::json;

use crate::cli::ImportArgs;
use crate::clock::{monotonic_nanos, wall};
use crate::exit::{Code, Failure};
use crate::pins::Beside;
use crate::policy::Rules;
use crate::sink::RecorderSink;
use crate::stop::Stop;
use crate::store::open_from_args;

/// How long standard input may be silent before signals are looked at again.
const WAIT: Duration = Duration::from_millis(100);
/// How often progress is shown.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// What became of one file.
struct Outcome {
    path: PathBuf,
    packets: u64,
    bytes: u64,
    error: Option<String>,
    /// The source was readable at all.
    opened: bool,
}

/// Imports the files one after the other.
///
/// # Errors
/// The store cannot be opened or written.
pub fn import(args: &ImportArgs) -> Result<Code, Failure> {
    let stop = Stop::on_signals()?;
    let store = open_from_args(&args.store).map_err(|error| Failure::from(error).doing("import"))?;
    let health = store.health();
    let (door, segments) = (store.events_door(), store.geometry().segments);
    let rules = Rules::of_args(&args.policy).map_err(|error| Failure::from(error).doing("import"))?;
    let options = RecorderOptions { hash_chain: !args.store.no_hash_chain, ..RecorderOptions::import() };
    let mut recorder = store.recorder(options, reading())?;
    if let Some(control) = rules.control() {
        recorder.thin(control);
    }
    let mut sink = RecorderSink::new(recorder).skipping(rules.skip);
    let beside = Beside::start(&args.store.store, door, !args.store.no_hash_chain);
    let mut cases =
        Cases { beside, health: Arc::clone(&health), every: u64::from(segments / 4).max(1), seen: 0 };
    let mut outcomes = Vec::new();
    for path in args.read.iter().chain(&args.files) {
        if stop.asked() {
            outcomes.push(Outcome::unread(path, "not imported: interrupted"));
            continue;
        }
        let outcome = import_file(path, &mut sink, &mut cases, &stop)?;
        if let Some(error) = &outcome.error {
            log::error!("{error}");
        }
        outcomes.push(outcome);
    }
    let left_out = sink.left_out();
    sink.into_recorder().close(reading()).map_err(|error| Failure::from(error).doing("import"))?;
    if let Some(beside) = cases.beside {
        beside.finish().map_err(|failure| failure.doing("copy pinned sessions"))?;
    }
    let health = health.snapshot();
    if health.packets_lost > 0 {
        let reason = health.failing.as_ref().map_or_else(String::new, |(_, message)| format!(": {message}"));
        log::error!("not stored: {}{reason}", Counted(health.packets_lost, "packet"));
    }
    if let Some(ratio) = health.bytes_written_per_savefile_byte() {
        log::debug!("written: {} bytes, {ratio:.4} per byte of a plain savefile", health.bytes_written);
    }
    report(&outcomes, &left_out, args.json);
    Ok(code(&outcomes, health.packets_lost))
}

/// Pinned sessions that go on in what is imported.
struct Cases {
    beside: Option<Beside>,
    health: Arc<Health>,
    /// They are copied whenever so many segments were sealed, a quarter of the ring: before it comes round.
    every: u64,
    /// Segments that were sealed the last time.
    seen: u64,
}

impl Cases {
    fn look(&mut self, sink: &mut RecorderSink) {
        let Some(beside) = &mut self.beside else { return };
        let sealed = self.health.snapshot().segments_sealed;
        if sealed - self.seen >= self.every {
            self.seen = sealed;
            sink.recorder().flush();
            beside.follow();
        }
    }
}

fn import_file(
    path: &Path,
    sink: &mut RecorderSink,
    cases: &mut Cases,
    stop: &Stop,
) -> Result<Outcome, Failure> {
    if path.is_dir() {
        return Ok(Outcome::unread(path, "is a directory; name the savefiles in it"));
    }
    let mut source = match SavefileSource::open(path) {
        Ok(source) => source,
        Err(error) => return Ok(Outcome { error: Some(error.to_string()), ..Outcome::unread(path, "") }),
    };
    sink.next_source();
    let mut progress = Progress::new(path);
    let error = loop {
        match source.poll(WAIT, sink) {
            Ok(Polled::End) => break None,
            Ok(_) => {}
            Err(error) => break Some(said(error)),
        }
        sink.recorder().tick(reading(), source.drops());
        cases.look(sink);
        progress.show(source.offset(), sink.packets);
        if stop.asked() {
            break Some(format!("{}: interrupted at byte {}", path.display(), source.offset()));
        }
    };
    progress.clear();
    let error = error.or_else(|| refusal(path, sink));
    Ok(Outcome { path: path.to_owned(), packets: sink.packets, bytes: sink.bytes, error, opened: true })
}

fn said(error: CaptureError) -> String {
    Failure::from(error).to_string()
}

/// What to say of packets whose interface the store did not take.
fn refusal(path: &Path, sink: &RecorderSink) -> Option<String> {
    let error = sink.refusal.as_ref()?;
    Some(format!("{}: {} left out: {error}", path.display(), Counted(sink.refused, "packet")))
}

impl Outcome {
    fn unread(path: &Path, reason: &str) -> Self {
        let error = Some(format!("{}: {reason}", path.display()));
        Self { path: path.to_owned(), packets: 0, bytes: 0, error, opened: false }
    }
}

fn code(outcomes: &[Outcome], lost: u64) -> Code {
    let failed = outcomes.iter().filter(|outcome| outcome.error.is_some()).count();
    if failed == 0 && lost == 0 {
        Code::Done
    } else if outcomes.iter().all(|outcome| !outcome.opened) {
        Code::Error
    } else {
        Code::Partial
    }
}

fn report(outcomes: &[Outcome], left_out: &LeftOut, as_json: bool) {
    let packets: u64 = outcomes.iter().map(|outcome| outcome.packets).sum();
    let bytes: u64 = outcomes.iter().map(|outcome| outcome.bytes).sum();
    if as_json {
        let files: Vec<_> = outcomes
            .iter()
            .map(|outcome| {
                json!({
                    "file": outcome.path, "packets": outcome.packets, "bytes": outcome.bytes, "error": outcome.error,
                })
            })
            .collect();
        say!("{}", json!({ "packets": packets, "bytes": bytes, "left_out": left_out, "files": files }));
    } else {
        let whole = outcomes.iter().filter(|outcome| outcome.error.is_none()).count();
        let (packets, files) = (Counted(packets, "packet"), Counted(outcomes.len() as u64, "file"));
        say!("Imported {packets}, {}, from {whole} of {files}", Bytes(bytes));
        if !left_out.is_none() {
            say!("Left out by policy: {left_out}");
        }
    }
}

/// Times of an import come from the savefile; the recorder's own reading says only when it was done.
fn reading() -> Reading {
    Reading { wall: wall(), monotonic_nanos: monotonic_nanos(), ..Reading::default() }
}

/// A line on the terminal that grows with the file; nothing when standard error is no terminal.
struct Progress {
    name: String,
    total: u64,
    shown: Option<Instant>,
    terminal: bool,
}

impl Progress {
    fn new(path: &Path) -> Self {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let total = path.metadata().map_or(0, |metadata| metadata.len());
        let terminal = std::io::stderr().is_terminal() && log::log_enabled!(log::Level::Info);
        Self { name, total, shown: None, terminal }
    }

    fn show(&mut self, offset: u64, packets: u64) {
        if !self.terminal || self.shown.is_some_and(|shown| shown.elapsed() < PROGRESS_EVERY) {
            return;
        }
        self.shown = Some(Instant::now());
        let percent = (offset.min(self.total) * 100).checked_div(self.total).unwrap_or(0);
        let _ = write!(std::io::stderr(), "\r{}: {percent} %, {packets} packets \x1b[K", self.name);
    }

    fn clear(&self) {
        if self.shown.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
