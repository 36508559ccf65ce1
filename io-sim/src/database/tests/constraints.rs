//! What the database refuses: keys that are taken, at once or at COMMIT.

use super::*;

fn put_row(key: &'static str, row: Row) -> Request {
    Request::Put { table: T, key: bytes(key), row }
}

fn unique(key: &'static str) -> Row {
    Row::new("v").unique(bytes(key))
}

fn deferred(key: &'static str) -> Row {
    Row::new("v").deferred(bytes(key))
}

#[test]
fn a_taken_key_fails_the_transaction() {
    let mut bench = Bench::new(|_| {});
    let session = bench.begin(Isolation::ReadCommitted);
    bench.ok(session, insert("a", "1"));
    assert_eq!(bench.run(session, insert("a", "2")), Err(SqlError::UniqueViolation(T)));
    assert_eq!(bench.run(session, put("b", "1")), Err(SqlError::InFailedTransaction));
    assert_eq!(bench.run(session, Request::Commit), Ok(Answer::RolledBack));
    assert!(bench.truth().is_empty());
}

#[test]
fn an_insert_waits_for_the_outcome_of_another() {
    for (end, outcome) in
        [(Request::Commit, Err(SqlError::UniqueViolation(T))), (Request::Rollback, Ok(Answer::Done))]
    {
        let mut bench = Bench::new(|_| {});
        let (one, two) = (bench.begin(Isolation::ReadCommitted), bench.connect());
        bench.ok(one, insert("a", "1"));
        let waits = bench.ask(two, insert("a", "2"));
        assert!(bench.is_parked(waits));
        bench.ok(one, end);
        assert_eq!(bench.outcome(waits), outcome);
    }
}

#[test]
fn further_keys_are_unique_across_rows_and_free_when_given_up() {
    let mut bench = Bench::new(|_| {});
    let session = bench.connect();
    bench.ok(session, put_row("a", unique("x")));
    assert_eq!(bench.run(session, put_row("b", unique("x"))), Err(SqlError::UniqueViolation(T)));
    bench.ok(session, put_row("a", unique("x")));
    let claims = vec![(bytes("b"), unique("x")), (bytes("c"), unique("y")), (bytes("d"), unique("y"))];
    let answer = bench.ok(session, Request::InsertOrIgnore { table: T, rows: claims });
    assert_eq!(answer, Answer::Inserted(vec![false, true, false]));
    bench.ok(session, put_row("a", unique("z")));
    bench.ok(session, put_row("b", unique("x")));
    bench.ok(session, delete("c"));
    bench.ok(session, put_row("d", unique("y")));
}

#[test]
fn a_further_key_that_is_not_committed_is_waited_for() {
    for (end, outcome) in
        [(Request::Commit, Err(SqlError::UniqueViolation(T))), (Request::Rollback, Ok(Answer::Done))]
    {
        let mut bench = Bench::new(|_| {});
        let (one, two) = (bench.begin(Isolation::ReadCommitted), bench.connect());
        bench.ok(one, put_row("a", unique("x")));
        let waits = bench.ask(two, put_row("b", unique("x")));
        assert!(bench.is_parked(waits));
        bench.ok(one, end);
        assert_eq!(bench.outcome(waits), outcome);
    }
}

#[test]
fn a_key_that_an_open_transaction_gives_up_is_waited_for() {
    for (end, outcome) in
        [(Request::Rollback, Err(SqlError::UniqueViolation(T))), (Request::Commit, Ok(Answer::Done))]
    {
        let mut bench = Bench::new(|_| {});
        let (one, two) = (bench.connect(), bench.connect());
        bench.ok(one, put_row("a", unique("x")));
        bench.ok(one, READ_COMMITTED);
        bench.ok(one, put_row("a", unique("y")));
        bench.ok(one, put_row("c", unique("x")));
        bench.ok(one, delete("c"));
        let waits = bench.ask(two, put_row("b", unique("x")));
        assert!(bench.is_parked(waits));
        bench.ok(one, end);
        assert_eq!(bench.outcome(waits), outcome);
    }
}

#[test]
fn a_deferred_key_is_judged_at_commit() {
    let mut bench = Bench::new(|_| {});
    let (one, two) = (bench.begin(Isolation::ReadCommitted), bench.begin(Isolation::ReadCommitted));
    bench.ok(one, put_row("a", deferred("x")));
    bench.ok(two, put_row("b", deferred("x")));
    bench.ok(one, Request::Commit);
    assert_eq!(bench.run(two, Request::Commit), Err(SqlError::DeferredViolation(T)));
    assert_eq!(bench.truth(), ["a=v"]);
    // A swap is legal, because only its end is judged.
    bench.ok(one, put_row("b", deferred("y")));
    bench.ok(one, READ_COMMITTED);
    bench.ok(one, put_row("a", deferred("y")));
    bench.ok(one, put_row("b", deferred("x")));
    bench.ok(one, Request::Commit);
    assert_eq!(
        bench.run(two, put_row("c", deferred("x"))),
        Err(SqlError::DeferredViolation(T)),
        "by itself too"
    );
}

#[test]
fn a_table_that_is_not_there_is_an_error() {
    let mut bench = Bench::new(|_| {});
    let session = bench.connect();
    let nowhere = TableId(9);
    let key = bytes("a");
    let row = Row::new("1");
    for request in [
        Request::Get { table: nowhere, key: key.clone() },
        Request::GetForUpdate { table: nowhere, key: key.clone() },
        Request::Scan { table: nowhere, from: key.clone(), to: None, limit: 1 },
        Request::Put { table: nowhere, key: key.clone(), row: row.clone() },
        Request::Insert { table: nowhere, key: key.clone(), row: row.clone() },
        Request::InsertOrIgnore { table: nowhere, rows: vec![(key.clone(), row)] },
        Request::Delete { table: nowhere, key },
    ] {
        assert_eq!(bench.run(session, request), Err(SqlError::UndefinedTable(nowhere)));
    }
    assert_eq!((bench.database.table("u"), bench.database.table("v")), (Some(TableId(1)), None));
}

#[test]
fn a_range_has_a_first_key_an_end_and_a_limit() {
    let mut bench = Bench::new(|_| {});
    let session = bench.connect();
    for key in ["a", "b", "c", "d"] {
        bench.ok(session, put(key, "1"));
    }
    for (from, to, limit, expected) in [
        ("b", Some("d"), 9, "bc"),
        ("b", None, 2, "bc"),
        ("c", Some("c"), 9, ""),
        ("d", Some("a"), 9, ""),
        ("", None, 9, "abcd"),
    ] {
        let request = Request::Scan { table: T, from: bytes(from), to: to.map(bytes), limit };
        let Answer::Rows(rows) = bench.ok(session, request) else { panic!() };
        let keys: Vec<u8> = rows.iter().flat_map(|(key, _)| key.to_vec()).collect();
        assert_eq!(keys, expected.as_bytes());
    }
}
