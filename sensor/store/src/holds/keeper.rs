//! Which segments an order gets, and when a hold ends. Arithmetic alone: nothing here reads a clock or a medium.
//!
//! # When a hold ends
//!
//! By the wall clock, but a clock that is wrong must never end one early; ending late costs room, ending early costs
//! evidence. So a hold ends only while the clock is synchronised, and only once it has been steady: for an hour after the
//! recorder's start or after it was not synchronised, for a day after a step. A hold made under a clock that is not
//! synchronised is not dated at all; it counts from the first synchronised moment on. A clock that goes back ends nothing.

use hindcap_wire::counted::Counted;
use hindcap_wire::message::{Held, HoldId, HoldPart, Released};
use hindcap_wire::time::{ClockState, NANOS_PER_SEC, Timestamp};

use super::{Hold, HoldError, HoldOrder, Keep};
use crate::Reading;
use crate::ring::Ring;

/// How long the clock must have been synchronised, after a start or a time without, before it ends holds.
const STEADY_NANOS: u64 = 3_600 * NANOS_PER_SEC;
/// How long after it has stepped.
const STEPPED_NANOS: u64 = 86_400 * NANOS_PER_SEC;

/// Whether the clock may end holds, and whatever else is not to end early.
#[derive(Clone, Copy, Debug)]
pub struct Steadiness {
    steady_nanos: u64,
    stepped_nanos: u64,
    /// Monotonic time from which on it may.
    from: u64,
}

impl Steadiness {
    pub(crate) const fn new(now: Reading) -> Self {
        Self::with(now, STEADY_NANOS, STEPPED_NANOS)
    }

    /// One that asks for other lengths of time: synchronised for the first, not stepped for the second.
    #[must_use]
    pub const fn with(now: Reading, steady_nanos: u64, stepped_nanos: u64) -> Self {
        Self { steady_nanos, stepped_nanos, from: now.monotonic_nanos.saturating_add(steady_nanos) }
    }

    /// The wall clock has stepped.
    pub fn stepped(&mut self, now: Reading) {
        self.from = self.from.max(now.monotonic_nanos.saturating_add(self.stepped_nanos));
    }

    /// Whether a wall clock reading can end something that is not to end early.
    pub fn trusts(&mut self, now: Reading) -> bool {
        if now.clock == ClockState::NotSynchronised {
            self.from = self.from.max(now.monotonic_nanos.saturating_add(self.steady_nanos));
        }
        now.monotonic_nanos >= self.from
    }
}

/// Adds the hold that `order` asks for.
pub(crate) fn hold(
    keep: &Keep,
    ring: &Ring,
    order: &HoldOrder,
    now: Reading,
    segment_bytes: u32,
) -> Result<(Keep, Held), HoldError> {
    order.check()?;
    let (present, usable) = (ring.generations_used(), ring.usable());
    let answer = |keep: &Keep, gone| {
        let hold = keep.holds.iter().find(|hold| hold.id == order.id);
        let hold = hold.ok_or(HoldError::Unknown(order.id))?.info(&present, segment_bytes);
        Ok(Held { hold, gone, share: keep.share(&present, usable, segment_bytes) })
    };
    if keep.holds.iter().any(|hold| hold.id == order.id) {
        return answer(keep, 0).map(|held| (keep.clone(), held));
    }
    let follows = order.window.end != Timestamp::MAX && order.window.end > now.wall;
    let mut wanted: Vec<u64> = order.generations.clone();
    wanted.sort_unstable();
    wanted.dedup();
    let asked = wanted.len();
    wanted.retain(|generation| present.binary_search(generation).is_ok());
    let gone = (asked - wanted.len()) as u32;
    if wanted.is_empty() && !follows {
        return Err(HoldError::Nothing);
    }
    if keep.segments_max(usable) == 0 {
        return Err(HoldError::NoShare);
    }
    let left_out = fit(keep, &present, usable, &mut wanted, order.partial, segment_bytes)?;
    let synchronised = now.clock != ClockState::NotSynchronised;
    let created_secs = now.wall.0 / NANOS_PER_SEC;
    let mut after = keep.clone();
    after.generation = ring.highest();
    after.holds.push(Hold {
        id: order.id,
        who: order.who.clone(),
        why: order.why.clone(),
        created_secs,
        expires_secs: if synchronised { created_secs.saturating_add(order.lasts_secs).max(1) } else { 0 },
        lasts_secs: order.lasts_secs,
        window_secs: (order.window.start.0 / NANOS_PER_SEC, order.window.end.0.div_ceil(NANOS_PER_SEC)),
        follows,
        after: ring.highest(),
        left_out,
        ranges: ranges(&wanted),
    });
    if !after.fits() {
        return Err(HoldError::TableFull);
    }
    let held = answer(&after, gone)?;
    Ok((after, held))
}

/// Cuts `wanted` to what there is room for; says how many are left out.
fn fit(
    keep: &Keep,
    present: &[u64],
    usable: u32,
    wanted: &mut Vec<u64>,
    partial: Option<HoldPart>,
    segment_bytes: u32,
) -> Result<u32, HoldError> {
    let share = keep.share(present, usable, segment_bytes);
    let free = share.segments_max.saturating_sub(share.segments);
    let needs = wanted.iter().filter(|generation| !keep.is_held(**generation)).count() as u32;
    if needs <= free {
        return Ok(0);
    }
    let no_room = HoldError::NoRoom {
        needs,
        needs_bytes: u64::from(needs) * u64::from(segment_bytes),
        free,
        segments_max: share.segments_max,
    };
    let Some(part) = partial.filter(|_| free > 0) else { return Err(no_room) };
    // What another hold keeps anyway costs nothing.
    let mut room = free;
    let mut take = |generation: &u64| {
        let costs = u32::from(!keep.is_held(*generation));
        let fits = costs <= room;
        room -= if fits { costs } else { 0 };
        fits
    };
    let before = wanted.len();
    match part {
        HoldPart::Oldest => wanted.retain(&mut take),
        HoldPart::Newest => {
            wanted.reverse();
            wanted.retain(&mut take);
            wanted.reverse();
        }
    }
    Ok((before - wanted.len()) as u32)
}

/// Ascending generations as ranges.
fn ranges(generations: &[u64]) -> Vec<(u64, u32)> {
    let mut ranges: Vec<(u64, u32)> = Vec::new();
    for &generation in generations {
        match ranges.last_mut() {
            Some((first, count)) if *first + u64::from(*count) == generation => *count += 1,
            _ => ranges.push((generation, 1)),
        }
    }
    ranges
}

/// Ends a hold.
pub(crate) fn release(
    keep: &Keep,
    ring: &Ring,
    id: HoldId,
    segment_bytes: u32,
) -> Result<(Keep, Released), HoldError> {
    let mut after = keep.clone();
    after.holds.retain(|hold| hold.id != id);
    if after.holds.len() == keep.holds.len() {
        return Err(HoldError::Unknown(id));
    }
    let (present, usable) = (ring.generations_used(), ring.usable());
    let (before, share) =
        (keep.share(&present, usable, segment_bytes), after.share(&present, usable, segment_bytes));
    let released = Released { hold: id, segments: before.segments - share.segments, share };
    Ok((after, released))
}

/// What the passing of time changes: holds that end, and holds that find a clock to be dated by. `trusted`: the wall clock
/// may end something.
pub(crate) fn pass(keep: &Keep, now: Reading, trusted: bool) -> Option<Keep> {
    let wall = now.wall.0 / NANOS_PER_SEC;
    let ends = |hold: &Hold| trusted && hold.expires_secs > 0 && hold.expires_secs <= wall;
    let undated = |hold: &Hold| hold.expires_secs == 0 && now.clock != ClockState::NotSynchronised;
    if !keep.holds.iter().any(|hold| ends(hold) || undated(hold)) {
        return None;
    }
    let mut after = keep.clone();
    after.holds.retain(|hold| {
        if ends(hold) {
            log::info!("hold {} ends: its time is over", hold.id);
        }
        !ends(hold)
    });
    for hold in after.holds.iter_mut().filter(|hold| undated(hold)) {
        hold.expires_secs = wall.saturating_add(hold.lasts_secs).max(1);
    }
    Some(after)
}

/// A segment is sealed, with packets of `times`, or nobody knows of which (first > last): holds that follow take it.
pub(crate) fn sealed(
    keep: &Keep,
    ring: &Ring,
    generation: u64,
    times: (Timestamp, Timestamp),
    segment_bytes: u32,
) -> Option<Keep> {
    let (first, last) = times;
    let takes = |hold: &Hold| {
        let touches = first > last || hold.window().touches(first, last);
        hold.follows && generation > hold.after && touches && !hold.names(generation)
    };
    if !keep.holds.iter().any(takes) {
        return None;
    }
    let share = keep.share(&ring.generations_used(), ring.usable(), segment_bytes);
    let room = share.segments < share.segments_max || keep.is_held(generation);
    let mut after = keep.clone();
    for hold in after.holds.iter_mut().filter(|hold| takes(hold)) {
        if room {
            add(&mut hold.ranges, generation);
        } else {
            hold.left_out = hold.left_out.saturating_add(1);
        }
    }
    if !room || !after.fits() {
        log::warn!(
            "segment of generation {generation} is asked for by a hold, but holds take {} of {} already",
            share.segments,
            Counted(share.segments_max.into(), "segment")
        );
    }
    after.fits().then_some(after)
}

/// Adds a generation to ascending ranges.
fn add(ranges: &mut Vec<(u64, u32)>, generation: u64) {
    let mut all: Vec<u64> =
        ranges.iter().flat_map(|(first, count)| *first..*first + u64::from(*count)).collect();
    all.push(generation);
    all.sort_unstable();
    *ranges = self::ranges(&all);
}
