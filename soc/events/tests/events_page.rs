//! docs/EVENTS.md, made from the table of formats and the golden corpus: `HINDCAP_BLESS=1 cargo test -p hindcap-events --test
//! events_page` rewrites it; without, it is compared.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod corpus;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use corpus::{Case, cases, show};
use hindcap_events::{Confidence, Format, Kind, Reading, formats, parse};

const HEAD: &str = "\
# EVENTS: log lines and what they mean

Made from the table of formats and from the lines in `soc/events/tests/golden/`, of which the first good one of each format stands here;
there are all the others, with hostile relatives. A test compares; `HINDCAP_BLESS=1 cargo test -p hindcap-events --test events_page` writes
it again. `hindcap parse LINE` shows the same of any line, and which part of it was used. A line can be pasted into
`hindcap fetch --event` ([ANALYST.md](ANALYST.md)); whole files of them are followed by `hindcap watch` ([WATCH.md](WATCH.md)).

Where a line does not name its zone, one is needed from `--tz`, the settings of the source, or those of the site, in this order, and the
line is refused without. A stamp without a year is taken in the latest year in which it is not more than a day ahead of now, in the zone of
its source. Of clock changes, a time that was shown twice is searched twice; one that was left out is searched on both sides.

Around a line there may be: syslog (RFC 3164, RFC 5424, ISO stamps), a file name from `grep`, colours, Docker's and journald's JSON, header
lines that begin with `#`, typographic quotes and arrows. Characters that show as nothing, or turn the order of text round, never join what
stands around them, and the reading says that they were there. What the other side of a connection can write into a line (user names, HELO,
URLs) never becomes an address. A line that two formats read differently is refused until `--log-format` chooses by name.

In the readings `=>` points from the end that opened the session, `>` from the one that sent the packet that was logged, `-` says that
the order is not known; `?` is not in the line. Times are first packet and length, before any padding.

## Read with care

- Snort's and Suricata's date `10/11/12-` has two meanings: both are searched. Suricata writes ICMP type and code where ports stand: they are none.
- Columns of Snort 3's alert_csv other than the default ones come from the settings of the source.
- Suricata's `to_client` and Zeek's `^` in the history turn the ends round; Zeek's losses are told.
- Exim: ports 25, 465 and 587 are asked for when `I=` is missing; more than one free address in brackets is refused. Postfix and sshd: only what they
  write themselves is believed, of sshd's addresses the last.
- Of a field that stands twice in a Firepower, CEF or LEEF line, and of several values in ECS, none is chosen: the line is refused.
- Cisco ASA: of an outbound connection the first end is the destination. ASA, PAN-OS and FortiGate know the session before and after address
  translation: both are asked for.
- Of an ICMP error in netfilter's line the outer packet is taken. An access log's address may be a proxy's word.
- Without a format the reading is a guess, and says so; the present time is never taken.
";

/// Lines longer than this are shown by their beginning.
const LINE_CHARS_MAX: usize = 400;

/// The example of a format: read with trust, nothing strange in it, and as little taken for granted as can be.
fn example<'a>(format: &Format, cases: &'a [Case]) -> Option<(&'a Case, Reading)> {
    let read = |case: &'a Case| Some((case, parse(&case.line, &case.context).ok()?));
    let fits = |(case, reading): &(&Case, Reading)| {
        let plain = std::str::from_utf8(&case.line)
            .is_ok_and(|line| !line.contains(char::is_control) || line.contains('\t'));
        let strange = |kind: Kind| matches!(kind, Kind::Invisible | Kind::Fold | Kind::Gap);
        reading.format == format.name
            && plain
            && !["hostile.txt", "envelope.txt"].contains(&case.file.as_str())
            && !reading.assumptions.iter().any(|assumption| strange(assumption.kind))
    };
    let all = || cases.iter().filter_map(read).filter(fits);
    let trusted = all().find(|(_, reading)| reading.confidence == Confidence::High);
    trusted.or_else(|| all().next())
}

fn section(format: &Format, cases: &[Case]) -> String {
    let mut text = format!("\n## {}: `{}`\n\nTime: {}.\n\n", format.title, format.name, format.time);
    let Some((case, reading)) = example(format, cases) else {
        panic!("no line of {} in the corpus can stand as its example", format.name);
    };
    let line = String::from_utf8(case.line.clone()).unwrap();
    for line in line.lines() {
        let more = if line.chars().count() > LINE_CHARS_MAX { " ..." } else { "" };
        let beginning: String = line.chars().take(LINE_CHARS_MAX).collect();
        writeln!(text, "    {}{more}", beginning.replace('\t', "    ")).unwrap();
    }
    writeln!(text, "\nis read as").unwrap();
    writeln!(text).unwrap();
    let told = show(&reading, &case.line, false);
    for shown in told.iter().skip(1).filter(|shown| !shown.starts_with("assumes ")) {
        writeln!(text, "    {shown}").unwrap();
    }
    for (at, assumption) in reading.assumptions.iter().enumerate() {
        let head = if at == 0 { "\nTaken for granted: " } else { "; " };
        write!(text, "{head}{}", assumption.text).unwrap();
    }
    if !reading.assumptions.is_empty() {
        writeln!(text, ".").unwrap();
    }
    text
}

#[test]
fn the_page_is_what_the_corpus_says() {
    let cases = cases();
    let page = HEAD.to_owned() + &formats().iter().map(|format| section(format, &cases)).collect::<String>();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/EVENTS.md");
    if std::env::var_os("HINDCAP_BLESS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(there == page, "docs/EVENTS.md differs from the corpus; HINDCAP_BLESS=1 rewrites it");
}
