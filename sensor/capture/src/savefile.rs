//! Packets from a savefile or from standard input, with their original times.
//!
//! Memory: one buffer of [`BUFFER_BYTES`], grown only for a pcapng block that needs more, and never past the largest
//! block that is read at all (`PCAPNG_BLOCK_BYTES_MAX`).

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hindcap_wire::drops::DropCounts;
use hindcap_wire::limits::CAPLEN_MAX;
use hindcap_wire::savefile::{DecodeError, Decoder, Event};

use crate::wait::{Ready, wait_readable};
use crate::{CaptureError, PacketSink, PacketSource, Polled};

/// Holds any classic record and lets one read bring thousands of packets.
const BUFFER_BYTES: usize = 512 * 1024;
const _: () = assert!(BUFFER_BYTES > CAPLEN_MAX as usize + 1024);

/// First bytes of compressed files and the programs that unpack them.
const COMPRESSED: [(&[u8], &str); 5] = [
    (&[0x1F, 0x8B], "gunzip"),
    (&[0x28, 0xB5, 0x2F, 0xFD], "unzstd"),
    (&[0xFD, b'7', b'z', b'X', b'Z'], "unxz"),
    (b"BZh", "bunzip2"),
    (&[0x04, 0x22, 0x4D, 0x18], "unlz4"),
];

/// Replays one savefile.
pub struct SavefileSource {
    path: PathBuf,
    input: File,
    /// Standard input may be a pipe, which is waited for; a file is always ready.
    piped: bool,
    decoder: Decoder,
    buffer: Vec<u8>,
    /// `buffer[start..end]` is read and not yet decoded.
    start: usize,
    end: usize,
    /// The input gave its last byte.
    drained: bool,
    /// The end, or an error, was reported.
    ended: bool,
}

impl SavefileSource {
    /// Opens the savefile at `path`; `-` is standard input. Reads its first bytes, so that what is no savefile is told
    /// at once.
    ///
    /// # Errors
    /// When it cannot be opened or read, is empty, compressed, or of another format.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, CaptureError> {
        let path = path.as_ref().to_path_buf();
        let piped = path.as_os_str() == "-";
        // The descriptor itself: the standard library's buffer would hide from poll(2) what it holds.
        let input =
            if piped { io::stdin().as_fd().try_clone_to_owned().map(File::from) } else { File::open(&path) };
        let input = input.map_err(|source| CaptureError::Io { path: path.clone(), source })?;
        let (decoder, buffer) = (Decoder::new(), vec![0; BUFFER_BYTES]);
        let mut source =
            Self { path, input, piped, decoder, buffer, start: 0, end: 0, drained: false, ended: false };
        source.look()?;
        Ok(source)
    }

    /// Bytes of the savefile that are decoded, to show progress.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.decoder.offset()
    }

    /// Reads enough to recognise the format.
    fn look(&mut self) -> Result<(), CaptureError> {
        while self.end < 4 && !self.drained {
            self.fill(4)?;
        }
        let (path, first) = (self.path.clone(), &self.buffer[..self.end]);
        if first.is_empty() {
            return Err(CaptureError::Empty { path });
        }
        if let Some((_, with)) = COMPRESSED.iter().find(|(magic, _)| first.starts_with(magic)) {
            return Err(CaptureError::Compressed { path, with });
        }
        match Decoder::new().next(first) {
            Ok((_, Event::Need(needed))) if needed <= 4 => Err(CaptureError::UnknownFormat { path }),
            Err(DecodeError::UnknownFormat) => Err(CaptureError::UnknownFormat { path }),
            _ => Ok(()),
        }
    }

    /// Reads once, after making room for `needed` bytes from `start` on.
    fn fill(&mut self, needed: usize) -> Result<(), CaptureError> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if needed > self.buffer.len() {
            self.buffer.resize(needed, 0);
        }
        match self.input.read(&mut self.buffer[self.end..]) {
            Ok(0) => self.drained = true,
            Ok(bytes) => self.end += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(CaptureError::Io { path: self.path.clone(), source }),
        }
        Ok(())
    }

    /// Decodes what the buffer holds; gives the packets delivered and the bytes needed to go on.
    #[inline]
    fn decode<S: PacketSink>(&mut self, sink: &mut S) -> (usize, Result<usize, DecodeError>) {
        let mut packets = 0;
        loop {
            let input = &self.buffer[self.start..self.end];
            let (used, count) = self.decoder.packets(input, |packet| sink.packet(packet));
            self.start += used;
            packets += count;
            let (used, event) = match self.decoder.next(&self.buffer[self.start..self.end]) {
                Ok(step) => step,
                Err(error) => return (packets, Err(error)),
            };
            match event {
                Event::Packet(packet) => {
                    sink.packet(&packet);
                    packets += 1;
                }
                Event::Interface(index) => {
                    if let Some(interface) = self.decoder.interface(index) {
                        sink.interface(index, interface);
                    }
                }
                Event::Need(needed) => return (packets, Ok(needed)),
                Event::Skipped => {}
            }
            self.start += used;
        }
    }

    fn error(&self, error: DecodeError) -> CaptureError {
        let path = self.path.clone();
        match error {
            DecodeError::Truncated { offset } => {
                let reason = "the file ends inside the record that starts here".into();
                CaptureError::Damaged { path, offset, reason }
            }
            DecodeError::Malformed { offset, reason } => {
                CaptureError::Damaged { path, offset, reason: reason.into() }
            }
            DecodeError::Unsupported { offset, reason } => {
                CaptureError::Unsupported { path, offset, reason: reason.into() }
            }
            DecodeError::UnknownFormat => CaptureError::UnknownFormat { path },
        }
    }

    /// One round: decode, then read. `None` means that something was read and it goes on.
    fn round<S: PacketSink>(&mut self, wait: Duration, sink: &mut S) -> Result<Option<Polled>, CaptureError> {
        match self.decode(sink) {
            // An error behind delivered packets comes again, and is told, in the next call.
            (packets @ 1.., _) => Ok(Some(Polled::Packets(packets))),
            (_, Err(error)) => Err(self.error(error)),
            (_, Ok(_)) if self.drained => {
                self.decoder.finish(&self.buffer[self.start..self.end]).map_err(|error| self.error(error))?;
                self.ended = true;
                Ok(Some(Polled::End))
            }
            (_, Ok(needed)) => {
                if self.piped && wait_readable(self.input.as_fd(), wait) == Ready::No {
                    return Ok(Some(Polled::Idle));
                }
                self.fill(needed)?;
                Ok(None)
            }
        }
    }
}

impl PacketSource for SavefileSource {
    fn poll<S: PacketSink>(&mut self, wait: Duration, sink: &mut S) -> Result<Polled, CaptureError> {
        if self.ended {
            return Ok(Polled::End);
        }
        loop {
            match self.round(wait, sink) {
                Ok(Some(polled)) => return Ok(polled),
                Ok(None) => {}
                Err(error) => {
                    self.ended = true;
                    return Err(error);
                }
            }
        }
    }

    /// A savefile drops nothing.
    fn drops(&mut self) -> DropCounts {
        DropCounts::default()
    }
}
