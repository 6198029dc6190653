//! One result on its way to the receiver: which chunks to send next.
//!
//! The receiver drives: at most a window of chunks is in flight, acknowledgements open it again. A chunk is taken for lost
//! when one that was sent after it has arrived (brokers keep the order of a topic), when the receiver says that it waits
//! in vain, or after a time of silence.

use std::collections::VecDeque;
use std::time::Instant;

use hindcap_wire::limits::RESULT_WINDOW_MAX;
use hindcap_wire::message::{Ack, ChunkSet};

use crate::limits::{RESEND_MAX, RESEND_MIN, SILENT_ROUNDS_MAX};

/// See the module.
#[derive(Debug)]
pub(crate) struct Delivery {
    arrived: ChunkSet,
    /// Sent and not acknowledged, in the order of sending.
    in_flight: VecDeque<u32>,
    /// To be sent again, ahead of new ones.
    lost: VecDeque<u32>,
    /// Chunks from here on were never sent.
    fresh: u32,
    heard: Instant,
    silent_rounds: u32,
}

impl Delivery {
    /// Of a result of `chunks` chunks.
    pub(crate) fn new(chunks: u32, now: Instant) -> Self {
        Self {
            arrived: ChunkSet::new(chunks),
            in_flight: VecDeque::new(),
            lost: VecDeque::new(),
            fresh: 0,
            heard: now,
            silent_rounds: 0,
        }
    }

    /// Whether everything has arrived.
    pub(crate) const fn is_complete(&self) -> bool {
        self.arrived.is_complete()
    }

    /// Chunks that have arrived.
    pub(crate) const fn arrived(&self) -> u32 {
        self.arrived.count()
    }

    /// The next chunk to send; it counts as sent.
    pub(crate) fn next(&mut self) -> Option<u32> {
        if self.in_flight.len() >= usize::from(RESULT_WINDOW_MAX) || self.silent_rounds > SILENT_ROUNDS_MAX {
            return None;
        }
        while let Some(index) = self.lost.pop_front() {
            if !self.arrived.has(index) {
                self.in_flight.push_back(index);
                return Some(index);
            }
        }
        while self.arrived.has(self.fresh) {
            self.fresh += 1;
        }
        let index = self.fresh;
        if index >= self.arrived.total() {
            return None;
        }
        self.fresh += 1;
        self.in_flight.push_back(index);
        Some(index)
    }

    /// The chunk of the last [`Delivery::next`] could not be sent after all.
    pub(crate) fn not_sent(&mut self) {
        if let Some(index) = self.in_flight.pop_back() {
            self.lost.push_front(index);
        }
    }

    /// The receiver tells what has arrived.
    pub(crate) fn acknowledge(&mut self, ack: &Ack, now: Instant) {
        self.arrived.merge(ack);
        self.heard = now;
        self.silent_rounds = 0;
        let last_arrived = self.in_flight.iter().rposition(|index| self.arrived.has(*index));
        if let Some(position) = last_arrived {
            let settled: Vec<u32> = self.in_flight.drain(..=position).collect();
            self.lost.extend(settled.into_iter().filter(|index| !self.arrived.has(*index)));
        }
        if ack.resend {
            self.resend_all();
        }
    }

    /// The receiver has repeated its request: it may have lost everything, and will tell what it has.
    pub(crate) fn restart(&mut self, now: Instant) {
        *self = Self::new(self.arrived.total(), now);
    }

    /// Looks at the time; after silence everything in flight counts as lost.
    pub(crate) fn tick(&mut self, now: Instant) {
        let patience = RESEND_MIN.saturating_mul(2_u32.saturating_pow(self.silent_rounds)).min(RESEND_MAX);
        let silent = now.saturating_duration_since(self.heard) >= patience;
        if silent && !self.in_flight.is_empty() && self.silent_rounds <= SILENT_ROUNDS_MAX {
            self.heard = now;
            self.silent_rounds += 1;
            self.resend_all();
        }
    }

    fn resend_all(&mut self) {
        for index in self.in_flight.drain(..).rev() {
            self.lost.push_front(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hindcap_wire::message::Ulid;

    use super::*;

    const JOB: Ulid = Ulid(1);
    const WINDOW: u32 = RESULT_WINDOW_MAX as u32;

    fn send_all(delivery: &mut Delivery) -> Vec<u32> {
        std::iter::from_fn(|| delivery.next()).collect()
    }

    #[test]
    fn the_window_opens_as_chunks_arrive() {
        let now = Instant::now();
        let (mut delivery, mut there) = (Delivery::new(40, now), ChunkSet::new(40));
        assert_eq!(send_all(&mut delivery), (0..WINDOW).collect::<Vec<_>>());
        (0..4).for_each(|index| assert!(there.insert(index)));
        delivery.acknowledge(&there.ack(JOB, false), now);
        assert_eq!(send_all(&mut delivery), (WINDOW..WINDOW + 4).collect::<Vec<_>>());
    }

    #[test]
    fn what_was_overtaken_is_lost_and_sent_first() {
        let now = Instant::now();
        let (mut delivery, mut there) = (Delivery::new(40, now), ChunkSet::new(40));
        send_all(&mut delivery);
        assert!(there.insert(0) && there.insert(1) && there.insert(4));
        delivery.acknowledge(&there.ack(JOB, false), now);
        assert_eq!(send_all(&mut delivery), [2, 3, WINDOW, WINDOW + 1, WINDOW + 2]);
        // 2 was sent after 15: when 15 arrives without 2, nothing is known of 2 yet.
        assert!(there.insert(3 + 12));
        delivery.acknowledge(&there.ack(JOB, false), now);
        let again = send_all(&mut delivery);
        assert!(again.starts_with(&[5, 6, 7]) && !again.contains(&2), "{again:?}");
    }

    #[test]
    fn resends_on_demand_on_silence_and_not_for_ever() {
        let now = Instant::now();
        let mut delivery = Delivery::new(3, now);
        assert_eq!(send_all(&mut delivery), [0, 1, 2]);
        let nothing = ChunkSet::new(3);
        delivery.acknowledge(&nothing.ack(JOB, false), now);
        assert!(send_all(&mut delivery).is_empty());
        delivery.acknowledge(&nothing.ack(JOB, true), now);
        assert_eq!(send_all(&mut delivery), [0, 1, 2]);
        let (mut later, mut rounds) = (now, 0);
        for _ in 0..1000 {
            later += Duration::from_secs(5);
            delivery.tick(later);
            rounds += u32::from(send_all(&mut delivery) == [0, 1, 2]);
        }
        assert_eq!(rounds, SILENT_ROUNDS_MAX);
        delivery.restart(later);
        assert_eq!(send_all(&mut delivery), [0, 1, 2]);
    }

    /// Every pattern of losses ends with everything there, whatever order the acknowledgements come in.
    #[test]
    fn lossy_paths_complete() {
        for seed in 1_u64..200 {
            let mut state = seed;
            let mut random = move || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                state >> 33
            };
            let mut now = Instant::now();
            let total = u32::try_from(random() % 100).unwrap();
            let (mut delivery, mut there) = (Delivery::new(total, now), ChunkSet::new(total));
            let mut steps = 0;
            while !delivery.is_complete() {
                steps += 1;
                assert!(steps < 10_000, "seed {seed}: stuck at {}/{total}", there.count());
                for index in send_all(&mut delivery) {
                    if random() % 3 != 0 {
                        there.insert(index);
                    }
                }
                now += Duration::from_secs(1);
                delivery.tick(now);
                if random() % 4 != 0 {
                    delivery.acknowledge(&there.ack(JOB, random() % 8 == 0), now);
                }
            }
            assert!(there.is_complete());
        }
    }

    #[test]
    fn a_chunk_that_could_not_be_sent_is_next() {
        let mut delivery = Delivery::new(3, Instant::now());
        assert_eq!(delivery.next(), Some(0));
        delivery.not_sent();
        assert_eq!(send_all(&mut delivery), [0, 1, 2]);
    }
}
