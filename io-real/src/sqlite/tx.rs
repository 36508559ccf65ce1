//! A transaction on SQLite, as handlers get it.

use std::fmt::{self, Write};
use std::ops::{Deref, DerefMut};

use evenkeel_core::ports::Claim;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::SqliteTransactionManager;
use sqlx::{Connection, SqlSafeStr, SqliteConnection};
use sqlx_core::transaction::TransactionManager;

use crate::database::{Guard, made_now};

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
pub struct SqliteTx(Guard<sqlx::Sqlite>);

impl SqliteTx {
    pub(super) async fn begin(connection: PoolConnection<sqlx::Sqlite>) -> Result<Self, sqlx::Error> {
        let mut tx = Self(Guard::new(connection));
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

    /// With a savepoint left open, sqlx releases that one and calls it a success. So the depth is looked at, and
    /// afterwards: savepoints that were dropped are undone by the connection's thread, in its own time.
    pub(super) async fn commit(mut self) -> Result<(), sqlx::Error> {
        SqliteTransactionManager::commit(&mut self).await?;
        if self.is_in_transaction() {
            return Err(sqlx::Error::InvalidSavePointStatement);
        }
        self.0.hand_back();
        Ok(())
    }

    pub(super) async fn rollback(mut self) -> Result<(), sqlx::Error> {
        SqliteTransactionManager::rollback(&mut self).await?;
        self.0.hand_back();
        Ok(())
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
        &self.0
    }
}

impl DerefMut for SqliteTx {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.0
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
