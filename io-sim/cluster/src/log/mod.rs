//! One replica's log of one partition: batches at growing offsets, and what follows from them.
//!
//! Batches are kept as they came, in segments. What else a broker must know of a log is derived from its batches and
//! kept beside them: where each leader's epoch began ([`epochs`]) and what each idempotent producer wrote last
//! ([`producers`]). When the end of a log is cut off, both are derived again.
//!
//! Promises: offsets grow from batch to batch; `start ≤ end`; every batch with an offset at or above `start` is there,
//! unless compaction took its records.

pub(crate) mod compact;
pub(crate) mod epochs;
pub(crate) mod lookup;
pub(crate) mod producers;
mod retention;
mod segment;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_core::model::{LeaderEpoch, Offset, WallTime};
use evenkeel_core::records::StoredBatch;

use epochs::Epochs;
use producers::Producers;
pub(crate) use retention::BOOKKEEPING;
use segment::Segment;

/// When a segment is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Roll {
    /// At this many bytes.
    pub(crate) bytes: u64,
    /// When its first batch is this much older than the one to come.
    pub(crate) age: Duration,
}

/// A replica's log.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    /// Oldest first. The last one is written to.
    segments: VecDeque<Segment>,
    start: Offset,
    end: Offset,
    bytes: u64,
    epochs: Epochs,
    producers: Producers,
    /// Compaction has been through up to here.
    compacted_to: Offset,
}

impl Default for Log {
    fn default() -> Self {
        Self::beginning_at(Offset::ZERO)
    }
}

impl Log {
    /// An empty log.
    pub(crate) fn beginning_at(start: Offset) -> Self {
        Self {
            segments: VecDeque::new(),
            start,
            end: start,
            bytes: 0,
            epochs: Epochs::default(),
            producers: Producers::default(),
            compacted_to: start,
        }
    }

    /// The first offset that may be read.
    pub(crate) const fn start(&self) -> Offset {
        self.start
    }

    /// The offset of the next record to come.
    pub(crate) const fn end(&self) -> Offset {
        self.end
    }

    /// What all batches weigh.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) const fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    pub(crate) const fn producers(&self) -> &Producers {
        &self.producers
    }

    /// Forgets the producers whose last batch is `limit` old.
    pub(crate) fn expire_producers(&mut self, now: WallTime, limit: Duration) {
        self.producers.expire(now, limit);
    }

    /// Puts a batch, which has its place already, behind the last one.
    pub(crate) fn append(&mut self, batch: StoredBatch, roll: Roll, now: WallTime) {
        if self.segments.back().is_none_or(|last| last.is_full_for(&batch, roll, now)) {
            self.segments.push_back(Segment::new(batch.base_offset(), now));
        }
        self.push(batch, None, now);
    }

    /// Copies what another log has behind the end of this one. Segments begin where they begin there, so that
    /// retention and compaction find the same in both.
    pub(crate) fn copy_end_of(&mut self, other: &Self) {
        let from = self.end;
        // The first batch may begin before this log does: the other's start may lie within one.
        let is_new = self.segments.is_empty();
        let first = other.segments.partition_point(|segment| segment.last_offset() < from);
        for segment in other.segments.range(first..) {
            let begins_here = segment.base() >= from;
            let copied = segment.batches_from(from).filter(|batch| is_new || batch.base_offset() >= from);
            for (nth, batch) in copied.enumerate() {
                if self.segments.is_empty() || (begins_here && nth == 0) {
                    let base = segment.base().max(from).min(batch.base_offset());
                    self.segments.push_back(Segment::new(base, segment.opened()));
                }
                self.push(batch.clone(), segment.horizon(batch), segment.written());
            }
        }
    }

    fn push(&mut self, batch: StoredBatch, horizon: Option<WallTime>, now: WallTime) {
        let is_behind = batch.base_offset() >= self.end;
        debug_assert!(is_behind || self.bytes == 0, "a batch is put behind the last one");
        let size = batch.bytes().len() as u64;
        if let Some(epoch) = batch.leader_epoch() {
            self.epochs.begin(epoch, batch.base_offset());
        }
        self.producers.note(&batch);
        self.end = batch.last_offset().next();
        self.bytes += size;
        if let Some(last) = self.segments.back_mut() {
            last.push(batch, horizon, now);
        }
    }

    /// Whole batches from the one that has `from` on, below `until`, of at most `max_bytes`. The first one comes
    /// whatever its size if `at_least_one`.
    pub(crate) fn read(
        &self,
        from: Offset,
        until: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Vec<Bytes> {
        let mut read = Vec::new();
        let mut room = max_bytes;
        for batch in self.batches_from(from) {
            let size = batch.bytes().len();
            if batch.last_offset() >= until || (size > room && !(at_least_one && read.is_empty())) {
                break;
            }
            room = room.saturating_sub(size);
            read.push(batch.bytes().clone());
        }
        read
    }

    /// The batches in order, from the first that has an offset at or above `from`.
    pub(crate) fn batches_from(&self, from: Offset) -> impl Iterator<Item = &StoredBatch> {
        let first = self.segments.partition_point(|segment| segment.last_offset() < from);
        self.segments.range(first..).flat_map(move |segment| segment.batches_from(from))
    }

    /// Cuts off everything at and above `end`. A batch that holds `end` goes as a whole.
    pub(crate) fn truncate(&mut self, end: Offset) {
        // Also what an epoch says that has no batch any more, for its batches were trimmed off.
        self.epochs.forget_from(end);
        if end >= self.end {
            return;
        }
        while let Some(last) = self.segments.back_mut() {
            last.truncate(end);
            if !last.batches().is_empty() {
                break;
            }
            self.segments.pop_back();
        }
        let floor = self.segments.back().map_or(self.start.min(end), |last| last.last_offset().next());
        self.end = floor.max(self.start.min(end));
        self.start = self.start.min(self.end);
        self.compacted_to = self.compacted_to.min(self.end);
        self.derive();
    }

    /// Forgets everything and begins anew.
    pub(crate) fn restart_at(&mut self, start: Offset) {
        *self = Self::beginning_at(start);
    }

    /// Moves the start up; segments that lie wholly below it go.
    pub(crate) fn advance_start(&mut self, start: Offset) {
        self.start = self.start.max(start.min(self.end));
        while self.segments.front().is_some_and(|first| first.last_offset() < self.start) {
            self.drop_first();
        }
        self.epochs.forget_before(self.start);
    }

    fn drop_first(&mut self) {
        if let Some(gone) = self.segments.pop_front() {
            self.bytes -= gone.bytes();
        }
    }

    /// Derives again what follows from the batches.
    fn derive(&mut self) {
        let mut epochs = Epochs::default();
        let mut producers = Producers::default();
        for batch in self.segments.iter().flat_map(Segment::batches) {
            if let Some(epoch) = batch.leader_epoch() {
                epochs.begin(epoch, batch.base_offset().max(self.start));
            }
            producers.note(batch);
        }
        self.bytes = self.segments.iter().map(Segment::bytes).sum();
        self.epochs = epochs;
        self.producers = producers;
    }

    /// The latest epoch that has, or had before they were deleted, batches here.
    pub(crate) fn last_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.last()
    }

    /// Everything that must hold of a log.
    #[cfg(any(test, debug_assertions))]
    pub(crate) fn check(&self) {
        let mut next = Offset(i64::MIN);
        let mut bytes = 0;
        for segment in &self.segments {
            assert!(!segment.batches().is_empty(), "a segment has batches");
            for batch in segment.batches() {
                assert!(batch.base_offset() >= next, "offsets grow");
                next = batch.last_offset().next();
                bytes += batch.bytes().len() as u64;
            }
        }
        assert_eq!(bytes, self.bytes, "the weight is that of the batches");
        assert!(next <= self.end, "no batch is behind the end");
        assert!(self.start <= self.end, "a log does not begin behind its end");
    }
}
