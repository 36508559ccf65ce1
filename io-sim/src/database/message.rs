//! What is said to the database and what it says: requests, answers, errors, and the world's orders.
//!
//! Keys and values are bytes; typed access is a layer above. A session's requests are served strictly in order, each
//! is answered exactly once or hung up on. Errors are PostgreSQL's, so that whoever judges the real server's errors
//! can judge these.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_core::model::RequestId;

/// A connection, as the server counts them. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// A table, by its place in [`DatabaseConfig::tables`](super::DatabaseConfig::tables).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(pub u16);

/// The place of a commit in the order of all. Only commits that wrote something have one of their own. What was lost
/// leaves a gap: no number is given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct CommitSequence(pub u64);

/// How much a transaction may see of its neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// A snapshot for each statement; whoever waited for a row sees it as it is then.
    #[default]
    ReadCommitted,
    /// One snapshot for all statements, taken by the first. To write a row that was changed since fails.
    RepeatableRead,
    /// As repeatable read, and a transaction that wrote and of whose reads one was overtaken cannot commit. Stricter than PostgreSQL,
    /// which lets some of them pass: those that wrote are equivalent to their order of commits, those that only
    /// read to the moment of their snapshot.
    Serializable,
}

/// A row: its value, and what else must be unique about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What the row holds.
    pub value: Bytes,
    /// Its further keys, if it has any.
    pub keys: Option<Arc<RowKeys>>,
}

/// Keys of a row beside its primary one. A table has one space for each kind; several constraints share it by a prefix.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowKeys {
    /// No other row of the table has one of these. Judged by the statement that writes.
    pub unique: Vec<Bytes>,
    /// No other row of the table has one of these. Judged at COMMIT, without waiting: of two open transactions the
    /// second to commit is refused.
    pub deferred: Vec<Bytes>,
}

impl Row {
    /// A row without further keys.
    #[must_use]
    pub fn new(value: impl Into<Bytes>) -> Self {
        Self { value: value.into(), keys: None }
    }

    /// The row with one more unique key.
    #[must_use]
    pub fn unique(mut self, key: impl Into<Bytes>) -> Self {
        Arc::make_mut(self.keys.get_or_insert_default()).unique.push(key.into());
        self
    }

    /// The row with one more key that is judged at COMMIT.
    #[must_use]
    pub fn deferred(mut self, key: impl Into<Bytes>) -> Self {
        Arc::make_mut(self.keys.get_or_insert_default()).deferred.push(key.into());
        self
    }

    pub(super) fn unique_keys(&self) -> &[Bytes] {
        self.keys.as_ref().map_or(&[], |keys| &keys.unique)
    }

    pub(super) fn deferred_keys(&self) -> &[Bytes] {
        self.keys.as_ref().map_or(&[], |keys| &keys.deferred)
    }
}

/// How long an advisory lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockScope {
    /// Until the transaction ends, or is rolled back to before it.
    Transaction,
    /// Until it is unlocked as often as it was locked, or the session ends.
    Session,
}

/// What a client asks. Outside of a transaction a statement commits by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Begins a transaction. Answered by [`Answer::Done`], as are savepoints.
    Begin {
        /// Its isolation.
        isolation: Isolation,
    },
    /// Commits. Answered by [`Answer::Committed`], or [`Answer::RolledBack`] if an earlier statement had failed.
    Commit,
    /// Rolls back. Answered by [`Answer::RolledBack`].
    Rollback,
    /// Ends the session, and rolls back what is open. Answered by [`Answer::Done`].
    Close,
    /// Sets a savepoint. The same name again hides the earlier one.
    Savepoint(u32),
    /// Undoes all since the savepoint, a failure too. The savepoint stays.
    RollbackTo(u32),
    /// Forgets the savepoint and all later ones. What was done stays.
    Release(u32),
    /// Reads a row. Answered by [`Answer::Row`].
    Get {
        /// The table.
        table: TableId,
        /// The row's key.
        key: Bytes,
    },
    /// Reads a row and locks it until the transaction ends. A row that is not there locks nothing.
    GetForUpdate {
        /// The table.
        table: TableId,
        /// The row's key.
        key: Bytes,
    },
    /// Reads the rows of a range in order of key. Answered by [`Answer::Rows`].
    Scan {
        /// The table.
        table: TableId,
        /// The first key.
        from: Bytes,
        /// The key behind the last; without it, to the end.
        to: Option<Bytes>,
        /// The most rows to answer.
        limit: usize,
    },
    /// Writes a row, whether it is there or not. Answered by [`Answer::Done`].
    Put {
        /// The table.
        table: TableId,
        /// The row's key.
        key: Bytes,
        /// The row.
        row: Row,
    },
    /// Writes a row that must not be there yet. Answered by [`Answer::Done`].
    Insert {
        /// The table.
        table: TableId,
        /// The row's key.
        key: Bytes,
        /// The row.
        row: Row,
    },
    /// Writes those of the rows that conflict with none, in the order given: `insert … on conflict do nothing
    /// returning`. Answered by [`Answer::Inserted`].
    InsertOrIgnore {
        /// The table.
        table: TableId,
        /// The rows and their keys.
        rows: Vec<(Bytes, Row)>,
    },
    /// Deletes a row. Answered by [`Answer::Deleted`].
    Delete {
        /// The table.
        table: TableId,
        /// The row's key.
        key: Bytes,
    },
    /// Takes an advisory lock, waiting for it. Answered by [`Answer::Done`].
    Lock {
        /// Its number.
        number: i64,
        /// For how long.
        scope: LockScope,
    },
    /// Gives back an advisory lock of the session. Answered by [`Answer::Unlocked`].
    Unlock {
        /// Its number.
        number: i64,
    },
}

/// What a client is told when its request succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The connection is open.
    Connected(SessionId),
    /// It is done.
    Done,
    /// The transaction is committed: its place, or that of the last commit before it if it wrote nothing. Real
    /// servers do not tell the number.
    Committed(CommitSequence),
    /// The transaction is rolled back. As an answer to [`Request::Commit`]: an earlier statement had failed.
    RolledBack,
    /// The row, if it is there.
    Row(Option<Row>),
    /// The rows of a range.
    Rows(Vec<(Bytes, Row)>),
    /// For each row of the batch whether it was new.
    Inserted(Vec<bool>),
    /// Whether there was something to delete.
    Deleted(bool),
    /// Whether the session held the lock.
    Unlocked(bool),
}

/// What a client is told when its request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SqlError {
    /// A row with that key, primary or further, is there.
    #[error("duplicate key value violates a unique constraint of table {}", .0.0)]
    UniqueViolation(TableId),
    /// COMMIT was refused for what was written: a deferred key is not unique. It did not happen.
    #[error("duplicate key value violates a deferred constraint of table {}", .0.0)]
    DeferredViolation(TableId),
    /// The transaction cannot be put in an order with its neighbours.
    #[error("could not serialize access due to concurrent update")]
    SerializationFailure,
    /// It closed a circle of waiting transactions.
    #[error("deadlock detected")]
    Deadlock,
    /// A lock was not granted in time.
    #[error("canceling statement due to lock timeout")]
    LockTimeout,
    /// The statement took too long.
    #[error("canceling statement due to statement timeout")]
    StatementTimeout,
    /// The session was idle in its transaction for too long. Ends the session.
    #[error("terminating connection due to idle-in-transaction timeout")]
    IdleInTransactionTimeout,
    /// The server shuts down, or an administrator ended the session. Ends the session.
    #[error("terminating connection due to administrator command")]
    Shutdown,
    /// The server lost the connection, or what it needs to serve it. Ends the session.
    #[error("connection to the server was lost")]
    ConnectionLost,
    /// An earlier statement failed; only a rollback helps.
    #[error("current transaction is aborted, commands ignored until end of transaction block")]
    InFailedTransaction,
    /// There is no transaction to end or to set a savepoint in.
    #[error("there is no transaction in progress")]
    NoTransaction,
    /// There is a transaction already.
    #[error("there is already a transaction in progress")]
    TransactionInProgress,
    /// No savepoint has that name.
    #[error("savepoint {0} does not exist")]
    NoSavepoint(u32),
    /// No table has that number.
    #[error("table {} does not exist", .0.0)]
    UndefinedTable(TableId),
    /// All connections are taken. Answers a connect.
    #[error("sorry, too many clients already")]
    TooManyConnections,
    /// The server is not ready yet. Answers a connect.
    #[error("the database system is starting up")]
    StartingUp,
}

impl SqlError {
    /// PostgreSQL's code for it.
    #[must_use]
    pub const fn sqlstate(self) -> &'static str {
        match self {
            Self::UniqueViolation(_) | Self::DeferredViolation(_) => "23505",
            Self::SerializationFailure => "40001",
            Self::Deadlock => "40P01",
            Self::LockTimeout => "55P03",
            Self::StatementTimeout => "57014",
            Self::IdleInTransactionTimeout => "25P03",
            Self::Shutdown => "57P01",
            Self::ConnectionLost => "08006",
            Self::InFailedTransaction => "25P02",
            Self::NoTransaction => "25P01",
            Self::TransactionInProgress => "25001",
            Self::NoSavepoint(_) => "3B001",
            Self::UndefinedTable(_) => "42P01",
            Self::TooManyConnections => "53300",
            Self::StartingUp => "57P03",
        }
    }

    /// Whether the session ends with it. In answer to COMMIT such an error tells nothing about the outcome.
    #[must_use]
    pub const fn ends_session(self) -> bool {
        match self {
            Self::IdleInTransactionTimeout
            | Self::Shutdown
            | Self::ConnectionLost
            | Self::TooManyConnections
            | Self::StartingUp => true,
            Self::UniqueViolation(_)
            | Self::DeferredViolation(_)
            | Self::SerializationFailure
            | Self::Deadlock
            | Self::LockTimeout
            | Self::StatementTimeout
            | Self::InFailedTransaction
            | Self::NoTransaction
            | Self::TransactionInProgress
            | Self::NoSavepoint(_)
            | Self::UndefinedTable(_) => false,
        }
    }
}

/// What the fault plan has decided about a request. It takes effect when the request's turn has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verdict {
    /// It is served.
    #[default]
    Serve,
    /// It fails without having been done. A transaction that was to end is rolled back.
    Fail(SqlError),
    /// It is served slowly. Limits on a statement's time apply to what is before the work, not to what is after it.
    Slow {
        /// How long the work is put off.
        before: Duration,
        /// How long the answer is held back once the work is done. A crash in that time leaves a COMMIT that took
        /// effect and was never answered.
        after: Duration,
    },
}

/// What a session may cost others. `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionSettings {
    /// The isolation of statements outside of transactions.
    pub isolation: Isolation,
    /// How long a statement waits for one lock.
    pub lock_timeout: Option<Duration>,
    /// How long a statement takes.
    pub statement_timeout: Option<Duration>,
    /// How long a transaction may lie idle. Counted from the last answer.
    pub idle_in_transaction_timeout: Option<Duration>,
    /// Whether a statement in work ends when the server notices that its client is gone. If not, the statement
    /// finishes first, however long it waits.
    pub client_check: bool,
}

/// What can happen to the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Somebody opens a connection.
    Connect {
        /// Comes back with exactly one answer or hang-up.
        id: RequestId,
        /// What the session is to be like.
        settings: SessionSettings,
    },
    /// A client asks something in its session.
    Request {
        /// Comes back with exactly one answer or hang-up.
        id: RequestId,
        /// The session.
        session: SessionId,
        /// What is asked.
        request: Request,
        /// What the fault plan says to it.
        verdict: Verdict,
    },
    /// A client is gone without a word. What it had sent is served, its answers go to nobody.
    ClientGone {
        /// The session.
        session: SessionId,
        /// How long the server takes to notice. Until then transaction and locks stay. Of two times the earlier holds.
        linger: Duration,
    },
    /// An administrator ends a session.
    Terminate {
        /// The session.
        session: SessionId,
    },
    /// The server stops in order: what is open is rolled back and told so.
    Shutdown,
    /// The server dies: what is open is gone without an answer, what is committed is kept.
    Crash {
        /// How many of the last commits are destroyed all the same: a disk that lied about flushing, or a failover to
        /// a replica that was behind. No more than [`DatabaseConfig::tail`](super::DatabaseConfig::tail). An excused
        /// fault: [`Action::TailLost`] tells which.
        lose: usize,
    },
    /// The server starts after it stopped. Without effect if it runs.
    Start {
        /// How long it refuses connections as starting up.
        recovery: Duration,
    },
}

/// What the database wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Answer a request. After an error that [ends the session](SqlError::ends_session) the connection is closed.
    Answer {
        /// The request.
        id: RequestId,
        /// Its outcome.
        answer: Result<Answer, SqlError>,
    },
    /// Close the connection that a request came over, without an answer.
    HangUp {
        /// The request.
        id: RequestId,
    },
    /// Close a connection that nothing was asked on, telling why. Later requests on it are hung up on.
    Ended {
        /// The session.
        session: SessionId,
        /// Why.
        error: SqlError,
    },
    /// A crash destroyed these commits and no others, in their order. Checkers excuse them.
    TailLost {
        /// The commits.
        commits: Vec<CommitSequence>,
    },
}
