//! Where results go: a savefile in either format, or whatever a caller makes of packets.

use std::fmt;
use std::io::{self, Write};

use hindcap_wire::message::answer::Answer;
use hindcap_wire::packet::{Interface, Packet};
use hindcap_wire::savefile::{EncodeError, Encoder, Format, Statistics};

/// Bytes collected before they are handed to the writer.
const BUFFER_BYTES: usize = 64 * 1024;

/// What a savefile says about the program that wrote it.
const APPLICATION: &str = concat!("hindcap ", env!("CARGO_PKG_VERSION"));

/// Takes a result: first [`ResultSink::begin`], then packets in time order, then [`ResultSink::end`].
pub trait ResultSink {
    /// Starts the result. `expected` is what the indexes know already: window, coverage, gaps, drops; no counts yet.
    ///
    /// # Errors
    /// When the result cannot be taken; the extraction stops.
    fn begin(&mut self, expected: &Answer) -> Result<(), SinkError>;

    /// Takes a packet. Its `interface` is a number in the store; `interface` says what it is.
    ///
    /// # Errors
    /// As [`ResultSink::begin`].
    fn packet(&mut self, interface: &Interface, packet: &Packet<'_>) -> Result<(), SinkError>;

    /// Bytes that the result would have with another packet of `caplen` bytes, for [`Limits::max_bytes`].
    ///
    /// [`Limits::max_bytes`]: hindcap_wire::message::Limits::max_bytes
    fn bytes_with(&self, caplen: usize) -> u64;

    /// Ends the result.
    ///
    /// # Errors
    /// As [`ResultSink::begin`].
    fn end(&mut self, answer: &Answer) -> Result<(), SinkError>;
}

/// Why a sink takes no more.
#[derive(Debug)]
#[non_exhaustive]
pub enum SinkError {
    /// It cannot be written.
    Write(io::Error),
    /// The format cannot hold it.
    Format(EncodeError),
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(_) => f.write_str("the result cannot be written"),
            Self::Format(err) => err.fmt(f),
        }
    }
}

impl std::error::Error for SinkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Write(err) => Some(err),
            Self::Format(_) => None,
        }
    }
}

impl From<io::Error> for SinkError {
    fn from(err: io::Error) -> Self {
        Self::Write(err)
    }
}

impl From<EncodeError> for SinkError {
    fn from(err: EncodeError) -> Self {
        Self::Format(err)
    }
}

/// Writes a savefile: classic nanosecond pcap, or pcapng with what the answer says as comments.
pub struct SavefileSink<W> {
    out: W,
    encoder: Encoder,
    buffer: Vec<u8>,
    /// Interfaces announced so far, in the order of their numbers in the savefile.
    interfaces: Vec<(Interface, u64)>,
    format: Format,
    /// What the comments say first: who asked whom.
    about: Vec<String>,
    /// Bytes handed to the writer.
    written: u64,
}

impl<W: Write> SavefileSink<W> {
    /// A sink that writes `format` to `out`.
    pub fn new(out: W, format: Format) -> Self {
        Self {
            out,
            encoder: Encoder::new(format),
            buffer: Vec::with_capacity(2 * BUFFER_BYTES),
            interfaces: Vec::new(),
            format,
            about: Vec::new(),
            written: 0,
        }
    }

    /// The same, with lines of `about` as the first comments of a pcapng file: the sensor, the request, the case.
    #[must_use]
    pub fn about(mut self, about: Vec<String>) -> Self {
        self.about = about;
        self
    }

    /// The writer, after [`ResultSink::end`].
    pub fn into_inner(self) -> W {
        self.out
    }

    fn empty_above(&mut self, bytes: usize) -> Result<(), SinkError> {
        if self.buffer.len() > bytes {
            self.out.write_all(&self.buffer)?;
            self.written += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    /// The number of `interface` in this savefile.
    fn number(&mut self, interface: &Interface) -> Result<usize, SinkError> {
        if let Some(known) = self.interfaces.iter().position(|(known, _)| known == interface) {
            return Ok(known);
        }
        self.encoder.interface(&mut self.buffer, interface)?;
        self.interfaces.push((interface.clone(), 0));
        Ok(self.interfaces.len() - 1)
    }
}

/// Room for what a pcapng file ends with: statistics of a few interfaces, comments about what is missing.
const PCAPNG_END_BYTES: u64 = 8 * 1024;

impl<W: Write> ResultSink for SavefileSink<W> {
    fn begin(&mut self, expected: &Answer) -> Result<(), SinkError> {
        let mut lines = std::mem::take(&mut self.about);
        lines.extend(expected.opening_comments());
        let comments: Vec<&str> = lines.iter().map(String::as_str).collect();
        self.encoder.start(&mut self.buffer, APPLICATION, &comments);
        Ok(())
    }

    fn packet(&mut self, interface: &Interface, packet: &Packet<'_>) -> Result<(), SinkError> {
        let number = self.number(interface)?;
        self.interfaces[number].1 += 1;
        let interface = u32::try_from(number).map_err(|_| io::Error::other("too many interfaces"))?;
        self.encoder.packet(&mut self.buffer, &Packet { interface, ..*packet }, &[]);
        self.empty_above(BUFFER_BYTES)
    }

    fn bytes_with(&self, caplen: usize) -> u64 {
        let (file, record) = match self.format {
            Format::Pcap => (24 * u64::from(self.interfaces.is_empty()), 16),
            Format::Pcapng => (PCAPNG_END_BYTES, 32 + 3),
        };
        self.written + self.buffer.len() as u64 + file + record + caplen as u64
    }

    /// Statistics of the first interface carry the drops: the recorder counts them for the whole tap.
    fn end(&mut self, answer: &Answer) -> Result<(), SinkError> {
        let lines = answer.closing_comments();
        let comments: Vec<&str> = lines.iter().map(String::as_str).collect();
        for (number, (_, packets)) in (0..).zip(&self.interfaces) {
            let statistics = Statistics::of(answer, number == 0, *packets);
            let comments = if number == 0 { &comments[..] } else { &[][..] };
            self.encoder.statistics(&mut self.buffer, number, &statistics, comments);
        }
        self.encoder.finish(&mut self.buffer);
        self.empty_above(0)?;
        Ok(self.out.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use hindcap_wire::drops::DropCause;
    use hindcap_wire::drops::DropCounts;
    use hindcap_wire::message::answer::{Gap, GapCause};
    use hindcap_wire::packet::LinkType;
    use hindcap_wire::time::{TimeRange, Timestamp};

    use super::*;

    fn packet(bytes: &[u8]) -> Packet<'_> {
        Packet { timestamp: Timestamp(1), interface: 9, orig_len: 60, bytes }
    }

    fn interface(link_type: LinkType) -> Interface {
        Interface { link_type, snaplen: 0, name: String::new() }
    }

    #[test]
    fn pcap_refuses_a_second_link_type_and_names_pcapng() {
        let mut sink = SavefileSink::new(Vec::new(), Format::Pcap);
        sink.begin(&Answer::default()).unwrap();
        sink.packet(&interface(LinkType::ETHERNET), &packet(b"one")).unwrap();
        let err = sink.packet(&interface(LinkType::RAW), &packet(b"two")).unwrap_err().to_string();
        assert!(err.contains("link types 1 and 101") && err.contains("pcapng"), "{err}");
    }

    #[test]
    fn pcapng_tells_what_is_missing() {
        let mut drops = DropCounts::default();
        drops.add(DropCause::RingFull, 7);
        let range = TimeRange::new(Timestamp(1), Timestamp(2));
        let gaps = vec![Gap { range, cause: GapCause::LinkDown, bytes: 0 }];
        let answer = Answer { drops, gaps, ..Answer::default() };
        let mut sink = SavefileSink::new(Vec::new(), Format::Pcapng).about(vec!["case: IR-7".into()]);
        sink.begin(&answer).unwrap();
        sink.packet(&interface(LinkType::ETHERNET), &packet(b"one")).unwrap();
        sink.packet(&interface(LinkType::RAW), &packet(b"two")).unwrap();
        sink.end(&answer).unwrap();
        let text = String::from_utf8_lossy(&sink.into_inner()).into_owned();
        for words in [
            "link down: 1970-01-01T00:00:00.000000001Z",
            "dropped: 7 packets (ring_full 7)",
            "hindcap 0.",
            "case: IR-7",
        ] {
            assert!(text.contains(words), "{words}");
        }
    }

    #[test]
    fn a_full_medium_is_an_error() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut sink = SavefileSink::new(Full, Format::Pcap);
        sink.begin(&Answer::default()).unwrap();
        assert!(matches!(sink.end(&Answer::default()), Err(SinkError::Write(_))));
    }
}
