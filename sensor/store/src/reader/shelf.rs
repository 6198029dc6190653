//! Where readers of one process leave what the index of the open segment was made of, so that one of them has it at a time.
//!
//! It is the largest thing that a reader has, and dear to make: the whole segment has to be read. Who finds none, because
//! another reader has it just now, makes one of its own.

use std::sync::{Arc, Mutex, PoisonError};

use super::scan::{Scan, Turn};

/// See the module. Clones are the same shelf.
#[derive(Clone, Debug, Default)]
pub struct Shelf(Arc<Mutex<Option<Box<Scan>>>>);

impl Shelf {
    /// Takes what lies there, if it is of this turn; anything else is of no use to anybody any more.
    pub(super) fn take(&self, turn: Turn) -> Option<Box<Scan>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().filter(|scan| scan.turn == turn)
    }

    pub(super) fn leave(&self, scan: Box<Scan>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(scan);
    }

    /// Forgets what lies there: its medium was away, or nobody follows the store any more.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
