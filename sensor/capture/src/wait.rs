//! Waiting for a descriptor, never longer than told.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// What a wait ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// Something to read, or an error to fetch.
    Yes,
    /// The time is over or a signal came.
    No,
}

/// Waits until `fd` can be read, at most `wait`. A signal ends the wait, so that its handler is noticed.
pub(crate) fn wait_readable(fd: BorrowedFd<'_>, wait: Duration) -> Ready {
    // A wait that does not fit is longer than anyone lives.
    let timeout = Timespec::try_from(wait).ok();
    match poll(&mut [PollFd::new(&fd, PollFlags::IN)], timeout.as_ref()) {
        Ok(0) | Err(Errno::INTR) => Ready::No,
        // Whatever else is wrong with the descriptor, reading it will say.
        Ok(_) | Err(_) => Ready::Yes,
    }
}
