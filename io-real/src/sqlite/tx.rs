//! A transaction on SQLite, as handlers get it.

use std::fmt::{self, Write};
use std::ops::{Deref, DerefMut};

use evenkeel_core::ports::Claim;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::SqliteTransactionManager;
use sqlx::{Connection, SqlSafeStr, SqliteConnection};
use sqlx_core::transaction::TransactionManager;

use super::fence::{Fence, Standing};
use crate::database::{Guard, made_now};

/// An open transaction, which holds the file's write lock. Use it as a connection of sqlx; COMMIT and ROLLBACK are the
/// library's, and so are the connection's commit hook and rollback hook.
///
/// ```no_run
/// # use evenkeel::SqliteTx;
/// async fn charge(tx: &mut SqliteTx, order: i64) -> Result<(), sqlx::Error> {
///     sqlx::query("insert into charges (order_id) values (?1)").bind(order).execute(&mut **tx).await?;
///     Ok(())
/// }
/// ```
///
/// Savepoints are sqlx's: `let mut inner = tx.begin().await?`, with `sqlx::Connection` in scope.
///
/// SQLite rolls back a whole transaction when the disk is full or fails, and for `or rollback` and `raise(rollback)`.
/// What is written after that is refused (`SQLITE_CONSTRAINT_COMMITHOOK`, 531), and the event is not done: return the
/// errors of statements.
///
/// Dropping it closes the connection, which rolls back as soon as a statement that still runs has ended.
pub struct SqliteTx {
    guard: Guard<sqlx::Sqlite>,
    fence: Fence,
}

impl SqliteTx {
    pub(super) async fn begin(connection: PoolConnection<sqlx::Sqlite>) -> Result<Self, sqlx::Error> {
        let mut guard = Guard::new(connection);
        let fence = Fence::around(&mut guard).await?;
        let mut tx = Self { guard, fence };
        let statement = include_str!("sql/begin.sql").into_sql_str();
        SqliteTransactionManager::begin(&mut tx, Some(statement)).await?;
        Ok(tx)
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
        let fresh: Vec<Vec<u8>> = sqlx::query_scalar(include_str!("sql/claim_many.sql"))
            .bind(rows(claims))
            .fetch_all(&mut **self)
            .await?;
        Ok(made_now(claims, fresh))
    }

    /// How the transaction stands, also once it is consumed.
    pub(super) fn fence(&self) -> Fence {
        self.fence.clone()
    }

    /// Answers as COMMIT does, or as the last statement did if nothing is left to commit: the fence knows which.
    ///
    /// With a savepoint left open, sqlx releases that one and calls it a success. So the depth is looked at, and
    /// afterwards: savepoints that were dropped are undone by the connection's thread, in its own time.
    pub(super) async fn commit(mut self) -> Result<(), sqlx::Error> {
        if let Standing::Lost(_) = self.fence.standing() {
            return self.last_statement().await;
        }
        self.fence.ask();
        SqliteTransactionManager::commit(&mut self).await?;
        if self.is_in_transaction() {
            return Err(sqlx::Error::InvalidSavePointStatement);
        }
        if self.fence.standing() == Standing::Allowed {
            self.fence.lift();
            self.guard.hand_back();
        }
        Ok(())
    }

    /// Whether the last statement failed: what ended a transaction, unless the handler ran more after it.
    async fn last_statement(&mut self) -> Result<(), sqlx::Error> {
        let last = self.lock_handle().await?.last_error();
        last.map_or(Ok(()), |error| Err(sqlx::Error::Database(Box::new(error))))
    }

    pub(super) async fn rollback(mut self) -> Result<(), sqlx::Error> {
        match SqliteTransactionManager::rollback(&mut self).await {
            Ok(()) => {
                self.fence.lift();
                self.guard.hand_back();
                Ok(())
            }
            // Nothing was left to roll back.
            Err(_) if matches!(self.fence.standing(), Standing::Lost(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The claims as JSON, `[["00ff…", partition, offset], …]`: SQLite has no arrays to bind.
fn rows(claims: &[Claim]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut json = String::with_capacity(2 + claims.len() * 96);
    json.push('[');
    for (nth, claim) in claims.iter().enumerate() {
        json.push_str(if nth == 0 { "[\"" } else { ",[\"" });
        for byte in claim.key.0 {
            json.push(char::from(DIGITS[usize::from(byte >> 4)]));
            json.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        write!(json, "\",{},{}]", claim.partition, claim.offset)
            .expect("a String takes all that is written to it");
    }
    json.push(']');
    json
}

impl Deref for SqliteTx {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.guard
    }
}

impl DerefMut for SqliteTx {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.guard
    }
}

impl fmt::Debug for SqliteTx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteTx").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_core::model::{Offset, PartitionId};
    use evenkeel_core::ports::ClaimKey;

    use super::*;

    #[test]
    fn claims_become_rows_of_json() {
        let claim = |byte, offset| Claim {
            key: ClaimKey([byte; 32]),
            partition: PartitionId(3),
            offset: Offset(offset),
        };
        assert_eq!(rows(&[]), "[]");
        let (low, high) = ("09".repeat(32), "fe".repeat(32));
        assert_eq!(rows(&[claim(0x09, 7), claim(0xfe, 8)]), format!("[[\"{low}\",3,7],[\"{high}\",3,8]]"));
    }
}
