//! `search` and `estimate`: what there is, before a packet moves.

use hindcap_soc_api::ApiError;
use hindcap_wire::message::Search;
use hindcap_wire::message::answer::{Sessions, WhyEmpty};

use super::{Context, answer};
use crate::args;
use crate::exit::{Code, Failure};

pub(crate) fn search(cx: &mut Context<'_>, args: &args::Search) -> Result<Code, Failure> {
    let query = cx.query(&args.query, &args.ask.output)?;
    let search = Search { query, limit: args.limit };
    let sessions =
        cx.ask(&args.ask, Some(&search.query), |api, ask, watch| api.search(ask, &search, watch))?;
    answer(args.ask.output.json, &sessions)?;
    Ok(exit_of_list(&sessions))
}

fn exit_of_list(sessions: &Sessions) -> Code {
    match (sessions.rows.is_empty(), sessions.why_empty) {
        (false, _) => Code::Done,
        (true, Some(WhyEmpty::Pruned { .. } | WhyEmpty::TooOld { .. })) => Code::OutOfRetention,
        (true, _) => Code::NothingMatched,
    }
}

pub(crate) fn estimate(cx: &mut Context<'_>, which: &args::Which, args: &args::Ask) -> Result<Code, Failure> {
    let query = cx.query(which, &args.output)?;
    let estimate =
        cx.ask::<_, ApiError>(args, Some(&query), |api, ask, watch| api.estimate(ask, &query, watch))?;
    answer(args.output.json, &estimate)?;
    Ok(match (estimate.packets_max, estimate.why_empty) {
        (0, Some(WhyEmpty::Pruned { .. } | WhyEmpty::TooOld { .. })) => Code::OutOfRetention,
        (0, _) => Code::NothingMatched,
        _ => Code::Done,
    })
}
