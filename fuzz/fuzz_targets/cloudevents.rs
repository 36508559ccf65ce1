//! Records with arbitrary headers and values are read or refused, never more. What was read has an identity, and reading
//! it once more gives the same event.
#![no_main]

use std::sync::{Arc, LazyLock};

use evenkeel_core::model::cloudevents::{Decoded, decode};
use evenkeel_core::model::{
    Arrival, Attempt, Bytes, Codec, Event, GroupName, Headers, Offset, PartitionId, Raw, Route, Tombstones,
    Topic, TopicName, WallTime,
};
use libfuzzer_sys::fuzz_target;

#[derive(arbitrary::Arbitrary, Debug)]
struct Input {
    offset: i64,
    millis: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    /// Attributes by number, so that the fuzzer need not find their names.
    attributes: Vec<(u8, Option<String>)>,
    /// Further headers as they lie in a batch.
    section: Vec<u8>,
}

const NAMES: [&str; 10] = [
    "content-type",
    "ce_id",
    "ce_source",
    "ce_type",
    "ce_subject",
    "ce_time",
    "ce_specversion",
    "ce_dataschema",
    "ce_extension",
    "other",
];

const JSON: Topic<Vec<Option<String>>> = Topic::new("fuzz").assume_content_type("application/json");
const KEPT: Topic<Option<String>, Tombstones> = Topic::new("fuzz").with_tombstones();
const BYTES: Topic<Bytes, Raw> = Topic::new("fuzz").with_codec();

static ROUTE: LazyLock<Arc<Route>> = LazyLock::new(|| {
    let topic = TopicName::new("fuzz").expect("a legal name");
    let group = GroupName::new("fuzz").expect("a legal name");
    Arc::new(Route { topic: topic.clone(), base_topic: topic, group, handler: "h".into() })
});

fn try_topic<T: std::fmt::Debug, C: Codec<T>>(topic: Topic<T, C>, arrival: &Arrival) {
    let read = || decode(&topic, &ROUTE, arrival.clone(), Attempt::FIRST);
    match (read(), read()) {
        (Ok(Decoded::Event(one)), Ok(Decoded::Event(two))) => {
            check(&one);
            assert_eq!(one.claim_key(), two.claim_key());
            assert_eq!(format!("{one:?}"), format!("{two:?}"));
        }
        (Ok(Decoded::UntakenTombstone), Ok(Decoded::UntakenTombstone)) => assert!(arrival.value.is_none()),
        (Err(one), Err(two)) => assert_eq!(one.to_string(), two.to_string()),
        (one, two) => panic!("{one:?} became {two:?}"),
    }
}

fn check<T>(event: &Event<T>) {
    assert!(!event.id().is_empty());
    assert!(!event.event_type().is_empty());
    let _ = (event.source(), event.subject(), event.key_text(), event.spec_version(), event.data_schema());
    let _ = (event.content_type(), event.headers().count(), event.header("extension"));
}

fuzz_target!(|input: Input| {
    let wild = Headers::from_wire(input.section.into());
    let attributes = input.attributes.iter().map(|(name, value)| {
        (NAMES[usize::from(*name) % NAMES.len()].as_bytes(), value.as_ref().map(String::as_bytes))
    });
    let arrival = Arrival {
        partition: PartitionId(0),
        offset: Offset(input.offset),
        timestamp: WallTime::from_millis(input.millis),
        key: input.key.map(Bytes::from),
        value: input.value.map(Bytes::from),
        headers: wild.iter().chain(attributes).collect(),
    };
    try_topic(JSON, &arrival);
    try_topic(KEPT, &arrival);
    try_topic(BYTES, &arrival);
});
