//! `extcap`: what Wireshark says when it runs this command as a capture program (extcap(4)), and what people say.

use std::path::PathBuf;

use hindcap_args::{Nanos, parse_duration, parse_size};
use hindcap_wire::message::SensorId;
use hindcap_wire::query::Query;

use super::{Connection, Known, Pattern, Which};
use crate::exit::{self, Failure};

/// Ahead of a sensor's name, the name of its interface in Wireshark: nobody else's begins so.
pub(crate) const INTERFACE_PREFIX: &str = "hindcap-";

#[derive(clap::Args, Debug)]
#[command(after_help = exit::HELP, group = clap::ArgGroup::new("task").multiple(false))]
pub(crate) struct Extcap {
    /// Install this command as a capture program of Wireshark, with the profile given, and say where
    #[arg(long, group = "task")]
    pub(crate) install: bool,
    /// Where to [default: Wireshark's personal folder of capture programs]
    #[arg(long, value_name = "DIRECTORY", requires = "install")]
    pub(crate) directory: Option<PathBuf>,
    /// Wireshark asks: list the sensors, each an interface
    #[arg(long, group = "task", help_heading = "Wireshark")]
    pub(crate) extcap_interfaces: bool,
    /// Wireshark asks: the link types of an interface
    #[arg(long, group = "task", help_heading = "Wireshark")]
    pub(crate) extcap_dlts: bool,
    /// Wireshark asks: the fields of its dialog
    #[arg(long, group = "task", help_heading = "Wireshark")]
    pub(crate) extcap_config: bool,
    /// Wireshark asks: write packets to --fifo; from now on when no time is given
    #[arg(
        long,
        group = "task",
        requires = "fifo",
        requires = "extcap_interface",
        help_heading = "Wireshark"
    )]
    pub(crate) capture: bool,
    /// Which interface: hindcap- and the sensor's name
    #[arg(long, value_name = "INTERFACE", help_heading = "Wireshark")]
    pub(crate) extcap_interface: Option<String>,
    /// Wireshark's version
    #[arg(long, value_name = "VERSION", num_args = 0..=1, help_heading = "Wireshark")]
    pub(crate) extcap_version: Option<Option<String>>,
    /// Wireshark's capture filter, a pcap-filter(7) expression; alone, to hear whether it can be meant
    #[arg(long, value_name = "EXPRESSION", help_heading = "Wireshark")]
    pub(crate) extcap_capture_filter: Option<String>,
    /// Where packets go, in pcapng; - is stdout
    #[arg(long, value_name = "FILE", help_heading = "Wireshark")]
    pub(crate) fifo: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) query: Which,
    /// Go on with what comes after --start, --at or --last; without a time that is always done
    #[arg(long, conflicts_with = "end", help_heading = "Live")]
    pub(crate) follow: bool,
    /// While following, bytes a second that sensors send at most; behind that, packets come later
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = parse_size, help_heading = "Live")]
    pub(crate) max_rate: u64,
    /// Stop at this size, such as 64MiB; following goes on
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Limits")]
    pub(crate) max_bytes: Option<u64>,
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// Sensors that are listed even while the broker does not answer
    #[arg(long, value_name = "ID", value_delimiter = ',', help_heading = "Sensor")]
    pub(crate) sensor: Vec<Pattern>,
    /// Give up after this long without progress
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = parse_duration, help_heading = "Sensor")]
    pub(crate) timeout: Nanos,
    /// Why, for the sensor's audit record
    #[arg(long, value_name = "TEXT", help_heading = "Sensor")]
    pub(crate) reason: Option<String>,
    /// The case it belongs to
    #[arg(long, value_name = "TEXT", help_heading = "Sensor")]
    pub(crate) case: Option<String>,
}

impl Extcap {
    /// The sensor whose interface was chosen.
    ///
    /// # Errors
    /// None was, or it is no interface of ours.
    pub(crate) fn chosen(&self) -> Result<SensorId, Failure> {
        let name = self.extcap_interface.as_deref().unwrap_or_default();
        name.strip_prefix(INTERFACE_PREFIX).and_then(|id| id.parse().ok()).ok_or_else(|| {
            Failure::new(format!(
                "{name:?} is no interface of ours: they are {INTERFACE_PREFIX} and a sensor's name"
            ))
        })
    }

    /// Whether no time was given: then what comes is meant.
    pub(crate) const fn is_timeless(&self) -> bool {
        let query = &self.query.query;
        query.start.is_none()
            && query.end.is_none()
            && query.last.is_none()
            && query.at.is_none()
            && self.query.event.is_none()
    }

    /// The query, with Wireshark's capture filter as well as `--filter`, and what was taken for granted.
    ///
    /// # Errors
    /// What cannot be meant; what the log line lacks.
    pub(crate) fn query(&self, known: &Known) -> Result<(Query, Vec<String>), Failure> {
        let (mut query, notes) = self.query.query(known)?;
        let filters = [query.filter.take(), self.extcap_capture_filter.clone()].into_iter().flatten();
        let filters: Vec<String> = filters.filter(|filter| !filter.trim().is_empty()).collect();
        query.filter = match filters.as_slice() {
            [] => None,
            [one] => Some(one.clone()),
            several => Some(format!("({})", several.join(") and ("))),
        };
        query.validate().map(|()| (query, notes)).map_err(Failure::new)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Command};

    fn extcap(flags: &[&str]) -> Extcap {
        let words = ["hindcap", "extcap", "--broker", "mqtt://h"];
        let Command::Extcap(extcap) = Args::parse_from(words.iter().chain(flags)).command else {
            unreachable!()
        };
        extcap
    }

    #[test]
    fn filters_of_both_sides_are_joined() {
        let known = Known {
            now: hindcap_wire::time::Timestamp(0),
            sources: Vec::new(),
            sites: crate::gather::Sites::default(),
        };
        let filter = |flags: &[&str]| extcap(flags).query(&known).unwrap().0.filter;
        assert_eq!(filter(&[]), None);
        assert_eq!(filter(&["--extcap-capture-filter", "tcp or udp"]).unwrap(), "tcp or udp");
        let both = ["--filter", "port 80 or port 81", "--extcap-capture-filter", "tcp or udp"];
        assert_eq!(filter(&both).unwrap(), "(port 80 or port 81) and (tcp or udp)");
        assert!(extcap(&["--extcap-capture-filter", &"x".repeat(5_000)]).query(&known).is_err());
    }

    #[test]
    fn an_interface_is_a_sensor() {
        let chosen = |name: &str| extcap(&["--extcap-dlts", "--extcap-interface", name]).chosen();
        assert_eq!(chosen("hindcap-branch-7").unwrap().as_str(), "branch-7");
        assert!(chosen("branch-7").unwrap_err().message.contains("no interface of ours"));
        assert!(chosen("hindcap-a/b").is_err());
    }

    #[test]
    fn without_a_time_what_comes_is_meant() {
        assert!(extcap(&["--host", "192.0.2.1"]).is_timeless());
        assert!(!extcap(&["--last", "1h"]).is_timeless());
        assert!(!extcap(&["--event", "10.0.0.1 2026-01-01T00:00:00Z"]).is_timeless());
    }
}
