//! Dropbear, the SSH server of small boxes. Its own address is not in its lines; it comes from the settings of the source.
//!
//! Source: Dropbear 2022.83, svr-auth*.c, svr-session.c, and for what it writes without syslog svr-session.c
//! (`svr_dropbear_log`). An address is `HOST:PORT`, IPv6 without brackets. User names are the client's.

use crate::context::Context;
use crate::draft::{Draft, Outcome, lack};
use crate::fields::{self, End};
use crate::formats::Format;
use crate::formats::servers::client;
use crate::line::Line;
use crate::reading::{Kind, Meaning};
use crate::scan::Scan;
use crate::stamp::{self, Stamp};

/// `dropbear[812]: Bad password attempt for 'root' from 203.0.113.9:51234`
pub(crate) const DROPBEAR: Format = Format {
    name: "dropbear",
    title: "Dropbear log",
    time: "when the line was written, within the session",
    fallback: false,
    read,
};

/// Beginnings of lines that end with the client.
const LAST: [&str; 9] = [
    "Child connection from ",
    "Bad password attempt for ",
    "Bad PAM password attempt for ",
    "Login attempt for nonexistent user",
    "Login attempt with wrong user ",
    "Max auth tries reached - user ",
    "Password auth succeeded for ",
    "PAM password auth succeeded for ",
    "Pubkey auth succeeded for ",
];

fn read<'a>(line: &Line<'a>, _: &Context) -> Option<Outcome<'a>> {
    let (text, stamp) = own(line)?;
    let address = if let Some(rest) = text.strip_prefix("Exit ") {
        // `before auth from <A>: ...`, `(USER) from <A>: ...`: of a user who exists; what follows may be the client's.
        let after =
            rest.strip_prefix("before auth").or_else(|| rest.split_once(')').map(|(_, after)| after))?;
        let Some((address, _)) = after.strip_prefix(" from <").and_then(|after| after.split_once(">: "))
        else {
            return lack("the line does not name the client: it was cut off, or is of an older version");
        };
        address
    } else {
        LAST.iter().any(|start| text.starts_with(start)).then_some(())?;
        // A user name may hold ` from 1.2.3.4:22`: only what stands last is Dropbear's own.
        let Some((before, address)) = text.rsplit_once(" from ") else {
            return lack("the line does not name the client: it was cut off");
        };
        // Behind the user's closing quote comes the client, or the key.
        if before.contains('\'') && !before.ends_with('\'') && !before.contains("' with ") {
            return lack("the line was cut off inside the user's name");
        }
        address
    };
    let end = address.rsplit_once(':').and_then(|(host, port)| fields::host(host).zip(fields::port(port)));
    let Some((host, port)) = end else {
        return lack(
            "no HOST:PORT stands where Dropbear writes the client: the line was cut off, or is forged",
        );
    };
    let mut draft = Draft::new(Meaning::During).at_maybe(stamp);
    draft.assume(Kind::Port, "port 22 taken for the server: the line has only the client's");
    Some(Ok(client(draft, End::new(host, Some(port)), &["22"])))
}

/// What Dropbear wrote and when: through syslog, or `[812] Nov 22 12:04:30 ...` by itself.
fn own<'a>(line: &Line<'a>) -> Option<(&'a str, Option<Stamp<'a>>)> {
    if line.tag == Some("dropbear") {
        return Some((line.text, line.stamp));
    }
    let mut scan = Scan::new(line.text);
    scan.word("[")?;
    scan.digits(1, 10)?;
    scan.word("] ")?;
    let stamp = stamp::syslog(&mut scan)?;
    scan.blanks().then(|| (scan.rest(), Some(stamp)))
}
