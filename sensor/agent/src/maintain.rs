//! `hindcapd verify` and `reindex`: whether the store is whole, and its indexes built anew from the packets.

use hindcap_store::verify::{SegmentKind, SegmentReport, verify as look};
use hindcap_store::{Reading, Reindexed, Store, StoreOptions, StoreSize, open_reader, reindex as rebuild};
use serde_json::{Value, json};

use crate::cli::WholeStoreArgs;
use crate::clock::{monotonic_nanos, wall};
use crate::exit::{Code, Failure};

/// Looks at every segment: batches, indexes, hashes, chain. Reads only, beside a recorder.
///
/// # Errors
/// There is no store.
pub fn verify(args: &WholeStoreArgs) -> Result<Code, Failure> {
    let (volume, state) =
        open_reader(&args.store.store).map_err(|error| Failure::from(error).doing("verify"))?;
    let mut reports = Vec::new();
    look(&volume, &state, |report| {
        if !args.json {
            print(&report);
        }
        reports.push(report);
    });
    let findings: usize = reports.iter().map(|report| report.findings.len()).sum();
    let packets: u64 = reports.iter().map(|report| report.packets).sum();
    if args.json {
        let segments: Vec<Value> = reports.iter().map(as_json).collect();
        println!("{}", json!({ "segments": segments, "packets": packets, "findings": findings }));
    } else {
        let verdict = match findings {
            0 => "all is well".to_owned(),
            1 => "1 finding".to_owned(),
            _ => format!("{findings} findings"),
        };
        println!("{} segments, {packets} packets: {verdict}", reports.len());
    }
    Ok(if findings == 0 { Code::Done } else { Code::Partial })
}

fn print(report: &SegmentReport) {
    for finding in &report.findings {
        println!("segment {:06} (generation {}): {finding}", report.number, report.generation);
    }
}

fn as_json(report: &SegmentReport) -> Value {
    let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    json!({
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
    rebuild(&mut store, now, |number, generation, result| done.push((number, generation, result)))
        .map_err(|error| doing(error.into()))?;
    let count = |wanted: Reindexed| done.iter().filter(|(_, _, result)| *result == wanted).count();
    if args.json {
        let segments: Vec<Value> = done
            .iter()
            .map(|(number, generation, result)| {
                json!({ "number": number, "generation": generation, "result": word(*result) })
            })
            .collect();
        println!("{}", json!({ "segments": segments }));
    } else {
        println!(
            "{} segments: {} as they were, {} rewritten, {} sealed, {} open, {} without packets",
            done.len(),
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
