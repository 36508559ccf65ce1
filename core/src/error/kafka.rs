//! Kafka's error codes, and what a client should do about each.
//!
//! Codes and meanings: the Kafka protocol guide, section "Error Codes".

use std::fmt;

/// What to do about a request that a broker refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Ask again after a wait.
    Wait,
    /// The leader moved: look the partitions up again, then ask the new leader.
    FindLeader,
    /// The coordinator moved: look it up again.
    FindCoordinator,
    /// The membership is not what the coordinator knows: join again.
    Rejoin,
    /// Asking again cannot help.
    GiveUp,
}

macro_rules! codes {
    ($($code:literal $name:ident $remedy:ident $text:literal,)*) => {
        /// An error code in a broker's answer.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "each variant prints its meaning")]
        pub enum ErrorCode {
            $($name,)*
            /// A code this library takes no special care of.
            Other(i16),
        }

        impl ErrorCode {
            /// The error that a code on the wire stands for; `None` for 0, which is success.
            #[must_use]
            pub const fn from_code(code: i16) -> Option<Self> {
                match code {
                    0 => None,
                    $($code => Some(Self::$name),)*
                    other => Some(Self::Other(other)),
                }
            }

            /// The code on the wire.
            #[must_use]
            pub const fn code(self) -> i16 {
                match self {
                    $(Self::$name => $code,)*
                    Self::Other(code) => code,
                }
            }

            /// What to do about it.
            #[must_use]
            pub const fn remedy(self) -> Remedy {
                match self {
                    $(Self::$name => Remedy::$remedy,)*
                    Self::Other(_) => Remedy::Wait,
                }
            }

            /// All errors known by name.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }

        impl fmt::Display for ErrorCode {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name => f.write_str($text),)*
                    Self::Other(code) => write!(f, "the broker answered with error code {code}"),
                }
            }
        }
    };
}

codes! {
    -1 UnknownServerError Wait "the broker met an error it has no code for; its log has more",
    1 OffsetOutOfRange GiveUp "the offset is outside of the partition's log",
    2 CorruptMessage Wait "a record batch failed its checksum",
    3 UnknownTopicOrPartition FindLeader "the topic or partition does not exist",
    5 LeaderNotAvailable FindLeader "the partition has no leader at the moment",
    6 NotLeaderOrFollower FindLeader "the broker does not lead the partition",
    7 RequestTimedOut Wait "the request timed out on the broker",
    9 ReplicaNotAvailable FindLeader "the replica is not available",
    10 MessageTooLarge GiveUp "the record batch is larger than max.message.bytes of the topic",
    12 OffsetMetadataTooLarge GiveUp "the metadata of a commit is larger than offset.metadata.max.bytes of the broker",
    13 NetworkException FindLeader "the broker lost a connection before it could answer",
    14 CoordinatorLoadInProgress Wait "the coordinator is loading the group",
    15 CoordinatorNotAvailable FindCoordinator "the group has no coordinator at the moment",
    16 NotCoordinator FindCoordinator "the broker is not the group's coordinator",
    17 InvalidTopic GiveUp "the topic's name is not legal or may not be used",
    18 RecordListTooLarge GiveUp "the record batch is larger than a segment of the topic",
    19 NotEnoughReplicas Wait "fewer replicas are in sync than min.insync.replicas asks for",
    20 NotEnoughReplicasAfterAppend Wait "the records were written, but to fewer in-sync replicas than required",
    21 InvalidRequiredAcks GiveUp "the acknowledgements that were asked for are none of -1, 0 and 1",
    22 IllegalGeneration Rejoin "the group has moved on to another generation",
    23 InconsistentGroupProtocol GiveUp "the group's members share no assignment strategy; give all of them the same ones",
    24 InvalidGroupId GiveUp "the group's name is not legal",
    25 UnknownMemberId Rejoin "the coordinator does not know the member",
    26 InvalidSessionTimeout GiveUp "the session timeout is outside of the broker's group.min.session.timeout.ms and group.max.session.timeout.ms",
    27 RebalanceInProgress Rejoin "the group is rebalancing",
    28 InvalidCommitOffsetSize GiveUp "the commit is larger than the broker accepts",
    29 TopicAuthorizationFailed GiveUp "not authorized for the topic; grant the principal access to it",
    30 GroupAuthorizationFailed GiveUp "not authorized for the group; grant the principal access to it",
    31 ClusterAuthorizationFailed GiveUp "not authorized for the cluster; grant the principal access to it",
    32 InvalidTimestamp GiveUp "a record's timestamp is further from the broker's time than the topic allows",
    35 UnsupportedVersion GiveUp "the broker does not support the version of the request",
    36 TopicAlreadyExists GiveUp "the topic exists already",
    37 InvalidPartitions GiveUp "the number of partitions is not legal",
    38 InvalidReplicationFactor GiveUp "the replication factor is larger than the number of brokers, or below one",
    39 InvalidReplicaAssignment GiveUp "the assignment of replicas names no brokers, unknown ones, or one twice",
    40 InvalidConfig GiveUp "a topic configuration is not legal",
    41 NotController FindLeader "the broker is not the controller",
    42 InvalidRequest GiveUp "the broker found the request malformed",
    44 PolicyViolation GiveUp "the cluster's policy refuses the request",
    45 OutOfOrderSequenceNumber GiveUp "the producer's batch does not follow the last one that the log has of it",
    46 DuplicateSequenceNumber GiveUp "the log has the producer's batch already, too long ago to tell where",
    47 InvalidProducerEpoch GiveUp "a newer life of the producer has taken over",
    56 KafkaStorageError FindLeader "the broker's disk failed",
    58 SaslAuthenticationFailed GiveUp "authentication failed; check mechanism, user and password",
    59 UnknownProducerId GiveUp "the log knows nothing of the producer any more",
    68 NonEmptyGroup GiveUp "the group has members; stop them first",
    69 GroupIdNotFound GiveUp "the group does not exist",
    70 FetchSessionIdNotFound Wait "the fetch session is unknown to the broker",
    71 InvalidFetchSessionEpoch Wait "the fetch session is at another epoch",
    74 FencedLeaderEpoch FindLeader "the leader epoch is older than the broker's",
    75 UnknownLeaderEpoch FindLeader "the leader epoch is newer than the broker's",
    76 UnsupportedCompressionType GiveUp "the broker does not support the compression",
    78 OffsetNotAvailable Wait "the high watermark has not caught up with the new leader yet",
    79 MemberIdRequired Rejoin "the coordinator gave the member an id to join with",
    81 GroupMaxSizeReached GiveUp "the group has as many members as the broker allows (group.max.size)",
    82 FencedInstanceId GiveUp "another member took over this static member's instance id",
    86 GroupSubscribedToTopic GiveUp "the group's members are subscribed to the topic; stop them first",
    87 InvalidRecord GiveUp "the broker refused a record; a compacted topic needs keys",
    88 UnstableOffsetCommit Wait "a transaction has not yet decided the group's offsets",
    89 ThrottlingQuotaExceeded Wait "the client exceeded its quota",
    100 UnknownTopicId FindLeader "the topic's id is unknown to the broker: it may have been recreated",
}

impl std::error::Error for ErrorCode {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_survive_the_wire() {
        for error in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_code(error.code()), Some(*error));
        }
        assert_eq!(ErrorCode::from_code(0), None);
        assert_eq!(ErrorCode::from_code(999), Some(ErrorCode::Other(999)));
        assert_eq!(ErrorCode::Other(999).code(), 999);
    }
}
