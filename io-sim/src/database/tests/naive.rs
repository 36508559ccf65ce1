//! Judges isolation from what clients were told and the order of commits. It shares no code with the machine: it
//! applies the clients' own writes one commit after the other, keeps every state in between, and looks where each
//! read fits.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use evenkeel_core::model::RequestId;

use crate::database::{Commit, Isolation, Row};

pub(super) type State = BTreeMap<Bytes, Row>;
/// What a transaction itself wrote and did not undo.
pub(super) type Own = BTreeMap<Bytes, Option<Row>>;

/// Something that a client was told about rows that its transaction had not written.
#[derive(Debug, Clone)]
pub(super) enum Saw {
    Row { key: Bytes, row: Option<Row> },
    Exists { key: Bytes },
    Rows { from: Bytes, to: Option<Bytes>, limit: usize, own: Own, rows: Vec<(Bytes, Row)> },
}

impl Saw {
    fn fits(&self, state: &State) -> bool {
        match self {
            Self::Row { key, row } => state.get(key) == row.as_ref(),
            Self::Exists { key } => state.contains_key(key),
            Self::Rows { from, to, limit, own, rows } => {
                let mut seen = state.clone();
                for (key, row) in own {
                    match row {
                        Some(row) => seen.insert(key.clone(), row.clone()),
                        None => seen.remove(key),
                    };
                }
                let in_range = |key: &Bytes| key >= from && to.as_ref().is_none_or(|to| key < to);
                seen.into_iter().filter(|(key, _)| in_range(key)).take(*limit).eq(rows.iter().cloned())
            }
        }
    }
}

/// What must hold of a row from when a client was told until its transaction ends.
#[derive(Debug, Clone)]
pub(super) enum Held {
    Row(Option<Row>),
    Exists,
}

/// What the client knows of how its transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// With its place, if that was told.
    Committed(Option<u64>),
    RolledBack,
    Nothing,
}

/// One transaction as its client saw it. A window is the number of commits when the client asked and when it was told.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) isolation: Isolation,
    /// The window of the first statement that certainly had a snapshot.
    pub(super) first: Option<(u64, u64)>,
    /// How many commits there were at the first statement that may have taken it, and failed.
    pub(super) asked: Option<u64>,
    pub(super) reads: Vec<(Saw, (u64, u64))>,
    pub(super) own: Own,
    pub(super) held: BTreeMap<Bytes, Held>,
    pub(super) saves: Vec<(u32, Own, BTreeMap<Bytes, Held>)>,
    pub(super) failed: bool,
    /// What would commit it.
    pub(super) request: Option<RequestId>,
    /// What a statement of which nothing was heard may have written.
    pub(super) possible: Vec<(Bytes, Option<Row>)>,
    pub(super) told: Told,
}

impl Record {
    pub(super) fn new(isolation: Isolation) -> Self {
        Self {
            isolation,
            first: None,
            asked: None,
            reads: Vec::new(),
            own: Own::new(),
            held: BTreeMap::new(),
            saves: Vec::new(),
            failed: false,
            request: None,
            possible: Vec::new(),
            told: Told::Nothing,
        }
    }
}

/// Judges all transactions since a state, and returns the states after each commit.
pub(super) fn judge(
    base: (u64, State),
    commits: &[Commit],
    records: &mut [Record],
) -> Result<BTreeMap<u64, State>, String> {
    let mut states = BTreeMap::from([base.clone()]);
    let mut writers: BTreeMap<u64, BTreeSet<Bytes>> = BTreeMap::new();
    let mut places = BTreeMap::new();
    let mut last = base;
    for commit in commits {
        let number = commit.sequence.0;
        if number != last.0 + 1 {
            return Err(format!("commit {number} follows {}", last.0));
        }
        let mine = |record: &&mut Record| record.request == Some(commit.request);
        let Some(record) = records.iter_mut().find(mine) else {
            return Err(format!("nobody asked for commit {number}"));
        };
        let written: Own =
            commit.writes.iter().map(|write| (write.key.clone(), write.after.clone())).collect();
        if record.told == Told::Nothing && !record.possible.is_empty() {
            let legal =
                |(key, row): (&Bytes, &Option<Row>)| record.possible.contains(&(key.clone(), row.clone()));
            if !written.iter().all(legal) {
                return Err(format!("commit {number} wrote what nobody asked for"));
            }
            record.own = written.clone();
        }
        if record.own != written {
            return Err(format!("commit {number} wrote {written:?} instead of {:?}", record.own));
        }
        for (key, row) in &record.own {
            match row {
                Some(row) => last.1.insert(key.clone(), row.clone()),
                None => last.1.remove(key),
            };
        }
        last.0 = number;
        unique(&last)?;
        states.insert(number, last.1.clone());
        writers.insert(number, record.own.keys().cloned().collect());
        if places.insert(commit.request, number).is_some() {
            return Err(format!("commit {number} is the second of its request"));
        }
    }
    for record in &*records {
        let place = record.request.and_then(|request| places.get(&request)).copied();
        one(record, place, &states, &writers)
            .map_err(|law| format!("{law}: {record:#?}, committed as {place:?}"))?;
    }
    Ok(states)
}

fn unique((number, state): &(u64, State)) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for keys in state.values().filter_map(|row| row.keys.as_ref()) {
        let all = keys.unique.iter().map(|key| (0, key)).chain(keys.deferred.iter().map(|key| (1, key)));
        for key in all {
            if !seen.insert(key) {
                return Err(format!("after commit {number} two rows have the key {key:?}"));
            }
        }
    }
    Ok(())
}

fn one(
    record: &Record,
    place: Option<u64>,
    states: &BTreeMap<u64, State>,
    writers: &BTreeMap<u64, BTreeSet<Bytes>>,
) -> Result<(), String> {
    let end = match (record.told, place) {
        (Told::RolledBack, Some(_)) => return Err("told that it was rolled back, and committed".into()),
        (Told::Committed(_), None) if !record.own.is_empty() => {
            return Err("told that it was committed, and was not".into());
        }
        (Told::Committed(Some(told)), Some(true_one)) if told != true_one => {
            return Err(format!("told {told} instead of its place"));
        }
        (Told::Committed(told), place) => place.or(told),
        (Told::RolledBack | Told::Nothing, place) => place,
    };
    let state = |number: u64| states.get(&number).ok_or_else(|| format!("no state {number}"));
    // What is locked does not change until the end.
    if let Some(end) = end {
        let before = state(if place.is_some() { end - 1 } else { end })?;
        for (key, held) in &record.held {
            let holds = match held {
                Held::Row(row) => before.get(key) == row.as_ref(),
                Held::Exists => before.contains_key(key),
            };
            if !holds {
                return Err(format!("{key:?} changed under its lock"));
            }
        }
    }
    if record.isolation == Isolation::ReadCommitted {
        for (saw, (from, to)) in &record.reads {
            let mut numbers = *from..=*to;
            if !numbers.any(|number| states.get(&number).is_some_and(|state| saw.fits(state))) {
                return Err(format!("no committed state from {from} to {to} has {saw:?}"));
            }
        }
        return Ok(());
    }
    if let Some((from, to)) = record.first {
        let fits = |number: u64| -> bool {
            let Some(state) = states.get(&number) else { return false };
            let unchanged = place.is_none_or(|place| {
                let mut between = writers.range(..place).filter(|(writer, _)| **writer > number);
                number < place
                    && between.all(|(_, written)| record.own.keys().all(|key| !written.contains(key)))
            });
            unchanged && record.reads.iter().all(|(saw, _)| saw.fits(state))
        };
        if !(from..=to).any(fits) {
            return Err(format!("no snapshot from {from} to {to} has its reads without a lost update"));
        }
    }
    if let (Isolation::Serializable, Some(place)) = (record.isolation, place) {
        let before = state(place - 1)?;
        if let Some((saw, _)) = record.reads.iter().find(|(saw, _)| !saw.fits(before)) {
            return Err(format!("in the order of commits it would not have seen {saw:?}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(value: &'static str) -> Row {
        Row::new(value)
    }

    /// The checker must be able to fail: the classic anomalies, told as histories.
    #[test]
    fn anomalies_are_told_from_legal_histories() {
        use Isolation::{ReadCommitted, RepeatableRead, Serializable};
        let states: BTreeMap<u64, State> = [(0, "0"), (1, "1"), (2, "2")]
            .map(|(number, value)| (number, State::from([(Bytes::from("a"), row(value))])))
            .into();
        let writers = BTreeMap::from([
            (1, BTreeSet::from([Bytes::from("a")])),
            (2, BTreeSet::from([Bytes::from("a")])),
        ]);
        let saw = |value| Saw::Row { key: "a".into(), row: Some(row(value)) };
        let reads = |isolation, values: &[&'static str]| {
            let mut record = Record::new(isolation);
            record.told = Told::RolledBack;
            record.first = Some((0, 2));
            record.reads = values.iter().map(|value| (saw(value), (0, 2))).collect();
            record
        };
        let legal = |record: &Record, place| one(record, place, &states, &writers).is_ok();
        assert!(!legal(&reads(ReadCommitted, &["dirty"]), None));
        assert!(legal(&reads(ReadCommitted, &["0", "1"]), None));
        assert!(!legal(&reads(RepeatableRead, &["0", "1"]), None));
        assert!(legal(&reads(RepeatableRead, &["1", "1"]), None));
        let wrote = |isolation, value: &'static str, key: &'static str| {
            let mut record = reads(isolation, &[value]);
            record.told = Told::Committed(Some(2));
            record.own.insert(key.into(), Some(row("2")));
            record
        };
        assert!(!legal(&wrote(RepeatableRead, "0", "a"), Some(2)), "a lost update");
        assert!(legal(&wrote(RepeatableRead, "1", "a"), Some(2)));
        assert!(legal(&wrote(RepeatableRead, "0", "b"), Some(2)));
        assert!(!legal(&wrote(Serializable, "0", "b"), Some(2)), "a write skew");
        assert!(legal(&wrote(Serializable, "1", "b"), Some(2)));
    }
}
