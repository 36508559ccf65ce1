//! What can be asked of a broker and what it answers, in words of our own.
//!
//! The simulated world speaks these types straight to the machine; over the wire, [`wire`](crate::wire) translates
//! Kafka's frames from and to them. So they hold what a client can say and see, free of versions: what a version
//! lacks gets its default on the way in and is left out on the way out.
//!
//! Names arrive unchecked, since refusing a bad one is the cluster's business. Where an answer is for one partition,
//! topic or group of many, it stands in the order of the request, repetitions included.

mod configs;
mod groups;
mod offsets;
mod records;
mod topics;

use std::sync::Arc;

pub use configs::*;
pub use groups::*;
pub use offsets::*;
pub use records::*;
pub use topics::*;

pub use evenkeel_core::model::TopicId;

use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::BrokerId;

/// A name, a member id or other text as a client sent it.
pub type Text = Arc<str>;

/// What became of one part of a request.
pub type Outcome = Result<(), ErrorCode>;

/// What belongs to one topic, partition by partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfTopic<T> {
    /// The topic's name.
    pub topic: Text,
    /// Its part of the message.
    pub partitions: Vec<T>,
}

impl<T> OfTopic<T> {
    /// The same topics with something else for each partition.
    pub(crate) fn map<U>(topics: &[Self], mut of: impl FnMut(&Text, &T) -> U) -> Vec<OfTopic<U>> {
        let one = |entry: &Self| OfTopic {
            topic: Arc::clone(&entry.topic),
            partitions: entry.partitions.iter().map(|part| of(&entry.topic, part)).collect(),
        };
        topics.iter().map(one).collect()
    }
}

/// Who asks, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The broker that was asked.
    pub broker: BrokerId,
    /// What the client calls itself; empty if it says nothing.
    pub client: Text,
    /// Where the client is, as groups show it.
    pub host: Text,
}

macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident($request:ty => $answer:ty),)*) => {
        /// What can be asked of a broker.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Request {
            $($(#[$doc])* $name($request),)*
        }

        /// What a broker answers, under the name of the request.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Answer {
            $($(#[$doc])* $name($answer),)*
        }

        $(
            impl From<$request> for Request {
                fn from(request: $request) -> Self {
                    Self::$name(request)
                }
            }

            impl From<$answer> for Answer {
                fn from(answer: $answer) -> Self {
                    Self::$name(answer)
                }
            }
        )*
    };
}

messages! {
    /// Append batches.
    Produce(ProduceRequest => ProduceAnswer),
    /// Read batches, or wait for some.
    Fetch(FetchRequest => FetchAnswer),
    /// Look up offsets by time, or the ends of logs.
    ListOffsets(ListOffsetsRequest => ListOffsetsAnswer),
    /// Look up where a leader's epoch ended.
    EpochEnds(EpochEndsRequest => EpochEndsAnswer),
    /// Drop the beginnings of logs.
    DeleteRecords(DeleteRecordsRequest => DeleteRecordsAnswer),
    /// Get an id for an idempotent producer.
    InitProducer(InitProducerRequest => InitProducerAnswer),
    /// Describe brokers and topics.
    Metadata(MetadataRequest => MetadataAnswer),
    /// Describe the brokers alone.
    DescribeCluster(DescribeClusterRequest => DescribeClusterAnswer),
    /// Create topics.
    CreateTopics(CreateTopicsRequest => CreateTopicsAnswer),
    /// Delete topics.
    DeleteTopics(DeleteTopicsRequest => DeleteTopicsAnswer),
    /// Add partitions to topics.
    CreatePartitions(CreatePartitionsRequest => CreatePartitionsAnswer),
    /// Read configurations.
    DescribeConfigs(DescribeConfigsRequest => DescribeConfigsAnswer),
    /// Replace or change configurations.
    AlterConfigs(AlterConfigsRequest => AlterConfigsAnswer),
    /// Find the coordinators of groups.
    FindCoordinators(FindCoordinatorsRequest => FindCoordinatorsAnswer),
    /// Ask to be a member of a group's next generation.
    JoinGroup(JoinGroupRequest => JoinGroupAnswer),
    /// Hand in the assignment, or wait for one's share.
    SyncGroup(SyncGroupRequest => SyncGroupAnswer),
    /// Tell that a member lives.
    Heartbeat(HeartbeatRequest => HeartbeatAnswer),
    /// Give memberships up.
    LeaveGroup(LeaveGroupRequest => LeaveGroupAnswer),
    /// Store positions.
    CommitOffsets(CommitOffsetsRequest => CommitOffsetsAnswer),
    /// Look up stored positions.
    FetchOffsets(FetchOffsetsRequest => FetchOffsetsAnswer),
    /// Forget stored positions.
    DeleteOffsets(DeleteOffsetsRequest => DeleteOffsetsAnswer),
    /// Describe groups and their members.
    DescribeGroups(DescribeGroupsRequest => DescribeGroupsAnswer),
    /// List the groups that the broker coordinates.
    ListGroups(ListGroupsRequest => ListGroupsAnswer),
    /// Delete groups and their stored positions.
    DeleteGroups(DeleteGroupsRequest => DeleteGroupsAnswer),
}
