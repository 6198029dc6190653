//! The way of nearly every packet into the tables: no dissection, no flow key, one lookup.
//!
//! What [`Builder::observe`] makes of the dissection of a plain packet, this makes of the packet; the tests hold one
//! against the other.

use hindcap_wire::flow::FlowKey;
use hindcap_wire::packet::plain::{Ends, Plain};

use super::builder::{Builder, Seen};
use super::table::{Place, Words};

impl Builder {
    /// Takes note of a plain packet whose block starts in `page`, captured at `at`.
    ///
    /// # Panics
    /// As [`Builder::observe`].
    #[inline]
    pub fn observe_plain(&mut self, page: u16, at: u64, orig_len: u32, plain: &Plain) {
        if page != self.page {
            self.turn_to(page);
        }
        self.packets += 1;
        self.macs.observe_frame(plain.macs, self.mac_part);
        let seen = Seen { at, bytes: orig_len, stacked_bit: 0 };
        let (place, forward) = match plain.ends {
            Ends::V4(src, dst) => {
                let ends = ((src, plain.src_port), (dst, plain.dst_port));
                let (words, forward) = Words::of_ends(ends.0, ends.1, plain.vlan(), plain.proto);
                (self.table.find_v4(words), forward)
            }
            Ends::V6(..) => {
                let (key, forward) = FlowKey::of(&plain.layer().tuple, plain.layer().vlan);
                (self.find_v6(&key), forward)
            }
        };
        match place {
            Place::Found(number) => self.known(number, plain.tcp_flags, seen),
            Place::Free { hash, .. } if self.takes_no_record() && self.was_spilled(hash) => {}
            Place::Free { slot, hash } => self.new_plain_flow(plain, (slot, hash), forward, seen),
        }
    }

    #[inline(never)]
    fn new_plain_flow(&mut self, plain: &Plain, place: (usize, u64), forward: bool, seen: Seen) {
        let layer = plain.layer();
        let (key, _) = FlowKey::of(&layer.tuple, layer.vlan);
        self.new_flow(&key, place, forward, layer.tcp_flags, seen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hindcap_wire::index::IndexLimits;
    use hindcap_wire::limits::SEGMENT_BYTES_MIN;
    use hindcap_wire::packet::{Dissection, LinkType, Packet, dissect_generally};
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
                let plain = Plain::read(LinkType::ETHERNET, &bytes, orig_len).unwrap();
                plain_builder.observe_plain(page, late, orig_len, &plain);
                dissect_generally(LinkType::ETHERNET, &bytes, orig_len, &mut found);
                builder.observe(page, &packet, &found);
            }
            assert_eq!(builder.is_flooded(), flooded, "{hosts} hosts");
            assert!(plain_builder.encode(Vec::new()) == builder.encode(Vec::new()), "{hosts} hosts");
            assert_eq!(plain_builder.filter(), builder.filter());
        }
    }
}
