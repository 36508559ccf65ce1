//! Appending: what a leader checks of a producer's batch before it puts it into its log.

use bytes::Bytes;
use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::{Offset, Time, WallTime};
use evenkeel_core::records::{DecodeError, DecodedBatch, Ended, Producer, StoredBatch};

use super::Partition;
use crate::log::producers::Sequence;
use crate::log::{Log, Roll};
use crate::message::{ProduceRefusal, Text};
use crate::topics::config::{Settings, TimestampType};

/// What time it is, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    pub(crate) now: Time,
    pub(crate) wall: WallTime,
}

/// Where a batch is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) base_offset: Offset,
    pub(crate) append_time: Option<WallTime>,
    /// What the high watermark must reach before every in-sync replica has it.
    pub(crate) end: Offset,
}

/// Why a batch was not appended.
pub(crate) type AppendFault = ProduceRefusal;

impl Partition {
    /// Appends a producer's batch to the leader's log and lets the followers copy it.
    pub(crate) fn append(
        &mut self,
        clock: Clock,
        settings: &Settings,
        mut records: Bytes,
        needs_all: bool,
    ) -> Result<Written, AppendFault> {
        let batch = only_batch(&mut records)?;
        self.append_batch(clock, settings, &batch, needs_all).map_err(|refusal| AppendFault {
            log_start: if is_told_without_a_log(refusal.code) { None } else { self.log().map(Log::start) },
            ..refusal
        })
    }

    fn append_batch(
        &mut self,
        clock: Clock,
        settings: &Settings,
        batch: &StoredBatch,
        needs_all: bool,
    ) -> Result<Written, AppendFault> {
        // A topic that never had so many replicas is not held to their number.
        if needs_all && self.in_sync.len() < settings.min_in_sync.min(self.replicas().len()) {
            return Err(ErrorCode::NotEnoughReplicas.into());
        }
        let size = batch.bytes().len();
        if size > settings.max_message_bytes {
            let limit = settings.max_message_bytes;
            return Err(fault(
                ErrorCode::MessageTooLarge,
                format!("the record batch has {size} bytes, max.message.bytes of the topic is {limit}"),
            ));
        }
        if size as u64 > settings.segment_bytes {
            let limit = settings.segment_bytes;
            return Err(fault(
                ErrorCode::RecordListTooLarge,
                format!("the record batch has {size} bytes, a segment of the topic {limit}"),
            ));
        }
        check_records(batch, clock, settings)?;
        if let Some(end) = self.repeated(batch)? {
            return Ok(end);
        }
        let append_time = (settings.timestamps == TimestampType::Append).then_some(clock.wall);
        let Some(leader) = self.leader else { return Err(ErrorCode::NotLeaderOrFollower.into()) };
        let epoch = self.epoch;
        let Some(replica) = self.replica_mut(leader) else {
            return Err(ErrorCode::NotLeaderOrFollower.into());
        };
        let base_offset = replica.log.end();
        if base_offset.0.checked_add(batch.span()).is_none() {
            return Err(ErrorCode::InvalidRecord.into());
        }
        let roll = Roll { bytes: settings.segment_bytes, age: settings.segment_age };
        replica.log.append(batch.placed(base_offset, epoch, append_time), roll, clock.wall);
        let end = replica.log.end();
        self.replicate(clock.now);
        Ok(Written { base_offset, append_time, end })
    }

    /// Where a batch was appended before, if its producer sends it again.
    fn repeated(&self, batch: &StoredBatch) -> Result<Option<Written>, AppendFault> {
        let state = match batch.producer() {
            Producer::Anonymous => return Ok(None),
            Producer::Idempotent(state) => state,
            Producer::Transactional(_) => {
                return Err(fault(ErrorCode::InvalidRequest, "this broker has no transactions".to_owned()));
            }
        };
        let Some(log) = self.log() else { return Err(ErrorCode::NotLeaderOrFollower.into()) };
        match log.producers().judge(state, batch.span()) {
            Sequence::Next => Ok(None),
            Sequence::Duplicate(base_offset, timestamp) => {
                let end = Offset(base_offset.0.saturating_add(batch.span()));
                // Kafka tells the first copy's greatest timestamp here, whatever the topic's timestamps are.
                Ok(Some(Written { base_offset, append_time: Some(timestamp), end }))
            }
            Sequence::Refused(code) => Err(code.into()),
        }
    }
}

fn fault(code: ErrorCode, message: String) -> AppendFault {
    AppendFault { code, records: Vec::new(), message: Some(message.into()), log_start: None }
}

/// Whether Kafka leaves the log's start out when it refuses a batch for this reason.
const fn is_told_without_a_log(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::CorruptMessage
            | ErrorCode::MessageTooLarge
            | ErrorCode::RecordListTooLarge
            | ErrorCode::NotLeaderOrFollower
    )
}

/// A producer sends exactly one batch to a partition.
fn only_batch(records: &mut Bytes) -> Result<StoredBatch, AppendFault> {
    let batch = StoredBatch::split_first(records).map_err(|ended| match ended {
        Ended::Complete => fault(ErrorCode::InvalidRecord, "there is no record batch".to_owned()),
        Ended::TooShort { needs } => {
            fault(ErrorCode::InvalidRecord, format!("the record batch is cut off, it has {needs} bytes"))
        }
        Ended::Failed(error @ DecodeError::OldFormat { .. }) => {
            fault(ErrorCode::InvalidRecord, error.to_string())
        }
        Ended::Failed(error) => fault(ErrorCode::CorruptMessage, error.to_string()),
    })?;
    if records.is_empty() {
        Ok(batch)
    } else {
        Err(fault(
            ErrorCode::InvalidRecord,
            "there is more than one record batch for one partition".to_owned(),
        ))
    }
}

/// Checks what is inside a batch.
fn check_records(batch: &StoredBatch, clock: Clock, settings: &Settings) -> Result<(), AppendFault> {
    let invalid = |message: &str| fault(ErrorCode::InvalidRecord, message.to_owned());
    if batch.is_control() {
        return Err(invalid("only brokers write control batches"));
    }
    if batch.base_offset() != Offset(0) {
        return Err(invalid("a producer's batch begins at offset 0"));
    }
    if let Producer::Idempotent(state) = batch.producer()
        && state.sequence < 0
        && state.epoch >= 0
    {
        return Err(invalid("the batch has a producer's id, but no sequence number"));
    }
    if batch.compression().is_none() {
        return Err(fault(
            ErrorCode::UnsupportedCompressionType,
            "the batch's codec is not known".to_owned(),
        ));
    }
    let decoded = batch.decode().map_err(|error| fault(ErrorCode::InvalidRecord, error.to_string()))?;
    let decoded = decoded.ok_or_else(|| invalid("the record batch has no records"))?;
    if decoded.len() as i64 != batch.span() {
        return Err(invalid("the record batch leaves offsets out"));
    }
    let blame = |code, numbers: Vec<usize>, message: &str| {
        let message = Text::from(message);
        // At most 2^31 records are in a batch.
        let records = numbers.into_iter().map(|number| (number as i32, message.clone())).collect();
        let message = Some("one or more records have been rejected".into());
        Err(AppendFault { code, records, message, log_start: None })
    };
    if settings.compact {
        let keyless = numbers(&decoded, |record| record.key().is_none());
        if !keyless.is_empty() {
            return blame(
                ErrorCode::InvalidRecord,
                keyless,
                "a compacted topic takes no record without a key",
            );
        }
    }
    if settings.timestamps == TimestampType::Create {
        let now = clock.wall.as_millis();
        let before = i64::try_from(settings.timestamp_before.as_millis()).unwrap_or(i64::MAX);
        let after = i64::try_from(settings.timestamp_after.as_millis()).unwrap_or(i64::MAX);
        let legal = now.saturating_sub(before)..=now.saturating_add(after);
        // A negative timestamp is none at all.
        let is_wrong = |time: i64| time >= 0 && !legal.contains(&time);
        if is_wrong(batch.max_timestamp().as_millis()) || before != i64::MAX {
            let wrong = numbers(&decoded, |record| is_wrong(record.timestamp().as_millis()));
            if !wrong.is_empty() {
                return blame(ErrorCode::InvalidTimestamp, wrong, "the timestamp is out of range");
            }
        }
    }
    Ok(())
}

fn numbers(
    batch: &std::sync::Arc<DecodedBatch>,
    wanted: impl Fn(&evenkeel_core::records::RecordRef) -> bool,
) -> Vec<usize> {
    batch.records().enumerate().filter(|(_, record)| wanted(record)).map(|(number, _)| number).collect()
}
