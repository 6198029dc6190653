//! The power cut at every write of a card whose two rings are written side by side: one ring is explored as every volume is
//! ([`crate::sim::explore`]), while a recorder of the other ring writes in between, through the same device.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, OnceLock};

use hindcap_wire::index::PageSet;
use hindcap_wire::limits::PAGE_BYTES;

use super::crash::{boot_area, written_in};
use super::recording::{Run as Recording, frame};
use super::*;
use crate::sim::drive::{Medium, SEGMENT, UUID, run, run_with_holds};
use crate::sim::explore::explore;
use crate::volume::block::{DevOperation, RamDev, RamImage};
use crate::{Reader, ReaderOptions};

const SECTORS: u64 = 96 * MIB / 512;

/// One ring of a card: its event ring or the other one. `SEGMENTS` in each.
#[derive(Clone)]
struct Ring<const EVENTS: bool, const SEGMENTS: u32> {
    volume: FatVolume<RamDev>,
    beside: Arc<Mutex<Beside>>,
}

/// Who writes to the other ring.
#[derive(Default)]
struct Beside {
    recording: Option<Recording>,
    flushes: u32,
}

struct Fresh {
    image: RamImage,
    layout: Layout,
    /// Of the ring that is explored.
    ring: Layout,
}

impl<const EVENTS: bool, const SEGMENTS: u32> Ring<EVENTS, SEGMENTS> {
    /// A formatted card whose explored ring has the uuid that the explorer expects.
    fn made() -> Fresh {
        let options = FormatOptions {
            uuid: UUID,
            segments_max: SEGMENTS,
            // Some room beside the segments: 20 % are three.
            event_share: Some(EventShare::Percent(if SEGMENTS > 3 { 30 } else { 20 })),
            ..options(1 << 20, SEGMENT)
        };
        let of_events = plan(&RamDev::new(SECTORS), &options).unwrap().event_ring().unwrap();
        // What makes one uuid of the other makes the one of the other again.
        let options = FormatOptions { uuid: if EVENTS { of_events.uuid } else { UUID }, ..options };
        let mut dev = RamDev::new(SECTORS);
        let layout = format(&mut dev, &options).unwrap();
        let ring = if EVENTS { layout.event_ring().unwrap() } else { layout };
        assert_eq!((ring.uuid, ring.segments >= SEGMENTS), (UUID, true), "{ring:?}");
        Fresh { image: dev.image(), layout, ring }
    }

    fn fresh() -> &'static Fresh {
        static FRESH: [OnceLock<Fresh>; 4] = [const { OnceLock::new() }; 4];
        FRESH[usize::from(EVENTS) + 2 * usize::from(SEGMENTS > 3)].get_or_init(Self::made)
    }

    fn open(dev: RamDev, events: bool) -> Result<FatVolume<RamDev>, String> {
        let opened = if events { FatVolume::open_events(dev) } else { FatVolume::open(dev).map(Some) };
        opened.map_err(|error| error.to_string())?.ok_or_else(|| String::from("no event ring"))
    }

    /// With a recorder of the other ring at work.
    fn side_by_side() -> Self {
        let dev = RamDev::with_image(Self::fresh().image.clone());
        let recording = Some(Recording::start(Self::open(dev.clone(), !EVENTS).unwrap(), 1_000));
        drop(dev.take_log());
        let volume = Self::open(dev, EVENTS).unwrap();
        Self { volume, beside: Arc::new(Mutex::new(Beside { recording, flushes: 0 })) }
    }
}

impl<const EVENTS: bool, const SEGMENTS: u32> VolumeRead for Ring<EVENTS, SEGMENTS> {
    fn geometry(&self) -> Geometry {
        self.volume.geometry()
    }

    fn read(&self, area: Area, offset: u64, buf: &mut [u8]) -> Result<(), VolumeError> {
        self.volume.read(area, offset, buf)
    }

    fn identity(&self) -> Option<[u8; 16]> {
        self.volume.identity()
    }
}

impl<const EVENTS: bool, const SEGMENTS: u32> VolumeWrite for Ring<EVENTS, SEGMENTS> {
    fn write(&mut self, area: Area, offset: u64, bytes: &[u8]) -> Result<(), VolumeError> {
        self.volume.write(area, offset, bytes)?;
        let mut beside = self.beside.lock().unwrap();
        beside.flushes += 1;
        // Between a write and its flush: what is not yet durable of both may be lost, or not, in any mixture.
        if beside.flushes % 3 == 0 {
            if let Some(recording) = &mut beside.recording {
                (0..5).for_each(|_| recording.second(1, 300));
            }
        }
        Ok(())
    }

    fn flush(&mut self, area: Area) -> Result<(), VolumeError> {
        self.volume.flush(area)
    }

    fn erase(&mut self, area: Area, offset: u64, bytes: u64) -> Result<bool, VolumeError> {
        self.volume.erase(area, offset, bytes)
    }

    fn note_contents(&mut self, text: &str) -> u64 {
        self.volume.note_contents(text)
    }
}

impl<const EVENTS: bool, const SEGMENTS: u32> Medium for Ring<EVENTS, SEGMENTS> {
    type Image = RamImage;
    type Operation = DevOperation;

    fn image(&self) -> RamImage {
        self.volume.dev.image()
    }

    fn with_image(image: RamImage) -> Result<Self, String> {
        let volume = Self::open(RamDev::with_image(image), EVENTS)?;
        let warnings: Vec<String> = volume.warnings().collect();
        let beside = Arc::default();
        if warnings.is_empty() { Ok(Self { volume, beside }) } else { Err(warnings.join("; ")) }
    }

    fn log_len(&self) -> usize {
        self.volume.dev.log_len()
    }

    fn take_log(&self) -> Vec<DevOperation> {
        self.volume.dev.take_log()
    }

    fn segment_write(operation: &DevOperation) -> Option<(u32, u64, &[u8])> {
        written_in(&Self::fresh().ring, operation)
    }

    /// The file system is as it was made, and the other ring serves nothing that was not recorded.
    fn judge(image: &RamImage) -> Result<(), String> {
        let Fresh { layout, image: fresh, .. } = Self::fresh();
        if boot_area(layout, image) != boot_area(layout, fresh) {
            return Err(String::from("boot area, FATs or directories were written"));
        }
        other_is_right(&Self::open(RamDev::with_image(image.clone()), !EVENTS)?)?;
        crash::fsck_image(image)
    }
}

/// Everything served is a frame that was recorded, once, byte for byte.
fn other_is_right(volume: &FatVolume<RamDev>) -> Result<(), String> {
    let mut reader =
        Reader::open(volume.clone(), ReaderOptions::default()).map_err(|error| error.to_string())?;
    let (mut seen, mut wrong) = (BTreeSet::new(), None);
    for segment in reader.segments().to_vec() {
        let served = reader.packets(&segment, &PageSet::range(0, SEGMENT / PAGE_BYTES), &mut |at| {
            let bytes = at.packet.bytes;
            let number = u32::from_be_bytes(bytes[14..18].try_into().unwrap());
            if bytes != frame(number, bytes.len()) || !seen.insert(number) {
                wrong = Some(number);
            }
            ControlFlow::Continue(())
        });
        served.map_err(|error| error.to_string())?;
    }
    match wrong {
        Some(number) => Err(format!("the other ring serves frame {number} wrongly, or twice")),
        None => Ok(()),
    }
}

fn explored<const EVENTS: bool>(random_states: u32) -> Result<u32, String> {
    let ring = Ring::<EVENTS, 3>::side_by_side();
    let begun = Medium::image(&ring);
    let beside = Arc::clone(&ring.beside);
    let run = run(ring);
    let written = beside
        .lock()
        .unwrap()
        .recording
        .as_ref()
        .map_or(0, |recording| recording.recorder.health().snapshot().packets_acked);
    assert!(written > 100, "the other ring got {written} packets in between");
    explore(&run, &begun, random_states)
}

#[test]
fn every_acknowledged_copy_survives_every_cut_while_the_store_is_recorded_to() {
    let states = explored::<true>(6).unwrap();
    println!("{states} states of the event ring");
    assert!(states >= 2000, "{states}");
}

#[test]
fn every_acknowledged_packet_survives_every_cut_while_sessions_are_copied() {
    let states = explored::<false>(4).unwrap();
    println!("{states} states of the store");
    assert!(states >= 1500, "{states}");
}

#[test]
fn canary_an_event_ring_that_overlaps_the_other_is_caught() {
    let ring = Ring::<true, 3>::side_by_side();
    let begun = Medium::image(&ring);
    let mut run = run(ring);
    // What the other ring writes behind the beginning of a segment lands in the event ring's first one.
    let (own, other) = (&Ring::<true, 3>::fresh().ring, &Ring::<true, 3>::fresh().layout);
    let (to, from) = (own.sector_of(own.ring.first), other.sector_of(other.ring.first));
    let segment = u64::from(SEGMENT) / 512;
    for operation in &mut run.log {
        if let DevOperation::Write { lba, .. } = operation {
            let inside = lba.checked_sub(from).filter(|at| *at < 3 * segment && at % segment != 0);
            *lba = inside.map_or(*lba, |at| to + at % segment);
        }
    }
    assert!(explore(&run, &begun, 0).is_err());
}

#[test]
fn what_is_held_on_a_card_survives_every_cut_and_every_turn_of_the_ring() {
    for ignored in [false, true] {
        let dev = RamDev::with_image(Ring::<false, 5>::fresh().image.clone());
        let volume = Ring::<false, 5>::open(dev, false).unwrap();
        let run = run_with_holds(Ring::<false, 5> { volume, beside: Arc::default() }, ignored);
        let explored = explore(&run, &Ring::<false, 5>::fresh().image, u32::from(!ignored));
        if ignored {
            // The canary.
            assert!(explored.unwrap_err().contains("was held and is gone"));
        } else {
            assert!(explored.unwrap() > 600);
        }
    }
}
