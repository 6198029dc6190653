//! Following a sensor: small requests, one after the other, each for what the sensor has acknowledged since. Nothing is
//! skipped: where packets come faster than `--max-rate` lets them through, they come later.

use std::fs::{self, File};
use std::io::{self, Write};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hindcap_soc_api::Fetched;
use hindcap_wire::message::answer::Partial;
use hindcap_wire::message::{Limits, SensorId};
use hindcap_wire::query::Query;
use hindcap_wire::time::{NANOS_PER_SEC, TimeRange, Timestamp};

use super::capture::{about, fetch, written};
use super::relay::Relay;
use crate::args;
use crate::commands::Context;
use crate::exit::{Code, Failure};

/// Between two requests.
const EVERY: Duration = Duration::from_secs(1);
/// Between two looks at the signals.
const STEP: Duration = Duration::from_millis(50);
/// Asked for again each time: disorder on the way is a matter of milliseconds.
const AGAIN_NANOS: u64 = 200_000_000;
/// Between two counters of the interfaces.
const STATISTICS_EVERY: Duration = Duration::from_secs(5);
/// Bytes of one request, however slow it has to be: the largest packet and what is around it.
const REQUEST_BYTES_MIN: u64 = 512 * 1024;
/// Being this far behind is told, and each doubling of it.
const BEHIND_NANOS: u64 = 30 * NANOS_PER_SEC;

/// Where the tail is.
struct Tail {
    /// From where the next request asks.
    from: Timestamp,
    /// Until where remarks about gaps and drops have been made.
    told: Timestamp,
    /// Being further behind than this is told.
    behind: u64,
}

/// Follows `sensor` until Wireshark or a signal ends it, or it fails.
pub(super) fn follow(
    cx: &mut Context<'_>,
    args: &args::Extcap,
    sensor: &SensorId,
    query: Query,
    pipe: Box<dyn Write>,
) -> Result<Code, Failure> {
    let spool = tempfile::tempdir().map_err(Failure::new)?;
    let file = spool.path().join("result");
    let start = if args.is_timeless() { cx.known.now } else { query.time.start };
    let mut tail = Tail { from: start, told: start, behind: BEHIND_NANOS };
    let mut relay = match Relay::new(pipe, &about(sensor, args)) {
        Ok(relay) => relay,
        Err(error) => return written(Err(error)).map(|()| Code::Done),
    };
    let mut counted = Instant::now();
    while !cx.interrupted.load(Ordering::Relaxed) {
        let asked = Instant::now();
        let query = Query { time: TimeRange::new(tail.from, Timestamp::MAX), ..query.clone() };
        let limits = Limits { max_bytes: Some(args.max_rate.max(REQUEST_BYTES_MIN)), ..Limits::default() };
        let fetched = fetch(cx, args, sensor, query, limits, &file).and_then(|part| Ok(part.result?));
        let fetched = match fetched {
            Ok(fetched) => fetched,
            Err(_) if cx.interrupted.load(Ordering::Relaxed) => break,
            Err(failure) => return Err(failure),
        };
        if let Err(error) = tail.take(&mut relay, &fetched) {
            return written(Err(error)).map(|()| Code::Done);
        }
        let _ = fs::remove_file(&file);
        if counted.elapsed() >= STATISTICS_EVERY {
            counted = Instant::now();
            if let Err(error) = relay.statistics() {
                return written(Err(error)).map(|()| Code::Done);
            }
        }
        let pause = pause(fetched.manifest.bytes, args.max_rate);
        while asked.elapsed() < pause && !cx.interrupted.load(Ordering::Relaxed) {
            std::thread::sleep(STEP);
        }
    }
    let _ = relay.statistics();
    Ok(Code::Done)
}

/// From one request to the next, so that `bytes` come at no more than `rate` a second.
fn pause(bytes: u64, rate: u64) -> Duration {
    Duration::from_millis(bytes.saturating_mul(1_000) / rate.max(1)).max(EVERY)
}

impl Tail {
    /// Passes a result on and moves ahead.
    fn take<W: Write>(&mut self, relay: &mut Relay<W>, fetched: &Fetched) -> io::Result<()> {
        let answer = &fetched.manifest.answer;
        let next = self.next(fetched);
        let is_new = |range: TimeRange| range.end > self.told;
        for gap in answer.gaps.iter().filter(|gap| is_new(gap.range)) {
            relay.remark(format!("gap: {gap}"));
        }
        if answer.drops.total() > 0 {
            relay.remark(format!("dropped: {} packets in {}", answer.drops.total(), answer.window));
        }
        self.told = self.told.max(next);
        if let Some(path) = &fetched.path {
            relay.add(File::open(path)?, next)?;
        }
        self.from = next;
        self.tell_if_behind(fetched);
        Ok(())
    }

    /// From where to ask next: everything before is here. What was acknowledged late lies close to the end.
    fn next(&self, fetched: &Fetched) -> Timestamp {
        let answer = &fetched.manifest.answer;
        let acknowledged = answer.coverage.last().map_or(self.from, |range| range.end);
        let safe = acknowledged.minus_nanos(AGAIN_NANOS);
        let cut = matches!(answer.partial, Some(Partial::BytesMax(_) | Partial::PacketsMax(_)));
        let here = answer.span.filter(|_| cut).map_or(safe, |span| span.last.min(safe));
        here.max(self.from)
    }

    fn tell_if_behind(&mut self, fetched: &Fetched) {
        let answer = &fetched.manifest.answer;
        let acknowledged = answer.coverage.last().map_or(self.from, |range| range.end);
        let behind = acknowledged.0.saturating_sub(self.from.0);
        if answer.partial.is_some() && behind >= self.behind {
            self.behind = behind * 2;
            let secs = behind / NANOS_PER_SEC;
            eprintln!(
                "hindcap: {secs} s behind: more comes than --max-rate lets through; a capture filter makes it less"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use hindcap_wire::message::answer::{Answer, Span};
    use hindcap_wire::message::{Manifest, Outcome, Sha256, Ulid};

    use super::*;

    fn fetched(answer: Answer) -> Fetched {
        let manifest = Manifest {
            job: Ulid(1),
            format: hindcap_wire::message::Format::Pcapng,
            link_types: Vec::new(),
            packets: answer.packets,
            bytes: 0,
            sha256: Sha256([0; 32]),
            chunk_bytes: 1,
            chunks: 0,
            answer,
        };
        Fetched { manifest, outcome: Outcome::Done, detail: String::new(), path: None }
    }

    const fn at(secs: u64) -> Timestamp {
        Timestamp(secs * NANOS_PER_SEC)
    }

    #[test]
    fn the_tail_moves_to_what_is_acknowledged_and_not_past_what_was_cut_off() {
        let tail = Tail { from: at(10), told: at(10), behind: BEHIND_NANOS };
        assert_eq!(tail.next(&fetched(Answer::default())), at(10), "nothing there yet");
        let coverage = vec![TimeRange::new(at(1), at(20))];
        let whole = Answer { coverage: coverage.clone(), ..Answer::default() };
        assert_eq!(tail.next(&fetched(whole.clone())), at(20).minus_nanos(AGAIN_NANOS));
        let span = Some(Span { first: at(11), last: at(13) });
        let cut = Answer { partial: Some(Partial::BytesMax(1)), span, ..whole };
        assert_eq!(tail.next(&fetched(cut)), at(13));
        let old = Answer { coverage: vec![TimeRange::new(at(1), at(9))], ..Answer::default() };
        assert_eq!(tail.next(&fetched(old)), at(10), "never back");
    }

    #[test]
    fn what_came_decides_when_the_next_may_come() {
        assert_eq!(pause(3 << 20, 1 << 20), Duration::from_secs(3));
        assert_eq!(pause(100, 1 << 20), EVERY);
        assert!(pause(u64::MAX, 0) > EVERY);
    }
}
