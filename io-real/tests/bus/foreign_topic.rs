//! A topic that Kafka's own client wrote, with everything in it that this library never writes.
//!
//! `foreign/WriteTopic.java` fills one partition: records of committed and of aborted transactions (one inside of the
//! other, and both by one producer), their markers, all codecs, null keys, null values, null and repeated headers, and
//! times of the producer's own on a topic that keeps the broker's. Handlers see the committed records, each once and in
//! order, with the broker's time. The group commits up to the log's end, over aborted records and markers that no
//! handler ever sees, and a restart delivers nothing again.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use evenkeel::{Event, HandlerError, Ordering, Tombstones, Topic};

use super::offsets::Offsets;
use super::support::services;
use super::tools::{lags, tool};
use super::{bus, fresh};

type Profile = Option<u64>;
type Profiles = Topic<Profile, Tombstones>;
/// A header's name and value.
type HeaderText = (&'static str, Option<&'static str>);

/// A record as a handler sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    offset: i64,
    millis: i64,
    key: Option<&'static str>,
    payload: Profile,
    headers: Vec<HeaderText>,
    id: String,
}

fn text(bytes: &[u8]) -> &'static str {
    String::from_utf8_lossy(bytes).into_owned().leak()
}

impl Seen {
    fn of(event: &Event<Profile>) -> Self {
        if event.header("time").is_none() {
            assert_eq!(event.timestamp(), event.record_timestamp(), "it happened when the broker wrote it");
        }
        Self {
            offset: event.offset().0,
            millis: event.record_timestamp().as_millis(),
            key: event.key().map(text),
            payload: event.payload,
            headers: event.headers().map(|(name, value)| (text(name.as_bytes()), value.map(text))).collect(),
            id: event.id().to_owned(),
        }
    }
}

/// What the records of these names hold.
fn content(name: &str) -> (Option<&'static str>, Profile, Vec<HeaderText>) {
    match name {
        "plain" => (Some("a"), Some(1), vec![("content-type", Some("application/json"))]),
        "null-header" => {
            (Some("b"), Some(2), vec![("trace", Some("x")), ("trace", None), ("empty", Some(""))])
        }
        "null-key" => (None, Some(3), vec![]),
        "null-value" => (Some("c"), None, vec![]),
        "all-null" => (None, None, vec![("id", None)]),
        "packed" => (Some("e"), Some(4), vec![]),
        other => panic!("WriteTopic says {other:?}, of which nothing is known here"),
    }
}

/// Has Kafka's client write the topic. Answers what handlers are to see, and where the log ends.
fn write(topic: &str) -> (Vec<Seen>, i64) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bus/foreign/WriteTopic.java");
    let source = source.to_str().expect("the path is UTF-8");
    let told = tool(source, &[services::kafka(), topic]);
    let (mut seen, mut end) = (Vec::new(), None);
    for line in told.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |word: &str| word.parse::<i64>().expect("a number");
        match words[..] {
            ["end", offset] => end = Some(number(offset)),
            [name, offset, millis] => {
                let (offset, millis) = (number(offset), number(millis));
                let (key, payload, headers) = content(name);
                let id = format!("{topic}/0/{offset}/{millis}");
                seen.push(Seen { offset, millis, key, payload, headers, id });
            }
            _ => panic!("WriteTopic says {line:?}"),
        }
    }
    (seen, end.expect("WriteTopic tells the end"))
}

/// Handles the topic until `end` is committed, stops, and answers what came.
async fn run(topic: Profiles, name: &str, group: &str, end: i64) -> Vec<Seen> {
    let bus = bus().await;
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let note = Arc::clone(&seen);
    let handler = move |event: Event<Profile>| {
        note.lock().expect("unpoisoned").push(Seen::of(&event));
        async { Ok::<_, HandlerError>(()) }
    };
    let subscription = bus.consume(topic).group(group);
    subscription.ordering(Ordering::Partition).idempotent("note", handler).expect("legal");
    let running = bus.start().await.expect("partitions come");
    Offsets::of(group).await.until_committed(name, end).await;
    assert!(running.shutdown().await.is_clean());
    let seen = seen.lock().expect("unpoisoned");
    seen.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_written_by_kafkas_own_client_is_read_right() {
    let name: &'static str = fresh("foreign").leak();
    let brokers_time = [("message.timestamp.type", "LogAppendTime")];
    bus().await.ensure_topic(name, 1, brokers_time).await.expect("the topic can be created");
    let topic: Profiles = Topic::new(name).with_tombstones().assume_content_type("application/json");
    let begun = millis_now();
    let (expected, end) = tokio::task::block_in_place(|| write(name));
    let written = begun..=millis_now();
    assert_eq!(expected.len(), 6);
    assert!(expected.iter().all(|seen| written.contains(&seen.millis)), "{written:?}: {expected:?}");
    assert_eq!(end, 15, "six committed records, four aborted ones, and five markers");

    let group = fresh("foreign");
    assert_eq!(run(topic, name, &group, end).await, expected);
    assert_eq!(lags(&group), ["0"], "the markers at the end of the log count as read");

    // One more record tells that the second life reached the end of the log, past all that was there before.
    bus().await.produce(topic.event("f", &5)).await.expect("Kafka takes it");
    let again = run(topic, name, &group, end + 1).await;
    assert_eq!(again.iter().map(|seen| (seen.offset, seen.payload)).collect::<Vec<_>>(), [(end, Some(5))]);
}

fn millis_now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    i64::try_from(now.as_millis()).expect("this millennium")
}
