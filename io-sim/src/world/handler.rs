//! The world's own handlers: they do what the plan says to the event at hand, and tell the history.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_core::model::{
    BatchHandler, BatchTxHandler, ErrorKind, Event, Handler, HandlerError, Offset, TxHandler,
};
use evenkeel_core::ports::Runtime;
use serde::{Deserialize, Serialize};

use super::database::{SimTx, is_the_worlds};
use super::runtime::SimRuntime;
use super::sessions::{EFFECTS, effect_key};
use crate::database::SqlError;
use crate::faults::Chance;
use crate::history::{CallNo, EventNo, HandlerNo, Happening, Life, Nature, Place, RunEnd, RunNo, TopicNo};
use crate::seed::Stream;

/// What the world's events carry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Item {
    /// The event's number.
    pub(crate) event: u32,
    /// Makes it larger.
    pub(crate) padding: String,
}

/// One handler in one process.
#[derive(Clone)]
pub(crate) struct Worker {
    pub(crate) runtime: SimRuntime,
    pub(crate) handler: HandlerNo,
    pub(crate) topic: TopicNo,
    /// How long a call takes at most when nothing goes wrong.
    pub(crate) handling: Duration,
    pub(crate) limit: Duration,
    /// See [`Scenario::leak`](super::scenario::Scenario::leak).
    pub(crate) leak: Option<fn() -> Duration>,
    pub(crate) stream: Stream,
}

/// How a call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    Ends(RunEnd),
    Hangs,
}

impl Worker {
    /// Handles one event.
    pub(crate) async fn handle(&self, event: Event<Item>) -> Result<(), HandlerError> {
        let call = self.runtime.shared().lock().next_call();
        let run = self.begin(call, &event);
        let end = self.go(&[number(&event)]).await;
        run.end(end);
        answer(end)
    }

    /// Handles a batch: it fails as a whole if one of its events does.
    pub(crate) async fn handle_all(&self, events: Vec<Event<Item>>) -> Result<(), HandlerError> {
        let call = self.runtime.shared().lock().next_call();
        let runs: Vec<_> = events.iter().map(|event| self.begin(call, event)).collect();
        let numbers: Vec<_> = events.iter().map(number).collect();
        let end = self.go(&numbers).await;
        for run in runs {
            run.end(end);
        }
        answer(end)
    }

    /// Handles events in a transaction: each has an effect, written before the handler ends as planned.
    async fn handle_in(&self, tx: &mut SimTx, events: Vec<Event<Item>>) -> Result<(), HandlerError> {
        let call = self.runtime.shared().lock().next_call();
        let runs: Vec<_> = events.iter().map(|event| self.begin(call, event)).collect();
        let numbers: Vec<_> = events.iter().map(number).collect();
        let mut failed = None;
        for (run, event) in runs.iter().zip(&numbers) {
            let key = effect_key(self.handler, *event, run.run.0);
            if let Err(error) = tx.insert_into(EFFECTS, key.into(), Bytes::new()).await {
                failed = Some(error);
                break;
            }
        }
        let end = match failed {
            Some(error) if is_the_worlds(error) => RunEnd::World,
            Some(_) => RunEnd::Failed,
            None => self.go(&numbers).await,
        };
        for run in runs {
            run.end(end);
        }
        match failed {
            Some(error) => Err(HandlerError::retry(error)),
            None => answer(end),
        }
    }

    fn begin<T>(&self, call: CallNo, event: &Event<T>) -> Run {
        let life = self.runtime.life();
        let mut state = self.runtime.shared().lock();
        let run = state.next_run();
        if state.lives(life) {
            state.claims.insert(event.claim_key(), (self.handler, number(event)));
            state.tell(Happening::RunBegan {
                run,
                call,
                life,
                handler: self.handler,
                place: Place { topic: self.topic, partition: event.partition() },
                offset: Offset(event.offset().0),
                event: number(event),
                attempt: event.attempt().get(),
            });
        }
        drop(state);
        Run { runtime: self.runtime.clone(), life, run, is_open: true }
    }

    /// Takes its time, and ends as the plan says.
    async fn go(&self, events: &[EventNo]) -> RunEnd {
        let (takes, course) = self.decide(events);
        if !takes.is_zero() {
            self.runtime.sleep_until(self.runtime.now() + takes).await;
        }
        match course {
            Course::Ends(end) => end,
            Course::Hangs => std::future::pending().await,
        }
    }

    fn decide(&self, events: &[EventNo]) -> (Duration, Course) {
        let mut state = self.runtime.shared().lock();
        let now = state.now();
        let mut takes = self.leak.map_or(Duration::ZERO, |leak| leak());
        let mut end = RunEnd::Done;
        for event in events {
            let entity = u64::from(self.handler.0) << 32 | u64::from(event.0);
            // Half of all calls answer at once.
            let mut usual = self.stream.nth(entity);
            if usual.once_in(2) {
                let most = self.handling.as_micros() as u64;
                takes = takes.max(Duration::from_micros(usual.log_uniform(1_000, most)));
            }
            let mut strikes = |chance| state.dice.strikes(now, chance, entity);
            if strikes(Chance::HandlerHangs).is_some() {
                return (takes, Course::Hangs);
            }
            if let Some(mut draw) = strikes(Chance::HandlerSlow) {
                let most = self.limit.as_micros() as u64 / 2;
                takes = takes.max(Duration::from_micros(draw.between(1_000, most)));
            }
            if strikes(Chance::HandlerFails).is_some() {
                end = RunEnd::Failed;
            }
            if strikes(Chance::HandlerPanics).is_some() {
                end = RunEnd::Panicked;
            }
            if state.judge.ledger().sent(*event).is_some_and(|sent| sent.nature == Nature::Poison) {
                end = if event.0.is_multiple_of(2) { RunEnd::Permanent } else { RunEnd::Failed };
            }
        }
        (takes, Course::Ends(end))
    }
}

/// A worker whose effects are in the database.
pub(crate) struct WithTx(pub(crate) Worker);

impl<'t> TxHandler<'t, SimTx, Item> for WithTx {
    async fn handle(&self, tx: &'t mut SimTx, event: Event<Item>) -> Result<(), HandlerError> {
        self.0.handle_in(tx, vec![event]).await
    }
}

impl<'t> BatchTxHandler<'t, SimTx, Item> for WithTx {
    async fn handle(&self, tx: &'t mut SimTx, events: Vec<Event<Item>>) -> Result<(), HandlerError> {
        self.0.handle_in(tx, events).await
    }
}

/// The world's events have their number for an id.
fn number<T>(event: &Event<T>) -> EventNo {
    EventNo(event.id().parse().unwrap_or(u32::MAX))
}

fn answer(end: RunEnd) -> Result<(), HandlerError> {
    match end {
        RunEnd::Done => Ok(()),
        RunEnd::Permanent => Err(HandlerError::permanent("poison")),
        RunEnd::Ignored => Err(HandlerError::ignore("not for this handler")),
        RunEnd::Panicked => panic!("planned"),
        RunEnd::Failed | RunEnd::World | RunEnd::Dropped => Err(HandlerError::retry("planned")),
    }
}

/// A user's handler, whose runs are told, and which meets the plan's faults: slow, failing, panicking, hanging.
pub(crate) struct Recorded<H> {
    worker: Worker,
    handler: H,
}

impl<H> Recorded<H> {
    pub(crate) const fn one(worker: Worker, handler: H) -> Self {
        Self { worker, handler }
    }

    /// Runs the user's handler between what the plan does before and after it.
    async fn record(
        &self,
        runs: Vec<Run>,
        events: &[EventNo],
        handled: impl Future<Output = Result<(), HandlerError>>,
    ) -> Result<(), HandlerError> {
        let end = self.worker.go(events).await;
        let result = handled.await;
        // The plan's failure comes after the handler's own work, which must not count then.
        let result = if end == RunEnd::Done { result } else { result.and_then(|()| answer(end)) };
        let end = match &result {
            Ok(()) => RunEnd::Done,
            Err(error) if is_the_worlds_fault(error) => RunEnd::World,
            Err(error) => match error.kind() {
                ErrorKind::Retry => RunEnd::Failed,
                ErrorKind::Permanent => RunEnd::Permanent,
                ErrorKind::Ignore => RunEnd::Ignored,
            },
        };
        for run in runs {
            run.end(end);
        }
        result
    }

    fn begin<T>(&self, events: &[Event<T>]) -> (Vec<Run>, Vec<EventNo>) {
        let call = self.worker.runtime.shared().lock().next_call();
        let runs = events.iter().map(|event| self.worker.begin(call, event)).collect();
        (runs, events.iter().map(number).collect())
    }

    /// Each event leaves a mark in its transaction, by which effects are counted.
    async fn mark(&self, tx: &mut SimTx, runs: &[Run], events: &[EventNo]) -> Result<(), HandlerError> {
        for (run, event) in runs.iter().zip(events) {
            let key = effect_key(self.worker.handler, *event, run.run.0);
            tx.insert_into(EFFECTS, key.into(), Bytes::new()).await?;
        }
        Ok(())
    }
}

fn is_the_worlds_fault(error: &HandlerError) -> bool {
    let mut cause = Some(error.cause());
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<SqlError>() {
            return is_the_worlds(*error);
        }
        cause = error.source();
    }
    false
}

impl<T: Send + 'static, H: Handler<T>> Handler<T> for Recorded<H> {
    async fn handle(&self, event: Event<T>) -> Result<(), HandlerError> {
        let (runs, events) = self.begin(std::slice::from_ref(&event));
        self.record(runs, &events, self.handler.handle(event)).await
    }
}

impl<T: Send + 'static, H: BatchHandler<T>> BatchHandler<T> for Recorded<H> {
    async fn handle(&self, events: Vec<Event<T>>) -> Result<(), HandlerError> {
        let (runs, numbers) = self.begin(&events);
        self.record(runs, &numbers, self.handler.handle(events)).await
    }
}

impl<'t, T, H> TxHandler<'t, SimTx, T> for Recorded<H>
where
    T: Send + 'static,
    H: for<'h> TxHandler<'h, SimTx, T>,
{
    async fn handle(&self, tx: &'t mut SimTx, event: Event<T>) -> Result<(), HandlerError> {
        let (runs, events) = self.begin(std::slice::from_ref(&event));
        let marked = self.mark(tx, &runs, &events).await;
        let handled = async {
            marked?;
            self.handler.handle(tx, event).await
        };
        self.record(runs, &events, handled).await
    }
}

impl<'t, T, H> BatchTxHandler<'t, SimTx, T> for Recorded<H>
where
    T: Send + 'static,
    H: for<'h> BatchTxHandler<'h, SimTx, T>,
{
    async fn handle(&self, tx: &'t mut SimTx, events: Vec<Event<T>>) -> Result<(), HandlerError> {
        let (runs, numbers) = self.begin(&events);
        let marked = self.mark(tx, &runs, &numbers).await;
        let handled = async {
            marked?;
            self.handler.handle(tx, events).await
        };
        self.record(runs, &numbers, handled).await
    }
}

/// A run that has begun. Dropping it without an end says that its future was dropped; of a dead process nothing is told.
struct Run {
    runtime: SimRuntime,
    life: Life,
    run: RunNo,
    is_open: bool,
}

impl Run {
    fn end(mut self, end: RunEnd) {
        self.tell(end);
    }

    fn tell(&mut self, end: RunEnd) {
        self.is_open = false;
        let mut state = self.runtime.shared().lock();
        if state.lives(self.life) {
            state.tell(Happening::RunEnded { run: self.run, end });
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.is_open {
            self.tell(if std::thread::panicking() { RunEnd::Panicked } else { RunEnd::Dropped });
        }
    }
}
