//! A handler's policy reaches the database.

use std::sync::OnceLock;
use std::time::Duration;

use evenkeel::{Bus, Event, HandlerError, Kafka, OnFailure, PgTx, Postgres, RetryPolicy, Topic};
use evenkeel_cluster::DevCluster;

use super::support::services;
use super::{fresh, until};

static LOCK_TIMEOUT: OnceLock<String> = OnceLock::new();

async fn look(tx: &mut PgTx, _: Event<u64>) -> Result<(), HandlerError> {
    let limit = sqlx::query_scalar("select current_setting('lock_timeout')").fetch_one(&mut **tx).await?;
    LOCK_TIMEOUT.get_or_init(|| limit);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_an_attempt_is_the_transactions() {
    let cluster = DevCluster::builder().start().await.expect("a port is free");
    let database = Postgres::connect(&services::postgres().await).await.expect("PostgreSQL answers");
    let kafka = Kafka::new([cluster.bootstrap()]);
    let bus = Bus::builder("tests").kafka(kafka).database(database).open().await.expect("both answer");
    let topic = Topic::<u64>::new("limits");
    bus.ensure_topic(topic, 1, []).await.expect("the topic can be created");
    bus.produce(topic.event(1, &1)).await.expect("the cluster takes it");
    let retry = RetryPolicy { attempt_limit: Duration::from_secs(8), ..OnFailure::Discard.default_retries() };
    bus.consume(topic).group(&fresh("limits")).retry(retry).exactly_once("look", look).expect("legal");
    let running = bus.start().await.expect("partitions come");
    until("the handler has run", || LOCK_TIMEOUT.get().is_some()).await;
    assert_eq!(LOCK_TIMEOUT.get().map(String::as_str), Some("4s"));
    let left = running.shutdown_within(Duration::from_secs(60)).await;
    assert!(left.is_clean(), "{left:?}");
}
