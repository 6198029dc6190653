//! What `smartctl --json` says of NVMe and SATA drives (`json_format_version` 1). Keys: smartmontools, `nvmeprint.cpp` and
//! `ataprint.cpp`; registers: NVM Express Base Specification, "SMART / Health Information" (log page 02h); ACS-4, Device
//! Statistics log, page 07h (Solid State Device Statistics) and 01h (General Statistics).

use serde_json::Value;

use super::{Finding, Registers, attributes};

/// NVMe counts what is written in thousands of 512 bytes.
const DATA_UNIT_BYTES: u64 = 512_000;
/// Critical warning bits of log page 02h that have a finding; bit 0 is the spare, which comes with its numbers.
const WARNINGS: [(u64, Finding); 5] = [
    (1 << 1, Finding::Temperature),
    (1 << 2, Finding::Unreliable),
    (1 << 3, Finding::ReadOnly),
    (1 << 4, Finding::PowerProtection),
    (1 << 5, Finding::PowerProtection),
];
const SPARE_WARNING: u64 = 1;

/// The registers in a document of smartctl; `None` when it tells nothing of health.
pub(super) fn registers(document: &str) -> Option<Registers> {
    let document: Value = serde_json::from_str(document).ok()?;
    let mut registers = if document["nvme_smart_health_information_log"].is_object() {
        nvme(&document["nvme_smart_health_information_log"])
    } else {
        ata(&document)
    };
    registers.serial = document["serial_number"].as_str().map(str::to_owned);
    let judged = document["smart_status"]["passed"].as_bool();
    // An NVMe drive fails by its critical warnings alone, which say more.
    if judged == Some(false) && registers.findings.is_empty() {
        registers.findings.push(Finding::Failed);
    }
    let silent = registers == Registers { serial: registers.serial.clone(), ..Registers::default() };
    (judged.is_some() || !silent).then_some(registers)
}

fn percent(value: &Value) -> Option<u8> {
    value.as_u64().and_then(|percent| u8::try_from(percent).ok())
}

fn nvme(log: &Value) -> Registers {
    let warning = log["critical_warning"].as_u64().unwrap_or(0);
    let (spare, threshold) = (percent(&log["available_spare"]), percent(&log["available_spare_threshold"]));
    let mut findings = Vec::new();
    if warning & SPARE_WARNING != 0
        || spare.zip(threshold).is_some_and(|(spare, threshold)| spare < threshold)
    {
        findings.push(Finding::SpareBelow { percent: spare, threshold });
    }
    for (_, finding) in WARNINGS.iter().filter(|(bit, _)| warning & bit != 0) {
        if !findings.contains(finding) {
            findings.push(*finding);
        }
    }
    Registers {
        used_permille: percent(&log["percentage_used"]).map(|used| u32::from(used) * 10),
        spare_percent: spare,
        written_bytes: log["data_units_written"]
            .as_u64()
            .and_then(|units| units.checked_mul(DATA_UNIT_BYTES)),
        media_errors: log["media_errors"].as_u64(),
        findings,
        ..Registers::default()
    }
}

fn ata(document: &Value) -> Registers {
    // Attributes of disks that turn have other meanings under the same numbers.
    if document["rotation_rate"].as_u64().is_some_and(|rate| rate > 0) {
        return Registers::default();
    }
    let none = Vec::new();
    let table = document["ata_smart_attributes"]["table"].as_array().unwrap_or(&none);
    let block = document["logical_block_size"].as_u64().unwrap_or(512);
    let spare = &document["spare_available"];
    let (left, threshold) = (percent(&spare["current_percent"]), percent(&spare["threshold_percent"]));
    let below = left.zip(threshold).is_some_and(|(left, threshold)| left < threshold);
    // The standard first, then what smartctl 7.5 makes of the vendor's attributes, then our own table.
    let used = statistic(document, 7, 8)
        .or_else(|| document["endurance_used"]["current_percent"].as_u64())
        .and_then(|used| u32::try_from(used).ok())
        .or_else(|| attributes::used_percent(table));
    let sectors = statistic(document, 1, 24).and_then(|sectors| sectors.checked_mul(block));
    Registers {
        used_permille: used.map(|used| used.saturating_mul(10)),
        spare_percent: left,
        written_bytes: sectors.or_else(|| attributes::written_bytes(table, block)),
        findings: below.then_some(Finding::SpareBelow { percent: left, threshold }).into_iter().collect(),
        ..Registers::default()
    }
}

/// A statistic of the Device Statistics log that the drive says is valid.
fn statistic(document: &Value, page: u64, offset: u64) -> Option<u64> {
    let pages = document["ata_device_statistics"]["pages"].as_array()?;
    let table = pages.iter().find(|entry| entry["number"] == page)?["table"].as_array()?;
    let row = table.iter().find(|row| row["offset"] == offset && row["flags"]["valid"] != false)?;
    row["value"].as_u64()
}
