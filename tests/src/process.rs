//! Programs that run beside a test: started, waited for, signalled, and killed when the test is over.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::tools;

/// A program that runs. Killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// Everything it said so far.
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
}

impl Running {
    /// Starts `command`.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = started.unwrap_or_else(|err| panic!("{command:?}: {err}"));
        let stdout = follow(child.stdout.take().expect("piped"));
        let stderr = follow(child.stderr.take().expect("piped"));
        Self { child, stdout, stderr }
    }

    /// Its process identifier.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said on standard error so far.
    #[must_use]
    pub fn said(&self) -> String {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it has printed so far.
    #[must_use]
    pub fn printed(&self) -> String {
        self.stdout.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it has said `words` on standard error.
    ///
    /// # Panics
    /// When it ends, or half a minute passes, before.
    pub fn wait_said(&mut self, words: &str) {
        tools::wait_for(words, || {
            let ended = self.child.try_wait().expect("it can be waited for");
            let said = self.said();
            assert!(ended.is_none() || said.contains(words), "ended without saying {words:?}: {said}");
            said.contains(words).then_some(())
        });
    }

    /// Whether it runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it has been waited for already.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Waits for its end: how it ended, and how long that took.
    ///
    /// # Panics
    /// When it does not end within half a minute.
    pub fn wait(&mut self) -> (ExitStatus, Duration) {
        self.wait_at_most(Duration::from_secs(30))
    }

    /// As [`Running::wait`], with a deadline of its own.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn wait_at_most(&mut self, deadline: Duration) -> (ExitStatus, Duration) {
        let since = Instant::now();
        let look = || self.child.try_wait().expect("it can be waited for");
        (tools::wait_at_most(deadline, "the end of a program", look), since.elapsed())
    }

    /// Asks it to end (SIGTERM) and waits.
    ///
    /// # Panics
    /// As [`Running::wait`].
    pub fn stop(&mut self) -> (ExitStatus, Duration) {
        self.signal(Signal::TERM);
        self.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Collects what comes out of a pipe, in a thread that ends with it.
fn follow(pipe: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let shared = Arc::clone(&text);
    std::thread::spawn(move || {
        let mut lines = BufReader::new(pipe);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            shared.lock().unwrap_or_else(PoisonError::into_inner).push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
    text
}
