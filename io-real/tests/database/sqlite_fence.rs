//! On SQLite nothing that a handler writes is there without its claim, whatever ends its transaction before its time.

use evenkeel::{Sqlite, SqliteTx};
use evenkeel_core::ports::{Blame, Database, DatabaseError};
use sqlx::Connection;

use crate::support::databases::{UnderTest, is_refused, is_unavailable};
use crate::{ATTEMPT, CLAIMED, WAIT, sorted};

const CHARGES: &str = "select count(*) from charges";

/// With a table, a charge in it, and a trigger that refuses charges below zero with all that went before.
async fn shop() -> Sqlite {
    let db = Sqlite::fresh().await;
    db.run(
        "create table charges (id integer primary key);
         create trigger positive before insert on charges when new.id < 0
             begin select raise(rollback, 'a charge below zero'); end;
         insert into charges values (1)",
    )
    .await
    .unwrap();
    db
}

async fn claimed(db: &Sqlite) -> SqliteTx {
    let mut tx = db.begin(WAIT, ATTEMPT).await.unwrap();
    assert_eq!(db.claim(&mut tx, &sorted([1])).await.unwrap(), [true]);
    tx
}

/// Neither charges nor claims came to what [`shop`] began with, and the event can be handled after all.
async fn nothing_happened(db: &Sqlite, case: &str) {
    assert_eq!((db.number(CHARGES).await, db.number(CLAIMED).await), (1, 0), "{case}");
    let mut tx = claimed(db).await;
    Sqlite::run_in(&mut tx, "insert into charges values (2)").await.unwrap();
    db.commit(tx).await.unwrap();
    assert_eq!((db.number(CHARGES).await, db.number(CLAIMED).await), (2, 1), "{case}");
}

#[tokio::test]
async fn what_is_written_after_sqlite_rolled_back_is_refused() {
    for end in ["insert or rollback into charges values (1)", "insert into charges values (-1)"] {
        let db = shop().await;
        let mut tx = claimed(&db).await;
        Sqlite::run_in(&mut tx, end).await.unwrap_err();
        let _ignored = Sqlite::run_in(&mut tx, "insert into charges values (7)").await;
        let error = db.commit(tx).await.unwrap_err();
        assert!(is_refused(&error), "{end}: {error}");
        assert!(error.to_string().contains("return the errors of statements"), "{end}: {error}");
        nothing_happened(&db, end).await;
    }
}

#[tokio::test]
async fn a_transaction_begun_in_place_of_the_lost_one_does_not_commit() {
    for instead in [
        "rollback; begin; insert into charges values (7)",
        "rollback; begin immediate; insert into charges values (7); commit",
        "rollback; savepoint mine; insert into charges values (7); release mine",
        "rollback; begin",
        "rollback; create table more (id integer)",
    ] {
        let db = shop().await;
        let mut tx = claimed(&db).await;
        let _ignored = Sqlite::run_in(&mut tx, instead).await;
        let error = db.commit(tx).await.unwrap_err();
        assert!(is_refused(&error), "{instead}: {error}");
        assert_eq!(db.number("select count(*) from sqlite_schema where name = 'more'").await, 0);
        nothing_happened(&db, instead).await;
    }
}

#[tokio::test]
async fn a_savepoint_of_sqlx_after_sqlite_rolled_back_does_not_commit() {
    let db = shop().await;
    let mut tx = claimed(&db).await;
    Sqlite::run_in(&mut tx, "insert or rollback into charges values (1)").await.unwrap_err();
    let mut savepoint = tx.begin().await.unwrap();
    let _ignored = sqlx::query("insert into charges values (7)").execute(&mut *savepoint).await;
    savepoint.commit().await.unwrap_err();
    let error = db.commit(tx).await.unwrap_err();
    assert!(is_refused(&error), "{error}");
    nothing_happened(&db, "savepoint").await;
}

#[tokio::test]
async fn a_handlers_commit_rolls_back() {
    for end in ["commit", "commit; begin; insert into charges values (8)"] {
        let db = shop().await;
        let mut tx = claimed(&db).await;
        Sqlite::run_in(&mut tx, "insert into charges values (7)").await.unwrap();
        Sqlite::run_in(&mut tx, end).await.unwrap_err();
        let error = db.commit(tx).await.unwrap_err();
        assert!(is_refused(&error), "{end}: {error}");
        assert!(error.to_string().contains("the handler sent COMMIT"), "{end}: {error}");
        nothing_happened(&db, end).await;
    }
}

/// An outage must not be held against the event, even if the handler overlooks it.
#[tokio::test]
async fn a_full_disk_that_the_handler_ignored_is_the_worlds() {
    let db = shop().await;
    // On a table with a trigger, SQLite would undo the statement alone.
    db.run("create table notes (note blob)").await.unwrap();
    let mut tx = claimed(&db).await;
    Sqlite::run_in(&mut tx, "pragma max_page_count = 1").await.unwrap();
    let full = Sqlite::run_in(&mut tx, "insert into notes values (zeroblob(100000))").await.unwrap_err();
    assert_eq!(db.blame(&full), Blame::World, "{full}");
    let error = db.commit(tx).await.unwrap_err();
    assert!(is_unavailable(&error) && error.to_string().contains("disk is full"), "{error}");
    nothing_happened(&db, "full").await;
}

/// Were it an error, the engine would take the connection for lost, and a poison event's failures would never count.
#[tokio::test]
async fn a_transaction_that_sqlite_rolled_back_is_rolled_back() {
    let db = shop().await;
    let mut tx = claimed(&db).await;
    Sqlite::run_in(&mut tx, "insert or rollback into charges values (1)").await.unwrap_err();
    db.rollback(tx).await.unwrap();
    nothing_happened(&db, "rollback").await;
}

#[tokio::test]
async fn a_removed_hook_leaves_the_commit_unknown() {
    let db = shop().await;
    let mut tx = claimed(&db).await;
    tx.lock_handle().await.unwrap().remove_commit_hook();
    let error = db.commit(tx).await.unwrap_err();
    assert!(matches!(error, DatabaseError::Unknown { .. }), "{error}");
}

/// There is one connection for transactions, and migrating uses it too, without a fence.
#[tokio::test]
async fn the_connection_is_free_again_after_a_transaction() {
    let db = Sqlite::bare().await.remove(0);
    db.rollback(db.begin(WAIT, ATTEMPT).await.unwrap()).await.unwrap();
    db.migrate().await.unwrap();
    db.commit(claimed(&db).await).await.unwrap();
    db.run("drop table evenkeel_processed; drop table evenkeel_migrations").await.unwrap();
    db.migrate().await.unwrap();
    assert_eq!(db.number(CLAIMED).await, 0, "the tables are there again");

    let open = claimed(&db).await;
    assert_eq!(db.number(CLAIMED).await, 0, "the service's own connections go on");
    db.commit(open).await.unwrap();
    db.run("create table charges (id integer primary key); insert into charges values (1)").await.unwrap();
    assert_eq!(db.number(CHARGES).await, 1);
}

/// The handler's COMMIT waits behind a statement that takes its time, and the library's behind both.
#[tokio::test]
async fn a_handlers_commit_that_was_given_up_is_not_denied() {
    const SLOW: &str = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 1000000)
        insert into charges select 7 where (select max(i) from n) > 0";
    let db = shop().await;
    let mut tx = claimed(&db).await;
    for given_up in [SLOW, "commit"] {
        let statement = std::pin::pin!(Sqlite::run_in(&mut tx, given_up));
        assert!(futures_util::poll!(statement).is_pending());
    }
    let error = db.commit(tx).await.unwrap_err();
    match error {
        DatabaseError::Unknown { .. } => {
            assert_eq!((db.number(CHARGES).await, db.number(CLAIMED).await), (2, 1))
        }
        error => {
            assert!(is_refused(&error), "{error}");
            nothing_happened(&db, "commit").await;
        }
    }
}
