//! Successive results as one pcapng stream: interfaces once, packets that two results share once.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};

use hindcap_wire::packet::{Interface, Packet};
use hindcap_wire::savefile::{Decoder, Encoder, Event, Format, Statistics};
use hindcap_wire::time::Timestamp;

/// What the stream says about the program that wrote it.
const APPLICATION: &str = concat!("hindcap ", env!("CARGO_PKG_VERSION"));
/// Bytes read at a time; a decoder may ask for more.
const READ_BYTES: usize = 64 * 1024;

/// What a packet is recognised by: time, and a hash of everything.
type Print = (Timestamp, u64);

/// See the module.
pub(super) struct Relay<W> {
    out: W,
    encoder: Encoder,
    buffer: Vec<u8>,
    /// In the order of their numbers in the stream, with the packets given.
    interfaces: Vec<(Interface, u64)>,
    /// Packets given that a later result may hold again, and how often.
    seen: HashMap<Print, u32>,
    /// Remarks for the next packet.
    remarks: Vec<String>,
    last: Timestamp,
}

impl<W: Write> Relay<W> {
    /// Begins a stream that says `comments` of itself; that much is written at once, so that readers know what comes.
    pub(super) fn new(out: W, comments: &[String]) -> io::Result<Self> {
        let mut relay = Self {
            out,
            encoder: Encoder::new(Format::Pcapng),
            buffer: Vec::new(),
            interfaces: Vec::new(),
            seen: HashMap::new(),
            remarks: Vec::new(),
            last: Timestamp::MIN,
        };
        let comments: Vec<&str> = comments.iter().map(String::as_str).collect();
        relay.encoder.start(&mut relay.buffer, APPLICATION, &comments);
        relay.flush()?;
        Ok(relay)
    }

    /// Goes to the next packet as a comment.
    pub(super) fn remark(&mut self, text: String) {
        self.remarks.push(text);
    }

    /// Adds what `savefile` has and the results before had not; how many packets that were. Packets from `keep` on may
    /// come again.
    ///
    /// # Errors
    /// The savefile is none, or the stream cannot be written.
    pub(super) fn add(&mut self, mut savefile: impl Read, keep: Timestamp) -> io::Result<u64> {
        let (mut decoder, mut input, mut start) = (Decoder::new(), Vec::new(), 0);
        let (mut now, mut new, mut numbers) = (HashMap::new(), 0, Vec::new());
        loop {
            let (used, event) = decoder.next(&input[start..]).map_err(io::Error::other)?;
            match event {
                Event::Need(bytes) => {
                    input.drain(..start);
                    start = 0;
                    if fill(&mut savefile, &mut input, bytes.max(READ_BYTES))? > 0 {
                        continue;
                    }
                    if input.is_empty() {
                        break;
                    }
                    return Err(io::Error::other("a result that ends in the middle of a block"));
                }
                Event::Interface(number) => {
                    let interface = decoder.interface(number).cloned();
                    numbers.push(interface.map(|interface| self.number(interface)).transpose()?);
                }
                Event::Packet(packet) => {
                    let print = print(&packet);
                    let times: &mut u32 = now.entry(print).or_default();
                    *times += 1;
                    if *times > self.seen.get(&print).copied().unwrap_or(0) {
                        let number = usize::try_from(packet.interface).ok().and_then(|at| numbers.get(at));
                        self.packet(number.copied().flatten(), &packet)?;
                        new += 1;
                    }
                }
                Event::Skipped => {}
            }
            start += used;
        }
        now.retain(|(at, _), _| *at >= keep);
        self.seen = now;
        self.flush().map(|()| new)
    }

    fn number(&mut self, interface: Interface) -> io::Result<u32> {
        if let Some(known) = self.interfaces.iter().position(|(known, _)| *known == interface) {
            return u32::try_from(known).map_err(io::Error::other);
        }
        let number = self.encoder.interface(&mut self.buffer, &interface).map_err(io::Error::other)?;
        self.interfaces.push((interface, 0));
        Ok(number)
    }

    fn packet(&mut self, number: Option<u32>, packet: &Packet<'_>) -> io::Result<()> {
        let number = number.ok_or_else(|| io::Error::other("a packet of an interface that is not there"))?;
        let counted = usize::try_from(number).ok().and_then(|at| self.interfaces.get_mut(at));
        if let Some((_, packets)) = counted {
            *packets += 1;
        }
        let remarks = std::mem::take(&mut self.remarks);
        let remarks: Vec<&str> = remarks.iter().map(String::as_str).collect();
        self.encoder.packet(&mut self.buffer, &Packet { interface: number, ..*packet }, &remarks);
        self.last = self.last.max(packet.timestamp);
        if self.buffer.len() > READ_BYTES { self.flush() } else { Ok(()) }
    }

    /// Writes the counters of every interface so far; whoever has gone from the other end is noticed by it.
    pub(super) fn statistics(&mut self) -> io::Result<()> {
        for (number, (_, received)) in (0..).zip(&self.interfaces) {
            let statistics = Statistics { at: self.last, received: *received, ..Statistics::default() };
            self.encoder.statistics(&mut self.buffer, number, &statistics, &[]);
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        self.out.flush()
    }
}

/// Appends at most `bytes` to `input`; how many.
fn fill(from: &mut impl Read, input: &mut Vec<u8>, bytes: usize) -> io::Result<usize> {
    from.take(bytes as u64).read_to_end(input)
}

fn print(packet: &Packet<'_>) -> Print {
    let mut hasher = DefaultHasher::new();
    (packet.orig_len, packet.bytes).hash(&mut hasher);
    (packet.timestamp, hasher.finish())
}

#[cfg(test)]
mod tests {
    use hindcap_wire::packet::LinkType;

    use super::*;

    /// A result with packets of these times.
    fn result(times: &[u64]) -> Vec<u8> {
        let (mut encoder, mut out) = (Encoder::new(Format::Pcapng), Vec::new());
        encoder.start(&mut out, "test", &[]);
        let interface = Interface { link_type: LinkType::ETHERNET, snaplen: 0, name: "eth1".into() };
        let number = encoder.interface(&mut out, &interface).unwrap();
        for at in times {
            let packet =
                Packet { timestamp: Timestamp(*at), interface: number, orig_len: 60, bytes: b"packet" };
            encoder.packet(&mut out, &packet, &[]);
        }
        out
    }

    fn times(stream: &[u8]) -> Vec<u64> {
        let (mut decoder, mut at, mut times) = (Decoder::new(), 0, Vec::new());
        while at < stream.len() {
            let (used, event) = decoder.next(&stream[at..]).unwrap();
            if let Event::Packet(packet) = event {
                times.push(packet.timestamp.0);
            }
            at += used;
        }
        times
    }

    #[test]
    fn what_two_results_share_comes_once_and_twins_come_twice() {
        let mut stream = Vec::new();
        let mut relay = Relay::new(&mut stream, &[]).unwrap();
        assert_eq!(relay.add(&result(&[1, 5, 5, 6])[..], Timestamp(5)).unwrap(), 4);
        assert_eq!(relay.add(&result(&[5, 5, 6, 7])[..], Timestamp(7)).unwrap(), 1);
        assert_eq!(relay.add(&result(&[7, 7, 9])[..], Timestamp(9)).unwrap(), 2);
        assert_eq!(relay.interfaces.len(), 1);
        relay.statistics().unwrap();
        drop(relay);
        assert_eq!(times(&stream), [1, 5, 5, 6, 7, 7, 9]);
    }

    #[test]
    fn half_a_result_is_an_error() {
        let (mut stream, whole) = (Vec::new(), result(&[1, 2]));
        let mut relay = Relay::new(&mut stream, &[]).unwrap();
        assert!(relay.add(&whole[..whole.len() - 3], Timestamp(0)).is_err());
    }
}
