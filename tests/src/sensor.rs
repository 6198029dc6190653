//! A folder of a test with a store in it, and `hindcapd` to work on it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use crate::savefile::{self, Record};
use crate::tools;

/// Exit codes of `hindcapd` and `hindcap`.
pub mod exit {
    /// Done.
    pub const DONE: i32 = 0;
    /// Nothing matched.
    pub const NOTHING: i32 = 1;
    /// Wrong usage, or an error.
    pub const ERROR: i32 = 2;
    /// The time asked for is no longer in the store.
    pub const OUT_OF_RETENTION: i32 = 3;
    /// Denied.
    pub const DENIED: i32 = 4;
    /// Not all of it.
    pub const PARTIAL: i32 = 5;
    /// Time-out, or the other side is offline.
    pub const OFFLINE: i32 = 6;
    /// Given up by a signal.
    pub const INTERRUPTED: i32 = 130;
}

/// A folder that is gone after the test, and a store in it.
#[derive(Debug)]
pub struct Sensor {
    folder: TempDir,
    on_card: bool,
}

/// What an extraction gave.
#[derive(Debug)]
pub struct Extracted {
    /// Exit code.
    pub code: i32,
    /// The answer, as JSON; null when there was none.
    pub answer: Value,
    /// The packets, in the order of the savefile.
    pub records: Vec<Record>,
    /// Link type of the savefile, 0 without.
    pub link_type: u32,
    /// What was said on standard error.
    pub said: String,
}

impl Default for Sensor {
    fn default() -> Self {
        Self::new()
    }
}

impl Sensor {
    /// An empty folder; the store is not made yet.
    ///
    /// # Panics
    /// When the system gives no folder.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("hindcap-test-").tempdir().expect("a folder");
        Self { folder, on_card: false }
    }

    /// A folder with a card: an image of `size`, formatted as `args` say.
    ///
    /// # Panics
    /// When it cannot be formatted.
    #[must_use]
    pub fn with_card(size: &str, args: &[&str]) -> Self {
        let sensor = Self { on_card: true, ..Self::new() };
        let place = sensor.store().display().to_string();
        let all = [&["format", &place, "--image", size, "--yes"], args].concat();
        let output = tools::run(tools::ours("hindcapd"), all);
        assert_eq!(output.status.code(), Some(exit::DONE), "{}", said(&output));
        sensor
    }

    /// What holds the store: its directory, or the image of the card.
    #[must_use]
    pub fn medium(&self) -> PathBuf {
        self.path(if self.on_card { "card.img" } else { "store" })
    }

    /// A copy of the store as a directory: as files are copied from a card that a computer has mounted.
    ///
    /// # Panics
    /// When it cannot be copied.
    #[must_use]
    pub fn copied(&self) -> TempDir {
        let folder = tempfile::tempdir_in(self.folder.path()).expect("a folder");
        let to = folder.path().to_str().expect("plain letters");
        let from = self.medium().display().to_string();
        let output = if self.on_card {
            tools::run("mcopy", ["-i", &from, "-s", "-n", "::/*", to])
        } else {
            tools::run("cp", ["-r", &format!("{from}/."), to])
        };
        assert!(output.status.success(), "{output:?}");
        folder
    }

    /// A path in the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where the store is, or will be.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        if self.on_card { format!("fat:{}", self.medium().display()).into() } else { self.medium() }
    }

    /// The file of segment `number`.
    #[must_use]
    pub fn segment(&self, number: u32) -> PathBuf {
        self.medium().join(format!("segments/{number:06}.pcapng"))
    }

    /// Runs `hindcapd COMMAND --store STORE ARGS`.
    pub fn hindcapd<S: AsRef<OsStr>>(&self, command: &str, args: impl IntoIterator<Item = S>) -> Output {
        let store = self.store();
        let mut all = vec![command.into(), "--store".into(), store.into_os_string()];
        all.extend(args.into_iter().map(|arg| arg.as_ref().to_os_string()));
        tools::run(tools::ours("hindcapd"), all)
    }

    /// Imports `files` into the store of `size`; `args` may say more.
    pub fn import(&self, size: &str, args: &[&str], files: &[impl AsRef<Path>]) -> Output {
        let mut all: Vec<_> = ["--store-size", size].iter().chain(args).map(|arg| OsStr::new(*arg)).collect();
        all.extend(files.iter().map(|file| file.as_ref().as_os_str()));
        self.hindcapd("import", all)
    }

    /// As [`Sensor::import`], and all must be well.
    ///
    /// # Panics
    /// When it is not.
    pub fn import_whole(&self, size: &str, args: &[&str], files: &[impl AsRef<Path>]) {
        let output = self.import(size, args, files);
        assert_eq!(output.status.code(), Some(exit::DONE), "{}", said(&output));
    }

    /// Extracts what `query` asks for.
    ///
    /// # Panics
    /// When the savefile that was written cannot be read, or none was and the exit code does not say so.
    pub fn extract<S: AsRef<OsStr>>(&self, query: impl IntoIterator<Item = S>) -> Extracted {
        let folder = tempfile::tempdir_in(self.folder.path()).expect("a folder");
        let file = folder.path().join("result.pcap");
        let mut args = vec!["--json".into(), "-w".into(), file.clone().into_os_string()];
        args.extend(query.into_iter().map(|arg| arg.as_ref().to_os_string()));
        let output = self.hindcapd("extract", args);
        let code = output.status.code().expect("extract ended by itself");
        let (link_type, records) =
            if file.exists() { savefile::read(&file).expect("a savefile") } else { (0, Vec::new()) };
        let answer = serde_json::from_slice(&output.stdout).unwrap_or_default();
        Extracted { code, answer, records, link_type, said: said(&output) }
    }

    /// What `status --json` says; null when it says nothing.
    #[must_use]
    pub fn status(&self) -> Value {
        serde_json::from_slice(&self.hindcapd("status", ["--json"]).stdout).unwrap_or_default()
    }
}

/// Standard error of a program that ended.
#[must_use]
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
