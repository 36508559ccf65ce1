//! PostgreSQL as the database of a bus, with a window on what becomes of its transactions.
//!
//! Every call is handed on as it is. What came of it is counted, so that a test can wait for a failure instead of
//! guessing when it comes; and the answers to COMMIT can be held back for ever, which stops a process at the one point
//! where its effects are durable and its offsets are not committed.

use std::error::Error;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use evenkeel::{PgTx, Postgres};
use evenkeel_core::ports::{Blame, Claim, Database, DatabaseError};

/// See the [module](self).
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    database: Postgres,
    /// So many commits are answered.
    answered: u64,
    pub(crate) tally: Arc<Tally>,
}

/// What became of the transactions so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    failed_begins: AtomicU64,
    claimed_before: AtomicU64,
    commits: AtomicU64,
    lost_commits: AtomicU64,
    held_commits: AtomicU64,
    /// Transactions that are open or waiting for a connection.
    wanted: AtomicU64,
    most_wanted: AtomicU64,
}

impl Tally {
    /// Transactions that could not begin.
    pub(crate) fn failed_begins(&self) -> u64 {
        self.failed_begins.load(Ordering::Acquire)
    }

    /// Claims that an earlier transaction had made.
    pub(crate) fn claimed_before(&self) -> u64 {
        self.claimed_before.load(Ordering::Acquire)
    }

    /// Transactions that did commit.
    pub(crate) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Acquire)
    }

    /// The most transactions that were open or waiting for a connection at once.
    pub(crate) fn most_wanted(&self) -> u64 {
        self.most_wanted.load(Ordering::Acquire)
    }

    /// Commits without an answer.
    pub(crate) fn lost_commits(&self) -> u64 {
        self.lost_commits.load(Ordering::Acquire)
    }

    /// Transactions that did commit and whose callers wait for the answer for ever.
    pub(crate) fn held_commits(&self) -> u64 {
        self.held_commits.load(Ordering::Acquire)
    }
}

impl Tally {
    fn ended(&self) {
        self.wanted.fetch_sub(1, Ordering::AcqRel);
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::AcqRel);
}

impl Watched {
    /// Watches `database`.
    pub(crate) fn new(database: Postgres) -> Self {
        Self { database, answered: u64::MAX, tally: Arc::default() }
    }

    /// Watches `database`, and holds the answers to all commits after the first `answered` back.
    pub(crate) fn holding_commits_after(answered: u64, database: Postgres) -> Self {
        Self { answered, ..Self::new(database) }
    }
}

impl Database for Watched {
    type Tx = PgTx;

    async fn migrate(&self) -> Result<(), DatabaseError> {
        self.database.migrate().await
    }

    async fn begin(&self, wait: Duration, attempt: Duration) -> Result<PgTx, DatabaseError> {
        let wanted = self.tally.wanted.fetch_add(1, Ordering::AcqRel) + 1;
        self.tally.most_wanted.fetch_max(wanted, Ordering::AcqRel);
        self.database.begin(wait, attempt).await.inspect_err(|_| {
            self.tally.ended();
            count(&self.tally.failed_begins);
        })
    }

    async fn claim(&self, tx: &mut PgTx, claims: &[Claim]) -> Result<Vec<bool>, DatabaseError> {
        let fresh = self.database.claim(tx, claims).await?;
        fresh.iter().filter(|fresh| !**fresh).for_each(|_| count(&self.tally.claimed_before));
        Ok(fresh)
    }

    async fn commit(&self, tx: PgTx) -> Result<(), DatabaseError> {
        let committed = self.database.commit(tx).await;
        self.tally.ended();
        match committed {
            Ok(()) => {}
            Err(error) => {
                if matches!(error, DatabaseError::Unknown { .. }) {
                    count(&self.tally.lost_commits);
                }
                return Err(error);
            }
        }
        if self.tally.commits.fetch_add(1, Ordering::AcqRel) >= self.answered {
            count(&self.tally.held_commits);
            pending::<()>().await;
        }
        Ok(())
    }

    async fn rollback(&self, tx: PgTx) -> Result<(), DatabaseError> {
        let rolled_back = self.database.rollback(tx).await;
        self.tally.ended();
        rolled_back
    }

    fn blame(&self, error: &(dyn Error + 'static)) -> Blame {
        self.database.blame(error)
    }

    fn capacity(&self) -> u32 {
        self.database.capacity()
    }
}
