//! Sessions as a table.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use super::super::{SessionRow, Sessions, TruncatedBy};
use super::{lines, thinned_lines};
use crate::flow::proto;

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
