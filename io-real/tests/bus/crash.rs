//! A process that dies between a handler's COMMIT and the commit of the offset: the effect is there once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use evenkeel::{Bus, Event, HandlerError, Kafka, PgTx, Postgres, Topic};
use sqlx::PgPool;

use super::{fresh, support, topic, until};

const EVENTS: u64 = 400;

async fn charge(tx: &mut PgTx, event: Event<u64>) -> Result<(), HandlerError> {
    sqlx::query("insert into charges (order_number) values ($1)")
        .bind(event.payload as i64)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn charged(pool: &PgPool) -> (i64, i64) {
    let count = "select count(*), count(distinct order_number) from charges";
    sqlx::query_as(count).fetch_one(pool).await.expect("the database answers")
}

async fn life(url: &str, topic: Topic<u64>, group: &str, calls: &Arc<AtomicU64>) -> Bus<Postgres> {
    let database = Postgres::connect(url).await.expect("PostgreSQL answers");
    let kafka = Kafka::new([support::services::kafka()]);
    let bus = Bus::builder("tests").kafka(kafka).database(database).open().await.expect("both answer");
    let calls = Arc::clone(calls);
    bus.observe(move |_, _| {
        calls.fetch_add(1, Ordering::Relaxed);
    });
    bus.consume(topic).group(group).exactly_once("charge", charge).expect("legal");
    bus
}

/// The first life runs on a runtime of its own that is torn down in the middle: nothing of it gets to say goodbye, no
/// offset is committed, and its session has to run out.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_before_a_crash_is_not_handled_twice_in_effect() {
    let url = support::services::postgres().await;
    let pool = Postgres::connect(&url).await.expect("PostgreSQL answers").pool().clone();
    sqlx::query("create table charges (id bigserial primary key, order_number bigint not null)")
        .execute(&pool)
        .await
        .expect("the table is new");
    let topic = topic::<u64>(&super::bus().await, 2).await;
    super::bus().await.produce((0..EVENTS).map(|n| topic.event(n, &n))).await.expect("Kafka takes them");
    let group = fresh("crash");
    let news = Arc::new(AtomicU64::new(0));

    let doomed =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("starts");
    let (first_url, first_group, first_news) = (url.clone(), group.clone(), Arc::clone(&news));
    doomed.spawn(async move {
        let bus = life(&first_url, topic, &first_group, &first_news).await;
        let _running = bus.start().await.expect("partitions come");
        std::future::pending::<()>().await;
    });
    let begun = std::time::Instant::now();
    while charged(&pool).await.0 < 40 {
        assert!(begun.elapsed() < super::SOON, "the first life charges nothing");
    }
    doomed.shutdown_background();
    let (before, _) = charged(&pool).await;
    assert!(before >= 40);

    let bus = life(&url, topic, &group, &news).await;
    let running = bus.start().await.expect("partitions come when the dead session has run out");
    let pool_now = pool.clone();
    let all = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&all);
    let watch = tokio::spawn(async move {
        while seen.load(Ordering::Relaxed) < EVENTS {
            seen.store(charged(&pool_now).await.1 as u64, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    until("all events are charged", || all.load(Ordering::Relaxed) >= EVENTS).await;
    watch.await.expect("the watch ends");
    assert!(running.shutdown().await.is_clean());
    assert_eq!(charged(&pool).await, (EVENTS as i64, EVENTS as i64));
    assert!(news.load(Ordering::Relaxed) >= 2, "two lives had partitions");
}
