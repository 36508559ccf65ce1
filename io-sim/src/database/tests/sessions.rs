//! Sessions: order, failures that the world decides, and clients that are gone.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn requests_are_served_in_order() {
    let mut bench = Bench::new(|_| {});
    let session = bench.connect();
    let slow = Verdict::Slow { before: SECOND, after: SECOND };
    let first = bench.ask_with(session, put("a", "1"), slow);
    let second = bench.ask(session, get("a"));
    bench.pass(1_000);
    assert_eq!(bench.truth(), ["a=1"], "done, and not told");
    assert!(bench.is_parked(first) && bench.is_parked(second));
    bench.pass(1_000);
    assert_eq!(bench.outcome(first), Ok(Answer::Done));
    assert_eq!(bench.outcome(second), Ok(Answer::Row(Some(Row::new("1")))));
}

#[test]
fn transactions_are_begun_and_ended_once() {
    let mut bench = Bench::new(|_| {});
    let session = bench.connect();
    for request in [
        Request::Commit,
        Request::Rollback,
        Request::Savepoint(1),
        Request::RollbackTo(1),
        Request::Release(1),
    ] {
        assert_eq!(bench.run(session, request), Err(SqlError::NoTransaction));
    }
    bench.ok(session, READ_COMMITTED);
    assert_eq!(bench.run(session, READ_COMMITTED), Err(SqlError::TransactionInProgress));
    assert_eq!(bench.run(session, READ_COMMITTED), Err(SqlError::InFailedTransaction));
    assert_eq!(bench.ok(session, Request::Rollback), Answer::RolledBack);
    assert_eq!(bench.ok(session, Request::Close), Answer::Done);
    let late = bench.ask(session, get("a"));
    assert!(bench.hung_up(late));
    assert_eq!(bench.database.sessions(), 0);
}

#[test]
fn a_failure_that_the_world_decides_is_one_like_any_other() {
    let errors = [
        SqlError::SerializationFailure,
        SqlError::Deadlock,
        SqlError::LockTimeout,
        SqlError::StatementTimeout,
        SqlError::ConnectionLost,
        SqlError::Shutdown,
    ];
    for error in errors {
        for on_commit in [false, true] {
            let mut bench = Bench::new(|_| {});
            let (session, other) = (bench.begin(Isolation::ReadCommitted), bench.connect());
            bench.ok(session, put("a", "1"));
            let waits = bench.ask(other, put("a", "2"));
            let request = if on_commit { Request::Commit } else { put("b", "1") };
            let failed = bench.ask_with(session, request, Verdict::Fail(error));
            assert_eq!(bench.outcome(failed), Err(error));
            assert_eq!(bench.outcome(waits), Ok(Answer::Done), "it let go of its locks");
            let next = bench.ask(session, get("a"));
            match (error.ends_session(), on_commit) {
                (true, _) => assert!(bench.hung_up(next)),
                (false, true) => assert!(bench.outcome(next).is_ok()),
                (false, false) => assert_eq!(bench.outcome(next), Err(SqlError::InFailedTransaction)),
            }
            assert_eq!(bench.truth(), ["a=2"]);
        }
    }
}

#[test]
fn a_dead_client_holds_its_locks_until_it_is_noticed() {
    let mut bench = Bench::new(|_| {});
    let (ghost, other) = (bench.begin(Isolation::ReadCommitted), bench.connect());
    bench.ok(ghost, put("a", "1"));
    bench.tell(Input::ClientGone { session: ghost, linger: SECOND * 120 });
    let waits = bench.ask(other, put("a", "2"));
    bench.pass(119_999);
    assert!(bench.is_parked(waits));
    assert_eq!(bench.database.sessions(), 2);
    bench.pass(1);
    assert_eq!(bench.outcome(waits), Ok(Answer::Done));
    assert_eq!((bench.database.sessions(), bench.ended.len()), (1, 0), "nobody is told");
}

#[test]
fn a_dead_clients_statement_finishes_unless_the_server_looks() {
    for (client_check, truth) in [(false, "a=ghost"), (true, "a=1")] {
        let mut bench = Bench::new(|_| {});
        let owner = bench.begin(Isolation::ReadCommitted);
        bench.ok(owner, put("a", "1"));
        let ghost = bench.connect_with(SessionSettings { client_check, ..SessionSettings::default() });
        let statement = bench.ask(ghost, put("a", "ghost"));
        let next = bench.ask(ghost, put("a", "never"));
        bench.tell(Input::ClientGone { session: ghost, linger: Duration::ZERO });
        assert_eq!(bench.is_parked(statement), !client_check);
        bench.ok(owner, Request::Commit);
        assert_eq!(bench.truth(), [truth]);
        assert!(bench.hung_up(next));
        assert_eq!(bench.database.sessions(), 1);
    }
}

#[test]
fn what_a_dead_client_had_sent_is_served() {
    let mut bench = Bench::new(|_| {});
    let ghost = bench.begin(Isolation::ReadCommitted);
    let slow = Verdict::Slow { before: SECOND, after: Duration::ZERO };
    bench.ask_with(ghost, put("a", "1"), slow);
    bench.ask(ghost, Request::Commit);
    bench.tell(Input::ClientGone { session: ghost, linger: SECOND * 2 });
    bench.tell(Input::ClientGone { session: ghost, linger: SECOND * 9 });
    bench.pass(2_000);
    assert_eq!(bench.truth(), ["a=1"]);
    assert_eq!(bench.database.sessions(), 0);
}

#[test]
fn an_idle_transaction_is_ended_and_an_idle_session_is_not() {
    let mut bench = Bench::new(|_| {});
    let settings =
        SessionSettings { idle_in_transaction_timeout: Some(SECOND), ..SessionSettings::default() };
    let (idle, other) = (bench.connect_with(settings), bench.connect());
    bench.pass(5_000);
    bench.ok(idle, READ_COMMITTED);
    bench.pass(900);
    bench.ok(idle, put("a", "1"));
    let waits = bench.ask(other, put("a", "2"));
    bench.pass(999);
    assert!(bench.is_parked(waits));
    bench.pass(1);
    assert_eq!(bench.ended, [(idle, SqlError::IdleInTransactionTimeout)]);
    assert_eq!(bench.outcome(waits), Ok(Answer::Done));
    let late = bench.ask(idle, Request::Commit);
    assert!(bench.hung_up(late));
}

#[test]
fn connections_are_limited_ghosts_counted() {
    let mut bench = Bench::new(|config| config.max_connections = 2);
    let (one, _two) = (bench.connect(), bench.connect());
    let refused = Some(Err(SqlError::TooManyConnections));
    assert_eq!(bench.try_connect(SessionSettings::default()), refused);
    bench.tell(Input::ClientGone { session: one, linger: SECOND });
    assert_eq!(bench.try_connect(SessionSettings::default()), refused);
    bench.pass(1_000);
    bench.connect();
}

#[test]
fn an_administrator_ends_a_session() {
    let mut bench = Bench::new(|_| {});
    let (idle, owner, waiting) = (bench.connect(), bench.begin(Isolation::ReadCommitted), bench.connect());
    bench.ok(owner, put("a", "1"));
    let waits = bench.ask(waiting, put("a", "2"));
    bench.tell(Input::Terminate { session: idle });
    bench.tell(Input::Terminate { session: waiting });
    bench.tell(Input::Terminate { session: SessionId(99) });
    assert_eq!(bench.ended, [(idle, SqlError::Shutdown)]);
    assert_eq!(bench.outcome(waits), Err(SqlError::Shutdown));
    bench.ok(owner, Request::Commit);
    assert_eq!(bench.truth(), ["a=1"]);
}

#[test]
fn each_error_has_the_servers_code() {
    let fatal = ["25P03", "57P01", "08006", "53300", "57P03"];
    for (error, state) in [
        (SqlError::UniqueViolation(T), "23505"),
        (SqlError::SerializationFailure, "40001"),
        (SqlError::Deadlock, "40P01"),
        (SqlError::LockTimeout, "55P03"),
        (SqlError::StatementTimeout, "57014"),
        (SqlError::IdleInTransactionTimeout, "25P03"),
        (SqlError::Shutdown, "57P01"),
        (SqlError::ConnectionLost, "08006"),
        (SqlError::InFailedTransaction, "25P02"),
        (SqlError::TooManyConnections, "53300"),
        (SqlError::StartingUp, "57P03"),
    ] {
        assert_eq!(error.sqlstate(), state);
        assert_eq!(error.ends_session(), fatal.contains(&state), "{error}");
    }
}
