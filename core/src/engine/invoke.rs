//! Calling handlers: decoding, time limits, transactions.
//!
//! A handler is erased to `Invoke`, which takes a record and answers an [`Outcome`]. What the outcome leads to is not
//! decided here.

mod exactly_once;
mod idempotent;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::{BoxFuture, Either, select};

pub(crate) use exactly_once::{ExactlyOnce, ExactlyOnceBatch};
pub(crate) use idempotent::{Idempotent, IdempotentBatch};

use crate::machine::consumer::Ready;
use crate::machine::delivery::Outcome;
use crate::model::cloudevents::{self, Decoded};
use crate::model::{Arrival, Codec, ErrorKind, Event, HandlerError, Headers, Route, Topic};
use crate::ports::Runtime;
use crate::records::RecordRef;

/// What one call of a handler is about.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// The event.
    pub(crate) first: Ready<RecordRef>,
    /// The rest of its batch; empty unless the handler takes batches.
    pub(crate) more: Vec<Ready<RecordRef>>,
}

/// A handler without its types.
pub(crate) trait Invoke: Send + Sync {
    /// Calls it. Dropping the future cancels the call and rolls back what it began.
    fn invoke(&self, invocation: Invocation) -> BoxFuture<'static, Outcome>;
}

/// What every handler of one registration needs to turn records into events.
#[derive(Debug)]
pub(crate) struct Desk<R, T, C> {
    pub(crate) runtime: R,
    pub(crate) topic: Topic<T, C>,
    pub(crate) route: Arc<Route>,
    /// The limit of one attempt.
    pub(crate) limit: Duration,
}

impl<R: Runtime, T, C: Codec<T>> Desk<R, T, C> {
    /// The event of a record; otherwise what to conclude without calling the handler.
    fn decode(&self, ready: Ready<RecordRef>) -> Result<Event<T>, Outcome> {
        let record = ready.record;
        let arrival = Arrival {
            partition: ready.partition,
            offset: record.offset(),
            timestamp: record.timestamp(),
            key: record.key_bytes(),
            value: record.value_bytes(),
            headers: Headers::from_wire(record.header_bytes()),
        };
        match cloudevents::decode(&self.topic, &self.route, arrival, ready.attempt) {
            Ok(Decoded::Event(event)) => Ok(event),
            Ok(Decoded::UntakenTombstone) => Err(Outcome::Ignored),
            Err(error) => {
                let Route { group, handler, .. } = &*self.route;
                tracing::warn!(%group, %handler, %error, "cannot be decoded");
                Err(Outcome::Undecodable)
            }
        }
    }

    /// Runs a handler's future within the limit of an attempt; `None` when it took longer.
    async fn within<F: Future>(&self, handler: F) -> Option<F::Output> {
        let mut handler = pin!(handler);
        // Many handlers are done at the first poll, and cost no timer then.
        if let Poll::Ready(output) = futures_util::poll!(&mut handler) {
            return Some(output);
        }
        let limit = pin!(self.runtime.sleep_until(self.runtime.now() + self.limit));
        match select(handler, limit).await {
            Either::Left((output, _)) => Some(output),
            Either::Right(((), _)) => None,
        }
    }

    /// What a handler's result amounts to, told to the log where it is a failure.
    fn judge(&self, result: &Option<Result<(), HandlerError>>) -> Outcome {
        let Route { group, handler, topic, .. } = &*self.route;
        let Some(result) = result else {
            tracing::warn!(%group, %handler, %topic, limit = ?self.limit, "the handler took too long and was cancelled");
            return Outcome::TimedOut;
        };
        let Err(error) = result else { return Outcome::Done };
        let outcome = match error.kind() {
            ErrorKind::Retry => Outcome::Failed,
            ErrorKind::Permanent => Outcome::Permanent,
            ErrorKind::Ignore => Outcome::Ignored,
        };
        tracing::warn!(%group, %handler, %topic, error = error.cause(), ?outcome, "the handler failed");
        outcome
    }
}
