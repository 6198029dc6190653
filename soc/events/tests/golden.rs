//! The golden corpus: every line in `tests/golden/*.txt` with its context and the exact reading, written from the
//! formats' documents.
//!
//! A file is a list of blocks with blank lines between them; `;` begins a comment. A block has directives, the line, and
//! what is expected:
//!
//!     now TIME                     the present [2026-06-01T00:00:00Z]
//!     tz ZONE | site ZONE          the analyst's zone | the site's
//!     source NAME [tz=ZONE] [addr=A,B] [csv=f,g]
//!     format NAME                  only this format
//!     line TEXT                    as it is; several make several lines
//!     bytes TEXT                   with \n \t \\ \xNN, and \{text*1000} for repetition
//!     > FORMAT high|medium|low [guess]
//!     > [PROTO] END - END          order unknown; `>` src sent the packet; `=>` src opened; [vlan N] [before_nat|after_nat]
//!     > cid 1:...
//!     > MEANING START +LENGTH      one for each time; `no time`
//!     > assumes KIND, KIND
//!     > from SOURCE
//!     > uses FIELD=TEXT ...        compared only where it is written
//!     > refused: TEXT              instead of all of these
//!
//! `HINDCAP_GOLDEN_SHOW=1` prints what each line was read as.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod corpus;

use std::fmt::Write as _;

use corpus::{Case, cases, show};
use hindcap_events::{Field, Reading, parse};
use hindcap_wire::net::IpNet;

/// What holds of every reading.
fn check(reading: &Reading, line: &[u8], place: &str) {
    let queries = reading.queries(60_000_000_000);
    assert_eq!(queries.is_empty(), reading.times.is_empty(), "{place}: a time is a query");
    for query in &queries {
        assert!(query.validate().is_ok(), "{place}: {query:?}");
    }
    for span in &reading.spans {
        let part = line.get(span.bytes.clone()).unwrap_or_else(|| panic!("{place}: a span inside the line"));
        let Ok(part) = std::str::from_utf8(part) else { continue };
        let ends =
            |src: bool| reading.alternatives.iter().map(move |ends| if src { ends.src } else { ends.dst });
        let addr = |src: bool| {
            let bare = part.split('%').next().unwrap();
            let addr = bare.parse::<IpNet>().ok().map(|net| net.addr().to_canonical());
            assert!(
                ends(src).any(|end| end.addr == addr),
                "{place}: span {part:?} is an address of the reading"
            );
        };
        match span.field {
            Field::Src => addr(true),
            Field::Dst => addr(false),
            Field::SrcPort if reading.proto.is_none_or(|number| matches!(number, 6 | 17 | 132)) => {
                assert!(ends(true).any(|end| end.port == part.parse().ok()), "{place}: {part:?}");
            }
            _ => {}
        }
    }
}

#[test]
fn every_line_reads_as_written() {
    let mut wrong = 0;
    let cases = cases();
    let mut report = String::new();
    for Case { file, number, context, line, expected } in &cases {
        let place = format!("{file}, block before line {}", number + 1);
        let outcome = parse(line, context);
        let uses = expected.iter().any(|line| line.starts_with("uses "));
        let shown = match &outcome {
            Ok(reading) => {
                check(reading, line, &place);
                show(reading, line, uses)
            }
            Err(refusal) => vec![format!("refused: {refusal}")],
        };
        if std::env::var_os("HINDCAP_GOLDEN_SHOW").is_some() {
            println!("{place}\n  {}", shown.join("\n  "));
        }
        if shown != *expected {
            wrong += 1;
            let start = String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned();
            writeln!(
                report,
                "{place}: {start}\n  expected {}\n  read     {}",
                expected.join("\n           "),
                shown.join("\n           ")
            )
            .unwrap();
        }
    }
    println!("{} lines, {wrong} not as written", cases.len());
    assert!(wrong == 0, "{wrong} of {} lines read otherwise than written:\n{report}", cases.len());
}
