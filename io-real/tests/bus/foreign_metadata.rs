//! A group whose offsets someone else committed, with notes in the metadata that are not this library's.
//!
//! The string beside a committed offset belongs to whoever commits. Here it is text, ours with a character changed, ours
//! broken off, as much noise as the broker takes, and one of ours that was copied to another offset. The bus begins at the
//! committed offset, warns once, delivers everything from there, and commits on: notes that cannot be trusted cost
//! redeliveries at most, and never skip an event. One string of our own, made by the library, shows that notes do count.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use evenkeel::{Event, HandlerError, News, Notice, Ordering, Topic};
use evenkeel_core::machine::commit::{Fingerprint, MetadataLimit, SettledSet};
use evenkeel_core::model::Offset;

use super::offsets::Offsets;
use super::tools::lags;
use super::{bus, fresh, topic};

const HANDLER: &str = "note";
const EVENTS: i64 = 20;
/// Where someone else left the group.
const COMMITTED: i64 = 7;
/// What our own notes say is settled.
const SETTLED: std::ops::Range<i64> = 9..12;

/// What was found beside the committed offset of one topic, and what is to be made of it.
struct Case {
    metadata: String,
    warning: Option<&'static str>,
    delivered: Vec<i64>,
}

/// The library's own notes at a committed offset.
fn ours(committed: i64) -> String {
    let runs = [Offset(SETTLED.start)..Offset(SETTLED.end)];
    let settled = SettledSet::new(Offset(committed), runs);
    settled.encode(Fingerprint::of([HANDLER]), MetadataLimit::DEFAULT).as_ref().to_owned()
}

/// Printable characters in no order.
fn noise(length: usize) -> String {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'!' + (state >> 24) as u8 % 94)
    };
    (0..length).map(|_| next()).collect()
}

fn cases() -> Vec<Case> {
    let untrusted = |metadata: String, warning| Case {
        metadata,
        warning: Some(warning),
        delivered: (COMMITTED..EVENTS).collect(),
    };
    let mut changed = ours(COMMITTED).into_bytes();
    let middle = changed.len() / 2;
    changed[middle] = if changed[middle] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).expect("base64 is ASCII");
    let mut broken_off = ours(COMMITTED);
    broken_off.truncate(middle / 4 * 4 + 1);
    let all_but_settled = (COMMITTED..EVENTS).filter(|offset| !SETTLED.contains(offset));
    vec![
        untrusted("set back by hand, ask Ada".to_owned(), "written by another program"),
        untrusted(changed, "damaged"),
        untrusted(broken_off, "written by another program"),
        untrusted(noise(MetadataLimit::DEFAULT.characters()), "written by another program"),
        untrusted(ours(COMMITTED - 4), "written for offset 3, but the commit is at 7"),
        Case { metadata: ours(COMMITTED), warning: None, delivered: all_but_settled.collect() },
    ]
}

/// By topic: the offsets that came, and the warnings.
type Diary = BTreeMap<String, (Vec<i64>, Vec<String>)>;

/// Handles the topics until all is committed up to `end`, stops, and answers what happened.
async fn run(topics: &[(&'static str, Topic<i64>)], group: &str, end: i64) -> Diary {
    let bus = bus().await;
    let diary: Arc<Mutex<Diary>> = Arc::default();
    for &(name, topic) in topics {
        let note = Arc::clone(&diary);
        let handler = move |event: Event<i64>| {
            let mut diary = note.lock().expect("unpoisoned");
            diary.entry(name.to_owned()).or_default().0.push(event.offset().0);
            async { Ok::<_, HandlerError>(()) }
        };
        let subscription = bus.consume(topic).group(group);
        subscription.ordering(Ordering::Partition).idempotent(HANDLER, handler).expect("legal");
    }
    let note = Arc::clone(&diary);
    bus.observe(move |_, news| {
        if let News::Notice(Notice::MetadataIgnored { at, reason }) = news {
            let mut diary = note.lock().expect("unpoisoned");
            diary.entry(at.topic.as_str().to_owned()).or_default().1.push(reason.to_string());
        }
    });
    let running = bus.start().await.expect("partitions come");
    let offsets = Offsets::of(group).await;
    for (name, _) in topics {
        offsets.until_committed(name, end).await;
    }
    assert!(running.shutdown().await.is_clean());
    std::mem::take(&mut *diary.lock().expect("unpoisoned"))
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_and_damaged_metadata_skips_nothing() {
    let producer = bus().await;
    let group = fresh("metadata");
    let offsets = Offsets::of(&group).await;
    let cases = cases();
    let mut topics = Vec::new();
    for case in &cases {
        let topic = topic::<i64>(&producer, 1).await;
        let name: &'static str = topic.name().expect("legal").as_str().to_owned().leak();
        producer.produce((0..EVENTS).map(|n| topic.event(n, &n))).await.expect("Kafka takes them");
        offsets.commit(name, COMMITTED, &case.metadata).await;
        let stored = offsets.committed(name).await.expect("it was committed");
        assert_eq!(*stored.metadata, *case.metadata, "the broker keeps the string as it is");
        topics.push((name, topic));
    }

    let first = run(&topics, &group, EVENTS).await;
    for ((name, _), case) in topics.iter().zip(&cases) {
        let (delivered, warnings) = &first[*name];
        assert_eq!(*delivered, case.delivered, "{:?}", case.metadata);
        match case.warning {
            Some(warning) => {
                assert_eq!(warnings.len(), 1, "{:?}: {warnings:?}", case.metadata);
                assert!(warnings[0].contains(warning), "{:?}: {warnings:?}", case.metadata);
            }
            None => assert!(warnings.is_empty(), "{:?}: {warnings:?}", case.metadata),
        }
        let stored = offsets.committed(name).await.expect("it was committed");
        let handlers = Fingerprint::of([HANDLER]);
        let own = SettledSet::decode(&stored.metadata, stored.offset, handlers);
        assert_eq!(
            own,
            Ok(SettledSet::empty(Offset(EVENTS))),
            "the foreign string is gone with the next commit"
        );
    }
    assert_eq!(lags(&group), vec!["0"; cases.len()]);

    for (_, topic) in &topics {
        producer.produce(topic.event(EVENTS, &EVENTS)).await.expect("Kafka takes it");
    }
    let second = run(&topics, &group, EVENTS + 1).await;
    for (name, _) in &topics {
        assert_eq!(second[*name], (vec![EVENTS], Vec::new()), "only the new event, and no warning");
    }
}
