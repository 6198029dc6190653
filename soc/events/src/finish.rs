//! From a draft to a reading: times, ends, what the settings add, and what was assumed.

use std::net::IpAddr;

use hindcap_wire::community_id::CommunityId;
use hindcap_wire::flow::proto;
use hindcap_wire::time::{TimeRange, Timestamp};

use crate::context::Context;
use crate::draft::{Draft, OwnEnd};
use crate::fields::{self, End};
use crate::formats::Format;
use crate::line::Line;
use crate::reading::{Endpoint, Endpoints, Field, Kind, Reading, Span, View, carries_ports};
use crate::refusal::Refusal;
use crate::resolve::{self, Unresolved};
use crate::text::Clean;

/// Applies the context to what `format` found in `line`; spans are looked up in `texts`.
pub(crate) fn finish(
    format: &Format,
    mut draft: Draft<'_>,
    line: &Line<'_>,
    texts: &[&Clean],
    context: &Context,
) -> Result<Reading, Refusal> {
    let source = draft.sensor.or(line.host);
    let times = times(format, &mut draft, source, context)?;
    let is_v6 = |end: &End<'_>| end.host.is_some_and(|host| host.addr.is_ipv6());
    if draft.proto == Some(proto::ICMP) && draft.views.iter().any(|(_, src, dst)| is_v6(src) || is_v6(dst)) {
        // Some logs write ICMP for ICMPv6; a packet cannot have the one in the other.
        draft.proto = Some(proto::ICMPV6);
    }
    let mut alternatives = ends(&draft);
    own_addresses(&mut alternatives, &mut draft, source, context);
    check_ends(format, &alternatives)?;
    if alternatives.iter().any(|ends| ends.src.addr.is_none() || ends.dst.addr.is_none()) {
        draft.assume(
            Kind::OneSided,
            "only one end is known: everything of that host in this time is asked for",
        );
    }
    let community_id = community_id(format, &mut draft, &alternatives)?;
    if texts.iter().any(|text| text.invisible) {
        draft.assume(
            Kind::Invisible,
            "there are characters in the line that do not show, or that turn the order of text round",
        );
    }
    Ok(Reading {
        format: format.name,
        title: format.title,
        direction: draft.direction,
        proto: draft.proto,
        vlan: draft.vlan,
        community_id,
        times,
        meaning: if draft.stamps.is_empty() { crate::Meaning::None } else { draft.meaning },
        confidence: Reading::trust(&draft.assumptions),
        guess: draft.guess,
        source: source.map(str::to_owned),
        spans: spans(&draft, line, texts),
        alternatives,
        assumptions: draft.assumptions,
    })
}

fn times(
    format: &Format,
    draft: &mut Draft<'_>,
    source: Option<&str>,
    context: &Context,
) -> Result<Vec<TimeRange>, Refusal> {
    let latest = context.now.plus_nanos(86_400 * 1_000_000_000);
    let mut times: Vec<TimeRange> = Vec::new();
    let mut late: Vec<TimeRange> = Vec::new();
    for stamp in &draft.stamps {
        let instants = match resolve::instants(stamp, source, context, &mut draft.assumptions) {
            Ok(instants) => instants,
            Err(Unresolved::NoZone) => {
                return Err(Refusal::NoZone { title: format.title, source: source.map(str::to_owned) });
            }
            Err(Unresolved::NoSuchTime) if draft.stamps.len() > 1 => continue,
            Err(Unresolved::NoSuchTime) => {
                return Err(Refusal::BadTime { title: format.title, stamp: stamp.text.to_owned() });
            }
        };
        for at in instants {
            let end = at.plus_nanos(stamp.unit_nanos).plus_nanos(draft.after_nanos);
            let range = TimeRange::new(at.minus_nanos(draft.before_nanos), end);
            if at <= latest { &mut times } else { &mut late }.push(range);
        }
    }
    // An order of the date that leads into the future is not the one that was meant.
    if times.is_empty() {
        times = late;
    }
    times.sort_unstable_by_key(|range| (range.start, range.end));
    times.dedup();
    if times.len() < 2 {
        draft.assumptions.retain(|assumption| assumption.kind != Kind::DateOrder);
    }
    let ahead = |range: &TimeRange| range.start > latest && range.start != Timestamp::MAX;
    if times.iter().any(ahead) {
        draft.assume(
            Kind::Quality,
            "the time lies more than a day in the future: is the year, the zone or a clock wrong?",
        );
    }
    Ok(times)
}

fn ends(draft: &Draft<'_>) -> Vec<Endpoints> {
    let has_ports = draft.proto.is_none_or(carries_ports);
    let end = |end: &End<'_>| Endpoint {
        addr: end.host.map(|host| host.addr),
        port: end.port.filter(|_| has_ports).map(|port| port.number),
    };
    let mut alternatives: Vec<Endpoints> = Vec::new();
    for (view, src, dst) in &draft.views {
        let ends = Endpoints { view: *view, src: end(src), dst: end(dst) };
        if !alternatives.iter().any(|known| (known.src, known.dst) == (ends.src, ends.dst)) {
            alternatives.push(ends);
        }
    }
    // Translation that changed nothing is none.
    if let [only] = alternatives.as_mut_slice() {
        only.view = View::AsLogged;
    }
    alternatives
}

/// Fills in the writer's own address: from the settings of the source, or from its name when that is an address.
fn own_addresses(
    alternatives: &mut Vec<Endpoints>,
    draft: &mut Draft<'_>,
    source: Option<&str>,
    context: &Context,
) {
    let (Some(own), Some(name)) = (draft.own_end, source) else { return };
    let settings = context.source(name).map(|source| source.addresses.clone()).unwrap_or_default();
    let (addresses, origin) = match (settings.is_empty(), fields::host(name)) {
        (false, _) => (settings, format!("the settings of the source {name}")),
        (true, Some(host)) => (vec![host.addr], "the name of the host that wrote the line".to_owned()),
        (true, None) => return,
    };
    let mut filled = Vec::new();
    for ends in alternatives.iter() {
        let (near, far) = match own {
            OwnEnd::Src => (ends.src, ends.dst),
            OwnEnd::Dst => (ends.dst, ends.src),
        };
        let fits = |addr: &&IpAddr| far.addr.is_none_or(|far| far.is_ipv4() == addr.is_ipv4());
        let fitting: Vec<&IpAddr> = addresses.iter().filter(fits).collect();
        if near.addr.is_some() || fitting.is_empty() {
            filled.push(*ends);
            continue;
        }
        for addr in fitting {
            let near = Endpoint { addr: Some(*addr), ..near };
            filled.push(match own {
                OwnEnd::Src => Endpoints { src: near, ..*ends },
                OwnEnd::Dst => Endpoints { dst: near, ..*ends },
            });
        }
    }
    if filled != *alternatives {
        draft.assume(
            Kind::Address,
            format!("the address of the host that wrote the line is taken from {origin}"),
        );
        *alternatives = filled;
    }
}

fn check_ends(format: &Format, alternatives: &[Endpoints]) -> Result<(), Refusal> {
    let lacking = |lack: &str| Err(Refusal::Lacking { title: format.title, lack: lack.to_owned() });
    for ends in alternatives {
        match (ends.src.addr, ends.dst.addr) {
            (None, None) => return lacking("there is no address in the line: give one with --host"),
            (Some(src), Some(dst)) if src.is_ipv4() != dst.is_ipv4() => {
                return lacking("one end has an IPv4 and the other an IPv6 address, which no packet has");
            }
            _ => {}
        }
    }
    Ok(())
}

fn community_id(
    format: &Format,
    draft: &mut Draft<'_>,
    alternatives: &[Endpoints],
) -> Result<Option<String>, Refusal> {
    let parsed = draft.community_id.map(str::parse::<CommunityId>);
    if alternatives.is_empty() && !matches!(parsed, Some(Ok(_))) {
        let lack = "neither addresses nor a Community ID v1 stand in the line".to_owned();
        return Err(Refusal::Lacking { title: format.title, lack });
    }
    let Some(Ok(id)) = parsed else { return Ok(None) };
    let known = |end: Endpoint| end.addr.zip(end.port);
    let own = |ends: &Endpoints| {
        let number = draft.proto.filter(|number| carries_ports(*number))?;
        Some(fields::community_id(known(ends.src)?, known(ends.dst)?, number))
    };
    let expected: Vec<String> = alternatives.iter().filter_map(own).collect();
    if !expected.is_empty() && !expected.contains(&id.to_string()) {
        draft.assume(
            Kind::CommunityId,
            "the line's Community ID is not that of its addresses (another seed, or a tunnel): the addresses count",
        );
    }
    Ok(Some(id.to_string()))
}

/// Where everything that counts stood in the line as given.
fn spans(draft: &Draft<'_>, line: &Line<'_>, texts: &[&Clean]) -> Vec<Span> {
    let mut used: Vec<(Field, &str)> = draft.used.clone();
    used.extend(draft.stamps.iter().map(|stamp| (Field::Time, stamp.text)));
    used.extend(draft.community_id.map(|text| (Field::CommunityId, text)));
    used.extend(draft.sensor.or(line.host).map(|text| (Field::Source, text)));
    for (_, src, dst) in &draft.views {
        used.extend(src.host.map(|host| (Field::Src, host.text)));
        used.extend(src.port.map(|port| (Field::SrcPort, port.text)));
        used.extend(dst.host.map(|host| (Field::Dst, host.text)));
        used.extend(dst.port.map(|port| (Field::DstPort, port.text)));
    }
    let find = |text: &str| texts.iter().find_map(|clean| clean.span(text));
    let mut spans: Vec<Span> =
        used.into_iter().filter_map(|(field, text)| Some(Span { field, bytes: find(text)? })).collect();
    spans.sort_by_key(|span| (span.bytes.start, span.bytes.end, span.field));
    spans.dedup();
    spans
}
