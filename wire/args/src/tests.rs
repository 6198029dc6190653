use clap::Parser;

use super::*;

#[derive(Parser, Debug)]
struct Command {
    #[command(flatten)]
    query: QueryArgs,
}

const NOW: Timestamp = Timestamp(1_795_253_400_000_000_000); // 2026-11-21T09:30:00Z
const SECOND: u64 = 1_000_000_000;

fn query(flags: &[&str]) -> Result<Query, String> {
    let command = Command::try_parse_from(["x"].iter().chain(flags)).map_err(|err| err.to_string())?;
    command.query.query(NOW).map_err(|err| err.to_string())
}

fn window(flags: &[&str]) -> (u64, u64) {
    let time = query(flags).unwrap().time;
    (time.start.0, time.end.0)
}

#[test]
fn no_flags_mean_everything() {
    assert_eq!(query(&[]).unwrap(), Query::default());
}

#[test]
fn times_absolute_and_relative() {
    let hour_ago = NOW.0 - 3_600 * SECOND;
    for start in ["2026-11-21T08:30:00Z", "2026-11-21 08:30:00", "2026-11-21 09:30+01:00", "1795249800", "1h"]
    {
        assert_eq!(window(&["--start", start]), (hour_ago, u64::MAX), "{start}");
    }
    assert_eq!(window(&["--start", "2h", "--end", "60m"]), (hour_ago - 3_600 * SECOND, hour_ago));
    assert_eq!(window(&["--end", "now"]), (0, NOW.0));
    assert_eq!(window(&["--last", "90s"]), (NOW.0 - 90 * SECOND, NOW.0));
    assert_eq!(window(&["--at", "1795253400.5"]), (NOW.0 - 59_500_000_000, NOW.0 + 60_500_000_001));
    assert_eq!(window(&["--at", "now", "--pad", "0s"]), (NOW.0, NOW.0 + 1));
    assert_eq!(window(&["--at", "now", "--pad", "1.5d"]).0, NOW.0 - 129_600 * SECOND);
}

#[test]
fn every_condition_arrives() {
    let flags = "--host 192.0.2.1 --net 2001:db8::/32 --port 443 --port 40000 --src-addr 10.0.0.0/8 --dst-addr 10.1.1.1 \
                 --src-port 1 --dst-port 2 --proto TCP --vlan 7 --mac 02:00:5e:10:00:01 --session \
                 --community-id 1:LQU9qZlK+B5F3KDmev6m5PMibrg=";
    let mut flags: Vec<&str> = flags.split_whitespace().collect();
    flags.extend(["--filter", "tcp[13] & 2 != 0"]);
    let expected = Query {
        time: TimeRange::ALL,
        nets: vec!["192.0.2.1".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
        ports: vec![443, 40_000],
        src: End { net: Some("10.0.0.0/8".parse().unwrap()), port: Some(1) },
        dst: End { net: Some("10.1.1.1".parse().unwrap()), port: Some(2) },
        proto: Some(6),
        vlan: Some(7),
        mac: Some("02:00:5e:10:00:01".parse().unwrap()),
        community_id: Some("1:LQU9qZlK+B5F3KDmev6m5PMibrg=".into()),
        filter: Some("tcp[13] & 2 != 0".into()),
        session: true,
        or: Vec::new(),
    };
    assert_eq!(query(&flags).unwrap(), expected);
    assert_eq!(query(&["--proto", "132"]).unwrap().proto, Some(132));
    assert_eq!(query(&["--proto", "icmp6"]).unwrap().proto, Some(58));
}

#[test]
fn what_cannot_be_meant_is_said() {
    for (flags, words) in [
        (&["--start", "1h", "--end", "2h"][..], "is not after its start"),
        (&["--start", "yesterday"], "expected a time such as"),
        (&["--start", "2026-02-30"], "expected a time such as"),
        (&["--last", "90"], "expected a duration such as 90s"),
        (&["--last", "1y"], "expected a duration such as 90s"),
        (&["--last=-5m"], "expected a duration"),
        (&["--at", "now", "--last", "1h"], "cannot be used with"),
        (&["--pad", "1s"], "--at"),
        (&["--host", "10.0.0.0/8"], "blocks go with --net"),
        (&["--host", "1.1.1.1", "--host", "2.2.2.2", "--net", "3.0.0.0/8"], "a packet has 2 ends"),
        (&["--port", "1", "--port", "2", "--port", "3"], "a packet has 2 ends"),
        (&["--port", "65536"], "65536 is not in 0..=65535"),
        (&["--port", "53", "--proto", "icmp"], "has no ports"),
        (&["--proto", "http"], "expected a protocol name"),
        (&["--vlan", "4096"], "not a VLAN identifier"),
        (&["--mac", "x"], "expected a MAC address"),
        (&["--community-id", "2:x"], "not a Community ID"),
        (&["--hots", "1.1.1.1"], "--host"),
    ] {
        let error = query(flags).unwrap_err();
        assert!(error.contains(words), "{flags:?}: {error}");
    }
}

#[test]
fn durations_have_units_and_bounds() {
    for (text, nanos) in [
        ("500ms", SECOND / 2),
        ("90s", 90 * SECOND),
        ("0.5m", 30 * SECOND),
        ("1w", 604_800 * SECOND),
        ("0s", 0),
    ] {
        assert_eq!(parse_duration(text), Ok(Nanos(nanos)), "{text}");
    }
    for text in ["", "s", "5", "5 s", "1e3s", "5min", ".5s", "5.s", "99999999999d", "1.0000000001s"] {
        assert!(parse_duration(text).is_err(), "{text}");
    }
}

#[test]
fn sizes_have_units_and_bounds() {
    for (text, bytes) in
        [("0", 0), ("4096", 4096), ("64KiB", 65_536), ("10 MB", 10_000_000), ("1.5GiB", 3 << 29)]
    {
        assert_eq!(parse_size(text), Ok(bytes), "{text}");
    }
    for text in ["", "x", "-1", "1XB", "1e3", "16777217TiB", "1.B"] {
        assert!(parse_size(text).is_err(), "{text}");
    }
}
