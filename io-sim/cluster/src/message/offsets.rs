//! Stored positions of groups.

use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::{Generation, LeaderEpoch, Offset, PartitionId};

use super::{OfTopic, Outcome, Text};

/// The position in one partition, if there is one.
pub type Position = (PartitionId, Option<StoredOffset>);

/// Store positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitOffsetsRequest {
    /// The group.
    pub group: Text,
    /// The generation; negative from someone outside of it.
    pub generation: Generation,
    /// The member; empty from someone outside of the group.
    pub member: Text,
    /// The instance of a static member.
    pub instance: Option<Text>,
    /// The positions.
    pub topics: Vec<OfTopic<CommitPartition>>,
}

/// The position in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitPartition {
    /// The partition.
    pub partition: PartitionId,
    /// The next offset to read.
    pub offset: Offset,
    /// The epoch of the last record before it.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The client's own notes.
    pub metadata: Option<Text>,
}

/// What became of each position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitOffsetsAnswer {
    /// The outcomes.
    pub topics: Vec<OfTopic<(PartitionId, Result<(), ErrorCode>)>>,
}

/// Look up stored positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchOffsetsRequest {
    /// Of which groups.
    pub groups: Vec<FetchOffsetsGroup>,
}

/// Which of one group's positions to look up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchOffsetsGroup {
    /// The group.
    pub group: Text,
    /// The partitions; `None` for all that have a position.
    pub topics: Option<Vec<OfTopic<PartitionId>>>,
}

/// Stored positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchOffsetsAnswer {
    /// Those of each group.
    pub groups: Vec<FetchedOffsets>,
}

/// One group's positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedOffsets {
    /// The group.
    pub group: Text,
    /// The positions, `None` where there is none, or why they were not looked up.
    pub outcome: Result<Vec<OfTopic<Position>>, ErrorCode>,
}

/// A stored position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredOffset {
    /// The next offset to read.
    pub offset: Offset,
    /// The epoch of the last record before it.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The client's own notes.
    pub metadata: Text,
}

/// Forget stored positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteOffsetsRequest {
    /// The group.
    pub group: Text,
    /// The partitions.
    pub topics: Vec<OfTopic<PartitionId>>,
}

/// What became of each position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteOffsetsAnswer {
    /// The outcomes, or an error of the whole request.
    pub outcome: Result<Vec<OfTopic<(PartitionId, Outcome)>>, ErrorCode>,
}
