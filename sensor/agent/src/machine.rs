//! What the machine says of itself, from /proc and /sys. Everything that is not there is absent, never guessed.

use std::{fs, io};

use rustix::rand::{GetRandomFlags, getrandom};

use crate::clock::{monotonic_nanos, wall};

/// The kernel's boot identifier; empty where there is none.
#[must_use]
pub fn boot_id() -> String {
    read("/proc/sys/kernel/random/boot_id").trim().to_owned()
}

/// The first 64 bits of the boot identifier; 0 where there is none.
#[must_use]
pub fn boot_number() -> u64 {
    let digits: String = boot_id().chars().filter(char::is_ascii_hexdigit).take(16).collect();
    u64::from_str_radix(&digits, 16).unwrap_or(0)
}

/// `BYTES` random bytes from the kernel, at most 256.
///
/// # Errors
/// It has none to give.
pub fn random<const BYTES: usize>() -> io::Result<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    if getrandom(&mut bytes, GetRandomFlags::empty())? != BYTES {
        return Err(io::Error::other("the system gives no random numbers"));
    }
    Ok(bytes)
}

/// A number for a name or for jitter, from the kernel; from the clocks should it have none to give.
#[must_use]
pub fn random_number() -> u64 {
    random().map_or_else(|_| monotonic_nanos().rotate_left(32) ^ wall().0, u64::from_le_bytes)
}

/// Load average of a minute, hundredths.
#[must_use]
pub fn load_percent() -> Option<u32> {
    hundredths(read("/proc/loadavg").split_whitespace().next()?)
}

/// Resident memory of this process, bytes.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    kib_field(&read("/proc/self/status"), "VmRSS:")
}

/// Memory available on the machine, bytes.
#[must_use]
pub fn available_bytes() -> Option<u64> {
    kib_field(&read("/proc/meminfo"), "MemAvailable:")
}

/// Temperature of the first thermal zone, thousandths of a degree Celsius.
#[must_use]
pub fn temperature_millicelsius() -> Option<i32> {
    read("/sys/class/thermal/thermal_zone0/temp").trim().parse().ok()
}

/// Whether the link of `interface` is up, as far as the kernel says.
#[must_use]
pub fn link_up(interface: &str) -> Option<bool> {
    match read(&format!("/sys/class/net/{interface}/carrier")).trim() {
        "1" => Some(true),
        "0" => Some(false),
        _ => None,
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// `"1.05"` as 105.
fn hundredths(text: &str) -> Option<u32> {
    let (whole, fraction) = text.split_once('.')?;
    let fraction = fraction.get(..2)?.parse::<u32>().ok()?;
    whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(fraction)
}

/// The value of a `Name:   123 kB` line, bytes.
fn kib_field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_the_kernel_writes_them() {
        assert_eq!(hundredths("1.05"), Some(105));
        assert_eq!(hundredths("x"), None);
        assert_eq!(kib_field("MemTotal:  9 kB\nMemAvailable:   12 kB\n", "MemAvailable:"), Some(12_288));
        assert_eq!(kib_field("", "MemAvailable:"), None);
        assert!(resident_bytes().is_some_and(|bytes| bytes > 100_000));
        assert_eq!(link_up("no-such-interface"), None);
    }
}
