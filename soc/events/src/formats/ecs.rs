//! Elastic Common Schema: documents and alerts of Elasticsearch and Kibana, nested, dotted, in `_source`, or with every
//! value in an array (`fields`).
//!
//! Source: Elastic Common Schema reference (source, destination, client, server, network, event, observer fields) and
//! Kibana "Alert schema": in an alert `@timestamp` is when the rule found it, and the event's own time is
//! `kibana.alert.original_time`.

use crate::context::Context;
use crate::draft::{Draft, Lack, Outcome};
use crate::fields::{self, End};
use crate::formats::Format;
use crate::json::Object;
use crate::line::Line;
use crate::reading::{Direction, Kind, Meaning, View, carries_ports};
use crate::scan::Scan;
use crate::stamp::{self, Stamp};

/// `{"@timestamp":"...","source":{"ip":"10.1.1.2","port":40000},"destination":{...},"network":{"transport":"tcp"}}`
pub(crate) const ECS: Format = Format {
    name: "ecs",
    title: "Elastic (ECS) document",
    time: "from event.start to event.end; else the event's own time, for alerts kibana.alert.original_time",
    fallback: false,
    read: ecs,
};

fn ecs<'a>(line: &Line<'a>, _: &Context) -> Option<Outcome<'a>> {
    let json = line.json?;
    let inner =
        ["hits.hits._source", "_source", "fields"].into_iter().map(|prefix| json.below(prefix)).find(is_ecs);
    match (&inner, is_ecs(json)) {
        (Some(inner), _) => Some(document(inner)),
        (None, true) => Some(document(json)),
        (None, false) => None,
    }
}

fn is_ecs(json: &Object<'_>) -> bool {
    ["source.ip", "destination.ip", "client.ip", "server.ip", "network.community_id"]
        .iter()
        .any(|key| json.has(key))
}

/// Keys of which one value must be meant.
const SINGLE: [&str; 10] = [
    "source.ip",
    "source.port",
    "destination.ip",
    "destination.port",
    "client.ip",
    "client.port",
    "server.ip",
    "server.port",
    "network.transport",
    "network.iana_number",
];

fn document<'a>(json: &Object<'a>) -> Outcome<'a> {
    if let Some(key) = json.twice(&SINGLE) {
        return Err(Lack::new(format!(
            "{key} has several values (an alert over many events): open one of the events"
        )));
    }
    let end = |addr: &str, port: &str| -> Option<End<'a>> {
        Some(End::new(fields::host(json.get(addr)?)?, json.get(port).and_then(fields::port)))
    };
    let src = end("source.ip", "source.port").or_else(|| end("client.ip", "client.port"));
    let dst = end("destination.ip", "destination.port").or_else(|| end("server.ip", "server.port"));
    let number = json.get("network.iana_number").and_then(fields::protocol);
    let text = json.get("network.transport").unwrap_or_default();
    let number = number.or_else(|| fields::protocol(text));
    let mut draft = times(json).proto(number, text).vlan(json.get("network.vlan.id"));
    draft.community_id = json.get("network.community_id");
    draft.sensor = json.get("observer.name").or_else(|| json.get("observer.hostname"));
    if src.is_none() && dst.is_none() {
        return Ok(draft);
    }
    let ports = |end: Option<End<'a>>| {
        let end = end.unwrap_or_default();
        if number.is_none_or(carries_ports) { end } else { end.without_port() }
    };
    let (src, dst) = (ports(src), ports(dst));
    if json.has("network.inner") {
        draft.assume(Kind::Tunnel, "the packet was inside a tunnel: the outer addresses are asked for");
    }
    let nat = |prefix: &str, plain: End<'a>| -> End<'a> {
        let host = json.get(&format!("{prefix}.nat.ip")).and_then(fields::host);
        let port = json.get(&format!("{prefix}.nat.port")).and_then(fields::port);
        End { host: host.or(plain.host), port: port.or(plain.port) }
    };
    let after = (nat("source", src), nat("destination", dst));
    let draft = draft.direction(Direction::Opener).view(View::BeforeNat, src, dst);
    Ok(draft.view(View::AfterNat, after.0, after.1))
}

fn times<'a>(json: &Object<'a>) -> Draft<'a> {
    let time = |key: &str| -> Option<Stamp<'a>> {
        let text = json.get(key)?;
        let mut scan = Scan::new(text);
        stamp::epoch(text).or_else(|| stamp::iso(&mut scan).filter(|_| scan.is_done()))
    };
    if let Some(first) = time("event.start") {
        return Draft::new(Meaning::Interval).at_from(first, [time("event.end")]);
    }
    if let Some(last) = time("event.end") {
        return Draft::new(Meaning::End).at(last);
    }
    let original = time("kibana.alert.original_time").or_else(|| time("signal.original_time"));
    if original.is_some() {
        return Draft::new(Meaning::During).at_maybe(original);
    }
    let draft = Draft::new(Meaning::During).at_maybe(time("@timestamp"));
    if json.has("kibana.alert.rule") || json.has("kibana.alert.uuid") {
        return draft
            .assuming(Kind::Length, "@timestamp is when the rule found it: the event itself may be earlier");
    }
    draft
}
