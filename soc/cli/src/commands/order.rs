//! `hold`, `release`, `pin`, `unpin` and their lists, `summary`, `jobs` and `cancel`: one request, one reply.

use hindcap_soc_api::ApiError;
use hindcap_wire::message::{self, HoldPart, Operation, Outcome, ReplyBody};
use hindcap_wire::time::NANOS_PER_SEC;

use super::{Context, answer, print, print_json};
use crate::args;
use crate::exit::{Code, Failure};

/// Has the sensor do `operation` and prints the one reply that is its result.
fn order(cx: &mut Context<'_>, args: &args::Ask, operation: &Operation) -> Result<ReplyBody, Failure> {
    let query = match operation {
        Operation::Hold(hold) => Some(&hold.query),
        Operation::Pin(pin) => Some(&pin.query),
        Operation::Summary(summary) => Some(&summary.query),
        _ => None,
    };
    let body = cx.ask(args, query, |api, ask, watch| api.order(ask, operation, watch))?;
    let args::Output { json, quiet } = args.output;
    match &body {
        ReplyBody::Held(held) if quiet && !json => print(&format!("{}\n", held.hold.id))?,
        ReplyBody::Pinned(pin) if quiet && !json => print(&format!("{}\n", pin.id))?,
        ReplyBody::Held(held) => answer(json, held)?,
        ReplyBody::Released(released) => answer(json, released)?,
        ReplyBody::Pinned(pin) | ReplyBody::Unpinned(pin) if json => print_json(pin)?,
        ReplyBody::Pinned(pin) | ReplyBody::Unpinned(pin) => print(&format!("{pin}\n"))?,
        ReplyBody::Pins(list) => answer(json, list)?,
        ReplyBody::Jobs(list) => answer(json, list)?,
        ReplyBody::Summary(summary) => answer(json, summary)?,
        ReplyBody::Holds(list) => answer(json, list)?,
        _ => return Err(Failure::new("the sensor gave another answer than was asked for")),
    }
    Ok(body)
}

pub(crate) fn hold(cx: &mut Context<'_>, args: &args::Hold) -> Result<Code, Failure> {
    let hold = message::Hold {
        query: cx.query(&args.query, &args.ask.output)?,
        for_secs: args.lasts.map(|lasts| lasts.0 / NANOS_PER_SEC),
        partial: args.partial.map(|part| match part {
            args::PartArg::Newest => HoldPart::Newest,
            args::PartArg::Oldest => HoldPart::Oldest,
        }),
        who: args.who.clone(),
    };
    match order(cx, &args.ask, &Operation::Hold(hold))? {
        ReplyBody::Held(held) if held.gone > 0 || held.hold.left_out > 0 => Ok(Code::Partial),
        _ => Ok(Code::Done),
    }
}

pub(crate) fn pin(cx: &mut Context<'_>, args: &args::Pin) -> Result<Code, Failure> {
    let pin = message::Pin {
        query: cx.query(&args.query, &args.ask.output)?,
        for_secs: args.lasts.map(|lasts| lasts.0 / NANOS_PER_SEC),
        max_bytes: args.max_pinned,
        who: args.who.clone(),
    };
    order(cx, &args.ask, &Operation::Pin(pin)).map(|_| Code::Done)
}

pub(crate) fn unpin(cx: &mut Context<'_>, args: &args::Unpin) -> Result<Code, Failure> {
    order(cx, &args.ask, &Operation::Unpin(message::Unpin { pin: args.pin })).map(|_| Code::Done)
}

pub(crate) fn release(cx: &mut Context<'_>, args: &args::Release) -> Result<Code, Failure> {
    order(cx, &args.ask, &Operation::Release(message::Release { hold: args.hold })).map(|_| Code::Done)
}

/// [`Operation::Holds`], [`Operation::Pins`] and [`Operation::Jobs`].
pub(crate) fn list(cx: &mut Context<'_>, args: &args::AskOnly, what: &Operation) -> Result<Code, Failure> {
    order(cx, &args.ask, what).map(|_| Code::Done)
}

pub(crate) fn summary(cx: &mut Context<'_>, args: &args::Summary) -> Result<Code, Failure> {
    let query = cx.query(&args.query, &args.ask.output)?;
    let wanted = message::Summarise { query, rows: args.rows };
    match order(cx, &args.ask, &Operation::Summary(wanted))? {
        ReplyBody::Summary(summary) if summary.total.connections == 0 => Ok(Code::NothingMatched),
        _ => Ok(Code::Done),
    }
}

/// The answer is that the request to cancel has ended.
pub(crate) fn cancel(cx: &mut Context<'_>, args: &args::Cancel) -> Result<Code, Failure> {
    let operation = Operation::Cancel(message::Cancel { request: args.request });
    cx.ask(&args.ask, None, |api, ask, watch| match api.order(ask, &operation, watch) {
        Err(ApiError::Ended(Outcome::Done, _)) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(ApiError::Protocol("another answer than was asked for".into())),
    })?;
    let output = &args.ask.output;
    if output.json {
        print_json(&serde_json::json!({ "cancelled": args.request }))?;
    } else if !output.quiet {
        print(&format!("cancelled request {}\n", args.request))?;
    }
    Ok(Code::Done)
}
