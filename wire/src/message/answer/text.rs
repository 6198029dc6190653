//! The words in which a person reads an answer. One fact per line; nothing is printed that is not known.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use super::{
    Answer, CutOff, Estimate, Gap, GapCause, Partial, PolicySpan, SessionRow, Sessions, Thinned, TruncatedBy,
    WhyEmpty,
};
use crate::drops::{DropCause, DropCounts};
use crate::flow::proto;
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

impl SessionRow {
    /// Name of the protocol for people: `tcp`, `udp` ..., or its number.
    #[must_use]
    pub fn proto_name(&self) -> String {
        match self.proto {
            0 => "arp".into(),
            proto::ICMP => "icmp".into(),
            proto::TCP => "tcp".into(),
            proto::UDP => "udp".into(),
            proto::ICMPV6 => "icmp6".into(),
            proto::SCTP => "sctp".into(),
            number => format!("{number}"),
        }
    }

    /// TCP flags as tcpdump prints them, `-` when there are none.
    #[must_use]
    pub fn flag_letters(&self) -> String {
        const LETTERS: [(u8, char); 8] =
            [(1, 'F'), (2, 'S'), (4, 'R'), (8, 'P'), (16, '.'), (32, 'U'), (64, 'E'), (128, 'W')];
        let letters: String =
            LETTERS.iter().filter(|(bit, _)| self.tcp_flags & bit != 0).map(|(_, c)| c).collect();
        if letters.is_empty() { "-".into() } else { letters }
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

/// `192.0.2.1:443`, `[2001:db8::1]:443`, or the address alone where the protocol has no ports.
fn end_text(addr: IpAddr, port: u16, proto: u8) -> String {
    if matches!(proto, proto::TCP | proto::UDP | proto::SCTP) {
        format!("{}", SocketAddr::new(addr, port))
    } else {
        format!("{addr}")
    }
}

/// A table with a head line, one session per line, then what the list leaves out.
impl fmt::Display for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HEAD: [&str; 11] = [
            "FIRST",
            "SECONDS",
            "PROTO",
            "VLAN",
            "CLIENT",
            "SERVER",
            "PACKETS",
            "BYTES",
            "FLAGS",
            "CUT",
            "COMMUNITY-ID",
        ];
        let mut table: Vec<[String; 11]> = alloc::vec![HEAD.map(String::from)];
        table.extend(self.rows.iter().map(cells));
        let mut widths = [0; 11];
        for row in &table {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.len().max(*width);
            }
        }
        for row in table.iter().filter(|_| !self.rows.is_empty()) {
            for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
                match column {
                    10 => writeln!(f, "{cell}")?,
                    1 | 6 | 7 => write!(f, "{cell:>width$}  ")?,
                    _ => write!(f, "{cell:<width$}  ")?,
                }
            }
        }
        if let Some(why) = self.why_empty {
            writeln!(f, "empty: {why}")?;
        }
        if self.more {
            writeln!(f, "more: the list was cut at {} sessions, older ones follow", self.rows.len())?;
        }
        thinned_lines(f, &self.thinned)?;
        lines(f, "note", &self.notes)
    }
}

fn cells(row: &SessionRow) -> [String; 11] {
    let nanos = row.last.0.saturating_sub(row.first.0);
    [
        format!("{}", row.first),
        format!("{}.{:03}", nanos / 1_000_000_000, nanos / 1_000_000 % 1_000),
        row.proto_name(),
        row.vlan.map_or_else(|| "-".into(), |vlan| format!("{vlan}")),
        end_text(row.client, row.client_port, row.proto),
        end_text(row.server, row.server_port, row.proto),
        format!("{}", row.packets),
        format!("{}", row.bytes),
        row.flag_letters(),
        row.truncated.map_or("-", TruncatedBy::name).into(),
        row.community_id.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::super::{ClockSpan, Span};
    use super::*;

    #[test]
    fn bytes_read_as_people_say_them() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (3_481, "3.4 KiB"),
            (1_048_575, "1.0 MiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }

    #[test]
    fn an_answer_says_what_it_covers() {
        let window = TimeRange::new(Timestamp::from_parts(60, 0), Timestamp::from_parts(120, 0));
        let mut drops = DropCounts::default();
        drops.add(DropCause::RingFull, 7);
        let answer = Answer {
            window,
            packets: 1,
            bytes: 3_481,
            span: Some(Span { first: Timestamp::from_parts(61, 0), last: Timestamp::from_parts(61, 0) }),
            segments_searched: 90,
            segments_read: 2,
            bytes_read: 32_768,
            coverage: vec![window],
            gaps: vec![Gap { range: window, cause: GapCause::Damage, bytes: 16_384 }],
            drops,
            clock: vec![ClockSpan { range: window, state: ClockState::NotSynchronised }],
            partial: Some(Partial::Unreadable),
            ..Answer::default()
        };
        let minute = "1970-01-01T00:01:00.000000000Z to 1970-01-01T00:02:00.000000000Z";
        let expected = format!(
            "1 packet, 3.4 KiB, 1970-01-01T00:01:01.000000000Z to 1970-01-01T00:01:01.000000000Z\n\
             partial: parts of the store that could hold matches cannot be read back\n\
             window: {minute}\n\
             searched: 90 segments, packets of 2 read (32.0 KiB)\n\
             recorded: the whole window\n\
             gap: damaged on the medium: {minute} (16.0 KiB)\n\
             dropped: 7 packets (ring_full 7)\n\
             clock: not synchronised {minute}\n"
        );
        assert_eq!(answer.to_string(), expected);
    }

    #[test]
    fn an_answer_says_what_policy_left_out() {
        let window = TimeRange::new(Timestamp::from_parts(60, 0), Timestamp::from_parts(120, 0));
        let policy = Policy {
            cutoff: Some(1 << 20),
            sample: 100,
            headers_only: true,
            skip_rules: 2,
            reason: PolicyReason::WearBudget,
        };
        let span = PolicySpan { range: window, since: Timestamp::from_parts(30, 0), policy };
        let left_out = LeftOut { packets: 7, truncated: 3, bytes: 3_481 };
        let thinned = Thinned { policies: vec![span], left_out };
        let expected = "policy: flows cut off at 1.0 MiB (of the packets behind that 1 in 100, without payload); TLS \
                        and QUIC without payload behind the handshake; 2 skip rules; because of the wear budget since \
                        1970-01-01T00:00:30.000000000Z: 1970-01-01T00:01:00.000000000Z to \
                        1970-01-01T00:02:00.000000000Z\nleft out: 7 packets not recorded, 3 truncated, 3.4 KiB\n";
        for text in [
            Answer { thinned: thinned.clone(), ..Answer::default() }.to_string(),
            Estimate { thinned: thinned.clone(), ..Estimate::default() }.to_string(),
            Sessions { thinned: thinned.clone(), ..Sessions::default() }.to_string(),
        ] {
            assert!(text.ends_with(expected), "{text}");
        }
        let why = WhyEmpty::LeftOut { packets: 1 }.to_string();
        assert!(why.ends_with("in this window policy left out 1 packet"), "{why}");
        assert_eq!(Policy::default().to_string(), "everything is recorded");
    }

    #[test]
    fn an_answer_says_what_was_cut_off_its_sessions() {
        let span = |cutoff| PolicySpan {
            range: TimeRange::ALL,
            since: Timestamp(1),
            policy: Policy { cutoff: Some(cutoff), ..Policy::default() },
        };
        let answer = |policies, at_least| Answer {
            cut_off: CutOff { sessions: 1, bytes: 3 << 20, at_least },
            thinned: Thinned { policies, left_out: LeftOut::NONE },
            ..Answer::default()
        };
        let one = answer(vec![span(1 << 20)], false).to_string();
        assert!(one.contains("\ncut off: 3.0 MiB of 1 session by policy at 1.0 MiB\n"), "{one}");
        let two = answer(vec![span(1 << 20), span(1 << 21)], true).to_string();
        assert!(two.contains("\ncut off: at least 3.0 MiB of 1 session by policy\n"), "{two}");
        assert!(!Answer::default().to_string().contains("cut off"));
    }

    #[test]
    fn sessions_are_a_table() {
        let row = SessionRow {
            first: Timestamp::from_parts(60, 0),
            last: Timestamp::from_parts(61, 500_000_000),
            proto: proto::TCP,
            vlan: Some(7),
            client: [192, 0, 2, 1].into(),
            client_port: 40_000,
            server: [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into(),
            server_port: 443,
            packets: 12,
            bytes: 3_481,
            tcp_flags: 0x1b,
            truncated: Some(TruncatedBy::Policy),
            community_id: "1:x".into(),
        };
        let text = Sessions { rows: vec![row], more: true, ..Sessions::default() }.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].starts_with("FIRST                           SECONDS  PROTO  VLAN  CLIENT"),
            "{text}"
        );
        assert!(
            lines[1].ends_with(
                "  1.500  tcp    7     192.0.2.1:40000  [2001:db8::1]:443       12   3481  FSP.   policy  1:x"
            ),
            "{text}"
        );
        assert_eq!(lines[2], "more: the list was cut at 1 sessions, older ones follow");
        let none = Sessions { why_empty: Some(WhyEmpty::EmptyStore), ..Sessions::default() };
        assert_eq!(none.to_string(), "empty: nothing has been recorded in this store yet\n");
    }

    #[test]
    fn answers_travel_in_both_encodings() {
        let answer = Answer {
            why_empty: Some(WhyEmpty::Pruned { oldest: Timestamp(9) }),
            partial: Some(Partial::BytesMax(5)),
            ..Answer::default()
        };
        let json = serde_json::to_string(&answer).unwrap();
        assert!(
            json.contains(r#""why_empty":{"pruned":{"oldest":"1970-01-01T00:00:00.000000009Z"}}"#),
            "{json}"
        );
        assert_eq!(serde_json::from_str::<Answer>(&json).unwrap(), answer);
        let bytes = postcard::to_allocvec(&answer).unwrap();
        assert_eq!(postcard::from_bytes::<Answer>(&bytes).unwrap(), answer);
    }
}
