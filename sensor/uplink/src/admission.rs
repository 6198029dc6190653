//! Whether a request is taken, cheapest checks first, fail closed. Pure: nothing is written here.

use hindcap_wire::limits::{
    HOLD_SECS_MAX, HOLD_WHO_BYTES_MAX, HOLD_WHY_BYTES_MAX, PIN_SECS_MAX, REQUEST_LIFE_SECS_MAX,
    REQUEST_TEXT_BYTES_MAX, SEARCH_SESSIONS_MAX, SUMMARY_ROWS_MAX,
};
use hindcap_wire::message::{
    Encoding, Hold, MessageError, Operation, Pin, Reason, Rejected, Request, SensorId, Ulid, decode_envelope,
    decode_request,
};
use hindcap_wire::time::{NANOS_PER_SEC, Timestamp};

use crate::handler::Handler;
use crate::limits::CLOCK_SKEW_NANOS;

/// A request that passed everything but the request queue, and its inner bytes.
pub(crate) type Admitted = (Request, Vec<u8>);

/// Why not, and which request, as far as that could be read.
pub(crate) type Refusal = (Option<Ulid>, Rejected);

fn refuse(id: Option<Ulid>, reason: Reason, detail: impl ToString) -> Refusal {
    (id, Rejected { reason, detail: detail.to_string() })
}

fn unreadable(id: Option<Ulid>, error: &MessageError) -> Refusal {
    let reason = match error {
        MessageError::TooLarge { .. } => Reason::TooLarge,
        MessageError::UnknownVersion(_) => Reason::UnknownVersion,
        MessageError::UnknownOperation(_) => Reason::UnknownOperation,
        _ => Reason::Malformed,
    };
    refuse(id, reason, error)
}

/// What admission looks at besides the request.
pub(crate) struct Gate<'a> {
    pub(crate) sensor: &'a SensorId,
    pub(crate) unsigned_requests: bool,
    pub(crate) handler: &'a dyn Handler,
    pub(crate) now: Timestamp,
}

impl Gate<'_> {
    /// Checks size, form, signature, addressee, time and meaning, in this order.
    pub(crate) fn admit(&self, payload: &[u8], encoding: Encoding) -> Result<Admitted, Refusal> {
        let envelope = decode_envelope(payload, encoding).map_err(|error| unreadable(None, &error))?;
        let read = decode_request(&envelope.inner.0, encoding);
        let id = read.as_ref().map_or_else(|error| error.id, |request| Some(request.id));
        if envelope.signature.is_some() {
            let detail = "this sensor's version cannot verify signatures yet";
            return Err(refuse(id, Reason::SignatureUnsupported, detail));
        }
        if !self.unsigned_requests {
            let detail = "unsigned requests are switched off on this sensor (unsigned_requests = false)";
            return Err(refuse(id, Reason::Unsigned, detail));
        }
        let request = read.map_err(|error| unreadable(error.id, &error.error))?;
        self.check(&request)?;
        Ok((request, envelope.inner.0))
    }

    fn check(&self, request: &Request) -> Result<(), Refusal> {
        let refuse = |reason, detail: String| Err(refuse(Some(request.id), reason, detail));
        if request.sensor != *self.sensor {
            return refuse(Reason::WrongSensor, format!("this is {}, not {}", self.sensor, request.sensor));
        }
        if request.expires <= self.now {
            return refuse(Reason::Expired, format!("expired at {}, it is {}", request.expires, self.now));
        }
        if request.issued > self.now.plus_nanos(CLOCK_SKEW_NANOS) {
            return refuse(
                Reason::Expired,
                format!("issued in the future, at {}, it is {}", request.issued, self.now),
            );
        }
        if request.expires.0.saturating_sub(request.issued.0) > REQUEST_LIFE_SECS_MAX * NANOS_PER_SEC {
            return refuse(Reason::Expired, format!("a request may live {REQUEST_LIFE_SECS_MAX} s at most"));
        }
        let text = [&request.reason, &request.case].into_iter().flatten().map(String::len).max().unwrap_or(0);
        if text > REQUEST_TEXT_BYTES_MAX {
            return refuse(
                Reason::TooLarge,
                format!("reason and case have {REQUEST_TEXT_BYTES_MAX} bytes at most"),
            );
        }
        self.check_operation(request).or_else(|detail| refuse(Reason::InvalidQuery, detail))
    }

    fn check_operation(&self, request: &Request) -> Result<(), String> {
        let query = match &request.operation {
            Operation::Extract(extract) => &extract.query,
            Operation::Search(search) if !(1..=SEARCH_SESSIONS_MAX).contains(&search.limit) => {
                return Err(format!(
                    "a search gives 1 to {SEARCH_SESSIONS_MAX} sessions, not {}",
                    search.limit
                ));
            }
            Operation::Search(search) => &search.query,
            Operation::Estimate(estimate) => &estimate.query,
            Operation::Hold(hold) => {
                check_hold(hold, request.reason.as_deref())?;
                &hold.query
            }
            Operation::Pin(pin) => {
                check_pin(pin)?;
                &pin.query
            }
            Operation::Summary(wanted) if !(1..=SUMMARY_ROWS_MAX).contains(&wanted.rows) => {
                return Err(format!("a summary gives 1 to {SUMMARY_ROWS_MAX} rows, not {}", wanted.rows));
            }
            Operation::Summary(wanted) => &wanted.query,
            Operation::Status
            | Operation::Jobs
            | Operation::Cancel(_)
            | Operation::Release(_)
            | Operation::Holds
            | Operation::Unpin(_)
            | Operation::Pins => return Ok(()),
        };
        query.validate().map_err(|error| error.to_string())?;
        self.handler.check(query)
    }
}

fn check_pin(pin: &Pin) -> Result<(), String> {
    if pin.who.as_ref().is_some_and(|who| who.len() > HOLD_WHO_BYTES_MAX) {
        return Err(format!("who asks for a pin has {HOLD_WHO_BYTES_MAX} bytes at most"));
    }
    match pin.for_secs {
        Some(secs) if !(1..=PIN_SECS_MAX).contains(&secs) => {
            Err(format!("a pin lasts from 1 s to {} days", PIN_SECS_MAX / 86_400))
        }
        _ => Ok(()),
    }
}

/// What is kept with a hold has little room.
fn check_hold(hold: &Hold, why: Option<&str>) -> Result<(), String> {
    let (why, who) = (why.map_or(0, str::len), hold.who.as_ref().map_or(0, String::len));
    if why > HOLD_WHY_BYTES_MAX || who > HOLD_WHO_BYTES_MAX {
        return Err(format!(
            "the reason of a hold has {HOLD_WHY_BYTES_MAX} bytes at most, and who asks for it {HOLD_WHO_BYTES_MAX}"
        ));
    }
    match hold.for_secs {
        Some(secs) if !(1..=HOLD_SECS_MAX).contains(&secs) => {
            Err(format!("a hold lasts from 1 s to {} days", HOLD_SECS_MAX / 86_400))
        }
        _ => Ok(()),
    }
}
