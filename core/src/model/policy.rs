//! What a handler may answer, and what becomes of an event that it cannot handle.

use std::error::Error;
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use super::payload::BoxError;
use crate::machine::backoff::Backoff;

/// What becomes of an event whose retries are used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnFailure {
    /// It counts as done, and is reported. It is gone for this handler.
    Discard,
    /// It is never given up: the handler is called again and again, with waits between. Events of other keys go on;
    /// the group's committed position does not pass it.
    Block,
}

impl OnFailure {
    /// The retries that go with this policy unless others are set: see [`RetryPolicy`].
    #[must_use]
    pub const fn default_retries(self) -> RetryPolicy {
        let total = match self {
            Self::Discard => Some(RetryPolicy::DISCARD_TOTAL),
            Self::Block => None,
        };
        RetryPolicy {
            backoff: Backoff::HANDLER,
            total,
            attempt_limit: RetryPolicy::ATTEMPT_LIMIT,
            max_attempts: None,
        }
    }
}

/// How often and how long a handler is tried with one event. Only what the handler itself answers, its time limit and
/// its panics count as attempts. An exactly-once handler's database that cannot be reached uses no retries up, nor do
/// brokers that take no event from a handler; an `idempotent` handler answers for its own use of a database.
///
/// ```
/// use std::time::Duration;
/// use evenkeel_core::model::{OnFailure, RetryPolicy};
///
/// let retries = OnFailure::Discard.default_retries();
/// assert_eq!(retries.total, Some(Duration::from_secs(300)));
/// assert_eq!(retries.attempt_limit, Duration::from_secs(60));
///
/// let once = RetryPolicy { max_attempts: std::num::NonZeroU32::new(1), ..retries };
/// assert_eq!(OnFailure::Block.default_retries().total, None);
/// # assert_ne!(once, retries);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The waits between attempts. Default: 1 s doubling to 30 s, each moved by up to 5 %.
    pub backoff: Backoff,
    /// No attempt begins later than this after the first one began. `None` is no limit. Default: 5 min for
    /// [`OnFailure::Discard`], none for [`OnFailure::Block`], which ignores it.
    pub total: Option<Duration>,
    /// A call that takes longer is cancelled (its future is dropped) and counts as a failed attempt. Default: 60 s.
    pub attempt_limit: Duration,
    /// The most calls. `None`, the default, is no limit. [`OnFailure::Block`] ignores it.
    pub max_attempts: Option<NonZeroU32>,
}

impl RetryPolicy {
    /// How long an event is retried before it is discarded: 5 min.
    pub const DISCARD_TOTAL: Duration = Duration::from_secs(300);
    /// How long one call may take: 60 s.
    pub const ATTEMPT_LIMIT: Duration = Duration::from_secs(60);
}

/// Which events a handler may be given before earlier ones are done. Always within one partition: partitions are
/// independent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Ordering {
    /// Events of one key come one at a time and in order; different keys, and events without a key, in parallel.
    #[default]
    Key,
    /// Events of one partition come one at a time and in order.
    Partition,
    /// Events come as they can.
    Unordered,
}

/// What should follow from a handler's error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Try again by the [`RetryPolicy`].
    Retry,
    /// Do not try again: the failure policy applies at once. [`OnFailure::Block`] still never gives the event up.
    Permanent,
    /// Nothing: the event counts as handled. The error is reported and counted, no more.
    Ignore,
}

/// An error that a handler returns: any error, and what should follow from it.
///
/// `?` turns every standard error into one that is retried. For that to work it is no [`Error`] itself.
///
/// ```
/// use evenkeel_core::model::{ErrorKind, HandlerError};
///
/// fn charge(amount: &str) -> Result<u64, HandlerError> {
///     if amount == "0" {
///         return Err(HandlerError::ignore("nothing to charge"));
///     }
///     Ok(amount.parse()?)
/// }
///
/// assert_eq!(charge("0").unwrap_err().kind(), ErrorKind::Ignore);
/// assert_eq!(charge("many").unwrap_err().kind(), ErrorKind::Retry);
/// ```
pub struct HandlerError {
    kind: ErrorKind,
    cause: BoxError,
}

impl HandlerError {
    /// Another attempt may help. Takes errors, texts, and boxed errors of other libraries.
    pub fn retry(cause: impl Into<BoxError>) -> Self {
        Self { kind: ErrorKind::Retry, cause: cause.into() }
    }

    /// Another attempt cannot help: give the event up at once, as the failure policy says.
    pub fn permanent(cause: impl Into<BoxError>) -> Self {
        Self { kind: ErrorKind::Permanent, cause: cause.into() }
    }

    /// Worth a report, but the event is handled. What an exactly-once handler wrote in this call is rolled back; a batch
    /// is taken apart, and its events are handled one by one.
    pub fn ignore(cause: impl Into<BoxError>) -> Self {
        Self { kind: ErrorKind::Ignore, cause: cause.into() }
    }

    /// What should follow.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The error itself, for looking through its chain of sources.
    #[must_use]
    pub fn cause(&self) -> &(dyn Error + 'static) {
        &*self.cause
    }

    /// The error itself, to keep.
    #[must_use]
    pub fn into_cause(self) -> BoxError {
        self.cause
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for HandlerError {
    fn from(cause: E) -> Self {
        Self::retry(cause)
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerError").field("kind", &self.kind).field("cause", &self.cause).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_mark_keeps_the_kind_of_a_handlers_error() {
        fn inner() -> Result<(), HandlerError> {
            Err(HandlerError::permanent("the card is stolen"))
        }
        fn outer() -> Result<(), HandlerError> {
            inner()?;
            Ok(())
        }
        let error = outer().unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Permanent, "the card is stolen"));
    }

    #[test]
    fn the_cause_can_be_found_again() {
        let error = HandlerError::from(std::io::Error::other("disk"));
        assert!(error.cause().downcast_ref::<std::io::Error>().is_some());
        assert_eq!(error.kind(), ErrorKind::Retry);
        assert!(error.into_cause().downcast::<std::io::Error>().is_ok());
    }
}
