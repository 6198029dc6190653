//! What Wireshark asks before it captures: interfaces, link types, the fields of its dialog. The grammar is that of
//! extcap(4): a word, then `{key=value}`.

use std::time::Duration;

use hindcap_events::formats;
use hindcap_soc_api::SensorView;
use hindcap_wire::message::SensorId;
use hindcap_wire::packet::LinkType;

use crate::args::{self, INTERFACE_PREFIX, Pattern};
use crate::commands::{Context, print};
use crate::exit::{Code, Failure};

/// Wireshark waits for the list before it shows its window.
const LIST_WAIT: Duration = Duration::from_secs(3);
/// Of a sensor's description, characters that are shown beside its name.
const DESCRIPTION_CHARS_MAX: usize = 60;

pub(super) fn say(text: &str) -> Result<Code, Failure> {
    print(text).map(|()| Code::Done)
}

/// A value inside braces: what has a meaning there is replaced.
fn value(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '{' | '[' => '(',
            '}' | ']' => ')',
            c if c.is_control() => ' ',
            c => c,
        })
        .collect()
}

/// The sensors that the broker knows, and the one in the settings. A broker that does not answer is no reason to keep
/// Wireshark from starting.
pub(super) fn interfaces(cx: &mut Context<'_>, args: &args::Extcap) -> Result<Code, Failure> {
    let views = cx.api.sensors(None, LIST_WAIT).unwrap_or_else(|error| {
        eprintln!("hindcap: {error}");
        Vec::new()
    });
    say(&listed(&views, &args.sensor))
}

fn listed(views: &[SensorView], known: &[Pattern]) -> String {
    let mut text = format!("extcap {{version={}}}{{display=Hindcap sensors}}\n", env!("CARGO_PKG_VERSION"));
    let mut add = |sensor: &SensorId, about: &str| {
        let display = value(&format!("Hindcap: {sensor}{about}"));
        text.push_str(&format!("interface {{value={INTERFACE_PREFIX}{sensor}}}{{display={display}}}\n"));
    };
    for view in views {
        let description = view.status.as_ref().map(|status| status.description.trim()).unwrap_or_default();
        let mut about: String = description.chars().take(DESCRIPTION_CHARS_MAX).collect();
        if !about.is_empty() {
            about.insert_str(0, ", ");
        }
        if !view.online {
            about.push_str(" (offline)");
        }
        add(&view.sensor, &about);
    }
    for known in known {
        match known {
            Pattern::Name(known) if views.iter().all(|view| view.sensor != *known) => {
                add(known, " (not heard of)");
            }
            _ => {}
        }
    }
    text
}

/// Whatever the packets turn out to have: pcapng says it again for each interface.
pub(super) fn link_types(_sensor: &SensorId) -> Result<Code, Failure> {
    let number = LinkType::ETHERNET.0;
    say(&format!("dlt {{number={number}}}{{name=EN10MB}}{{display=Ethernet, or what was recorded}}\n"))
}

/// One field of the dialog: the flag, its name, its type, what it says when the mouse is over it, and its tab.
struct Field {
    call: &'static str,
    display: &'static str,
    kind: &'static str,
    tooltip: &'static str,
    group: &'static str,
}

const fn field(
    group: &'static str,
    call: &'static str,
    kind: &'static str,
    display: &'static str,
    tooltip: &'static str,
) -> Field {
    Field { call, display, kind, tooltip, group }
}

const FIELDS: [Field; 18] = [
    field(
        "Time",
        "last",
        "string",
        "Last",
        "From this long ago until now: 90s, 15m, 2h. Nothing: live, from now on",
    ),
    field(
        "Time",
        "start",
        "string",
        "Start",
        "2026-11-21 10:00:00 (UTC without a zone), or how long ago (15m)",
    ),
    field("Time", "end", "string", "End", "As Start"),
    field(
        "Time",
        "follow",
        "boolflag",
        "Go on with what comes",
        "After Start or Last, follow what the sensor records",
    ),
    field(
        "Log line",
        "event",
        "string",
        "Log line",
        "An alert or a log line, pasted: its session is fetched",
    ),
    field(
        "Log line",
        "tz",
        "string",
        "Time zone of the line",
        "Where it names none: Europe/Berlin, UTC, +02:00",
    ),
    field("Log line", "log-format", "selector", "Format of the line", "When several formats know it"),
    field("Log line", "pad", "string", "Around its time", "90s, 15m [60s]"),
    field("Packets", "host", "string", "Host", "An address at either end"),
    field("Packets", "net", "string", "Network", "A network at either end, such as 192.0.2.0/24"),
    field("Packets", "port", "string", "Port", "At either end"),
    field("Packets", "proto", "string", "Protocol", "tcp, udp, icmp ... or a number"),
    field("Packets", "community-id", "string", "Community ID", "Version 1"),
    field(
        "Packets",
        "session",
        "boolflag",
        "Whole sessions",
        "Back to the SYN, forward to FIN, RST or idle time-out",
    ),
    field("Request", "case", "string", "Case", "Kept with the result"),
    field("Request", "reason", "string", "Reason", "For the sensor's audit record"),
    field("Request", "max-bytes", "string", "At most", "Stop at this size, such as 64MiB"),
    field(
        "Request",
        "max-rate",
        "string",
        "At most a second",
        "While following: 1MiB. Behind that, packets come later",
    ),
];

/// The fields, with what the settings say filled in.
pub(super) fn fields(args: &args::Extcap) -> Result<Code, Failure> {
    let mut text = String::new();
    for (number, field) in FIELDS.iter().enumerate() {
        let Field { call, display, kind, tooltip, group } = field;
        text.push_str(&format!(
            "arg {{number={number}}}{{call=--{call}}}{{display={display}}}{{type={kind}}}{{tooltip={}}}{{group={group}}}",
            value(tooltip)
        ));
        let settled = match *call {
            "case" => args.case.as_deref(),
            "reason" => args.reason.as_deref(),
            _ => None,
        };
        if let Some(settled) = settled {
            text.push_str(&format!("{{default={}}}", value(settled)));
        }
        text.push('\n');
        if *call == "log-format" {
            text.push_str(&format!(
                "value {{arg={number}}}{{value=}}{{display=Whatever fits}}{{default=true}}\n"
            ));
            for format in formats() {
                let display = value(format.title);
                text.push_str(&format!(
                    "value {{arg={number}}}{{value={}}}{{display={display}}}\n",
                    format.name
                ));
            }
        }
    }
    say(&text)
}

#[cfg(test)]
mod tests {
    use hindcap_wire::message::Status;

    use super::*;

    #[test]
    fn what_a_sensor_says_of_itself_cannot_become_another_interface() {
        let sensor: SensorId = "b-1".parse().unwrap();
        let status = Status { description: "}\ninterface {value=x".into(), ..Status::new(sensor.clone()) };
        let view = SensorView { sensor, online: false, state: None, status: Some(status) };
        let text = listed(&[view], &["b-1", "b-2", "c-*"].map(|name| name.parse().unwrap()));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert_eq!(
            lines[1],
            "interface {value=hindcap-b-1}{display=Hindcap: b-1, ) interface (value=x (offline)}"
        );
        assert_eq!(lines[2], "interface {value=hindcap-b-2}{display=Hindcap: b-2 (not heard of)}");
    }

    #[test]
    fn every_field_is_a_flag_of_this_command() {
        let command = crate::front::command();
        let extcap = command.find_subcommand("extcap").unwrap();
        for field in FIELDS {
            let arg = extcap.get_arguments().find(|arg| arg.get_long() == Some(field.call));
            let takes = arg.unwrap_or_else(|| panic!("{}", field.call)).get_action().takes_values();
            assert_eq!(takes, field.kind != "boolflag", "{}", field.call);
        }
    }
}
