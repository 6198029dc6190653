use super::*;

fn show(stamp: &Stamp<'_>) -> String {
    match stamp.moment {
        Moment::Instant(at) => format!("{at} /{}", stamp.unit_nanos),
        Moment::Wall(wall) => {
            let Wall { year, month, day, hour, minute, second, nanos, offset } = wall;
            let year = year.map_or("?".into(), |year| year.to_string());
            let offset = offset.map_or("?".into(), |offset| offset.to_string());
            format!("{year}-{month}-{day} {hour}:{minute}:{second}.{nanos} {offset} /{}", stamp.unit_nanos)
        }
    }
}

type Reader = for<'a> fn(&mut Scan<'a>) -> Option<Stamp<'a>>;

fn read(reader: Reader, text: &str) -> (String, String) {
    let mut scan = Scan::new(text);
    let shown = reader(&mut scan).map_or("-".into(), |stamp| show(&stamp));
    (shown, scan.rest().to_owned())
}

#[test]
fn iso_with_and_without_zone() {
    for (text, shown, rest) in [
        ("2026-11-21 09:30:00 x", "2026-11-21 9:30:0.0 ? /1000000000", " x"),
        ("2026-11-21T09:30:00.5Z", "2026-11-21 9:30:0.500000000 0 /100000000", ""),
        ("2017-04-07T22:24:37.251547+0100", "2017-4-7 22:24:37.251547000 3600 /1000", ""),
        ("2026-11-21 09:30:00,123 -07:30]", "2026-11-21 9:30:0.123000000 -27000 /1000000", "]"),
        ("2026/11/21 09:30:00", "2026-11-21 9:30:0.0 ? /1000000000", ""),
        ("2026-11-21 09:30:00 UTC: x", "2026-11-21 9:30:0.0 0 /1000000000", ": x"),
        ("2016-12-31T23:59:60Z", "2016-12-31 23:59:59.0 0 /2000000000", ""),
    ] {
        assert_eq!(read(iso, text), (shown.to_owned(), rest.to_owned()), "{text}");
    }
    for text in [
        "2026-13-01 09:30:00",
        "2026-11-21",
        "2026-11-21 24:00:00",
        "26-11-21 09:30:00",
        "2026-11/21 09:30:00",
    ] {
        assert_eq!(read(iso, text).0, "-", "{text}");
    }
}

#[test]
fn syslog_with_the_year_on_either_side() {
    for (text, shown, rest) in [
        ("May  3 15:16:30 host", "?-5-3 15:16:30.0 ? /1000000000", " host"),
        ("Nov 21 2026 09:30:00: x", "2026-11-21 9:30:0.0 ? /1000000000", ": x"),
        ("Nov 21 09:30:00 2026 UTC x", "2026-11-21 9:30:0.0 0 /1000000000", " x"),
        ("Nov 21 09:30:00.123 UTC: x", "?-11-21 9:30:0.123000000 0 /1000000", ": x"),
        ("Nov 21 09:30:00 2026host", "?-11-21 9:30:0.0 ? /1000000000", " 2026host"),
    ] {
        assert_eq!(read(syslog, text), (shown.to_owned(), rest.to_owned()), "{text}");
    }
    assert_eq!(read(syslog, "Nox 21 09:30:00").0, "-");
    assert_eq!(read(syslog, "Nov 32 09:30:00").0, "-");
}

#[test]
fn alerts_in_every_order() {
    let read = |text: &str| -> Vec<String> {
        alert(&mut Scan::new(text)).unwrap_or_default().iter().map(show).collect()
    };
    assert_eq!(read("05/14-09:01:49.390801"), ["?-5-14 9:1:49.390801000 ? /1000"]);
    assert_eq!(read("05/14/2024-09:01:49.390801"), ["2024-5-14 9:1:49.390801000 ? /1000"]);
    assert_eq!(read("24/05/14-09:01:49.390801"), ["2024-5-14 9:1:49.390801000 ? /1000"]);
    assert_eq!(read("05/24/14-09:01:49.390801"), ["2014-5-24 9:1:49.390801000 ? /1000"]);
    assert_eq!(read("5/3-10-14:05"), ["2010-5-3 14:5:0.0 ? /60000000000"]);
    assert_eq!(read("5/3/10-14:05"), ["2010-5-3 14:5:0.0 ? /60000000000"]);
    assert_eq!(
        read("10/11/12-01:02:03"),
        ["2010-11-12 1:2:3.0 ? /1000000000", "2012-10-11 1:2:3.0 ? /1000000000"]
    );
    assert_eq!(read("11/11/11-01:02:03").len(), 1);
    assert!(read("13/40-01:02:03").is_empty() && read("05/14 09:01:49").is_empty());
}

#[test]
fn counts_since_1970_by_size() {
    for (text, expected) in [
        ("1274864808", "2010-05-26T09:06:48.000000000Z /1000000000"),
        ("1522836617.11", "2018-04-04T10:10:17.110000000Z /10000000"),
        ("1410118731.439740", "2014-09-07T19:38:51.439740000Z /1000"),
        ("1585525290513", "2020-03-29T23:41:30.513000000Z /1000000"),
        ("1585525290513555", "2020-03-29T23:41:30.513555000Z /1000"),
        ("1585525290513555981", "2020-03-29T23:41:30.513555981Z /1"),
        ("1585525290513.25", "2020-03-29T23:41:30.513250000Z /10000"),
    ] {
        assert_eq!(epoch(text).map_or("-".into(), |stamp| show(&stamp)), expected, "{text}");
    }
    for text in ["12345678", "123456789012", "1e9", "99999999999", "1274864808x", "0123456789"] {
        assert!(epoch(text).is_none(), "{text}");
    }
}

#[test]
fn web_stamps_and_lengths() {
    assert_eq!(read(web, "21/Nov/2026:09:30:00 +0100] x").0, "2026-11-21 9:30:0.0 3600 /1000000000");
    assert_eq!(length("1:02:03"), Some(3_723 * NANOS_PER_SEC));
    assert_eq!((length("1:2:03"), length("0:00:60")), (None, None));
    assert_eq!(seconds("0.5"), Some(500_000_000));
    assert_eq!((seconds("-1"), seconds("1e3")), (None, None));
}
