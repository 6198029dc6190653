//! Community ID v1: the text by which Zeek, Suricata and others name a flow, so that their log line is a request.
//!
//! `1:` and the base64 of SHA-1 over seed, addresses, protocol, one zero byte and, for the protocols that have them,
//! ports; seed 0 throughout. VLANs and tunnels do not count. Source: github.com/corelight/community-id-spec.

use core::fmt;
use core::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use crate::flow::{FlowKey, proto};

/// Bytes of a SHA-1 digest.
const DIGEST_BYTES: usize = 20;
/// Bytes of a digest in base64, with padding.
const BASE64_BYTES: usize = 28;
/// What version 1 begins with.
const PREFIX: &str = "1:";

/// The Community ID v1 of a flow, seed 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommunityId([u8; DIGEST_BYTES]);

impl CommunityId {
    /// The ID of a flow; the VLAN does not count.
    #[must_use]
    pub fn of(key: &FlowKey) -> Self {
        let mut sha1 = Sha1::new_with_prefix([0, 0]);
        let own_bytes = if key.version == 4 { 12 } else { 0 };
        sha1.update(&key.a[own_bytes..]);
        sha1.update(&key.b[own_bytes..]);
        sha1.update([key.proto, 0]);
        if matches!(key.proto, proto::TCP | proto::UDP | proto::SCTP | proto::ICMP | proto::ICMPV6) {
            sha1.update(key.a_port.to_be_bytes());
            sha1.update(key.b_port.to_be_bytes());
        }
        Self(sha1.finalize().into())
    }

    /// The SHA-1 digest.
    #[must_use]
    pub const fn digest(&self) -> &[u8; DIGEST_BYTES] {
        &self.0
    }

    /// The key of the flow in filters and indexes: the first 8 bytes of the digest, little-endian.
    #[must_use]
    pub const fn key(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

impl fmt::Display for CommunityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; BASE64_BYTES];
        let len = STANDARD.encode_slice(self.0, &mut text).map_err(|_| fmt::Error)?;
        f.write_str(PREFIX)?;
        f.write_str(core::str::from_utf8(text.get(..len).unwrap_or_default()).map_err(|_| fmt::Error)?)
    }
}

/// A text that is no Community ID v1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseCommunityIdError;

impl fmt::Display for ParseCommunityIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a Community ID v1 such as 1:LQU9qZlK+B5F3KDmev6m5PMibrg=")
    }
}

impl core::error::Error for ParseCommunityIdError {}

impl FromStr for CommunityId {
    type Err = ParseCommunityIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let base64 = text.strip_prefix(PREFIX).ok_or(ParseCommunityIdError)?;
        // Room for what 28 characters may decode to; a longer text does not fit and is refused.
        let mut bytes = [0; BASE64_BYTES / 4 * 3];
        let len = STANDARD.decode_slice(base64, &mut bytes).map_err(|_| ParseCommunityIdError)?;
        let digest = bytes.get(..len).and_then(|digest| digest.try_into().ok());
        digest.map(Self).ok_or(ParseCommunityIdError)
    }
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use super::*;
    use crate::flow::{FiveTuple, addr_bytes};

    /// Protocol, source, destination, source port or type, destination port, expected text: the specification's
    /// `baseline/baseline_deflt.json`. For ICMP types with a counterpart the baseline gives that for the code.
    #[rustfmt::skip]
    const BASELINE: [(u8, &str, &str, u16, u16, &str); 23] = [
        (58, "fe80::200:86ff:fe05:80da", "fe80::260:97ff:fe07:69ea", 135, 136, "1:dGHyGvjMfljg6Bppwm3bg0LO8TY="),
        (58, "fe80::260:97ff:fe07:69ea", "fe80::200:86ff:fe05:80da", 136, 135, "1:dGHyGvjMfljg6Bppwm3bg0LO8TY="),
        (58, "fe80::260:97ff:fe07:69ea", "fe80::200:86ff:fe05:80da", 135, 136, "1:zavyT/cezQr1fmImYCwYnMXbgck="),
        (58, "fe80::200:86ff:fe05:80da", "fe80::260:97ff:fe07:69ea", 136, 135, "1:zavyT/cezQr1fmImYCwYnMXbgck="),
        (58, "3ffe:501:1800:2345::2", "3ffe:507:0:1:200:86ff:fe05:80da", 3, 0, "1:2ObVBgIn28oZvibYZhZMBgh7WdQ="),
        (58, "3ffe:501:410:0:2c0:dfff:fe47:33e", "3ffe:507:0:1:200:86ff:fe05:80da", 1, 4, "1:hLZd0XGWojozrvxqE0dWB1iM6R0="),
        (58, "3ffe:507:0:1:200:86ff:fe05:80da", "3ffe:501:0:1001::2", 128, 129, "1:+TW+HtLHvV1xnGhV1lv7XoJrqQg="),
        (58, "3ffe:501:0:1001::2", "3ffe:507:0:1:200:86ff:fe05:80da", 129, 128, "1:+TW+HtLHvV1xnGhV1lv7XoJrqQg="),
        (58, "fe80::200:86ff:fe05:80da", "ff02::2", 133, 134, "1:hO+sN4H+MG5MY/8hIrXPqc4ZQz0="),
        (58, "fe80::260:97ff:fe07:69ea", "ff02::1", 134, 133, "1:pkvHqCL88/tg1k4cPigmZXUtL00="),
        (1, "192.168.0.89", "192.168.0.1", 8, 0, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="),
        (1, "192.168.0.1", "192.168.0.89", 0, 8, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="),
        (1, "10.0.0.1", "10.0.0.2", 11, 0, "1:YHxtAirCG//0OzkcVAukqKQN9xM="),
        (6, "2001:470:e5bf:dead:4957:2174:e82c:4887", "2607:f8b0:400c:c03::1a", 63943, 25, "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4="),
        (6, "2607:f8b0:400c:c03::1a", "2001:470:e5bf:dead:4957:2174:e82c:4887", 25, 63943, "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4="),
        (132, "192.168.170.8", "192.168.170.56", 7, 7, "1:MP2EtRCAUIZvTw6MxJHLV7N7JDs="),
        (132, "192.168.170.56", "192.168.170.8", 7, 7, "1:MP2EtRCAUIZvTw6MxJHLV7N7JDs="),
        (6, "128.232.110.120", "66.35.250.204", 34855, 80, "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
        (6, "66.35.250.204", "128.232.110.120", 80, 34855, "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
        (17, "192.168.1.52", "8.8.8.8", 54585, 53, "1:d/FP5EW3wiY1vCndhwleRRKHowQ="),
        (17, "8.8.8.8", "192.168.1.52", 53, 54585, "1:d/FP5EW3wiY1vCndhwleRRKHowQ="),
        (46, "10.1.12.1", "10.1.12.2", 0, 0, "1:KHlLkgoJW7ifUTyTSgyVfkFHzKw="),
        (46, "10.1.12.2", "10.1.12.1", 0, 0, "1:KHlLkgoJW7ifUTyTSgyVfkFHzKw="),
    ];

    fn id(proto: u8, src: &str, dst: &str, src_port: u16, dst_port: u16, vlan: Option<u16>) -> CommunityId {
        let (src, dst): (IpAddr, IpAddr) = (src.parse().unwrap(), dst.parse().unwrap());
        let version = if src.is_ipv4() { 4 } else { 6 };
        let (src, dst) = (addr_bytes(src), addr_bytes(dst));
        CommunityId::of(&FlowKey::of(&FiveTuple { src, dst, src_port, dst_port, proto, version }, vlan).0)
    }

    #[test]
    fn baseline_of_the_specification() {
        for (proto, src, dst, src_port, dst_port, text) in BASELINE {
            assert_eq!(
                id(proto, src, dst, src_port, dst_port, None).to_string(),
                text,
                "{proto} {src} {dst}"
            );
        }
    }

    #[test]
    fn vlan_does_not_count_and_icmp_code_only_without_counterpart() {
        let echo = id(1, "192.168.0.89", "192.168.0.1", 8, 0, Some(4));
        assert_eq!(echo.to_string(), "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=");
        assert_eq!(echo, id(1, "192.168.0.1", "192.168.0.89", 0, 0, None));
        assert_ne!(id(1, "10.0.0.1", "10.0.0.2", 11, 0, None), id(1, "10.0.0.1", "10.0.0.2", 11, 1, None));
    }

    #[test]
    fn text_and_key_come_from_the_digest() {
        let id: CommunityId = "1:LQU9qZlK+B5F3KDmev6m5PMibrg=".parse().unwrap();
        assert_eq!(id.digest()[..8], [0x2d, 0x05, 0x3d, 0xa9, 0x99, 0x4a, 0xf8, 0x1e]);
        assert_eq!(id.key(), 0x1ef8_4a99_a93d_052d);
        assert_eq!(id.to_string(), "1:LQU9qZlK+B5F3KDmev6m5PMibrg=");
    }

    #[test]
    fn texts_that_are_no_id() {
        let short = "1:LQU9qZlK+B5F3KDmev6m5PMibg==";
        let long = "1:LQU9qZlK+B5F3KDmev6m5PMibrgA";
        let twice = "1:LQU9qZlK+B5F3KDmev6m5PMibrgALQU9qZlK+B5F3KDmev6m5PMibrgA";
        let version = "2:LQU9qZlK+B5F3KDmev6m5PMibrg=";
        let unpadded = "1:LQU9qZlK+B5F3KDmev6m5PMibrg";
        for text in ["", "1:", "1", short, long, twice, version, unpadded, "1:\u{e9}"] {
            assert_eq!(text.parse::<CommunityId>(), Err(ParseCommunityIdError), "{text}");
        }
    }
}
