//! Lines that no format knows: the first and the last address in them, as OpenFPC's two generic parsers did, without
//! their fault of inventing the time "now". Always marked as a guess.

use crate::context::Context;
use crate::draft::{Draft, Outcome};
use crate::fields::{self, End};
use crate::formats::Format;
use crate::line::Line;
use crate::reading::{Kind, Meaning};

/// `junk 192.168.0.1:1234 wibble 192.168.0.2:2345`
pub(crate) const WITH_PORTS: Format = Format {
    name: "generic-ports",
    title: "Any line with two addresses and ports (a guess)",
    time: "the stamp at the line's start, when there is one; never \"now\"",
    fallback: true,
    read: with_ports,
};

/// `192.168.0.1 ... 192.168.0.2`
pub(crate) const WITHOUT_PORTS: Format = Format {
    name: "generic",
    title: "Any line with an address (a guess)",
    time: "the stamp at the line's start, when there is one; never \"now\"",
    fallback: true,
    read: without_ports,
};

fn with_ports<'a>(line: &Line<'a>, _: &Context) -> Option<Outcome<'a>> {
    let mut found = fields::addresses(line.text).filter(|end| end.port.is_some());
    let first = found.next()?;
    let last = found.last()?;
    Some(Ok(guess(line, first, last)))
}

fn without_ports<'a>(line: &Line<'a>, _: &Context) -> Option<Outcome<'a>> {
    let mut found = fields::addresses(line.text);
    let first = found.next()?;
    let other = found.filter(|end| end.host.map(|host| host.addr) != first.host.map(|host| host.addr)).last();
    let bare = End::without_port;
    Some(Ok(guess(line, bare(first), other.map(bare).unwrap_or_default())))
}

fn guess<'a>(line: &Line<'a>, src: End<'a>, dst: End<'a>) -> Draft<'a> {
    let mut draft = Draft::new(Meaning::Written).at_maybe(line.stamp).ends(src, dst);
    draft.guess = true;
    draft.assuming(Kind::Guess, "no known log format: addresses were picked out of the line")
}
