//! Judges a packet by the query alone: its conditions, then libpcap's filter.

use hindcap_wire::packet::{Dissection, LinkType};
use hindcap_wire::query::{Matcher, Query};

use crate::error::ExtractError;
use crate::filter::{Blind, Filter};
use crate::plan::Plan;
use crate::sorter::Place;
use crate::stream::{Found, Verdict, is_orphan};

/// See the module.
pub(crate) struct Base {
    matcher: Matcher,
    /// The query without ports, when it has any: what a later fragment can be asked before its first one is seen.
    loose: Option<Matcher>,
    filter: Option<(Filter, Blind)>,
}

impl Base {
    /// For the query of `plan`.
    ///
    /// # Errors
    /// As [`Filter::new`].
    pub fn new(plan: &Plan) -> Result<Self, ExtractError> {
        Self::of(&plan.query, &plan.selector.matcher, &plan.link_types)
    }

    /// For `query`, whose `matcher` this is, and packets of `link_types`.
    ///
    /// # Errors
    /// As [`Filter::new`].
    pub fn of(query: &Query, matcher: &Matcher, link_types: &[LinkType]) -> Result<Self, ExtractError> {
        let matcher = matcher.clone();
        let loose = matcher.asks_for_ports().then(|| matcher.without_ports());
        let filter = query.filter.as_deref().map(|text| Filter::new(text, link_types)).transpose()?;
        let filter = filter.map(|filter| {
            let blind = Blind::new(&filter);
            (filter, blind)
        });
        Ok(Self { matcher, loose, filter })
    }

    /// Whether a flow matches as a whole or not at all, but for the time and the direction.
    pub fn decides_by_flow(&self) -> bool {
        self.matcher.names_layer() && !self.matcher.names_frame() && self.filter.is_none()
    }

    pub fn matcher(&self) -> &Matcher {
        &self.matcher
    }

    pub fn judge(&mut self, found: &Found<'_>) -> Verdict {
        let at = found.place.at;
        let verdict = if self.matcher.matches(at, found.dissection) {
            Verdict::Yes
        } else if let Some(loose) = &self.loose {
            let perhaps = is_orphan(found.dissection) && loose.matches(at, found.dissection);
            if perhaps { Verdict::Perhaps } else { Verdict::No }
        } else {
            Verdict::No
        };
        if verdict == Verdict::No || self.passes(found) { verdict } else { Verdict::No }
    }

    fn passes(&mut self, found: &Found<'_>) -> bool {
        let Some((filter, blind)) = &mut self.filter else { return true };
        let packet = &found.at.packet;
        let passes = filter.passes(found.at.link_type, packet.bytes);
        if !passes {
            let truncated =
                usize::try_from(packet.orig_len).is_ok_and(|orig_len| orig_len > packet.bytes.len());
            blind.passed_over(found.dissection, truncated);
        }
        passes
    }

    /// Judges a later fragment again, now that its first one may have been seen.
    pub fn settle(&self, place: Place, dissection: &Dissection) -> bool {
        self.matcher.matches(place.at, dissection)
    }

    /// What a reader should know of the filter.
    pub fn notes(&self) -> Vec<String> {
        self.filter
            .iter()
            .flat_map(|(filter, blind)| filter.notes().into_iter().chain(blind.notes()))
            .collect()
    }
}
