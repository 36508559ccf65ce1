//! The time limits of a session or a transaction, all derived from one number: how long an attempt of a handler may take.
//!
//! A claim waits for another transaction's claim of the same event, so whoever holds one must be made to let go. The
//! engine's own limit on an attempt comes first and closes the connection of a handler that it cancels. The limits
//! here stand behind it, for the cases that it cannot see: a process that is paused, a machine that is gone.

use std::future::Future;
use std::time::Duration;

use tokio::time::timeout;

/// How long things may take in a database session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    attempt: Duration,
}

impl Limits {
    /// Servers count milliseconds in 32 bits.
    const LONGEST: Duration = Duration::from_secs(14 * 24 * 60 * 60);

    /// Derives all limits from that of a handler's attempt.
    pub(crate) fn of_attempt(attempt: Duration) -> Self {
        Self { attempt: attempt.clamp(Duration::from_millis(100), Self::LONGEST) }
    }

    /// Waiting for a lock: half an attempt. It must run out before the attempt does, because a lock that is not
    /// granted is not the handler's fault, and an attempt that is too slow is.
    pub(crate) fn lock(self) -> Duration {
        self.attempt / 2
    }

    /// One statement, and the pause between two statements of a transaction: an attempt and a quarter, so that the
    /// engine's limit comes first.
    pub(crate) fn session(self) -> Duration {
        self.attempt * 5 / 4
    }

    /// How often the server looks whether the client of a running statement is still there.
    pub(crate) fn client_check(self) -> Duration {
        (self.attempt / 4).min(Duration::from_secs(1))
    }

    /// Waiting for the answer to a statement of our own, when the server or the way to it is silent: longer than all
    /// limits that the server itself keeps.
    pub(crate) fn answer(self) -> Duration {
        self.attempt * 3 / 2
    }

    /// Waits for such an answer; one that is overdue leaves the connection in no usable state.
    pub(crate) async fn answered<T>(
        self,
        answer: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        let overdue = |_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
        timeout(self.answer(), answer).await.map_err(overdue)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_give_up_first_then_the_attempt_then_the_session_then_the_answer() {
        for attempt in [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(60), Duration::MAX] {
            let limits = Limits::of_attempt(attempt);
            assert!(limits.client_check() < limits.lock());
            assert!(limits.lock() < limits.attempt);
            assert!(limits.attempt < limits.session());
            assert!(limits.session() < limits.answer());
            assert!(i32::try_from(limits.session().as_millis()).is_ok());
        }
    }
}
