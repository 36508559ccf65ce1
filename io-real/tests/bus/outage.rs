//! The database goes away for many times as long as a handler's policy lasts, and the policy says to discard.
//!
//! Events keep coming. Some transactions are open when the outage begins: one that has not written yet, and one that is
//! about to commit. Whatever the calls of the outage run into is the world's fault and no attempt, so nothing is given
//! up: when the database is back, every event takes effect exactly once. A bus that counted the world's faults would
//! have given up each event that it tried in less than a second. Nor is the time that the outage took held against
//! an event: what its handler fails to do at the first call afterwards is tried again.
//!
//! A server that is stopped refuses connections, and a link that is cut breaks them. The first makes calls wait for a
//! connection, the second makes them fail at once, many times over. A link that goes silent does neither: a handler waits
//! for an answer until its time is up, and looks slow.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use evenkeel::{
    Attempt, Backoff, Bus, Event, HandlerError, Kafka, News, Notice, OnFailure, PgTx, Postgres, RetryPolicy,
    Topic,
};
use evenkeel_core::model::TxHandler;
use sqlx::PgPool;
use tokio::sync::watch;
use tokio::task::block_in_place;

use super::link::Link;
use super::support::services::{self, OwnPostgres};
use super::tools::lags;
use super::watched::Watched;
use super::{SOON, fresh, topic, until};

/// What an event may take in all before it is discarded.
const TOTAL: Duration = Duration::from_millis(600);
/// The outage lasts longer than this, and so long that so many transactions could not begin.
const OUTAGE: Duration = TOTAL.saturating_mul(30);
const FAILED_BEGINS: u64 = 20;
/// A call is slow after this. Beside it, the outage has room for asking a silent database and hearing nothing.
const LIMIT: Duration = TOTAL.saturating_mul(10);

/// So many calls fail when the outage is over.
const DAZED: usize = 15;

/// Is in its transaction when the outage begins, and has written nothing.
const BEFORE_WRITING: u64 = 0;
/// Is in its transaction when the outage begins, and has written all.
const BEFORE_COMMIT: u64 = 1;

fn impatient() -> RetryPolicy {
    let steady =
        Backoff { first: Duration::from_millis(50), longest: Duration::from_millis(50), jitter_percent: 0 };
    RetryPolicy {
        backoff: steady,
        total: Some(TOTAL),
        attempt_limit: LIMIT,
        max_attempts: NonZeroU32::new(3),
    }
}

/// What there has been of the outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outage {
    Ahead,
    Begun,
    Over,
}

/// The handler: notes an order. Two of them wait inside of their transactions until the outage has begun. When it is
/// over, the first calls fail, most of which began in the outage and waited for their connection.
struct Charge {
    outage: watch::Receiver<Outage>,
    waiting: Arc<AtomicU32>,
    /// Orders whose handler was told that a call was not its first attempt.
    retried: Arc<Mutex<BTreeSet<u64>>>,
    /// Orders whose handler failed.
    failed: Arc<Mutex<BTreeSet<u64>>>,
}

impl Charge {
    async fn wait_for_outage(&self) -> Result<(), HandlerError> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        self.outage.clone().wait_for(|outage| *outage != Outage::Ahead).await?;
        Ok(())
    }

    fn is_dazed(&self, order: u64) -> bool {
        let mut failed = self.failed.lock().expect("unpoisoned");
        *self.outage.borrow() == Outage::Over && failed.len() < DAZED && failed.insert(order)
    }
}

impl<'t> TxHandler<'t, PgTx, u64> for Charge {
    async fn handle(&self, tx: &'t mut PgTx, event: Event<u64>) -> Result<(), HandlerError> {
        if event.attempt() != Attempt::FIRST {
            self.retried.lock().expect("unpoisoned").insert(event.payload);
        }
        if self.is_dazed(event.payload) {
            return Err(HandlerError::retry("still dazed by the outage"));
        }
        if event.payload == BEFORE_WRITING {
            self.wait_for_outage().await?;
        }
        sqlx::query("insert into charges (order_number) values ($1)")
            .bind(event.payload as i64)
            .execute(&mut **tx)
            .await?;
        if event.payload == BEFORE_COMMIT {
            self.wait_for_outage().await?;
        }
        Ok(())
    }
}

/// Rows, and orders among them.
async fn charged(pool: &PgPool) -> (u64, u64) {
    let count = "select count(*), count(distinct order_number) from charges";
    let (rows, orders): (i64, i64) =
        sqlx::query_as(count).fetch_one(pool).await.expect("the database answers");
    (rows as u64, orders as u64)
}

/// Produces an order after the other, from the third on, until told to stop; answers how many there are.
async fn sell(bus: Bus, topic: Topic<u64>, stop: Arc<AtomicBool>) -> u64 {
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    let mut next = 2;
    while !stop.load(Ordering::Acquire) {
        pace.tick().await;
        bus.produce(topic.event(next, &next)).await.expect("Kafka takes it");
        next += 1;
    }
    next
}

/// The story. `url` is how the bus reaches the database, `direct` how the test does while there is no outage.
async fn nothing_is_lost_in(url: &str, direct: &str, begin: impl FnOnce(), end: impl FnOnce()) {
    let pool = Postgres::connect(direct).await.expect("PostgreSQL answers").pool().clone();
    sqlx::query("create table charges (id bigserial primary key, order_number bigint not null)")
        .execute(&pool)
        .await
        .expect("the table is new");
    let seller = super::bus().await;
    let topic = topic::<u64>(&seller, 2).await;
    let database = Watched::new(Postgres::connect(url).await.expect("PostgreSQL answers"));
    let tally = Arc::clone(&database.tally);
    let kafka = Kafka::new([services::kafka()]);
    let bus = Bus::builder("tests").kafka(kafka).database(database).open().await.expect("both answer");

    let discarded: Arc<Mutex<Vec<Notice>>> = Arc::default();
    let note = Arc::clone(&discarded);
    bus.observe(move |_, news| {
        if let News::Notice(notice @ Notice::Discarded { .. }) = news {
            note.lock().expect("unpoisoned").push(notice.clone());
        }
    });
    let given_up = || discarded.lock().expect("unpoisoned").len() as u64;
    let (outage, told) = watch::channel(Outage::Ahead);
    let (waiting, retried, failed) = (Arc::default(), Arc::default(), Arc::default());
    let charge = Charge {
        outage: told,
        waiting: Arc::clone(&waiting),
        retried: Arc::clone(&retried),
        failed: Arc::clone(&failed),
    };
    let group = fresh("outage");
    bus.consume(topic)
        .group(&group)
        .on_failure(OnFailure::Discard)
        .retry(impatient())
        .exactly_once("charge", charge)
        .expect("legal");
    let running = bus.start().await.expect("partitions come");

    seller.produce((0..2).map(|n| topic.event(n, &n))).await.expect("Kafka takes them");
    let stop = Arc::new(AtomicBool::new(false));
    let selling = tokio::spawn(sell(seller, topic, Arc::clone(&stop)));
    until("two transactions are open, and others pass", || {
        waiting.load(Ordering::Acquire) == 2 && tally.commits() >= 20
    })
    .await;

    let failed_before = tally.failed_begins();
    block_in_place(begin);
    let begun = Instant::now();
    outage.send_replace(Outage::Begun);
    until("the outage is felt for long enough", || {
        tally.failed_begins() >= failed_before + FAILED_BEGINS && begun.elapsed() > OUTAGE
    })
    .await;
    assert_eq!(given_up(), 0, "given up in the outage: {discarded:?}");
    outage.send_replace(Outage::Over);
    block_in_place(end);
    let lasted = begun.elapsed();

    stop.store(true, Ordering::Release);
    let orders = selling.await.expect("selling ends");
    // The pool of before the outage may hold connections that broke with it.
    let pool = Postgres::connect(direct).await.expect("PostgreSQL answers again").pool().clone();
    let back = Instant::now();
    while charged(&pool).await.1 + given_up() < orders {
        assert!(back.elapsed() < SOON, "{:?} of {orders} are charged after {SOON:?}", charged(&pool).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(running.shutdown().await.is_clean());
    println!(
        "outage of {lasted:.1?}, {} times the policy's total: {} begins failed, {} commits lost their answer; \
         {orders} orders, {:?} charged",
        lasted.as_millis() / TOTAL.as_millis(),
        tally.failed_begins(),
        tally.lost_commits(),
        charged(&pool).await,
    );
    assert_eq!(given_up(), 0, "given up: {discarded:?}");
    assert_eq!(charged(&pool).await, (orders, orders), "rows, and orders among them");
    let (retried, failed) = (retried.lock().expect("unpoisoned"), failed.lock().expect("unpoisoned"));
    assert_eq!(*retried, *failed, "attempts are what the handler failed to do, and nothing else");
    assert_eq!(failed.len(), DAZED);
    assert!(tally.lost_commits() >= 1, "a transaction was about to commit when the outage began");
    assert_eq!(lags(&group), ["0", "0"], "all of it is committed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_discards_nothing() {
    // The server that tests share has its port by then, and cannot be given this one's while that is down.
    block_in_place(services::postgres_server);
    let server = block_in_place(OwnPostgres::start);
    let url = block_in_place(|| server.url());
    nothing_is_lost_in(&url, &url, || server.kill(), || server.start_again()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_link_discards_nothing() {
    let direct = services::postgres().await;
    let (link, url) = Link::to_database(&direct).await;
    nothing_is_lost_in(&url, &direct, || link.silence(), || link.mend()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_link_discards_nothing() {
    let direct = services::postgres().await;
    let (link, url) = Link::to_database(&direct).await;
    nothing_is_lost_in(&url, &direct, || link.cut(), || link.mend()).await;
}
