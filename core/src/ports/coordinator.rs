//! Consumer groups: one request to a group's coordinator at a time.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::PortError;
use crate::error::ErrorCode;
use crate::model::{
    BrokerId, Generation, GroupName, LeaderEpoch, MemberId, Offset, TopicName, TopicPartition,
};

/// One assignment strategy that a member offers, with its subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol {
    /// The strategy's name: `range`, `roundrobin`.
    pub name: &'static str,
    /// The encoded subscription (`ConsumerProtocolSubscription`).
    pub metadata: Bytes,
}

/// JoinGroup: asks to be a member of the next generation. The coordinator parks it until the group is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRequest {
    /// The group.
    pub group: GroupName,
    /// The member's id; empty on the first try.
    pub member: MemberId,
    /// The instance id of a static member.
    pub instance: Option<Arc<str>>,
    /// How long the coordinator waits for a heartbeat before it takes the member for dead.
    pub session_timeout: Duration,
    /// How long the coordinator waits for all members to join again.
    pub rebalance_timeout: Duration,
    /// The strategies this member can live with, most wanted first.
    pub protocols: Vec<Protocol>,
}

/// One member, as the leader is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinMember {
    /// The member's id.
    pub member: MemberId,
    /// The instance id of a static member.
    pub instance: Option<Arc<str>>,
    /// Its encoded subscription for the chosen strategy.
    pub metadata: Bytes,
}

/// The coordinator's answer to a join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinAnswer {
    /// The generation that begins.
    pub generation: Generation,
    /// The strategy that all members offered.
    pub protocol: Arc<str>,
    /// The id of the member that assigns the partitions.
    pub leader: MemberId,
    /// This member's id.
    pub member: MemberId,
    /// All members; empty unless this member is the leader.
    pub members: Vec<JoinMember>,
}

/// SyncGroup: the leader hands in the assignment, everyone learns its share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncRequest {
    /// The group.
    pub group: GroupName,
    /// The generation of the join's answer.
    pub generation: Generation,
    /// This member.
    pub member: MemberId,
    /// The instance id of a static member.
    pub instance: Option<Arc<str>>,
    /// The chosen strategy.
    pub protocol: Arc<str>,
    /// The leader's assignment, encoded per member (`ConsumerProtocolAssignment`); empty from all others.
    pub assignments: Vec<(MemberId, Bytes)>,
}

/// Heartbeat: tells the coordinator that the member lives, and learns whether the group rebalances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatRequest {
    /// The group.
    pub group: GroupName,
    /// The member's generation.
    pub generation: Generation,
    /// This member.
    pub member: MemberId,
    /// The instance id of a static member.
    pub instance: Option<Arc<str>>,
}

/// LeaveGroup: gives the membership up, so that the group need not wait for the session to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaveRequest {
    /// The group.
    pub group: GroupName,
    /// This member.
    pub member: MemberId,
    /// The instance id of a static member.
    pub instance: Option<Arc<str>>,
}

/// What is committed for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The partition.
    pub at: TopicPartition,
    /// The next offset to read.
    pub offset: Offset,
    /// The leader epoch of the last record before it, if known.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The committer's own notes: what is settled beyond the offset.
    pub metadata: Arc<str>,
}

/// OffsetCommit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitRequest {
    /// The group.
    pub group: GroupName,
    /// The member's generation.
    pub generation: Generation,
    /// This member.
    pub member: MemberId,
    /// The instance id of a static member.
    pub instance: Option<Arc<str>>,
    /// One entry a partition.
    pub commits: Vec<Commit>,
}

/// A committed position as the coordinator keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredOffset {
    /// The next offset to read.
    pub offset: Offset,
    /// The leader epoch that was committed with it.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The metadata that was committed with it.
    pub metadata: Arc<str>,
}

/// What is committed for each partition that was asked for; `None` where nothing is.
pub type StoredOffsets = Vec<(TopicPartition, Result<Option<StoredOffset>, ErrorCode>)>;

/// Requests to the coordinator of a group. One request each, no retries; `broker` is whom
/// [`find_coordinator`](Self::find_coordinator) last named.
///
/// Cancelling a future leaves its outcome unknown.
pub trait Coordinator: Send + Sync + 'static {
    /// The same cluster, over connections on which one member alone parks its requests: brokers answer the requests of
    /// a connection in turn, so members that shared one would hold each other up.
    #[must_use]
    fn session(&self) -> Self
    where
        Self: Sized;

    /// Asks any broker for the group's coordinator.
    fn find_coordinator(&self, group: &GroupName)
    -> impl Future<Output = Result<BrokerId, PortError>> + Send;

    /// Joins. Answered only when the rebalance is complete: the time limit is the rebalance timeout plus 5 s. An error
    /// `MemberIdRequired` comes with the id to use, hence the pair.
    fn join(
        &self,
        broker: BrokerId,
        request: JoinRequest,
    ) -> impl Future<Output = Result<JoinAnswer, (PortError, MemberId)>> + Send;

    /// Syncs; answers this member's encoded assignment. Parked like a join.
    fn sync(
        &self,
        broker: BrokerId,
        request: SyncRequest,
    ) -> impl Future<Output = Result<Bytes, PortError>> + Send;

    /// Sends a heartbeat.
    fn heartbeat(
        &self,
        broker: BrokerId,
        request: HeartbeatRequest,
    ) -> impl Future<Output = Result<(), PortError>> + Send;

    /// Leaves the group.
    fn leave(
        &self,
        broker: BrokerId,
        request: LeaveRequest,
    ) -> impl Future<Output = Result<(), PortError>> + Send;

    /// Commits; answers one outcome a partition, in the order of the request.
    fn commit(
        &self,
        broker: BrokerId,
        request: CommitRequest,
    ) -> impl Future<Output = Result<Vec<Result<(), ErrorCode>>, PortError>> + Send;

    /// What is committed for the given partitions, in their order; `None` where nothing is.
    fn committed(
        &self,
        broker: BrokerId,
        group: &GroupName,
        topics: Vec<(TopicName, Vec<crate::model::PartitionId>)>,
    ) -> impl Future<Output = Result<StoredOffsets, PortError>> + Send;
}
