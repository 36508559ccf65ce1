//! Producing: acknowledgements, sequences, limits, batches that are wrong.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::InitProducerIdRequest;

use crate::batch::{Batch, THEN};
use crate::client::{Client, World};
use crate::list;
use crate::requests::{LATEST, create, fetch, list_offsets, produce};

list![
    acks_one,
    acks_all,
    acks_none,
    acks_none_for_an_unknown_topic,
    acks_none_of_a_bad_batch,
    acks_none_with_one_partition_wrong,
    acks_that_do_not_exist,
    unknown_topic,
    unknown_partition,
    negative_partition,
    a_batch_again,
    a_gap,
    an_older_batch_again,
    an_old_epoch,
    an_unknown_producer_begins_in_the_middle,
    a_producer_without_a_sequence,
    sequences_wrap_around,
    two_batches_in_one_request,
    two_partitions_one_wrong,
    too_large_for_the_topic,
    a_wrong_sum,
    an_old_magic,
    a_future_magic,
    no_records,
    null_records,
    an_empty_batch,
    a_count_that_is_wrong,
    a_delta_that_is_wrong,
    half_a_batch,
    a_base_offset_of_its_own,
    gzip,
    snappy,
    lz4,
    zstd,
    no_such_codec,
    a_topic_with_a_codec_of_its_own,
    create_time,
    append_time,
    a_batch_of_append_time_by_the_producer,
    a_timestamp_far_ahead,
    a_control_batch,
    a_transactional_batch_of_nobody,
    compacted_topics_want_keys,
    too_few_replicas,
    an_old_version,
    init_producer_twice,
    init_producer_with_a_known_id,
];

/// A producer's id.
async fn producer(client: &mut Client) -> i64 {
    let request = InitProducerIdRequest::default().with_transactional_id(None).with_producer_id((-1).into());
    client.prepare(request.with_producer_epoch(-1)).await.producer_id.0
}

async fn acks_one(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    client.ask(produce(&topic, 0, 1, Batch::of(3).bytes())).await;
    client.ask(produce(&topic, 0, 1, Batch::of(2).bytes())).await;
    client.fetch(fetch(&topic, 0, 0)).await;
}

async fn acks_all(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    client.ask(produce(&topic, 0, -1, Batch::of(3).bytes())).await;
    client.fetch(fetch(&topic, 0, 0)).await;
}

async fn acks_none(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    client.send_unanswered(&produce(&topic, 0, 0, Batch::of(3).bytes())).await;
    // The next answer is the next request's.
    client.ask(list_offsets(&topic, 0, LATEST)).await;
}

async fn acks_none_for_an_unknown_topic(world: World) {
    let mut client = world.client().await;
    client.send_unanswered(&produce(&world.name("t"), 0, 0, Batch::of(1).bytes())).await;
    client.is_closed("a topic that there is not").await;
}

async fn acks_none_of_a_bad_batch(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    let bad = Batch { spoil_crc: 1, ..Batch::of(2) };
    client.send_unanswered(&produce(&topic, 0, 0, bad.bytes())).await;
    client.is_closed("a wrong sum").await;
}

async fn acks_none_with_one_partition_wrong(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    let mut request = produce(&topic, 0, 0, Batch::of(2).bytes());
    let more = produce(&topic, 1, 0, Batch::of(2).bytes());
    request.topic_data[0].partition_data.extend(more.topic_data[0].partition_data.clone());
    client.send_unanswered(&request).await;
    client.is_closed("one partition that there is not").await;
    // What could be appended was.
    let mut client = world.client().await;
    client.ask(list_offsets(&topic, 0, LATEST)).await;
}

async fn acks_that_do_not_exist(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    client.ask(produce(&topic, 0, 2, Batch::of(3).bytes())).await;
    client.ask(produce(&topic, 0, -2, Batch::of(3).bytes())).await;
    client.ask(list_offsets(&topic, 0, LATEST)).await;
}

async fn unknown_topic(world: World) {
    let mut client = world.client().await;
    client.ask(produce(&world.name("t"), 0, -1, Batch::of(1).bytes())).await;
}

async fn unknown_partition(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 2, &[]).await;
    client.ask(produce(&topic, 2, -1, Batch::of(1).bytes())).await;
}

async fn negative_partition(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 2, &[]).await;
    client.ask(produce(&topic, -1, -1, Batch::of(1).bytes())).await;
}

async fn a_batch_again(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    let id = producer(&mut client).await;
    for sequence in [0, 3, 0, 3] {
        client.ask(produce(&topic, 0, -1, Batch::by(id, 0, sequence, 3).bytes())).await;
    }
    client.ask(list_offsets(&topic, 0, LATEST)).await;
}

async fn a_gap(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    let id = producer(&mut client).await;
    for sequence in [0, 4, 3] {
        client.ask(produce(&topic, 0, -1, Batch::by(id, 0, sequence, 3).bytes())).await;
    }
}

async fn an_older_batch_again(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    let id = producer(&mut client).await;
    for sequence in [0, 1, 2, 3, 4, 5, 1, 0, 6] {
        client.ask(produce(&topic, 0, -1, Batch::by(id, 0, sequence, 1).bytes())).await;
    }
}

async fn an_old_epoch(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    let id = producer(&mut client).await;
    client.ask(produce(&topic, 0, -1, Batch::by(id, 3, 0, 1).bytes())).await;
    client.ask(produce(&topic, 0, -1, Batch::by(id, 2, 1, 1).bytes())).await;
    client.ask(produce(&topic, 0, -1, Batch::by(id, 4, 1, 1).bytes())).await;
    client.ask(produce(&topic, 0, -1, Batch::by(id, 4, 0, 1).bytes())).await;
}

async fn an_unknown_producer_begins_in_the_middle(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    let id = producer(&mut client).await;
    client.ask(produce(&topic, 0, -1, Batch::by(id, 0, 7, 1).bytes())).await;
    client.ask(produce(&topic, 0, -1, Batch::by(id, 0, 8, 1).bytes())).await;
    client.ask(produce(&topic, 0, -1, Batch::by(id + 1_000_000, 5, 0, 1).bytes())).await;
}

async fn a_producer_without_a_sequence(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    let id = producer(&mut client).await;
    client.ask(produce(&topic, 0, -1, Batch::by(id, 0, -1, 1).bytes())).await;
    client.ask(produce(&topic, 0, -1, Batch::by(id, -1, 0, 1).bytes())).await;
}

async fn sequences_wrap_around(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    let id = producer(&mut client).await;
    for sequence in [i32::MAX - 1, 1, 0, 2] {
        client.ask(produce(&topic, 0, -1, Batch::by(id, 0, sequence, 3).bytes())).await;
    }
}

async fn two_batches_in_one_request(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    let both = [Batch::of(2).bytes(), Batch::of(1).bytes()].concat();
    client.ask(produce(&topic, 0, -1, both.into())).await;
    client.fetch(fetch(&topic, 0, 0)).await;
}

async fn two_partitions_one_wrong(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    let mut request = produce(&topic, 0, -1, Batch::of(2).bytes());
    let more = produce(&topic, 1, -1, Batch::of(2).bytes());
    request.topic_data[0].partition_data.extend(more.topic_data[0].partition_data.clone());
    client.ask(request).await;
}

/// What one partition is answered to these bytes, and what is there afterwards.
async fn offered(world: &World, configs: &[(&str, &str)], bytes: Bytes) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, configs).await;
    client.ask(produce(&topic, 0, -1, bytes)).await;
    client.fetch(fetch(&topic, 0, 0)).await;
}

async fn too_large_for_the_topic(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[("max.message.bytes", "100")]).await;
    for value in [29, 30, 31, 32, 33, 500] {
        let batch = Batch { value, ..Batch::of(1) };
        client.ask(produce(&topic, 0, -1, batch.bytes())).await;
    }
}

async fn a_wrong_sum(world: World) {
    offered(&world, &[], Batch { spoil_crc: 1, ..Batch::of(2) }.bytes()).await;
}

async fn an_old_magic(world: World) {
    offered(&world, &[], Batch { magic: 1, ..Batch::of(2) }.bytes()).await;
}

async fn a_future_magic(world: World) {
    offered(&world, &[], Batch { magic: 3, ..Batch::of(2) }.bytes()).await;
}

async fn no_records(world: World) {
    offered(&world, &[], Bytes::new()).await;
}

async fn null_records(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    let mut request = produce(&topic, 0, -1, Bytes::new());
    request.topic_data[0].partition_data[0].records = None;
    client.send(&request).await;
    client.stays_silent("no records at all", Duration::from_secs(1)).await;
}

async fn an_empty_batch(world: World) {
    offered(&world, &[], Batch::of(0).bytes()).await;
}

async fn a_count_that_is_wrong(world: World) {
    offered(&world, &[], Batch { count: Some(5), ..Batch::of(2) }.bytes()).await;
}

async fn a_delta_that_is_wrong(world: World) {
    offered(&world, &[], Batch { last_delta: Some(5), ..Batch::of(2) }.bytes()).await;
}

async fn half_a_batch(world: World) {
    let bytes = Batch::of(2).bytes();
    offered(&world, &[], bytes.slice(..bytes.len() - 5)).await;
}

async fn a_base_offset_of_its_own(world: World) {
    offered(&world, &[], Batch { base_offset: 77, ..Batch::of(2) }.bytes()).await;
}

async fn gzip(world: World) {
    offered(&world, &[], Batch { attributes: 1, ..Batch::of(2) }.bytes()).await;
}

async fn snappy(world: World) {
    offered(&world, &[], Batch { attributes: 2, ..Batch::of(2) }.bytes()).await;
}

async fn lz4(world: World) {
    offered(&world, &[], Batch { attributes: 3, ..Batch::of(2) }.bytes()).await;
}

async fn zstd(world: World) {
    offered(&world, &[], Batch { attributes: 4, ..Batch::of(2) }.bytes()).await;
}

async fn no_such_codec(world: World) {
    offered(&world, &[], Batch { attributes: 5, ..Batch::of(2) }.bytes()).await;
}

async fn a_topic_with_a_codec_of_its_own(world: World) {
    let mut client = world.client().await;
    let name = world.name("t");
    world.made(&name);
    client.ask(create(&name, 1, 1, &[("compression.type", "gzip")])).await;
}

async fn create_time(world: World) {
    offered(&world, &[], Batch { step: 10, ..Batch::of(3) }.bytes()).await;
}

async fn append_time(world: World) {
    let batch = Batch { step: 10, ..Batch::of(3) };
    offered(&world, &[("message.timestamp.type", "LogAppendTime")], batch.bytes()).await;
}

async fn a_batch_of_append_time_by_the_producer(world: World) {
    offered(&world, &[], Batch { attributes: 8, ..Batch::of(3) }.bytes()).await;
}

async fn a_timestamp_far_ahead(world: World) {
    offered(&world, &[], Batch { step: 1, ..Batch { records: 2, ..Batch::at(THEN * 2) } }.bytes()).await;
}

async fn a_control_batch(world: World) {
    offered(&world, &[], Batch { attributes: 32, ..Batch::of(1) }.bytes()).await;
}

async fn a_transactional_batch_of_nobody(world: World) {
    offered(&world, &[], Batch { attributes: 16, ..Batch::of(1) }.bytes()).await;
}

async fn compacted_topics_want_keys(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[("cleanup.policy", "compact")]).await;
    client.ask(produce(&topic, 0, -1, Batch::of(2).bytes())).await;
    client.ask(produce(&topic, 0, -1, Batch { key: Some(b"k"), ..Batch::of(2) }.bytes())).await;
    client.fetch(fetch(&topic, 0, 0)).await;
}

async fn too_few_replicas(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[("min.insync.replicas", "2")]).await;
    client.ask(produce(&topic, 0, -1, Batch::of(2).bytes())).await;
    client.ask(produce(&topic, 0, 1, Batch::of(2).bytes())).await;
    client.ask(list_offsets(&topic, 0, LATEST)).await;
}

async fn an_old_version(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    for version in [3, 5, 7, 8, 9, 10] {
        client.ask_at(version, produce(&topic, 0, -1, Batch::of(1).bytes())).await;
    }
}

async fn init_producer_twice(world: World) {
    let mut client = world.client().await;
    let request = InitProducerIdRequest::default().with_transactional_id(None).with_producer_id((-1).into());
    let first = client.ask(request.clone().with_producer_epoch(-1)).await;
    let second = client.ask_at(1, request.with_producer_epoch(-1)).await;
    world.note("another", first.producer_id != second.producer_id);
}

async fn init_producer_with_a_known_id(world: World) {
    let mut client = world.client().await;
    let id = producer(&mut client).await;
    let request = InitProducerIdRequest::default().with_transactional_id(None).with_producer_id(id.into());
    let answer = client.ask(request.with_producer_epoch(0)).await;
    world.note("the same", answer.producer_id == id);
}
