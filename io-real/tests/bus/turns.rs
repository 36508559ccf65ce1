//! The connections of a database are shared by all exactly-once handlers of a bus, whatever their groups.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use evenkeel::{Bus, Event, HandlerError, Kafka, PgTx, Postgres};

use super::support::services;
use super::watched::Watched;
use super::{fresh, topic, until};

const CONNECTIONS: u32 = 2;
const EVENTS: u64 = 40;

static HANDLED: AtomicU64 = AtomicU64::new(0);

/// Long enough that the calls of all handlers would meet.
async fn slow(tx: &mut PgTx, _: Event<u64>) -> Result<(), HandlerError> {
    sqlx::query("select pg_sleep(0.02)").execute(&mut **tx).await?;
    HANDLED.fetch_add(1, Ordering::AcqRel);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_once_handlers_of_all_groups_together_want_no_more_connections_than_there_are() {
    let url = services::postgres().await;
    let database =
        Postgres::builder(&url).pool_size(CONNECTIONS).connect().await.expect("PostgreSQL answers");
    let database = Watched::new(database);
    let tally = Arc::clone(&database.tally);
    let kafka = Kafka::new([services::kafka()]);
    let bus = Bus::builder("tests").kafka(kafka).database(database).open().await.expect("both answer");
    let topic = topic::<u64>(&super::bus().await, 1).await;
    bus.produce((0..EVENTS).map(|n| topic.event(n, &n))).await.expect("Kafka takes them");
    let ten = NonZeroUsize::new(10).expect("ten is not zero");
    let (first, second) = (fresh("turns"), fresh("turns"));
    bus.consume(topic).group(&first).concurrency(ten).exactly_once("one", slow).expect("legal");
    bus.consume(topic).group(&first).exactly_once("other", slow).expect("legal");
    bus.consume(topic).group(&second).exactly_once("one", slow).expect("legal");
    let running = bus.start().await.expect("partitions come");
    until("all is handled", || HANDLED.load(Ordering::Acquire) >= 3 * EVENTS).await;
    let left = running.shutdown_within(Duration::from_secs(60)).await;
    assert!(left.is_clean(), "{left:?}");
    assert_eq!(tally.failed_begins(), 0);
    assert_eq!(
        tally.most_wanted(),
        u64::from(CONNECTIONS),
        "all connections are in use, and nobody waits for one"
    );
}
