//! Formats of `key=value` pairs: FortiGate, CEF and LEEF.
//!
//! Sources: "FortiOS Log Message Reference" (traffic log), "ArcSight Common Event Format", "IBM QRadar LEEF".
//! FortiGate writes `eventtime` in seconds (6.0) or nanoseconds (later), and traffic logs when the session ends.

use hindcap_wire::time::NANOS_PER_SEC;

use crate::context::Context;
use crate::draft::{Draft, Lack, Outcome};
use crate::fields::{self, End};
use crate::formats::Format;
use crate::line::Line;
use crate::reading::{Direction, Field, Kind, Meaning, View};
use crate::scan::Scan;
use crate::stamp::{self, Stamp};

/// `date=2026-05-14 time=09:02:00 ... type="traffic" ... srcip=10.1.1.2 srcport=40000 dstip=203.0.113.5 ...`
pub(crate) const FORTIGATE: Format = Format {
    name: "fortigate",
    title: "FortiGate log",
    time: "traffic: the end, and the start by `duration`; others: the packet",
    fallback: false,
    read: fortigate,
};

/// `CEF:0|vendor|product|version|id|name|5|src=10.1.1.2 spt=40000 dst=203.0.113.5 dpt=443 proto=TCP rt=1778749309000`
pub(crate) const CEF: Format = Format {
    name: "cef",
    title: "CEF event",
    time: "from `start` to `end`, else `rt`, else the envelope's stamp",
    fallback: false,
    read: cef,
};

/// `LEEF:1.0|vendor|product|version|id|src=10.1.1.2 dst=203.0.113.5 srcPort=40000 devTime=1778749309000`
pub(crate) const LEEF: Format = Format {
    name: "leef",
    title: "LEEF event",
    time: "`devTime`, else the envelope's stamp",
    fallback: false,
    read: leef,
};

/// Pairs of one line that are looked at.
const PAIRS_MAX: usize = 256;
/// Longest key; the documents' longest has 38.
const KEY_BYTES_MAX: usize = 64;

/// The pairs of a line; of a key that stands twice [`Pairs::get`] gives the first, and [`Pairs::once`] refuses.
struct Pairs<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Pairs<'a> {
    fn get(&self, key: &str) -> Option<&'a str> {
        self.0
            .iter()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| *value)
            .filter(|value| !value.is_empty())
    }

    /// Refuses a line in which one of `keys` stands more than once: someone else wrote one of them.
    fn once(&self, keys: &[&str]) -> Result<(), Lack> {
        let twice = |key: &&&str| self.0.iter().filter(|(name, _)| name == *key).count() > 1;
        keys.iter().find(twice).map_or(Ok(()), |key| {
            Err(Lack::new(format!(
                "{key}= stands twice in the line: one of them is forged, or two lines ran together"
            )))
        })
    }

    fn end(&self, addr: &str, port: &str) -> Option<End<'a>> {
        Some(End::new(fields::host(self.get(addr)?)?, self.get(port).and_then(fields::port)))
    }
}

/// `key=value key="value with blanks"`.
fn quoted(text: &str) -> Pairs<'_> {
    let mut scan = Scan::new(text);
    let mut pairs = Vec::new();
    while pairs.len() < PAIRS_MAX {
        scan.blanks();
        let Some(key) = scan.while_fits(|c| c != '=' && c != ' ') else { break };
        if !scan.maybe("=") {
            continue;
        }
        let value = if scan.maybe("\"") {
            string(&mut scan)
        } else {
            scan.while_fits(|c| c != ' ').unwrap_or_default()
        };
        pairs.push((key, value));
    }
    Pairs(pairs)
}

/// Up to the closing quote, past escaped ones.
fn string<'a>(scan: &mut Scan<'a>) -> &'a str {
    let text = scan.rest();
    let mut escaped = false;
    let end = text.find(|c: char| {
        let closes = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closes
    });
    let (value, rest) = text.split_at(end.unwrap_or(text.len()));
    *scan = Scan::new(rest.strip_prefix('"').unwrap_or(rest));
    value
}

fn fortigate<'a>(line: &Line<'a>, _: &Context) -> Option<Outcome<'a>> {
    let text = line.text;
    (text.starts_with("date=") || text.starts_with("logver=") || text.starts_with("timestamp="))
        .then_some(())?;
    let pairs = quoted(text);
    (pairs.get("logid").is_some() && pairs.get("type").is_some()).then_some(())?;
    Some(fortigate_event(&pairs))
}

fn fortigate_event<'a>(pairs: &Pairs<'a>) -> Outcome<'a> {
    pairs.once(&[
        "srcip",
        "dstip",
        "srcport",
        "dstport",
        "proto",
        "eventtime",
        "tz",
        "duration",
        "date",
        "time",
    ])?;
    let (Some(src), Some(dst)) = (pairs.end("srcip", "srcport"), pairs.end("dstip", "dstport")) else {
        return Err(Lack::new("srcip= and dstip= are not both in the line: this event names no session"));
    };
    let proto_text = pairs.get("proto").unwrap_or_default();
    let traffic = pairs.get("type") == Some("traffic");
    let mut draft = Draft::new(if traffic { Meaning::End } else { Meaning::Packet })
        .at_maybe(fortigate_time(pairs))
        .proto(fields::protocol(proto_text), proto_text)
        .direction(Direction::Opener);
    if let (true, Some(duration)) = (traffic, pairs.get("duration")) {
        // Whole seconds: the first one had begun.
        draft.before_nanos = stamp::seconds(duration).unwrap_or(0) + NANOS_PER_SEC;
        draft = draft.uses(Field::Duration, duration);
    }
    // `transip` and `transport` are of the source (snat), `tranip` and `tranport` of the destination (dnat).
    let after =
        (pairs.end("transip", "transport").unwrap_or(src), pairs.end("tranip", "tranport").unwrap_or(dst));
    Ok(draft.view(View::BeforeNat, src, dst).view(View::AfterNat, after.0, after.1))
}

/// `eventtime=` counts from 1970; else `date=` and `time=`, with `tz=` where it is there.
fn fortigate_time<'a>(pairs: &Pairs<'a>) -> Option<Stamp<'a>> {
    if let Some(stamp) = pairs.get("eventtime").and_then(stamp::epoch) {
        return Some(stamp);
    }
    let (date, time) = (pairs.get("date")?, pairs.get("time")?);
    let stamp = stamp::parts(date, time)?;
    Some(pairs.get("tz").and_then(stamp::offset_seconds).map_or(stamp, |seconds| stamp.at_offset(seconds)))
}

/// Header fields between `|`, of which `\|` is no end; `None` when there are fewer.
fn header<'a>(scan: &mut Scan<'a>, count: usize) -> Option<()> {
    for _ in 0..count {
        let mut escaped = false;
        let end = scan.rest().find(|c: char| {
            let ends = c == '|' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        })?;
        *scan = Scan::new(scan.rest().get(end + 1..)?);
    }
    Some(())
}

/// `k=v k=v`, values up to the last blank before the next `key=`; `\=` belongs to the value.
fn extension(text: &str) -> Pairs<'_> {
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    let mut from: Option<(&str, usize)> = None;
    let mut word = 0;
    let mut escaped = false;
    // The bound keeps a long word with many `=` behind it from being looked at again and again.
    let is_key = |key: &str| {
        (1..=KEY_BYTES_MAX).contains(&key.len())
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b' ' => word = at + 1,
            b'=' if !escaped && is_key(text.get(word..at).unwrap_or_default()) => {
                if let Some((key, start)) = from {
                    pairs.push((key, text.get(start..word).unwrap_or_default().trim_end()));
                }
                if pairs.len() >= PAIRS_MAX {
                    return Pairs(pairs);
                }
                from = Some((text.get(word..at).unwrap_or_default(), at + 1));
                word = at + 1;
            }
            _ => {}
        }
        escaped = byte == b'\\' && !escaped;
    }
    if let Some((key, start)) = from {
        pairs.push((key, text.get(start..).unwrap_or_default().trim_end()));
    }
    Pairs(pairs)
}

/// Milliseconds since 1970, or `MMM dd [yyyy] HH:mm:ss[.SSS][ zone]`, or ISO.
fn time(text: &str) -> Option<Stamp<'_>> {
    let whole = |reader: for<'b> fn(&mut Scan<'b>) -> Option<Stamp<'b>>| {
        let mut scan = Scan::new(text);
        reader(&mut scan).filter(|_| scan.is_done())
    };
    stamp::epoch(text).or_else(|| whole(stamp::syslog)).or_else(|| whole(stamp::iso))
}

fn cef<'a>(line: &Line<'a>, _: &Context) -> Option<Outcome<'a>> {
    let (_, rest) = line.text.split_once("CEF:")?;
    (line.text.len() - rest.len() <= 64).then_some(())?;
    let mut scan = Scan::new(rest);
    scan.blanks();
    scan.number(1, 1)?;
    scan.word("|")?;
    header(&mut scan, 6)?;
    Some(cef_event(line, &extension(scan.rest())))
}

fn cef_event<'a>(line: &Line<'a>, pairs: &Pairs<'a>) -> Outcome<'a> {
    pairs.once(&["src", "dst", "spt", "dpt", "proto", "start", "end", "rt", "c6a2", "c6a3"])?;
    let src = pairs.end("src", "spt").or_else(|| pairs.end("c6a2", "spt"));
    let dst = pairs.end("dst", "dpt").or_else(|| pairs.end("c6a3", "dpt"));
    let proto_text = pairs.get("proto").unwrap_or_default();
    let when = |key| pairs.get(key).and_then(time);
    let mut draft = match (when("start"), when("end"), when("rt")) {
        (Some(first), last, _) => Draft::new(Meaning::Interval).at_from(first, [last]),
        (None, Some(last), _) => Draft::new(Meaning::End).at(last),
        (None, None, stamp) => Draft::new(Meaning::Written).at_maybe(stamp.or(line.stamp)),
    };
    draft.sensor = pairs.get("dvchost");
    let nat = (
        pairs.end("sourceTranslatedAddress", "sourceTranslatedPort"),
        pairs.end("destinationTranslatedAddress", "destinationTranslatedPort"),
    );
    session(draft.proto(fields::protocol(proto_text), proto_text), src, dst, nat)
}

fn leef<'a>(line: &Line<'a>, _: &Context) -> Option<Outcome<'a>> {
    let (_, rest) = line.text.split_once("LEEF:")?;
    (line.text.len() - rest.len() <= 64).then_some(())?;
    let mut scan = Scan::new(rest);
    scan.blanks();
    let version = scan.until("|")?;
    header(&mut scan, 4)?;
    let mut between = '\t';
    if version.starts_with('2') {
        let delimiter = scan.until("|")?;
        between = match delimiter.strip_prefix("0x").or_else(|| delimiter.strip_prefix('x')) {
            Some(hex) => char::from(u8::from_str_radix(hex, 16).ok()?),
            None => delimiter.chars().next().unwrap_or('\t'),
        };
    }
    let pairs = scan.rest().split(between).take(PAIRS_MAX).filter_map(|pair| pair.split_once('='));
    Some(leef_event(line, &Pairs(pairs.collect())))
}

fn leef_event<'a>(line: &Line<'a>, pairs: &Pairs<'a>) -> Outcome<'a> {
    pairs.once(&["src", "dst", "srcPort", "dstPort", "proto", "devTime"])?;
    let (src, dst) = (pairs.end("src", "srcPort"), pairs.end("dst", "dstPort"));
    let proto_text = pairs.get("proto").unwrap_or_default();
    let stamp = match pairs.get("devTime") {
        None => line.stamp,
        Some(text) => Some(time(text).ok_or_else(|| {
            Lack::new(format!(
                "devTime={text} is in a form of its own (devTimeFormat): give the time by --at"
            ))
        })?),
    };
    let draft = Draft::new(Meaning::Written).at_maybe(stamp).proto(fields::protocol(proto_text), proto_text);
    let nat = (pairs.end("srcPostNAT", "srcPostNATPort"), pairs.end("dstPostNAT", "dstPostNATPort"));
    session(draft, src, dst, nat)
}

fn session<'a>(
    mut draft: Draft<'a>,
    src: Option<End<'a>>,
    dst: Option<End<'a>>,
    nat: (Option<End<'a>>, Option<End<'a>>),
) -> Outcome<'a> {
    if src.is_none() && dst.is_none() {
        return Err(Lack::new("src= and dst= are not in the event: it names no session"));
    }
    if draft.proto.is_none() {
        draft.assume(Kind::Protocol, "no protocol is in the event");
    }
    let (src, dst) = (src.unwrap_or_default(), dst.unwrap_or_default());
    if nat.0.is_none() && nat.1.is_none() {
        return Ok(draft.ends(src, dst));
    }
    let after = |nat: Option<End<'a>>, plain: End<'a>| {
        nat.map_or(plain, |nat| End { port: nat.port.or(plain.port), ..nat })
    };
    Ok(draft.view(View::BeforeNat, src, dst).view(View::AfterNat, after(nat.0, src), after(nat.1, dst)))
}
