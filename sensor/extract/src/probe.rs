//! The flows of the packets that match a query, where flow records cannot tell: filters, MAC addresses, floods.

use std::ops::ControlFlow;

use hindcap_store::reader::Reader;
use hindcap_store::volume::VolumeRead;
use hindcap_wire::flow::FlowKey;
use hindcap_wire::packet::{Dissection, FlowLayer};
use hindcap_wire::time::Timestamp;

use crate::base::Base;
use crate::error::ExtractError;
use crate::options::Options;
use crate::plan::Plan;
use crate::sorter::{Place, Waiting};
use crate::stream::{Found, Judge, Report, Verdict, stream};

/// The key of a layer's flow, whatever its VLAN, and whether the packet went from `a` to `b`.
pub(crate) fn key_of(layer: &FlowLayer) -> (FlowKey, bool) {
    FlowKey::of(&layer.tuple, None)
}

pub(crate) fn without_vlan(key: &FlowKey) -> FlowKey {
    FlowKey { vlan: FlowKey::NO_VLAN, ..*key }
}

/// The layer that the query matches, or all of them when it names none.
pub(crate) fn matching<'d>(base: &Base, dissection: &'d Dissection) -> impl Iterator<Item = &'d FlowLayer> {
    let matcher = base.matcher();
    let one = if matcher.names_layer() { matcher.layer_of(dissection) } else { None };
    let all = if matcher.names_layer() { &[][..] } else { dissection.layers.as_slice() };
    one.into_iter().chain(all)
}

/// What the reading was like.
pub(crate) struct Probed {
    pub report: Report,
    /// What a reader should know of the filter.
    pub notes: Vec<String>,
}

/// Gives `see` each flow of each packet that matches `plan`'s query, in time order.
///
/// # Errors
/// The filter is not understood, or whatever `see` says.
pub(crate) fn packets<V: VolumeRead>(
    reader: &mut Reader<V>,
    plan: &Plan,
    options: &Options<'_>,
    mut see: impl FnMut(FlowKey, Timestamp) -> Result<(), ExtractError>,
) -> Result<Probed, ExtractError> {
    let mut judge = Probe { base: Base::new(plan)? };
    let emit = |place: Place, keys: &mut Keys| {
        keys.0.iter().try_for_each(|key| see(*key, place.at)).map(|()| ControlFlow::Continue(()))
    };
    let waiting = options.waiting_bytes_max;
    let report = stream(reader, &plan.script, &mut judge, waiting, options.cancelled, emit)?;
    Ok(Probed { report, notes: judge.base.notes() })
}

struct Probe {
    base: Base,
}

/// Up to four flows of one packet.
struct Keys(Vec<FlowKey>);

impl Waiting for Keys {
    fn weight(&self) -> usize {
        128 + self.0.len() * size_of::<FlowKey>()
    }
}

impl Judge for Probe {
    type Item = Keys;

    fn judge(&mut self, found: &Found<'_>) -> Verdict {
        if self.base.judge(found) == Verdict::Yes { Verdict::Yes } else { Verdict::No }
    }

    fn settle(&mut self, _: Place, _: &Dissection) -> bool {
        false
    }

    fn item(&mut self, found: &Found<'_>) -> Keys {
        Keys(matching(&self.base, found.dissection).map(|layer| key_of(layer).0).collect())
    }
}
