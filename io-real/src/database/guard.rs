//! A connection on which a transaction is open, and which claims the statement of a transaction has made.

use std::ops::{Deref, DerefMut};

use evenkeel_core::ports::Claim;
use sqlx::Connection;
use sqlx::pool::PoolConnection;

/// Goes back to the pool only by [`hand_back`](Self::hand_back). Dropped before that, it closes the connection, so that
/// whatever was open on it ends.
pub(crate) struct Guard<DB: sqlx::Database> {
    /// `None` only after `hand_back` took it.
    connection: Option<PoolConnection<DB>>,
}

impl<DB: sqlx::Database> Guard<DB> {
    /// Takes charge of a connection on which a transaction is about to begin.
    pub(crate) fn new(connection: PoolConnection<DB>) -> Self {
        Self { connection: Some(connection) }
    }

    /// Lets the pool have the connection again, unless a savepoint was left open on it.
    pub(crate) fn hand_back(mut self) {
        if !self.is_in_transaction() {
            drop(self.connection.take());
        }
    }
}

impl<DB: sqlx::Database> Drop for Guard<DB> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(connection.detach());
        }
    }
}

impl<DB: sqlx::Database> Deref for Guard<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        self.connection.as_deref().expect("only `hand_back` takes it, and it consumes the guard")
    }
}

impl<DB: sqlx::Database> DerefMut for Guard<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        self.connection.as_deref_mut().expect("only `hand_back` takes it, and it consumes the guard")
    }
}

/// For each claim whether it was made now, by the keys that the statement answered, in whatever order they came.
pub(crate) fn made_now(claims: &[Claim], mut fresh: Vec<Vec<u8>>) -> Vec<bool> {
    fresh.sort_unstable();
    let is_fresh = |claim: &Claim| fresh.binary_search_by(|key| key[..].cmp(&claim.key.0[..])).is_ok();
    claims.iter().map(is_fresh).collect()
}
