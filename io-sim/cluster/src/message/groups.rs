//! Consumer groups: membership and administration.

use std::time::Duration;

use bytes::Bytes;
use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::Generation;

use super::{BrokerAddress, Outcome, Refusal, Text};

/// What has a coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoordinatorKind {
    /// A consumer group.
    Group,
    /// A transactional producer.
    Transaction,
    /// Some other kind, by its number.
    Other(i8),
}

/// Find coordinators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FindCoordinatorsRequest {
    /// Of what.
    pub kind: CoordinatorKind,
    /// Of which.
    pub keys: Vec<Text>,
}

/// Coordinators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FindCoordinatorsAnswer {
    /// The coordinator of each.
    pub coordinators: Vec<(Text, Result<BrokerAddress, Refusal>)>,
}

/// Ask to be a member of the next generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinGroupRequest {
    /// The group.
    pub group: Text,
    /// How long the coordinator waits for a heartbeat.
    pub session_timeout: Duration,
    /// How long the coordinator waits for all members to join again.
    pub rebalance_timeout: Duration,
    /// The member's id; empty if it has none yet.
    pub member: Text,
    /// The instance of a static member.
    pub instance: Option<Text>,
    /// What kind of group: `consumer` for consumers.
    pub protocol_type: Text,
    /// The assignment strategies, most wanted first, each with the member's metadata.
    pub protocols: Vec<(Text, Bytes)>,
    /// Whether the client can be told its id first and join with it.
    pub takes_id_first: bool,
    /// Whether the client can lead without assigning.
    pub may_skip_assignment: bool,
}

/// The generation that begins, or a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinGroupAnswer {
    /// The member's id, as far as there is one.
    pub member: Text,
    /// The generation, or why there is none for this member.
    pub outcome: Result<Joined, ErrorCode>,
}

/// What a member learns of the generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The generation.
    pub generation: Generation,
    /// What kind of group.
    pub protocol_type: Text,
    /// The strategy that was chosen.
    pub protocol: Text,
    /// The member that assigns.
    pub leader: Text,
    /// Whether the leader need not assign, since the last assignment goes on.
    pub skip_assignment: bool,
    /// All members; empty for all but the leader.
    pub members: Vec<JoinedMember>,
}

/// A member, as the leader is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member: Text,
    /// Its instance, if it is static.
    pub instance: Option<Text>,
    /// Its metadata for the chosen strategy.
    pub metadata: Bytes,
}

/// Hand in the assignment, or wait for one's share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncGroupRequest {
    /// The group.
    pub group: Text,
    /// The generation.
    pub generation: Generation,
    /// The member.
    pub member: Text,
    /// The instance of a static member.
    pub instance: Option<Text>,
    /// What kind of group the member takes it for.
    pub protocol_type: Option<Text>,
    /// The strategy that the member takes for the chosen one.
    pub protocol: Option<Text>,
    /// The leader's assignment.
    pub assignments: Vec<(Text, Bytes)>,
}

/// A member's share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncGroupAnswer {
    /// The share, or why there is none.
    pub outcome: Result<Synced, ErrorCode>,
}

/// A member's share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synced {
    /// What kind of group.
    pub protocol_type: Text,
    /// The strategy that was chosen.
    pub protocol: Text,
    /// The share, as the leader encoded it.
    pub assignment: Bytes,
}

/// Tell that a member lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatRequest {
    /// The group.
    pub group: Text,
    /// The generation.
    pub generation: Generation,
    /// The member.
    pub member: Text,
    /// The instance of a static member.
    pub instance: Option<Text>,
}

/// Whether the coordinator counts on the member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatAnswer {
    /// Whether.
    pub outcome: Result<(), ErrorCode>,
}

/// Give memberships up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaveGroupRequest {
    /// The group.
    pub group: Text,
    /// Who leaves.
    pub members: Vec<LeavingMember>,
}

/// Who leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeavingMember {
    /// The member's id; may be empty for a static member.
    pub member: Text,
    /// The instance of a static member.
    pub instance: Option<Text>,
}

/// What became of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaveGroupAnswer {
    /// What became of each, or an error of the whole request.
    pub outcome: Result<Vec<(LeavingMember, Outcome)>, ErrorCode>,
}

/// Describe groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribeGroupsRequest {
    /// The groups.
    pub groups: Vec<Text>,
}

/// Groups and their members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribeGroupsAnswer {
    /// Each group; one that does not exist is described as dead.
    pub groups: Vec<(Text, Result<DescribedGroup, ErrorCode>)>,
}

/// Where a group stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupState {
    /// It has no members, but perhaps stored positions.
    Empty,
    /// Its members are joining.
    PreparingRebalance,
    /// Its leader is assigning.
    CompletingRebalance,
    /// Its members have their shares.
    Stable,
    /// It does not exist.
    Dead,
}

impl GroupState {
    /// The state's name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedGroup {
    /// Where it stands.
    pub state: GroupState,
    /// What kind of group.
    pub protocol_type: Text,
    /// The chosen strategy, while it is stable.
    pub protocol: Text,
    /// Its members.
    pub members: Vec<DescribedMember>,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member: Text,
    /// Its instance, if it is static.
    pub instance: Option<Text>,
    /// What its client calls itself.
    pub client: Text,
    /// Where it is.
    pub host: Text,
    /// Its metadata, while the group is stable.
    pub metadata: Bytes,
    /// Its share, while the group is stable.
    pub assignment: Bytes,
}

/// List groups.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListGroupsRequest {
    /// Only groups in these states; empty for all.
    pub states: Vec<Text>,
}

/// The groups that the broker coordinates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListGroupsAnswer {
    /// The groups.
    pub groups: Vec<ListedGroup>,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedGroup {
    /// Its name.
    pub group: Text,
    /// What kind of group.
    pub protocol_type: Text,
    /// Where it stands.
    pub state: GroupState,
}

/// Delete groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteGroupsRequest {
    /// The groups.
    pub groups: Vec<Text>,
}

/// What became of each group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteGroupsAnswer {
    /// Name and outcome.
    pub groups: Vec<(Text, Result<(), ErrorCode>)>,
}
