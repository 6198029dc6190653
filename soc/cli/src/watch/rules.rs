//! The rules file, TOML. A key that nobody knows, a wrong unit or a value that cannot be meant is an error with its line.
//!
//! ```toml
//! [watch]
//! store = "/srv/cases"          # where sessions are kept: a directory, made when missing
//! max-store = "100GiB"          # no more than this is fetched; sessions wait until there is room
//! keep = "90d"                  # how long, unless a rule says otherwise [for ever]
//! per-minute = 30               # sessions asked for a minute at most
//! queue = 1000                  # sessions waited for at most; files are read on when there is room
//! again-after = "1h"            # the same session is asked for once in this time
//!
//! [[source]]
//! file = "/var/log/suricata/eve.json"   # or syslog = "udp://127.0.0.1:5514", "tcp://..."; or stdin = true
//! sensors = ["branch-7"]        # who sees what this source tells of
//! tz = "Europe/Berlin"
//! log-format = "suricata-eve"
//!
//! [[rule]]                      # the first that matches an event decides
//! name = "malware"
//! formats = ["suricata-eve"]
//! text = "ET MALWARE|ET TROJAN" # a regular expression, somewhere in the line
//! severity = "medium"           # at least
//! networks = ["10.0.0.0/8"]     # of either end
//! ports = [443]                 # of either end
//! ignore = true                 # or: do nothing
//! sensors = ["branch-*"]
//! groups = ["south"]
//! case = "IR-7"
//! reason = "beacon?"
//! pin = false                   # [true]
//! follow = "2h"                 # how long the end of the session is waited for [1h]
//! max-bytes = "64MiB"           # of one session [256MiB]
//! keep = "1y"
//! host = "src"                  # also what follows of this end ("src", "dst")
//! host-for = "30m"              # for so long [30m]
//! host-max-bytes = "256MiB"     # and so much [256MiB]
//! ```

use std::fmt::Display;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use hindcap_args::{Nanos, nearest, parse_duration, parse_size};
use hindcap_events::{Zone, formats};
use hindcap_wire::time::NANOS_PER_SEC;
use regex::RegexBuilder;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::rule::{Deed, Named, Rule, Side, Subscription};
use crate::args::Pattern;
use crate::exit::Failure;
use crate::front::{Wrong, text, texts, unknown, wrong};

/// Largest rules file that is read: bounds the work on a wrong path.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Memory that one regular expression may take, bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// What the file says.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) store: PathBuf,
    pub(super) max_store: u64,
    pub(super) per_minute: u32,
    pub(super) queue: usize,
    pub(super) again_after: Nanos,
    pub(super) sources: Vec<Source>,
    pub(super) rules: Vec<Rule>,
}

/// Where lines come from.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) from: From,
    /// Who sees what it tells of.
    pub(super) named: Named,
    pub(super) zone: Option<Zone>,
    pub(super) log_format: Option<String>,
}

/// See [`Source`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum From {
    File(PathBuf),
    Udp(SocketAddr),
    Tcp(SocketAddr),
    Stdin,
}

/// Reads the file at `path`.
///
/// # Errors
/// It cannot be read, or something in it cannot be meant, with its line.
pub(super) fn load(path: &Path) -> Result<Rules, Failure> {
    let fail = |error: &dyn Display| Failure::new(format!("{}: {error}", path.display()));
    if fs::metadata(path).map_err(|error| fail(&error))?.len() > FILE_BYTES_MAX {
        return Err(fail(&"larger than 1 MiB, which no rules file is"));
    }
    let text = fs::read_to_string(path).map_err(|error| fail(&error))?;
    read(&text).map_err(|wrong| wrong.told(path, &text))
}

const TABLES: [&str; 3] = ["watch", "source", "rule"];
const WATCH: [&str; 6] = ["store", "max-store", "keep", "per-minute", "queue", "again-after"];
const SOURCE: [&str; 7] = ["file", "syslog", "stdin", "sensors", "groups", "tz", "log-format"];
const RULE: [&str; 18] = [
    "name",
    "ignore",
    "formats",
    "text",
    "severity",
    "networks",
    "ports",
    "sensors",
    "groups",
    "case",
    "reason",
    "pin",
    "follow",
    "max-bytes",
    "keep",
    "host",
    "host-for",
    "host-max-bytes",
];

type Value<'a> = Spanned<DeValue<'a>>;

fn read(text: &str) -> Result<Rules, Wrong> {
    let document = DeTable::parse(text).map_err(|error| Wrong::new(error.span(), error.message()))?;
    let root = document.get_ref();
    if let Some((key, _)) = root.iter().find(|(key, _)| !TABLES.contains(&key.get_ref().as_ref())) {
        return unknown(key, "rules file", &TABLES);
    }
    let mut rules = Rules {
        store: PathBuf::new(),
        max_store: u64::MAX,
        per_minute: 30,
        queue: 1_000,
        again_after: Nanos(3_600 * NANOS_PER_SEC),
        sources: Vec::new(),
        rules: Vec::new(),
    };
    let keep = match root.get("watch") {
        Some(value) => watch(value, &mut rules)?,
        None => None,
    };
    if rules.store.as_os_str().is_empty() {
        return Err(Wrong::new(None, "where are sessions kept? [watch] needs store = \"/a/directory\""));
    }
    for value in tables(root.get("source"), "source")? {
        rules.sources.push(source(value)?);
    }
    for value in tables(root.get("rule"), "rule")? {
        rules.rules.push(rule(value, keep)?);
    }
    if rules.sources.is_empty() {
        return Err(Wrong::new(None, "nothing is watched: a [[source]] has file, syslog or stdin"));
    }
    if rules.rules.is_empty() {
        return Err(Wrong::new(None, "nothing is done: an empty [[rule]] with a name is for every event"));
    }
    Ok(rules)
}

/// The tables of `[[name]]`.
fn tables<'a, 'v>(value: Option<&'a Value<'v>>, name: &str) -> Result<Vec<&'a Value<'v>>, Wrong> {
    match value.map(|value| (value, value.get_ref())) {
        None => Ok(Vec::new()),
        Some((_, DeValue::Array(items))) => Ok(items.iter().collect()),
        Some((value, _)) => wrong(value.span().start, format!("{name} is a list of tables: [[{name}]]")),
    }
}

fn keys<'a, 'v>(value: &'a Value<'v>, name: &str) -> Result<&'a DeTable<'v>, Wrong> {
    match value.get_ref() {
        DeValue::Table(table) => Ok(table),
        _ => wrong(value.span().start, format!("{name} is a table")),
    }
}

/// A text that `parse` understands.
fn parsed<T, E: Display>(
    value: &Value<'_>,
    key: &str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<T, Wrong> {
    parse(text(value, key)?).or_else(|error| wrong(value.span().start, format!("{key}: {error}")))
}

fn all<T: FromStr<Err: Display>>(value: &Value<'_>, key: &str) -> Result<Vec<T>, Wrong> {
    let parse = |text: &str| {
        text.parse().or_else(|error: T::Err| wrong(value.span().start, format!("{text:?} in {key}: {error}")))
    };
    texts(value, key)?.into_iter().map(parse).collect()
}

/// Names and patterns of sensors.
fn sensors(value: &Value<'_>) -> Result<Vec<String>, Wrong> {
    all::<Pattern>(value, "sensors").map(|all| all.iter().map(ToString::to_string).collect())
}

fn number<T: FromStr>(value: &Value<'_>, key: &str, what: &str) -> Result<T, Wrong> {
    let number = match value.get_ref() {
        DeValue::Integer(number) => number.to_string().parse().ok(),
        _ => None,
    };
    number.map_or_else(|| wrong(value.span().start, format!("{key} wants {what}")), Ok)
}

fn truth(value: &Value<'_>, key: &str) -> Result<bool, Wrong> {
    match value.get_ref() {
        DeValue::Boolean(truth) => Ok(*truth),
        _ => wrong(value.span().start, format!("{key} wants true or false")),
    }
}

/// Whole seconds, at least one. A year is no unit of durations elsewhere, and one is what people keep things for.
fn seconds(value: &Value<'_>, key: &str) -> Result<u64, Wrong> {
    let years = |text: &str| Some(text.strip_suffix('y')?.parse::<u64>().ok()?.checked_mul(365 * 86_400));
    let secs = parsed(value, key, |text| match years(text).flatten() {
        Some(secs) => Ok(secs),
        None => parse_duration(text).map(|Nanos(nanos)| nanos / NANOS_PER_SEC),
    })?;
    if secs == 0 { wrong(value.span().start, format!("{key} wants at least a second")) } else { Ok(secs) }
}

fn watch(value: &Value<'_>, rules: &mut Rules) -> Result<Option<u64>, Wrong> {
    let mut keep = None;
    for (key, value) in keys(value, "watch")? {
        match key.get_ref().as_ref() {
            "store" => rules.store = PathBuf::from(text(value, "store")?),
            "max-store" => rules.max_store = parsed(value, "max-store", parse_size)?,
            "keep" => keep = Some(seconds(value, "keep")?),
            "per-minute" => rules.per_minute = number(value, "per-minute", "a number from 1 on")?,
            "queue" => rules.queue = number(value, "queue", "a number from 1 on")?,
            "again-after" => rules.again_after = parsed(value, "again-after", parse_duration)?,
            _ => return unknown(key, "watch table", &WATCH),
        }
        if rules.per_minute == 0 || rules.queue == 0 {
            return wrong(value.span().start, format!("{} wants a number from 1 on", key.get_ref()));
        }
    }
    Ok(keep)
}

fn source(value: &Value<'_>) -> Result<Source, Wrong> {
    let (mut from, mut named, mut zone, mut log_format) = (Vec::new(), Named::default(), None, None);
    for (key, value) in keys(value, "source")? {
        match key.get_ref().as_ref() {
            "file" => from.push(From::File(PathBuf::from(text(value, "file")?))),
            "syslog" => from.push(parsed(value, "syslog", listener)?),
            "stdin" => from.extend(truth(value, "stdin")?.then_some(From::Stdin)),
            "sensors" => named.sensors = sensors(value)?,
            "groups" => named.groups = all(value, "groups")?,
            "tz" => zone = Some(parsed(value, "tz", Zone::new)?),
            "log-format" => log_format = Some(parsed(value, "log-format", format)?),
            _ => return unknown(key, "source", &SOURCE),
        }
    }
    match (from.pop(), from.is_empty()) {
        (Some(from), true) => Ok(Source { from, named, zone, log_format }),
        _ => wrong(value.span().start, "a source has one of file, syslog and stdin"),
    }
}

/// `udp://127.0.0.1:5514`; without an address the loopback is meant.
fn listener(text: &str) -> Result<From, String> {
    let hint = "expected an address such as udp://127.0.0.1:5514 or tcp://:5514";
    let (scheme, place) = text.split_once("://").ok_or(hint)?;
    let place = if place.starts_with(':') { format!("127.0.0.1{place}") } else { place.to_owned() };
    let place: SocketAddr = place.parse().map_err(|_| hint)?;
    match scheme {
        "udp" => Ok(From::Udp(place)),
        "tcp" => Ok(From::Tcp(place)),
        _ => Err(hint.into()),
    }
}

/// The name of a format.
fn format(name: &str) -> Result<String, String> {
    let known = || formats().iter().map(|format| format.name);
    if known().any(|known| known == name) {
        return Ok(name.to_owned());
    }
    let hint = nearest(name, known()).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    Err(format!("there is no format {name}{hint}"))
}

fn rule(value: &Value<'_>, keep: Option<u64>) -> Result<Rule, Wrong> {
    let deed = Deed {
        named: Named::default(),
        case: None,
        reason: None,
        pin: true,
        follow_secs: 3_600,
        max_bytes: 256 << 20,
        keep_secs: keep,
        host: None,
    };
    let mut rule = Rule {
        name: String::new(),
        ignore: false,
        formats: Vec::new(),
        text: None,
        severity: None,
        networks: Vec::new(),
        ports: Vec::new(),
        deed,
    };
    let mut side = None;
    let mut host = Subscription { side: Side::Src, for_secs: 1_800, max_bytes: 256 << 20 };
    for (key, value) in keys(value, "rule")? {
        let (name, deed) = (key.get_ref().as_ref(), &mut rule.deed);
        match name {
            "name" => rule.name = parsed(value, name, plain)?,
            "ignore" => rule.ignore = truth(value, name)?,
            "formats" => {
                let known = |text: &str| format(text).or_else(|error| wrong(value.span().start, error));
                rule.formats = texts(value, name)?.into_iter().map(known).collect::<Result<_, _>>()?;
            }
            "text" => {
                let compile = |text: &str| RegexBuilder::new(text).size_limit(REGEX_BYTES_MAX).build();
                rule.text = Some(parsed(value, name, compile)?);
            }
            "severity" => rule.severity = Some(parsed(value, name, str::parse)?),
            "networks" => rule.networks = all(value, name)?,
            "ports" => rule.ports = ports(value)?,
            "sensors" => deed.named.sensors = sensors(value)?,
            "groups" => deed.named.groups = all(value, name)?,
            "case" => deed.case = Some(text(value, name)?.to_owned()),
            "reason" => deed.reason = Some(text(value, name)?.to_owned()),
            "pin" => deed.pin = truth(value, name)?,
            "follow" => deed.follow_secs = seconds(value, name)?,
            "max-bytes" => deed.max_bytes = parsed(value, name, parse_size)?,
            "keep" => deed.keep_secs = Some(seconds(value, name)?),
            "host" => side = Some(parsed(value, name, end)?),
            "host-for" => host.for_secs = seconds(value, name)?,
            "host-max-bytes" => host.max_bytes = parsed(value, name, parse_size)?,
            _ => return unknown(key, "rule", &RULE),
        }
    }
    if rule.name.is_empty() {
        return wrong(value.span().start, "a rule has a name: name = \"...\"");
    }
    rule.deed.host = side.map(|side| Subscription { side, ..host });
    Ok(rule)
}

/// A name that can be part of a path.
fn plain(text: &str) -> Result<String, &'static str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let fits = !text.is_empty() && text.len() <= 64 && !text.starts_with('.') && text.chars().all(is_plain);
    fits.then(|| text.to_owned()).ok_or("expected letters, digits, '-', '_' and '.', 64 at most")
}

fn ports(value: &Value<'_>) -> Result<Vec<u16>, Wrong> {
    let DeValue::Array(items) = value.get_ref() else {
        return wrong(value.span().start, "ports wants a list of numbers: [443, 8443]");
    };
    items.iter().map(|item| number(item, "ports", "numbers from 0 to 65535")).collect()
}

fn end(text: &str) -> Result<Side, &'static str> {
    match text {
        "src" => Ok(Side::Src),
        "dst" => Ok(Side::Dst),
        _ => Err("expected src or dst"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Rules that are known to be sound.
    pub(in crate::watch) fn parse(text: &str) -> Rules {
        read(text).unwrap()
    }

    const SMALL: &str = "[watch]\nstore = '/srv/x'\n[[source]]\nstdin = true\n[[rule]]\nname = 'all'\n";

    #[test]
    fn the_example_in_the_header_is_read() {
        let header = include_str!("rules.rs");
        let example: String = header
            .lines()
            .skip_while(|line| *line != "//! ```toml")
            .skip(1)
            .take_while(|line| *line != "//! ```")
            .map(|line| line.trim_start_matches("//!").trim_start().to_owned() + "\n")
            .collect();
        let rules = read(&example).unwrap();
        assert_eq!((rules.max_store, rules.per_minute, rules.queue), (100 << 30, 30, 1_000));
        assert_eq!(rules.sources[0].from, From::File("/var/log/suricata/eve.json".into()));
        let rule = &rules.rules[0];
        assert!(rule.text.as_ref().unwrap().is_match("ET TROJAN x") && rule.ignore && !rule.deed.pin);
        assert_eq!(rule.deed.keep_secs, Some(365 * 86_400));
        assert_eq!(rule.deed.host.unwrap().for_secs, 1_800);
        assert_eq!(rule.deed.named.groups, ["south"]);
    }

    #[test]
    fn what_is_left_out_has_defaults() {
        let rules = read(SMALL).unwrap();
        assert_eq!((rules.sources[0].from.clone(), rules.rules[0].deed.pin), (From::Stdin, true));
        assert!(rules.rules[0].deed.host.is_none() && rules.rules[0].deed.keep_secs.is_none());
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (from, to, line, words) in [
            ("stdin", "stdni", 4, "did you mean stdin?"),
            ("[watch]", "[wtach]", 1, "did you mean watch?"),
            ("name = 'all'", "name = 'all'\nsverity = 'low'", 7, "did you mean severity?"),
            ("name = 'all'", "name = 'a/b'", 6, "expected letters"),
            ("name = 'all'", "name = 'all'\nseverity = 'huge'", 7, "low, medium or high"),
            ("name = 'all'", "name = 'all'\nformats = ['suricata-evil']", 7, "did you mean suricata-eve?"),
            ("name = 'all'", "name = 'all'\ntext = '('", 7, "text: regex"),
            ("name = 'all'", "name = 'all'\nports = [70000]", 7, "0 to 65535"),
            ("name = 'all'", "name = 'all'\nfollow = '5'", 7, "follow: expected a duration"),
            ("name = 'all'", "", 5, "a rule has a name"),
            ("stdin = true", "stdin = true\nfile = 'x'", 3, "one of file"),
            ("stdin = true", "syslog = 'udp://localhost:514'", 4, "syslog: expected an address"),
            ("store = '/srv/x'", "store = '/srv/x'\nqueue = 0", 3, "from 1 on"),
            ("[[rule]]", "[rule]", 5, "list of tables"),
        ] {
            let text = SMALL.replace(from, to);
            let told = read(&text).unwrap_err().told(Path::new("r.toml"), &text).message;
            assert!(told.starts_with(&format!("r.toml:{line}: ")) && told.contains(words), "{told}");
        }
        for (from, words) in
            [("store = '/srv/x'\n", "where"), ("[[source]]\nstdin = true\n", "nothing is watched")]
        {
            let text = SMALL.replace(from, "");
            assert!(read(&text).unwrap_err().told(Path::new("r"), &text).message.contains(words));
        }
    }

    #[test]
    fn without_an_address_the_loopback_listens() {
        assert_eq!(listener("udp://:514"), Ok(From::Udp("127.0.0.1:514".parse().unwrap())));
        assert_eq!(listener("tcp://0.0.0.0:6514"), Ok(From::Tcp("0.0.0.0:6514".parse().unwrap())));
        assert!(listener("514").is_err() && listener("http://:514").is_err());
    }
}
