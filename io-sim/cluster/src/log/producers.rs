//! What a log knows of idempotent producers: so much that a batch sent twice is there once.
//!
//! A producer numbers its records in each partition, from zero in each of its epochs. Of every producer the last
//! [`KEPT`] batches are remembered, since a producer has at most five requests out: a repetition of one of them is
//! answered with where it was appended the first time.
//!
//! Producers come and go, so one is forgotten when its last batch is too old. That goes by the batch's timestamp, as in
//! Kafka: a producer of old records may be forgotten while it is at work, and may then begin anywhere.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::{Offset, WallTime};
use evenkeel_core::records::{Producer, ProducerState, StoredBatch};

use super::retention::age;

/// How many batches of a producer are remembered.
const KEPT: usize = 5;

/// All producers that the log has seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Producers(BTreeMap<i64, Known>);

#[derive(Debug, Clone)]
struct Known {
    epoch: i16,
    batches: VecDeque<Remembered>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Remembered {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: Offset,
    timestamp: WallTime,
}

/// What to do with a producer's batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sequence {
    /// Append it.
    Next,
    /// It has been appended here already, with this greatest timestamp.
    Duplicate(Offset, WallTime),
    /// Refuse it.
    Refused(ErrorCode),
}

impl Producers {
    /// Whether a batch of `span` records is the next of its producer.
    pub(crate) fn judge(&self, state: ProducerState, span: i64) -> Sequence {
        let Some(known) = self.0.get(&state.id) else {
            // A producer that was forgotten, or a new one: both may begin anywhere.
            return Sequence::Next;
        };
        if state.epoch < known.epoch {
            return Sequence::Refused(ErrorCode::InvalidProducerEpoch);
        }
        if state.epoch > known.epoch {
            return match state.sequence {
                0 => Sequence::Next,
                _ => Sequence::Refused(ErrorCode::OutOfOrderSequenceNumber),
            };
        }
        let last = last_sequence(state.sequence, span);
        let same =
            |batch: &&Remembered| batch.first_sequence == state.sequence && batch.last_sequence == last;
        if let Some(batch) = known.batches.iter().find(same) {
            return Sequence::Duplicate(batch.base_offset, batch.timestamp);
        }
        match known.batches.back() {
            Some(batch) if last_sequence(batch.last_sequence, 2) != state.sequence => {
                Sequence::Refused(ErrorCode::OutOfOrderSequenceNumber)
            }
            Some(_) | None => Sequence::Next,
        }
    }

    /// Remembers a batch that was appended.
    pub(crate) fn note(&mut self, batch: &StoredBatch) {
        let state = match batch.producer() {
            Producer::Anonymous => return,
            Producer::Idempotent(state) | Producer::Transactional(state) => state,
        };
        let known =
            self.0.entry(state.id).or_insert_with(|| Known { epoch: state.epoch, batches: VecDeque::new() });
        if known.epoch != state.epoch {
            known.epoch = state.epoch;
            known.batches.clear();
        }
        if known.batches.len() == KEPT {
            known.batches.pop_front();
        }
        known.batches.push_back(Remembered {
            first_sequence: state.sequence,
            last_sequence: last_sequence(state.sequence, batch.span()),
            base_offset: batch.base_offset(),
            timestamp: batch.max_timestamp(),
        });
    }

    /// Whether a batch is the last one of its producer.
    pub(super) fn ends_with(&self, batch: &StoredBatch) -> bool {
        let (Producer::Idempotent(state) | Producer::Transactional(state)) = batch.producer() else {
            return false;
        };
        let last = self.0.get(&state.id).and_then(|known| known.batches.back());
        last.is_some_and(|last| last.base_offset == batch.base_offset())
    }

    /// Forgets the producers whose last batch is `limit` old.
    pub(crate) fn expire(&mut self, now: WallTime, limit: Duration) {
        self.0.retain(|_, known| known.batches.back().is_some_and(|last| age(now, last.timestamp) < limit));
    }
}

/// The number of the last of `span` records from `first` on. Behind the greatest number comes zero.
fn last_sequence(first: i32, span: i64) -> i32 {
    const NUMBERS: i64 = i32::MAX as i64 + 1;
    // Below 2^31 after the remainder.
    ((i64::from(first) + span - 1).rem_euclid(NUMBERS)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_core::model::LeaderEpoch;
    use evenkeel_core::records::{BatchOptions, BatchWriter};

    const OUT_OF_ORDER: Sequence = Sequence::Refused(ErrorCode::OutOfOrderSequenceNumber);
    const FENCED: Sequence = Sequence::Refused(ErrorCode::InvalidProducerEpoch);

    fn state(epoch: i16, sequence: i32) -> ProducerState {
        ProducerState { id: 7, epoch, sequence }
    }

    fn batch(at: i64, state: ProducerState, span: u32) -> StoredBatch {
        let options = BatchOptions { producer: Producer::Idempotent(state), ..BatchOptions::default() };
        let mut writer = BatchWriter::new(options);
        writer.leave_gap(span);
        let batch = StoredBatch::split_first(&mut writer.finish().unwrap()).unwrap();
        batch.placed(Offset(at), LeaderEpoch(0), None)
    }

    #[test]
    fn a_table_of_what_may_follow_what() {
        let mut producers = Producers::default();
        assert_eq!(producers.judge(state(0, 40), 2), Sequence::Next, "an unknown producer begins anywhere");
        for nth in 0..6 {
            producers.note(&batch(10 * i64::from(nth), state(1, 2 * nth), 2));
        }
        for (what, state, span, verdict) in [
            ("the next", state(1, 12), 3, Sequence::Next),
            ("the last again", state(1, 10), 2, Sequence::Duplicate(Offset(50), WallTime(-1_000))),
            (
                "the fifth from behind again",
                state(1, 2),
                2,
                Sequence::Duplicate(Offset(10), WallTime(-1_000)),
            ),
            ("the sixth from behind again", state(1, 0), 2, OUT_OF_ORDER),
            ("half of the last again", state(1, 10), 1, OUT_OF_ORDER),
            ("one left out", state(1, 13), 1, OUT_OF_ORDER),
            ("an earlier life", state(0, 12), 1, FENCED),
            ("a later life from its start", state(2, 0), 1, Sequence::Next),
            ("a later life from its middle", state(2, 3), 1, OUT_OF_ORDER),
        ] {
            assert_eq!(producers.judge(state, span), verdict, "{what}");
        }
    }

    #[test]
    fn behind_the_greatest_number_comes_zero() {
        let mut producers = Producers::default();
        producers.note(&batch(0, state(0, i32::MAX - 1), 2));
        assert_eq!(producers.judge(state(0, 0), 1), Sequence::Next);
        producers.note(&batch(2, state(0, i32::MAX), 3));
        assert_eq!(producers.judge(state(0, 2), 1), Sequence::Next);
        assert_eq!(producers.judge(state(0, 3), 1), OUT_OF_ORDER);
    }
}
