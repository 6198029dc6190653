//! One rule: which events it is for, and what is done for them.

use hindcap_events::Reading;
use hindcap_wire::net::IpNet;
use regex::Regex;
use serde::{Deserialize, Serialize};

use super::severity::Severity;
use crate::args::Whom;

/// See the module. Conditions that are empty are met.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) name: String,
    /// Nothing is done for its events; later rules do not see them.
    pub(super) ignore: bool,
    /// Names of formats.
    pub(super) formats: Vec<String>,
    /// Somewhere in the line.
    pub(super) text: Option<Regex>,
    /// At least this severe; a line without severity does not match.
    pub(super) severity: Option<Severity>,
    /// An end lies in one of these.
    pub(super) networks: Vec<IpNet>,
    /// An end has one of these ports.
    pub(super) ports: Vec<u16>,
    pub(super) deed: Deed,
}

/// Who is asked: names and patterns of sensors, groups; each was checked when the rules were read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    pub(super) sensors: Vec<String>,
    pub(super) groups: Vec<String>,
}

impl Named {
    pub(super) fn is_nobody(&self) -> bool {
        self.sensors.is_empty() && self.groups.is_empty()
    }

    /// The same as an argument.
    pub(super) fn whom(&self) -> Whom {
        let sensor = self.sensors.iter().filter_map(|name| name.parse().ok()).collect();
        Whom { sensor, group: self.groups.clone(), ..Whom::default() }
    }
}

/// What is done for an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Deed {
    /// Who is asked; nobody named: the source's sensors, or whose site's networks hold an address.
    pub(super) named: Named,
    pub(super) case: Option<String>,
    pub(super) reason: Option<String>,
    /// Whether the session is pinned first, so that it outlasts the wait for its end.
    pub(super) pin: bool,
    /// How long the end of the session is waited for, seconds.
    pub(super) follow_secs: u64,
    /// Bytes of one session at most.
    pub(super) max_bytes: u64,
    /// How long the session is kept, seconds; absent: as long as there is.
    pub(super) keep_secs: Option<u64>,
    /// What follows the event.
    pub(super) host: Option<Subscription>,
}

/// "Also the next 30 minutes of this host."
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Subscription {
    pub(super) side: Side,
    pub(super) for_secs: u64,
    /// Bytes at most.
    pub(super) max_bytes: u64,
}

/// Which end of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Side {
    Src,
    Dst,
}

impl Rule {
    /// Whether what can be told without reading the line speaks for the rule.
    pub(super) fn may_match(&self, line: &str, severity: Option<Severity>) -> bool {
        let severe = self.severity.is_none_or(|least| severity.is_some_and(|severity| severity >= least));
        severe && self.text.as_ref().is_none_or(|text| text.is_match(line))
    }

    /// Whether the rule is for an event, once [`Rule::may_match`] said yes.
    pub(super) fn matches(&self, reading: &Reading) -> bool {
        let ends = || reading.alternatives.iter().flat_map(|ends| [ends.src, ends.dst]);
        let inside = |net: &IpNet| {
            ends().any(|end| end.addr.is_some_and(|addr| net.overlaps(&IpNet::host(addr.to_canonical()))))
        };
        let named = self.formats.iter().any(|format| format == reading.format);
        // Any text with an address in it can be guessed at: that must be asked for by name.
        (named || self.formats.is_empty() && !reading.guess)
            && (self.networks.is_empty() || self.networks.iter().any(inside))
            && (self.ports.is_empty()
                || ends().any(|end| end.port.is_some_and(|port| self.ports.contains(&port))))
    }
}

#[cfg(test)]
mod tests {
    use hindcap_events::{Context, Zone, parse};
    use hindcap_wire::time::Timestamp;

    use super::super::rules;
    use super::super::severity::severity;

    const LINE: &str = "05/14-09:01:49.390801  [**] [1:12628:2] ET MALWARE beacon [**] [Priority: 2] {TCP} \
                        192.168.133.50:4444 -> 198.51.100.9:443";

    /// Whether a rule with these keys is for `line`.
    fn is_for(keys: &str, line: &str) -> bool {
        let text = format!("[watch]\nstore = 'x'\n[[source]]\nstdin = true\n[[rule]]\nname = 'r'\n{keys}\n");
        let rule = rules::tests::parse(&text).rules.remove(0);
        let context = Context {
            zone: Some(Zone::new("UTC").unwrap()),
            ..Context::new(Timestamp::from_parts(1_790_000_000, 0))
        };
        rule.may_match(line, severity(line)) && rule.matches(&parse(line.as_bytes(), &context).unwrap())
    }

    #[test]
    fn every_condition_counts() {
        for (keys, expected) in [
            ("", true),
            ("text = 'et malware'", false),
            ("text = '(?i)et malware'", true),
            ("severity = 'medium'", true),
            ("severity = 'high'", false),
            ("formats = ['suricata-eve', 'snort-fast']", true),
            ("formats = ['suricata-eve']", false),
            ("networks = ['10.0.0.0/8', '198.51.100.0/24']", true),
            ("networks = ['10.0.0.0/8', '2001:db8::/32']", false),
            ("ports = [80, 443]", true),
            ("ports = [80]", false),
            ("ports = [443]\ntext = 'trojan'", false),
        ] {
            assert_eq!(is_for(keys, LINE), expected, "{keys}");
        }
    }

    #[test]
    fn guesses_must_be_asked_for() {
        let line = "2026-05-14T09:01:49Z something 192.168.0.1:1234 and 192.168.0.2:2345 tcp";
        assert!(!is_for("", line));
        assert!(is_for("formats = ['generic-ports']", line));
    }
}
