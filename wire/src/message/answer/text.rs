//! The words in which a person reads an answer. One fact per line; nothing is printed that is not known.

mod table;

use alloc::vec::Vec;
use core::fmt;

use super::{Answer, CutOff, Estimate, Gap, GapCause, Partial, PolicySpan, Thinned, TruncatedBy, WhyEmpty};
use crate::drops::{DropCause, DropCounts};
use crate::policy::{LeftOut, Policy, PolicyReason};
use crate::time::{ClockState, TimeRange, Timestamp};

/// Lines of gaps and clock states printed before the rest is counted only.
const LINES_MAX: usize = 8;

/// A number of bytes as people say it: `999 B`, `3.4 KiB`, `1.0 GiB`.
#[derive(Clone, Copy, Debug)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let mut unit = 0;
        let mut divisor = 1024_u64;
        // 1023.95 KiB would print as "1024.0 KiB".
        while unit + 1 < UNITS.len() && self.0 / divisor >= 1023 {
            divisor *= 1024;
            unit += 1;
        }
        let tenths = (u128::from(self.0) * 10 + u128::from(divisor) / 2) / u128::from(divisor);
        write!(f, "{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
    }
}

/// `1 packet`, `2 packets`.
fn count(f: &mut fmt::Formatter<'_>, number: u64, word: &str) -> fmt::Result {
    write!(f, "{}", crate::counted::Counted(number, word))
}

impl fmt::Display for TimeRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.start == Timestamp::MIN, self.end == Timestamp::MAX) {
            (true, true) => f.write_str("all of time"),
            (true, false) => write!(f, "until {}", self.end),
            (false, true) => write!(f, "from {}", self.start),
            (false, false) => write!(f, "{} to {}", self.start, self.end),
        }
    }
}

impl fmt::Display for WhyEmpty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyStore => f.write_str("nothing has been recorded in this store yet"),
            Self::Pruned { oldest } => write!(f, "pruned: the oldest packet still there is of {oldest}"),
            Self::NotFlushed { newest } => {
                write!(
                    f,
                    "not flushed yet: nothing after {newest} can be searched; what came since follows within seconds"
                )
            }
            Self::NotRecorded { range } => write!(f, "not recorded: the recorder was not running {range}"),
            Self::Damaged { bytes } => {
                write!(f, "damaged: {} that could hold matches cannot be read back", Bytes(*bytes))
            }
            Self::Dropped { packets } => {
                f.write_str("nothing matches among the packets kept, but ")?;
                count(f, *packets, "packet")?;
                f.write_str(" in this window could not be recorded")
            }
            Self::LeftOut { packets } => {
                f.write_str("nothing matches among the packets recorded; in this window policy left out ")?;
                count(f, *packets, "packet")
            }
            Self::TooOld { before } => {
                write!(f, "expired by policy: packets older than {before} are not given out any more")
            }
            Self::SkipRules { rules } => {
                f.write_str(
                    "nothing matches among the packets recorded; not recorded by rule: packets that match ",
                )?;
                count(f, (*rules).into(), "skip rule")
            }
            Self::NoSuchTraffic => f.write_str("no such traffic in what was recorded"),
        }
    }
}

impl fmt::Display for Partial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PacketsMax(packets) => {
                f.write_str("stopped at the limit of ")?;
                count(f, *packets, "packet")
            }
            Self::BytesMax(bytes) => write!(f, "stopped at the limit of {}", Bytes(*bytes)),
            Self::Unreadable => f.write_str("parts of the store that could hold matches cannot be read back"),
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
}

impl GapCause {
    /// Words for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Damage => "damaged on the medium",
            Self::LinkDown => "link down",
            Self::RecorderDown => "recorder not running",
            Self::Overwritten => "overwritten while it was read",
            Self::NotStored => "not everything could be stored",
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.cause.name(), self.range)?;
        if self.bytes > 0 { write!(f, " ({})", Bytes(self.bytes)) } else { Ok(()) }
    }
}

impl PolicyReason {
    /// Words for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Configuration => "as configured",
            Self::WearBudget => "because of the wear budget",
            Self::Person => "set by a person",
        }
    }
}

/// What is left out, without who set it.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        if let Some(cutoff) = self.cutoff {
            write!(f, "flows cut off at {}", Bytes(cutoff))?;
            match self.sample {
                0 => {}
                1 => f.write_str(" (packets behind that without payload)")?,
                sample => write!(f, " (of the packets behind that 1 in {sample}, without payload)")?,
            }
            separator = "; ";
        }
        if self.headers_only {
            write!(f, "{separator}TLS and QUIC without payload behind the handshake")?;
            separator = "; ";
        }
        if self.skip_rules > 0 {
            f.write_str(separator)?;
            count(f, self.skip_rules.into(), "skip rule")?;
            separator = "; ";
        }
        if separator.is_empty() { f.write_str("everything is recorded") } else { Ok(()) }
    }
}

impl fmt::Display for PolicySpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, since, range } = self;
        write!(f, "{policy}; {} since {since}: {range}", policy.reason.name())
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        count(f, self.packets, "packet")?;
        write!(f, " not recorded, {} truncated, {}", self.truncated, Bytes(self.bytes))
    }
}

/// Nothing when no policy was in force.
fn thinned_lines(f: &mut fmt::Formatter<'_>, thinned: &Thinned) -> fmt::Result {
    lines(f, "policy", &thinned.policies)?;
    if thinned.left_out.is_none() { Ok(()) } else { writeln!(f, "left out: {}", thinned.left_out) }
}

/// `dropped: 12 packets (ring full 10, link down 2)`, nothing when none were.
fn drops_line(f: &mut fmt::Formatter<'_>, drops: &DropCounts) -> fmt::Result {
    if drops.total() == 0 {
        return f.write_str("dropped: none\n");
    }
    f.write_str("dropped: ")?;
    count(f, drops.total(), "packet")?;
    let mut separator = " (";
    for cause in DropCause::ALL.into_iter().filter(|cause| drops.get(*cause) > 0) {
        write!(f, "{separator}{} {}", cause.name(), drops.get(cause))?;
        separator = ", ";
    }
    f.write_str(")\n")
}

fn lines<T: fmt::Display>(f: &mut fmt::Formatter<'_>, label: &str, items: &[T]) -> fmt::Result {
    for item in items.iter().take(LINES_MAX) {
        writeln!(f, "{label}: {item}")?;
    }
    match items.len().saturating_sub(LINES_MAX) {
        0 => Ok(()),
        more => writeln!(f, "{label}: {more} more"),
    }
}

fn coverage_lines(f: &mut fmt::Formatter<'_>, window: TimeRange, coverage: &[TimeRange]) -> fmt::Result {
    if coverage == [window] {
        writeln!(f, "recorded: the whole window")
    } else {
        lines(f, "recorded", coverage)
    }
}

/// `cut off: 12.3 MiB of 1 session by policy at 1.0 MiB`, nothing when nothing was.
fn cut_off_line(f: &mut fmt::Formatter<'_>, cut: &CutOff, policies: &[PolicySpan]) -> fmt::Result {
    if cut.sessions == 0 {
        return Ok(());
    }
    let at_least = if cut.at_least { "at least " } else { "" };
    write!(f, "cut off: {at_least}{} of ", Bytes(cut.bytes))?;
    count(f, cut.sessions, "session")?;
    f.write_str(" by policy")?;
    let mut cutoffs: Vec<u64> = policies.iter().filter_map(|span| span.policy.cutoff).collect();
    cutoffs.sort_unstable();
    cutoffs.dedup();
    if let [cutoff] = cutoffs[..] {
        write!(f, " at {}", Bytes(cutoff))?;
    }
    writeln!(f)
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        count(f, self.packets, "packet")?;
        write!(f, ", {}", Bytes(self.bytes))?;
        if let Some(span) = self.span {
            write!(f, ", {} to {}", span.first, span.last)?;
        }
        writeln!(f)?;
        if self.pinned_packets > 0 {
            f.write_str("pinned: ")?;
            count(f, self.pinned_packets, "packet")?;
            f.write_str(" of these only the event ring still has\n")?;
        }
        if let Some(why) = self.why_empty {
            writeln!(f, "empty: {why}")?;
        }
        if let Some(partial) = self.partial {
            writeln!(f, "partial: {partial}")?;
        }
        writeln!(f, "window: {}", self.window)?;
        f.write_str("searched: ")?;
        count(f, self.segments_searched.into(), "segment")?;
        writeln!(f, ", packets of {} read ({})", self.segments_read, Bytes(self.bytes_read))?;
        coverage_lines(f, self.window, &self.coverage)?;
        lines(f, "gap", &self.gaps)?;
        drops_line(f, &self.drops)?;
        thinned_lines(f, &self.thinned)?;
        cut_off_line(f, &self.cut_off, &self.thinned.policies)?;
        for clock in
            self.clock.iter().filter(|span| span.state == ClockState::NotSynchronised).take(LINES_MAX)
        {
            writeln!(f, "clock: {} {}", clock.state.name(), clock.range)?;
        }
        lines(f, "note", &self.notes)
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("at most ")?;
        count(f, self.packets_max, "packet")?;
        write!(f, ", {}, in ", Bytes(self.bytes_max))?;
        count(f, self.sessions, "session")?;
        writeln!(f)?;
        if let Some(why) = self.why_empty {
            writeln!(f, "empty: {why}")?;
        }
        writeln!(f, "window: {}", self.window)?;
        f.write_str("to read: ")?;
        count(f, self.pages, "page")?;
        write!(f, " ({}) of {} out of ", Bytes(self.bytes_to_read), self.segments)?;
        count(f, self.segments_searched.into(), "segment")?;
        writeln!(f)?;
        if let Some(secs) = self.retention_forecast_secs {
            let (days, hours) = (secs / 86_400, secs / 3_600 % 24);
            writeln!(f, "retention: {days} d {hours} h when the store is full, at the rate of late")?;
        }
        coverage_lines(f, self.window, &self.coverage)?;
        thinned_lines(f, &self.thinned)?;
        lines(f, "note", &self.notes)
    }
}

impl TruncatedBy {
    /// One word for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Policy => "policy",
        }
    }
}

#[cfg(test)]
mod tests;
