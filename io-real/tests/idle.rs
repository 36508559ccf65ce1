//! How soon an idle bus delivers, and how soon it stops: on a real Apache Kafka, in a program of its own, since a bus
//! beside other tests is not idle.

#![allow(clippy::print_stdout, reason = "figures are worth reading")]

#[path = "bus/offsets.rs"]
#[allow(dead_code, reason = "shared with the tests of the bus, which use more of it")]
mod offsets;
mod support;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use evenkeel::{Bus, Event, HandlerError, Kafka, Topic};

use self::offsets::Offsets;
use self::support::services;

/// Longer than anything here takes; what is not done by then is broken.
const SOON: Duration = Duration::from_secs(60);
const ROUNDS: usize = 7;
const EVENTS: u64 = 21;

/// A round: each event's way from `produce` to its handler, and a clean stop.
async fn round() -> (Vec<Duration>, Duration) {
    let kafka = Kafka::new([services::kafka()]);
    let bus = Bus::builder("tests").kafka(kafka).open().await.expect("Kafka answers");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_nanos();
    let name: &'static str = format!("idle-{now}").leak();
    let topic: Topic<u64> = Topic::new(name);
    bus.ensure_topic(topic, 1, []).await.expect("the topic can be created");
    let (arrived, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
    let handler = move |event: Event<u64>| {
        let told = arrived.send((event.payload, Instant::now()));
        async move { told.map_err(HandlerError::permanent) }
    };
    bus.consume(topic).group(name).idempotent("tell", handler).expect("legal");
    let running = bus.start().await.expect("partitions come");
    let mut waits = Vec::new();
    for n in 0..EVENTS {
        let begun = Instant::now();
        bus.produce(topic.event(n, &n)).await.expect("Kafka takes it");
        let (came, at) = tokio::time::timeout(SOON, arrivals.recv()).await.expect("it comes").expect("open");
        assert_eq!(came, n);
        waits.push(at.duration_since(begun));
    }
    // Idle means that the commit of the last event is not out any more either.
    Offsets::of(name).await.until_committed(name, EVENTS as i64).await;
    let begun = Instant::now();
    assert!(running.shutdown().await.is_clean());
    (waits, begun.elapsed())
}

fn median(mut figures: Vec<Duration>) -> Duration {
    figures.sort_unstable();
    figures[figures.len() / 2]
}

/// Of several rounds the quietest counts for the delivery: a neighbour on the machine slows whole rounds, while a bus
/// that waits where it should not does so in all of them.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_bus_delivers_within_5_ms_and_stops_within_100() {
    let (mut p50s, mut stops) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (waits, stop) = round().await;
        p50s.push(median(waits));
        stops.push(stop);
    }
    println!("produce to handler: p50 {p50s:?}; clean stop: {stops:?}");
    assert!(p50s.iter().min() < Some(&Duration::from_millis(5)), "produce to handler: p50 {p50s:?}");
    assert!(median(stops.clone()) < Duration::from_millis(100), "clean stops took {stops:?}");
}
