//! A savefile into the spool of a job, with link types noted and progress reported on the way.

use std::cell::RefCell;
use std::io::{self, Write};

use hindcap_extract::sink::{ResultSink, SavefileSink, SinkError};
use hindcap_uplink::Job;
use hindcap_wire::message::answer::Answer;
use hindcap_wire::message::{Progress, Request};
use hindcap_wire::packet::{Interface, LinkType, Packet};
use hindcap_wire::savefile::Format;

/// Packets between two reports of progress.
const PROGRESS_EVERY: u64 = 8_192;

/// Writes into the job's spool. The job is shared with [`Spooling`], which reports through it; both live on one thread
/// and neither holds the borrow longer than a call.
struct Out<'a, 'j>(&'a RefCell<&'j mut Job>);

impl Write for Out<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().spool.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.borrow_mut().spool.flush()
    }
}

/// The sink of one extraction.
pub struct Spooling<'a, 'j> {
    job: &'a RefCell<&'j mut Job>,
    sink: SavefileSink<Out<'a, 'j>>,
    progress: Progress,
    /// Link types seen, in the order of their first packet.
    pub link_types: Vec<LinkType>,
}

impl<'a, 'j> Spooling<'a, 'j> {
    /// A savefile of `format` into the spool of `job`, with what `request` says of itself as comments.
    pub fn new(job: &'a RefCell<&'j mut Job>, format: Format, request: &Request) -> Self {
        let sink = SavefileSink::new(Out(job), format).about(about(request));
        Self { job, sink, progress: Progress::default(), link_types: Vec::new() }
    }
}

/// Whom was asked, by which request, and what for. One line each: what a person wrote cannot pass for another line.
fn about(request: &Request) -> Vec<String> {
    let mut lines = vec![format!("sensor: {}", request.sensor), format!("request: {}", request.id)];
    for (name, value) in [("case", &request.case), ("reason", &request.reason)] {
        let value = value.iter().map(|value| value.replace(char::is_control, " "));
        lines.extend(value.map(|value| format!("{name}: {value}")));
    }
    lines
}

impl ResultSink for Spooling<'_, '_> {
    fn begin(&mut self, expected: &Answer) -> Result<(), SinkError> {
        self.progress.segments = expected.segments_searched;
        self.sink.begin(expected)
    }

    fn packet(&mut self, interface: &Interface, packet: &Packet<'_>) -> Result<(), SinkError> {
        if !self.link_types.contains(&interface.link_type) {
            self.link_types.push(interface.link_type);
        }
        self.sink.packet(interface, packet)?;
        self.progress.packets += 1;
        if self.progress.packets % PROGRESS_EVERY == 0 {
            let mut job = self.job.borrow_mut();
            self.progress.bytes = job.spool.written();
            job.progress(self.progress);
        }
        Ok(())
    }

    fn bytes_with(&self, caplen: usize) -> u64 {
        self.sink.bytes_with(caplen)
    }

    fn end(&mut self, answer: &Answer) -> Result<(), SinkError> {
        self.sink.end(answer)
    }
}
