//! Who writes to a store: asked of the kernel without touching the lock, so that asking never gets in a writer's way.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use hindcap_store::volume::any::Place;
use hindcap_store::volume::dir::LOCK_FILE;

/// The process that holds the lock of the store at `path`, where the kernel tells (`/proc/locks`).
#[must_use]
pub fn holder(path: &Path) -> Option<u32> {
    let file = match Place::parse(path) {
        Place::Dir(path) => path.join(LOCK_FILE),
        Place::Fat(path) => path,
    };
    let metadata = fs::metadata(file).ok()?;
    let locks = fs::read_to_string("/proc/locks").ok()?;
    parse(&locks, metadata.dev(), metadata.ino())
}

/// The pid in `/proc/locks` that holds a lock on inode `ino` of device `dev` (proc_locks(5): the device is
/// MAJOR:MINOR in hexadecimal).
fn parse(locks: &str, dev: u64, ino: u64) -> Option<u32> {
    let (major, minor) = (rustix::fs::major(dev), rustix::fs::minor(dev));
    let file = format!("{major:02x}:{minor:02x}:{ino}");
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // "->" marks one that waits.
        let held = fields.get(1) == Some(&"FLOCK") && fields.get(5) == Some(&file.as_str());
        if held { fields.get(4)?.parse().ok() } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCKS: &str =
        "1: POSIX  ADVISORY  WRITE 12 08:01:77 0 EOF\n2: FLOCK  ADVISORY  WRITE 3456 fd:00:77 0 EOF\n";

    #[test]
    fn the_holder_is_read_from_the_kernels_table() {
        let dev = rustix::fs::makedev(0xfd, 0);
        assert_eq!(parse(LOCKS, dev, 77), Some(3456));
        assert_eq!(parse(LOCKS, dev, 78), None);
        assert_eq!(parse(LOCKS, rustix::fs::makedev(8, 1), 77), None, "not the lock that a store takes");
    }

    #[test]
    fn a_held_lock_is_seen_and_a_released_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        assert_eq!(holder(path), None);
        let lock = hindcap_store::volume::dir::Lock::take(path).unwrap().unwrap();
        assert_eq!(holder(path), Some(std::process::id()));
        drop(lock);
        assert_eq!(holder(path), None);
    }
}
