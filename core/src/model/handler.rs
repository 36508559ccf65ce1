//! What can be a handler: the functions that users write.
//!
//! Four shapes: one event or a batch, with an open transaction or without. Each is implemented for async functions and
//! closures of the matching signature, so nobody implements these traits by hand.

use std::future::Future;

use super::{Event, HandlerError};

/// Handles single events at least once: `async fn(Event<T>) -> Result<(), E>`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot handle events of `{T}`",
    label = "not a handler",
    note = "an idempotent handler is `async fn(Event<{T}>) -> Result<(), E>` where `E` converts into `HandlerError`, as every standard error does"
)]
pub trait Handler<T>: Send + Sync + 'static {
    /// Handles one event.
    fn handle(&self, event: Event<T>) -> impl Future<Output = Result<(), HandlerError>> + Send;
}

impl<T, E, F, Fut> Handler<T> for F
where
    F: Fn(Event<T>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send,
    E: Into<HandlerError>,
{
    fn handle(&self, event: Event<T>) -> impl Future<Output = Result<(), HandlerError>> + Send {
        let handled = self(event);
        async { handled.await.map_err(Into::into) }
    }
}

/// Handles batches of events at least once: `async fn(Vec<Event<T>>) -> Result<(), E>`.
///
/// An error is the whole batch's: its events are then handled one by one, so that each gets an outcome of its own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot handle batches of events of `{T}`",
    label = "not a batch handler",
    note = "an idempotent batch handler is `async fn(Vec<Event<{T}>>) -> Result<(), E>` where `E` converts into `HandlerError`"
)]
pub trait BatchHandler<T>: Send + Sync + 'static {
    /// Handles a batch.
    fn handle(&self, events: Vec<Event<T>>) -> impl Future<Output = Result<(), HandlerError>> + Send;
}

impl<T, E, F, Fut> BatchHandler<T> for F
where
    F: Fn(Vec<Event<T>>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send,
    E: Into<HandlerError>,
{
    fn handle(&self, events: Vec<Event<T>>) -> impl Future<Output = Result<(), HandlerError>> + Send {
        let handled = self(events);
        async { handled.await.map_err(Into::into) }
    }
}

/// Handles single events exactly once: `async fn(&mut Tx, Event<T>) -> Result<(), E>`.
///
/// The handler writes through the transaction and cannot keep it; the library commits.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot handle events of `{T}` in a transaction of `{Tx}`",
    label = "not a handler with a transaction",
    note = "an exactly-once handler is `async fn(&mut {Tx}, Event<{T}>) -> Result<(), E>` where `E` converts into `HandlerError`"
)]
pub trait TxHandler<'t, Tx: 't, T>: Send + Sync + 'static {
    /// Handles one event.
    fn handle(
        &self,
        tx: &'t mut Tx,
        event: Event<T>,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send;
}

impl<'t, Tx, T, E, F, Fut> TxHandler<'t, Tx, T> for F
where
    Tx: 't,
    F: Fn(&'t mut Tx, Event<T>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send,
    E: Into<HandlerError>,
{
    fn handle(
        &self,
        tx: &'t mut Tx,
        event: Event<T>,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send {
        let handled = self(tx, event);
        async { handled.await.map_err(Into::into) }
    }
}

/// Handles batches of events exactly once: `async fn(&mut Tx, Vec<Event<T>>) -> Result<(), E>`.
///
/// All events of a batch share the transaction. An error rolls it back; the events are then handled one by one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot handle batches of events of `{T}` in a transaction of `{Tx}`",
    label = "not a batch handler with a transaction",
    note = "an exactly-once batch handler is `async fn(&mut {Tx}, Vec<Event<{T}>>) -> Result<(), E>` where `E` converts into `HandlerError`"
)]
pub trait BatchTxHandler<'t, Tx: 't, T>: Send + Sync + 'static {
    /// Handles a batch.
    fn handle(
        &self,
        tx: &'t mut Tx,
        events: Vec<Event<T>>,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send;
}

impl<'t, Tx, T, E, F, Fut> BatchTxHandler<'t, Tx, T> for F
where
    Tx: 't,
    F: Fn(&'t mut Tx, Vec<Event<T>>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send,
    E: Into<HandlerError>,
{
    fn handle(
        &self,
        tx: &'t mut Tx,
        events: Vec<Event<T>>,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send {
        let handled = self(tx, events);
        async { handled.await.map_err(Into::into) }
    }
}
