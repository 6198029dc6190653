//! The way of nearly every packet into the tables: no dissection, no flow key, one lookup.
//!
//! What [`Builder::observe`] makes of the dissection of a plain packet, this makes of the packet; the tests hold one
//! against the other. The packets of a page [wait](super::waiting) for each other, and enter the tables together.

use hindcap_wire::flow::{AddrBytes, FlowKey};
use hindcap_wire::packet::Packet;
use hindcap_wire::packet::plain::{Ends, Plain, mapped};
use prefetch_index::prefetch_index;

use super::builder::{Builder, truncated_bit};
use super::overflow::SPILLED;
use super::table::{NO_RECORD, Place, Words};
use super::waiting::Entry;

impl Builder {
    /// Takes note of a plain packet whose block starts in `page`. It waits for others before it enters the tables: see
    /// [`Builder::settle`]. Inlined always: what was read of the packet stays in registers.
    ///
    /// # Panics
    /// As [`Builder::observe`].
    #[inline(always)]
    pub fn observe_plain(&mut self, page: u16, plain: &Plain<'_>, packet: &Packet<'_>) {
        if page != self.last_page {
            self.move_to(page);
        }
        self.packets += 1;
        self.macs.observe_frame(plain.macs, self.mac_part);
        let Plain { src_port, dst_port, proto, tcp_flags, .. } = *plain;
        let (at, bytes, bits) = (packet.timestamp.0, packet.orig_len, truncated_bit(packet));
        let full = match plain.ends {
            Ends::V4(src, dst) => {
                let ends = ((src, src_port), (dst, dst_port));
                let (words, forward) = Words::of_ends(ends.0, ends.1, plain.vlan(), proto);
                let hash = self.table.hash_v4(words);
                let slot = self.table.fetch_home(hash);
                let record = NO_RECORD;
                self.waiting.push(Entry {
                    words,
                    hash,
                    at,
                    slot,
                    record,
                    bytes,
                    page,
                    tcp_flags,
                    forward,
                    bits,
                })
            }
            Ends::V6(src, dst) => {
                let key = (plain.vlan(), proto);
                self.wait_v6((src, src_port), (dst, dst_port), key, (at, bytes, page, tcp_flags, bits))
            }
        };
        if full {
            self.go_on(false);
        }
    }

    #[inline(never)]
    fn wait_v6(
        &mut self,
        src: (&AddrBytes, u16),
        dst: (&AddrBytes, u16),
        (vlan, proto): (u16, u8),
        (at, bytes, page, tcp_flags, bits): (u64, u32, u16, u8, u8),
    ) -> bool {
        let forward = (u128::from_be_bytes(*src.0), src.1) <= (u128::from_be_bytes(*dst.0), dst.1);
        let ((a, a_port), (b, b_port)) = if forward { (src, dst) } else { (dst, src) };
        let key = FlowKey { a: *a, b: *b, a_port, b_port, vlan, proto, version: 6 };
        let (words, hash) = (Words::of(&key, 0, 0), self.table.hash_v6(&key));
        let slot = self.table.fetch_home(hash);
        let record = NO_RECORD;
        let entry = Entry { words, hash, at, slot, record, bytes, page, tcp_flags, forward, bits };
        self.waiting.push_v6(entry, &key)
    }

    /// Brings all that waits into the tables, in the order in which it came: to be called before they are asked.
    #[inline]
    pub fn settle(&mut self) {
        if !self.waiting.is_empty() {
            self.go_on(true);
            self.go_on(true);
            self.enter_late();
        }
    }

    /// Brings the packets whose records are near into the tables, and the records of the others near: of `all`, or without
    /// the fresh ones.
    #[inline(never)]
    fn go_on(&mut self, all: bool) {
        let end = self.fetch_far(all);
        for number in self.waiting.near() {
            let entry = self.waiting.get(number);
            let (words, record, page, seen) = (entry.words, entry.record, entry.page, entry.seen());
            if page != self.page {
                self.turn_to(page);
            }
            if self.table.is_v4(record, words) {
                self.known(record, seen);
            } else {
                self.enter_slowly(number);
            }
        }
        self.waiting.advance(end);
    }

    /// A packet of IPv6, or whose flow had no record a moment ago.
    #[inline(never)]
    fn enter_slowly(&mut self, number: usize) {
        let entry = self.waiting.get(number);
        if entry.words.version() == 6 {
            return self.settle_v6(number);
        }
        let (words, hash, slot) = (entry.words, entry.hash, entry.slot as usize);
        match self.table.find_v4(words, hash, slot) {
            Place::Found(record) => self.known_apart(record, self.waiting.get(number).seen()),
            Place::Free { .. } if self.takes_no_record() && self.was_spilled(hash) => {}
            Place::Free { slot, .. } => self.new_v4(words, (slot, hash), number),
        }
    }

    #[inline(never)]
    fn new_v4(&mut self, words: Words, place: (usize, u64), number: usize) {
        let entry = *self.waiting.get(number);
        self.new_flow(&words.key_v4(), place, entry.forward, entry.seen());
    }

    fn settle_v6(&mut self, number: usize) {
        let (entry, key) = (self.waiting.get(number), self.waiting.key(number));
        let (hash, forward, seen) = (entry.hash, entry.forward, entry.seen());
        match self.find_v6(key, hash, entry.slot as usize) {
            Place::Found(record) => self.known_apart(record, seen),
            Place::Free { .. } if self.takes_no_record() && self.was_spilled(hash) => {}
            Place::Free { slot, .. } => {
                let key = *self.waiting.key(number);
                self.new_flow(&key, (slot, hash), forward, seen);
            }
        }
    }

    /// Has the memory fetch what far packets will need, while others are looked at; up to which. No result depends on it.
    #[inline]
    fn fetch_far(&mut self, all: bool) -> usize {
        let (takes_records, far) = (!self.takes_no_record(), self.waiting.far(all));
        for number in far.clone() {
            let entry = self.waiting.get_mut(number);
            let (slot, record) = self.table.fetch_likely(entry.hash, entry.slot as usize);
            (entry.slot, entry.record) = (slot as u32, record);
            if record == NO_RECORD {
                prefetch_index(&self.spilled, entry.hash as usize % SPILLED);
                if takes_records {
                    self.fetch_ends(number);
                }
            }
        }
        far.end
    }

    #[inline(never)]
    fn fetch_ends(&self, number: usize) {
        let words = self.waiting.get(number).words;
        if words.version() == 6 {
            let FlowKey { a, b, .. } = self.waiting.key(number);
            self.fetch_hosts(a, b, 6);
        } else {
            let (a, b) = words.ends();
            self.fetch_hosts(&mapped(a), &mapped(b), 4);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hindcap_wire::index::IndexLimits;
    use hindcap_wire::limits::SEGMENT_BYTES_MIN;
    use hindcap_wire::packet::{Dissection, LinkType, dissect_generally};
    use hindcap_wire::time::Timestamp;

    /// A fixed sequence of numbers below `end`.
    fn numbers(mut state: u64) -> impl FnMut(u64) -> u64 {
        move |end| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            (state >> 33) % end
        }
    }

    /// EtherType and IP header of a packet with `len` bytes behind it.
    fn ip_header(v6: bool, src: u32, dst: u32, proto: u8, len: u8) -> Vec<u8> {
        let [src, dst] = [src, dst].map(u32::to_be_bytes);
        if v6 {
            let hosts = [src, dst].map(|host| [[0x20; 12].as_slice(), &host].concat()).concat();
            [[0x86, 0xdd, 0x60, 0, 0, 0, 0, len, proto, 64].as_slice(), &hosts].concat()
        } else {
            let start = [8, 0, 0x45, 0, 0, 20 + len, 0, 0, 0, 0, 64, proto, 0, 0];
            [start.as_slice(), &src, &dst].concat()
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
        frame.extend(ip_header(v6, src, dst, proto, len));
        frame.extend([0x80 | number(2) as u8, number(9) as u8, 0, 53 + number(2) as u8]);
        frame.extend(if tcp {
            &[0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x12, 0, 0, 0, 0, 0, 0][..]
        } else {
            &[0, 8, 0, 0]
        });
        frame
    }

    /// Two builders, one fed the general way: the same index, whether the records suffice or not, in whatever way the
    /// packets between them come.
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
                dissect_generally(LinkType::ETHERNET, &bytes, orig_len, &mut found);
                if number(7) == 0 {
                    plain_builder.observe(page, &packet, &found);
                } else {
                    let plain = Plain::read(LinkType::ETHERNET, &bytes, orig_len).expect("a plain packet");
                    plain_builder.observe_plain(page, &plain, &packet);
                }
                builder.observe(page, &packet, &found);
            }
            plain_builder.settle();
            assert_eq!(builder.is_flooded(), flooded, "{hosts} hosts");
            assert!(plain_builder.encode(Vec::new()) == builder.encode(Vec::new()), "{hosts} hosts");
            assert_eq!(plain_builder.filter(), builder.filter());
        }
    }

    /// A flow of IPv6 that needs two new hosts is refused for want of bytes, and smaller ones still get records in the same
    /// page: the hosts of the refused one come first, however late it enters, or the index depends on who asks it when.
    #[test]
    fn hosts_of_a_refused_flow_come_before_those_of_the_records_behind_it() {
        let limits = IndexLimits::for_segment(SEGMENT_BYTES_MIN);
        let between = |v6: bool, src: u32, dst: u32| {
            let udp = [0x80, 0, 0, 53, 0, 8, 0, 0];
            [&[2; 12], ip_header(v6, src, dst, 17, 8).as_slice(), &udp].concat()
        };
        let mut met = 0;
        for fill in 0..24 {
            let [mut waits, mut asked, mut general] = [1, 2, 3].map(|seed| Builder::new(limits, seed));
            let (mut found, mut at) = (Dissection::new(), 1_700_000_000_000_000_000);
            let mut each = |bytes: &[u8]| {
                at += 1_000;
                let orig_len = bytes.len() as u32;
                let packet = Packet { timestamp: Timestamp(at), interface: 0, orig_len, bytes };
                let plain = Plain::read(LinkType::ETHERNET, bytes, orig_len).expect("a plain packet");
                waits.observe_plain(0, &plain, &packet);
                asked.observe_plain(0, &plain, &packet);
                asked.settle();
                dissect_generally(LinkType::ETHERNET, bytes, orig_len, &mut found);
                general.observe(0, &packet, &found);
                (general.table.flows.len(), general.overflow_flows)
            };
            for host in 0..fill {
                each(&between(false, 9, 1_000 + host));
            }
            let mut host = 10;
            while each(&between(true, host, host + 1)).1 == 0 {
                host += 2;
            }
            // Of the hosts of these the first, or both, are known.
            let before = each(&between(true, 10, 500_000)).0;
            each(&between(false, 9, 500_001));
            let after = each(&between(true, 11, 500_002)).0;
            met += usize::from(after > before);
            waits.settle();
            let index = general.encode(Vec::new());
            assert!(asked.encode(Vec::new()) == index, "{fill}: asked after every packet");
            assert!(waits.encode(Vec::new()) == index, "{fill}: asked at the end");
            assert_eq!(waits.filter(), general.filter());
        }
        assert!(met > 3, "records behind a refused flow: {met} times");
    }
}
