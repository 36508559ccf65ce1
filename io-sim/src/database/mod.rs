//! A simulated SQL database as one machine: sessions, transactions, locks, and the ways in which all of that fails.
//!
//! ```text
//!   Connect, Request + verdict ──► session.rs ──► statements.rs ──► tables.rs   rows: versions, lock, indexes
//!   ClientGone, Terminate            queue,           one step       txn.rs     snapshot, undo, reads
//!   Crash, Shutdown, Start          time limits    │  done           locks.rs   waits, deadlocks
//!                                        ▲         ├─ wait ────► line of the row or advisory lock
//!              Answer | HangUp ◄─────────┘         └─ fail       │ woken when its owner lets go
//!                                        └───────────────────────┘
//!   COMMIT ──► recovery.rs `apply` ──► history.rs: the truth for checkers, and the tail that a crash may destroy
//! ```
//!
//! It shares the surface of the core's machines (see [`Machine`]). Its model is PostgreSQL, as far as an application
//! can tell: snapshots, row locks that are waited for, a unique key that another transaction has inserted and not
//! committed, deadlocks, failed transactions, savepoints. Where it differs it is stricter, never laxer:
//! serializable transactions are refused more often ([`Isolation::Serializable`]), and the first updater of a key
//! also wins over one who deletes and inserts it anew.
//!
//! It decides nothing by chance. Failures that PostgreSQL would meet by itself follow from what is asked; all others
//! are told to it, with each request as a [`Verdict`], or as inputs ([`Input::ClientGone`], [`Input::Crash`]).
//!
//! Guarantees: each request has exactly one outcome, an answer or a hang-up. What is kept is bounded by the rows, the
//! open sessions and [`DatabaseConfig::tail`]; only the history grows, if it is kept and nobody drains it.

mod history;
mod locks;
mod message;
mod recovery;
mod session;
mod statements;
mod tables;
#[cfg(test)]
mod tests;
mod txn;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_core::machine::{Machine, Marks};
use evenkeel_core::model::Time;

use history::History;
use locks::Advisory;
use session::{Asked, Session};
use tables::{Snapshots, Tables};

pub use history::{Commit, Event, Write};
pub use message::{
    Action, Answer, CommitSequence, Input, Isolation, LockScope, Request, Row, RowKeys, SessionId,
    SessionSettings, SqlError, TableId, Verdict,
};

/// How a database is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseConfig {
    /// The tables, by name. A table's place here is its [`TableId`].
    pub tables: Vec<Arc<str>>,
    /// How many sessions there may be, those of dead clients counted. 100.
    pub max_connections: usize,
    /// How long a session waits before it looks whether it is in a deadlock. PostgreSQL: 1 s; here zero: whoever
    /// closes the circle loses at once.
    pub deadlock_timeout: Duration,
    /// Whether commits are written down for [`Database::drain_history`]. Yes.
    pub history: bool,
    /// How many of the last commits a crash can destroy. 16.
    pub tail: usize,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            tables: Vec::new(),
            max_connections: 100,
            deadlock_timeout: Duration::ZERO,
            history: true,
            tail: 16,
        }
    }
}

/// Whether the server takes connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    Up,
    Recovering(Time),
    Down,
}

/// A simulated database. It runs from the start.
#[derive(Debug, Clone)]
pub struct Database {
    config: DatabaseConfig,
    now: Time,
    server: Server,
    tables: Tables,
    sessions: BTreeMap<SessionId, Session>,
    next_session: u64,
    committed: CommitSequence,
    snapshots: Snapshots,
    /// Sessions in a serializable transaction.
    readers: BTreeSet<SessionId>,
    advisory: BTreeMap<i64, Advisory>,
    /// Who was woken and has not gone on yet.
    ready: VecDeque<SessionId>,
    due: BTreeSet<(Time, SessionId)>,
    history: History,
    actions: VecDeque<Action>,
    marks: Marks,
}

impl Database {
    /// A database with empty tables.
    #[must_use]
    pub fn new(config: DatabaseConfig) -> Self {
        Self {
            now: Time::ZERO,
            server: Server::Up,
            tables: Tables::new(&config.tables),
            sessions: BTreeMap::new(),
            next_session: 1,
            committed: CommitSequence::default(),
            snapshots: Snapshots::default(),
            readers: BTreeSet::new(),
            advisory: BTreeMap::new(),
            ready: VecDeque::new(),
            due: BTreeSet::new(),
            history: History::new(config.history, config.tail),
            actions: VecDeque::new(),
            marks: Marks::default(),
            config,
        }
    }

    /// A table's id.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<TableId> {
        self.tables.id(name)
    }

    /// The last commit that wrote something. After a crash that destroyed commits, still the last number given.
    #[must_use]
    pub fn committed(&self) -> CommitSequence {
        self.committed
    }

    /// The committed rows of a table, in order of key: the truth, whatever sessions are told.
    pub fn rows(&self, table: TableId) -> impl Iterator<Item = (&Bytes, &Row)> {
        self.tables.committed(table)
    }

    /// What became true since the last time, in order. Empty if the configuration keeps no history.
    pub fn drain_history(&mut self) -> impl Iterator<Item = Event> + '_ {
        self.history.drain()
    }

    /// How many sessions there are, those of dead clients counted.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// How many sessions are in a transaction, waiting statements counted.
    #[must_use]
    pub fn open_transactions(&self) -> usize {
        self.sessions.values().filter(|session| session.txn.is_some()).count()
    }

    /// How many versions of rows are kept, the uncommitted counted: a measure of what the machine holds.
    #[must_use]
    pub fn versions(&self) -> usize {
        self.tables.versions()
    }

    /// Everything that must hold, for tests and simulation. In time with what is kept.
    #[cfg(any(test, debug_assertions))]
    pub fn check(&self) {
        assert!(self.ready.is_empty(), "whoever is woken goes on");
        assert!(
            self.server != Server::Down || self.sessions.is_empty(),
            "a server that is down has no sessions"
        );
        for reader in &self.readers {
            let txn = self.sessions.get(reader).and_then(|session| session.txn.as_ref());
            assert!(txn.is_some_and(|txn| txn.reads.is_some()), "readers are in a serializable transaction");
        }
        self.tables.check(&self.snapshots);
        self.history.check();
        self.check_sessions();
        self.check_locks();
    }
}

impl Machine for Database {
    type Input = Input;
    type Action = Action;

    fn handle(&mut self, now: Time, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Connect { id, settings } => self.connect(id, settings),
            Input::Request { id, session, request, verdict } => {
                self.ask(session, Asked { id, request, verdict })
            }
            Input::ClientGone { session, linger } => self.client_gone(session, linger),
            Input::Terminate { session } => self.end(session, SqlError::Shutdown),
            Input::Shutdown => self.shut_down(),
            Input::Crash { lose } => self.crash(lose),
            Input::Start { recovery } => self.start(recovery),
        }
        self.settle();
    }

    fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn deadline(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }

    fn tick(&mut self, now: Time) {
        self.now = self.now.max(now);
        while let Some((at, id)) = self.due.first().copied().filter(|(at, _)| *at <= self.now) {
            self.due.remove(&(at, id));
            if let Some(session) = self.sessions.get_mut(&id) {
                session.due = None;
            }
            self.expire(id);
            self.settle();
        }
    }

    fn marks(&self) -> &Marks {
        &self.marks
    }
}
