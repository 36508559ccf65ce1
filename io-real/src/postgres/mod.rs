//! PostgreSQL, 12 or later, as the database of a bus.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use evenkeel::Postgres;
//!
//! let db = Postgres::connect("postgres://shop@localhost/shop").await?;
//! sqlx::query("create table if not exists orders (id bigint primary key)").execute(db.pool()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! What it guarantees beyond [`Database`]: `commit` answers `Ok` only if the server did commit. PostgreSQL answers
//! COMMIT with success, and a ROLLBACK, when an earlier statement had failed and the handler went on as if nothing had
//! happened; that is [`DatabaseError::Refused`] here.

mod connect;
mod migrate;
mod tx;
mod verdict;

pub use connect::PostgresBuilder;
pub use tx::PgTx;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_core::ports::{Blame, Claim, Database, DatabaseError};
use sqlx::PgPool;
use sqlx_core::transaction::TransactionManager;
use tokio::time::timeout;

use crate::database::{ConnectDatabaseError, Limits, Migration, Target};

/// A pool of connections to a PostgreSQL database. Cloned freely: a handle, not the thing.
#[derive(Debug, Clone)]
pub struct Postgres {
    pool: PgPool,
    target: Target,
}

impl Postgres {
    /// Connects to `postgres://USER:PASSWORD@HOST:PORT/DATABASE` with the default settings.
    ///
    /// # Errors
    /// [`ConnectDatabaseError`] if the address cannot be read or the server does not let us in.
    pub async fn connect(url: &str) -> Result<Self, ConnectDatabaseError> {
        Self::builder(url).connect().await
    }

    /// Settings other than the default ones.
    pub fn builder(url: &str) -> PostgresBuilder {
        PostgresBuilder::new(url)
    }

    /// The connections, for the service's own queries. They are the ones that handlers use, with the same limits.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// The steps by which the library's tables came to be, for those who run their SQL themselves.
    #[must_use]
    pub fn migrations() -> &'static [Migration] {
        migrate::MIGRATIONS
    }
}

impl Database for Postgres {
    type Tx = PgTx;

    async fn migrate(&self) -> Result<(), DatabaseError> {
        migrate::migrate(&self.pool).await.map_err(|error| self.target.failed(&error))
    }

    async fn begin(&self, wait: Duration, attempt: Duration) -> Result<PgTx, DatabaseError> {
        let limits = Limits::of_attempt(attempt);
        let statement = connect::begin(limits, self.target.limits);
        let begin = async {
            let mut tx = PgTx::new(self.pool.acquire().await?, limits);
            sqlx::postgres::PgTransactionManager::begin(&mut tx, Some(statement)).await?;
            Ok(tx)
        };
        match timeout(wait, begin).await {
            Ok(Ok(tx)) => Ok(tx),
            Ok(Err(sqlx::Error::PoolTimedOut)) | Err(_) => Err(self.target.unavailable(format!(
                "no connection within {wait:?}; {} of at most {} are open, {} of them idle",
                self.pool.size(),
                self.capacity(),
                self.pool.num_idle(),
            ))),
            Ok(Err(error)) => Err(self.target.unavailable(error)),
        }
    }

    async fn claim(&self, tx: &mut PgTx, claims: &[Claim]) -> Result<Vec<bool>, DatabaseError> {
        let limits = tx.limits();
        let claimed = async {
            match claims {
                [] => Ok(Vec::new()),
                [claim] => tx.claim_one(claim).await.map(|fresh| vec![fresh]),
                claims => tx.claim_many(claims).await,
            }
        };
        limits.answered(claimed).await.map_err(|error| self.target.failed(&error))
    }

    async fn commit(&self, tx: PgTx) -> Result<(), DatabaseError> {
        match tx.limits().answered(tx.commit()).await {
            Ok(()) => Ok(()),
            Err(error) => Err(verdict::of_commit(&error, Arc::clone(&self.target.address))),
        }
    }

    async fn rollback(&self, tx: PgTx) -> Result<(), DatabaseError> {
        tx.limits().answered(tx.rollback()).await.map_err(|error| self.target.unavailable(error))
    }

    fn blame(&self, error: &(dyn Error + 'static)) -> Blame {
        verdict::blame(error)
    }

    fn capacity(&self) -> u32 {
        self.pool.options().get_max_connections()
    }
}
