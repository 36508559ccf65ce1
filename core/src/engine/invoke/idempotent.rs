//! At least once: the handler runs, then its event may be committed.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::{Conclusion, Desk, Invocation, Invoke};
use crate::machine::delivery::Outcome;
use crate::model::{BatchHandler, Codec, Handler};
use crate::ports::Runtime;

/// A handler of single events.
pub(crate) struct Idempotent<R, T, C, H>(pub(crate) Arc<(Desk<R, T, C>, H)>);

impl<R: Runtime, T: Send + 'static, C: Codec<T>, H: Handler<T>> Invoke for Idempotent<R, T, C, H> {
    fn invoke(&self, invocation: Invocation) -> BoxFuture<'static, Conclusion> {
        let this = Arc::clone(&self.0);
        Box::pin(async move {
            let (desk, handler) = &*this;
            match desk.decode(invocation.first) {
                Ok(event) => desk.judge(&desk.within(async { handler.handle(event).await }).await).into(),
                Err(outcome) => outcome.into(),
            }
        })
    }
}

/// A handler of batches.
pub(crate) struct IdempotentBatch<R, T, C, H>(pub(crate) Arc<(Desk<R, T, C>, H)>);

impl<R: Runtime, T: Send + 'static, C: Codec<T>, H: BatchHandler<T>> Invoke for IdempotentBatch<R, T, C, H> {
    fn invoke(&self, invocation: Invocation) -> BoxFuture<'static, Conclusion> {
        let this = Arc::clone(&self.0);
        Box::pin(async move {
            let (desk, handler) = &*this;
            let mut events = Vec::with_capacity(invocation.more.len() + 1);
            for ready in std::iter::once(invocation.first).chain(invocation.more) {
                match desk.decode(ready) {
                    Ok(event) => events.push(event),
                    Err(Outcome::Ignored) => {}
                    Err(outcome) => return outcome.into(),
                }
            }
            if events.is_empty() {
                return Outcome::Ignored.into();
            }
            desk.judge(&desk.within(async { handler.handle(events).await }).await).into()
        })
    }
}
