//! Skip rules: pcap-filter expressions for packets that are not recorded.
//!
//! libpcap looks at fixed places, so `host X` alone does not see a packet behind a VLAN tag. A rule here means the packet
//! whether it is tagged or not: the expression is repeated behind one tag and behind two. A rule that names tags or labels
//! itself is taken as it is written. What is in MPLS, PPPoE and tunnels a rule matches only when it says so.

use std::fmt;

use hindcap_wire::packet::LinkType;
use pcap::{BpfProgram, Capture, Linktype};

use crate::CaptureError;

/// Words after which libpcap looks for everything else further behind in the frame, to the end of the expression.
const SHIFTING: [&str; 4] = ["vlan", "mpls", "pppoes", "geneve"];

/// Rules, any of which makes a packet one to skip.
#[derive(Default)]
pub struct SkipRules {
    rules: Vec<String>,
    /// Compiled for each link type met so far.
    programs: Vec<(LinkType, Vec<BpfProgram>)>,
}

impl fmt::Debug for SkipRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SkipRules").field(&self.rules).finish()
    }
}

fn words(expression: &str) -> impl Iterator<Item = &str> {
    expression.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty())
}

fn shifts(expression: &str) -> bool {
    words(expression).any(|word| SHIFTING.contains(&word))
}

/// The expression for packets without tag, with one, and with two.
fn behind_tags(expression: &str) -> String {
    format!("({expression}) or (vlan and (({expression}) or (vlan and ({expression}))))")
}

/// libpcap's own number of a link type of savefiles, where the two differ (pcap-common.c in libpcap 1.10).
const fn dlt(link_type: LinkType) -> i32 {
    match link_type.0 {
        100 => 11,
        101 => 12,
        102 => 15,
        103 => 16,
        246 => 18,
        same => same as i32,
    }
}

fn compile(link_type: LinkType, expression: &str) -> Result<BpfProgram, pcap::Error> {
    Capture::dead(Linktype(dlt(link_type)))?.compile(expression, true)
}

fn refused(rule: &str, message: &str) -> CaptureError {
    let message = message.strip_prefix("libpcap error: ").unwrap_or(message).to_owned();
    CaptureError::Filter { filter: rule.to_owned(), message }
}

impl SkipRules {
    /// Rules as a person wrote them.
    ///
    /// # Errors
    /// One of them is no pcap-filter expression for Ethernet; libpcap's words.
    pub fn new(rules: Vec<String>) -> Result<Self, CaptureError> {
        for rule in &rules {
            // An empty expression matches everything, which nobody means.
            if rule.trim().is_empty() {
                return Err(refused(rule, "an empty rule would skip everything"));
            }
            compile(LinkType::ETHERNET, rule).map_err(|error| refused(rule, &error.to_string()))?;
        }
        Ok(Self { rules, programs: Vec::new() })
    }

    /// Number of rules.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// One expression for the kernel that lets pass what `filter` does and no rule skips; `None` when everything passes.
    /// `tags`: whether frames of the interface can have VLAN tags; those of "any" cannot.
    ///
    /// # Errors
    /// Rules that libpcap cannot take together.
    pub fn kernel_filter(&self, filter: Option<&str>, tags: bool) -> Result<Option<String>, CaptureError> {
        let filter = filter.filter(|filter| !filter.trim().is_empty());
        let skip = match self.rules.as_slice() {
            [] => return Ok(filter.map(str::to_owned)),
            [rule] if shifts(rule) => rule.clone(),
            rules => {
                if let Some(rule) = rules.iter().find(|rule| shifts(rule)) {
                    let reason = "a rule that names vlan, mpls, pppoes or geneve moves the places where libpcap looks \
                                  for the others: make it the only rule";
                    return Err(refused(rule, reason));
                }
                let any: Vec<String> = rules.iter().map(|rule| format!("({rule})")).collect();
                let any = any.join(" or ");
                if tags { behind_tags(&any) } else { any }
            }
        };
        // The filter first: a rule must not move the places it looks at.
        Ok(Some(match filter {
            Some(filter) => format!("({filter}) and not ({skip})"),
            None => format!("not ({skip})"),
        }))
    }

    /// Whether a rule skips the packet.
    pub fn skips(&mut self, link_type: LinkType, bytes: &[u8]) -> bool {
        if self.rules.is_empty() {
            return false;
        }
        let known = self.programs.iter().position(|(known, _)| *known == link_type);
        let at = known.unwrap_or_else(|| {
            let programs = self.rules.iter().filter_map(|rule| program(link_type, rule)).collect();
            self.programs.push((link_type, programs));
            self.programs.len() - 1
        });
        self.programs[at].1.iter().any(|program| program.filter(bytes))
    }
}

/// A rule for one link type; `None` when it has no meaning there or can never match.
fn program(link_type: LinkType, rule: &str) -> Option<BpfProgram> {
    let tagged = (!shifts(rule)).then(|| compile(link_type, &behind_tags(rule)).ok()).flatten();
    tagged.or_else(|| compile(link_type, rule).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An Ethernet frame with TCP from 192.0.2.1:80 to 192.0.2.2:4000 behind some tags.
    fn frame(tags: usize) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        (0..tags).for_each(|tag| frame.extend([0x81, 0, 0, 7 + tag as u8]));
        frame.extend([8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
        frame.extend([0, 80, 0x0f, 0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0]);
        frame
    }

    fn rules(rules: &[&str]) -> Result<SkipRules, CaptureError> {
        SkipRules::new(rules.iter().map(|&rule| rule.to_owned()).collect())
    }

    #[test]
    fn a_rule_means_the_packet_tagged_or_not() {
        for (rule, plain, tagged, twice) in [
            ("tcp port 80", true, true, true),
            ("host 192.0.2.9", false, false, false),
            ("vlan and host 192.0.2.1", false, true, false),
            ("vlan 8", false, false, false),
            ("vlan 7", false, true, true),
        ] {
            let mut rules = rules(&["udp", rule]).unwrap();
            let skipped = [0, 1, 2].map(|tags| rules.skips(LinkType::ETHERNET, &frame(tags)));
            assert_eq!(skipped, [plain, tagged, twice], "{rule}");
        }
        // Without tags to look behind, and without an Ethernet header.
        let mut raw = rules(&["tcp port 80", "ether host 02:00:00:00:00:01"]).unwrap();
        assert!(raw.skips(LinkType::RAW, &frame(0)[14..]) && !raw.skips(LinkType::RAW, &[]));
        assert!(!SkipRules::default().skips(LinkType::ETHERNET, &frame(0)));
    }

    #[test]
    fn the_kernel_gets_one_expression() {
        let none = SkipRules::default();
        assert_eq!(none.kernel_filter(Some("tcp"), true).unwrap().as_deref(), Some("tcp"));
        assert_eq!(none.kernel_filter(None, true).unwrap(), None);
        assert_eq!(none.kernel_filter(Some(" "), true).unwrap(), None);
        let two = rules(&["host 192.0.2.1", "net 10.0.0.0/8"]).unwrap();
        for (filter, untagged) in [(None, true), (Some("udp"), false), (Some("tcp"), true)] {
            let expression = two.kernel_filter(filter, true).unwrap().unwrap();
            let program = compile(LinkType::ETHERNET, &expression).unwrap();
            for tags in 0..3 {
                assert!(!program.filter(&frame(tags)), "{expression}");
            }
            let mut other = frame(0);
            other[14 + 15] = 7;
            assert_eq!(program.filter(&other), untagged, "{expression}");
        }
        let any = two.kernel_filter(None, false).unwrap().unwrap();
        assert_eq!(any, "not ((host 192.0.2.1) or (net 10.0.0.0/8))");
        let own = rules(&["vlan 7"]).unwrap().kernel_filter(Some("ip"), true).unwrap().unwrap();
        assert_eq!(own, "(ip) and not (vlan 7)");
        let both = rules(&["udp", "vlan 7"]).unwrap().kernel_filter(None, true).unwrap_err().to_string();
        assert!(both.contains("vlan 7") && both.contains("make it the only rule"), "{both}");
    }

    #[test]
    fn a_rule_that_says_nothing_is_refused() {
        let error = rules(&["tcp prot 80"]).unwrap_err().to_string();
        assert!(error.contains("tcp prot 80") && error.contains("syntax error"), "{error}");
        assert!(rules(&["udp", " "]).unwrap_err().to_string().contains("skip everything"));
    }
}
