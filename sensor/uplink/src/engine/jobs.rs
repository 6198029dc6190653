//! Jobs and their results: from the queue to the worker, from the worker to the receiver, to the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hindcap_wire::limits::{RESULT_BYTES_MAX, RESULT_CHUNK_BYTES};
use hindcap_wire::message::answer::WhyEmpty;
use hindcap_wire::message::{
    Channel, Done, Format, Manifest, Operation, Outcome, Progress, ReplyBody, Request, Sha256, Ulid,
};
use hindcap_wire::time::Timestamp;
use sha2::Digest as _;

use super::{Active, Engine, Outlet, Stage};
use crate::delivery::Delivery;
use crate::handler::{Extracted, JobError};
use crate::limits::{DELIVERIES_MAX, PROGRESS_INTERVAL, RECENT_MAX, SPOOL_ROOM_MIN};
use crate::outgoing;
use crate::spool::Spooled;
use crate::worker::{Order, Product, Report};

/// A result on its way.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) manifest: Manifest,
    pub(super) spooled: Spooled,
    pub(super) delivery: Delivery,
    outcome: Outcome,
}

impl Engine {
    /// Everything that is due: expiry, the worker, chunks, the status.
    pub(crate) fn tick(&mut self, out: &mut dyn Outlet, now: Timestamp, instant: Instant) {
        while let Ok(report) = self.worker.reports.try_recv() {
            self.report(report, out, now, instant);
        }
        while let Some(at) =
            self.active.iter().position(|active| active.request.expires <= now && active.ending.is_none())
        {
            self.finish(at, Done { outcome: Outcome::Expired, detail: "its time was over".into() }, out, now);
        }
        self.start_job(out, now, instant);
        if self.online {
            self.send_chunks(out, now, instant);
            self.send_events(out);
            self.status_if_due(out, now, instant);
        }
    }

    /// Whether a job is at work, so that looking often pays.
    pub(crate) fn is_busy(&self) -> bool {
        self.active.iter().any(|active| matches!(active.stage, Stage::Running { .. }))
    }

    fn start_job(&mut self, out: &mut dyn Outlet, now: Timestamp, instant: Instant) {
        let delivering = self.active.iter().filter(|active| active.is_delivering()).count();
        let spooled: u64 = self.active.iter().map(Active::spooled_bytes).sum();
        let room = self.settings.spool_bytes_max.saturating_sub(spooled).min(RESULT_BYTES_MAX);
        if self.is_busy() || delivering >= DELIVERIES_MAX || room < SPOOL_ROOM_MIN {
            return;
        }
        let Some(at) = self.active.iter().position(|active| matches!(active.stage, Stage::Queued)) else {
            return;
        };
        let cancelled = Arc::new(AtomicBool::new(false));
        let order = Order {
            request: self.active[at].request.clone(),
            spool_bytes_max: room,
            cancelled: Arc::clone(&cancelled),
        };
        if self.worker.orders.send(order).is_err() {
            let detail = "the sensor's worker has died".into();
            return self.finish(at, Done { outcome: Outcome::Failed, detail }, out, now);
        }
        self.active[at].stage = Stage::Running { cancelled, told: instant, progress: Progress::default() };
    }

    fn report(&mut self, report: Report, out: &mut dyn Outlet, now: Timestamp, instant: Instant) {
        let (Report::Progress(id, _) | Report::Finished(id, _)) = &report;
        let id = *id;
        let Some(at) = self.active.iter().position(|active| active.request.id == id) else { return };
        match report {
            Report::Progress(_, progress) => self.progress(at, progress, out, now, instant),
            Report::Finished(_, result) => {
                self.active[at].stage = Stage::Queued;
                match (self.active[at].ending.take(), result) {
                    (Some(done), _) => self.finish(at, done, out, now),
                    (None, Ok(product)) => self.product(at, product, out, now, instant),
                    (None, Err(error)) => {
                        let outcome = match error {
                            JobError::Gone { .. } => Outcome::Gone,
                            JobError::Invalid(_) => Outcome::Rejected,
                            JobError::Cancelled => Outcome::Cancelled,
                            _ => Outcome::Failed,
                        };
                        self.finish(at, Done { outcome, detail: error.to_string() }, out, now);
                    }
                }
            }
        }
    }

    fn progress(
        &mut self,
        at: usize,
        progress: Progress,
        out: &mut dyn Outlet,
        now: Timestamp,
        instant: Instant,
    ) {
        let active = &mut self.active[at];
        if let Stage::Running { told, progress: known, .. } = &mut active.stage {
            *known = progress;
            if instant.saturating_duration_since(*told) >= PROGRESS_INTERVAL {
                *told = instant;
                self.reply(
                    self.active[at].request.id,
                    ReplyBody::Progress(progress),
                    &self.active[at].address,
                    out,
                    now,
                );
            }
        }
    }

    fn product(
        &mut self,
        at: usize,
        product: Product,
        out: &mut dyn Outlet,
        now: Timestamp,
        instant: Instant,
    ) {
        match product {
            Product::Extracted(extracted, spooled) => {
                let parcel = Parcel::new(&self.active[at].request, *extracted, spooled, instant);
                let manifest = ReplyBody::Manifest(Box::new(parcel.manifest.clone()));
                self.reply(self.active[at].request.id, manifest, &self.active[at].address, out, now);
                if parcel.delivery.is_complete() {
                    let done = parcel.done();
                    self.active[at].stage = Stage::Delivering(Box::new(parcel));
                    return self.finish(at, done, out, now);
                }
                self.active[at].stage = Stage::Delivering(Box::new(parcel));
            }
            Product::Sessions(sessions) => {
                let gone =
                    matches!(sessions.why_empty, Some(WhyEmpty::Pruned { .. } | WhyEmpty::TooOld { .. }));
                self.small_result(at, outgoing::pages(sessions), gone, out, now);
            }
            Product::Estimate(estimate) => {
                let gone =
                    matches!(estimate.why_empty, Some(WhyEmpty::Pruned { .. } | WhyEmpty::TooOld { .. }));
                self.small_result(at, vec![ReplyBody::Estimate(estimate)], gone, out, now);
            }
            Product::Reply(body) => self.small_result(at, vec![body], false, out, now),
        }
    }

    fn small_result(
        &mut self,
        at: usize,
        bodies: Vec<ReplyBody>,
        gone: bool,
        out: &mut dyn Outlet,
        now: Timestamp,
    ) {
        let outcome = if gone { Outcome::Gone } else { Outcome::Done };
        let id = self.active[at].request.id;
        bodies.iter().for_each(|body| self.reply(id, body.clone(), &self.active[at].address, out, now));
        self.remember(id, bodies);
        self.finish(at, Done { outcome, detail: String::new() }, out, now);
    }

    fn remember(&mut self, id: Ulid, bodies: Vec<ReplyBody>) {
        match self.recent.iter_mut().find(|(recent, _)| *recent == id) {
            Some((_, known)) => known.extend(bodies),
            None => self.recent.push_back((id, bodies)),
        }
        while self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
    }

    /// Ends a request, or notes how it ends once the worker lets go of it.
    pub(super) fn finish(&mut self, at: usize, done: Done, out: &mut dyn Outlet, now: Timestamp) {
        if let Stage::Running { cancelled, .. } = &self.active[at].stage {
            cancelled.store(true, Ordering::Relaxed);
            self.active[at].ending.get_or_insert(done);
            return;
        }
        let active = self.active.remove(at);
        let id = active.request.id;
        if let Err(error) = self.journal.end(id, done.outcome, now) {
            log::error!(
                "the end of request {id} cannot be noted: {error}; it will be done again after a restart"
            );
        }
        log::info!("request {id} ended: {}", done.outcome.name());
        self.ended += 1;
        let mut body = ReplyBody::Done(done);
        if let (Stage::Delivering(parcel), ReplyBody::Done(done)) = (&active.stage, &mut body) {
            if done.outcome == Outcome::Partial && done.detail.is_empty() {
                done.detail =
                    parcel.manifest.answer.partial.map(|partial| partial.to_string()).unwrap_or_default();
            }
        }
        self.reply(id, body.clone(), &active.address, out, now);
        if let Stage::Delivering(parcel) = &active.stage {
            self.remember(id, vec![ReplyBody::Manifest(Box::new(parcel.manifest.clone()))]);
        }
        self.remember(id, vec![body]);
    }

    fn send_chunks(&mut self, out: &mut dyn Outlet, now: Timestamp, instant: Instant) {
        let mut failed = None;
        for (at, active) in self.active.iter_mut().enumerate() {
            let Stage::Delivering(parcel) = &mut active.stage else { continue };
            parcel.delivery.tick(instant);
            while let Some(index) = parcel.delivery.next() {
                let id = active.request.id;
                let chunk = match parcel.spooled.chunk(id, index, parcel.manifest.chunk_bytes) {
                    Ok(chunk) => chunk,
                    Err(error) => {
                        failed = Some((at, error));
                        break;
                    }
                };
                let left = active.request.expires.0.saturating_sub(now.0);
                let expiry = Some(Duration::from_nanos(left));
                let sensor = &self.settings.sensor;
                let message =
                    outgoing::document(sensor, Channel::Chunk, &chunk, active.address.encoding, expiry);
                if message.is_ok_and(|message| out.send(message).is_err()) {
                    parcel.delivery.not_sent();
                    break;
                }
            }
        }
        if let Some((at, error)) = failed {
            let detail = format!("the spooled result cannot be read back: {error}");
            self.finish(at, Done { outcome: Outcome::Failed, detail }, out, now);
        }
    }
}

impl Parcel {
    fn new(request: &Request, extracted: Extracted, spooled: Spooled, instant: Instant) -> Self {
        let Extracted { answer, link_types } = extracted;
        // An empty answer needs no savefile.
        let bytes = if answer.packets == 0 { 0 } else { spooled.bytes() };
        let chunks = u32::try_from(bytes.div_ceil(RESULT_CHUNK_BYTES.into())).unwrap_or(u32::MAX);
        let outcome = match (&answer.why_empty, answer.is_partial()) {
            (Some(WhyEmpty::Pruned { .. } | WhyEmpty::TooOld { .. }), _) => Outcome::Gone,
            (_, true) => Outcome::Partial,
            (_, false) => Outcome::Done,
        };
        let format = if let Operation::Extract(extract) = &request.operation {
            extract.format
        } else {
            Format::default()
        };
        let manifest = Manifest {
            job: request.id,
            format,
            link_types,
            packets: answer.packets,
            bytes,
            sha256: if bytes == 0 { Sha256(sha2::Sha256::digest([]).into()) } else { spooled.sha256() },
            chunk_bytes: RESULT_CHUNK_BYTES,
            chunks,
            answer,
        };
        Self { manifest, spooled, delivery: Delivery::new(chunks, instant), outcome }
    }

    pub(super) fn done(&self) -> Done {
        Done { outcome: self.outcome, detail: String::new() }
    }
}
