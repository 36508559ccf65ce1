//! Retention: the oldest segments go when they are too old or too many.

use std::time::Duration;

use evenkeel_core::model::{Offset, WallTime};

use super::Log;

impl Log {
    /// Drops segments from the front: by size as long as the rest still has `max_bytes`, by age when the newest record
    /// of a segment is older than `max_age`. Nothing at or above `until` goes.
    pub(crate) fn retain(
        &mut self,
        now: WallTime,
        max_age: Option<Duration>,
        max_bytes: Option<u64>,
        until: Offset,
    ) {
        while let Some(first) = self.segments.front() {
            let is_old = max_age.is_some_and(|limit| age(now, first.max_timestamp()) > limit);
            let is_surplus =
                max_bytes.is_some_and(|limit| self.bytes - first.bytes() >= limit) && self.segments.len() > 1;
            let next = first.last_offset().next();
            if !(is_old || is_surplus) || next > until {
                break;
            }
            let start = self.segments.get(1).map_or(self.end, |second| second.base().max(next));
            self.drop_first();
            self.start = self.start.max(start);
        }
        self.epochs.forget_before(self.start);
        self.compacted_to = self.compacted_to.max(self.start);
    }
}

/// How old a record is; zero if its time lies ahead.
pub(super) fn age(now: WallTime, timestamp: WallTime) -> Duration {
    let millis = now.as_millis().saturating_sub(timestamp.as_millis());
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
