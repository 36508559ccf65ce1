//! Finds the database's error inside an error that a handler returned.
//!
//! Handlers wrap errors in types of their own, so the whole chain of sources is searched. One kind of wrapping hides
//! the evidence: `#[error(transparent)]` skips the wrapped error itself, and with it the difference between a lost
//! connection and any other `io::Error`. A lost connection shows again when the transaction is rolled back, and the
//! engine looks there too.

use std::error::Error;
use std::sync::Arc;

use evenkeel_core::error::sources;
use evenkeel_core::ports::DatabaseError;

/// What an error chain says of the database.
#[derive(Debug)]
pub(crate) enum Fault<'e> {
    /// The database answered with an error.
    Answered(&'e dyn sqlx::error::DatabaseError),
    /// No answer: the connection was lost, or none was to be had.
    Lost,
    /// One of this library's own calls failed, and it was not for what was written.
    Unavailable,
    /// The database is not to blame: nothing of it in the chain, or a query that does not fit its rows.
    None,
}

/// The first thing that the chain says of the database.
pub(crate) fn fault_of<'e>(error: &'e (dyn Error + 'static)) -> Fault<'e> {
    for error in sources(error) {
        if let Some(error) = sqlx_error(error) {
            return fault_of_sqlx(error);
        }
        // What a transparent wrapper around `sqlx::Error::Database` names as its source.
        if let Some(error) = error.downcast_ref::<Box<dyn sqlx::error::DatabaseError>>() {
            return Fault::Answered(&**error);
        }
        if let Some(error) = error.downcast_ref::<DatabaseError>() {
            return match error {
                DatabaseError::Unavailable { .. } | DatabaseError::Unknown { .. } => Fault::Unavailable,
                DatabaseError::Refused { .. } | DatabaseError::Ended { .. } => Fault::None,
            };
        }
    }
    Fault::None
}

/// Pointers to errors are errors themselves, and theirs is the source of what they point to.
fn sqlx_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e sqlx::Error> {
    error
        .downcast_ref::<sqlx::Error>()
        .or_else(|| error.downcast_ref::<Arc<sqlx::Error>>().map(|error| &**error))
        .or_else(|| error.downcast_ref::<Box<sqlx::Error>>().map(|error| &**error))
}

fn fault_of_sqlx(error: &sqlx::Error) -> Fault<'_> {
    match error {
        sqlx::Error::Database(error) => Fault::Answered(&**error),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => Fault::Lost,
        // Rows, columns, arguments (too many of them are a `Protocol`): what the handler asked for. A stream that
        // is damaged is a `Protocol` too, and shows again in the rollback. The enum may grow, and what is not known
        // to be the world's must not be retried without end.
        _ => Fault::None,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use evenkeel_core::error::LONGEST_CHAIN;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Charge {
        #[error("the charge failed")]
        Wrapped(#[source] sqlx::Error),
        #[error(transparent)]
        Transparent(sqlx::Error),
        #[error("the card is expired")]
        Expired,
        #[error("shared")]
        Shared(#[source] Arc<sqlx::Error>),
        #[error("boxed")]
        Boxed(#[source] Box<dyn Error + Send + Sync>),
    }

    fn lost() -> sqlx::Error {
        sqlx::Error::Io(io::Error::other("cut"))
    }

    #[test]
    fn a_lost_connection_is_found_however_it_is_wrapped() {
        let twice = Charge::Boxed(Box::new(Charge::Boxed(Box::new(lost()))));
        for error in [
            Charge::Wrapped(lost()),
            Charge::Wrapped(sqlx::Error::PoolTimedOut),
            Charge::Shared(Arc::new(lost())),
            twice,
            Charge::Boxed(Box::new(io::Error::other(lost()))),
        ] {
            assert!(matches!(fault_of(&error), Fault::Lost), "{error:?}");
        }
        assert!(matches!(fault_of(&lost()), Fault::Lost));
    }

    #[test]
    fn what_is_not_the_databases_is_the_handlers() {
        for error in [
            Charge::Expired,
            Charge::Wrapped(sqlx::Error::RowNotFound),
            Charge::Transparent(sqlx::Error::RowNotFound),
            Charge::Wrapped(sqlx::Error::Protocol("too many arguments for query: 65536".into())),
            Charge::Boxed(Box::new(io::Error::other("a file is missing"))),
        ] {
            assert!(matches!(fault_of(&error), Fault::None), "{error:?}");
        }
    }

    #[test]
    fn an_endless_chain_ends() {
        let mut chain = Charge::Wrapped(lost());
        for _ in 0..LONGEST_CHAIN {
            chain = Charge::Boxed(Box::new(chain));
        }
        assert!(matches!(fault_of(&chain), Fault::None));
    }
}
