//! `hindcapd search`, `estimate` and `extract`: questions to a store, beside a running recorder, at idle priority.

use std::io::{self, Write};
use std::path::Path;

use hindcap_extract::sink::SavefileSink;
use hindcap_extract::{Beside, Options, plan, priority, run, search as list, summarise};
use hindcap_store::volume::any::AnyReader;
use hindcap_store::{Reader, ReaderOptions, open_events_reader, open_reader};
use hindcap_wire::counted::Counted;
use hindcap_wire::message::answer::{Answer, Bytes, Estimate, WhyEmpty};
use hindcap_wire::message::{Format as FileFormat, Limits, Summarise};
use hindcap_wire::savefile::Format;

use crate::cli::{EstimateArgs, ExtractArgs, ReadStoreArgs, SearchArgs, SummaryArgs};
use crate::clock::wall;
use crate::exit::{Code, Failure};
use crate::report::retention;
use crate::stdout;
use crate::stop::Stop;

/// A reader of the store at `path` and of its event ring, beside whoever writes. An event ring that cannot be read is told
/// and left out.
///
/// # Errors
/// There is no store, or it cannot be read.
pub fn open(path: &Path) -> Result<Reader<AnyReader>, Failure> {
    open_with(path, false, false)
}

/// The same for a reader that is refreshed again and again.
///
/// # Errors
/// As [`open`].
pub fn open_to_follow(path: &Path) -> Result<Reader<AnyReader>, Failure> {
    open_with(path, false, true)
}

/// The same; with `raw_times` packets bear the times that stand in the store, also where the clock was set only later.
fn open_with(path: &Path, raw_times: bool, follows: bool) -> Result<Reader<AnyReader>, Failure> {
    let options = ReaderOptions { now: Some(wall()), raw_times, follows, ..ReaderOptions::default() };
    let general = Reader::open(open_reader(path)?.0, options)?;
    let events = match open_events_reader(path) {
        Ok(None) => return Ok(general),
        Ok(Some((volume, _))) => {
            let options = ReaderOptions { now: options.now, follows, ..ReaderOptions::default() };
            Reader::open(volume, options).map_err(Failure::from)
        }
        Err(error) => Err(error.into()),
    };
    Ok(match events {
        Ok(events) => general.with_events(events),
        Err(failure) => {
            log::warn!("the event ring cannot be read, so pinned sessions may be missing: {failure}");
            general
        }
    })
}

/// The store that a command names.
fn open_for(store: &ReadStoreArgs) -> Result<Reader<AnyReader>, Failure> {
    open_with(&store.place.store, store.raw_times, false)
}

/// Steps back behind the recorder.
pub fn step_back() {
    if let Err(error) = priority::idle() {
        log::debug!("no idle priority: {error}");
    }
}

/// Lists sessions, newest first.
///
/// # Errors
/// The query cannot be meant, or the store cannot be read.
pub fn search(args: &SearchArgs) -> Result<Code, Failure> {
    step_back();
    let query = args.query.query(wall())?;
    let sessions = list(&mut open_for(&args.store)?, &query, args.limit, None)?;
    stdout::answer(args.json, &sessions, &sessions)?;
    Ok(if sessions.rows.is_empty() { empty(sessions.why_empty.as_ref()) } else { Code::Done })
}

/// Says what an extraction would read and give.
///
/// # Errors
/// As [`search`].
pub fn estimate(args: &EstimateArgs) -> Result<Code, Failure> {
    step_back();
    let query = args.query.query(wall())?;
    let estimate = plan(&mut open_for(&args.store)?, &query)?.estimate();
    let estimate = Estimate { retention_forecast_secs: retention(&args.store.place.store), ..estimate };
    stdout::answer(args.json, &estimate, &estimate)?;
    Ok(if estimate.packets_max == 0 { empty(estimate.why_empty.as_ref()) } else { Code::Done })
}

/// Lists the top talkers.
///
/// # Errors
/// As [`search`].
pub fn summary(args: &SummaryArgs) -> Result<Code, Failure> {
    step_back();
    let wanted = Summarise { query: args.query.query(wall())?, rows: args.rows };
    let summary = summarise(&mut open_for(&args.store)?, &wanted, None)?;
    stdout::answer(args.json, &summary, &summary)?;
    Ok(if summary.total.connections == 0 { empty(summary.why_empty.as_ref()) } else { Code::Done })
}

/// Writes the packets that match as a savefile.
///
/// # Errors
/// As [`search`], or the savefile cannot be written.
pub fn extract(args: &ExtractArgs) -> Result<Code, Failure> {
    let stop = Stop::on_signals()?;
    step_back();
    let query = args.query.query(wall())?;
    let mut reader = open_for(&args.store)?;
    let plan = plan(&mut reader, &query)?;
    let options = Options {
        limits: Limits {
            max_bytes: args.max_bytes.map(|size| size.0),
            max_packets: args.max_packets,
            snaplen: (args.snaplen != 0).then_some(args.snaplen),
        },
        cancelled: Some(stop.flag()),
        ..Options::default()
    };
    let format = format(args);
    let to_stdout = args.write.as_os_str() == "-";
    let answer = if to_stdout {
        let mut sink = SavefileSink::new(io::stdout().lock(), format);
        let answer = run(&mut reader, &plan, &options, &mut sink)?;
        sink.into_inner().flush()?;
        answer
    } else {
        let create = |error| Failure::from(error).doing(format!("create {}", args.write.display()));
        let mut sink = SavefileSink::new(Beside::create(&args.write).map_err(create)?, format);
        let answer = run(&mut reader, &plan, &options, &mut sink)?;
        if answer.packets > 0 {
            sink.into_inner().finish()?;
        }
        answer
    };
    tell(args, &answer, to_stdout)?;
    Ok(code(&answer))
}

/// By name, else by extension, else classic.
fn format(args: &ExtractArgs) -> Format {
    let by_extension = || match args.write.extension().and_then(|extension| extension.to_str()) {
        Some("pcapng" | "ntar") => FileFormat::Pcapng,
        _ => FileFormat::Pcap,
    };
    file_format(args.format.unwrap_or_else(by_extension))
}

/// The savefile format that a message or a flag names.
#[must_use]
pub const fn file_format(format: FileFormat) -> Format {
    match format {
        FileFormat::Pcap => Format::Pcap,
        FileFormat::Pcapng => Format::Pcapng,
    }
}

/// The answer for a person goes to standard error, because the packets may go to standard output.
fn tell(args: &ExtractArgs, answer: &Answer, to_stdout: bool) -> Result<(), Failure> {
    if args.json {
        let text = serde_json::to_string(answer)?;
        if to_stdout {
            eprintln!("{text}")
        } else {
            say!("{text}")
        }
        return Ok(());
    }
    if log::log_enabled!(log::Level::Info) {
        eprint!("{answer}");
    }
    if answer.packets > 0 && !to_stdout {
        let bytes = args.write.metadata().map_or(0, |metadata| metadata.len());
        let packets = Counted(answer.packets, "packet");
        say!("Created {} ({}, {packets})", args.write.display(), Bytes(bytes));
    }
    Ok(())
}

/// What an answer means as an exit code.
#[must_use]
pub fn code(answer: &Answer) -> Code {
    if answer.is_partial() {
        Code::Partial
    } else if answer.packets == 0 {
        empty(answer.why_empty.as_ref())
    } else {
        Code::Done
    }
}

fn empty(why: Option<&WhyEmpty>) -> Code {
    if matches!(why, Some(WhyEmpty::Pruned { .. } | WhyEmpty::TooOld { .. })) {
        Code::OutOfRetention
    } else {
        Code::NothingMatched
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hindcap_wire::message::answer::Partial;
    use hindcap_wire::time::Timestamp;

    #[test]
    fn answers_map_to_exit_codes() {
        let some = Answer { packets: 3, ..Answer::default() };
        assert_eq!(code(&some), Code::Done);
        assert_eq!(code(&Answer { partial: Some(Partial::Cancelled), ..some }), Code::Partial);
        let none = |why_empty| Answer { why_empty: Some(why_empty), ..Answer::default() };
        assert_eq!(code(&none(WhyEmpty::Pruned { oldest: Timestamp(1) })), Code::OutOfRetention);
        assert_eq!(code(&none(WhyEmpty::NoSuchTraffic)), Code::NothingMatched);
    }
}
