//! Producing, beside rskafka alone.

use std::sync::Arc;
use std::time::Instant;

use crate::Anyhow;
use crate::measure::{Goal, Sample, Weight, compare, median, verdict};
use crate::shop::{
    CALL, Order, PARTITIONS, bare_partitions, bare_produce, bare_record, bus, side_by_side, topic,
};

const ROUNDS: usize = 5;
const EVENTS: u32 = 240_000;
/// Calls under way: three for each partition.
const CALLERS: u32 = 3 * PARTITIONS;
const SINGLES: u32 = 1_000;

pub(crate) async fn measure() -> Result<bool, Anyhow> {
    let bus = bus().await?;
    let (ours_to, bare_to) = (topic(&bus, "produce-ours").await?, topic(&bus, "produce-bare").await?);
    let bare = Arc::new(bare_partitions(bare_to.name()?.as_str()).await?);
    let calls = EVENTS / CALL / CALLERS;

    let ours = async || {
        let work = side_by_side(CALLERS, |caller| {
            let bus = bus.clone();
            async move {
                for call in 0..calls {
                    let first = (caller * calls + call) * CALL;
                    let orders: Vec<Order> = (first..first + CALL).map(Order::nth).collect();
                    bus.produce(orders.iter().map(|order| ours_to.event(order.customer, order))).await?;
                }
                Ok(())
            }
        });
        Sample::of(EVENTS, work).await
    };
    let peer = async || {
        let work = side_by_side(CALLERS, |caller| {
            let bare = Arc::clone(&bare);
            async move {
                for call in 0..calls {
                    let first = (caller * calls + call) * CALL;
                    let records: Result<_, Anyhow> =
                        (first..first + CALL).map(Order::nth).map(|order| bare_record(&order)).collect();
                    bare_produce(&bare[(caller % PARTITIONS) as usize], records?).await?;
                }
                Ok(())
            }
        });
        Sample::of(EVENTS, work).await
    };
    let aim = (Weight::Aim, Goal::Rate(100_000));
    let passed = compare("produce, 1000 a call, 12 calls at once", aim, ROUNDS, ours, peer).await?;

    let mut waits = Vec::new();
    let mut bare_waits = Vec::new();
    for n in 0..SINGLES {
        let order = Order::nth(n);
        let begun = Instant::now();
        bus.produce(ours_to.event(order.customer, &order)).await?;
        waits.push(begun.elapsed().as_secs_f64() * 1e3);
        let begun = Instant::now();
        bare_produce(&bare[(n % PARTITIONS) as usize], vec![bare_record(&order)?]).await?;
        bare_waits.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let p50 = median(waits);
    println!(
        "produce, one at a time: p50 {p50:.2} ms; rskafka alone {:.2} ms  {} (under 2 ms)",
        median(bare_waits),
        verdict(p50 < 2.0),
    );
    Ok(passed)
}
