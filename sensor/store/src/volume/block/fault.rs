//! Operations that fail when they are told to: what the simulated media share.

use std::io;

/// Which operation fails, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The first operation (writes and flushes, from 0) that fails.
    pub from: usize,
    /// How many fail one after another.
    pub count: usize,
    /// The system's error number.
    pub errno: i32,
}

impl Fault {
    /// The error of operation `number`, when it is one that fails.
    #[must_use]
    pub fn strikes(self, number: usize) -> Option<io::Error> {
        let failing = self.from..self.from.saturating_add(self.count);
        failing.contains(&number).then(|| io::Error::from_raw_os_error(self.errno))
    }
}
