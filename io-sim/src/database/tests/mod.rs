//! The machine as a whole: requests in, outcomes out, time between, and all invariants after every step.

mod claims;
mod constraints;
mod isolation;
mod naive;
mod notes;
mod random;
mod recovery;
mod sessions;
mod speed;
mod waits;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_core::machine::Machine;
use evenkeel_core::model::{RequestId, Time};

use super::*;

const T: TableId = TableId(0);

/// What came of a request: `None` is a hang-up.
type Outcome = Option<Result<Answer, SqlError>>;

/// A database, its time, and what came of requests.
struct Bench {
    database: Database,
    now: Time,
    next: u64,
    connects: u64,
    outcomes: BTreeMap<RequestId, Outcome>,
    ended: Vec<(SessionId, SqlError)>,
    lost: Vec<CommitSequence>,
}

impl Bench {
    fn new(change: impl FnOnce(&mut DatabaseConfig)) -> Self {
        let mut config = DatabaseConfig { tables: vec!["t".into(), "u".into()], ..DatabaseConfig::default() };
        change(&mut config);
        Self {
            database: Database::new(config),
            now: Time::ZERO,
            next: 0,
            connects: 0,
            outcomes: BTreeMap::new(),
            ended: Vec::new(),
            lost: Vec::new(),
        }
    }

    fn drain(&mut self) {
        while let Some(action) = self.database.poll() {
            let (id, outcome) = match action {
                Action::Answer { id, answer } => (id, Some(answer)),
                Action::HangUp { id } => (id, None),
                Action::Ended { session, error } => {
                    self.ended.push((session, error));
                    continue;
                }
                Action::TailLost { commits } => {
                    self.lost.extend(commits);
                    continue;
                }
            };
            assert!(self.outcomes.insert(id, outcome).is_none(), "{id} has two outcomes");
        }
        self.database.check();
    }

    fn tell(&mut self, input: Input) {
        self.database.handle(self.now, input);
        self.drain();
    }

    fn next_id(&mut self) -> RequestId {
        self.next += 1;
        RequestId(self.next)
    }

    fn try_connect(&mut self, settings: SessionSettings) -> Outcome {
        let id = self.next_id();
        self.connects += 1;
        self.tell(Input::Connect { id, settings });
        self.outcomes.remove(&id).expect("a connect is answered at once")
    }

    fn connect_with(&mut self, settings: SessionSettings) -> SessionId {
        match self.try_connect(settings) {
            Some(Ok(Answer::Connected(session))) => session,
            other => panic!("{other:?}"),
        }
    }

    fn connect(&mut self) -> SessionId {
        self.connect_with(SessionSettings::default())
    }

    fn ask_with(&mut self, session: SessionId, request: Request, verdict: Verdict) -> RequestId {
        let id = self.next_id();
        self.tell(Input::Request { id, session, request, verdict });
        id
    }

    fn ask(&mut self, session: SessionId, request: Request) -> RequestId {
        self.ask_with(session, request, Verdict::Serve)
    }

    fn is_parked(&self, id: RequestId) -> bool {
        !self.outcomes.contains_key(&id)
    }

    fn outcome(&self, id: RequestId) -> Result<Answer, SqlError> {
        match self.outcomes.get(&id) {
            Some(Some(outcome)) => outcome.clone(),
            other => panic!("{id}: {other:?}"),
        }
    }

    fn hung_up(&self, id: RequestId) -> bool {
        matches!(self.outcomes.get(&id), Some(None))
    }

    /// Asks what must be answered at once.
    fn run(&mut self, session: SessionId, request: Request) -> Result<Answer, SqlError> {
        let id = self.ask(session, request);
        self.outcome(id)
    }

    fn ok(&mut self, session: SessionId, request: Request) -> Answer {
        self.run(session, request.clone()).unwrap_or_else(|error| panic!("{request:?}: {error}"))
    }

    fn begin(&mut self, isolation: Isolation) -> SessionId {
        let session = self.connect();
        self.ok(session, Request::Begin { isolation });
        session
    }

    /// The value of a row as a session sees it.
    fn value(&mut self, session: SessionId, key: &'static str) -> Option<String> {
        match self.ok(session, get(key)) {
            Answer::Row(row) => row.map(|row| String::from_utf8_lossy(&row.value).into_owned()),
            other => panic!("{other:?}"),
        }
    }

    /// The committed rows, as `key=value`.
    fn truth(&self) -> Vec<String> {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        self.database.rows(T).map(|(key, row)| format!("{}={}", text(key), text(&row.value))).collect()
    }

    /// Lets time pass, stopping at every deadline.
    fn pass(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        // Early, which must be harmless.
        self.database.tick(self.now);
        assert!(self.database.poll().is_none(), "nothing is due");
        while let Some(at) = self.database.deadline().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.database.tick(self.now);
            self.drain();
            assert!(self.database.deadline().is_none_or(|next| next > self.now), "a deadline is dealt with");
        }
        self.now = end;
    }
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn get(key: &'static str) -> Request {
    Request::Get { table: T, key: bytes(key) }
}

fn get_for_update(key: &'static str) -> Request {
    Request::GetForUpdate { table: T, key: bytes(key) }
}

fn put(key: &'static str, value: &'static str) -> Request {
    Request::Put { table: T, key: bytes(key), row: Row::new(bytes(value)) }
}

fn insert(key: &'static str, value: &'static str) -> Request {
    Request::Insert { table: T, key: bytes(key), row: Row::new(bytes(value)) }
}

fn claim(keys: &[&'static str]) -> Request {
    Request::InsertOrIgnore {
        table: T,
        rows: keys.iter().map(|key| (bytes(key), Row::new(bytes("claim")))).collect(),
    }
}

fn delete(key: &'static str) -> Request {
    Request::Delete { table: T, key: bytes(key) }
}

fn scan() -> Request {
    Request::Scan { table: T, from: Bytes::new(), to: None, limit: usize::MAX }
}

fn lock(number: i64, scope: LockScope) -> Request {
    Request::Lock { number, scope }
}

const READ_COMMITTED: Request = Request::Begin { isolation: Isolation::ReadCommitted };
