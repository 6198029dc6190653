//! Messages from documents: topic, encoding, expiry; and replies that are too long made to fit.

use std::time::Duration;

use hindcap_link::Message;
use hindcap_wire::limits::{MESSAGE_BYTES_MAX, SEARCH_PAGE_SESSIONS};
use hindcap_wire::message::answer::{Answer, Sessions};
use hindcap_wire::message::{
    Channel, Encoding, MessageError, Reply, ReplyBody, SCHEMA, SensorId, SessionsPage, Ulid, encode,
};
use hindcap_wire::time::Timestamp;
use serde::Serialize;

/// Lists of an answer that is too long for one message are cut to this many entries.
const LIST_CUT: usize = 32;

/// Where and how to answer one requester.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) encoding: Encoding,
    pub(crate) reply_topic: Option<String>,
    pub(crate) correlation: Option<Vec<u8>>,
    /// Nobody waits for an answer after this.
    pub(crate) expires: Timestamp,
}

/// The time from `now` to `expires`.
fn left(expires: Timestamp, now: Timestamp) -> Duration {
    Duration::from_nanos(expires.0.saturating_sub(now.0)).max(Duration::from_secs(1))
}

/// A reply as a message.
pub(crate) fn reply(
    sensor: &SensorId,
    request: Option<Ulid>,
    mut body: ReplyBody,
    to: &Address,
    now: Timestamp,
) -> Result<Message, MessageError> {
    let document = |body| Reply { schema: SCHEMA, request, sensor: sensor.clone(), sent: now, body };
    let mut payload = encode(&document(body.clone()), to.encoding)?;
    if payload.len() > MESSAGE_BYTES_MAX {
        shorten(&mut body);
        payload = encode(&document(body), to.encoding)?;
    }
    Ok(Message {
        topic: to.reply_topic.clone().unwrap_or_else(|| Channel::Reply.topic(sensor)),
        payload,
        content_type: to.encoding.content_type(),
        retain: false,
        expiry: Some(left(to.expires, now)),
        correlation: to.correlation.clone(),
    })
}

/// Any document of the sensor as a message.
pub(crate) fn document<T: Serialize>(
    sensor: &SensorId,
    channel: Channel,
    document: &T,
    encoding: Encoding,
    expiry: Option<Duration>,
) -> Result<Message, MessageError> {
    Ok(Message {
        topic: channel.topic(sensor),
        payload: encode(document, encoding)?,
        content_type: encoding.content_type(),
        retain: matches!(channel, Channel::State | Channel::Status),
        expiry,
        correlation: None,
    })
}

fn shorten(body: &mut ReplyBody) {
    let note = |notes: &mut Vec<String>| {
        notes.truncate(LIST_CUT);
        notes.iter_mut().for_each(|note| *note = note.chars().take(200).collect());
        notes.push(format!("lists were cut to {LIST_CUT} entries to fit into a message"));
    };
    match body {
        ReplyBody::Manifest(manifest) => {
            let Answer { coverage, gaps, clock, thinned, notes, .. } = &mut manifest.answer;
            coverage.truncate(LIST_CUT);
            gaps.truncate(LIST_CUT);
            clock.truncate(LIST_CUT);
            thinned.policies.truncate(LIST_CUT);
            manifest.link_types.truncate(LIST_CUT);
            note(notes);
        }
        ReplyBody::Sessions(SessionsPage { sessions, .. }) => {
            let Sessions { coverage, thinned, notes, .. } = sessions;
            coverage.truncate(LIST_CUT);
            thinned.policies.truncate(LIST_CUT);
            note(notes);
        }
        ReplyBody::Estimate(estimate) => {
            estimate.coverage.truncate(LIST_CUT);
            estimate.thinned.policies.truncate(LIST_CUT);
            note(&mut estimate.notes);
        }
        ReplyBody::Rejected(rejected) => rejected.detail = rejected.detail.chars().take(1024).collect(),
        ReplyBody::Done(done) => done.detail = done.detail.chars().take(1024).collect(),
        // Bounded by what they are.
        ReplyBody::Accepted(_)
        | ReplyBody::Progress(_)
        | ReplyBody::Status(_)
        | ReplyBody::Held(_)
        | ReplyBody::Released(_)
        | ReplyBody::Holds(_)
        | ReplyBody::Pinned(_)
        | ReplyBody::Unpinned(_)
        | ReplyBody::Pins(_)
        | ReplyBody::Jobs(_) => {}
        ReplyBody::Summary(summary) => {
            summary.coverage.truncate(LIST_CUT);
            note(&mut summary.notes);
        }
    }
}

/// The pages of a search; an empty one has one page.
pub(crate) fn pages(sessions: Sessions) -> Vec<ReplyBody> {
    let Sessions { rows, .. } = &sessions;
    let count = rows.len().div_ceil(SEARCH_PAGE_SESSIONS).max(1);
    let pages = u32::try_from(count).unwrap_or(u32::MAX);
    (0..pages)
        .map(|page| {
            let start = page as usize * SEARCH_PAGE_SESSIONS;
            let rows = rows.iter().skip(start).take(SEARCH_PAGE_SESSIONS).cloned().collect();
            let sessions = Sessions { rows, ..Sessions { rows: Vec::new(), ..sessions.clone() } };
            ReplyBody::Sessions(SessionsPage { page, pages, sessions })
        })
        .collect()
}
