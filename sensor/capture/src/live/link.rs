//! What the kernel says of an interface, from `/sys/class/net/<interface>/`
//! (Documentation/ABI/testing/sysfs-class-net).
//!
//! A carrier that is lost does not wake a capture, and libpcap tells of an interface that is taken down only in
//! passing; so the link is looked at now and then as well.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

/// State of an interface at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// There, up and with a carrier.
    Up(Facts),
    /// There, but down or without a carrier.
    Down,
    /// Not there.
    Gone,
    /// It cannot be said: no sysfs, or that of another network namespace.
    Unknown,
}

/// What tells two spells of the same name apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Number of the interface; another one means that it was made anew.
    pub(crate) ifindex: u64,
    /// How often the carrier changed; finds losses between two looks.
    pub(crate) carrier_changes: u64,
    /// Largest payload it sends.
    pub(crate) mtu: u64,
}

/// Looks at one interface.
#[derive(Debug)]
pub(crate) struct LinkWatch {
    directory: PathBuf,
    /// Whether sysfs ever showed it; if not, its absence there means nothing.
    seen: bool,
}

impl LinkWatch {
    /// A watch over `interface`, which must be a plain name.
    pub(crate) fn new(interface: &str) -> Self {
        let directory = PathBuf::from("/sys/class/net").join(interface);
        Self { seen: directory.is_dir(), directory }
    }

    /// Whether the interface is in sysfs at all.
    pub(crate) fn exists(&self) -> bool {
        self.directory.is_dir()
    }

    /// The state now.
    pub(crate) fn look(&mut self) -> Link {
        let Some(flags) = self.read("flags") else {
            return if self.seen { Link::Gone } else { Link::Unknown };
        };
        self.seen = true;
        let up = flags.hex().is_some_and(|flags| flags & 1 == 1); // IFF_UP
        // `carrier` cannot be read while the interface is down.
        let carrier = self.read("carrier").is_some_and(|carrier| carrier.text() == "1");
        let lower_up = self
            .read("operstate")
            .is_none_or(|state| !matches!(state.text(), "down" | "lowerlayerdown" | "notpresent"));
        if !(up && carrier && lower_up) {
            return Link::Down;
        }
        let number = |name| self.read(name).and_then(|value| value.text().parse().ok()).unwrap_or(0);
        let (ifindex, carrier_changes, mtu) = (number("ifindex"), number("carrier_changes"), number("mtu"));
        Link::Up(Facts { ifindex, carrier_changes, mtu })
    }

    fn read(&self, name: &str) -> Option<Value> {
        let mut value = Value { bytes: [0; 32], len: 0 };
        value.len = File::open(self.directory.join(name)).ok()?.read(&mut value.bytes).ok()?;
        Some(value)
    }
}

/// The content of a sysfs file: short.
struct Value {
    bytes: [u8; 32],
    len: usize,
}

impl Value {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default().trim()
    }

    fn hex(&self) -> Option<u64> {
        u64::from_str_radix(self.text().strip_prefix("0x")?, 16).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A watch over a made-up interface with these files.
    fn watch(files: &[(&str, &str)]) -> (tempfile::TempDir, LinkWatch) {
        let directory = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(directory.path().join(name), content).unwrap();
        }
        let watch = LinkWatch { directory: directory.path().into(), seen: false };
        (directory, watch)
    }

    #[test]
    fn up_needs_flag_carrier_and_operstate() {
        let numbers = [("ifindex", "7\n"), ("carrier_changes", "3\n"), ("mtu", "1500\n")];
        let up = Link::Up(Facts { ifindex: 7, carrier_changes: 3, mtu: 1500 });
        for (flags, carrier, operstate, expected) in [
            ("0x1003\n", "1\n", "up\n", up),
            ("0x9\n", "1\n", "unknown\n", up),
            ("0x1003\n", "0\n", "down\n", Link::Down),
            ("0x1003\n", "1\n", "lowerlayerdown\n", Link::Down),
            ("0x1002\n", "1\n", "up\n", Link::Down),
            ("0x1003\n", "", "up\n", Link::Down),
        ] {
            let files = [("flags", flags), ("carrier", carrier), ("operstate", operstate)];
            let (_directory, mut watch) = watch(&[&files[..], &numbers].concat());
            assert_eq!(watch.look(), expected, "{flags:?} {carrier:?} {operstate:?}");
        }
    }

    #[test]
    fn absence_counts_only_after_presence() {
        let (directory, mut watch) = watch(&[("flags", "0x1003\n")]);
        std::fs::rename(directory.path().join("flags"), directory.path().join("away")).unwrap();
        assert_eq!(watch.look(), Link::Unknown);
        std::fs::rename(directory.path().join("away"), directory.path().join("flags")).unwrap();
        assert_eq!(watch.look(), Link::Down);
        std::fs::remove_file(directory.path().join("flags")).unwrap();
        assert_eq!(watch.look(), Link::Gone);
    }
}
