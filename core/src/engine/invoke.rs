//! Calling handlers: decoding, time limits, transactions.
//!
//! A handler is erased to `Invoke`, which takes a record and answers an [`Outcome`]. What the outcome leads to is not
//! decided here.

mod exactly_once;
mod idempotent;

use std::error::Error;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either, select};

pub(crate) use exactly_once::{ExactlyOnce, ExactlyOnceBatch};
pub(crate) use idempotent::{Idempotent, IdempotentBatch};

use crate::error::{ProduceError, ProduceFailure, sources};
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

/// How a call ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conclusion {
    pub(crate) outcome: Outcome,
    /// How long it waited before the handler began.
    pub(crate) waited: Duration,
}

impl From<Outcome> for Conclusion {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, waited: Duration::ZERO }
    }
}

/// A handler without its types.
pub(crate) trait Invoke: Send + Sync {
    /// Calls it. Dropping the future cancels the call and rolls back what it began.
    fn invoke(&self, invocation: Invocation) -> BoxFuture<'static, Conclusion>;
}

/// Whether the handler could not produce because of the cluster: that is no attempt at its event.
fn is_outage(error: &(dyn Error + 'static)) -> bool {
    for error in sources(error) {
        // A call's error speaks for all its events; its source is the first of them.
        if let Some(call) = error.downcast_ref::<ProduceError>() {
            return call.is_outage();
        }
        if let Some(event) = error.downcast_ref::<ProduceFailure>() {
            return event.is_outage();
        }
    }
    false
}

/// What became of a handler's future.
#[derive(Debug)]
enum Handled {
    Answered(Result<(), HandlerError>),
    Panicked,
    /// It took longer than the limit, and was dropped.
    TooSlow,
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

    /// Runs a handler's future within the limit of an attempt.
    async fn within(&self, handler: impl Future<Output = Result<(), HandlerError>>) -> Handled {
        let mut handler = pin!(AssertUnwindSafe(handler).catch_unwind());
        // Many handlers are done at the first poll, and cost no timer then.
        let ended = if let Poll::Ready(ended) = futures_util::poll!(&mut handler) {
            ended
        } else {
            let limit = pin!(self.runtime.sleep_until(self.runtime.now() + self.limit));
            match select(handler, limit).await {
                Either::Left((ended, _)) => ended,
                Either::Right(((), _)) => return Handled::TooSlow,
            }
        };
        ended.map_or(Handled::Panicked, Handled::Answered)
    }

    /// What a handler's result amounts to, told to the log where it is a failure.
    fn judge(&self, handled: &Handled) -> Outcome {
        let Route { group, handler, topic, .. } = &*self.route;
        let error = match handled {
            Handled::Answered(Ok(())) => return Outcome::Done,
            Handled::Answered(Err(error)) => error,
            Handled::Panicked => {
                tracing::warn!(%group, %handler, %topic, "the handler panicked");
                return Outcome::Panicked;
            }
            Handled::TooSlow => {
                tracing::warn!(
                    %group, %handler, %topic, limit = ?self.limit, "the handler took too long and was cancelled"
                );
                return Outcome::TimedOut;
            }
        };
        let outcome = match error.kind() {
            ErrorKind::Retry if is_outage(error.cause()) => Outcome::World,
            ErrorKind::Retry => Outcome::Failed,
            ErrorKind::Permanent => Outcome::Permanent,
            ErrorKind::Ignore => Outcome::Ignored,
        };
        tracing::warn!(%group, %handler, %topic, error = error.cause(), ?outcome, "the handler failed");
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TopicName;

    #[derive(Debug, thiserror::Error)]
    #[error("the order could not be passed on")]
    struct Wrapped(#[source] ProduceError);

    #[test]
    fn a_cluster_out_of_reach_is_found_in_what_a_handler_returns() {
        let topic = TopicName::new("orders").expect("a legal name");
        let late = || ProduceFailure::TimedOut { topic: topic.clone(), after: Duration::ZERO, cause: None };
        let failed =
            |failures: Vec<ProduceFailure>| ProduceError::Failed(failures.into_iter().map(Err).collect());
        let of = |error: ProduceError| is_outage(HandlerError::retry(Wrapped(error)).cause());
        assert!(of(failed(vec![late(), late()])));
        assert!(of(ProduceError::Closed));
        assert!(!of(failed(vec![late(), ProduceFailure::UnknownTopic(topic.clone())])));
        assert!(is_outage(HandlerError::retry(late()).cause()));
        assert!(!is_outage(HandlerError::retry("anything else").cause()));
    }
}
