//! One extraction on its way to us: the manifest, its chunks, and the acknowledgements that keep them coming.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hindcap_wire::message::{Done, Manifest, Outcome, ReplyBody};

use crate::crowd::Follow;
use crate::exchange::{Exchange, Step, common};
use crate::receiver::{Arrival, Receiver, is_sound};
use crate::{ApiError, Event, Fetched};

/// Chunks that may arrive before they are acknowledged: a quarter of the window, so that it never runs dry.
const ACK_CHUNKS: u32 = 4;
/// Longest time a chunk waits for its acknowledgement.
const ACK_DELAY: Duration = Duration::from_millis(200);
/// Silence after which whatever lacks is asked for again; doubled each time.
const STALL_MIN: Duration = Duration::from_secs(3);
/// See [`STALL_MIN`].
const STALL_MAX: Duration = Duration::from_secs(30);
/// How long to wait for the sensor to say that it has ended, once everything is here and checked.
const DONE_WAIT: Duration = Duration::from_secs(5);

/// See the module.
pub(crate) struct Fetch {
    to: PathBuf,
    receiver: Option<Receiver>,
    unacknowledged: u32,
    arrived_at: Instant,
    asked_at: Instant,
    stall: Duration,
    damaged_before: bool,
    /// Everything is here and checked; until when to wait for the sensor's last word.
    complete_until: Option<Instant>,
}

impl Follow for Fetch {
    type Answer = Fetched;

    fn take(
        &mut self,
        exchange: &mut Exchange<'_>,
        step: Step,
        watch: &mut dyn FnMut(Event),
    ) -> Result<Option<Fetched>, ApiError> {
        if let Some(until) = self.complete_until {
            return self.last_word(exchange, step, until);
        }
        match step {
            Step::Reply(body) => match common(*body, watch)? {
                Some(ReplyBody::Manifest(manifest)) => self.manifest(exchange, *manifest, watch)?,
                Some(ReplyBody::Done(done)) => return self.ended(done).map(Some),
                _ => {}
            },
            Step::Chunk(chunk) => {
                let arrival = self.receiver.as_mut().map(|receiver| receiver.take(&chunk)).transpose();
                if arrival.map_err(|error| self.file_error(error))? == Some(Arrival::New) {
                    exchange.progressed();
                    (self.arrived_at, self.stall) = (Instant::now(), STALL_MIN);
                    self.unacknowledged += 1;
                    watch(Event::Arrived(self.receiver.as_ref().map_or(0, Receiver::bytes)));
                }
            }
            // The request was repeated, which makes the sensor send again.
            Step::Connected | Step::Nothing => {}
        }
        if !self.receiver.as_ref().is_some_and(Receiver::is_complete) {
            self.acknowledge_if_due(exchange);
        } else if self.is_verified(exchange)? {
            exchange.content();
            self.complete_until = Some(Instant::now() + DONE_WAIT);
            self.send_ack(exchange, false);
        }
        Ok(None)
    }
}

impl Fetch {
    pub(crate) fn new(to: &Path) -> Self {
        let now = Instant::now();
        Self {
            to: to.into(),
            receiver: None,
            unacknowledged: 0,
            arrived_at: now,
            asked_at: now,
            stall: STALL_MIN,
            damaged_before: false,
            complete_until: None,
        }
    }

    fn file_error(&self, error: std::io::Error) -> ApiError {
        ApiError::File { path: self.to.clone(), error }
    }

    fn manifest(
        &mut self,
        exchange: &mut Exchange<'_>,
        manifest: Manifest,
        watch: &mut dyn FnMut(Event),
    ) -> Result<(), ApiError> {
        if self.receiver.as_ref().is_some_and(|receiver| receiver.manifest().sha256 == manifest.sha256) {
            // The sensor starts at the first chunk again unless it is told.
            self.send_ack(exchange, false);
            return Ok(());
        }
        if !is_sound(&manifest) || manifest.job != exchange.id {
            return Err(ApiError::Protocol("a manifest that contradicts itself".into()));
        }
        watch(Event::Manifest(Box::new(manifest.clone())));
        self.receiver = None;
        let receiver = Receiver::create(manifest, &self.to).map_err(|error| self.file_error(error))?;
        self.receiver = Some(receiver);
        self.arrived_at = Instant::now();
        Ok(())
    }

    fn send_ack(&mut self, exchange: &mut Exchange<'_>, resend: bool) {
        if let Some(receiver) = &self.receiver {
            exchange.acknowledge(&receiver.ack(resend));
            self.unacknowledged = 0;
            self.asked_at = Instant::now();
        }
    }

    fn acknowledge_if_due(&mut self, exchange: &mut Exchange<'_>) {
        let waiting = self.arrived_at.max(self.asked_at).elapsed();
        let due = self.unacknowledged >= ACK_CHUNKS || self.unacknowledged > 0 && waiting >= ACK_DELAY;
        if due {
            self.send_ack(exchange, false);
        } else if self.receiver.is_some() && waiting >= self.stall {
            self.stall = (self.stall * 2).min(STALL_MAX);
            self.send_ack(exchange, true);
        }
    }

    /// Checks the whole before the sensor may forget it.
    fn is_verified(&mut self, exchange: &mut Exchange<'_>) -> Result<bool, ApiError> {
        let verified = self.receiver.as_mut().map(Receiver::verify).transpose();
        let fine = verified.map_err(|error| self.file_error(error))?.unwrap_or(false);
        if !fine {
            if self.damaged_before {
                return Err(ApiError::Damaged);
            }
            self.damaged_before = true;
            exchange.ask_again();
            self.send_ack(exchange, true);
        }
        Ok(fine)
    }

    /// Everything is here: waits a little for the sensor to say that it has ended.
    fn last_word(
        &mut self,
        exchange: &mut Exchange<'_>,
        step: Step,
        until: Instant,
    ) -> Result<Option<Fetched>, ApiError> {
        match step {
            Step::Reply(body) => {
                if let ReplyBody::Done(done) = *body {
                    return self.placed(Some(done)).map(Some);
                }
            }
            Step::Connected => self.send_ack(exchange, false),
            _ if self.asked_at.elapsed() >= Duration::from_secs(1) => self.send_ack(exchange, false),
            _ => {}
        }
        if Instant::now() >= until { self.placed(None).map(Some) } else { Ok(None) }
    }

    fn placed(&mut self, done: Option<Done>) -> Result<Fetched, ApiError> {
        let Some(receiver) = self.receiver.take() else {
            return Err(ApiError::Protocol("the end without a manifest".into()));
        };
        let manifest = receiver.manifest().clone();
        let done = done.unwrap_or_else(|| Done {
            outcome: if manifest.answer.is_partial() { Outcome::Partial } else { Outcome::Done },
            detail: String::new(),
        });
        let path = if manifest.packets == 0 {
            None
        } else {
            Some(receiver.place().map_err(|error| self.file_error(error))?)
        };
        Ok(Fetched { manifest, outcome: done.outcome, detail: done.detail, path })
    }

    /// The sensor says that it is over before everything is here: an empty result, or none.
    fn ended(&mut self, done: Done) -> Result<Fetched, ApiError> {
        let complete = self.receiver.as_ref().is_some_and(Receiver::is_complete);
        if complete { self.placed(Some(done)) } else { Err(ApiError::Ended(done.outcome, done.detail)) }
    }
}
