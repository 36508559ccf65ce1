//! Finding offsets by time.

use std::sync::Arc;

use evenkeel_core::model::{Offset, WallTime};
use evenkeel_core::records::{DecodedBatch, StoredBatch};

use super::Log;

/// A record that was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) offset: Offset,
    pub(crate) timestamp: WallTime,
}

impl Log {
    /// The first record below `until` whose timestamp is not before `time`.
    pub(crate) fn first_at_or_after(&self, time: WallTime, until: Offset) -> Option<Found> {
        self.segments
            .iter()
            .filter(|segment| segment.max_timestamp() >= time)
            .flat_map(|segment| segment.batches())
            .filter(|batch| batch.max_timestamp() >= time)
            .find_map(|batch| self.first_in(batch, until, |timestamp| timestamp >= time))
    }

    /// The first record below `until` with the greatest timestamp.
    pub(crate) fn latest_by_time(&self, until: Offset) -> Option<Found> {
        // What compaction emptied has a time, but no record of that time.
        let below = |batch: &&StoredBatch| {
            batch.last_offset() < until && batch.last_offset() >= self.start && batch.count() > 0
        };
        let batches = self.segments.iter().flat_map(|segment| segment.batches()).filter(below);
        let greatest = batches.clone().map(StoredBatch::max_timestamp).max()?;
        batches
            .filter(|batch| batch.max_timestamp() == greatest)
            .find_map(|batch| self.first_in(batch, until, |timestamp| timestamp == greatest))
    }

    fn first_in(
        &self,
        batch: &StoredBatch,
        until: Offset,
        wanted: impl Fn(WallTime) -> bool,
    ) -> Option<Found> {
        // It was decoded when it was appended, so it can be now.
        let decoded: Arc<DecodedBatch> = batch.decode().ok().flatten()?;
        decoded
            .records()
            .map(|record| Found { offset: record.offset(), timestamp: record.timestamp() })
            .find(|found| found.offset >= self.start && found.offset < until && wanted(found.timestamp))
    }
}
