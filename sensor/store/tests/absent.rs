//! Stores whose medium is not there at first, or goes and comes, as the sensor opens them: by their place.
#![allow(clippy::unwrap_used, reason = "helpers of tests too")]

use std::fs;
use std::path::Path;

use hindcap_store::volume::any::AnyVolume;
use hindcap_store::volume::block::{Access, FileDev};
use hindcap_store::volume::fat::{FormatOptions, format};
use hindcap_store::{
    HealthSnapshot, Reader, ReaderOptions, Reading, Recorder, RecorderOptions, Store, StoreOptions,
    StoreSize, Trouble, open_reader,
};
use hindcap_wire::drops::DropCounts;
use hindcap_wire::packet::{Interface, LinkType, Packet};
use hindcap_wire::time::Timestamp;

const NOW: u64 = 1_795_300_215_000_000_000;

struct Run {
    recorder: Recorder,
    interface: u32,
    millis: u64,
}

fn reading(millis: u64) -> Reading {
    Reading {
        wall: Timestamp(NOW + millis * 1_000_000),
        monotonic_nanos: (1000 + millis) * 1_000_000,
        ..Reading::default()
    }
}

impl Run {
    fn new(store: Store<AnyVolume>) -> Self {
        let options = RecorderOptions { buffers: 4, may_wait: false, ..RecorderOptions::inline() };
        let mut recorder = store.recorder(options, reading(0)).unwrap();
        let tap = Interface { link_type: LinkType::ETHERNET, snaplen: 0, name: "tap".into() };
        let interface = recorder.interface(&tap).unwrap();
        Self { recorder, interface, millis: 0 }
    }

    fn push(&mut self, packets: u32) {
        for number in 0..packets {
            let (bytes, timestamp) = ([number as u8; 600], reading(self.millis).wall);
            self.recorder.push(&Packet {
                timestamp,
                interface: self.interface,
                orig_len: 600,
                bytes: &bytes,
            });
            self.silence(10);
        }
    }

    fn silence(&mut self, millis: u64) {
        for _ in 0..millis.div_ceil(100) {
            self.millis += millis.min(100);
            self.recorder.tick(reading(self.millis), DropCounts::default());
        }
    }

    fn health(&self) -> HealthSnapshot {
        self.recorder.health().snapshot()
    }
}

fn packets(place: &Path) -> u64 {
    let reader = Reader::open(open_reader(place).unwrap().0, ReaderOptions::default()).unwrap();
    reader.segments().iter().map(|segment| segment.packets).sum()
}

#[test]
fn a_card_that_was_never_there_is_recorded_to_when_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("card.img");
    let place = std::path::PathBuf::from(format!("fat:{}", image.display()));
    let error = Store::open_any(&StoreOptions::new(&place, StoreSize::Keep)).unwrap_err();
    let mut run = Run::new(Store::absent(&place, &error, Timestamp(NOW)));
    run.push(500);
    let medium = run.health().medium.expect("told");
    assert_eq!((medium.trouble, medium.since), (Trouble::Missing, Timestamp(NOW)));
    // A blank card is no store, and stays blank, until a person formats it beside the sensor.
    FileDev::create_image(&image, 64 << 20).unwrap();
    run.silence(8_000);
    assert_eq!(run.health().medium.map(|medium| medium.trouble), Some(Trouble::Foreign));
    assert!(fs::read(&image).unwrap().iter().all(|byte| *byte == 0), "not a byte is written");
    let options = FormatOptions {
        segment_bytes: Some(4 << 20),
        erase_bytes: Some(1 << 20),
        ..FormatOptions::new([3; 16], Timestamp(NOW))
    };
    format(&mut FileDev::open(&image, Access::Write).unwrap(), &options).unwrap();
    run.silence(8_000);
    assert_eq!(run.health().medium, None);
    run.push(100);
    run.recorder.close(reading(90_000)).unwrap();
    assert_eq!(packets(&place), 600);
}

#[test]
fn a_directory_that_goes_and_comes() {
    let dir = tempfile::tempdir().unwrap();
    let (place, away) = (dir.path().join("store"), dir.path().join("away"));
    let options =
        StoreOptions { segment_bytes: 4 << 20, ..StoreOptions::new(&place, StoreSize::Bytes(40 << 20)) };
    let mut run = Run::new(Store::create_any(&options).unwrap());
    run.push(200);
    run.silence(6_000);
    fs::rename(&place, &away).unwrap();
    run.push(300);
    run.silence(6_000);
    assert_eq!(run.health().medium.map(|medium| medium.trouble), Some(Trouble::Missing));
    // An empty mount point is not made a store.
    fs::create_dir(&place).unwrap();
    run.silence(6_000);
    assert_eq!(run.health().medium.map(|medium| medium.trouble), Some(Trouble::Missing));
    assert_eq!(fs::read_dir(&place).unwrap().count(), 0);
    fs::remove_dir(&place).unwrap();
    fs::rename(&away, &place).unwrap();
    run.silence(6_000);
    let health = run.health();
    assert_eq!((health.medium, health.packets_lost, health.packets_kept), (None, 0, 0));
    run.push(50);
    run.recorder.close(reading(190_000)).unwrap();
    assert_eq!(packets(&place), 550);
}

#[test]
fn an_image_that_is_cut_short_is_not_made_longer() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("card.img");
    let place = std::path::PathBuf::from(format!("fat:{}", image.display()));
    FileDev::create_image(&image, 64 << 20).unwrap();
    let options = FormatOptions {
        segment_bytes: Some(4 << 20),
        erase_bytes: Some(1 << 20),
        ..FormatOptions::new([3; 16], Timestamp(NOW))
    };
    format(&mut FileDev::open(&image, Access::Write).unwrap(), &options).unwrap();
    let mut run = Run::new(Store::open_any(&StoreOptions::new(&place, StoreSize::Keep)).unwrap());
    run.push(50);
    run.silence(6_000);
    fs::OpenOptions::new().write(true).open(&image).unwrap().set_len(1 << 20).unwrap();
    run.push(100);
    run.silence(6_000);
    assert!(run.health().medium.is_some());
    assert_eq!(fs::metadata(&image).unwrap().len(), 1 << 20);
}
