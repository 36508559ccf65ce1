//! One suite over the real databases: what the engine believes of the `Database` port.

#[path = "database/postgres_limits.rs"]
mod postgres_limits;
#[path = "database/sqlite_fence.rs"]
mod sqlite_fence;
mod support;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use evenkeel::database::ConnectDatabaseError;
use evenkeel::{Postgres, Sqlite};
use evenkeel_core::model::{Offset, PartitionId};
use evenkeel_core::ports::{Blame, Claim, ClaimKey, Database};
use sqlx::{Connection, Executor, PgConnection};
use support::databases::{UnderTest, is_refused, is_unavailable, sqlite_file};
use support::services;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

const WAIT: Duration = Duration::from_secs(20);
/// An attempt as long as the sessions are made for.
const ATTEMPT: Duration = Duration::from_secs(60);
/// Long enough for anything that ought to be quick, short of every limit that would come to its help.
const SOON: Duration = Duration::from_secs(10);

fn claim(nth: u32) -> Claim {
    let mut key = [0; 32];
    key[..4].copy_from_slice(&nth.wrapping_mul(0x9E37_79B1).to_be_bytes());
    key[28..].copy_from_slice(&nth.to_be_bytes());
    Claim { key: ClaimKey(key), partition: PartitionId(3), offset: Offset(i64::from(nth)) }
}

fn sorted(numbers: impl IntoIterator<Item = u32>) -> Vec<Claim> {
    let mut claims: Vec<Claim> = numbers.into_iter().map(claim).collect();
    claims.sort_unstable();
    claims
}

const CLAIMED: &str = "select count(*) from evenkeel_processed";

async fn claims_last_when_they_are_committed<D: UnderTest>() {
    let db = D::fresh().await;
    let mut tx = db.begin(WAIT, ATTEMPT).await.unwrap();
    assert_eq!(db.claim(&mut tx, &[]).await.unwrap(), Vec::<bool>::new());
    assert_eq!(db.claim(&mut tx, &sorted([1])).await.unwrap(), [true]);
    assert_eq!(db.claim(&mut tx, &sorted([1, 2, 3])).await.unwrap().iter().filter(|new| **new).count(), 2);
    db.commit(tx).await.unwrap();
    assert_eq!(db.number(CLAIMED).await, 3);

    let mut tx = db.begin(WAIT, ATTEMPT).await.unwrap();
    assert_eq!(db.claim(&mut tx, &sorted([1])).await.unwrap(), [false]);
    let asked = sorted(1..=5);
    let answers = db.claim(&mut tx, &asked).await.unwrap();
    for (claim, new) in asked.iter().zip(answers) {
        assert_eq!(new, claim.offset.0 > 3, "{claim:?}");
    }
    db.rollback(tx).await.unwrap();
    assert_eq!(db.number(CLAIMED).await, 3, "a rollback frees what was claimed");
    assert_eq!(
        db.number("select count(*) from evenkeel_processed where partition = 3 and log_offset = 2").await,
        1
    );
}

async fn a_claim_holds_thousands<D: UnderTest>() {
    let db = D::fresh().await;
    let mut tx = db.begin(WAIT, ATTEMPT).await.unwrap();
    let answers = db.claim(&mut tx, &sorted(0..5_000)).await.unwrap();
    assert!(answers.len() == 5_000 && answers.iter().all(|new| *new));
    db.commit(tx).await.unwrap();
    assert_eq!(db.number(CLAIMED).await, 5_000);
}

async fn overlapping_batches_claim_each_event_once<D: UnderTest>() {
    let db = D::fresh().await;
    let start = Arc::new(Barrier::new(8));
    let mut tasks = JoinSet::new();
    for task in 0..8_u32 {
        let (db, start) = (db.clone(), start.clone());
        tasks.spawn(async move {
            start.wait().await;
            let mut mine = Vec::new();
            for round in 0..10_u32 {
                let from = round * 20 + task * 5;
                let batch = sorted(from..from + 40);
                let mut tx = db.begin(WAIT, ATTEMPT).await.unwrap();
                let answers = db.claim(&mut tx, &batch).await.unwrap();
                db.commit(tx).await.unwrap();
                mine.extend(batch.iter().zip(answers).filter(|(_, new)| *new).map(|(claim, _)| claim.offset));
            }
            mine
        });
    }
    let mut winners = BTreeMap::new();
    while let Some(mine) = tasks.join_next().await {
        for offset in mine.unwrap() {
            *winners.entry(offset).or_insert(0) += 1;
        }
    }
    assert_eq!(winners.len(), 9 * 20 + 7 * 5 + 40);
    assert!(winners.values().all(|times| *times == 1), "{winners:?}");
}

async fn a_dropped_transaction_lets_go_at_once<D: UnderTest>() {
    let db = D::fresh().await;
    let mut dropped = db.begin(WAIT, ATTEMPT).await.unwrap();
    db.claim(&mut dropped, &sorted([1, 2])).await.unwrap();
    drop(dropped);
    let again = async {
        let mut tx = db.begin(WAIT, ATTEMPT).await.unwrap();
        let answers = db.claim(&mut tx, &sorted([1, 2])).await.unwrap();
        db.commit(tx).await.unwrap();
        answers
    };
    assert_eq!(tokio::time::timeout(SOON, again).await.expect("nobody holds the claims"), [true, true]);
}

async fn savepoints_nest_and_give_up_their_part_only<D: UnderTest>() {
    let db = D::fresh().await;
    db.run("create table charges (id integer primary key)").await.unwrap();
    let mut tx = db.begin(WAIT, ATTEMPT).await.unwrap();
    db.claim(&mut tx, &sorted([1])).await.unwrap();
    D::run_in(&mut tx, "insert into charges values (1)").await.unwrap();
    D::try_in(&mut tx, "insert into charges values (2)").await.unwrap();
    assert!(D::try_in(&mut tx, "insert into charges values (1)").await.is_err());
    db.commit(tx).await.unwrap();
    assert_eq!(db.number("select sum(id) from charges").await, 1);
    assert_eq!(db.number(CLAIMED).await, 1);
}

async fn a_savepoint_left_open_costs_no_one_the_transaction<D: UnderTest>() {
    let db = D::fresh().await;
    let mut tx = db.begin(WAIT, ATTEMPT).await.unwrap();
    db.claim(&mut tx, &sorted([1])).await.unwrap();
    D::leave_savepoint_open(&mut tx).await;
    match db.commit(tx).await {
        Ok(()) => assert_eq!(db.number(CLAIMED).await, 1),
        Err(error) => {
            assert!(is_refused(&error), "{error}");
            assert_eq!(db.number(CLAIMED).await, 0);
        }
    }
    let mut tx = db.begin(WAIT, ATTEMPT).await.unwrap();
    db.claim(&mut tx, &sorted([2])).await.unwrap();
    db.commit(tx).await.unwrap();
    assert_eq!(db.number("select count(*) from evenkeel_processed where log_offset = 2").await, 1);
}

async fn a_transaction_that_the_handler_ended_is_no_success<D: UnderTest>() {
    let db = D::fresh().await;
    for end in ["rollback", "commit", "rollback; begin", "commit; begin"] {
        let mut tx = db.begin(WAIT, ATTEMPT).await.unwrap();
        let _some_databases_refuse = D::run_in(&mut tx, end).await;
        let error = db.commit(tx).await.unwrap_err();
        assert!(is_refused(&error), "{end}: {error}");
    }
    let mut tx = db.begin(WAIT, ATTEMPT).await.unwrap();
    assert_eq!(db.claim(&mut tx, &sorted([1])).await.unwrap(), [true], "the database goes on");
    db.commit(tx).await.unwrap();
}

async fn a_broken_deferred_constraint_is_refused_and_undone<D: UnderTest>() {
    let db = D::fresh().await;
    db.run(
        "create table orders (id integer primary key);
         create table charges (order_id integer references orders deferrable initially deferred)",
    )
    .await
    .unwrap();
    let mut tx = db.begin(WAIT, ATTEMPT).await.unwrap();
    db.claim(&mut tx, &sorted([1])).await.unwrap();
    D::run_in(&mut tx, "insert into charges values (7)").await.unwrap();
    let error = db.commit(tx).await.unwrap_err();
    assert!(is_refused(&error), "{error}");
    assert_eq!(db.number(CLAIMED).await, 0);
    let mut tx = db.begin(WAIT, ATTEMPT).await.unwrap();
    assert_eq!(db.claim(&mut tx, &sorted([1])).await.unwrap(), [true]);
    db.commit(tx).await.unwrap();
}

async fn a_failed_statement_is_the_handlers<D: UnderTest>() {
    let db = D::fresh().await;
    let mut tx = db.begin(WAIT, ATTEMPT).await.unwrap();
    let error = D::run_in(&mut tx, "insert into no_such_table values (1)").await.unwrap_err();
    assert_eq!(db.blame(&error), Blame::Handler);
    assert_eq!(db.blame(&io::Error::other(error)), Blame::Handler);
    db.rollback(tx).await.unwrap();
    assert_eq!(db.blame(&io::Error::other("the card is expired")), Blame::Handler);
}

async fn claims_without_tables_are_refused<D: UnderTest>() {
    let db = D::bare().await.remove(0);
    let mut tx = db.begin(WAIT, ATTEMPT).await.unwrap();
    let error = db.claim(&mut tx, &sorted([1])).await.unwrap_err();
    assert!(is_refused(&error), "{error}");
}

async fn many_processes_may_migrate_at_once<D: UnderTest>() {
    let handles = D::bare().await;
    let start = Arc::new(Barrier::new(8));
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let (db, start) = (handles[task % handles.len()].clone(), start.clone());
        tasks.spawn(async move {
            start.wait().await;
            db.migrate().await
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap().unwrap();
    }
    assert_eq!(handles[0].number("select count(*) from evenkeel_migrations").await, 1);
    handles[0].migrate().await.expect("a second time does nothing");
}

async fn the_checked_in_schema_is_true<D: UnderTest>() {
    let dump = D::fresh().await.dump().await;
    assert_eq!(D::SCHEMA, dump, "schema.sql should read:\n{dump}");
}

async fn a_full_pool_is_unavailable_in_the_time_allowed<D: UnderTest>() {
    let db = D::fresh().await;
    let mut held = Vec::new();
    for _ in 0..db.capacity() {
        held.push(db.begin(WAIT, ATTEMPT).await.unwrap());
    }
    let asked = Instant::now();
    let error = db.begin(Duration::from_millis(200), ATTEMPT).await.map(drop).unwrap_err();
    assert!(is_unavailable(&error), "{error}");
    assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
    db.rollback(held.pop().expect("the pool has connections")).await.unwrap();
    db.rollback(db.begin(WAIT, ATTEMPT).await.unwrap()).await.unwrap();
}

macro_rules! database_suite {
    ($($law:ident,)*) => {
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $law() {
                super::$law::<super::Postgres>().await;
            })*
        }
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $law() {
                super::$law::<super::Sqlite>().await;
            })*
        }
    };
}

database_suite! {
    claims_last_when_they_are_committed,
    a_claim_holds_thousands,
    overlapping_batches_claim_each_event_once,
    a_dropped_transaction_lets_go_at_once,
    savepoints_nest_and_give_up_their_part_only,
    a_savepoint_left_open_costs_no_one_the_transaction,
    a_transaction_that_the_handler_ended_is_no_success,
    a_broken_deferred_constraint_is_refused_and_undone,
    a_failed_statement_is_the_handlers,
    claims_without_tables_are_refused,
    many_processes_may_migrate_at_once,
    the_checked_in_schema_is_true,
    a_full_pool_is_unavailable_in_the_time_allowed,
}

#[tokio::test]
async fn on_postgres_the_commit_of_a_failed_transaction_is_refused() {
    let db = Postgres::fresh().await;
    let mut tx = db.begin(WAIT, ATTEMPT).await.unwrap();
    db.claim(&mut tx, &sorted([1])).await.unwrap();
    Postgres::run_in(&mut tx, "select 1 / 0").await.unwrap_err();
    let error = db.commit(tx).await.unwrap_err();
    assert!(is_refused(&error), "{error}");
    assert_eq!(db.number(CLAIMED).await, 0);
}

#[tokio::test]
async fn on_postgres_an_exception_raised_at_commit_is_refused() {
    let db = Postgres::fresh().await;
    db.run(
        "create table charges (id integer);
         create function no_charge() returns trigger language plpgsql as
             $$ begin raise exception 'the shop is closed'; end $$;
         create constraint trigger closed after insert on charges
             deferrable initially deferred for each row execute function no_charge()",
    )
    .await
    .unwrap();
    let mut tx = db.begin(WAIT, ATTEMPT).await.unwrap();
    Postgres::run_in(&mut tx, "insert into charges values (1)").await.unwrap();
    let error = db.commit(tx).await.unwrap_err();
    assert!(is_refused(&error) && error.to_string().contains("the shop is closed"), "{error}");
}

#[tokio::test]
async fn on_postgres_a_cancelled_handler_leaves_no_session_and_no_lock() {
    let db = Postgres::fresh().await;
    db.run("create table charges (id integer)").await.unwrap();
    let mut tx = db.begin(WAIT, ATTEMPT).await.unwrap();
    db.claim(&mut tx, &sorted([1])).await.unwrap();
    let session: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut *tx).await.unwrap();
    Postgres::run_in(&mut tx, "lock table charges").await.unwrap();

    let handler = tokio::spawn(async move { Postgres::run_in(&mut tx, "select pg_sleep(3600)").await });
    let asleep =
        format!("select count(*) from pg_stat_activity where pid = {session} and wait_event = 'PgSleep'");
    while db.number(&asleep).await == 0 {
        tokio::task::yield_now().await;
    }
    handler.abort();
    assert!(handler.await.unwrap_err().is_cancelled());

    let insert = tokio::time::timeout(SOON, db.run("insert into charges values (1)"));
    insert.await.expect("the lock is gone").unwrap();
    assert_eq!(db.number(&format!("select count(*) from pg_stat_activity where pid = {session}")).await, 0);
}

#[tokio::test]
async fn on_postgres_a_terminated_session_is_the_worlds() {
    let db = Postgres::fresh().await;
    let mut tx = db.begin(WAIT, ATTEMPT).await.unwrap();
    let session: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut *tx).await.unwrap();
    db.run(&format!("select pg_terminate_backend({session}, 10000)")).await.unwrap();
    let error = Postgres::run_in(&mut tx, "select 1").await.unwrap_err();
    assert_eq!(db.blame(&error), Blame::World, "{error}");
    assert!(
        is_unavailable(&db.rollback(tx).await.unwrap_err()),
        "the engine looks here when an error hides the loss"
    );
}

#[tokio::test]
async fn on_postgres_a_deadlock_is_the_worlds() {
    let db = Postgres::fresh().await;
    let (mut one, mut other) =
        (db.begin(WAIT, ATTEMPT).await.unwrap(), db.begin(WAIT, ATTEMPT).await.unwrap());
    Postgres::run_in(&mut one, "select pg_advisory_xact_lock(1)").await.unwrap();
    Postgres::run_in(&mut other, "select pg_advisory_xact_lock(2)").await.unwrap();
    let (first, second) =
        tokio::join!(Postgres::run_in(&mut one, "select pg_advisory_xact_lock(2)"), async {
            let asked = Postgres::run_in(&mut other, "select pg_advisory_xact_lock(1)").await;
            drop(other);
            asked
        },);
    let error = first.and(second).expect_err("one of the two is chosen to fail");
    assert_eq!(db.blame(&error), Blame::World, "{error}");
    assert_eq!(
        db.blame(&ChargeError::Database(error)),
        Blame::World,
        "a transparent wrapper hides it by half"
    );
}

#[derive(Debug, thiserror::Error)]
enum ChargeError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

#[tokio::test]
async fn on_postgres_sessions_have_limits_derived_from_the_attempt() {
    let db = Postgres::builder(&services::postgres().await)
        .attempt_limit(Duration::from_secs(8))
        .connect()
        .await
        .unwrap();
    let limits: String = sqlx::query_scalar(
        "select concat_ws(' ', current_setting('lock_timeout'), current_setting('statement_timeout'),
             current_setting('idle_in_transaction_session_timeout'))",
    )
    .fetch_one(db.pool())
    .await
    .unwrap();
    assert_eq!(limits, "4s 10s 10s");
    let check = "select setting::bigint from pg_settings where name = 'client_connection_check_interval'";
    assert_eq!(db.number(check).await, 1000);
}

#[tokio::test]
async fn on_postgres_a_killed_server_is_unavailable_and_comes_back() {
    let server = services::OwnPostgres::start();
    let db = Postgres::builder(&server.url()).connect().await.unwrap();
    db.migrate().await.unwrap();
    let mut tx = db.begin(WAIT, ATTEMPT).await.unwrap();
    db.claim(&mut tx, &sorted([1])).await.unwrap();
    server.kill();
    let error = Postgres::run_in(&mut tx, "select 1").await.unwrap_err();
    assert_eq!(db.blame(&error), Blame::World, "{error}");
    drop(tx);
    let error = db.begin(Duration::from_secs(1), ATTEMPT).await.unwrap_err();
    assert!(is_unavailable(&error), "{error}");

    server.start_again();
    let mut tx = loop {
        match db.begin(WAIT, ATTEMPT).await {
            Ok(tx) => break tx,
            Err(error) => assert!(is_unavailable(&error), "{error}"),
        }
    };
    assert_eq!(db.claim(&mut tx, &sorted([1])).await.unwrap(), [true], "what was not committed is not there");
    db.commit(tx).await.unwrap();
}

#[tokio::test]
async fn on_postgres_nothing_to_migrate_needs_no_right_to_create() {
    let url = services::postgres().await;
    let owner = Postgres::connect(&url).await.unwrap();
    owner.migrate().await.unwrap();
    owner
        .run(
            "do $$ begin create role evenkeel_reader login; exception when duplicate_object then null; end $$;
             grant select on evenkeel_migrations to evenkeel_reader",
        )
        .await
        .unwrap();
    let reader = Postgres::connect(&url.replace("//postgres@", "//evenkeel_reader@")).await.unwrap();
    reader.migrate().await.unwrap();
    owner.run("drop owned by evenkeel_reader").await.unwrap();
}

#[tokio::test]
async fn an_unreachable_postgres_is_named_without_its_password() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = Postgres::connect(&format!("postgres://shop:secret@{free}/orders")).await.unwrap_err();
    let ConnectDatabaseError::Unreachable { elapsed, limit, .. } = &error else { panic!("{error}") };
    assert!(elapsed < limit);
    let told = error.to_string();
    for part in [&format!("postgres://{free}/orders"), "connect as user shop", "of at most 10s", "refused"] {
        assert!(told.contains(part), "{part:?} is not in {told:?}");
    }
    assert!(!told.contains("secret"), "{told}");
}

#[tokio::test]
async fn a_silent_postgres_is_given_up_in_time() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://shop@{}/orders", silent.local_addr().unwrap());
    let limit = Duration::from_millis(300);
    let error = Postgres::builder(&url).connect_timeout(limit).connect().await.unwrap_err();
    assert!(error.to_string().contains("does not answer"), "{error}");
}

#[tokio::test]
async fn addresses_that_cannot_be_read_are_not_repeated() {
    let error = Postgres::connect("postgres://shop:secret@localhost:port/orders").await.unwrap_err();
    assert!(matches!(error, ConnectDatabaseError::Address { .. }), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
    let error = Postgres::connect("mysql://shop@localhost/orders").await.unwrap_err();
    assert!(error.to_string().contains("it does not begin with postgres://"), "{error}");
    let error = Sqlite::open(":memory:").await.unwrap_err();
    assert!(error.to_string().contains("write it like shop.db"), "{error}");
}

#[tokio::test]
async fn a_sqlite_file_that_cannot_be_created_is_named() {
    let missing = sqlite_file().join("missing").join("shop.db");
    let error = Sqlite::open(&missing).await.unwrap_err();
    let ConnectDatabaseError::Unreachable { database, .. } = &error else { panic!("{error}") };
    assert_eq!(**database, format!("sqlite:{}", missing.display()));
}

#[tokio::test]
async fn on_sqlite_a_writer_elsewhere_is_unavailable_in_the_time_allowed() {
    let file = sqlite_file();
    let (one, other) = (Sqlite::open(&file).await.unwrap(), Sqlite::open(&file).await.unwrap());
    let held = one.begin(WAIT, ATTEMPT).await.unwrap();
    let error = other.begin(Duration::from_millis(200), ATTEMPT).await.unwrap_err();
    assert!(is_unavailable(&error), "{error}");
    let busy = other.run("pragma busy_timeout = 1; create table charges (id integer)").await.unwrap_err();
    assert_eq!(other.blame(&busy), Blame::World, "{busy}");
    one.rollback(held).await.unwrap();
    other.rollback(other.begin(WAIT, ATTEMPT).await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn on_sqlite_a_commit_is_on_disk() {
    let db = Sqlite::fresh().await;
    let mut tx = db.begin(WAIT, ATTEMPT).await.unwrap();
    let synchronous: i64 = sqlx::query_scalar("pragma synchronous").fetch_one(&mut *tx).await.unwrap();
    let mode: String = sqlx::query_scalar("pragma journal_mode").fetch_one(&mut *tx).await.unwrap();
    assert_eq!((synchronous, mode.as_str()), (2, "wal"));
}

#[tokio::test]
async fn migrations_printed_and_run_by_hand_are_enough() {
    let url = services::postgres().await;
    let mut by_hand = PgConnection::connect(&url).await.unwrap();
    for migration in Postgres::migrations() {
        by_hand.execute(migration.sql).await.unwrap();
    }
    let db = Postgres::connect(&url).await.unwrap();
    db.migrate().await.unwrap();
    assert_eq!(db.number("select count(*) from evenkeel_migrations").await, 1);
}
