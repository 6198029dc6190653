//! A card slot: cards are pulled, put in, swapped, write-protected and held up, while a recorder is at it.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use crate::volume::block::{BlockDev, DevGeometry, OpenError, RamDev};

/// The slot, and what is in it. Clones are the same slot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slot {
    shared: Arc<(Mutex<Inner>, Condvar)>,
}

#[derive(Debug, Default)]
struct Inner {
    card: Option<RamDev>,
    /// Rises with every card put in: a descriptor of the one before is dead.
    insertion: u32,
    /// Writes and flushes that still succeed before the card is pulled.
    pull_after: Option<usize>,
    /// The number of the error that writes fail with.
    writes_fail: Option<Errno>,
    /// What a descriptor of a pulled card says.
    gone: Option<Errno>,
    held: bool,
    /// Writes and flushes that wait while held.
    waiting: usize,
    opens: usize,
}

impl Slot {
    pub(crate) fn with(card: &RamDev) -> Self {
        let slot = Self::default();
        slot.insert(card);
        slot
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn insert(&self, card: &RamDev) {
        let mut inner = self.inner();
        inner.card = Some(card.clone());
        inner.insertion += 1;
    }

    /// Puts the card in, unless one is in.
    pub(crate) fn insert_if_empty(&self, card: &RamDev) {
        if self.is_empty() {
            self.insert(card);
        }
    }

    pub(crate) fn pull(&self) {
        self.inner().card = None;
    }

    /// Pulls the card once so many more writes and flushes are done; `errno` is what its users get to see.
    pub(crate) fn pull_after(&self, operations: usize, errno: Errno) {
        let mut inner = self.inner();
        (inner.pull_after, inner.gone) = (Some(operations), Some(errno));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.inner().card.is_none()
    }

    pub(crate) fn writes_fail(&self, errno: Option<Errno>) {
        self.inner().writes_fail = errno;
    }

    /// Writes and flushes wait until they are let go.
    pub(crate) fn hold(&self) {
        self.inner().held = true;
    }

    pub(crate) fn let_go(&self) {
        self.inner().held = false;
        self.shared.1.notify_all();
    }

    /// Returns when somebody waits.
    pub(crate) fn wait_for_waiting(&self) {
        let mut inner = self.inner();
        while inner.waiting == 0 {
            inner = self.shared.1.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// How often somebody tried to open what is in it.
    pub(crate) fn opens(&self) -> usize {
        self.inner().opens
    }

    /// The device, as a program opens it.
    pub(crate) fn device(&self) -> SlotDev {
        let inner = self.inner();
        let card = inner.card.clone().expect("a card is in the slot");
        SlotDev { slot: self.clone(), insertion: inner.insertion, card }
    }
}

/// An open descriptor of a card.
#[derive(Clone, Debug)]
pub(crate) struct SlotDev {
    slot: Slot,
    insertion: u32,
    card: RamDev,
}

impl SlotDev {
    fn there(&self) -> io::Result<MutexGuard<'_, Inner>> {
        let inner = self.slot.inner();
        if inner.card.is_some() && inner.insertion == self.insertion {
            return Ok(inner);
        }
        Err(io::Error::from_raw_os_error(inner.gone.unwrap_or(Errno::NODEV).raw_os_error()))
    }

    fn operation(&self) -> io::Result<()> {
        let mut inner = self.there()?;
        if inner.pull_after == Some(0) {
            (inner.card, inner.pull_after) = (None, None);
            drop(inner);
            return self.there().map(|_| ());
        }
        inner.pull_after = inner.pull_after.map(|operations| operations - 1);
        while inner.held {
            inner.waiting += 1;
            self.slot.shared.1.notify_all();
            inner = self.slot.shared.1.wait(inner).unwrap_or_else(PoisonError::into_inner);
            inner.waiting -= 1;
        }
        inner.writes_fail.map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno.raw_os_error())))
    }
}

impl BlockDev for SlotDev {
    fn geometry(&self) -> DevGeometry {
        self.card.geometry()
    }

    fn name(&self) -> String {
        String::from("slot")
    }

    fn read(&self, lba: u64, buf: &mut [u8]) -> io::Result<()> {
        drop(self.there()?);
        self.card.read(lba, buf)
    }

    fn write(&mut self, lba: u64, bytes: &[u8]) -> io::Result<()> {
        self.operation()?;
        self.card.write(lba, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.operation()?;
        self.card.flush()
    }

    fn discard(&mut self, _lba: u64, _sectors: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// As a stat of a device node that a kernel keeps while it is open: only using it tells.
    fn is_there(&self) -> io::Result<()> {
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), OpenError> {
        let mut inner = self.slot.inner();
        inner.opens += 1;
        let missing = || OpenError::Io {
            operation: "open",
            path: "slot".into(),
            source: io::Error::from_raw_os_error(Errno::NOMEDIUM.raw_os_error()),
        };
        (self.card, self.insertion) = (inner.card.clone().ok_or_else(missing)?, inner.insertion);
        Ok(())
    }
}
