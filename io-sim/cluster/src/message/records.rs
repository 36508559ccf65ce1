//! Records: producing, fetching, finding offsets, deleting.

use std::time::Duration;

use bytes::Bytes;
use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::{LeaderEpoch, Offset, PartitionId, WallTime};

use super::{OfTopic, Text};

/// What a producer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// Nothing: there is no answer.
    None,
    /// The leader's append.
    Leader,
    /// The append of every in-sync replica.
    All,
    /// A number that means nothing.
    Unknown(i16),
}

/// Append batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProduceRequest {
    /// What to wait for.
    pub acks: Acks,
    /// How long to wait for replicas.
    pub timeout: Duration,
    /// The id of a transactional producer.
    pub transactional_id: Option<Text>,
    /// The batches.
    pub topics: Vec<OfTopic<ProducePartition>>,
}

/// What to append to one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducePartition {
    /// The partition.
    pub partition: PartitionId,
    /// One encoded record batch.
    pub records: Bytes,
}

/// What became of each batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProduceAnswer {
    /// What became of each.
    pub topics: Vec<OfTopic<ProducedPartition>>,
    /// How long the client is to pause, for it exceeds its quota.
    pub throttle: Duration,
}

impl ProduceAnswer {
    /// Whether any of the batches was refused.
    #[must_use]
    pub fn has_refusal(&self) -> bool {
        self.topics.iter().flat_map(|topic| &topic.partitions).any(|produced| produced.outcome.is_err())
    }
}

/// What became of one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducedPartition {
    /// The partition.
    pub partition: PartitionId,
    /// Where it was appended, or why it was not.
    pub outcome: Result<Appended, ProduceRefusal>,
}

/// Where a batch was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The offset of its first record.
    pub base_offset: Offset,
    /// The time that all its records have now, on topics with append time.
    pub append_time: Option<WallTime>,
    /// Where the log begins.
    pub log_start: Offset,
}

/// Why a batch was not appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProduceRefusal {
    /// The reason.
    pub code: ErrorCode,
    /// The records that are to blame, by their number in the batch.
    pub records: Vec<(i32, Text)>,
    /// The reason in words.
    pub message: Option<Text>,
    /// Where the log begins that the batch was not fit for; `None` if it did not come that far.
    pub log_start: Option<Offset>,
}

impl From<ErrorCode> for ProduceRefusal {
    fn from(code: ErrorCode) -> Self {
        Self { code, records: Vec::new(), message: None, log_start: None }
    }
}

/// Which fetch session a fetch belongs to. This cluster keeps no sessions: every fetch is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchSession {
    /// A whole fetch, which may ask for a session and gets none.
    Whole,
    /// The continuation of a session.
    Continued,
}

/// Read batches, or wait for some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRequest {
    /// How long to wait for `min_bytes`.
    pub max_wait: Duration,
    /// How many bytes are worth an answer.
    pub min_bytes: usize,
    /// How many bytes are wanted in all; a first batch that is larger comes whole.
    pub max_bytes: usize,
    /// Whether records of open and aborted transactions are left out. Without transactions, all the same.
    pub read_committed: bool,
    /// The session.
    pub session: FetchSession,
    /// From where to read.
    pub topics: Vec<OfTopic<FetchPartition>>,
}

/// From where to read one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchPartition {
    /// The partition.
    pub partition: PartitionId,
    /// The leader epoch that the client knows.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The first offset wanted.
    pub offset: Offset,
    /// The epoch of the record before it, to find out whether the log has been cut since.
    pub last_epoch: Option<LeaderEpoch>,
    /// How many bytes are wanted of this partition.
    pub max_bytes: usize,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchAnswer {
    /// What was read, or an error of the whole request.
    pub outcome: Result<Vec<OfTopic<FetchedPartition>>, ErrorCode>,
    /// How long the client is to pause, for it exceeds its quota.
    pub throttle: Duration,
}

/// What was read of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedPartition {
    /// The partition.
    pub partition: PartitionId,
    /// What was read, or why nothing was.
    pub outcome: Result<Fetched, ErrorCode>,
}

/// What was read of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The end of what consumers may see.
    pub high_watermark: Offset,
    /// Where the log begins.
    pub log_start: Offset,
    /// Whether only committed records were asked for.
    pub read_committed: bool,
    /// Where the client's past and the log part; nothing is read then.
    pub diverging: Option<(LeaderEpoch, Offset)>,
    /// Whole batches in order, each in its own bytes.
    pub batches: Vec<Bytes>,
}

/// Look up offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListOffsetsRequest {
    /// Whether the end is that of committed records.
    pub read_committed: bool,
    /// What to look up.
    pub topics: Vec<OfTopic<ListPartition>>,
}

/// What to look up in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListPartition {
    /// The partition.
    pub partition: PartitionId,
    /// The leader epoch that the client knows.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The place.
    pub place: Place,
}

/// A place in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Where the log begins.
    Earliest,
    /// Behind the last record that consumers may see.
    Latest,
    /// The first record with the greatest timestamp.
    MaxTimestamp,
    /// The first record whose timestamp is not before this.
    Time(WallTime),
    /// A number that means nothing.
    Unknown(i64),
}

/// The offsets that were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListOffsetsAnswer {
    /// What was found in each partition.
    pub topics: Vec<OfTopic<ListedPartition>>,
}

/// What was found in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedPartition {
    /// The partition.
    pub partition: PartitionId,
    /// The place, `None` if no record is there, or why it was not looked up.
    pub outcome: Result<Option<Listed>, ErrorCode>,
}

/// A place that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// The offset.
    pub offset: Offset,
    /// The timestamp of the record there, if a record was looked for.
    pub timestamp: Option<WallTime>,
    /// The epoch of the record there.
    pub leader_epoch: Option<LeaderEpoch>,
}

/// Look up where epochs ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochEndsRequest {
    /// What to look up.
    pub topics: Vec<OfTopic<EpochEndPartition>>,
}

/// Which epoch to look up in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEndPartition {
    /// The partition.
    pub partition: PartitionId,
    /// The leader epoch that the client knows.
    pub current_epoch: Option<LeaderEpoch>,
    /// The epoch whose end is wanted.
    pub epoch: LeaderEpoch,
}

/// Where epochs ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochEndsAnswer {
    /// What was found in each partition.
    pub topics: Vec<OfTopic<EpochEnd>>,
}

/// Where an epoch ended in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    /// The partition.
    pub partition: PartitionId,
    /// The greatest epoch up to the one asked for and where it ended; `None` if the log has none.
    pub outcome: Result<Option<(LeaderEpoch, Offset)>, ErrorCode>,
}

/// Drop the beginnings of logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteRecordsRequest {
    /// Where each log is to begin.
    pub topics: Vec<OfTopic<DeleteRecordsPartition>>,
}

/// Where one log is to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeleteRecordsPartition {
    /// The partition.
    pub partition: PartitionId,
    /// The new beginning; `None` for the high watermark.
    pub before: Option<Offset>,
}

/// Where logs begin now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteRecordsAnswer {
    /// Each partition's outcome.
    pub topics: Vec<OfTopic<DeletedRecords>>,
}

/// Where one log begins now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeletedRecords {
    /// The partition.
    pub partition: PartitionId,
    /// The log's start, or why nothing was deleted.
    pub outcome: Result<Offset, ErrorCode>,
}

/// A producer's id and life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerIdentity {
    /// The id.
    pub id: i64,
    /// Which of the id's lives.
    pub epoch: i16,
}

/// Get an id for an idempotent producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitProducerRequest {
    /// The id of a transactional producer.
    pub transactional_id: Option<Text>,
    /// The identity that the producer had.
    pub current: Option<ProducerIdentity>,
}

/// A producer's identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitProducerAnswer {
    /// The identity, or why there is none.
    pub outcome: Result<ProducerIdentity, ErrorCode>,
}
