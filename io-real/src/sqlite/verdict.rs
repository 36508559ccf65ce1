//! What may be concluded from SQLite's errors, by their result codes.
//!
//! What a repetition may mend without anyone's doing is the world's: it is repeated without end. All else is the
//! handler's, and counts as an attempt.

use std::error::Error;
use std::sync::Arc;

use evenkeel_core::ports::{Blame, DatabaseError};

use super::fence::{Loss, Standing};
use crate::database::{Fault, fault_of};

/// The primary result codes that matter here; the low byte of an extended one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Primary {
    Error,
    Busy,
    Locked,
    NoMemory,
    Io,
    Full,
    CantOpen,
    Protocol,
    Constraint,
    Other,
}

impl Primary {
    fn of(error: &dyn sqlx::error::DatabaseError) -> Self {
        let code = error.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or_default();
        match code & 0xff {
            1 => Self::Error,
            5 => Self::Busy,
            6 => Self::Locked,
            7 => Self::NoMemory,
            10 => Self::Io,
            13 => Self::Full,
            14 => Self::CantOpen,
            15 => Self::Protocol,
            19 => Self::Constraint,
            _ => Self::Other,
        }
    }

    const fn blame(self) -> Blame {
        match self {
            Self::Busy
            | Self::Locked
            | Self::NoMemory
            | Self::Io
            | Self::Full
            | Self::CantOpen
            | Self::Protocol => Blame::World,
            Self::Error | Self::Constraint | Self::Other => Blame::Handler,
        }
    }
}

/// Who is to blame for an error, by the first of the database's in its chain.
pub(super) fn blame(error: &(dyn Error + 'static)) -> Blame {
    match fault_of(error) {
        Fault::Answered(error) => Primary::of(error).blame(),
        Fault::Lost | Fault::Unavailable => Blame::World,
        Fault::None => Blame::Handler,
    }
}

/// Whether another connection holds a lock that is needed.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| matches!(Primary::of(error), Primary::Busy | Primary::Locked))
}

/// What the answer to COMMIT lets conclude, and how the transaction stands after it.
///
/// A failing disk leaves it open: the commit may already be in the log file, where a restart would find it.
pub(super) fn of_commit(
    answer: Result<(), sqlx::Error>,
    standing: Standing,
    database: Arc<str>,
) -> Result<(), DatabaseError> {
    let error = match (answer, standing) {
        (Ok(()), Standing::Lifted) => return Ok(()),
        // Nothing commits once a transaction is lost, so nothing of it is there.
        (Err(error), Standing::Lost(Loss::Rollback)) if blame(&error) == Blame::World => {
            return Err(DatabaseError::Unavailable {
                database,
                cause: format!("{}: {error}", Loss::Rollback).into(),
            });
        }
        (_, Standing::Lost(loss)) => {
            return Err(DatabaseError::Refused { database, cause: loss.to_string().into() });
        }
        (Ok(()), Standing::Open | Standing::Asked | Standing::Allowed) => {
            return Err(DatabaseError::Unknown {
                database,
                cause: "the handler removed the connection's commit hook; leave the hooks to the library"
                    .into(),
            });
        }
        // SQLite may be through with it: a COMMIT that the handler gave up, still under way, can have taken the leave
        // of ours, and then ours fails.
        (Err(error), Standing::Allowed | Standing::Lifted) => {
            return Err(DatabaseError::Unknown { database, cause: error.to_string().into() });
        }
        (Err(error), Standing::Open | Standing::Asked) => error,
    };
    let cause = Arc::from(error.to_string());
    Err(match error {
        sqlx::Error::Database(answer) => match Primary::of(&*answer) {
            Primary::Error | Primary::Constraint => DatabaseError::Refused { database, cause },
            Primary::Busy | Primary::Locked => DatabaseError::Unavailable { database, cause },
            Primary::NoMemory
            | Primary::Io
            | Primary::Full
            | Primary::CantOpen
            | Primary::Protocol
            | Primary::Other => DatabaseError::Unknown { database, cause },
        },
        sqlx::Error::InvalidSavePointStatement => DatabaseError::Refused {
            database,
            cause: "a savepoint was left open: commit it or drop it".into(),
        },
        _ => DatabaseError::Unknown { database, cause },
    })
}
