//! The far side of database connections: what clients send reaches the database machine after a while, and what it says
//! goes back; what commits goes into the history as it takes effect.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_channel::Sender;
use bytes::Bytes;
use evenkeel_core::machine::Machine;
use evenkeel_core::model::{RequestId, Time};
use evenkeel_core::ports::ClaimKey;

use super::state::State;
use crate::database::{
    Action, Answer, Database, DatabaseConfig, Event, Input, Request, SessionId, SessionSettings, SqlError,
    TableId, Verdict,
};
use crate::history::{EventNo, HandlerNo, Happening, Life, TxNo};
use crate::seed::Stream;
use crate::trace::{Kind, digest};

/// The table of claims.
pub(crate) const CLAIMS: TableId = TableId(0);
/// The table of the world's handlers' effects.
pub(crate) const EFFECTS: TableId = TableId(1);

/// The first table that is not the world's.
pub(crate) const OWN_TABLES: u16 = 2;

const STATEMENT: Kind = Kind::new("statement");

/// What a client learns of what it asked.
pub(crate) type Heard = Result<Answer, SqlError>;

/// Connections to the database, and what is under way on them.
#[derive(Debug)]
pub(crate) struct Sessions {
    pub(crate) machine: Database,
    tables: u16,
    stream: Stream,
    deliveries: BTreeMap<(Time, u64), Delivery>,
    sequence: u64,
    next_request: u64,
    waiting: BTreeMap<RequestId, Sender<Heard>>,
    /// Whose each session is.
    clients: BTreeMap<SessionId, Life>,
    connecting: BTreeMap<RequestId, Life>,
    /// Until when no connection comes free.
    pub(crate) empty_until: Time,
}

#[derive(Debug)]
enum Delivery {
    ToServer(Input),
    ToClient(RequestId, Heard),
}

impl Sessions {
    /// A database with the world's tables, and these.
    pub(crate) fn new(stream: Stream, own: &[Arc<str>]) -> Self {
        let tables =
            ["evenkeel_processed".into(), "effects".into()].into_iter().chain(own.iter().cloned()).collect();
        Self {
            tables: OWN_TABLES + own.len() as u16,
            machine: Database::new(DatabaseConfig { tables, ..DatabaseConfig::default() }),
            stream,
            deliveries: BTreeMap::new(),
            sequence: 0,
            next_request: 0,
            waiting: BTreeMap::new(),
            clients: BTreeMap::new(),
            connecting: BTreeMap::new(),
            empty_until: Time::ZERO,
        }
    }

    /// The committed rows of each table.
    pub(crate) fn rows(&self) -> Vec<Vec<(Bytes, Bytes)>> {
        let of_table =
            |table| self.machine.rows(TableId(table)).map(|(key, row)| (key.clone(), row.value.clone()));
        (0..self.tables).map(|table| of_table(table).collect()).collect()
    }

    /// When something is due next.
    pub(crate) fn next(&self) -> Option<Time> {
        let arrives = self.deliveries.first_key_value().map(|((at, _), _)| *at);
        [arrives, self.machine.deadline()].into_iter().flatten().min()
    }

    fn delay(&self) -> Duration {
        Duration::from_micros(self.stream.nth(self.sequence).log_uniform(100, 2_000))
    }

    fn schedule(&mut self, at: Time, delivery: Delivery) {
        self.sequence += 1;
        self.deliveries.insert((at, self.sequence), delivery);
    }

    fn request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    /// A process opens a connection.
    pub(crate) fn connect(&mut self, now: Time, life: Life, settings: SessionSettings, reply: Sender<Heard>) {
        let id = self.request();
        self.waiting.insert(id, reply);
        self.connecting.insert(id, life);
        let at = now + self.delay();
        self.schedule(at, Delivery::ToServer(Input::Connect { id, settings }));
    }

    /// A process asks something in a session. Its next request waits for the answer, so that none overtakes another.
    pub(crate) fn ask(
        &mut self,
        now: Time,
        session: SessionId,
        request: Request,
        verdict: Verdict,
        reply: Option<Sender<Heard>>,
    ) {
        let id = self.request();
        if let Some(reply) = reply {
            self.waiting.insert(id, reply);
        }
        let at = now + self.delay();
        self.schedule(at, Delivery::ToServer(Input::Request { id, session, request, verdict }));
    }

    /// A client is gone; the server takes a while to notice.
    pub(crate) fn gone(&mut self, now: Time, session: SessionId) {
        if self.clients.remove(&session).is_none() {
            return;
        }
        let mut draw = self.stream.named("linger").nth(session.0);
        let linger = if draw.once_in(4) { draw.log_uniform(1_000, 20_000) } else { draw.log_uniform(1, 100) };
        // Behind all that it had sent.
        let at = now + Duration::from_millis(3);
        self.schedule(
            at,
            Delivery::ToServer(Input::ClientGone { session, linger: Duration::from_millis(linger) }),
        );
    }

    /// The sessions of a process.
    pub(crate) fn of(&self, life: Life) -> Vec<SessionId> {
        self.clients.iter().filter(|(_, client)| **client == life).map(|(session, _)| *session).collect()
    }
}

impl State {
    /// Lets one thing happen that is due at the database; false if there is none.
    pub(crate) fn work_on_sessions(&mut self, now: Time) -> bool {
        let due = self.sessions.deliveries.first_entry().filter(|entry| entry.key().0 <= now);
        if let Some(delivery) = due.map(|entry| entry.remove()) {
            match delivery {
                Delivery::ToServer(input) => self.strike_database(input),
                Delivery::ToClient(id, heard) => {
                    if let Some(reply) = self.sessions.waiting.remove(&id) {
                        // Who waited may have gone.
                        let _ = reply.try_send(heard);
                    }
                }
            }
            return true;
        }
        if self.sessions.machine.deadline().is_some_and(|due| due <= now) {
            self.sessions.machine.tick(now);
            self.hear_database(now);
            return true;
        }
        false
    }

    /// Lets something happen to the database.
    pub(crate) fn strike_database(&mut self, input: Input) {
        let now = self.now();
        if let Input::Request { id, session, request, .. } = &input {
            let (id, session) = (*id, *session);
            let words = [session.0, id.0, statement(request).0];
            self.note(STATEMENT, session.0, digest(words), || {
                format!("session {}: {}", session.0, statement(request).1)
            });
        }
        self.sessions.machine.handle(now, input);
        self.hear_database(now);
        self.wake_pump();
    }

    fn hear_database(&mut self, now: Time) {
        let events: Vec<_> = self.sessions.machine.drain_history().collect();
        for event in events {
            if let Event::Committed(commit) = event {
                self.committed(&commit);
            }
        }
        while let Some(action) = self.sessions.machine.poll() {
            match action {
                Action::Answer { id, answer } => {
                    if let (Some(life), Ok(Answer::Connected(session))) =
                        (self.sessions.connecting.remove(&id), &answer)
                    {
                        self.sessions.clients.insert(*session, life);
                        if !self.lives(life) {
                            self.sessions.gone(now, *session);
                        }
                    }
                    self.send_to_client(now, id, answer);
                }
                Action::HangUp { id } => {
                    self.sessions.connecting.remove(&id);
                    self.send_to_client(now, id, Err(SqlError::ConnectionLost));
                }
                Action::Ended { session, .. } => {
                    self.sessions.clients.remove(&session);
                }
                Action::TailLost { .. } => {}
            }
        }
    }

    fn send_to_client(&mut self, now: Time, id: RequestId, heard: Heard) {
        let at = now + self.sessions.delay();
        self.sessions.schedule(at, Delivery::ToClient(id, heard));
    }

    /// A transaction took effect: its claims and effects, by the names of the world.
    fn committed(&mut self, commit: &crate::database::Commit) {
        let added = |table: TableId| {
            let written =
                commit.writes.iter().filter(move |write| write.table == table && write.after.is_some());
            written.map(|write| &write.key)
        };
        let claims: Vec<_> = added(CLAIMS)
            .map(|key| {
                let known =
                    <[u8; 32]>::try_from(&key[..]).ok().and_then(|key| self.claims.get(&ClaimKey(key)));
                // A claim that no handler saw is nobody's, and torn from its effect.
                known.copied().unwrap_or((HandlerNo(0), EventNo(u32::MAX)))
            })
            .collect();
        let effects: Vec<_> = added(EFFECTS).filter_map(|key| effect_of(key)).collect();
        if claims.is_empty() && effects.is_empty() {
            return;
        }
        let (claims, effects): (Arc<[_]>, Arc<[_]>) = (claims.into(), effects.into());
        self.tell(Happening::TxCommitted { tx: TxNo(commit.sequence.0), claims, effects });
    }
}

/// The key of an effect: whose, of which event, and by which run, so that a second one is there to be seen.
pub(crate) fn effect_key(handler: HandlerNo, event: EventNo, run: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(14);
    key.extend_from_slice(&handler.0.to_be_bytes());
    key.extend_from_slice(&event.0.to_be_bytes());
    key.extend_from_slice(&run.to_be_bytes());
    key
}

fn effect_of(key: &[u8]) -> Option<(HandlerNo, EventNo)> {
    let (handler, rest) = key.split_first_chunk::<2>()?;
    let (event, _) = rest.split_first_chunk::<4>()?;
    Some((HandlerNo(u16::from_be_bytes(*handler)), EventNo(u32::from_be_bytes(*event))))
}

fn statement(request: &Request) -> (u64, &'static str) {
    match request {
        Request::Begin { .. } => (1, "begin"),
        Request::Commit => (2, "commit"),
        Request::Rollback => (3, "rollback"),
        Request::Insert { .. } => (4, "insert"),
        Request::InsertOrIgnore { .. } => (5, "claim"),
        Request::Close => (6, "close"),
        _ => (7, "another statement"),
    }
}
