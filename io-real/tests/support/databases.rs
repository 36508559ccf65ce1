//! What the database suite needs of each database beyond the port: a fresh one, tables, and ways to misbehave.

use std::future::Future;
use std::path::PathBuf;
use std::process::id;
use std::sync::atomic::{AtomicU32, Ordering};

use evenkeel::{PgTx, Postgres, Sqlite, SqliteTx};
use evenkeel_core::ports::{Database, DatabaseError};
use sqlx::{AssertSqlSafe, Connection};

use super::services;

/// A database under test.
pub trait UnderTest: Database + Clone {
    /// A database that no other test uses, with the library's tables.
    fn fresh() -> impl Future<Output = Self> + Send;

    /// Four handles on one database that no other test uses, without the library's tables.
    fn bare() -> impl Future<Output = Vec<Self>> + Send;

    /// Runs statements of the service's own, outside of any transaction of the library.
    fn run(&self, sql: &str) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// One number from a query of the service's own.
    fn number(&self, sql: &str) -> impl Future<Output = i64> + Send;

    /// Runs statements as a handler would.
    fn run_in(tx: &mut Self::Tx, sql: &str) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Runs a statement in a savepoint and gives the savepoint up.
    fn try_in(tx: &mut Self::Tx, sql: &str) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Begins a savepoint and never ends it.
    fn leave_savepoint_open(tx: &mut Self::Tx) -> impl Future<Output = ()> + Send;

    /// The library's tables as they really are, in the form of `schema.sql`.
    fn dump(&self) -> impl Future<Output = String> + Send;

    /// The checked-in dump.
    const SCHEMA: &'static str;
}

impl UnderTest for Postgres {
    const SCHEMA: &'static str = include_str!("../../src/postgres/schema.sql");

    async fn fresh() -> Self {
        let database = Self::bare().await.remove(0);
        database.migrate().await.expect("the tables can be created");
        database
    }

    async fn bare() -> Vec<Self> {
        let url = services::postgres().await;
        let mut handles = Vec::new();
        for _ in 0..4 {
            handles.push(Self::builder(&url).pool_size(10).connect().await.expect("the server is up"));
        }
        handles
    }

    async fn run(&self, sql: &str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(self.pool()).await.map(drop)
    }

    async fn number(&self, sql: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(self.pool()).await.expect("the query is right")
    }

    async fn run_in(tx: &mut PgTx, sql: &str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut **tx).await.map(drop)
    }

    async fn try_in(tx: &mut PgTx, sql: &str) -> Result<(), sqlx::Error> {
        let mut savepoint = tx.begin().await?;
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *savepoint).await?;
        savepoint.rollback().await
    }

    async fn leave_savepoint_open(tx: &mut PgTx) {
        std::mem::forget(tx.begin().await.expect("a savepoint can be had"));
    }

    async fn dump(&self) -> String {
        sqlx::query_scalar(include_str!("describe_postgres.sql"))
            .fetch_one(self.pool())
            .await
            .expect("the catalogue can be read")
    }
}

impl UnderTest for Sqlite {
    const SCHEMA: &'static str = include_str!("../../src/sqlite/schema.sql");

    async fn fresh() -> Self {
        let database = Self::bare().await.remove(0);
        database.migrate().await.expect("the tables can be created");
        database
    }

    async fn bare() -> Vec<Self> {
        let file = sqlite_file();
        let mut handles = Vec::new();
        for _ in 0..4 {
            handles.push(Self::open(&file).await.expect("the file can be created"));
        }
        handles
    }

    async fn run(&self, sql: &str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(self.pool()).await.map(drop)
    }

    async fn number(&self, sql: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(self.pool()).await.expect("the query is right")
    }

    async fn run_in(tx: &mut SqliteTx, sql: &str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut **tx).await.map(drop)
    }

    async fn try_in(tx: &mut SqliteTx, sql: &str) -> Result<(), sqlx::Error> {
        let mut savepoint = tx.begin().await?;
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *savepoint).await?;
        savepoint.rollback().await
    }

    async fn leave_savepoint_open(tx: &mut SqliteTx) {
        std::mem::forget(tx.begin().await.expect("a savepoint can be had"));
    }

    async fn dump(&self) -> String {
        sqlx::query_scalar(include_str!("describe_sqlite.sql"))
            .fetch_one(self.pool())
            .await
            .expect("the catalogue can be read")
    }
}

/// A file that no other test uses, in a folder that goes with `target`.
pub fn sqlite_file() -> PathBuf {
    static CREATED: AtomicU32 = AtomicU32::new(0);
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("sqlite-{}", id()));
    std::fs::create_dir_all(&folder).expect("the build's folder for temporary files can be written");
    folder.join(format!("{}.db", CREATED.fetch_add(1, Ordering::Relaxed)))
}

/// Whether an error says that nothing happened and that the database is to blame.
pub fn is_unavailable(error: &DatabaseError) -> bool {
    matches!(error, DatabaseError::Unavailable { .. })
}

/// Whether an error says that nothing was committed and that the handler is to blame.
pub fn is_refused(error: &DatabaseError) -> bool {
    matches!(error, DatabaseError::Refused { .. } | DatabaseError::Ended { .. })
}
