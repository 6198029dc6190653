//! How recorder and writer are joined: in one thread, or through two lock-free queues of handles.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use heapless::spsc::{Consumer, Producer, Queue};

use super::{Done, Job, Writer};
use crate::RecorderOptions;
use crate::volume::VolumeWrite;

/// Room for every buffer, every index, and the end.
const SLOTS: usize = RecorderOptions::BUFFERS_MAX * 2;
/// The writer looks by itself so often, should a wake-up ever be missed.
const WATCH: Duration = Duration::from_millis(500);
/// How long a recorder that may wait sleeps before it looks again.
const BREATH: Duration = Duration::from_micros(200);

/// The recorder's end.
pub(crate) enum Link {
    /// Nobody is there (yet).
    Ended,
    /// Everything happens in the call.
    Inline { writer: Box<dyn FnMut(Job) -> Done + Send>, done: VecDeque<Done> },
    /// A thread of its own.
    Threaded {
        jobs: Producer<'static, Job, SLOTS>,
        done: Consumer<'static, Done, SLOTS>,
        thread: Thread,
        handle: Option<JoinHandle<()>>,
        /// Set when nobody will send any more.
        ended: Arc<AtomicBool>,
    },
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ended => "Ended",
            Self::Inline { .. } => "Inline",
            Self::Threaded { .. } => "Threaded",
        })
    }
}

impl Link {
    pub(crate) fn inline<V: VolumeWrite + Send + 'static>(mut writer: Writer<V>) -> Self {
        Self::Inline { writer: Box::new(move |job| writer.handle(job)), done: VecDeque::with_capacity(SLOTS) }
    }

    /// Starts the writer's thread.
    pub(crate) fn threaded<V: VolumeWrite + Send + 'static>(mut writer: Writer<V>) -> std::io::Result<Self> {
        // The queues live as long as the process: a recorder is made once, and 4 KiB buy a queue without locks or unsafe.
        let jobs_queue: &'static mut Queue<Job, SLOTS> = Box::leak(Box::new(Queue::new()));
        let done_queue: &'static mut Queue<Done, SLOTS> = Box::leak(Box::new(Queue::new()));
        let (jobs, mut inbox) = jobs_queue.split();
        let (mut outbox, done) = done_queue.split();
        let ended = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ended);
        let work = move || {
            loop {
                let Some(job) = inbox.dequeue() else {
                    if seen.load(Ordering::Acquire) && !inbox.ready() {
                        return;
                    }
                    thread::park_timeout(WATCH);
                    continue;
                };
                // There is a slot for everything that is in use at once; what finds none is dropped and costs a buffer.
                let _ = outbox.enqueue(writer.handle(job));
            }
        };
        let handle = thread::Builder::new().name(String::from("hindcap-writer")).spawn(work)?;
        Ok(Self::Threaded { jobs, done, thread: handle.thread().clone(), handle: Some(handle), ended })
    }

    /// Hands over a job; `false` when there is no room, which the number of buffers rules out.
    pub(crate) fn send(&mut self, job: Job) -> bool {
        match self {
            Self::Ended => false,
            Self::Inline { writer, done } => {
                done.push_back(writer(job));
                true
            }
            Self::Threaded { jobs, thread, .. } => {
                let sent = jobs.enqueue(job).is_ok();
                thread.unpark();
                sent
            }
        }
    }

    /// Takes back what is done.
    pub(crate) fn receive(&mut self) -> Option<Done> {
        match self {
            Self::Ended => None,
            Self::Inline { done, .. } => done.pop_front(),
            Self::Threaded { done, .. } => done.dequeue(),
        }
    }

    /// Waits for something to come back. For callers that may wait; live capture never does.
    pub(crate) fn receive_waiting(&mut self) -> Option<Done> {
        loop {
            if let Some(done) = self.receive() {
                return Some(done);
            }
            match self {
                Self::Ended | Self::Inline { .. } => return None,
                Self::Threaded { handle, .. } if handle.as_ref().is_none_or(JoinHandle::is_finished) => {
                    return None;
                }
                Self::Threaded { .. } => thread::sleep(BREATH),
            }
        }
    }
}

/// A recorder that is dropped without being closed leaves what a killed one leaves; the writer ends all the same.
impl Drop for Link {
    fn drop(&mut self) {
        if let Self::Threaded { thread, handle, ended, .. } = self {
            ended.store(true, Ordering::Release);
            thread.unpark();
            if let Some(handle) = handle.take() {
                // The writer does not panic; if it did, the process is on its way out already.
                let _ = handle.join();
            }
        }
    }
}
