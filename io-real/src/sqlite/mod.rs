//! SQLite as the database of a bus: one file, on a disk of this machine, shared by as many processes as one likes.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use evenkeel::Sqlite;
//!
//! let db = Sqlite::open("shop.db").await?;
//! sqlx::query("create table if not exists orders (id integer primary key)").execute(db.pool()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! SQLite has one writer at a time, over all processes. So there is one connection for transactions in a process, and
//! each transaction takes the write lock as it begins. Those of one process stand in line here; processes ask the file
//! again and again. A process that is paused in the middle of a transaction holds up all others until it goes on: no
//! server is there to end its session.
//!
//! What it guarantees beyond [`Database`]: a handler's writes commit with its claim or not at all, even where SQLite
//! rolls the transaction back by itself and the handler goes on, or sends a COMMIT of its own.
//!
//! The file is in WAL mode with `synchronous=FULL`: what is committed survives a power cut.

mod fence;
mod migrate;
mod open;
mod tx;
mod verdict;

pub use open::SqliteBuilder;
pub use tx::SqliteTx;

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_core::ports::{Blame, Claim, Database, DatabaseError};
use sqlx::SqlitePool;
use tokio::time::timeout;

use crate::database::{ConnectDatabaseError, Migration, Target};

/// A SQLite database. Cloned freely: a handle, not the thing.
#[derive(Debug, Clone)]
pub struct Sqlite {
    writer: SqlitePool,
    pool: SqlitePool,
    target: Target,
}

impl Sqlite {
    /// Opens the file with the default settings, and creates it if it is not there.
    ///
    /// # Errors
    /// [`ConnectDatabaseError`] if the file cannot be opened, created or written.
    pub async fn open(file: impl AsRef<Path>) -> Result<Self, ConnectDatabaseError> {
        Self::builder(file).open().await
    }

    /// Settings other than the default ones.
    pub fn builder(file: impl AsRef<Path>) -> SqliteBuilder {
        SqliteBuilder::new(file.as_ref())
    }

    /// Connections for the service's own queries, apart from the one that handlers write through. Best for reading: a
    /// write waits its turn by polling.
    #[must_use]
    pub fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    /// The steps by which the library's tables came to be, for those who run their SQL themselves.
    #[must_use]
    pub fn migrations() -> &'static [Migration] {
        migrate::MIGRATIONS
    }
}

impl Database for Sqlite {
    type Tx = SqliteTx;

    async fn migrate(&self) -> Result<(), DatabaseError> {
        migrate::migrate(&self.writer).await.map_err(|error| self.target.failed(&error))
    }

    async fn begin(&self, wait: Duration, _attempt: Duration) -> Result<SqliteTx, DatabaseError> {
        let begin = async { SqliteTx::begin(self.writer.acquire().await?).await };
        match timeout(wait, begin).await {
            Ok(Ok(tx)) => Ok(tx),
            Ok(Err(sqlx::Error::PoolTimedOut)) | Err(_) => {
                Err(self.target.unavailable(format!("the write lock did not come free within {wait:?}")))
            }
            Ok(Err(error)) => Err(self.target.unavailable(error)),
        }
    }

    async fn claim(&self, tx: &mut SqliteTx, claims: &[Claim]) -> Result<Vec<bool>, DatabaseError> {
        let claimed = async {
            match claims {
                [] => Ok(Vec::new()),
                [claim] => tx.claim_one(claim).await.map(|fresh| vec![fresh]),
                claims => tx.claim_many(claims).await,
            }
        };
        self.target.limits.answered(claimed).await.map_err(|error| self.target.failed(&error))
    }

    async fn commit(&self, tx: SqliteTx) -> Result<(), DatabaseError> {
        let fence = tx.fence();
        let answer = self.target.limits.answered(tx.commit()).await;
        verdict::of_commit(answer, fence.standing(), Arc::clone(&self.target.address))
    }

    async fn rollback(&self, tx: SqliteTx) -> Result<(), DatabaseError> {
        self.target.limits.answered(tx.rollback()).await.map_err(|error| self.target.unavailable(error))
    }

    fn blame(&self, error: &(dyn Error + 'static)) -> Blame {
        verdict::blame(error)
    }

    fn capacity(&self) -> u32 {
        self.writer.options().get_max_connections()
    }
}
