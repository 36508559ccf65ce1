//! What is refused, and in which words.

use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::time::Duration;

use evenkeel::database::ConnectDatabaseError;
use evenkeel::kafka::{ConnectError, Limits};
use evenkeel::{
    Bus, Event, GroupSettings, HandlerError, Kafka, OpenError, Postgres, ProduceError, ProduceFailure,
    ProduceSettings, RegistrationError, StartError, Topic,
};

use super::link::Link;
use super::support::services;
use super::{bus, fresh, topic};

async fn nothing(_: Event<u64>) -> Result<(), HandlerError> {
    Ok(())
}

/// Within this time a broker or a database has to answer in these tests.
const PATIENCE: Duration = Duration::from_millis(300);

/// Checks that an error names all that it should.
fn assert_names(error: &impl ToString, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

#[tokio::test]
async fn an_unreachable_broker_is_named_with_what_was_tried_and_for_how_long() {
    let limits = Limits { connect: PATIENCE, ..Limits::default() };
    // One that takes connections and never answers, and one that refuses them.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let silent_at = silent.local_addr().expect("it is bound").to_string();
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let closed_at = closed.local_addr().expect("it is bound").to_string();
    drop(closed);
    let kafka = Kafka::new([silent_at.clone(), closed_at.clone()]).limits(limits);
    let Err(error) = Bus::builder("tests").kafka(kafka).open().await else { panic!("opened on nothing") };
    let OpenError::Kafka(ConnectError::Unreachable { took, .. }) = &error else { panic!("{error}") };
    assert!(*took >= PATIENCE, "{took:?}");
    let whole = format!("no broker answered within {took:.1?}; tried ");
    assert_names(
        &error,
        &[&whole, &format!("{silent_at}: "), "(after ", &format!("{closed_at}: "), "refused"],
    );
}

#[tokio::test]
async fn an_unreachable_database_is_named_with_what_was_tried_and_for_how_long() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let silent_at = silent.local_addr().expect("it is bound");
    let url = format!("postgres://shop:secret@{silent_at}/orders");
    let error =
        Postgres::builder(&url).connect_timeout(PATIENCE).connect().await.expect_err("it never answers");
    let ConnectDatabaseError::Unreachable { elapsed, .. } = &error else { panic!("{error}") };
    assert!(*elapsed >= PATIENCE, "{elapsed:?}");
    let tried = format!("postgres://{silent_at}/orders could not be reached: tried to connect as user shop");
    let limit = format!("gave up after {elapsed:.1?} of at most {PATIENCE:?}: the server does not answer");
    assert_names(&error, &[&tried, &limit]);
    assert!(!error.to_string().contains("secret"), "{error}");
}

/// The database answered as it was connected to, and is gone when the bus looks after its tables.
#[tokio::test]
async fn a_database_that_is_gone_when_the_bus_opens_is_named_with_how_long_it_was_tried() {
    let (link, url) = Link::to_database(&services::postgres().await).await;
    let database = Postgres::connect(&url).await.expect("PostgreSQL answers");
    link.cut();
    let kafka = Kafka::new([services::kafka()]);
    let opened = Bus::builder("tests").kafka(kafka).database(database).open().await;
    let Err(error) = opened else { panic!("opened without its tables") };
    let OpenError::Database { took, .. } = &error else { panic!("{error}") };
    let (_, address) = url.split_once('@').expect("the URL names a user");
    let whole = format!("the tables of the bus could not be prepared, given up after {took:.1?}: ");
    assert_names(&error, &[&whole, &format!("postgres://{address}: ")]);
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
async fn a_handler_of_a_topic_that_does_not_exist_keeps_the_bus_from_starting() {
    let name: &'static str = fresh("missing").leak();
    let absent: Topic<u64> = Topic::new(name);
    let (bus, group) = (bus().await, fresh("early"));
    bus.consume(absent).group(&group).idempotent("a", nothing).expect("legal");
    let Err(error) = bus.start().await else { panic!("started with a topic that does not exist") };
    assert!(matches!(error, StartError::UnknownTopic { .. }), "{error}");
    assert_names(&error, &[&group, name, "create it, or correct the name"]);
    bus.ensure_topic(absent, 1, []).await.expect("Kafka creates it");
    assert!(bus.start().await.expect("it exists now").shutdown().await.is_clean());
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
async fn settings_that_cannot_work_are_named_with_what_would() {
    let bus = bus().await;
    let error = bus.group("billing", GroupSettings::default().concurrency(0)).expect_err("no calls at all");
    assert_eq!(error.to_string(), "group \"billing\": concurrency cannot be 0: set at least 1");
    let error = bus.group("my group", GroupSettings::default()).expect_err("an illegal group");
    assert!(error.to_string().starts_with("group \"my group\" is not a legal"), "{error}");
    let produce = ProduceSettings::default().delivery_timeout(Duration::from_secs(1));
    let opened = Bus::builder("tests").kafka(Kafka::new([services::kafka()])).producing(produce).open().await;
    let Err(error @ OpenError::Setting(_)) = opened else { panic!("opened with settings that cannot work") };
    assert_eq!(error.to_string(), "request_timeout cannot be 30s: set at most delivery_timeout, which is 1s");
}

#[tokio::test]
async fn settings_that_would_not_be_heeded_are_refused() {
    let bus = bus().await;
    bus.group("biling", GroupSettings::default()).expect("legal");
    let Err(error) = bus.start().await else { panic!("started a group without handlers") };
    assert!(matches!(error, StartError::NoHandlers { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "group \"biling\" has settings and no handlers; register one, or correct the name"
    );
    let orders: Topic<u64> = Topic::new("orders");
    let ten = NonZeroUsize::new(10).expect("ten is not zero");
    let error =
        bus.consume(orders).group("billing").batch(ten).idempotent("a", nothing).expect_err("no batches");
    assert!(matches!(error, RegistrationError::NoBatches { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "handler \"a\" of topic \"orders\" in group \"billing\" takes single events, so `batch` means nothing to it; \
         leave it out, or register the handler as a batch handler"
    );
}

#[tokio::test]
async fn settings_that_do_not_fit_the_connections_are_refused() {
    let kafka = Kafka::new([services::kafka()]);
    let kafka = kafka.limits(Limits { max_frame_bytes: 16 << 20, ..Limits::default() });
    let bus = Bus::builder("tests").kafka(kafka).open().await.expect("Kafka answers");
    let topic = topic::<u64>(&bus, 1).await;
    let group = fresh("voracious");
    bus.consume(topic).group(&group).idempotent("a", nothing).expect("legal");
    let Err(error) = bus.start().await else { panic!("started with answers that no connection takes") };
    assert!(matches!(error, StartError::Setting { .. }), "{error}");
    assert_names(&error, &[&group, "fetch_answer_bytes cannot be 52428800: set at most 15728640"]);
    bus.group(&group, GroupSettings::default().fetch_answer_bytes(15 << 20)).expect("legal");
    assert!(bus.start().await.expect("it fits").shutdown().await.is_clean());
}

/// Only the brokers know what session they allow, so the group's settings are seen to arrive there.
#[tokio::test]
async fn a_session_that_the_brokers_do_not_allow_fails_the_start() {
    let second = Duration::from_secs(1);
    let kafka = Kafka::new([services::kafka()]);
    let kafka = kafka.limits(Limits { heartbeat: second / 2, ..Limits::default() });
    let bus = Bus::builder("tests").kafka(kafka).open().await.expect("Kafka answers");
    let topic = topic::<u64>(&bus, 1).await;
    let group = fresh("hasty");
    bus.consume(topic).group(&group).idempotent("a", nothing).expect("legal");
    let hasty = GroupSettings::default().session_timeout(second).heartbeat_interval(second / 3);
    bus.group(&group, hasty).expect("legal as far as we know");
    let Err(error) = bus.start().await else { panic!("a session of a second was allowed") };
    assert!(matches!(error, StartError::Member(_)), "{error}");
    assert_names(&error, &[&group, "(it asked for 1s)", "group.min.session.timeout.ms"]);
    let error = bus.group(&group, GroupSettings::default()).expect_err("too late");
    assert!(matches!(error, RegistrationError::LateSettings { .. }), "{error}");
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
