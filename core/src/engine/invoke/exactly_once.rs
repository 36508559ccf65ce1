//! Exactly once: the handler's writes and the claim to its event commit together, or not at all.
//!
//! Begin, claim, handler, commit. An event that was claimed before is done. Whatever leaves the outcome open (a lost
//! answer to COMMIT above all) is [`Outcome::World`]: the event is handled again, and the claim decides.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{Conclusion, Desk, Handled, Invocation, Invoke};
use crate::machine::delivery::Outcome;
use crate::model::{BatchTxHandler, Codec, Event, TxHandler};
use crate::ports::{Blame, Claim, Database, DatabaseError, Runtime};

/// How long a call waits for a connection before it goes back to the queue.
const WAIT_FOR_CONNECTION: Duration = Duration::from_secs(10);

/// A handler of single events.
pub(crate) struct ExactlyOnce<R, D, T, C, H> {
    pub(crate) database: Arc<D>,
    pub(crate) inner: Arc<(Desk<R, T, C>, H)>,
}

impl<R, D, T, C, H> Invoke for ExactlyOnce<R, D, T, C, H>
where
    R: Runtime,
    D: Database,
    T: Send + 'static,
    C: Codec<T>,
    H: for<'t> TxHandler<'t, D::Tx, T>,
{
    fn invoke(&self, invocation: Invocation) -> BoxFuture<'static, Conclusion> {
        let (database, inner) = (Arc::clone(&self.database), Arc::clone(&self.inner));
        Box::pin(async move {
            let (desk, handler) = &*inner;
            let event = match desk.decode(invocation.first) {
                Ok(event) => event,
                Err(outcome) => return outcome.into(),
            };
            let Opened { mut tx, fresh, waited } = match open(desk, &*database, &[claim_of(&event)]).await {
                Ok(opened) => opened,
                Err(outcome) => return outcome.into(),
            };
            if fresh != [true] {
                return already_done(&*database, tx).await.into();
            }
            let handled = desk.within(async { handler.handle(&mut tx, event).await }).await;
            Conclusion { outcome: close(&*database, desk, tx, handled).await, waited }
        })
    }
}

/// A handler of batches: the newly claimed events of a batch share one transaction.
pub(crate) struct ExactlyOnceBatch<R, D, T, C, H> {
    pub(crate) database: Arc<D>,
    pub(crate) inner: Arc<(Desk<R, T, C>, H)>,
}

impl<R, D, T, C, H> Invoke for ExactlyOnceBatch<R, D, T, C, H>
where
    R: Runtime,
    D: Database,
    T: Send + 'static,
    C: Codec<T>,
    H: for<'t> BatchTxHandler<'t, D::Tx, T>,
{
    fn invoke(&self, invocation: Invocation) -> BoxFuture<'static, Conclusion> {
        let (database, inner) = (Arc::clone(&self.database), Arc::clone(&self.inner));
        Box::pin(async move {
            let (desk, handler) = &*inner;
            // In the order of their keys, so that overlapping batches of two members cannot deadlock; twins fall
            // together, and the first one's outcome is theirs too.
            let mut claims = BTreeMap::new();
            let mut events = Vec::with_capacity(invocation.more.len() + 1);
            for ready in std::iter::once(invocation.first).chain(invocation.more) {
                let event = match desk.decode(ready) {
                    Ok(event) => event,
                    Err(Outcome::Ignored) => continue,
                    Err(outcome) => return outcome.into(),
                };
                let claim = claim_of(&event);
                if let std::collections::btree_map::Entry::Vacant(first) = claims.entry(claim.key) {
                    first.insert(claim);
                    events.push((claim.key, event));
                }
            }
            if events.is_empty() {
                return Outcome::Ignored.into();
            }
            let sorted: Vec<Claim> = claims.into_values().collect();
            let Opened { mut tx, fresh, waited } = match open(desk, &*database, &sorted).await {
                Ok(opened) => opened,
                Err(outcome) => return outcome.into(),
            };
            let is_fresh =
                |key| sorted.binary_search_by_key(&key, |claim| claim.key).is_ok_and(|nth| fresh[nth]);
            let events: Vec<Event<T>> =
                events.into_iter().filter(|(key, _)| is_fresh(*key)).map(|(_, event)| event).collect();
            if events.is_empty() {
                return already_done(&*database, tx).await.into();
            }
            let handled = desk.within(async { handler.handle(&mut tx, events).await }).await;
            Conclusion { outcome: close(&*database, desk, tx, handled).await, waited }
        })
    }
}

fn claim_of<T>(event: &Event<T>) -> Claim {
    Claim { key: event.claim_key(), partition: event.partition(), offset: event.offset() }
}

/// A transaction that has claimed.
struct Opened<Tx> {
    tx: Tx,
    /// Which of the claims are new, in their order.
    fresh: Vec<bool>,
    /// How long it took to get a connection and the claims.
    waited: Duration,
}

/// Begins a transaction and claims. Nothing that fails here is the handler's.
async fn open<R: Runtime, D: Database, T, C: Codec<T>>(
    desk: &Desk<R, T, C>,
    database: &D,
    claims: &[Claim],
) -> Result<Opened<D::Tx>, Outcome> {
    let begun = desk.runtime.now();
    let attempt = async {
        let mut tx = database.begin(WAIT_FOR_CONNECTION, desk.limit).await?;
        let fresh = database.claim(&mut tx, claims).await?;
        Ok::<_, DatabaseError>((tx, fresh))
    };
    match attempt.await {
        Ok((tx, fresh)) if fresh.len() == claims.len() => {
            Ok(Opened { tx, fresh, waited: desk.runtime.now().since(begun) })
        }
        Ok((_, fresh)) => {
            tracing::error!(
                asked = claims.len(),
                answered = fresh.len(),
                "a claim was not answered as asked"
            );
            Err(Outcome::World)
        }
        Err(error) => {
            tracing::warn!(%error, "could not claim: will be tried again");
            Err(Outcome::World)
        }
    }
}

/// All claims were taken by transactions that have committed.
async fn already_done<D: Database>(database: &D, tx: D::Tx) -> Outcome {
    if let Err(error) = database.rollback(tx).await {
        tracing::debug!(%error, "an empty transaction ended with its connection");
    }
    Outcome::AlreadyDone
}

/// Ends a transaction as the handler's result demands.
async fn close<R: Runtime, D: Database, T, C: Codec<T>>(
    database: &D,
    desk: &Desk<R, T, C>,
    tx: D::Tx,
    handled: Handled,
) -> Outcome {
    let blame = match &handled {
        Handled::Answered(Err(error)) => database.blame(error.cause()),
        Handled::Answered(Ok(())) | Handled::Panicked | Handled::TooSlow => Blame::Handler,
    };
    match desk.judge(&handled) {
        Outcome::Done => commit(database, tx).await,
        // Dropped, which closes the connection: the handler's last statement may still run on it.
        Outcome::Panicked => Outcome::Panicked,
        Outcome::TimedOut => {
            drop(tx);
            after_time_limit(database, desk).await
        }
        failed => match (database.rollback(tx).await, blame) {
            (Ok(()), Blame::Handler) => failed,
            (Ok(()), Blame::World) => Outcome::World,
            (Err(error), _) => {
                tracing::warn!(%error, "the handler's connection was lost: its failure does not count");
                Outcome::World
            }
        },
    }
}

/// Whom a handler's time limit speaks against. A handler that waits for a database gone silent looks like one that is
/// slow; what tells them apart is whether the database answers somebody else.
async fn after_time_limit<R: Runtime, D: Database, T, C: Codec<T>>(
    database: &D,
    desk: &Desk<R, T, C>,
) -> Outcome {
    let answered = async { database.rollback(database.begin(WAIT_FOR_CONNECTION, desk.limit).await?).await };
    match answered.await {
        Ok(()) => Outcome::TimedOut,
        Err(error) => {
            tracing::warn!(%error, "the database does not answer: the handler's time limit does not count");
            Outcome::World
        }
    }
}

async fn commit<D: Database>(database: &D, tx: D::Tx) -> Outcome {
    match database.commit(tx).await {
        Ok(()) => Outcome::Done,
        Err(error @ DatabaseError::Refused { .. }) => {
            tracing::warn!(%error, "COMMIT was refused for what the handler wrote");
            Outcome::Failed
        }
        Err(error @ DatabaseError::Ended { .. }) => {
            tracing::error!(%error, "the event is not tried again");
            Outcome::Permanent
        }
        Err(error @ (DatabaseError::Unavailable { .. } | DatabaseError::Unknown { .. })) => {
            tracing::warn!(%error, "COMMIT did not succeed for certain: the claim decides");
            Outcome::World
        }
    }
}
