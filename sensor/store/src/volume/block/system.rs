//! What the system tells of a block device: its shape, and where it is mounted.

use std::fs;
use std::path::{Path, PathBuf};

use super::SECTOR_BYTES;

/// Where it tells it.
pub(super) const SYS_BLOCK: &str = "/sys/class/block";

/// What sysfs tells of a block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub logical: u32,
    pub erase_bytes: u32,
    pub whole_disk: bool,
    pub start: u64,
}

impl Facts {
    pub fn of(sys: &Path, device: &Path) -> Self {
        let name = device.file_name().unwrap_or_default();
        // A partition's directory lies in its disk's.
        let own = fs::canonicalize(sys.join(name)).unwrap_or_else(|_| sys.join(name));
        let partition = own.join("partition").exists();
        let disk = if partition { own.parent().unwrap_or(&own) } else { &own };
        let number = |path: PathBuf| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
        let fits = |number: Option<u64>| number.and_then(|number| u32::try_from(number).ok());
        let loops = name.to_string_lossy().starts_with("loop");
        Self {
            logical: fits(number(disk.join("queue/logical_block_size"))).unwrap_or(SECTOR_BYTES as u32),
            erase_bytes: fits(number(disk.join("device/preferred_erase_size"))).unwrap_or(0),
            whole_disk: !partition && !loops,
            start: if partition { number(own.join("start")).unwrap_or(0) } else { 0 },
        }
    }
}

/// The erase unit that sysfs names for a device at `path`; `sys` is `/sys/class/block`. For tests and messages.
#[must_use]
pub fn erase_bytes_of(sys: &Path, path: &Path) -> Option<u32> {
    Some(Facts::of(sys, path).erase_bytes).filter(|bytes| *bytes > 0)
}

/// Where a device, one of its partitions, or an image behind a loop device is mounted.
pub(super) fn mounted_at(device: &Path, mounts: &Path, sys: &Path) -> Option<String> {
    let mut names = vec![device.to_path_buf()];
    for entry in fs::read_dir(sys).into_iter().flatten().flatten() {
        let backing = fs::read_to_string(entry.path().join("loop/backing_file"));
        if backing.is_ok_and(|backing| Path::new(backing.trim_end()) == device) {
            names.push(Path::new("/dev").join(entry.file_name()));
        }
    }
    let mounts = fs::read_to_string(mounts).ok()?;
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (source, at) = (fields.next()?, fields.next()?);
        names.iter().any(|name| is_of(source, name)).then(|| at.replace("\\040", " "))
    })
}

/// Whether `source` is `device` or a partition of it: sda1 of sda, mmcblk0p1 of mmcblk0.
fn is_of(source: &str, device: &Path) -> bool {
    let device = device.to_string_lossy();
    source.strip_prefix(&*device).is_some_and(|rest| {
        let separator = if device.ends_with(|last: char| last.is_ascii_digit()) { "p" } else { "" };
        let digits = rest.strip_prefix(separator).unwrap_or_default();
        rest.is_empty() || (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_come_from_the_disk_of_a_partition() {
        let sys = tempfile::tempdir().unwrap();
        let disk = sys.path().join("devices/mmcblk0");
        let part = disk.join("mmcblk0p1");
        for dir in [disk.join("queue"), disk.join("device"), part.clone()] {
            fs::create_dir_all(dir).unwrap();
        }
        fs::write(disk.join("queue/logical_block_size"), "512\n").unwrap();
        fs::write(disk.join("device/preferred_erase_size"), "16777216\n").unwrap();
        fs::write(part.join("partition"), "1\n").unwrap();
        fs::write(part.join("start"), "8192\n").unwrap();
        let class = sys.path().join("class");
        fs::create_dir(&class).unwrap();
        for (name, target) in [("mmcblk0", &disk), ("mmcblk0p1", &part)] {
            std::os::unix::fs::symlink(target, class.join(name)).unwrap();
        }
        let of = |name: &str| Facts::of(&class, &Path::new("/dev").join(name));
        let whole = Facts { logical: 512, erase_bytes: 16 << 20, whole_disk: true, start: 0 };
        assert_eq!(of("mmcblk0"), whole);
        assert_eq!(of("mmcblk0p1"), Facts { whole_disk: false, start: 8192, ..whole });
    }

    #[test]
    fn mounts_of_partitions_and_loops_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let (mounts, sys) = (dir.path().join("mounts"), dir.path().join("block"));
        fs::create_dir_all(sys.join("loop7/loop")).unwrap();
        fs::write(sys.join("loop7/loop/backing_file"), "/home/a/card.img\n").unwrap();
        fs::write(&mounts, "/dev/mmcblk0p1 /media/my\\040card vfat rw 0 0\n/dev/loop7 /mnt vfat rw 0 0\n")
            .unwrap();
        let at = |device: &str| mounted_at(Path::new(device), &mounts, &sys);
        assert_eq!(at("/dev/mmcblk0").as_deref(), Some("/media/my card"));
        assert_eq!(at("/dev/mmcblk0p1").as_deref(), Some("/media/my card"));
        assert_eq!(at("/home/a/card.img").as_deref(), Some("/mnt"));
        assert_eq!((at("/dev/mmcblk1"), at("/dev/mmcblk")), (None, None));
        assert!(is_of("/dev/sda1", Path::new("/dev/sda")) && !is_of("/dev/loop71", Path::new("/dev/loop7")));
    }
}
