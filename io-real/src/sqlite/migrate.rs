//! Brings the library's tables up to date, one process at a time.

use sqlx::{Executor, SqlitePool};

use crate::database::Migration;

pub(super) const MIGRATIONS: &[Migration] =
    &[Migration { version: 1, title: "claims", sql: include_str!("sql/migrations/0001_claims.sql") }];

/// Everything in one transaction that holds the write lock from its beginning. Tables of a newer release are left as
/// they are.
pub(super) async fn migrate(writer: &SqlitePool) -> Result<(), sqlx::Error> {
    let mut tx = writer.begin_with(include_str!("sql/begin.sql")).await?;
    let migrated: bool = sqlx::query_scalar(include_str!("sql/migrated.sql")).fetch_one(&mut *tx).await?;
    let version: i32 = match migrated {
        true => sqlx::query_scalar(include_str!("sql/version.sql")).fetch_one(&mut *tx).await?,
        false => 0,
    };
    for migration in Migration::missing(MIGRATIONS, version) {
        tx.execute(sqlx::raw_sql(migration.sql)).await?;
    }
    tx.commit().await
}
