//! Brings the library's tables up to date, one process at a time.

use sqlx::{Executor, PgPool};

use crate::database::Migration;

pub(super) const MIGRATIONS: &[Migration] =
    &[Migration { version: 1, title: "claims", sql: include_str!("sql/migrations/0001_claims.sql") }];

/// The advisory lock that migrating processes stand in line for. Any number will do, as long as it stays.
const LOCK: i64 = 0x4556_454e_4b45_454c;

/// Everything in one transaction, under a lock that ends with it. Tables of a newer release are left as they are.
/// When there is nothing to do, no right to create tables is needed.
pub(super) async fn migrate(pool: &PgPool) -> Result<(), sqlx::Error> {
    let mut tx = pool.begin().await?;
    sqlx::query(include_str!("sql/migration_lock.sql")).bind(LOCK).execute(&mut *tx).await?;
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
