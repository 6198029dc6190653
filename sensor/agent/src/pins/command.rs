//! `hindcapd pin`, `unpin` and `pins`, on a store that nobody records into.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hindcap_extract::priority;
use hindcap_store::events::open_pins;
use hindcap_store::volume::any::{AnyVolume, Place};
use hindcap_store::volume::fat::FatError;
use hindcap_store::{Store, StoreError, StoreOptions, StoreSize};
use hindcap_wire::limits::{HOLD_WHO_BYTES_MAX, PIN_SECS_MAX, REQUEST_TEXT_BYTES_MAX};
use hindcap_wire::message::{Pin, PinId, PinInfo, PinList, PinState};
use hindcap_wire::time::{ClockState, NANOS_PER_SEC};

use super::worker::Work;
use super::{Now, Pins, decode, pass};
use crate::capture::reading;
use crate::cli::{PinArgs, UnpinArgs, WholeStoreArgs};
use crate::clock::{Clock, SYNCHRONISED_MARKER, wall};
use crate::exit::{Code, Failure};
use crate::machine::random;
use crate::query::open_to_follow;
use crate::stdout;

/// Nobody records here, so everything is on the medium.
const FLUSHED: Duration = Duration::ZERO;

/// What there is without an event ring.
#[must_use]
pub fn no_event_ring(path: &Path) -> String {
    match Place::parse(path) {
        Place::Dir(path) => format!(
            "{}: the store has no event ring to pin sessions into; --event-share (or policy.event_share) gives it one",
            path.display()
        ),
        Place::Fat(card) => FatError::NoEventRing { name: card.display().to_string() }.to_string(),
    }
}

/// Who records into the store has its event ring as well.
fn busy(error: StoreError) -> Failure {
    match error {
        StoreError::InUse { .. } => {
            format!("{error}; while it is, pins are made through its broker: 'hindcap pin'").into()
        }
        error => error.into(),
    }
}

/// The store's list, its event ring, and what copies for it.
fn opened(path: &Path) -> Result<(Pins, Store<AnyVolume>, Work), Failure> {
    let store = Store::open_any(&StoreOptions::new(path, StoreSize::Keep)).map_err(busy)?;
    let door = store.events_door();
    let work = Work {
        store: path.to_owned(),
        door,
        flush_interval: FLUSHED,
        hash_chain: true,
        health: None,
        max_age_secs: None,
    };
    let pins = Pins::new(path);
    // On a card its lock goes on with the event ring.
    let events = work.open(&pins).map_err(busy)?.ok_or_else(|| no_event_ring(path))?;
    Ok((pins, events, work))
}

/// Copies the sessions of a query into the event ring; what a later recorder gets of them follows.
///
/// # Errors
/// The store cannot be written, has no event ring, or the query cannot be meant.
pub fn pin(args: &PinArgs) -> Result<Code, Failure> {
    let doing = |failure: Failure| failure.doing("pin");
    if let Err(error) = priority::idle() {
        log::debug!("no idle priority: {error}");
    }
    let secs = args.lasts.0 / NANOS_PER_SEC;
    if !(1..=PIN_SECS_MAX).contains(&secs) {
        return Err(doing(format!("--for: from 1 s to {} days", PIN_SECS_MAX / 86_400).into()));
    }
    let (why, who) = (args.reason.clone().unwrap_or_default(), args.who.clone());
    if why.len() > REQUEST_TEXT_BYTES_MAX || who.as_ref().is_some_and(|who| who.len() > HOLD_WHO_BYTES_MAX) {
        let what = format!("--reason has {REQUEST_TEXT_BYTES_MAX} bytes at most, --who {HOLD_WHO_BYTES_MAX}");
        return Err(doing(what.into()));
    }
    let now = wall();
    let asked = Pin {
        query: args.query.query(now)?,
        for_secs: Some(secs),
        max_bytes: args.max_bytes.map(|size| size.0),
        who,
    };
    let (pins, events, work) = opened(&args.store.store).map_err(doing)?;
    let mut clock = Clock::new(SYNCHRONISED_MARKER.into());
    let reading = reading(&mut clock);
    let id = PinId::new(u64::from_le_bytes(random()?));
    let made = pins.pin(id, &asked, &why, reading).map_err(|error| doing(error.into()))?;
    let mut copier = work.copier(events).map_err(doing)?;
    let mut reader = open_to_follow(&args.store.store).map_err(doing)?;
    let trusted = reading.clock == ClockState::Synchronised;
    let now = Now { reading, trusted, imports: false };
    pass(&pins, &mut copier, &mut reader, now, &AtomicBool::new(false)).map_err(|why| doing(why.into()))?;
    copier.close().map_err(|error| doing(error.into()))?;
    let list = pins.list().pins;
    let done = list.iter().find(|pin| pin.id == made.id).unwrap_or(&made);
    stdout::answer(args.json, done, format_args!("{done}\n"))?;
    Ok(code(done))
}

fn code(pin: &PinInfo) -> Code {
    match pin.state {
        PinState::Failed => Code::Error,
        _ if pin.segments_missed > 0 || pin.state == PinState::Full => Code::Partial,
        _ => Code::Done,
    }
}

/// Ends a pin.
///
/// # Errors
/// There is no such pin, or the store is in use.
pub fn unpin(args: &UnpinArgs) -> Result<Code, Failure> {
    let doing = |failure: Failure| failure.doing("unpin");
    let (pins, _events, _work) = opened(&args.store.store).map_err(doing)?;
    let pin = pins.unpin(args.pin).map_err(|error| doing(error.into()))?;
    stdout::answer(args.json, &pin, format_args!("{pin}\n"))?;
    Ok(Code::Done)
}

/// Lists the pins as they lie on the medium, beside a recorder.
///
/// # Errors
/// There is no event ring, or the list cannot be read.
pub fn pins(args: &WholeStoreArgs) -> Result<Code, Failure> {
    let path = &args.store.store;
    let (_, bytes) = open_pins(path)?.ok_or_else(|| Failure::from(no_event_ring(path)).doing("pins"))?;
    let list = PinList { pins: decode(&bytes) };
    stdout::answer(args.json, &list, &list)?;
    Ok(Code::Done)
}
