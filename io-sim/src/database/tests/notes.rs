//! What a client notes of its requests and answers, for the checker.

use bytes::Bytes;

use super::naive::{Held, Record, Saw};
use crate::database::{Answer, Request, Row};

/// What a statement of which nothing was heard may have written.
pub(super) fn possible(request: &Request) -> Vec<(Bytes, Option<Row>)> {
    match request {
        Request::Put { key, row, .. } | Request::Insert { key, row, .. } => {
            vec![(key.clone(), Some(row.clone()))]
        }
        Request::Delete { key, .. } => vec![(key.clone(), None)],
        Request::InsertOrIgnore { rows, .. } => {
            rows.iter().map(|(key, row)| (key.clone(), Some(row.clone()))).collect()
        }
        _ => Vec::new(),
    }
}

/// Notes what an answer tells about rows.
pub(super) fn saw(record: &mut Record, request: &Request, answer: Answer, window: (u64, u64)) {
    let mut read = |saw| record.reads.push((saw, window));
    match (request, answer) {
        (Request::Get { key, .. }, Answer::Row(row)) => match record.own.get(key) {
            Some(own) => assert_eq!(&row, own, "a transaction sees its own writes"),
            None => read(Saw::Row { key: key.clone(), row }),
        },
        (Request::GetForUpdate { key, .. }, Answer::Row(row)) => match record.own.get(key) {
            Some(own) => assert_eq!(&row, own, "a transaction sees its own writes"),
            None => {
                read(Saw::Row { key: key.clone(), row: row.clone() });
                if row.is_some() {
                    record.held.entry(key.clone()).or_insert(Held::Row(row));
                }
            }
        },
        (Request::Scan { from, to, limit, .. }, Answer::Rows(rows)) => {
            let own = record.own.clone();
            read(Saw::Rows { from: from.clone(), to: to.clone(), limit: *limit, own, rows });
        }
        (Request::Put { key, row, .. }, Answer::Done) => {
            record.own.insert(key.clone(), Some(row.clone()));
        }
        (Request::Insert { key, row, .. }, Answer::Done) => new(record, key, row),
        (Request::InsertOrIgnore { rows, .. }, Answer::Inserted(answers)) => {
            assert_eq!(rows.len(), answers.len());
            for ((key, row), is_new) in rows.iter().zip(answers) {
                match (is_new, record.own.get(key)) {
                    (true, _) => new(record, key, row),
                    (false, Some(Some(_))) => {}
                    // Perhaps a further key was taken.
                    (false, _) if row.keys.as_ref().is_some_and(|keys| !keys.unique.is_empty()) => {}
                    (false, Some(None)) => panic!("what the transaction deleted is free"),
                    (false, None) => record.reads.push((Saw::Exists { key: key.clone() }, window)),
                }
            }
        }
        (Request::Delete { key, .. }, Answer::Deleted(deleted)) => {
            match record.own.get(key) {
                Some(own) => assert_eq!(own.is_some(), deleted, "a transaction sees its own writes"),
                None if deleted => {
                    read(Saw::Exists { key: key.clone() });
                    record.held.entry(key.clone()).or_insert(Held::Exists);
                }
                None => read(Saw::Row { key: key.clone(), row: None }),
            }
            if deleted {
                record.own.insert(key.clone(), None);
            }
        }
        (Request::Unlock { .. }, Answer::Unlocked(_)) => {}
        other => panic!("{other:?}"),
    }
}

/// A row was new, so nothing was there, and nobody else puts anything there.
fn new(record: &mut Record, key: &Bytes, row: &Row) {
    match record.own.insert(key.clone(), Some(row.clone())) {
        Some(own) => assert_eq!(own, None, "what the transaction wrote is not new"),
        None => {
            record.held.entry(key.clone()).or_insert(Held::Row(None));
        }
    }
}
