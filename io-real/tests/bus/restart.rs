//! A clean stop repeats nothing: every settled event of every topic of the group is committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use evenkeel::{Event, HandlerError, Topic};

use super::tools::lags;
use super::{bus, fresh, topic, until};

/// Handles the group's two topics until `wanted` events came or the group is at rest, stops, and answers how many came.
async fn run(topics: [Topic<u64>; 2], group: &str, wanted: u64) -> u64 {
    let bus = bus().await;
    let handled = Arc::new(AtomicU64::new(0));
    for topic in topics {
        let handled = Arc::clone(&handled);
        let count = move |_: Event<u64>| {
            let handled = Arc::clone(&handled);
            async move {
                handled.fetch_add(1, Ordering::Relaxed);
                Ok::<_, HandlerError>(())
            }
        };
        bus.consume(topic).group(group).idempotent("count", count).expect("a legal registration");
    }
    let running = bus.start().await.expect("partitions come");
    until("all events are handled", || handled.load(Ordering::Relaxed) >= wanted).await;
    assert!(running.shutdown().await.is_clean());
    handled.load(Ordering::Relaxed)
}

/// Two topics with the same partition numbers: commits kept by partition number alone would lose one of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_clean_restart_of_a_group_of_two_topics_delivers_nothing_again() {
    for round in 0..5 {
        let bus = bus().await;
        let topics = [topic::<u64>(&bus, 4).await, topic::<u64>(&bus, 4).await];
        let group = fresh("restart");
        for topic in topics {
            bus.produce((0..1_000).map(|n| topic.event(n % 97, &n))).await.expect("Kafka takes them");
        }
        assert_eq!(run(topics, &group, 2_000).await, 2_000, "round {round}");
        assert_eq!(lags(&group), vec!["0"; 8], "round {round}");

        // A third event tells that the second life reached the end of the log, past all that was there before.
        let marker = topics[0].event(0, &1_000);
        bus.produce(marker).await.expect("Kafka takes it");
        assert_eq!(run(topics, &group, 1).await, 1, "round {round}: something was delivered again");
    }
}
