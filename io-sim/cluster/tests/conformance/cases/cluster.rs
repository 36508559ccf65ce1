//! The cluster and what it offers: metadata, brokers, versions.

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, DescribeClusterRequest, DescribeGroupsRequest,
    DescribeGroupsResponse, GroupId, MetadataRequest, MetadataResponse, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, StrBytes};
use uuid::Uuid;

use super::groups::stable;
use crate::client::{Client, World};
use crate::list;

list![
    metadata_of_one,
    metadata_of_none,
    metadata_of_an_unknown_one,
    metadata_of_an_illegal_name,
    metadata_of_one_twice,
    metadata_by_id,
    metadata_by_an_unknown_id,
    metadata_by_name_and_id,
    metadata_with_authorized_operations,
    metadata_may_create,
    metadata_in_old_versions,
    metadata_of_all,
    the_cluster,
    the_cluster_with_authorized_operations,
    the_cluster_of_controllers,
    groups_with_authorized_operations,
    versions,
    versions_in_old_versions,
    versions_in_a_version_to_come,
    versions_for_a_nameless_client,
];

pub(super) fn by_name(name: &StrBytes) -> MetadataRequestTopic {
    MetadataRequestTopic::default().with_name(Some(TopicName(name.clone())))
}

pub(super) fn by_id(id: Uuid) -> MetadataRequestTopic {
    MetadataRequestTopic::default().with_name(None).with_topic_id(id)
}

pub(super) fn metadata(topics: Vec<MetadataRequestTopic>) -> MetadataRequest {
    MetadataRequest::default().with_topics(Some(topics)).with_allow_auto_topic_creation(false)
}

pub(super) async fn id_of(client: &mut Client, topic: &StrBytes) -> Uuid {
    client.prepare(metadata(vec![by_name(topic)])).await.topics[0].topic_id
}

/// Describes topics, their partitions in order.
pub(super) async fn describe(client: &mut Client, request: MetadataRequest) {
    describe_at(client, 12, request).await;
}

async fn describe_at(client: &mut Client, version: i16, request: MetadataRequest) {
    let order = |answer: &mut MetadataResponse| {
        for topic in &mut answer.topics {
            topic.partitions.sort_by_key(|partition| partition.partition_index);
        }
    };
    client.ask_ordered(version, request, order).await;
}

pub(super) const SOME_ID: Uuid = Uuid::from_u128(0x1234_5678_9abc_4def_8123_4567_89ab_cdef);

async fn metadata_of_one(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 3, &[]).await;
    describe(&mut client, metadata(vec![by_name(&name)])).await;
}

async fn metadata_of_none(world: World) {
    world.client().await.ask(metadata(Vec::new())).await;
}

async fn metadata_of_an_unknown_one(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    describe(&mut client, metadata(vec![by_name(&world.name("u"))])).await;
    describe(&mut client, metadata(vec![by_name(&world.name("u")), by_name(&name)])).await;
    describe(&mut client, metadata(vec![by_name(&name), by_name(&world.name("u"))])).await;
}

async fn metadata_of_an_illegal_name(world: World) {
    let mut client = world.client().await;
    for name in ["a b", "", ".."] {
        let request = metadata(vec![by_name(&StrBytes::from_static_str(name))]);
        client.ask(request.clone()).await;
        client.ask(request.with_allow_auto_topic_creation(true)).await;
    }
}

async fn metadata_of_one_twice(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    describe(&mut client, metadata(vec![by_name(&name), by_name(&name)])).await;
}

async fn metadata_by_id(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    let id = id_of(&mut client, &name).await;
    describe(&mut client, metadata(vec![by_id(id)])).await;
}

async fn metadata_by_an_unknown_id(world: World) {
    let mut client = world.client().await;
    let answer = client.prepare(metadata(vec![by_id(SOME_ID)])).await;
    world.note("the id that was asked for", answer.topics[0].topic_id == SOME_ID);
    describe(&mut client, metadata(vec![by_id(SOME_ID)])).await;
}

async fn metadata_by_name_and_id(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    let id = id_of(&mut client, &name).await;
    describe(&mut client, metadata(vec![by_name(&name), by_id(id)])).await;
    describe(&mut client, metadata(vec![by_name(&name).with_topic_id(id)])).await;
}

async fn metadata_with_authorized_operations(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    let request = metadata(vec![by_name(&name)]).with_include_topic_authorized_operations(true);
    client.ask(request.clone()).await;
    client.ask_at(9, request.with_include_cluster_authorized_operations(true)).await;
}

/// Both are set up not to.
async fn metadata_may_create(world: World) {
    let mut client = world.client().await;
    let request = metadata(vec![by_name(&world.name("t"))]).with_allow_auto_topic_creation(true);
    client.ask(request.clone()).await;
    client.ask(request).await;
}

async fn metadata_in_old_versions(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    for version in 0..12 {
        let request = MetadataRequest::default().with_topics(Some(vec![by_name(&name)]));
        let request = if version < 4 { request.with_allow_auto_topic_creation(true) } else { request };
        client.ask_at(version, request.clone()).await;
        let mut unknown = request;
        unknown.topics = Some(vec![by_name(&world.name("u"))]);
        client.ask_at(version, unknown).await;
    }
}

/// Others may have topics there: only that ours is among them is compared.
async fn metadata_of_all(world: World) {
    let mut client = world.client().await;
    let name = client.topic("t", 1, &[]).await;
    for (version, request) in [
        (12, MetadataRequest::default().with_topics(None)),
        (1, MetadataRequest::default().with_topics(None)),
        (0, MetadataRequest::default().with_topics(Some(Vec::new()))),
    ] {
        client.quiet = true;
        let answer = client.ask_at(version, request).await;
        client.quiet = false;
        let mut ours = answer.topics.iter().filter(|topic| topic.name.as_ref().is_some_and(|n| n.0 == name));
        world.note("ours", ours.next().map(|topic| (topic.error_code, topic.partitions.len())));
    }
}

async fn the_cluster(world: World) {
    let mut client = world.client().await;
    client.ask(DescribeClusterRequest::default()).await;
    client.ask_at(0, DescribeClusterRequest::default()).await;
}

async fn the_cluster_with_authorized_operations(world: World) {
    let mut client = world.client().await;
    client.ask(DescribeClusterRequest::default().with_include_cluster_authorized_operations(true)).await;
}

async fn the_cluster_of_controllers(world: World) {
    let mut client = world.client().await;
    client.ask(DescribeClusterRequest::default().with_endpoint_type(2)).await;
    client.ask(DescribeClusterRequest::default().with_endpoint_type(9)).await;
}

async fn groups_with_authorized_operations(world: World) {
    let mut client = world.client().await;
    let group = world.name("g");
    stable(&mut client, &group).await;
    let groups = vec![GroupId(group), GroupId(world.name("unknown"))];
    let request = DescribeGroupsRequest::default().with_groups(groups);
    let order = |answer: &mut DescribeGroupsResponse| {
        answer.groups.sort_by_key(|group| group.group_id.clone());
    };
    client.ask_ordered(5, request.with_include_authorized_operations(true), order).await;
}

fn greeting() -> ApiVersionsRequest {
    ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("conformance"))
        .with_client_software_version(StrBytes::from_static_str("1.0"))
}

/// What is offered differs, so it is only compared that what is offered here can be asked there.
async fn versions(world: World) {
    let mut client = world.client().await;
    let answer = client.prepare(greeting()).await;
    world.note("error", answer.error_code);
    let common = evenkeel_cluster::wire::OFFERED.iter().all(|ours| {
        let mut theirs = answer.api_keys.iter().filter(|theirs| theirs.api_key == ours.key);
        theirs.any(|theirs| theirs.min_version <= ours.min && ours.max <= theirs.max_version)
    });
    world.note("all that the cluster offers is there", common);
}

async fn versions_in_old_versions(world: World) {
    let mut client = world.client().await;
    for version in 0..3 {
        client.quiet = true;
        let answer = client.ask_at(version, ApiVersionsRequest::default()).await;
        client.quiet = false;
        world.note("error", answer.error_code);
        world.note("some are offered", !answer.api_keys.is_empty());
    }
}

/// It is answered in version 0, whatever was asked.
async fn versions_in_a_version_to_come(world: World) {
    let mut client = world.client().await;
    client.send_raw(18, 99, &[1, 2, 3]).await;
    let mut frame = client.frame().await.expect("an answer");
    ResponseHeader::decode(&mut frame, 0).expect("a header");
    let answer = ApiVersionsResponse::decode(&mut frame, 0).expect("an answer of version 0");
    world.note("error", answer.error_code);
    world.note("offered", answer.api_keys.iter().map(|offer| offer.api_key).collect::<Vec<_>>());
    world.note("left over", frame.len());
    // The connection lives on.
    client.forget_due();
    client.ask(DescribeClusterRequest::default()).await;
}

async fn versions_for_a_nameless_client(world: World) {
    for (name, version) in [("", "1"), ("a", ""), ("-a", "1"), ("a b", "1"), ("a.b-c", "1.0-x")] {
        let mut client = world.client().await;
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str(name))
            .with_client_software_version(StrBytes::from_static_str(version));
        let answer = client.prepare(request).await;
        world.note("error", answer.error_code);
        world.note("some are offered", !answer.api_keys.is_empty());
    }
}
