//! The only reader of clocks in the sensor: wall clock, monotonic clock, and whether the wall clock is synchronised.
//!
//! The kernel's flag (`adjtimex`) has no safe wrapper in the crates we use, so the state is read from the marker file of
//! the time daemon. systemd-timesyncd makes `/run/systemd/timesync/synchronized` after its first synchronisation; other
//! daemons can be told to touch a file. Without the marker nobody vouches for the clock: not synchronised. Unknown is the
//! state of imports alone; readers tell them from live recordings by it.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use hindcap_wire::time::{ClockState, Timestamp};
use rustix::time::{ClockId, clock_gettime};

/// Where systemd-timesyncd says that the clock is synchronised; `run` may name another file.
pub const SYNCHRONISED_MARKER: &str = "/run/systemd/timesync/synchronized";
/// How often the marker is looked at, nanoseconds: a `stat` a second is nothing, one per tick would be waste.
const MARKER_EVERY_NANOS: u64 = 1_000_000_000;

/// Wall clock now.
#[must_use]
pub fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_parts(since.as_secs(), since.subsec_nanos())
}

/// Nanoseconds since boot; never goes backwards.
#[must_use]
pub fn monotonic_nanos() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let (secs, nanos) = (u64::try_from(now.tv_sec).unwrap_or(0), u64::try_from(now.tv_nsec).unwrap_or(0));
    secs.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// A clock that remembers its last look at the marker.
#[derive(Debug)]
pub struct Clock {
    marker: PathBuf,
    state: ClockState,
    looked: Option<u64>,
}

impl Clock {
    /// A clock whose synchronisation shows in the existence of `marker`.
    #[must_use]
    pub fn new(marker: PathBuf) -> Self {
        Self { marker, state: ClockState::NotSynchronised, looked: None }
    }

    /// Whether the wall clock is synchronised, at most a second old.
    pub fn state(&mut self) -> ClockState {
        let now = monotonic_nanos();
        if self.looked.is_none_or(|at| now.saturating_sub(at) >= MARKER_EVERY_NANOS) {
            self.looked = Some(now);
            self.state = self.look();
        }
        self.state
    }

    fn look(&self) -> ClockState {
        if self.marker.exists() { ClockState::Synchronised } else { ClockState::NotSynchronised }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_tells_and_without_it_nobody_vouches() {
        let directory = tempfile::tempdir().unwrap();
        let marker = directory.path().join("synchronized");
        assert_eq!(Clock::new("/nonexistent/dir/file".into()).state(), ClockState::NotSynchronised);
        assert_eq!(Clock::new(marker.clone()).state(), ClockState::NotSynchronised);
        std::fs::write(&marker, "").unwrap();
        assert_eq!(Clock::new(marker).state(), ClockState::Synchronised);
    }

    #[test]
    fn monotonic_never_goes_backwards() {
        let first = monotonic_nanos();
        assert!(first > 0 && monotonic_nanos() >= first);
        assert!(wall() > Timestamp::from_parts(1_700_000_000, 0));
    }
}
