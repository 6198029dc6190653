//! A savefile as it is read for merging: one packet ahead.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use hindcap_wire::packet::{Interface, Packet};
use hindcap_wire::savefile::{Decoder, Event};
use hindcap_wire::time::Timestamp;

/// Bytes read at a time; a packet that is larger makes the buffer grow to its size.
const READ_BYTES: usize = 256 * 1024;

/// See the module. Memory: the buffer and one packet.
pub(super) struct Source {
    file: File,
    decoder: Decoder,
    buffer: Vec<u8>,
    /// What of the buffer is not decoded yet.
    from: usize,
    next: Option<Head>,
    bytes: Vec<u8>,
}

/// The packet ahead, without its bytes.
#[derive(Clone, Copy)]
struct Head {
    timestamp: Timestamp,
    interface: u32,
    orig_len: u32,
}

impl Source {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut source = Self {
            file: File::open(path)?,
            decoder: Decoder::new(),
            buffer: Vec::with_capacity(READ_BYTES),
            from: 0,
            next: None,
            bytes: Vec::new(),
        };
        source.advance()?;
        Ok(source)
    }

    /// The packet ahead; `None` at the end.
    pub(super) fn packet(&self) -> Option<Packet<'_>> {
        let Head { timestamp, interface, orig_len } = self.next?;
        Some(Packet { timestamp, interface, orig_len, bytes: &self.bytes })
    }

    /// When it was captured.
    pub(super) fn time(&self) -> Option<Timestamp> {
        self.next.map(|head| head.timestamp)
    }

    /// What the savefile says of an interface.
    pub(super) fn interface(&self, number: u32) -> Option<&Interface> {
        self.decoder.interface(number)
    }

    /// Goes on to the packet after.
    pub(super) fn advance(&mut self) -> io::Result<()> {
        self.next = None;
        loop {
            let (used, event) = self.decoder.next(&self.buffer[self.from..]).map_err(io::Error::other)?;
            let needed = match event {
                Event::Packet(packet) => {
                    let Packet { timestamp, interface, orig_len, bytes } = packet;
                    self.bytes.clear();
                    self.bytes.extend_from_slice(bytes);
                    self.next = Some(Head { timestamp, interface, orig_len });
                    self.from += used;
                    return Ok(());
                }
                Event::Need(bytes) => Some(bytes),
                Event::Interface(_) | Event::Skipped => None,
            };
            self.from += used;
            if needed.is_some_and(|bytes| !self.fill(bytes).unwrap_or(false)) {
                return self.decoder.finish(&self.buffer[self.from..]).map_err(io::Error::other);
            }
        }
    }

    /// Reads on until `bytes` are there; whether they are.
    fn fill(&mut self, bytes: usize) -> io::Result<bool> {
        self.buffer.drain(..self.from);
        self.from = 0;
        while self.buffer.len() < bytes {
            let start = self.buffer.len();
            self.buffer.resize(start + READ_BYTES, 0);
            let read = self.file.read(&mut self.buffer[start..])?;
            self.buffer.truncate(start + read);
            if read == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
