//! What people type: the flags of a query, one a line. Times and networks that are read print as what reads the same.
#![no_main]

use clap::{Args, Command, FromArgMatches};
use hindcap_args::{QueryArgs, parse_duration, parse_when};
use hindcap_wire::community_id::CommunityId;
use hindcap_wire::net::{IpNet, MacAddr};
use hindcap_wire::packet::{Dissection, LinkType, dissect};
use hindcap_wire::query::{Matcher, Query};
use hindcap_wire::time::Timestamp;
use libfuzzer_sys::fuzz_target;

fn same<T: std::str::FromStr + ToString + PartialEq + std::fmt::Debug>(text: &str)
where
    T::Err: std::fmt::Debug,
{
    if let Ok(value) = text.parse::<T>() {
        let printed = value.to_string();
        assert_eq!(printed.parse::<T>().expect("what was printed can be read"), value, "{text:?}: {printed}");
    }
}

const FRAME: &[u8] = &[
    2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0, 0, 7, 8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0,
    0, 1, 192, 0, 2, 1, 4, 1, 0, 53, 0, 8, 0, 0,
];

fn ask(query: &Query) {
    let Ok(matcher) = Matcher::new(query) else { return };
    let mut found = Dissection::default();
    dissect(LinkType::ETHERNET, FRAME, FRAME.len() as u32, &mut found);
    if matcher.matches(Timestamp(1_700_000_000_000_000_000), &found) {
        assert!(matcher.matches_frame(&found));
    }
    let _ = (matcher.asks_for_ports(), matcher.without_ports(), matcher.layer_of(&found).is_some());
}

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let _ = (parse_duration(text), parse_when(text));
    same::<Timestamp>(text);
    same::<IpNet>(text);
    same::<MacAddr>(text);
    same::<CommunityId>(text);
    let command = QueryArgs::augment_args(Command::new("query").no_binary_name(true));
    let words = text.split('\n').filter(|word| !matches!(*word, "-h" | "--help"));
    let Ok(matches) = command.try_get_matches_from(words) else { return };
    let Ok(args) = QueryArgs::from_arg_matches(&matches) else { return };
    if let Ok(query) = args.query(Timestamp(1_700_000_000_000_000_000)) {
        assert!(query.validate().is_ok());
        ask(&query);
    }
});
