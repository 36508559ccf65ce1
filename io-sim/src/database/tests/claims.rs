//! The claim of the library: a batch inserted or ignored, each key new for one transaction only.

use super::*;

fn inserted(answer: Result<Answer, SqlError>) -> Vec<bool> {
    match answer {
        Ok(Answer::Inserted(new)) => new,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_key_is_new_once_also_in_one_batch() {
    let mut bench = Bench::new(|_| {});
    let session = bench.connect();
    assert_eq!(inserted(bench.run(session, claim(&["a", "b", "a"]))), [true, true, false]);
    assert_eq!(inserted(bench.run(session, claim(&["a", "c"]))), [false, true]);
    assert_eq!(bench.truth(), ["a=claim", "b=claim", "c=claim"]);
}

#[test]
fn a_claim_waits_for_the_outcome_of_another() {
    for (end, new) in [(Request::Commit, [true, false, true]), (Request::Rollback, [true, true, true])] {
        let mut bench = Bench::new(|_| {});
        let (one, two) = (bench.begin(Isolation::ReadCommitted), bench.begin(Isolation::ReadCommitted));
        assert_eq!(inserted(bench.run(one, claim(&["b"]))), [true]);
        let waits = bench.ask(two, claim(&["a", "b", "c"]));
        assert!(bench.is_parked(waits));
        bench.ok(one, end);
        assert_eq!(inserted(bench.outcome(waits)), new);
    }
}

#[test]
fn a_claim_waits_for_deletes_and_not_for_mere_locks() {
    let mut bench = Bench::new(|_| {});
    let (one, two) = (bench.begin(Isolation::ReadCommitted), bench.connect());
    bench.ok(two, put("a", "1"));
    bench.ok(two, put("b", "1"));
    bench.ok(one, get_for_update("a"));
    bench.ok(one, delete("b"));
    assert_eq!(inserted(bench.run(two, claim(&["a"]))), [false]);
    let waits = bench.ask(two, claim(&["b"]));
    assert!(bench.is_parked(waits));
    bench.ok(one, Request::Commit);
    assert_eq!(inserted(bench.outcome(waits)), [true]);
}

#[test]
fn a_claim_that_the_snapshot_hides_is_a_serialisation_failure() {
    for isolation in [Isolation::RepeatableRead, Isolation::Serializable] {
        let mut bench = Bench::new(|_| {});
        let (one, two) = (bench.begin(isolation), bench.connect());
        bench.value(one, "x");
        bench.ok(two, claim(&["a"]));
        assert_eq!(bench.run(one, claim(&["a"])), Err(SqlError::SerializationFailure));
    }
}

#[test]
fn claims_in_opposite_order_are_a_deadlock() {
    let mut bench = Bench::new(|_| {});
    let (one, two) = (bench.begin(Isolation::ReadCommitted), bench.begin(Isolation::ReadCommitted));
    bench.ok(one, claim(&["a"]));
    bench.ok(two, claim(&["b"]));
    let waits = bench.ask(one, claim(&["b"]));
    assert_eq!(bench.run(two, claim(&["a"])), Err(SqlError::Deadlock));
    assert_eq!(inserted(bench.outcome(waits)), [true], "the victim let go of its claim");
}
