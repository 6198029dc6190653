//! Formatting with nobody there to ask: what may be formatted, and a cut in the middle of it.

use super::*;
use crate::volume::block::{Fault, RamDev, SECTOR_BYTES};

#[test]
fn a_cut_while_a_blank_card_is_formatted_leaves_one_that_is_formatted_at_the_next_start() {
    // Every operation is the last one, and whole or, for writes, half done.
    let cut_at = |from: usize, short: bool| {
        let mut dev = RamDev::new(64 * MIB / 512).whole_disk();
        dev.short_writes(short);
        dev.set_fault(Some(Fault { from, count: usize::MAX, errno: 5 }));
        let failed = format_blank(&mut dev, &small()).is_err();
        failed.then(|| RamDev::with_image(dev.image()).whole_disk())
    };
    let cards = (0..).map_while(|from| Some([cut_at(from, false)?, cut_at(from, true)?])).flatten();
    let (mut blank, mut unfinished, mut whole) = (0, 0, 0);
    for mut dev in cards {
        let had = content(&dev).unwrap();
        match had {
            Some(Content::Blank) => blank += 1,
            Some(Content::Unfinished) => unfinished += 1,
            None => whole += 1,
            Some(other) => panic!("{other}"),
        }
        match format_blank(&mut dev, &small()).unwrap() {
            Done::Formatted(layout) => assert_eq!(layout.uuid, UUID),
            Done::Left(content) => {
                assert_eq!((content, had), (None, None), "only the last flush was missing")
            }
        }
        let volume = FatVolume::open(dev).unwrap();
        assert_eq!(volume.warnings().collect::<Vec<_>>(), [""; 0]);
    }
    assert!(blank > 1 && unfinished > 5 && whole > 1, "{blank} {unfinished} {whole}");
}

#[test]
fn only_a_device_that_nobody_uses_is_formatted_without_a_person() {
    let filled = |content: u8, at: u64, byte: u8| {
        let mut dev = RamDev::new(64 * MIB / 512);
        for step in 0..64 {
            dev.write(step * MIB / 512, &vec![content; MIB as usize]).unwrap();
        }
        let mut sector = [content; SECTOR_BYTES];
        sector[(at % 512) as usize] = byte;
        dev.write(at / 512, &sector).unwrap();
        dev
    };
    for mut free in [filled(0, 0, 0), filled(0xFF, 0, 0xFF), filled(0, BLANK_BYTES, 1)] {
        assert!(matches!(format_blank(&mut free, &small()).unwrap(), Done::Formatted(_)));
        assert_eq!(format_blank(&mut free, &small()).unwrap(), Done::Left(None), "it is a store now");
    }
    let mut other = filled(0, 0, 0);
    let mut sector = [0; SECTOR_BYTES];
    sector[..38].copy_from_slice(b"Hindcap: formatting was begun, he said");
    other.write(0, &sector).unwrap();
    let used = [filled(0, BLANK_BYTES - 1, 1), filled(0, 0, 1), filled(0xFF, MIB, 0), filled(1, 0, 1), other];
    for (number, mut dev) in used.into_iter().enumerate() {
        let before = dev.operations();
        let left = format_blank(&mut dev, &small()).unwrap();
        assert!(matches!(left, Done::Left(Some(_))), "{number}: {left:?}");
        assert_eq!(dev.operations(), before, "{number}: not a byte is written");
    }
}
