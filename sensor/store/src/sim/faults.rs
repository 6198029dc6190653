//! A medium that fails: at each operation in turn an error, once or several times, with or without half of the bytes
//! written; and flushes that lie. Whatever fails, what was acknowledged is there and right, what is lost is counted by
//! cause, and recording goes on. The same for every volume.
//!
//! `HINDCAP_FAULT_STEP` sets at every how many-th flush a lie is told (4 without; 1 is all of them).

use hindcap_wire::drops::{DropCause, DropCounts};
use hindcap_wire::packet::{Interface, LinkType, Packet};
use hindcap_wire::time::Timestamp;

use super::drive::{Driver, Logged as _, Medium, Run, UUID, content, reading};
use super::explore::{explore_lying, served};
use crate::ring::read_header;
use crate::scan::{chunk_buffer, scan_batches};
use crate::volume::VolumeWrite;
use crate::{RecorderOptions, Store};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

/// What fails, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trouble {
    /// The first operation, and how many.
    pub from: usize,
    pub count: usize,
    pub errno: i32,
    /// Writes leave their first half behind.
    pub short: bool,
    /// And nobody is told.
    pub silent: bool,
}

/// A medium that can be made to fail.
pub(crate) trait Faulty: Medium {
    /// Formatted, with room for several segments that are given up.
    fn fresh() -> Self;
    /// Writes and flushes so far.
    fn operations(&self) -> usize;
    fn fail(&self, trouble: Option<Trouble>);
}

/// One failing operation after the other. Gives the number of runs.
pub(crate) fn fail_everywhere<M: Faulty>(step: usize) -> Result<u32, String> {
    let operations = healthy_operations::<M>()?;
    let mut runs = 0;
    for (errno, short) in [(EIO, false), (EIO, true), (ENOSPC, false), (ENOSPC, true), (EROFS, false)] {
        for count in [1, 2, 5] {
            for at in (0..operations).step_by(step) {
                let trouble = Trouble { from: at, count, errno, short, silent: false };
                short_run::<M>(Some(trouble)).map_err(|error| format!("{trouble:?}: {error}"))?;
                runs += 1;
            }
        }
    }
    Ok(runs)
}

/// As if nobody looked at what writes and flushes return: must be caught.
pub(crate) fn fail_silently<M: Faulty>() -> Result<(), String> {
    for at in 0..healthy_operations::<M>()? {
        short_run::<M>(Some(Trouble { from: at, count: 1, errno: EIO, short: true, silent: true }))?;
    }
    Ok(())
}

fn healthy_operations<M: Faulty>() -> Result<usize, String> {
    let (before, volume) = short_run::<M>(None)?;
    let operations = volume.operations() - before;
    assert!(operations > 30, "{operations}");
    Ok(operations)
}

/// Every so many-th flush of a run lies. Gives the number of crash states.
pub(crate) fn lie_everywhere<M: Medium>(run: &Run<M>, start: &M::Image) -> Result<u32, String> {
    let step = std::env::var("HINDCAP_FAULT_STEP").ok().and_then(|step| step.parse().ok()).unwrap_or(4_usize);
    let flushes = (0..run.log.len()).filter(|at| !run.log[*at].is_write());
    let mut states = 0;
    for lie in flushes.step_by(step.max(1)) {
        states += explore_lying(run, start, 1, Some(lie))
            .map_err(|error| format!("the flush of operation {lie} lied: {error}"))?;
    }
    Ok(states)
}

/// Records with rotation on a medium that fails; checks what is there against what was acknowledged and what was counted
/// as dropped. Gives the operations before it began.
fn short_run<M: Faulty>(trouble: Option<Trouble>) -> Result<(usize, M), String> {
    let volume = M::fresh();
    let mut driver = Driver::new(volume.clone());
    let store = Store::mount(volume.clone()).map_err(|error| error.to_string())?;
    let before = volume.operations();
    volume.fail(trouble.map(|trouble| Trouble { from: before + trouble.from, ..trouble }));
    let options = RecorderOptions { hash_chain: false, ..RecorderOptions::inline() };
    let mut recorder = store.recorder(options, reading(0)).map_err(|error| error.to_string())?;
    let tap = Interface { link_type: LinkType::RAW, snaplen: 0, name: "tap".into() };
    let interface = recorder.interface(&tap).map_err(|error| error.to_string())?;
    let (mut pushed, mut now) = (0_u32, 0);
    for step in 0..14 {
        for _ in 0..1 + step % 4 {
            let bytes = content(pushed);
            let orig_len = bytes.len() as u32;
            recorder.push(&Packet { timestamp: Timestamp(1), interface, orig_len, bytes: &bytes });
            pushed += 1;
        }
        now += 20_000;
        recorder.tick(reading(now), DropCounts::default());
        if step == 6 {
            recorder.rotate();
        }
    }
    let health = recorder.health();
    let closed = recorder.close(reading(now + 60_000));
    volume.fail(None);
    let snapshot = health.snapshot();
    let found = served(&volume, pushed)?;
    if (found.len() as u64) < snapshot.packets_acked {
        return Err(format!(
            "{} packets were acknowledged, {} are there",
            snapshot.packets_acked,
            found.len()
        ));
    }
    if closed.is_ok() {
        let told = told_drops(&volume);
        if snapshot.packets_acked + told.total() != u64::from(pushed) {
            let acked = snapshot.packets_acked;
            return Err(format!("{pushed} packets, {acked} acknowledged, told as dropped: {told:?}"));
        }
        if told.total() != told.get(DropCause::StorageError) {
            return Err(format!("lost by another cause than storage: {told:?}"));
        }
    }
    // And the next recorder goes on.
    (driver.next, driver.now) = (pushed, now + 100_000);
    driver.start();
    driver.push(2);
    driver.wait(6_000);
    if driver.believed.len() < 2 || !driver.believed.is_subset(&served(&volume, pushed + 2)?) {
        return Err(String::from("recording did not go on"));
    }
    Ok((before, volume))
}

fn told_drops(volume: &impl VolumeWrite) -> DropCounts {
    let mut told = DropCounts::default();
    for number in 0..volume.geometry().segments {
        let Some(header) = read_header(volume, &UUID, number) else { continue };
        scan_batches(volume, number, &header, &mut chunk_buffer(), |commit, _| {
            told = told.plus(&commit.drops)
        });
    }
    told
}
