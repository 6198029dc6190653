//! Log lines as pasted: no panic, spans inside the line, queries that can be asked, IPv4 addresses that stand in the line.
#![no_main]

use hindcap_events::{Context, Source, Zone, parse};
use hindcap_wire::time::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut context = Context::new(Timestamp(1_780_272_000_000_000_000));
    context.zone = Zone::new("Europe/Berlin").ok();
    let addresses = vec!["192.0.2.1".parse().expect("an address"), "2001:db8::1".parse().expect("an address")];
    context.sources.push(Source { name: "h".into(), addresses, ..Source::default() });
    let Ok(reading) = parse(input, &context) else { return };
    for span in &reading.spans {
        assert!(span.bytes.start < span.bytes.end && span.bytes.end <= input.len());
    }
    for query in reading.queries(60_000_000_000) {
        assert!(query.validate().is_ok());
    }
    assert!(!reading.queries(0).is_empty() || reading.times.is_empty());
});
