//! `hold`, `release`, `pin`, `unpin` and their lists, `summary`, `jobs` and `cancel`: one request, one reply from each sensor.

use std::fmt;

use hindcap_soc_api::ApiError;
use hindcap_wire::message::{self, HoldPart, Operation, Outcome, ReplyBody};
use hindcap_wire::query::Query;
use hindcap_wire::time::NANOS_PER_SEC;
use serde::{Serialize, Serializer};

use super::many::{Told, tell};
use super::{Context, print, print_json};
use crate::args;
use crate::exit::{Code, Failure};

/// A reply that is all there is to come.
struct Whole(ReplyBody);

impl Serialize for Whole {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            ReplyBody::Held(held) => held.serialize(serializer),
            ReplyBody::Released(released) => released.serialize(serializer),
            ReplyBody::Pinned(pin) | ReplyBody::Unpinned(pin) => pin.serialize(serializer),
            ReplyBody::Pins(list) => list.serialize(serializer),
            ReplyBody::Jobs(list) => list.serialize(serializer),
            ReplyBody::Summary(summary) => summary.serialize(serializer),
            ReplyBody::Holds(list) => list.serialize(serializer),
            other => other.serialize(serializer),
        }
    }
}

impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ReplyBody::Held(held) => held.fmt(f),
            ReplyBody::Released(released) => released.fmt(f),
            ReplyBody::Pinned(pin) | ReplyBody::Unpinned(pin) => writeln!(f, "{pin}"),
            ReplyBody::Pins(list) => list.fmt(f),
            ReplyBody::Jobs(list) => list.fmt(f),
            ReplyBody::Summary(summary) => summary.fmt(f),
            ReplyBody::Holds(list) => list.fmt(f),
            _ => f.write_str("another answer than was asked for\n"),
        }
    }
}

impl Told for Whole {
    const HEAD: &'static [&'static str] = &[];

    fn cells(&self) -> Vec<String> {
        Vec::new()
    }

    fn code(&self) -> Code {
        match &self.0 {
            ReplyBody::Held(held) if held.gone > 0 || held.hold.left_out > 0 => Code::Partial,
            ReplyBody::Summary(summary) if summary.total.connections == 0 => Code::NothingMatched,
            _ => Code::Done,
        }
    }

    fn brief(&self) -> Option<String> {
        match &self.0 {
            ReplyBody::Held(held) => Some(held.hold.id.to_string()),
            ReplyBody::Pinned(pin) => Some(pin.id.to_string()),
            _ => None,
        }
    }
}

/// Has sensors do `operation` and prints the one reply of each that is its result.
fn order(cx: &mut Context<'_>, args: &args::Ask, operation: &Operation) -> Result<Code, Failure> {
    let query: Option<&Query> = match operation {
        Operation::Hold(hold) => Some(&hold.query),
        Operation::Pin(pin) => Some(&pin.query),
        Operation::Summary(summary) => Some(&summary.query),
        _ => None,
    };
    let asks = cx.asks(args, query)?;
    let answers = cx.ask_all(args, &asks, |api, watch| api.order_all(&asks, operation, watch))?;
    let answers = answers.into_iter().map(|answer| match answer {
        Ok(body) if is_for(operation, &body) => Ok(Whole(body)),
        Ok(_) => Err(ApiError::Protocol("another answer than was asked for".into())),
        Err(error) => Err(error),
    });
    tell(&args.output, &asks, answers.collect())
}

/// Whether a reply is the one that an operation has.
const fn is_for(operation: &Operation, body: &ReplyBody) -> bool {
    matches!(
        (operation, body),
        (Operation::Hold(_), ReplyBody::Held(_))
            | (Operation::Release(_), ReplyBody::Released(_))
            | (Operation::Holds, ReplyBody::Holds(_))
            | (Operation::Pin(_), ReplyBody::Pinned(_))
            | (Operation::Unpin(_), ReplyBody::Unpinned(_))
            | (Operation::Pins, ReplyBody::Pins(_))
            | (Operation::Summary(_), ReplyBody::Summary(_))
            | (Operation::Jobs, ReplyBody::Jobs(_))
    )
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
    order(cx, &args.ask, &Operation::Hold(hold))
}

pub(crate) fn pin(cx: &mut Context<'_>, args: &args::Pin) -> Result<Code, Failure> {
    let pin = message::Pin {
        query: cx.query(&args.query, &args.ask.output)?,
        for_secs: args.lasts.map(|lasts| lasts.0 / NANOS_PER_SEC),
        max_bytes: args.max_pinned,
        who: args.who.clone(),
    };
    order(cx, &args.ask, &Operation::Pin(pin))
}

pub(crate) fn unpin(cx: &mut Context<'_>, args: &args::Unpin) -> Result<Code, Failure> {
    order(cx, &args.ask, &Operation::Unpin(message::Unpin { pin: args.pin }))
}

pub(crate) fn release(cx: &mut Context<'_>, args: &args::Release) -> Result<Code, Failure> {
    order(cx, &args.ask, &Operation::Release(message::Release { hold: args.hold }))
}

/// [`Operation::Holds`], [`Operation::Pins`] and [`Operation::Jobs`].
pub(crate) fn list(cx: &mut Context<'_>, args: &args::AskOnly, what: &Operation) -> Result<Code, Failure> {
    order(cx, &args.ask, what)
}

pub(crate) fn summary(cx: &mut Context<'_>, args: &args::Summary) -> Result<Code, Failure> {
    let query = cx.query(&args.query, &args.ask.output)?;
    let wanted = message::Summarise { query, rows: args.rows };
    order(cx, &args.ask, &Operation::Summary(wanted))
}

/// The answer is that the request to cancel has ended.
pub(crate) fn cancel(cx: &mut Context<'_>, args: &args::Cancel) -> Result<Code, Failure> {
    let operation = Operation::Cancel(message::Cancel { request: args.request });
    cx.ask(&args.ask, |api, ask, watch| match api.order(ask, &operation, watch) {
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
