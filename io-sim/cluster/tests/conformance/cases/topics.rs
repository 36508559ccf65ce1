//! Topics, their configurations, and places in their logs.

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    ApiVersionsRequest, CreatePartitionsRequest, DeleteRecordsRequest, DescribeClusterRequest,
    DescribeConfigsRequest, IncrementalAlterConfigsRequest, ListOffsetsRequest, MetadataRequest,
    OffsetForLeaderEpochRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use crate::batch::{Batch, THEN};
use crate::client::World;
use crate::list;
use crate::requests::{EARLIEST, LATEST, MAX_TIMESTAMP, create, delete_topics, list_offsets, produce};

list![
    create_one,
    create_to_validate,
    create_twice,
    illegal_names,
    names_that_collide,
    replication_too_high,
    no_partitions,
    defaults,
    bad_configs,
    the_same_topic_twice_in_a_request,
    delete_unknown,
    delete_by_name,
    grow,
    grow_unknown,
    describe_some_configs,
    describe_unknown_resources,
    set_append_subtract_delete,
    bad_changes,
    an_unknown_change,
    metadata_of_one,
    metadata_of_unknown,
    metadata_of_illegal,
    metadata_of_none,
    delete_records,
    describe_cluster,
    versions_too_new,
    earliest_and_latest,
    by_time,
    by_greatest_time,
    an_empty_log,
    places_unknown,
    places_by_epoch,
    ends_of_epochs,
];

const fn text(value: &'static str) -> StrBytes {
    StrBytes::from_static_str(value)
}

async fn create_one(world: World) {
    let (mut client, name) = (world.client().await, world.name("t"));
    world.made(&name);
    client.ask(create(&name, 3, 1, &[("retention.ms", "1000")])).await;
}

async fn create_to_validate(world: World) {
    let (mut client, name) = (world.client().await, world.name("t"));
    client.ask(create(&name, 3, 1, &[]).with_validate_only(true)).await;
    client.ask(metadata(&name)).await;
}

async fn create_twice(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    client.ask(create(&name, 1, 1, &[])).await;
    client.ask(create(&name, 1, 1, &[]).with_validate_only(true)).await;
}

async fn illegal_names(world: World) {
    let mut client = world.client().await;
    let long = StrBytes::from_string("n".repeat(250));
    for name in [text(""), text("."), text(".."), text("a b"), text("a/b"), text("é"), long] {
        client.ask(create(&name, 1, 1, &[])).await;
    }
}

async fn names_that_collide(world: World) {
    let mut client = world.client().await;
    client.topic("a.b", 1, &[]).await;
    client.ask(create(&world.name("a_b"), 1, 1, &[])).await;
}

async fn replication_too_high(world: World) {
    let (mut client, name) = (world.client().await, world.name("t"));
    for replication in [2, 0, -2] {
        client.ask(create(&name, 1, replication, &[])).await;
    }
}

async fn no_partitions(world: World) {
    let (mut client, name) = (world.client().await, world.name("t"));
    for partitions in [0, -2] {
        client.ask(create(&name, partitions, 1, &[])).await;
    }
}

async fn defaults(world: World) {
    let (mut client, name) = (world.client().await, world.name("t"));
    world.made(&name);
    client.ask(create(&name, -1, -1, &[])).await;
}

async fn bad_configs(world: World) {
    let (mut client, name) = (world.client().await, world.name("t"));
    for (config, value) in [("no.such.thing", "1"), ("retention.ms", "soon"), ("cleanup.policy", "shred")] {
        client.ask(create(&name, 1, 1, &[(config, value)])).await;
    }
}

async fn the_same_topic_twice_in_a_request(world: World) {
    let (mut client, name) = (world.client().await, world.name("t"));
    let mut request = create(&name, 1, 1, &[]);
    request.topics.push(request.topics[0].clone());
    client.ask(request).await;
}

async fn delete_unknown(world: World) {
    world.client().await.ask(delete_topics(&[world.name("t")])).await;
}

async fn delete_by_name(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    client.ask(delete_topics(std::slice::from_ref(&name))).await;
    client.ask(delete_topics(&[name])).await;
}

fn more(name: &StrBytes, count: i32) -> CreatePartitionsRequest {
    let topic = CreatePartitionsTopic::default().with_name(TopicName(name.clone())).with_count(count);
    CreatePartitionsRequest::default().with_timeout_ms(5_000).with_topics(vec![topic.with_assignments(None)])
}

async fn grow(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 2, &[]).await;
    for count in [1, 2, 0, -1] {
        client.ask(more(&name, count)).await;
    }
    client.ask(more(&name, 3).with_validate_only(true)).await;
    client.ask(more(&name, 3)).await;
    client.has(&name, 3).await;
    client.ask(metadata(&name)).await;
}

async fn grow_unknown(world: World) {
    world.client().await.ask(more(&world.name("t"), 3)).await;
}

fn configs(kind: i8, name: &StrBytes, keys: &[&'static str]) -> DescribeConfigsRequest {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(name.clone())
        .with_configuration_keys(Some(keys.iter().map(|key| text(key)).collect()));
    DescribeConfigsRequest::default().with_resources(vec![resource])
}

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

async fn describe_some_configs(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[("retention.ms", "1000")]).await;
    for key in ["retention.ms", "cleanup.policy", "max.message.bytes", "no.such.thing"] {
        client.ask(configs(TOPIC, &name, &[key])).await;
    }
}

async fn describe_unknown_resources(world: World) {
    let mut client = world.client().await;
    client.ask(configs(TOPIC, &world.name("t"), &["retention.ms"])).await;
    client.ask(configs(TOPIC, &text("a b"), &["retention.ms"])).await;
    client.ask(configs(BROKER, &text("99"), &["retention.ms"])).await;
    client.ask(configs(77, &text("x"), &["retention.ms"])).await;
}

fn change(
    name: &StrBytes,
    key: &'static str,
    operation: i8,
    value: Option<&'static str>,
) -> IncrementalAlterConfigsRequest {
    let config = AlterableConfig::default()
        .with_name(text(key))
        .with_config_operation(operation)
        .with_value(value.map(text));
    let resource = AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(name.clone())
        .with_configs(vec![config]);
    IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
}

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

async fn set_append_subtract_delete(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    for (operation, value) in [
        (SET, Some("delete")),
        (APPEND, Some("compact")),
        (APPEND, Some("compact")),
        (SUBTRACT, Some("delete")),
        (DELETE, None),
    ] {
        client.ask(change(&name, "cleanup.policy", operation, value)).await;
    }
}

async fn bad_changes(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    client.ask(change(&name, "no.such.thing", SET, Some("1"))).await;
    client.ask(change(&name, "no.such.thing", DELETE, None)).await;
    client.ask(change(&name, "retention.ms", SET, Some("soon"))).await;
    client.ask(change(&name, "retention.ms", APPEND, Some("1"))).await;
    client.ask(change(&name, "retention.ms", SET, None)).await;
    client.ask(change(&world.name("unknown"), "retention.ms", SET, Some("1"))).await;
}

async fn an_unknown_change(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    client.ask(change(&name, "retention.ms", 9, Some("1"))).await;
}

fn metadata(name: &StrBytes) -> MetadataRequest {
    let topic = MetadataRequestTopic::default().with_name(Some(TopicName(name.clone())));
    MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(true)
}

async fn metadata_of_one(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 2, &[]).await;
    client.ask(metadata(&name)).await;
    client.ask_at(5, metadata(&name)).await;
}

async fn metadata_of_unknown(world: World) {
    let mut client = world.client().await;
    client.ask(metadata(&world.name("t"))).await;
    let id = MetadataRequestTopic::default().with_name(None).with_topic_id(uuid::Uuid::from_u128(12_345));
    client.ask(MetadataRequest::default().with_topics(Some(vec![id]))).await;
}

async fn metadata_of_illegal(world: World) {
    world.client().await.ask(metadata(&text("a b"))).await;
}

async fn metadata_of_none(world: World) {
    world.client().await.ask(MetadataRequest::default().with_topics(Some(Vec::new()))).await;
}

fn delete(topic: &StrBytes, partition: i32, offset: i64) -> DeleteRecordsRequest {
    let partition = DeleteRecordsPartition::default().with_partition_index(partition).with_offset(offset);
    let topic = DeleteRecordsTopic::default().with_name(TopicName(topic.clone()));
    DeleteRecordsRequest::default()
        .with_timeout_ms(5_000)
        .with_topics(vec![topic.with_partitions(vec![partition])])
}

async fn delete_records(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    client.prepare(produce(&name, 0, -1, Batch::of(5).bytes())).await;
    for (partition, offset) in [(0, 6), (0, 2), (0, 1), (0, -2), (1, 0), (0, -1)] {
        client.ask(delete(&name, partition, offset)).await;
    }
    client.ask(list_offsets(&name, 0, EARLIEST)).await;
    client.ask(delete(&world.name("unknown"), 0, 0)).await;
}

async fn describe_cluster(world: World) {
    let mut client = world.client().await;
    client.ask_at(0, DescribeClusterRequest::default()).await;
    client.ask(DescribeClusterRequest::default().with_endpoint_type(1)).await;
}

async fn versions_too_new(world: World) {
    let mut client = world.client().await;
    client.send_raw(18, 99, &[]).await;
    let frame = client.frame().await;
    // The correlation, then the error.
    world.note("answer", frame.map(|frame| frame.slice(..6)));
    let request = ApiVersionsRequest::default()
        .with_client_software_name(text("a b!"))
        .with_client_software_version(text("1"));
    let mut other = world.client().await;
    let answer = other.prepare(request).await;
    world.note("an illegal name", answer.error_code);
}

async fn earliest_and_latest(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    client.prepare(produce(&name, 0, -1, Batch::of(5).bytes())).await;
    client.prepare(delete(&name, 0, 2)).await;
    for version in [1, 4, 7] {
        client.ask_at(version, list_offsets(&name, 0, EARLIEST)).await;
        client.ask_at(version, list_offsets(&name, 0, LATEST)).await;
    }
    client.ask(list_offsets(&name, 0, LATEST).with_isolation_level(1)).await;
}

async fn by_time(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    for at in [THEN, THEN + 100] {
        let batch = Batch { step: 10, records: 3, ..Batch::at(at) };
        client.prepare(produce(&name, 0, -1, batch.bytes())).await;
    }
    for time in [0, THEN, THEN + 1, THEN + 10, THEN + 21, THEN + 120, THEN + 121] {
        client.ask(list_offsets(&name, 0, time)).await;
    }
}

async fn by_greatest_time(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    client.ask(list_offsets(&name, 0, MAX_TIMESTAMP)).await;
    for at in [THEN, THEN + 100, THEN + 50] {
        client.prepare(produce(&name, 0, -1, Batch { step: 10, records: 3, ..Batch::at(at) }.bytes())).await;
    }
    client.ask(list_offsets(&name, 0, MAX_TIMESTAMP)).await;
}

async fn an_empty_log(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    for time in [EARLIEST, LATEST, MAX_TIMESTAMP, 0] {
        client.ask(list_offsets(&name, 0, time)).await;
    }
}

async fn places_unknown(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    client.ask(list_offsets(&name, 1, LATEST)).await;
    client.ask(list_offsets(&world.name("unknown"), 0, LATEST)).await;
    client.ask(list_offsets(&name, 0, -99)).await;
}

async fn places_by_epoch(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    for epoch in [0, 1, -1] {
        let mut request: ListOffsetsRequest = list_offsets(&name, 0, LATEST);
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        client.ask(request).await;
    }
}

async fn ends_of_epochs(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    client.prepare(produce(&name, 0, -1, Batch::of(5).bytes())).await;
    for (partition, current, epoch) in [(0, -1, 0), (0, 0, 0), (0, 1, 0), (0, -1, 1), (0, -1, -1), (9, -1, 0)]
    {
        let partition = OffsetForLeaderPartition::default()
            .with_partition(partition)
            .with_current_leader_epoch(current)
            .with_leader_epoch(epoch);
        let topic = OffsetForLeaderTopic::default().with_topic(TopicName(name.clone()));
        let request = OffsetForLeaderEpochRequest::default().with_replica_id((-1).into());
        client.ask(request.with_topics(vec![topic.with_partitions(vec![partition])])).await;
    }
}
