//! What carries a log line: `grep` file names, syslog (RFC 3164, RFC 5424, ISO stamps), journald, Docker.
//!
//! Where a line's own text begins cannot always be told: `2010-04-05 10:23:12 1NyiWV-...` is an Exim line with its own
//! stamp, and looks like a stamp and a host. So every plausible beginning is a [`Start`], and formats, which are strict,
//! decide. Envelope stamps belong to the start behind them.

use crate::scan::Scan;
use crate::stamp::{self, Stamp};

/// One place where the text of a format may begin, and what the envelope before it said.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Start<'a> {
    pub(crate) text: &'a str,
    pub(crate) stamp: Option<Stamp<'a>>,
    pub(crate) host: Option<&'a str>,
    /// The program that wrote the line, without its number.
    pub(crate) tag: Option<&'a str>,
}

/// The beginnings of `line`, the one behind the most envelope first.
pub(crate) fn starts(line: &str) -> Vec<Start<'_>> {
    let mut starts = Vec::new();
    for line in [Some(line), behind_file_name(line)].into_iter().flatten() {
        let bare = Start { text: line, ..Start::default() };
        for start in [rfc5424(line), header(line), stamped(line), Some(bare)].into_iter().flatten() {
            let known = starts.iter().any(|known: &Start<'_>| known.text.len() == start.text.len());
            if !known {
                starts.push(start);
            }
        }
    }
    starts
}

/// Behind `file:` or `file:line:` as `grep` prints them. A word of hexadecimal digits alone may be an IPv6 address.
fn behind_file_name(line: &str) -> Option<&str> {
    let mut scan = Scan::new(line);
    let name =
        scan.while_fits(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '_' | '-' | '+' | '@'))?;
    let is_name = name.bytes().any(|byte| !byte.is_ascii_hexdigit())
        && name.bytes().any(|byte| byte.is_ascii_alphabetic());
    if !is_name {
        return None;
    }
    scan.word(":")?;
    let mut ahead = scan;
    if ahead.digits(1, 9).is_some()
        && ahead.maybe(":")
        && !ahead.rest().starts_with(|c: char| c.is_ascii_digit() && !begins_stamp(ahead.rest()))
    {
        scan = ahead;
    }
    let begins = scan.rest().starts_with(['<', '{', '[', '%']) || begins_stamp(scan.rest());
    (begins && !scan.rest().is_empty()).then(|| scan.rest())
}

/// Whether a stamp, or the first number of a line, stands at the start.
fn begins_stamp(text: &str) -> bool {
    let reads =
        |reader: for<'a> fn(&mut Scan<'a>) -> Option<Stamp<'a>>| reader(&mut Scan::new(text)).is_some();
    reads(stamp::iso)
        || reads(stamp::syslog)
        || stamp::alert(&mut Scan::new(text)).is_some()
        || text.split([' ', '\t', ',', '|']).next().is_some_and(|word| stamp::epoch(word).is_some())
}

/// Passes `<PRI>`.
fn priority(scan: &mut Scan<'_>) {
    let mut ahead = *scan;
    if ahead.maybe("<") && ahead.digits(1, 3).is_some() && ahead.maybe(">") {
        *scan = ahead;
    }
}

/// `<PRI>1 STAMP HOST APP PROCID MSGID SD MSG` (RFC 5424 section 6).
fn rfc5424(line: &str) -> Option<Start<'_>> {
    let mut scan = Scan::new(line);
    priority(&mut scan);
    scan.word("1 ")?;
    let stamp = if scan.maybe("-") { None } else { Some(stamp::iso(&mut scan)?) };
    let field = |scan: &mut Scan<'_>| scan.word(" ");
    field(&mut scan)?;
    let host = scan.token()?;
    field(&mut scan)?;
    let tag = scan.token()?;
    field(&mut scan)?;
    scan.token()?;
    field(&mut scan)?;
    scan.token()?;
    field(&mut scan)?;
    structured(&mut scan)?;
    scan.blanks();
    let known = |word: &&str| *word != "-";
    let text = scan.rest().trim_start_matches('\u{feff}');
    Some(Start { text, stamp, host: Some(host).filter(known), tag: Some(tag).filter(known) })
}

/// Passes structured data: `-`, or elements in brackets, in whose quoted values `\"`, `\\` and `\]` are escaped.
fn structured(scan: &mut Scan<'_>) -> Option<()> {
    if scan.maybe("-") {
        return Some(());
    }
    while scan.maybe("[") {
        let (mut quoted, mut escaped) = (false, false);
        let mut end = None;
        for (at, c) in scan.rest().char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => quoted = !quoted,
                ']' if !quoted => {
                    end = Some(at);
                    break;
                }
                _ => {}
            }
        }
        *scan = Scan::new(scan.rest().get(end? + 1..)?);
    }
    Some(())
}

/// A stamp at the start of a line, and what is behind it.
fn stamped(line: &str) -> Option<Start<'_>> {
    let mut scan = Scan::new(line);
    priority(&mut scan);
    scan.blanks();
    // Cisco marks a clock that is not synchronised with `*` or `.`.
    let _ = scan.maybe("*") || scan.maybe(".");
    let mut iso = scan;
    let stamp = match stamp::iso(&mut iso) {
        Some(stamp) => {
            scan = iso;
            Some(stamp)
        }
        None => {
            let mut syslog = scan;
            let stamp = stamp::syslog(&mut syslog);
            if stamp.is_some() {
                scan = syslog;
            }
            stamp
        }
    };
    if stamp.is_none() && !line.starts_with('<') {
        return None;
    }
    if stamp.is_some() {
        scan.maybe(":");
        (scan.blanks() || scan.rest().starts_with('%')).then_some(())?;
    }
    Some(Start { text: scan.rest(), stamp, ..Start::default() })
}

/// `STAMP HOST TAG[PID]: `, `STAMP HOST `, `STAMP TAG: ` (RFC 3164 section 4 and its relatives).
fn header(line: &str) -> Option<Start<'_>> {
    let start = stamped(line)?;
    let mut scan = Scan::new(start.text);
    if scan.rest().starts_with(['{', '%', '[']) {
        return None;
    }
    let first = scan.token()?;
    scan.blanks().then_some(())?;
    if let Some(tag) = tag(first) {
        return Some(Start { text: scan.rest(), tag: Some(tag), ..start });
    }
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    let host = first.chars().all(is_host).then_some(first)?;
    scan.maybe(": ");
    let mut ahead = scan;
    let word = ahead.token().and_then(tag);
    if let Some(tag) = word {
        ahead.blanks();
        return Some(Start { text: ahead.rest(), host: Some(host), tag: Some(tag), ..start });
    }
    Some(Start { text: scan.rest(), host: Some(host), ..start })
}

/// The program's name in `name:`, `name[123]:` or `path/name[123]:`; `%ASA-6-302013:` is the text itself.
fn tag(word: &str) -> Option<&str> {
    let word = word.strip_suffix(':')?;
    let name = word.split_once('[').map_or(word, |(name, _)| name);
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | '(' | ')' | '@');
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(fits);
    (is_name && !name.starts_with("CEF") && !name.starts_with("LEEF")).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(line: &str) -> (Option<&str>, Option<&str>, Option<&str>, &str) {
        let start = starts(line)[0];
        (start.stamp.map(|stamp| stamp.text), start.host, start.tag, start.text)
    }

    #[test]
    fn syslog_in_its_shapes() {
        for (line, expected) in [
            (
                "May 16 11:49:05 rancid snort: x",
                (Some("May 16 11:49:05"), Some("rancid"), Some("snort"), "x"),
            ),
            ("<38>May  6 11:49:05 r snort[12]: x", (Some("May  6 11:49:05"), Some("r"), Some("snort"), "x")),
            (
                "<165>1 2003-10-11T22:14:15.003Z m.example evnt - ID47 [a b=\"c]\\\"\"][d] x",
                (Some("2003-10-11T22:14:15.003Z"), Some("m.example"), Some("evnt"), "x"),
            ),
            (
                "2026-11-21T09:30:00+01:00 h p[1]: x",
                (Some("2026-11-21T09:30:00+01:00"), Some("h"), Some("p"), "x"),
            ),
            ("Nov 21 2026 09:30:00: %ASA-6-1: x", (Some("Nov 21 2026 09:30:00"), None, None, "%ASA-6-1: x")),
            (
                "Nov 21 2026 09:30:00 fw1 : %ASA-6-1: x",
                (Some("Nov 21 2026 09:30:00"), Some("fw1"), None, "%ASA-6-1: x"),
            ),
            ("Nov 21 09:30:00 filterlog[9]: 5,,", (Some("Nov 21 09:30:00"), None, Some("filterlog"), "5,,")),
            ("*Nov 21 09:30:00.1 UTC: %ASA-x", (Some("Nov 21 09:30:00.1 UTC"), None, None, "%ASA-x")),
            ("plain text", (None, None, None, "plain text")),
        ] {
            assert_eq!(first(line), expected, "{line}");
        }
    }

    #[test]
    fn every_beginning_is_offered() {
        let texts = |line| starts(line).iter().map(|start| start.text).collect::<Vec<_>>();
        assert_eq!(
            texts("2010-04-05 10:23:12 1NyiWV-0002IK-QJ <= a"),
            ["<= a", "1NyiWV-0002IK-QJ <= a", "2010-04-05 10:23:12 1NyiWV-0002IK-QJ <= a"]
        );
        assert!(texts("/var/log/mainlog:12:2010-04-05 10:23:12 x").contains(&"2010-04-05 10:23:12 x"));
        assert!(texts("mainlog:2010-04-05 10:23:12 x").contains(&"2010-04-05 10:23:12 x"));
        assert!(texts("syslog.1:May 16 11:49:05 r snort: x").contains(&"x"));
        assert_eq!(texts("2a02:810d::1 - - [x").len(), 1);
        assert_eq!(texts("snort: [1:2:3] x").len(), 1);
    }
}
