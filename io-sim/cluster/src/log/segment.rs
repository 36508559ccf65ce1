//! A run of batches that retention and compaction take as a whole.

use std::collections::{BTreeMap, VecDeque};

use evenkeel_core::model::{Offset, WallTime};
use evenkeel_core::records::StoredBatch;

use super::Roll;
use super::retention::age;

/// Consecutive batches. Only a log's last segment grows.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    base: Offset,
    batches: VecDeque<StoredBatch>,
    /// Until when the tombstones of a batch stay that has been through compaction, by the batch's first offset.
    horizons: BTreeMap<Offset, WallTime>,
    bytes: u64,
    max_timestamp: WallTime,
    opened: WallTime,
    /// When its last batch was appended. In Kafka the file knows.
    written: WallTime,
}

impl Segment {
    pub(super) const fn new(base: Offset, opened: WallTime) -> Self {
        Self {
            base,
            batches: VecDeque::new(),
            horizons: BTreeMap::new(),
            bytes: 0,
            max_timestamp: WallTime(i64::MIN),
            opened,
            written: opened,
        }
    }

    /// What is left of it: the same segment with these batches, each with its tombstones' end if it has one.
    pub(super) fn rewritten(
        &self,
        batches: impl IntoIterator<Item = (StoredBatch, Option<WallTime>)>,
    ) -> Self {
        let mut segment = Self::new(self.base, self.opened);
        for (batch, horizon) in batches {
            segment.push(batch, horizon, self.written);
        }
        segment
    }

    /// Whether `batch` belongs into a new segment.
    pub(super) fn is_full_for(&self, batch: &StoredBatch, roll: Roll, now: WallTime) -> bool {
        let Some(first) = self.first_timestamp() else { return false };
        // Where the records have no times it goes by how long the segment is written to.
        let age =
            if first.as_millis() >= 0 { age(batch.max_timestamp(), first) } else { age(now, self.opened) };
        self.bytes + batch.bytes().len() as u64 > roll.bytes
            || age > roll.age
            || batch.last_offset().0.saturating_sub(self.base.0) > i64::from(i32::MAX)
    }

    /// Puts a batch behind the last one. It has a `horizon` if it has been through compaction elsewhere.
    pub(super) fn push(&mut self, batch: StoredBatch, horizon: Option<WallTime>, now: WallTime) {
        self.bytes += batch.bytes().len() as u64;
        self.max_timestamp = self.max_timestamp.max(batch.max_timestamp());
        self.written = now;
        if let Some(horizon) = horizon {
            self.horizons.insert(batch.base_offset(), horizon);
        }
        self.batches.push_back(batch);
    }

    pub(super) const fn batches(&self) -> &VecDeque<StoredBatch> {
        &self.batches
    }

    /// Its batches from the one on that has an offset at or above `from`.
    pub(super) fn batches_from(&self, from: Offset) -> impl Iterator<Item = &StoredBatch> {
        self.batches.range(self.position(from)..)
    }

    /// Until when the tombstones of a batch stay, if it has been through compaction.
    pub(super) fn horizon(&self, batch: &StoredBatch) -> Option<WallTime> {
        self.horizons.get(&batch.base_offset()).copied()
    }

    pub(super) const fn base(&self) -> Offset {
        self.base
    }

    /// The last offset of its last batch.
    pub(super) fn last_offset(&self) -> Offset {
        self.batches.back().map_or(Offset(self.base.0 - 1), StoredBatch::last_offset)
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) const fn opened(&self) -> WallTime {
        self.opened
    }

    pub(super) const fn written(&self) -> WallTime {
        self.written
    }

    /// The greatest timestamp of its records.
    pub(super) const fn max_timestamp(&self) -> WallTime {
        self.max_timestamp
    }

    /// How new it is: by its newest record, or by when it was written if its records have no times.
    pub(super) fn newest(&self) -> WallTime {
        if self.max_timestamp.as_millis() >= 0 { self.max_timestamp } else { self.written }
    }

    /// The time of its first batch, which may be none at all: negative.
    pub(super) fn first_timestamp(&self) -> Option<WallTime> {
        self.batches.front().map(StoredBatch::max_timestamp)
    }

    /// The number of the first batch that has an offset at or above `from`.
    fn position(&self, from: Offset) -> usize {
        self.batches.partition_point(|batch| batch.last_offset() < from)
    }

    /// Drops the batches that lie wholly below `start`, and tells what they weighed.
    pub(super) fn drop_before(&mut self, start: Offset) -> u64 {
        let gone = self.batches.drain(..self.position(start));
        let gone: u64 = gone.map(|batch| batch.bytes().len() as u64).sum();
        self.bytes -= gone;
        if let Some(first) = self.batches.front() {
            self.base = self.base.max(first.base_offset());
            self.horizons = self.horizons.split_off(&first.base_offset());
        }
        let latest = self.batches.iter().map(StoredBatch::max_timestamp).max();
        self.max_timestamp = latest.unwrap_or(WallTime(i64::MIN));
        gone
    }

    /// Cuts off every batch that has an offset at or above `end`.
    pub(super) fn truncate(&mut self, end: Offset) {
        let keep = self.position(end);
        if keep < self.batches.len() {
            let kept = self.batches.range(..keep).map(|batch| (batch.clone(), self.horizon(batch)));
            *self = self.rewritten(kept);
        }
    }
}
