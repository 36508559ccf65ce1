//! A transaction on PostgreSQL, as handlers get it.

use std::fmt;
use std::ops::{Deref, DerefMut};

use evenkeel_core::ports::Claim;
use sqlx::PgConnection;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgTransactionManager;
use sqlx_core::transaction::TransactionManager;

use crate::database::{Guard, Limits, made_now};

/// An open transaction. Use it as a connection of sqlx; COMMIT and ROLLBACK are the library's.
///
/// ```no_run
/// # use evenkeel::PgTx;
/// async fn charge(tx: &mut PgTx, order: i64) -> Result<(), sqlx::Error> {
///     sqlx::query("insert into charges (order_id) values ($1)").bind(order).execute(&mut **tx).await?;
///     Ok(())
/// }
/// ```
///
/// Savepoints are sqlx's: `let mut inner = tx.begin().await?`, with `sqlx::Connection` in scope.
///
/// Dropping it closes the connection, and the server rolls back: at once if it waits for a statement, within
/// `client_connection_check_interval` if one is running.
pub struct PgTx {
    guard: Guard<sqlx::Postgres>,
    limits: Limits,
}

impl PgTx {
    /// Takes charge of a connection on which a transaction is about to begin.
    pub(super) fn new(connection: PoolConnection<sqlx::Postgres>, limits: Limits) -> Self {
        Self { guard: Guard::new(connection), limits }
    }

    /// Those that the server keeps for this transaction.
    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    pub(super) async fn claim_one(&mut self, claim: &Claim) -> Result<bool, sqlx::Error> {
        let done = sqlx::query(include_str!("sql/claim_one.sql"))
            .bind(&claim.key.0[..])
            .bind(claim.partition.0)
            .bind(claim.offset.0)
            .execute(&mut **self)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    pub(super) async fn claim_many(&mut self, claims: &[Claim]) -> Result<Vec<bool>, sqlx::Error> {
        let keys: Vec<&[u8]> = claims.iter().map(|claim| &claim.key.0[..]).collect();
        let partitions: Vec<i32> = claims.iter().map(|claim| claim.partition.0).collect();
        let offsets: Vec<i64> = claims.iter().map(|claim| claim.offset.0).collect();
        let fresh: Vec<Vec<u8>> = sqlx::query_scalar(include_str!("sql/claim_many.sql"))
            .bind(keys)
            .bind(partitions)
            .bind(offsets)
            .fetch_all(&mut **self)
            .await?;
        Ok(made_now(claims, fresh))
    }

    /// Commits, in one round trip, and fails unless the transaction that was begun is still there, and whole.
    ///
    /// The server answers a plain COMMIT with success when the transaction had failed before, and when the handler has
    /// ended it and begun another, which lacks the claim. So a cursor that lasts as long as the transaction is declared
    /// with BEGIN, and closed before COMMIT in the same text: that fails in a failed transaction, and in any other than
    /// its own, and then nothing after it is run. The empty transaction that `and chain` begins keeps sqlx's count of
    /// open ones true; its rollback travels with whatever is sent next.
    pub(super) async fn commit(mut self) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(include_str!("sql/commit.sql")).execute(&mut *self).await?;
        PgTransactionManager::start_rollback(&mut self);
        self.guard.hand_back();
        Ok(())
    }

    pub(super) async fn rollback(mut self) -> Result<(), sqlx::Error> {
        PgTransactionManager::rollback(&mut self).await?;
        self.guard.hand_back();
        Ok(())
    }
}

impl Deref for PgTx {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.guard
    }
}

impl DerefMut for PgTx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.guard
    }
}

impl fmt::Debug for PgTx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgTx").finish_non_exhaustive()
    }
}
