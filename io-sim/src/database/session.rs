//! Sessions: requests in order, each with one outcome, and the limits on how long things may take.

use std::collections::VecDeque;
use std::time::Duration;

use evenkeel_core::model::{RequestId, Time};

use super::locks::{Resource, Wait};
use super::message::{Action, Answer, Isolation, Request, SessionId, SessionSettings, SqlError, Verdict};
use super::statements::{Statement, Step};
use super::txn::Txn;
use super::{Database, Server};

/// A request whose turn has not come.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) id: RequestId,
    pub(super) request: Request,
    pub(super) verdict: Verdict,
}

/// The request in work.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub(super) id: RequestId,
    request: Request,
    since: Time,
    /// How long the answer is held back.
    after: Duration,
    /// What a batch has done so far.
    progress: Vec<bool>,
    /// What was last waited for, and until when.
    pub(super) last_wait: Option<(Resource, Option<Time>)>,
    pub(super) phase: Phase,
}

/// How far a request is.
#[derive(Debug, Clone)]
pub(super) enum Phase {
    Delayed(Time),
    Ready,
    Waiting(Wait),
    /// It is done, and the answer is held back.
    Answering(Time, Result<Answer, SqlError>),
}

/// Whether anybody listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Client {
    There,
    /// Gone, and the server will notice then.
    Gone(Time),
    /// The session ends with the statement in work.
    Noticed,
}

/// A connection as the server knows it.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) settings: SessionSettings,
    pub(super) queue: VecDeque<Asked>,
    pub(super) work: Option<Work>,
    pub(super) txn: Option<Txn>,
    client: Client,
    idle_since: Time,
    /// As it stands in the table of what is due.
    pub(super) due: Option<Time>,
}

impl Session {
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.work.as_ref().map(|work| &work.phase), Some(Phase::Waiting(_)))
    }

    fn statement_limit(&self, work: &Work) -> Option<Time> {
        match work.phase {
            Phase::Answering(..) => None,
            Phase::Delayed(_) | Phase::Ready | Phase::Waiting(_) => {
                self.settings.statement_timeout.map(|limit| work.since + limit)
            }
        }
    }

    fn idle_limit(&self) -> Option<Time> {
        match (&self.txn, &self.work) {
            (Some(_), None) => self.settings.idle_in_transaction_timeout.map(|limit| self.idle_since + limit),
            (Some(_), Some(_)) | (None, _) => None,
        }
    }

    /// When something happens to the session if nothing is asked.
    fn deadline(&self) -> Option<Time> {
        let notice = match self.client {
            Client::Gone(at) => Some(at),
            Client::There | Client::Noticed => None,
        };
        let of_work = self.work.as_ref().and_then(|work| {
            let of_phase = match &work.phase {
                Phase::Delayed(until) | Phase::Answering(until, _) => Some(*until),
                Phase::Ready => None,
                Phase::Waiting(wait) => [wait.until, wait.check_at].into_iter().flatten().min(),
            };
            [of_phase, self.statement_limit(work)].into_iter().flatten().min()
        });
        [notice, of_work, self.idle_limit()].into_iter().flatten().min()
    }
}

impl Database {
    pub(super) fn connect(&mut self, id: RequestId, settings: SessionSettings) {
        let answer = match self.server {
            Server::Down => {
                self.actions.push_back(Action::HangUp { id });
                return;
            }
            Server::Recovering(until) if self.now < until => Err(SqlError::StartingUp),
            Server::Recovering(_) | Server::Up if self.sessions.len() >= self.config.max_connections => {
                self.marks.hit("too many connections");
                Err(SqlError::TooManyConnections)
            }
            Server::Recovering(_) | Server::Up => {
                let session = SessionId(self.next_session);
                self.next_session += 1;
                self.sessions.insert(
                    session,
                    Session {
                        settings,
                        queue: VecDeque::new(),
                        work: None,
                        txn: None,
                        client: Client::There,
                        idle_since: self.now,
                        due: None,
                    },
                );
                Ok(Answer::Connected(session))
            }
        };
        self.actions.push_back(Action::Answer { id, answer });
    }

    pub(super) fn ask(&mut self, session: SessionId, asked: Asked) {
        let Some(known) = self.sessions.get_mut(&session) else {
            self.marks.hit("request in a session that is over");
            self.actions.push_back(Action::HangUp { id: asked.id });
            return;
        };
        if known.work.is_some() {
            known.queue.push_back(asked);
            return;
        }
        self.begin_work(session, asked);
        self.serve(session);
    }

    pub(super) fn client_gone(&mut self, id: SessionId, linger: Duration) {
        let notice = self.now + linger;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.client = match session.client {
            Client::There => Client::Gone(notice),
            Client::Gone(known) => Client::Gone(known.min(notice)),
            Client::Noticed => return,
        };
        self.expire(id);
    }

    /// Goes on with a session as far as it gets.
    pub(super) fn serve(&mut self, id: SessionId) {
        loop {
            let now = self.now;
            let Some(session) = self.sessions.get_mut(&id) else { return };
            let Some(work) = &mut session.work else {
                if session.client == Client::Noticed {
                    self.end(id, SqlError::ConnectionLost);
                    return;
                }
                let Some(asked) = session.queue.pop_front() else { break };
                self.begin_work(id, asked);
                continue;
            };
            match work.phase {
                Phase::Delayed(until) | Phase::Answering(until, _) if until > now => break,
                Phase::Waiting(_) => break,
                Phase::Delayed(_) => work.phase = Phase::Ready,
                Phase::Ready => self.execute(id),
                Phase::Answering(..) => self.answer(id),
            }
        }
        self.schedule(id);
    }

    fn begin_work(&mut self, id: SessionId, asked: Asked) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let (phase, after) = match asked.verdict {
            Verdict::Serve | Verdict::Fail(_) => (Phase::Ready, Duration::ZERO),
            Verdict::Slow { before, after } => (Phase::Delayed(self.now + before), after),
        };
        session.work = Some(Work {
            id: asked.id,
            request: asked.request,
            since: self.now,
            after,
            progress: Vec::new(),
            last_wait: None,
            phase,
        });
        if let Verdict::Fail(error) = asked.verdict {
            self.marks.hit("failure that the world decided");
            self.fail(id, error);
        }
    }

    fn execute(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(work) = &mut session.work else { return };
        let outcome = match (&work.request, &mut session.txn) {
            (Request::Begin { isolation }, None) => {
                session.txn = Some(Txn::new(*isolation, false));
                if *isolation == Isolation::Serializable {
                    self.readers.insert(id);
                }
                Ok(Answer::Done)
            }
            (Request::Commit, Some(txn)) if !txn.failed => self.commit(id).map(Answer::Committed),
            (Request::Commit | Request::Rollback, Some(_)) => {
                self.rollback(id);
                Ok(Answer::RolledBack)
            }
            (Request::Commit | Request::Rollback, None) => Err(SqlError::NoTransaction),
            (Request::Close, _) => {
                self.rollback(id);
                Ok(Answer::Done)
            }
            (Request::RollbackTo(name), Some(txn)) => match txn.back_to(*name) {
                Some(mark) => {
                    txn.failed = false;
                    self.unwind(id, mark);
                    Ok(Answer::Done)
                }
                None => Err(SqlError::NoSavepoint(*name)),
            },
            (_, Some(txn)) if txn.failed => Err(SqlError::InFailedTransaction),
            (Request::Begin { .. }, Some(_)) => Err(SqlError::TransactionInProgress),
            (Request::Savepoint(name), Some(txn)) => {
                txn.savepoints.push((*name, txn.undo.len()));
                Ok(Answer::Done)
            }
            (Request::Release(name), Some(txn)) => match txn.release(*name) {
                true => Ok(Answer::Done),
                false => Err(SqlError::NoSavepoint(*name)),
            },
            (Request::Savepoint(_) | Request::Release(_) | Request::RollbackTo(_), None) => {
                Err(SqlError::NoTransaction)
            }
            (
                Request::Get { .. }
                | Request::GetForUpdate { .. }
                | Request::Scan { .. }
                | Request::Put { .. }
                | Request::Insert { .. }
                | Request::InsertOrIgnore { .. }
                | Request::Delete { .. }
                | Request::Lock { .. }
                | Request::Unlock { .. },
                _,
            ) => {
                self.execute_statement(id);
                return;
            }
        };
        match outcome {
            Ok(answer) => self.done(id, Ok(answer)),
            Err(error) => self.fail(id, error),
        }
    }

    fn execute_statement(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(work) = &mut session.work else { return };
        let isolation = session.settings.isolation;
        if session.txn.is_none() && isolation == Isolation::Serializable {
            self.readers.insert(id);
        }
        let txn = session.txn.get_or_insert_with(|| Txn::new(isolation, true));
        let implicit = txn.implicit;
        let mut statement = Statement {
            session: id,
            txn,
            committed: self.committed,
            tables: &mut self.tables,
            snapshots: &mut self.snapshots,
            advisory: &mut self.advisory,
            woken: &mut self.ready,
            marks: &mut self.marks,
        };
        match statement.run(&work.request, &mut work.progress) {
            Step::Done(answer) if implicit => match self.commit(id) {
                Ok(_) => self.done(id, Ok(answer)),
                Err(error) => self.fail(id, error),
            },
            Step::Done(answer) => self.done(id, Ok(answer)),
            Step::Wait(resource) => self.wait(id, resource),
            Step::Fail(error) => self.fail(id, error),
        }
    }

    /// Fails the request in work, and with it the transaction, back to its innermost savepoint.
    pub(super) fn fail(&mut self, id: SessionId, error: SqlError) {
        self.stop_waiting(id);
        if error.ends_session() {
            self.end(id, error);
            return;
        }
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let ends = session
            .work
            .as_ref()
            .is_some_and(|work| matches!(work.request, Request::Commit | Request::Rollback | Request::Close));
        match &mut session.txn {
            Some(txn) if txn.implicit || ends => self.rollback(id),
            Some(txn) if !txn.failed => {
                txn.failed = true;
                let mark = txn.innermost();
                let is_over = txn.savepoints.is_empty();
                self.unwind(id, mark);
                if is_over {
                    self.forget_reads(id);
                }
            }
            Some(_) | None => {}
        }
        self.done(id, Err(error));
    }

    /// The request in work has its outcome. It is told at once, or when the fault plan allows.
    fn done(&mut self, id: SessionId, outcome: Result<Answer, SqlError>) {
        let now = self.now;
        let Some(work) = self.sessions.get_mut(&id).and_then(|session| session.work.as_mut()) else { return };
        let held_back = !work.after.is_zero();
        work.phase = Phase::Answering(now + work.after, outcome);
        if !held_back {
            self.answer(id);
        }
    }

    fn answer(&mut self, id: SessionId) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(Work { id: request, phase: Phase::Answering(_, answer), request: asked, .. }) =
            session.work.take()
        else {
            return;
        };
        session.idle_since = now;
        let closed = asked == Request::Close && answer.is_ok();
        self.actions.push_back(Action::Answer { id: request, answer });
        if closed {
            self.bury(id);
        }
    }

    /// Ends a session of the server's own accord. The request in work is told, or else the client.
    pub(super) fn end(&mut self, id: SessionId, error: SqlError) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        match &session.work {
            Some(work) => self.actions.push_back(Action::Answer { id: work.id, answer: Err(error) }),
            None if session.client == Client::There => {
                self.actions.push_back(Action::Ended { session: id, error })
            }
            None => {}
        }
        self.bury(id);
    }

    /// Removes a session and all that it holds.
    fn bury(&mut self, id: SessionId) {
        self.stop_waiting(id);
        self.rollback(id);
        self.unlock_session(id);
        let Some(session) = self.sessions.remove(&id) else { return };
        if let Some(at) = session.due {
            self.due.remove(&(at, id));
        }
        let hang_ups = session.queue.into_iter().map(|asked| Action::HangUp { id: asked.id });
        self.actions.extend(hang_ups);
    }

    /// Deals with all that is due for a session.
    pub(super) fn expire(&mut self, id: SessionId) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if matches!(session.client, Client::Gone(at) if at <= now) {
            session.client = Client::Noticed;
            if session.work.is_none() || session.settings.client_check {
                self.marks.hit("dead client noticed");
                self.end(id, SqlError::ConnectionLost);
                return;
            }
        }
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let idle = session.idle_limit();
        let limit = session.work.as_ref().and_then(|work| session.statement_limit(work));
        let late = |at: Option<Time>| at.filter(|at| *at <= now);
        if late(idle).is_some() {
            self.marks.hit("idle in a transaction for too long");
            self.end(id, SqlError::IdleInTransactionTimeout);
            return;
        }
        match session.work.as_mut().map(|work| &mut work.phase) {
            Some(Phase::Waiting(wait)) => {
                let check = late(wait.check_at.take_if(|at| *at <= now)).is_some();
                // A tie counts as a lock timeout, as in PostgreSQL.
                match (late(wait.until), late(limit)) {
                    (Some(lock), Some(statement)) if statement < lock => {
                        self.fail(id, SqlError::StatementTimeout)
                    }
                    (Some(_), _) => self.fail(id, SqlError::LockTimeout),
                    (None, Some(_)) => self.fail(id, SqlError::StatementTimeout),
                    (None, None) if check && self.is_deadlocked(id) => {
                        self.marks.hit("deadlock");
                        self.fail(id, SqlError::Deadlock);
                    }
                    (None, None) => {}
                }
            }
            Some(Phase::Delayed(until)) => {
                let until = *until;
                if late(limit).is_some_and(|limit| limit < until) {
                    self.fail(id, SqlError::StatementTimeout);
                }
            }
            Some(Phase::Ready | Phase::Answering(..)) | None => {}
        }
        self.serve(id);
    }

    /// Goes on with those that were woken, first come first.
    pub(super) fn settle(&mut self) {
        while let Some(id) = self.ready.pop_front() {
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            if let Some(Work { phase: phase @ Phase::Waiting(_), .. }) = &mut session.work {
                *phase = Phase::Ready;
                self.serve(id);
            }
        }
    }

    /// Keeps the table of what is due in step with a session.
    fn schedule(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let due = session.deadline();
        if due == session.due {
            return;
        }
        if let Some(at) = std::mem::replace(&mut session.due, due) {
            self.due.remove(&(at, id));
        }
        if let Some(at) = due {
            self.due.insert((at, id));
        }
    }

    #[cfg(any(test, debug_assertions))]
    pub(super) fn check_sessions(&self) {
        let mut snapshots = std::collections::BTreeMap::new();
        for (id, session) in &self.sessions {
            assert_eq!(session.due, session.deadline(), "what is due is known");
            assert!(
                session.due.is_none_or(|at| self.due.contains(&(at, *id))),
                "what is due is in the table"
            );
            let phase = session.work.as_ref().map(|work| &work.phase);
            assert!(session.work.is_some() || session.queue.is_empty(), "no request lies about");
            assert!(!matches!(phase, Some(Phase::Ready)), "who can go on goes on");
            assert!(
                session.client != Client::Noticed || session.work.is_some(),
                "no ghost outlives its notice"
            );
            let Some(txn) = &session.txn else { continue };
            assert!(!txn.implicit || session.is_waiting(), "a single statement ends its transaction");
            assert!(
                !txn.failed || !txn.savepoints.is_empty() || txn.undo.is_empty(),
                "a failure lets go of all"
            );
            assert!(
                txn.savepoints.is_sorted_by(|one, next| one.1 <= next.1)
                    && txn.savepoints.last().is_none_or(|(_, mark)| *mark <= txn.undo.len()),
                "savepoints lie on the way back"
            );
            if let Some(snapshot) = txn.snapshot {
                *snapshots.entry(snapshot).or_insert(0) += 1;
            }
        }
        assert_eq!(self.due.len(), self.sessions.values().filter(|session| session.due.is_some()).count());
        assert!(self.snapshots.iter().eq(snapshots), "the snapshots are those of the open transactions");
    }
}
