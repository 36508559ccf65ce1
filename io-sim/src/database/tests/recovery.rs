//! What is left when the server stops, in order or not.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_crash_keeps_exactly_what_is_committed() {
    let mut bench = Bench::new(|_| {});
    let (one, two, three) = (bench.connect(), bench.begin(Isolation::ReadCommitted), bench.connect());
    bench.ok(one, put("a", "1"));
    bench.ok(one, lock(7, LockScope::Session));
    bench.ok(two, put("a", "2"));
    bench.ok(two, put("b", "2"));
    let waits = bench.ask(one, put("b", "1"));
    let behind = bench.ask(one, get("b"));
    let slow = Verdict::Slow { before: Duration::ZERO, after: SECOND };
    let unknown = bench.ask_with(three, put("c", "3"), slow);
    bench.tell(Input::Crash { lose: 0 });
    for request in [waits, behind, unknown] {
        assert!(bench.hung_up(request));
    }
    assert!(bench.ended.is_empty() && bench.lost.is_empty());
    assert_eq!(bench.try_connect(SessionSettings::default()), None, "down");
    bench.tell(Input::Start { recovery: SECOND });
    assert_eq!(bench.try_connect(SessionSettings::default()), Some(Err(SqlError::StartingUp)));
    bench.pass(1_000);
    let session = bench.connect();
    assert_eq!(bench.truth(), ["a=1", "c=3"]);
    bench.ok(session, put("b", "new"));
    bench.ok(session, lock(7, LockScope::Session));
    let late = bench.ask(two, Request::Commit);
    assert!(bench.hung_up(late));
}

#[test]
fn a_lost_tail_is_told_exactly() {
    let mut bench = Bench::new(|config| config.tail = 2);
    let session = bench.connect();
    bench.ok(session, put("a", "1"));
    bench.ok(session, put("b", "1"));
    bench.ok(session, get("b"));
    bench.ok(session, READ_COMMITTED);
    bench.ok(session, put("a", "2"));
    bench.ok(session, delete("b"));
    bench.ok(session, put("c", "1"));
    bench.ok(session, Request::Commit);
    bench.ok(session, put("a", "3"));
    let committed: Vec<_> = bench.database.drain_history().collect();
    assert_eq!(committed.len(), 4);
    bench.tell(Input::Crash { lose: 5 });
    assert_eq!(bench.lost, [CommitSequence(3), CommitSequence(4)], "no more than the tail");
    assert_eq!(bench.truth(), ["a=1", "b=1"]);
    let events: Vec<_> = bench.database.drain_history().collect();
    let lost = |number| Event::Lost(CommitSequence(number));
    assert_eq!(events, [Event::Crashed(Time::ZERO), lost(4), lost(3)]);
    bench.tell(Input::Start { recovery: Duration::ZERO });
    let session = bench.connect();
    bench.ok(session, put("a", "4"));
    let event = bench.database.drain_history().next();
    let Some(Event::Committed(commit)) = event else { panic!("{event:?}") };
    assert_eq!(commit.sequence, CommitSequence(5), "no number is given twice");
    assert_eq!(commit.writes[0].before, Some(Row::new("1")));
    bench.tell(Input::Crash { lose: 1 });
    assert_eq!(bench.truth(), ["a=1", "b=1"], "a second crash goes back from where the first left off");
}

#[test]
fn further_keys_are_those_of_the_rows_after_a_crash() {
    let mut bench = Bench::new(|_| {});
    let session = bench.connect();
    let row = |key: &'static str| Row::new("v").unique(bytes(key));
    bench.ok(session, Request::Put { table: T, key: bytes("a"), row: row("x") });
    bench.ok(session, Request::Put { table: T, key: bytes("a"), row: row("y") });
    bench.tell(Input::Crash { lose: 1 });
    bench.tell(Input::Start { recovery: Duration::ZERO });
    let session = bench.connect();
    bench.ok(session, Request::Put { table: T, key: bytes("b"), row: row("y") });
    let taken = bench.run(session, Request::Put { table: T, key: bytes("c"), row: row("x") });
    assert_eq!(taken, Err(SqlError::UniqueViolation(T)));
}

#[test]
fn a_shutdown_tells_everybody_and_rolls_back() {
    let mut bench = Bench::new(|_| {});
    let (idle, owner, waiting) = (bench.connect(), bench.begin(Isolation::ReadCommitted), bench.connect());
    bench.ok(owner, put("a", "1"));
    let waits = bench.ask(waiting, put("a", "2"));
    let behind = bench.ask(waiting, get("a"));
    bench.tell(Input::Shutdown);
    assert_eq!(bench.outcome(waits), Err(SqlError::Shutdown));
    assert!(bench.hung_up(behind));
    assert_eq!(bench.ended, [(idle, SqlError::Shutdown), (owner, SqlError::Shutdown)]);
    assert!(bench.truth().is_empty());
    bench.tell(Input::Start { recovery: Duration::ZERO });
    bench.connect();
}

#[test]
fn the_history_tells_what_commits_wrote() {
    let mut bench = Bench::new(|_| {});
    let session = bench.begin(Isolation::ReadCommitted);
    bench.ok(session, put("b", "1"));
    bench.ok(session, put("a", "1"));
    bench.ok(session, put("b", "2"));
    bench.pass(5);
    let commit = bench.ask(session, Request::Commit);
    let events: Vec<_> = bench.database.drain_history().collect();
    let write = |key, after| Write {
        table: T,
        key: bytes(key),
        before: None,
        before_sequence: CommitSequence(0),
        after: Some(Row::new(bytes(after))),
    };
    let expected = Commit {
        sequence: CommitSequence(1),
        session,
        request: commit,
        at: Time::from_millis(5),
        writes: [write("b", "2"), write("a", "1")].into(),
    };
    assert_eq!(events, [Event::Committed(expected)]);
    assert_eq!(bench.database.drain_history().count(), 0);
}

#[test]
fn without_history_and_tail_nothing_is_kept() {
    let mut bench = Bench::new(|config| {
        config.history = false;
        config.tail = 0;
    });
    let session = bench.connect();
    bench.ok(session, put("a", "1"));
    assert_eq!(bench.database.drain_history().count(), 0);
    bench.tell(Input::Crash { lose: 3 });
    assert_eq!(bench.truth(), ["a=1"]);
    assert!(bench.lost.is_empty());
}
