//! Where lines come from: files that are followed, stdin, and syslog over UDP and TCP.

mod file;
mod listen;

use std::collections::VecDeque;
use std::io;
use std::path::Path;

pub(super) use file::Follow;
pub(super) use listen::Inbox;

use super::rules::{From, Source};
use super::state::State;

/// A source at work.
#[derive(Debug)]
pub(super) struct Feed {
    /// What the rules file says of it.
    pub(super) source: Source,
    /// For people.
    pub(super) name: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    File(Follow),
    Inbox(Inbox),
}

/// What one look at a source brought.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) lines: VecDeque<Vec<u8>>,
    /// What a person should know.
    pub(super) remarks: Vec<String>,
    /// There is nothing more for now.
    pub(super) dry: bool,
    /// Nothing will come any more.
    pub(super) ended: bool,
}

impl Feed {
    /// Starts `source`. A file that was not followed before is read from its end on, or from its `beginning`.
    ///
    /// # Errors
    /// Nobody can listen there.
    pub(super) fn start(source: &Source, state: &State, beginning: bool) -> io::Result<Self> {
        let (name, kind) = match &source.from {
            From::File(path) => {
                let follow = Follow::new(path.clone(), state.place(path).cloned(), beginning);
                (path.display().to_string(), Kind::File(follow))
            }
            From::Udp(place) => (format!("udp://{place}"), Kind::Inbox(Inbox::udp(*place)?)),
            From::Tcp(place) => (format!("tcp://{place}"), Kind::Inbox(Inbox::tcp(*place)?)),
            From::Stdin => ("stdin".into(), Kind::Inbox(Inbox::stdin()?)),
        };
        Ok(Self { source: source.clone(), name, kind })
    }

    /// At most `room` lines. `to_the_end`: of a file also the last one without a line feed, and then nothing more; what listens
    /// is not waited for, stdin is.
    pub(super) fn look(&mut self, room: usize, to_the_end: bool) -> Batch {
        match &mut self.kind {
            Kind::File(follow) => follow.look(room, to_the_end),
            Kind::Inbox(inbox) => inbox.look(room, to_the_end),
        }
    }

    /// The file and how far it has been read.
    pub(super) fn place(&self) -> Option<(&Path, super::state::Place)> {
        match &self.kind {
            Kind::File(follow) => follow.place().map(|place| (follow.path(), place)),
            Kind::Inbox(_) => None,
        }
    }

    /// Header lines that stand above every line of a file.
    pub(super) fn headers(&self) -> &[u8] {
        match &self.kind {
            Kind::File(follow) => follow.headers(),
            Kind::Inbox(_) => &[],
        }
    }
}
