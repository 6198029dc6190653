//! How a hold reaches a recorder at work: a channel that is looked at in `tick`, never while a packet is pushed.

use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use hindcap_wire::message::{Held, HoldId, Released};

use super::{HoldError, HoldOrder};

/// What is asked, and whom to answer.
#[derive(Debug)]
pub(crate) enum Command {
    Hold(Box<HoldOrder>, Sender<Result<Held, HoldError>>),
    Release(HoldId, Sender<Result<Released, HoldError>>),
}

/// Reaches a recorder; from any thread.
#[derive(Clone, Debug)]
pub struct HoldControl(Sender<Command>);

/// The recorder's end, and the other one to give away.
#[derive(Debug)]
pub(crate) struct Mailbox {
    pub(crate) inbox: Receiver<Command>,
    control: HoldControl,
}

impl Mailbox {
    pub(crate) fn new() -> Self {
        let (sender, inbox) = mpsc::channel();
        Self { inbox, control: HoldControl(sender) }
    }

    pub(crate) fn control(&self) -> HoldControl {
        self.control.clone()
    }
}

impl HoldControl {
    /// Holds segments; returns when the hold is durable.
    ///
    /// # Errors
    /// Why nothing is held; [`HoldError::Gone`] when the recorder does not answer within `patience`.
    pub fn hold(&self, order: HoldOrder, patience: Duration) -> Result<Held, HoldError> {
        let answer = self.ask_hold(order);
        answer.recv_timeout(patience).unwrap_or(Err(HoldError::Gone))
    }

    /// Ends a hold; returns when that is durable.
    ///
    /// # Errors
    /// As [`HoldControl::hold`].
    pub fn release(&self, id: HoldId, patience: Duration) -> Result<Released, HoldError> {
        let answer = self.ask_release(id);
        answer.recv_timeout(patience).unwrap_or(Err(HoldError::Gone))
    }

    /// Asks for a hold without waiting; the answer comes through the receiver.
    pub fn ask_hold(&self, order: HoldOrder) -> Receiver<Result<Held, HoldError>> {
        let (reply, answer) = mpsc::channel();
        // A recorder that has ended drops the reply's sender with the command: the receiver notices.
        let _ = self.0.send(Command::Hold(Box::new(order), reply));
        answer
    }

    /// Asks for a release without waiting.
    pub fn ask_release(&self, id: HoldId) -> Receiver<Result<Released, HoldError>> {
        let (reply, answer) = mpsc::channel();
        let _ = self.0.send(Command::Release(id, reply));
        answer
    }
}
