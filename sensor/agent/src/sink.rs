//! From a source to the recorder: translates the source's interface numbers to the store's and counts.

use hindcap_capture::{PacketSink, SkipRules};
use hindcap_store::{Recorder, StoreError};
use hindcap_wire::limits::SAVEFILE_INTERFACES_MAX;
use hindcap_wire::packet::{Interface, LinkType, Packet};
use hindcap_wire::policy::LeftOut;

/// Takes packets from one source and records them. Lives as long as the source.
#[derive(Debug)]
pub struct RecorderSink {
    recorder: Recorder,
    /// Store-wide number of each of the source's interfaces.
    numbers: Vec<Option<(u32, LinkType)>>,
    /// Rules of an import; live, the kernel has them.
    skip: SkipRules,
    /// Packets handed to the recorder.
    pub packets: u64,
    /// Their captured bytes.
    pub bytes: u64,
    /// Packets of interfaces that the store refused.
    pub refused: u64,
    /// Why it refused one.
    pub refusal: Option<StoreError>,
}

impl RecorderSink {
    /// A sink into `recorder`.
    #[must_use]
    pub fn new(recorder: Recorder) -> Self {
        let skip = SkipRules::default();
        Self { recorder, numbers: Vec::new(), skip, packets: 0, bytes: 0, refused: 0, refusal: None }
    }

    /// Leaves out what `skip` says, counted.
    #[must_use]
    pub fn skipping(self, skip: SkipRules) -> Self {
        Self { skip, ..self }
    }

    /// The recorder, for ticks and events.
    pub fn recorder(&mut self) -> &mut Recorder {
        &mut self.recorder
    }

    /// What policy has left out so far.
    #[must_use]
    pub const fn left_out(&self) -> LeftOut {
        self.recorder.left_out()
    }

    /// Store-wide number of the source's interface `index`.
    #[must_use]
    #[inline]
    pub fn number(&self, index: u32) -> Option<u32> {
        self.known(index).map(|(number, _)| number)
    }

    fn known(&self, index: u32) -> Option<(u32, LinkType)> {
        self.numbers.get(usize::try_from(index).ok()?).copied().flatten()
    }

    /// Forgets the interfaces and counters of the source that ended, for the next one.
    pub fn next_source(&mut self) {
        self.numbers.clear();
        (self.packets, self.bytes, self.refused, self.refusal) = (0, 0, 0, None);
    }

    /// The recorder back, to close it.
    #[must_use]
    pub fn into_recorder(self) -> Recorder {
        self.recorder
    }
}

impl PacketSink for RecorderSink {
    fn interface(&mut self, index: u32, interface: &Interface) {
        let Ok(position) = usize::try_from(index) else { return };
        if position >= SAVEFILE_INTERFACES_MAX {
            return;
        }
        if self.numbers.len() <= position {
            self.numbers.resize(position + 1, None);
        }
        match self.recorder.interface(interface) {
            Ok(number) => self.numbers[position] = Some((number, interface.link_type)),
            Err(error) => {
                self.numbers[position] = None;
                self.refusal = Some(error);
            }
        }
    }

    fn is_short(&mut self) -> bool {
        self.recorder.is_short()
    }

    #[inline]
    fn packet(&mut self, packet: &Packet<'_>) {
        match self.known(packet.interface) {
            Some((interface, link_type)) => {
                if self.skip.skips(link_type, packet.bytes) {
                    self.recorder.skip(packet);
                } else {
                    self.recorder.push(&Packet { interface, ..*packet });
                }
                self.packets += 1;
                self.bytes += packet.bytes.len() as u64;
            }
            None => self.refused += 1,
        }
    }
}
