//! The database of a service: transactions that also record which events were handled.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use super::DatabaseError;
use crate::model::{Offset, PartitionId};

/// Identifies an event as handled by one handler: the SHA-256 of group, handler, base topic, source and id, each
/// preceded by its length. Hashed so that no collation, trailing space, NUL byte or index limit can merge two events
/// or refuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimKey(pub [u8; 32]);

/// A handler's claim to an event, as a row of `evenkeel_processed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// The identity; the table's primary key.
    pub key: ClaimKey,
    /// The partition the event came from, kept for pruning and diagnosis.
    pub partition: PartitionId,
    /// The event's offset there.
    pub offset: Offset,
}

/// Who is to blame for an error that a handler returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The handler or its event: it counts as an attempt.
    Handler,
    /// The database: a lost connection, a shutdown, a deadlock, a serialisation failure. Not an attempt.
    World,
}

/// A database that keeps claims beside the service's own tables.
///
/// Dropping a transaction that was neither committed nor rolled back closes its connection, so that a cancelled
/// handler holds no locks.
#[diagnostic::on_unimplemented(
    message = "this bus has no database, so it has no exactly-once handlers",
    label = "needs a database",
    note = "give the bus one as it is opened: `Bus::builder(..).kafka(..).database(..).open()`"
)]
pub trait Database: Send + Sync + 'static {
    /// The open transaction that handlers write through.
    type Tx: Send + 'static;

    /// Creates or upgrades the library's tables. Safe to run from many processes at once.
    fn migrate(&self) -> impl Future<Output = Result<(), DatabaseError>> + Send;

    /// Begins a transaction, waiting for a connection for at most `wait`. The database's own limits on it follow from
    /// `attempt`, how long the handler may take: a lock that is not granted is given up before that.
    fn begin(
        &self,
        wait: Duration,
        attempt: Duration,
    ) -> impl Future<Output = Result<Self::Tx, DatabaseError>> + Send;

    /// Claims events with one statement. `claims` are in ascending order of key, without twins; the answer tells for
    /// each whether this transaction is the first to claim it. Waits for other transactions that claimed the same
    /// ones and are still open.
    fn claim(
        &self,
        tx: &mut Self::Tx,
        claims: &[Claim],
    ) -> impl Future<Output = Result<Vec<bool>, DatabaseError>> + Send;

    /// Commits. `Ok` is durable. See [`DatabaseError`] for what an error lets conclude.
    fn commit(&self, tx: Self::Tx) -> impl Future<Output = Result<(), DatabaseError>> + Send;

    /// Rolls back. An error means that the connection was lost, which rolls back too.
    fn rollback(&self, tx: Self::Tx) -> impl Future<Output = Result<(), DatabaseError>> + Send;

    /// Judges an error that a handler returned, by the database's error in its chain of sources, if there is one.
    fn blame(&self, error: &(dyn Error + 'static)) -> Blame;

    /// The most transactions that can be open at once in this process.
    fn capacity(&self) -> u32;
}
