//! Who waits for whom, and how waits end.

use super::LockScope::{Session, Transaction};
use super::*;

fn with(change: impl FnOnce(&mut SessionSettings)) -> SessionSettings {
    let mut settings = SessionSettings::default();
    change(&mut settings);
    settings
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn locks_are_granted_first_come_first_served() {
    let mut bench = Bench::new(|_| {});
    let owner = bench.begin(Isolation::ReadCommitted);
    bench.ok(owner, put("a", "0"));
    let waiting: Vec<_> = ["1", "2", "3"]
        .into_iter()
        .map(|value| {
            let session = bench.begin(Isolation::ReadCommitted);
            (session, bench.ask(session, put("a", value)))
        })
        .collect();
    bench.ok(owner, Request::Commit);
    for (index, (session, request)) in waiting.iter().enumerate() {
        assert_eq!(bench.outcome(*request), Ok(Answer::Done));
        assert!(waiting[index + 1..].iter().all(|(_, later)| bench.is_parked(*later)));
        bench.ok(*session, Request::Commit);
    }
    assert_eq!(bench.truth(), ["a=3"]);
}

#[test]
fn a_lock_timeout_counts_from_the_first_wait_for_the_lock() {
    let mut bench = Bench::new(|_| {});
    let (one, two) = (bench.begin(Isolation::ReadCommitted), bench.begin(Isolation::ReadCommitted));
    let late = bench.connect_with(with(|settings| settings.lock_timeout = Some(SECOND)));
    bench.ok(one, put("a", "1"));
    let second = bench.ask(two, put("a", "2"));
    let third = bench.ask(late, put("a", "3"));
    bench.pass(600);
    bench.ok(one, Request::Commit);
    assert!(!bench.is_parked(second) && bench.is_parked(third), "woken too late, it waits on");
    bench.pass(399);
    assert!(bench.is_parked(third));
    bench.pass(1);
    assert_eq!(bench.outcome(third), Err(SqlError::LockTimeout));
    bench.ok(two, Request::Commit);
    assert_eq!(bench.truth(), ["a=2"]);
}

#[test]
fn a_statement_timeout_ends_a_wait_and_a_slow_statement() {
    let mut bench = Bench::new(|_| {});
    let owner = bench.begin(Isolation::ReadCommitted);
    bench.ok(owner, put("a", "1"));
    let settings = with(|settings| {
        settings.statement_timeout = Some(SECOND);
        settings.lock_timeout = Some(SECOND * 2);
    });
    let session = bench.connect_with(settings);
    let waits = bench.ask(session, put("a", "2"));
    let slow = |millis| Verdict::Slow { before: Duration::from_millis(millis), after: Duration::ZERO };
    let too_slow = bench.ask_with(session, put("b", "2"), slow(1_001));
    let just = bench.ask_with(session, put("b", "3"), slow(999));
    bench.pass(1_000);
    assert_eq!(bench.outcome(waits), Err(SqlError::StatementTimeout));
    bench.pass(1_000);
    assert_eq!(bench.outcome(too_slow), Err(SqlError::StatementTimeout));
    bench.pass(999);
    assert_eq!(bench.outcome(just), Ok(Answer::Done));
}

#[test]
fn whoever_closes_a_circle_loses_at_once() {
    let mut bench = Bench::new(|_| {});
    let sessions: Vec<_> = (0..3).map(|_| bench.begin(Isolation::ReadCommitted)).collect();
    let keys = ["a", "b", "c"];
    for (session, key) in sessions.iter().zip(keys) {
        bench.ok(*session, put(key, "1"));
    }
    let first = bench.ask(sessions[0], put("b", "2"));
    let second = bench.ask(sessions[1], put("c", "2"));
    assert_eq!(bench.run(sessions[2], put("a", "2")), Err(SqlError::Deadlock));
    assert!(bench.is_parked(first));
    assert_eq!(bench.outcome(second), Ok(Answer::Done));
    assert_eq!(bench.run(sessions[2], Request::Commit), Ok(Answer::RolledBack));
    assert_eq!(bench.database.marks().count("deadlock"), 1);
}

#[test]
fn a_deadlock_lasts_no_longer_than_its_timeout() {
    let mut bench = Bench::new(|config| config.deadlock_timeout = SECOND);
    let (one, two) = (bench.begin(Isolation::ReadCommitted), bench.begin(Isolation::ReadCommitted));
    bench.ok(one, put("a", "1"));
    bench.ok(two, put("b", "1"));
    let first = bench.ask(one, put("b", "2"));
    bench.pass(500);
    let second = bench.ask(two, put("a", "2"));
    bench.pass(499);
    assert!(bench.is_parked(first) && bench.is_parked(second));
    bench.pass(1);
    assert_eq!(bench.outcome(first), Err(SqlError::Deadlock), "the first that looks");
    assert_eq!(bench.outcome(second), Ok(Answer::Done));
}

#[test]
fn advisory_locks_are_held_by_session_or_transaction() {
    let mut bench = Bench::new(|_| {});
    let (one, two) = (bench.connect(), bench.connect());
    bench.ok(one, lock(7, Session));
    bench.ok(one, lock(7, Session));
    bench.ok(one, READ_COMMITTED);
    bench.ok(one, lock(7, Transaction));
    bench.ok(one, lock(8, Transaction));
    let seven = bench.ask(two, lock(7, Session));
    bench.ok(one, Request::Rollback);
    assert!(bench.is_parked(seven), "a rollback does not give back what the session holds");
    assert_eq!(bench.ok(one, Request::Unlock { number: 7 }), Answer::Unlocked(true));
    assert!(bench.is_parked(seven), "held twice");
    bench.ok(one, Request::Unlock { number: 7 });
    assert_eq!(bench.outcome(seven), Ok(Answer::Done));
    assert_eq!(bench.ok(one, Request::Unlock { number: 7 }), Answer::Unlocked(false));
    bench.ok(two, lock(8, Session));
    let waits = bench.ask(one, lock(8, Session));
    bench.ok(two, Request::Close);
    assert_eq!(bench.outcome(waits), Ok(Answer::Done));
}

#[test]
fn a_savepoint_gives_back_an_advisory_lock() {
    let mut bench = Bench::new(|_| {});
    let (one, two) = (bench.begin(Isolation::ReadCommitted), bench.connect());
    bench.ok(one, Request::Savepoint(1));
    bench.ok(one, lock(7, Transaction));
    let waits = bench.ask(two, lock(7, Session));
    bench.ok(one, Request::RollbackTo(1));
    assert_eq!(bench.outcome(waits), Ok(Answer::Done));
}

#[test]
fn a_failure_lets_go_before_the_rollback() {
    let mut bench = Bench::new(|_| {});
    let (one, two) = (bench.begin(Isolation::ReadCommitted), bench.connect());
    bench.ok(one, put("a", "1"));
    let waits = bench.ask(two, put("a", "2"));
    assert_eq!(bench.run(one, insert("a", "3")), Err(SqlError::UniqueViolation(T)));
    assert_eq!(bench.outcome(waits), Ok(Answer::Done));
}

#[test]
fn a_lock_on_nothing_locks_nothing() {
    let mut bench = Bench::new(|_| {});
    let (one, two) = (bench.begin(Isolation::ReadCommitted), bench.connect());
    assert_eq!(bench.ok(one, get_for_update("a")), Answer::Row(None));
    bench.ok(two, put("a", "1"));
    bench.ok(one, get_for_update("a"));
    assert!({
        let waits = bench.ask(two, put("a", "2"));
        bench.is_parked(waits)
    });
}
