//! A transaction on SQLite, as handlers get it.

use std::fmt::{self, Write};
use std::ops::{Deref, DerefMut};

use evenkeel_core::ports::Claim;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::SqliteTransactionManager;
use sqlx::{Connection, SqlSafeStr, SqliteConnection};
use sqlx_core::transaction::TransactionManager;

/// An open transaction, which holds the file's write lock. Use it as a connection of sqlx; COMMIT and ROLLBACK are the
/// library's.
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
/// Dropping it closes the connection, which rolls back as soon as a statement that still runs has ended.
pub struct SqliteTx {
    /// `None` only after `commit` or `rollback` took it.
    connection: Option<PoolConnection<sqlx::Sqlite>>,
}

impl SqliteTx {
    pub(super) async fn begin(connection: PoolConnection<sqlx::Sqlite>) -> Result<Self, sqlx::Error> {
        let mut tx = Self { connection: Some(connection) };
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
        let mut fresh: Vec<Vec<u8>> = sqlx::query_scalar(include_str!("sql/claim_many.sql"))
            .bind(rows(claims))
            .fetch_all(&mut **self)
            .await?;
        fresh.sort_unstable();
        let is_fresh = |claim: &Claim| fresh.binary_search_by(|key| key[..].cmp(&claim.key.0[..])).is_ok();
        Ok(claims.iter().map(is_fresh).collect())
    }

    /// With a savepoint left open, sqlx releases that one and calls it a success. So the depth is looked at, and
    /// afterwards: savepoints that were dropped are undone by the connection's thread, in its own time.
    pub(super) async fn commit(mut self) -> Result<(), sqlx::Error> {
        SqliteTransactionManager::commit(&mut self).await?;
        if self.is_in_transaction() {
            return Err(sqlx::Error::InvalidSavePointStatement);
        }
        self.hand_back();
        Ok(())
    }

    pub(super) async fn rollback(mut self) -> Result<(), sqlx::Error> {
        SqliteTransactionManager::rollback(&mut self).await?;
        self.hand_back();
        Ok(())
    }

    /// Lets the pool have the connection again, unless a savepoint was left open on it.
    fn hand_back(&mut self) {
        if !self.is_in_transaction() {
            drop(self.connection.take());
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

impl Drop for SqliteTx {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(connection.detach());
        }
    }
}

impl Deref for SqliteTx {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        self.connection
            .as_deref()
            .expect("only `commit` and `rollback` take it, and they consume the transaction")
    }
}

impl DerefMut for SqliteTx {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        self.connection
            .as_deref_mut()
            .expect("only `commit` and `rollback` take it, and they consume the transaction")
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
