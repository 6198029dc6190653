//! Stamps as logs write them. A stamp is either an instant (the line has the zone, or it counts from 1970) or a reading
//! of a wall clock, which [`crate::resolve`] turns into instants with the zone and the year that the context gives.

use hindcap_wire::time::{NANOS_PER_SEC, Timestamp};

use crate::scan::{Scan, up_to};

/// What one stamp says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp<'a> {
    pub(crate) moment: Moment,
    /// The unit of its last digit, nanoseconds: the instant lies within so much after.
    pub(crate) unit_nanos: u64,
    /// Where it stood.
    pub(crate) text: &'a str,
}

/// An instant, or a reading of a wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Instant(Timestamp),
    Wall(Wall),
}

/// What a wall clock showed. Ranges of the fields are checked against the calendar later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wall {
    pub(crate) year: Option<i16>,
    pub(crate) month: i8,
    pub(crate) day: i8,
    pub(crate) hour: i8,
    pub(crate) minute: i8,
    pub(crate) second: i8,
    pub(crate) nanos: i32,
    /// Seconds east of UTC, when the line says so.
    pub(crate) offset: Option<i32>,
}

impl<'a> Stamp<'a> {
    /// An instant that the line gives exactly.
    pub(crate) const fn instant(at: Timestamp, unit_nanos: u64, text: &'a str) -> Self {
        Self { moment: Moment::Instant(at), unit_nanos, text }
    }

    const fn wall(wall: Wall, unit_nanos: u64, text: &'a str) -> Self {
        Self { moment: Moment::Wall(wall), unit_nanos, text }
    }

    /// This stamp, `seconds` east of UTC.
    pub(crate) const fn at_offset(self, seconds: i32) -> Self {
        match self.moment {
            Moment::Wall(wall) => {
                Self { moment: Moment::Wall(Wall { offset: Some(seconds), ..wall }), ..self }
            }
            Moment::Instant(_) => self,
        }
    }
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// The month of an English name of three letters.
fn month(name: &str) -> Option<i8> {
    let at = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(name))?;
    i8::try_from(at + 1).ok()
}

/// `[+-]hh:mm`, `[+-]hhmm` or `[+-]hh`, seconds east of UTC; `UTC`, `GMT` and `Z` are zero.
pub(crate) fn offset_seconds(text: &str) -> Option<i32> {
    if matches!(text, "UTC" | "GMT" | "Z") {
        return Some(0);
    }
    let mut scan = Scan::new(text);
    let sign = if scan.maybe("+") { 1 } else { scan.word("-").map(|()| -1)? };
    let hours = scan.exactly(2)?;
    let minutes = if scan.is_done() {
        0
    } else {
        scan.maybe(":");
        scan.exactly(2)?
    };
    let seconds = i32::try_from(hours * 3_600 + minutes * 60).ok()?;
    (scan.is_done() && hours <= 15 && minutes <= 59).then_some(sign * seconds)
}

/// `hh:mm:ss` with an optional fraction after `.` or `,`; with `short`, `hh:mm` too. Returns the unit.
fn clock(scan: &mut Scan<'_>, wall: &mut Wall, short: bool) -> Option<u64> {
    let two = |scan: &mut Scan<'_>, most: u64| -> Option<i8> {
        i8::try_from(scan.number(1, 2).filter(|value| *value <= most)?).ok()
    };
    wall.hour = two(scan, 23)?;
    scan.word(":")?;
    wall.minute = two(scan, 59)?;
    if short && !scan.rest().starts_with(':') {
        return Some(60 * NANOS_PER_SEC);
    }
    scan.word(":")?;
    wall.second = two(scan, 60)?;
    // A leap second: the second before it, and it, are both meant.
    let leap = wall.second == 60;
    wall.second = wall.second.min(59);
    let unit = fraction(scan, &mut wall.nanos);
    Some(if leap { 2 * NANOS_PER_SEC } else { unit })
}

/// An optional fraction of a second; digits after the ninth are cut. Returns the unit.
fn fraction(scan: &mut Scan<'_>, nanos: &mut i32) -> u64 {
    let mut ahead = *scan;
    if !(ahead.maybe(".") || ahead.maybe(",")) {
        return NANOS_PER_SEC;
    }
    let Some(digits) = ahead.digits(1, 30) else { return NANOS_PER_SEC };
    *scan = ahead;
    let kept = digits.get(..9).unwrap_or(digits);
    let places = u32::try_from(kept.len()).unwrap_or(9);
    let unit = 10_u64.pow(9 - places);
    let value = kept.parse::<u64>().unwrap_or(0) * unit;
    *nanos = i32::try_from(value).unwrap_or(0);
    unit
}

fn calendar(wall: &mut Wall, year: Option<u64>, month: u64, day: u64) -> Option<()> {
    wall.year = year.map(i16::try_from).transpose().ok()?;
    wall.month = i8::try_from(month).ok().filter(|month| (1..=12).contains(month))?;
    wall.day = i8::try_from(day).ok().filter(|day| (1..=31).contains(day))?;
    Some(())
}

/// The offset right after a time, or after one blank: `Z`, `+0100`, `+01:00`, ` +0100`, ` UTC`. Not there is no fault.
fn offset(scan: &mut Scan<'_>) -> Option<i32> {
    let mut ahead = *scan;
    let spaced = ahead.maybe(" ");
    let word = ahead.while_fits(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | ':'))?;
    let word = if spaced { word.trim_end_matches(':') } else { word };
    // A colon after the zone belongs to the envelope.
    let found = offset_seconds(word)?;
    scan.until(word)?;
    Some(found)
}

/// `2026-11-21 09:30:00`, `2026-11-21T09:30:00.5Z`, `2026/11/21 09:30:00`, each with an optional zone.
pub(crate) fn iso<'a>(scan: &mut Scan<'a>) -> Option<Stamp<'a>> {
    let from = scan.rest();
    let mut wall = Wall::default();
    let year = scan.exactly(4)?;
    let dash = if scan.maybe("-") { "-" } else { scan.word("/").map(|()| "/")? };
    let month = scan.exactly(2)?;
    scan.word(dash)?;
    let day = scan.exactly(2)?;
    calendar(&mut wall, Some(year), month, day)?;
    if !(scan.maybe("T") || scan.maybe("t")) {
        scan.blanks().then_some(())?;
    }
    let unit = clock(scan, &mut wall, false)?;
    wall.offset = offset(scan);
    Some(Stamp::wall(wall, unit, up_to(from, scan.rest())))
}

/// A date `2026-11-21` and a time `09:30:00` that stand apart; the time stands for both.
pub(crate) fn parts<'a>(date: &str, time: &'a str) -> Option<Stamp<'a>> {
    let (mut wall, mut scan) = (Wall::default(), Scan::new(date));
    let year = scan.exactly(4)?;
    scan.word("-")?;
    let month = scan.exactly(2)?;
    scan.word("-")?;
    let day = scan.exactly(2)?;
    calendar(&mut wall, Some(year), month, day)?;
    let done = scan.is_done();
    let mut scan = Scan::new(time);
    let unit = clock(&mut scan, &mut wall, false)?;
    (done && scan.is_done()).then_some(Stamp::wall(wall, unit, time))
}

/// `Nov 21 09:30:00`, `Nov  1 09:30:00.123`, `Nov 21 2026 09:30:00`, `Nov 21 09:30:00 2026`, each with an optional zone.
pub(crate) fn syslog<'a>(scan: &mut Scan<'a>) -> Option<Stamp<'a>> {
    let from = scan.rest();
    let mut wall = Wall::default();
    let month = month(scan.while_fits(|c| c.is_ascii_alphabetic())?)?;
    scan.blanks().then_some(())?;
    let day = scan.number(1, 2)?;
    scan.blanks().then_some(())?;
    let mut ahead = *scan;
    let mut year = ahead.exactly(4).filter(|_| ahead.blanks());
    if year.is_some() {
        *scan = ahead;
    }
    let unit = clock(scan, &mut wall, false)?;
    wall.offset = offset(scan);
    let mut ahead = *scan;
    if year.is_none() && ahead.blanks() {
        year = ahead
            .digits(4, 4)
            .and_then(|digits| digits.parse().ok())
            .filter(|year| (1990..=2100).contains(year));
        let whole = ahead.is_done() || ahead.rest().starts_with([' ', ':']);
        if year.is_some() && whole {
            *scan = ahead;
            wall.offset = wall.offset.or_else(|| offset(scan));
        } else {
            year = None;
        }
    }
    calendar(&mut wall, year, u64::from(month.unsigned_abs()), day)?;
    Some(Stamp::wall(wall, unit, up_to(from, scan.rest())))
}

/// `21/Nov/2026:09:30:00 +0100`, as web servers write it.
pub(crate) fn web<'a>(scan: &mut Scan<'a>) -> Option<Stamp<'a>> {
    let from = scan.rest();
    let mut wall = Wall::default();
    let day = scan.number(1, 2)?;
    scan.word("/")?;
    let month = month(scan.while_fits(|c| c.is_ascii_alphabetic())?)?;
    scan.word("/")?;
    let year = scan.exactly(4)?;
    scan.word(":")?;
    let unit = clock(scan, &mut wall, false)?;
    wall.offset = offset(scan);
    calendar(&mut wall, Some(year), u64::from(month.unsigned_abs()), day)?;
    Some(Stamp::wall(wall, unit, up_to(from, scan.rest())))
}

/// The stamps of Snort, Barnyard and Suricata alerts: `MM/DD-hh:mm:ss.ffffff`, `YY/MM/DD-...` (Snort 3 `-y`),
/// `MM/DD/YY-...` (Snort 2 `-y`), `M/D-YY-hh:mm` (Barnyard), `MM/DD/YYYY-...` (Suricata), `YYYY/MM/DD-...`.
///
/// Two or three when the order of two-digit numbers cannot be told; each is a possible meaning.
pub(crate) fn alert<'a>(scan: &mut Scan<'a>) -> Option<Vec<Stamp<'a>>> {
    let from = scan.rest();
    let first = scan.digits(1, 4)?;
    scan.word("/")?;
    let second = scan.digits(1, 2)?;
    let third = if scan.maybe("/") { Some(scan.digits(1, 4)?) } else { None };
    scan.word("-")?;
    let mut ahead = *scan;
    let barnyard = if third.is_none() { ahead.exactly(2).filter(|_| ahead.maybe("-")) } else { None };
    if barnyard.is_some() {
        *scan = ahead;
    }
    let mut wall = Wall::default();
    let unit = clock(scan, &mut wall, third.is_some() || barnyard.is_some())?;
    let text = up_to(from, scan.rest());
    let dates = alert_dates(first, second, third, barnyard)?;
    let stamps = dates.into_iter().filter_map(|(year, month, day)| {
        let mut wall = wall;
        calendar(&mut wall, year, month, day)?;
        Some(Stamp::wall(wall, unit, text))
    });
    let stamps: Vec<_> = stamps.collect();
    (!stamps.is_empty()).then_some(stamps)
}

/// The (year, month, day) that the numbers of an alert's date can mean.
#[allow(clippy::type_complexity)]
fn alert_dates(
    first: &str,
    second: &str,
    third: Option<&str>,
    barnyard: Option<u64>,
) -> Option<Vec<(Option<u64>, u64, u64)>> {
    let value = |text: &str| text.parse::<u64>().ok();
    let (one, two) = (value(first)?, value(second)?);
    let Some(third) = third else {
        return (first.len() <= 2).then(|| vec![(barnyard.map(|year| 2_000 + year), one, two)]);
    };
    let three = value(third)?;
    Some(match (first.len(), third.len()) {
        (4, 1..=2) => vec![(Some(one), two, three)],
        (1..=2, 4) => vec![(Some(three), one, two)],
        (2, 2) if second.len() == 2 => {
            let (snort3, snort2) = ((Some(2_000 + one), two, three), (Some(2_000 + three), one, two));
            if snort3 == snort2 { vec![snort3] } else { vec![snort3, snort2] }
        }
        (1..=2, 2) => vec![(Some(2_000 + three), one, two)],
        _ => return None,
    })
}

/// Seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by their size; seconds may have a fraction.
/// Accepted from 1990 to 2100, so that a small number is no time.
pub(crate) fn epoch(text: &str) -> Option<Stamp<'_>> {
    let mut scan = Scan::new(text);
    let digits = scan.digits(9, 19)?;
    let value: u64 = digits.parse().ok()?;
    let scale = match digits.len() {
        9..=10 => NANOS_PER_SEC,
        13 => 1_000_000,
        16 => 1_000,
        19 => 1,
        _ => return None,
    };
    let mut nanos = 0;
    let unit = if scale == 1 { 1 } else { fraction(&mut scan, &mut nanos).min(NANOS_PER_SEC) };
    if !scan.is_done() {
        return None;
    }
    let part = u64::from(nanos.unsigned_abs()) * scale / NANOS_PER_SEC;
    let unit = (unit / (NANOS_PER_SEC / scale)).max(1);
    let at = Timestamp(value.checked_mul(scale)?.checked_add(part)?);
    let plausible = (631_152_000..4_102_444_800).contains(&at.secs());
    plausible.then_some(Stamp::instant(at, unit, text))
}

/// A length of time in seconds, with an optional fraction: nanoseconds.
pub(crate) fn seconds(text: &str) -> Option<u64> {
    let mut scan = Scan::new(text);
    let whole = scan.number(1, 9)?;
    let mut nanos = 0;
    fraction(&mut scan, &mut nanos);
    scan.is_done().then_some(whole * NANOS_PER_SEC + u64::from(nanos.unsigned_abs()))
}

/// `h:mm:ss` of a length of time: nanoseconds.
pub(crate) fn length(text: &str) -> Option<u64> {
    let mut scan = Scan::new(text);
    let hours = scan.number(1, 6)?;
    scan.word(":")?;
    let minutes = scan.exactly(2).filter(|minutes| *minutes < 60)?;
    scan.word(":")?;
    let seconds = scan.exactly(2).filter(|seconds| *seconds < 60)?;
    scan.is_done().then_some((hours * 3_600 + minutes * 60 + seconds) * NANOS_PER_SEC)
}

#[cfg(test)]
mod tests;
