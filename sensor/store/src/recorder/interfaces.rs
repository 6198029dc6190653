//! Interface numbers: store-wide ones, which a source uses, and those inside the open segment, which begin anew in each.

use hindcap_wire::limits::INTERFACES_MAX;
use hindcap_wire::packet::{Interface, LinkType};
use hindcap_wire::pcapng::write::stored;

use crate::StoreError;

/// Different interfaces that one recorder may meet; an import of a large archive meets many.
const KNOWN_MAX: usize = 65_536;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Interfaces {
    /// By store-wide number.
    known: Vec<Interface>,
    /// Store-wide numbers of those that the open segment has, in the order of their numbers there.
    inside: heapless::Vec<u32, INTERFACES_MAX>,
    /// The interface of the last packet.
    current: Option<Current>,
    /// One was announced in the open batch: the next batch tells all of them once more.
    fresh: bool,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    /// Store-wide.
    number: u32,
    /// Inside the open segment.
    local: u32,
    link_type: LinkType,
}

/// What had to be done to use an interface in the open segment.
pub(super) enum Entered {
    /// Nothing.
    Already,
    /// It has a number now; its block must be written.
    New,
    /// The segment has no number left.
    Full,
}

impl Interfaces {
    /// Gives the store-wide number of an interface, which is known from here on as it will stand in a segment: with
    /// one snaplen for all, because libpcap refuses a file whose interfaces differ in it.
    pub(super) fn announce(&mut self, interface: &Interface) -> Result<u32, StoreError> {
        let interface = stored(interface);
        if let Some(number) = self.known.iter().position(|known| *known == interface) {
            return Ok(number as u32);
        }
        if self.known.len() >= KNOWN_MAX {
            return Err(StoreError::TooManyInterfaces);
        }
        self.known.push(interface);
        Ok(self.known.len() as u32 - 1)
    }

    /// Goes on in a segment that has `inside` already.
    pub(super) fn resume(&mut self, inside: &[Interface]) {
        for interface in inside {
            if let Ok(number) = self.announce(interface) {
                let _ = self.inside.push(number);
            }
        }
        self.fresh = true;
    }

    /// Those of the open segment, by their numbers there.
    pub(super) fn inside(&self) -> impl Iterator<Item = &Interface> {
        self.inside.iter().filter_map(|number| self.known.get(*number as usize))
    }

    /// How many the open segment has.
    pub(super) fn count(&self) -> u16 {
        self.inside.len() as u16
    }

    /// Whether a batch that begins here tells them once more: the one behind an announcement, and the first of each chunk.
    /// A lost batch then never takes an interface with it, and the loss of more no longer than a chunk.
    pub(super) fn repeat_is_due(&self, at_chunk_start: bool) -> bool {
        !self.inside.is_empty() && (self.fresh || at_chunk_start)
    }

    /// They were told once more.
    pub(super) const fn repeated(&mut self) {
        self.fresh = false;
    }

    /// A new segment has none.
    pub(super) fn begin_segment(&mut self) {
        self.fresh = false;
        self.inside.clear();
        self.current = None;
    }

    pub(super) fn is_known(&self, number: u32) -> bool {
        (number as usize) < self.known.len()
    }

    pub(super) fn get(&self, number: u32) -> Option<&Interface> {
        self.known.get(number as usize)
    }

    #[inline]
    pub(super) fn is_current(&self, number: u32) -> bool {
        self.current.is_some_and(|current| current.number == number)
    }

    /// Number inside the segment, and link type, of the current interface.
    #[inline]
    pub(super) fn current(&self) -> (u32, LinkType) {
        self.current.map_or((0, LinkType::NULL), |current| (current.local, current.link_type))
    }

    /// Store-wide numbers of those that the open segment has.
    pub(super) const fn numbers(&self) -> &heapless::Vec<u32, INTERFACES_MAX> {
        &self.inside
    }

    /// Turns to a segment that has these.
    pub(super) fn go_on(&mut self, inside: heapless::Vec<u32, INTERFACES_MAX>) {
        (self.inside, self.current, self.fresh) = (inside, None, true);
    }

    /// Makes `number` the current interface of the open segment, if it has it already or can take it.
    pub(super) fn enter(&mut self, number: u32) -> Entered {
        if let Some(local) = self.inside.iter().position(|inside| *inside == number) {
            self.set_current(number, local as u32);
            return Entered::Already;
        }
        if self.inside.is_full() { Entered::Full } else { Entered::New }
    }

    /// The block of `number` has been written: it has the next number in the segment, and is the current one.
    pub(super) fn entered(&mut self, number: u32) {
        self.set_current(number, self.inside.len() as u32);
        let _ = self.inside.push(number);
        self.fresh = true;
    }

    fn set_current(&mut self, number: u32, local: u32) {
        self.current = self.get(number).map(|known| Current { number, local, link_type: known.link_type });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snaplens_do_not_make_interfaces_differ() {
        let mut interfaces = Interfaces::default();
        for (snaplen, name, number) in
            [(65_535, "eth1", 0), (0, "eth1", 0), (96, "eth2", 1), (8192, "eth1", 0)]
        {
            let interface = Interface { link_type: LinkType::ETHERNET, snaplen, name: name.into() };
            assert_eq!(interfaces.announce(&interface).unwrap(), number, "{snaplen} {name}");
        }
        assert!(interfaces.known.iter().all(|interface| interface.snaplen == 262_144));
    }
}
