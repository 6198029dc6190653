//! Makes room for the capture: whoever extracts does so when nothing else wants the processor or the medium.

use std::io;

/// Largest nice value: the processor goes to everybody else first.
const NICE_MAX: i32 = 19;

/// Gives the calling thread the lowest processor priority, and with it the lowest best-effort I/O level.
///
/// On Linux the nice value belongs to the thread. A thread that never set an I/O priority gets its level from the nice
/// value, `(nice + 20) / 5` (ioprio_get(2)): 19 is level 7 of 0 to 7. The idle I/O class itself has no safe interface
/// here. The way back up needs privileges, so this is for worker threads.
///
/// # Errors
/// What the system says; the thread works on at its old priority.
pub fn idle() -> io::Result<()> {
    rustix::process::setpriority_process(None, NICE_MAX).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concerns_the_calling_thread_alone() {
        let before = rustix::process::getpriority_process(None).unwrap();
        let inside = std::thread::spawn(|| {
            idle().unwrap();
            rustix::process::getpriority_process(None).unwrap()
        });
        assert_eq!(inside.join().unwrap(), NICE_MAX);
        assert_eq!(rustix::process::getpriority_process(None).unwrap(), before);
    }
}
