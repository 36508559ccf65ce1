//! Every request in every version that may be spoken, with all its fields set: kafka-protocol refuses to encode a
//! field that the version lacks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_core::model::{
    Generation, GroupName, LeaderEpoch, MemberId, Offset, PartitionId, TopicName, TopicPartition, WallTime,
};
use evenkeel_core::ports::{
    Commit, CommitRequest, FetchPartition, FetchRequest, HeartbeatRequest, JoinRequest, LeaveRequest,
    ListOffset, NewTopic, Protocol, StartAt, SyncRequest,
};
use kafka_protocol::protocol::StrBytes;

use super::super::api::{CALLS, Call};
use super::super::connection::encode;
use super::super::{broker, coordinator};

fn topic() -> TopicName {
    TopicName::new("shop.orders").unwrap()
}

fn group() -> GroupName {
    GroupName::new("billing").unwrap()
}

fn at(partition: i32) -> TopicPartition {
    TopicPartition { topic: topic(), partition: PartitionId(partition) }
}

/// Encodes in every version and answers the frames.
fn in_every_version<C: Call>(seen: &mut BTreeSet<i16>, build: impl Fn(i16) -> C) -> Vec<Bytes> {
    seen.insert(C::API as i16);
    let client = StrBytes::from_static_str("test");
    (C::VERSIONS.min..=C::VERSIONS.max)
        .map(|version| {
            let frame = encode(C::API, version, 7, &client, &build(version))
                .unwrap_or_else(|cause| panic!("{:?} version {version}: {cause}", C::API));
            let length = i32::from_be_bytes(frame[..4].try_into().unwrap());
            assert_eq!(usize::try_from(length).unwrap(), frame.len() - 4);
            assert_eq!(frame[4..6], (C::API as i16).to_be_bytes());
            assert_eq!(frame[6..8], version.to_be_bytes());
            assert_eq!(frame[8..12], 7_i32.to_be_bytes());
            frame
        })
        .collect()
}

#[test]
fn every_request_can_be_encoded_in_every_version() {
    let seen = &mut BTreeSet::new();
    let second = Duration::from_secs(1);
    let member = MemberId("member-1".into());
    let instance: Option<Arc<str>> = Some("instance-1".into());
    in_every_version(seen, |_| broker::metadata_request(&[topic()]));
    in_every_version(seen, |_| {
        let configs = BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]);
        let new = NewTopic { topic: topic(), partitions: 3, replication_factor: None, configs };
        broker::create_topics_request(&[new], second)
    });
    in_every_version(seen, |_| broker::limits_request(&topic()));
    in_every_version(seen, |_| {
        broker::list_offsets_request(&[
            ListOffset { at: at(0), start: StartAt::Earliest },
            ListOffset { at: at(1), start: StartAt::Timestamp(WallTime(1)) },
        ])
    });
    let fetch = FetchRequest {
        wait: second,
        max_bytes: u32::MAX,
        read_committed: true,
        partitions: vec![FetchPartition {
            at: at(0),
            offset: Offset(5),
            leader_epoch: Some(LeaderEpoch(3)),
            last_fetched_epoch: Some(LeaderEpoch(2)),
            max_bytes: 1,
        }],
    };
    in_every_version(seen, |version| broker::fetch_request(&fetch, version));
    in_every_version(seen, |_| coordinator::find_coordinator_request(&group()));
    let join = JoinRequest {
        group: group(),
        member: member.clone(),
        instance: instance.clone(),
        session_timeout: second,
        rebalance_timeout: second,
        protocols: vec![Protocol { name: "range", metadata: Bytes::from_static(b"meta") }],
    };
    in_every_version(seen, |_| coordinator::join_request(&join));
    let sync = SyncRequest {
        group: group(),
        generation: Generation(1),
        member: member.clone(),
        instance: instance.clone(),
        protocol: "range".into(),
        assignments: vec![(member.clone(), Bytes::from_static(b"share"))],
    };
    in_every_version(seen, |_| coordinator::sync_request(&sync));
    let heartbeat = HeartbeatRequest {
        group: group(),
        generation: Generation(1),
        member: member.clone(),
        instance: instance.clone(),
    };
    in_every_version(seen, |_| coordinator::heartbeat_request(&heartbeat));
    let leave = LeaveRequest { group: group(), member: member.clone(), instance: instance.clone() };
    in_every_version(seen, |_| coordinator::leave_request(&leave));
    let commit =
        Commit { at: at(0), offset: Offset(5), leader_epoch: Some(LeaderEpoch(3)), metadata: "notes".into() };
    let commit =
        CommitRequest { group: group(), generation: Generation(1), member, instance, commits: vec![commit] };
    in_every_version(seen, |_| coordinator::commit_request(&commit, &commit.commits));
    in_every_version(seen, |version| {
        coordinator::committed_request(&group(), &[(topic(), vec![PartitionId(0)])], version)
    });
    let all: BTreeSet<_> = CALLS.iter().map(|(api, _)| *api as i16).collect();
    assert_eq!(*seen, all, "a request is missing from this test");
}

#[test]
fn times_are_rounded_up_to_the_milliseconds_that_kafka_counts() {
    for (micros, millis) in [(0, 0), (1, 1), (1_000, 1), (1_001, 2), (-1, 0), (-1_000, -1)] {
        let start = StartAt::Timestamp(WallTime(micros));
        let request = broker::list_offsets_request(&[ListOffset { at: at(0), start }]);
        assert_eq!(request.topics[0].partitions[0].timestamp, millis, "{micros}");
    }
}

#[test]
fn partitions_are_grouped_by_topic_in_the_order_in_which_they_came() {
    let other =
        |partition| TopicPartition { topic: TopicName::new("a").unwrap(), partition: PartitionId(partition) };
    let partitions = [at(2), other(0), at(1), other(3)];
    let grouped = broker::by_topic(partitions.iter().map(|at| (at, at.partition.0)));
    let a = TopicName::new("a").unwrap();
    assert_eq!(grouped, [(&topic(), vec![2, 1]), (&a, vec![0, 3])]);
}
