//! Compaction: of each key only the newest record stays.
//!
//! Only closed segments are compacted, as Kafka does: the one that is written to is left alone. Offsets stay what they
//! were, so batches get gaps. A record without a value (a tombstone) deletes its key. It goes itself once the topic's
//! `delete.retention.ms` have passed since compaction first found it, however old it was then, so that slow readers
//! still learn of the deletion. Of a batch whose records have all gone the header stays as long as it is its producer's
//! last: who copies the log learns from it which numbers the producer has used.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use evenkeel_core::model::{Offset, WallTime};
use evenkeel_core::ports::OutgoingRecord;
use evenkeel_core::records::{BatchOptions, BatchWriter, RecordRef, StoredBatch};

use super::Log;
use super::retention::age;
use super::segment::Segment;

/// What compaction goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Compaction {
    /// More than this part of the log must be uncompacted to make it worth while, in thousandths.
    pub(crate) min_dirty_thousandths: u32,
    /// How long tombstones stay, from when compaction first finds them.
    pub(crate) keep_tombstones: Duration,
    /// How long every record stays, whatever comes after it.
    pub(crate) min_lag: Duration,
    /// How long a record may stay uncompacted, however little there is to do.
    pub(crate) max_lag: Duration,
}

impl Log {
    /// Compacts all closed segments below `until`, if enough has come since the last time.
    pub(crate) fn compact(&mut self, now: WallTime, until: Offset, settings: Compaction) {
        let closed = self.cleanable(now, until, settings);
        if !self.is_worth_compacting(now, closed, settings) {
            return;
        }
        let newest = self.newest_of_keys(closed);
        let mut kept = VecDeque::with_capacity(self.segments.len());
        for (nth, segment) in std::mem::take(&mut self.segments).into_iter().enumerate() {
            if nth >= closed {
                kept.push_back(segment);
                continue;
            }
            self.compacted_to = segment.last_offset().next();
            let producers = &self.producers;
            let batches = segment.batches().iter().filter_map(|batch| {
                let horizon = segment.horizon(batch);
                let keep = |record: &RecordRef| {
                    let is_newest = record.key().is_some_and(|key| newest.get(key) == Some(&record.offset()));
                    let expired = record.value().is_none() && horizon.is_some_and(|end| end <= now);
                    is_newest && !expired
                };
                match rewritten(batch, keep) {
                    Left::Records { batch, has_tombstones: false } => Some((batch, horizon)),
                    Left::Records { batch, has_tombstones: true } => {
                        Some((batch, horizon.or_else(|| Some(later(now, settings.keep_tombstones)))))
                    }
                    Left::Nothing => producers.ends_with(batch).then(|| (batch.emptied(), None)),
                }
            });
            let left = segment.rewritten(batches);
            if !left.batches().is_empty() {
                kept.push_back(left);
            }
        }
        self.segments = kept;
        self.bytes = self.segments.iter().map(Segment::bytes).sum();
    }

    /// How many segments may be compacted: closed ones below `until`, and those that are new also old enough.
    fn cleanable(&self, now: WallTime, until: Offset, settings: Compaction) -> usize {
        let closed = self.segments.iter().take(self.segments.len().saturating_sub(1));
        let is_ripe = |segment: &Segment| {
            settings.min_lag.is_zero()
                || segment.base() < self.compacted_to
                || age(now, segment.newest()) >= settings.min_lag
        };
        closed.take_while(|segment| segment.last_offset() < until && is_ripe(segment)).count()
    }

    fn is_worth_compacting(&self, now: WallTime, closed: usize, settings: Compaction) -> bool {
        let is_dirty = |segment: &&Segment| segment.base() >= self.compacted_to;
        let closed = || self.segments.iter().take(closed);
        let all: u64 = closed().map(Segment::bytes).sum();
        let dirty: u64 = closed().filter(is_dirty).map(Segment::bytes).sum();
        let is_enough =
            u128::from(dirty) * 1_000 > u128::from(all) * u128::from(settings.min_dirty_thousandths);
        let mut times = closed().filter(is_dirty).filter_map(Segment::first_timestamp);
        let is_late = times.any(|time| time.as_millis() > 0 && age(now, time) > settings.max_lag);
        dirty > 0 && (is_enough || is_late)
    }

    /// The offset of the newest record of each key in the first `closed` segments.
    fn newest_of_keys(&self, closed: usize) -> BTreeMap<Bytes, Offset> {
        let batches = self.segments.iter().take(closed).flat_map(Segment::batches);
        let decoded = batches.filter_map(|batch| batch.decode().ok().flatten());
        let mut newest = BTreeMap::new();
        for batch in decoded {
            for record in batch.records() {
                if let Some(key) = record.key() {
                    newest.insert(Bytes::copy_from_slice(key), record.offset());
                }
            }
        }
        newest
    }
}

/// What compaction leaves of a batch.
enum Left {
    Records { batch: StoredBatch, has_tombstones: bool },
    Nothing,
}

/// The batch with only those records that `keep` names. One that loses nothing stays as it is.
fn rewritten(batch: &StoredBatch, keep: impl Fn(&RecordRef) -> bool) -> Left {
    let decoded = match batch.decode() {
        Ok(Some(decoded)) => decoded,
        Ok(None) if !batch.is_control() => return Left::Nothing,
        // Nothing is known of what is in it.
        Ok(None) | Err(_) => return Left::Records { batch: batch.clone(), has_tombstones: false },
    };
    let kept: Vec<_> = decoded.records().filter(|record| keep(record)).collect();
    if kept.is_empty() {
        return Left::Nothing;
    }
    let has_tombstones = kept.iter().any(|record| record.value().is_none());
    if kept.len() == decoded.len() {
        return Left::Records { batch: batch.clone(), has_tombstones };
    }
    let mut writer = BatchWriter::new(BatchOptions {
        base_offset: batch.base_offset(),
        leader_epoch: batch.leader_epoch(),
        compression: batch.compression().unwrap_or_default(),
        append_time: batch.has_append_time().then(|| batch.max_timestamp()),
        producer: batch.producer(),
    });
    let mut next = batch.base_offset();
    for record in kept {
        leave_gap(&mut writer, next, record.offset());
        next = record.offset().next();
        let record = record.to_record();
        writer.append(&OutgoingRecord {
            key: record.key,
            value: record.value,
            headers: record.headers,
            timestamp: record.timestamp,
        });
    }
    leave_gap(&mut writer, next, batch.last_offset().next());
    // What was a batch before is not too large for one now; if it cannot be written it stays as it is.
    let smaller = writer.finish().ok().and_then(|mut bytes| StoredBatch::split_first(&mut bytes).ok());
    Left::Records { batch: smaller.unwrap_or_else(|| batch.clone()), has_tombstones }
}

fn later(now: WallTime, wait: Duration) -> WallTime {
    let micros = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
    WallTime(now.0.saturating_add(micros))
}

fn leave_gap(writer: &mut BatchWriter, from: Offset, to: Offset) {
    writer.leave_gap(u32::try_from(to.0 - from.0).unwrap_or(0));
}
