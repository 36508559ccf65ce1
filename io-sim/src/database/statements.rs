//! What each statement does. One that must wait is run again from its start once it is woken; only a batch keeps what
//! it has done so far.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use evenkeel_core::machine::Marks;

use super::locks::{Advisory, Resource};
use super::message::{
    Answer, CommitSequence, Isolation, LockScope, Request, Row, SessionId, SqlError, TableId,
};
use super::tables::{RowLock, Snapshots, Tables, bounds};
use super::txn::{Txn, Undo};

/// How a statement came out.
pub(super) enum Step {
    Done(Answer),
    Wait(Resource),
    Fail(SqlError),
}

/// Whether a statement may go on.
enum Stop {
    Wait(Resource),
    Fail(SqlError),
}

impl From<Stop> for Step {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Wait(resource) => Self::Wait(resource),
            Stop::Fail(error) => Self::Fail(error),
        }
    }
}

impl From<Result<Answer, Stop>> for Step {
    fn from(result: Result<Answer, Stop>) -> Self {
        result.map_or_else(Self::from, Self::Done)
    }
}

/// What keeps a row from being inserted.
enum Conflict {
    None,
    /// A row that is there, by its primary key.
    With(Bytes),
}

/// A statement's surroundings.
pub(super) struct Statement<'d> {
    pub(super) session: SessionId,
    pub(super) txn: &'d mut Txn,
    pub(super) committed: CommitSequence,
    pub(super) tables: &'d mut Tables,
    pub(super) snapshots: &'d mut Snapshots,
    pub(super) advisory: &'d mut BTreeMap<i64, Advisory>,
    pub(super) woken: &'d mut VecDeque<SessionId>,
    pub(super) marks: &'d mut Marks,
}

impl Statement<'_> {
    /// Runs a statement on tables or advisory locks. `progress` is what a batch has done.
    pub(super) fn run(&mut self, request: &Request, progress: &mut Vec<bool>) -> Step {
        self.take_snapshot();
        match request {
            Request::Get { table, key } => self.known(*table).map(|()| self.get(*table, key)).into(),
            Request::GetForUpdate { table, key } => self.get_for_update(*table, key).into(),
            Request::Scan { table, from, to, limit } => {
                self.known(*table).map(|()| self.scan(*table, from, to.as_ref(), *limit)).into()
            }
            Request::Put { table, key, row } => self.put(*table, key, row).into(),
            Request::Insert { table, key, row } => self.insert(*table, key, row).into(),
            Request::InsertOrIgnore { table, rows } => self.insert_or_ignore(*table, rows, progress).into(),
            Request::Delete { table, key } => self.delete(*table, key).into(),
            Request::Lock { number, scope } => self.lock_advisory(*number, *scope).into(),
            Request::Unlock { number } => Step::Done(Answer::Unlocked(self.unlock_advisory(*number))),
            Request::Begin { .. }
            | Request::Commit
            | Request::Rollback
            | Request::Close
            | Request::Savepoint(_)
            | Request::RollbackTo(_)
            | Request::Release(_) => Step::Fail(SqlError::NoTransaction),
        }
    }

    fn take_snapshot(&mut self) {
        match self.txn.isolation {
            Isolation::ReadCommitted => {}
            Isolation::RepeatableRead | Isolation::Serializable => {
                if self.txn.snapshot.is_none() {
                    self.txn.snapshot = Some(self.committed);
                    self.snapshots.take(self.committed);
                }
            }
        }
    }

    /// What reads see: the transaction's snapshot, or all that is committed now.
    fn snapshot(&self) -> CommitSequence {
        self.txn.snapshot.unwrap_or(self.committed)
    }

    fn known(&self, table: TableId) -> Result<(), Stop> {
        match self.tables.get(table) {
            Some(_) => Ok(()),
            None => Err(Stop::Fail(SqlError::UndefinedTable(table))),
        }
    }

    /// Remembers a read, if a later write would matter.
    fn read(&mut self, table: TableId, key: &Bytes) {
        let Some(reads) = &mut self.txn.reads else { return };
        reads.point(table, key);
        let snapshot = self.txn.snapshot.unwrap_or_default();
        if self.tables.chain(table, key).is_some_and(|chain| chain.newest.sequence > snapshot) {
            self.txn.doomed = true;
        }
    }

    fn seen(&self, table: TableId, key: &Bytes) -> Option<&Row> {
        self.tables.chain(table, key)?.seen_by(self.session, self.snapshot())
    }

    fn get(&mut self, table: TableId, key: &Bytes) -> Answer {
        self.read(table, key);
        Answer::Row(self.seen(table, key).cloned())
    }

    fn scan(&mut self, table: TableId, from: &Bytes, to: Option<&Bytes>, limit: usize) -> Answer {
        if to.is_some_and(|to| to <= from) {
            return Answer::Rows(Vec::new());
        }
        let (session, snapshot) = (self.session, self.snapshot());
        let chains = self
            .tables
            .get(table)
            .into_iter()
            .flat_map(|table| table.rows.range::<[u8], _>(bounds(from, to)));
        if let Some(reads) = &mut self.txn.reads {
            reads.range(table, from, to);
            self.txn.doomed |= chains.clone().any(|(_, chain)| chain.newest.sequence > snapshot);
        }
        let rows =
            chains.filter_map(|(key, chain)| Some((key.clone(), chain.seen_by(session, snapshot)?.clone())));
        Answer::Rows(rows.take(limit).collect())
    }

    /// Locks a row, if it was not changed behind the transaction's back.
    fn lock(&mut self, table: TableId, key: &Bytes) -> Result<(), Stop> {
        let owned = self.tables.get_mut(table).ok_or(Stop::Fail(SqlError::UndefinedTable(table)))?;
        let chain = match owned.rows.get_mut(key) {
            Some(chain) => chain,
            None => owned.rows.entry(key.clone()).or_default(),
        };
        if self.txn.snapshot.is_some_and(|snapshot| chain.newest.sequence > snapshot) {
            self.marks.hit("row changed since the snapshot");
            return Err(Stop::Fail(SqlError::SerializationFailure));
        }
        match &chain.lock {
            Some(lock) if lock.owner == self.session => {}
            Some(_) => return Err(Stop::Wait(Resource::Row(table, key.clone()))),
            None => {
                chain.lock = Some(RowLock { owner: self.session, written: None });
                self.txn.undo.push(Undo::Locked(table, key.clone()));
            }
        }
        Ok(())
    }

    fn lock_to_write(&mut self, table: TableId, key: &Bytes) -> Result<(), Stop> {
        if self.txn.doomed {
            self.marks.hit("write after a read was overtaken");
            return Err(Stop::Fail(SqlError::SerializationFailure));
        }
        self.lock(table, key)
    }

    fn write(&mut self, table: TableId, key: &Bytes, row: Option<Row>) {
        let Some(owned) = self.tables.get_mut(table) else { return };
        let before = owned.write(key, Some(row));
        // Without a savepoint nobody goes back to what was written over.
        if before.is_none() || !self.txn.savepoints.is_empty() {
            self.txn.undo.push(Undo::Wrote(table, key.clone(), before));
        }
    }

    fn get_for_update(&mut self, table: TableId, key: &Bytes) -> Result<Answer, Stop> {
        self.known(table)?;
        self.read(table, key);
        if self.seen(table, key).is_none() {
            return Ok(Answer::Row(None));
        }
        self.lock(table, key)?;
        Ok(Answer::Row(self.seen(table, key).cloned()))
    }

    fn delete(&mut self, table: TableId, key: &Bytes) -> Result<Answer, Stop> {
        self.known(table)?;
        self.read(table, key);
        if self.seen(table, key).is_none() {
            return Ok(Answer::Deleted(false));
        }
        self.lock_to_write(table, key)?;
        self.write(table, key, None);
        Ok(Answer::Deleted(true))
    }

    fn put(&mut self, table: TableId, key: &Bytes, row: &Row) -> Result<Answer, Stop> {
        self.lock_to_write(table, key)?;
        match self.conflict_of_further_keys(table, key, row)? {
            Conflict::None => {}
            Conflict::With(other) => return Err(self.violation(table, &other)),
        }
        self.write(table, key, Some(row.clone()));
        Ok(Answer::Done)
    }

    fn insert(&mut self, table: TableId, key: &Bytes, row: &Row) -> Result<Answer, Stop> {
        self.known(table)?;
        if let Conflict::With(other) = self.conflict_of_primary_key(table, key)? {
            return Err(self.violation(table, &other));
        }
        self.put(table, key, row)
    }

    fn insert_or_ignore(
        &mut self,
        table: TableId,
        rows: &[(Bytes, Row)],
        progress: &mut Vec<bool>,
    ) -> Result<Answer, Stop> {
        self.known(table)?;
        for (key, row) in &rows[progress.len()..] {
            let conflict = match self.conflict_of_primary_key(table, key)? {
                Conflict::None => self.conflict_of_further_keys(table, key, row)?,
                conflict @ Conflict::With(_) => conflict,
            };
            match conflict {
                Conflict::None => {
                    self.lock_to_write(table, key)?;
                    self.write(table, key, Some(row.clone()));
                    progress.push(true);
                }
                Conflict::With(other) => {
                    self.read(table, &other);
                    if self.is_hidden(table, &other) {
                        self.marks.hit("conflict with a row that the snapshot hides");
                        return Err(Stop::Fail(SqlError::SerializationFailure));
                    }
                    progress.push(false);
                }
            }
        }
        Ok(Answer::Inserted(std::mem::take(progress)))
    }

    /// Whether the transaction's snapshot is older than the committed row, and it is not its own.
    fn is_hidden(&self, table: TableId, key: &Bytes) -> bool {
        let (Some(snapshot), Some(chain)) = (self.txn.snapshot, self.tables.chain(table, key)) else {
            return false;
        };
        chain.written_by(self.session).is_none() && chain.newest.sequence > snapshot
    }

    /// The error of an insert. A serializable transaction that cannot have known better is told so.
    fn violation(&mut self, table: TableId, other: &Bytes) -> Stop {
        self.read(table, other);
        match self.txn.isolation {
            Isolation::Serializable if self.is_hidden(table, other) => {
                Stop::Fail(SqlError::SerializationFailure)
            }
            Isolation::Serializable | Isolation::RepeatableRead | Isolation::ReadCommitted => {
                Stop::Fail(SqlError::UniqueViolation(table))
            }
        }
    }

    /// Whether a row with that key is there, now and not as of a snapshot. What another transaction has written and
    /// not committed must be waited for; that it has only locked a row changes nothing.
    fn conflict_of_primary_key(&self, table: TableId, key: &Bytes) -> Result<Conflict, Stop> {
        let Some(chain) = self.tables.chain(table, key) else { return Ok(Conflict::None) };
        if let Some(own) = chain.written_by(self.session) {
            return Ok(if own.is_some() { Conflict::With(key.clone()) } else { Conflict::None });
        }
        let committed = chain.newest.row.is_some();
        match chain.held_by_other(self.session) {
            Some(lock) if lock.written.is_some() || !committed => {
                Err(Stop::Wait(Resource::Row(table, key.clone())))
            }
            Some(_) | None if committed => Ok(Conflict::With(key.clone())),
            Some(_) | None => Ok(Conflict::None),
        }
    }

    /// Whether another row has one of a row's further unique keys, now.
    fn conflict_of_further_keys(&self, table: TableId, key: &Bytes, row: &Row) -> Result<Conflict, Stop> {
        let Some(owned) = self.tables.get(table) else { return Ok(Conflict::None) };
        for unique in row.unique_keys() {
            for other in owned.unique.get(unique).into_iter().flatten().filter(|other| *other != key) {
                let Some(chain) = owned.rows.get(other) else { continue };
                if chain.held_by_other(self.session).is_some_and(|lock| lock.written.is_some()) {
                    return Err(Stop::Wait(Resource::Row(table, other.clone())));
                }
                let current = match chain.written_by(self.session) {
                    Some(own) => own.as_ref(),
                    None => chain.newest.row.as_ref(),
                };
                if current.is_some_and(|row| row.unique_keys().contains(unique)) {
                    return Ok(Conflict::With(other.clone()));
                }
            }
        }
        Ok(Conflict::None)
    }

    fn lock_advisory(&mut self, number: i64, scope: LockScope) -> Result<Answer, Stop> {
        let lock = self.advisory.entry(number).or_insert_with(|| Advisory::free(self.session));
        if lock.owner != self.session {
            return Err(Stop::Wait(Resource::Advisory(number)));
        }
        match scope {
            LockScope::Session => lock.by_session += 1,
            LockScope::Transaction if lock.by_transaction => {}
            LockScope::Transaction => {
                lock.by_transaction = true;
                self.txn.undo.push(Undo::Advisory(number));
            }
        }
        Ok(Answer::Done)
    }

    fn unlock_advisory(&mut self, number: i64) -> bool {
        let held =
            self.advisory.get_mut(&number).filter(|lock| lock.owner == self.session && lock.by_session > 0);
        let Some(lock) = held else { return false };
        lock.by_session -= 1;
        Advisory::free_if_unheld(self.advisory, number, self.woken);
        true
    }
}
