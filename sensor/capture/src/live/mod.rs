//! Packets from a network interface, through libpcap's TPACKET_V3 ring.
//!
//! Owns the capture and whatever it takes to keep it going: the link is watched, and a capture that broke because its
//! interface went away is opened again by itself, within [`REARM_INTERVAL`] of the interface's return. Only opening
//! can fail; a source that was opened never ends.
//!
//! Packets go from the kernel's ring to the sink in place, a dispatch of at most [`DISPATCH_PACKETS_MAX`] at a time, so
//! that the caller gets to its other duties under any load. While the sink is short of room they stay in the ring; what
//! the ring then has no room for counts as `buffers_full`. The ring is kept in block mode (no immediate mode, which
//! would give up TPACKET_V3) with a block timeout of 100 ms. VLAN tags are put back into the frames by libpcap.
//!
//! Time: this module reads the monotonic clock itself, once per poll, because it waits in real time.
//!
//! Source: pcap(3PCAP), Documentation/networking/packet_mmap.rst.

mod link;
mod meter;
mod open;

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use hindcap_wire::drops::DropCounts;
use hindcap_wire::limits::CAPLEN_MAX;
use hindcap_wire::packet::{Interface, LinkType, Packet};
use hindcap_wire::pcap::canonical;
use hindcap_wire::time::{NANOS_PER_SEC, Timestamp};
use pcap::{Active, Capture};

use self::link::{Facts, Link, LinkWatch};
use self::meter::{Counters, DropMeter};
use self::open::Refusal;
use crate::wait::{Ready, wait_readable};
use crate::{CaptureError, PacketSink, PacketSource, Polled};

/// Packets of one dispatch: under 5 ms of work, and few enough calls at any rate.
const DISPATCH_PACKETS_MAX: usize = 4096;
/// Packets that the sink takes before it is asked again whether it is short of room.
const SLICE_PACKETS: usize = 128;
/// How long packets stay in the ring before a sink that is short of room is asked again: at 1 Gbit/s 250 kB.
const SHORT_WAIT: Duration = Duration::from_millis(2);
/// How often the link is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// How often opening is tried while the interface is away; a return is noticed within this.
const REARM_INTERVAL: Duration = Duration::from_millis(250);
/// A loss is reported after the last block of packets before it had time to come: the block timeout and some more.
const LAST_BLOCK: Duration = Duration::from_millis(150);
/// Room for the Ethernet header, two VLAN tags and a checksum above the MTU.
const FRAME_OVERHEAD_BYTES: u64 = 14 + 8 + 4;

/// What to capture and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveOptions {
    /// Interface name, or `any`.
    pub interface: String,
    /// Bytes of the kernel's receive ring. Default 8 MiB.
    pub ring_bytes: u32,
    /// Bytes kept of each packet; 0 keeps all. Default 0.
    pub snaplen: u32,
    /// pcap-filter expression, applied in the kernel. Default none.
    pub filter: Option<String>,
    /// Whether to take packets for others too. Default true.
    pub promiscuous: bool,
}

impl LiveOptions {
    /// Everything on `interface`, with the defaults.
    pub fn new(interface: impl Into<String>) -> Self {
        let interface = interface.into();
        Self { interface, ring_bytes: 8 * 1024 * 1024, snaplen: 0, filter: None, promiscuous: true }
    }

    fn snaplen(&self) -> u32 {
        match self.snaplen {
            0 => CAPLEN_MAX,
            bytes => bytes.min(CAPLEN_MAX),
        }
    }
}

/// What the health report wants to know of a live source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiveHealth {
    /// Whether the link is up as far as is known.
    pub link_up: bool,
    /// How often the link or the interface went away.
    pub link_losses: u64,
    /// How often the capture was opened again.
    pub reopened: u64,
    /// Frames longer than the interface's MTU allows: merged by GRO or LRO before they were captured, so not what was
    /// on the wire. Switch the offloads off on a tap port.
    pub super_frames: u64,
}

/// Captures on one interface.
pub struct LiveSource {
    options: LiveOptions,
    capture: Option<Capture<Active>>,
    watch: LinkWatch,
    facts: Option<Facts>,
    meter: DropMeter,
    health: LiveHealth,
    /// Last announced to the sink.
    announced: Option<Interface>,
    /// Frames longer than this are super-frames.
    frame_bytes_max: u32,
    /// The last dispatch emptied the ring.
    drained: bool,
    /// Packets were left in the ring since it was last empty.
    left: bool,
    /// When the link is next looked at, or the interface next opened.
    next_look: Instant,
    /// The link was seen to be gone, and not yet reported.
    lost_at: Option<Instant>,
    /// The next report is of a link that is up.
    tell_up: bool,
    /// The last reason why it could not be opened again, logged once.
    complaint: Option<String>,
}

impl LiveSource {
    /// Starts capturing. An interface that is there but down is no error: the source reports `LinkDown` and begins when
    /// it comes up.
    ///
    /// # Errors
    /// Missing permission, an unknown interface, a filter that does not compile, or what libpcap refuses otherwise.
    pub fn open(options: LiveOptions) -> Result<Self, CaptureError> {
        let plain = !options.interface.is_empty() && !options.interface.contains(['/', '\0']);
        if !plain || matches!(options.interface.as_str(), "." | "..") {
            return Err(open::no_such(options.interface));
        }
        if let Some(filter) = &options.filter {
            open::check_filter(filter)?;
        }
        let mut watch = LinkWatch::new(&options.interface);
        let capture = match open::open(&options) {
            Ok(capture) => Some(capture),
            Err(Refusal::NotUp) => None,
            Err(Refusal::Error(error)) => return Err(error),
        };
        let now = Instant::now();
        let link = watch.look();
        let up = capture.is_some() && !matches!(link, Link::Down | Link::Gone);
        let mut source = Self {
            options,
            capture,
            watch,
            facts: None,
            meter: DropMeter::default(),
            health: LiveHealth { link_up: true, ..LiveHealth::default() },
            announced: None,
            frame_bytes_max: u32::MAX,
            drained: true,
            left: false,
            next_look: now + LOOK_INTERVAL,
            lost_at: if up { None } else { now.checked_sub(LAST_BLOCK) },
            tell_up: false,
            complaint: None,
        };
        source.note(link);
        Ok(source)
    }

    /// How the source is doing.
    #[must_use]
    pub const fn health(&self) -> LiveHealth {
        self.health
    }

    fn note(&mut self, link: Link) {
        if let Link::Up(facts) = link {
            self.facts = Some(facts);
            let longest = facts.mtu.saturating_add(FRAME_OVERHEAD_BYTES);
            self.frame_bytes_max = u32::try_from(longest).unwrap_or(u32::MAX);
        }
    }

    /// Looks at the link, at most every [`LOOK_INTERVAL`].
    fn look(&mut self, now: Instant) {
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK_INTERVAL;
        let link = self.watch.look();
        match (link, self.facts) {
            (Link::Down | Link::Gone, _) if self.health.link_up => self.lose(now),
            (Link::Up(facts), Some(before)) if facts.ifindex != before.ifindex => {
                self.lose(now);
                self.close("the interface was made anew");
            }
            (Link::Up(facts), Some(before)) if facts.carrier_changes != before.carrier_changes => {
                // Away and back between two looks, or back after a reported loss.
                if self.health.link_up {
                    self.lose(now);
                }
                self.tell_up = true;
            }
            (Link::Up(_), _) if !self.health.link_up => self.tell_up = true,
            _ => {}
        }
        if matches!(link, Link::Down | Link::Gone) {
            self.tell_up = false;
        }
        self.note(link);
    }

    fn lose(&mut self, now: Instant) {
        if self.health.link_up && self.lost_at.is_none() {
            self.lost_at = Some(now);
        }
    }

    /// Gives up the capture, keeping its counts.
    fn close(&mut self, why: &str) {
        self.read_drops();
        if self.capture.take().is_some() {
            log::warn!("capture on {}: {why}; waiting for it to come back", self.options.interface);
        }
        self.meter.reopened();
    }

    fn read_drops(&mut self) {
        if let Some(Ok(stat)) = self.capture.as_mut().map(Capture::stats) {
            self.meter.read(Counters { ring_full: stat.dropped, interface: stat.if_dropped }, self.left);
        }
        self.left &= !self.drained;
    }

    /// Opens the capture again when the interface is up.
    fn rearm(&mut self, now: Instant) {
        if now < self.next_look {
            return;
        }
        self.next_look = now + REARM_INTERVAL;
        let link = self.watch.look();
        if matches!(link, Link::Down | Link::Gone) {
            return;
        }
        match open::open(&self.options) {
            Ok(capture) => {
                self.capture = Some(capture);
                self.health.reopened += 1;
                (self.drained, self.tell_up, self.complaint) = (true, true, None);
                self.note(link);
            }
            Err(Refusal::NotUp) => {}
            Err(Refusal::Error(error)) => {
                let complaint = error.to_string();
                if self.complaint.as_ref() != Some(&complaint) {
                    log::warn!("{complaint}; trying again");
                    self.complaint = Some(complaint);
                }
            }
        }
    }

    /// What is due to be said of the link, once everything captured before it was delivered.
    fn report(&mut self, now: Instant) -> Option<Polled> {
        if self.lost_at.is_some_and(|lost| now.duration_since(lost) >= LAST_BLOCK) {
            self.lost_at = None;
            self.health.link_up = false;
            self.health.link_losses += 1;
            self.meter.link_down();
            return Some(Polled::LinkDown);
        }
        if self.tell_up && self.lost_at.is_none() {
            self.tell_up = false;
            let was_down = !self.health.link_up;
            self.health.link_up = true;
            return was_down.then_some(Polled::LinkUp);
        }
        None
    }

    /// Waits, but not past the next look at the link or the report that is due.
    fn wait(&self, now: Instant, wait: Duration) -> Ready {
        let due = self.lost_at.map_or(self.next_look, |lost| self.next_look.min(lost + LAST_BLOCK));
        let wait = wait.min(due.saturating_duration_since(now));
        match &self.capture {
            Some(capture) => wait_readable(capture.as_fd(), wait),
            None => {
                std::thread::sleep(wait);
                Ready::No
            }
        }
    }

    /// Announces the interface before its first packet, and again when it came back different.
    fn announce<S: PacketSink>(&mut self, sink: &mut S) {
        let Some(capture) = &self.capture else { return };
        let link_type = u16::try_from(capture.get_datalink().0).unwrap_or(u16::MAX);
        if self
            .announced
            .as_ref()
            .is_some_and(|interface| interface.link_type == canonical(LinkType(link_type)))
        {
            return;
        }
        let interface = Interface {
            link_type: canonical(LinkType(link_type)),
            snaplen: self.options.snaplen(),
            name: self.options.interface.clone(),
        };
        sink.interface(0, &interface);
        self.announced = Some(interface);
    }

    /// Delivers what the ring holds.
    fn dispatch<S: PacketSink>(&mut self, now: Instant, sink: &mut S) -> usize {
        let Some(capture) = &mut self.capture else { return 0 };
        let (mut super_frames, frame_bytes_max) = (0_u64, self.frame_bytes_max);
        let (mut packets, mut failed) = (0, None);
        self.drained = false;
        while packets < DISPATCH_PACKETS_MAX && !self.drained {
            if sink.is_short() {
                self.left = true;
                break;
            }
            let result = capture.dispatch(Some(SLICE_PACKETS), |packet| {
                let header = packet.header;
                super_frames += u64::from(header.len > frame_bytes_max);
                let timestamp = timestamp(header);
                sink.packet(&Packet { timestamp, interface: 0, orig_len: header.len, bytes: packet.data });
            });
            match result {
                Ok(slice) => {
                    self.drained = slice < SLICE_PACKETS;
                    packets += slice;
                }
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        self.health.super_frames += super_frames;
        if let Some(error) = failed {
            self.lose(now);
            self.close(&error.to_string());
            self.drained = true;
            return 0;
        }
        packets
    }
}

/// The capture's time: libpcap keeps nanoseconds where its name says microseconds.
#[inline]
fn timestamp(header: &pcap::PacketHeader) -> Timestamp {
    let secs = u64::try_from(header.ts.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(header.ts.tv_usec).unwrap_or(0);
    Timestamp(secs.saturating_mul(NANOS_PER_SEC).saturating_add(nanos))
}

impl PacketSource for LiveSource {
    fn poll<S: PacketSink>(&mut self, wait: Duration, sink: &mut S) -> Result<Polled, CaptureError> {
        let now = Instant::now();
        if self.capture.is_some() {
            self.look(now);
        } else {
            self.rearm(now);
        }
        self.announce(sink);
        if self.drained {
            if let Some(report) = self.report(now) {
                return Ok(report);
            }
        }
        // An emptied ring is waited for first: asking libpcap would cost a system call to hear "nothing".
        if self.drained && self.wait(now, wait) == Ready::No {
            return Ok(Polled::Idle);
        }
        match self.dispatch(now, sink) {
            0 if self.left && !self.drained => {
                std::thread::sleep(SHORT_WAIT.min(wait));
                Ok(Polled::Short)
            }
            0 => Ok(Polled::Idle),
            packets => Ok(Polled::Packets(packets)),
        }
    }

    fn drops(&mut self) -> DropCounts {
        self.read_drops();
        self.meter.total()
    }
}
