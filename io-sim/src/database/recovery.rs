//! How transactions end, and what is left when the server does.

use std::time::Duration;

use evenkeel_core::model::RequestId;

use super::history::{Commit, Write};
use super::locks::Advisory;
use super::message::{Action, CommitSequence, SessionId, SqlError};
use super::txn::{Txn, Undo};
use super::{Database, Server};

impl Database {
    /// Commits a session's transaction, and tells its place in the order.
    pub(super) fn commit(&mut self, id: SessionId) -> Result<CommitSequence, SqlError> {
        let Some(session) = self.sessions.get_mut(&id) else { return Err(SqlError::ConnectionLost) };
        let Some(txn) = &session.txn else { return Err(SqlError::NoTransaction) };
        let request = session.work.as_ref().map_or(RequestId(0), |work| work.id);
        if txn.has_written() {
            if txn.doomed {
                self.marks.hit("commit after a read was overtaken");
                return Err(SqlError::SerializationFailure);
            }
            for (table, key) in txn.writes() {
                if self.tables.breaks_deferred(id, table, key) {
                    self.marks.hit("refused at commit");
                    return Err(SqlError::DeferredViolation(table));
                }
            }
        }
        if let Some(txn) = session.txn.take() {
            self.apply(id, request, txn);
        }
        Ok(self.committed)
    }

    /// Makes a transaction's writes true, and lets go of what it holds.
    fn apply(&mut self, id: SessionId, request: RequestId, mut txn: Txn) {
        self.close(id, &mut txn);
        if txn.has_written() {
            self.committed = CommitSequence(self.committed.0 + 1);
            let mut writes = Vec::new();
            for (table, key) in txn.writes() {
                let after = match self.history.is_kept() {
                    true => self.tables.chain(table, key).and_then(|chain| chain.written_by(id)).cloned(),
                    false => None,
                };
                let before = self.tables.commit(table, key, self.committed, &self.snapshots);
                if let (Some(after), Some(before)) = (after, before) {
                    let key = key.clone();
                    writes.push(Write {
                        table,
                        key,
                        before: before.row,
                        before_sequence: before.sequence,
                        after,
                    });
                }
                for reader in &self.readers {
                    let other = self.sessions.get_mut(reader).and_then(|session| session.txn.as_mut());
                    if let Some(other) = other
                        && other.reads.as_ref().is_some_and(|reads| reads.cover(table, key))
                    {
                        other.doomed = true;
                    }
                }
            }
            if self.history.is_kept() {
                let writes = writes.into();
                self.history.commit(Commit {
                    sequence: self.committed,
                    session: id,
                    request,
                    at: self.now,
                    writes,
                });
            }
        }
        for step in txn.undo {
            match step {
                Undo::Locked(table, key) => {
                    if let Some(table) = self.tables.get_mut(table) {
                        table.release(&key, &mut self.ready);
                    }
                }
                Undo::Wrote(..) => {}
                Undo::Advisory(number) => {
                    if let Some(lock) = self.advisory.get_mut(&number) {
                        lock.by_transaction = false;
                    }
                    Advisory::free_if_unheld(&mut self.advisory, number, &mut self.ready);
                }
            }
        }
        self.tables.prune(&self.snapshots);
    }

    /// Undoes a session's transaction, if there is one.
    pub(super) fn rollback(&mut self, id: SessionId) {
        self.unwind(id, 0);
        let txn = self.sessions.get_mut(&id).and_then(|session| session.txn.take());
        if let Some(mut txn) = txn {
            self.close(id, &mut txn);
            self.tables.prune(&self.snapshots);
        }
    }

    /// A failed transaction reads no more.
    pub(super) fn forget_reads(&mut self, id: SessionId) {
        let Some(txn) = self.sessions.get_mut(&id).and_then(|session| session.txn.as_mut()) else { return };
        if let Some(snapshot) = txn.snapshot.take() {
            self.snapshots.end(snapshot);
        }
        self.readers.remove(&id);
        self.tables.prune(&self.snapshots);
    }

    fn close(&mut self, id: SessionId, txn: &mut Txn) {
        if let Some(snapshot) = txn.snapshot.take() {
            self.snapshots.end(snapshot);
        }
        if txn.reads.is_some() {
            self.readers.remove(&id);
        }
    }

    /// Ends all sessions, telling them.
    pub(super) fn shut_down(&mut self) {
        // Down first, so that nobody who is woken by another's end starts anything.
        self.server = Server::Down;
        let sessions: Vec<SessionId> = self.sessions.keys().copied().collect();
        for id in sessions {
            self.end(id, SqlError::Shutdown);
        }
        self.ready.clear();
    }

    /// Ends everything without a word, and perhaps destroys the last commits.
    pub(super) fn crash(&mut self, lose: usize) {
        if self.server == Server::Down {
            self.marks.hit("crash of a stopped server");
        }
        self.server = Server::Down;
        self.ready.clear();
        self.due.clear();
        self.readers.clear();
        self.advisory.clear();
        self.snapshots.clear();
        for session in std::mem::take(&mut self.sessions).into_values() {
            let open =
                session.work.iter().map(|work| work.id).chain(session.queue.iter().map(|asked| asked.id));
            self.actions.extend(open.map(|id| Action::HangUp { id }));
        }
        self.history.crashed(self.now);
        let mut commits = Vec::new();
        for _ in 0..lose {
            let Some(commit) = self.history.lose() else { break };
            for write in commit.writes.iter().rev() {
                self.tables.restore(write.table, &write.key, write.undone());
            }
            commits.push(commit.sequence);
        }
        self.tables.forget_uncommitted();
        if !commits.is_empty() {
            self.marks.hit("tail lost");
            commits.reverse();
            self.actions.push_back(Action::TailLost { commits });
        }
    }

    pub(super) fn start(&mut self, recovery: Duration) {
        if self.server == Server::Down {
            self.server = Server::Recovering(self.now + recovery);
        }
    }
}
