//! Address blocks and link-layer addresses: their text forms, and serde by text so that messages read well in JSON.

use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::flow::{AddrBytes, addr_bytes};

/// An address block; a single host has the full prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IpNet {
    addr: IpAddr,
    prefix: u8,
}

impl IpNet {
    /// The block of one address.
    #[must_use]
    pub const fn host(addr: IpAddr) -> Self {
        Self { addr, prefix: if addr.is_ipv4() { 32 } else { 128 } }
    }

    /// The block of `prefix` bits that holds `addr`; host bits are cleared. `None` when the prefix is too long.
    #[must_use]
    pub fn new(addr: IpAddr, prefix: u8) -> Option<Self> {
        match addr {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32_u32.checked_sub(prefix.into())?).unwrap_or(0);
                Some(Self { addr: IpAddr::V4((v4.to_bits() & mask).into()), prefix })
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128_u32.checked_sub(prefix.into())?).unwrap_or(0);
                Some(Self { addr: IpAddr::V6((v6.to_bits() & mask).into()), prefix })
            }
        }
    }

    /// Network address.
    #[must_use]
    pub const fn addr(&self) -> IpAddr {
        self.addr
    }

    /// Prefix length, 0..=32 or 0..=128.
    #[must_use]
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether the block is a single address.
    #[must_use]
    pub const fn is_host(&self) -> bool {
        self.prefix == if self.addr.is_ipv4() { 32 } else { 128 }
    }

    /// Whether an address of IP `version` in its 16-byte form lies inside.
    #[must_use]
    pub fn contains(&self, bytes: AddrBytes, version: u8) -> bool {
        let (own, skip) = if self.addr.is_ipv4() { (4, 96) } else { (6, 0) };
        if own != version {
            return false;
        }
        let shift = 128 - (skip + u32::from(self.prefix));
        let differing = u128::from_be_bytes(bytes) ^ u128::from_be_bytes(addr_bytes(self.addr));
        differing.checked_shr(shift).unwrap_or(0) == 0
    }

    /// Whether the two blocks have an address in common: one lies in the other.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let (wide, narrow) = if self.prefix <= other.prefix { (self, other) } else { (other, self) };
        wide.contains(addr_bytes(narrow.addr), if narrow.addr.is_ipv4() { 4 } else { 6 })
    }
}

impl fmt::Display for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_host() { self.addr.fmt(f) } else { write!(f, "{}/{}", self.addr, self.prefix) }
    }
}

/// A text that is not an address, a block or a MAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseNetError {
    expected: &'static str,
}

impl fmt::Display for ParseNetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}", self.expected)
    }
}

impl core::error::Error for ParseNetError {}

impl FromStr for IpNet {
    type Err = ParseNetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let err = ParseNetError { expected: "an IPv4 or IPv6 address, or a block such as 192.0.2.0/24" };
        let (addr, prefix) = match text.split_once('/') {
            Some((addr, prefix)) => (addr, Some(prefix.parse().map_err(|_| err)?)),
            None => (text, None),
        };
        let addr: IpAddr = addr.parse().map_err(|_| err)?;
        prefix.map_or(Ok(Self::host(addr)), |prefix| Self::new(addr, prefix).ok_or(err))
    }
}

/// A link-layer address (EUI-48).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddr(pub [u8; 6]);

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for MacAddr {
    type Err = ParseNetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let err = ParseNetError { expected: "a MAC address such as 02:00:5e:10:00:01" };
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or(err)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| err)?;
        }
        if parts.next().is_some() { Err(err) } else { Ok(Self(bytes)) }
    }
}

/// Serde by the text form.
macro_rules! serde_by_text {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = alloc::string::String::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

serde_by_text!(IpNet);
serde_by_text!(MacAddr);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_contain_by_version_and_prefix() {
        let inside = |net: &str, addr: &str| {
            let (net, addr): (IpNet, IpAddr) = (net.parse().unwrap(), addr.parse().unwrap());
            net.contains(addr_bytes(addr), if addr.is_ipv4() { 4 } else { 6 })
        };
        assert!(inside("10.1.2.3/8", "10.255.0.1") && !inside("10.0.0.0/8", "11.0.0.1"));
        assert!(inside("0.0.0.0/0", "203.0.113.9") && !inside("0.0.0.0/0", "::ffff:203.0.113.9"));
        assert!(inside("::/0", "2001:db8::1") && inside("2001:db8::/33", "2001:db8:7fff::1"));
        assert!(!inside("2001:db8::/33", "2001:db8:8000::1") && !inside("192.0.2.1", "192.0.2.2"));
    }

    #[test]
    fn blocks_overlap_when_one_lies_in_the_other() {
        let overlap = |a: &str, b: &str| {
            let (a, b): (IpNet, IpNet) = (a.parse().unwrap(), b.parse().unwrap());
            assert_eq!(a.overlaps(&b), b.overlaps(&a));
            a.overlaps(&b)
        };
        assert!(overlap("10.1.0.0/16", "10.0.0.0/8") && overlap("10.1.2.3", "10.1.0.0/16"));
        assert!(!overlap("10.1.0.0/16", "10.2.0.0/16") && !overlap("0.0.0.0/0", "::/0"));
        assert!(overlap("::/0", "2001:db8::1") && overlap("192.0.2.1", "192.0.2.1"));
    }

    #[test]
    fn text_forms_round_trip_and_reject() {
        for text in ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "::1"] {
            assert_eq!(text.parse::<IpNet>().unwrap().to_string(), text);
        }
        for text in ["", "10.0.0.0/33", "999.1.1.1", "::/129", "10.0.0.0/", "host"] {
            assert!(text.parse::<IpNet>().is_err(), "{text}");
        }
        assert_eq!("02-00-5E-10-00-01".parse::<MacAddr>().unwrap().to_string(), "02:00:5e:10:00:01");
        for text in ["", "02:00:5e:10:00", "02:00:5e:10:00:01:02", "2:0:5e:10:0:1", "zz:00:5e:10:00:01"] {
            assert!(text.parse::<MacAddr>().is_err(), "{text}");
        }
    }
}
