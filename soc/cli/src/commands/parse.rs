//! `parse`: what a log line means, with the parts that were used.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use hindcap_args::{Flags, protocol_name};
use hindcap_events::{Confidence, Direction, Endpoint, Endpoints, Field, Reading, Refusal, View, visible};
use hindcap_wire::query::Query;
use serde::Serialize;

use super::{print_as_is, print_json};
use crate::args::{self, Known, PAD_NANOS};
use crate::exit::{Code, Failure};

/// What is printed of a line in JSON: a reading and its queries, or why there is none.
#[derive(Serialize)]
struct ParsedJson<'a> {
    reading: Option<&'a Reading>,
    queries: Vec<Query>,
    refused: Option<String>,
    /// Where the line can be read in several ways: all of them.
    could_be: &'a [Reading],
}

pub(crate) fn parse(args: &args::Parse, known: &Known) -> Result<Code, Failure> {
    let line = args::line(&args.line)?;
    let result = args.how.read(&line, known);
    let colours =
        std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    match &result {
        Ok(reading) if args.json => print_json(&ParsedJson {
            reading: Some(reading),
            queries: reading.queries(PAD_NANOS),
            refused: None,
            could_be: &[],
        })?,
        Ok(reading) => print_as_is(&told(&line, reading, colours))?,
        Err(Refusal::Ambiguous { readings }) if !args.json => {
            for reading in readings {
                print_as_is(&format!("{}\n", told(&line, reading, colours)))?;
            }
        }
        Err(refusal) if args.json => {
            let could_be = match refusal {
                Refusal::Ambiguous { readings } => readings.as_slice(),
                _ => &[],
            };
            let refused = Some(refusal.to_string());
            print_json(&ParsedJson { reading: None, queries: Vec::new(), refused, could_be })?;
        }
        Err(_) => {}
    }
    result.map(|_| Code::Done).map_err(Failure::new)
}

/// A reading for people.
fn told(line: &[u8], reading: &Reading, colours: bool) -> String {
    let mut text = if colours { format!("{}\n\n", highlighted(line, reading)) } else { String::new() };
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<12}{value}");
    };
    row("format", &format!("{} ({}), trust: {}", reading.title, reading.format, trust(reading.confidence)));
    for time in &reading.times {
        let last = time.end.minus_nanos(1);
        let until = if last > time.start { format!(" to {last}") } else { String::new() };
        row("time", &format!("{}{until}; {}", time.start, reading.meaning.text()));
    }
    if reading.times.is_empty() {
        row("time", reading.meaning.text());
    }
    for ends in &reading.alternatives {
        row("session", &session(reading, ends));
    }
    if let Some(vlan) = reading.vlan {
        row("VLAN", &vlan.to_string());
    }
    if let Some(id) = &reading.community_id {
        row("Community ID", &format!(" {}", visible(id.as_bytes())));
    }
    if let Some(source) = &reading.source {
        row("written by", &visible(source.as_bytes()));
    }
    for span in &reading.spans {
        let part = line.get(span.bytes.clone()).unwrap_or_default();
        row("read", &format!("{} from \"{}\"", field(span.field), visible(part)));
    }
    for assumption in &reading.assumptions {
        row("assumed", &assumption.text);
    }
    for query in reading.queries(PAD_NANOS) {
        row("asks for", &Flags(&query).to_string());
    }
    if reading.times.is_empty() {
        row("asks for", "nothing yet: say when with --start and --end, or --last");
    }
    text
}

fn session(reading: &Reading, ends: &Endpoints) -> String {
    let arrow = if reading.direction == Direction::Unknown { "and" } else { "->" };
    let mut text = format!("{} {arrow} {}", end(ends.src), end(ends.dst));
    if let Some(proto) = reading.proto {
        let _ = write!(text, ", {}", protocol_name(proto));
    }
    text.push_str(match reading.direction {
        Direction::Unknown => "",
        Direction::Packet => "; the first sent the packet",
        Direction::Opener => "; the first opened it",
    });
    text.push_str(match ends.view {
        View::AsLogged => "",
        View::BeforeNat => "; before address translation",
        View::AfterNat => "; after address translation",
    });
    text
}

fn end(end: Endpoint) -> String {
    let address = end.addr.map_or_else(|| "any address".to_owned(), |addr| addr.to_string());
    end.port.map_or_else(|| address.clone(), |port| format!("{address} port {port}"))
}

const fn trust(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::Low => "low",
        Confidence::Medium => "medium",
        Confidence::High => "high",
    }
}

const fn field(field: Field) -> &'static str {
    match field {
        Field::Time => "the time",
        Field::Zone => "the zone",
        Field::Duration => "the length",
        Field::Src => "the first address",
        Field::SrcPort => "the first port",
        Field::Dst => "the second address",
        Field::DstPort => "the second port",
        Field::Protocol => "the protocol",
        Field::Vlan => "the VLAN",
        Field::CommunityId => "the Community ID",
        Field::Direction => "the direction",
        Field::Source => "who wrote it",
    }
}

/// The line with the used parts in colours (ECMA-48, SGR): times yellow, the first end green, the second cyan, the rest bold.
fn highlighted(line: &[u8], reading: &Reading) -> String {
    let (mut text, mut at) = (String::new(), 0);
    for span in &reading.spans {
        // Spans come in order of their start; of two that overlap the first is shown.
        let (start, end) = (span.bytes.start.clamp(at, line.len()), span.bytes.end.clamp(at, line.len()));
        if start == end {
            continue;
        }
        let colour = match span.field {
            Field::Time | Field::Zone | Field::Duration => "1;33",
            Field::Src | Field::SrcPort => "1;32",
            Field::Dst | Field::DstPort => "1;36",
            _ => "1",
        };
        let (before, used) = (visible(&line[at..start]), visible(&line[start..end]));
        let _ = write!(text, "{before}\x1b[{colour}m{used}\x1b[0m");
        at = end;
    }
    text.push_str(&visible(&line[at..]));
    text
}
