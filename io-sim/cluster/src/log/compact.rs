//! Compaction: of each key only the newest record stays.
//!
//! Only closed segments are compacted, as Kafka does: the one that is written to is left alone. Offsets stay what they
//! were, so batches get gaps. A record without a value (a tombstone) deletes its key and goes itself once it is older
//! than the topic's `delete.retention.ms`, so that slow readers still learn of the deletion.

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
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Compaction {
    /// What part of the log must be uncompacted to make it worth while, in thousandths.
    pub(crate) min_dirty_thousandths: u32,
    /// How long tombstones stay.
    pub(crate) keep_tombstones: Duration,
}

impl Log {
    /// Compacts all closed segments below `until`, if enough has come since the last time.
    pub(crate) fn compact(&mut self, now: WallTime, until: Offset, settings: Compaction) {
        let closed = self.segments.iter().take(self.segments.len().saturating_sub(1));
        let closed = closed.take_while(|segment| segment.last_offset() < until).count();
        let bytes = |segments: &VecDeque<Segment>, from: Offset| -> u64 {
            segments.iter().take(closed).filter(|s| s.base() >= from).map(Segment::bytes).sum()
        };
        let all = bytes(&self.segments, Offset(i64::MIN));
        let dirty = bytes(&self.segments, self.compacted_to);
        if dirty == 0
            || u128::from(dirty) * 1_000 < u128::from(all) * u128::from(settings.min_dirty_thousandths)
        {
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
            let keep = |record: &RecordRef| {
                let is_newest = record.key().is_some_and(|key| newest.get(key) == Some(&record.offset()));
                let expired =
                    record.value().is_none() && age(now, record.timestamp()) > settings.keep_tombstones;
                is_newest && !expired
            };
            let batches: Vec<_> =
                segment.batches().iter().filter_map(|batch| rewritten(batch, keep)).collect();
            if !batches.is_empty() {
                kept.push_back(Segment::from_batches(segment.base(), batches));
            }
        }
        self.segments = kept;
        self.bytes = self.segments.iter().map(Segment::bytes).sum();
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

/// The batch with only those records that `keep` names; `None` if there are none. One that loses nothing stays as it
/// is.
fn rewritten(batch: &StoredBatch, keep: impl Fn(&RecordRef) -> bool) -> Option<StoredBatch> {
    let Ok(Some(decoded)) = batch.decode() else { return Some(batch.clone()) };
    let kept: Vec<_> = decoded.records().filter(|record| keep(record)).collect();
    if kept.len() == decoded.len() {
        return Some(batch.clone());
    }
    if kept.is_empty() {
        return None;
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
    // What was a batch before is not too large for one now.
    let mut bytes = writer.finish().ok()?;
    StoredBatch::split_first(&mut bytes).ok()
}

fn leave_gap(writer: &mut BatchWriter, from: Offset, to: Offset) {
    writer.leave_gap(u32::try_from(to.0 - from.0).unwrap_or(0));
}
