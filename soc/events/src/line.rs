//! The driver: from clean text to the one reading that all formats agree upon.

use crate::context::Context;
use crate::draft::{Draft, Lack};
use crate::envelope::{self, Start};
use crate::finish::finish;
use crate::formats::{FORMATS, Format};
use crate::json::Object;
use crate::reading::Reading;
use crate::refusal::Refusal;
use crate::stamp::{self, Stamp};
use crate::text::Clean;

/// One line as a format sees it: from one place where its text may begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    /// The text from here on.
    pub(crate) text: &'a str,
    /// The envelope's stamp.
    pub(crate) stamp: Option<Stamp<'a>>,
    /// The envelope's host.
    pub(crate) host: Option<&'a str>,
    /// The envelope's program.
    pub(crate) tag: Option<&'a str>,
    /// Lines pasted above that begin with `#`.
    pub(crate) headers: &'a [&'a str],
    /// The text, when it is one JSON object.
    pub(crate) json: Option<&'a Object<'a>>,
}

/// What a wrapper (Docker, journald) says of the line inside.
#[derive(Clone, Copy, Debug, Default)]
struct Wrapper<'a> {
    stamp: Option<Stamp<'a>>,
    host: Option<&'a str>,
    tag: Option<&'a str>,
}

/// Reads clean text.
pub(crate) fn read(clean: &Clean, context: &Context) -> Result<Reading, Refusal> {
    inside(&[clean], Wrapper::default(), context)
}

/// Reads the innermost, first one of `texts`; the others are what it was unpacked from.
fn inside(texts: &[&Clean], wrapper: Wrapper<'_>, context: &Context) -> Result<Reading, Refusal> {
    let Some(clean) = texts.first() else { return Err(Refusal::Empty) };
    let (headers, body) = split(clean.text())?;
    let mut found = Found::default();
    let mut broken_json = false;
    for start in envelope::starts(body) {
        let json = if start.text.starts_with(['{', '[']) { Object::new(start.text) } else { None };
        broken_json |= json.is_none() && start.text.starts_with('{');
        if let Some((inner, wrapper)) = json.as_ref().and_then(|object| unwrapped(clean, object, &start)) {
            if texts.len() < 3 {
                let texts: Vec<&Clean> = std::iter::once(&inner).chain(texts.iter().copied()).collect();
                return inside(&texts, wrapper, context);
            }
        }
        let line = Line {
            text: start.text,
            stamp: start.stamp.or(wrapper.stamp),
            host: start.host.or(wrapper.host),
            tag: start.tag.or(wrapper.tag),
            headers: &headers,
            json: json.as_ref(),
        };
        found.look(&line, texts, context, false);
    }
    if found.is_empty() && broken_json {
        return Err(broken(body));
    }
    if found.is_empty() {
        if let Some(refusal) = repeated(body) {
            return Err(refusal);
        }
        let starts = envelope::starts(body);
        for start in starts.iter().rev() {
            let stamp = starts.iter().find_map(|start| start.stamp).or(wrapper.stamp);
            let host = start.host.or(wrapper.host);
            let line = Line { text: start.text, stamp, host, tag: start.tag, headers: &headers, json: None };
            found.look(&line, texts, context, true);
        }
    }
    found.one()
}

/// The header lines and the one line below them; JSON may go over several.
fn split(text: &str) -> Result<(Vec<&str>, &str), Refusal> {
    let text = text.trim();
    if text.starts_with(['{', '[']) && Object::new(text).is_some() {
        return Ok((Vec::new(), text));
    }
    let lines = || text.lines().map(str::trim_end).filter(|line| !line.trim_start().is_empty());
    let is_header = |line: &&str| line.starts_with('#');
    let headers: Vec<&str> = lines().filter(is_header).take(64).collect();
    let mut bodies = lines().filter(|line| !is_header(line));
    match (bodies.next(), bodies.count()) {
        (None, _) => Err(Refusal::Empty),
        (Some(body), 0) => Ok((headers, body.trim_start_matches(' '))),
        (Some(body), _)
            if body.starts_with('{') && lines().filter(|line| line.starts_with('{')).count() == 1 =>
        {
            Err(broken(body))
        }
        (Some(_), more) => Err(Refusal::SeveralLines { lines: more + 1 }),
    }
}

fn broken(body: &str) -> Refusal {
    let title = if body.starts_with('{') { "JSON" } else { "JSON in a log line" };
    Refusal::Lacking { title, lack: "this is not one whole JSON object: paste it from { to }".to_owned() }
}

/// `last message repeated 3 times` stands for a line that is not here.
fn repeated(body: &str) -> Option<Refusal> {
    let starts = envelope::starts(body);
    let says = |start: &Start<'_>| {
        start.text.starts_with("last message repeated ") || start.text.starts_with("message repeated ")
    };
    starts.iter().any(says).then(|| Refusal::Lacking {
        title: "syslog",
        lack: "the line only says that the one before it was repeated: paste that one".to_owned(),
    })
}

/// The line inside Docker's or journald's JSON.
fn unwrapped<'a>(clean: &Clean, object: &Object<'a>, start: &Start<'a>) -> Option<(Clean, Wrapper<'a>)> {
    let docker = object.has("log") && object.has("stream");
    let journald = object.has("MESSAGE") && (object.has("__REALTIME_TIMESTAMP") || object.has("_HOSTNAME"));
    let (key, stamp, host, tag) = if docker {
        let stamp = object.get("time").and_then(|text| stamp::iso(&mut crate::scan::Scan::new(text)));
        ("log", stamp, start.host, start.tag)
    } else if journald {
        let stamp = object.get("_SOURCE_REALTIME_TIMESTAMP").or_else(|| object.get("__REALTIME_TIMESTAMP"));
        let tag = object.get("SYSLOG_IDENTIFIER").or_else(|| object.get("_COMM"));
        ("MESSAGE", stamp.and_then(stamp::epoch), object.get("_HOSTNAME"), tag)
    } else {
        return None;
    };
    let base = clean.text().as_ptr() as usize;
    let pieces = object.value(key)?.pieces()?;
    let placed = pieces.iter().map(|(raw, meant)| (raw.as_ptr() as usize - base, meant.as_ref()));
    let inner = Clean::unpacked(clean, placed);
    Some((inner, Wrapper { stamp: stamp.or(start.stamp), host: host.or(start.host), tag: tag.or(start.tag) }))
}

/// What the formats said.
#[derive(Default)]
struct Found {
    read: Vec<Reading>,
    refused: Vec<(&'static str, Refusal)>,
}

impl Found {
    fn is_empty(&self) -> bool {
        self.read.is_empty() && self.refused.is_empty()
    }

    /// Shows `line` to every format that has not read it from an earlier start.
    fn look(&mut self, line: &Line<'_>, texts: &[&Clean], context: &Context, fallback: bool) {
        let wanted = |format: &&Format| {
            format.fallback == fallback && context.format.as_deref().is_none_or(|name| name == format.name)
        };
        for format in FORMATS.iter().filter(wanted) {
            if self.read.iter().any(|reading| reading.format == format.name || (fallback && reading.guess)) {
                continue;
            }
            let Some(outcome) = (format.read)(line, context) else { continue };
            match outcome
                .map_err(|lack| lacking(format, lack))
                .and_then(|draft: Draft<'_>| finish(format, draft, line, texts, context))
            {
                Ok(reading) => self.read.push(reading),
                Err(refusal) => self.refused.push((format.name, refusal)),
            }
        }
    }

    /// The reading, when all agree.
    fn one(mut self) -> Result<Reading, Refusal> {
        let Some(first) = self.read.first() else {
            return Err(self.refused.into_iter().next().map_or(Refusal::Unknown, |(_, refusal)| refusal));
        };
        let same = |other: &Reading| {
            (&other.alternatives, other.proto, &other.times, &other.community_id)
                == (&first.alternatives, first.proto, &first.times, &first.community_id)
        };
        if self.read.iter().all(same) {
            return Ok(self.read.swap_remove(0));
        }
        Err(Refusal::Ambiguous { readings: self.read })
    }
}

fn lacking(format: &Format, lack: Lack) -> Refusal {
    Refusal::Lacking { title: format.title, lack: lack.0 }
}
