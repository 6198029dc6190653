//! `hindcapd verify` and `reindex`: whether the store is whole, and its indexes built anew from the packets.

use hindcap_store::verify::{SegmentKind, SegmentReport, verify as look};
use hindcap_store::{
    Class, Reading, Reindexed, Store, StoreOptions, StoreSize, open_events_reader, open_reader,
    reindex as rebuild,
};
use hindcap_wire::counted::Counted;
use serde_json::{Value, json};

use crate::cli::WholeStoreArgs;
use crate::clock::{monotonic_nanos, wall};
use crate::exit::{Code, Failure};

/// Looks at every segment: batches, indexes, hashes, chain. Reads only, beside a recorder.
///
/// # Errors
/// There is no store.
pub fn verify(args: &WholeStoreArgs) -> Result<Code, Failure> {
    let doing = |error| Failure::from(error).doing("verify");
    let path = &args.store.store;
    let mut rings = vec![(Class::General, open_reader(path).map_err(doing)?)];
    rings.extend(open_events_reader(path).map_err(doing)?.map(|events| (Class::Event, events)));
    let mut reports = Vec::new();
    for (class, (volume, state)) in rings {
        look(&volume, &state, |report| {
            if !args.json {
                print(class, &report);
            }
            reports.push((class, report));
        });
    }
    let findings: usize = reports.iter().map(|(_, report)| report.findings.len()).sum();
    let packets: u64 = reports.iter().map(|(_, report)| report.packets).sum();
    if args.json {
        let segments: Vec<Value> = reports.iter().map(|(class, report)| as_json(*class, report)).collect();
        say!("{}", json!({ "segments": segments, "packets": packets, "findings": findings }));
    } else {
        let verdict = match findings {
            0 => "all is well".to_owned(),
            1 => "1 finding".to_owned(),
            _ => format!("{findings} findings"),
        };
        let segments = Counted(reports.len() as u64, "segment");
        say!("{segments}, {}: {verdict}", Counted(packets, "packet"));
    }
    Ok(if findings == 0 { Code::Done } else { Code::Partial })
}

/// What stands before the number of a segment.
const fn ring(class: Class) -> &'static str {
    match class {
        Class::General => "",
        Class::Event => "event ring, ",
    }
}

const fn class_word(class: Class) -> &'static str {
    match class {
        Class::General => "general",
        Class::Event => "event",
    }
}

fn print(class: Class, report: &SegmentReport) {
    let ring = ring(class);
    for finding in &report.findings {
        say!("{ring}segment {:06} (generation {}): {finding}", report.number, report.generation);
    }
}

fn as_json(class: Class, report: &SegmentReport) -> Value {
    let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    json!({
        "class": class_word(class),
        "number": report.number,
        "generation": report.generation,
        "kind": kind(report.kind),
        "batches": report.batches,
        "packets": report.packets,
        "findings": findings,
    })
}

const fn kind(kind: SegmentKind) -> &'static str {
    match kind {
        SegmentKind::Open => "open",
        SegmentKind::Sealed => "sealed",
        SegmentKind::NotSealed => "not_sealed",
        SegmentKind::Overwritten => "overwritten",
    }
}

/// Builds every index and the catalog anew. Writes, so nobody else may.
///
/// # Errors
/// There is no store, it is in use, or it cannot be written.
pub fn reindex(args: &WholeStoreArgs) -> Result<Code, Failure> {
    let doing = |failure: Failure| failure.doing("reindex");
    let options = StoreOptions::new(&args.store.store, StoreSize::Keep);
    let mut store = Store::open_any(&options).map_err(|error| doing(error.into()))?;
    let now = Reading { wall: wall(), monotonic_nanos: monotonic_nanos(), ..Reading::default() };
    let mut done = Vec::new();
    rebuild(&mut store, now, |number, generation, result| {
        done.push((Class::General, number, generation, result));
    })
    .map_err(|error| doing(error.into()))?;
    if let Some(mut events) = store.open_events().map_err(|error| doing(error.into()))? {
        rebuild(&mut events, now, |number, generation, result| {
            done.push((Class::Event, number, generation, result));
        })
        .map_err(|error| doing(error.into()))?;
    }
    let count = |wanted: Reindexed| done.iter().filter(|(.., result)| *result == wanted).count();
    if args.json {
        let segments: Vec<Value> = done
            .iter()
            .map(|(class, number, generation, result)| {
                let class = class_word(*class);
                json!({ "class": class, "number": number, "generation": generation, "result": word(*result) })
            })
            .collect();
        say!("{}", json!({ "segments": segments }));
    } else {
        say!(
            "{}: {} as they were, {} rewritten, {} sealed, {} open, {} without packets",
            Counted(done.len() as u64, "segment"),
            count(Reindexed::Same),
            count(Reindexed::Rewritten),
            count(Reindexed::Sealed),
            count(Reindexed::Open),
            count(Reindexed::Empty)
        );
    }
    Ok(Code::Done)
}

const fn word(result: Reindexed) -> &'static str {
    match result {
        Reindexed::Same => "same",
        Reindexed::Rewritten => "rewritten",
        Reindexed::Sealed => "sealed",
        Reindexed::Open => "open",
        Reindexed::Empty => "empty",
    }
}
