//! The connections of a bus's database, shared by all its exactly-once handlers.
//!
//! A call that would find no free connection waits here for its turn, first come, first served, for as long as it takes
//! and in whatever group it runs; in the database's own queue it would time out after a while and be called again. The
//! wait counts like that for a connection: it is not held against the handler.

use async_channel::{Receiver, Sender};
use futures_util::future::BoxFuture;

use crate::engine::invoke::{Conclusion, Invocation, Invoke};
use crate::ports::Runtime;

/// As many turns as there are connections. A clone shares them.
#[derive(Debug, Clone)]
pub(super) struct Turns<R> {
    runtime: R,
    free: Receiver<()>,
    back: Sender<()>,
}

/// A turn that is taken; it is given back when this is dropped.
struct Turn(Sender<()>);

impl Drop for Turn {
    fn drop(&mut self) {
        if self.0.try_send(()).is_err() {
            tracing::error!("a turn was given back twice; this is a bug in evenkeel");
        }
    }
}

impl<R> Turns<R> {
    /// At least one, whatever the database says, and no more than a process can have.
    pub(super) fn new(runtime: R, connections: u32) -> Self {
        let connections = usize::from(u16::try_from(connections.max(1)).unwrap_or(u16::MAX));
        let (back, free) = async_channel::bounded(connections);
        let turns = Self { runtime, free, back };
        (0..connections).for_each(|_| drop(Turn(turns.back.clone())));
        turns
    }

    async fn take(&self) -> Turn {
        match self.free.recv().await {
            Ok(()) => Turn(self.back.clone()),
            // It is never closed: a sender is kept here.
            Err(_) => std::future::pending().await,
        }
    }
}

/// A handler whose calls take a turn each.
pub(super) struct InTurn<R, I> {
    pub(super) turns: Turns<R>,
    pub(super) work: I,
}

impl<R: Runtime, I: Invoke> Invoke for InTurn<R, I> {
    fn invoke(&self, invocation: Invocation) -> BoxFuture<'static, Conclusion> {
        let (turns, call) = (self.turns.clone(), self.work.invoke(invocation));
        Box::pin(async move {
            let begun = turns.runtime.now();
            let _turn = turns.take().await;
            let waited = turns.runtime.now().since(begun);
            let mut conclusion = call.await;
            conclusion.waited += waited;
            conclusion
        })
    }
}
