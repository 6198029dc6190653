//! Holds in a store that nobody records into.

use hindcap_wire::message::{Held, HoldId, Released};

use super::{HoldError, HoldOrder, Keep, keeper};
use crate::ring::Ring;
use crate::volume::VolumeWrite;
use crate::{Reading, Store};

impl<V: VolumeWrite> Store<V> {
    /// Holds segments; durable when it returns.
    ///
    /// # Errors
    /// Why nothing is held.
    pub fn hold(&mut self, order: &HoldOrder, now: Reading) -> Result<Held, HoldError> {
        let (ring, segment_bytes) = self.ring();
        let (keep, held) = keeper::hold(&self.state.keep, &ring, order, now, segment_bytes)?;
        self.write_keep(keep).map(|()| held)
    }

    /// Ends a hold; durable when it returns.
    ///
    /// # Errors
    /// There is no such hold, or the state cannot be written.
    pub fn release(&mut self, id: HoldId) -> Result<Released, HoldError> {
        let (ring, segment_bytes) = self.ring();
        let (keep, released) = keeper::release(&self.state.keep, &ring, id, segment_bytes)?;
        self.write_keep(keep).map(|()| released)
    }

    fn ring(&self) -> (Ring, u32) {
        let mut ring = Ring::scan(&self.volume, &self.state.uuid);
        ring.set_keep(&self.state.keep);
        (ring, self.volume.geometry().segment_bytes)
    }

    fn write_keep(&mut self, keep: Keep) -> Result<(), HoldError> {
        let before = std::mem::replace(&mut self.state.keep, keep);
        if let Err(error) = self.state.store_twice(&mut self.volume) {
            self.state.keep = before;
            return Err(HoldError::Storage(error.to_string()));
        }
        Ok(())
    }
}
