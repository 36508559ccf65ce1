//! Retention: the oldest segments go when they are too old or too many.

use std::time::Duration;

use evenkeel_core::model::{Offset, WallTime};
use evenkeel_core::records::StoredBatch;

use super::Log;

impl Log {
    /// Drops segments from the front: by size as long as the rest still has `max_bytes`, by age when the newest record
    /// of a segment is older than `max_age`. Where records have no times it is as old as its last append. Nothing at or
    /// above `until` goes.
    pub(crate) fn retain(
        &mut self,
        now: WallTime,
        max_age: Option<Duration>,
        max_bytes: Option<u64>,
        until: Offset,
    ) {
        while let Some(first) = self.segments.front() {
            let is_old = max_age.is_some_and(|limit| age(now, first.newest()) > limit);
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

/// What a batch costs beside its bytes: its entry in the log, and what the allocator keeps of each block.
pub(crate) const BOOKKEEPING: u64 = 192;

impl Log {
    /// What all batches take beside their bytes.
    pub(crate) fn bookkeeping(&self) -> u64 {
        let batches: usize = self.segments.iter().map(|segment| segment.batches().len()).sum();
        batches as u64 * BOOKKEEPING
    }

    /// The time of the oldest batch, if it may go: nothing at or above `until` may.
    pub(crate) fn oldest(&self, until: Offset) -> Option<WallTime> {
        let segment = self.segments.front()?;
        let first = segment.batches().front().filter(|first| first.last_offset() < until)?;
        let has_time = first.max_timestamp().as_millis() >= 0;
        Some(if has_time { first.max_timestamp() } else { segment.written() })
    }

    /// Where the log would begin without its oldest batches of about so many bytes.
    pub(crate) fn behind_oldest(&self, bytes: u64, until: Offset) -> Offset {
        let mut weight = 0;
        let oldest = self.batches_from(Offset(i64::MIN)).take_while(|batch: &&StoredBatch| {
            let goes = weight < bytes && batch.last_offset() < until;
            weight += batch.bytes().len() as u64 + BOOKKEEPING;
            goes
        });
        oldest.last().map_or(self.start, |last| last.last_offset().next())
    }

    /// Drops the batches that lie wholly below `start`, whole segments or not: memory is at stake.
    pub(crate) fn drop_before(&mut self, start: Offset) {
        self.advance_start(start);
        let start = self.start;
        if let Some(first) = self.segments.front_mut() {
            self.bytes -= first.drop_before(start);
        }
        self.compacted_to = self.compacted_to.max(start);
    }
}

/// How old a record is; zero if its time lies ahead.
pub(super) fn age(now: WallTime, timestamp: WallTime) -> Duration {
    let millis = now.as_millis().saturating_sub(timestamp.as_millis());
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
