//! SMART attributes of SATA flash drives that tell life and bytes written. There is no standard: numbers and meaning differ
//! by vendor, and the names are those that smartmontools' drive database gives them, so that a number counts only under
//! its name (233 is wear at Intel, gigabytes at Phison and nothing at SandForce).
//!
//! Source: `drivedb.h` of smartmontools 7.3, and for where the value stands the vendors' documents named there.

use serde_json::Value;

/// Where an attribute has its percentage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    /// In the normalised value, which counts down from 100.
    Value,
    /// In the raw value, which is the percentage left.
    Raw,
}

/// What is left of life, the most dependable first: (number, names, where).
const LIFE_LEFT: &[(u64, &[&str], Where)] = &[
    // Phison, SandForce, Kingston; Micron M600 OEM.
    (
        231,
        &[
            "SSD_Life_Left",
            "SSD_Life_Left_Perc",
            "Lifetime_Left",
            "Percent_Lifetime_Remain",
            "Perc_Rated_Life_Remain",
        ],
        Where::Value,
    ),
    // Crucial and Micron: the value is what is left, whatever the name; the raw value is what is used.
    (202, &["Percent_Lifetime_Remain", "Percent_Lifetime_Used", "Perc_Rated_Life_Used"], Where::Value),
    // Intel.
    (233, &["Media_Wearout_Indicator", "Remaining_Lifetime_Perc"], Where::Value),
    // Silicon Motion; Indilinx.
    (169, &["Remaining_Lifetime_Perc", "Lifetime_Remaining%"], Where::Raw),
    (209, &["Remaining_Lifetime_Perc"], Where::Raw),
    // Samsung; Smart Modular.
    (177, &["Wear_Leveling_Count", "Lifetime_Remaining%", "DriveLife_Remaining%"], Where::Value),
    // Micron and others: from the mean erase count.
    (173, &["Ave_Block-Erase_Count", "Wear_Leveling_Count"], Where::Value),
];

/// What is written is counted in these units: (number, name, bytes; 0: logical blocks).
const WRITTEN: &[(u64, &str, u64)] = &[
    (241, "Total_LBAs_Written", 0),
    (241, "Host_Writes_32MiB", 32 << 20),
    (241, "Lifetime_Writes_GiB", 1 << 30),
    (241, "Host_Writes_GiB", 1 << 30),
    (241, "Total_Writes_GiB", 1 << 30),
    (241, "Lifetime_Wts_Frm_Hst_GB", 1_000_000_000),
    (241, "Total_Writes_GB", 1_000_000_000),
    (246, "Total_LBAs_Written", 0),
];

fn named<'a>(table: &'a [Value], id: u64, names: &[&str]) -> Option<&'a Value> {
    let name = |row: &Value| row["name"].as_str().is_some_and(|name| names.contains(&name));
    table.iter().find(|row| row["id"] == id && name(row))
}

/// Percent of life used.
pub(super) fn used_percent(table: &[Value]) -> Option<u32> {
    LIFE_LEFT.iter().find_map(|(id, names, place)| {
        let row = named(table, *id, names)?;
        let left = match place {
            Where::Value => row["value"].as_u64(),
            Where::Raw => row["raw"]["value"].as_u64(),
        };
        // Some drives start at 200, or with a value that nothing has been put into yet.
        let left = u32::try_from(left?).ok().filter(|left| *left <= 100)?;
        Some(100 - left)
    })
}

/// Bytes written in the drive's life; `block` is the size of its logical blocks.
pub(super) fn written_bytes(table: &[Value], block: u64) -> Option<u64> {
    WRITTEN.iter().find_map(|(id, name, unit)| {
        let count = named(table, *id, &[name])?["raw"]["value"].as_u64()?;
        count.checked_mul(if *unit == 0 { block } else { *unit })
    })
}
