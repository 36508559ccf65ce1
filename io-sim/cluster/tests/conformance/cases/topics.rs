//! Topics: creating, growing, deleting.

use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DeleteTopicsResponse,
    MetadataResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::cluster::{SOME_ID, by_name, describe, id_of, metadata};
use crate::batch::Batch;
use crate::client::{Client, POLL, World};
use crate::list;
use crate::requests::{EARLIEST, create, delete_topics, fetch, list_offsets, produce};

list![
    create_one,
    create_with_defaults,
    create_only_validated,
    create_again,
    create_twice_in_one_request,
    create_several_one_wrong,
    create_with_illegal_names,
    create_with_long_names,
    create_with_names_that_collide,
    create_an_internal_topic,
    create_without_partitions,
    create_with_very_many_partitions,
    create_very_many_partitions_in_one_request,
    create_with_too_many_replicas,
    create_without_replicas,
    create_with_an_assignment,
    create_with_an_assignment_and_numbers,
    create_with_a_gap_in_the_assignment,
    create_with_a_replica_twice,
    create_with_unknown_brokers,
    create_with_uneven_replicas,
    create_with_no_replica_of_a_partition,
    create_with_a_partition_assigned_twice,
    create_with_configs,
    create_with_an_unknown_config,
    create_with_a_bad_config,
    create_with_a_null_config,
    create_with_a_config_twice,
    create_nothing,
    create_in_old_versions,
    delete_one,
    delete_an_unknown_one,
    delete_by_id,
    delete_by_an_unknown_id,
    delete_twice_in_one_request,
    delete_by_name_and_id,
    delete_with_neither_name_nor_id,
    delete_in_old_versions,
    delete_and_create_again,
    grow,
    grow_to_the_same,
    grow_to_fewer,
    grow_to_none,
    grow_to_very_many,
    grow_by_very_many_in_one_request,
    grow_an_unknown_one,
    grow_only_validated,
    grow_twice_in_one_request,
    grow_with_an_assignment,
    grow_with_a_short_assignment,
    grow_with_unknown_brokers,
    grow_with_uneven_replicas,
    grow_in_old_versions,
    new_partitions_are_empty,
];

/// A topic of unset numbers.
fn topic(name: &StrBytes) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(TopicName(name.clone()))
        .with_num_partitions(-1)
        .with_replication_factor(-1)
}

fn topics(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
    CreateTopicsRequest::default().with_timeout_ms(10_000).with_topics(topics)
}

fn assigned(name: &StrBytes, assignment: &[(i32, &[i32])]) -> CreatableTopic {
    let of = |(partition, brokers): &(i32, &[i32])| {
        CreatableReplicaAssignment::default()
            .with_partition_index(*partition)
            .with_broker_ids(brokers.iter().map(|broker| (*broker).into()).collect())
    };
    topic(name).with_assignments(assignment.iter().map(of).collect())
}

/// Creates and remembers to delete.
async fn try_create(client: &mut Client, request: CreateTopicsRequest) {
    for topic in &request.topics {
        client.world.made(&topic.name.0);
    }
    client.ask(request).await;
}

fn more(name: &StrBytes, count: i32) -> CreatePartitionsRequest {
    let topic = CreatePartitionsTopic::default()
        .with_name(TopicName(name.clone()))
        .with_count(count)
        .with_assignments(None);
    CreatePartitionsRequest::default().with_timeout_ms(10_000).with_topics(vec![topic])
}

fn more_assigned(name: &StrBytes, count: i32, assignment: &[&[i32]]) -> CreatePartitionsRequest {
    let mut request = more(name, count);
    let of = |brokers: &&[i32]| {
        CreatePartitionsAssignment::default()
            .with_broker_ids(brokers.iter().map(|broker| (*broker).into()).collect())
    };
    request.topics[0].assignments = Some(assignment.iter().map(of).collect());
    request
}

/// Waits until a topic is as it should be: Kafka's broker learns of what its controller did a little later.
async fn until(client: &mut Client, topic: &StrBytes, is_so: impl Fn(&MetadataResponse) -> bool) {
    while !is_so(&client.prepare(metadata(vec![by_name(topic)])).await) {
        tokio::time::sleep(POLL).await;
    }
}

fn is_gone(answer: &MetadataResponse) -> bool {
    answer.topics[0].error_code != 0
}

async fn create_one(world: World) {
    let mut client = world.client().await;
    try_create(&mut client, create(&world.name("t"), 3, 1, &[])).await;
}

async fn create_with_defaults(world: World) {
    let mut client = world.client().await;
    try_create(&mut client, topics(vec![topic(&world.name("t"))])).await;
    let name = world.name("u");
    try_create(&mut client, topics(vec![topic(&name).with_num_partitions(2)])).await;
}

async fn create_only_validated(world: World) {
    let mut client = world.client().await;
    let name = world.name("t");
    client.ask(create(&name, 2, 1, &[]).with_validate_only(true)).await;
    client.ask(create(&name, 2, 9, &[]).with_validate_only(true)).await;
    describe(&mut client, metadata(vec![by_name(&name)])).await;
}

async fn create_again(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    client.ask(create(&name, 1, 1, &[])).await;
    client.ask(create(&name, 1, 1, &[]).with_validate_only(true)).await;
    // What is wrong besides is not looked at.
    client.ask(create(&name, 1, 9, &[("no.such", "1")])).await;
}

async fn create_twice_in_one_request(world: World) {
    let mut client = world.client().await;
    let (name, other) = (world.name("t"), world.name("u"));
    let wanted = |name| topic(name).with_num_partitions(1);
    try_create(&mut client, topics(vec![wanted(&name), wanted(&other), wanted(&name)])).await;
}

async fn create_several_one_wrong(world: World) {
    let mut client = world.client().await;
    let wanted = |name: &str| topic(&world.name(name));
    let request = topics(vec![wanted("a"), wanted("b").with_replication_factor(9), wanted("c")]);
    try_create(&mut client, request).await;
}

async fn create_with_illegal_names(world: World) {
    let mut client = world.client().await;
    for name in ["", ".", "..", "a b", "a/b", "ä", "a:b", "a*"] {
        client.ask(create(&StrBytes::from_static_str(name), 1, 1, &[])).await;
    }
}

async fn create_with_long_names(world: World) {
    let mut client = world.client().await;
    let name = world.name("").to_string();
    for length in [249, 250] {
        let long = format!("{name}{}", "x".repeat(length - name.len()));
        try_create(&mut client, create(&StrBytes::from_string(long), 1, 1, &[])).await;
    }
}

async fn create_with_names_that_collide(world: World) {
    let mut client = world.client().await;
    client.topic("a.b", 1, &[]).await;
    client.ask(create(&world.name("a_b"), 1, 1, &[])).await;
    client.ask(create(&world.name("a_b"), 1, 1, &[]).with_validate_only(true)).await;
    let both = vec![topic(&world.name("c_d.e")), topic(&world.name("c.d_e"))];
    try_create(&mut client, topics(both)).await;
}

async fn create_an_internal_topic(world: World) {
    let mut client = world.client().await;
    client
        .ask(create(&StrBytes::from_static_str("__cluster_metadata"), 1, 1, &[]).with_validate_only(true))
        .await;
}

async fn create_without_partitions(world: World) {
    let mut client = world.client().await;
    client.ask(create(&world.name("t"), 0, 1, &[])).await;
    client.ask(create(&world.name("t"), -2, 1, &[])).await;
}

async fn create_with_very_many_partitions(world: World) {
    let mut client = world.client().await;
    client.ask(create(&world.name("t"), 10_001, 1, &[]).with_validate_only(true)).await;
    client.ask(create(&world.name("t"), 10_001, 1, &[])).await;
    client.ask(create(&world.name("t"), i32::MAX, 1, &[])).await;
}

async fn create_very_many_partitions_in_one_request(world: World) {
    let mut client = world.client().await;
    let of = |name: &str, partitions| {
        topic(&world.name(name)).with_num_partitions(partitions).with_replication_factor(1)
    };
    for second in [9_000, 9_999, 10_001] {
        let request = topics(vec![of("t", 1), of("u", second)]).with_validate_only(true);
        client.prepare(request.clone()).await;
        client.ask(topics(request.topics).with_validate_only(second < 9_999)).await;
    }
    // What is wrong otherwise is not looked at; what is given no number counts as the default, and each name once more.
    client.ask(topics(vec![of("t", 0), of("u", 10_001), topic(&world.name("a b"))])).await;
    client.ask(topics(vec![topic(&world.name("t")), of("u", 10_000)])).await;
    client.ask(topics(vec![of("t", 6_000), of("t", 6_000)])).await;
    client.ask(topics(vec![of("t", -3), of("u", 10_002)])).await;
    let many: Vec<_> = (0..10_000).map(|number| (number, &[1][..])).collect();
    client.ask(topics(vec![of("t", 1), assigned(&world.name("u"), &many)])).await;
}

async fn create_with_too_many_replicas(world: World) {
    let mut client = world.client().await;
    client.ask(create(&world.name("t"), 1, 2, &[])).await;
    client.ask(create(&world.name("t"), 1, i16::MAX, &[])).await;
}

async fn create_without_replicas(world: World) {
    let mut client = world.client().await;
    client.ask(create(&world.name("t"), 1, 0, &[])).await;
    client.ask(create(&world.name("t"), 1, -2, &[])).await;
}

async fn create_with_an_assignment(world: World) {
    let mut client = world.client().await;
    let name = world.name("t");
    try_create(&mut client, topics(vec![assigned(&name, &[(1, &[1]), (0, &[1])])])).await;
    client.has(&name, 2).await;
    describe(&mut client, metadata(vec![by_name(&name)])).await;
}

async fn create_with_an_assignment_and_numbers(world: World) {
    let mut client = world.client().await;
    let wanted = assigned(&world.name("t"), &[(0, &[1])]);
    client.ask(topics(vec![wanted.clone().with_num_partitions(1)])).await;
    client.ask(topics(vec![wanted.clone().with_replication_factor(1)])).await;
    client.ask(topics(vec![wanted.with_num_partitions(1).with_replication_factor(1)])).await;
}

/// Asks for a topic with an assignment that should be refused.
async fn assignment(world: &World, assignment: &[(i32, &[i32])]) {
    let mut client = world.client().await;
    try_create(&mut client, topics(vec![assigned(&world.name("t"), assignment)])).await;
}

async fn create_with_a_gap_in_the_assignment(world: World) {
    assignment(&world, &[(0, &[1]), (2, &[1])]).await;
    assignment(&world, &[(1, &[1])]).await;
    assignment(&world, &[(-1, &[1])]).await;
}

async fn create_with_a_replica_twice(world: World) {
    assignment(&world, &[(0, &[1, 1])]).await;
}

async fn create_with_unknown_brokers(world: World) {
    assignment(&world, &[(0, &[99])]).await;
    assignment(&world, &[(0, &[-1])]).await;
}

async fn create_with_uneven_replicas(world: World) {
    assignment(&world, &[(0, &[1]), (1, &[1, 2])]).await;
}

async fn create_with_no_replica_of_a_partition(world: World) {
    assignment(&world, &[(0, &[])]).await;
    assignment(&world, &[(0, &[1]), (1, &[])]).await;
}

async fn create_with_a_partition_assigned_twice(world: World) {
    assignment(&world, &[(0, &[1]), (0, &[1])]).await;
}

async fn create_with_configs(world: World) {
    let mut client = world.client().await;
    let configs = [("cleanup.policy", "compact"), ("retention.ms", "12345"), ("min.insync.replicas", "1")];
    try_create(&mut client, create(&world.name("t"), 1, 1, &configs)).await;
}

async fn create_with_an_unknown_config(world: World) {
    let mut client = world.client().await;
    client.ask(create(&world.name("t"), 1, 1, &[("no.such.config", "1")])).await;
}

async fn create_with_a_bad_config(world: World) {
    let mut client = world.client().await;
    for (name, value) in [
        ("retention.ms", "a week"),
        ("retention.ms", "-2"),
        ("cleanup.policy", "shred"),
        ("max.message.bytes", "-1"),
        ("max.message.bytes", "2147483648"),
        ("min.insync.replicas", "0"),
        ("message.timestamp.type", "createtime"),
        ("min.cleanable.dirty.ratio", "1.1"),
        ("preallocate", "perhaps"),
        ("segment.bytes", "13"),
    ] {
        client.ask(create(&world.name("t"), 1, 1, &[(name, value)])).await;
    }
}

async fn create_with_a_null_config(world: World) {
    let mut client = world.client().await;
    let mut request = create(&world.name("t"), 1, 1, &[("retention.ms", "1")]);
    request.topics[0].configs[0].value = None;
    client.ask(request).await;
}

async fn create_with_a_config_twice(world: World) {
    let mut client = world.client().await;
    let twice = [("retention.ms", "1000"), ("retention.ms", "2000")];
    try_create(&mut client, create(&world.name("t"), 1, 1, &twice)).await;
}

async fn create_nothing(world: World) {
    world.client().await.ask(topics(Vec::new())).await;
}

async fn create_in_old_versions(world: World) {
    let mut client = world.client().await;
    for version in [2, 4, 5, 6] {
        let name = world.name(&format!("t{version}"));
        world.made(&name);
        let request = topics(vec![topic(&name).with_num_partitions(1).with_replication_factor(1)]);
        client.ask_at(version, request.clone()).await;
        client.ask_at(version, request).await;
    }
    // Before version 4 the numbers must be given.
    client.ask_at(3, topics(vec![topic(&world.name("u"))])).await;
}

async fn delete_one(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    client.ask(delete_topics(std::slice::from_ref(&name))).await;
    until(&mut client, &name, is_gone).await;
    describe(&mut client, metadata(vec![by_name(&name)])).await;
    client.ask(list_offsets(&name, 0, EARLIEST)).await;
    client.fetch(fetch(&name, 0, 0)).await;
    client.ask(produce(&name, 0, -1, Batch::of(1).bytes())).await;
}

async fn delete_an_unknown_one(world: World) {
    world.client().await.ask(delete_topics(&[world.name("t")])).await;
}

/// Kafka shuffles its answers to this.
fn by_topic(answer: &mut DeleteTopicsResponse) {
    answer.responses.sort_by_key(|topic| (topic.name.clone(), topic.error_code));
}

async fn delete(client: &mut Client, request: DeleteTopicsRequest) {
    client.ask_ordered(6, request, by_topic).await;
}

async fn delete_by_id(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    let id = id_of(&mut client, &name).await;
    let topic = DeleteTopicState::default().with_name(None).with_topic_id(id);
    delete(&mut client, DeleteTopicsRequest::default().with_timeout_ms(5_000).with_topics(vec![topic])).await;
}

async fn delete_by_an_unknown_id(world: World) {
    let mut client = world.client().await;
    let topic = DeleteTopicState::default().with_name(None).with_topic_id(SOME_ID);
    delete(&mut client, DeleteTopicsRequest::default().with_timeout_ms(5_000).with_topics(vec![topic])).await;
}

async fn delete_twice_in_one_request(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    delete(&mut client, delete_topics(&[name.clone(), name])).await;
}

async fn delete_by_name_and_id(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    let id = id_of(&mut client, &name).await;
    let topic = DeleteTopicState::default().with_name(Some(TopicName(name.clone()))).with_topic_id(id);
    delete(&mut client, DeleteTopicsRequest::default().with_timeout_ms(5_000).with_topics(vec![topic])).await;
    let by_name = DeleteTopicState::default().with_name(Some(TopicName(name)));
    let by_id = DeleteTopicState::default().with_name(None).with_topic_id(id);
    delete(
        &mut client,
        DeleteTopicsRequest::default().with_timeout_ms(5_000).with_topics(vec![by_name, by_id]),
    )
    .await;
}

async fn delete_with_neither_name_nor_id(world: World) {
    let mut client = world.client().await;
    let topic = DeleteTopicState::default().with_name(None);
    delete(&mut client, DeleteTopicsRequest::default().with_timeout_ms(5_000).with_topics(vec![topic])).await;
}

async fn delete_in_old_versions(world: World) {
    let mut client = world.client().await;
    for version in [1, 3, 4, 5] {
        let name = client.topic(&format!("t{version}"), 1, &[]).await;
        let request = DeleteTopicsRequest::default()
            .with_timeout_ms(5_000)
            .with_topic_names(vec![TopicName(name), TopicName(world.name("u"))]);
        client.ask_ordered(version, request, by_topic).await;
    }
}

async fn delete_and_create_again(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    client.prepare(produce(&name, 0, -1, Batch::of(3).bytes())).await;
    let before = id_of(&mut client, &name).await;
    client.prepare(delete_topics(std::slice::from_ref(&name))).await;
    until(&mut client, &name, is_gone).await;
    client.ask(create(&name, 1, 1, &[])).await;
    client.has(&name, 1).await;
    let after = id_of(&mut client, &name).await;
    world.note("another id", before != after);
    client.fetch(fetch(&name, 0, 0)).await;
    describe(&mut client, metadata(vec![by_name(&name)])).await;
}

async fn grow(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    client.ask(more(&name, 3)).await;
    client.has(&name, 3).await;
    describe(&mut client, metadata(vec![by_name(&name)])).await;
}

/// Asks for so many partitions of a topic that has two.
async fn grow_to(world: &World, count: i32) {
    let mut client = world.client().await;
    let name = client.topic("t", 2, &[]).await;
    client.ask(more(&name, count)).await;
}

async fn grow_to_the_same(world: World) {
    grow_to(&world, 2).await;
}

async fn grow_to_fewer(world: World) {
    grow_to(&world, 1).await;
}

async fn grow_to_none(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 2, &[]).await;
    client.ask(more(&name, 0)).await;
    client.ask(more(&name, -1)).await;
}

async fn grow_to_very_many(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    for count in [10_000, 10_001, 10_002] {
        client.ask(more(&name, count).with_validate_only(true)).await;
    }
}

async fn grow_by_very_many_in_one_request(world: World) {
    let mut client = world.client().await;
    let names = [client.topic("t", 1, &[]).await, client.topic("u", 1, &[]).await];
    let mut request = more(&names[0], 6_000).with_validate_only(true);
    request.topics.extend(more(&names[1], 6_000).topics);
    client.ask(request).await;
}

async fn grow_an_unknown_one(world: World) {
    let mut client = world.client().await;
    client.ask(more(&world.name("t"), 2)).await;
    client.ask(more(&StrBytes::from_static_str("a b"), 2)).await;
}

async fn grow_only_validated(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    client.ask(more(&name, 2).with_validate_only(true)).await;
    client.ask(more(&name, 1).with_validate_only(true)).await;
    client.ask(list_offsets(&name, 1, EARLIEST)).await;
}

async fn grow_twice_in_one_request(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    let other = client.topic("u", 1, &[]).await;
    let mut request = more(&name, 2);
    request.topics.extend(more(&other, 2).topics);
    request.topics.extend(more(&name, 3).topics);
    client.ask_ordered(3, request, |answer| answer.results.sort_by_key(|topic| topic.name.clone())).await;
}

async fn grow_with_an_assignment(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    client.ask(more_assigned(&name, 3, &[&[1], &[1]])).await;
}

async fn grow_with_a_short_assignment(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    client.ask(more_assigned(&name, 3, &[&[1]])).await;
    client.ask(more_assigned(&name, 3, &[&[1], &[1], &[1]])).await;
    client.ask(more_assigned(&name, 3, &[])).await;
}

async fn grow_with_unknown_brokers(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    client.ask(more_assigned(&name, 2, &[&[99]])).await;
}

async fn grow_with_uneven_replicas(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    client.ask(more_assigned(&name, 2, &[&[]])).await;
    client.ask(more_assigned(&name, 2, &[&[1, 1]])).await;
    client.ask(more_assigned(&name, 2, &[&[1, 2]])).await;
}

async fn grow_in_old_versions(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    for version in [0, 1, 2] {
        client.ask_at(version, more(&name, 2 + i32::from(version))).await;
        client.ask_at(version, more(&name, 1)).await;
    }
}

async fn new_partitions_are_empty(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    client.prepare(produce(&name, 0, -1, Batch::of(3).bytes())).await;
    client.prepare(more(&name, 2)).await;
    client.has(&name, 2).await;
    client.fetch(fetch(&name, 1, 0)).await;
    client.ask(produce(&name, 1, -1, Batch::of(1).bytes())).await;
}
