//! A store on a disk that may hold anything: bytes of a good one are overwritten, then it is read, verified, recovered,
//! recorded into and read again. Nothing is served that was not recorded, unless the checksums were forged with it.
#![no_main]

mod base;

use std::ops::ControlFlow;

use base::{Known, SEGMENT_BYTES, SEGMENTS, UUID, base, reading, record};
use hindcap_store::sim::SimVolume;
use hindcap_store::state::{Slots, State};
use hindcap_store::verify::verify;
use hindcap_store::volume::{Area, Geometry, VolumeRead, VolumeWrite};
use hindcap_store::{Reader, ReaderOptions, RecorderOptions, Store};
use hindcap_wire::index::PageSet;
use hindcap_wire::time::Timestamp;
use libfuzzer_sys::fuzz_target;

const PAGE: usize = 16_384;
const COMMIT: usize = 164;

/// Reads all there is; `judge` sees each packet.
fn serve(volume: SimVolume, mut judge: impl FnMut(Timestamp, &[u8])) {
    let Ok(mut reader) = Reader::open(volume, ReaderOptions::default()) else { return };
    for segment in reader.segments().to_vec() {
        let Ok(index) = reader.index(&segment) else { continue };
        let _ = index.flows().count();
        let pages: PageSet = (0..index.pages()).map(|page| page as u16).collect();
        let _ = reader.packets(&segment, &pages, &mut |at| {
            judge(at.packet.timestamp, at.packet.bytes);
            ControlFlow::Continue(())
        });
    }
}

/// Overwrites as the input says; whether checksums were made to agree afterwards.
fn damage(volume: &mut SimVolume, mut input: &[u8]) -> bool {
    let mut forged = false;
    while let Some((&[kind, area, page, high, low, length], rest)) = input.split_first_chunk::<6>() {
        let length = usize::from(length).min(rest.len());
        let (data, after) = rest.split_at(length);
        input = after;
        let (area, bytes) = match area % 5 {
            0 => (Area::State, 8_192),
            1 => (Area::Catalog, 65_536),
            2 | 3 => (Area::Segment(0), SEGMENT_BYTES as usize),
            _ => (Area::Segment(1), SEGMENT_BYTES as usize),
        };
        let at = usize::from(page) * PAGE + usize::from(u16::from_be_bytes([high, low])) % PAGE;
        // From the front, or from the end, where the summary is.
        let at = if kind & 1 == 0 { at } else { bytes.saturating_sub(at + 1) };
        match kind >> 1 & 3 {
            0 | 1 => put(volume, area, at, data),
            2 => put(volume, area, at / 512 * 512, &[0; 512]),
            _ => {
                forge(volume);
                forged = true;
            }
        }
    }
    forged
}

/// Writes anywhere, whatever the alignment.
fn put(volume: &mut SimVolume, area: Area, at: usize, data: &[u8]) {
    let (start, end) = (at / 512 * 512, (at + data.len()).div_ceil(512) * 512);
    let mut sectors = vec![0; end - start];
    if volume.read(area, start as u64, &mut sectors).is_ok() {
        sectors[at - start..at - start + data.len()].copy_from_slice(data);
        let _ = volume.write(area, start as u64, &sectors);
    }
}

/// Makes the checksums of headers, commits, index and summary agree with what they cover (docs/FORMAT.md).
fn forge(volume: &mut SimVolume) {
    for number in 0..SEGMENTS {
        let mut bytes = vec![0; SEGMENT_BYTES as usize];
        volume.read(Area::Segment(number), 0, &mut bytes).expect("a segment");
        let crc = crc32fast::hash(&bytes[36..116]);
        bytes[116..120].copy_from_slice(&crc.to_le_bytes());
        for end in (PAGE..=bytes.len()).step_by(PAGE) {
            let commit = end - COMMIT;
            let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four")) as usize;
            if bytes[commit + 8..commit + 12] != *b"HCCM" {
                continue;
            }
            let start = word(commit + 28);
            if start < end - 8 {
                let mut crc = crc32fast::Hasher::new();
                crc.update(&UUID);
                crc.update(&bytes[start..end - 8]);
                bytes[end - 8..end - 4].copy_from_slice(&crc.finalize().to_le_bytes());
            }
        }
        let page = bytes.len() - PAGE;
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four")) as usize;
        let index = word(page + 28).saturating_add(8);
        if let Some(index) = bytes.get(index..index.saturating_add(word(page + 32))) {
            let crc = crc32fast::hash(index);
            bytes[page + 36..page + 40].copy_from_slice(&crc.to_le_bytes());
        }
        let crc = crc32fast::hash(&bytes[page..page + 16_376]);
        bytes[page + 16_376..page + 16_380].copy_from_slice(&crc.to_le_bytes());
        volume.write(Area::Segment(number), 0, &bytes).expect("a segment");
    }
}

fuzz_target!(|input: &[u8]| {
    let base = base();
    let geometry = Geometry { segment_bytes: SEGMENT_BYTES, segments: SEGMENTS, sector_bytes: 512 };
    let mut volume = SimVolume::with_image(geometry, base.image.clone());
    volume.keep_log(false);
    let Some((how, changes)) = input.split_first() else { return };
    let forged = damage(&mut volume, changes);
    serve(volume.clone(), |at, bytes| {
        let known = base.packets.get(&at).is_some_and(|known| known == bytes);
        assert!(forged || known, "served what nobody recorded, of {at}");
    });
    // Hashing everything takes most of the time.
    if how % 8 == 0 {
        if let Ok(Slots::Whole(state)) = State::load(&volume) {
            verify(&volume, &state, |_| {});
        }
    }
    let Ok(store) = Store::mount(volume.clone()) else { return };
    let mut recorder = store.recorder(RecorderOptions::inline(), reading(5_000)).expect("a recorder");
    let new = record(&mut recorder, 5_000..5_020, 200);
    let closed = recorder.close(reading(6_000));
    let mut seen = 0;
    serve(volume, |at, bytes| {
        let is = |packets: &Known| packets.get(&at).is_some_and(|known| known == bytes);
        seen += usize::from(is(&new));
        assert!(forged || is(&new) || is(&base.packets), "served what nobody recorded, of {at}");
    });
    if !forged {
        closed.expect("the medium takes everything");
        assert_eq!(seen, new.len(), "what is recorded after recovery is there, once");
    }
});
