//! What transactions see of each other.

use super::Isolation::{ReadCommitted, RepeatableRead, Serializable};
use super::*;

#[test]
fn what_is_not_committed_is_seen_by_nobody_else() {
    for isolation in [ReadCommitted, RepeatableRead, Serializable] {
        let mut bench = Bench::new(|_| {});
        let writer = bench.begin(isolation);
        let reader = bench.connect();
        bench.ok(writer, put("a", "1"));
        assert_eq!(bench.value(writer, "a").as_deref(), Some("1"));
        assert_eq!(bench.value(reader, "a"), None);
        bench.ok(writer, Request::Commit);
        assert_eq!(bench.value(reader, "a").as_deref(), Some("1"));
    }
}

#[test]
fn a_snapshot_is_of_a_statement_or_of_the_first_statement() {
    for (isolation, second) in [(ReadCommitted, "2"), (RepeatableRead, "1"), (Serializable, "1")] {
        let mut bench = Bench::new(|_| {});
        let writer = bench.connect();
        let reader = bench.begin(isolation);
        // Not by BEGIN.
        bench.ok(writer, put("a", "1"));
        assert_eq!(bench.value(reader, "a").as_deref(), Some("1"));
        bench.ok(writer, put("a", "2"));
        bench.ok(writer, put("b", "2"));
        assert_eq!(bench.value(reader, "a").as_deref(), Some(second), "{isolation:?}");
        let Answer::Rows(rows) = bench.ok(reader, scan()) else { panic!() };
        assert_eq!(rows.len(), if isolation == ReadCommitted { 2 } else { 1 });
        bench.ok(writer, delete("a"));
        assert_eq!(bench.value(reader, "a").is_some(), isolation != ReadCommitted);
        bench.ok(reader, Request::Commit);
        assert_eq!(bench.database.versions(), 1, "no snapshot needs the old versions");
    }
}

#[test]
fn the_first_updater_wins_unless_reads_are_renewed() {
    for isolation in [ReadCommitted, RepeatableRead, Serializable] {
        let mut bench = Bench::new(|_| {});
        let (one, two) = (bench.begin(isolation), bench.begin(isolation));
        let setup = bench.connect();
        bench.ok(setup, put("a", "0"));
        bench.value(one, "a");
        bench.value(two, "a");
        bench.ok(one, put("a", "1"));
        let waits = bench.ask(two, get_for_update("a"));
        assert!(bench.is_parked(waits));
        bench.ok(one, Request::Commit);
        match isolation {
            ReadCommitted => {
                assert_eq!(bench.outcome(waits), Ok(Answer::Row(Some(Row::new("1")))), "re-read");
            }
            RepeatableRead | Serializable => {
                assert_eq!(bench.outcome(waits), Err(SqlError::SerializationFailure));
                assert_eq!(bench.run(two, put("b", "1")), Err(SqlError::InFailedTransaction));
                assert_eq!(bench.run(two, Request::Commit), Ok(Answer::RolledBack));
            }
        }
    }
}

#[test]
fn who_waited_for_a_rolled_back_change_goes_on() {
    for isolation in [ReadCommitted, RepeatableRead, Serializable] {
        let mut bench = Bench::new(|_| {});
        let (one, two) = (bench.begin(isolation), bench.begin(isolation));
        bench.ok(one, put("a", "1"));
        let waits = bench.ask(two, put("a", "2"));
        bench.ok(one, Request::Rollback);
        assert_eq!(bench.outcome(waits), Ok(Answer::Done));
        bench.ok(two, Request::Commit);
        assert_eq!(bench.truth(), ["a=2"]);
    }
}

#[test]
fn write_skew_passes_a_snapshot_and_not_serializable() {
    for (isolation, second) in [(RepeatableRead, Ok(())), (Serializable, Err(SqlError::SerializationFailure))]
    {
        let mut bench = Bench::new(|_| {});
        let (one, two) = (bench.begin(isolation), bench.begin(isolation));
        bench.value(one, "b");
        bench.value(two, "a");
        bench.ok(one, put("a", "1"));
        bench.ok(two, put("b", "1"));
        bench.ok(one, Request::Commit);
        assert_eq!(bench.run(two, Request::Commit).map(drop), second);
    }
}

#[test]
fn a_serializable_reader_is_not_overtaken_by_a_phantom() {
    let mut bench = Bench::new(|_| {});
    let reader = bench.begin(Serializable);
    let writer = bench.connect();
    assert_eq!(bench.ok(reader, scan()), Answer::Rows(vec![]));
    bench.ok(writer, put("new", "1"));
    assert_eq!(bench.ok(reader, scan()), Answer::Rows(vec![]));
    assert_eq!(bench.run(reader, put("b", "1")), Err(SqlError::SerializationFailure));
}

#[test]
fn a_serializable_transaction_that_only_reads_commits() {
    let mut bench = Bench::new(|_| {});
    let reader = bench.begin(Serializable);
    let writer = bench.connect();
    bench.value(reader, "a");
    bench.ok(writer, put("a", "1"));
    assert_eq!(bench.value(reader, "a"), None);
    assert_eq!(bench.run(reader, Request::Commit), Ok(Answer::Committed(CommitSequence(1))));
}

#[test]
fn a_late_read_of_what_was_overtaken_dooms_too() {
    let mut bench = Bench::new(|_| {});
    let (session, writer) = (bench.begin(Serializable), bench.connect());
    bench.ok(session, put("mine", "1"));
    bench.ok(writer, put("a", "1"));
    assert_eq!(bench.value(session, "a"), None);
    assert_eq!(bench.run(session, Request::Commit), Err(SqlError::SerializationFailure));
    assert_eq!(bench.run(session, Request::Commit), Err(SqlError::NoTransaction), "it is over");
}

#[test]
fn savepoints_undo_what_came_after_and_a_failure() {
    let mut bench = Bench::new(|_| {});
    let session = bench.begin(ReadCommitted);
    let other = bench.connect();
    bench.ok(session, put("a", "1"));
    bench.ok(session, Request::Savepoint(1));
    bench.ok(session, put("a", "2"));
    bench.ok(session, put("b", "2"));
    bench.ok(session, Request::Savepoint(2));
    bench.ok(session, delete("a"));
    assert_eq!(bench.run(session, insert("b", "3")), Err(SqlError::UniqueViolation(T)));
    assert_eq!(bench.run(session, get("a")), Err(SqlError::InFailedTransaction));
    bench.ok(session, Request::RollbackTo(2));
    assert_eq!(bench.value(session, "a").as_deref(), Some("2"));
    let waits = bench.ask(other, put("b", "other"));
    assert!(bench.is_parked(waits));
    bench.ok(session, Request::RollbackTo(1));
    assert_eq!(bench.outcome(waits), Ok(Answer::Done), "the lock went with the savepoint");
    assert_eq!(bench.value(session, "a").as_deref(), Some("1"));
    assert_eq!(bench.run(session, Request::RollbackTo(2)), Err(SqlError::NoSavepoint(2)));
    bench.ok(session, Request::RollbackTo(1));
    bench.ok(session, Request::Release(1));
    bench.ok(session, Request::Commit);
    assert_eq!(bench.truth(), ["a=1", "b=other"]);
}

#[test]
fn old_versions_live_as_long_as_a_snapshot_needs_them() {
    let mut bench = Bench::new(|_| {});
    let (first, second, writer) = (bench.begin(RepeatableRead), bench.begin(RepeatableRead), bench.connect());
    bench.ok(writer, put("a", "0"));
    bench.value(first, "a");
    for _ in 0..100 {
        bench.ok(writer, put("a", "x"));
    }
    bench.value(second, "a");
    for _ in 0..100 {
        bench.ok(writer, put("a", "y"));
    }
    assert_eq!(bench.database.versions(), 3);
    bench.ok(writer, delete("a"));
    bench.ok(first, Request::Commit);
    assert_eq!(bench.value(second, "a").as_deref(), Some("x"));
    bench.ok(second, Request::Rollback);
    assert_eq!(bench.database.versions(), 0);
}
