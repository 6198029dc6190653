//! What the kernel says of an interface, from `/sys/class/net/<interface>/`
//! (Documentation/ABI/testing/sysfs-class-net).
//!
//! A carrier that is lost does not wake a capture, and libpcap tells of an interface that is taken down only in
//! passing; so the link is looked at now and then as well.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// A look by path finds what a look at open files misses: an interface that was moved or renamed. Every so many.
const LOOKS_PER_PATH_LOOK: u8 = 4;

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
    /// What an interface that is up is looked at through, between two looks by path: following six paths four times a
    /// second costs more than the packets of a quiet link.
    up: Option<Up>,
}

/// An interface that was up at the last look.
#[derive(Debug)]
struct Up {
    flags: (File, Value),
    /// Counts every loss and return of the carrier.
    carrier_changes: (File, Value),
    facts: Facts,
    looks_left: u8,
}

impl LinkWatch {
    /// A watch over `interface`, which must be a plain name.
    pub(crate) fn new(interface: &str) -> Self {
        let directory = PathBuf::from("/sys/class/net").join(interface);
        Self { seen: directory.is_dir(), directory, up: None }
    }

    /// Whether the interface is in sysfs at all.
    pub(crate) fn exists(&self) -> bool {
        self.directory.is_dir()
    }

    /// The state now.
    pub(crate) fn look(&mut self) -> Link {
        if let Some(up) = &mut self.up {
            up.looks_left = up.looks_left.saturating_sub(1);
            if up.looks_left > 0 && is_as(&up.flags) && is_as(&up.carrier_changes) {
                return Link::Up(up.facts);
            }
        }
        let link = self.look_by_path();
        self.up = match link {
            Link::Up(facts) => self.open_up(facts),
            _ => None,
        };
        link
    }

    fn open_up(&self, facts: Facts) -> Option<Up> {
        let open = |name| {
            let file = File::open(self.directory.join(name)).ok()?;
            let value = Value::read(|bytes| file.read_at(bytes, 0))?;
            Some((file, value))
        };
        let (flags, carrier_changes) = (open("flags")?, open("carrier_changes")?);
        // What changed since the look by path is seen by the next.
        let same = carrier_changes.1.text().parse() == Ok(facts.carrier_changes)
            && flags.1.hex().is_some_and(|flags| flags & 1 == 1);
        same.then_some(Up { flags, carrier_changes, facts, looks_left: LOOKS_PER_PATH_LOOK })
    }

    fn look_by_path(&mut self) -> Link {
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
        Value::read(|bytes| File::open(self.directory.join(name))?.read(bytes))
    }
}

/// Whether an open file still says what it said.
fn is_as((file, value): &(File, Value)) -> bool {
    Value::read(|bytes| file.read_at(bytes, 0)).is_some_and(|now| now.text() == value.text())
}

/// The content of a sysfs file: short.
#[derive(Debug)]
struct Value {
    bytes: [u8; 32],
    len: usize,
}

impl Value {
    fn read(read: impl FnOnce(&mut [u8]) -> std::io::Result<usize>) -> Option<Self> {
        let mut bytes = [0; 32];
        let len = read(&mut bytes).ok()?;
        Some(Self { bytes, len })
    }

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
        let watch = LinkWatch { directory: directory.path().into(), seen: false, up: None };
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

    #[test]
    fn what_changes_while_up_is_seen() {
        let up = [("flags", "0x1003\n"), ("carrier", "1\n"), ("operstate", "up\n")];
        let numbers = [("ifindex", "7\n"), ("carrier_changes", "3\n"), ("mtu", "1500\n")];
        let facts = Facts { ifindex: 7, carrier_changes: 3, mtu: 1500 };
        let set = |directory: &tempfile::TempDir, name: &str, text: &str| {
            std::fs::write(directory.path().join(name), text).unwrap();
        };
        // At the next look: what the open files tell.
        let (directory, mut watch) = watch(&[&up[..], &numbers].concat());
        assert_eq!((watch.look(), watch.look()), (Link::Up(facts), Link::Up(facts)));
        set(&directory, "flags", "0x1002\n");
        assert_eq!(watch.look(), Link::Down);
        set(&directory, "flags", "0x1003\n");
        assert_eq!(watch.look(), Link::Up(facts));
        set(&directory, "carrier_changes", "5\n");
        assert_eq!(watch.look(), Link::Up(Facts { carrier_changes: 5, ..facts }));
        // After some looks: what only a path tells.
        std::fs::rename(directory.path().join("flags"), directory.path().join("away")).unwrap();
        let looks: Vec<Link> = (0..LOOKS_PER_PATH_LOOK).map(|_| watch.look()).collect();
        assert_eq!(looks.last(), Some(&Link::Gone), "{looks:?}");
    }
}
