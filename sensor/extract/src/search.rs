//! Sessions from flow records. Packets are read only for what records do not know: a filter or a MAC address
//! ([`crate::records`]).
//!
//! Records of one flow that follow each other with less than the idle time-out between them are one session, also
//! across segments. What lies inside one segment is one record, so that a connection reopened on the same ports within
//! a segment shows as one session here; extraction with `session` tells them apart.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::AtomicBool;

use hindcap_store::reader::{Class, Reader, SegmentInfo};
use hindcap_store::volume::VolumeRead;
use hindcap_wire::community_id::CommunityId;
use hindcap_wire::flow::{FlowKey, addr_from_bytes};
use hindcap_wire::index::{FlowRecord, IndexDoc};
use hindcap_wire::ledger::{Event, EventKind};
use hindcap_wire::message::answer::{Answer, SessionRow, Sessions, TruncatedBy};
use hindcap_wire::query::Query;
use hindcap_wire::time::{TimeRange, Timestamp};

use crate::error::ExtractError;
use crate::limits::{ROWS_MAX, idle_nanos};
use crate::plan::by_class;
use crate::records::Records;
use crate::survey::Survey;

/// A session under construction.
#[derive(Clone, Copy, Debug)]
struct Row {
    key: FlowKey,
    first: Timestamp,
    last: Timestamp,
    /// By ring: a pinned session has records in both.
    packets: [u64; 2],
    bytes: [u64; 2],
    tcp_flags: u8,
    truncated: Option<TruncatedBy>,
    /// Whether end `a` spoke first, as far as records tell.
    a_first: bool,
}

impl Row {
    /// `by` is what truncates packets of its segment.
    fn of(flow: &FlowRecord<'_>, class: Class, by: TruncatedBy) -> Self {
        let of_class = |count: u64| match class {
            Class::General => [count, 0],
            Class::Event => [0, count],
        };
        Self {
            key: flow.key,
            first: flow.first,
            last: flow.last,
            packets: of_class(flow.packets.into()),
            bytes: of_class(flow.bytes),
            tcp_flags: flow.tcp_flags,
            truncated: flow.truncated.then_some(by),
            a_first: flow.a_sent_first,
        }
    }

    fn connects(&self, other: &Self) -> bool {
        let idle = idle_nanos(self.key.proto);
        other.first <= self.last.plus_nanos(idle) && self.first <= other.last.plus_nanos(idle)
    }

    fn join(&mut self, other: &Self) {
        self.a_first = if other.first < self.first { other.a_first } else { self.a_first };
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        for class in 0..2 {
            self.packets[class] += other.packets[class];
            self.bytes[class] += other.bytes[class];
        }
        self.tcp_flags |= other.tcp_flags;
        self.truncated = self.truncated.max(other.truncated);
    }

    fn finished(&self) -> SessionRow {
        let key = &self.key;
        let (a, b) = (addr_from_bytes(key.a, key.version), addr_from_bytes(key.b, key.version));
        let ends = [(a, key.a_port), (b, key.b_port)];
        let [(client, client_port), (server, server_port)] =
            if self.a_first { ends } else { [ends[1], ends[0]] };
        SessionRow {
            first: self.first,
            last: self.last,
            proto: key.proto,
            vlan: (key.vlan != FlowKey::NO_VLAN).then_some(key.vlan),
            client,
            client_port,
            server,
            server_port,
            // What both rings have of a session counts once.
            packets: self.packets[0].max(self.packets[1]),
            bytes: self.bytes[0].max(self.bytes[1]),
            tcp_flags: self.tcp_flags,
            truncated: self.truncated,
            community_id: CommunityId::of(key).to_string(),
        }
    }
}

/// Lists the sessions that `query` may mean, the one with the newest packet first, at most `limit` and [`ROWS_MAX`].
///
/// `cancelled` is looked at before every read of packets.
///
/// # Errors
/// The query cannot be meant, or a filter or MAC address matches packets of too many sessions.
pub fn search<V: VolumeRead>(
    reader: &mut Reader<V>,
    query: &Query,
    limit: usize,
    cancelled: Option<&AtomicBool>,
) -> Result<Sessions, ExtractError> {
    let records = Records::new(reader, query, cancelled)?;
    let segments = reader.segments().to_vec();
    let mut search = Search {
        window: query.time,
        records,
        limit: limit.min(ROWS_MAX),
        rows: HashMap::new(),
        count: 0,
        floor: Timestamp::MIN,
        dropped: false,
        flood: None,
        read: BTreeSet::new(),
        lost: 0,
    };
    let mut newest_first = segments.clone();
    newest_first.retain(|segment| segment.packets > 0);
    newest_first.sort_by_key(|segment| std::cmp::Reverse(segment.last));
    for segment in newest_first.iter().filter(|segment| query.time.touches(segment.first, segment.last)) {
        let what = if segment.last >= search.floor { Take::All } else { Take::Known };
        search.take(reader, segment, what);
    }
    search.extend(reader, newest_first);
    let survey = crate::plan::survey(reader, query.time, &by_class(&segments).0);
    Ok(search.finish(query, &segments, &survey))
}

/// What truncates packets of a segment.
fn truncated_by(segment: &SegmentInfo, doc: &IndexDoc) -> TruncatedBy {
    let steps = doc.events().filter_map(Event::decode).filter_map(|event| match event.kind {
        EventKind::Policy { policy, .. } => Some(policy),
        _ => None,
    });
    let mut policies = steps.chain(segment.step.map(|step| step.policy));
    if policies.any(|policy| policy.truncates()) { TruncatedBy::Policy } else { TruncatedBy::Capture }
}

/// Which records of a segment are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Take {
    /// Those in the window.
    All,
    /// Those in the window that go on with a session found before: the limit is reached.
    Known,
    /// Those outside the window that go on with a session found before.
    Beyond,
}

struct Search {
    window: TimeRange,
    records: Records,
    limit: usize,
    rows: HashMap<FlowKey, Vec<Row>>,
    count: usize,
    /// Sessions that ended before are beyond the limit.
    floor: Timestamp,
    dropped: bool,
    /// Flows without record, and where.
    flood: Option<(u64, TimeRange)>,
    /// The segments whose records were read.
    read: BTreeSet<(Class, u32)>,
    /// Segments whose records cannot be read.
    lost: u32,
}

impl Search {
    /// Takes a segment's records.
    fn take<V: VolumeRead>(&mut self, reader: &mut Reader<V>, segment: &SegmentInfo, what: Take) {
        self.dropped |= what == Take::Known;
        if !(what == Take::All || self.may_extend(segment)) || !self.records.may_be_in(reader, segment) {
            return;
        }
        let Ok(doc) = reader.index(segment) else {
            self.lost += 1;
            return;
        };
        self.read.insert((segment.class, segment.number));
        let not_before = reader.not_before(segment);
        let by = truncated_by(segment, &doc);
        for flow in doc.flows().filter(|flow| flow.last >= not_before) {
            let row = Row::of(&flow, segment.class, by);
            let within = self.window.touches(row.first, row.last);
            if within != (what == Take::Beyond)
                && self.records.wants(&flow)
                && (what == Take::All || self.goes_on(&row))
            {
                self.add(row);
            }
        }
        if what == Take::All {
            self.note_flood(segment, &doc);
        }
    }

    fn goes_on(&self, row: &Row) -> bool {
        self.rows.get(&row.key).is_some_and(|rows| rows.iter().any(|known| known.connects(row)))
    }

    /// Follows the sessions found beyond the window.
    fn extend<V: VolumeRead>(&mut self, reader: &mut Reader<V>, mut segments: Vec<SegmentInfo>) {
        let inside =
            |segment: &SegmentInfo| self.window.contains(segment.first) && self.window.contains(segment.last);
        segments.retain(|segment| !inside(segment));
        while let Some(next) = segments.iter().position(|segment| self.may_extend(segment)) {
            let segment = segments.remove(next);
            self.take(reader, &segment, Take::Beyond);
        }
    }

    /// Whether a session found so far may go on in `segment`.
    fn may_extend(&self, segment: &SegmentInfo) -> bool {
        self.rows.values().flatten().any(|row| {
            let idle = idle_nanos(row.key.proto);
            segment.first <= row.last.plus_nanos(idle) && row.first <= segment.last.plus_nanos(idle)
        })
    }

    fn add(&mut self, mut row: Row) {
        let rows = self.rows.entry(row.key).or_default();
        let before = rows.len();
        rows.retain(|known| {
            let connects = known.connects(&row);
            if connects {
                row.join(known);
            }
            !connects
        });
        rows.push(row);
        self.count = self.count + rows.len() - before;
        if self.count > 2 * self.limit.max(1) {
            self.cut();
        }
    }

    /// Lets go of the oldest sessions beyond the limit.
    fn cut(&mut self) {
        let mut ends: Vec<Timestamp> = self.rows.values().flatten().map(|row| row.last).collect();
        if ends.len() <= self.limit {
            return;
        }
        ends.sort_unstable_by(|one, other| other.cmp(one));
        self.floor = self.floor.max(ends.get(self.limit).copied().unwrap_or_default());
        self.dropped = true;
        let floor = self.floor;
        self.rows.retain(|_, rows| {
            rows.retain(|row| row.last >= floor);
            !rows.is_empty()
        });
        self.count = self.rows.values().map(Vec::len).sum();
    }

    fn note_flood(&mut self, segment: &SegmentInfo, doc: &IndexDoc) {
        if doc.overflow().is_empty() || !self.records.selector.may_overflow(doc) {
            return;
        }
        let range = TimeRange::new(segment.first, segment.last.plus_nanos(1));
        let (flows, known) = self.flood.unwrap_or((0, range));
        let range = TimeRange::new(known.start.min(range.start), known.end.max(range.end));
        self.flood = Some((flows + doc.overflow().flows, range));
    }

    fn finish(self, query: &Query, segments: &[SegmentInfo], survey: &Survey) -> Sessions {
        let mut rows: Vec<&Row> = self.rows.values().flatten().collect();
        if let Some(confirmed) = &self.records.confirmed {
            rows.retain(|row| confirmed.holds(&row.key, row.first, row.last));
        }
        rows.sort_by_key(|row| (std::cmp::Reverse((row.last, row.first)), row.key));
        let more = self.dropped || rows.len() > self.limit;
        rows.truncate(self.limit);
        let mut told = Answer::default();
        survey.tell(&mut told);
        let touched =
            segments.iter().filter(|s| s.packets > 0 && query.time.touches(s.first, s.last)).count();
        let mut sessions = Sessions {
            window: query.time,
            rows: rows.iter().map(|row| row.finished()).collect(),
            more,
            segments_searched: u32::try_from(touched).unwrap_or(u32::MAX),
            segments_read: u32::try_from(self.read.len()).unwrap_or(u32::MAX),
            coverage: told.coverage,
            thinned: told.thinned,
            why_empty: None,
            notes: Vec::new(),
        };
        sessions.why_empty = sessions.rows.is_empty().then(|| survey.why_empty(0));
        sessions.notes = self.notes();
        sessions
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some((flows, range)) = self.flood {
            notes.push(format!(
                "at least {flows} flows were not itemised because of a scan or flood {range}; \
                 extraction finds their packets all the same"
            ));
        }
        if self.lost > 0 {
            notes.push(format!("the records of {} segments cannot be read", self.lost));
        }
        notes.extend(self.records.notes());
        notes
    }
}
