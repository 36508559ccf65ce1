//! Topics and logs: one request to one broker at a time.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::PortError;
use crate::error::ErrorCode;
use crate::model::{
    BrokerId, Header, LeaderEpoch, Offset, PartitionId, TopicId, TopicName, TopicPartition, WallTime,
};
use crate::records::Batches;

/// What the cluster says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// The brokers that are alive.
    pub brokers: Vec<BrokerId>,
    /// One entry for each topic that was asked for.
    pub topics: Vec<TopicMetadata>,
}

/// One topic of a [`Metadata`] answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicMetadata {
    /// The topic.
    pub topic: TopicName,
    /// Which life of the topic this is; `None` if the broker does not tell.
    pub id: Option<TopicId>,
    /// Its partitions in the order of their numbers, or why they are not known.
    pub partitions: Result<Vec<PartitionMetadata>, ErrorCode>,
}

impl TopicMetadata {
    /// How many partitions the topic has.
    ///
    /// # Errors
    /// The broker's reason, where they are not known.
    pub fn count(&self) -> Result<u32, ErrorCode> {
        self.partitions.as_ref().map(|all| u32::try_from(all.len()).unwrap_or(u32::MAX)).map_err(|code| *code)
    }
}

/// One partition of a [`TopicMetadata`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionMetadata {
    /// The partition's number.
    pub partition: PartitionId,
    /// The broker that leads it; `None` while there is none.
    pub leader: Option<BrokerId>,
    /// The epoch of that leader, if the broker tells.
    pub leader_epoch: Option<LeaderEpoch>,
}

/// Fetch: records of many partitions from one broker. The broker waits until there is something or `wait` is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRequest {
    /// How long the broker may wait for data.
    pub wait: Duration,
    /// The most bytes of the whole answer; the first batch comes even if it is larger.
    pub max_bytes: u32,
    /// Whether records of open and aborted transactions are kept back.
    pub read_committed: bool,
    /// What to read.
    pub partitions: Vec<FetchPartition>,
}

/// One partition of a [`FetchRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchPartition {
    /// The partition.
    pub at: TopicPartition,
    /// The first offset wanted.
    pub offset: Offset,
    /// The leader epoch the reader knows, so that a deposed leader is told apart.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The leader epoch of what was read before `offset`, so that a log that was cut since is told apart.
    pub last_fetched_epoch: Option<LeaderEpoch>,
    /// The most bytes of this partition.
    pub max_bytes: u32,
}

/// One partition of a fetch's answer.
#[derive(Debug)]
pub struct FetchedPartition {
    /// The partition.
    pub at: TopicPartition,
    /// What came, or why nothing did.
    pub outcome: Result<FetchAnswer, ErrorCode>,
}

/// What a fetch read from one partition.
#[derive(Debug)]
pub struct FetchAnswer {
    /// The first offset of the log.
    pub log_start: Offset,
    /// Up to here records are safe with all in-sync replicas.
    pub high_watermark: Offset,
    /// Where the log parts from what was read before; then there are no batches.
    pub diverging: Option<EpochEnd>,
    /// The records' batches, still encoded; the last may be cut off. Decoding is the core's.
    pub batches: Batches,
}

/// The end of what a log holds of a leader epoch: what was read beyond it is there no longer. Written by a leader that
/// was elected while it lacked records ("unclean leader election").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest epoch of the log that is not above the one that was asked for.
    pub epoch: LeaderEpoch,
    /// Where it ends.
    pub end: Offset,
}

/// Where in a log to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    /// The first offset that is still there.
    Earliest,
    /// The offset of the next record to be written.
    Latest,
    /// The first record at or after this time.
    Timestamp(WallTime),
}

/// One partition of a ListOffsets request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListOffset {
    /// The partition.
    pub at: TopicPartition,
    /// What to look for.
    pub start: StartAt,
}

/// One partition of a ListOffsets answer; `None` when no record is as young as the asked time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedOffset {
    /// The partition.
    pub at: TopicPartition,
    /// What was found.
    pub outcome: Result<Option<FoundOffset>, ErrorCode>,
}

/// An offset that a leader was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundOffset {
    /// The offset.
    pub offset: Offset,
    /// The epoch of the leader that wrote what stands there, or would write it; `None` where brokers do not tell (before
    /// Kafka 2.1).
    pub leader_epoch: Option<LeaderEpoch>,
}

/// A topic to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// The name.
    pub topic: TopicName,
    /// How many partitions.
    pub partitions: u32,
    /// How many replicas of each; `None` for the broker's default.
    pub replication_factor: Option<u16>,
    /// Configurations by Kafka's names.
    pub configs: BTreeMap<String, String>,
}

/// What became of each topic that was to be created.
pub type CreatedTopics = Vec<(TopicName, Result<(), ErrorCode>)>;

/// The limits that decide whether a record is too big.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceLimits {
    /// `max.message.bytes` of the topic: the largest record batch.
    pub max_message_bytes: u32,
}

/// One batch for one partition.
#[derive(Debug, Clone)]
pub struct ProduceRequest {
    /// Where it goes.
    pub at: TopicPartition,
    /// The broker believed to lead the partition.
    pub leader: BrokerId,
    /// The records in order.
    pub records: Vec<Arc<OutgoingRecord>>,
    /// How long the broker may wait for its replicas.
    pub timeout: Duration,
}

/// A record on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingRecord {
    /// The key; `None` for a keyless record.
    pub key: Option<Bytes>,
    /// The value; `None` for a tombstone.
    pub value: Option<Bytes>,
    /// The headers in order.
    pub headers: Vec<Header>,
    /// The producer's time.
    pub timestamp: WallTime,
}

/// Where a batch was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProduceAnswer {
    /// The offset of its first record; the others follow without gaps.
    pub base_offset: Offset,
}

/// Requests to brokers. One request each, no retries.
///
/// Cancelling a future leaves its outcome unknown.
pub trait Broker: Send + Sync + 'static {
    /// Asks any broker about topics. Never creates one.
    fn metadata(&self, topics: &[TopicName]) -> impl Future<Output = Result<Metadata, PortError>> + Send;

    /// Creates topics; answers one outcome a topic, in the order of the request.
    fn create_topics(
        &self,
        topics: Vec<NewTopic>,
        timeout: Duration,
    ) -> impl Future<Output = Result<CreatedTopics, PortError>> + Send;

    /// The size limits of a topic.
    fn limits(&self, topic: &TopicName) -> impl Future<Output = Result<ResourceLimits, PortError>> + Send;

    /// Finds offsets by position or time; asked of the partitions' leader.
    fn list_offsets(
        &self,
        broker: BrokerId,
        partitions: Vec<ListOffset>,
    ) -> impl Future<Output = Result<Vec<ListedOffset>, PortError>> + Send;

    /// Reads from partitions that `broker` leads.
    fn fetch(
        &self,
        broker: BrokerId,
        request: FetchRequest,
    ) -> impl Future<Output = Result<Vec<FetchedPartition>, PortError>> + Send;

    /// Appends one batch, acknowledged by all in-sync replicas.
    fn produce(
        &self,
        request: ProduceRequest,
    ) -> impl Future<Output = Result<ProduceAnswer, PortError>> + Send;
}
