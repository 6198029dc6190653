//! A result as it arrives: written beside its destination, checked chunk by chunk and as a whole, then renamed.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use hindcap_wire::limits::{RESULT_BYTES_MAX, RESULT_CHUNK_BYTES};
use hindcap_wire::message::{Ack, Chunk, ChunkSet, Manifest, Sha256};
use sha2::Digest as _;

/// What became of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It is new.
    New,
    /// It was there already, or belongs to another result.
    Known,
    /// Its checksum or length is wrong.
    Damaged,
}

/// See the module. The unfinished file is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Receiver {
    manifest: Manifest,
    there: ChunkSet,
    file: File,
    beside: Option<PathBuf>,
    destination: PathBuf,
}

/// Whether a manifest is consistent and within bounds.
pub(crate) fn is_sound(manifest: &Manifest) -> bool {
    let Manifest { bytes, chunk_bytes, chunks, .. } = manifest;
    (1..=RESULT_CHUNK_BYTES).contains(chunk_bytes)
        && *bytes <= RESULT_BYTES_MAX
        && bytes.div_ceil((*chunk_bytes).into()) == u64::from(*chunks)
}

impl Receiver {
    /// For the result of `manifest`, which must be sound, to be at `destination` in the end.
    pub(crate) fn create(manifest: Manifest, destination: &Path) -> io::Result<Self> {
        let name = destination.file_name().ok_or_else(|| io::Error::other("not a file name"))?;
        let beside = destination.with_file_name(format!(".{}.{}.part", name.to_string_lossy(), manifest.job));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&beside)?;
        file.set_len(manifest.bytes)?;
        let there = ChunkSet::new(manifest.chunks);
        Ok(Self { manifest, there, file, beside: Some(beside), destination: destination.into() })
    }

    pub(crate) const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub(crate) const fn is_complete(&self) -> bool {
        self.there.is_complete()
    }

    /// Bytes that have arrived, to a chunk.
    pub(crate) fn bytes(&self) -> u64 {
        (u64::from(self.there.count()) * u64::from(self.manifest.chunk_bytes)).min(self.manifest.bytes)
    }

    pub(crate) fn ack(&self, resend: bool) -> Ack {
        self.there.ack(self.manifest.job, resend)
    }

    /// Takes in a chunk.
    pub(crate) fn take(&mut self, chunk: &Chunk) -> io::Result<Arrival> {
        if chunk.job != self.manifest.job
            || chunk.index >= self.manifest.chunks
            || self.there.has(chunk.index)
        {
            return Ok(Arrival::Known);
        }
        let start = u64::from(chunk.index) * u64::from(self.manifest.chunk_bytes);
        let expected = (self.manifest.bytes - start).min(self.manifest.chunk_bytes.into());
        if chunk.bytes.0.len() as u64 != expected || !chunk.is_intact() {
            return Ok(Arrival::Damaged);
        }
        self.file.seek(SeekFrom::Start(start))?;
        self.file.write_all(&chunk.bytes.0)?;
        self.there.insert(chunk.index);
        Ok(Arrival::New)
    }

    /// Compares the whole with the manifest. When it differs everything is forgotten and has to come again.
    pub(crate) fn verify(&mut self) -> io::Result<bool> {
        let mut hash = sha2::Sha256::default();
        let mut buffer = vec![0; 64 * 1024];
        self.file.seek(SeekFrom::Start(0))?;
        loop {
            match self.file.read(&mut buffer)? {
                0 => break,
                count => hash.update(&buffer[..count]),
            }
        }
        let fine = Sha256(hash.finalize().into()) == self.manifest.sha256;
        if !fine {
            self.there = ChunkSet::new(self.manifest.chunks);
        }
        Ok(fine)
    }

    /// Puts the verified file in its place.
    pub(crate) fn place(mut self) -> io::Result<PathBuf> {
        self.file.sync_all()?;
        if let Some(beside) = self.beside.take() {
            fs::rename(&beside, &self.destination).inspect_err(|_| self.beside = Some(beside))?;
        }
        Ok(self.destination.clone())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(beside) = self.beside.take() {
            let _ = fs::remove_file(beside);
        }
    }
}

#[cfg(test)]
mod tests {
    use hindcap_wire::message::answer::Answer;
    use hindcap_wire::message::{Format, Ulid};

    use super::*;

    const JOB: Ulid = Ulid(9);

    fn manifest(bytes: &[u8], chunk_bytes: u32) -> Manifest {
        Manifest {
            job: JOB,
            format: Format::Pcap,
            link_types: Vec::new(),
            packets: 1,
            bytes: bytes.len() as u64,
            sha256: Sha256(sha2::Sha256::digest(bytes).into()),
            chunk_bytes,
            chunks: u32::try_from(bytes.len()).unwrap().div_ceil(chunk_bytes),
            answer: Answer::default(),
        }
    }

    fn names(dir: &Path) -> Vec<String> {
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn chunks_in_any_order_make_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let (bytes, destination) = (b"0123456789", dir.path().join("case.pcap"));
        let mut receiver = Receiver::create(manifest(bytes, 4), &destination).unwrap();
        let chunk = |index: u32, part: &[u8]| Chunk::new(JOB, index, part.to_vec());
        assert_eq!(receiver.take(&chunk(2, b"89")).unwrap(), Arrival::New);
        assert_eq!(receiver.take(&chunk(2, b"89")).unwrap(), Arrival::Known);
        assert_eq!(receiver.take(&chunk(3, b"")).unwrap(), Arrival::Known);
        assert_eq!(receiver.take(&chunk(0, b"012")).unwrap(), Arrival::Damaged);
        assert_eq!(receiver.take(&Chunk { crc32: 0, ..chunk(0, b"0123") }).unwrap(), Arrival::Damaged);
        assert_eq!(receiver.take(&Chunk { job: Ulid(1), ..chunk(0, b"0123") }).unwrap(), Arrival::Known);
        assert_eq!(receiver.take(&chunk(0, b"0123")).unwrap(), Arrival::New);
        assert!(!receiver.is_complete() && !destination.exists());
        assert_eq!(receiver.take(&chunk(1, b"4567")).unwrap(), Arrival::New);
        assert!(receiver.is_complete() && receiver.verify().unwrap());
        receiver.place().unwrap();
        assert_eq!(
            (fs::read(destination).unwrap(), names(dir.path())),
            (bytes.to_vec(), vec!["case.pcap".into()])
        );
    }

    #[test]
    fn a_wrong_whole_is_never_placed() {
        let dir = tempfile::tempdir().unwrap();
        let mut wrong = manifest(b"0123", 4);
        wrong.sha256.0[0] ^= 1;
        let mut receiver = Receiver::create(wrong, &dir.path().join("x")).unwrap();
        receiver.take(&Chunk::new(JOB, 0, b"0123".to_vec())).unwrap();
        assert!(receiver.is_complete() && !receiver.verify().unwrap() && !receiver.is_complete());
        drop(receiver);
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn unsound_manifests_are_told() {
        let sound = manifest(b"0123456789", 4);
        assert!(is_sound(&sound) && is_sound(&manifest(b"", 4)));
        for unsound in [
            Manifest { chunks: 4, ..sound.clone() },
            Manifest { chunk_bytes: 0, ..sound.clone() },
            Manifest { chunk_bytes: RESULT_CHUNK_BYTES + 1, chunks: 1, ..sound.clone() },
            Manifest { bytes: u64::MAX, ..sound },
        ] {
            assert!(!is_sound(&unsound), "{unsound:?}");
        }
    }
}
