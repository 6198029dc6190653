//! One line in a file about how the connection to the broker stands: for whoever stands before a box that does not answer
//! (`mqtt.connection_file`).
//!
//! It is written when what it says changes, at once and whole, and is gone when the sensor ends. What a broker says may be meant to harm: the
//! line is printable ASCII and at most [`LINE_BYTES_MAX`] long. Its times follow the clock when that is set.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use hindcap_wire::time::Timestamp;

use crate::clock::monotonic_nanos;

/// Bytes of the line: the longest that TLS can be refused by, and a long address.
const LINE_BYTES_MAX: usize = 480;
/// How often the file is looked after.
const LOOK_EVERY_NANOS: u64 = 250_000_000;
/// A clock that drifts is no other time.
const DRIFT_NANOS: u64 = 2_000_000_000;

/// How the connection stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    /// There is no broker.
    None,
    Connecting,
    Connected,
    /// Why, in words of the link's.
    Lost(String),
}

/// See the module. The uplink's thread tells, the main thread writes.
#[derive(Debug)]
pub struct BrokerLine {
    /// How it stands, and since when by the monotonic clock.
    standing: Mutex<(Standing, u64)>,
}

impl BrokerLine {
    /// That of a sensor which has no broker, or one that it is about to connect to.
    #[must_use]
    pub fn new(has_broker: bool) -> Self {
        let standing = if has_broker { Standing::Connecting } else { Standing::None };
        Self { standing: Mutex::new((standing, monotonic_nanos())) }
    }

    /// The broker is connected, or is not, and why.
    pub fn told(&self, lost: Option<&str>, monotonic_nanos: u64) {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let new = lost.map_or(Standing::Connected, |reason| Standing::Lost(reason.to_owned()));
        // It is not there since the first loss, whatever came in the way afterwards.
        if !matches!((&standing.0, &new), (Standing::Lost(_), Standing::Lost(_))) {
            standing.1 = monotonic_nanos;
        }
        standing.0 = new;
    }

    fn now(&self) -> (Standing, u64) {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The file, which the main thread looks after.
#[derive(Debug)]
pub struct LineFile {
    path: PathBuf,
    address: String,
    looked: Option<u64>,
    /// What stands in it, and the time it names.
    written: Option<(Standing, Timestamp)>,
    warned: bool,
}

impl LineFile {
    /// The file at `path`, about the broker at `address`; `None` without a path.
    #[must_use]
    pub fn new(path: &str, address: &str) -> Option<Self> {
        let (path, address) = (PathBuf::from(path), address.to_owned());
        (!path.as_os_str().is_empty()).then_some(Self {
            path,
            address,
            looked: None,
            written: None,
            warned: false,
        })
    }

    /// Writes the line when it is time and something has changed.
    pub fn look(&mut self, line: &BrokerLine, monotonic_nanos: u64, now: Timestamp) {
        if self.looked.is_some_and(|looked| monotonic_nanos.saturating_sub(looked) < LOOK_EVERY_NANOS) {
            return;
        }
        self.looked = Some(monotonic_nanos);
        let (standing, changed) = line.now();
        let since = now.minus_nanos(monotonic_nanos.saturating_sub(changed));
        let same = |(written, at): &(Standing, Timestamp)| {
            *written == standing && at.0.abs_diff(since.0) < DRIFT_NANOS
        };
        if self.written.as_ref().is_some_and(same) {
            return;
        }
        match replace(&self.path, &(text(&standing, &self.address, since) + "\n")) {
            Ok(()) => (self.written, self.warned) = (Some((standing, since)), false),
            Err(error) if !self.warned => {
                let path = self.path.display();
                log::warn!(
                    "mqtt.connection_file {path} cannot be written: {error}; its directory must be there and be ours"
                );
                self.warned = true;
            }
            Err(_) => {}
        }
    }
}

/// A sensor that has ended has no connection.
impl Drop for LineFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// The old content or the new one, never a part.
fn replace(path: &Path, content: &str) -> std::io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    fs::write(&beside, content)?;
    fs::rename(&beside, path)
}

fn text(standing: &Standing, address: &str, since: Timestamp) -> String {
    let since = since.to_string();
    let since = since.get(..19).unwrap_or(&since);
    let text = match standing {
        Standing::None => "none: set mqtt.broker, and it can be asked from afar".to_owned(),
        Standing::Connecting => format!("connecting to {address}"),
        Standing::Connected => format!("connected to {address} since {since}Z"),
        Standing::Lost(reason) => {
            format!("no connection to {address} since {since}Z, tried again at least once a minute: {reason}")
        }
    };
    text.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' }).take(LINE_BYTES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEC: u64 = 1_000_000_000;

    /// A file, the line of a sensor with a broker, and what the file holds after a look at second `at` by a clock that is
    /// `ahead` seconds ahead of the monotonic one.
    struct Bench {
        dir: tempfile::TempDir,
        file: LineFile,
        line: BrokerLine,
    }

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("broker").display().to_string();
            let (file, line) =
                (LineFile::new(&path, "mqtts://b.example:8883").unwrap(), BrokerLine::new(true));
            Self { dir, file, line }
        }

        fn look(&mut self, at: u64, ahead: u64) -> String {
            self.file.look(&self.line, at * SEC, Timestamp((at + ahead) * SEC));
            fs::read_to_string(self.dir.path().join("broker")).unwrap_or_default()
        }
    }

    #[test]
    fn the_line_says_how_it_stands_and_is_written_when_that_changes() {
        let mut bench = Bench::new();
        assert_eq!(bench.look(1, 0), "connecting to mqtts://b.example:8883\n");
        bench.line.told(Some("refused"), 10 * SEC);
        let lost = "no connection to mqtts://b.example:8883 since 1970-01-01T00:00:10Z, tried again at least once a minute: ";
        assert_eq!(bench.look(11, 0), format!("{lost}refused\n"));
        // The same again, and again: nothing is written.
        fs::remove_file(bench.dir.path().join("broker")).unwrap();
        bench.line.told(Some("refused"), 40 * SEC);
        assert_eq!(bench.look(41, 0), "");
        bench.line.told(Some("its certificate ended"), 60 * SEC);
        assert_eq!(bench.look(61, 0), format!("{lost}its certificate ended\n"), "since the first loss");
        bench.line.told(None, 70 * SEC);
        assert_eq!(bench.look(71, 0), "connected to mqtts://b.example:8883 since 1970-01-01T00:01:10Z\n");
        // The clock is set: so is what it said.
        let set = "connected to mqtts://b.example:8883 since 2026-09-21T14:14:30Z\n";
        assert_eq!(bench.look(80, 1_790_000_000), set);
        let left = fs::read_dir(bench.dir.path()).unwrap().count();
        assert_eq!(left, 1, "nothing beside it");
        let Bench { dir, file, .. } = bench;
        drop(file);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "no sensor, no line");
    }

    #[test]
    fn what_a_broker_says_is_one_short_line_of_letters() {
        let mut bench = Bench::new();
        bench
            .line
            .told(Some(&format!("evil\x1b[2J\nbroker  connected\u{202e}\u{9b}{}", "x".repeat(10_000))), 0);
        let line = bench.look(1, 0);
        assert!(line.contains(": evil?[2J?broker  connected??xxx"), "{line}");
        assert_eq!((line.len(), line.lines().count()), (LINE_BYTES_MAX + 1, 1));
    }

    #[test]
    fn a_place_that_cannot_be_written_to_is_tried_again() {
        let mut bench = Bench::new();
        let broker = bench.dir.path().join("broker");
        fs::create_dir(&broker).unwrap();
        assert_eq!(bench.look(1, 0), "");
        fs::remove_dir(&broker).unwrap();
        assert!(bench.look(2, 0).starts_with("connecting"));
        assert!(LineFile::new("", "mqtt://h").is_none());
    }
}
