//! Consuming, beside rskafka's fetch alone. Ours is measured from before the group is joined.

use std::num::NonZeroUsize;
use std::sync::Arc;

use evenkeel::{Bus, Event, HandlerError, Topic};

use crate::Anyhow;
use crate::measure::{Counter, Goal, Sample, Weight, compare};
use crate::shop::{Order, PARTITIONS, bare_partitions, bus, filled_topic, fresh, side_by_side};

const ROUNDS: usize = 5;
const EVENTS: u32 = 400_000;
const BATCH: NonZeroUsize = NonZeroUsize::new(500).expect("five hundred is not zero");
/// What one fetch of the bare client may bring, and how long it may wait, in milliseconds.
const BARE_BYTES: std::ops::Range<i32> = 1..1_048_576;
const BARE_WAIT: i32 = 500;

static HANDLED: Counter = Counter::new();

pub(crate) async fn measure() -> Result<bool, Anyhow> {
    let topic = filled_topic(&bus().await?, "consume", EVENTS).await?;
    let singles = async || {
        let bus = bus().await?;
        bus.consume(topic).group(fresh("group")?).idempotent("count", async |_: Event<Order>| {
            HANDLED.add(1);
            Ok::<_, HandlerError>(())
        })?;
        until_all(bus).await
    };
    let batches = async || {
        let bus = bus().await?;
        bus.consume(topic).group(fresh("group")?).batch(BATCH).idempotent_batch(
            "count",
            async |orders: Vec<Event<Order>>| {
                HANDLED.add(orders.len() as u32);
                Ok::<_, HandlerError>(())
            },
        )?;
        until_all(bus).await
    };
    let gate = (Weight::Gate, Goal::Rate(163_000));
    let passed = compare("consume, no-op handler", gate, ROUNDS, singles, || bare(topic)).await?;
    let aim = (Weight::Aim, Goal::Rate(300_000));
    Ok(compare("consume, no-op handler of batches of 500", aim, ROUNDS, batches, || bare(topic)).await?
        && passed)
}

async fn until_all(bus: Bus) -> Result<Sample, Anyhow> {
    HANDLED.expect(EVENTS);
    let mut running = None;
    let sample = Sample::of(EVENTS, async {
        running = Some(bus.start().await?);
        HANDLED.all().await;
        Ok(())
    })
    .await?;
    if let Some(running) = running {
        let left = running.shutdown().await;
        assert!(left.is_clean(), "{left:?}");
    }
    Ok(sample)
}

/// rskafka reads every partition to its end, and that is all.
async fn bare(topic: Topic<Order>) -> Result<Sample, Anyhow> {
    let partitions = Arc::new(bare_partitions(topic.name()?.as_str()).await?);
    let work = side_by_side(PARTITIONS, |nth| {
        let partitions = Arc::clone(&partitions);
        async move {
            let mut next = 0;
            loop {
                let (records, end) =
                    partitions[nth as usize].fetch_records(next, BARE_BYTES, BARE_WAIT).await?;
                next = records.last().map_or(end, |last| last.offset + 1);
                if next >= end {
                    return Ok(());
                }
            }
        }
    });
    Sample::of(EVENTS, work).await
}
