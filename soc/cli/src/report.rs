//! What a person sees: progress on stderr while it is a terminal, the status as text.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::IsTerminal;

use hindcap_soc_api::{Event, SensorView};
use hindcap_wire::counted::Counted;
use hindcap_wire::drops::DropCause;
use hindcap_wire::message::answer::Bytes;
use hindcap_wire::message::{CardStatus, SensorId, Status, WearStatus};
use hindcap_wire::time::{NANOS_PER_SEC, Timestamp};
use indicatif::{ProgressBar, ProgressStyle};

use crate::harmless::harmless;

/// Shows what happens. Lines that matter are printed even where stderr is no terminal; the bar is not.
pub(crate) struct Watcher {
    quiet: bool,
    verbose: bool,
    /// Whether several sensors are asked, so that each line says of whom it is.
    many: bool,
    bar: Option<ProgressBar>,
    /// Of each result on its way: its size and what is here of it, bytes.
    results: BTreeMap<SensorId, (u64, u64)>,
    disconnected: Option<String>,
}

impl Watcher {
    pub(crate) fn new(quiet: bool, verbose: bool, many: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = (terminal && !quiet).then(|| {
            let bar = ProgressBar::new_spinner().with_message("connecting");
            bar.enable_steady_tick(std::time::Duration::from_millis(120));
            bar
        });
        Self { quiet, verbose, many, bar, results: BTreeMap::new(), disconnected: None }
    }

    fn line(&self, text: &str) {
        let text = harmless(text);
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("hindcap: {text}")),
            None if self.quiet => {}
            None => eprintln!("hindcap: {text}"),
        }
    }

    fn message(&self, sensor: &SensorId, text: &str) {
        let text = harmless(&if self.many { format!("{sensor}: {text}") } else { text.to_owned() });
        if self.verbose {
            self.line(&text);
        }
        if let Some(bar) = &self.bar {
            bar.set_message(text);
        }
    }

    pub(crate) fn see(&mut self, sensor: &SensorId, event: &Event) {
        match event {
            Event::Connected => {
                if self.disconnected.take().is_some() {
                    self.line("connected to the broker again");
                }
                self.message(sensor, "asking");
            }
            Event::Disconnected(reason) if self.disconnected.as_ref() != Some(reason) => {
                self.line(&format!("no connection to the broker: {reason}; trying again"));
                self.disconnected = Some(reason.clone());
            }
            // Of many the table tells in the end.
            Event::Offline(_) if self.many => self.message(sensor, "offline"),
            Event::Offline(Some(since)) => {
                self.line(&format!("the sensor is offline, last heard of at {since}; waiting for it"));
            }
            Event::Offline(None) => self.line("this broker has never seen the sensor; waiting for it"),
            Event::Accepted(accepted) if accepted.queued_before > 0 => {
                self.message(sensor, &format!("accepted, {} before us", accepted.queued_before));
            }
            Event::Accepted(_) => self.message(sensor, "accepted"),
            Event::Progress(progress) => {
                let (done, all) = (progress.segments_done, progress.segments);
                let packets = Counted(progress.packets, "packet");
                self.message(sensor, &format!("searching, {done} of {all} segments, {packets}"));
            }
            Event::Manifest(manifest) => {
                let packets = Counted(manifest.packets, "packet");
                self.message(sensor, &format!("{packets}, {}", Bytes(manifest.bytes)));
                self.results.insert(sensor.clone(), (manifest.bytes, 0));
                self.start_bar();
            }
            Event::Arrived(bytes) => {
                if let Some((_, here)) = self.results.get_mut(sensor) {
                    *here = *bytes;
                }
                if let Some(bar) = &self.bar {
                    bar.set_position(self.results.values().map(|(_, here)| here).sum());
                }
            }
            _ => {}
        }
    }

    fn start_bar(&self) {
        let template = "{bar:40} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";
        if let (Some(bar), Ok(style)) = (&self.bar, ProgressStyle::with_template(template)) {
            bar.set_style(style);
            bar.set_length(self.results.values().map(|(all, _)| all).sum());
        }
    }

    /// Clears the line.
    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// How long ago, in the largest unit that fits.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    format!("{} ago", span(now.0.saturating_sub(at.0) / NANOS_PER_SEC))
}

pub(crate) fn span(secs: u64) -> String {
    match secs {
        0..120 => format!("{secs} s"),
        120..7_200 => format!("{} min", secs / 60),
        7_200..172_800 => format!("{} h", secs / 3_600),
        _ => format!("{} days", secs / 86_400),
    }
}

/// Rows of cells as lines of columns, two spaces apart.
pub(crate) fn columns(rows: Vec<Vec<String>>) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// A sensor as text, one fact a line.
pub(crate) fn sensor(view: &SensorView, now: Timestamp) -> String {
    let mut text = String::new();
    let online = if view.online { "online" } else { "offline" };
    let heard = view.last_heard().map(|at| format!(", last heard of {}", ago(at, now))).unwrap_or_default();
    let _ = writeln!(text, "{}: {online}{heard}", view.sensor);
    if let Some(status) = &view.status {
        status_lines(&mut text, status, now);
    }
    text
}

fn status_lines(text: &mut String, status: &Status, now: Timestamp) {
    if !status.description.is_empty() {
        let _ = writeln!(text, "  description: {}", status.description);
    }
    let on = if status.system.is_empty() { String::new() } else { format!(" on {}", status.system) };
    let _ = writeln!(text, "  version: {}{on}, up {}", status.version, span(status.uptime_secs));
    if status.unsigned_requests {
        let _ = writeln!(text, "  requests: UNSIGNED requests are obeyed (development mode)");
    }
    if let Some(capture) = &status.capture {
        let link = match capture.link_up {
            Some(true) => ", link up",
            Some(false) => ", link DOWN",
            None => "",
        };
        let _ = writeln!(
            text,
            "  capture: {}{link}, {}, {}, {}/s",
            capture.interface,
            Counted(capture.packets, "packet"),
            Bytes(capture.bytes),
            Bytes(capture.bytes_per_sec)
        );
        for cause in DropCause::ALL.into_iter().filter(|cause| capture.drops.get(*cause) > 0) {
            let _ = writeln!(text, "  dropped: {} {}", capture.drops.get(cause), cause.name());
        }
    }
    if let Some(store) = &status.store {
        let (used, quota) = (Bytes(store.used_bytes), Bytes(store.quota_bytes));
        let _ = writeln!(text, "  store: {used} of {quota}, {}", Counted(store.segments.into(), "segment"));
        if let (Some(oldest), Some(newest)) = (store.oldest, store.newest) {
            let _ = writeln!(
                text,
                "  packets: {oldest} ({}) to {newest} ({})",
                ago(oldest, now),
                ago(newest, now)
            );
        }
        if let Some(secs) = store.retention_forecast_secs {
            let _ = writeln!(text, "  retention: {} at the rate of late", span(secs));
        }
    }
    let card = status.card.iter().flat_map(CardStatus::lines);
    for (name, line) in card.chain(status.wear.iter().flat_map(WearStatus::lines)) {
        let _ = writeln!(text, "  {name}: {line}");
    }
    if let Some(events) = &status.events {
        let (used, quota) = (Bytes(events.used_bytes), Bytes(events.quota_bytes));
        let _ = writeln!(
            text,
            "  event ring: {used} of {quota}, {} active, {} ({}) copied",
            Counted(events.pins_active.into(), "pin"),
            Counted(events.packets_copied, "packet"),
            Bytes(events.bytes_copied)
        );
        if let Some(oldest) = events.oldest {
            let _ = writeln!(text, "  pinned packets since {oldest}");
        }
        if let Some(secs) = events.max_age_secs {
            let _ = writeln!(text, "  oldest age of pinned packets: {}, by policy", span(secs));
        }
        if events.segments_missed > 0 {
            let missed = Counted(events.segments_missed, "segment");
            let _ = writeln!(text, "  overwritten before pins had been through: {missed}");
        }
    }
    if let Some(policy) = &status.policy {
        let _ = writeln!(text, "  policy: {}; {}", policy.policy, policy.policy.reason.name());
        let _ = writeln!(text, "  left out: {}", policy.left_out);
        if policy.policy.skip_rules > 0 {
            let _ = writeln!(text, "  left out: what skip rules leave out in the kernel is not counted");
        }
    }
    if let Some(held) = &status.held {
        let _ = writeln!(text, "  held: {}", held.share);
        if let Some(secs) = held.max_age_secs {
            let _ = writeln!(text, "  oldest age: {}, by policy", span(secs));
        }
        if let Some(secs) = held.min_age_secs {
            let _ = writeln!(text, "  least age: {} are asked for", span(secs));
        }
    }
    let _ = writeln!(text, "  clock: {}", status.clock);
    let jobs = status.jobs;
    let _ = writeln!(
        text,
        "  jobs: {} queued, {} running, {} delivering, {} ended, {} rejected",
        jobs.queued, jobs.running, jobs.delivering, jobs.ended, jobs.rejected
    );
    for alarm in &status.alarms {
        let _ = writeln!(text, "  ALARM: {alarm}");
    }
    if status.alarms_more > 0 {
        let _ = writeln!(text, "  ALARM: {} more, less urgent", status.alarms_more);
    }
}
