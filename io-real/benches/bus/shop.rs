//! What all parts share: the event, its topics, and the same records for the bare client.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use evenkeel::{Bus, Kafka, Topic};
use evenkeel_core::machine::Entropy;
use evenkeel_core::ports::Database;
use rskafka::chrono::DateTime;
use rskafka::client::ClientBuilder;
use rskafka::client::partition::{Compression, PartitionClient, UnknownTopicHandling};
use rskafka::record::Record;
use serde::{Deserialize, Serialize};

use crate::measure::{Counter, Sample};
use crate::{Anyhow, services};

pub(crate) const PARTITIONS: u32 = 4;
/// How many records go in one call.
pub(crate) const CALL: u32 = 1_000;
const KEYS: u32 = 5_000;

/// About a hundred bytes of JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) number: u64,
    pub(crate) customer: u64,
    cents: u64,
    note: String,
}

impl Order {
    pub(crate) fn nth(n: u32) -> Self {
        Self {
            number: n.into(),
            customer: (n % KEYS).into(),
            cents: u64::from(n) * 7 % 100_000,
            note: "leave it with the neighbours, please!".into(),
        }
    }
}

pub(crate) async fn bus() -> Result<Bus, Anyhow> {
    Ok(Bus::builder("bench").kafka(Kafka::new([services::kafka()])).open().await?)
}

/// A name that no earlier run has used.
pub(crate) fn fresh(name: &str) -> Result<&'static str, Anyhow> {
    Ok(format!("bench-{name}-{}", SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos()).leak())
}

/// An empty topic.
pub(crate) async fn topic(bus: &Bus, name: &str) -> Result<Topic<Order>, Anyhow> {
    let name = fresh(name)?;
    bus.ensure_topic(name, PARTITIONS, []).await?;
    Ok(Topic::new(name))
}

/// A topic with so many events in it.
pub(crate) async fn filled_topic(bus: &Bus, name: &str, events: u32) -> Result<Topic<Order>, Anyhow> {
    let topic = topic(bus, name).await?;
    for start in (0..events).step_by(CALL as usize) {
        let orders: Vec<Order> = (start..events.min(start + CALL)).map(Order::nth).collect();
        bus.produce(orders.iter().map(|order| topic.event(order.customer, order))).await?;
    }
    Ok(topic)
}

/// rskafka's clients of a topic's partitions.
pub(crate) async fn bare_partitions(topic: &str) -> Result<Vec<PartitionClient>, Anyhow> {
    let client = ClientBuilder::new(vec![services::kafka().to_owned()]).build().await?;
    let mut partitions = Vec::new();
    for partition in 0..i32::try_from(PARTITIONS)? {
        partitions.push(client.partition_client(topic, partition, UnknownTopicHandling::Retry).await?);
    }
    Ok(partitions)
}

/// The record that the bus writes for this order, but for its id, its time and its type, which are ready made.
pub(crate) fn bare_record(order: &Order) -> Result<Record, Anyhow> {
    let key = order.customer.to_string().into_bytes();
    let headers: [(&str, &[u8]); 7] = [
        ("ce_specversion", b"1.0"),
        ("ce_type", b"bench-orders-1795478400000000000"),
        ("ce_source", b"bench"),
        ("ce_id", b"019aaf3e-2f63-7c3a-9b1d-3f6d0c9e8a77"),
        ("ce_subject", &key),
        ("ce_time", b"2026-11-24T00:00:00.000000Z"),
        ("content-type", b"application/json"),
    ];
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let timestamp =
        DateTime::from_timestamp_millis(i64::try_from(now)?).ok_or("the clock is out of range")?;
    let headers: BTreeMap<_, _> =
        headers.into_iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
    Ok(Record { key: Some(key), value: Some(serde_json::to_vec(order)?), headers, timestamp })
}

/// Sends records as they are.
pub(crate) async fn bare_produce(to: &PartitionClient, records: Vec<Record>) -> Result<(), Anyhow> {
    to.produce(records, Compression::NoCompression).await?;
    Ok(())
}

/// Runs `tasks` of one kind side by side until all have ended.
pub(crate) async fn side_by_side<F>(tasks: u32, task: impl Fn(u32) -> F) -> Result<(), Anyhow>
where
    F: Future<Output = Result<(), Anyhow>> + Send + 'static,
{
    let running: Vec<_> = (0..tasks).map(|nth| tokio::spawn(task(nth))).collect();
    for task in running {
        task.await??;
    }
    Ok(())
}

/// From before the group is joined until the last event is committed, on both sides, and the group is left.
pub(crate) async fn settle<D: Database>(
    bus: Bus<D>,
    handled: &Counter,
    events: u32,
) -> Result<Sample, Anyhow> {
    handled.expect(events);
    Sample::of(events, async {
        let running = bus.start().await?;
        handled.all().await;
        if running.shutdown().await.is_clean() { Ok(()) } else { Err("the bus did not come to rest".into()) }
    })
    .await
}

/// A number that no event had before, and a claim's key made from it: as scattered as a digest.
pub(crate) fn scattered() -> (i64, [u8; 32]) {
    static USED: AtomicU64 = AtomicU64::new(1);
    let n = USED.fetch_add(1, Ordering::Relaxed);
    let mut entropy = Entropy::new(n);
    let mut key = [0; 32];
    for part in key.chunks_exact_mut(8) {
        part.copy_from_slice(&entropy.next_u64().to_be_bytes());
    }
    (n as i64, key)
}
