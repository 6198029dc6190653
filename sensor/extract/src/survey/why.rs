//! Why there is nothing.

use hindcap_wire::message::answer::WhyEmpty;
use hindcap_wire::time::{TimeRange, Timestamp};

use super::{Survey, overlap};

impl Survey {
    /// Why nothing was found, when `unreadable` bytes could have held matches.
    pub fn why_empty(&self, unreadable: u64) -> WhyEmpty {
        if let Some(before) = self.horizon.filter(|horizon| self.window.end <= *horizon) {
            return WhyEmpty::TooOld { before };
        }
        let Some((oldest, newest)) = self.oldest.zip(self.newest) else { return WhyEmpty::EmptyStore };
        let before = self.window.end <= oldest;
        if self.pruned && (before || self.begins_before(oldest)) {
            return WhyEmpty::Pruned { oldest };
        }
        if self.window.start > newest {
            return match self.stopped {
                Some(stopped) => WhyEmpty::NotRecorded {
                    range: TimeRange::new(self.window.start.max(stopped), self.window.end),
                },
                None => WhyEmpty::NotFlushed { newest },
            };
        }
        if before {
            return WhyEmpty::NotRecorded { range: self.window };
        }
        if unreadable > 0 {
            return WhyEmpty::Damaged { bytes: unreadable };
        }
        if let Some(range) = self.mostly_unrecorded(oldest, newest) {
            if let Some(pruned) = self.pruned_between.iter().find(|pruned| overlap(**pruned, range).is_some())
            {
                return WhyEmpty::Pruned { oldest: pruned.end };
            }
            return WhyEmpty::NotRecorded { range };
        }
        match (self.drops.total(), self.thinned.left_out.packets) {
            (0, 0) => match self.thinned.policies.iter().map(|span| span.policy.skip_rules).max() {
                Some(rules) if rules > 0 => WhyEmpty::SkipRules { rules },
                _ => WhyEmpty::NoSuchTraffic,
            },
            (0, packets) => WhyEmpty::LeftOut { packets },
            (packets, _) => WhyEmpty::Dropped { packets },
        }
    }

    /// The longest hole in the window, if more of the window was missed than recorded.
    fn mostly_unrecorded(&self, oldest: Timestamp, newest: Timestamp) -> Option<TimeRange> {
        // An open side ends where the store ends.
        let start = if self.window.start == Timestamp::MIN { oldest } else { self.window.start };
        let end = if self.window.end == Timestamp::MAX { newest.plus_nanos(1) } else { self.window.end };
        let bounded = TimeRange::new(start, end);
        let mut holes = Vec::new();
        let (mut reached, mut recorded) = (start, 0);
        for range in self.joined().iter().filter_map(|stretch| overlap(stretch.range, bounded)) {
            holes.push(TimeRange::new(reached, range.start));
            recorded += range.end.0 - range.start.0;
            reached = range.end;
        }
        holes.push(TimeRange::new(reached, end));
        let length = |range: &TimeRange| range.end.0.saturating_sub(range.start.0);
        let missed: u64 = holes.iter().map(length).sum();
        holes.into_iter().max_by_key(length).filter(|_| missed > recorded)
    }
}
