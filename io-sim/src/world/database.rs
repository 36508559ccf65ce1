//! The `Database` port of one life of one process: a pool of connections to the simulated database.
//!
//! It judges as the real adapters do: what fails before COMMIT did not happen; what fails at COMMIT with an answer did
//! not happen either; a COMMIT without an answer may have. A transaction that is dropped closes its connection, and the
//! database takes a while to notice.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use bytes::Bytes;
use evenkeel_core::ports::{Blame, Claim, Database, DatabaseError, Runtime};
use futures_util::{FutureExt, select_biased};

use super::runtime::SimRuntime;
use super::sessions::{CLAIMS, Heard};
use crate::database::{
    Answer, Isolation, Request, Row, SessionId, SessionSettings, SqlError, TableId, Verdict,
};
use crate::faults::Chance;

/// What a session may cost others.
const SETTINGS: SessionSettings = SessionSettings {
    isolation: Isolation::ReadCommitted,
    lock_timeout: Some(Duration::from_secs(10)),
    statement_timeout: Some(Duration::from_secs(20)),
    idle_in_transaction_timeout: Some(Duration::from_secs(30)),
    client_check: true,
};
/// How long a client waits for an answer before it gives its connection up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection of the pool; giving it back makes room for the next.
#[derive(Debug)]
struct Seat {
    free: Sender<Option<SessionId>>,
    session: Option<SessionId>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        // The pool may be gone with its process.
        let _ = self.free.try_send(self.session.take());
    }
}

/// See the module.
#[derive(Debug)]
pub struct SimDatabase {
    runtime: SimRuntime,
    capacity: u32,
    free: (Sender<Option<SessionId>>, Receiver<Option<SessionId>>),
}

/// An open transaction of the simulated database. Dropping it closes its connection.
#[derive(Debug)]
pub struct SimTx {
    runtime: SimRuntime,
    session: SessionId,
    seat: Seat,
    ended: bool,
}

impl SimDatabase {
    pub(crate) fn new(runtime: SimRuntime, capacity: u32) -> Self {
        let free = async_channel::unbounded();
        for _ in 0..capacity {
            // Its own receiver is alive.
            let _ = free.0.try_send(None);
        }
        Self { runtime, capacity, free }
    }

    async fn seat(&self, wait: Duration) -> Result<Seat, DatabaseError> {
        let until = self.runtime.now() + wait;
        let (slow, empty) = {
            let mut state = self.runtime.shared().lock();
            let now = state.now();
            let process = u64::from(self.runtime.life().process);
            let slow = state.dice.strikes(now, Chance::PoolSlow, process);
            let slow = slow.map_or(now, |mut draw| now + Duration::from_millis(draw.log_uniform(10, 12_000)));
            (slow, state.sessions.empty_until)
        };
        if slow.max(empty) > until {
            self.runtime.sleep_until(until).await;
            return Err(unavailable("no connection came free"));
        }
        self.runtime.sleep_until(slow.max(empty)).await;
        let seat = select_biased! {
            seat = self.free.1.recv().fuse() => seat.ok(),
            () = self.runtime.sleep_until(until).fuse() => None,
        };
        let session = seat.ok_or_else(|| unavailable("no connection came free"))?;
        Ok(Seat { free: self.free.0.clone(), session })
    }

    async fn session(&self, seat: &mut Seat) -> Result<SessionId, DatabaseError> {
        if let Some(session) = seat.session.take() {
            return Ok(session);
        }
        let (reply, heard) = async_channel::bounded(1);
        {
            let mut state = self.runtime.shared().lock();
            let now = state.now();
            state.sessions.connect(now, self.runtime.life(), SETTINGS, reply);
            state.wake_pump();
        }
        match within(&self.runtime, &heard).await {
            Ok(Answer::Connected(session)) => Ok(session),
            Ok(other) => Err(unavailable(&format!("it answered {other:?} to a connect"))),
            Err(error) => Err(unavailable(&error.to_string())),
        }
    }
}

fn unavailable(cause: &str) -> DatabaseError {
    DatabaseError::Unavailable { database: "the simulated database".into(), cause: cause.into() }
}

async fn within(runtime: &SimRuntime, heard: &Receiver<Heard>) -> Heard {
    select_biased! {
        heard = heard.recv().fuse() => heard.unwrap_or(Err(SqlError::ConnectionLost)),
        () = runtime.sleep_until(runtime.now() + PATIENCE).fuse() => Err(SqlError::ConnectionLost),
    }
}

/// Whether the database or the way to it is to blame for an error.
pub(crate) const fn is_the_worlds(error: SqlError) -> bool {
    match error {
        SqlError::SerializationFailure
        | SqlError::Deadlock
        | SqlError::LockTimeout
        | SqlError::IdleInTransactionTimeout
        | SqlError::Shutdown
        | SqlError::ConnectionLost
        | SqlError::TooManyConnections
        | SqlError::StartingUp => true,
        SqlError::UniqueViolation(_)
        | SqlError::DeferredViolation(_)
        | SqlError::StatementTimeout
        | SqlError::InFailedTransaction
        | SqlError::NoTransaction
        | SqlError::TransactionInProgress
        | SqlError::NoSavepoint(_)
        | SqlError::UndefinedTable(_) => false,
    }
}

/// A table of the simulated database, by its name: a constant beside the handlers that use it.
///
/// ```
/// use evenkeel_sim::Table;
///
/// const CHARGES: Table = Table::new("charges");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table(&'static str);

impl Table {
    /// The table of this name. A world must be told of it: see [`World::table`](crate::explore::World::table).
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0
    }
}

impl SimTx {
    /// Reads a row.
    ///
    /// # Errors
    /// What the database says.
    pub async fn get(&mut self, table: Table, key: impl Into<Bytes>) -> Result<Option<Bytes>, SqlError> {
        let table = self.id(table)?;
        match self.ask(Request::Get { table, key: key.into() }).await? {
            Answer::Row(row) => Ok(row.map(|row| row.value)),
            _ => Err(SqlError::ConnectionLost),
        }
    }

    /// Reads a row and locks it until the transaction ends, so that nobody changes it between this and a write.
    ///
    /// # Errors
    /// What the database says.
    pub async fn get_for_update(
        &mut self,
        table: Table,
        key: impl Into<Bytes>,
    ) -> Result<Option<Bytes>, SqlError> {
        let table = self.id(table)?;
        match self.ask(Request::GetForUpdate { table, key: key.into() }).await? {
            Answer::Row(row) => Ok(row.map(|row| row.value)),
            _ => Err(SqlError::ConnectionLost),
        }
    }

    /// Writes a row, whether it is there or not.
    ///
    /// # Errors
    /// What the database says.
    pub async fn put(
        &mut self,
        table: Table,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
    ) -> Result<(), SqlError> {
        let table = self.id(table)?;
        self.ask(Request::Put { table, key: key.into(), row: Row::new(value) }).await.map(drop)
    }

    /// Writes a row that must not be there yet.
    ///
    /// # Errors
    /// What the database says.
    pub async fn insert(
        &mut self,
        table: Table,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
    ) -> Result<(), SqlError> {
        let table = self.id(table)?;
        self.insert_into(table, key.into(), value.into()).await
    }

    pub(crate) async fn insert_into(
        &mut self,
        table: TableId,
        key: Bytes,
        value: Bytes,
    ) -> Result<(), SqlError> {
        self.ask(Request::Insert { table, key, row: Row::new(value) }).await.map(drop)
    }

    /// Reads the rows of a table from a key on, in order of key.
    ///
    /// # Errors
    /// What the database says.
    pub async fn scan(
        &mut self,
        table: Table,
        from: impl Into<Bytes>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, SqlError> {
        let table = self.id(table)?;
        match self.ask(Request::Scan { table, from: from.into(), to: None, limit }).await? {
            Answer::Rows(rows) => Ok(rows.into_iter().map(|(key, row)| (key, row.value)).collect()),
            _ => Err(SqlError::ConnectionLost),
        }
    }

    fn id(&self, table: Table) -> Result<TableId, SqlError> {
        let state = self.runtime.shared().lock();
        state.sessions.machine.table(table.name()).ok_or(SqlError::UndefinedTable(TableId(u16::MAX)))
    }

    async fn ask(&mut self, request: Request) -> Heard {
        let process = u64::from(self.runtime.life().process);
        let (reply, heard) = async_channel::bounded(1);
        let broken = {
            let mut state = self.runtime.shared().lock();
            let state = &mut *state;
            if self.ended || !state.lives(self.runtime.life()) {
                return Err(SqlError::ConnectionLost);
            }
            let now = state.now();
            let commits = request == Request::Commit;
            let mut verdict = Verdict::Serve;
            if !matches!(request, Request::Begin { .. } | Request::Rollback) {
                if state.dice.strikes(now, Chance::Serialisation, process).is_some() {
                    verdict = Verdict::Fail(SqlError::SerializationFailure);
                } else if state.dice.strikes(now, Chance::Deadlock, process).is_some() && !commits {
                    verdict = Verdict::Fail(SqlError::Deadlock);
                }
            }
            let broken = if commits {
                let lost = state.dice.strikes(now, Chance::CommitLost, process).map(|_| false);
                lost.or_else(|| state.dice.strikes(now, Chance::CommitReplyLost, process).map(|_| true))
            } else {
                state.dice.strikes(now, Chance::StatementLost, process).map(|mut draw| draw.once_in(2))
            };
            // The statement arrives all the same, or never does.
            if broken != Some(false) {
                let reply = broken.is_none().then_some(reply);
                state.sessions.ask(now, self.session, request, verdict, reply);
            }
            if broken.is_some() {
                state.sessions.gone(now, self.session);
                self.ended = true;
            }
            state.wake_pump();
            broken.is_some()
        };
        if broken {
            return Err(SqlError::ConnectionLost);
        }
        let heard = within(&self.runtime, &heard).await;
        if heard.as_ref().is_err_and(|error| error.ends_session()) {
            self.give_up();
        }
        heard
    }

    /// The connection is of no use any more.
    fn give_up(&mut self) {
        if !self.ended {
            self.ended = true;
            let mut state = self.runtime.shared().lock();
            let now = state.now();
            state.sessions.gone(now, self.session);
            state.wake_pump();
        }
    }

    /// The transaction has ended: its connection is free for the next.
    fn hand_back(mut self) {
        if !self.ended {
            self.ended = true;
            self.seat.session = Some(self.session);
        }
    }
}

impl Drop for SimTx {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl Database for SimDatabase {
    type Tx = SimTx;

    async fn migrate(&self) -> Result<(), DatabaseError> {
        // The world's tables are there from the beginning.
        Ok(())
    }

    async fn begin(&self, wait: Duration, _attempt: Duration) -> Result<SimTx, DatabaseError> {
        let mut seat = self.seat(wait).await?;
        // A connection of the pool may have died while nobody used it: then another is made.
        for _ in 0..2 {
            let session = self.session(&mut seat).await?;
            let mut tx = SimTx { runtime: self.runtime.clone(), session, seat, ended: false };
            match tx.ask(Request::Begin { isolation: Isolation::ReadCommitted }).await {
                Ok(_) => return Ok(tx),
                Err(error) => {
                    tx.give_up();
                    drop(tx);
                    if !error.ends_session() {
                        return Err(unavailable(&error.to_string()));
                    }
                    seat = self.seat(wait).await?;
                }
            }
        }
        Err(unavailable("its connections die as they are used"))
    }

    async fn claim(&self, tx: &mut SimTx, claims: &[Claim]) -> Result<Vec<bool>, DatabaseError> {
        let row = |claim: &Claim| {
            let value = [&claim.partition.0.to_be_bytes()[..], &claim.offset.0.to_be_bytes()].concat();
            (Bytes::copy_from_slice(&claim.key.0), Row::new(value))
        };
        let rows = claims.iter().map(row).collect();
        match tx.ask(Request::InsertOrIgnore { table: CLAIMS, rows }).await {
            Ok(Answer::Inserted(fresh)) => Ok(fresh),
            Ok(other) => Err(unavailable(&format!("it answered {other:?} to a claim"))),
            Err(error) => Err(unavailable(&error.to_string())),
        }
    }

    async fn commit(&self, mut tx: SimTx) -> Result<(), DatabaseError> {
        let database: Arc<str> = "the simulated database".into();
        match tx.ask(Request::Commit).await {
            Ok(Answer::Committed(_)) => {
                tx.hand_back();
                Ok(())
            }
            Ok(_) => {
                tx.hand_back();
                Err(DatabaseError::Refused {
                    database,
                    cause: "a statement had failed, so it was rolled back".into(),
                })
            }
            // In answer to COMMIT the end of the session tells nothing about the outcome.
            Err(error) if error.ends_session() => {
                Err(DatabaseError::Unknown { database, cause: error.to_string().into() })
            }
            Err(error) if is_the_worlds(error) => Err(unavailable(&error.to_string())),
            Err(error) => Err(DatabaseError::Refused { database, cause: error.to_string().into() }),
        }
    }

    async fn rollback(&self, mut tx: SimTx) -> Result<(), DatabaseError> {
        match tx.ask(Request::Rollback).await {
            Ok(_) => {
                tx.hand_back();
                Ok(())
            }
            Err(error) => Err(unavailable(&error.to_string())),
        }
    }

    fn blame(&self, error: &(dyn Error + 'static)) -> Blame {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<SqlError>() {
                return if is_the_worlds(*error) { Blame::World } else { Blame::Handler };
            }
            cause = error.source();
        }
        Blame::Handler
    }

    fn capacity(&self) -> u32 {
        self.capacity
    }
}
