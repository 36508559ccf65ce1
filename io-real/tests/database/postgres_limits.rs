//! On PostgreSQL a transaction keeps the limits of its attempt, and its session the ones that it was made with.

use std::time::Duration;

use evenkeel::Postgres;
use evenkeel_core::ports::{Blame, Database};

use crate::support::databases::UnderTest;
use crate::{ATTEMPT, WAIT, services};

const LIMITS: &str =
    "select concat_ws(' ', current_setting('lock_timeout'), current_setting('statement_timeout'),
    current_setting('idle_in_transaction_session_timeout'))";

async fn in_an_attempt_of(db: &Postgres, attempt: Duration) -> String {
    let mut tx = db.begin(WAIT, attempt).await.unwrap();
    let limits = sqlx::query_scalar(LIMITS).fetch_one(&mut *tx).await.unwrap();
    db.commit(tx).await.unwrap();
    limits
}

#[tokio::test]
async fn a_transaction_has_the_limits_of_its_attempt() {
    let db = Postgres::builder(&services::postgres().await).pool_size(1).connect().await.unwrap();
    for (attempt, limits) in [
        (Duration::from_secs(8), "4s 10s 10s"),
        (ATTEMPT, "30s 75s 75s"),
        (Duration::from_secs(480), "4min 10min 10min"),
        (Duration::MAX, "7d 420h 420h"),
    ] {
        assert_eq!(in_an_attempt_of(&db, attempt).await, limits, "{attempt:?}");
        let after: String = sqlx::query_scalar(LIMITS).fetch_one(db.pool()).await.unwrap();
        assert_eq!(after, "30s 75s 75s", "the session after {attempt:?}");
    }
}

#[tokio::test]
async fn a_lock_is_given_up_before_a_short_attempt_is_over() {
    let db = Postgres::fresh().await;
    db.run("create table charges (id integer)").await.unwrap();
    let mut holder = db.begin(WAIT, ATTEMPT).await.unwrap();
    Postgres::run_in(&mut holder, "lock table charges").await.unwrap();
    let mut tx = db.begin(WAIT, Duration::from_secs(1)).await.unwrap();
    let insert = Postgres::run_in(&mut tx, "insert into charges values (1)");
    let error = tokio::time::timeout(crate::SOON, insert).await.expect("half a second").unwrap_err();
    assert_eq!(db.blame(&error), Blame::World, "{error}");
}
