//! The medium below the store: which disk it is, and what its health registers say.
//!
//! - [`find`]: from the store's path to the whole disk, through partitions, device mapper and image files, in sysfs.
//! - [`Registers`]: what a medium says of itself. Each way to read them is a [`ReadRegisters`]: [`emmc`] from sysfs,
//!   [`Smartctl`] for NVMe and SATA. SD cards have no such register; the odometer is all there is.
//! - [`MediumWatch`]: a thread of its own that looks at the start and every ten minutes.
//!
//! A medium that does not answer is unknown, never an error, and nobody waits for it: not the capture thread, not the
//! writer, and the main thread at most [`FIRST_LOOK`] at the start.

mod attributes;
pub mod emmc;
pub mod find;
mod smart;
mod smartctl;
#[cfg(test)]
pub(crate) mod tests;
mod watch;

use std::path::{Path, PathBuf};
use std::time::Duration;

use hindcap_wire::message::wear::MEDIUM_TEXT_MAX;
use hindcap_wire::message::{MediumKind, MediumStatus, Severity};

use crate::alarms::code;

pub use emmc::Emmc;
pub use smartctl::Smartctl;
pub use watch::MediumWatch;

/// Where the kernel describes its devices.
pub const SYS: &str = "/sys";
/// How long a start, or `hindcapd status`, waits for the first look.
pub const FIRST_LOOK: Duration = Duration::from_millis(1_500);

/// A whole disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Medium {
    /// What kind.
    pub kind: MediumKind,
    /// The kernel's name, such as `mmcblk0`; empty when not known.
    pub name: String,
    /// The maker's name; empty when not known.
    pub model: String,
    /// Serial number; empty when not known.
    pub serial: String,
    /// Size.
    pub size_bytes: Option<u64>,
    /// What it erases at once: of an SD card the allocation unit.
    pub erase_bytes: Option<u64>,
    /// The kernel does not let it be written.
    pub read_only: bool,
    /// Its directory in sysfs; empty when there is none.
    pub directory: PathBuf,
}

/// Something that a medium says is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// 80 % of the spare blocks are used (eMMC `PRE_EOL_INFO` 0x02).
    SpareWarning,
    /// 90 % of the spare blocks are used (eMMC `PRE_EOL_INFO` 0x03).
    SpareUrgent,
    /// Fewer spare blocks are left than its maker's threshold, percent; the threshold where it is told.
    SpareBelow {
        /// What is left.
        percent: Option<u8>,
        /// What should be left.
        threshold: Option<u8>,
    },
    /// It has become read-only.
    ReadOnly,
    /// It says that it cannot be relied on: many media errors (NVMe critical warning, bit 2).
    Unreliable,
    /// It is too hot or too cold.
    Temperature,
    /// Its protection against power cuts has failed (NVMe critical warning, bits 4 and 5).
    PowerProtection,
    /// Its own overall judgement is "failed".
    Failed,
}

impl Finding {
    /// The code of its alarm.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::SpareWarning | Self::SpareUrgent | Self::SpareBelow { .. } => code::MEDIUM_SPARE,
            _ => code::MEDIUM_HEALTH,
        }
    }

    /// How bad it is.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::Temperature => Severity::Warn,
            _ => Severity::Critical,
        }
    }

    /// What it means for the recording.
    #[must_use]
    pub fn text(self) -> String {
        match self {
            Self::SpareWarning => "has used 80 % of its spare blocks: its end of life is near".to_owned(),
            Self::SpareUrgent => {
                "has used 90 % of its spare blocks: it may become read-only any day".to_owned()
            }
            Self::SpareBelow { percent: Some(percent), threshold: Some(threshold) } => {
                format!("has {percent} % of its spare blocks left, its maker wants {threshold} %")
            }
            Self::SpareBelow { .. } => "has fewer spare blocks left than its maker wants".to_owned(),
            Self::ReadOnly => "is read-only: nothing is recorded to it".to_owned(),
            Self::Unreliable => "says that it cannot be relied on any more".to_owned(),
            Self::Temperature => "is outside its range of temperature: it slows down and ages".to_owned(),
            Self::PowerProtection => "has lost its protection against power cuts".to_owned(),
            Self::Failed => "judges itself as failing".to_owned(),
        }
    }

    /// What to do.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::SpareWarning => "order a replacement and plan the change",
            Self::Temperature => "look at fans, airflow and the room",
            Self::ReadOnly => "extract what is needed (reading works) and replace it",
            _ => "extract what matters and replace it now",
        }
    }
}

/// What a medium says of itself. Everything that it does not say is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// Life used, thousandths; where it goes in steps, the beginning of the step. May pass 1000.
    pub used_permille: Option<u32>,
    /// Spare blocks left, percent.
    pub spare_percent: Option<u8>,
    /// Bytes written in its life.
    pub written_bytes: Option<u64>,
    /// Errors that it could not hide.
    pub media_errors: Option<u64>,
    /// Serial number, where sysfs does not tell.
    pub serial: Option<String>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// One way to read the registers of media. The real ones are [`Emmc`] and [`Smartctl`].
pub trait ReadRegisters: Send {
    /// What `medium` says; `None` when it does not answer, or not to this.
    fn read(&self, medium: &Medium) -> Option<Registers>;
}

/// A medium and its registers, as they were when somebody looked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// The disk.
    pub medium: Medium,
    /// What it says.
    pub registers: Registers,
}

/// The ways that there are on a real machine.
#[must_use]
pub fn readers() -> Vec<Box<dyn ReadRegisters>> {
    vec![Box::new(Emmc), Box::new(Smartctl::default())]
}

/// Looks once at the medium below the store at `path`. Takes as long as its slowest register.
#[must_use]
pub fn look(path: &Path, sys: &Path, readers: &[Box<dyn ReadRegisters>]) -> Look {
    let mut medium = find::find(path, sys);
    let registers = readers.iter().find_map(|reader| reader.read(&medium)).unwrap_or_default();
    if let (true, Some(serial)) = (medium.serial.is_empty(), &registers.serial) {
        medium.serial.clone_from(serial);
    }
    Look { medium, registers }
}

impl Look {
    /// Everything that is wrong, the kernel's word included.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = self.registers.findings.clone();
        if self.medium.read_only && !findings.contains(&Finding::ReadOnly) {
            findings.push(Finding::ReadOnly);
        }
        findings
    }

    /// For the status.
    #[must_use]
    pub fn status(&self) -> MediumStatus {
        let short = |text: &str| text.chars().take(MEDIUM_TEXT_MAX).collect();
        MediumStatus {
            kind: self.medium.kind,
            name: short(&self.medium.name),
            model: short(&self.medium.model),
            serial: short(&self.medium.serial),
            size_bytes: self.medium.size_bytes,
            used_permille: self.registers.used_permille,
            spare_percent: self.registers.spare_percent,
            written_bytes: self.registers.written_bytes,
            media_errors: self.registers.media_errors,
        }
    }

    /// `SD card mmcblk0 SC64G`, for alarms.
    #[must_use]
    pub fn name(&self) -> String {
        let Medium { kind, name, model, .. } = &self.medium;
        [kind.name(), name.as_str(), model.as_str()]
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    }
}
