//! Which packets: by flags, or by a log line that leads to them.

use hindcap_args::QueryArgs;
use hindcap_events::Reading;
use hindcap_wire::query::{End, Ends, Query};
use hindcap_wire::time::{NANOS_PER_SEC, TimeRange};

use super::line::{Known, LOG_LINE, LineArgs, line};
use crate::exit::Failure;

/// What a line's time is padded with when `--pad` is not given: clocks of machines differ, and a log is written late.
pub(crate) const PAD_NANOS: u64 = 60 * NANOS_PER_SEC;
/// Instants of one line that lie so near each other are asked for together, nanoseconds: a clock change.
const NEAR_NANOS: u64 = 3 * 3_600 * NANOS_PER_SEC;

/// A query, by flags or by a log line.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Query: which packets")]
pub(crate) struct Which {
    #[command(flatten)]
    pub(crate) query: QueryArgs,
    /// The session of this log line, pasted as it is; - reads it from stdin
    #[arg(long, value_name = "LINE", groups = ["instant", LOG_LINE], conflicts_with_all = [
        "host", "net", "port", "src_addr", "dst_addr", "src_port", "dst_port", "proto", "community_id"])]
    pub(crate) event: Option<String>,
    #[command(flatten)]
    pub(crate) line: LineArgs,
    /// The times of --timestamp, --start and --end are written as Sourcefire does: 'Wed Mar 31 13:24:36 2010 UTC'
    #[arg(long)]
    pub(crate) sf: bool,
}

impl Which {
    /// The query, and what was taken for granted, a line each.
    ///
    /// # Errors
    /// What cannot be meant; what the log line lacks.
    pub(crate) fn query(&self, known: &Known) -> Result<(Query, Vec<String>), Failure> {
        let timed = self.query.at.is_some() || self.query.start.is_some() || self.query.end.is_some();
        if self.line.tz.is_some() && self.event.is_none() && !timed {
            return Err(Failure::new(
                "--tz says in which zone times are, and no time is given: see --at, --start, --event",
            ));
        }
        let Some(event) = &self.event else {
            return self.query.query(known.now).map(|query| (query, Vec::new())).map_err(Failure::new);
        };
        let reading = self.line.read(&line(event)?, known).map_err(Failure::new)?;
        let flags = self.query.query(known.now).map_err(Failure::new)?;
        let timed = self.query.start.is_some() || self.query.end.is_some() || self.query.last.is_some();
        let pad = self.query.pad.map_or(PAD_NANOS, |pad| pad.0);
        let time = if timed { flags.time } else { window(&reading, pad)? };
        let mut notes = vec![format!("read as {}; {}", reading.title, reading.meaning.text())];
        notes.extend(reading.assumptions.iter().map(|assumption| assumption.text.clone()));
        Ok((joined(&reading, time, flags)?, notes))
    }
}

/// The query of a reading, with `pad_nanos` around its time.
///
/// # Errors
/// The line has no time, or several that lie apart; it names neither an address nor a flow.
pub(crate) fn query_of(reading: &Reading, pad_nanos: u64) -> Result<Query, Failure> {
    joined(reading, window(reading, pad_nanos)?, Query::default())
}

/// The one window that the line means.
fn window(reading: &Reading, pad: u64) -> Result<TimeRange, Failure> {
    let (Some(first), Some(last)) = (reading.times.first(), reading.times.last()) else {
        return Err(Failure::new("the line has no time: say when with --start and --end, or --last"));
    };
    if last.start.0.saturating_sub(first.start.0) > NEAR_NANOS {
        let times = reading.times.iter().map(|time| time.start.to_string()).collect::<Vec<_>>();
        return Err(Failure::new(format!(
            "the line's date can be read in several ways: {}; say which with --start and --end",
            times.join(", ")
        )));
    }
    Ok(TimeRange::new(first.start.minus_nanos(pad), last.end.plus_nanos(pad).plus_nanos(1)))
}

/// One query for every view of the session; VLAN, MAC and filter of the flags narrow it.
fn joined(reading: &Reading, time: TimeRange, flags: Query) -> Result<Query, Failure> {
    let mut queries = reading.queries_in(time).into_iter();
    let first = queries.next().ok_or_else(|| Failure::new("the line names neither an address nor a flow"))?;
    let ends = |query: Query| Ends {
        nets: query.nets,
        ports: query.ports,
        src: End::default(),
        dst: End::default(),
    };
    let query = Query {
        or: queries.map(ends).collect(),
        vlan: flags.vlan.or(first.vlan),
        mac: flags.mac,
        filter: flags.filter,
        session: flags.session || first.session,
        ..first
    };
    query.validate().map(|()| query).map_err(Failure::new)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use hindcap_wire::time::Timestamp;

    use super::*;
    use crate::gather::Sites;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        which: Which,
    }

    const NOW: Timestamp = Timestamp(1_790_000_000 * NANOS_PER_SEC);
    const SNORT: &str = "05/14-09:01:49.390801  [**] [1:12628:2] RPC portmap [**] [Priority: 2] {UDP} \
                         192.168.133.50:666 -> 192.168.10.90:32772";

    fn query(flags: &[&str]) -> Result<(Query, Vec<String>), String> {
        let line = Line::try_parse_from([&["x"], flags].concat()).map_err(|error| error.to_string())?;
        line.which
            .query(&Known { now: NOW, sources: Vec::new(), sites: Sites::default() })
            .map_err(|failure| failure.message)
    }

    #[test]
    fn a_line_is_a_query() {
        let (query, notes) = query(&["--event", SNORT, "--tz", "UTC", "--pad", "10s"]).unwrap();
        assert_eq!(
            query.nets.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["192.168.133.50", "192.168.10.90"]
        );
        assert_eq!(
            (query.ports.as_slice(), query.proto, query.session),
            (&[666, 32_772][..], Some(17), true)
        );
        let at = "2026-05-14T09:01:49.390801Z".parse::<Timestamp>().unwrap();
        assert!(query.time.start == at.minus_nanos(10 * NANOS_PER_SEC) && query.time.contains(at));
        assert!(notes.iter().any(|note| note.contains("year 2026")), "{notes:?}");
    }

    #[test]
    fn what_the_line_does_not_say_is_asked_for() {
        assert!(query(&["--event", SNORT]).unwrap_err().contains("--tz"));
        assert!(query(&["--event", SNORT, "--tz", "Mars"]).unwrap_err().contains("no time zone"));
        assert!(query(&["--event", "no address here"]).unwrap_err().contains("--host"));
        assert!(query(&["--event", "10.0.0.1:5 -> 10.0.0.2:6 tcp"]).unwrap_err().contains("--last"));
        let (timed, _) = query(&["--event", "10.0.0.1:5 -> 10.0.0.2:6 tcp", "--last", "1h"]).unwrap();
        assert_eq!(timed.time, TimeRange::new(NOW.minus_nanos(3_600 * NANOS_PER_SEC), NOW));
        assert!(
            query(&["--event", SNORT, "--host", "192.0.2.1"]).unwrap_err().contains("cannot be used with")
        );
        assert!(query(&["--tz", "UTC"]).is_err());
    }
}
