//! Runs `smartctl`, where it is installed, with bounded time and output. It needs CAP_SYS_ADMIN for NVMe and CAP_SYS_RAWIO
//! for SATA; without them it says so in its document, which then tells nothing.

use std::fmt;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use hindcap_wire::message::MediumKind;

use super::{Medium, ReadRegisters, Registers, smart};

/// How long it may take; a drive in good health answers in a tenth of a second.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long an ended or killed process may take to go.
const REAP_PATIENCE: Duration = Duration::from_millis(500);
/// Longest document; real ones have 10 to 60 KiB.
const DOCUMENT_BYTES_MAX: u64 = 1 << 20;
/// Identity, overall judgement, attributes, and the device statistics of SATA. Nothing is started on the drive.
const ARGUMENTS: [&str; 6] = ["--json=c", "-i", "-H", "-A", "-l", "devstat"];

/// See the module.
#[derive(Debug)]
pub struct Smartctl {
    programs: Vec<PathBuf>,
    patience: Duration,
    /// A process of ours hangs in the kernel: no second one is put beside it.
    stuck: AtomicBool,
}

impl Default for Smartctl {
    /// The one in the path, or where distributions put it.
    fn default() -> Self {
        Self::new(["smartctl", "/usr/sbin/smartctl", "/sbin/smartctl"].map(PathBuf::from).into(), PATIENCE)
    }
}

/// Why there is no document.
#[derive(Debug, PartialEq, Eq)]
enum Silent {
    NotInstalled,
    TimedOut,
    Failed(String),
}

impl fmt::Display for Silent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInstalled => f.write_str("smartctl is not installed"),
            Self::TimedOut => f.write_str("smartctl took too long"),
            Self::Failed(reason) => write!(f, "smartctl: {reason}"),
        }
    }
}

impl Smartctl {
    /// The first of `programs` that exists, which may take so long.
    #[must_use]
    pub const fn new(programs: Vec<PathBuf>, patience: Duration) -> Self {
        Self { programs, patience, stuck: AtomicBool::new(false) }
    }

    fn document(&self, device: &str) -> Result<String, Silent> {
        let mut child = self.spawn(device)?;
        let output = child.stdout.take().ok_or(Silent::Failed("no output".to_owned()))?;
        let (sender, receiver) = mpsc::channel();
        // Ends with the process, or stays with it in the kernel; nobody waits for it.
        let reader = thread::Builder::new().name("smartctl".to_owned()).spawn(move || {
            let mut document = String::new();
            let read = output.take(DOCUMENT_BYTES_MAX).read_to_string(&mut document).map(|_| document);
            let _ = sender.send(read);
        });
        let read = reader.map_err(|error| Silent::Failed(error.to_string())).and_then(|_| {
            let read = receiver.recv_timeout(self.patience).map_err(|_| Silent::TimedOut)?;
            read.map_err(|error| Silent::Failed(error.to_string()))
        });
        self.stuck.store(!reaped(&mut child), Ordering::Relaxed);
        read
    }

    fn spawn(&self, device: &str) -> Result<Child, Silent> {
        for program in &self.programs {
            let mut command = Command::new(program);
            command.args(ARGUMENTS).arg(device).env("LC_ALL", "C");
            match command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn() {
                Ok(child) => return Ok(child),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Silent::Failed(error.to_string())),
            }
        }
        Err(Silent::NotInstalled)
    }
}

/// Waits for the end of a process that has nothing more to say, or kills it. A process that hangs in the kernel cannot be
/// killed: then `false`.
fn reaped(child: &mut Child) -> bool {
    let ended = |child: &mut Child| {
        let until = Instant::now() + REAP_PATIENCE;
        while Instant::now() < until {
            if !matches!(child.try_wait(), Ok(None)) {
                return true;
            }
            thread::sleep(Duration::from_millis(5));
        }
        false
    };
    if ended(child) {
        return true;
    }
    let _ = child.kill();
    ended(child)
}

impl ReadRegisters for Smartctl {
    fn read(&self, medium: &Medium) -> Option<Registers> {
        let asks = matches!(medium.kind, MediumKind::Nvme | MediumKind::SataSsd | MediumKind::Hdd);
        if !asks || self.stuck.load(Ordering::Relaxed) {
            return None;
        }
        match self.document(&format!("/dev/{}", medium.name)) {
            Ok(document) => smart::registers(&document),
            Err(silent) => {
                log::debug!("health of {}: {silent}", medium.name);
                None
            }
        }
    }
}
