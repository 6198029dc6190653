//! The golden corpus (`tests/golden/*.txt`, see `tests/golden.rs` for its language), read and shown.

#![allow(clippy::unwrap_used, dead_code, reason = "shared by tests, which may fail and use a part of it")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use hindcap_events::{Context, Direction, Endpoint, Meaning, Reading, Source, View, Zone};

/// One line with what is known besides, and what is expected of it.
pub struct Case {
    pub file: String,
    pub number: usize,
    pub context: Context,
    pub line: Vec<u8>,
    pub expected: Vec<String>,
}

/// All of it, in order of file and line.
pub fn cases() -> Vec<Case> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut cases = Vec::new();
    for path in files.iter().filter(|path| path.extension().is_some_and(|extension| extension == "txt")) {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(path).unwrap();
        let mut block = Vec::new();
        for (at, line) in text.lines().chain([""]).enumerate() {
            if line.is_empty() {
                cases.extend(case(&file, at, &block));
                block.clear();
            } else if !line.starts_with(';') {
                block.push(line);
            }
        }
    }
    cases
}

fn case(file: &str, number: usize, block: &[&str]) -> Option<Case> {
    let mut context = Context::new("2026-06-01T00:00:00Z".parse().unwrap());
    let (mut lines, mut expected) = (Vec::new(), Vec::new());
    let zone = |text: &str| Some(Zone::new(text).unwrap());
    for line in block {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "now" => context.now = rest.parse().unwrap(),
            "tz" => context.zone = zone(rest),
            "site" => context.site_zone = zone(rest),
            "source" => context.sources.push(source(rest)),
            "format" => context.format = Some(rest.to_owned()),
            "line" => lines.push(rest.as_bytes().to_vec()),
            "bytes" => lines.push(unescape(rest)),
            ">" => expected.push(rest.to_owned()),
            _ => panic!("{file}:{number}: unknown directive {word:?}"),
        }
    }
    if block.is_empty() {
        return None;
    }
    assert!(
        !lines.is_empty() && !expected.is_empty(),
        "{file}:{number}: a block has a line and what is expected"
    );
    Some(Case { file: file.to_owned(), number, context, line: lines.join(&b'\n'), expected })
}

fn source(text: &str) -> Source {
    let mut words = text.split(' ');
    let mut source = Source { name: words.next().unwrap().to_owned(), ..Source::default() };
    for word in words {
        match word.split_once('=').unwrap() {
            ("tz", zone) => source.zone = Some(Zone::new(zone).unwrap()),
            ("addr", list) => source.addresses = list.split(',').map(|addr| addr.parse().unwrap()).collect(),
            ("csv", list) => source.csv_fields = list.split(',').map(str::to_owned).collect(),
            (key, _) => panic!("unknown key {key}"),
        }
    }
    source
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        let (kind, after) = escape.split_at(1);
        rest = after;
        match kind {
            "n" => bytes.push(b'\n'),
            "r" => bytes.push(b'\r'),
            "t" => bytes.push(b'\t'),
            "\\" => bytes.push(b'\\'),
            "x" => {
                bytes.push(u8::from_str_radix(&after[..2], 16).unwrap());
                rest = &after[2..];
            }
            "{" => {
                let (inner, after) = after.split_once('}').unwrap();
                let (piece, count) = inner.rsplit_once('*').unwrap();
                bytes.extend_from_slice(piece.repeat(count.parse().unwrap()).as_bytes());
                rest = after;
            }
            _ => panic!("unknown escape \\{kind}"),
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

fn end(end: Endpoint) -> String {
    let addr = match end.addr {
        None => "?".to_owned(),
        Some(addr) if addr.is_ipv6() && end.port.is_some() => format!("[{addr}]"),
        Some(addr) => addr.to_string(),
    };
    end.port.map_or(addr.clone(), |port| format!("{addr}:{port}"))
}

fn word<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap().trim_matches('"').to_owned()
}

fn length(nanos: u64) -> String {
    let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"), (1, "ns")];
    let (scale, unit) = units.into_iter().find(|(scale, _)| nanos % scale == 0).unwrap();
    format!("{}{unit}", nanos / scale)
}

/// An instant without the zeros of its fraction.
fn instant(at: hindcap_wire::time::Timestamp) -> String {
    let text = at.to_string();
    let text = text.trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.');
    format!(
        "{text}{}Z",
        if text.ends_with(':') {
            "00"
        } else if text.as_bytes()[text.len() - 2] == b':' {
            "0"
        } else {
            ""
        }
    )
}

/// A reading in the language of the corpus.
pub fn show(reading: &Reading, line: &[u8], uses: bool) -> Vec<String> {
    let guess = if reading.guess { " guess" } else { "" };
    let mut shown = vec![format!("{} {}{guess}", reading.format, word(&reading.confidence))];
    for ends in &reading.alternatives {
        let proto = match reading.proto {
            None => String::new(),
            Some(1) => "icmp ".into(),
            Some(6) => "tcp ".into(),
            Some(17) => "udp ".into(),
            Some(58) => "icmp6 ".into(),
            Some(132) => "sctp ".into(),
            Some(number) => format!("{number} "),
        };
        let arrow = match reading.direction {
            Direction::Unknown => "-",
            Direction::Packet => ">",
            Direction::Opener => "=>",
        };
        let mut text = format!("{proto}{} {arrow} {}", end(ends.src), end(ends.dst));
        if let Some(vlan) = reading.vlan {
            write!(text, " vlan {vlan}").unwrap();
        }
        if ends.view != View::AsLogged {
            write!(text, " {}", word(&ends.view)).unwrap();
        }
        shown.push(text);
    }
    shown.extend(reading.community_id.iter().map(|id| format!("cid {id}")));
    for time in &reading.times {
        let start = instant(time.start);
        shown.push(format!("{} {start} +{}", word(&reading.meaning), length(time.end.0 - time.start.0)));
    }
    if reading.meaning == Meaning::None {
        shown.push("no time".into());
    }
    if !reading.assumptions.is_empty() {
        let kinds: Vec<String> =
            reading.assumptions.iter().map(|assumption| word(&assumption.kind)).collect();
        shown.push(format!("assumes {}", kinds.join(", ")));
    }
    shown.extend(reading.source.iter().map(|source| format!("from {source}")));
    if uses {
        let part =
            |bytes: &std::ops::Range<usize>| String::from_utf8_lossy(&line[bytes.clone()]).into_owned();
        let parts = reading.spans.iter().map(|span| format!("{}={}", word(&span.field), part(&span.bytes)));
        shown.push(format!("uses {}", parts.collect::<Vec<_>>().join(" ")));
    }
    shown
}
