//! Results as savefiles: classic nanosecond pcap, or pcapng with comments, several interfaces and their statistics.
//!
//! Bytes are appended to a vector that the caller empties and reuses.

use alloc::vec::Vec;
use core::fmt;

use crate::drops::DropCause;
use crate::limits::CAPLEN_MAX;
use crate::message::answer::Answer;
use crate::packet::{Interface, LinkType, Packet};
use crate::pcap;
use crate::pcapng::write::{
    self, BlockOption, ISB_IFDROP, ISB_IFRECV, ISB_OSDROP, OPT_COMMENT, SHB_USERAPPL, packet_block_len,
};
use crate::time::Timestamp;

/// Comments in one block: 64 of at most 64 KiB beside the largest packet stay far below a block's 16 MiB.
const COMMENTS_MAX: usize = 64;

/// The format of a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// Classic savefile with nanosecond times and one link type; comments are left out.
    #[default]
    Pcap,
    /// pcapng: several interfaces and link types, comments, statistics.
    Pcapng,
}

/// Why something cannot be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// A classic savefile has one link type only.
    SecondLinkType {
        /// The one it has.
        first: LinkType,
        /// The one that does not fit.
        second: LinkType,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::SecondLinkType { first, second } = self;
        write!(
            f,
            "packets of link types {} and {} do not fit into one pcap file; use the pcapng format",
            first.0, second.0
        )
    }
}

impl core::error::Error for EncodeError {}

/// Counters of one interface over the time of a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// As of when.
    pub at: Timestamp,
    /// Packets received.
    pub received: u64,
    /// Packets dropped by the interface.
    pub dropped_interface: u64,
    /// Packets dropped between the interface and the store.
    pub dropped_system: u64,
}

impl Statistics {
    /// Those of an interface that gave `received` packets to the result of `answer`. The first one carries the drops: the
    /// recorder counts them for the whole tap.
    #[must_use]
    pub fn of(answer: &Answer, is_first: bool, received: u64) -> Self {
        let at = answer.span.map(|span| span.last).unwrap_or_default();
        if !is_first {
            return Self { at, received, ..Self::default() };
        }
        let dropped_interface = answer.drops.get(DropCause::Interface);
        Self { at, received, dropped_interface, dropped_system: answer.drops.total() - dropped_interface }
    }
}

/// Encodes one savefile. Order: [`Encoder::start`], then interfaces and packets as they come, then statistics, then
/// [`Encoder::finish`].
#[derive(Clone, Debug)]
pub struct Encoder {
    format: Format,
    interfaces: u32,
    link_type: Option<LinkType>,
}

impl Encoder {
    /// An encoder for one savefile.
    #[must_use]
    pub const fn new(format: Format) -> Self {
        Self { format, interfaces: 0, link_type: None }
    }

    /// Begins the file; `comments` are about the file as a whole.
    pub fn start(&mut self, out: &mut Vec<u8>, application: &str, comments: &[&str]) {
        if self.format == Format::Pcapng {
            let application = BlockOption::text(SHB_USERAPPL, application);
            let options: Vec<_> = core::iter::once(application).chain(comment_options(comments)).collect();
            let len = write::block_len(&[&[0; 16]], &options);
            append(out, len, |room| write::section_header(room, &options));
        }
    }

    /// Adds an interface and gives its number, for [`Packet::interface`].
    ///
    /// # Errors
    /// When the format holds only one link type and this is another.
    pub fn interface(&mut self, out: &mut Vec<u8>, interface: &Interface) -> Result<u32, EncodeError> {
        match (self.format, self.link_type) {
            (Format::Pcapng, _) => {
                let len =
                    8 + 8 + 12 + interface.name.len().min(usize::from(u16::MAX)).next_multiple_of(4) + 16;
                append(out, len, |room| write::interface(room, interface));
            }
            (Format::Pcap, None) => {
                out.extend_from_slice(&pcap::file_header(interface.link_type, CAPLEN_MAX));
            }
            (Format::Pcap, Some(first)) if first != interface.link_type => {
                return Err(EncodeError::SecondLinkType { first, second: interface.link_type });
            }
            (Format::Pcap, Some(_)) => {}
        }
        self.link_type = self.link_type.or(Some(interface.link_type));
        self.interfaces += 1;
        Ok(self.interfaces - 1)
    }

    /// Adds a packet of an interface that was added before.
    pub fn packet(&self, out: &mut Vec<u8>, packet: &Packet<'_>, comments: &[&str]) {
        match self.format {
            Format::Pcap => {
                out.extend_from_slice(&pcap::record_header(packet));
                out.extend_from_slice(packet.bytes);
            }
            Format::Pcapng if comments.is_empty() => {
                let len = packet_block_len(packet.bytes.len());
                append(out, len, |room| write::packet(room, packet.interface, packet));
            }
            Format::Pcapng => {
                let options: Vec<_> = comment_options(comments).collect();
                let len = write::block_len(&[&[0; 20], packet.bytes], &options);
                append(out, len, |room| write::packet_with_options(room, packet.interface, packet, &options));
            }
        }
    }

    /// Adds the counters of an interface; pcapng only.
    pub fn statistics(&self, out: &mut Vec<u8>, interface: u32, statistics: &Statistics, comments: &[&str]) {
        if self.format != Format::Pcapng {
            return;
        }
        let values = [
            (ISB_IFRECV, statistics.received.to_le_bytes()),
            (ISB_IFDROP, statistics.dropped_interface.to_le_bytes()),
            (ISB_OSDROP, statistics.dropped_system.to_le_bytes()),
        ];
        let mut options: Vec<_> =
            values.iter().map(|(code, value)| BlockOption { code: *code, value }).collect();
        options.extend(comment_options(comments));
        let len = write::block_len(&[&[0; 12]], &options);
        append(out, len, |room| write::interface_statistics(room, interface, statistics.at, &options));
    }

    /// Ends the file. Without any interface a classic savefile still needs its header; it then says Ethernet.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.format == Format::Pcap && self.link_type.is_none() {
            out.extend_from_slice(&pcap::file_header(LinkType::ETHERNET, CAPLEN_MAX));
            self.link_type = Some(LinkType::ETHERNET);
        }
    }
}

/// Comments of one block. More than [`COMMENTS_MAX`] are left out, so that no block grows past what readers take.
fn comment_options<'a>(comments: &'a [&'a str]) -> impl Iterator<Item = BlockOption<'a>> {
    comments.iter().take(COMMENTS_MAX).map(|text| BlockOption::text(OPT_COMMENT, text))
}

/// Makes room for at most `len` bytes at the end of `out` and keeps what `write` made of it.
fn append(out: &mut Vec<u8>, len: usize, write: impl FnOnce(&mut [u8]) -> Option<usize>) {
    let start = out.len();
    out.resize(start + len, 0);
    let written = write(&mut out[start..]).expect("the room was computed for this block");
    out.truncate(start + written);
}
