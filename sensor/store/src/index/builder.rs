//! The tables behind an index, filled packet by packet.

use hindcap_wire::flow::FlowKey;
use hindcap_wire::index::limits::QUARTERS;
use hindcap_wire::index::{BatchEntry, FlowParts, IndexLimits, PageEntry, PageSet};
use hindcap_wire::limits::{FLOW_LAYERS_MAX, INTERFACES_MAX};
use hindcap_wire::packet::{Dissection, FlowLayer, Interface, Packet};

use super::arena::{Arena, Chain};
use super::hosts::Hosts;
use super::macs::Macs;
use super::overflow::{LATE, Late, SPILLED, Spilled};
use super::table::{Flow, Place, Table, Words, bit, v4};
use super::waiting::Waiting;

/// From here on a record may take [`FlowParts::GROWN_BYTES`] more: bits of its time span, packets and bytes.
const GROWN_BITS: (u32, u32, u32) = (35, 7, 14);
/// From here on a record may take [`FlowParts::WIDE_BYTES`] more.
const WIDE_BITS: (u32, u32, u32) = (41, 14, 21);

/// At most three bytes name a host.
const HOST_NAMES_BYTES_MAX: u32 = 6;

/// What one packet says, beside its layers.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    pub at: u64,
    pub bytes: u32,
    pub tcp_flags: u8,
    /// [`bit::STACKED`] and [`bit::TRUNCATED`], where they apply.
    pub bits: u8,
}

/// [`bit::TRUNCATED`] for a packet that was recorded with fewer bytes than it had on the wire.
#[inline(always)]
pub(super) const fn truncated_bit(packet: &Packet<'_>) -> u8 {
    if packet.bytes.len() < packet.orig_len as usize { bit::TRUNCATED } else { 0 }
}

/// Builds the index of one segment after another. All memory is taken in [`Builder::new`], see [`Builder::bytes`].
#[derive(Debug)]
pub struct Builder {
    pub(super) limits: IndexLimits,
    pub(super) table: Table,
    pub(super) arena: Arena,
    pub(super) hosts_v4: Hosts<4>,
    pub(super) hosts_v6: Hosts<16>,
    pub(super) macs: Macs,
    pub(super) pages: Vec<PageEntry>,
    pub(super) batches: Vec<BatchEntry>,
    pub(super) events: Vec<u8>,
    pub(super) lost_events: u64,
    pub(super) interfaces: Vec<Interface>,
    pub(super) packets: u64,
    pub(super) unclassified_packets: u64,
    pub(super) unclassified: PageSet,
    pub(super) overflow: Vec<u8>,
    pub(super) overflowed: [bool; QUARTERS],
    pub(super) overflow_packets: u64,
    pub(super) overflow_flows: u64,
    pub(super) hosts_complete: bool,
    /// Flows that are in the quarter's overflow filter already, or among the late ones.
    pub(super) spilled: Vec<Spilled>,
    /// Flows without record that are not yet in the filter, nor their hosts in the host tables.
    pub(super) late: heapless::Vec<Late, LATE>,
    /// Plain packets that are not yet in the tables.
    pub(super) waiting: Waiting,
    /// The page that the tables have reached.
    pub(super) page: u16,
    /// The page of the last packet, waiting or not.
    pub(super) last_page: u16,
    pub(super) quarter: usize,
    pub(super) mac_part: u32,
    /// Encoded bytes of records, postings and hosts, at most.
    pub(super) used: u32,
    /// What they may come to: grows when a quarter passes without overflow.
    limit: u32,
    /// The part of it that new flow records may use.
    flow_limit: u32,
    /// Encoded bytes of hosts of flows without a record.
    pub(super) host_used: u32,
    /// What they may come to: see [`Builder::host_reserve`].
    pub(super) host_limit: u32,
    /// First host numbers not yet named by a record, as the encoding counts them.
    named: [u32; 2],
}

impl Builder {
    /// A builder for segments of these limits. `seed` makes the hash tables hard to aim at; no result depends on it.
    #[must_use]
    pub fn new(limits: IndexLimits, seed: u64) -> Self {
        let mut builder = Self {
            limits,
            table: Table::new(limits.flows, seed),
            arena: Arena::new(limits.posting_nodes),
            hosts_v4: Hosts::new(limits.hosts_v4),
            hosts_v6: Hosts::new(limits.hosts_v6),
            macs: Macs::new(limits.macs, seed),
            pages: Vec::with_capacity(limits.pages as usize),
            batches: Vec::with_capacity(limits.batches as usize),
            events: Vec::with_capacity(limits.event_bytes as usize),
            lost_events: 0,
            interfaces: Vec::with_capacity(INTERFACES_MAX),
            packets: 0,
            unclassified_packets: 0,
            unclassified: PageSet::range(0, limits.pages),
            overflow: vec![0; limits.overflow_bytes as usize * QUARTERS],
            overflowed: [false; QUARTERS],
            overflow_packets: 0,
            overflow_flows: 0,
            hosts_complete: true,
            spilled: vec![Spilled::default(); SPILLED],
            late: heapless::Vec::new(),
            waiting: Waiting::new(),
            page: 0,
            last_page: 0,
            quarter: 0,
            mac_part: 0,
            used: 0,
            limit: 0,
            flow_limit: 0,
            host_used: 0,
            host_limit: 0,
            named: [0; 2],
        };
        builder.reset();
        builder
    }

    /// Bytes that a builder of these limits takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.table.bytes()
            + self.arena.bytes()
            + self.hosts_v4.bytes()
            + self.hosts_v6.bytes()
            + self.macs.bytes()
            + self.pages.capacity() * size_of::<PageEntry>()
            + self.batches.capacity() * size_of::<BatchEntry>()
            + self.events.capacity()
            + self.interfaces.capacity() * size_of::<Interface>()
            + self.limits.pages.div_ceil(8) as usize
            + self.overflow.len()
            + SPILLED * size_of::<Spilled>()
    }

    /// The bounds it works in.
    #[must_use]
    pub const fn limits(&self) -> &IndexLimits {
        &self.limits
    }

    /// Forgets everything, for the next segment. Keeps the memory.
    pub fn reset(&mut self) {
        self.table.clear();
        self.arena.clear();
        self.hosts_v4.clear();
        self.hosts_v6.clear();
        self.macs.clear();
        self.pages.clear();
        self.batches.clear();
        self.events.clear();
        self.interfaces.clear();
        self.unclassified.clear();
        if self.overflowed.contains(&true) {
            self.overflow.fill(0);
        }
        (self.overflowed, self.hosts_complete) = ([false; QUARTERS], true);
        (self.packets, self.unclassified_packets, self.lost_events) = (0, 0, 0);
        (self.overflow_packets, self.overflow_flows) = (0, 0);
        self.spilled.fill(Spilled::default());
        self.late.clear();
        self.waiting.clear();
        (self.page, self.last_page, self.quarter, self.mac_part) = (0, 0, 0, 0);
        (self.used, self.named, self.host_used) = (0, [0; 2], 0);
        self.set_limit();
    }

    /// As [`Builder::reset`], for a builder that is not used for a while: memory that only fills with packets goes back to
    /// the system and is taken again as they come. Allocates.
    pub fn rest(&mut self) {
        self.table.rest();
        self.arena.rest();
        self.overflow = Vec::new();
        self.overflow = vec![0; self.limits.overflow_bytes as usize * QUARTERS];
        self.reset();
    }

    /// Takes note of a packet whose block starts in `page`.
    ///
    /// # Panics
    /// When `page` goes back or lies outside the segment: blocks are observed in their order.
    #[inline]
    pub fn observe(&mut self, page: u16, packet: &Packet<'_>, found: &Dissection) {
        self.settle();
        if page != self.last_page {
            self.move_to(page);
        }
        if page != self.page {
            self.turn_to(page);
        }
        self.packets += 1;
        if let Some(pair) = found.macs {
            self.macs.observe(pair, self.mac_part);
        }
        let bits = truncated_bit(packet) | if found.vlans.len() > 1 { bit::STACKED } else { 0 };
        let seen = Seen { at: packet.timestamp.0, bytes: packet.orig_len, tcp_flags: 0, bits };
        match found.layers.as_slice() {
            [layer] => self.layer(layer, seen),
            [] => {
                self.unclassified_packets += 1;
                self.unclassified.insert(page);
            }
            layers => self.stack(layers, seen),
        }
        self.enter_late();
    }

    /// Takes note of a packet with several IP layers; equal flows count once.
    fn stack(&mut self, layers: &[FlowLayer], seen: Seen) {
        let mut keys = heapless::Vec::<FlowKey, FLOW_LAYERS_MAX>::new();
        for layer in layers {
            let (key, _) = FlowKey::of(&layer.tuple, layer.vlan);
            if !keys.contains(&key) && keys.push(key).is_ok() {
                self.layer(layer, seen);
            }
        }
    }

    /// Packets come from `page` now; those that wait may be of others.
    #[cold]
    pub(super) fn move_to(&mut self, page: u16) {
        let last = self.last_page;
        assert!(page > last && u32::from(page) < self.limits.pages, "page {page} after {last}");
        self.last_page = page;
        self.mac_part = self.limits.mac_part(page);
    }

    /// The tables have all packets of earlier pages.
    #[cold]
    pub(super) fn turn_to(&mut self, page: u16) {
        self.enter_late();
        self.page = page;
        let quarter = self.limits.quarter(page);
        if quarter != self.quarter {
            self.spilled.fill(Spilled::default());
            self.quarter = quarter;
        }
        self.set_limit();
    }

    /// Filters that exist or may still come are paid first, then hosts.
    fn set_limit(&mut self) {
        let past = self.overflowed[..self.quarter].iter().filter(|used| **used).count();
        let filters = (past + QUARTERS - self.quarter) as u32 * self.limits.overflow_bytes;
        let budget = self.limits.flow_bytes - filters;
        self.host_limit = self.host_reserve(budget);
        self.limit = budget - self.host_limit;
        // What records have taken, or will as they grow, is taken.
        self.host_limit = self.host_limit.min(budget.saturating_sub(self.used + self.limit / 32));
        let to_come = (QUARTERS - self.quarter) as u32;
        self.flow_limit = self.limit - self.limit / 32 * to_come;
    }

    /// Kept for hosts of flows without a record: what hosts will take in the rest of the segment if they go on coming as
    /// so far, at most a quarter of `budget`. Without every host there is no catalog filter, and each query must look into
    /// the index; a small segment has few records, and most of its hosts may come behind the last one.
    fn host_reserve(&self, budget: u32) -> u32 {
        let hosts = self.hosts_v4.len() as u64 * 4 + self.hosts_v6.len() as u64 * 16;
        let (seen, all) = (u64::from(self.page) + 1, u64::from(self.limits.pages));
        let expected = (hosts * all.saturating_sub(seen) / seen).min(budget.into()) as u32;
        let most = (budget / 4).max(self.host_used);
        (self.host_used + expected).max(self.limits.flow_bytes / 16).min(most)
    }

    /// Encoded bytes still free for new flow records: some are kept for postings of known flows in what is still to come
    /// of the segment.
    const fn spare_for_flows(&self) -> u32 {
        self.flow_limit.saturating_sub(self.used)
    }

    const fn spare_for_postings(&self) -> u32 {
        self.limit.saturating_sub(self.used)
    }

    fn layer(&mut self, layer: &FlowLayer, seen: Seen) {
        let seen = Seen { tcp_flags: layer.tcp_flags, ..seen };
        let (key, forward) = FlowKey::of(&layer.tuple, layer.vlan);
        let place = if key.version == 6 {
            let hash = self.table.hash_v6(&key);
            self.find_v6(&key, hash, self.table.home(hash))
        } else {
            let words = Words::of(&key, 0, 0);
            let hash = self.table.hash_v4(words);
            self.table.find_v4(words, hash, self.table.home(hash))
        };
        match place {
            Place::Found(number) => self.known_apart(number, seen),
            Place::Free { slot, hash } => {
                self.new_flow(&key, (slot, hash), forward, seen);
            }
        }
    }

    #[inline]
    pub(super) fn find_v6(&self, key: &FlowKey, hash: u64, slot: usize) -> Place {
        let hosts = &self.hosts_v6;
        self.table.find_v6(key, hash, slot, |a, b| hosts.is(a, &key.a) && hosts.is(b, &key.b))
    }

    /// A packet of a flow that has a record.
    #[inline(always)]
    pub(super) fn known(&mut self, number: u16, seen: Seen) {
        let flow = &mut self.table.flows[usize::from(number)];
        let span = seen.at.wrapping_sub(flow.first);
        flow.packets = flow.packets.saturating_add(1);
        flow.bytes = flow.bytes.saturating_add(seen.bytes.into());
        flow.tcp_flags |= seen.tcp_flags;
        if seen.at >= flow.last {
            flow.last = seen.at;
        } else {
            flow.first = flow.first.min(seen.at);
        }
        flow.bits |= seen.bits;
        if reaches(GROWN_BITS, span, flow) && flow.bits & bit::WIDE == 0 {
            self.used += grown(span, flow);
        }
        if flow.last_page != self.page {
            self.post(number);
        }
    }

    /// The same where it is not hot.
    #[inline(never)]
    pub(super) fn known_apart(&mut self, number: u16, seen: Seen) {
        self.known(number, seen);
    }

    /// Adds the page to a known flow. When there is no room, the flow counts as present in all later pages.
    fn post(&mut self, number: u16) {
        let spare = self.spare_for_postings();
        let flow = &mut self.table.flows[usize::from(number)];
        flow.last_page = self.page;
        if flow.bits & bit::OPEN_END == 0 {
            match self.arena.add(&mut flow.chain, self.page, spare) {
                Some(bytes) => self.used += bytes,
                None => flow.bits |= bit::OPEN_END,
            }
        }
    }

    /// Whether no record of any flow fits any more.
    #[inline]
    pub(super) fn takes_no_record(&self) -> bool {
        self.table.is_full() || self.spare_for_flows() < FlowParts::NEW_BYTES_MIN + HOST_NAMES_BYTES_MAX
    }

    /// A packet of a flow without record: gives it one, or puts it into the quarter's filter.
    #[inline(never)]
    pub(super) fn new_flow(&mut self, key: &FlowKey, (slot, hash): (usize, u64), forward: bool, seen: Seen) {
        if self.takes_no_record() {
            return self.overflow(key, hash);
        }
        self.enter_late();
        let mut flow = Flow {
            words: Words::of(key, 0, 0),
            first: seen.at,
            last: seen.at,
            bytes: seen.bytes.into(),
            packets: 1,
            first_page: self.page,
            last_page: self.page,
            chain: Chain::after(self.page),
            tcp_flags: seen.tcp_flags,
            bits: if forward { bit::A_FIRST } else { 0 } | seen.bits,
        };
        let before = self.table.flows.last().map_or((0, 0), |last| (last.first, last.first_page));
        let mut size = flow.parts(0, 0).bytes_when_new(before);
        if reaches(GROWN_BITS, 0, &flow) {
            size += grown(0, &mut flow);
        }
        let spare = self.spare_for_flows();
        let ends = self.ends(key, spare.saturating_sub(size));
        let Some(((a, b), host_bytes)) = ends else { return self.overflow(key, hash) };
        flow.words = Words::of(key, a, b);
        self.used += size + host_bytes;
        self.table.add(slot, hash, flow);
    }

    /// Numbers of the two hosts of a new record and the bytes that naming them takes. `None`, and nothing changed, when
    /// that is more than `spare` or a host table is full.
    fn ends(&mut self, key: &FlowKey, spare: u32) -> Option<((u16, u16), u32)> {
        if spare < HOST_NAMES_BYTES_MAX {
            return None;
        }
        let version = usize::from(key.version == 6);
        let width = if version == 0 { 4 } else { 16 };
        let known = [self.host(&key.a, key.version), self.host(&key.b, key.version)];
        let new = known.iter().filter(|host| host.is_err()).count() as u32;
        // Two new hosts need two places.
        let places =
            known.iter().all(|host| !matches!(host, Err(None))) && self.host_room(version) >= new as usize;
        if !places || new * width + HOST_NAMES_BYTES_MAX > spare {
            return None;
        }
        let [known_a, known_b] = known;
        let a = known_a.ok().or_else(|| self.host_or_add(&key.a, key.version))?;
        let named = self.named[version];
        let mut bytes = new * width + FlowParts::host_bytes(a, named);
        self.named[version] = named.max(u32::from(a) + 1);
        let b = known_b.ok().or_else(|| self.host_or_add(&key.b, key.version))?;
        bytes += FlowParts::host_bytes(b, self.named[version]);
        self.named[version] = self.named[version].max(u32::from(b) + 1);
        Some(((a, b), bytes))
    }

    pub(super) fn host(&self, addr: &[u8; 16], version: u8) -> Result<u16, Option<usize>> {
        let hash = self.table.host_hash(addr);
        if version == 6 {
            self.hosts_v6.find(addr, hash)
        } else {
            self.hosts_v4.find(&v4(addr).to_be_bytes(), hash)
        }
    }

    fn host_room(&self, version: usize) -> usize {
        if version == 0 { self.hosts_v4.room() } else { self.hosts_v6.room() }
    }

    pub(super) fn host_or_add(&mut self, addr: &[u8; 16], version: u8) -> Option<u16> {
        match self.host(addr, version) {
            Ok(number) => Some(number),
            Err(Some(slot)) if version == 6 => Some(self.hosts_v6.add(slot, addr)),
            Err(Some(slot)) => Some(self.hosts_v4.add(slot, &v4(addr).to_be_bytes())),
            Err(None) => None,
        }
    }

    /// The segment's next interface; the order gives the numbers.
    pub fn interface(&mut self, interface: &Interface) {
        if self.interfaces.len() < INTERFACES_MAX {
            self.interfaces.push(interface.clone());
        }
    }

    /// The interfaces so far.
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// Fills the places of interfaces whose announcement is lost; whether there was any.
    pub fn learn_interfaces(&mut self, told: impl Iterator<Item = Interface>) -> bool {
        Interface::learn(&mut self.interfaces, told)
    }

    /// Enters a page into the page table. `first_block` is the offset in the page of the first packet block that starts
    /// in it.
    pub fn page_done(&mut self, page: u16, crc32: u32, first_block: Option<u32>) {
        let at = usize::from(page);
        if at < self.limits.pages as usize {
            let first_block = first_block.map_or(PageEntry::NO_BLOCK, |offset| (offset / 4) as u16);
            if self.pages.len() <= at {
                self.pages.resize(at + 1, PageEntry { crc32: 0, first_block: PageEntry::NO_BLOCK });
            }
            self.pages[at] = PageEntry { crc32, first_block };
        }
    }

    /// Enters a batch, in order. When the table is full, neighbours are joined.
    pub fn batch_done(&mut self, batch: BatchEntry) {
        if self.batches.len() >= self.limits.batches as usize {
            BatchEntry::halve(&mut self.batches);
        }
        self.batches.push(batch);
    }

    /// Enters a copy of an event block's body, in order, as long as there is room.
    pub fn event(&mut self, body: &[u8]) {
        // Bodies are short; two bytes hold their length.
        let Ok(length) = u16::try_from(body.len()) else { return self.lost_events += 1 };
        if length >= 0x4000 || self.events.len() + 2 + body.len() > self.limits.event_bytes as usize {
            return self.lost_events += 1;
        }
        if length < 0x80 {
            self.events.push(length as u8);
        } else {
            self.events.extend_from_slice(&[length as u8 | 0x80, (length >> 7) as u8]);
        }
        self.events.extend_from_slice(body);
    }

    /// Whether any event was entered, or had no room.
    #[must_use]
    pub fn is_eventful(&self) -> bool {
        !self.events.is_empty() || self.lost_events > 0
    }

    /// Whether flows went without a record.
    #[must_use]
    pub const fn is_flooded(&self) -> bool {
        self.overflow_packets != 0
    }
}

/// Whether the flow's record has outgrown the size that goes with `bits`. A packet before the first one so far gives a
/// span beyond all bounds.
#[inline]
const fn reaches(bits: (u32, u32, u32), span: u64, flow: &Flow) -> bool {
    (span >> bits.0) | (flow.packets >> bits.1) as u64 | (flow.bytes >> bits.2) != 0
}

/// Bytes to account for now that the record has grown; each step once.
#[cold]
fn grown(span: u64, flow: &mut Flow) -> u32 {
    let mut bytes = 0;
    for (bits, bit, more) in
        [(GROWN_BITS, bit::GROWN, FlowParts::GROWN_BYTES), (WIDE_BITS, bit::WIDE, FlowParts::WIDE_BYTES)]
    {
        if flow.bits & bit == 0 && reaches(bits, span, flow) {
            flow.bits |= bit;
            bytes += more;
        }
    }
    bytes
}
