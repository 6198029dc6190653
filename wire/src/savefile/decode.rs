//! A streaming decoder over buffers that the caller fills.
//!
//! The caller offers what it has; [`Decoder::next`] says how much of it is done with and what it was, or how many bytes
//! it needs to go on. Memory is bounded by [`SAVEFILE_INTERFACES_MAX`] interfaces and by
//! [`crate::limits::PCAPNG_BLOCK_BYTES_MAX`] bytes that it may ask for at once.

use alloc::vec::Vec;
use core::fmt;

use crate::limits::SAVEFILE_INTERFACES_MAX;
use crate::packet::{Interface, Packet};
use crate::pcap::{FILE_HEADER_BYTES, FileHeader, FileHeaderError, Record, canonical};
use crate::pcapng::read::{self, PacketBlock, TimeScale};
use crate::pcapng::{
    Block, BlockError, BlockHeader, ByteOrder, ENHANCED_PACKET, INTERFACE_DESCRIPTION, PACKET,
    SECTION_HEADER, SIMPLE_PACKET,
};

/// What [`Decoder::next`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Nothing yet: call again with at least so many bytes, what was offered now being their beginning.
    Need(usize),
    /// A new interface; [`Decoder::interface`] has it. Numbers go on through all sections of a file.
    Interface(u32),
    /// A packet, borrowed from the offered bytes.
    Packet(Packet<'a>),
    /// Something that is neither: call again.
    Skipped,
}

/// Why decoding ends. All offsets are bytes from the start of the savefile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The savefile ends inside the record or block that starts at `offset`.
    Truncated {
        /// Where it starts.
        offset: u64,
    },
    /// A record or block contradicts itself or names what is not there.
    Malformed {
        /// Where it starts.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// Sound, as far as can be told, but not something we read.
    Unsupported {
        /// Where it starts.
        offset: u64,
        /// What it is.
        reason: &'static str,
    },
    /// The first bytes are of neither format.
    UnknownFormat,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { offset } => write!(f, "cut short in the record at byte {offset}"),
            Self::Malformed { offset, reason } => write!(f, "malformed at byte {offset}: {reason}"),
            Self::Unsupported { offset, reason } => write!(f, "unsupported at byte {offset}: {reason}"),
            Self::UnknownFormat => f.write_str("neither a pcap nor a pcapng savefile"),
        }
    }
}

impl core::error::Error for DecodeError {}

/// What is wrong, before the offset is known.
enum Fault {
    Malformed(&'static str),
    Unsupported(&'static str),
    UnknownFormat,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Start,
    Classic(FileHeader),
    Pcapng(Section),
    /// Inside a block of no interest: bytes left before its trailing length, and what that must be.
    Skipping(Section, usize, usize),
}

#[derive(Clone, Copy, Debug)]
struct Section {
    order: ByteOrder,
    /// Number of its first interface in the file.
    first: usize,
}

/// Decodes one savefile of either format.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    offset: u64,
    interfaces: Vec<(Interface, TimeScale)>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// Expects the first byte of a savefile.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: State::Start, offset: 0, interfaces: Vec::new() }
    }

    /// Bytes done with so far.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// The interface with this number, if it was announced.
    #[must_use]
    pub fn interface(&self, index: u32) -> Option<&Interface> {
        self.interfaces.get(usize::try_from(index).ok()?).map(|(interface, _)| interface)
    }

    /// Looks at `input`, the savefile from [`Decoder::offset`] on, and gives how many of its bytes are done with and
    /// what they were.
    ///
    /// # Errors
    /// When the savefile cannot be read on; everything before was delivered and every later call fails likewise.
    #[inline]
    pub fn next<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Event<'a>), DecodeError> {
        let step = match self.state {
            State::Classic(file) => match file.record(input) {
                Ok(Record::Packet(used, packet)) => Ok((used, Event::Packet(packet))),
                Ok(Record::Need(bytes)) => Ok((0, Event::Need(bytes))),
                Err(reason) => Err(Fault::Malformed(reason)),
            },
            State::Pcapng(section) => self.block(section, input),
            State::Skipping(section, left, total) => self.skip(section, left, total, input),
            State::Start => self.start(input),
        };
        match step {
            Ok((used, event)) => {
                self.offset += used as u64;
                Ok((used, event))
            }
            Err(fault) => Err(self.error(fault)),
        }
    }

    /// Gives `each` the packets at the start of `input`, as many calls of [`Decoder::next`] would, up to whatever is
    /// something else; how many bytes of `input` are done with, and how many packets they were.
    #[inline]
    pub fn packets<'a>(&mut self, input: &'a [u8], mut each: impl FnMut(&Packet<'a>)) -> (usize, usize) {
        let State::Classic(file) = self.state else { return (0, 0) };
        let (mut used, mut packets) = (0, 0);
        while let Ok(Record::Packet(bytes, packet)) = file.record(&input[used..]) {
            each(&packet);
            used += bytes;
            packets += 1;
        }
        self.offset += used as u64;
        (used, packets)
    }

    /// Says whether the savefile may end here, with `rest` bytes that [`Decoder::next`] did not use.
    ///
    /// # Errors
    /// Truncated, when it ends inside a record or block; an empty file is truncated at 0.
    pub fn finish(&self, rest: &[u8]) -> Result<(), DecodeError> {
        match self.state {
            State::Classic(_) | State::Pcapng(_) if rest.is_empty() => Ok(()),
            State::Skipping(_, left, total) => {
                let start = self.offset - (total - 4 - left) as u64;
                Err(DecodeError::Truncated { offset: start })
            }
            State::Start if rest.len() >= 4 && !recognise(rest) => Err(DecodeError::UnknownFormat),
            _ => Err(DecodeError::Truncated { offset: self.offset }),
        }
    }

    #[cold]
    fn error(&self, fault: Fault) -> DecodeError {
        let offset = match self.state {
            State::Skipping(_, left, total) => self.offset - (total - 4 - left) as u64,
            _ => self.offset,
        };
        match fault {
            Fault::Malformed(reason) => DecodeError::Malformed { offset, reason },
            Fault::Unsupported(reason) => DecodeError::Unsupported { offset, reason },
            Fault::UnknownFormat => DecodeError::UnknownFormat,
        }
    }

    fn start<'a>(&mut self, input: &[u8]) -> Result<(usize, Event<'a>), Fault> {
        if input.len() < 4 {
            return Ok((0, Event::Need(4)));
        }
        if !recognise(input) {
            return Err(Fault::UnknownFormat);
        }
        if input[..4] == SECTION_HEADER.to_be_bytes() {
            self.state = State::Pcapng(Section { order: ByteOrder::Little, first: 0 });
            return Ok((0, Event::Skipped));
        }
        let Some(head) = input.first_chunk::<FILE_HEADER_BYTES>() else {
            return Ok((0, Event::Need(FILE_HEADER_BYTES)));
        };
        let file = FileHeader::parse(head).map_err(|error| match error {
            FileHeaderError::NotPcap => Fault::UnknownFormat,
            FileHeaderError::Version(..) => Fault::Unsupported("pcap version other than 2.0 to 2.4"),
        })?;
        self.state = State::Classic(file);
        let interface =
            Interface { link_type: file.link_type, snaplen: file.snaplen, name: Default::default() };
        self.interfaces.push((interface, TimeScale::NANOS));
        Ok((FILE_HEADER_BYTES, Event::Interface(0)))
    }

    #[inline]
    fn block<'a>(&mut self, section: Section, input: &'a [u8]) -> Result<(usize, Event<'a>), Fault> {
        if input.first_chunk() == Some(&SECTION_HEADER.to_be_bytes()) {
            return self.section(input);
        }
        let header = match BlockHeader::parse(input, section.order) {
            Ok(header) => header,
            Err(error) => return need(error),
        };
        let known =
            matches!(header.block_type, ENHANCED_PACKET | SIMPLE_PACKET | PACKET | INTERFACE_DESCRIPTION);
        if !known {
            self.state = State::Skipping(section, header.total_len - 8 - 4, header.total_len);
            return Ok((8, Event::Skipped));
        }
        let block = match Block::parse(input, section.order) {
            Ok(block) => block,
            Err(error) => return need(error),
        };
        let event = self.body(section, &block)?;
        Ok((header.total_len, event))
    }

    #[inline]
    fn body<'a>(&mut self, section: Section, block: &Block<'a>) -> Result<Event<'a>, Fault> {
        let packet = match block.block_type {
            ENHANCED_PACKET => PacketBlock::enhanced(block.body, section.order),
            PACKET => PacketBlock::obsolete(block.body, section.order),
            SIMPLE_PACKET => {
                let snaplen =
                    self.interfaces.get(section.first).map_or(0, |(interface, _)| interface.snaplen);
                PacketBlock::simple(block.body, section.order, snaplen)
            }
            _ => return self.describe(section, block.body),
        };
        let packet = packet.map_err(Fault::Malformed)?;
        let index = section.first.saturating_add(packet.interface as usize);
        let Some((_, scale)) = self.interfaces.get(index) else {
            return Err(Fault::Malformed("packet of an interface that was not described"));
        };
        Ok(Event::Packet(Packet {
            timestamp: scale.timestamp(packet.ticks),
            interface: u32::try_from(index).unwrap_or(u32::MAX),
            orig_len: packet.orig_len,
            bytes: packet.bytes,
        }))
    }

    #[cold]
    fn describe<'a>(&mut self, section: Section, body: &[u8]) -> Result<Event<'a>, Fault> {
        let (mut interface, scale) = read::interface(body, section.order).map_err(Fault::Malformed)?;
        interface.link_type = canonical(interface.link_type);
        let index = self.interfaces.len();
        if index >= SAVEFILE_INTERFACES_MAX {
            return Err(Fault::Unsupported("more than 4096 interfaces"));
        }
        self.interfaces.push((interface, scale));
        Ok(Event::Interface(u32::try_from(index).unwrap_or(u32::MAX)))
    }

    #[cold]
    fn section<'a>(&mut self, input: &[u8]) -> Result<(usize, Event<'a>), Fault> {
        if input.len() < 12 {
            return Ok((0, Event::Need(12)));
        }
        let order = read::section_order(input).map_err(Fault::Malformed)?;
        let block = match Block::parse(input, order) {
            Ok(block) => block,
            Err(error) => return need(error),
        };
        match read::section_version(block.body, order).map_err(Fault::Malformed)? {
            (1, _) => {}
            _ => return Err(Fault::Unsupported("pcapng version other than 1")),
        }
        self.state = State::Pcapng(Section { order, first: self.interfaces.len() });
        Ok((block.total_len(), Event::Skipped))
    }

    fn skip<'a>(
        &mut self,
        section: Section,
        left: usize,
        total: usize,
        input: &[u8],
    ) -> Result<(usize, Event<'a>), Fault> {
        if left > 0 {
            let used = left.min(input.len());
            self.state = State::Skipping(section, left - used, total);
            return Ok((used, if used == 0 { Event::Need(1) } else { Event::Skipped }));
        }
        let Some(trailer) = input.first_chunk::<4>() else { return Ok((0, Event::Need(4))) };
        if section.order.u32(*trailer) as usize != total {
            return Err(Fault::Malformed("the two lengths of a block differ"));
        }
        self.state = State::Pcapng(section);
        Ok((4, Event::Skipped))
    }
}

/// Whether a savefile of either format can begin like this (at least 4 bytes).
fn recognise(bytes: &[u8]) -> bool {
    bytes
        .first_chunk()
        .is_some_and(|magic| *magic == SECTION_HEADER.to_be_bytes() || FileHeader::recognise(*magic))
}

/// More bytes is no error yet.
fn need<'a>(error: BlockError) -> Result<(usize, Event<'a>), Fault> {
    match error {
        BlockError::Truncated { needed } => Ok((0, Event::Need(needed))),
        BlockError::Malformed(reason) => Err(Fault::Malformed(reason)),
    }
}
