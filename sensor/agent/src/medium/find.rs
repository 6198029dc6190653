//! From a path to the disk below it, through sysfs (`Documentation/ABI/testing/sysfs-block` of the kernel).

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use hindcap_store::volume::any::Place;
use hindcap_wire::message::MediumKind;
use rustix::fs::{major, minor};

use super::Medium;

/// Device mapper on device mapper on a loop device on ...: bounds what a strange sysfs can cost.
const LAYERS_MAX: usize = 8;
const SECTOR_BYTES: u64 = 512;
/// Makers of disks that are none.
const VIRTUAL_VENDORS: [&str; 5] = ["QEMU", "VMware", "Msft", "VBOX", "Google"];

/// The disk below the store at `path` (a directory, or `fat:` and a card, partition or image); `sys` is where sysfs is.
/// What cannot be found is an unknown medium.
#[must_use]
pub fn find(path: &Path, sys: &Path) -> Medium {
    let (Place::Dir(path) | Place::Fat(path)) = Place::parse(path);
    device_of(&path).map_or_else(Medium::default, |device| below(device, sys, LAYERS_MAX))
}

/// The device that a file or directory lies on, or that a device node is; of what does not exist yet, that of the
/// directory it will be in.
fn device_of(path: &Path) -> Option<(u32, u32)> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let found = path.ancestors().find_map(|path| {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        fs::metadata(path).ok()
    })?;
    let device = if found.file_type().is_block_device() { found.rdev() } else { found.dev() };
    Some((major(device), minor(device)))
}

/// The whole disk behind a device number.
pub(super) fn below((major, minor): (u32, u32), sys: &Path, layers: usize) -> Medium {
    let entry = sys.join(format!("dev/block/{major}:{minor}"));
    fs::canonicalize(entry).map_or_else(|_| Medium::default(), |directory| whole(&directory, sys, layers))
}

/// The whole disk that the device in `directory` of sysfs is a part of.
fn whole(directory: &Path, sys: &Path, layers: usize) -> Medium {
    let directory = match directory.parent() {
        Some(disk) if directory.join("partition").exists() => disk,
        _ => directory,
    };
    let Some(layers) = layers.checked_sub(1) else { return describe(directory) };
    let image = text(directory, "loop/backing_file");
    if !image.is_empty() {
        return device_of(Path::new(&image))
            .map_or_else(|| describe(directory), |device| below(device, sys, layers));
    }
    match &slaves(directory)[..] {
        [one] => whole(one, sys, layers),
        _ => describe(directory),
    }
}

/// The devices that this one is made of.
fn slaves(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory.join("slaves")) else { return Vec::new() };
    entries.filter_map(|entry| fs::canonicalize(entry.ok()?.path()).ok()).collect()
}

fn describe(directory: &Path) -> Medium {
    let name = directory.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let kind = kind(&name, directory);
    let device = directory.join("device");
    let model =
        text(&device, if kind == MediumKind::Sd || kind == MediumKind::Emmc { "name" } else { "model" });
    let vendor = text(&device, "vendor");
    let says_more =
        kind != MediumKind::Virtual && !matches!(vendor.as_str(), "" | "ATA") && !vendor.starts_with("0x");
    Medium {
        kind,
        name,
        model: if says_more { format!("{vendor} {model}").trim().to_owned() } else { model },
        serial: text(&device, "serial"),
        size_bytes: number(directory, "size")
            .map(|sectors| sectors.saturating_mul(SECTOR_BYTES))
            .filter(|size| *size > 0),
        erase_bytes: number(&device, "preferred_erase_size").filter(|bytes| *bytes > 0),
        read_only: text(directory, "ro") == "1",
        directory: directory.to_owned(),
    }
}

fn kind(name: &str, directory: &Path) -> MediumKind {
    let whole = directory.to_string_lossy();
    if whole.contains("/virtual/") || whole.contains("/virtio") || name.starts_with("xvd") {
        return MediumKind::Virtual;
    }
    if name.starts_with("mmcblk") {
        return match text(&directory.join("device"), "type").as_str() {
            "SD" => MediumKind::Sd,
            "MMC" => MediumKind::Emmc,
            _ => MediumKind::Unknown,
        };
    }
    if name.starts_with("nvme") {
        return MediumKind::Nvme;
    }
    let vendor = text(&directory.join("device"), "vendor");
    match (text(directory, "queue/rotational").as_str(), name.starts_with("sd")) {
        (_, false) => MediumKind::Unknown,
        _ if VIRTUAL_VENDORS.contains(&vendor.as_str()) => MediumKind::Virtual,
        _ if whole.contains("/usb") => MediumKind::Usb,
        ("1", true) => MediumKind::Hdd,
        ("0", true) => MediumKind::SataSsd,
        _ => MediumKind::Unknown,
    }
}

/// The attribute `name`, without white space around it; empty when it is not there.
pub(super) fn text(directory: &Path, name: &str) -> String {
    fs::read_to_string(directory.join(name)).unwrap_or_default().trim().to_owned()
}

fn number(directory: &Path, name: &str) -> Option<u64> {
    text(directory, name).parse().ok()
}
