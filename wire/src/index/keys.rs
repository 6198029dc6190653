//! 64-bit keys of hosts, host pairs and flows: what the catalog's filters and the overflow filters of a flood hold.
//!
//! The functions are part of the format (docs/FORMAT.md, "Keys"): fixed, unseeded, the same on every machine. A clash
//! of two keys costs a useless read, never a wrong answer, because every packet is compared with the query itself.

use crate::flow::{AddrBytes, FlowKey};

const K: [u64; 4] =
    [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb, 0xd6e8_feb8_6659_fd93];

/// What a segment must hold to be of interest, one entry of a catalog filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FilterKey {
    /// A host is an end of some packet: [`host_key`].
    Host(u64),
    /// Two hosts are the two ends of some packet: [`pair_key`].
    Pair(u64),
    /// A flow: `CommunityId::key`, the first 8 bytes of its Community ID digest, little-endian.
    Flow(u64),
}

impl FilterKey {
    /// The bare key.
    #[must_use]
    pub const fn value(self) -> u64 {
        match self {
            Self::Host(key) | Self::Pair(key) | Self::Flow(key) => key,
        }
    }
}

/// Product of two numbers folded to 64 bits: low half xor high half.
#[inline]
#[must_use]
pub const fn fold(x: u64, y: u64) -> u64 {
    let product = (x as u128) * (y as u128);
    (product as u64) ^ ((product >> 64) as u64)
}

/// The two halves of an address, little-endian.
#[inline]
#[must_use]
pub fn halves(addr: &AddrBytes) -> (u64, u64) {
    let value = u128::from_le_bytes(*addr);
    (value as u64, (value >> 64) as u64)
}

/// Key of a host of IP `version` (4 or 6), from the 16-byte form of its address.
#[inline]
#[must_use]
pub fn host_key(addr: &AddrBytes, version: u8) -> u64 {
    let (low, high) = halves(addr);
    fold(fold(low ^ K[0], high ^ K[1]) ^ u64::from(version), K[2])
}

/// Key of two hosts, in any order, from their [`host_key`]s.
#[inline]
#[must_use]
pub const fn pair_key(one: u64, other: u64) -> u64 {
    let (low, high) = if one < other { (one, other) } else { (other, one) };
    fold(low ^ K[1], high.rotate_left(17) ^ K[3])
}

/// Key under which an overflow filter holds a flow: cheaper than a Community ID, blind to the VLAN like it.
#[inline]
#[must_use]
pub fn overflow_flow_key(key: &FlowKey) -> u64 {
    let pair = pair_key(host_key(&key.a, key.version), host_key(&key.b, key.version));
    overflow_flow_key_of(pair, key)
}

/// [`overflow_flow_key`] when the pair's key is known already.
#[inline]
#[must_use]
pub fn overflow_flow_key_of(pair: u64, key: &FlowKey) -> u64 {
    let rest = u64::from(key.a_port) | u64::from(key.b_port) << 16 | u64::from(key.proto) << 32;
    fold(pair ^ K[0], rest ^ K[2])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::addr_bytes;
    use core::net::IpAddr;

    fn key(text: &str) -> u64 {
        let addr: IpAddr = text.parse().unwrap();
        host_key(&addr_bytes(addr), if addr.is_ipv4() { 4 } else { 6 })
    }

    /// These values are on disks: they never change.
    #[test]
    fn keys_are_fixed_for_ever() {
        assert_eq!(key("192.0.2.1"), 0xf276_0833_005d_8bf8);
        assert_eq!(key("2001:db8::1"), 0x0784_8c9b_d87a_8ea9);
        assert_eq!(pair_key(key("192.0.2.1"), key("192.0.2.2")), 0xc3a3_a896_1f73_613a);
    }

    #[test]
    fn version_and_order_are_seen_as_they_should() {
        let mapped = addr_bytes(IpAddr::from([192, 0, 2, 1]));
        assert_ne!(host_key(&mapped, 4), host_key(&mapped, 6));
        let (a, b) = (key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(pair_key(a, b), pair_key(b, a));
        assert_ne!(pair_key(a, a), pair_key(b, b));
    }
}
