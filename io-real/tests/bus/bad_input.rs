//! What is refused, and in which words.

use std::time::Duration;

use evenkeel::kafka::Limits;
use evenkeel::{Bus, Event, HandlerError, Kafka, ProduceError, ProduceFailure, RegistrationError, Topic};

use super::{bus, fresh, topic};

async fn nothing(_: Event<u64>) -> Result<(), HandlerError> {
    Ok(())
}

#[tokio::test]
async fn an_unreachable_broker_is_named_with_what_was_tried() {
    // Nobody listens on the discard port here, and the second one is reserved.
    let kafka = Kafka::new(["127.0.0.1:9", "127.0.0.1:1"])
        .limits(Limits { connect: Duration::from_secs(2), ..Limits::default() });
    let Err(error) = Bus::builder("tests").kafka(kafka).open().await else { panic!("opened on nothing") };
    let text = error.to_string();
    assert!(text.contains("127.0.0.1:9") && text.contains("127.0.0.1:1"), "{text}");
}

#[tokio::test]
async fn a_topic_that_does_not_exist_is_named() {
    let name: &'static str = fresh("missing").leak();
    let absent: Topic<u64> = Topic::new(name);
    let error = bus().await.produce(absent.event(1, &1)).await.expect_err("there is no such topic");
    assert!(matches!(error.first_failure(), Some(ProduceFailure::UnknownTopic(_))), "{error}");
    assert!(!error.is_unknown());
    assert_eq!(error.to_string(), format!("topic \"{name}\" does not exist; create it, or correct the name"));
}

#[tokio::test]
async fn illegal_names_are_refused_where_they_enter() {
    let bus = bus().await;
    let illegal: Topic<u64> = Topic::new("Orders!");
    let error = bus.produce(illegal.event(1, &1)).await.expect_err("an illegal topic");
    assert!(matches!(error, ProduceError::Name(_)), "{error}");
    let error = bus.consume(illegal).group("billing").idempotent("a", nothing).expect_err("an illegal topic");
    assert!(error.to_string().starts_with("topic \"Orders!\" is not a legal Kafka topic name"), "{error}");
    let legal: Topic<u64> = Topic::new("orders");
    let error = bus.consume(legal).group("my group").idempotent("a", nothing).expect_err("an illegal group");
    assert!(error.to_string().starts_with("group \"my group\" is not a legal"), "{error}");
    let error = bus.ensure_topic("Orders!", 1, []).await.expect_err("an illegal topic");
    assert!(error.to_string().starts_with("topic \"Orders!\""), "{error}");
}

#[tokio::test]
async fn a_handlers_name_is_its_own() {
    let bus = bus().await;
    let orders: Topic<u64> = Topic::new("orders");
    bus.consume(orders).group("billing").idempotent("charge", nothing).expect("the first");
    let error = bus.consume(orders).group("billing").idempotent("charge", nothing).expect_err("the second");
    assert!(matches!(error, RegistrationError::Duplicate { .. }), "{error}");
    bus.consume(orders).group("shipping").idempotent("charge", nothing).expect("another group");
    let error = bus.consume(orders).group("billing").idempotent("", nothing).expect_err("no name");
    assert!(matches!(error, RegistrationError::Unnamed { .. }), "{error}");
}

#[tokio::test]
async fn an_event_over_the_topics_limit_is_too_big_before_it_is_sent() {
    let bus = bus().await;
    let name: &'static str = fresh("small").leak();
    bus.ensure_topic(name, 1, [("max.message.bytes", "1200000")]).await.expect("created");
    let small: Topic<String> = Topic::new(name);
    let error = bus.produce(small.event(1, &"x".repeat(1_300_000))).await.expect_err("it is too big");
    match error.first_failure() {
        Some(ProduceFailure::TooBig { size, limit, .. }) => {
            assert!(*size > 1_300_000);
            assert_eq!(*limit, Some(1_200_000));
        }
        other => panic!("{other:?}"),
    }
    bus.produce(small.event(1, &"x".repeat(1_100_000))).await.expect("this one fits");
}

#[tokio::test]
async fn a_header_that_occurs_twice_is_refused() {
    let bus = bus().await;
    let topic = topic::<u64>(&bus, 1).await;
    let twice = topic.event(1, &1).header("tenant", "a").header("tenant", "b");
    let error = bus.produce(twice).await.expect_err("a header twice");
    assert!(matches!(error, ProduceError::Encode(_)), "{error}");
    assert!(error.to_string().contains("tenant"), "{error}");
}

#[test]
fn what_must_not_compile_does_not() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
