//! `search` and `estimate`: what there is, before a packet moves.

use hindcap_wire::message::Search;
use hindcap_wire::message::answer::{Bytes, Estimate, Sessions, WhyEmpty};

use super::Context;
use super::many::{Told, tell};
use crate::args;
use crate::exit::{Code, Failure};

pub(crate) fn search(cx: &mut Context<'_>, args: &args::Search) -> Result<Code, Failure> {
    let query = cx.query(&args.query, &args.ask.output)?;
    let asks = cx.asks(&args.ask, Some(&query))?;
    let search = Search { query, limit: args.limit };
    let answers = cx.ask_all(&args.ask, &asks, |api, watch| api.search_all(&asks, &search, watch))?;
    tell(&args.ask.output, &asks, answers)
}

pub(crate) fn estimate(cx: &mut Context<'_>, which: &args::Which, args: &args::Ask) -> Result<Code, Failure> {
    let query = cx.query(which, &args.output)?;
    let asks = cx.asks(args, Some(&query))?;
    let answers = cx.ask_all(args, &asks, |api, watch| api.estimate_all(&asks, &query, watch))?;
    tell(&args.output, &asks, answers)
}

const fn empty(why: Option<WhyEmpty>) -> Code {
    match why {
        Some(WhyEmpty::Pruned { .. } | WhyEmpty::TooOld { .. }) => Code::OutOfRetention,
        _ => Code::NothingMatched,
    }
}

/// Who saw it, when first and when last.
impl Told for Sessions {
    const HEAD: &'static [&'static str] = &["SESSIONS", "PACKETS", "BYTES", "FIRST", "LAST"];

    fn cells(&self) -> Vec<String> {
        let time = |at: Option<_>| {
            at.map_or_else(|| "-".to_owned(), |at: hindcap_wire::time::Timestamp| at.to_string())
        };
        vec![
            format!("{}{}", self.rows.len(), if self.more { "+" } else { "" }),
            self.rows.iter().map(|row| row.packets).sum::<u64>().to_string(),
            Bytes(self.rows.iter().map(|row| row.bytes).sum()).to_string(),
            time(self.rows.iter().map(|row| row.first).min()),
            time(self.rows.iter().map(|row| row.last).max()),
        ]
    }

    fn code(&self) -> Code {
        if self.rows.is_empty() { empty(self.why_empty) } else { Code::Done }
    }

    fn note(&self) -> String {
        self.why_empty.map(|why| why.to_string()).unwrap_or_default()
    }
}

impl Told for Estimate {
    const HEAD: &'static [&'static str] = &["PACKETS AT MOST", "BYTES AT MOST", "SESSIONS", "TO READ"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.packets_max.to_string(),
            Bytes(self.bytes_max).to_string(),
            self.sessions.to_string(),
            Bytes(self.bytes_to_read).to_string(),
        ]
    }

    fn code(&self) -> Code {
        if self.packets_max == 0 { empty(self.why_empty) } else { Code::Done }
    }

    fn note(&self) -> String {
        self.why_empty.map(|why| why.to_string()).unwrap_or_default()
    }
}
