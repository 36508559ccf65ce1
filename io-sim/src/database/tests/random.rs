//! Random clients against the machine, all faults included, judged by [`naive`](super::naive).

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_core::machine::{Entropy, Machine};
use evenkeel_core::model::RequestId;

use super::naive::{Record, Saw, State, Told, judge};
use super::notes::{possible, saw};
use super::*;

struct Asking {
    id: RequestId,
    request: Request,
    /// How many commits there were.
    since: u64,
}

#[derive(Default)]
struct Client {
    session: Option<SessionId>,
    isolation: Isolation,
    record: Option<Record>,
    asking: Option<Asking>,
    /// Advisory locks that it certainly holds, by whether for the transaction.
    locks: BTreeMap<i64, bool>,
}

struct Clients {
    bench: Bench,
    entropy: Entropy,
    all: Vec<Client>,
    values: u64,
    records: Vec<Record>,
    /// The states that the last commit left, and those that a crash may bring back.
    kept: Vec<(u64, State)>,
    outcomes: BTreeMap<&'static str, u64>,
}

const ISOLATIONS: [Isolation; 3] =
    [Isolation::ReadCommitted, Isolation::RepeatableRead, Isolation::Serializable];

impl Clients {
    fn new(seed: u64) -> Self {
        let mut entropy = Entropy::new(seed);
        let grace = u64::from(entropy.below(2)) * 20;
        let bench = Bench::new(|config| config.deadlock_timeout = Duration::from_millis(grace));
        let clients = 2 + entropy.below(4);
        Self {
            bench,
            all: (0..clients).map(|_| Client::default()).collect(),
            entropy,
            values: 0,
            records: Vec::new(),
            kept: vec![(0, State::new())],
            outcomes: BTreeMap::new(),
        }
    }

    fn one_in(&mut self, odds: u32) -> bool {
        self.entropy.below(odds) == 0
    }

    fn key(&mut self) -> Bytes {
        let keys = ["a", "b", "c", "d"];
        bytes(keys[self.entropy.below(4) as usize])
    }

    fn row(&mut self) -> Row {
        self.values += 1;
        let row = Row::new(self.values.to_string());
        match self.entropy.below(8) {
            0 => row.unique(bytes("x")),
            1 => row.unique(bytes("y")).deferred(bytes("x")),
            2 => row.deferred(bytes("y")),
            _ => row,
        }
    }

    fn millis(&mut self, below: u32) -> Duration {
        Duration::from_millis(u64::from(self.entropy.below(below)))
    }

    fn limit(&mut self, millis: u64) -> Option<Duration> {
        self.one_in(2).then(|| Duration::from_millis(millis))
    }

    fn statement(&mut self) -> Request {
        let (table, key) = (T, self.key());
        match self.entropy.below(11) {
            0 | 1 => Request::Get { table, key },
            2 => Request::GetForUpdate { table, key },
            3 => {
                let to = self.one_in(2).then(|| self.key());
                Request::Scan { table, from: key, to, limit: 1 + self.entropy.below(4) as usize }
            }
            4 | 5 => Request::Put { table, key, row: self.row() },
            6 => Request::Insert { table, key, row: self.row() },
            7 | 8 => {
                let rows = (0..=self.entropy.below(3)).map(|_| (self.key(), self.row())).collect();
                Request::InsertOrIgnore { table, rows }
            }
            9 => Request::Delete { table, key },
            _ => {
                let number = i64::from(self.entropy.below(2));
                match self.entropy.below(3) {
                    0 => Request::Lock { number, scope: LockScope::Session },
                    1 => Request::Lock { number, scope: LockScope::Transaction },
                    _ => Request::Unlock { number },
                }
            }
        }
    }

    fn request(&mut self, index: usize) -> Request {
        let name = self.entropy.below(2);
        let record = self.all[index].record.as_ref();
        let failed = record.is_some_and(|record| record.failed);
        match (record.is_some(), self.entropy.below(if failed { 8 } else { 20 })) {
            (false, 0..10) => Request::Begin { isolation: ISOLATIONS[self.entropy.below(3) as usize] },
            (false, 10) => Request::Close,
            (true, 0 | 1) => Request::Commit,
            (true, 2) => Request::Rollback,
            (true, 3 | 4) => Request::RollbackTo(name),
            (true, 5 | 6) => Request::Savepoint(name),
            (true, 7) if self.one_in(3) => Request::Release(name),
            (true | false, _) => self.statement(),
        }
    }

    fn verdict(&mut self) -> Verdict {
        match self.entropy.below(20) {
            0 => {
                let errors = [
                    SqlError::SerializationFailure,
                    SqlError::Deadlock,
                    SqlError::LockTimeout,
                    SqlError::StatementTimeout,
                    SqlError::ConnectionLost,
                ];
                Verdict::Fail(errors[self.entropy.below(5) as usize])
            }
            1 | 2 => Verdict::Slow { before: self.millis(30), after: self.millis(30) },
            _ => Verdict::Serve,
        }
    }

    fn committed(&self) -> u64 {
        self.bench.database.committed().0
    }

    fn step(&mut self) {
        let index = self.entropy.below(self.all.len() as u32) as usize;
        match self.entropy.below(300) {
            0..30 => {
                let pause = u64::from(self.entropy.below(40));
                self.bench.pass(pause);
            }
            30..34 => {
                if let Some(session) = self.all[index].session {
                    let linger = self.millis(100);
                    self.lose(index);
                    self.bench.tell(Input::ClientGone { session, linger });
                }
            }
            34 => {
                if let Some(session) = self.all[index].session {
                    self.bench.tell(Input::Terminate { session });
                }
            }
            35 => self.stop(),
            _ => self.ask(index),
        }
        self.harvest();
    }

    fn ask(&mut self, index: usize) {
        let Some(session) = self.all[index].session else {
            let settings = SessionSettings {
                isolation: ISOLATIONS[self.entropy.below(3) as usize],
                lock_timeout: self.limit(30),
                statement_timeout: self.limit(60),
                idle_in_transaction_timeout: self.limit(100),
                client_check: self.one_in(2),
            };
            let session = self.bench.connect_with(settings);
            self.all[index] =
                Client { session: Some(session), isolation: settings.isolation, ..Client::default() };
            return;
        };
        if self.all[index].asking.is_some() {
            return;
        }
        let (request, verdict) = (self.request(index), self.verdict());
        let client = &mut self.all[index];
        match request {
            Request::Commit | Request::Rollback | Request::RollbackTo(_) => {
                client.locks.retain(|_, transaction| !*transaction);
            }
            Request::Unlock { .. } | Request::Close => client.locks.clear(),
            // It may fail and let go long before that is told.
            _ if matches!(verdict, Verdict::Slow { .. }) => {
                client.locks.retain(|_, transaction| !*transaction)
            }
            _ => {}
        }
        let since = self.bench.database.committed().0;
        let id = self.bench.ask_with(session, request.clone(), verdict);
        self.all[index].asking = Some(Asking { id, request, since });
    }

    /// Takes what clients were told since the last time.
    fn harvest(&mut self) {
        for (session, _) in std::mem::take(&mut self.bench.ended) {
            if let Some(index) = self.all.iter().position(|client| client.session == Some(session)) {
                self.lose(index);
            }
        }
        // What is let go in a step may be taken by another in the same.
        for good in [false, true] {
            for index in 0..self.all.len() {
                let id = self.all[index].asking.as_ref().map(|asking| asking.id);
                let outcome = id.and_then(|id| self.bench.outcomes.get(&id).cloned());
                if let Some(outcome) = outcome.filter(|outcome| matches!(outcome, Some(Ok(_))) == good) {
                    self.told(index, outcome);
                }
            }
        }
    }

    /// A client is cut off.
    fn lose(&mut self, index: usize) {
        let client = std::mem::take(&mut self.all[index]);
        let explicit = client.record.is_some();
        let mut record = client.record.unwrap_or_else(|| Record::new(client.isolation));
        record.told = Told::RolledBack;
        if let Some(asking) = client.asking {
            let ends = matches!(asking.request, Request::Commit);
            if !explicit {
                record.possible = possible(&asking.request);
            }
            if !explicit || (ends && !record.failed) {
                record.request = Some(asking.id);
                record.told = Told::Nothing;
            }
        }
        self.records.push(record);
    }

    fn told(&mut self, index: usize, outcome: Outcome) {
        let Some(Ok(answer)) = outcome else {
            let error = match outcome {
                Some(Err(error)) if !error.ends_session() => error,
                _ => return self.lose(index),
            };
            *self.outcomes.entry(error.sqlstate()).or_default() += 1;
            return self.refused(index, error);
        };
        *self.outcomes.entry("ok").or_default() += 1;
        let now = self.committed();
        let client = &mut self.all[index];
        let Some(Asking { id, request, since }) = client.asking.take() else { return };
        let explicit = client.record.is_some();
        let mut record = client.record.take().unwrap_or_else(|| Record::new(client.isolation));
        let over = match (&request, &answer) {
            (Request::Begin { isolation }, _) => {
                client.record = Some(Record::new(*isolation));
                return;
            }
            (Request::Commit, Answer::Committed(place)) => {
                record.told = Told::Committed(Some(place.0));
                record.request = Some(id);
                true
            }
            (Request::Commit | Request::Rollback, _) => {
                record.told = Told::RolledBack;
                true
            }
            (Request::Close, _) => {
                client.session = None;
                record.told = Told::RolledBack;
                true
            }
            (Request::Savepoint(name), _) => {
                record.saves.push((*name, record.own.clone(), record.held.clone()));
                false
            }
            (Request::RollbackTo(name), _) => {
                let save = record.saves.iter().rposition(|(known, _, _)| known == name).expect("it is there");
                record.saves.truncate(save + 1);
                (_, record.own, record.held) = record.saves[save].clone();
                record.failed = false;
                false
            }
            (Request::Release(name), _) => {
                let save = record.saves.iter().rposition(|(known, _, _)| known == name).expect("it is there");
                record.saves.truncate(save);
                false
            }
            (Request::Lock { number, scope }, _) => {
                record.first.get_or_insert((record.asked.unwrap_or(since), now));
                let transaction = *scope == LockScope::Transaction;
                if !transaction || explicit {
                    let only = client.locks.get(number).copied().unwrap_or(true) && transaction;
                    client.locks.insert(*number, only);
                }
                let holders = self.all.iter().filter(|client| client.locks.contains_key(number)).count();
                assert!(holders <= 1, "an advisory lock has one holder");
                false
            }
            _ => {
                record.first.get_or_insert((record.asked.unwrap_or(since), now));
                saw(&mut record, &request, answer, (since, now));
                false
            }
        };
        if !explicit && !over {
            record.told = Told::Committed(None);
            record.request = Some(id);
        }
        match explicit && !over {
            true => self.all[index].record = Some(record),
            false => self.records.push(record),
        }
    }

    fn refused(&mut self, index: usize, error: SqlError) {
        let now = self.committed();
        let client = &mut self.all[index];
        let Some(Asking { id, request, since }) = client.asking.take() else { return };
        let Some(record) = &mut client.record else {
            let mut record = Record::new(client.isolation);
            record.request = Some(id);
            record.told = Told::RolledBack;
            self.records.push(record);
            return;
        };
        if matches!(request, Request::Commit | Request::Rollback | Request::Close) {
            record.request = Some(id);
            record.told = Told::RolledBack;
            client.locks.retain(|_, transaction| !*transaction);
            self.records.extend(client.record.take());
            return;
        }
        if !record.failed {
            record.failed = true;
            record.asked.get_or_insert(since);
            if error == SqlError::UniqueViolation(T) {
                record.first.get_or_insert((record.asked.unwrap_or(since), now));
                if let (Request::Insert { key, row, .. }, Isolation::Serializable) =
                    (request, record.isolation)
                    && row.keys.is_none()
                    && !record.own.contains_key(&key)
                {
                    record.reads.push((Saw::Exists { key }, (since, now)));
                }
            }
            (record.own, record.held) =
                record.saves.last().map(|(_, own, held)| (own.clone(), held.clone())).unwrap_or_default();
            client.locks.retain(|_, transaction| !*transaction);
        }
    }

    /// The server stops, perhaps losing its tail, and is started again. All that was seen so far is judged.
    fn stop(&mut self) {
        match self.entropy.below(6) {
            0 => self.bench.tell(Input::Shutdown),
            lose => self.bench.tell(Input::Crash { lose: lose as usize - 1 }),
        }
        self.harvest();
        for index in 0..self.all.len() {
            if self.all[index].session.is_some() {
                self.lose(index);
            }
        }
        self.judge();
        self.bench.tell(Input::Start { recovery: Duration::ZERO });
    }

    fn judge(&mut self) {
        let last = self.committed();
        let events: Vec<Event> = self.bench.database.drain_history().collect();
        let (mut commits, mut lost) = (Vec::new(), Vec::new());
        for event in events {
            match event {
                Event::Committed(commit) => commits.push(commit),
                Event::Lost(number) => lost.push(number),
                Event::Crashed(_) => assert!(lost.is_empty(), "commits are lost after the crash"),
            }
        }
        let (_, state) = self.kept.last().expect("one state is never lost");
        let base = (last - commits.len() as u64, state.clone());
        let states = judge(base, &commits, &mut self.records).unwrap_or_else(|story| panic!("{story}"));
        self.records.clear();
        self.kept.extend(states.into_iter().skip(1));
        for number in &lost {
            let last = self.kept.pop().expect("no more is lost than there was");
            assert_eq!(last.0, number.0, "the last commits are lost");
        }
        lost.reverse();
        assert_eq!(lost, std::mem::take(&mut self.bench.lost), "what is lost is told");
        let (_, state) = self.kept.last().expect("one state is never lost");
        assert_eq!(&self.truth(), state, "the committed rows are those of the commits that are kept");
    }

    fn truth(&self) -> State {
        self.bench.database.rows(T).map(|(key, row)| (key.clone(), row.clone())).collect()
    }

    /// Everybody goes home, and nothing is left.
    fn finish(&mut self) {
        for _ in 0..100 {
            for index in 0..self.all.len() {
                if let (Some(session), None) = (self.all[index].session, &self.all[index].asking) {
                    let id = self.bench.ask(session, Request::Close);
                    let since = self.committed();
                    self.all[index].asking = Some(Asking { id, request: Request::Close, since });
                    self.all[index].locks.clear();
                }
            }
            self.bench.pass(100);
            self.harvest();
        }
        for client in &self.all {
            assert!(client.asking.is_none(), "each request is answered");
        }
        assert_eq!(self.bench.outcomes.len() as u64 + u64::from(self.connects()), self.bench.next);
        assert_eq!(self.bench.database.sessions(), 0, "nobody stays");
        self.judge();
        assert_eq!(self.bench.database.versions(), self.truth().len(), "no old version stays");
        assert_eq!(self.bench.database.deadline(), None, "nothing is due");
    }

    fn connects(&self) -> u32 {
        u32::try_from(self.bench.connects).unwrap_or(u32::MAX)
    }
}

/// What a run came to: all that the machine went through, and its last state.
fn run(seed: u64, steps: u32) -> (Marks, BTreeMap<&'static str, u64>, String) {
    let mut clients = Clients::new(seed);
    for _ in 0..steps {
        clients.step();
    }
    clients.finish();
    let database = &clients.bench.database;
    (database.marks().clone(), clients.outcomes.clone(), format!("{database:?}"))
}

#[test]
fn random_sessions_are_isolated_and_each_request_has_one_outcome() {
    let mut marks: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut outcomes: BTreeMap<&'static str, u64> = BTreeMap::new();
    for seed in 0..1_000 {
        let caught = std::panic::catch_unwind(|| run(seed, 400));
        let Ok((of_run, told, _)) = caught else { panic!("seed {seed}") };
        for (name, count) in of_run.iter() {
            *marks.entry(name).or_default() += count;
        }
        for (name, count) in told {
            *outcomes.entry(name).or_default() += count;
        }
    }
    for name in [
        "deadlock",
        "row changed since the snapshot",
        "write after a read was overtaken",
        "commit after a read was overtaken",
        "conflict with a row that the snapshot hides",
        "refused at commit",
        "dead client noticed",
        "idle in a transaction for too long",
        "tail lost",
        "failure that the world decided",
    ] {
        assert!(marks.get(name).is_some_and(|count| *count >= 10), "{name} is rare: {marks:?}");
    }
    for state in ["23505", "40001", "40P01", "55P03", "57014", "25P02"] {
        assert!(outcomes.get(state).is_some_and(|count| *count >= 20), "{state} is rare: {outcomes:?}");
    }
    let all: u64 = outcomes.values().sum();
    assert!(outcomes["ok"] * 2 > all, "most requests succeed: {outcomes:?}");
}

#[test]
fn the_same_inputs_give_the_same_machine() {
    for seed in 0..10 {
        assert_eq!(run(seed, 200).2, run(seed, 200).2);
    }
}
