//! The power cut at every write of a card, judged by `fsck.fat`. What is explored, and what must hold, is the same as for
//! every volume ([`crate::sim::explore`]).

use std::sync::OnceLock;

use super::recording::Run as Recording;
use super::*;
use crate::sim::drive::{Logged, Medium, Random, SEGMENT, UUID, run};
use crate::sim::explore::{explore, served};
use crate::sim::faults::{Faulty, Trouble, fail_everywhere, fail_silently, lie_everywhere};
use crate::volume::block::{DevOperation, Fault, RamDev, RamImage};
use hindcap_wire::ledger::HEADER_END;

pub(super) type Card = FatVolume<RamDev>;

/// Three segments, so that the ring turns.
fn crash_options() -> FormatOptions {
    FormatOptions { segments_max: 3, uuid: UUID, ..options(1 << 20, SEGMENT) }
}

fn layout() -> &'static Layout {
    static LAYOUT: OnceLock<Layout> = OnceLock::new();
    LAYOUT.get_or_init(|| plan(&RamDev::new(SECTORS), &crash_options()).unwrap())
}

const SECTORS: u64 = 48 * MIB / 512;

impl Faulty for Card {
    fn fresh() -> Self {
        static ROOMY: OnceLock<RamImage> = OnceLock::new();
        let image = ROOMY.get_or_init(|| {
            let mut dev = RamDev::new(2 * SECTORS);
            let options = FormatOptions { segments_max: 9, uuid: UUID, ..options(1 << 20, SEGMENT) };
            format(&mut dev, &options).unwrap();
            dev.image()
        });
        Self::open(RamDev::with_image(image.clone())).unwrap()
    }

    fn operations(&self) -> usize {
        self.dev.operations()
    }

    fn fail(&self, trouble: Option<Trouble>) {
        self.dev.set_fault(trouble.map(|Trouble { from, count, errno, .. }| Fault { from, count, errno }));
        self.dev.short_writes(trouble.is_some_and(|trouble| trouble.short));
        self.dev.silent_faults(trouble.is_some_and(|trouble| trouble.silent));
    }
}

impl Logged for DevOperation {
    type Image = RamImage;

    fn is_write(&self) -> bool {
        matches!(self, Self::Write { .. })
    }

    fn flushes(&self, write: &Self) -> bool {
        matches!((self, write), (Self::Flush, Self::Write { .. }))
    }

    fn apply(&self, image: &mut RamImage, reached: &mut dyn FnMut() -> bool) {
        image.apply(self, reached);
    }
}

/// Segment, offset and bytes of a write to the segments of `ring`.
pub(super) fn written_in<'a>(ring: &Layout, operation: &'a DevOperation) -> Option<(u32, u64, &'a [u8])> {
    let DevOperation::Write { lba, bytes } = operation else { return None };
    let inside = lba.checked_sub(ring.sector_of(ring.ring.first))? * 512;
    let segment = u32::try_from(inside / u64::from(SEGMENT)).ok()?;
    (segment < ring.segments).then_some((segment, inside % u64::from(SEGMENT), bytes))
}

impl Medium for Card {
    type Image = RamImage;
    type Operation = DevOperation;

    fn image(&self) -> RamImage {
        self.dev.image()
    }

    fn with_image(image: RamImage) -> Result<Self, String> {
        let volume = Self::open(RamDev::with_image(image)).map_err(|error| error.to_string())?;
        let warnings: Vec<String> = volume.warnings().collect();
        if warnings.is_empty() { Ok(volume) } else { Err(warnings.join("; ")) }
    }

    fn log_len(&self) -> usize {
        self.dev.log_len()
    }

    fn take_log(&self) -> Vec<DevOperation> {
        self.dev.take_log()
    }

    fn segment_write(operation: &DevOperation) -> Option<(u32, u64, &[u8])> {
        written_in(layout(), operation)
    }

    fn judge(image: &RamImage) -> Result<(), String> {
        if boot_area(layout(), image) != boot_area(layout(), &fresh().0) {
            return Err(String::from("boot area, FATs or directories were written"));
        }
        fsck_image(image)
    }
}

/// What `fsck.fat` says, where there is one.
pub(super) fn fsck_image(image: &RamImage) -> Result<(), String> {
    if !fsck_there() {
        return Ok(());
    }
    let file = tempfile::NamedTempFile::new_in(scratch()).unwrap();
    image.save(file.path()).unwrap();
    fsck(file.path())
}

/// Memory where there is some, because a state is written as a whole.
fn scratch() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}

fn fsck_there() -> bool {
    static THERE: OnceLock<bool> = OnceLock::new();
    *THERE.get_or_init(judges)
}

/// What is on the card before the contents list: boot sectors, FATs, directories.
pub(super) fn boot_area(layout: &Layout, image: &RamImage) -> Vec<u8> {
    let mut bytes = vec![0; layout.sector_of(layout.contents.first) as usize * 512];
    image.get(0, &mut bytes);
    bytes
}

/// A formatted card, made once.
fn fresh() -> &'static (RamImage, Layout) {
    static FRESH: OnceLock<(RamImage, Layout)> = OnceLock::new();
    FRESH.get_or_init(|| {
        let mut dev = RamDev::new(SECTORS);
        let layout = format(&mut dev, &crash_options()).unwrap();
        (dev.image(), layout)
    })
}

fn card() -> Card {
    Card::open(RamDev::with_image(fresh().0.clone())).unwrap()
}

#[test]
fn every_acknowledged_packet_survives_every_cut_of_a_card() {
    let run = run(card());
    assert!(run.log.len() >= 200, "{} operations", run.log.len());
    let states = explore(&run, &fresh().0, random_states()).unwrap();
    println!("{states} states of {} operations", run.log.len());
    assert!(states >= 2000, "{states}");
}

/// Random states per write, beside the four fixed ones.
fn random_states() -> u32 {
    std::env::var("HINDCAP_CRASH_STATES").ok().and_then(|count| count.parse().ok()).unwrap_or(12)
}

#[test]
fn every_operation_of_a_card_may_fail_once_or_several_times() {
    let runs = fail_everywhere::<Card>(1).unwrap();
    println!("{runs} runs with a failing card");
    assert!(runs > 400, "{runs}");
}

#[test]
fn canary_a_card_whose_errors_nobody_hears_is_caught() {
    assert!(fail_silently::<Card>().unwrap_err().contains("acknowledged"));
}

#[test]
fn a_card_whose_flush_lies_costs_no_more_than_it_concerned() {
    let states = lie_everywhere(&run(card()), &fresh().0).unwrap();
    println!("{states} states after a flush that lied");
    assert!(states > 300, "{states}");
}

#[test]
fn canary_a_card_that_forgets_to_flush_is_caught() {
    let volume = card();
    volume.dev.forget_flushes(true);
    let error = explore(&run(volume), &fresh().0, 0).unwrap_err();
    assert!(error.contains("acknowledged and is gone"), "{error}");
}

#[test]
fn canary_a_batch_that_differs_from_what_was_recorded_is_caught() {
    let mut run = run(card());
    for operation in &mut run.log {
        let is_batch = Card::segment_write(operation).is_some();
        if let DevOperation::Write { bytes, .. } = operation {
            if is_batch && bytes.len() > HEADER_END + 600 {
                bytes[HEADER_END + 300] ^= 1;
            }
        }
    }
    assert!(explore(&run, &fresh().0, 0).is_err());
}

#[test]
fn canary_a_recorder_that_touches_the_fat_is_caught() {
    let mut run = run(card());
    let touch = DevOperation::Write { lba: layout().reserved_sectors.into(), bytes: vec![0; 512] };
    run.log.splice(0..0, [touch, DevOperation::Flush]);
    assert!(explore(&run, &fresh().0, 0).is_err());
}

/// The erase unit written last is gone: paired pages of a cheap card. What it held is lost, and nothing else; nothing wrong
/// is served, and recording goes on.
#[test]
fn the_loss_of_the_last_erase_unit_costs_what_was_in_it() {
    let run = run(card());
    let unit = u64::from(layout().erase_bytes) / 512;
    let mut image = fresh().0.clone();
    let (mut random, mut states) = (Random(7), 0);
    for operation in &run.log {
        operation.apply(&mut image, &mut || true);
        let DevOperation::Write { lba, .. } = operation else { continue };
        if random.below(2) != 0 {
            continue;
        }
        let mut damaged = image.clone();
        damaged.put(lba / unit * unit, &vec![0xFF; unit as usize * 512]);
        states += 1;
        if states % 20 == 1 {
            Card::judge(&damaged).unwrap();
        }
        let lost = lba / unit * unit;
        let packets = |image: &RamImage| served(&Card::with_image(image.clone()).unwrap(), u32::MAX).unwrap();
        let (before, after) = (packets(&image), packets(&damaged));
        assert!(after.is_subset(&before));
        let gone: Vec<_> = before.difference(&after).collect();
        if Card::segment_write(&DevOperation::Write { lba: lost, bytes: Vec::new() }).is_none() {
            assert!(gone.is_empty(), "{} packets went with sector {lost}, outside the ring", gone.len());
        }
        let volume = Card::with_image(damaged).unwrap();
        let mut run = Recording::start(volume, 10_000_000);
        run.second(3, 100);
        run.close();
    }
    assert!(states > 50, "{states}");
}
