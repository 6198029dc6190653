//! The recorder's front: what the capture thread calls.

use std::sync::Arc;

use hindcap_wire::drops::DropCounts;
use hindcap_wire::ledger::EventKind;
use hindcap_wire::packet::{Interface, Packet};

use crate::volume::VolumeWrite;
use crate::{Health, Reading, RecorderOptions, Store, StoreError};

/// Records packets into a store. Made by [`Store::recorder`].
#[derive(Debug)]
pub struct Recorder {
    health: Arc<Health>,
}

impl<V: VolumeWrite + Send + 'static> Store<V> {
    /// Recovers what the last recorder left open, and goes on recording.
    ///
    /// # Errors
    /// The volume cannot be read, or an option makes no sense.
    pub fn recorder(self, _options: RecorderOptions, _now: Reading) -> Result<Recorder, StoreError> {
        Err(StoreError::Option { what: "recording is not built yet" })
    }
}

impl Recorder {
    /// Announces an interface; returns the store-wide number that packets of it carry in [`Packet::interface`]. Equal
    /// interfaces share a number.
    ///
    /// # Errors
    /// [`StoreError::TooManyInterfaces`].
    pub fn interface(&mut self, _interface: &Interface) -> Result<u32, StoreError> {
        Err(StoreError::TooManyInterfaces)
    }

    /// Records one packet: looked into, indexed, copied once. Neither fails nor blocks nor allocates (with the inline back
    /// end it writes when a batch is full); what cannot be kept is counted as dropped.
    pub fn push(&mut self, _packet: &Packet<'_>) {}

    /// Lets time pass: closes a batch that is due, looks after storage that failed, accounts for `drops` (cumulative
    /// since the source was opened). Call it at least every 100 ms.
    pub fn tick(&mut self, _now: Reading, _drops: DropCounts) {}

    /// Records that something happened.
    pub fn event(&mut self, _kind: EventKind) {}

    /// Writes what there is, without sealing, and lets go of the store.
    ///
    /// # Errors
    /// The last batches could not be made durable; the health says what is lost.
    pub fn close(self, _now: Reading) -> Result<(), StoreError> {
        Ok(())
    }

    /// Counters, for any thread.
    #[must_use]
    pub fn health(&self) -> Arc<Health> {
        Arc::clone(&self.health)
    }
}
