//! Which requests we send, and which versions of each.
//!
//! Every range includes a version that Kafka 2.4 to 4.x serves. An upper end is where the next version would bring
//! nothing that is used here (or, for Fetch, topic ids); a lower end is the first that has all that is used. What a
//! range's versions lack must not be set, for then encoding fails: the tests encode each request at each version.

use kafka_protocol::messages::{
    ApiKey, CreateTopicsRequest, CreateTopicsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    FetchRequest, FetchResponse, FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatRequest,
    HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    ListOffsetsRequest, ListOffsetsResponse, MetadataRequest, MetadataResponse, OffsetCommitRequest,
    OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, VersionRange};

/// A request, its answer, and the versions in which we speak them.
pub(super) trait Call: Encodable + HeaderVersion {
    const API: ApiKey;
    const VERSIONS: VersionRange;
    type Answer: Decodable + HeaderVersion;
}

macro_rules! calls {
    ($($(#[doc = $why:literal])* $api:ident($request:ident -> $answer:ident) $min:literal ..= $max:literal,)*) => {
        $(
            $(#[doc = $why])*
            impl Call for $request {
                const API: ApiKey = ApiKey::$api;
                const VERSIONS: VersionRange = VersionRange { min: $min, max: $max };
                type Answer = $answer;
            }
        )*

        /// Every request we send, to be held against what a broker offers.
        pub(super) const CALLS: &[(ApiKey, VersionRange)] = &[
            $((<$request as Call>::API, <$request as Call>::VERSIONS),)*
        ];
    };
}

calls! {
    /// 7 tells leader epochs, 10 the ids of topics.
    Metadata(MetadataRequest -> MetadataResponse) 7..=10,
    /// 4 lets the broker choose the replication factor.
    CreateTopics(CreateTopicsRequest -> CreateTopicsResponse) 4..=5,
    /// Any version tells a value.
    DescribeConfigs(DescribeConfigsRequest -> DescribeConfigsResponse) 1..=2,
    /// 2 knows isolation levels.
    ListOffsets(ListOffsetsRequest -> ListOffsetsResponse) 2..=5,
    /// 4 brings today's record batches; from 13 on topics are named by ids.
    Fetch(FetchRequest -> FetchResponse) 4..=12,
    /// 1 tells a group from a transaction.
    FindCoordinator(FindCoordinatorRequest -> FindCoordinatorResponse) 1..=3,
    /// 5 has static members, and like 4 it gives a new member its id before it joins.
    JoinGroup(JoinGroupRequest -> JoinGroupResponse) 5..=6,
    /// 3 has static members.
    SyncGroup(SyncGroupRequest -> SyncGroupResponse) 3..=4,
    /// 3 has static members.
    Heartbeat(HeartbeatRequest -> HeartbeatResponse) 3..=4,
    /// 3 has static members.
    LeaveGroup(LeaveGroupRequest -> LeaveGroupResponse) 3..=4,
    /// 7 has static members.
    OffsetCommit(OffsetCommitRequest -> OffsetCommitResponse) 7..=8,
    /// 5 tells leader epochs; 7 waits for open transactions of the group.
    OffsetFetch(OffsetFetchRequest -> OffsetFetchResponse) 5..=7,
}

/// The first version of OffsetFetch that can wait for open transactions.
pub(super) const OFFSET_FETCH_STABLE: i16 = 7;
