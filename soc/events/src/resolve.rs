//! From a stamp to instants: which zone, which year, and what to do in the hours of a clock change.
//!
//! Zone: in the line, else the analyst's (`--tz`), else the source's, else the site's, else the line is refused.
//! Year: of last year, this year and next year the one with the latest instant that is at most a day ahead of the
//! present. A stamp in the hour that a clock change repeats means two instants; one in the hour that it leaves out is
//! searched on both sides.

use hindcap_wire::time::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

use crate::context::{Context, Zone};
use crate::reading::{Assumption, Kind};
use crate::stamp::{Moment, Stamp, Wall};

/// A day, nanoseconds.
const DAY_NANOS: u64 = 86_400 * 1_000_000_000;

/// Why a stamp has no instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unresolved {
    /// No zone is known.
    NoZone,
    /// No such day or hour, or before 1970.
    NoSuchTime,
}

/// The instants that `stamp` of `source` can mean, ascending, and what was assumed.
pub(crate) fn instants(
    stamp: &Stamp<'_>,
    source: Option<&str>,
    context: &Context,
    assumptions: &mut Vec<Assumption>,
) -> Result<Vec<Timestamp>, Unresolved> {
    let wall = match stamp.moment {
        Moment::Instant(at) => return Ok(vec![at]),
        Moment::Wall(wall) => wall,
    };
    let fixed;
    let rules = if let Some(seconds) = wall.offset {
        fixed = TimeZone::fixed(Offset::from_seconds(seconds).map_err(|_| Unresolved::NoSuchTime)?);
        &fixed
    } else {
        let (zone, origin) = zone_of(source, context).ok_or(Unresolved::NoZone)?;
        note(assumptions, Kind::Zone, format!("time zone {} taken from {origin}", zone.name()));
        &zone.rules
    };
    let (year, found) = match wall.year {
        Some(year) => (year, in_year(&wall, year, rules)),
        None => latest_year(&wall, rules, context.now).ok_or(Unresolved::NoSuchTime)?,
    };
    let (kind, instants) = found.ok_or(Unresolved::NoSuchTime)?;
    if wall.year.is_none() {
        note(assumptions, Kind::Year, format!("year {year} taken: the latest that is not in the future"));
    }
    match kind {
        Some(Kind::Fold) => note(
            assumptions,
            Kind::Fold,
            "the clocks went back and showed this time twice: both instants are searched".to_owned(),
        ),
        Some(Kind::Gap) => note(
            assumptions,
            Kind::Gap,
            "the clocks went forward and left this time out: both sides of it are searched".to_owned(),
        ),
        _ => {}
    }
    Ok(instants)
}

/// The instant of a stamp that needs neither zone nor year.
pub(crate) fn exact(stamp: &Stamp<'_>) -> Option<Timestamp> {
    let wall = match stamp.moment {
        Moment::Instant(at) => return Some(at),
        Moment::Wall(wall) => wall,
    };
    let rules = TimeZone::fixed(Offset::from_seconds(wall.offset?).ok()?);
    in_year(&wall, wall.year?, &rules)?.1.first().copied()
}

/// Adds an assumption once.
pub(crate) fn note(assumptions: &mut Vec<Assumption>, kind: Kind, text: String) {
    let assumption = Assumption { kind, text };
    if !assumptions.contains(&assumption) {
        assumptions.push(assumption);
    }
}

fn zone_of<'a>(source: Option<&str>, context: &'a Context) -> Option<(&'a Zone, String)> {
    if let Some(zone) = &context.zone {
        return Some((zone, "--tz".to_owned()));
    }
    let settings = source.and_then(|name| context.source(name));
    if let Some((settings, zone)) =
        settings.and_then(|source| source.zone.as_ref().map(|zone| (source, zone)))
    {
        return Some((zone, format!("the setting of the source {}", settings.name)));
    }
    context.site_zone.as_ref().map(|zone| (zone, "the setting of the site".to_owned()))
}

/// The instants of a wall clock and whether a clock change made them several.
type Found = (Option<Kind>, Vec<Timestamp>);

fn in_year(wall: &Wall, year: i16, rules: &TimeZone) -> Option<Found> {
    let date = Date::new(year, wall.month, wall.day).ok()?;
    let time = Time::new(wall.hour, wall.minute, wall.second, wall.nanos).ok()?;
    let at = DateTime::from_parts(date, time);
    let instant = |offset: Offset| {
        let nanos = offset.to_timestamp(at).ok()?.as_nanosecond();
        u64::try_from(nanos).ok().map(Timestamp)
    };
    let both = |before, after| -> Option<Vec<Timestamp>> {
        let mut instants = vec![instant(before)?, instant(after)?];
        instants.sort_unstable();
        Some(instants)
    };
    Some(match rules.to_ambiguous_timestamp(at).offset() {
        AmbiguousOffset::Unambiguous { offset } => (None, vec![instant(offset)?]),
        AmbiguousOffset::Fold { before, after } => (Some(Kind::Fold), both(before, after)?),
        AmbiguousOffset::Gap { before, after } => (Some(Kind::Gap), both(before, after)?),
    })
}

/// Of last year, this year and next year the latest that is at most a day ahead of `now`.
fn latest_year(wall: &Wall, rules: &TimeZone, now: Timestamp) -> Option<(i16, Option<Found>)> {
    let present = jiff::Timestamp::from_nanosecond(i128::from(now.0)).ok()?;
    let this = rules.to_datetime(present).year();
    let latest = now.plus_nanos(DAY_NANOS);
    [this.checked_add(1)?, this, this.checked_sub(1)?].into_iter().find_map(|year| {
        let found = in_year(wall, year, rules)?;
        let fits = found.1.first().is_some_and(|first| *first <= latest);
        fits.then_some((year, Some(found)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::Scan;
    use crate::stamp::syslog;

    fn context(now: &str, zone: &str) -> Context {
        let mut context = Context::new(now.parse().unwrap());
        context.zone = Some(Zone::new(zone).unwrap());
        context
    }

    fn resolved(stamp: &str, context: &Context) -> (Vec<String>, Vec<Kind>) {
        let mut assumptions = Vec::new();
        let stamp = syslog(&mut Scan::new(stamp)).unwrap();
        let instants = match instants(&stamp, Some("fw1"), context, &mut assumptions) {
            Ok(instants) => instants.iter().map(|at| at.to_string().replace(".000000000", "")).collect(),
            Err(error) => vec![format!("{error:?}")],
        };
        (instants, assumptions.iter().map(|assumption| assumption.kind).collect())
    }

    #[test]
    fn the_latest_year_that_is_not_in_the_future() {
        for (now, zone, stamp, expected) in [
            ("2026-06-01T00:00:00Z", "UTC", "May 16 11:49:05", "2026-05-16T11:49:05Z"),
            ("2026-06-01T00:00:00Z", "UTC", "Jun  1 23:59:59", "2026-06-01T23:59:59Z"),
            ("2026-06-01T00:00:00Z", "UTC", "Jun  2 00:00:01", "2025-06-02T00:00:01Z"),
            ("2026-01-01T00:30:00Z", "UTC", "Dec 31 23:59:00", "2025-12-31T23:59:00Z"),
            ("2025-12-31T23:30:00Z", "UTC", "Jan  1 00:10:00", "2026-01-01T00:10:00Z"),
            // In Auckland it is 2027 already.
            ("2026-12-31T12:00:00Z", "Pacific/Auckland", "Jan  1 01:00:00", "2026-12-31T12:00:00Z"),
            ("2026-12-31T12:00:00Z", "America/New_York", "Jan  1 01:00:00", "2027-01-01T06:00:00Z"),
            ("2025-06-01T00:00:00Z", "UTC", "Feb 29 12:00:00", "2024-02-29T12:00:00Z"),
            ("2026-06-01T00:00:00Z", "UTC", "Feb 29 12:00:00", "NoSuchTime"),
        ] {
            assert_eq!(resolved(stamp, &context(now, zone)).0, [expected], "{stamp} at {now}");
        }
    }

    #[test]
    fn both_instants_of_a_clock_change() {
        let berlin = context("2026-11-22T00:00:00Z", "Europe/Berlin");
        assert_eq!(
            resolved("Oct 25 02:30:00 2026", &berlin),
            (
                vec!["2026-10-25T00:30:00Z".into(), "2026-10-25T01:30:00Z".into()],
                vec![Kind::Zone, Kind::Fold]
            )
        );
        assert_eq!(
            resolved("Mar 29 02:30:00 2026", &berlin),
            (vec!["2026-03-29T00:30:00Z".into(), "2026-03-29T01:30:00Z".into()], vec![Kind::Zone, Kind::Gap])
        );
        assert_eq!(resolved("Oct 25 03:30:00", &berlin).0, ["2026-10-25T02:30:00Z"]);
    }

    #[test]
    fn the_nearest_zone_counts() {
        let mut context = Context::new("2026-06-01T00:00:00Z".parse().unwrap());
        assert_eq!(resolved("May 16 12:00:00", &context).0, ["NoZone"]);
        assert_eq!(resolved("May 16 12:00:00 UTC", &context).0, ["2026-05-16T12:00:00Z"]);
        context.site_zone = Some(Zone::new("+01:00").unwrap());
        assert_eq!(resolved("May 16 12:00:00", &context).0, ["2026-05-16T11:00:00Z"]);
        let zone = Some(Zone::new("+02:00").unwrap());
        context.sources.push(crate::Source { name: "FW1".into(), zone, ..crate::Source::default() });
        assert_eq!(resolved("May 16 12:00:00", &context).0, ["2026-05-16T10:00:00Z"]);
        context.zone = Some(Zone::new("+03:00").unwrap());
        assert_eq!(resolved("May 16 12:00:00", &context).0, ["2026-05-16T09:00:00Z"]);
        assert_eq!(resolved("May 16 12:00:00 UTC", &context).0, ["2026-05-16T12:00:00Z"]);
    }
}
