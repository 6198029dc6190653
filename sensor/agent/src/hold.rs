//! `hindcapd hold`, `release` and `holds`: segments that keep their place although their turn has come, in a store that
//! nobody records into. While somebody does, `hindcap hold` asks the recorder itself through the broker; [`order`] makes of
//! either the same.

use hindcap_extract::{ExtractError, plan};
use hindcap_store::holds::{HOLD_SECS_DEFAULT, HoldError, HoldOrder};
use hindcap_store::volume::any::AnyVolume;
use hindcap_store::volume::{VolumeRead, any::AnyReader};
use hindcap_store::{Reader, ReaderOptions, Store, StoreError, StoreOptions, StoreSize, open_reader};
use hindcap_wire::message::{Hold, HoldId, HoldList};
use hindcap_wire::time::NANOS_PER_SEC;

use crate::capture::reading;
use crate::cli::{HoldArgs, HoldsArgs, ReleaseArgs};
use crate::clock::{Clock, SYNCHRONISED_MARKER, wall};
use crate::exit::{Code, Failure};
use crate::machine::random_number;
use crate::query::{open, step_back};
use crate::stdout;

/// What `hold` asks for, as the store takes it: the segments in which its query may match.
///
/// # Errors
/// The query cannot be meant, or the store cannot be read.
pub fn order<V: VolumeRead>(
    reader: &mut Reader<V>,
    hold: &Hold,
    id: HoldId,
    why: Option<&str>,
) -> Result<HoldOrder, ExtractError> {
    Ok(HoldOrder {
        id,
        who: hold.who.clone().unwrap_or_default(),
        why: why.unwrap_or_default().to_owned(),
        lasts_secs: hold.for_secs.unwrap_or(HOLD_SECS_DEFAULT),
        window: hold.query.time,
        generations: plan(reader, &hold.query)?.generations().to_vec(),
        partial: hold.partial,
    })
}

/// Opens the store for writing, or says who can do it instead.
///
/// # Errors
/// As [`Store::open_any`].
pub fn open_to_hold(path: &std::path::Path) -> Result<Store<AnyVolume>, Failure> {
    Store::open_any(&StoreOptions::new(path, StoreSize::Keep)).map_err(|error| match error {
        StoreError::InUse { .. } => Failure::new(
            Code::Error,
            format!(
                "{error}; its recorder takes holds through the broker: use 'hindcap hold', 'hindcap release'"
            ),
        ),
        error => error.into(),
    })
}

/// Holds segments.
///
/// # Errors
/// The store is in use, or nothing is held; the reason is given.
pub fn hold(args: &HoldArgs) -> Result<Code, Failure> {
    let doing = |failure: Failure| failure.doing("hold");
    step_back();
    let now = wall();
    let hold = Hold {
        query: args.query.query(now)?,
        for_secs: args.lasts.map(|span| span.0 / NANOS_PER_SEC),
        partial: args.partial,
        who: args.who.clone(),
    };
    let id = HoldId::new(random_number());
    let order = order(&mut open(&args.store.store)?, &hold, id, args.reason.as_deref())
        .map_err(|e| doing(e.into()))?;
    let mut store = open_to_hold(&args.store.store).map_err(doing)?;
    let mut clock = Clock::new(SYNCHRONISED_MARKER.into());
    let held = store.hold(&order, reading(&mut clock)).map_err(|error| doing(refusal(error)))?;
    stdout::answer(args.json, &held, &held)?;
    Ok(if held.hold.left_out > 0 || held.gone > 0 { Code::Partial } else { Code::Done })
}

/// Ends a hold.
///
/// # Errors
/// The store is in use, or there is no such hold.
pub fn release(args: &ReleaseArgs) -> Result<Code, Failure> {
    let doing = |failure: Failure| failure.doing("release");
    let mut store = open_to_hold(&args.store.store).map_err(doing)?;
    let released = store.release(args.hold).map_err(|error| doing(refusal(error)))?;
    stdout::answer(args.json, &released, released)?;
    Ok(Code::Done)
}

/// Lists the holds; also beside a recorder.
///
/// # Errors
/// There is no store, or it cannot be read.
pub fn holds(args: &HoldsArgs) -> Result<Code, Failure> {
    let list = list(&args.store.store).map_err(|failure| failure.doing("holds"))?;
    stdout::answer(args.json, &list, &list)?;
    Ok(Code::Done)
}

/// The holds of the store at `path`, as its state tells.
///
/// # Errors
/// There is no store, or it cannot be read.
pub fn list(path: &std::path::Path) -> Result<HoldList, Failure> {
    let (volume, state) = open_reader(path)?;
    let (usable, segment_bytes) = (usable(&volume), volume.geometry().segment_bytes);
    let reader = Reader::open(volume, ReaderOptions::default())?;
    let present: Vec<u64> = reader.segments().iter().map(|segment| segment.generation).collect();
    Ok(state.keep.list(&present, usable, segment_bytes))
}

/// Segments that recording may use.
pub fn usable(volume: &AnyReader) -> u32 {
    let segments = 0..volume.geometry().segments;
    u32::try_from(segments.filter(|number| volume.is_usable(*number)).count()).unwrap_or(u32::MAX)
}

fn refusal(error: HoldError) -> Failure {
    let code = if matches!(error, HoldError::Nothing) { Code::NothingMatched } else { Code::Error };
    Failure::new(code, error)
}
