//! The way of nearly every packet into the tables: no dissection, no flow key, one lookup.
//!
//! What [`Builder::observe`] makes of the dissection of a plain packet, this makes of the packet; the tests hold one
//! against the other.

use hindcap_wire::flow::{AddrBytes, FlowKey};
use hindcap_wire::packet::plain::{Ends, Plain};
use hindcap_wire::packet::{LinkType, Packet};

use super::builder::{Builder, Seen};
use super::table::{Place, Words};

impl Builder {
    /// Takes note of a packet whose block starts in `page`, if it is plain; whether it was.
    ///
    /// # Panics
    /// As [`Builder::observe`].
    #[inline]
    pub fn observe_plain(&mut self, page: u16, link_type: LinkType, packet: &Packet<'_>) -> bool {
        let Some(plain) = Plain::read(link_type, packet.bytes, packet.orig_len) else { return false };
        if page != self.page {
            self.turn_to(page);
        }
        self.packets += 1;
        self.macs.observe_frame(plain.macs, self.mac_part);
        let seen = Seen::of(packet);
        match plain.ends {
            Ends::V4(src, dst) => {
                let (src, dst) = ((src, plain.src_port), (dst, plain.dst_port));
                let (words, forward) = Words::of_ends(src, dst, plain.vlan(), plain.proto);
                match self.table.find_v4(words) {
                    Place::Found(number) => self.known(number, plain.tcp_flags, seen),
                    Place::Free { hash, .. } if self.takes_no_record() && self.was_spilled(hash) => {}
                    Place::Free { slot, hash } => {
                        self.new_v4(words, (slot, hash), forward, plain.tcp_flags, seen);
                    }
                }
            }
            Ends::V6(src, dst) => {
                let ports = (plain.src_port, plain.dst_port);
                self.plain_v6((src, dst), ports, (plain.vlan(), plain.proto, plain.tcp_flags), seen);
            }
        }
        true
    }

    #[inline(never)]
    fn new_v4(&mut self, words: Words, place: (usize, u64), forward: bool, tcp_flags: u8, seen: Seen) {
        self.new_flow(&words.key_v4(), place, forward, tcp_flags, seen);
    }

    #[inline(never)]
    fn plain_v6(
        &mut self,
        (src, dst): (&AddrBytes, &AddrBytes),
        (src_port, dst_port): (u16, u16),
        (vlan, proto, tcp_flags): (u16, u8, u8),
        seen: Seen,
    ) {
        let forward = (u128::from_be_bytes(*src), src_port) <= (u128::from_be_bytes(*dst), dst_port);
        let (a, b) = if forward { (*src, *dst) } else { (*dst, *src) };
        let (a_port, b_port) = if forward { (src_port, dst_port) } else { (dst_port, src_port) };
        let key = FlowKey { a, b, a_port, b_port, vlan, proto, version: 6 };
        match self.find_v6(&key) {
            Place::Found(number) => self.known(number, tcp_flags, seen),
            Place::Free { hash, .. } if self.takes_no_record() && self.was_spilled(hash) => {}
            Place::Free { slot, hash } => self.new_flow(&key, (slot, hash), forward, tcp_flags, seen),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hindcap_wire::index::IndexLimits;
    use hindcap_wire::limits::SEGMENT_BYTES_MIN;
    use hindcap_wire::packet::{Dissection, dissect_generally};
    use hindcap_wire::time::Timestamp;

    /// A fixed sequence of numbers below `end`.
    fn numbers(mut state: u64) -> impl FnMut(u64) -> u64 {
        move |end| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            (state >> 33) % end
        }
    }

    /// A plain frame between some of `hosts` hosts.
    fn frame(number: &mut impl FnMut(u64) -> u64, hosts: u64) -> Vec<u8> {
        let (src, dst) = (number(hosts) as u32, number(hosts) as u32);
        let mut frame = vec![2, 0, 0, 0, 0, number(5) as u8, 2, 0, 0, 0, 1, (src % 200) as u8];
        if number(4) == 0 {
            frame.extend([0x81, 0, 0, number(3) as u8]);
        }
        let (v6, tcp) = (number(3) == 0, number(3) > 0);
        let (proto, len) = if tcp { (6, 20) } else { (17, 8) };
        if v6 {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, len, proto, 64]);
            [src, dst]
                .iter()
                .for_each(|host| frame.extend([[0x20; 12].as_slice(), &host.to_be_bytes()].concat()));
        } else {
            frame.extend([8, 0, 0x45, 0, 0, 20 + len, 0, 0, 0, 0, 64, proto, 0, 0]);
            [src, dst].iter().for_each(|host| frame.extend(host.to_be_bytes()));
        }
        frame.extend([0x80 | number(2) as u8, number(9) as u8, 0, 53 + number(2) as u8]);
        frame.extend(if tcp {
            &[0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x12, 0, 0, 0, 0, 0, 0][..]
        } else {
            &[0, 8, 0, 0]
        });
        frame
    }

    /// Two builders, one fed the general way: the same index, whether the records suffice or not.
    #[test]
    fn plain_packets_leave_what_dissected_ones_leave() {
        let limits = IndexLimits::for_segment(SEGMENT_BYTES_MIN);
        for (seed, hosts, packets, flooded) in
            [(1, 3, 300, false), (2, 70, 40_000, true), (3, 20_000, 40_000, true)]
        {
            let (mut plain_builder, mut builder) = (Builder::new(limits, seed), Builder::new(limits, !seed));
            let (mut number, mut found) = (numbers(seed), Dissection::new());
            let mut at = 1_700_000_000_000_000_000;
            for n in 0..packets {
                let page = (n * u64::from(limits.pages) / packets) as u16;
                let bytes = frame(&mut number, hosts);
                at += number(9_000_000);
                let late = at - if number(20) == 0 { number(60_000_000_000) } else { 0 };
                let orig_len = bytes.len() as u32;
                let packet = Packet { timestamp: Timestamp(late), interface: 0, orig_len, bytes: &bytes };
                assert!(plain_builder.observe_plain(page, LinkType::ETHERNET, &packet));
                dissect_generally(LinkType::ETHERNET, &bytes, orig_len, &mut found);
                builder.observe(page, &packet, &found);
            }
            assert_eq!(builder.is_flooded(), flooded, "{hosts} hosts");
            assert!(plain_builder.encode(Vec::new()) == builder.encode(Vec::new()), "{hosts} hosts");
            assert_eq!(plain_builder.filter(), builder.filter());
        }
    }
}
