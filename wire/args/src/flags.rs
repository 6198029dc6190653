//! A [`Query`] as the flags that make it, for people to read, change and repeat.

use std::fmt::{self, Display, Write as _};

use hindcap_wire::query::Query;
use hindcap_wire::time::Timestamp;

/// The flags of a query: `--start 2026-11-21T09:30:00Z --host 192.0.2.1`, quoted for a shell (POSIX, 2.2.2). What has
/// no flag of its own, [`Query::or`], is left out.
#[derive(Clone, Copy, Debug)]
pub struct Flags<'a>(pub &'a Query);

impl Display for Flags<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Query { time, nets, ports, src, dst, proto, vlan, mac, community_id, filter, session, or: _ } =
            self.0;
        let mut flags = Line { f, empty: true };
        flags.flag("start", (time.start != Timestamp::MIN).then_some(time.start))?;
        flags.flag("end", (time.end != Timestamp::MAX).then_some(time.end))?;
        for net in nets {
            flags.flag(if net.is_host() { "host" } else { "net" }, Some(net))?;
        }
        for port in ports {
            flags.flag("port", Some(port))?;
        }
        flags.flag("src-addr", src.net)?;
        flags.flag("dst-addr", dst.net)?;
        flags.flag("src-port", src.port)?;
        flags.flag("dst-port", dst.port)?;
        flags.flag("proto", proto.map(super::protocol_name))?;
        flags.flag("vlan", *vlan)?;
        flags.flag("mac", *mac)?;
        flags.flag("community-id", community_id.as_ref())?;
        flags.flag("filter", filter.as_ref())?;
        if *session { flags.word("--session") } else { Ok(()) }
    }
}

struct Line<'a, 'b> {
    f: &'a mut fmt::Formatter<'b>,
    empty: bool,
}

impl Line<'_, '_> {
    fn word(&mut self, word: &str) -> fmt::Result {
        if !std::mem::take(&mut self.empty) {
            self.f.write_char(' ')?;
        }
        self.f.write_str(word)
    }

    fn flag(&mut self, name: &str, value: Option<impl Display>) -> fmt::Result {
        let Some(value) = value.map(|value| value.to_string()) else { return Ok(()) };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=+".contains(c);
        self.word(&format!("--{name}"))?;
        if !value.is_empty() && value.chars().all(plain) {
            self.word(&value)
        } else {
            self.word(&format!("'{}'", value.replace('\'', r"'\''")))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::QueryArgs;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        query: QueryArgs,
    }

    fn read<'a>(words: impl IntoIterator<Item = &'a str>) -> Query {
        let words = ["x"].into_iter().chain(words);
        Command::try_parse_from(words).unwrap().query.query(Timestamp(7)).unwrap()
    }

    #[test]
    fn flags_make_the_query_that_they_were_made_of() {
        for line in [
            "",
            "--start 2026-11-21T09:30:00.000000001Z --end 2026-11-22T00:00:00Z --host 192.0.2.1 --host 2001:db8::1",
            "--net 192.0.2.0/24 --port 80 --port 53 --proto udp --vlan 7 --session",
            "--src-addr 192.0.2.1 --dst-addr 198.51.100.0/24 --src-port 1 --dst-port 2",
            "--host 192.0.2.1 --proto 123",
            "--mac 02:00:00:00:00:01 --community-id 1:LQU9qZlK+B5F3KDmev6m5PMibrg=",
        ] {
            let query = read(line.split_whitespace());
            let flags = Flags(&query).to_string();
            assert_eq!(read(flags.split_whitespace()), query, "{flags}");
        }
        assert_eq!(Flags(&read(["--proto", "tcp"])).to_string(), "--proto tcp");
    }

    #[test]
    fn a_shell_reads_what_was_meant() {
        let query = read(["--filter", "tcp port 80 and host 'a' $(id)"]);
        assert_eq!(Flags(&query).to_string(), r"--filter 'tcp port 80 and host '\''a'\'' $(id)'");
    }
}
