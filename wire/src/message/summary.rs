//! Top talkers: who made the most connections and moved the most bytes in a window, by flow records.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::answer::{Bytes, WhyEmpty};
use crate::counted::Counted;
use crate::drops::DropCounts;
use crate::query::Query;
use crate::time::TimeRange;

/// Asks for the top talkers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Summarise {
    /// Of which sessions.
    pub query: Query,
    /// Rows of each list, up to [`crate::limits::SUMMARY_ROWS_MAX`].
    pub rows: u32,
}

impl Default for Summarise {
    fn default() -> Self {
        Self { query: Query::default(), rows: 10 }
    }
}

/// The top talkers of a window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The window that was searched. What a flow record tells of both sides of its edge counts whole.
    pub window: TimeRange,
    /// Everything that matches.
    pub total: Traffic,
    /// By the end that spoke first.
    pub sources: Top<IpAddr>,
    /// By the other end.
    pub destinations: Top<IpAddr>,
    /// By the other end's port, of TCP.
    pub tcp_ports: Top<u16>,
    /// By the other end's port, of UDP.
    pub udp_ports: Top<u16>,
    /// Segments whose flow records were read.
    pub segments_read: u32,
    /// Intervals of the window in which the recorder was running.
    pub coverage: Vec<TimeRange>,
    /// Packets lost in the window, by cause.
    pub drops: DropCounts,
    /// Why there is nothing.
    pub why_empty: Option<WhyEmpty>,
    /// What else a reader should know, one sentence each.
    pub notes: Vec<String>,
}

/// How much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Sessions.
    pub connections: u64,
    /// Packets of both directions.
    pub packets: u64,
    /// Bytes on the wire of both directions.
    pub bytes: u64,
}

/// The largest of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Top<K> {
    /// By sessions, most first.
    pub by_connections: Vec<Talker<K>>,
    /// By bytes, most first.
    pub by_volume: Vec<Talker<K>>,
    /// How many there are in all.
    pub distinct: u64,
    /// Whether there were too many to keep each: small ones were let go, `distinct` is too small, and a row may lack what
    /// its talker did while it was small.
    pub inexact: bool,
}

impl<K> Default for Top<K> {
    fn default() -> Self {
        Self { by_connections: Vec::new(), by_volume: Vec::new(), distinct: 0, inexact: false }
    }
}

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Talker<K> {
    /// An address or a port.
    pub who: K,
    /// What it did.
    pub traffic: Traffic,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Traffic { connections, packets, bytes } = self.total;
        writeln!(
            f,
            "{}: {}, {}, {}",
            self.window,
            Counted(connections, "connection"),
            Counted(packets, "packet"),
            Bytes(bytes)
        )?;
        if connections > 0 {
            self.sources.table(f, "SOURCE")?;
            self.destinations.table(f, "DESTINATION")?;
            self.tcp_ports.table(f, "TCP PORT")?;
            self.udp_ports.table(f, "UDP PORT")?;
        }
        if let Some(why) = self.why_empty {
            writeln!(f, "empty: {why}")?;
        }
        if self.drops.total() > 0 {
            writeln!(f, "dropped: {}", Counted(self.drops.total(), "packet"))?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))
    }
}

impl<K: fmt::Display> Top<K> {
    /// Two tables.
    fn table(&self, f: &mut fmt::Formatter<'_>, head: &str) -> fmt::Result {
        if self.distinct == 0 {
            return Ok(());
        }
        let least = if self.inexact { "at least " } else { "" };
        for (rows, order) in [(&self.by_connections, "connections"), (&self.by_volume, "volume")] {
            let names: Vec<String> = rows.iter().map(|row| row.who.to_string()).collect();
            let title = format!("{head} by {order}");
            let width = names.iter().map(String::len).max().unwrap_or(0).max(title.len());
            let shown = format!("{} of {least}{}", rows.len(), self.distinct);
            writeln!(f, "\n{title:<width$}  CONNECTIONS     PACKETS         BYTES   ({shown})")?;
            for (name, Talker { traffic, .. }) in names.iter().zip(rows) {
                let bytes = Bytes(traffic.bytes).to_string();
                writeln!(
                    f,
                    "{name:<width$}  {:>11}  {:>10}  {bytes:>12}",
                    traffic.connections, traffic.packets
                )?;
            }
        }
        Ok(())
    }
}
