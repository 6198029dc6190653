//! A time that a person typed, as logs have it.

use hindcap_wire::time::Timestamp;

use crate::context::{Context, Zone};
use crate::resolve::{Unresolved, instants};
use crate::scan::Scan;
use crate::stamp;

/// How a time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeStyle {
    /// `2026-11-21 09:30:00`, with or without a zone; `2026-11-21` is its midnight.
    Iso,
    /// As Sourcefire does: `Wed Mar 31 13:24:36 2010 UTC`; the day of the week and the zone may lack.
    Sourcefire,
}

/// The instants that a wall clock showed `text`, ascending: one, or two around a clock change. The zone is the text's own, else
/// `zone`; a year that lacks is the latest that is not in the future of `now`.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn typed_time(
    text: &str,
    style: TimeStyle,
    zone: Option<&Zone>,
    now: Timestamp,
) -> Result<Vec<Timestamp>, String> {
    let text = text.trim();
    let midnight = format!("{text} 00:00:00");
    let text = if style == TimeStyle::Iso && text.len() == 10 { &midnight } else { text };
    let mut scan = Scan::new(text);
    let stamp = match style {
        TimeStyle::Iso => stamp::iso(&mut scan),
        TimeStyle::Sourcefire => {
            let mut ahead = scan;
            let has_weekday = ahead.while_fits(|c| c.is_ascii_alphabetic()).is_some() && ahead.blanks();
            // After a month comes a number, after the day of the week a month.
            if has_weekday && ahead.rest().starts_with(|c: char| c.is_ascii_alphabetic()) {
                scan = ahead;
            }
            stamp::syslog(&mut scan)
        }
    };
    let Some(stamp) = stamp.filter(|_| scan.rest().trim().is_empty()) else {
        return Err(match style {
            TimeStyle::Iso => "expected a time such as \"2026-11-21 09:30:00\"".into(),
            TimeStyle::Sourcefire => "expected a time such as \"Wed Mar 31 13:24:36 2010 UTC\"".into(),
        });
    };
    let context = Context { zone: zone.cloned(), ..Context::new(now) };
    instants(&stamp, None, &context, &mut Vec::new()).map_err(|unresolved| match unresolved {
        Unresolved::NoZone => "in which time zone? Say it with --tz".into(),
        Unresolved::NoSuchTime => "there is no such time".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str, style: TimeStyle, zone: &str) -> Result<Vec<String>, String> {
        let zone = Zone::new(zone).ok();
        let times = typed_time(text, style, zone.as_ref(), "2026-11-22T00:00:00Z".parse().unwrap())?;
        Ok(times.iter().map(|at| at.to_string().replace(".000000000", "")).collect())
    }

    #[test]
    fn times_as_people_type_them() {
        for (text, style, zone, expected) in [
            ("2026-07-01 10:00:00", TimeStyle::Iso, "Europe/Berlin", "2026-07-01T08:00:00Z"),
            ("2026-07-01", TimeStyle::Iso, "Europe/Berlin", "2026-06-30T22:00:00Z"),
            ("2026-07-01T10:00:00Z", TimeStyle::Iso, "Europe/Berlin", "2026-07-01T10:00:00Z"),
            ("Wed Mar 31 13:24:36 2010 UTC", TimeStyle::Sourcefire, "Europe/Berlin", "2010-03-31T13:24:36Z"),
            ("Wed Mar 31 13:24:36 2010", TimeStyle::Sourcefire, "Europe/Berlin", "2010-03-31T11:24:36Z"),
            ("Mar 31 13:24:36 2010 UTC", TimeStyle::Sourcefire, "", "2010-03-31T13:24:36Z"),
        ] {
            assert_eq!(typed(text, style, zone), Ok(vec![expected.to_owned()]), "{text}");
        }
        let twice = typed("2026-10-25 02:30:00", TimeStyle::Iso, "Europe/Berlin").unwrap();
        assert_eq!(twice, ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"]);
        for (text, words) in [
            ("Wed Mar 31 13:24:36 2010", "--tz"),
            ("Wed Mar 32 13:24:36 2010 UTC", "expected"),
            ("Wed Feb 30 13:24:36 2010 UTC", "no such time"),
            ("1269259953", "expected"),
            ("Wed Mar 31 13:24:36 2010 UTC x", "expected"),
        ] {
            let error = typed(text, TimeStyle::Sourcefire, "").unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
