//! `hindcapd status`: how far a store reaches and how it does, at any time, beside a running recorder.

use hindcap_wire::message::HeldStatus;
use hindcap_wire::message::answer::Bytes;

use crate::cli::WholeStoreArgs;
use crate::clock::wall;
use crate::exit::{Code, Failure};
use crate::report::{PolicyInForce, StoreReport, ago, between, store_report};
use crate::wear;

/// Prints the status.
///
/// # Errors
/// There is no store, or it cannot be read.
pub fn status(args: &WholeStoreArgs) -> Result<Code, Failure> {
    let report = match store_report(&args.store.store) {
        Ok(report) => report,
        Err(failure) => {
            if args.json {
                let path = args.store.store.display().to_string();
                println!(
                    "{}",
                    serde_json::json!({ "path": path, "store": null, "error": failure.to_string() })
                );
            }
            return Err(failure.doing("status"));
        }
    };
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print(&report);
    }
    Ok(Code::Done)
}

fn print(report: &StoreReport) {
    let store = &report.store;
    println!("store       {}", report.path);
    match report.writer_pid {
        Some(pid) => println!("writer      pid {pid}"),
        None => println!("writer      none"),
    }
    println!(
        "size        {}: {} of {} segments of {} are in use",
        Bytes(store.quota_bytes),
        store.segments,
        report.segments_total,
        Bytes(report.segment_bytes.into())
    );
    match (store.oldest, store.newest) {
        (Some(oldest), Some(newest)) => {
            println!("oldest      {oldest}");
            println!("newest      {newest} ({} ago)", between(newest, wall()));
            println!("window      {}", between(oldest, newest));
        }
        _ => println!("window      nothing recorded yet"),
    }
    if let Some(secs) = store.retention_forecast_secs {
        println!("forecast    {} when full, at the rate of late", ago(secs.saturating_mul(1_000_000_000)));
    }
    println!("packets     {}, {}", report.packets, Bytes(report.captured_bytes));
    match &report.events {
        None => println!("event ring  none: sessions cannot be pinned in this store"),
        Some(events) => {
            let (used, quota) = (Bytes(events.used_bytes), Bytes(events.quota_bytes));
            let since = events.oldest.map_or_else(String::new, |oldest| format!(" since {oldest}"));
            println!("event ring  {used} of {quota}, {} packets{since}", events.packets);
            println!(
                "pins        {} active, {} packets ({}) copied",
                events.pins_active,
                events.packets_copied,
                Bytes(events.bytes_copied)
            );
            if events.segments_missed > 0 {
                println!(
                    "            {} segments were overwritten before they were copied",
                    events.segments_missed
                );
            }
        }
    }
    for (name, text) in wear::lines(&report.wear) {
        println!("{name:<11} {text}");
    }
    println!("dropped     {}", report.drops_total);
    if let Some(PolicyInForce { since, policy, left_out }) = &report.policy {
        println!("policy      {policy}; {} since {since}", policy.reason.name());
        println!("left out    {left_out}, in the newest segment");
        if policy.skip_rules > 0 {
            println!("            (what skip rules leave out in the kernel is not counted)");
        }
    }
    print_held(&report.held);
    if report.segments_damaged > 0 {
        println!("damaged     {} segments: see 'hindcapd verify'", report.segments_damaged);
    }
    if report.segments_without_flows > 0 {
        println!(
            "slow        {} segments have no flow records, queries read all of each: 'hindcapd reindex' helps",
            report.segments_without_flows
        );
    }
    println!("clock       {}", report.clock.name());
}

fn print_held(held: &HeldStatus) {
    println!("held        {}", held.share);
    if let Some(expiry) = held.next_expiry {
        println!("next end    {expiry}");
    }
    let age = |secs: u64| ago(secs.saturating_mul(1_000_000_000));
    if let Some(secs) = held.max_age_secs {
        println!("oldest age  {}: older packets are not given out and removed", age(secs));
    }
    if let Some(secs) = held.min_age_secs {
        println!("least age   {} are asked for", age(secs));
    }
}
