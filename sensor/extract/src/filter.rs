//! pcap-filter expressions, compiled by libpcap for each link type and evaluated packet by packet.
//!
//! libpcap's programs look at fixed places: `host X` does not see a packet inside a VLAN tag, an MPLS label, a PPPoE
//! session or a tunnel unless the expression says so. [`Blind`] notices when such packets were passed over, so that an
//! answer explains it.

use hindcap_wire::packet::{Dissection, LinkType};
use pcap::{BpfProgram, Capture, Dead, Linktype, Precision};

use crate::error::ExtractError;

/// An expression for every link type met so far.
pub(crate) struct Filter {
    expression: String,
    programs: Vec<(LinkType, Program)>,
}

enum Program {
    Some(BpfProgram),
    /// libpcap proved that the expression can never match on this link type.
    Never,
    /// The expression has no meaning on this link type; libpcap's words.
    Unfit(String),
}

/// libpcap's complaint about an expression that is legal and matches nothing.
const REJECTS_ALL: &str = "expression rejects all packets";

/// libpcap's own number (DLT_) of a link type of savefiles (LINKTYPE_): they differ where systems once disagreed
/// (pcap-common.c in libpcap 1.10).
const fn dlt(link_type: LinkType) -> i32 {
    match link_type.0 {
        100 => 11, // ATM RFC 1483
        101 => 12, // raw IP
        102 => 15, // BSD/OS SLIP
        103 => 16, // BSD/OS PPP
        246 => 18, // OpenBSD pfsync
        same => same as i32,
    }
}

fn compile(link_type: LinkType, expression: &str) -> Program {
    let handle = Capture::<Dead>::dead_with_precision(Linktype(dlt(link_type)), Precision::Nano);
    match handle.and_then(|handle| handle.compile(expression, true)) {
        Ok(program) => Program::Some(program),
        Err(err) if err.to_string().contains(REJECTS_ALL) => Program::Never,
        Err(err) => Program::Unfit(err.to_string()),
    }
}

impl Filter {
    /// Checks `expression` against the link types of the store, or Ethernet while it has none.
    ///
    /// # Errors
    /// libpcap's words when the expression fits no link type.
    pub fn new(expression: &str, link_types: &[LinkType]) -> Result<Self, ExtractError> {
        let link_types = if link_types.is_empty() { &[LinkType::ETHERNET] } else { link_types };
        let mut filter = Self { expression: expression.to_owned(), programs: Vec::new() };
        for link_type in link_types {
            filter.program(*link_type);
        }
        let mut unfit = None;
        for (_, program) in &filter.programs {
            match program {
                Program::Unfit(reason) => unfit = Some(reason.clone()),
                Program::Some(_) | Program::Never => return Ok(filter),
            }
        }
        let reason = unfit.unwrap_or_default();
        Err(ExtractError::Filter { expression: filter.expression, reason })
    }

    fn program(&mut self, link_type: LinkType) -> &Program {
        let known = self.programs.iter().position(|(known, _)| *known == link_type);
        let position = known.unwrap_or_else(|| {
            self.programs.push((link_type, compile(link_type, &self.expression)));
            self.programs.len() - 1
        });
        &self.programs[position].1
    }

    /// Whether the packet passes.
    pub fn passes(&mut self, link_type: LinkType, bytes: &[u8]) -> bool {
        match self.program(link_type) {
            Program::Some(program) => program.filter(bytes),
            Program::Never | Program::Unfit(_) => false,
        }
    }

    /// One sentence for each link type that the expression could not be compiled for.
    pub fn notes(&self) -> Vec<String> {
        let unfit = self.programs.iter().filter_map(|(link_type, program)| match program {
            Program::Unfit(reason) => Some((link_type, reason)),
            Program::Some(_) | Program::Never => None,
        });
        unfit
            .map(|(link_type, reason)| {
                format!("the filter says nothing about packets of link type {}: {reason}", link_type.0)
            })
            .collect()
    }

    /// Whether the expression itself asks for lengths; libpcap is told the captured length, not that on the wire.
    fn asks_for_length(&self) -> bool {
        words(&self.expression).any(|word| matches!(word, "len" | "less" | "greater"))
    }
}

fn words(expression: &str) -> impl Iterator<Item = &str> {
    expression.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty())
}

/// Counts packets that a filter passed over and that carry what it did not name.
#[derive(Debug, Default)]
pub(crate) struct Blind {
    names_vlan: bool,
    names_tunnel: bool,
    asks_for_length: bool,
    tagged: u64,
    tunnelled: u64,
    cut: u64,
}

impl Blind {
    /// For `filter`.
    pub fn new(filter: &Filter) -> Self {
        let names = |wanted: &[&str]| words(&filter.expression).any(|word| wanted.contains(&word));
        Self {
            names_vlan: names(&["vlan"]),
            names_tunnel: names(&["mpls", "pppoes", "pppoed", "geneve", "vxlan"]),
            asks_for_length: filter.asks_for_length(),
            ..Self::default()
        }
    }

    /// Notes a packet that the filter passed over.
    pub fn passed_over(&mut self, dissection: &Dissection, truncated: bool) {
        self.tagged += u64::from(!dissection.vlans.is_empty());
        self.tunnelled += u64::from(dissection.layers.len() > 1);
        self.cut += u64::from(truncated);
    }

    /// What a reader should know.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.tagged > 0 && !self.names_vlan {
            notes.push(format!(
                "the filter passed over {} packets with VLAN tags and cannot see what is behind a tag: \
                 use --host, --port, --proto, or repeat the expression after \"vlan and\"",
                self.tagged
            ));
        }
        if self.tunnelled > 0 && !self.names_tunnel {
            notes.push(format!(
                "the filter passed over {} packets with tunnels inside and sees only their outer headers: \
                 --host, --port and --proto look inside",
                self.tunnelled
            ));
        }
        if self.cut > 0 && self.asks_for_length {
            notes.push(format!(
                "{} packets were captured in part, and the filter's lengths are those of the captured part",
                self.cut
            ));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An Ethernet frame with an IPv4 TCP header from 192.0.2.1:80 to 192.0.2.2:4000, tagged or not.
    fn frame(tag: Option<u16>) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        if let Some(vlan) = tag {
            frame.extend([0x81, 0]);
            frame.extend(vlan.to_be_bytes());
        }
        frame.extend([8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
        frame.extend([0, 80, 0x0f, 0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0]);
        frame
    }

    #[test]
    fn libpcap_decides_per_link_type() {
        let mut filter = Filter::new("tcp port 80", &[]).unwrap();
        assert!(
            filter.passes(LinkType::ETHERNET, &frame(None))
                && !filter.passes(LinkType::ETHERNET, &frame(Some(7)))
        );
        assert!(
            filter.passes(LinkType::RAW, &frame(None)[14..]) && !filter.passes(LinkType::RAW, &frame(None))
        );
        assert!(!filter.passes(LinkType::ETHERNET, &[]));
        let mut never = Filter::new("ip and ip6", &[]).unwrap();
        assert!(!never.passes(LinkType::ETHERNET, &frame(None)) && never.notes().is_empty());
    }

    #[test]
    fn errors_are_libpcaps() {
        let err = Filter::new("tcp prot 80", &[]).err().unwrap().to_string();
        assert!(err.contains("tcp prot 80") && err.contains("syntax error"), "{err}");
        let mut filter =
            Filter::new("ether host 02:00:00:00:00:01", &[LinkType::RAW, LinkType::ETHERNET]).unwrap();
        assert!(
            filter.passes(LinkType::ETHERNET, &frame(None)) && !filter.passes(LinkType::RAW, &frame(None))
        );
        assert_eq!(filter.notes().len(), 1, "{:?}", filter.notes());
    }

    #[test]
    fn blindness_is_explained() {
        let note_of = |expression: &str, dissection: &Dissection| {
            let mut blind = Blind::new(&Filter::new(expression, &[]).unwrap());
            blind.passed_over(dissection, true);
            blind.notes()
        };
        let mut tagged = Dissection::default();
        assert_eq!(note_of("host 192.0.2.1", &tagged), Vec::<String>::new());
        tagged.vlans.push(7).unwrap();
        assert!(note_of("host 192.0.2.1", &tagged)[0].contains("1 packets with VLAN tags"));
        assert_eq!(note_of("vlan 8 and host 192.0.2.1", &tagged), Vec::<String>::new());
        assert!(note_of("vlan and greater 100", &tagged)[0].contains("captured part"));
    }
}
