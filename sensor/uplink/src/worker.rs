//! The worker thread: runs one job at a time and tells the engine.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use hindcap_wire::message::answer::{Estimate, Sessions};
use hindcap_wire::message::{Operation, Progress, ReplyBody, Request, Ulid};

use crate::handler::{Extracted, Handler, Job, JobError};
use crate::spool::{Spool, Spooled};

/// What a job gave.
#[derive(Debug)]
pub(crate) enum Product {
    Extracted(Box<Extracted>, Spooled),
    Sessions(Sessions),
    Estimate(Estimate),
    /// The whole result is this reply.
    Reply(ReplyBody),
}

/// What the worker tells.
#[derive(Debug)]
pub(crate) enum Report {
    Progress(Ulid, Progress),
    Finished(Ulid, Result<Product, JobError>),
}

/// What the worker is told.
pub(crate) struct Order {
    pub(crate) request: Request,
    pub(crate) spool_bytes_max: u64,
    pub(crate) cancelled: Arc<AtomicBool>,
}

/// The worker, seen from the engine. It ends when this is dropped and its job has returned.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) orders: Sender<Order>,
    pub(crate) reports: Receiver<Report>,
    pub(crate) thread: JoinHandle<()>,
}

impl Worker {
    pub(crate) fn start(handler: Arc<dyn Handler>, spool_dir: PathBuf) -> io::Result<Self> {
        let (orders, inbox) = mpsc::channel::<Order>();
        let (outbox, reports) = mpsc::channel();
        let thread = thread::Builder::new().name("job".into()).spawn(move || {
            handler.prepare_worker();
            while let Ok(order) = inbox.recv() {
                let id = order.request.id;
                let result = run(&*handler, &spool_dir, order, outbox.clone());
                if outbox.send(Report::Finished(id, result)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { orders, reports, thread })
    }
}

fn run(
    handler: &dyn Handler,
    spool_dir: &std::path::Path,
    order: Order,
    reports: Sender<Report>,
) -> Result<Product, JobError> {
    let Order { request, spool_bytes_max, cancelled } = order;
    let id = request.id;
    let spool = Spool::create(spool_dir, id, spool_bytes_max)?;
    let report = Box::new(move |progress| {
        let _ = reports.send(Report::Progress(id, progress));
    });
    let mut job = Job { spool, cancelled, report };
    match &request.operation {
        Operation::Extract(extract) => {
            let extracted = handler.extract(&request, extract, &mut job)?;
            Ok(Product::Extracted(Box::new(extracted), job.spool.finish()?))
        }
        Operation::Search(search) => handler.search(&request, search, &mut job).map(Product::Sessions),
        Operation::Estimate(estimate) => {
            handler.estimate(&request, &estimate.query, &mut job).map(Product::Estimate)
        }
        Operation::Hold(hold) => {
            handler.hold(&request, hold, &mut job).map(|held| Product::Reply(ReplyBody::Held(held)))
        }
        Operation::Release(release) => handler
            .release(&request, release, &mut job)
            .map(|released| Product::Reply(ReplyBody::Released(released))),
        Operation::Holds => {
            handler.holds(&request, &mut job).map(|list| Product::Reply(ReplyBody::Holds(list)))
        }
        Operation::Pin(pin) => {
            handler.pin(&request, pin, &mut job).map(|pin| Product::Reply(ReplyBody::Pinned(Box::new(pin))))
        }
        Operation::Unpin(unpin) => handler
            .unpin(&request, unpin, &mut job)
            .map(|pin| Product::Reply(ReplyBody::Unpinned(Box::new(pin)))),
        Operation::Pins => handler.pins(&request, &mut job).map(|list| Product::Reply(ReplyBody::Pins(list))),
        Operation::Summary(wanted) => handler
            .summary(&request, wanted, &mut job)
            .map(|summary| Product::Reply(ReplyBody::Summary(Box::new(summary)))),
        Operation::Status | Operation::Cancel(_) | Operation::Jobs => {
            Err(JobError::Failed("not a job".into()))
        }
    }
}
