//! Snort alerts in one line: `alert_fast` and `alert_syslog` of Snort 2 and 3, and Suricata's fast.log, which differs
//! in that ICMP type and code stand where ports would.
//!
//! Sources: snort/src/output-plugins/spo_alert_fast.c and spo_alert_syslog.c (2.9), snort3/src/loggers/alert_fast.cc and
//! alert_syslog.cc, suricata/src/alert-fastlog.c, barnyard2's spo_alert_fast.c.

use crate::context::Context;
use crate::draft::{Draft, Outcome, lack};
use crate::fields::{self, End};
use crate::formats::{Format, sourcefire};
use crate::line::Line;
use crate::reading::{Direction, Meaning, carries_ports};
use crate::scan::Scan;
use crate::stamp;

/// `05/14-09:01:49.390801  [**] [1:12628:2] RPC ... [**] [Classification: ...] [Priority: 2] {UDP} 10.0.0.1:666 -> ...`
pub(crate) const FAST: Format = Format {
    name: "snort-fast",
    title: "Snort or Suricata fast alert",
    time: "the packet that raised the alert; in the sensor's zone, often without a year",
    fallback: false,
    read: fast,
};

/// `May 16 11:49:05 rancid snort: [1:1951:7] RPC ... [Priority: 2]: {TCP} 10.0.0.5:991 -> 10.0.0.9:41208`
pub(crate) const SYSLOG: Format = Format {
    name: "snort-syslog",
    title: "Snort alert in syslog",
    time: "when syslog wrote the line, at once after the packet; in the sensor's zone, without a year",
    fallback: false,
    read: syslog,
};

fn fast<'a>(line: &Line<'a>, _: &Context) -> Option<Outcome<'a>> {
    let mut scan = Scan::new(line.text);
    let stamps = stamp::alert(&mut scan)?;
    scan.blanks();
    // `[Drop]`, `[wDrop]` (Suricata), `[drop]`, `[would_drop]` (Snort 3) may stand before the mark.
    let mut ahead = scan;
    if !ahead.rest().starts_with("[**]") && ahead.maybe("[") {
        ahead.while_fits(|c| c.is_ascii_alphabetic() || c == '_')?;
        ahead.word("]")?;
        scan = ahead;
        scan.blanks();
    }
    scan.word("[**]")?;
    scan.blanks();
    signature(&mut scan)?;
    let Some(flow) = last_flow(scan.rest()) else {
        return lack(
            "no addresses stand in the alert (one of the decoder, or a line that was cut off): ask by time",
        );
    };
    Some(Ok(flow.draft(Meaning::Packet).at_one_of(stamps)))
}

fn syslog<'a>(line: &Line<'a>, _: &Context) -> Option<Outcome<'a>> {
    let mut scan = Scan::new(line.text);
    signature(&mut scan)?;
    (!sourcefire::is_alert(line.text)).then_some(())?;
    if line.stamp.is_none() && line.tag.is_none() {
        // Anything may begin with `[1:2:3]`; the rest of the alert must be there.
        line.text.contains("[Priority: ").then_some(())?;
    }
    let Some(flow) = last_flow(scan.rest()) else {
        return lack(
            "no addresses stand in the alert (one of the decoder, or a line that was cut off): ask by time",
        );
    };
    Some(Ok(flow.draft(Meaning::Written).at_maybe(line.stamp)))
}

/// `[gid:sid:rev]`.
pub(crate) fn signature(scan: &mut Scan<'_>) -> Option<()> {
    scan.word("[")?;
    scan.number(1, 10)?;
    scan.word(":")?;
    scan.number(1, 10)?;
    scan.word(":")?;
    scan.number(1, 10)?;
    scan.word("]")
}

/// `{PROTO} a -> b` at the end of an alert.
pub(crate) struct Flow<'a> {
    proto: Option<u8>,
    proto_text: &'a str,
    src: End<'a>,
    dst: End<'a>,
}

/// The flow stands last: what is before it is the rule's text.
pub(crate) fn last_flow(text: &str) -> Option<Flow<'_>> {
    let (_, flow) = text.rsplit_once('{')?;
    let mut scan = Scan::new(flow);
    let proto_text = scan.until("}")?;
    let proto = fields::protocol(proto_text);
    let has_ports = proto.is_none_or(carries_ports);
    // Without blanks round the arrow: Sourcefire.
    let src = fields::end_colon(scan.until("->")?.trim(), has_ports)?;
    scan.blanks();
    let dst = fields::end_colon(scan.token()?, has_ports)?;
    scan.blanks();
    // The end of the line, or a further field in brackets (Snort 3's appid, Suricata's raw packet).
    (scan.is_done() || scan.rest().starts_with('[')).then_some(Flow { proto, proto_text, src, dst })
}

impl<'a> Flow<'a> {
    pub(crate) fn draft(self, meaning: Meaning) -> Draft<'a> {
        let keep = self.proto.is_none_or(carries_ports);
        let ports = |end: End<'a>| if keep { end } else { end.without_port() };
        Draft::new(meaning)
            .proto(self.proto, self.proto_text)
            .ends(ports(self.src), ports(self.dst))
            .direction(Direction::Packet)
    }
}
