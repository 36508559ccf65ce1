//! Producing: acknowledgements, sequences, limits, batches that are wrong.

use kafka_protocol::messages::InitProducerIdRequest;

use crate::batch::Batch;
use crate::client::{Client, World};
use crate::list;
use crate::requests::{LATEST, fetch, list_offsets, produce};

list![
    acks_one,
    acks_all,
    acks_none,
    acks_that_do_not_exist,
    unknown_topic,
    unknown_partition,
    negative_partition,
    a_batch_again,
    a_gap,
    an_older_batch_again,
    an_old_epoch,
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
