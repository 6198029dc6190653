//! The account of what policy leaves out, on a simulated medium: nothing is counted twice or lost, whatever fails.

use std::collections::BTreeMap;
use std::sync::Arc;

use hindcap_wire::drops::{DropCause, DropCounts};
use hindcap_wire::ledger::{BatchItem, BatchItems, EventKind};
use hindcap_wire::packet::Packet;
use hindcap_wire::policy::{LeftOut, Policy, PolicyReason};
use hindcap_wire::time::Timestamp;

use crate::policy::Control;
use crate::recorder::tests::{ethernet, finished, reading, store};
use crate::ring::read_header;
use crate::scan::{chunk_buffer, scan_batches};
use crate::sim::{Fault, SimVolume};
use crate::volume::VolumeRead;
use crate::{Reindexed, Store, reindex};

const UUID: [u8; 16] = *b"0123456789abcdef";

/// What the batches on the medium say and hold.
#[derive(Debug, Default)]
struct OnDisk {
    packets: u64,
    bytes: u64,
    truncated: u64,
    left_out: LeftOut,
    drops: DropCounts,
    /// Policy steps by generation, each once.
    steps: BTreeMap<u64, Vec<(Policy, Option<u64>, Timestamp)>>,
}

fn on_disk(volume: &SimVolume) -> OnDisk {
    let mut all = OnDisk::default();
    for number in 0..volume.geometry().segments {
        let Some(header) = read_header(volume, &UUID, number) else { continue };
        let steps = all.steps.entry(header.generation).or_default();
        scan_batches(volume, number, &header, &mut chunk_buffer(), |commit, batch| {
            all.left_out = all.left_out.plus(&commit.left_out);
            all.drops = all.drops.plus(&commit.drops);
            for item in BatchItems::new(batch) {
                match item {
                    BatchItem::Packet { packet, .. } => {
                        all.packets += 1;
                        all.bytes += packet.bytes.len() as u64;
                        all.truncated += u64::from(packet.bytes.len() < packet.orig_len as usize);
                    }
                    BatchItem::Event(event) => {
                        if let EventKind::Policy { policy, before } = event.kind {
                            steps.push((policy, before, event.at));
                        }
                    }
                    _ => {}
                }
            }
        });
    }
    all
}

/// A UDP packet of one of some flows.
fn frame(flow: u8, len: usize) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
    bytes.extend(((len - 14) as u16).to_be_bytes());
    bytes.extend([0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 192, 0, 2, flow, 0x30, 0x39, 0x1f, 0x90]);
    bytes.extend(((len - 34) as u16).to_be_bytes());
    bytes.resize(len, flow);
    bytes
}

fn policy(cutoff: u64, sample: u32) -> Policy {
    Policy { cutoff: Some(cutoff), sample, ..Policy::default() }
}

/// Records `packets` of heavy-tailed flows; the captured bytes pushed, and the control.
fn traffic(recorder: &mut crate::Recorder, packets: u32, control: &Arc<Control>) -> u64 {
    let interface = recorder.interface(&ethernet("eth1")).unwrap();
    let mut pushed = 0;
    let mut state = 5_u64;
    for n in 0..packets {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let flow = if state >> 62 == 0 { (state >> 40) as u8 } else { (state >> 40) as u8 % 3 };
        let bytes = frame(flow, 60 + (state >> 33) as usize % 1400);
        let timestamp = Timestamp(1_700_000_000_000_000_000 + u64::from(n) * 100_000);
        let packet = Packet { timestamp, interface, orig_len: bytes.len() as u32, bytes: &bytes };
        // Every fiftieth falls under a skip rule.
        if n % 50 == 0 {
            recorder.skip(&packet)
        } else {
            recorder.push(&packet)
        }
        pushed += bytes.len() as u64;
        if n % 100 == 0 {
            recorder.tick(reading(u64::from(n)), DropCounts::default());
        }
        if n == packets / 2 {
            control.set_cutoff(Some(300_000), PolicyReason::WearBudget);
        }
    }
    recorder.tick(reading(u64::from(packets)), DropCounts::default());
    pushed
}

#[test]
fn packets_and_bytes_are_recorded_or_left_out_and_each_segment_says_by_which_policy() {
    let (volume, mut recorder) = store(8);
    let control = Arc::new(Control::new(policy(1_000_000, 100)));
    recorder.thin(Arc::clone(&control));
    let pushed = traffic(&mut recorder, 30_000, &control);
    let left_out = recorder.left_out();
    assert_eq!(control.left_out(), left_out);
    finished(recorder);
    let disk = on_disk(&volume);
    assert_eq!(disk.left_out, left_out);
    assert_eq!((disk.packets + left_out.packets, disk.drops.total()), (30_000, 0));
    assert_eq!(disk.bytes + left_out.bytes, pushed);
    assert_eq!(disk.truncated, left_out.truncated);
    assert!(left_out.packets > 10_000 && left_out.truncated > 100, "{left_out:?}");

    let first = (policy(1_000_000, 100), None, reading(0).wall);
    let second = Policy { reason: PolicyReason::WearBudget, ..policy(300_000, 100) };
    let second = (second, Some(1_000_000), reading(15_000).wall);
    assert!(disk.steps.len() > 2);
    let steps: Vec<_> = disk.steps.values().flatten().copied().collect();
    let at = steps.iter().position(|step| *step != first).unwrap();
    // The step is told at the next tick.
    assert!(second.2 < steps[at].2 && steps[at].2 <= reading(15_100).wall);
    let second = (second.0, second.1, steps[at].2);
    assert!(at > 0 && steps[at..].iter().all(|step| *step == second), "{steps:?}");
    assert!(disk.steps.values().all(|steps| (1..=2).contains(&steps.len())), "{steps:?}");

    // An index made from the packets alone is the same.
    let mut store = Store::mount(volume.clone()).unwrap();
    let mut done = Vec::new();
    reindex(&mut store, reading(99), |_, _, result| done.push(result)).unwrap();
    let (newest, sealed) = done.split_last().unwrap();
    assert_eq!(*newest, Reindexed::Open);
    assert!(!sealed.is_empty() && sealed.iter().all(|result| *result == Reindexed::Same), "{done:?}");
}

#[test]
fn what_lost_batches_would_have_told_others_tell() {
    let (volume, mut recorder) = store(16);
    let control = Arc::new(Control::new(policy(1_000_000, 10)));
    recorder.thin(Arc::clone(&control));
    let from = volume.operations() + 4;
    volume.set_fault(Some(Fault { from, count: 7, errno: 5 }));
    traffic(&mut recorder, 40_000, &control);
    let (left_out, drops) = (recorder.left_out(), recorder.drops().get(DropCause::StorageError));
    let health = recorder.health();
    recorder.close(reading(500_000)).unwrap();
    assert!(health.snapshot().storage_errors >= 3 && drops > 0);
    let disk = on_disk(&volume);
    // A batch that was written, but whose flush failed, is counted as lost and may be there all the same.
    assert!(disk.left_out.packets >= left_out.packets && disk.left_out.bytes >= left_out.bytes);
    let acked = health.snapshot().packets_acked;
    assert_eq!(acked + drops + left_out.packets, 40_000);
    // Every segment says by which policy, also those begun after a failure.
    assert!(disk.steps.values().all(|steps| !steps.is_empty()), "{:?}", disk.steps);
}

#[test]
fn without_a_policy_nothing_is_left_out_and_no_step_written() {
    let (volume, mut recorder) = store(8);
    let control = Arc::new(Control::new(policy(1_000_000, 10)));
    traffic(&mut recorder, 5_000, &control);
    finished(recorder);
    let disk = on_disk(&volume);
    // The skip rules are the caller's.
    assert_eq!((disk.packets, disk.left_out.packets, disk.truncated), (4_900, 100, 0));
    assert!(disk.steps.values().all(Vec::is_empty));
}
