//! A run of batches that retention and compaction take as a whole.

use evenkeel_core::model::{Offset, WallTime};
use evenkeel_core::records::StoredBatch;

use super::Roll;

/// Consecutive batches. Only a log's last segment grows.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    base: Offset,
    batches: Vec<StoredBatch>,
    bytes: u64,
    max_timestamp: WallTime,
}

impl Segment {
    pub(super) const fn new(base: Offset) -> Self {
        Self { base, batches: Vec::new(), bytes: 0, max_timestamp: WallTime(i64::MIN) }
    }

    pub(super) fn from_batches(base: Offset, batches: Vec<StoredBatch>) -> Self {
        let mut segment = Self::new(base);
        for batch in batches {
            segment.push(batch);
        }
        segment
    }

    /// Whether `batch` belongs into a new segment.
    pub(super) fn is_full_for(&self, batch: &StoredBatch, roll: Roll) -> bool {
        let Some(first) = self.batches.first() else { return false };
        let age = batch.max_timestamp().as_millis().saturating_sub(first.base_timestamp().as_millis());
        self.bytes + batch.bytes().len() as u64 > roll.bytes
            || u64::try_from(age).is_ok_and(|age| u128::from(age) > roll.age.as_millis())
            || batch.last_offset().0.saturating_sub(self.base.0) > i64::from(i32::MAX)
    }

    pub(super) fn push(&mut self, batch: StoredBatch) {
        self.bytes += batch.bytes().len() as u64;
        self.max_timestamp = self.max_timestamp.max(batch.max_timestamp());
        self.batches.push(batch);
    }

    pub(super) fn batches(&self) -> &[StoredBatch] {
        &self.batches
    }

    pub(super) const fn base(&self) -> Offset {
        self.base
    }

    /// The last offset of its last batch.
    pub(super) fn last_offset(&self) -> Offset {
        self.batches.last().map_or(Offset(self.base.0 - 1), StoredBatch::last_offset)
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) const fn max_timestamp(&self) -> WallTime {
        self.max_timestamp
    }

    /// The number of the first batch that has an offset at or above `from`.
    pub(super) fn position(&self, from: Offset) -> usize {
        self.batches.partition_point(|batch| batch.last_offset() < from)
    }

    /// Drops the batches that lie wholly below `start`, and tells what they weighed.
    pub(super) fn drop_before(&mut self, start: Offset) -> u64 {
        let gone: u64 =
            self.batches.drain(..self.position(start)).map(|batch| batch.bytes().len() as u64).sum();
        self.bytes -= gone;
        if let Some(first) = self.batches.first() {
            self.base = self.base.max(first.base_offset());
        }
        let latest = self.batches.iter().map(StoredBatch::max_timestamp).max();
        self.max_timestamp = latest.unwrap_or(WallTime(i64::MIN));
        gone
    }

    /// Cuts off every batch that has an offset at or above `end`.
    pub(super) fn truncate(&mut self, end: Offset) {
        let keep = self.position(end);
        if keep < self.batches.len() {
            self.batches.truncate(keep);
            *self = Self::from_batches(self.base, std::mem::take(&mut self.batches));
        }
    }
}
