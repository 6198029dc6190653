//! `--zip`: the savefile with its papers, to be handed on as one file: what was asked, what it covers, and sums to check
//! it by (`sha256sum -c SHA256SUMS`).

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use hindcap_wire::message::{Extract, Format};
use hindcap_wire::time::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::exit::Failure;
use crate::gather::{self, Gathered, Part, Wanted};
use crate::{args, beside};

/// What goes with a savefile.
pub(super) struct Papers<'a> {
    pub(super) target: &'a args::Target,
    pub(super) wanted: &'a Wanted,
    pub(super) gathered: &'a Gathered,
    pub(super) now: Timestamp,
}

/// `manifest.json`.
#[derive(Serialize)]
struct Json<'a> {
    fetched: Timestamp,
    case: Option<&'a str>,
    reason: Option<&'a str>,
    comment: Option<&'a str>,
    request: &'a Extract,
    packets: u64,
    bytes: u64,
    duplicates: u64,
    sensors: &'a [Part],
}

impl Papers<'_> {
    fn manifest_json(&self) -> Result<Vec<u8>, Failure> {
        let target = self.target;
        let json = Json {
            fetched: self.now,
            case: target.case.as_deref(),
            reason: target.reason.as_deref(),
            comment: self.wanted.comment.as_deref(),
            request: &self.wanted.extract,
            packets: self.gathered.packets,
            bytes: self.gathered.bytes,
            duplicates: self.gathered.duplicates,
            sensors: &self.gathered.parts,
        };
        serde_json::to_vec_pretty(&json).map_err(Failure::new)
    }

    fn report(&self, savefile: &str) -> String {
        let target = self.target;
        let mut text = String::new();
        let _ = writeln!(text, "savefile: {savefile}\nfetched:  {}", self.now);
        let told = [("case", &target.case), ("reason", &target.reason), ("comment", &self.wanted.comment)];
        for (name, value) in told {
            if let Some(value) = value {
                let _ = writeln!(text, "{:9} {value}", format!("{name}:"));
            }
        }
        let _ = write!(text, "\n{}", gather::table(&self.gathered.parts));
        for part in &self.gathered.parts {
            if let Some(manifest) = part.manifest() {
                let _ = write!(text, "\n{}, request {}\n{}", part.sensor, manifest.job, manifest.answer);
            }
        }
        text
    }

    /// What lies beside the savefile `name`, whose SHA-256 is `hash`; the sums last.
    pub(super) fn files(&self, name: &str, hash: &[u8]) -> Result<Vec<(&'static str, Vec<u8>)>, Failure> {
        let mut sums = String::new();
        sum_line(&mut sums, name, hash);
        let mut files =
            vec![("report.txt", self.report(name).into_bytes()), (MANIFEST, self.manifest_json()?)];
        files.iter().for_each(|(name, bytes)| sum_line(&mut sums, name, &Sha256::digest(bytes)));
        files.push(("SHA256SUMS", sums.into_bytes()));
        Ok(files)
    }
}

/// The document that programs read.
pub(super) const MANIFEST: &str = "manifest.json";

/// A name in `SHA256SUMS`, and the sum of what it names.
fn sum_line(sums: &mut String, name: &str, hash: &[u8]) {
    for byte in hash {
        let _ = write!(sums, "{byte:02x}");
    }
    let _ = writeln!(sums, "  {name}");
}

/// Copies, and gives the SHA-256 of what was copied.
pub(super) fn copy(from: &mut impl io::Read, to: &mut impl Write) -> io::Result<Vec<u8>> {
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(hash.finalize().to_vec()),
            length => {
                hash.update(&buffer[..length]);
                to.write_all(&buffer[..length])?;
            }
        }
    }
}

/// Writes the ZIP file `to`, beside its place first, so that there is never half a file of that name.
///
/// # Errors
/// A file cannot be read or written.
pub(super) fn write(papers: &Papers<'_>, savefile: &Path, to: &Path) -> Result<(), Failure> {
    let extension = if papers.wanted.extract.format == Format::Pcapng { "pcapng" } else { "pcap" };
    let stem = to.file_stem().map_or_else(|| "result".into(), |stem| stem.to_string_lossy());
    let name = format!("{}.{extension}", if stem.is_empty() || stem == "-" { "result".into() } else { stem });
    beside::write(to, |file| fill(papers, savefile, &name, file))
}

fn fill(papers: &Papers<'_>, savefile: &Path, name: &str, to: &File) -> Result<(), Failure> {
    let options =
        SimpleFileOptions::default().compression_method(CompressionMethod::Deflated).large_file(true);
    let mut zip = ZipWriter::new(io::BufWriter::new(to));
    zip.start_file(name, options).map_err(Failure::new)?;
    let hash = File::open(savefile).and_then(|mut file| copy(&mut file, &mut zip)).map_err(Failure::new)?;
    for (name, bytes) in papers.files(name, &hash)? {
        zip.start_file(name, options).map_err(Failure::new)?;
        zip.write_all(&bytes).map_err(Failure::new)?;
    }
    zip.finish().map_err(Failure::new)?.flush().map_err(Failure::new)
}
