//! Rows: their committed versions, the lock on each, the version that its owner has not committed, and the indexes.
//!
//! A row's lock covers all that can be done to its key, also where no row is yet: an insert holds it, and so others
//! wait that would insert the same. Old versions are dropped as soon as no snapshot needs them.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::message::{CommitSequence, Row, SessionId, TableId};

/// What a row was from a commit on: nothing, if that deleted it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Version {
    pub(super) sequence: CommitSequence,
    pub(super) row: Option<Row>,
}

/// The lock on a row, and what its owner has written.
#[derive(Debug, Clone)]
pub(super) struct RowLock {
    pub(super) owner: SessionId,
    /// `None`: nothing written. `Some(None)`: deleted.
    pub(super) written: Option<Option<Row>>,
}

/// All that is known of a key.
#[derive(Debug, Clone, Default)]
pub(super) struct Chain {
    pub(super) newest: Version,
    /// Older versions that a snapshot may need, oldest first.
    pub(super) older: Vec<Version>,
    pub(super) lock: Option<RowLock>,
    /// Who waits for the lock, first come first.
    pub(super) waiters: Vec<SessionId>,
    /// Whether it stands in the queue of chains to prune.
    queued: bool,
}

impl Chain {
    /// The row as of a snapshot.
    pub(super) fn at(&self, snapshot: CommitSequence) -> Option<&Row> {
        if self.newest.sequence <= snapshot {
            return self.newest.row.as_ref();
        }
        self.older.iter().rev().find(|version| version.sequence <= snapshot)?.row.as_ref()
    }

    /// What a session itself has written and not committed.
    pub(super) fn written_by(&self, session: SessionId) -> Option<&Option<Row>> {
        self.lock.as_ref().filter(|lock| lock.owner == session)?.written.as_ref()
    }

    /// What a transaction sees.
    pub(super) fn seen_by(&self, session: SessionId, snapshot: CommitSequence) -> Option<&Row> {
        match self.written_by(session) {
            Some(own) => own.as_ref(),
            None => self.at(snapshot),
        }
    }

    /// Who else holds the lock.
    pub(super) fn held_by_other(&self, session: SessionId) -> Option<&RowLock> {
        self.lock.as_ref().filter(|lock| lock.owner != session)
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        let written = self.lock.as_ref().and_then(|lock| lock.written.as_ref()).and_then(Option::as_ref);
        self.newest.row.iter().chain(written)
    }

    fn is_void(&self) -> bool {
        self.newest.row.is_none() && self.older.is_empty() && self.lock.is_none() && self.waiters.is_empty()
    }
}

/// Which rows have a key, committed or written.
type Index = BTreeMap<Bytes, Vec<Bytes>>;

/// One table.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    name: Arc<str>,
    pub(super) rows: BTreeMap<Bytes, Chain>,
    pub(super) unique: Index,
    pub(super) deferred: Index,
}

impl Table {
    fn new(name: Arc<str>) -> Self {
        Self { name, ..Self::default() }
    }

    /// Replaces what the owner of the lock has written, and returns what was there.
    pub(super) fn write(&mut self, key: &Bytes, written: Option<Option<Row>>) -> Option<Option<Row>> {
        let chain = self.rows.get_mut(key)?;
        let lock = chain.lock.as_mut()?;
        let keys = written.as_ref().and_then(Option::as_ref).and_then(|row| row.keys.clone());
        let before = std::mem::replace(&mut lock.written, written);
        if let Some(keys) = keys {
            enter(&mut self.unique, &keys.unique, key);
            enter(&mut self.deferred, &keys.deferred, key);
        }
        if let Some(Some(row)) = &before {
            leave_indexes(&mut self.unique, &mut self.deferred, chain, row, key);
        }
        before
    }

    /// Gives up a lock under which nothing is written any more, and tells who waits.
    pub(super) fn release(&mut self, key: &Bytes, woken: &mut VecDeque<SessionId>) {
        let Some(chain) = self.rows.get_mut(key) else { return };
        chain.lock = None;
        woken.extend(chain.waiters.drain(..));
        // A tombstone with a number may still tell a snapshot that the row was changed: the queue removes it.
        if !chain.queued && chain.is_void() {
            self.rows.remove(key);
        }
    }

    fn rebuild_indexes(&mut self) {
        self.unique.clear();
        self.deferred.clear();
        for (key, chain) in &self.rows {
            for row in chain.rows() {
                enter(&mut self.unique, row.unique_keys(), key);
                enter(&mut self.deferred, row.deferred_keys(), key);
            }
        }
    }
}

fn enter(index: &mut Index, keys: &[Bytes], row: &Bytes) {
    for key in keys {
        let rows = index.entry(key.clone()).or_default();
        if !rows.contains(row) {
            rows.push(row.clone());
        }
    }
}

/// Takes out the entries of a row that is no more, unless its chain has them by another version.
fn leave_indexes(unique: &mut Index, deferred: &mut Index, chain: &Chain, gone: &Row, key: &Bytes) {
    if gone.keys.is_none() {
        return;
    }
    let leave = |index: &mut Index, keys: &[Bytes], keys_of: fn(&Row) -> &[Bytes]| {
        for entry in keys {
            if chain.rows().any(|row| keys_of(row).contains(entry)) {
                continue;
            }
            if let Some(rows) = index.get_mut(entry) {
                rows.retain(|row| row != key);
                if rows.is_empty() {
                    index.remove(entry);
                }
            }
        }
    };
    leave(unique, gone.unique_keys(), Row::unique_keys);
    leave(deferred, gone.deferred_keys(), Row::deferred_keys);
}

/// The snapshots that transactions read from, with the number of those that share one.
#[derive(Debug, Clone, Default)]
pub(super) struct Snapshots(BTreeMap<CommitSequence, u32>);

impl Snapshots {
    pub(super) fn take(&mut self, sequence: CommitSequence) {
        *self.0.entry(sequence).or_default() += 1;
    }

    pub(super) fn end(&mut self, sequence: CommitSequence) {
        if let Some(count) = self.0.get_mut(&sequence) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&sequence);
            }
        }
    }

    /// Whether a snapshot sees what was true from one commit up to another.
    fn any_in(&self, from: CommitSequence, to: CommitSequence) -> bool {
        !self.0.is_empty() && self.0.range(from..to).next().is_some()
    }

    fn oldest(&self) -> Option<CommitSequence> {
        self.0.first_key_value().map(|(sequence, _)| *sequence)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    #[cfg(any(test, debug_assertions))]
    pub(super) fn iter(&self) -> impl Iterator<Item = (CommitSequence, u32)> {
        self.0.iter().map(|(sequence, count)| (*sequence, *count))
    }
}

/// All tables.
#[derive(Debug, Clone)]
pub(super) struct Tables {
    pub(super) all: Vec<Table>,
    /// Chains with more than a snapshot of now needs, each once, with the commit that made them so.
    stale: VecDeque<(CommitSequence, TableId, Bytes)>,
}

impl Tables {
    pub(super) fn new(names: &[Arc<str>]) -> Self {
        Self { all: names.iter().map(|name| Table::new(name.clone())).collect(), stale: VecDeque::new() }
    }

    pub(super) fn id(&self, name: &str) -> Option<TableId> {
        let index = self.all.iter().position(|table| &*table.name == name)?;
        Some(TableId(u16::try_from(index).ok()?))
    }

    pub(super) fn get(&self, table: TableId) -> Option<&Table> {
        self.all.get(usize::from(table.0))
    }

    pub(super) fn get_mut(&mut self, table: TableId) -> Option<&mut Table> {
        self.all.get_mut(usize::from(table.0))
    }

    pub(super) fn chain(&self, table: TableId, key: &[u8]) -> Option<&Chain> {
        self.get(table)?.rows.get(key)
    }

    pub(super) fn chain_mut(&mut self, table: TableId, key: &[u8]) -> Option<&mut Chain> {
        self.get_mut(table)?.rows.get_mut(key)
    }

    /// Makes what the lock's owner has written the newest version. The lock stays. Returns the version before.
    pub(super) fn commit(
        &mut self,
        table: TableId,
        key: &Bytes,
        sequence: CommitSequence,
        snapshots: &Snapshots,
    ) -> Option<Version> {
        let owned = self.all.get_mut(usize::from(table.0))?;
        let chain = owned.rows.get_mut(key)?;
        let row = chain.lock.as_mut()?.written.take()?;
        let before = std::mem::replace(&mut chain.newest, Version { sequence, row });
        if let Some(row) = &before.row {
            leave_indexes(&mut owned.unique, &mut owned.deferred, chain, row, key);
        }
        if snapshots.any_in(before.sequence, sequence) {
            chain.older.push(before.clone());
            prune(chain, snapshots);
        }
        let stale = !chain.older.is_empty() || (chain.newest.row.is_none() && snapshots.oldest().is_some());
        if stale && !chain.queued {
            chain.queued = true;
            self.stale.push_back((sequence, table, key.clone()));
        }
        Some(before)
    }

    /// Whether a row that a session has written shares a deferred key with another, as of its commit now.
    pub(super) fn breaks_deferred(&self, session: SessionId, table: TableId, key: &Bytes) -> bool {
        let Some(owned) = self.get(table) else { return false };
        let current = |key: &Bytes| match owned.rows.get(key) {
            Some(chain) => match chain.written_by(session) {
                Some(own) => own.as_ref(),
                None => chain.newest.row.as_ref(),
            },
            None => None,
        };
        let Some(row) = current(key) else { return false };
        row.deferred_keys().iter().any(|deferred| {
            let others = owned.deferred.get(deferred).into_iter().flatten().filter(|other| *other != key);
            others.filter_map(current).any(|other| other.deferred_keys().contains(deferred))
        })
    }

    /// Drops the versions that no snapshot needs any more.
    pub(super) fn prune(&mut self, snapshots: &Snapshots) {
        let horizon = snapshots.oldest();
        while let Some((since, table, key)) = self.stale.pop_front() {
            if horizon.is_some_and(|oldest| oldest < since) {
                self.stale.push_front((since, table, key));
                return;
            }
            let Some(owned) = self.all.get_mut(usize::from(table.0)) else { continue };
            let Some(chain) = owned.rows.get_mut(&key) else { continue };
            prune(chain, snapshots);
            let newest = chain.newest.sequence;
            let changed_since = horizon.is_some_and(|oldest| oldest < newest);
            if !chain.older.is_empty() || (chain.newest.row.is_none() && changed_since) {
                self.stale.push_back((newest, table, key));
                continue;
            }
            chain.queued = false;
            if chain.is_void() {
                owned.rows.remove(&key);
            }
        }
    }

    /// What is committed, and nothing else.
    pub(super) fn forget_uncommitted(&mut self) {
        self.stale.clear();
        for table in &mut self.all {
            table.rows.retain(|_, chain| {
                *chain = Chain { newest: std::mem::take(&mut chain.newest), ..Chain::default() };
                chain.newest.row.is_some()
            });
            table.rebuild_indexes();
        }
    }

    /// Sets rows back to older versions, where nobody reads or writes. Indexes follow by `forget_uncommitted`.
    pub(super) fn restore(&mut self, table: TableId, key: &Bytes, version: Version) {
        if let Some(table) = self.get_mut(table) {
            table.rows.entry(key.clone()).or_default().newest = version;
        }
    }

    /// The committed rows of a table.
    pub(super) fn committed(&self, table: TableId) -> impl Iterator<Item = (&Bytes, &Row)> {
        let rows = self.get(table).into_iter().flat_map(|table| &table.rows);
        rows.filter_map(|(key, chain)| Some((key, chain.newest.row.as_ref()?)))
    }

    /// How many versions are kept, committed or not.
    pub(super) fn versions(&self) -> usize {
        let chains = self.all.iter().flat_map(|table| table.rows.values());
        chains.map(|chain| 1 + chain.older.len() + usize::from(chain.written_any())).sum()
    }

    #[cfg(any(test, debug_assertions))]
    pub(super) fn check(&self, snapshots: &Snapshots) {
        let mut queued = 0;
        for table in &self.all {
            for chain in table.rows.values() {
                assert!(!chain.is_void() || chain.queued, "a key of which nothing is known is forgotten");
                assert!(chain.older.is_empty() || chain.queued, "old versions will be pruned");
                assert!(chain.lock.is_some() || chain.waiters.is_empty(), "nobody waits for a free lock");
                let versions = chain.older.iter().chain([&chain.newest]);
                assert!(
                    versions.is_sorted_by(|one, next| one.sequence < next.sequence),
                    "versions are in order of commits"
                );
                assert!(
                    chain.older.is_empty() || snapshots.oldest().is_some(),
                    "without a snapshot no old version is kept"
                );
                queued += usize::from(chain.queued);
            }
            let mut rebuilt = table.clone();
            rebuilt.rebuild_indexes();
            for (kept, true_one) in [(&table.unique, &rebuilt.unique), (&table.deferred, &rebuilt.deferred)] {
                assert!(kept.keys().eq(true_one.keys()), "indexes have the keys of the rows");
                for (kept, true_one) in kept.values().zip(true_one.values()) {
                    assert!(
                        kept.len() == true_one.len() && kept.iter().all(|row| true_one.contains(row)),
                        "indexes lead to the rows that have the key"
                    );
                }
            }
        }
        assert_eq!(queued, self.stale.len(), "each chain stands in the queue once");
    }
}

impl Chain {
    fn written_any(&self) -> bool {
        self.lock.as_ref().is_some_and(|lock| lock.written.is_some())
    }
}

/// Drops the versions of a chain that lie between two snapshots, or before the first.
fn prune(chain: &mut Chain, snapshots: &Snapshots) {
    let mut index = 0;
    while index < chain.older.len() {
        let from = chain.older[index].sequence;
        let to = chain.older.get(index + 1).map_or(chain.newest.sequence, |next| next.sequence);
        if snapshots.any_in(from, to) {
            index += 1;
        } else {
            chain.older.remove(index);
        }
    }
}

/// The bounds of a range of keys.
pub(super) fn bounds<'k>(from: &'k Bytes, to: Option<&'k Bytes>) -> (Bound<&'k [u8]>, Bound<&'k [u8]>) {
    (Bound::Included(&**from), to.map_or(Bound::Unbounded, |to| Bound::Excluded(&**to)))
}
