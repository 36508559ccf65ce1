//! Events written and read: each mode by tables, and the laws of both directions together.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Decoded, decode, encode};
use crate::error::{DecodeFault, EncodeFault};
use crate::machine::Entropy;
use crate::model::{
    Arrival, Attempt, Codec, Event, GroupName, Headers, MediaType, NewEvent, Offset, PartitionId,
    PayloadError, Raw, Record, Route, Tombstones, Topic, TopicName, WallTime,
};
use crate::ports::{ClaimKey, OutgoingRecord};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct OrderPlaced {
    total: u32,
}

const ORDERS: Topic<OrderPlaced> = Topic::new("shop.orders.v1");
const TEXTS: Topic<String> = Topic::new("shop.orders.v1");
const KEPT: Topic<Option<OrderPlaced>, Tombstones> = Topic::new("shop.orders.v1").with_tombstones();
const BYTES: Topic<Bytes, Raw> = Topic::new("shop.orders.v1").with_codec();

/// 2023-11-14T22:13:20.123456Z
const NOW: WallTime = WallTime(1_700_000_000_123_456);

fn route() -> Arc<Route> {
    let topic = TopicName::new("shop.orders.v1").unwrap();
    Arc::new(Route {
        topic: topic.clone(),
        base_topic: topic,
        group: GroupName::new("billing").unwrap(),
        handler: "charge-card".into(),
    })
}

fn arrival(key: Option<&'static str>, value: Option<&str>, headers: &[(&str, Option<&str>)]) -> Arrival {
    Arrival {
        partition: PartitionId(3),
        offset: Offset(17),
        timestamp: WallTime::from_millis(1_600_000_000_000),
        key: key.map(Bytes::from),
        value: value.map(|value| Bytes::copy_from_slice(value.as_bytes())),
        headers: headers.iter().copied().collect(),
    }
}

fn read<T, C: Codec<T>>(topic: Topic<T, C>, arrival: Arrival) -> Result<Event<T>, DecodeFault> {
    match decode(&topic, &route(), arrival, Attempt::FIRST) {
        Ok(Decoded::Event(event)) => Ok(event),
        Ok(Decoded::UntakenTombstone) => panic!("an untaken tombstone"),
        Err(error) => Err(into_fault(error)),
    }
}

fn into_fault(error: crate::error::DecodeError) -> DecodeFault {
    assert!(error.to_string().starts_with("event at shop.orders.v1/3, offset 17, cannot be decoded: "));
    error.into_fault()
}

fn binary(value: &str, headers: &[(&str, Option<&str>)]) -> Result<Event<OrderPlaced>, DecodeFault> {
    read(ORDERS, arrival(Some("k"), Some(value), headers))
}

fn structured<T, C: Codec<T>>(topic: Topic<T, C>, value: &str) -> Result<Event<T>, DecodeFault> {
    let header = [("content-type", Some("application/cloudevents+json; charset=UTF-8"))];
    read(topic, arrival(Some("k"), Some(value), &header))
}

fn written(event: NewEvent) -> Result<OutgoingRecord, EncodeFault> {
    encode(event, NOW, &mut Entropy::new(7), "checkout").map_err(|error| {
        assert!(error.to_string().starts_with("event for topic \"shop.orders.v1\" cannot be produced: "));
        error.into_fault()
    })
}

fn arrived(record: OutgoingRecord) -> Arrival {
    let OutgoingRecord { key, value, headers, timestamp } = record;
    Arrival::of(PartitionId(3), Record { offset: Offset(17), timestamp, key, value, headers })
}

fn shown(record: &OutgoingRecord) -> Vec<(&str, &str)> {
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    record.headers.iter().map(|h| (text(&h.key), h.value.as_deref().map_or("null", text))).collect()
}

// Out

#[test]
fn an_event_is_written_with_all_attributes_in_order() {
    let record =
        written(ORDERS.event("order-17", &OrderPlaced { total: 42 }).header("tenant", "acme")).unwrap();
    assert_eq!(record.key.as_deref(), Some(&b"order-17"[..]));
    assert_eq!(record.value.as_deref(), Some(&b"{\"total\":42}"[..]));
    assert_eq!(record.timestamp, NOW);
    let id = shown(&record)[3].1;
    assert_eq!(
        shown(&record),
        [
            ("ce_specversion", "1.0"),
            ("ce_type", "shop.orders.v1"),
            ("ce_source", "checkout"),
            ("ce_id", id),
            ("ce_subject", "order-17"),
            ("ce_time", "2023-11-14T22:13:20.123456Z"),
            ("ce_dataschema", "OrderPlaced"),
            ("content-type", "application/json"),
            ("tenant", "acme"),
        ]
    );
}

#[test]
fn an_id_is_a_uuid_of_its_time_and_of_the_entropy_alone() {
    let id = |seed| {
        let event = encode(TEXTS.keyless(&String::new()), NOW, &mut Entropy::new(seed), "s").unwrap();
        shown(&event)[3].1.to_owned()
    };
    // 48 bits of milliseconds, version 7, then the generator's first two draws, lowest byte first.
    assert_eq!(id(1_234_567), "018bcfe5-687b-75fc-88fb-17d09e59a50f");
    assert_ne!(id(1), id(2));
}

#[test]
fn what_is_set_is_written() {
    let event = ORDERS
        .raw("text/plain", "hi")
        .id("i")
        .source("s")
        .event_type("t")
        .subject("j")
        .time(WallTime(0))
        .data_schema("d")
        .header("ce_traceparent", "00-1");
    assert_eq!(
        shown(&written(event).unwrap()),
        [
            ("ce_specversion", "1.0"),
            ("ce_type", "t"),
            ("ce_source", "s"),
            ("ce_id", "i"),
            ("ce_subject", "j"),
            ("ce_time", "1970-01-01T00:00:00.000000Z"),
            ("ce_dataschema", "d"),
            ("content-type", "text/plain"),
            ("ce_traceparent", "00-1"),
        ]
    );
}

#[test]
fn what_is_absent_is_not_written() {
    let names = |event| {
        let record = written(event).unwrap();
        shown(&record).iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>()
    };
    let (always, typed) = (["ce_specversion", "ce_type", "ce_source", "ce_id"], ["content-type"]);
    let expect =
        |more: &[&'static str], last: &[&'static str]| [&always[..], more, &["ce_time"], last].concat();
    assert_eq!(names(BYTES.keyless(&Bytes::new())), expect(&[], &typed));
    assert_eq!(names(BYTES.raw("a/b", "").key_bytes(&b"\xff"[..])), expect(&[], &typed));
    assert_eq!(names(BYTES.raw("a/b", "").key("")), expect(&[], &typed));
    assert_eq!(names(KEPT.tombstone(5)), expect(&["ce_subject"], &[]));
    assert_eq!(written(KEPT.tombstone(5)).unwrap().value, None);
}

#[test]
fn what_could_be_lost_or_misread_is_refused() {
    let event = || ORDERS.raw("text/plain", "hi");
    let unwritable: Topic<BTreeMap<Vec<u8>, u8>> = Topic::new("shop.orders.v1");
    let refused = [
        (event().header("a", "1").header("b", "").header("a", "2"), "header \"a\" was given twice"),
        (event().header("ce_id", "1"), "header \"ce_id\" belongs to the event itself"),
        (event().header("Content-Type", "1"), "header \"Content-Type\" belongs to the event itself"),
        (event().header("ce_subject", "1"), "header \"ce_subject\" belongs to the event itself"),
        (event().id(""), "its ce_id is empty"),
        (event().source(""), "its ce_source is empty"),
        (event().event_type(""), "its ce_type is empty"),
        (event().time(WallTime(i64::MAX)), "its time of 9223372036854775807 µs since 1970 is outside"),
        (
            unwritable.keyless(&BTreeMap::from([(vec![1], 1)])),
            "its payload cannot be written: key must be a string",
        ),
    ];
    for (event, reason) in refused {
        let fault = written(event).unwrap_err().to_string();
        assert!(fault.starts_with(reason), "{fault}");
    }
    assert!(written(event().header("A", "1").header("a", "2")).is_ok(), "names differ by case");
}

// In

#[test]
fn an_event_of_the_go_library_is_read() {
    let headers = [
        ("ce_specversion", Some("1.0")),
        ("ce_type", Some("order.placed")),
        ("ce_source", Some("shop")),
        ("ce_id", Some("0b0d9a40-3a0c-4a70-8f0e-1f2d3c4b5a69")),
        ("ce_subject", Some("order-17")),
        ("ce_time", Some("2023-11-14T23:13:20+01:00")),
        ("ce_dataschema", Some("shop.OrderPlaced")),
        ("content-type", Some("application/json")),
        ("ce_traceparent", Some("00-1")),
        ("tenant", Some("acme")),
        ("tenant", None),
    ];
    let event = read(ORDERS, arrival(Some("key"), Some(r#"{"total":42}"#), &headers)).unwrap();
    assert_eq!(event.payload, OrderPlaced { total: 42 });
    assert_eq!(event.data(), &Bytes::from_static(br#"{"total":42}"#));
    assert_eq!((event.topic().as_str(), event.base_topic().as_str()), ("shop.orders.v1", "shop.orders.v1"));
    assert_eq!((event.group().as_str(), event.handler()), ("billing", "charge-card"));
    assert_eq!((event.partition(), event.offset(), event.attempt().get()), (PartitionId(3), Offset(17), 1));
    assert!(!event.is_redelivery());
    assert_eq!((event.key(), &*event.key_text()), (Some(&b"key"[..]), "key"));
    assert_eq!(event.id(), "0b0d9a40-3a0c-4a70-8f0e-1f2d3c4b5a69");
    assert_eq!((event.source(), event.event_type(), &*event.subject()), ("shop", "order.placed", "order-17"));
    assert_eq!((event.spec_version(), event.data_schema()), (Some("1.0"), Some("shop.OrderPlaced")));
    assert_eq!(event.content_type(), Some("application/json"));
    assert_eq!(event.timestamp(), WallTime::from_millis(1_700_000_000_000));
    assert_eq!(event.record_timestamp(), WallTime::from_millis(1_600_000_000_000));
    assert_eq!(
        event.claim_key(),
        ClaimKey::of(
            "billing",
            "charge-card",
            "shop.orders.v1",
            "shop",
            "0b0d9a40-3a0c-4a70-8f0e-1f2d3c4b5a69"
        )
    );
    let headers: Vec<_> = event.headers().skip(8).map(|(name, value)| (name.into_owned(), value)).collect();
    assert_eq!(
        headers,
        [
            ("traceparent".into(), Some(&b"00-1"[..])),
            ("tenant".into(), Some(b"acme")),
            ("tenant".into(), None)
        ]
    );
    assert_eq!((event.header("traceparent"), event.header("tenant")), (Some(&b"00-1"[..]), None));
    assert_eq!(event.header("id"), Some(event.id().as_bytes()));
}

#[test]
fn without_attributes_the_record_speaks() {
    let event =
        binary(r#"{"total":1}"#, &[("content-type", Some("Application/JSON;charset=UTF-8"))]).unwrap();
    assert_eq!(event.id(), "shop.orders.v1/3/17/1600000000000");
    assert_eq!((event.source(), event.event_type(), &*event.subject()), ("", "shop.orders.v1", "k"));
    assert_eq!((event.spec_version(), event.data_schema()), (None, None));
    assert_eq!(event.timestamp(), WallTime::from_millis(1_600_000_000_000));
}

#[test]
fn a_letter_keeps_the_identity_of_its_base_topic() {
    let letters = TopicName::new("shop.orders.v1.billing.dead-letter").unwrap();
    let route = Arc::new(Route { topic: letters, ..(*route()).clone() });
    let arrival = arrival(None, Some(r#"{"total":1}"#), &[("content-type", Some("text/json"))]);
    let Ok(Decoded::Event(event)) = decode(&ORDERS, &route, arrival, Attempt::FIRST.next()) else {
        panic!("not decoded");
    };
    assert!(event.is_redelivery());
    assert_eq!(event.attempt().get(), 2);
    assert_eq!(event.base_topic().as_str(), "shop.orders.v1");
    assert_eq!(event.event_type(), "shop.orders.v1");
    assert_eq!(event.id(), "shop.orders.v1/3/17/1600000000000");
    assert_eq!(event.claim_key(), ClaimKey::of("billing", "charge-card", "shop.orders.v1", "", event.id()));
}

#[test]
fn the_last_of_a_repeated_attribute_counts() {
    let json = ("content-type", Some("application/json"));
    let id = |headers: &[(&str, Option<&str>)]| {
        binary(r#"{"total":1}"#, &[&[json], headers].concat()).unwrap().id().to_owned()
    };
    assert_eq!(id(&[("ce_id", Some("a")), ("ce_id", Some("b"))]), "b");
    for nothing in [None, Some("")] {
        assert_eq!(id(&[("ce_id", Some("a")), ("ce_id", nothing)]), "shop.orders.v1/3/17/1600000000000");
    }
    assert_eq!(id(&[("CE_ID", Some("a")), ("ce_idx", Some("a"))]), "shop.orders.v1/3/17/1600000000000");
}

#[test]
fn times_are_rfc_3339_or_an_error() {
    let time = |text| {
        let headers = [("content-type", Some("application/json")), ("ce_time", Some(text))];
        binary(r#"{"total":1}"#, &headers).map(|event| event.timestamp().0)
    };
    assert_eq!(time("2023-11-14T22:13:20Z").unwrap(), 1_700_000_000_000_000);
    assert_eq!(time("2023-11-14T22:13:20.123456789Z").unwrap(), 1_700_000_000_123_456);
    assert_eq!(time("2023-11-14T17:13:20.5-05:00").unwrap(), 1_700_000_000_500_000);
    for wrong in ["yesterday", "2023-11-14", "2023-11-14T22:13:20", "2023-13-14T22:13:20Z", "1700000000"] {
        let fault = time(wrong).unwrap_err();
        assert!(matches!(&fault, DecodeFault::Time { value, .. } if value == wrong), "{fault}");
    }
}

#[test]
fn a_value_is_read_by_its_content_type_or_not_at_all() {
    let fault = |value, headers: &[(&str, Option<&str>)]| binary(value, headers).unwrap_err().to_string();
    let of_type = |content_type| [("content-type", Some(content_type))];
    assert_eq!(
        fault("{}", &[]),
        "it has no content-type header; have its producer write one, or declare the topic with \
         .assume_content_type(\"application/json\")"
    );
    assert_eq!(
        fault("<a/>", &of_type("application/xml; charset=UTF-8")),
        "its content type \"application/xml; charset=UTF-8\" is not read here, only application/json; declare the \
         topic with a codec that takes it"
    );
    assert_eq!(
        fault("[]", &of_type("application/cloudevents-batch+json")),
        "its content type \"application/cloudevents-batch+json\" is not read here, only application/cloudevents+json \
         or a content type of the payload itself; declare the topic with a codec that takes it"
    );
    assert_eq!(
        fault("{\"total\":-1}", &of_type("application/json")),
        "its payload does not read as \"application/json\": invalid value: integer `-1`, expected u32 at line 1 \
         column 11"
    );
    assert!(fault("", &of_type("application/json")).contains("EOF"));
    let long = "x".repeat(1000);
    assert!(fault("", &of_type(&long)).len() < 300);
}

#[test]
fn a_topic_may_assume_a_content_type() {
    let assuming = ORDERS.assume_content_type("application/json");
    let event = read(assuming, arrival(None, Some(r#"{"total":1}"#), &[])).unwrap();
    assert_eq!((event.payload.total, event.content_type()), (1, Some("application/json")));
    let named = arrival(None, Some("<a/>"), &[("content-type", Some("application/xml"))]);
    assert!(matches!(read(assuming, named), Err(DecodeFault::ContentType { .. })), "what is named counts");
}

#[test]
fn attributes_that_are_no_text_are_refused() {
    for name in super::RESERVED {
        let headers: Headers = [(name, Some(&b"\xff"[..]))].into_iter().collect();
        let arrival = Arrival { headers, ..arrival(None, Some("{}"), &[]) };
        let fault = read(BYTES, arrival).unwrap_err();
        assert!(matches!(fault, DecodeFault::NotText(found) if found == name), "{name}: {fault}");
    }
}

#[test]
fn tombstones_reach_those_who_take_them() {
    let tombstone = || arrival(Some("k"), None, &[("ce_id", Some("gone"))]);
    let untaken = decode(&ORDERS, &route(), tombstone(), Attempt::FIRST);
    assert!(matches!(untaken, Ok(Decoded::UntakenTombstone)));
    let event = read(KEPT, tombstone()).unwrap();
    assert_eq!((&event.payload, event.id(), event.data().len()), (&None, "gone", 0));
    let header = [("content-type", Some("application/json"))];
    let event = read(KEPT, arrival(Some("k"), Some(r#"{"total":1}"#), &header)).unwrap();
    assert_eq!(event.payload, Some(OrderPlaced { total: 1 }));
    let empty = read(KEPT, arrival(Some("k"), Some(""), &header));
    assert!(matches!(empty, Err(DecodeFault::Payload { .. })), "an empty value is no tombstone");
}

#[test]
fn a_structured_event_is_read_like_a_binary_one() {
    let event = structured(
        ORDERS,
        r#"{"specversion":"1.0","id":"i","source":"s","type":"t","subject":"j","time":"2023-11-14T22:13:20Z",
            "dataschema":"d","datacontenttype":"text/json","traceparent":"00-\u0031","count":7,"gone":null,
            "data":{"total":42}}"#,
    )
    .unwrap();
    assert_eq!(event.payload, OrderPlaced { total: 42 });
    assert_eq!(event.data(), &Bytes::from_static(br#"{"total":42}"#));
    assert_eq!((event.id(), event.source(), event.event_type(), &*event.subject()), ("i", "s", "t", "j"));
    assert_eq!((event.spec_version(), event.data_schema()), (Some("1.0"), Some("d")));
    assert_eq!(
        (event.content_type(), event.timestamp()),
        (Some("text/json"), WallTime(1_700_000_000_000_000))
    );
    assert_eq!((event.header("traceparent"), event.header("count")), (Some(&b"00-1"[..]), Some(&b"7"[..])));
    assert_eq!(event.header("gone"), None);
}

#[test]
fn the_data_of_a_structured_event_may_be_written_in_many_ways() {
    let order = OrderPlaced { total: 42 };
    for data in [
        r#""data":{"total":42}"#,
        r#""data":"{\"total\":42}""#,
        r#""data_base64":"eyJ0b3RhbCI6NDJ9""#,
        r#""data":"","data_base64":"eyJ0b3RhbCI6NDJ9""#,
        r#""data":null,"data_base64":"eyJ0b3RhbCI6NDJ9""#,
        r#""data":{"total":42},"data_base64":"AAAA""#,
        r#""datacontenttype":"application/json","data":"{\"total\":42}""#,
    ] {
        let event = structured(ORDERS, &format!("{{{data}}}")).unwrap();
        assert_eq!((&event.payload, event.data().as_ref()), (&order, &b"{\"total\":42}"[..]), "{data}");
        assert_eq!(event.content_type(), Some("application/json"));
    }
    for (data, text) in [(r#""hello""#, "hello"), (r#""""#, ""), (r#""{\"total\":42}""#, r#"{"total":42}"#)] {
        let event = structured(TEXTS, &format!(r#"{{"data":{data}}}"#)).unwrap();
        assert_eq!(event.payload, text, "a string is a string to those who want one");
    }
    let plain = structured(BYTES, r#"{"datacontenttype":"text/plain","data":"a\"b"}"#).unwrap();
    assert_eq!(plain.payload, Bytes::from_static(b"a\"b"));
    for nothing in ["{}", r#"{"data":null}"#, r#"{"data":null,"data_base64":""}"#] {
        assert_eq!(structured(KEPT, nothing).unwrap().payload, None);
        assert!(matches!(structured(ORDERS, nothing), Err(DecodeFault::NoData)));
    }
}

#[test]
fn an_envelope_wins_over_headers_where_it_says_something() {
    let headers = [
        ("ce_id", Some("header")),
        ("ce_source", Some("header")),
        ("content-type", Some("application/cloudevents+json")),
    ];
    let value = r#"{"id":"envelope","source":"","data":{"total":1}}"#;
    let event = read(ORDERS, arrival(None, Some(value), &headers)).unwrap();
    assert_eq!((event.id(), event.source()), ("envelope", "header"));
}

#[test]
fn a_broken_envelope_is_refused() {
    let fault = |value| structured(ORDERS, value).unwrap_err().to_string();
    for (value, reason) in [
        ("", "its value is not a CloudEvent in JSON"),
        ("[]", "its value is not a CloudEvent in JSON"),
        (r#"{"data":{"total":1}"#, "its value is not a CloudEvent in JSON"),
        (r#"{"id":7,"data":{"total":1}}"#, "its attribute \"id\" is not a string"),
        (r#"{"data_base64":7}"#, "its attribute \"data_base64\" is not a string"),
        (r#"{"data_base64":"!"}"#, "its data_base64 is not base64"),
        (r#"{"time":"never","data":{"total":1}}"#, "its time \"never\" is not RFC 3339"),
        (r#"{"data":"total"}"#, "its payload does not read as \"application/json\""),
        (
            r#"{"datacontenttype":"application/xml","data":"<a/>"}"#,
            "its content type \"application/xml\" is not read",
        ),
    ] {
        assert!(fault(value).starts_with(reason), "{value}: {}", fault(value));
    }
    let deep = format!("{}{}", r#"{"x":"#, "[".repeat(100_000));
    assert!(fault(&deep).starts_with("its value is not a CloudEvent in JSON"));
}

#[test]
fn a_codec_of_ones_own_decides_which_content_types_it_reads() {
    struct Length;
    impl Codec<usize> for Length {
        type Body = str;
        const CONTENT_TYPE: &'static str = "text/plain";

        fn encode(body: &str) -> Result<Bytes, crate::model::BoxError> {
            Ok(Bytes::copy_from_slice(body.as_bytes()))
        }

        fn decode(content_type: MediaType<'_>, data: &Bytes) -> Result<usize, PayloadError> {
            if !content_type.is("text/plain") {
                return Err(PayloadError::ContentType { takes: "text/plain" });
            }
            Ok(data.len())
        }
    }
    const LENGTHS: Topic<usize, Length> = Topic::new("shop.orders.v1").with_codec();
    assert_eq!(read(LENGTHS, arrived(written(LENGTHS.event(1, "four")).unwrap())).unwrap().payload, 4);
    assert!(matches!(
        read(LENGTHS, arrived(written(LENGTHS.raw("a/b", "")).unwrap())),
        Err(DecodeFault::ContentType { takes: "text/plain", .. })
    ));
}

// Both ways

fn header_name() -> impl Strategy<Value = String> {
    any::<String>().prop_filter("reserved", |name| {
        !super::RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name))
    })
}

proptest! {
    #[test]
    fn what_was_written_is_read(
        key in proptest::option::of(any::<Vec<u8>>()),
        payload: BTreeMap<String, (Option<i64>, String)>,
        extra in proptest::collection::btree_map(header_name(), any::<Vec<u8>>(), 0..5),
        id in "\\PC{1,20}",
        micros in -62_000_000_000_000_000i64..250_000_000_000_000_000,
        seed: u64,
    ) {
        let topic: Topic<BTreeMap<String, (Option<i64>, String)>> = Topic::new("shop.orders.v1");
        let mut event = topic.keyless(&payload).id(id.clone()).time(WallTime(micros));
        if let Some(key) = &key {
            event = event.key_bytes(key.clone());
        }
        for (name, value) in &extra {
            event = event.header(name.clone(), value.clone());
        }
        let record = encode(event, NOW, &mut Entropy::new(seed), "checkout").unwrap();
        let read = read(topic, arrived(record)).unwrap();
        prop_assert_eq!(&read.payload, &payload);
        prop_assert_eq!(read.key(), key.as_deref());
        prop_assert_eq!(read.id(), id);
        prop_assert_eq!(read.timestamp(), WallTime(micros));
        prop_assert_eq!(read.source(), "checkout");
        prop_assert_eq!(read.subject(), read.key_text());
        let own = 7 + usize::from(key.is_some_and(|key| !key.is_empty() && std::str::from_utf8(&key).is_ok()));
        let kept: Vec<_> = read.headers().skip(own).map(|(n, v)| (n.into_owned(), v.map(<[u8]>::to_vec))).collect();
        let given: Vec<_> = extra
            .into_iter()
            .map(|(name, value)| (name.strip_prefix("ce_").unwrap_or(&name).to_owned(), Some(value)))
            .collect();
        prop_assert_eq!(kept, given);
    }

    #[test]
    fn any_record_is_read_or_refused(
        section: Vec<u8>,
        named in proptest::collection::vec((0usize..8, proptest::option::of("\\PC{0,30}|application/(cloudevents\\+)?json")), 0..6),
        value in proptest::option::of("\\PC{0,60}|\\{(\"(data|data_base64|id|time|x)\":(\"\\PC{0,9}\"|null|[0-9]|\\{\\}),?){0,4}\\}"),
        offset: i64,
        millis: i64,
    ) {
        let wild = Headers::from_wire(section.into());
        let named = named.iter().map(|(name, value)| (super::RESERVED[*name].as_bytes(), value.as_ref().map(String::as_bytes)));
        let headers = wild.iter().chain(named).collect();
        let arrival = Arrival {
            offset: Offset(offset),
            timestamp: WallTime::from_millis(millis),
            headers,
            ..arrival(None, value.as_deref(), &[])
        };
        if let Ok(Decoded::Event(event)) = decode(&KEPT, &route(), arrival.clone(), Attempt::FIRST) {
            prop_assert!(!event.id().is_empty());
            prop_assert!(!event.event_type().is_empty());
            let _ = (event.claim_key(), event.headers().count());
        }
        let _ = decode(&BYTES, &route(), arrival, Attempt::FIRST).map_err(|error| error.to_string());
    }
}
