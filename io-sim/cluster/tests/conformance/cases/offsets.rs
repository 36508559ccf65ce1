//! A group's positions: committed, fetched, deleted.

use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::{
    GroupId, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::groups::{join, stable};
use crate::client::World;
use crate::list;

list![
    with_metadata,
    without_metadata,
    metadata_too_large,
    epochs_are_kept,
    unknown_topic,
    negative_offset,
    no_group_id,
    members_commit,
    zombies_commit,
    strangers_commit,
    the_groupless_commit_to_a_living_group,
    during_a_rebalance,
    fetch_all,
    fetch_unknown_group,
    fetch_unknown_partition,
    fetch_many_groups,
    fetch_by_old_versions,
    fetch_stable,
    delete_offsets,
    delete_offsets_of_unknown,
    delete_offsets_of_a_living_group,
];

const fn text(value: &'static str) -> StrBytes {
    StrBytes::from_static_str(value)
}

fn commit(
    group: &StrBytes,
    topic: &StrBytes,
    offset: i64,
    metadata: Option<StrBytes>,
) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(0)
        .with_committed_offset(offset)
        .with_committed_leader_epoch(-1)
        .with_committed_metadata(metadata);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(TopicName(topic.clone()))
        .with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(GroupId(group.clone()))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic])
}

fn by(request: OffsetCommitRequest, member: &StrBytes, generation: i32) -> OffsetCommitRequest {
    request.with_member_id(member.clone()).with_generation_id_or_member_epoch(generation)
}

fn of(group: &StrBytes, topic: Option<&StrBytes>, partition: i32) -> OffsetFetchRequestGroup {
    let topics = topic.map(|topic| {
        vec![
            OffsetFetchRequestTopics::default()
                .with_name(TopicName(topic.clone()))
                .with_partition_indexes(vec![partition]),
        ]
    });
    OffsetFetchRequestGroup::default()
        .with_group_id(GroupId(group.clone()))
        .with_member_epoch(-1)
        .with_topics(topics)
}

fn fetch(group: &StrBytes, topic: &StrBytes) -> OffsetFetchRequest {
    OffsetFetchRequest::default().with_groups(vec![of(group, Some(topic), 0)])
}

async fn with_metadata(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let topic = client.topic("t", 1, &[]).await;
    client.ask(commit(&group, &topic, 5, Some(text("note")))).await;
    client.ask(fetch(&group, &topic)).await;
}

async fn without_metadata(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let topic = client.topic("t", 1, &[]).await;
    client.ask(commit(&group, &topic, 5, None)).await;
    client.ask(fetch(&group, &topic)).await;
}

async fn metadata_too_large(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let topic = client.topic("t", 1, &[]).await;
    for length in [4_096, 4_097] {
        let metadata = StrBytes::from_string("m".repeat(length));
        client.ask(commit(&group, &topic, 5, Some(metadata))).await;
    }
}

async fn epochs_are_kept(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let topic = client.topic("t", 1, &[]).await;
    let mut request = commit(&group, &topic, 5, None);
    request.topics[0].partitions[0].committed_leader_epoch = 3;
    client.ask(request).await;
    client.ask(fetch(&group, &topic)).await;
}

async fn unknown_topic(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    client.ask(commit(&group, &world.name("t"), 5, None)).await;
    let topic = client.topic("other", 1, &[]).await;
    let mut request = commit(&group, &topic, 5, None);
    request.topics[0].partitions[0].partition_index = 9;
    client.ask(request).await;
}

async fn negative_offset(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let topic = client.topic("t", 1, &[]).await;
    client.ask(commit(&group, &topic, -7, None)).await;
    client.ask(fetch(&group, &topic)).await;
}

async fn no_group_id(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    client.ask(commit(&text(""), &topic, -7, None)).await;
    client.ask(fetch(&text(""), &topic)).await;
}

async fn members_commit(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let topic = client.topic("t", 1, &[]).await;
    let a = stable(&mut client, &group).await;
    client.ask(by(commit(&group, &topic, 5, None), &a, 1)).await;
    client.ask(fetch(&group, &topic)).await;
}

async fn zombies_commit(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let topic = client.topic("t", 1, &[]).await;
    let a = stable(&mut client, &group).await;
    for generation in [0, 2] {
        client.ask(by(commit(&group, &topic, 5, None), &a, generation)).await;
    }
    client.ask(fetch(&group, &topic)).await;
}

async fn strangers_commit(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let topic = client.topic("t", 1, &[]).await;
    client.ask(by(commit(&group, &topic, 5, None), &text("stranger"), 1)).await;
    stable(&mut client, &group).await;
    client.ask(by(commit(&group, &topic, 5, None), &text("stranger"), 1)).await;
    let request = by(commit(&group, &topic, 5, None), &text("stranger"), 1);
    client.ask(request.with_group_instance_id(Some(text("instance")))).await;
}

async fn the_groupless_commit_to_a_living_group(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let topic = client.topic("t", 1, &[]).await;
    let a = stable(&mut client, &group).await;
    client.ask(commit(&group, &topic, 5, None)).await;
    client.ask(by(commit(&group, &topic, 5, None), &a, -1)).await;
}

async fn during_a_rebalance(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let topic = client.topic("t", 1, &[]).await;
    let a = stable(&mut client, &group).await;
    client.prepare(join(&group, &a)).await;
    client.ask(by(commit(&group, &topic, 5, None), &a, 2)).await;
    client.ask(by(commit(&group, &topic, 5, None), &a, 1)).await;
}

async fn fetch_all(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let topic = client.topic("t", 1, &[]).await;
    client.prepare(commit(&group, &topic, 5, None)).await;
    client.ask(OffsetFetchRequest::default().with_groups(vec![of(&group, None, 0)])).await;
}

async fn fetch_unknown_group(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    client.ask(fetch(&group, &world.name("t"))).await;
    client.ask(OffsetFetchRequest::default().with_groups(vec![of(&group, None, 0)])).await;
}

async fn fetch_unknown_partition(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let topic = client.topic("t", 1, &[]).await;
    client.prepare(commit(&group, &topic, 5, None)).await;
    client.ask(OffsetFetchRequest::default().with_groups(vec![of(&group, Some(&topic), 9)])).await;
}

async fn fetch_many_groups(world: World) {
    let (mut client, one, two) = (world.client().await, world.name("g1"), world.name("g2"));
    let topic = client.topic("t", 1, &[]).await;
    client.prepare(commit(&one, &topic, 5, None)).await;
    client.prepare(commit(&two, &topic, 6, None)).await;
    let groups = vec![of(&one, Some(&topic), 0), of(&two, None, 0), of(&world.name("g3"), Some(&topic), 0)];
    client.ask(OffsetFetchRequest::default().with_groups(groups)).await;
}

async fn fetch_by_old_versions(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let topic = client.topic("t", 1, &[]).await;
    client.prepare(commit(&group, &topic, 5, Some(text("note")))).await;
    for version in [2, 5, 7] {
        client
            .ask_at(
                version,
                OffsetFetchRequest::default().with_group_id(GroupId(group.clone())).with_topics(None),
            )
            .await;
    }
}

async fn fetch_stable(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let topic = client.topic("t", 1, &[]).await;
    client.prepare(commit(&group, &topic, 5, None)).await;
    client.ask(fetch(&group, &topic).with_require_stable(true)).await;
}

fn delete(group: &StrBytes, topic: &StrBytes) -> OffsetDeleteRequest {
    let partition = OffsetDeleteRequestPartition::default().with_partition_index(0);
    let topic = OffsetDeleteRequestTopic::default()
        .with_name(TopicName(topic.clone()))
        .with_partitions(vec![partition]);
    OffsetDeleteRequest::default().with_group_id(GroupId(group.clone())).with_topics(vec![topic])
}

async fn delete_offsets(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let topic = client.topic("t", 1, &[]).await;
    client.prepare(commit(&group, &topic, 5, None)).await;
    client.ask(delete(&group, &topic)).await;
    client.ask(fetch(&group, &topic)).await;
}

async fn delete_offsets_of_unknown(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let topic = client.topic("t", 1, &[]).await;
    client.ask(delete(&group, &topic)).await;
    client.ask(delete(&text(""), &topic)).await;
    client.prepare(commit(&group, &topic, 5, None)).await;
    client.ask(delete(&group, &world.name("unknown"))).await;
}

async fn delete_offsets_of_a_living_group(world: World) {
    let (mut client, group) = (world.client().await, world.name("g"));
    let topic = client.topic("t", 1, &[]).await;
    let a = stable(&mut client, &group).await;
    client.prepare(by(commit(&group, &topic, 5, None), &a, 1)).await;
    client.ask(delete(&group, &topic)).await;
}
