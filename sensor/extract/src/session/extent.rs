//! How far flows reach, by flow records alone.

use std::collections::HashSet;

use hindcap_store::reader::{Reader, SegmentInfo};
use hindcap_store::volume::VolumeRead;
use hindcap_wire::community_id::CommunityId;
use hindcap_wire::flow::{FlowKey, proto};
use hindcap_wire::index::keys::{host_key, overflow_flow_key};
use hindcap_wire::index::{FilterKey, IndexDoc, PageSet};
use hindcap_wire::time::{TimeRange, Timestamp};

use super::{Flows, Pair, is_portless, pair_of, without_vlan};
use crate::error::ExtractError;
use crate::limits::{COUNTED_FLOWS_MAX, ORPHAN_WAIT_NANOS, SESSION_FLOWS_MAX, idle_nanos};
use crate::plan::Plan;
use crate::stream::Script;

/// First and last instant, both inclusive.
pub(super) type Extent = (Timestamp, Timestamp);

/// Flows asked of the catalog one by one; with more, every segment in reach counts as a candidate.
const ASKED_FLOWS_MAX: usize = 64;

fn union(one: Extent, other: Extent) -> Extent {
    (one.0.min(other.0), one.1.max(other.1))
}

/// Whether less than `idle` nanoseconds lie between them.
fn connects(one: Extent, other: Extent, idle: u64) -> bool {
    other.0 <= one.1.plus_nanos(idle) && one.0 <= other.1.plus_nanos(idle)
}

/// The flows that the query may mean and that were alive in its window, also between two of their packets.
pub(super) fn from_records<V: VolumeRead>(
    reader: &mut Reader<V>,
    plan: &Plan,
) -> Result<Flows, ExtractError> {
    let (matcher, window) = (&plan.selector.matcher, plan.query.time);
    let idle = idle_nanos(plan.query.proto.unwrap_or(proto::TCP));
    let reach = TimeRange::new(window.start.minus_nanos(idle), window.end.plus_nanos(idle));
    let mut flows = Flows::new();
    for segment in reader.segments().to_vec() {
        let within = segment.packets > 0 && reach.touches(segment.first, segment.last);
        if !within || !plan.selector.may_be_in(reader, &segment) {
            continue;
        }
        // A segment that cannot be read was reported by the plan.
        let Ok(doc) = reader.index(&segment) else { continue };
        for flow in doc.flows().filter(|flow| reach.touches(flow.first, flow.last)) {
            let key = without_vlan(&flow.key);
            if is_portless(&key) || !matcher.may_match_flow(&key) {
                continue;
            }
            let alive = window.touches(flow.first, flow.last);
            if alive || flows.len() < COUNTED_FLOWS_MAX || flows.contains_key(&key) {
                let extent = flows.entry(key).or_insert((flow.first, flow.last));
                *extent = union(*extent, (flow.first, flow.last));
            }
        }
    }
    flows.retain(|_, extent| window.touches(extent.0, extent.1));
    if flows.len() > SESSION_FLOWS_MAX {
        return Err(ExtractError::TooManySessions { most: SESSION_FLOWS_MAX });
    }
    Ok(flows)
}

/// Follows `flows` through neighbouring segments; gives the pages that hold their packets.
pub(super) fn gather<V: VolumeRead>(reader: &mut Reader<V>, window: TimeRange, flows: Flows) -> Script {
    let idle = flows.keys().map(|key| idle_nanos(key.proto)).max().unwrap_or(0);
    let pairs = flows.keys().map(pair_of).collect();
    let mut gather = Gather { flows, pairs, loose: Vec::new(), script: Script::default() };
    let mut unseen: Vec<SegmentInfo> =
        reader.segments().iter().filter(|segment| segment.packets > 0).cloned().collect();
    while let Some(hull) = gather.hull() {
        let next = unseen.iter().position(|segment| connects(hull, (segment.first, segment.last), idle));
        let Some(next) = next else { break };
        let segment = unseen.remove(next);
        if gather.may_be_in(reader, &segment) {
            if let Ok(doc) = reader.index(&segment) {
                gather.take(&segment, &doc);
            }
        }
    }
    let (first, last) = gather.hull().unwrap_or((window.start, window.start));
    let mut script = gather.script;
    script.reads = TimeRange::new(first.minus_nanos(ORPHAN_WAIT_NANOS), last.plus_nanos(ORPHAN_WAIT_NANOS));
    script.narrow();
    script.sort();
    script
}

struct Gather {
    flows: Flows,
    pairs: HashSet<Pair>,
    /// Stretches of known flows that do not connect yet.
    loose: Vec<(FlowKey, Extent)>,
    script: Script,
}

impl Gather {
    fn hull(&self) -> Option<Extent> {
        self.flows.values().copied().reduce(union)
    }

    fn may_be_in<V: VolumeRead>(&self, reader: &mut Reader<V>, segment: &SegmentInfo) -> bool {
        self.flows.len() > ASKED_FLOWS_MAX
            || self
                .flows
                .keys()
                .any(|key| reader.may_contain(segment, &[FilterKey::Flow(CommunityId::of(key).key())]))
    }

    fn take(&mut self, segment: &SegmentInfo, doc: &IndexDoc) {
        let mut pages = PageSet::new();
        for flow in doc.flows() {
            let key = without_vlan(&flow.key);
            if self.flows.contains_key(&key) {
                self.loose.push((key, (flow.first, flow.last)));
                flow.postings.add_to(&mut pages);
            } else if is_portless(&key) && self.pairs.contains(&pair_of(&key)) {
                flow.postings.add_to(&mut pages);
            }
        }
        if !doc.overflow().is_empty() {
            self.take_overflow(segment, doc, &mut pages);
        }
        self.connect();
        self.script.add(segment, doc, pages);
    }

    /// Packets of a flood have no records: the flow may be anywhere in the quarters that the filters name.
    fn take_overflow(&mut self, segment: &SegmentInfo, doc: &IndexDoc, pages: &mut PageSet) {
        for key in self.flows.keys() {
            let (a, b) = (host_key(&key.a, key.version), host_key(&key.b, key.version));
            let found = doc.overflow_pages(&[a, b, overflow_flow_key(key)]);
            if !found.is_empty() {
                pages.union(&found);
                self.loose.push((*key, (segment.first, segment.last)));
            }
        }
    }

    /// Lets extents grow by the stretches that reach them, until none does.
    fn connect(&mut self) {
        let mut grew = true;
        while grew {
            grew = false;
            let flows = &mut self.flows;
            self.loose.retain(|(key, stretch)| {
                let Some(extent) = flows.get_mut(key) else { return false };
                let reaches = connects(*extent, *stretch, idle_nanos(key.proto));
                if reaches {
                    *extent = union(*extent, *stretch);
                    grew = true;
                }
                !reaches
            });
        }
    }
}
