//! Produce, Fetch, ListOffsets, OffsetForLeaderEpoch, DeleteRecords, InitProducerId.

use std::time::Duration;

use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::{LeaderEpoch, Offset, PartitionId, WallTime};

use super::code;
use super::read::{Malformed, Reader};
use super::write::Writer;
use crate::message::{
    Acks, DeleteRecordsAnswer, DeleteRecordsPartition, DeleteRecordsRequest, EpochEndPartition,
    EpochEndsAnswer, EpochEndsRequest, FetchAnswer, FetchPartition, FetchRequest, FetchSession,
    InitProducerAnswer, InitProducerRequest, ListOffsetsAnswer, ListOffsetsRequest, ListPartition, OfTopic,
    Place, ProduceAnswer, ProducePartition, ProduceRequest, ProducerIdentity,
};

/// In place of an offset, a time, an epoch: there is none.
pub(super) const NONE: i8 = -1;

pub(super) fn duration(millis: i32) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

pub(super) fn known_epoch(epoch: i32) -> Option<LeaderEpoch> {
    (epoch >= 0).then_some(LeaderEpoch(epoch))
}

/// The epoch that a client takes for the leader's. Any number but -1 is one, so that a wrong one is refused.
fn believed_epoch(epoch: i32) -> Option<LeaderEpoch> {
    (epoch != i32::from(NONE)).then_some(LeaderEpoch(epoch))
}

pub(super) fn wire_epoch(epoch: Option<LeaderEpoch>) -> i32 {
    epoch.map_or(i32::from(NONE), |epoch| epoch.0)
}

fn size(bytes: i32) -> usize {
    usize::try_from(bytes).unwrap_or(0)
}

pub(super) fn read_produce(from: &mut Reader) -> Result<ProduceRequest, Malformed> {
    Ok(ProduceRequest {
        transactional_id: from.nullable_text()?,
        acks: match from.i16()? {
            -1 => Acks::All,
            0 => Acks::None,
            1 => Acks::Leader,
            other => Acks::Unknown(other),
        },
        timeout: duration(from.i32()?),
        topics: from.by_topic(|from| {
            let partition = PartitionId(from.i32()?);
            Ok(ProducePartition { partition, records: from.nullable_bytes()?.unwrap_or_default() })
        })?,
    })
}

pub(super) fn write_produce(to: &mut Writer, version: i16, answer: &ProduceAnswer) {
    to.by_topic(&answer.topics, |to, produced| {
        to.i32(produced.partition.0);
        let (appended, refusal) = match &produced.outcome {
            Ok(appended) => (Some(appended), None),
            Err(refusal) => (None, Some(refusal)),
        };
        to.error(refusal.map(|refusal| refusal.code));
        to.i64(appended.map_or(i64::from(NONE), |appended| appended.base_offset.0));
        let append_time = appended.and_then(|appended| appended.append_time);
        to.i64(append_time.map_or(i64::from(NONE), WallTime::as_millis));
        if version >= 5 {
            let log_start = match &produced.outcome {
                Ok(appended) => Some(appended.log_start),
                Err(refusal) => refusal.log_start,
            };
            to.i64(log_start.map_or(i64::from(NONE), |offset| offset.0));
        }
        if version >= 8 {
            to.array(refusal.map_or(&[], |refusal| &refusal.records), |to, (number, why)| {
                to.i32(*number);
                to.nullable_text(Some(why));
            });
            to.nullable_text(refusal.and_then(|refusal| refusal.message.as_deref()));
        }
    });
    to.millis(answer.throttle);
}

pub(super) fn read_fetch(from: &mut Reader, version: i16) -> Result<FetchRequest, Malformed> {
    let _replica = from.i32()?;
    let max_wait = duration(from.i32()?);
    let min_bytes = size(from.i32()?);
    let max_bytes = size(from.i32()?);
    let read_committed = from.i8()? == 1;
    let mut session = FetchSession::Whole;
    if version >= 7 {
        let (_id, epoch) = (from.i32()?, from.i32()?);
        // 0 begins a session, -1 ends it; all others go on with one.
        if epoch > 0 {
            session = FetchSession::Continued;
        }
    }
    let topics = from.by_topic(|from| {
        let partition = PartitionId(from.i32()?);
        let leader_epoch = if version >= 9 { known_epoch(from.i32()?) } else { None };
        let offset = Offset(from.i64()?);
        let last_epoch = if version >= 12 { known_epoch(from.i32()?) } else { None };
        if version >= 5 {
            let _log_start_of_followers = from.i64()?;
        }
        Ok(FetchPartition { partition, leader_epoch, offset, last_epoch, max_bytes: size(from.i32()?) })
    })?;
    if version >= 7 {
        let _forgotten = from.numbers_by_topic()?;
    }
    if version >= 11 {
        let _rack = from.text()?;
    }
    Ok(FetchRequest { max_wait, min_bytes, max_bytes, read_committed, session, topics })
}

pub(super) fn write_fetch(to: &mut Writer, version: i16, answer: &FetchAnswer) {
    to.millis(answer.throttle);
    if version >= 7 {
        to.i16(code(&answer.outcome));
        // No session.
        to.i32(0);
    }
    let nothing = Vec::new();
    let topics = answer.outcome.as_ref().unwrap_or(&nothing);
    to.array(topics, |to, OfTopic { topic, partitions }| {
        to.text(topic);
        to.list(partitions, |to, partition| {
            to.i32(partition.partition.0);
            to.i16(code(&partition.outcome));
            let fetched = partition.outcome.as_ref().ok();
            let high_watermark = fetched.map_or(i64::from(NONE), |fetched| fetched.high_watermark.0);
            to.i64(high_watermark);
            // The last stable offset: without transactions, the same.
            to.i64(high_watermark);
            if version >= 5 {
                to.i64(fetched.map_or(i64::from(NONE), |fetched| fetched.log_start.0));
            }
            // Aborted transactions: none, which Kafka says in two ways.
            let is_told = match &partition.outcome {
                Ok(fetched) => fetched.read_committed,
                Err(code) => *code == ErrorCode::UnknownTopicOrPartition,
            };
            if is_told {
                to.list(&[], |_, ()| {})
            } else {
                to.null_array()
            }
            if version >= 11 {
                // Another replica to read from.
                to.i32(i32::from(NONE));
            }
            to.chunks(fetched.map_or(&[], |fetched| &fetched.batches));
            if version >= 12 {
                diverging(to, fetched.and_then(|fetched| fetched.diverging));
            }
        });
    });
}

/// The tagged fields of a fetched partition, of which only the first is ever there.
fn diverging(to: &mut Writer, diverging: Option<(LeaderEpoch, Offset)>) {
    let Some((epoch, end)) = diverging else { return to.tags() };
    const FIELDS: i8 = 1;
    const DIVERGING_EPOCH: i8 = 0;
    // An epoch, an offset, no tagged fields.
    const SIZE: i8 = 4 + 8 + 1;
    to.i8(FIELDS);
    to.i8(DIVERGING_EPOCH);
    to.i8(SIZE);
    to.i32(epoch.0);
    to.i64(end.0);
    to.tags();
}

pub(super) fn read_list_offsets(from: &mut Reader, version: i16) -> Result<ListOffsetsRequest, Malformed> {
    let _replica = from.i32()?;
    let read_committed = version >= 2 && from.i8()? == 1;
    let topics = from.by_topic(|from| {
        let partition = PartitionId(from.i32()?);
        let leader_epoch = if version >= 4 { believed_epoch(from.i32()?) } else { None };
        let place = match from.i64()? {
            -1 => Place::Latest,
            -2 => Place::Earliest,
            -3 if version >= 7 => Place::MaxTimestamp,
            time @ 0.. => Place::Time(WallTime::from_millis(time)),
            other => Place::Unknown(other),
        };
        Ok(ListPartition { partition, leader_epoch, place })
    })?;
    Ok(ListOffsetsRequest { read_committed, topics })
}

pub(super) fn write_list_offsets(to: &mut Writer, version: i16, answer: &ListOffsetsAnswer) {
    if version >= 2 {
        to.no_throttle();
    }
    to.by_topic(&answer.topics, |to, listed| {
        to.i32(listed.partition.0);
        to.i16(code(&listed.outcome));
        let found = listed.outcome.ok().flatten();
        to.i64(found.and_then(|found| found.timestamp).map_or(i64::from(NONE), WallTime::as_millis));
        to.i64(found.map_or(i64::from(NONE), |found| found.offset.0));
        if version >= 4 {
            to.i32(wire_epoch(found.and_then(|found| found.leader_epoch)));
        }
    });
}

pub(super) fn read_epoch_ends(from: &mut Reader, version: i16) -> Result<EpochEndsRequest, Malformed> {
    if version >= 3 {
        let _replica = from.i32()?;
    }
    let topics = from.by_topic(|from| {
        Ok(EpochEndPartition {
            partition: PartitionId(from.i32()?),
            current_epoch: believed_epoch(from.i32()?),
            epoch: LeaderEpoch(from.i32()?),
        })
    })?;
    Ok(EpochEndsRequest { topics })
}

pub(super) fn write_epoch_ends(to: &mut Writer, answer: &EpochEndsAnswer) {
    to.no_throttle();
    to.by_topic(&answer.topics, |to, end| {
        to.i16(code(&end.outcome));
        to.i32(end.partition.0);
        let found = end.outcome.ok().flatten();
        to.i32(wire_epoch(found.map(|(epoch, _)| epoch)));
        to.i64(found.map_or(i64::from(NONE), |(_, end)| end.0));
    });
}

pub(super) fn read_delete_records(from: &mut Reader) -> Result<DeleteRecordsRequest, Malformed> {
    let topics = from.by_topic(|from| {
        let partition = PartitionId(from.i32()?);
        let before = match from.i64()? {
            -1 => None,
            offset => Some(Offset(offset)),
        };
        Ok(DeleteRecordsPartition { partition, before })
    })?;
    let _timeout = from.i32()?;
    Ok(DeleteRecordsRequest { topics })
}

pub(super) fn write_delete_records(to: &mut Writer, answer: &DeleteRecordsAnswer) {
    to.no_throttle();
    to.by_topic(&answer.topics, |to, deleted| {
        to.i32(deleted.partition.0);
        to.i64(deleted.outcome.map_or(i64::from(NONE), |start| start.0));
        to.i16(code(&deleted.outcome));
    });
}

pub(super) fn read_init_producer(from: &mut Reader, version: i16) -> Result<InitProducerRequest, Malformed> {
    let transactional_id = from.nullable_text()?;
    let _transaction_timeout = from.i32()?;
    let mut current = None;
    if version >= 3 {
        let (id, epoch) = (from.i64()?, from.i16()?);
        current = (id >= 0 && epoch >= 0).then_some(ProducerIdentity { id, epoch });
    }
    Ok(InitProducerRequest { transactional_id, current })
}

pub(super) fn write_init_producer(to: &mut Writer, answer: &InitProducerAnswer) {
    to.no_throttle();
    to.i16(code(&answer.outcome));
    let none = ProducerIdentity { id: i64::from(NONE), epoch: i16::from(NONE) };
    let ProducerIdentity { id, epoch } = answer.outcome.unwrap_or(none);
    to.i64(id);
    to.i16(epoch);
}
