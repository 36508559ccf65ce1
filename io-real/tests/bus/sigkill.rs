//! A process that is killed with SIGKILL between a handler's COMMIT and the commit of the offset.
//!
//! The worker is a process of its own: this test, started once more. It charges some events and then gets no answer to
//! any COMMIT that it sends, although PostgreSQL has executed it; so all of its calls come to stand where their effects
//! are durable and their events are not settled. When the last one stands there, it says so, and dies. The next life is
//! handed those events again, finds them claimed, and goes on with the rest: every effect is there once.
//!
//! (`crash.rs` tears a runtime down instead, at any moment. Here the moment is certain, and nothing of the process gets to
//! close a connection or to run a destructor.)

use std::io::{BufRead, BufReader, Read};
use std::num::NonZeroUsize;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use evenkeel::{Bus, Event, HandlerError, Kafka, PgTx, Postgres, Topic};
use evenkeel_core::model::TxHandler;
use sqlx::PgPool;
use tokio::task::block_in_place;

use super::support::services;
use super::tools::lags;
use super::watched::Watched;
use super::{fresh, topic, until};

const EVENTS: u64 = 200;
/// So many commits of the first life are answered.
const ANSWERED: u64 = 50;
/// So many calls run at once, and come to stand behind their COMMIT.
const CALLS: NonZeroUsize = NonZeroUsize::new(8).expect("eight is not zero");

/// This test, by the name that the test runner knows it under.
const THIS_TEST: &str = "sigkill::what_was_committed_before_sigkill_is_not_handled_twice_in_effect";
/// Tells the worker from the test: topic, group, and the database's URL.
const WORK: &str = "EVENKEEL_TEST_SIGKILL_WORK";
/// What the worker says when it is time.
const STANDING: &str = "all calls stand behind their COMMIT";

/// The handler: notes an order.
#[derive(Default)]
struct Charge {
    calls: Arc<AtomicU64>,
}

impl<'t> TxHandler<'t, PgTx, u64> for Charge {
    async fn handle(&self, tx: &'t mut PgTx, event: Event<u64>) -> Result<(), HandlerError> {
        self.calls.fetch_add(1, Ordering::AcqRel);
        sqlx::query("insert into charges (order_number) values ($1)")
            .bind(event.payload as i64)
            .execute(&mut **tx)
            .await?;
        Ok(())
    }
}

async fn bus(database: Watched, topic: Topic<u64>, group: &str, charge: Charge) -> Bus<Watched> {
    let kafka = Kafka::new([services::kafka()]);
    let bus = Bus::builder("tests").kafka(kafka).database(database).open().await.expect("both answer");
    bus.consume(topic).group(group).concurrency(CALLS).exactly_once("charge", charge).expect("legal");
    bus
}

/// The first life, in the process that is to be killed. Ends by itself only if the test is gone.
async fn work(work: String) {
    std::thread::spawn(|| {
        let gone = std::io::stdin().read(&mut [0]);
        println!("the test has gone: {gone:?}");
        std::process::exit(1);
    });
    let parts: Vec<&str> = work.split_whitespace().collect();
    let [name, group, url] = parts[..] else { panic!("{WORK} is {work:?}") };
    let topic = Topic::new(name.to_owned().leak());
    let database = Postgres::connect(url).await.expect("PostgreSQL answers");
    let database = Watched::holding_commits_after(ANSWERED, database);
    let tally = Arc::clone(&database.tally);
    let bus = bus(database, topic, group, Charge::default()).await;
    let _running = bus.start().await.expect("partitions come");
    until("all calls stand behind their COMMIT", || tally.held_commits() == CALLS.get() as u64).await;
    println!("{STANDING}");
    std::future::pending::<()>().await;
}

/// The worker's process. Killed at the latest when the test ends.
struct Worker {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Worker {
    fn start(topic: &str, group: &str, url: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().expect("this program has a path"))
            .args([THIS_TEST, "--exact", "--nocapture"])
            .env(WORK, format!("{topic} {group} {url}"))
            .env("EVENKEEL_TEST_KAFKA", services::kafka())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program can be started again");
        let output = BufReader::new(process.stdout.take().expect("it is piped"));
        Self { process, output }
    }

    fn wait_until_it_stands(&mut self) {
        let mut said = String::new();
        while !said.contains(STANDING) {
            let length = self.output.read_line(&mut said).expect("the worker speaks UTF-8");
            assert!(length > 0, "the worker ended too soon: {said}");
        }
    }

    /// Ends it with SIGKILL; answers the signal that it died of.
    fn kill(&mut self) -> Option<i32> {
        self.process.kill().expect("it can be killed");
        self.process.wait().expect("it has ended").signal()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _dead_already = self.process.kill();
        let _status = self.process.wait();
    }
}

async fn charged(pool: &PgPool) -> (u64, u64) {
    let count = "select count(*), count(distinct order_number) from charges";
    let (rows, orders): (i64, i64) =
        sqlx::query_as(count).fetch_one(pool).await.expect("the database answers");
    (rows as u64, orders as u64)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_before_sigkill_is_not_handled_twice_in_effect() {
    if let Ok(what) = std::env::var(WORK) {
        return work(what).await;
    }
    let url = services::postgres().await;
    let pool = Postgres::connect(&url).await.expect("PostgreSQL answers").pool().clone();
    sqlx::query("create table charges (id bigserial primary key, order_number bigint not null)")
        .execute(&pool)
        .await
        .expect("the table is new");
    let producer = super::bus().await;
    let topic = topic::<u64>(&producer, 2).await;
    let name = topic.name().expect("legal");
    producer.produce((0..EVENTS).map(|n| topic.event(n, &n))).await.expect("Kafka takes them");
    let group = fresh("sigkill");

    let mut worker = Worker::start(name.as_str(), &group, &url);
    block_in_place(|| worker.wait_until_it_stands());
    assert_eq!(worker.kill(), Some(9), "it died of SIGKILL");
    let before = ANSWERED + CALLS.get() as u64;
    assert_eq!(charged(&pool).await, (before, before), "what was committed is durable");

    let charge = Charge::default();
    let calls = Arc::clone(&charge.calls);
    let database = Watched::new(Postgres::connect(&url).await.expect("PostgreSQL answers"));
    let tally = Arc::clone(&database.tally);
    let bus = bus(database, topic, &group, charge).await;
    let running = bus.start().await.expect("partitions come when the dead session has run out");
    until("the rest is charged", || tally.commits() >= EVENTS - before).await;
    let claimed = CALLS.get() as u64;
    until("what was charged before comes again", || tally.claimed_before() >= claimed).await;
    assert!(running.shutdown().await.is_clean());
    println!(
        "killed after {before} charges; then {} came again and were claimed, {} were charged",
        tally.claimed_before(),
        tally.commits()
    );
    assert_eq!(charged(&pool).await, (EVENTS, EVENTS), "rows, and orders among them");
    assert_eq!(calls.load(Ordering::Acquire), EVENTS - before, "calls of the handler in the second life");
    assert_eq!(lags(&group), ["0", "0"], "all of it is committed");
}
