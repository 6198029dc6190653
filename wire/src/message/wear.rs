//! Wear: what has gone to the medium below the store, what it can take, what it says of itself, how long it lasts.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::answer::Bytes;

/// Longest name, model and serial number of a medium, characters: a status stays below 4 KiB.
pub const MEDIUM_TEXT_MAX: usize = 40;

/// What kind of medium the store lies on. The order is the wire's: append only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediumKind {
    /// Nobody can tell: a network file system, memory, something new.
    #[default]
    Unknown,
    /// An SD card in a slot of its own.
    Sd,
    /// Flash soldered to the board.
    Emmc,
    /// An NVMe drive.
    Nvme,
    /// A flash drive at SATA.
    SataSsd,
    /// A disk that turns.
    Hdd,
    /// Whatever is behind USB: a stick, a card in a reader, a drive in a case.
    Usb,
    /// A disk of a virtual machine, or several disks behind one name: what is below cannot be seen.
    Virtual,
}

impl MediumKind {
    /// Its name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown medium",
            Self::Sd => "SD card",
            Self::Emmc => "eMMC",
            Self::Nvme => "NVMe drive",
            Self::SataSsd => "SATA SSD",
            Self::Hdd => "hard disk",
            Self::Usb => "USB medium",
            Self::Virtual => "virtual disk",
        }
    }
}

/// Who says what a medium can take. The order is the wire's and the state slot's: append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnduranceSource {
    /// The configuration, in bytes.
    Configuration,
    /// The configuration, in program/erase cycles, times the medium's size.
    Cycles,
    /// The medium itself: bytes written so far and the share of its life that they took.
    Registers,
    /// Nobody: what is usual for such a medium. Good for a forecast; nothing is left out for it.
    Assumed,
}

impl EnduranceSource {
    /// For people, after a number of bytes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configured",
            Self::Cycles => "by the configured cycles",
            Self::Registers => "by the medium's own registers",
            Self::Assumed => "assumed: set wear.endurance",
        }
    }
}

/// Whose word on the life used counts: the higher one. The order is the wire's: append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsedBy {
    /// Our own odometer and the endurance.
    Odometer,
    /// The medium's own registers.
    Registers,
}

impl UsedBy {
    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Odometer => "by the bytes written",
            Self::Registers => "by its own registers",
        }
    }
}

/// The medium and what it says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediumStatus {
    /// What kind.
    pub kind: MediumKind,
    /// The kernel's name of the whole disk, such as `mmcblk0`; empty when not known.
    pub name: String,
    /// The maker's name of it; empty when not known.
    pub model: String,
    /// Serial number; empty when not known.
    pub serial: String,
    /// Its size.
    pub size_bytes: Option<u64>,
    /// Life used, thousandths, by its registers; where these go in steps, the beginning of the step. May pass 1000.
    pub used_permille: Option<u32>,
    /// Spare blocks left, percent, by its registers.
    pub spare_percent: Option<u8>,
    /// Bytes written in its life, whoever wrote them, by its registers.
    pub written_bytes: Option<u64>,
    /// Errors of its cells that it could not hide.
    pub media_errors: Option<u64>,
}

/// How long operations took: half were as fast, 99 of a hundred were, all were. Microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencyStatus {
    /// Half took at most so long.
    pub p50: u32,
    /// 99 % took at most so long.
    pub p99: u32,
    /// The longest.
    pub max: u32,
}

/// The write budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetStatus {
    /// Bytes that may be written a day.
    pub bytes_per_day: u64,
    /// Bytes that may be written at once; below zero they are owed.
    pub level_bytes: i64,
    /// The step in force, 0 for everything.
    pub step: u8,
    /// Bytes of each flow that this step records whole; absent: all.
    pub cutoff_bytes: Option<u64>,
}

/// Wear: what has gone to the medium, what it can take, how long it lasts. Totals are since the store was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WearStatus {
    /// Captured bytes that were made durable.
    pub bytes_captured: u64,
    /// Bytes written for them.
    pub bytes_written: u64,
    /// Write requests.
    pub writes: u64,
    /// Of these, below 16 KiB.
    pub small_writes: u64,
    /// Flushes.
    pub flushes: u64,
    /// Writes and flushes that failed.
    pub errors: u64,
    /// How long writes take; absent before the first.
    pub write_micros: Option<LatencyStatus>,
    /// How long flushes take.
    pub flush_micros: Option<LatencyStatus>,
    /// Bytes that reach the cells per byte written, thousandths, as is assumed of such a medium; absent without a plan.
    pub write_amplification_permille: Option<u32>,
    /// Bytes that the cells can take in all.
    pub endurance_bytes: Option<u64>,
    /// Who says so.
    pub endurance_source: Option<EnduranceSource>,
    /// Life used, thousandths, by the odometer or the registers, whichever says more. May pass 1000.
    pub used_permille: Option<u32>,
    /// Whose word that is.
    pub used_by: Option<UsedBy>,
    /// Bytes written a day, over the last seven days or what there is of them.
    pub written_per_day: Option<u64>,
    /// Days of life left at that rate.
    pub days_left: Option<u64>,
    /// The write budget, where one is in force.
    pub budget: Option<BudgetStatus>,
}

impl WearStatus {
    /// Bytes written per byte captured, thousandths; `None` before anything was captured.
    #[must_use]
    pub fn written_per_captured_permille(&self) -> Option<u64> {
        let ratio = (u128::from(self.bytes_written) * 1000).checked_div(self.bytes_captured.into())?;
        Some(u64::try_from(ratio).unwrap_or(u64::MAX))
    }

    /// What a person reads, one fact a line: name and text. Nothing is said that is not known.
    #[must_use]
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = Vec::from([("written", self.written_line())]);
        for (name, latency) in [("writes", self.write_micros), ("flushes", self.flush_micros)] {
            lines.extend(latency.map(|latency| (name, format!("{latency}"))));
        }
        if let (Some(bytes), Some(source)) = (self.endurance_bytes, self.endurance_source) {
            let factor = self.write_amplification_permille.unwrap_or(1000);
            let times = format!("x {}.{:03} inside the medium", factor / 1000, factor % 1000);
            lines.push((
                "endurance",
                format!("{}, {}; each byte written counts {times}", Bytes(bytes), source.name()),
            ));
        }
        if let Some(life) = self.life_line() {
            lines.push(("life", life));
        }
        if let Some(budget) = &self.budget {
            lines.push(("budget", format!("{budget}")));
        }
        lines
    }

    fn written_line(&self) -> String {
        let ratio = self.written_per_captured_permille().map_or_else(String::new, |ratio| {
            format!(", {}.{:03} per byte captured", ratio / 1000, ratio % 1000)
        });
        format!(
            "{}{ratio}; {} requests, {} below 16 KiB, {} flushes",
            Bytes(self.bytes_written),
            self.writes,
            self.small_writes,
            self.flushes
        )
    }

    /// How much of the life is used and what is left at the rate of late.
    fn life_line(&self) -> Option<String> {
        let used = self
            .used_permille
            .zip(self.used_by)
            .map(|(used, by)| format!("{}.{} % used, {}", used / 10, used % 10, by.name()));
        let rate = self.written_per_day.map(|rate| format!("{} a day of late", Bytes(rate)));
        let left = self.days_left.map(|days| format!("{days} days left at this rate"));
        let known: Vec<String> = [used, rate, left].into_iter().flatten().collect();
        (!known.is_empty()).then(|| known.join("; "))
    }
}

impl MediumStatus {
    /// What the registers say, as text; `None` when there are none.
    #[must_use]
    pub fn told(&self) -> Option<String> {
        let used = self.used_permille.map(|used| format!("{}.{} % of its life used", used / 10, used % 10));
        let spare = self.spare_percent.map(|spare| format!("{spare} % of the spare blocks left"));
        let written = self.written_bytes.map(|bytes| format!("{} written in its life", Bytes(bytes)));
        let errors = self.media_errors.map(|errors| format!("{errors} media errors"));
        let known: Vec<String> = [used, spare, written, errors].into_iter().flatten().collect();
        (!known.is_empty()).then(|| known.join(", "))
    }
}

impl fmt::Display for MediumStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        for text in [&self.name, &self.model].into_iter().filter(|text| !text.is_empty()) {
            write!(f, " {text}")?;
        }
        if let Some(bytes) = self.size_bytes {
            write!(f, ", {}", Bytes(bytes))?;
        }
        if self.serial.is_empty() { Ok(()) } else { write!(f, ", serial {}", self.serial) }
    }
}

impl fmt::Display for LatencyStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {} us, p99 {} us, max {} us", self.p50, self.p99, self.max)
    }
}

impl fmt::Display for BudgetStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} a day", Bytes(self.bytes_per_day))?;
        let level = Bytes(self.level_bytes.unsigned_abs());
        if self.level_bytes < 0 {
            write!(f, ", {level} owed")?
        } else {
            write!(f, ", {level} at once")?
        }
        match self.cutoff_bytes {
            Some(bytes) => {
                write!(f, "; step {}: only {} of each flow are recorded whole", self.step, Bytes(bytes))
            }
            None => f.write_str("; nothing is left out for it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_worn_card_is_said_in_words() {
        let medium = MediumStatus {
            kind: MediumKind::Emmc,
            name: "mmcblk2".into(),
            model: "8GTF4R".into(),
            size_bytes: Some(7_818_182_656),
            used_permille: Some(700),
            ..MediumStatus::default()
        };
        let wear = WearStatus {
            bytes_captured: 1_000_000,
            bytes_written: 1_024_000,
            used_permille: Some(850),
            used_by: Some(UsedBy::Odometer),
            written_per_day: Some(1 << 30),
            days_left: Some(74),
            ..WearStatus::default()
        };
        let text = |name: &str| {
            wear.lines().into_iter().find(|line| line.0 == name).map(|line| line.1).unwrap_or_default()
        };
        assert_eq!(medium.to_string(), "eMMC mmcblk2 8GTF4R, 7.3 GiB");
        assert_eq!(medium.told().as_deref(), Some("70.0 % of its life used"));
        assert!(text("written").contains("1.024 per byte captured"), "{}", text("written"));
        assert_eq!(
            text("life"),
            "85.0 % used, by the bytes written; 1.0 GiB a day of late; 74 days left at this rate"
        );
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        let names: Vec<&str> = WearStatus::default().lines().into_iter().map(|line| line.0).collect();
        assert_eq!(names, ["written"]);
        assert_eq!(MediumStatus::default().to_string(), "unknown medium");
        let owed = BudgetStatus {
            level_bytes: -1024,
            step: 2,
            cutoff_bytes: Some(1 << 20),
            ..BudgetStatus::default()
        };
        assert_eq!(
            owed.to_string(),
            "0 B a day, 1.0 KiB owed; step 2: only 1.0 MiB of each flow are recorded whole"
        );
    }
}
