//! Calls of handlers: what the engine does around them, as timed phases. Begin, claim, handler, COMMIT, and a way for
//! each to fail.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_core::machine::consumer::{self, CallId, HandlerId, Ready};
use evenkeel_core::machine::delivery::Outcome;
use evenkeel_core::machine::member;
use evenkeel_core::model::{Offset, Time};

use super::ask::{Input, Item};
use super::planted::{Planted, distort_key};
use super::store::Key;
use super::world::{Todo, World};
use crate::faults::Chance;
use crate::history::{
    CallNo, EventNo, Facts, Flavour, HandlerNo, Happening, Life, Nature, Place, RunEnd, RunNo, TxNo,
};
use crate::seed::Draw;
use crate::trace::Kind;

const CALL: Kind = Kind::new("call");

/// How long a call waits for a connection.
const POOL: Duration = Duration::from_secs(10);
/// How long a claim waits for another's.
const LOCK: Duration = Duration::from_secs(5);

/// What a call does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A connection comes free.
    Begin,
    /// No connection came free.
    GiveUp,
    /// The claim arrives.
    Claim,
    /// The claim waits for another's until then.
    Blocked(Time),
    /// The handler ends.
    Handler(RunEnd),
    /// COMMIT arrives.
    Commit,
    /// The machine is told.
    Tell(Outcome),
}

/// A call that runs.
#[derive(Debug, Clone)]
pub(super) struct Call {
    number: CallNo,
    pub(super) handler: HandlerNo,
    events: Vec<Ready<Item>>,
    /// Where all its events are from, those as well that turn out to be done.
    from: Vec<(Place, Offset)>,
    runs: Vec<RunNo>,
    phase: Phase,
    turn: u32,
    began: Time,
    waited: Duration,
    pub(super) tx: Option<TxNo>,
}

impl Call {
    /// What it is about, in words.
    pub(super) fn look(&self, facts: &Facts) -> String {
        let events: Vec<_> = self
            .events
            .iter()
            .map(|ready| format!("{} attempt {}", ready.record.event, ready.attempt))
            .collect();
        let tx = self.tx.map_or_else(String::new, |tx| format!(" in {tx}"));
        format!(
            "{} of {}{tx}: {}, waits for its {}",
            self.number,
            facts.handler_name(self.handler),
            events.join(", "),
            self.phase_name()
        )
    }

    /// What it waits for.
    pub(super) const fn phase_name(&self) -> &'static str {
        match self.phase {
            Phase::Begin | Phase::GiveUp => "begin",
            Phase::Claim | Phase::Blocked(_) => "claim",
            // It takes no time to tell the machine.
            Phase::Handler(_) | Phase::Tell(_) => "handler",
            Phase::Commit => "commit of a transaction",
        }
    }
}

impl World {
    fn draw_for(&self, call: &Call) -> Draw {
        self.setup.seed.stream("calls").of(call.number.0).nth(call.turn.into())
    }

    fn trip(&self, call: &Call) -> Duration {
        Duration::from_micros(self.draw_for(call).log_uniform(100, 3_000))
    }

    pub(super) fn begin_call(
        &mut self,
        process: usize,
        id: CallId,
        handler: HandlerId,
        events: Vec<Ready<Item>>,
    ) {
        let Some(present) = self.processes[process].present.as_ref() else { return };
        let (life, handler) = (present.life, present.handlers[handler.0]);
        let from = events.iter().filter_map(|ready| {
            let topic = *present.topics.get(ready.topic)?;
            Some((Place { topic, partition: ready.partition }, ready.record.offset))
        });
        let from: Vec<_> = from.collect();
        self.opened(life, handler, &from);
        let mut call = Call {
            number: CallNo(self.calls.next(process as u16)),
            handler,
            events,
            from,
            runs: Vec::new(),
            phase: Phase::Begin,
            turn: 0,
            began: self.now,
            waited: Duration::ZERO,
            tx: None,
        };
        let undecodable =
            call.events.iter().any(|ready| self.nature(ready.record.event) == Nature::Undecodable);
        if undecodable {
            call.phase = Phase::Tell(Outcome::Undecodable);
            return self.next_phase(process, id, call, Duration::ZERO);
        }
        match self.facts.handler(handler).flavour {
            Flavour::Idempotent => self.run_handler(process, id, call),
            Flavour::ExactlyOnce => {
                let mut seen = Vec::new();
                call.events.retain(|ready| {
                    let twin = seen.contains(&ready.record.event);
                    seen.push(ready.record.event);
                    !twin
                });
                let mut wait = self.trip(&call);
                if let Some(mut draw) = self.dice.strikes(self.now, Chance::PoolSlow, u64::from(handler.0)) {
                    wait += Duration::from_micros(draw.log_uniform(1_000, 12_000_000));
                }
                let free = self.store.empty_until.max(self.store.down_until).since(self.now);
                if wait.max(free) > POOL {
                    call.phase = Phase::GiveUp;
                    return self.next_phase(process, id, call, POOL);
                }
                self.next_phase(process, id, call, wait.max(free));
            }
        }
    }

    fn nature(&self, event: EventNo) -> Nature {
        self.judge.ledger().sent(event).map_or(Nature::Undecodable, |sent| sent.nature)
    }

    fn next_phase(&mut self, process: usize, id: CallId, mut call: Call, after: Duration) {
        let Some(present) = self.processes[process].present.as_mut() else { return };
        call.turn += 1;
        let (life, turn) = (present.life, call.turn);
        present.calls.insert(id, call);
        self.plan_at(self.now + after, Todo::Call(life, id, turn));
    }

    fn conclude(&mut self, process: usize, id: CallId, mut call: Call, outcome: Outcome, after: Duration) {
        call.phase = Phase::Tell(outcome);
        self.next_phase(process, id, call, after);
    }

    /// A call's next phase is due.
    pub(super) fn go_on(&mut self, process: usize, id: CallId, turn: u32) {
        let Some(present) = self.processes[process].present.as_mut() else { return };
        let life = present.life;
        if present.calls.get(&id).is_none_or(|call| call.turn != turn) {
            return;
        }
        let Some(mut call) = present.calls.remove(&id) else { return };
        self.note(CALL, call.number.0, u64::from(turn), || {
            format!("{life} {} {:?}", call.number, call.phase)
        });
        match call.phase {
            Phase::Begin => {
                if self.store.down_until > self.now {
                    let trip = self.trip(&call);
                    return self.conclude(process, id, call, Outcome::World, trip);
                }
                call.tx = Some(self.store.begin(life.process));
                call.phase = Phase::Claim;
                let trip = self.trip(&call);
                self.next_phase(process, id, call, trip);
            }
            Phase::GiveUp => self.conclude(process, id, call, Outcome::World, Duration::ZERO),
            Phase::Claim | Phase::Blocked(_) => self.claim(process, id, call),
            Phase::Handler(end) => self.handler_ended(process, id, call, end),
            Phase::Commit => self.commit_arrives(process, id, call),
            Phase::Tell(outcome) => {
                self.work.ended(life, call.handler, &call.from, outcome);
                let waited = call.waited;
                let input = consumer::Input::Finished { call: id, outcome, waited };
                self.feed(process, "finished", Input::Member(member::Input::Consumer(input)));
            }
        }
    }

    fn keys(&self, call: &Call) -> Vec<Key> {
        let key = |ready: &Ready<Item>| distort_key(self.planted, (call.handler, ready.record.event));
        let mut keys: Vec<_> = call.events.iter().map(key).collect();
        keys.sort_unstable();
        keys
    }

    fn claim(&mut self, process: usize, id: CallId, mut call: Call) {
        let entity = u64::from(call.handler.0);
        let trip = self.trip(&call);
        let Some(tx) = call.tx.filter(|tx| self.store.is_open(*tx)) else {
            return self.conclude(process, id, call, Outcome::World, trip);
        };
        let lost = self.dice.strikes(self.now, Chance::StatementLost, entity).is_some();
        let conflict = self.dice.strikes(self.now, Chance::Deadlock, entity).is_some();
        let overdue = matches!(call.phase, Phase::Blocked(until) if until <= self.now);
        if lost || conflict {
            self.end_tx(tx);
            return self.conclude(process, id, call, Outcome::World, trip);
        }
        let keys = self.keys(&call);
        let Some(mut fresh) = self.store.claim(tx, &keys) else {
            if overdue {
                self.end_tx(tx);
                return self.conclude(process, id, call, Outcome::World, trip);
            }
            let until = match call.phase {
                Phase::Blocked(until) => until,
                _ => self.now + LOCK,
            };
            call.phase = Phase::Blocked(until);
            let wait = until.since(self.now);
            return self.next_phase(process, id, call, wait);
        };
        if self.planted == Some(Planted::ClaimIgnored) {
            fresh.fill(true);
        }
        call.waited = self.now.since(call.began);
        let planted = self.planted;
        call.events.retain(|ready| {
            let key = distort_key(planted, (call.handler, ready.record.event));
            keys.binary_search(&key).is_ok_and(|nth| fresh[nth])
        });
        if call.events.is_empty() {
            self.end_tx(tx);
            return self.conclude(process, id, call, Outcome::AlreadyDone, trip);
        }
        self.run_handler(process, id, call);
    }

    pub(super) fn calls_since_before(&self, time: Time) -> usize {
        let present = self.processes.iter().filter_map(|process| process.present.as_ref());
        present.flat_map(|present| present.calls.values()).filter(|call| call.began < time).count()
    }

    fn run_handler(&mut self, process: usize, id: CallId, mut call: Call) {
        let Some(life) = self.processes[process].present.as_ref().map(|present| present.life) else { return };
        for ready in &call.events {
            let present = self.processes[process].present.as_ref();
            let Some(topic) = present.and_then(|present| present.topics.get(ready.topic).copied()) else {
                continue;
            };
            let run = RunNo(self.runs.next(life.process));
            call.runs.push(run);
            self.tell(Happening::RunBegan {
                run,
                call: call.number,
                life,
                handler: call.handler,
                place: Place { topic, partition: ready.partition },
                offset: Offset(ready.record.offset.0),
                event: ready.record.event,
                attempt: ready.attempt.get(),
            });
        }
        let (takes, end) = self.decide(&call);
        if self.planted == Some(Planted::DoneBeforeTheHandler)
            && self.facts.handler(call.handler).flavour == Flavour::Idempotent
        {
            let input =
                consumer::Input::Finished { call: id, outcome: Outcome::Done, waited: Duration::ZERO };
            self.feed(process, "finished", Input::Member(member::Input::Consumer(input)));
        }
        call.phase = Phase::Handler(end);
        self.next_phase(process, id, call, takes);
    }

    /// How long the handler takes, and how it ends.
    fn decide(&mut self, call: &Call) -> (Duration, RunEnd) {
        let limit = self.facts.handler(call.handler).retry.attempt_limit;
        let mut takes = Duration::ZERO;
        let mut end = RunEnd::Done;
        for ready in &call.events {
            let event = ready.record.event;
            let entity = u64::from(call.handler.0) << 32 | u64::from(event.0);
            let mut usual = self.setup.seed.stream("handling").nth(entity);
            // Half of all calls answer at once.
            if usual.once_in(2) {
                let most = self.setup.numbers.handling.max(1);
                takes = takes.max(Duration::from_micros(usual.log_uniform(1, most)));
            }
            if self.dice.strikes(self.now, Chance::HandlerHangs, entity).is_some() {
                return (limit, RunEnd::Dropped);
            }
            if let Some(mut draw) = self.dice.strikes(self.now, Chance::HandlerSlow, entity) {
                takes = takes.max(Duration::from_micros(draw.between(1, limit.as_micros() as u64 / 2)));
            }
            if self.dice.strikes(self.now, Chance::HandlerFails, entity).is_some() {
                end = RunEnd::Failed;
            }
            if self.dice.strikes(self.now, Chance::HandlerPanics, entity).is_some() {
                end = RunEnd::Panicked;
            }
            if self.nature(event) == Nature::Poison {
                end = if event.0.is_multiple_of(2) { RunEnd::Permanent } else { RunEnd::Failed };
            }
        }
        if self.planted == Some(Planted::NoLimit) && takes >= limit / 4 {
            return (takes * 5, end);
        }
        if takes >= limit { (limit, RunEnd::Dropped) } else { (takes, end) }
    }

    fn end_runs(&mut self, call: &mut Call, end: RunEnd) {
        for run in std::mem::take(&mut call.runs) {
            self.tell(Happening::RunEnded { run, end });
        }
    }

    fn handler_ended(&mut self, process: usize, id: CallId, mut call: Call, end: RunEnd) {
        let is_once = self.facts.handler(call.handler).flavour == Flavour::ExactlyOnce;
        let connected = call.tx.is_some_and(|tx| self.store.is_open(tx));
        // A handler whose connection is gone fails for it.
        let end = if is_once && !connected && end != RunEnd::Dropped { RunEnd::World } else { end };
        self.end_runs(&mut call, end);
        let trip = self.trip(&call);
        let outcome = match end {
            RunEnd::Done => Outcome::Done,
            RunEnd::Failed => Outcome::Failed,
            RunEnd::Permanent => Outcome::Permanent,
            RunEnd::Ignored => Outcome::Ignored,
            RunEnd::World => Outcome::World,
            RunEnd::Panicked => Outcome::Panicked,
            RunEnd::Dropped => Outcome::TimedOut,
        };
        let soon = Duration::from_micros(self.draw_for(&call).below(200));
        match (call.tx, outcome) {
            (None, outcome) if self.planted == Some(Planted::DoneBeforeTheHandler) => {
                let _told_before = outcome;
            }
            (None, outcome) => self.conclude(process, id, call, outcome, soon),
            (Some(_), Outcome::Done) => {
                call.phase = Phase::Commit;
                self.next_phase(process, id, call, trip);
            }
            (Some(tx), Outcome::TimedOut | Outcome::Panicked) => {
                // The connection is closed; the server learns of it a moment later.
                self.plan_at(self.now + trip, Todo::Abandon(tx));
                self.conclude(process, id, call, outcome, soon);
            }
            (Some(tx), outcome) => {
                let entity = u64::from(call.handler.0);
                let lost = self.dice.strikes(self.now, Chance::StatementLost, entity).is_some();
                self.end_tx(tx);
                let outcome = if lost { Outcome::World } else { outcome };
                self.conclude(process, id, call, outcome, trip);
            }
        }
    }

    fn commit_arrives(&mut self, process: usize, id: CallId, call: Call) {
        let entity = u64::from(call.handler.0);
        let trip = self.trip(&call);
        let Some(tx) = call.tx.filter(|tx| self.store.is_open(*tx)) else {
            return self.conclude(process, id, call, Outcome::World, trip);
        };
        let refused = self.dice.strikes(self.now, Chance::Serialisation, entity).is_some();
        let lost = self.dice.strikes(self.now, Chance::CommitLost, entity).is_some();
        let reply_lost = self.dice.strikes(self.now, Chance::CommitReplyLost, entity).is_some();
        if refused || lost {
            self.end_tx(tx);
        } else {
            self.commit_tx(tx, &call);
        }
        let mut outcome = if refused || lost || reply_lost { Outcome::World } else { Outcome::Done };
        if self.planted == Some(Planted::UnknownCommitIsSuccess) && (lost || reply_lost) && !refused {
            outcome = Outcome::Done;
        }
        self.conclude(process, id, call, outcome, trip);
    }

    fn commit_tx(&mut self, tx: TxNo, call: &Call) {
        let Some(claims) = self.store.commit(tx) else { return };
        let effects = call.events.iter().map(|ready| (call.handler, ready.record.event)).collect();
        match self.planted {
            Some(Planted::ClaimApart) => {
                self.tell(Happening::TxCommitted { tx, claims: Arc::default(), effects });
                self.tell(Happening::TxCommitted { tx, claims: claims.into(), effects: Arc::default() });
            }
            // Under its own name the judges see the claim as what it should have been.
            Some(Planted::ClaimWithoutHandler) => {
                self.tell(Happening::TxCommitted { tx, claims: Arc::clone(&effects), effects });
            }
            _ => self.tell(Happening::TxCommitted { tx, claims: claims.into(), effects }),
        }
        if self.planted == Some(Planted::ClaimPruned) {
            self.store.prune();
        }
        self.wake_blocked();
    }

    /// A transaction is rolled back.
    pub(super) fn end_tx(&mut self, tx: TxNo) {
        if self.store.is_open(tx) {
            self.store.abort(tx);
            self.wake_blocked();
        }
    }

    /// Claims that wait look again.
    pub(super) fn wake_blocked(&mut self) {
        let mut blocked = Vec::new();
        for present in self.processes.iter_mut().filter_map(|process| process.present.as_mut()) {
            for (id, call) in &mut present.calls {
                if matches!(call.phase, Phase::Blocked(_)) {
                    call.turn += 1;
                    blocked.push((present.life, *id, call.turn));
                }
            }
        }
        for (life, id, turn) in blocked {
            self.plan_at(self.now + Duration::from_micros(100), Todo::Call(life, id, turn));
        }
    }

    pub(super) fn cancel_call(&mut self, process: usize, id: CallId) {
        let Some(present) = self.processes[process].present.as_mut() else { return };
        let Some(mut call) = present.calls.remove(&id) else { return };
        if let Phase::Tell(_) = call.phase {
            present.calls.insert(id, call);
            return;
        }
        self.end_runs(&mut call, RunEnd::Dropped);
        let trip = self.trip(&call);
        self.leave_tx(&call, trip);
        let soon = Duration::from_micros(self.draw_for(&call).below(500));
        self.conclude(process, id, call, Outcome::Cancelled, soon);
    }

    /// Whoever used a transaction is gone. A COMMIT that is on its way may arrive all the same.
    fn leave_tx(&mut self, call: &Call, after: Duration) {
        let Some(tx) = call.tx else { return };
        if call.phase == Phase::Commit && self.draw_for(call).once_in(2) {
            self.commit_tx(tx, call);
        } else {
            self.plan_at(self.now + after, Todo::Abandon(tx));
        }
    }

    /// A process has died: its calls are no more, its transactions linger.
    pub(super) fn bury_calls(&mut self, calls: Vec<Call>, life: Life) {
        let most = self.setup.numbers.linger;
        for call in calls {
            let mut draw = self.setup.seed.stream("linger").of(life.process.into()).nth(call.number.0);
            let after = Duration::from_millis(draw.below(most + 1));
            self.leave_tx(&call, after);
        }
    }
}
