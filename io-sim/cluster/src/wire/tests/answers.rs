//! Answers that we write and kafka-protocol reads. It writes them again, and the bytes must be ours.

use std::time::Duration;

use evenkeel_core::model::{BrokerId, Generation, LeaderEpoch, Offset, PartitionId, WallTime};
use kafka_protocol::messages::{ResponseHeader, ResponseKind};
use kafka_protocol::protocol::Decodable;

use super::*;
use crate::message::*;

fn of<T>(partitions: Vec<T>) -> Vec<OfTopic<T>> {
    vec![OfTopic { topic: "t".into(), partitions }]
}

fn address() -> BrokerAddress {
    BrokerAddress { broker: BrokerId(1), host: "localhost".into(), port: 9092 }
}

fn ticket(api: Api, version: i16, correlation: i32) -> Ticket {
    Ticket { api, version, correlation, form: Form::default() }
}

/// Answers of every kind, good ones and refusals.
fn all() -> Vec<(Api, Answer)> {
    let p = PartitionId(2);
    let code = ErrorCode::NotLeaderOrFollower;
    let refusal = Refusal::new(code, "why");
    let described = DescribedGroup {
        state: GroupState::Stable,
        protocol_type: "consumer".into(),
        protocol: "range".into(),
        members: vec![DescribedMember {
            member: "m".into(),
            instance: Some("i".into()),
            client: "c".into(),
            host: "/h".into(),
            metadata: Bytes::from_static(b"wants"),
            assignment: Bytes::from_static(b"share"),
        }],
    };
    let entry = ConfigEntry {
        name: "retention.ms",
        value: "1".into(),
        source: ConfigSource::Topic,
        kind: ConfigType::Long,
        read_only: false,
        synonyms: vec![Synonym { name: "retention.ms", value: "1".into(), source: ConfigSource::Topic }],
    };
    let created =
        CreatedTopic { id: TopicId(7), partitions: 3, replication: 1, configs: vec![entry.clone()] };
    let joined = Joined {
        generation: Generation(3),
        protocol_type: "consumer".into(),
        protocol: "range".into(),
        leader: "m".into(),
        skip_assignment: false,
        members: vec![JoinedMember {
            member: "m".into(),
            instance: Some("i".into()),
            metadata: Bytes::from_static(b"wants"),
        }],
    };
    let stored =
        StoredOffset { offset: Offset(5), leader_epoch: Some(LeaderEpoch(4)), metadata: "notes".into() };
    let leaving = || LeavingMember { member: "m".into(), instance: Some("i".into()) };
    let appended = Appended {
        base_offset: Offset(5),
        append_time: Some(WallTime::from_millis(6)),
        log_start: Offset(1),
    };
    let blamed = ProduceRefusal {
        code,
        records: vec![(0, "no key".into())],
        message: Some("why".into()),
        log_start: None,
    };
    let fetched = |batches, diverging| Fetched {
        high_watermark: Offset(9),
        log_start: Offset(1),
        read_committed: false,
        diverging,
        batches,
    };
    let large = Bytes::from(vec![7; 10_000]);
    let metadata = PartitionMetadata {
        partition: p,
        leader: None,
        leader_epoch: LeaderEpoch(4),
        replicas: vec![BrokerId(1), BrokerId(2)],
        in_sync: vec![BrokerId(1)],
        offline: vec![BrokerId(2)],
    };
    let listed = Listed {
        offset: Offset(5),
        timestamp: Some(WallTime::from_millis(6)),
        leader_epoch: Some(LeaderEpoch(4)),
    };
    vec![
        (
            Api::Produce,
            ProduceAnswer {
                topics: of(vec![
                    ProducedPartition { partition: p, outcome: Ok(appended) },
                    ProducedPartition { partition: p, outcome: Err(blamed) },
                ]),
                throttle: Duration::from_millis(3),
            }
            .into(),
        ),
        (
            Api::Fetch,
            FetchAnswer {
                outcome: Ok(of(vec![
                    FetchedPartition { partition: p, outcome: Ok(fetched(vec![large.clone(), large], None)) },
                    FetchedPartition {
                        partition: p,
                        outcome: Ok(fetched(vec![Bytes::from_static(b"small")], None)),
                    },
                    FetchedPartition { partition: p, outcome: Err(code) },
                ])),
                throttle: Duration::from_millis(3),
            }
            .into(),
        ),
        (
            Api::Fetch,
            FetchAnswer { outcome: Err(ErrorCode::FetchSessionIdNotFound), throttle: Duration::ZERO }.into(),
        ),
        (
            Api::ListOffsets,
            ListOffsetsAnswer {
                topics: of(vec![
                    ListedPartition { partition: p, outcome: Ok(Some(listed)) },
                    ListedPartition { partition: p, outcome: Ok(None) },
                    ListedPartition { partition: p, outcome: Err(code) },
                ]),
            }
            .into(),
        ),
        (
            Api::Metadata,
            MetadataAnswer {
                brokers: vec![address()],
                cluster_id: "id".into(),
                controller: Some(BrokerId(1)),
                topics: vec![
                    TopicMetadata { name: Some("t".into()), id: TopicId(7), partitions: Ok(vec![metadata]) },
                    TopicMetadata { name: Some("u".into()), id: TopicId(0), partitions: Err(code) },
                ],
            }
            .into(),
        ),
        (Api::OffsetCommit, CommitOffsetsAnswer { topics: of(vec![(p, Ok(())), (p, Err(code))]) }.into()),
        (
            Api::OffsetFetch,
            FetchOffsetsAnswer {
                groups: vec![FetchedOffsets {
                    group: "g".into(),
                    outcome: Ok(of(vec![(p, Some(stored)), (p, None)])),
                }],
            }
            .into(),
        ),
        (
            Api::OffsetFetch,
            FetchOffsetsAnswer { groups: vec![FetchedOffsets { group: "g".into(), outcome: Err(code) }] }
                .into(),
        ),
        (
            Api::FindCoordinator,
            FindCoordinatorsAnswer { coordinators: vec![("g".into(), Ok(address()))] }.into(),
        ),
        (
            Api::FindCoordinator,
            FindCoordinatorsAnswer { coordinators: vec![("g".into(), Err(refusal.clone()))] }.into(),
        ),
        (Api::JoinGroup, JoinGroupAnswer { member: "m".into(), outcome: Ok(joined) }.into()),
        (Api::JoinGroup, JoinGroupAnswer { member: "m".into(), outcome: Err(code) }.into()),
        (
            Api::SyncGroup,
            SyncGroupAnswer {
                outcome: Ok(Synced {
                    protocol_type: "consumer".into(),
                    protocol: "range".into(),
                    assignment: Bytes::from_static(b"share"),
                }),
            }
            .into(),
        ),
        (Api::SyncGroup, SyncGroupAnswer { outcome: Err(code) }.into()),
        (Api::Heartbeat, HeartbeatAnswer { outcome: Err(code) }.into()),
        (Api::LeaveGroup, LeaveGroupAnswer { outcome: Ok(vec![(leaving(), Err(code))]) }.into()),
        (Api::LeaveGroup, LeaveGroupAnswer { outcome: Err(code) }.into()),
        (
            Api::DescribeGroups,
            DescribeGroupsAnswer { groups: vec![("g".into(), Ok(described)), ("h".into(), Err(code))] }
                .into(),
        ),
        (
            Api::ListGroups,
            ListGroupsAnswer {
                groups: vec![ListedGroup {
                    group: "g".into(),
                    protocol_type: "consumer".into(),
                    state: GroupState::Empty,
                }],
            }
            .into(),
        ),
        (
            Api::DeleteGroups,
            DeleteGroupsAnswer { groups: vec![("g".into(), Ok(())), ("h".into(), Err(code))] }.into(),
        ),
        (Api::OffsetDelete, DeleteOffsetsAnswer { outcome: Ok(of(vec![(p, Err(code))])) }.into()),
        (Api::OffsetDelete, DeleteOffsetsAnswer { outcome: Err(code) }.into()),
        (
            Api::CreateTopics,
            CreateTopicsAnswer {
                topics: vec![("t".into(), Ok(created)), ("u".into(), Err(refusal.clone()))],
            }
            .into(),
        ),
        (
            Api::DeleteTopics,
            DeleteTopicsAnswer {
                topics: vec![
                    (Some("t".into()), TopicId(7), Ok(())),
                    (Some("u".into()), TopicId(0), Err(code)),
                ],
            }
            .into(),
        ),
        (
            Api::CreatePartitions,
            CreatePartitionsAnswer { topics: vec![("t".into(), Ok(())), ("u".into(), Err(refusal.clone()))] }
                .into(),
        ),
        (
            Api::DeleteRecords,
            DeleteRecordsAnswer {
                topics: of(vec![
                    DeletedRecords { partition: p, outcome: Ok(Offset(5)) },
                    DeletedRecords { partition: p, outcome: Err(code) },
                ]),
            }
            .into(),
        ),
        (
            Api::InitProducerId,
            InitProducerAnswer { outcome: Ok(ProducerIdentity { id: 5, epoch: 1 }) }.into(),
        ),
        (Api::InitProducerId, InitProducerAnswer { outcome: Err(code) }.into()),
        (
            Api::OffsetForLeaderEpoch,
            EpochEndsAnswer {
                topics: of(vec![
                    EpochEnd { partition: p, outcome: Ok(Some((LeaderEpoch(3), Offset(5)))) },
                    EpochEnd { partition: p, outcome: Ok(None) },
                    EpochEnd { partition: p, outcome: Err(code) },
                ]),
            }
            .into(),
        ),
        (
            Api::DescribeConfigs,
            DescribeConfigsAnswer {
                resources: vec![
                    (Resource::Topic("t".into()), Ok(vec![entry])),
                    (Resource::Broker("1".into()), Err(refusal.clone())),
                ],
            }
            .into(),
        ),
        (
            Api::AlterConfigs,
            AlterConfigsAnswer {
                resources: vec![
                    (Resource::Topic("t".into()), Ok(())),
                    (Resource::Other(8, "x".into()), Err(refusal.clone())),
                ],
            }
            .into(),
        ),
        (
            Api::IncrementalAlterConfigs,
            AlterConfigsAnswer { resources: vec![(Resource::Topic("t".into()), Err(refusal))] }.into(),
        ),
        (
            Api::DescribeCluster,
            DescribeClusterAnswer {
                brokers: vec![address()],
                cluster_id: "id".into(),
                controller: Some(BrokerId(1)),
            }
            .into(),
        ),
    ]
}

#[test]
fn every_answer_is_read_in_every_version_and_written_again_the_same() {
    for (api, answer) in all() {
        let offer = api.offer();
        let key = ApiKey::try_from(offer.key).unwrap();
        for version in offer.min..=offer.max {
            let ours = encode(ticket(api, version, 77), &answer);
            let ours = Bytes::from(ours.into_parts().concat());
            assert_eq!(ours[..4], i32::try_from(ours.len() - 4).unwrap().to_be_bytes());
            let mut rest = ours.slice(4..);
            let header = ResponseHeader::decode(&mut rest, key.response_header_version(version)).unwrap();
            assert_eq!(header.correlation_id, 77);
            let body = rest.clone();
            let read = ResponseKind::decode(key, &mut rest, version)
                .unwrap_or_else(|error| panic!("{api:?} version {version}: {error}"));
            assert!(rest.is_empty(), "{api:?} version {version}: {} bytes too many in {read:?}", rest.len());
            let mut theirs = BytesMut::new();
            read.encode(&mut theirs, version)
                .unwrap_or_else(|error| panic!("{api:?} version {version}: {error}"));
            assert_eq!(theirs.freeze(), body, "{api:?} version {version}: {read:?}");
        }
    }
}

#[test]
fn a_diverging_epoch_is_told_where_the_version_has_a_place_for_it() {
    let fetched = Fetched {
        read_committed: false,
        high_watermark: Offset(9),
        log_start: Offset(1),
        diverging: Some((LeaderEpoch(3), Offset(5))),
        batches: Vec::new(),
    };
    let outcome = Ok(of(vec![FetchedPartition { partition: PartitionId(2), outcome: Ok(fetched) }]));
    let answer = FetchAnswer { outcome, throttle: Duration::ZERO }.into();
    let ours = encode(ticket(Api::Fetch, 12, 1), &answer).into_parts().concat();
    let mut rest = Bytes::from(ours).slice(4..);
    ResponseHeader::decode(&mut rest, 1).unwrap();
    let read = kafka_protocol::messages::FetchResponse::decode(&mut rest, 12).unwrap();
    let told = &read.responses[0].partitions[0].diverging_epoch;
    assert_eq!((told.epoch, told.end_offset, rest.len()), (3, 5, 0));
}

#[test]
fn the_greeting_is_read_in_every_version() {
    for version in 0..=3 {
        let call = decode(frame(&(requests::all()[13].1)(version), 18, version)).unwrap();
        let Ask::Versions(ours) = call.ask else { panic!("a greeting is answered at once") };
        let mut rest = Bytes::from(ours.into_parts().concat()).slice(4..);
        ResponseHeader::decode(&mut rest, 0).unwrap();
        let read = kafka_protocol::messages::ApiVersionsResponse::decode(&mut rest, version).unwrap();
        assert_eq!((read.error_code, read.api_keys.len(), rest.len()), (0, OFFERED.len(), 0));
    }
}

#[test]
fn what_was_asked_besides_is_told_and_nothing_else() {
    let all = all();
    let answer = |api: Api| &all.iter().find(|(known, _)| *known == api).unwrap().1;
    let told = |api: Api, form: Form| {
        let ticket = Ticket { form, ..ticket(api, api.offer().max, 1) };
        let mut bytes = Bytes::from(encode(ticket, answer(api)).into_parts().concat()).slice(4..);
        let key = ApiKey::try_from(api.offer().key).unwrap();
        let version = api.offer().max;
        ResponseHeader::decode(&mut bytes, key.response_header_version(version)).unwrap();
        ResponseKind::decode(key, &mut bytes, version).unwrap()
    };
    let (plain, asks) = (
        Form::default(),
        Form { operations: true, cluster_operations: true, synonyms: true, endpoints: None },
    );
    let topic_operations = |form| match told(Api::Metadata, form) {
        ResponseKind::Metadata(answer) => {
            answer.topics.iter().map(|t| (t.error_code, t.topic_authorized_operations)).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert!(topic_operations(plain).iter().all(|(_, bits)| *bits == i32::MIN));
    assert!(topic_operations(asks).contains(&(0, 3_576)));
    assert!(topic_operations(asks).iter().all(|(code, bits)| *code == 0 || *bits == i32::MIN));
    let group_operations = |form| match told(Api::DescribeGroups, form) {
        ResponseKind::DescribeGroups(answer) => answer.groups[0].authorized_operations,
        other => panic!("{other:?}"),
    };
    assert_eq!((group_operations(plain), group_operations(asks)), (i32::MIN, 3_400));
    let synonyms = |form| match told(Api::DescribeConfigs, form) {
        ResponseKind::DescribeConfigs(answer) => {
            answer.results.iter().flat_map(|r| &r.configs).map(|config| config.synonyms.len()).sum::<usize>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!((synonyms(plain), synonyms(asks)), (0, 1));
    let cluster = |endpoints| match told(Api::DescribeCluster, Form { endpoints, ..asks }) {
        ResponseKind::DescribeCluster(answer) => {
            (answer.error_code, answer.brokers.is_empty(), answer.cluster_authorized_operations)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(cluster(None), (0, false, 8_096));
    assert_eq!(cluster(Some(2)), (114, true, i32::MIN));
    assert_eq!(cluster(Some(9)), (115, true, i32::MIN));
}
