//! Events on their way from `produce` to handlers.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel::{Event, HandlerError, OnFailure, RetryPolicy};

use super::{bus, fresh, topic, until};

/// What a handler saw, in order.
type Seen<T> = Arc<Mutex<Vec<T>>>;

fn noting<T: Send + 'static>(seen: &Seen<T>, what: T) {
    seen.lock().expect("no handler panics with the lock held").push(what);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_key_come_in_order_and_all_of_them_come() {
    let bus = bus().await;
    let topic = topic::<(u64, u64)>(&bus, 4).await;
    let seen: Seen<(u64, u64)> = Arc::default();
    let note = Arc::clone(&seen);
    let handler = move |event: Event<(u64, u64)>| {
        let note = Arc::clone(&note);
        async move {
            // Yields a different number of times, so that order is not an accident.
            for _ in 0..event.payload.1 % 3 {
                tokio::task::yield_now().await;
            }
            noting(&note, event.payload);
            Ok::<_, HandlerError>(())
        }
    };
    bus.consume(topic).group(&fresh("order")).idempotent("note", handler).expect("legal");
    let running = bus.start().await.expect("partitions come");
    let events = (0..3_000_u64).map(|n| topic.event(n % 50, &(n % 50, n / 50)));
    let produced = bus.produce(events).await.expect("Kafka takes them");
    assert_eq!(produced.len(), 3_000);
    until("all events are handled", || seen.lock().expect("unpoisoned").len() >= 3_000).await;
    assert!(running.shutdown().await.is_clean());
    let mut next: BTreeMap<u64, u64> = BTreeMap::new();
    for (key, nth) in seen.lock().expect("unpoisoned").iter() {
        let expected = next.entry(*key).or_default();
        assert_eq!(nth, expected, "key {key}");
        *expected += 1;
    }
    assert!(next.len() == 50 && next.values().all(|count| *count == 60));
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_json_in_the_middle_of_a_batch_goes_by_its_policy_and_the_rest_go_on() {
    let bus = bus().await;
    let topic = topic::<u64>(&bus, 1).await;
    let group = fresh("poison");
    let mut events: Vec<_> = (0..20_u64).map(|n| topic.event(n, &n)).collect();
    events.insert(10, topic.raw("application/json", "{ this is no number").key("poison"));
    bus.produce(events).await.expect("Kafka takes them");
    let seen: Seen<u64> = Arc::default();
    let note = Arc::clone(&seen);
    let handler = move |event: Event<u64>| {
        noting(&note, event.payload);
        async { Ok::<_, HandlerError>(()) }
    };
    bus.consume(topic)
        .group(&group)
        .on_failure(OnFailure::Discard)
        .idempotent("note", handler)
        .expect("legal");
    let discarded: Seen<String> = Arc::default();
    let note = Arc::clone(&discarded);
    bus.observe(move |_, news| {
        if let evenkeel::News::Notice(notice @ evenkeel::Notice::Discarded { .. }) = news {
            noting(&note, format!("{notice:?}"));
        }
    });
    let running = bus.start().await.expect("partitions come");
    until("the rest is handled", || seen.lock().expect("unpoisoned").len() >= 20).await;
    until("the poison is discarded", || discarded.lock().expect("unpoisoned").len() == 1).await;
    assert!(running.shutdown().await.is_clean());
    let notice = discarded.lock().expect("unpoisoned").join("\n");
    assert!(notice.contains("Offset(10)") && notice.contains("Undecodable"), "{notice}");
    let mut seen = seen.lock().expect("unpoisoned").clone();
    seen.sort_unstable();
    assert_eq!(seen, (0..20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_event_is_retried_and_a_panic_counts_as_a_failure() {
    let bus = bus().await;
    let topic = topic::<u64>(&bus, 1).await;
    let attempts: Seen<(u64, u32)> = Arc::default();
    let note = Arc::clone(&attempts);
    let handler = move |event: Event<u64>| {
        let attempt = event.attempt().get();
        noting(&note, (event.payload, attempt));
        async move {
            match (event.payload, attempt) {
                (1, 1) => Err(HandlerError::retry("not yet")),
                (2, 1) => panic!("as planned by the test"),
                _ => Ok(()),
            }
        }
    };
    let quick = RetryPolicy {
        backoff: evenkeel::Backoff {
            first: Duration::from_millis(20),
            longest: Duration::from_millis(20),
            jitter_percent: 0,
        },
        max_attempts: NonZeroU32::new(3),
        ..OnFailure::Discard.default_retries()
    };
    let group = fresh("retry");
    let subscription = bus.consume(topic).group(&group);
    subscription.on_failure(OnFailure::Discard).retry(quick).idempotent("note", handler).expect("legal");
    let running = bus.start().await.expect("partitions come");
    bus.produce((0..4_u64).map(|n| topic.event(n, &n))).await.expect("Kafka takes them");
    until("six calls", || attempts.lock().expect("unpoisoned").len() >= 6).await;
    assert!(running.shutdown().await.is_clean());
    let mut attempts = attempts.lock().expect("unpoisoned").clone();
    attempts.sort_unstable();
    assert_eq!(attempts, [(0, 1), (1, 1), (1, 2), (2, 1), (2, 2), (3, 1)]);
}
