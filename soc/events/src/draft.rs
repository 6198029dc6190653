//! What a format hands back, before zone, year and settings are applied.

use std::fmt::Display;

use crate::fields::End;
use crate::reading::{Assumption, Direction, Field, Kind, Meaning, View};
use crate::resolve;
use crate::stamp::Stamp;

/// What a format found in a line. Every text is a slice of the clean line.
#[derive(Debug, Default)]
pub(crate) struct Draft<'a> {
    /// The views of the session, best first.
    pub(crate) views: Vec<(View, End<'a>, End<'a>)>,
    pub(crate) direction: Direction,
    pub(crate) proto: Option<u8>,
    pub(crate) vlan: Option<u16>,
    pub(crate) community_id: Option<&'a str>,
    pub(crate) meaning: Meaning,
    /// The possible meanings of the stamp; empty when the line has none.
    pub(crate) stamps: Vec<Stamp<'a>>,
    /// How long before the stamp the session can have begun, nanoseconds.
    pub(crate) before_nanos: u64,
    /// How long after the stamp the session can have gone on, nanoseconds.
    pub(crate) after_nanos: u64,
    pub(crate) assumptions: Vec<Assumption>,
    /// Who wrote the line, when the line itself says so; else it is the host of the envelope.
    pub(crate) sensor: Option<&'a str>,
    /// Which end is the machine that wrote the line, when the line does not give its address.
    pub(crate) own_end: Option<OwnEnd>,
    pub(crate) used: Vec<(Field, &'a str)>,
    pub(crate) guess: bool,
}

/// Which end is the writer's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnEnd {
    Src,
    Dst,
}

impl<'a> Draft<'a> {
    /// A reading whose stamp means `meaning`.
    pub(crate) fn new(meaning: Meaning) -> Self {
        Self { meaning, ..Self::default() }
    }

    /// The stamp.
    pub(crate) fn at(mut self, stamp: Stamp<'a>) -> Self {
        self.stamps.push(stamp);
        self
    }

    /// The stamp, when there is one.
    pub(crate) fn at_maybe(mut self, stamp: Option<Stamp<'a>>) -> Self {
        self.stamps.extend(stamp);
        self
    }

    /// From the stamp `first` to the latest of `others`. Only stamps that need no zone can be compared; others are left out.
    pub(crate) fn at_from(
        mut self,
        first: Stamp<'a>,
        others: impl IntoIterator<Item = Option<Stamp<'a>>>,
    ) -> Self {
        self.stamps.push(first);
        for other in others.into_iter().flatten() {
            let (Some(from), Some(to)) = (resolve::exact(&first), resolve::exact(&other)) else { continue };
            let end = to.plus_nanos(other.unit_nanos).0.saturating_sub(first.unit_nanos);
            self.after_nanos = self.after_nanos.max(end.saturating_sub(from.0));
            self.before_nanos = self.before_nanos.max(from.0.saturating_sub(to.0));
            self = self.uses(Field::Time, other.text);
        }
        self
    }

    /// The stamp, of which one of several meanings is right.
    pub(crate) fn at_one_of(mut self, stamps: Vec<Stamp<'a>>) -> Self {
        if stamps.len() > 1 {
            self.assume(
                Kind::DateOrder,
                "day, month and year of the stamp can stand in more than one order: each is searched",
            );
        }
        self.stamps.extend(stamps);
        self
    }

    /// The protocol and where it stood.
    pub(crate) fn proto(mut self, number: Option<u8>, text: &'a str) -> Self {
        self.proto = number;
        self.uses(Field::Protocol, text)
    }

    /// The ends, in the view of the line.
    pub(crate) fn ends(self, src: End<'a>, dst: End<'a>) -> Self {
        self.view(View::AsLogged, src, dst)
    }

    /// The ends, in some view; the first one given is the first one searched.
    pub(crate) fn view(mut self, view: View, src: End<'a>, dst: End<'a>) -> Self {
        self.views.push((view, src, dst));
        self
    }

    /// What the order of the ends means.
    pub(crate) const fn direction(mut self, direction: Direction) -> Self {
        self.direction = direction;
        self
    }

    /// A VLAN from its text; 0 is no VLAN, and anything else that is none is left out.
    pub(crate) fn vlan(mut self, text: Option<&'a str>) -> Self {
        let number = text.and_then(|text| text.parse().ok()).filter(|vlan| (1..=4094).contains(vlan));
        if let (Some(text), Some(_)) = (text, number) {
            self.vlan = number;
            self = self.uses(Field::Vlan, text);
        }
        self
    }

    /// Takes note of an assumption: a whole sentence without the full stop.
    pub(crate) fn assume(&mut self, kind: Kind, text: impl Display) {
        resolve::note(&mut self.assumptions, kind, text.to_string());
    }

    /// As [`Draft::assume`], in a chain.
    pub(crate) fn assuming(mut self, kind: Kind, text: impl Display) -> Self {
        self.assume(kind, text);
        self
    }

    /// Takes note of a part of the line that was used.
    pub(crate) fn uses(mut self, field: Field, text: &'a str) -> Self {
        self.used.push((field, text));
        self
    }
}

/// What a format says of a line that it knows: a draft, or what the line lacks.
pub(crate) type Outcome<'a> = Result<Draft<'a>, Lack>;

/// What a line of a known format lacks: a whole sentence without the full stop, with what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lack(pub(crate) String);

/// The outcome of a line that lacks something.
pub(crate) fn lack<'a>(text: impl Display) -> Option<Outcome<'a>> {
    Some(Err(Lack::new(text)))
}

impl Lack {
    /// A lack in words.
    pub(crate) fn new(text: impl Display) -> Self {
        Self(text.to_string())
    }
}
