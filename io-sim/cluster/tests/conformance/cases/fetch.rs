//! Fetching: waits, limits, offsets, epochs, sessions.

use std::time::Duration;

use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::{DeleteRecordsRequest, FetchRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

use crate::batch::Batch;
use crate::client::{Client, World};
use crate::list;
use crate::requests::{fetch, fetch_of, fetched, produce};

list![
    at_once_when_there_is_data,
    nothing_waits_for_max_wait,
    no_wait_when_none_is_wanted,
    no_minimum_does_not_wait,
    waits_for_min_bytes,
    min_bytes_come_in_two_batches,
    a_parked_fetch_wakes,
    an_error_does_not_wait,
    an_unknown_partition_does_not_end_a_wait,
    from_the_middle_of_a_batch,
    partition_limit_below_the_first_batch,
    partition_limit_between_two_batches,
    request_limit_below_the_first_batch,
    request_limit_over_two_partitions,
    no_bytes_at_all,
    beyond_the_end,
    at_the_end,
    a_negative_offset,
    below_the_log_start,
    deleted_records_move_the_log_start,
    an_old_leader_epoch,
    a_future_leader_epoch,
    the_right_leader_epoch,
    last_fetched_epoch_before_the_end,
    last_fetched_epoch_at_the_end,
    last_fetched_epoch_beyond_the_end,
    a_future_last_fetched_epoch,
    an_old_version_has_no_last_fetched_epoch,
    read_committed,
    no_such_isolation,
    unknown_topic,
    unknown_partition,
    known_and_unknown_together,
    a_partition_twice,
    no_partitions,
    a_session_that_is_not_there,
    a_new_session,
    a_session_epoch_without_id,
    an_unknown_replica,
    old_versions,
];

async fn filled(client: &mut Client, batches: &[i32]) -> StrBytes {
    let topic = client.topic("t", 1, &[]).await;
    for records in batches {
        client.prepare(produce(&topic, 0, -1, Batch::of(*records).bytes())).await;
    }
    topic
}

fn delete(topic: &StrBytes, offset: i64) -> DeleteRecordsRequest {
    let partition = DeleteRecordsPartition::default().with_partition_index(0).with_offset(offset);
    let topic = DeleteRecordsTopic::default().with_name(TopicName(topic.clone()));
    DeleteRecordsRequest::default()
        .with_timeout_ms(5_000)
        .with_topics(vec![topic.with_partitions(vec![partition])])
}

const WAIT: Duration = Duration::from_millis(400);

fn patient(request: FetchRequest) -> FetchRequest {
    request.with_max_wait_ms(400)
}

async fn at_once_when_there_is_data(world: World) {
    let mut client = world.client().await;
    let topic = filled(&mut client, &[3, 2]).await;
    client.fetch(fetch(&topic, 0, 0).with_max_wait_ms(14_000)).await;
}

async fn nothing_waits_for_max_wait(world: World) {
    let mut client = world.client().await;
    let topic = filled(&mut client, &[3]).await;
    client.ask_timed(WAIT, patient(fetch(&topic, 0, 3))).await;
}

async fn no_wait_when_none_is_wanted(world: World) {
    let mut client = world.client().await;
    let topic = filled(&mut client, &[3]).await;
    client.ask(fetch(&topic, 0, 3).with_max_wait_ms(0)).await;
    client.ask(fetch(&topic, 0, 3).with_max_wait_ms(-1)).await;
}

async fn no_minimum_does_not_wait(world: World) {
    let mut client = world.client().await;
    let topic = filled(&mut client, &[3]).await;
    client.ask(fetch(&topic, 0, 3).with_min_bytes(0).with_max_wait_ms(14_000)).await;
}

async fn waits_for_min_bytes(world: World) {
    let mut client = world.client().await;
    let topic = filled(&mut client, &[1]).await;
    client.ask_timed(WAIT, patient(fetch(&topic, 0, 0)).with_min_bytes(10_000)).await;
}

async fn min_bytes_come_in_two_batches(world: World) {
    let mut client = world.client().await;
    let topic = filled(&mut client, &[1]).await;
    client.send(&fetch(&topic, 0, 0).with_min_bytes(200).with_max_wait_ms(14_000)).await;
    let mut other = world.client().await;
    other.prepare(produce(&topic, 0, -1, Batch::of(1).bytes())).await;
    client.stays_silent("one is too little", WAIT).await;
    other.prepare(produce(&topic, 0, -1, Batch::of(1).bytes())).await;
    client.receive::<FetchRequest>().await;
}

async fn a_parked_fetch_wakes(world: World) {
    let mut client = world.client().await;
    let topic = filled(&mut client, &[]).await;
    client.send(&fetch(&topic, 0, 0).with_max_wait_ms(14_000)).await;
    client.stays_silent("nothing is there", WAIT).await;
    world.client().await.prepare(produce(&topic, 0, 1, Batch::of(1).bytes())).await;
    client.receive::<FetchRequest>().await;
}

async fn an_error_does_not_wait(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 2, &[]).await;
    // Of one that is beyond the end, of one that is not there.
    for partitions in [vec![fetched(0, 0), fetched(1, 9)], vec![fetched(9, 0)]] {
        let begun = Instant::now();
        client.ask(fetch_of(&topic, partitions).with_max_wait_ms(14_000)).await;
        world.note("at once", begun.elapsed() < Duration::from_secs(10));
    }
}

async fn an_unknown_partition_does_not_end_a_wait(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 1, &[]).await;
    client.ask_timed(WAIT, patient(fetch_of(&topic, vec![fetched(0, 0), fetched(9, 0)]))).await;
}

async fn from_the_middle_of_a_batch(world: World) {
    let mut client = world.client().await;
    let topic = filled(&mut client, &[3, 3]).await;
    client.fetch(fetch(&topic, 0, 4)).await;
}

async fn partition_limit_below_the_first_batch(world: World) {
    let mut client = world.client().await;
    let topic = filled(&mut client, &[3, 3]).await;
    client.fetch(fetch_of(&topic, vec![fetched(0, 0).with_partition_max_bytes(1)])).await;
}

async fn partition_limit_between_two_batches(world: World) {
    let mut client = world.client().await;
    let topic = filled(&mut client, &[3, 3, 3]).await;
    let first = i32::try_from(Batch::of(3).bytes().len()).expect("short");
    for limit in [first * 2, first * 2 - 1, first * 2 + 1] {
        client.fetch(fetch_of(&topic, vec![fetched(0, 0).with_partition_max_bytes(limit)])).await;
    }
}

async fn request_limit_below_the_first_batch(world: World) {
    let mut client = world.client().await;
    let topic = filled(&mut client, &[3, 3]).await;
    client.fetch(fetch(&topic, 0, 0).with_max_bytes(1)).await;
}

async fn request_limit_over_two_partitions(world: World) {
    let mut client = world.client().await;
    let topic = client.topic("t", 2, &[]).await;
    for partition in [0, 0, 1, 1] {
        client.prepare(produce(&topic, partition, -1, Batch::of(3).bytes())).await;
    }
    let first = i32::try_from(Batch::of(3).bytes().len()).expect("short");
    for limit in [1, first * 2, first * 3, first * 3 + 1] {
        client.fetch(fetch_of(&topic, vec![fetched(0, 0), fetched(1, 0)]).with_max_bytes(limit)).await;
    }
}

async fn no_bytes_at_all(world: World) {
    let mut client = world.client().await;
    let topic = filled(&mut client, &[3]).await;
    client.fetch(fetch(&topic, 0, 0).with_max_bytes(0)).await;
    client.fetch(fetch_of(&topic, vec![fetched(0, 0).with_partition_max_bytes(0)])).await;
}

async fn beyond_the_end(world: World) {
    let mut client = world.client().await;
    let topic = filled(&mut client, &[3]).await;
    client.fetch(fetch(&topic, 0, 4)).await;
}

async fn at_the_end(world: World) {
    let mut client = world.client().await;
    let topic = filled(&mut client, &[3]).await;
    client.fetch(fetch(&topic, 0, 3)).await;
}

async fn a_negative_offset(world: World) {
    let mut client = world.client().await;
    let topic = filled(&mut client, &[3]).await;
    client.fetch(fetch(&topic, 0, -1)).await;
}

async fn below_the_log_start(world: World) {
    let mut client = world.client().await;
    let topic = filled(&mut client, &[3]).await;
    client.prepare(delete(&topic, 2)).await;
    client.fetch(fetch(&topic, 0, 1)).await;
}

async fn deleted_records_move_the_log_start(world: World) {
    let mut client = world.client().await;
    let topic = filled(&mut client, &[3, 3]).await;
    client.ask(delete(&topic, 4)).await;
    client.fetch(fetch(&topic, 0, 4)).await;
}

/// Fetches with the belief that the leader is of this epoch.
async fn believes(world: &World, epoch: i32) {
    let mut client = world.client().await;
    let topic = filled(&mut client, &[3]).await;
    client.fetch(fetch_of(&topic, vec![fetched(0, 0).with_current_leader_epoch(epoch)])).await;
}

async fn an_old_leader_epoch(world: World) {
    believes(&world, -2).await;
}

async fn a_future_leader_epoch(world: World) {
    believes(&world, 1).await;
}

async fn the_right_leader_epoch(world: World) {
    believes(&world, 0).await;
}

/// Fetches after a record of this epoch, of six records of epoch 0.
async fn has_fetched(world: &World, version: i16, epoch: i32, offset: i64) {
    let mut client = world.client().await;
    let topic = filled(&mut client, &[3, 3]).await;
    let partition = fetched(0, offset).with_last_fetched_epoch(epoch);
    client.ask_at(version, fetch_of(&topic, vec![partition])).await;
}

async fn last_fetched_epoch_before_the_end(world: World) {
    has_fetched(&world, 12, 0, 3).await;
}

async fn last_fetched_epoch_at_the_end(world: World) {
    has_fetched(&world, 12, 0, 6).await;
}

async fn last_fetched_epoch_beyond_the_end(world: World) {
    has_fetched(&world, 12, 0, 7).await;
}

async fn a_future_last_fetched_epoch(world: World) {
    has_fetched(&world, 12, 1, 3).await;
}

async fn an_old_version_has_no_last_fetched_epoch(world: World) {
    has_fetched(&world, 11, -1, 7).await;
}

async fn read_committed(world: World) {
    let mut client = world.client().await;
    let topic = filled(&mut client, &[3]).await;
    client.fetch(fetch(&topic, 0, 0).with_isolation_level(1)).await;
}

async fn no_such_isolation(world: World) {
    let mut client = world.client().await;
    let topic = filled(&mut client, &[3]).await;
    client.send(&fetch(&topic, 0, 0).with_isolation_level(2)).await;
    let answered = client.frame().await.is_some();
    world.note("answered", answered);
}

async fn unknown_topic(world: World) {
    world.client().await.fetch(fetch(&world.name("t"), 0, 0)).await;
}

async fn unknown_partition(world: World) {
    let mut client = world.client().await;
    let topic = filled(&mut client, &[3]).await;
    client.fetch(fetch(&topic, 1, 0)).await;
    client.fetch(fetch(&topic, -1, 0)).await;
}

async fn known_and_unknown_together(world: World) {
    let mut client = world.client().await;
    let topic = filled(&mut client, &[3]).await;
    client.fetch(fetch_of(&topic, vec![fetched(0, 0), fetched(1, 0)])).await;
}

async fn a_partition_twice(world: World) {
    let mut client = world.client().await;
    let topic = filled(&mut client, &[3, 3]).await;
    client.fetch(fetch_of(&topic, vec![fetched(0, 0), fetched(0, 4)])).await;
}

async fn no_partitions(world: World) {
    let mut client = world.client().await;
    client.fetch(fetch_of(&world.name("t"), Vec::new()).with_max_wait_ms(0)).await;
}

async fn a_session_that_is_not_there(world: World) {
    let mut client = world.client().await;
    let topic = filled(&mut client, &[3]).await;
    client.fetch(fetch(&topic, 0, 0).with_session_id(987_654).with_session_epoch(1)).await;
}

async fn a_new_session(world: World) {
    let mut client = world.client().await;
    let topic = filled(&mut client, &[3]).await;
    client.fetch(fetch(&topic, 0, 0).with_session_epoch(0)).await;
}

async fn a_session_epoch_without_id(world: World) {
    let mut client = world.client().await;
    let topic = filled(&mut client, &[3]).await;
    client.fetch(fetch(&topic, 0, 0).with_session_epoch(1)).await;
}

async fn an_unknown_replica(world: World) {
    let mut client = world.client().await;
    let topic = filled(&mut client, &[3]).await;
    client.fetch(fetch(&topic, 0, 0).with_replica_id(99.into())).await;
}

async fn old_versions(world: World) {
    let mut client = world.client().await;
    let topic = filled(&mut client, &[3]).await;
    for version in [4, 5, 7, 9, 11] {
        client.ask_at(version, fetch(&topic, 0, 0)).await;
    }
}
