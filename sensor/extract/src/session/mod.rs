//! From the packets that a query names to the whole sessions they belong to: back to the SYN, forward to FIN, RST or
//! the idle time-out ([`idle_nanos`]), across segments. The VLAN does not count: the two directions of a
//! session may carry different tags.
//!
//! 1. Flows: from flow records, or, where records cannot decide (filters, MACs, floods), from the matching packets.
//! 2. Extents: flow records of neighbouring segments, as long as less than the idle time-out lies between them.
//! 3. Borders: the packets of those flows in time order, split where a session ends ([`track`]).
//! 4. The sessions that hold a match, or that were alive in the window, are given by the caller's second reading.

mod extent;
pub(crate) mod track;

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use hindcap_store::reader::Reader;
use hindcap_store::volume::VolumeRead;
use hindcap_wire::flow::{AddrBytes, FlowKey, proto};
use hindcap_wire::packet::{Dissection, FlowLayer};
use hindcap_wire::time::TimeRange;

use crate::base::Base;
use crate::error::ExtractError;
use crate::limits::{ORPHAN_WAIT_NANOS, SESSION_FLOWS_MAX, SESSIONS_MAX, idle_nanos};
use crate::options::Options;
use crate::plan::Plan;
use crate::probe::{key_of, matching, packets, without_vlan};
use crate::sorter::{Place, Waiting};
use crate::stream::{Found, Judge, Report, Script, Verdict, is_orphan, stream};
use track::{Mark, Tracks};

/// Where the sessions lie and what must be read for them.
pub(crate) struct Widened {
    pub script: Script,
    pub chosen: Chosen,
    pub report: Report,
}

/// A flow of fragments whose ports are not known.
pub(crate) fn is_portless(key: &FlowKey) -> bool {
    matches!(key.proto, proto::TCP | proto::UDP | proto::SCTP) && (key.a_port, key.b_port) == (0, 0)
}

/// Two hosts in order, and the protocol between them.
pub(crate) type Pair = (AddrBytes, AddrBytes, u8);

pub(crate) fn pair_of(key: &FlowKey) -> Pair {
    (key.a.min(key.b), key.a.max(key.b), key.proto)
}

/// The sessions that are to be given.
pub(crate) struct Chosen {
    /// First and last packet of each, both inclusive, ascending.
    sessions: HashMap<FlowKey, Vec<(Place, Place)>>,
    pairs: HashSet<Pair>,
}

impl Chosen {
    /// Whether a packet belongs to one of them.
    pub fn judge(&self, place: Place, dissection: &Dissection) -> Verdict {
        let within = |layer: &FlowLayer| {
            let sessions = self.sessions.get(&key_of(layer).0);
            sessions.is_some_and(|sessions| sessions.iter().any(|(from, to)| *from <= place && place <= *to))
        };
        if dissection.layers.iter().any(within) {
            return Verdict::Yes;
        }
        let last = dissection.layers.last().map(|layer| pair_of(&key_of(layer).0));
        let perhaps = is_orphan(dissection) && last.is_some_and(|pair| self.pairs.contains(&pair));
        if perhaps { Verdict::Perhaps } else { Verdict::No }
    }

    /// Whether sessions of this flow are among them.
    pub fn has(&self, key: &FlowKey) -> bool {
        self.sessions.contains_key(key)
    }

    fn span(&self) -> Option<TimeRange> {
        let all = || self.sessions.values().flatten();
        let first = all().map(|(from, _)| from.at).min()?;
        let last = all().map(|(_, to)| to.at).max()?;
        Some(TimeRange::new(first.minus_nanos(ORPHAN_WAIT_NANOS), last.plus_nanos(ORPHAN_WAIT_NANOS)))
    }
}

/// Finds the sessions that `plan`'s query leads to.
///
/// # Errors
/// There are too many.
pub(crate) fn widen<V: VolumeRead>(
    reader: &mut Reader<V>,
    plan: &Plan,
    options: &Options<'_>,
) -> Result<Widened, ExtractError> {
    let matcher = &plan.selector.matcher;
    let by_records =
        matcher.names_layer() && !matcher.names_frame() && plan.query.filter.is_none() && !plan.overflows;
    let mut report = Report::default();
    let flows = if by_records {
        extent::from_records(reader, plan)?
    } else {
        probe(reader, plan, options, &mut report)?
    };
    let mut script = extent::gather(reader, plan.query.time, flows.clone());
    let chosen = trace(reader, plan, options, &script, (&flows, by_records), &mut report)?;
    if !matcher.names_layer() {
        script.join(&plan.script);
    }
    let window = plan.query.time;
    let span = chosen.span().unwrap_or(window);
    script.reads = TimeRange::new(span.start.min(window.start), span.end.max(window.end));
    script.sort();
    Ok(Widened { script, chosen, report })
}

/// Flows and the times in which they are known to have been alive, both inclusive.
type Flows = HashMap<FlowKey, extent::Extent>;

/// The flows of matching packets, and when they were seen to match.
fn probe<V: VolumeRead>(
    reader: &mut Reader<V>,
    plan: &Plan,
    options: &Options<'_>,
    report: &mut Report,
) -> Result<Flows, ExtractError> {
    let mut flows = Flows::new();
    let probed = packets(reader, plan, options, |key, at| {
        let extent = flows.entry(key).or_insert((at, at));
        *extent = (extent.0.min(at), extent.1.max(at));
        if flows.len() > SESSION_FLOWS_MAX {
            return Err(ExtractError::TooManySessions { most: SESSION_FLOWS_MAX });
        }
        Ok(())
    })?;
    report.join(probed.report);
    Ok(flows)
}

/// Notes what each packet of the flows means for its session.
struct Tracer<'f> {
    base: Base,
    flows: &'f Flows,
}

impl Judge for Tracer<'_> {
    type Item = Mark;

    fn judge(&mut self, found: &Found<'_>) -> Verdict {
        let known = |layer: &FlowLayer| self.flows.contains_key(&key_of(layer).0);
        if found.dissection.layers.iter().any(known) { Verdict::Yes } else { Verdict::No }
    }

    fn settle(&mut self, _: Place, _: &Dissection) -> bool {
        false
    }

    fn item(&mut self, found: &Found<'_>) -> Mark {
        let hit = self.base.judge(found) == Verdict::Yes;
        let fits = self.base.matcher().matches_frame(found.dissection);
        let named: Vec<FlowKey> =
            matching(&self.base, found.dissection).map(|layer| key_of(layer).0).collect();
        let layers = found.dissection.layers.iter().filter_map(|layer| {
            let (key, forward) = key_of(layer);
            let named = named.contains(&key);
            let seen = track::Seen {
                key,
                forward,
                tcp_flags: layer.tcp_flags,
                hit: hit && named,
                fits: fits && named,
            };
            self.flows.contains_key(&key).then_some(seen)
        });
        Mark(layers.collect())
    }
}

fn trace<V: VolumeRead>(
    reader: &mut Reader<V>,
    plan: &Plan,
    options: &Options<'_>,
    script: &Script,
    (flows, by_records): (&Flows, bool),
    report: &mut Report,
) -> Result<Chosen, ExtractError> {
    let mut tracks = Tracks::new(plan.query.time, by_records);
    let mut judge = Tracer { base: Base::new(plan)?, flows };
    let emit = |place: Place, mark: &mut Mark| {
        mark.0.iter().for_each(|seen| tracks.see(place, seen));
        if tracks.chosen() > SESSIONS_MAX {
            return Err(ExtractError::TooManySessions { most: SESSIONS_MAX });
        }
        Ok(ControlFlow::Continue(()))
    };
    let waiting = options.waiting_bytes_max;
    report.join(stream(reader, script, &mut judge, waiting, options.cancelled, emit)?);
    let sessions = tracks.finish();
    let pairs = sessions.keys().map(pair_of).collect();
    Ok(Chosen { sessions, pairs })
}
