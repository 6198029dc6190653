//! Top talkers from flow records: who made the most connections and moved the most bytes, by source, destination and
//! service port. Work is linear in the records of the window; memory is bounded by [`TALKERS_MAX`] per list.
//!
//! Only the general ring is asked: what the event ring has of pinned sessions are copies.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, Ordering};

use hindcap_store::reader::{Reader, SegmentInfo};
use hindcap_store::volume::VolumeRead;
use hindcap_wire::flow::{addr_from_bytes, proto};
use hindcap_wire::index::{FlowRecord, IndexDoc};
use hindcap_wire::message::answer::Answer;
use hindcap_wire::message::{Summarise, Summary, Talker, Top, Traffic};
use hindcap_wire::time::TimeRange;

use crate::continuity::Continuity;
use crate::error::ExtractError;
use crate::limits::TALKERS_MAX;
use crate::plan::{by_class, survey};
use crate::records::Records;

/// Sums up the sessions that `wanted.query` may mean. `cancelled` is looked at before every segment; what was summed up
/// until then is given.
///
/// # Errors
/// As for [`crate::search()`].
pub fn summarise<V: VolumeRead>(
    reader: &mut Reader<V>,
    wanted: &Summarise,
    cancelled: Option<&AtomicBool>,
) -> Result<Summary, ExtractError> {
    let window = wanted.query.time;
    let mut records = Records::new(reader, &wanted.query, cancelled)?;
    let (segments, _) = by_class(reader.segments());
    let mut sums = Sums { window, ..Sums::default() };
    for segment in &segments {
        if cancelled.is_some_and(|cancelled| cancelled.load(Ordering::Relaxed)) {
            break;
        }
        let touches = segment.packets > 0 && window.touches(segment.first, segment.last);
        if touches && records.may_be_in(reader, segment) {
            match reader.index(segment) {
                Ok(doc) => sums.segment(segment, &doc, &records),
                Err(_) => sums.lost += 1,
            }
        }
    }
    let survey = survey(reader, window, &segments);
    let mut told = Answer::default();
    survey.tell(&mut told);
    let mut notes = sums.notes();
    notes.extend(records.notes());
    let rows = usize::try_from(wanted.rows).unwrap_or(usize::MAX);
    Ok(Summary {
        window,
        total: sums.total,
        sources: sums.sources.top(rows),
        destinations: sums.destinations.top(rows),
        tcp_ports: sums.tcp_ports.top(rows),
        udp_ports: sums.udp_ports.top(rows),
        segments_read: sums.read,
        coverage: told.coverage,
        drops: told.drops,
        why_empty: (sums.total.connections == 0).then(|| survey.why_empty(0)),
        notes,
    })
}

#[derive(Default)]
struct Sums {
    window: TimeRange,
    total: Traffic,
    sources: Table<std::net::IpAddr>,
    destinations: Table<std::net::IpAddr>,
    tcp_ports: Table<u16>,
    udp_ports: Table<u16>,
    continuity: Continuity,
    read: u32,
    lost: u32,
    /// Flows without record.
    unlisted: u64,
}

impl Sums {
    fn segment(&mut self, segment: &SegmentInfo, doc: &IndexDoc, records: &Records) {
        self.read += 1;
        self.continuity.forget_before(segment.first);
        for flow in doc.flows() {
            if self.window.touches(flow.first, flow.last) && records.wants(&flow) {
                self.flow(&flow);
            }
        }
        if !doc.overflow().is_empty() && records.selector.may_overflow(doc) {
            self.unlisted += doc.overflow().flows;
        }
    }

    fn flow(&mut self, flow: &FlowRecord<'_>) {
        let key = &flow.key;
        let session = self.continuity.follow(flow);
        let more = Traffic {
            connections: u64::from(!session.goes_on),
            packets: flow.packets.into(),
            bytes: flow.bytes,
        };
        add(&mut self.total, &more);
        let ends = [(key.a, key.a_port), (key.b, key.b_port)];
        let [(client, _), (server, port)] = if session.a_first { ends } else { [ends[1], ends[0]] };
        self.sources.add(addr_from_bytes(client, key.version), &more);
        self.destinations.add(addr_from_bytes(server, key.version), &more);
        match key.proto {
            proto::TCP => self.tcp_ports.add(port, &more),
            proto::UDP => self.udp_ports.add(port, &more),
            _ => {}
        }
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.unlisted > 0 {
            notes.push(format!(
                "at least {} flows were not itemised because of a scan or flood; they are not counted",
                self.unlisted
            ));
        }
        if self.continuity.bounded {
            notes.push("there are so many flows that some sessions may count more than once".to_owned());
        }
        if self.lost > 0 {
            notes.push(format!("the records of {} segments cannot be read", self.lost));
        }
        notes
    }
}

fn add(sum: &mut Traffic, more: &Traffic) {
    sum.connections += more.connections;
    sum.packets += more.packets;
    sum.bytes = sum.bytes.saturating_add(more.bytes);
}

/// Sums by one kind of key. When there are more than [`TALKERS_MAX`] keys, those that are small in both orders go.
struct Table<K> {
    sums: HashMap<K, Traffic>,
    /// Keys that were let go.
    gone: u64,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self { sums: HashMap::new(), gone: 0 }
    }
}

impl<K: Copy + Eq + Hash + Ord> Table<K> {
    fn add(&mut self, key: K, more: &Traffic) {
        if self.sums.len() >= TALKERS_MAX && !self.sums.contains_key(&key) {
            self.let_go();
        }
        add(self.sums.entry(key).or_default(), more);
    }

    /// Keeps a quarter by each order.
    fn let_go(&mut self) {
        let mut kept = HashMap::with_capacity(TALKERS_MAX);
        for order in [by_connections, by_volume] {
            kept.extend(self.sorted(order).into_iter().take(TALKERS_MAX / 4));
        }
        self.gone += (self.sums.len() - kept.len()) as u64;
        self.sums = kept;
    }

    /// Largest first; equal ones by key, so that the same records give the same list.
    fn sorted(&self, order: fn(&Traffic) -> (u64, u64)) -> Vec<(K, Traffic)> {
        let mut rows: Vec<(K, Traffic)> = self.sums.iter().map(|(key, sum)| (*key, *sum)).collect();
        rows.sort_unstable_by_key(|(key, sum)| (std::cmp::Reverse(order(sum)), *key));
        rows
    }

    fn top(&self, rows: usize) -> Top<K> {
        let list = |order| {
            let sorted = self.sorted(order).into_iter().take(rows);
            sorted.map(|(who, traffic)| Talker { who, traffic }).collect()
        };
        Top {
            by_connections: list(by_connections),
            by_volume: list(by_volume),
            distinct: self.sums.len() as u64,
            inexact: self.gone > 0,
        }
    }
}

const fn by_connections(sum: &Traffic) -> (u64, u64) {
    (sum.connections, sum.bytes)
}

const fn by_volume(sum: &Traffic) -> (u64, u64) {
    (sum.bytes, sum.connections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_talkers_go_and_large_ones_stay_exact() {
        let mut table = Table::<u32>::default();
        let traffic = |connections, bytes| Traffic { connections, packets: 1, bytes };
        let count = u32::try_from(3 * TALKERS_MAX).unwrap();
        for key in 0..count {
            table.add(key, &traffic(1, 1));
            table.add(u32::MAX, &traffic(0, 1_000));
            table.add(u32::MAX - 1, &traffic(5, 0));
        }
        assert!(table.sums.len() <= TALKERS_MAX);
        let top = table.top(2);
        assert_eq!(
            (top.by_volume[0].who, top.by_volume[0].traffic.bytes),
            (u32::MAX, u64::from(count) * 1_000)
        );
        assert_eq!(top.by_connections[0].who, u32::MAX - 1);
        assert_eq!(top.by_connections[0].traffic.connections, u64::from(count) * 5);
        assert!(top.inexact && top.by_volume.len() == 2);
    }
}
