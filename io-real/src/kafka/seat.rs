//! A place for one connection: kept while it works, replaced at the next request after it broke.
//!
//! Whoever finds the place empty connects; those who come meanwhile wait for that attempt and share its outcome, so
//! that a dead broker costs each of them one time limit and not a queue of them. After a failure the next attempt
//! waits a little, longer each time, so that no caller's loop hammers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use evenkeel_core::ports::PortError;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use super::connection::Connection;

const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Seat {
    state: Mutex<State>,
    /// Counts attempts that failed: who waited while it changed has its answer.
    failures: AtomicU64,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Empty,
    Taken(Arc<Connection>),
    Failed {
        error: PortError,
        not_before: Instant,
        wait: Duration,
    },
}

impl Seat {
    /// The connection, made anew by `connect` if there is none that works.
    pub(super) async fn connection(
        &self,
        connect: impl Future<Output = Result<Connection, PortError>>,
    ) -> Result<Arc<Connection>, PortError> {
        let seen = self.failures.load(Ordering::Acquire);
        let mut state = self.state.lock().await;
        let mut wait = FIRST_WAIT;
        match &*state {
            State::Taken(connection) if connection.is_usable() => return Ok(Arc::clone(connection)),
            State::Failed { error, .. } if self.failures.load(Ordering::Acquire) != seen => {
                return Err(error.clone());
            }
            State::Failed { not_before, wait: last, .. } => {
                wait = (*last * 2).min(LONGEST_WAIT);
                sleep_until(*not_before).await;
            }
            State::Empty | State::Taken(_) => {}
        }
        match connect.await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                *state = State::Taken(Arc::clone(&connection));
                Ok(connection)
            }
            Err(error) => {
                self.failures.fetch_add(1, Ordering::Release);
                *state = State::Failed { error: error.clone(), not_before: Instant::now() + wait, wait };
                Err(error)
            }
        }
    }

    /// Empties the place if the connection leads to `server`. Requests that are out on it are answered all the same.
    pub(super) async fn leave(&self, server: &str) {
        let mut state = self.state.lock().await;
        if matches!(&*state, State::Taken(connection) if &*connection.server() == server) {
            *state = State::Empty;
        }
    }
}
