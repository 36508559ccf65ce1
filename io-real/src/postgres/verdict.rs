//! What may be concluded from PostgreSQL's errors, by their SQLSTATE.
//!
//! Two questions are answered. *Whose fault is it?* What a repetition may mend without anyone's doing is the world's:
//! it is repeated without end, so a wrong `World` here blocks an event for ever. All else is the handler's: it counts
//! as an attempt, so a wrong `Handler` may discard an event during an outage.
//!
//! *Did COMMIT happen?* An error of severity ERROR as the answer to COMMIT means that it did not: the server raises
//! none once the commit is written. FATAL and PANIC end the session, at a moment that is not known, and so does a lost
//! connection: then it may have happened.

use std::error::Error;
use std::sync::Arc;

use evenkeel_core::ports::{Blame, DatabaseError};
use sqlx::postgres::{PgDatabaseError, PgSeverity};

use crate::database::{Fault, fault_of};

/// Who is to blame for an error, by the first of the database's in its chain.
pub(super) fn blame(error: &(dyn Error + 'static)) -> Blame {
    match fault_of(error) {
        Fault::Answered(error) => blame_of_state(error.code().as_deref().unwrap_or_default()),
        Fault::Lost | Fault::Unavailable => Blame::World,
        Fault::None => Blame::Handler,
    }
}

/// The tables of PostgreSQL's manual, appendix A.
fn blame_of_state(state: &str) -> Blame {
    match state {
        // A constraint that broke because of a serialisable neighbour still is a constraint.
        "40002" => Blame::Handler,
        // A standby: the server lost its leading part, or the address leads elsewhere now.
        "25006" => Blame::World,
        // What was sent makes no sense to the server, a statement with too few arguments for one. Poolers say so of lost
        // servers too, but those end the session, and then the rollback fails: the engine looks there.
        "08P01" => Blame::Handler,
        // The session was idle in its transaction for too long: the process was paused.
        "25P03" => Blame::World,
        // A lock was not granted in time.
        "55P03" => Blame::World,
        // Shut down, crashed, starting up, database dropped, idle for too long. Not 57014: a statement that is
        // cancelled for its time used up its attempt.
        "57P01" | "57P02" | "57P03" | "57P04" | "57P05" => Blame::World,
        // By class: connection, rollback (deadlock, serialisation), resources, the system.
        _ => match state.get(..2) {
            Some("08" | "40" | "53" | "58") => Blame::World,
            _ => Blame::Handler,
        },
    }
}

/// What an error in answer to COMMIT lets conclude.
pub(super) fn of_commit(error: &sqlx::Error, database: Arc<str>) -> DatabaseError {
    let cause = Arc::from(error.to_string());
    let sqlx::Error::Database(answer) = error else { return DatabaseError::Unknown { database, cause } };
    let ended_session = answer
        .try_downcast_ref::<PgDatabaseError>()
        .is_none_or(|answer| matches!(answer.severity(), PgSeverity::Fatal | PgSeverity::Panic));
    match answer.code().as_deref().unwrap_or_default() {
        _ if ended_session => DatabaseError::Unknown { database, cause },
        // Poolers between us and the server speak of lost connections so; 40003 says it itself.
        "40003" => DatabaseError::Unknown { database, cause },
        state if state.starts_with("08") => DatabaseError::Unknown { database, cause },
        // No such cursor: the mark that BEGIN left is gone.
        "34000" => DatabaseError::Ended { database },
        "25P02" => DatabaseError::Refused {
            database,
            cause: "an earlier statement had failed and the handler went on; return the error, or use a savepoint".into(),
        },
        state => match blame_of_state(state) {
            Blame::World => DatabaseError::Unavailable { database, cause },
            Blame::Handler => DatabaseError::Refused { database, cause },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outages_are_the_worlds_and_statements_the_handlers() {
        let world = [
            "08006", "25006", "25P03", "40001", "40P01", "53100", "53200", "53300", "55P03", "57P01",
            "57P02", "57P03", "58030",
        ];
        let handler = [
            "", "4", "08P01", "22001", "22012", "23505", "23503", "25P02", "40002", "42601", "42P01",
            "57014", "P0001", "XX000",
        ];
        for state in world {
            assert_eq!(blame_of_state(state), Blame::World, "{state}");
        }
        for state in handler {
            assert_eq!(blame_of_state(state), Blame::Handler, "{state}");
        }
    }

    #[test]
    fn a_lost_connection_leaves_a_commit_unknown() {
        let lost = sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
        assert!(matches!(of_commit(&lost, "db".into()), DatabaseError::Unknown { .. }));
    }
}
