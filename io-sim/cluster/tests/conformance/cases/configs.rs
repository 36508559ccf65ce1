//! Configurations: describing, replacing, changing.

use kafka_protocol::messages::alter_configs_request as replace;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request as change;
use kafka_protocol::messages::{
    AlterConfigsRequest, DescribeConfigsRequest, DescribeConfigsResponse, IncrementalAlterConfigsRequest,
};
use kafka_protocol::protocol::StrBytes;

use crate::batch::Batch;
use crate::client::{Client, POLL, World};
use crate::list;
use crate::requests::{fetch, produce};

list![
    describe_all_of_a_topic,
    describe_some_of_a_topic,
    describe_an_unknown_one,
    describe_none,
    describe_an_unknown_topic,
    describe_an_illegal_topic,
    describe_a_topic_twice,
    describe_with_synonyms,
    describe_a_broker,
    describe_what_a_broker_may_change,
    describe_an_unknown_broker,
    describe_the_default_of_brokers,
    describe_an_unknown_kind,
    describe_in_old_versions,
    set_and_describe,
    set_only_validated,
    set_an_unknown_one,
    set_a_bad_value,
    set_null,
    set_twice_in_one_request,
    set_two_one_wrong,
    set_of_an_unknown_topic,
    set_of_an_illegal_topic,
    set_of_an_unknown_kind,
    set_of_an_unknown_broker,
    set_two_topics_one_unknown,
    set_one_topic_twice,
    set_nothing,
    reset,
    reset_what_is_not_set,
    reset_an_unknown_one,
    append_to_a_list,
    append_what_is_there,
    append_to_no_list,
    subtract_from_a_list,
    subtract_what_is_not_there,
    subtract_all,
    subtract_from_no_list,
    an_unknown_operation,
    set_in_an_old_version,
    replace_all,
    replace_with_nothing,
    replace_only_validated,
    replace_with_a_bad_value,
    replace_with_null,
    replace_with_a_config_twice,
    replace_of_an_unknown_topic,
    replace_in_an_old_version,
    a_limit_is_obeyed_once_it_is_set,
    a_timestamp_type_is_obeyed_once_it_is_set,
];

pub(super) const TOPIC: i8 = 2;
const BROKER: i8 = 4;
pub(super) const SET: i8 = 0;
const RESET: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// What most cases look at afterwards.
const WATCHED: &[&str] = &["cleanup.policy", "retention.ms", "max.message.bytes"];

pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(super) fn describe(kind: i8, name: &StrBytes, configs: Option<&[&str]>) -> DescribeConfigsRequest {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(name.clone())
        .with_configuration_keys(configs.map(|names| names.iter().map(|name| text(name)).collect()));
    DescribeConfigsRequest::default().with_resources(vec![resource])
}

pub(super) fn changes(
    kind: i8,
    name: &StrBytes,
    changes: &[(&str, i8, Option<&str>)],
) -> IncrementalAlterConfigsRequest {
    let one = |(name, operation, value): &(&str, i8, Option<&str>)| {
        change::AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(*operation)
            .with_value(value.map(text))
    };
    let resource = change::AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(name.clone())
        .with_configs(changes.iter().map(one).collect());
    IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
}

fn replaced(name: &StrBytes, configs: &[(&str, Option<&str>)]) -> AlterConfigsRequest {
    let one = |(name, value): &(&str, Option<&str>)| {
        replace::AlterableConfig::default().with_name(text(name)).with_value(value.map(text))
    };
    let resource = replace::AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(name.clone())
        .with_configs(configs.iter().map(one).collect());
    AlterConfigsRequest::default().with_resources(vec![resource])
}

/// Changes a topic's configurations, then describes them.
async fn change(client: &mut Client, topic: &StrBytes, what: &[(&str, i8, Option<&str>)]) {
    client.ask(changes(TOPIC, topic, what)).await;
    settle(client, topic).await;
    client.ask(describe(TOPIC, topic, Some(WATCHED))).await;
}

/// Kafka's broker learns of what its controller did a little later: waits until it has learnt of a change that was made
/// after all others.
async fn settle(client: &mut Client, topic: &StrBytes) {
    const LAST: &str = "file.delete.delay.ms";
    let now = client.prepare(describe(TOPIC, topic, Some(&[LAST]))).await;
    let before: i64 = now.results[0].configs[0].value.as_ref().and_then(|v| v.parse().ok()).unwrap_or(0);
    let next = (before + 1).to_string();
    client.prepare(changes(TOPIC, topic, &[(LAST, SET, Some(&next))])).await;
    while client.prepare(describe(TOPIC, topic, Some(&[LAST]))).await.results[0].configs[0].value.as_deref()
        != Some(&next)
    {
        tokio::time::sleep(POLL).await;
    }
}

/// Configurations stand in no order. Left out are those that Kafka's own set-up sets.
pub(super) fn by_name(answer: &mut DescribeConfigsResponse) {
    for resource in &mut answer.results {
        let is_set_up = |name: &str| name == "segment.bytes" || name == "min.insync.replicas";
        resource.configs.retain(|config| !is_set_up(&config.name));
        resource.configs.sort_by_key(|config| config.name.clone());
    }
}

async fn describe_all_of_a_topic(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[("retention.ms", "12345")]).await;
    client.ask_ordered(4, describe(TOPIC, &topic, None), by_name).await;
}

async fn describe_some_of_a_topic(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[("cleanup.policy", "compact")]).await;
    client.ask(describe(TOPIC, &topic, Some(WATCHED))).await;
}

async fn describe_an_unknown_one(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    client.ask(describe(TOPIC, &topic, Some(&["no.such.config", "retention.ms"]))).await;
}

async fn describe_none(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    // An empty list of names: all or none?
    let answer = client.prepare(describe(TOPIC, &topic, Some(&[]))).await;
    world.note("some are described", !answer.results[0].configs.is_empty());
    client.ask(DescribeConfigsRequest::default()).await;
}

async fn describe_an_unknown_topic(world: World) {
    world.client().await.ask(describe(TOPIC, &world.name("t"), None)).await;
}

async fn describe_an_illegal_topic(world: World) {
    let mut client = world.client().await;
    client.ask(describe(TOPIC, &text("a b"), None)).await;
    client.ask(describe(TOPIC, &text(""), None)).await;
}

async fn describe_a_topic_twice(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    let mut request = describe(TOPIC, &topic, Some(&["retention.ms"]));
    request.resources.extend(describe(TOPIC, &topic, Some(&["cleanup.policy"])).resources);
    client.ask(request).await;
}

async fn describe_with_synonyms(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[("retention.ms", "12345")]).await;
    let request = describe(TOPIC, &topic, None).with_include_synonyms(true);
    client.ask_ordered(4, request, by_name).await;
}

/// What a broker is set up with is its own; that the configurations here are known there is not.
async fn describe_a_broker(world: World) {
    let mut client = world.client().await;
    let answer = client.prepare(describe(BROKER, &text("1"), None)).await;
    world.note("error", answer.results[0].error_code);
    let names = ["auto.create.topics.enable", "num.partitions", "offset.metadata.max.bytes"];
    let request = describe(BROKER, &text("1"), Some(&names)).with_include_synonyms(true);
    client.ask_ordered(4, request, by_name).await;
}

async fn describe_what_a_broker_may_change(world: World) {
    world.client().await.ask(describe(BROKER, &text("1"), Some(&["message.max.bytes"]))).await;
}

async fn describe_an_unknown_broker(world: World) {
    let mut client = world.client().await;
    client.ask(describe(BROKER, &text("99"), None)).await;
    client.ask(describe(BROKER, &text("one"), None)).await;
}

async fn describe_the_default_of_brokers(world: World) {
    // Which are set is part of a set-up.
    let answer = world.client().await.prepare(describe(BROKER, &text(""), None)).await;
    world.note("error", answer.results[0].error_code);
}

async fn describe_an_unknown_kind(world: World) {
    let mut client = world.client().await;
    client.send(&describe(99, &text("x"), None)).await;
    let answered = client.frame().await.is_some();
    world.note("answered", answered);
}

async fn describe_in_old_versions(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[("retention.ms", "12345")]).await;
    for version in [1, 2, 3] {
        client.ask_at(version, describe(TOPIC, &topic, Some(WATCHED))).await;
    }
}

async fn set_and_describe(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    let both = [("retention.ms", SET, Some("12345")), ("cleanup.policy", SET, Some("compact,delete"))];
    change(&mut client, &topic, &both).await;
}

async fn set_only_validated(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    let request = |value| changes(TOPIC, &topic, &[("retention.ms", SET, Some(value))]);
    client.ask(request("12345").with_validate_only(true)).await;
    client.ask(request("a week").with_validate_only(true)).await;
    change(&mut client, &topic, &[]).await;
}

async fn set_an_unknown_one(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    change(&mut client, &topic, &[("no.such.config", SET, Some("1"))]).await;
}

async fn set_a_bad_value(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    for (name, value) in [("retention.ms", "a week"), ("cleanup.policy", "shred"), ("cleanup.policy", "")] {
        change(&mut client, &topic, &[(name, SET, Some(value))]).await;
    }
}

async fn set_null(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    change(&mut client, &topic, &[("retention.ms", SET, None)]).await;
    change(&mut client, &topic, &[("cleanup.policy", APPEND, None)]).await;
}

async fn set_twice_in_one_request(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    let twice = [("retention.ms", SET, Some("1000")), ("retention.ms", SET, Some("2000"))];
    change(&mut client, &topic, &twice).await;
}

async fn set_two_one_wrong(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    let two = [("retention.ms", SET, Some("1000")), ("max.message.bytes", SET, Some("-5"))];
    change(&mut client, &topic, &two).await;
}

async fn set_of_an_unknown_topic(world: World) {
    let mut client = world.client().await;
    client.ask(changes(TOPIC, &world.name("t"), &[("retention.ms", SET, Some("1000"))])).await;
    client.ask(changes(TOPIC, &world.name("t"), &[("no.such", SET, Some("1000"))])).await;
}

async fn set_of_an_illegal_topic(world: World) {
    let mut client = world.client().await;
    client.ask(changes(TOPIC, &text("a b"), &[("retention.ms", SET, Some("1000"))])).await;
    client.ask(changes(TOPIC, &text(""), &[("retention.ms", SET, Some("1000"))])).await;
}

async fn set_of_an_unknown_kind(world: World) {
    let mut client = world.client().await;
    client.ask(changes(99, &text("x"), &[("retention.ms", SET, Some("1000"))])).await;
}

async fn set_of_an_unknown_broker(world: World) {
    let mut client = world.client().await;
    client.ask(changes(BROKER, &text("99"), &[("message.max.bytes", SET, Some("1000"))])).await;
    client.ask(changes(BROKER, &text("one"), &[("message.max.bytes", SET, Some("1000"))])).await;
}

async fn set_two_topics_one_unknown(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    let mut request = changes(TOPIC, &topic, &[("retention.ms", SET, Some("1000"))]);
    let other = changes(TOPIC, &world.name("u"), &[("retention.ms", SET, Some("1000"))]);
    request.resources.extend(other.resources);
    let answer = client.prepare(request).await;
    // In no order that is promised.
    let mut outcomes: Vec<_> =
        answer.responses.iter().map(|r| (r.resource_name.clone(), r.error_code)).collect();
    outcomes.sort();
    world.note("outcomes", outcomes);
    change(&mut client, &topic, &[]).await;
}

async fn set_one_topic_twice(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    let mut request = changes(TOPIC, &topic, &[("retention.ms", SET, Some("1000"))]);
    let again = changes(TOPIC, &topic, &[("max.message.bytes", SET, Some("1000"))]);
    request.resources.extend(again.resources);
    client.ask(request).await;
    change(&mut client, &topic, &[]).await;
}

async fn set_nothing(world: World) {
    let mut client = world.client().await;
    client.ask(IncrementalAlterConfigsRequest::default()).await;
    let topic = client.topic("t", 1, &[]).await;
    change(&mut client, &topic, &[]).await;
}

async fn reset(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[("retention.ms", "1000"), ("cleanup.policy", "compact")]).await;
    change(&mut client, &topic, &[("retention.ms", RESET, None)]).await;
    change(&mut client, &topic, &[("cleanup.policy", RESET, Some("ignored"))]).await;
}

async fn reset_what_is_not_set(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    change(&mut client, &topic, &[("retention.ms", RESET, None)]).await;
}

async fn reset_an_unknown_one(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    change(&mut client, &topic, &[("no.such.config", RESET, None)]).await;
}

async fn append_to_a_list(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    change(&mut client, &topic, &[("cleanup.policy", APPEND, Some("compact"))]).await;
}

async fn append_what_is_there(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    change(&mut client, &topic, &[("cleanup.policy", APPEND, Some("delete"))]).await;
    change(&mut client, &topic, &[("cleanup.policy", APPEND, Some("compact,delete"))]).await;
}

async fn append_to_no_list(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    change(&mut client, &topic, &[("retention.ms", APPEND, Some("1"))]).await;
}

async fn subtract_from_a_list(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[("cleanup.policy", "compact,delete")]).await;
    change(&mut client, &topic, &[("cleanup.policy", SUBTRACT, Some("compact"))]).await;
}

async fn subtract_what_is_not_there(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    change(&mut client, &topic, &[("cleanup.policy", SUBTRACT, Some("compact"))]).await;
    change(&mut client, &topic, &[("cleanup.policy", SUBTRACT, Some("shred"))]).await;
}

async fn subtract_all(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    change(&mut client, &topic, &[("cleanup.policy", SUBTRACT, Some("delete"))]).await;
}

async fn subtract_from_no_list(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    change(&mut client, &topic, &[("retention.ms", SUBTRACT, Some("1"))]).await;
}

async fn an_unknown_operation(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    change(&mut client, &topic, &[("retention.ms", 9, Some("1"))]).await;
}

async fn set_in_an_old_version(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    let two = changes(TOPIC, &topic, &[("retention.ms", SET, Some("1000"))]);
    client.ask_at(0, two).await;
    client.ask_at(0, changes(TOPIC, &topic, &[("no.such", SET, Some("1000"))])).await;
}

/// Replaces a topic's configurations, then describes them.
async fn replace(client: &mut Client, topic: &StrBytes, configs: &[(&str, Option<&str>)]) {
    client.ask(replaced(topic, configs)).await;
    settle(client, topic).await;
    client.ask(describe(TOPIC, topic, Some(WATCHED))).await;
}

/// A topic with something set that may be replaced.
async fn configured(client: &mut Client) -> StrBytes {
    client.topic("t", 1, &[("retention.ms", "1000"), ("max.message.bytes", "5000")]).await
}

async fn replace_all(world: World) {
    let mut client = world.client().await;
    let topic = configured(&mut client).await;
    replace(&mut client, &topic, &[("retention.ms", Some("2000")), ("cleanup.policy", Some("compact"))])
        .await;
}

async fn replace_with_nothing(world: World) {
    let mut client = world.client().await;
    let topic = configured(&mut client).await;
    replace(&mut client, &topic, &[]).await;
}

async fn replace_only_validated(world: World) {
    let mut client = world.client().await;
    let topic = configured(&mut client).await;
    client.ask(replaced(&topic, &[("retention.ms", Some("2000"))]).with_validate_only(true)).await;
    client.ask(replaced(&topic, &[("retention.ms", Some("a week"))]).with_validate_only(true)).await;
    change(&mut client, &topic, &[]).await;
}

async fn replace_with_a_bad_value(world: World) {
    let mut client = world.client().await;
    let topic = configured(&mut client).await;
    replace(&mut client, &topic, &[("retention.ms", Some("a week"))]).await;
    replace(&mut client, &topic, &[("no.such.config", Some("1"))]).await;
}

async fn replace_with_null(world: World) {
    let mut client = world.client().await;
    let topic = configured(&mut client).await;
    replace(&mut client, &topic, &[("retention.ms", None)]).await;
}

async fn replace_with_a_config_twice(world: World) {
    let mut client = world.client().await;
    let topic = configured(&mut client).await;
    replace(&mut client, &topic, &[("retention.ms", Some("2000")), ("retention.ms", Some("3000"))]).await;
}

async fn replace_of_an_unknown_topic(world: World) {
    let mut client = world.client().await;
    client.ask(replaced(&world.name("t"), &[("retention.ms", Some("2000"))])).await;
    client.ask(replaced(&text("a b"), &[("retention.ms", Some("2000"))])).await;
}

async fn replace_in_an_old_version(world: World) {
    let mut client = world.client().await;
    let topic = configured(&mut client).await;
    for version in [0, 1] {
        client.ask_at(version, replaced(&topic, &[("retention.ms", Some("2000"))])).await;
    }
}

async fn a_limit_is_obeyed_once_it_is_set(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    client.ask(produce(&topic, 0, -1, Batch::of(10).bytes())).await;
    change(&mut client, &topic, &[("max.message.bytes", SET, Some("100"))]).await;
    client.ask(produce(&topic, 0, -1, Batch::of(10).bytes())).await;
    client.ask(produce(&topic, 0, -1, Batch::of(1).bytes())).await;
    // What was larger before stays and can be read.
    client.fetch(fetch(&topic, 0, 0)).await;
}

async fn a_timestamp_type_is_obeyed_once_it_is_set(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    client.ask(produce(&topic, 0, -1, Batch::of(1).bytes())).await;
    change(&mut client, &topic, &[("message.timestamp.type", SET, Some("LogAppendTime"))]).await;
    client.ask(produce(&topic, 0, -1, Batch::of(1).bytes())).await;
    client.fetch(fetch(&topic, 0, 1)).await;
}
