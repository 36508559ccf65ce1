//! Brokers and topics: describing, creating, deleting, growing.

use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::{BrokerId, LeaderEpoch, PartitionId};

use super::{ConfigEntry, Text, TopicId};

/// A refusal with its reason in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub code: ErrorCode,
    /// The reason in words, with the remedy.
    pub message: Option<Text>,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl Into<Text>) -> Self {
        Self { code, message: Some(message.into()) }
    }
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None }
    }
}

/// A topic by its name or its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopicRef {
    /// By name.
    Name(Text),
    /// By id; zero if the client gave neither.
    Id(TopicId),
    /// By both, which not every request takes.
    Both(Text, TopicId),
}

impl TopicRef {
    /// What a client gave; a zero id is none.
    pub(crate) fn new(name: Option<Text>, id: TopicId) -> Self {
        match name {
            None => Self::Id(id),
            Some(name) if id == TopicId::default() => Self::Name(name),
            Some(name) => Self::Both(name, id),
        }
    }
}

/// A broker and where clients reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerAddress {
    /// The broker.
    pub broker: BrokerId,
    /// The host that clients connect to.
    pub host: Text,
    /// The port that clients connect to.
    pub port: u16,
}

/// Describe brokers and topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataRequest {
    /// The topics; `None` for all.
    pub topics: Option<Vec<TopicRef>>,
    /// Whether topics that do not exist may be created, if the cluster does so at all.
    pub may_create: bool,
}

/// Brokers and topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataAnswer {
    /// The live brokers.
    pub brokers: Vec<BrokerAddress>,
    /// The cluster's id.
    pub cluster_id: Text,
    /// The broker that does the cluster's own business.
    pub controller: Option<BrokerId>,
    /// The topics.
    pub topics: Vec<TopicMetadata>,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicMetadata {
    /// Its name, if it is known.
    pub name: Option<Text>,
    /// Its id; zero if it is not known.
    pub id: TopicId,
    /// Its partitions, or why there are none.
    pub partitions: Result<Vec<PartitionMetadata>, ErrorCode>,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionMetadata {
    /// Its number.
    pub partition: PartitionId,
    /// Its leader, if it has a live one.
    pub leader: Option<BrokerId>,
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// All its replicas.
    pub replicas: Vec<BrokerId>,
    /// Those that are in sync.
    pub in_sync: Vec<BrokerId>,
    /// Those that are down.
    pub offline: Vec<BrokerId>,
}

/// Describe the brokers alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DescribeClusterRequest;

/// The brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribeClusterAnswer {
    /// The live brokers.
    pub brokers: Vec<BrokerAddress>,
    /// The cluster's id.
    pub cluster_id: Text,
    /// The broker that does the cluster's own business.
    pub controller: Option<BrokerId>,
}

/// Create topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateTopicsRequest {
    /// The topics.
    pub topics: Vec<NewTopic>,
    /// Only tell whether it would work.
    pub validate_only: bool,
}

/// A topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: Text,
    /// How many partitions; `None` for the cluster's default.
    pub partitions: Option<i32>,
    /// How many replicas of each; `None` for the cluster's default.
    pub replication: Option<i16>,
    /// The replicas of each partition, if the client chooses them; the two numbers are then `None`.
    pub assignment: Vec<(PartitionId, Vec<BrokerId>)>,
    /// Configurations by name.
    pub configs: Vec<(Text, Option<Text>)>,
}

/// What became of each topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateTopicsAnswer {
    /// Name and outcome.
    pub topics: Vec<(Text, Result<CreatedTopic, Refusal>)>,
}

/// A topic that was created, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its id; zero if it was only validated.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: i32,
    /// How many replicas each has.
    pub replication: i16,
    /// All its configurations.
    pub configs: Vec<ConfigEntry>,
}

/// Delete topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteTopicsRequest {
    /// The topics.
    pub topics: Vec<TopicRef>,
}

/// What became of each topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteTopicsAnswer {
    /// Name and id as far as they are known, and the outcome.
    pub topics: Vec<(Option<Text>, TopicId, Result<(), ErrorCode>)>,
}

/// Add partitions to topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatePartitionsRequest {
    /// The topics.
    pub topics: Vec<MorePartitions>,
    /// Only tell whether it would work.
    pub validate_only: bool,
}

/// How many partitions a topic is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MorePartitions {
    /// The topic.
    pub name: Text,
    /// How many in all.
    pub count: i32,
    /// The replicas of each new partition, if the client chooses them.
    pub assignment: Option<Vec<Vec<BrokerId>>>,
}

/// What became of each topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatePartitionsAnswer {
    /// Name and outcome.
    pub topics: Vec<(Text, Result<(), Refusal>)>,
}
