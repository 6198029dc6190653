//! PAN-OS traffic and threat logs: comma-separated, quoted where needed, columns by place.
//!
//! Source: PAN-OS Administrator's Guide, "Traffic Log Fields" and "Threat Log Fields"; both have the same first 31
//! columns, and versions add to the tail. Stamps are in the firewall's zone. The column "Start Time" is when the session
//! began and "Elapsed Time" how long it took; "Receive Time" is the manager's and is not used.

use hindcap_wire::time::NANOS_PER_SEC;

use crate::context::Context;
use crate::draft::{Draft, Lack, Outcome};
use crate::fields::{self, End};
use crate::formats::Format;
use crate::line::Line;
use crate::reading::{Direction, Field, Meaning, View};
use crate::scan::Scan;
use crate::stamp::{self, Stamp};

/// `1,2026/05/14 09:02:00,001801000001,TRAFFIC,end,2049,2026/05/14 09:02:00,10.1.1.2,203.0.113.5,...`
pub(crate) const CSV: Format = Format {
    name: "pan-os",
    title: "PAN-OS traffic or threat log",
    time: "traffic: from the session's start by its length; threat: the packet; in the firewall's zone",
    fallback: false,
    read: csv,
};

/// The columns of a line, without their quotes; `""` inside quotes is left as it is.
fn columns(text: &str) -> Vec<&str> {
    let (mut quoted, mut start, mut columns) = (false, 0, Vec::new());
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted && columns.len() < 200 => {
                columns.push(text.get(start..at).unwrap_or_default().trim_matches('"'));
                start = at + 1;
            }
            _ => {}
        }
    }
    columns.push(text.get(start..).unwrap_or_default().trim_matches('"'));
    columns
}

fn csv<'a>(line: &Line<'a>, _: &Context) -> Option<Outcome<'a>> {
    // The first column is for future use: empty, 0 or 1, and missing after some relays.
    let columns = columns(line.text);
    let kind = columns.get(3).copied()?;
    matches!(kind, "TRAFFIC" | "THREAT").then_some(())?;
    let column = |number: usize| columns.get(number - 1).copied().unwrap_or_default();
    time(column(2))?;
    Some(record(kind, &column))
}

fn time(text: &str) -> Option<Stamp<'_>> {
    let mut scan = Scan::new(text);
    stamp::iso(&mut scan).filter(|_| scan.is_done())
}

/// Numbers of columns are those of the documents, from 1.
fn record<'a>(kind: &str, column: &dyn Fn(usize) -> &'a str) -> Outcome<'a> {
    let lacking =
        || Lack::new("addresses, ports, protocol or time are not in their columns: is the line whole?");
    let end = |addr: usize, port: usize| -> Option<End<'a>> {
        Some(End::new(fields::host(column(addr))?, Some(fields::port(column(port))?)))
    };
    let (src, dst) = end(8, 25).zip(end(9, 26)).ok_or_else(lacking)?;
    let number = fields::protocol(column(30)).ok_or_else(lacking)?;
    let start = time(column(36)).filter(|_| kind == "TRAFFIC");
    let elapsed = stamp::seconds(column(37));
    let mut draft = match (start, elapsed) {
        (Some(start), Some(elapsed)) => {
            let mut draft = Draft::new(Meaning::Start).at(start).uses(Field::Duration, column(37));
            // Whole seconds: the last one is not over.
            draft.after_nanos = elapsed + NANOS_PER_SEC;
            draft
        }
        _ => {
            let meaning = if kind == "THREAT" { Meaning::Packet } else { Meaning::Written };
            Draft::new(meaning).at(time(column(7)).ok_or_else(lacking)?)
        }
    };
    draft = draft.proto(Some(number), column(30)).direction(Direction::Opener);
    // Without translation these columns are 0.0.0.0 and 0.
    let nat = |addr: usize, port: usize, plain: End<'a>| end(addr, port).unwrap_or(plain);
    Ok(draft.view(View::BeforeNat, src, dst).view(View::AfterNat, nat(10, 27, src), nat(11, 28, dst)))
}
