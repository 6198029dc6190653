//! Savefiles of several sensors as one, in time order. Memory is one packet and one buffer for each, whatever they hold.
//!
//! In pcapng every interface carries its sensor's name, comments say what each sensor's answer covers, and a packet that
//! another sensor saw as well ([`twins`]) says so. A classic savefile has no place for that; what was seen twice is counted.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use hindcap_wire::message::{Format, Manifest};
use hindcap_wire::packet::{Interface, Packet};
use hindcap_wire::savefile::{self, Encoder, Statistics};
use hindcap_wire::time::Timestamp;

mod source;
mod twins;

use source::Source;
use twins::Twins;

use crate::exit::Failure;

/// What the savefile says about the program that wrote it.
const APPLICATION: &str = concat!("hindcap ", env!("CARGO_PKG_VERSION"));
/// Bytes collected before they are written.
const BUFFER_BYTES: usize = 256 * 1024;

/// One sensor's savefile.
pub(super) struct Given<'a> {
    /// Its place among those who were asked.
    pub(super) place: usize,
    pub(super) sensor: &'a str,
    pub(super) path: &'a Path,
    pub(super) manifest: &'a Manifest,
}

/// What became of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Merged {
    pub(super) packets: u64,
    pub(super) bytes: u64,
    /// Of each sensor's packets, those that another one had seen before.
    pub(super) duplicates: Vec<u64>,
}

struct Merge<'a> {
    given: &'a [Given<'a>],
    sources: Vec<Source>,
    encoder: Encoder,
    /// Interfaces of the file: the sensor's place, its own number for it, packets.
    interfaces: Vec<(usize, u32, u64)>,
    twins: Twins,
    buffer: Vec<u8>,
    merged: Merged,
}

/// Writes the packets of all of `given` to `to`; `about` is about the file as a whole.
///
/// # Errors
/// A file cannot be read or written, the format cannot hold them all, or `interrupted` was set.
pub(super) fn merge(
    given: &[Given<'_>],
    format: Format,
    about: &[String],
    to: &mut File,
    interrupted: &AtomicBool,
) -> Result<Merged, Failure> {
    let open = |given: &Given<'_>| Source::open(given.path).map_err(|error| fail(given, &error));
    let mut merge = Merge {
        given,
        sources: given.iter().map(open).collect::<Result<_, _>>()?,
        encoder: Encoder::new(match format {
            Format::Pcap => savefile::Format::Pcap,
            Format::Pcapng => savefile::Format::Pcapng,
        }),
        interfaces: Vec::new(),
        twins: Twins::new(),
        buffer: Vec::with_capacity(2 * BUFFER_BYTES),
        merged: Merged { duplicates: vec![0; given.len()], ..Merged::default() },
    };
    merge.start(about);
    let first = |(place, source): (usize, &Source)| source.time().map(|at| Reverse((at, place)));
    let mut next: BinaryHeap<Reverse<(Timestamp, usize)>> =
        merge.sources.iter().enumerate().filter_map(first).collect();
    while let Some(Reverse((_, place))) = next.pop() {
        merge.take(place)?;
        merge.sources[place].advance().map_err(|error| fail(&given[place], &error))?;
        next.extend(merge.sources[place].time().map(|at| Reverse((at, place))));
        if merge.buffer.len() >= BUFFER_BYTES {
            if interrupted.load(Ordering::Relaxed) {
                return Err(hindcap_soc_api::ApiError::Interrupted.into());
            }
            merge.empty(to)?;
        }
    }
    merge.end();
    merge.empty(to)?;
    Ok(merge.merged)
}

fn fail(given: &Given<'_>, error: &io::Error) -> Failure {
    Failure::new(format!("what {} sent cannot be read: {error}", given.sensor))
}

impl Merge<'_> {
    fn start(&mut self, about: &[String]) {
        let mut lines = about.to_vec();
        for given in self.given {
            let whose = if self.given.len() == 1 { String::new() } else { format!("{}: ", given.sensor) };
            lines
                .extend(given.manifest.answer.opening_comments().iter().map(|line| format!("{whose}{line}")));
        }
        let comments: Vec<&str> = lines.iter().map(String::as_str).collect();
        self.encoder.start(&mut self.buffer, APPLICATION, &comments);
    }

    /// Takes the packet ahead of the sensor at `place`.
    fn take(&mut self, place: usize) -> Result<(), Failure> {
        let source = &self.sources[place];
        let Some(packet) = source.packet() else { return Ok(()) };
        let Some(interface) = source.interface(packet.interface) else { return Ok(()) };
        let known = |(whose, number, _): &(usize, u32, u64)| *whose == place && *number == packet.interface;
        let number = match self.interfaces.iter().position(known) {
            Some(number) => number,
            None => {
                let sensor = self.given[place].sensor;
                let name = if self.given.len() == 1 {
                    interface.name.clone()
                } else if interface.name.is_empty() {
                    sensor.to_owned()
                } else {
                    format!("{sensor}/{}", interface.name)
                };
                let named = Interface { name, ..interface.clone() };
                self.encoder.interface(&mut self.buffer, &named).map_err(Failure::new)?;
                self.interfaces.push((place, packet.interface, 0));
                self.interfaces.len() - 1
            }
        };
        self.interfaces[number].2 += 1;
        self.merged.packets += 1;
        let packet = Packet { interface: u32::try_from(number).unwrap_or(u32::MAX), ..packet };
        // One sensor alone has no twins.
        let twin = (self.given.len() > 1)
            .then(|| self.twins.see(place, packet.timestamp, interface.link_type, packet.bytes))
            .flatten();
        let Some(twin) = twin else {
            self.encoder.packet(&mut self.buffer, &packet, &[]);
            return Ok(());
        };
        self.merged.duplicates[place] += 1;
        let (first, micros) = (self.given[twin.place].sensor, twin.before_nanos / 1_000);
        let comment =
            format!("duplicate: seen by {first} {}.{:03} ms before", micros / 1_000, micros % 1_000);
        self.encoder.packet(&mut self.buffer, &packet, &[&comment]);
        Ok(())
    }

    fn end(&mut self) {
        let mut told = vec![false; self.given.len()];
        for (number, (place, _, packets)) in (0..).zip(&self.interfaces) {
            let (answer, is_first) =
                (&self.given[*place].manifest.answer, !std::mem::replace(&mut told[*place], true));
            let lines = if is_first { answer.closing_comments() } else { Vec::new() };
            let comments: Vec<&str> = lines.iter().map(String::as_str).collect();
            let statistics = Statistics::of(answer, is_first, *packets);
            self.encoder.statistics(&mut self.buffer, number, &statistics, &comments);
        }
        self.encoder.finish(&mut self.buffer);
    }

    fn empty(&mut self, to: &mut File) -> Result<(), Failure> {
        to.write_all(&self.buffer).map_err(Failure::new)?;
        self.merged.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
