//! A file that is followed, by its name: across rotation (the old file is read to its end, under whatever name it has now, then
//! the new one from its beginning) and truncation (it is read from its beginning).

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hindcap_events::LINE_BYTES_MAX;

use super::Batch;
use crate::watch::state::Place;

/// Bytes read at a time.
const READ_BYTES: usize = 64 * 1024;
/// A writer goes on for a while with the file that was moved away.
const OLD_FILE_WAIT: Duration = Duration::from_secs(1);
/// Of a file's beginning, where header lines are looked for.
const HEADERS_BYTES_MAX: usize = 16 * 1024;
/// Files beside it that are looked at for the one that was moved away.
const SIBLINGS_MAX: usize = 10_000;

/// See the module.
#[derive(Debug)]
pub(in crate::watch) struct Follow {
    path: PathBuf,
    open: Option<Open>,
    /// Where to begin: a place of an earlier run, or the end.
    resume: Option<Place>,
    /// Without a place: from the beginning.
    beginning: bool,
    /// Another file has had the name since.
    moved_since: Option<Instant>,
    /// What was wrong at the last look, so that it is told once.
    trouble: Option<String>,
}

/// The file that is being read.
#[derive(Debug)]
struct Open {
    file: File,
    place: Place,
    /// What was read behind [`Place::offset`]: no whole line yet.
    rest: Vec<u8>,
    /// The line that is being read is too long and is passed over.
    passing_over: bool,
    headers: Vec<u8>,
}

impl Follow {
    pub(super) const fn new(path: PathBuf, resume: Option<Place>, beginning: bool) -> Self {
        Self { path, open: None, resume, beginning, moved_since: None, trouble: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn headers(&self) -> &[u8] {
        self.open.as_ref().map_or(&[], |open| &open.headers)
    }

    /// How far it has been read.
    pub(super) fn place(&self) -> Option<Place> {
        self.open.as_ref().map(|open| open.place.clone()).or_else(|| self.resume.clone())
    }

    pub(super) fn look(&mut self, room: usize, to_the_end: bool) -> Batch {
        let mut batch = Batch::default();
        let result = self.read(room, to_the_end, &mut batch);
        let trouble = result.err().map(|error| {
            // What was handed out stays read.
            self.resume = self.place();
            (batch.dry, self.open) = (true, None);
            format!("{}: {error}", self.path.display())
        });
        if trouble != self.trouble {
            batch.remarks.extend(trouble.clone());
            self.trouble = trouble;
        }
        batch.ended = to_the_end && batch.dry;
        batch
    }

    fn read(&mut self, room: usize, to_the_end: bool, batch: &mut Batch) -> io::Result<()> {
        if self.open.is_none() {
            self.open = self.start(batch)?;
        }
        let Some(open) = &mut self.open else {
            batch.dry = true;
            // It may come yet.
            return if to_the_end { Err(io::ErrorKind::NotFound.into()) } else { Ok(()) };
        };
        open.lines(room, batch)?;
        if !batch.dry {
            return Ok(());
        }
        let now = fs::metadata(&self.path).ok();
        let place = open.place.clone();
        let ours = |meta: &fs::Metadata| (meta.dev(), meta.ino()) == (place.device, place.inode);
        match now {
            Some(meta) if ours(&meta) && meta.len() < place.offset => {
                batch.remarks.push(format!("{}: was cut off; read from its beginning", self.path.display()));
                self.resume = Some(Place { offset: 0, ..place });
                self.open = None;
                batch.dry = false;
            }
            Some(meta) if !ours(&meta) => {
                let since = *self.moved_since.get_or_insert_with(Instant::now);
                if to_the_end || since.elapsed() >= OLD_FILE_WAIT {
                    open.last(batch);
                    (self.open, self.moved_since) = (None, None);
                    self.resume = Some(Place { device: meta.dev(), inode: meta.ino(), offset: 0 });
                    batch.dry = false;
                }
            }
            _ if to_the_end => open.last(batch),
            _ => {}
        }
        Ok(())
    }

    /// Opens the file that is to be read next; `None` while there is none.
    fn start(&mut self, batch: &mut Batch) -> io::Result<Option<Open>> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // What appears later is new, and is read from its beginning.
                self.beginning = true;
                return self.resume.clone().map_or(Ok(None), |place| self.moved(&place));
            }
            Err(error) => return Err(error),
        };
        let meta = file.metadata()?;
        let (device, inode) = (meta.dev(), meta.ino());
        let Some(place) = self.resume.take() else {
            let offset = if self.beginning { 0 } else { meta.len() };
            return Open::new(file, Place { device, inode, offset }).map(Some);
        };
        if (place.device, place.inode) == (device, inode) {
            let cut = meta.len() < place.offset;
            if cut {
                batch.remarks.push(format!("{}: was cut off; read from its beginning", self.path.display()));
            }
            return Open::new(file, if cut { Place { offset: 0, ..place } } else { place }).map(Some);
        }
        // Moved away while nobody looked.
        if let Some(old) = self.moved(&place)? {
            return Ok(Some(old));
        }
        batch.remarks.push(format!(
            "{}: the file that was read last is gone; lines at its end may be missing",
            self.path.display()
        ));
        Open::new(file, Place { device, inode, offset: 0 }).map(Some)
    }

    /// The file of `place` under another name in the same directory.
    fn moved(&self, place: &Place) -> io::Result<Option<Open>> {
        let dir = self.path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        for entry in fs::read_dir(dir)?.take(SIBLINGS_MAX).flatten() {
            let is_it = |meta: fs::Metadata| {
                meta.is_file()
                    && (meta.dev(), meta.ino()) == (place.device, place.inode)
                    && meta.len() >= place.offset
            };
            if entry.metadata().is_ok_and(is_it) {
                return Open::new(File::open(entry.path())?, place.clone()).map(Some);
            }
        }
        Ok(None)
    }
}

impl Open {
    fn new(mut file: File, place: Place) -> io::Result<Self> {
        let headers = headers(&mut file)?;
        file.seek(SeekFrom::Start(place.offset))?;
        Ok(Self { file, place, rest: Vec::new(), passing_over: false, headers })
    }

    /// Takes whole lines until there are `room` of them or the file has no more.
    fn lines(&mut self, room: usize, batch: &mut Batch) -> io::Result<()> {
        let mut buffer = vec![0; READ_BYTES];
        while batch.lines.len() < room {
            if self.line(batch) {
                continue;
            }
            match self.file.read(&mut buffer)? {
                0 => {
                    batch.dry = true;
                    break;
                }
                count => self.rest.extend_from_slice(&buffer[..count]),
            }
        }
        Ok(())
    }

    /// Takes one line from what was read, if there is one.
    fn line(&mut self, batch: &mut Batch) -> bool {
        let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') else {
            if self.rest.len() > LINE_BYTES_MAX {
                // Its beginning is forgotten; its end will be, too.
                self.place.offset += self.rest.len() as u64;
                self.rest.clear();
                if !std::mem::replace(&mut self.passing_over, true) {
                    batch.remarks.push(format!("a line of more than {LINE_BYTES_MAX} bytes was passed over"));
                }
            }
            return false;
        };
        let line: Vec<u8> = self.rest.drain(..=end).collect();
        self.place.offset += line.len() as u64;
        if !std::mem::take(&mut self.passing_over) && !line.starts_with(b"#") && line.len() > 1 {
            batch.lines.push_back(line);
        }
        true
    }

    /// The end of a file that nobody writes to any more is a line, too.
    fn last(&mut self, batch: &mut Batch) {
        self.rest.push(b'\n');
        let before = self.place.offset;
        if self.line(batch) && self.place.offset > before {
            // There was no line feed.
            self.place.offset -= 1;
        }
        self.rest.clear();
    }
}

/// The lines with `#` that a file begins with.
fn headers(file: &mut File) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    file.take(HEADERS_BYTES_MAX as u64).read_to_end(&mut start)?;
    let mut headers = Vec::new();
    for line in start.split_inclusive(|byte| *byte == b'\n') {
        if !line.starts_with(b"#") || !line.ends_with(b"\n") {
            break;
        }
        headers.extend_from_slice(line);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    struct Log {
        dir: tempfile::TempDir,
        follow: Follow,
    }

    impl Log {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let follow = Follow::new(dir.path().join("log"), None, true);
            Self { dir, follow }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        fn append(&self, text: &str) {
            let mut file = File::options().create(true).append(true).open(self.path("log")).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        /// Everything that can be read now.
        fn read(&mut self, to_the_end: bool) -> String {
            let mut all = String::new();
            for _ in 0..20 {
                let batch = self.follow.look(3, to_the_end);
                all.extend(batch.lines.iter().map(|line| String::from_utf8_lossy(line).replace('\n', "|")));
                if batch.dry && self.follow.moved_since.is_none() {
                    break;
                }
                if batch.dry {
                    std::thread::sleep(OLD_FILE_WAIT / 4);
                }
            }
            all
        }

        /// As after a kill.
        fn restart(&mut self) {
            let place = self.follow.place();
            self.follow = Follow::new(self.path("log"), place, false);
        }
    }

    #[test]
    fn whole_lines_come_once() {
        let mut log = Log::new();
        assert_eq!(log.read(false), "");
        assert_eq!(log.follow.look(1, true).remarks.len(), 1, "it is not there");
        log.append("one\ntwo\nthr");
        assert_eq!(log.read(false), "one|two|");
        log.restart();
        log.append("ee\n\nfour\nfive\nsix");
        assert_eq!(log.read(false), "three|four|five|");
        assert_eq!(log.read(true), "six|");
        log.restart();
        assert_eq!(log.read(true), "");
    }

    #[test]
    fn a_file_that_was_there_is_read_from_its_end() {
        let mut log = Log::new();
        log.append("old\n");
        log.follow = Follow::new(log.path("log"), None, false);
        assert_eq!(log.read(false), "");
        log.append("new\n");
        assert_eq!(log.read(false), "new|");
    }

    #[test]
    fn rotation_loses_nothing_watched_or_not() {
        let mut log = Log::new();
        log.append("one\n");
        assert_eq!(log.read(false), "one|");
        log.append("two\n");
        fs::rename(log.path("log"), log.path("log.1")).unwrap();
        log.append("three\n");
        assert_eq!(log.read(false), "two|three|");
        log.append("four\n");
        let place = log.follow.place();
        fs::rename(log.path("log"), log.path("log.2")).unwrap();
        log.append("five\n");
        log.follow = Follow::new(log.path("log"), place, false);
        assert_eq!(log.read(false), "four|five|");
    }

    #[test]
    fn a_file_that_was_cut_off_is_read_from_its_beginning() {
        let mut log = Log::new();
        log.append("one\ntwo\n");
        assert_eq!(log.read(false), "one|two|");
        fs::write(log.path("log"), "new\n").unwrap();
        assert_eq!(log.read(false), "new|");
        fs::write(log.path("log"), "x\n").unwrap();
        log.restart();
        assert_eq!(log.read(false), "x|");
    }

    #[test]
    fn headers_stand_above_every_line_and_are_none() {
        let mut log = Log::new();
        log.append("#fields\ta\tb\n#types\tx\ty\n1\t2\n#close\n");
        assert_eq!(log.read(false), "1\t2|");
        assert_eq!(log.follow.headers(), b"#fields\ta\tb\n#types\tx\ty\n");
        log.restart();
        log.read(false);
        assert_eq!(log.follow.headers(), b"#fields\ta\tb\n#types\tx\ty\n");
    }

    #[test]
    fn a_line_without_measure_is_passed_over() {
        let mut log = Log::new();
        log.append(&"x".repeat(LINE_BYTES_MAX * 2));
        assert_eq!(log.read(false), "");
        log.append("x\nshort\n");
        assert_eq!(log.read(false), "short|");
    }
}
