//! Who waits for whom.
//!
//! A session waits for one thing at a time, and each thing has one owner, so the graph of waits is a set of paths,
//! and a circle is found by following one. Edges are looked up, not stored: they cannot be out of date.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use evenkeel_core::model::Time;

use super::Database;
use super::message::{SessionId, SqlError, TableId};
use super::session::{Phase, Session};
use super::txn::Undo;

/// What can be waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Resource {
    /// The lock on a row.
    Row(TableId, Bytes),
    /// An advisory lock.
    Advisory(i64),
}

/// A wait, and when it ends without what it waits for.
#[derive(Debug, Clone)]
pub(super) struct Wait {
    pub(super) on: Resource,
    /// When a lock timeout strikes.
    pub(super) until: Option<Time>,
    /// When to look for a deadlock.
    pub(super) check_at: Option<Time>,
}

/// An advisory lock that somebody holds.
#[derive(Debug, Clone)]
pub(super) struct Advisory {
    pub(super) owner: SessionId,
    /// How often for the session.
    pub(super) by_session: u32,
    pub(super) by_transaction: bool,
    /// First come first.
    pub(super) waiters: Vec<SessionId>,
}

impl Advisory {
    pub(super) fn free(owner: SessionId) -> Self {
        Self { owner, by_session: 0, by_transaction: false, waiters: Vec::new() }
    }

    pub(super) fn free_if_unheld(
        locks: &mut BTreeMap<i64, Self>,
        number: i64,
        woken: &mut VecDeque<SessionId>,
    ) {
        if locks.get(&number).is_some_and(|lock| lock.by_session == 0 && !lock.by_transaction)
            && let Some(lock) = locks.remove(&number)
        {
            woken.extend(lock.waiters);
        }
    }
}

impl Database {
    fn owner(&self, resource: &Resource) -> Option<SessionId> {
        match resource {
            Resource::Row(table, key) => Some(self.tables.chain(*table, key)?.lock.as_ref()?.owner),
            Resource::Advisory(number) => Some(self.advisory.get(number)?.owner),
        }
    }

    fn waiters(&mut self, resource: &Resource) -> Option<&mut Vec<SessionId>> {
        match resource {
            Resource::Row(table, key) => Some(&mut self.tables.chain_mut(*table, key)?.waiters),
            Resource::Advisory(number) => Some(&mut self.advisory.get_mut(number)?.waiters),
        }
    }

    /// Whom a session waits for.
    pub(super) fn waits_for(&self, id: SessionId) -> Option<SessionId> {
        let Phase::Waiting(wait) = &self.sessions.get(&id)?.work.as_ref()?.phase else { return None };
        self.owner(&wait.on)
    }

    /// Whether a session waits, through others, for itself.
    pub(super) fn is_deadlocked(&self, id: SessionId) -> bool {
        let mut next = self.waits_for(id);
        for _ in 0..self.sessions.len() {
            match next {
                Some(other) if other == id => return true,
                Some(other) => next = self.waits_for(other),
                None => return false,
            }
        }
        // A circle of others, whose victim has not been chosen yet.
        false
    }

    /// Lets a session wait. If that closes a circle and there is no grace, it loses at once.
    pub(super) fn wait(&mut self, id: SessionId, on: Resource) {
        let now = self.now;
        let grace = self.config.deadlock_timeout;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(work) = &mut session.work else { return };
        // Who was woken and came too late goes on waiting for the same: the time that it has waited counts.
        let until = match &work.last_wait {
            Some((last, until)) if *last == on => *until,
            Some(_) | None => session.settings.lock_timeout.map(|limit| now + limit),
        };
        work.last_wait = Some((on.clone(), until));
        let check_at = (!grace.is_zero()).then(|| now + grace);
        work.phase = Phase::Waiting(Wait { on: on.clone(), until, check_at });
        if let Some(waiters) = self.waiters(&on)
            && !waiters.contains(&id)
        {
            waiters.push(id);
        }
        if grace.is_zero() && self.is_deadlocked(id) {
            self.marks.hit("deadlock");
            self.fail(id, SqlError::Deadlock);
        }
    }

    /// Takes a session out of the line that it stands in, if it does.
    pub(super) fn stop_waiting(&mut self, id: SessionId) {
        let work = self.sessions.get_mut(&id).and_then(|session| session.work.as_mut());
        let Some(work) = work else { return };
        if let Phase::Waiting(wait) = &work.phase {
            let on = wait.on.clone();
            work.phase = Phase::Ready;
            if let Some(waiters) = self.waiters(&on) {
                waiters.retain(|waiter| *waiter != id);
            }
        }
    }

    /// Undoes what a transaction has done since its undo list was that long, the last first.
    pub(super) fn unwind(&mut self, id: SessionId, mark: usize) {
        let Some(txn) = self.sessions.get_mut(&id).and_then(|session| session.txn.as_mut()) else { return };
        for step in txn.undo.drain(mark..).rev() {
            match step {
                Undo::Locked(table, key) => {
                    if let Some(table) = self.tables.get_mut(table) {
                        table.release(&key, &mut self.ready);
                    }
                }
                Undo::Wrote(table, key, before) => {
                    if let Some(table) = self.tables.get_mut(table) {
                        table.write(&key, before);
                    }
                }
                Undo::Advisory(number) => {
                    if let Some(lock) = self.advisory.get_mut(&number) {
                        lock.by_transaction = false;
                    }
                    Advisory::free_if_unheld(&mut self.advisory, number, &mut self.ready);
                }
            }
        }
    }

    /// Gives back the advisory locks that a session holds for itself.
    pub(super) fn unlock_session(&mut self, id: SessionId) {
        let held: Vec<i64> = self
            .advisory
            .iter()
            .filter(|(_, lock)| lock.owner == id && lock.by_session > 0)
            .map(|(number, _)| *number)
            .collect();
        for number in held {
            if let Some(lock) = self.advisory.get_mut(&number) {
                lock.by_session = 0;
            }
            Advisory::free_if_unheld(&mut self.advisory, number, &mut self.ready);
        }
    }

    /// Every wait has a cause and every lock an owner that knows of it.
    #[cfg(any(test, debug_assertions))]
    pub(super) fn check_locks(&self) {
        let owns = |id: SessionId, found: &dyn Fn(&Undo) -> bool| {
            let txn = self.sessions.get(&id).and_then(|session| session.txn.as_ref());
            txn.map_or(0, |txn| txn.undo.iter().filter(|step| found(step)).count())
        };
        let waits_on = |id: &SessionId, resource: &Resource| {
            let work = self.sessions.get(id).and_then(|session| session.work.as_ref());
            matches!(work.map(|work| &work.phase), Some(Phase::Waiting(wait)) if wait.on == *resource)
        };
        let mut row_locks = 0;
        let mut waiters = 0;
        for (index, table) in self.tables.all.iter().enumerate() {
            for (key, chain) in &table.rows {
                let resource = Resource::Row(TableId(u16::try_from(index).unwrap_or(u16::MAX)), key.clone());
                let Resource::Row(table, _) = resource else { continue };
                if let Some(lock) = &chain.lock {
                    row_locks += 1;
                    let locked = owns(
                        lock.owner,
                        &|step| matches!(step, Undo::Locked(of, row) if *of == table && row == key),
                    );
                    assert_eq!(locked, 1, "the owner of a row's lock will release it");
                    let wrote = owns(
                        lock.owner,
                        &|step| matches!(step, Undo::Wrote(of, row, None) if *of == table && row == key),
                    );
                    assert_eq!(wrote, usize::from(lock.written.is_some()), "what is written can be undone");
                }
                waiters += chain.waiters.len();
                assert!(chain.waiters.iter().all(|id| waits_on(id, &resource)), "who stands in line waits");
            }
        }
        for (number, lock) in &self.advisory {
            assert!(lock.by_transaction || lock.by_session > 0, "a lock that nobody holds is forgotten");
            assert!(self.sessions.contains_key(&lock.owner), "an advisory lock has an owner");
            let undone = owns(lock.owner, &|step| matches!(step, Undo::Advisory(of) if of == number));
            assert_eq!(undone, usize::from(lock.by_transaction), "a transaction's lock ends with it");
            let resource = Resource::Advisory(*number);
            waiters += lock.waiters.len();
            assert!(lock.waiters.iter().all(|id| waits_on(id, &resource)), "who stands in line waits");
        }
        let locked = |session: &Session| {
            let undo = session.txn.iter().flat_map(|txn| &txn.undo);
            undo.filter(|step| matches!(step, Undo::Locked(..))).count()
        };
        assert_eq!(
            self.sessions.values().map(locked).sum::<usize>(),
            row_locks,
            "no lock is recorded in vain"
        );
        let waiting = self.sessions.values().filter(|session| session.is_waiting()).count();
        assert_eq!(waiters, waiting, "who waits stands in one line");
        for id in self.sessions.keys().filter(|id| self.sessions[id].is_waiting()) {
            assert!(
                self.waits_for(*id).is_some_and(|owner| owner != *id),
                "who waits has somebody to wait for"
            );
            let grace = !self.config.deadlock_timeout.is_zero();
            assert!(grace || !self.is_deadlocked(*id), "no deadlock lasts");
        }
    }
}
