//! A transaction: what it sees, what it would have to undo, and whether it may still commit.
//!
//! *Read committed* needs no state: each statement reads what is committed at its moment, and whoever waited starts
//! over. *Repeatable read* keeps one snapshot, and whoever would write what was changed since is refused: the first
//! updater wins. *Serializable* also remembers what was read. A commit dooms every open transaction that read what
//! it writes; the doomed may go on reading, but neither write nor, having written, commit.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::message::{CommitSequence, Isolation, Row, TableId};

/// One step back.
#[derive(Debug, Clone)]
pub(super) enum Undo {
    /// A row was locked.
    Locked(TableId, Bytes),
    /// A row was written over what the transaction itself had written before, if anything.
    Wrote(TableId, Bytes, Option<Option<Row>>),
    /// An advisory lock was taken for the transaction.
    Advisory(i64),
}

/// What a serializable transaction has read.
#[derive(Debug, Clone, Default)]
pub(super) struct Reads {
    points: BTreeSet<(TableId, Bytes)>,
    ranges: Vec<(TableId, Bytes, Option<Bytes>)>,
}

impl Reads {
    pub(super) fn point(&mut self, table: TableId, key: &Bytes) {
        self.points.insert((table, key.clone()));
    }

    pub(super) fn range(&mut self, table: TableId, from: &Bytes, to: Option<&Bytes>) {
        let known = |(of, first, end): &(TableId, Bytes, Option<Bytes>)| {
            *of == table && first == from && end.as_ref() == to
        };
        if !self.ranges.iter().any(known) {
            self.ranges.push((table, from.clone(), to.cloned()));
        }
    }

    /// Whether a write to that key changes what was read.
    pub(super) fn cover(&self, table: TableId, key: &Bytes) -> bool {
        let in_range = |(of, from, to): &(TableId, Bytes, Option<Bytes>)| {
            *of == table && from <= key && to.as_ref().is_none_or(|to| key < to)
        };
        self.ranges.iter().any(in_range) || self.points.contains(&(table, key.clone()))
    }
}

/// An open transaction.
#[derive(Debug, Clone)]
pub(super) struct Txn {
    pub(super) isolation: Isolation,
    /// Whether it is one statement that commits by itself.
    pub(super) implicit: bool,
    /// Whether a statement failed that no rollback to a savepoint has undone.
    pub(super) failed: bool,
    /// Taken by the first statement, if the isolation keeps one.
    pub(super) snapshot: Option<CommitSequence>,
    pub(super) undo: Vec<Undo>,
    /// Names, and how long `undo` was.
    pub(super) savepoints: Vec<(u32, usize)>,
    pub(super) reads: Option<Box<Reads>>,
    /// Whether a read was overtaken by a commit.
    pub(super) doomed: bool,
}

impl Txn {
    pub(super) fn new(isolation: Isolation, implicit: bool) -> Self {
        let reads = match isolation {
            Isolation::Serializable => Some(Box::default()),
            Isolation::ReadCommitted | Isolation::RepeatableRead => None,
        };
        Self {
            isolation,
            implicit,
            failed: false,
            snapshot: None,
            undo: Vec::new(),
            savepoints: Vec::new(),
            reads,
            doomed: false,
        }
    }

    pub(super) fn has_written(&self) -> bool {
        self.undo.iter().any(|step| matches!(step, Undo::Wrote(..)))
    }

    /// What it wrote, each key once, in order of first writing.
    pub(super) fn writes(&self) -> impl Iterator<Item = (TableId, &Bytes)> {
        self.undo.iter().filter_map(|step| match step {
            Undo::Wrote(table, key, None) => Some((*table, key)),
            Undo::Wrote(_, _, Some(_)) | Undo::Locked(..) | Undo::Advisory(_) => None,
        })
    }

    /// How far a failure, or a rollback to the innermost savepoint, goes back.
    pub(super) fn innermost(&self) -> usize {
        self.savepoints.last().map_or(0, |(_, mark)| *mark)
    }

    /// Forgets the savepoints behind the last of that name, and tells how far back it is.
    pub(super) fn back_to(&mut self, name: u32) -> Option<usize> {
        let index = self.savepoints.iter().rposition(|(known, _)| *known == name)?;
        self.savepoints.truncate(index + 1);
        Some(self.savepoints[index].1)
    }

    /// Forgets the last savepoint of that name and those behind it.
    pub(super) fn release(&mut self, name: u32) -> bool {
        let index = self.savepoints.iter().rposition(|(known, _)| *known == name);
        if let Some(index) = index {
            self.savepoints.truncate(index);
        }
        index.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_covers_its_first_key_and_not_its_end() {
        let mut reads = Reads::default();
        let key = |text: &'static str| Bytes::from_static(text.as_bytes());
        reads.range(TableId(0), &key("b"), Some(&key("d")));
        reads.point(TableId(1), &key("x"));
        for (table, name, covered) in [
            (0, "a", false),
            (0, "b", true),
            (0, "c", true),
            (0, "d", false),
            (1, "b", false),
            (1, "x", true),
        ] {
            assert_eq!(reads.cover(TableId(table), &key(name)), covered, "{table} {name}");
        }
    }
}
