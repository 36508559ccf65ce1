//! Requests that kafka-protocol writes and we read.

use evenkeel_core::model::{Generation, LeaderEpoch, Offset, PartitionId};
use kafka_protocol::messages as kp;

use super::*;
use crate::message::{Acks, ConfigChange, CoordinatorKind, Place, Resource, TopicId, TopicRef};

type Build = fn(i16) -> RequestKind;

fn topic() -> kp::TopicName {
    kp::TopicName(text("t"))
}

fn group() -> kp::GroupId {
    kp::GroupId(text("g"))
}

/// One request of each kind, with everything set that its version has.
pub(super) fn all() -> Vec<(i16, Build)> {
    vec![
        (0, |_| produce(-1)),
        (1, fetch),
        (2, list_offsets),
        (3, metadata),
        (8, commit),
        (9, fetch_offsets),
        (10, |version| {
            let request = kp::FindCoordinatorRequest::default();
            RequestKind::FindCoordinator(match version {
                0..=3 => request.with_key(text("g")),
                _ => request.with_coordinator_keys(vec![text("g"), text("h")]),
            })
        }),
        (11, join),
        (12, |version| {
            let instance = (version >= 3).then(|| text("i"));
            let request = kp::HeartbeatRequest::default().with_group_id(group()).with_generation_id(3);
            RequestKind::Heartbeat(request.with_member_id(text("m")).with_group_instance_id(instance))
        }),
        (13, |version| {
            let request = kp::LeaveGroupRequest::default().with_group_id(group());
            let member = kp::leave_group_request::MemberIdentity::default().with_member_id(text("m"));
            RequestKind::LeaveGroup(match version {
                0..=2 => request.with_member_id(text("m")),
                _ => request.with_members(vec![member]),
            })
        }),
        (14, sync),
        (15, |_| {
            RequestKind::DescribeGroups(kp::DescribeGroupsRequest::default().with_groups(vec![group()]))
        }),
        (16, |version| {
            let states = if version >= 4 { vec![text("Stable")] } else { Vec::new() };
            RequestKind::ListGroups(kp::ListGroupsRequest::default().with_states_filter(states))
        }),
        (18, |version| {
            let name = if version >= 3 { text("evenkeel") } else { text("") };
            let request = kp::ApiVersionsRequest::default().with_client_software_name(name.clone());
            RequestKind::ApiVersions(request.with_client_software_version(name))
        }),
        (19, create),
        (20, |version| {
            let request = kp::DeleteTopicsRequest::default().with_timeout_ms(9);
            let by_name = kp::delete_topics_request::DeleteTopicState::default().with_name(Some(topic()));
            RequestKind::DeleteTopics(match version {
                0..=5 => request.with_topic_names(vec![topic()]),
                _ => request.with_topics(vec![by_name]),
            })
        }),
        (21, |_| {
            use kp::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
            let partition = DeleteRecordsPartition::default().with_partition_index(2).with_offset(5);
            let topic = DeleteRecordsTopic::default().with_name(topic()).with_partitions(vec![partition]);
            RequestKind::DeleteRecords(kp::DeleteRecordsRequest::default().with_topics(vec![topic]))
        }),
        (22, |version| {
            let request = kp::InitProducerIdRequest::default().with_transaction_timeout_ms(9);
            RequestKind::InitProducerId(match version {
                0..=2 => request,
                _ => request.with_producer_id(kp::ProducerId(5)).with_producer_epoch(1),
            })
        }),
        (23, |version| {
            use kp::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
            let partition = OffsetForLeaderPartition::default()
                .with_partition(2)
                .with_current_leader_epoch(4)
                .with_leader_epoch(3);
            let topic = OffsetForLeaderTopic::default().with_topic(topic()).with_partitions(vec![partition]);
            let request = kp::OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
            RequestKind::OffsetForLeaderEpoch(match version {
                0..=2 => request,
                _ => request.with_replica_id(kp::BrokerId(-1)),
            })
        }),
        (32, |_| {
            let resource = kp::describe_configs_request::DescribeConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text("t"))
                .with_configuration_keys(Some(vec![text("retention.ms")]));
            RequestKind::DescribeConfigs(kp::DescribeConfigsRequest::default().with_resources(vec![resource]))
        }),
        (33, |_| {
            use kp::alter_configs_request::{AlterConfigsResource, AlterableConfig};
            let config =
                AlterableConfig::default().with_name(text("retention.ms")).with_value(Some(text("1")));
            let resource =
                AlterConfigsResource::default().with_resource_type(2).with_resource_name(text("t"));
            let resource = resource.with_configs(vec![config]);
            RequestKind::AlterConfigs(kp::AlterConfigsRequest::default().with_resources(vec![resource]))
        }),
        (37, |_| {
            use kp::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
            let assignment = CreatePartitionsAssignment::default().with_broker_ids(vec![kp::BrokerId(1)]);
            let topic = CreatePartitionsTopic::default().with_name(topic()).with_count(4);
            let topic = topic.with_assignments(Some(vec![assignment]));
            RequestKind::CreatePartitions(kp::CreatePartitionsRequest::default().with_topics(vec![topic]))
        }),
        (42, |_| {
            RequestKind::DeleteGroups(kp::DeleteGroupsRequest::default().with_groups_names(vec![group()]))
        }),
        (44, |_| {
            use kp::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
            let config =
                AlterableConfig::default().with_name(text("cleanup.policy")).with_config_operation(2);
            let resource =
                AlterConfigsResource::default().with_resource_type(2).with_resource_name(text("t"));
            let resource = resource.with_configs(vec![config.with_value(Some(text("compact")))]);
            let request = kp::IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
            RequestKind::IncrementalAlterConfigs(request)
        }),
        (47, |_| {
            use kp::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
            let partition = OffsetDeleteRequestPartition::default().with_partition_index(2);
            let topic =
                OffsetDeleteRequestTopic::default().with_name(topic()).with_partitions(vec![partition]);
            let request = kp::OffsetDeleteRequest::default().with_group_id(group()).with_topics(vec![topic]);
            RequestKind::OffsetDelete(request)
        }),
        (60, |_| RequestKind::DescribeCluster(kp::DescribeClusterRequest::default())),
    ]
}

fn produce(acks: i16) -> RequestKind {
    use kp::produce_request::{PartitionProduceData, TopicProduceData};
    let partition =
        PartitionProduceData::default().with_index(2).with_records(Some(Bytes::from_static(b"batch")));
    let topic = TopicProduceData::default().with_name(topic()).with_partition_data(vec![partition]);
    let request =
        kp::ProduceRequest::default().with_acks(acks).with_timeout_ms(9).with_topic_data(vec![topic]);
    RequestKind::Produce(request)
}

fn fetch(version: i16) -> RequestKind {
    use kp::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
    let mut partition =
        FetchPartition::default().with_partition(2).with_fetch_offset(5).with_partition_max_bytes(8);
    if version >= 9 {
        partition.current_leader_epoch = 4;
    }
    if version >= 12 {
        partition.last_fetched_epoch = 3;
    }
    let topic = FetchTopic::default().with_topic(topic()).with_partitions(vec![partition]);
    let mut request = kp::FetchRequest::default()
        .with_replica_id(kp::BrokerId(-1))
        .with_max_wait_ms(500)
        .with_min_bytes(6)
        .with_max_bytes(7)
        .with_isolation_level(1)
        .with_topics(vec![topic]);
    if version >= 7 {
        let forgotten =
            ForgottenTopic::default().with_topic(kp::TopicName(text("u"))).with_partitions(vec![1, 2]);
        request = request.with_session_epoch(-1).with_forgotten_topics_data(vec![forgotten]);
    }
    RequestKind::Fetch(request)
}

fn list_offsets(version: i16) -> RequestKind {
    use kp::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
    let at = |timestamp| {
        let partition = ListOffsetsPartition::default().with_partition_index(2).with_timestamp(timestamp);
        if version >= 4 { partition.with_current_leader_epoch(4) } else { partition }
    };
    let topic = ListOffsetsTopic::default().with_name(topic());
    let topic = topic.with_partitions([-1, -2, -3, 1_000].map(at).to_vec());
    let request =
        kp::ListOffsetsRequest::default().with_replica_id(kp::BrokerId(-1)).with_topics(vec![topic]);
    RequestKind::ListOffsets(if version >= 2 { request.with_isolation_level(1) } else { request })
}

fn metadata(version: i16) -> RequestKind {
    use kp::metadata_request::MetadataRequestTopic;
    let mut topics = vec![MetadataRequestTopic::default().with_name(Some(topic()))];
    if version >= 12 {
        let id = kafka_protocol_uuid(9);
        topics.push(MetadataRequestTopic::default().with_name(None).with_topic_id(id));
    }
    let request = kp::MetadataRequest::default().with_topics(Some(topics));
    RequestKind::Metadata(if version >= 4 { request.with_allow_auto_topic_creation(false) } else { request })
}

fn kafka_protocol_uuid(number: u128) -> uuid::Uuid {
    uuid::Uuid::from_u128(number)
}

fn commit(version: i16) -> RequestKind {
    use kp::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
    let mut partition = OffsetCommitRequestPartition::default()
        .with_partition_index(2)
        .with_committed_offset(5)
        .with_committed_metadata(Some(text("notes")));
    if version >= 6 {
        partition.committed_leader_epoch = 4;
    }
    let topic = OffsetCommitRequestTopic::default().with_name(topic()).with_partitions(vec![partition]);
    let request = kp::OffsetCommitRequest::default()
        .with_group_id(group())
        .with_generation_id_or_member_epoch(3)
        .with_member_id(text("m"))
        .with_topics(vec![topic]);
    RequestKind::OffsetCommit(if version >= 7 {
        request.with_group_instance_id(Some(text("i")))
    } else {
        request
    })
}

fn fetch_offsets(version: i16) -> RequestKind {
    use kp::offset_fetch_request::{
        OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    };
    let request = kp::OffsetFetchRequest::default();
    RequestKind::OffsetFetch(if version >= 8 {
        let topics =
            OffsetFetchRequestTopics::default().with_name(topic()).with_partition_indexes(vec![2, 3]);
        let one = OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(Some(vec![topics]));
        request.with_groups(vec![one])
    } else {
        let topics = OffsetFetchRequestTopic::default().with_name(topic()).with_partition_indexes(vec![2, 3]);
        request.with_group_id(group()).with_topics(Some(vec![topics]))
    })
}

fn join(version: i16) -> RequestKind {
    let protocol = kp::join_group_request::JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"wants"));
    let mut request = kp::JoinGroupRequest::default()
        .with_group_id(group())
        .with_session_timeout_ms(10_000)
        .with_member_id(text("m"))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    if version >= 1 {
        request.rebalance_timeout_ms = 20_000;
    }
    if version >= 5 {
        request.group_instance_id = Some(text("i"));
    }
    if version >= 8 {
        request.reason = Some(text("because"));
    }
    RequestKind::JoinGroup(request)
}

fn sync(version: i16) -> RequestKind {
    let assignment = kp::sync_group_request::SyncGroupRequestAssignment::default()
        .with_member_id(text("m"))
        .with_assignment(Bytes::from_static(b"share"));
    let mut request = kp::SyncGroupRequest::default()
        .with_group_id(group())
        .with_generation_id(3)
        .with_member_id(text("m"))
        .with_assignments(vec![assignment]);
    if version >= 3 {
        request.group_instance_id = Some(text("i"));
    }
    if version >= 5 {
        request = request.with_protocol_type(Some(text("consumer"))).with_protocol_name(Some(text("range")));
    }
    RequestKind::SyncGroup(request)
}

fn create(_: i16) -> RequestKind {
    use kp::create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig};
    let config = CreatableTopicConfig::default().with_name(text("retention.ms")).with_value(Some(text("1")));
    let assignment = CreatableReplicaAssignment::default().with_broker_ids(vec![kp::BrokerId(1)]);
    let topic = CreatableTopic::default()
        .with_name(topic())
        .with_num_partitions(-1)
        .with_replication_factor(-1)
        .with_assignments(vec![assignment])
        .with_configs(vec![config]);
    let request = kp::CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(9);
    RequestKind::CreateTopics(request.with_validate_only(true))
}

/// The heart of what a request says, as text that does not depend on how it is held.
fn shown(request: &Request, version: i16) -> String {
    match request {
        Request::Produce(r) => {
            let partition = &r.topics[0].partitions[0];
            format!("{:?} {:?} {} {:?}", r.acks, r.timeout, partition.partition, partition.records)
        }
        Request::Fetch(r) => {
            let p = r.topics[0].partitions[0];
            assert_eq!(p.leader_epoch, (version >= 9).then_some(LeaderEpoch(4)));
            assert_eq!(p.last_epoch, (version >= 12).then_some(LeaderEpoch(3)));
            assert_eq!((p.partition, p.offset, p.max_bytes), (PartitionId(2), Offset(5), 8));
            format!("{:?} {} {} {}", r.max_wait, r.min_bytes, r.max_bytes, r.read_committed)
        }
        Request::ListOffsets(r) => {
            assert_eq!(r.read_committed, version >= 2);
            let places: Vec<_> = r.topics[0].partitions.iter().map(|p| p.place).collect();
            let third = if version >= 7 { Place::MaxTimestamp } else { Place::Unknown(-3) };
            assert_eq!(places[2], third);
            format!("{:?} {:?} {:?}", places[0], places[1], places[3])
        }
        Request::Metadata(r) => {
            let topics = r.topics.as_ref().unwrap();
            assert_eq!(r.may_create, version < 4);
            assert!(version < 12 || topics[1] == TopicRef::Id(TopicId(9)));
            format!("{:?}", topics[0])
        }
        Request::CommitOffsets(r) => {
            assert_eq!(r.instance.is_some(), version >= 7);
            let p = &r.topics[0].partitions[0];
            assert_eq!(p.leader_epoch, (version >= 6).then_some(LeaderEpoch(4)));
            format!("{} {} {} {} {:?}", r.group, r.generation, r.member, p.offset, p.metadata)
        }
        Request::FetchOffsets(r) => {
            format!("{} {:?}", r.groups[0].group, r.groups[0].topics.as_ref().unwrap())
        }
        Request::FindCoordinators(r) => {
            assert_eq!(r.kind, CoordinatorKind::Group);
            assert_eq!(r.keys.len(), if version >= 4 { 2 } else { 1 });
            r.keys[0].to_string()
        }
        Request::JoinGroup(r) => {
            assert_eq!(r.rebalance_timeout.as_secs(), if version >= 1 { 20 } else { 10 });
            assert_eq!((r.takes_id_first, r.instance.is_some()), (version >= 4, version >= 5));
            format!("{} {:?} {} {} {:?}", r.group, r.session_timeout, r.member, r.protocol_type, r.protocols)
        }
        Request::SyncGroup(r) => {
            assert_eq!((r.instance.is_some(), r.protocol.is_some()), (version >= 3, version >= 5));
            format!("{} {} {} {:?}", r.group, r.generation, r.member, r.assignments)
        }
        Request::Heartbeat(r) => {
            assert_eq!((r.generation, r.instance.is_some()), (Generation(3), version >= 3));
            format!("{} {}", r.group, r.member)
        }
        Request::LeaveGroup(r) => format!("{} {}", r.group, r.members[0].member),
        Request::DescribeGroups(r) => format!("{:?}", r.groups),
        Request::DeleteGroups(r) => format!("{:?}", r.groups),
        Request::ListGroups(r) => {
            assert_eq!(r.states.len(), usize::from(version >= 4));
            String::new()
        }
        Request::CreateTopics(r) => format!("{r:?}"),
        Request::DeleteTopics(r) => format!("{r:?}"),
        Request::CreatePartitions(r) => format!("{r:?}"),
        Request::DeleteRecords(r) => format!("{r:?}"),
        Request::InitProducer(r) => {
            assert_eq!(r.current.is_some(), version >= 3);
            format!("{:?}", r.transactional_id)
        }
        Request::EpochEnds(r) => format!("{r:?}"),
        Request::DescribeConfigs(r) => format!("{r:?}"),
        Request::AlterConfigs(r) => {
            let (resource, changes) = &r.resources[0];
            assert_eq!(*resource, Resource::Topic("t".into()));
            let expected = if r.replace {
                ConfigChange::Set("1".into())
            } else {
                ConfigChange::Append("compact".into())
            };
            assert_eq!(changes[0].1, expected);
            changes[0].0.to_string()
        }
        Request::DeleteOffsets(r) => format!("{r:?}"),
        Request::DescribeCluster(r) => format!("{r:?}"),
    }
}

#[test]
fn every_request_is_read_in_every_version_and_says_the_same() {
    assert_eq!(all().len(), OFFERED.len());
    for (key, build) in all() {
        let offer = Api::from_key(key).unwrap().offer();
        let mut before: Option<String> = None;
        for version in offer.min..=offer.max {
            let call = decode(frame(&build(version), key, version))
                .unwrap_or_else(|error| panic!("{key} version {version}: {error}"));
            assert_eq!(&*call.client, "witness");
            let said = match call.ask {
                Ask::Cluster(request) => shown(&request, version),
                Ask::Versions(frame) => {
                    let bytes = frame.into_parts().concat();
                    assert_eq!(bytes[8..10], [0, 0], "version {version} is greeted");
                    continue;
                }
                Ask::Silent(_) => panic!("{key} wants an answer"),
            };
            assert!(before.is_none_or(|before| before == said), "{key} version {version}: {said}");
            before = Some(said);
        }
    }
}

#[test]
fn produce_without_acknowledgement_wants_no_answer() {
    let call = decode(frame(&produce(0), 0, 9)).unwrap();
    let Ask::Silent(Request::Produce(request)) = call.ask else { panic!("{call:?}") };
    assert_eq!(request.acks, Acks::None);
    assert!(matches!(decode(frame(&produce(1), 0, 9)).unwrap().ask, Ask::Cluster(_)));
}
