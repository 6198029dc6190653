//! The health registers of eMMC 5.0 and later, as the kernel shows them beside the device (JESD84-B51, 7.4.28 to 7.4.30;
//! `Documentation/driver-api/mmc/mmc-dev-attrs.rst`).
//!
//! `life_time` has two registers, type A and B (on most media SLC and MLC cells): 0x01 is up to 10 % used, 0x0A 90 to
//! 100 %, 0x0B more than was estimated, 0x00 not defined. `pre_eol_info` is 0x01 normal, 0x02 80 % of the spare blocks
//! used, 0x03 90 %. The kernel reads both when it initialises the device, so that they are as old as the last boot.

use hindcap_wire::message::MediumKind;

use super::find::text;
use super::{Finding, Medium, ReadRegisters, Registers};

const LIFE_EXCEEDED: u8 = 0x0b;
const PRE_EOL_WARNING: u8 = 0x02;
const PRE_EOL_URGENT: u8 = 0x03;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Emmc;

impl ReadRegisters for Emmc {
    fn read(&self, medium: &Medium) -> Option<Registers> {
        if medium.kind != MediumKind::Emmc {
            return None;
        }
        let device = medium.directory.join("device");
        Some(registers(&text(&device, "life_time"), &text(&device, "pre_eol_info")))
    }
}

/// What the two attributes say.
#[must_use]
pub fn registers(life_time: &str, pre_eol_info: &str) -> Registers {
    // The area that is worn more counts, whichever of them we write to.
    let steps =
        life_time.split_whitespace().filter_map(hex).filter(|step| (1..=LIFE_EXCEEDED).contains(step));
    let finding = match hex(pre_eol_info) {
        Some(PRE_EOL_WARNING) => Some(Finding::SpareWarning),
        Some(PRE_EOL_URGENT) => Some(Finding::SpareUrgent),
        _ => None,
    };
    Registers {
        used_permille: steps.max().map(|step| (u32::from(step) - 1) * 100),
        findings: finding.into_iter().collect(),
        ..Registers::default()
    }
}

/// A register, with or without `0x` before it: kernels differ.
fn hex(text: &str) -> Option<u8> {
    u8::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_life_are_told_by_their_beginning() {
        for (life_time, used) in [
            ("0x01 0x01", Some(0)),
            ("0x01 0x03", Some(200)),
            ("0x09 0x02", Some(800)),
            ("0x0a 0x0A", Some(900)),
            ("0x0b 0x01", Some(1000)),
            ("0x00 0x00", None),
            ("0x00 0x04", Some(300)),
            ("0x0c 0xff", None),
            ("04 01\n", Some(300)),
            ("", None),
            ("what? -1", None),
        ] {
            assert_eq!(registers(life_time, "0x01").used_permille, used, "{life_time:?}");
        }
    }

    #[test]
    fn the_end_of_life_is_told_in_two_stages() {
        for (pre_eol, findings) in [
            ("0x00", vec![]),
            ("0x01", vec![]),
            ("0x02", vec![Finding::SpareWarning]),
            ("0x03", vec![Finding::SpareUrgent]),
            ("03", vec![Finding::SpareUrgent]),
            ("0x04", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(registers("", pre_eol).findings, findings, "{pre_eol:?}");
        }
    }
}
