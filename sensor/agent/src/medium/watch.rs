//! A thread that looks at the medium: at the start, every ten minutes, and when told that it may be another one.

use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::{Look, ReadRegisters, look};

/// Registers move by the day; this is for the temperature, and for a card that is on its last blocks.
const LOOK_EVERY: Duration = Duration::from_secs(600);

#[derive(Debug, Default)]
struct Seen {
    /// How often somebody looked, and what was there the last time.
    last: Mutex<(u64, Look)>,
    changed: Condvar,
}

/// See the module. The thread ends after its look when this is dropped; nobody waits for it.
#[derive(Debug)]
pub struct MediumWatch {
    seen: Arc<Seen>,
    again: Sender<()>,
}

impl MediumWatch {
    /// Begins to look at the medium below the store at `path`.
    #[must_use]
    pub fn start(path: PathBuf, sys: PathBuf, readers: Vec<Box<dyn ReadRegisters>>) -> Self {
        let (seen, (again, told)) = (Arc::<Seen>::default(), mpsc::channel());
        let watched = Arc::clone(&seen);
        let thread = thread::Builder::new().name("medium".to_owned()).spawn(move || {
            loop {
                let found = look(&path, &sys, &readers);
                let mut last = watched.last.lock().unwrap_or_else(PoisonError::into_inner);
                *last = (last.0 + 1, found);
                drop(last);
                watched.changed.notify_all();
                if told.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Disconnected) {
                    return;
                }
            }
        });
        if let Err(error) = thread {
            log::warn!("the medium's health is not watched: {error}");
        }
        Self { seen, again }
    }

    /// How often somebody has looked, and what was seen last; 0 and an unknown medium before the first look.
    #[must_use]
    pub fn last(&self) -> (u64, Look) {
        self.seen.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The same, but waits at most so long for the first look.
    #[must_use]
    pub fn first(&self, patience: Duration) -> (u64, Look) {
        let last = self.seen.last.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.seen.changed.wait_timeout_while(last, patience, |last| last.0 == 0);
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Looks again soon: it may be another medium.
    pub fn look_again(&self) {
        let _ = self.again.send(());
    }
}
