//! What one event costs to read and to write: 100 bytes of JSON, 8 headers. Wall time, for reporting only.
//!
//! `cargo bench -p evenkeel-core --bench cloudevents`

#![allow(
    clippy::print_stdout,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a bench reads the clock"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use evenkeel_core::machine::Entropy;
use evenkeel_core::model::{
    Arrival, Attempt, GroupName, Offset, PartitionId, Record, Route, Topic, TopicName, WallTime, cloudevents,
};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    order: u64,
    customer: String,
    total_cents: u64,
    note: String,
}

const ORDERS: Topic<OrderPlaced> = Topic::new("shop.orders.v1");
const ROUNDS: u32 = 1_000;
const RUNS: usize = 1_000;

/// The fastest of several runs: what the machine's other work adds is no property of the code.
fn report(what: &str, mut once: impl FnMut()) {
    let mut best = Duration::MAX;
    for _ in 0..RUNS {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            once();
        }
        best = best.min(start.elapsed());
    }
    println!("{what}: {} ns/event", best.as_nanos() / u128::from(ROUNDS));
}

fn main() {
    let order = OrderPlaced {
        order: 1_234_567,
        customer: "customer-4711".to_owned(),
        total_cents: 129_900,
        note: "leave at the back door".to_owned(),
    };
    let now = WallTime(1_700_000_000_123_456);
    let mut entropy = Entropy::new(1);
    let mut write =
        || cloudevents::encode(ORDERS.event("order-1234567", &order), now, &mut entropy, "checkout").unwrap();
    let record = write();
    let json = record.value.clone().unwrap();
    println!("{} bytes of JSON, {} headers", json.len(), record.headers.len());

    let topic = TopicName::new("shop.orders.v1").unwrap();
    let route = Arc::new(Route {
        topic: topic.clone(),
        base_topic: topic,
        group: GroupName::new("billing").unwrap(),
        handler: "charge-card".into(),
    });
    let arrival = Arrival::of(
        PartitionId(0),
        Record {
            offset: Offset(17),
            timestamp: now,
            key: record.key,
            value: record.value,
            headers: record.headers,
        },
    );
    report("encode", || drop(black_box(write())));
    report("decode", || {
        drop(black_box(cloudevents::decode(&ORDERS, &route, black_box(arrival.clone()), Attempt::FIRST)));
    });
    report("of which serde_json", || {
        drop(black_box(serde_json::from_slice::<OrderPlaced>(black_box(&json))))
    });
    let Ok(cloudevents::Decoded::Event(event)) =
        cloudevents::decode(&ORDERS, &route, arrival.clone(), Attempt::FIRST)
    else {
        panic!("the event does not decode");
    };
    report("claim key", || {
        black_box(event.claim_key());
    });
}
