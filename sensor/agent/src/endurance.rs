//! What the medium can take: from the configuration, from its registers, or by what is usual for its kind.

use std::str::FromStr;

use hindcap_store::wear::Plan;
use hindcap_wire::message::answer::Bytes;
use hindcap_wire::message::{EnduranceSource, MediumKind};

use crate::config::Config;
use crate::medium::{Look, Registers};
use crate::units::Size;

/// `wear.endurance`, smallest and largest: a card of 1 GB that is written once, and more than is made.
const BYTES: std::ops::RangeInclusive<u64> = 1_000_000_000..=1 << 60;
/// Program/erase cycles: below is no flash, above none that is made.
const CYCLES: std::ops::RangeInclusive<u64> = 10..=1_000_000;
/// An endurance below so many times the size is a mistake, most likely the size of the medium.
const TURNS_MIN: u64 = 10;
/// From here on what a medium says of its life is exact enough to derive its endurance: the error is a sixth at most.
const DERIVE_PERMILLE_MIN: u32 = 50;

/// `wear.endurance`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endurance {
    /// What the medium says, else what is usual for its kind.
    Auto,
    /// Bytes written in its life (TBW).
    Bytes(u64),
    /// Program/erase cycles, times its size.
    Cycles(u64),
}

impl Endurance {
    /// What it takes, for messages.
    #[must_use]
    pub fn expected() -> String {
        format!(
            "auto, bytes written in the medium's life (TBW) from {} to {} such as \"70TB\", or program/erase cycles from {} to {} such as \"3000 cycles\"",
            Size(*BYTES.start()),
            Size(*BYTES.end()),
            CYCLES.start(),
            CYCLES.end()
        )
    }
}

impl FromStr for Endurance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let fits = match text.strip_suffix("cycles") {
            Some(cycles) => {
                cycles.trim_end().parse().ok().filter(|cycles| CYCLES.contains(cycles)).map(Self::Cycles)
            }
            None => text
                .parse()
                .ok()
                .map(|Size(bytes)| bytes)
                .filter(|bytes| BYTES.contains(bytes))
                .map(Self::Bytes),
        };
        fits.ok_or_else(|| format!("expected {}", Self::expected()))
    }
}

/// `wear.write_amplification`: bytes that reach the cells per byte written, thousandths; `None`: by the kind of medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amplification(pub Option<u32>);

impl Amplification {
    /// What it takes, for messages.
    pub const EXPECTED: &'static str = "auto, or a factor from 1 to 100 such as \"1.5\"";
}

impl FromStr for Amplification {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self(None));
        }
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let permille = (digits(whole) && digits(fraction) && fraction.len() <= 3).then(|| {
            let fraction = format!("{fraction:0<3}").parse::<u32>().ok()?;
            whole.parse::<u32>().ok()?.checked_mul(1000)?.checked_add(fraction)
        });
        match permille.flatten() {
            Some(permille @ 1_000..=100_000) => Ok(Self(Some(permille))),
            _ => Err(format!("expected {}", Self::EXPECTED)),
        }
    }
}

/// What is usual for a kind of medium, thousandths: bytes that reach the cells per byte that we write.
///
/// Cards and eMMC: segments are whole erase units overwritten in order, which leaves the medium nothing to copy (5 % for
/// its own tables). Drives share their spare blocks with what else is on them, and cells of USB media are managed by
/// the simplest controllers.
const fn amplification(kind: MediumKind) -> u32 {
    match kind {
        MediumKind::Sd | MediumKind::Emmc => 1_050,
        MediumKind::Nvme | MediumKind::SataSsd => 1_200,
        MediumKind::Usb => 1_500,
        MediumKind::Hdd | MediumKind::Virtual | MediumKind::Unknown => 1_050,
    }
}

/// Program/erase cycles that are usual for the cheaper media of a kind; `None` where cells do not wear, or nobody knows.
const fn usual_cycles(kind: MediumKind) -> Option<u64> {
    match kind {
        // Consumer TLC.
        MediumKind::Sd | MediumKind::Usb => Some(1_000),
        // Soldered flash is chosen for it.
        MediumKind::Emmc => Some(3_000),
        // Data sheets promise 600 TB for each TB.
        MediumKind::Nvme | MediumKind::SataSsd => Some(600),
        MediumKind::Hdd | MediumKind::Virtual | MediumKind::Unknown => None,
    }
}

/// What a medium took for the share of its life that it says is used, to the whole. The register is cut to whole percent, so
/// that one more counts as used.
fn derived(registers: &Registers) -> Option<u64> {
    let used = registers.used_permille.filter(|used| *used >= DERIVE_PERMILLE_MIN)?;
    let written = registers.written_bytes.filter(|written| BYTES.contains(written))?;
    u64::try_from(u128::from(written) * 1000 / u128::from(used + 10)).ok()
}

/// What the configuration says of wear.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// What the medium can take.
    pub endurance: Endurance,
    /// What it adds.
    pub amplification: Amplification,
    /// How long it is to last, seconds from the making of the store.
    pub life_secs: u64,
}

impl Terms {
    /// Nothing but what the medium says.
    pub const AUTO: Self =
        Self { endurance: Endurance::Auto, amplification: Amplification(None), life_secs: 5 * 365 * 86_400 };

    /// What the configuration says.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let (endurance, amplification) = (config.endurance, config.write_amplification);
        Self { endurance, amplification, life_secs: config.life.millis() / 1000 }
    }

    /// The plan for the medium in `look`; `None` when nobody knows what it can take.
    #[must_use]
    pub fn plan(&self, look: &Look) -> Option<Plan> {
        let kind = look.medium.kind;
        let times = |cycles: u64| Some(look.medium.size_bytes?.saturating_mul(cycles));
        let inside = self.amplification.0.unwrap_or(amplification(kind));
        let (endurance_bytes, source, write_amplification_permille) = match self.endurance {
            Endurance::Bytes(bytes) => (bytes, EnduranceSource::Configuration, inside),
            Endurance::Cycles(cycles) => (times(cycles)?, EnduranceSource::Cycles, inside),
            Endurance::Auto => match derived(&look.registers) {
                // Both registers count what arrives, so that what the medium adds is in them.
                Some(bytes) => (bytes, EnduranceSource::Registers, 1_000),
                None => (times(usual_cycles(kind)?)?, EnduranceSource::Assumed, inside),
            },
        };
        let enforced = source != EnduranceSource::Assumed;
        Some(Plan {
            endurance_bytes,
            source,
            life_secs: self.life_secs,
            write_amplification_permille,
            enforced,
        })
    }

    /// Whether a write budget may come into force on the medium in `look`: then the recording needs a hand on it.
    #[must_use]
    pub fn may_steer(&self, look: &Look) -> bool {
        self.endurance != Endurance::Auto || self.plan(look).is_some_and(|plan| plan.enforced)
    }

    /// What is odd about the configured endurance for the medium in `look`, for a person.
    #[must_use]
    pub fn doubt(&self, look: &Look) -> Option<String> {
        let size = look.medium.size_bytes?;
        match self.endurance {
            Endurance::Bytes(bytes) if bytes / TURNS_MIN < size => Some(format!(
                "wear.endurance is {}, less than {TURNS_MIN} times the {} of {}: it is bytes written in the medium's whole life, not its size",
                Bytes(bytes),
                Bytes(size),
                look.name()
            )),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::medium::Medium;

    const TB: u64 = 1_000_000_000_000;

    fn card(kind: MediumKind, registers: Registers) -> Look {
        Look { medium: Medium { kind, size_bytes: Some(64_000_000_000), ..Medium::default() }, registers }
    }

    #[test]
    fn an_endurance_is_bytes_or_cycles_and_nothing_senseless() {
        for (text, endurance) in [
            ("auto", Endurance::Auto),
            ("70TB", Endurance::Bytes(70 * TB)),
            ("3000 cycles", Endurance::Cycles(3000)),
            ("10cycles", Endurance::Cycles(10)),
            ("1GB", Endurance::Bytes(1_000_000_000)),
        ] {
            assert_eq!(text.parse(), Ok(endurance), "{text}");
        }
        for text in
            ["", "0B", "999MB", "70", "70 TBW", "9 cycles", "1000001 cycles", "cycles", "-5 cycles", "many"]
        {
            let error = text.parse::<Endurance>().unwrap_err();
            assert!(
                error.contains("auto") && error.contains("cycles") && error.contains("TBW"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn a_factor_is_at_least_one() {
        for (text, permille) in
            [("1", 1_000), ("1.05", 1_050), ("2.5", 2_500), ("100", 100_000), ("1.234", 1_234)]
        {
            assert_eq!(text.parse(), Ok(Amplification(Some(permille))), "{text}");
        }
        assert_eq!("auto".parse(), Ok(Amplification(None)));
        for text in ["", "0.999", "100.001", "1.", ".5", "1.2345", "-1", "1,5", "x", "+2"] {
            assert!(text.parse::<Amplification>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_configured_counts_before_what_is_known_before_what_is_usual() {
        let plan = |endurance, look: &Look| Terms { endurance, ..Terms::AUTO }.plan(look);
        let bare = card(MediumKind::Sd, Registers::default());
        let told = |plan: Option<Plan>| plan.map(|plan| (plan.endurance_bytes, plan.source, plan.enforced));
        let sd = 64_000_000_000;
        assert_eq!(
            told(plan(Endurance::Bytes(7 * TB), &bare)),
            Some((7 * TB, EnduranceSource::Configuration, true))
        );
        assert_eq!(
            told(plan(Endurance::Cycles(300), &bare)),
            Some((300 * sd, EnduranceSource::Cycles, true))
        );
        assert_eq!(told(plan(Endurance::Auto, &bare)), Some((1000 * sd, EnduranceSource::Assumed, false)));
        assert_eq!(plan(Endurance::Auto, &Look::default()), None, "an unknown medium");
        assert_eq!(plan(Endurance::Cycles(300), &Look::default()), None, "cycles of nobody knows what");
        assert!(Terms { endurance: Endurance::Cycles(300), ..Terms::AUTO }.may_steer(&Look::default()));
        assert!(!Terms::AUTO.may_steer(&bare));

        let worn = |used, written| Registers {
            used_permille: Some(used),
            written_bytes: Some(written),
            ..Registers::default()
        };
        let nvme = card(MediumKind::Nvme, worn(190, 20 * TB));
        let derived = plan(Endurance::Auto, &nvme).expect("19 % and 20 TB say 100 TB");
        assert_eq!((derived.endurance_bytes, derived.source), (100 * TB, EnduranceSource::Registers));
        assert_eq!(derived.write_amplification_permille, 1_000, "it is in the registers");
        assert!(Terms::AUTO.may_steer(&nvme));
        let fresh = plan(Endurance::Auto, &card(MediumKind::Nvme, worn(40, 20 * TB))).expect("as usual");
        assert_eq!((fresh.source, fresh.write_amplification_permille), (EnduranceSource::Assumed, 1_200));
    }

    #[test]
    fn the_size_in_the_place_of_the_endurance_is_noticed() {
        let doubt = |bytes| {
            let terms = Terms { endurance: Endurance::Bytes(bytes), ..Terms::AUTO };
            terms.doubt(&card(MediumKind::Sd, Registers::default()))
        };
        assert!(doubt(64_000_000_000).is_some_and(|text| text.contains("not its size")));
        assert!(doubt(639_000_000_000).is_some());
        assert_eq!(doubt(640_000_000_000), None);
        assert_eq!(Terms::AUTO.doubt(&card(MediumKind::Sd, Registers::default())), None);
    }
}
