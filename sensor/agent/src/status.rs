//! `hindcapd status`: how far a store reaches and how it does, at any time, beside a running recorder.

use hindcap_wire::counted::Counted;
use hindcap_wire::message::answer::Bytes;
use hindcap_wire::message::{CardStatus, HeldStatus, WearStatus};
use hindcap_wire::policy::PolicyStep;

use crate::cli::WholeStoreArgs;
use crate::clock::wall;
use crate::exit::{Code, Failure};
use crate::report::{StoreReport, ago, between, store_report};

/// Prints the status.
///
/// # Errors
/// There is no store, or it cannot be read.
pub fn status(args: &WholeStoreArgs) -> Result<Code, Failure> {
    let report = match store_report(&args.store.store) {
        Ok(report) => report,
        Err(error) => {
            let (failure, card) = *error;
            if args.json {
                let path = args.store.store.display().to_string();
                let error = failure.to_string();
                say!("{}", serde_json::json!({ "path": path, "store": null, "error": error, "card": card }));
            }
            return Err(failure.doing("status"));
        }
    };
    if args.json {
        say!("{}", serde_json::to_string(&report)?);
    } else {
        print(&report);
    }
    Ok(Code::Done)
}

fn print(report: &StoreReport) {
    let store = &report.store;
    say!("store       {}", report.path);
    match report.writer_pid {
        Some(pid) => say!("writer      pid {pid}"),
        None => say!("writer      none"),
    }
    say!(
        "size        {}: {} of {} of {} in use",
        Bytes(store.quota_bytes),
        store.segments,
        Counted(report.segments_total.into(), "segment"),
        Bytes(report.segment_bytes.into())
    );
    match (store.oldest, store.newest) {
        (Some(oldest), Some(newest)) => {
            say!("oldest      {oldest}");
            say!("newest      {newest} ({} ago)", between(newest, wall()));
            say!("window      {}", between(oldest, newest));
        }
        _ => say!("window      nothing recorded yet"),
    }
    if let Some(secs) = store.retention_forecast_secs {
        say!("forecast    {} when full, at the rate of late", ago(secs.saturating_mul(1_000_000_000)));
    }
    say!("packets     {}, {}", report.packets, Bytes(report.captured_bytes));
    match &report.events {
        None => say!("event ring  none: sessions cannot be pinned in this store"),
        Some(events) => {
            let (used, quota) = (Bytes(events.used_bytes), Bytes(events.quota_bytes));
            let since = events.oldest.map_or_else(String::new, |oldest| format!(" since {oldest}"));
            say!("event ring  {used} of {quota}, {}{since}", Counted(events.packets, "packet"));
            say!(
                "pins        {} active, {} ({}) copied",
                events.pins_active,
                Counted(events.packets_copied, "packet"),
                Bytes(events.bytes_copied)
            );
            if let Some(secs) = events.max_age_secs {
                say!(
                    "            copies older than {} are not given out and removed",
                    ago(secs.saturating_mul(1_000_000_000))
                );
            }
            if events.segments_missed > 0 {
                say!(
                    "            overwritten before it was copied: {}",
                    Counted(events.segments_missed, "segment")
                );
            }
        }
    }
    let card = report.card.iter().flat_map(CardStatus::lines);
    for (name, text) in card.chain(report.wear.iter().flat_map(WearStatus::lines)) {
        say!("{name:<11} {text}");
    }
    say!("dropped     {}", report.drops_total);
    if let Some(PolicyStep { since, policy }) = &report.policy {
        say!("policy      {policy}; {} since {since}", policy.reason.name());
        if policy.skip_rules > 0 {
            say!("            (what skip rules leave out in the kernel is not counted)");
        }
    }
    if report.policy.is_some() || !report.left_out.is_none() {
        say!("left out    {}, of what is stored", report.left_out);
    }
    print_held(&report.held);
    if report.segments_damaged > 0 {
        let damaged = Counted(report.segments_damaged.into(), "segment");
        say!("damaged     {damaged}: see 'hindcapd verify'");
    }
    if report.segments_without_flows > 0 {
        say!(
            "slow        {} without flow records, of which queries read everything: 'hindcapd reindex' helps",
            Counted(report.segments_without_flows.into(), "segment")
        );
    }
    say!("clock       {}", report.clock);
}

fn print_held(held: &HeldStatus) {
    say!("held        {}", held.share);
    if let Some(expiry) = held.next_expiry {
        say!("next end    {expiry}");
    }
    let age = |secs: u64| ago(secs.saturating_mul(1_000_000_000));
    if let Some(secs) = held.max_age_secs {
        say!("oldest age  {}: older packets are not given out and removed", age(secs));
    }
    if let Some(secs) = held.min_age_secs {
        say!("least age   {} are asked for", age(secs));
    }
}
