//! What a filter or a MAC address asks for is not in flow records: the packets say which flows match, and when.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

use hindcap_store::reader::Reader;
use hindcap_store::volume::VolumeRead;
use hindcap_wire::flow::FlowKey;
use hindcap_wire::query::Query;
use hindcap_wire::time::Timestamp;

use crate::error::ExtractError;
use crate::limits::{SESSIONS_MAX, idle_nanos};
use crate::options::Options;
use crate::plan::plan;
use crate::probe::{packets, without_vlan};

/// Flows with matching packets.
pub(crate) struct Confirmed {
    /// First and last matching packet of each stretch without a pause as long as the idle time-out, ascending.
    times: HashMap<FlowKey, Vec<(Timestamp, Timestamp)>>,
    /// What a reader should know of the filter.
    pub notes: Vec<String>,
    /// Damaged or overwritten places that were passed over.
    pub gaps: usize,
}

impl Confirmed {
    /// Reads the packets that `query` may mean.
    ///
    /// # Errors
    /// The filter is not understood, or matches too many sessions.
    pub fn read<V: VolumeRead>(
        reader: &mut Reader<V>,
        query: &Query,
        cancelled: Option<&AtomicBool>,
    ) -> Result<Self, ExtractError> {
        let plan = plan(reader, query)?;
        let mut times: HashMap<FlowKey, Vec<(Timestamp, Timestamp)>> = HashMap::new();
        let mut stretches = 0;
        let options = Options { cancelled, ..Options::default() };
        let probed = packets(reader, &plan, &options, |key, at| {
            let known = times.entry(key).or_default();
            match known.last_mut() {
                Some((_, last)) if at < last.plus_nanos(idle_nanos(key.proto)) => *last = at,
                _ => {
                    known.push((at, at));
                    stretches += 1;
                }
            }
            if stretches > SESSIONS_MAX {
                return Err(ExtractError::TooManySessions { most: SESSIONS_MAX });
            }
            Ok(())
        })?;
        Ok(Self { times, notes: probed.notes, gaps: probed.report.gaps.len() })
    }

    /// Whether some packet of the flow matches.
    pub fn names(&self, key: &FlowKey) -> bool {
        self.times.contains_key(&without_vlan(key))
    }

    /// Whether some packet of the flow matches from `first` to `last`.
    pub fn holds(&self, key: &FlowKey, first: Timestamp, last: Timestamp) -> bool {
        let times = self.times.get(&without_vlan(key));
        times.is_some_and(|times| times.iter().any(|(from, to)| *from <= last && first <= *to))
    }
}
