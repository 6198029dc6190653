//! Lines that someone wrote to harm the reader: very long ones, cut ones, ones with damaged bytes. Nothing panics, time
//! stays linear, and a reading of a damaged line never has an address that does not stand in it.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use hindcap_events::{Context, LINE_BYTES_MAX, Refusal, Zone, parse};

fn context() -> Context {
    let mut context = Context::new("2026-06-01T00:00:00Z".parse().unwrap());
    context.zone = Some(Zone::new("Europe/Berlin").unwrap());
    context
}

/// The plain lines of the golden corpus.
fn lines() -> Vec<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut lines = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        lines.extend(text.lines().filter_map(|line| line.strip_prefix("line ")).map(str::to_owned));
    }
    assert!(lines.len() > 100);
    lines
}

/// Every address of a reading must stand in the line, letter by letter (IPv6 by value).
fn check(line: &[u8], context: &Context) {
    let Ok(reading) = parse(line, context) else { return };
    let text = String::from_utf8_lossy(line);
    for ends in &reading.alternatives {
        for addr in [ends.src.addr, ends.dst.addr].into_iter().flatten().filter(|addr| addr.is_ipv4()) {
            assert!(text.contains(&addr.to_string()), "{addr} is not in {text}");
        }
    }
    for span in &reading.spans {
        assert!(span.bytes.start < span.bytes.end && span.bytes.end <= line.len(), "{span:?} of {text}");
    }
    for query in reading.queries(0) {
        query.validate().unwrap();
    }
}

#[test]
fn every_line_cut_at_every_byte() {
    let context = context();
    for line in lines() {
        for end in 0..line.len() {
            check(&line.as_bytes()[..end], &context);
        }
    }
}

#[test]
fn every_line_with_damaged_bytes() {
    let context = context();
    let mut seed = 1_u64;
    for line in lines() {
        for _ in 0..40 {
            let mut bytes = line.clone().into_bytes();
            for _ in 0..3 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = usize::try_from(seed >> 33).unwrap() % bytes.len();
                bytes[at] = [0, 0xff, b' ', b'"', b'[', b':', b'{', b'\\', b'=', b',', 0x1b, 0x80]
                    [usize::try_from(seed >> 20 & 0xff).unwrap() % 12];
            }
            check(&bytes, &context);
        }
    }
}

/// What each format is tempted to look at again and again.
const PIECES: [&str; 26] = [
    "a",
    " ",
    "[",
    "[1:2:3] ",
    "{",
    "{\"a\":",
    "[[",
    "\"",
    "\\\"",
    "1.2.3.4 ",
    "1.2.3.4:5 -> ",
    "1:2:",
    "a=b ",
    "=-",
    "SRC=1.2.3.4 ",
    ", SrcIP: 1.2.3.4",
    " From ",
    " at ",
    " port 22",
    "|",
    "||",
    ",",
    "[01/Jan/2020:00:00:00 +0000] ",
    "\u{1b}[0m",
    "\u{202e}",
    "H=(x) [1.2.3.4] ",
];

const HEADS: [&str; 12] = [
    "",
    "05/14-09:01:49.390801 [**] [1:2:3] ",
    "May 14 09:01:49 h sshd[1]: Failed password for ",
    "2026-05-14 09:01:49 1NyiWV-0002IK-QJ <= ",
    "%FTD-6-430003: SrcIP: 1.2.3.4, ",
    "CEF:0|v|p|1|1|n|5|aaaaaaaa",
    "LEEF:1.0|v|p|1|id|",
    "date=2026-05-14 logid=1 type=x ",
    "1.2.3.4 - - ",
    "{\"event_type\":\"",
    "IN=eth0 OUT= ",
    "1,2026/05/14 09:02:00,1,TRAFFIC,",
];

#[test]
fn long_lines_cost_in_proportion() {
    let context = context();
    for head in HEADS {
        for piece in PIECES {
            for bytes in [100_000, LINE_BYTES_MAX - 64] {
                // The short ones for all, the long ones for some: a million bytes take a while without optimisation.
                if bytes > 100_000 && !head.is_empty() && piece.len() > 1 {
                    continue;
                }
                let line = format!("{head}{}", piece.repeat((bytes - head.len()) / piece.len()));
                let began = Instant::now();
                check(line.as_bytes(), &context);
                let took = began.elapsed();
                assert!(took < Duration::from_secs(20), "{head:?} {piece:?} of {bytes} bytes took {took:?}");
            }
        }
    }
    let words = format!("{}-{}", "a".repeat(500_000), "=-".repeat(200_000));
    check(format!("CEF:0|v|p|1|1|n|5|{words}").as_bytes(), &context);
    let key = "k".repeat(400_000);
    check(format!("{{\"event_type\":1,\"{key}\":[{}1]}}", "1,".repeat(200_000)).as_bytes(), &context);
}

#[test]
fn the_longest_line_has_a_bound() {
    let line = vec![b'a'; LINE_BYTES_MAX + 1];
    assert_eq!(parse(&line, &context()), Err(Refusal::TooLong { bytes: LINE_BYTES_MAX + 1 }));
}
