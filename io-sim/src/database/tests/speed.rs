//! How fast the machine is, beside a law that depends on it: nothing grows with the number of transactions.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it measures real time")]

use std::time::Instant;

use super::*;

/// Requests of the kind that the library makes: begin, claim, read, write, commit.
fn transactions(isolation: Isolation, count: u32) -> (Bench, u64) {
    let mut bench = Bench::new(|config| config.history = false);
    let sessions: Vec<_> = (0..4).map(|_| bench.connect()).collect();
    let keys: Vec<Bytes> = (0..64_u32).map(|key| Bytes::copy_from_slice(&key.to_be_bytes())).collect();
    let row = Row::new(bytes("value"));
    let mut requests = 0;
    for number in 0..count {
        let session = sessions[number as usize % sessions.len()];
        let key = |offset: u32| keys[(number + offset) as usize % keys.len()].clone();
        let all = [
            Request::Begin { isolation },
            Request::InsertOrIgnore { table: T, rows: vec![(key(0), row.clone())] },
            Request::Get { table: T, key: key(1) },
            Request::Put { table: T, key: key(2), row: row.clone() },
            Request::Delete { table: T, key: key(3) },
            Request::Commit,
        ];
        for request in all {
            requests += 1;
            let id = RequestId(requests);
            bench
                .database
                .handle(bench.now, Input::Request { id, session, request, verdict: Verdict::Serve });
            let Some(Action::Answer { answer: Ok(_), .. }) = bench.database.poll() else { panic!() };
        }
    }
    bench.database.check();
    (bench, requests)
}

#[test]
#[expect(clippy::print_stderr, reason = "a figure for people, judged by nobody")]
fn requests_a_second() {
    for isolation in [Isolation::ReadCommitted, Isolation::RepeatableRead, Isolation::Serializable] {
        let start = Instant::now();
        let (bench, requests) = transactions(isolation, 20_000);
        let rate = requests as f64 / start.elapsed().as_secs_f64() / 1e6;
        eprintln!("{isolation:?}: {rate:.2} million requests/s");
        assert!(bench.database.versions() <= 64);
    }
}
