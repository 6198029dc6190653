//! Which flow records a query wants. Records do not know a filter or a MAC address: there the packets are read first
//! ([`confirm`]).

pub(crate) mod confirm;

use std::sync::atomic::AtomicBool;

use hindcap_store::reader::{Reader, SegmentInfo};
use hindcap_store::volume::VolumeRead;
use hindcap_wire::index::FlowRecord;
use hindcap_wire::query::{Matcher, Query};

use crate::error::ExtractError;
use crate::select::Selector;
use confirm::Confirmed;

/// See the module.
pub(crate) struct Records {
    vlan: Option<u16>,
    pub(crate) selector: Selector,
    /// The flows with packets that match, when records cannot tell.
    pub(crate) confirmed: Option<Confirmed>,
}

impl Records {
    /// Reads packets where records cannot tell; `cancelled` is looked at before every such read.
    ///
    /// # Errors
    /// The query cannot be meant, or a filter or MAC address matches packets of too many sessions.
    pub(crate) fn new<V: VolumeRead>(
        reader: &mut Reader<V>,
        query: &Query,
        cancelled: Option<&AtomicBool>,
    ) -> Result<Self, ExtractError> {
        let matcher = Matcher::new(query)?;
        let unknown = query.filter.is_some() || query.mac.is_some();
        let confirmed = if unknown { Some(Confirmed::read(reader, query, cancelled)?) } else { None };
        Ok(Self { vlan: query.vlan, selector: Selector::new(query, matcher), confirmed })
    }

    /// Whether `segment` may have such records, by the catalog.
    pub(crate) fn may_be_in<V: VolumeRead>(&mut self, reader: &mut Reader<V>, segment: &SegmentInfo) -> bool {
        self.selector.may_be_in(reader, segment)
    }

    /// Whether `flow` is wanted.
    pub(crate) fn wants(&self, flow: &FlowRecord<'_>) -> bool {
        let vlan = self.vlan.is_none_or(|vlan| flow.key.vlan == vlan || flow.stacked_vlans);
        let named = self.confirmed.as_ref().is_none_or(|confirmed| confirmed.names(&flow.key));
        vlan && named && self.selector.matcher.may_match_flow(&flow.key)
    }

    /// What a reader should know of what is wanted, one sentence each.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.vlan.is_some() {
            notes.push(
                "of stacked VLAN tags the records keep the outermost; such sessions are listed".to_owned(),
            );
        }
        if let Some(confirmed) = &self.confirmed {
            notes.extend(confirmed.notes.iter().cloned());
            if confirmed.gaps > 0 {
                notes.push(format!("{} damaged places were passed over", confirmed.gaps));
            }
        }
        notes
    }
}
