//! OffsetCommit, OffsetFetch, OffsetDelete.

use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::{Generation, Offset, PartitionId};

use super::code;
use super::read::{Malformed, Reader};
use super::records::{NONE, known_epoch, wire_epoch};
use super::write::Writer;
use crate::message::{
    CommitOffsetsAnswer, CommitOffsetsRequest, CommitPartition, DeleteOffsetsAnswer, DeleteOffsetsRequest,
    FetchOffsetsAnswer, FetchOffsetsGroup, FetchOffsetsRequest, FetchedOffsets, OfTopic, StoredOffset,
};

pub(super) fn read_commit(from: &mut Reader, version: i16) -> Result<CommitOffsetsRequest, Malformed> {
    let group = from.text()?;
    let generation = Generation(from.i32()?);
    let member = from.text()?;
    let instance = if version >= 7 { from.nullable_text()? } else { None };
    if version <= 4 {
        let _retention = from.i64()?;
    }
    let topics = from.by_topic(|from| {
        Ok(CommitPartition {
            partition: PartitionId(from.i32()?),
            offset: Offset(from.i64()?),
            leader_epoch: if version >= 6 { known_epoch(from.i32()?) } else { None },
            metadata: from.nullable_text()?,
        })
    })?;
    Ok(CommitOffsetsRequest { group, generation, member, instance, topics })
}

pub(super) fn write_commit(to: &mut Writer, version: i16, answer: &CommitOffsetsAnswer) {
    if version >= 3 {
        to.no_throttle();
    }
    to.by_topic(&answer.topics, |to, (partition, outcome)| {
        to.i32(partition.0);
        to.i16(code(outcome));
    });
}

pub(super) fn read_fetch(from: &mut Reader, version: i16) -> Result<FetchOffsetsRequest, Malformed> {
    let group = |from: &mut Reader| {
        let group = from.text()?;
        Ok(FetchOffsetsGroup { group, topics: from.nullable_array(Reader::numbers_of_topic)? })
    };
    let groups = if version >= 8 { from.array(group)? } else { vec![group(from)?] };
    if version >= 7 {
        let _require_stable = from.bool()?;
    }
    Ok(FetchOffsetsRequest { groups })
}

pub(super) fn write_fetch(to: &mut Writer, version: i16, answer: &FetchOffsetsAnswer) {
    let none = Vec::new();
    let topics = |to: &mut Writer, topics: &[OfTopic<(PartitionId, Option<StoredOffset>)>]| {
        to.by_topic(topics, |to, (partition, stored)| {
            to.i32(partition.0);
            to.i64(stored.as_ref().map_or(i64::from(NONE), |stored| stored.offset.0));
            if version >= 5 {
                to.i32(wire_epoch(stored.as_ref().and_then(|stored| stored.leader_epoch)));
            }
            to.nullable_text(Some(stored.as_ref().map_or("", |stored| &stored.metadata)));
            to.i16(0);
        });
    };
    if version >= 3 {
        to.no_throttle();
    }
    if version >= 8 {
        to.array(&answer.groups, |to, FetchedOffsets { group, outcome }| {
            to.text(group);
            topics(to, outcome.as_ref().unwrap_or(&none));
            to.i16(code(outcome));
        });
        return;
    }
    let nothing = Err(ErrorCode::UnknownServerError);
    let outcome = answer.groups.first().map_or(&nothing, |group| &group.outcome);
    topics(to, outcome.as_ref().unwrap_or(&none));
    to.i16(code(outcome));
}

pub(super) fn read_delete(from: &mut Reader) -> Result<DeleteOffsetsRequest, Malformed> {
    let group = from.text()?;
    Ok(DeleteOffsetsRequest { group, topics: from.by_topic(|from| from.i32().map(PartitionId))? })
}

pub(super) fn write_delete(to: &mut Writer, answer: &DeleteOffsetsAnswer) {
    to.i16(code(&answer.outcome));
    to.no_throttle();
    let none = Vec::new();
    to.by_topic(answer.outcome.as_ref().unwrap_or(&none), |to, (partition, outcome)| {
        to.i32(partition.0);
        to.i16(code(outcome));
    });
}
