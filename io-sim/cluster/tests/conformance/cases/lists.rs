//! Looking offsets up: by place, by time, by epoch; and deleting records, which moves the places.

use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    DeleteRecordsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use crate::batch::{Batch, THEN};
use crate::client::{Client, World};
use crate::list;
use crate::requests::{EARLIEST, LATEST, MAX_TIMESTAMP, fetch, list_offsets, produce};

list![
    ends_of_an_empty_log,
    ends_of_a_log,
    ends_after_deletion,
    times_of_an_empty_log,
    by_time_between_batches,
    by_time_within_a_batch,
    by_time_before_all,
    by_time_beyond_all,
    by_time_zero,
    by_time_out_of_order,
    by_time_below_the_log_start,
    by_append_time,
    greatest_time_is_the_last,
    greatest_time_is_in_the_middle,
    greatest_time_occurs_twice,
    greatest_time_within_a_compressed_batch,
    greatest_time_was_deleted,
    committed_end,
    places_that_do_not_exist,
    list_of_an_unknown_topic,
    list_of_an_unknown_partition,
    list_of_a_partition_twice,
    list_of_several_partitions,
    list_with_an_old_epoch,
    list_with_the_right_epoch,
    list_with_a_future_epoch,
    list_by_an_unknown_replica,
    list_in_old_versions,
    end_of_the_current_epoch,
    end_of_the_current_epoch_of_an_empty_log,
    end_of_an_earlier_epoch,
    end_of_a_later_epoch,
    end_of_no_epoch,
    end_of_an_epoch_with_the_wrong_current_one,
    end_of_an_epoch_of_an_unknown_topic,
    end_of_an_epoch_in_old_versions,
    delete_up_to_the_middle,
    delete_up_to_the_high_watermark,
    delete_beyond_the_end,
    delete_below_the_start,
    delete_nothing,
    delete_before_zero,
    delete_of_an_unknown_topic,
    delete_of_an_unknown_partition,
    delete_of_a_compacted_topic,
    delete_of_two_partitions,
    delete_in_an_old_version,
];

/// A topic of one partition with these batches.
async fn with(client: &mut Client, batches: &[Batch]) -> StrBytes {
    let topic = client.topic("t", 1, &[]).await;
    for batch in batches {
        client.prepare(produce(&topic, 0, -1, batch.bytes())).await;
    }
    topic
}

/// A topic with records of these times, each in a batch of its own.
async fn at_times(client: &mut Client, times: &[i64]) -> StrBytes {
    let batches: Vec<_> = times.iter().map(|time| Batch::at(THEN + time)).collect();
    with(client, &batches).await
}

async fn list(client: &mut Client, topic: &StrBytes, times: &[i64]) {
    for time in times {
        client.ask(list_offsets(topic, 0, *time)).await;
    }
}

fn ends(topic: &StrBytes, partition: i32, current: i32, epoch: i32) -> OffsetForLeaderEpochRequest {
    let partition = OffsetForLeaderPartition::default()
        .with_partition(partition)
        .with_current_leader_epoch(current)
        .with_leader_epoch(epoch);
    let topic =
        OffsetForLeaderTopic::default().with_topic(TopicName(topic.clone())).with_partitions(vec![partition]);
    OffsetForLeaderEpochRequest::default().with_replica_id((-1).into()).with_topics(vec![topic])
}

/// Deletes up to each offset of a partition.
fn delete(topic: &StrBytes, offsets: &[(i32, i64)]) -> DeleteRecordsRequest {
    let partition = |(partition, offset): &(i32, i64)| {
        DeleteRecordsPartition::default().with_partition_index(*partition).with_offset(*offset)
    };
    let topic = DeleteRecordsTopic::default()
        .with_name(TopicName(topic.clone()))
        .with_partitions(offsets.iter().map(partition).collect());
    DeleteRecordsRequest::default().with_timeout_ms(5_000).with_topics(vec![topic])
}

async fn ends_of_an_empty_log(world: World) {
    let mut client = world.client().await;
    let topic = with(&mut client, &[]).await;
    list(&mut client, &topic, &[EARLIEST, LATEST]).await;
}

async fn ends_of_a_log(world: World) {
    let mut client = world.client().await;
    let topic = with(&mut client, &[Batch::of(3), Batch::of(2)]).await;
    list(&mut client, &topic, &[EARLIEST, LATEST]).await;
}

async fn ends_after_deletion(world: World) {
    let mut client = world.client().await;
    let topic = with(&mut client, &[Batch::of(3), Batch::of(2)]).await;
    for offset in [2, 4, 5] {
        client.prepare(delete(&topic, &[(0, offset)])).await;
        list(&mut client, &topic, &[EARLIEST, LATEST]).await;
    }
}

async fn times_of_an_empty_log(world: World) {
    let mut client = world.client().await;
    let topic = with(&mut client, &[]).await;
    list(&mut client, &topic, &[MAX_TIMESTAMP, 0, THEN]).await;
}

async fn by_time_between_batches(world: World) {
    let mut client = world.client().await;
    let topic = at_times(&mut client, &[0, 10, 20]).await;
    list(&mut client, &topic, &[THEN + 10, THEN + 11, THEN + 20]).await;
}

async fn by_time_within_a_batch(world: World) {
    let mut client = world.client().await;
    let steps = Batch { records: 5, step: 10, ..Batch::default() };
    let topic = with(&mut client, &[steps]).await;
    list(&mut client, &topic, &[THEN, THEN + 1, THEN + 20, THEN + 40]).await;
}

async fn by_time_before_all(world: World) {
    let mut client = world.client().await;
    let topic = at_times(&mut client, &[0, 10]).await;
    list(&mut client, &topic, &[THEN - 1_000, 1]).await;
}

async fn by_time_beyond_all(world: World) {
    let mut client = world.client().await;
    let topic = at_times(&mut client, &[0, 10]).await;
    list(&mut client, &topic, &[THEN + 11, i64::MAX]).await;
}

async fn by_time_zero(world: World) {
    let mut client = world.client().await;
    let topic = at_times(&mut client, &[0, 10]).await;
    list(&mut client, &topic, &[0]).await;
}

async fn by_time_out_of_order(world: World) {
    let mut client = world.client().await;
    let topic = at_times(&mut client, &[20, 0, 30, 10]).await;
    list(&mut client, &topic, &[THEN, THEN + 10, THEN + 21, THEN + 30]).await;
}

async fn by_time_below_the_log_start(world: World) {
    let mut client = world.client().await;
    let steps = Batch { records: 5, step: 10, ..Batch::default() };
    let topic = with(&mut client, &[steps]).await;
    client.prepare(delete(&topic, &[(0, 3)])).await;
    list(&mut client, &topic, &[THEN, THEN + 20, THEN + 30, THEN + 40]).await;
}

async fn by_append_time(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[("message.timestamp.type", "LogAppendTime")]).await;
    client.prepare(produce(&topic, 0, -1, Batch::of(3).bytes())).await;
    let answer = client.prepare(list_offsets(&topic, 0, MAX_TIMESTAMP)).await;
    let found = &answer.topics[0].partitions[0];
    world.note("offset of the greatest time", found.offset);
    world.note("later than the producer's", found.timestamp > THEN);
    let answer = client.prepare(list_offsets(&topic, 0, THEN + 1)).await;
    world.note("offset by time", answer.topics[0].partitions[0].offset);
}

async fn greatest_time_is_the_last(world: World) {
    let mut client = world.client().await;
    let topic = at_times(&mut client, &[0, 10, 20]).await;
    list(&mut client, &topic, &[MAX_TIMESTAMP]).await;
}

async fn greatest_time_is_in_the_middle(world: World) {
    let mut client = world.client().await;
    let topic = at_times(&mut client, &[0, 30, 20]).await;
    list(&mut client, &topic, &[MAX_TIMESTAMP]).await;
}

async fn greatest_time_occurs_twice(world: World) {
    let mut client = world.client().await;
    let topic = with(&mut client, &[Batch::of(3), Batch::of(2)]).await;
    list(&mut client, &topic, &[MAX_TIMESTAMP]).await;
}

async fn greatest_time_within_a_compressed_batch(world: World) {
    let mut client = world.client().await;
    let steps = Batch { records: 4, step: 10, attributes: 1, ..Batch::default() };
    let topic = with(&mut client, &[steps, Batch::of(1)]).await;
    list(&mut client, &topic, &[MAX_TIMESTAMP, THEN + 15]).await;
}

async fn greatest_time_was_deleted(world: World) {
    let mut client = world.client().await;
    let topic = at_times(&mut client, &[30, 0, 10]).await;
    client.prepare(delete(&topic, &[(0, 1)])).await;
    let answer = client.prepare(list_offsets(&topic, 0, MAX_TIMESTAMP)).await;
    world.note("error", answer.topics[0].partitions[0].error_code);
    client.prepare(delete(&topic, &[(0, -1)])).await;
    list(&mut client, &topic, &[MAX_TIMESTAMP]).await;
}

async fn committed_end(world: World) {
    let mut client = world.client().await;
    let topic = with(&mut client, &[Batch::of(3)]).await;
    client.ask(list_offsets(&topic, 0, LATEST).with_isolation_level(1)).await;
}

async fn places_that_do_not_exist(world: World) {
    let mut client = world.client().await;
    let topic = with(&mut client, &[Batch::of(3)]).await;
    list(&mut client, &topic, &[-4, -5, -6, -7, -99]).await;
}

async fn list_of_an_unknown_topic(world: World) {
    let mut client = world.client().await;
    list(&mut client, &world.name("t"), &[LATEST, 0]).await;
}

async fn list_of_an_unknown_partition(world: World) {
    let mut client = world.client().await;
    let topic = with(&mut client, &[]).await;
    client.ask(list_offsets(&topic, 1, LATEST)).await;
    client.ask(list_offsets(&topic, -1, LATEST)).await;
}

async fn list_of_a_partition_twice(world: World) {
    let mut client = world.client().await;
    let topic = with(&mut client, &[Batch::of(3)]).await;
    let mut request = list_offsets(&topic, 0, LATEST);
    let again = request.topics[0].partitions[0].clone().with_timestamp(EARLIEST);
    request.topics[0].partitions.push(again);
    client.ask(request).await;
}

async fn list_of_several_partitions(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 2, &[]).await;
    client.prepare(produce(&topic, 1, -1, Batch::of(3).bytes())).await;
    let mut request = list_offsets(&topic, 0, LATEST);
    for (partition, time) in [(1, LATEST), (7, LATEST)] {
        let other = request.topics[0].partitions[0].clone();
        request.topics[0].partitions.push(other.with_partition_index(partition).with_timestamp(time));
    }
    let order = |answer: &mut ListOffsetsResponse| {
        answer.topics[0].partitions.sort_by_key(|partition| partition.partition_index);
    };
    client.ask_ordered(7, request, order).await;
}

/// Looks the end up with the belief that the leader is of this epoch.
async fn believes(world: &World, epoch: i32) {
    let mut client = world.client().await;
    let topic = with(&mut client, &[Batch::of(3)]).await;
    for time in [LATEST, EARLIEST, THEN] {
        let mut request = list_offsets(&topic, 0, time);
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        client.ask(request).await;
    }
}

async fn list_with_an_old_epoch(world: World) {
    believes(&world, -2).await;
}

async fn list_with_the_right_epoch(world: World) {
    believes(&world, 0).await;
}

async fn list_with_a_future_epoch(world: World) {
    believes(&world, 1).await;
}

async fn list_by_an_unknown_replica(world: World) {
    let mut client = world.client().await;
    let topic = with(&mut client, &[Batch::of(3)]).await;
    client.ask(list_offsets(&topic, 0, LATEST).with_replica_id(99.into())).await;
    client.ask(list_offsets(&topic, 0, LATEST).with_replica_id((-2).into())).await;
}

async fn list_in_old_versions(world: World) {
    let mut client = world.client().await;
    let topic = with(&mut client, &[Batch::of(3)]).await;
    for version in [1, 2, 3, 4, 5, 6] {
        for time in [EARLIEST, LATEST, THEN] {
            client.ask_at(version, list_offsets(&topic, 0, time)).await;
        }
    }
    // Before version 7 nobody could ask for it.
    client.ask_at(6, list_offsets(&topic, 0, MAX_TIMESTAMP)).await;
}

async fn end_of_the_current_epoch(world: World) {
    let mut client = world.client().await;
    let topic = with(&mut client, &[Batch::of(3)]).await;
    client.ask(ends(&topic, 0, -1, 0)).await;
    client.ask(ends(&topic, 0, 0, 0)).await;
}

async fn end_of_the_current_epoch_of_an_empty_log(world: World) {
    let mut client = world.client().await;
    let topic = with(&mut client, &[]).await;
    client.ask(ends(&topic, 0, -1, 0)).await;
}

async fn end_of_an_earlier_epoch(world: World) {
    let mut client = world.client().await;
    let topic = with(&mut client, &[Batch::of(3)]).await;
    client.ask(ends(&topic, 0, -1, -3)).await;
}

async fn end_of_a_later_epoch(world: World) {
    let mut client = world.client().await;
    let topic = with(&mut client, &[Batch::of(3)]).await;
    client.ask(ends(&topic, 0, -1, 1)).await;
    client.ask(ends(&topic, 0, -1, i32::MAX)).await;
}

async fn end_of_no_epoch(world: World) {
    let mut client = world.client().await;
    let topic = with(&mut client, &[Batch::of(3)]).await;
    client.ask(ends(&topic, 0, -1, -1)).await;
}

async fn end_of_an_epoch_with_the_wrong_current_one(world: World) {
    let mut client = world.client().await;
    let topic = with(&mut client, &[Batch::of(3)]).await;
    client.ask(ends(&topic, 0, 1, 0)).await;
    client.ask(ends(&topic, 0, -2, 0)).await;
}

async fn end_of_an_epoch_of_an_unknown_topic(world: World) {
    let mut client = world.client().await;
    client.ask(ends(&world.name("u"), 0, -1, 0)).await;
    let topic = with(&mut client, &[]).await;
    client.ask(ends(&topic, 1, -1, 0)).await;
}

async fn end_of_an_epoch_in_old_versions(world: World) {
    let mut client = world.client().await;
    let topic = with(&mut client, &[Batch::of(3)]).await;
    for version in [2, 3] {
        let request = ends(&topic, 0, 0, 0);
        let request = if version < 3 { request.with_replica_id((-2).into()) } else { request };
        client.ask_at(version, request).await;
    }
}

async fn delete_up_to_the_middle(world: World) {
    let mut client = world.client().await;
    let topic = with(&mut client, &[Batch::of(3), Batch::of(3)]).await;
    client.ask(delete(&topic, &[(0, 2)])).await;
    // The batch that holds the start stays whole.
    client.fetch(fetch(&topic, 0, 2)).await;
    client.ask(delete(&topic, &[(0, 3)])).await;
    client.fetch(fetch(&topic, 0, 3)).await;
}

async fn delete_up_to_the_high_watermark(world: World) {
    let mut client = world.client().await;
    let topic = with(&mut client, &[Batch::of(3)]).await;
    client.ask(delete(&topic, &[(0, -1)])).await;
    client.ask(produce(&topic, 0, -1, Batch::of(1).bytes())).await;
    client.fetch(fetch(&topic, 0, 3)).await;
}

async fn delete_beyond_the_end(world: World) {
    let mut client = world.client().await;
    let topic = with(&mut client, &[Batch::of(3)]).await;
    client.ask(delete(&topic, &[(0, 4)])).await;
    list(&mut client, &topic, &[EARLIEST]).await;
    client.ask(delete(&topic, &[(0, 3)])).await;
}

async fn delete_below_the_start(world: World) {
    let mut client = world.client().await;
    let topic = with(&mut client, &[Batch::of(3)]).await;
    client.prepare(delete(&topic, &[(0, 2)])).await;
    client.ask(delete(&topic, &[(0, 1)])).await;
    client.ask(delete(&topic, &[(0, 2)])).await;
}

async fn delete_nothing(world: World) {
    let mut client = world.client().await;
    let topic = with(&mut client, &[Batch::of(3)]).await;
    client.ask(delete(&topic, &[(0, 0)])).await;
    client.ask(delete(&topic, &[])).await;
}

async fn delete_before_zero(world: World) {
    let mut client = world.client().await;
    let topic = with(&mut client, &[Batch::of(3)]).await;
    client.ask(delete(&topic, &[(0, -2)])).await;
}

async fn delete_of_an_unknown_topic(world: World) {
    world.client().await.ask(delete(&world.name("t"), &[(0, 0)])).await;
}

async fn delete_of_an_unknown_partition(world: World) {
    let mut client = world.client().await;
    let topic = with(&mut client, &[Batch::of(3)]).await;
    client.ask(delete(&topic, &[(1, 0)])).await;
    client.ask(delete(&topic, &[(-1, 0)])).await;
}

async fn delete_of_a_compacted_topic(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[("cleanup.policy", "compact")]).await;
    let keyed = Batch { records: 3, key: Some(b"k"), ..Batch::default() };
    client.prepare(produce(&topic, 0, -1, keyed.bytes())).await;
    client.ask(delete(&topic, &[(0, 2)])).await;
    let both = client.topic("u", 1, &[("cleanup.policy", "compact,delete")]).await;
    client.prepare(produce(&both, 0, -1, keyed.bytes())).await;
    client.ask(delete(&both, &[(0, 2)])).await;
}

async fn delete_of_two_partitions(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 2, &[]).await;
    for partition in [0, 1] {
        client.prepare(produce(&topic, partition, -1, Batch::of(3).bytes())).await;
    }
    let answer = client.prepare(delete(&topic, &[(0, 1), (1, 2)])).await;
    // Kafka's own order of them follows from how the topic's name hashes.
    let told = answer.topics.iter().flat_map(|topic| &topic.partitions);
    let mut told: Vec<_> = told.map(|p| (p.partition_index, p.low_watermark, p.error_code)).collect();
    told.sort_unstable();
    client.world.note("partitions", told);
}

async fn delete_in_an_old_version(world: World) {
    let mut client = world.client().await;
    let topic = with(&mut client, &[Batch::of(3)]).await;
    for (version, offset) in [(0, 1), (1, 2)] {
        client.ask_at(version, delete(&topic, &[(0, offset)])).await;
    }
}
