//! What can go wrong between a service and its database, in the words of plans.
//!
//! Names are those of the simulated world where the fault is the same. None of them destroys what was committed.

use std::fmt;
use std::time::Duration;

use evenkeel_cluster::chances;
use evenkeel_cluster::faults::plan::{self, span};
use evenkeel_cluster::faults::{Plan, Span};
use evenkeel_core::model::Time;

/// What goes wrong with connections to a database, and when.
pub type DatabasePlan = Plan<DatabaseChance, DatabaseStroke>;

chances! {
    /// A fault that is put to the dice for each connection, statement or COMMIT that it could strike.
    ///
    /// Whom it strikes is the number of a connection, counted from one as they come; for `refused` it is zero.
    DatabaseChance {
        /// A new connection is reset at once.
        Refused "refused",
        /// A connection is reset under a statement, before or after it has run. What was not committed is rolled back.
        StatementLost "statement-lost",
        /// A statement or COMMIT takes up to ten seconds on its way.
        Slow "slow",
        /// A connection goes silent as a statement or COMMIT comes, and is reset after up to ten seconds.
        Silence "silence",
        /// A connection is reset in the middle of a reply's message.
        ReplyTorn "reply-torn",
        /// COMMIT never arrives: the connection is reset before, and the transaction rolled back.
        CommitLost "db-commit-lost",
        /// COMMIT is applied, and the connection reset instead of the reply.
        CommitReplyLost "db-commit-reply-lost",
    }
}

/// A fault that happens at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DatabaseStroke {
    /// All connections are reset, and new ones refused for a while, as when the server restarts.
    RestartDatabase {
        /// How long.
        down: Duration,
    },
    /// All connections go silent, new ones, too.
    IsolateDatabase {
        /// How long.
        lasting: Duration,
    },
}

impl DatabaseStroke {
    /// Its name, for counting.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RestartDatabase { .. } => "restart-database",
            Self::IsolateDatabase { .. } => "isolate-database",
        }
    }

    pub(crate) const fn lasting(self) -> Duration {
        match self {
            Self::RestartDatabase { down } => down,
            Self::IsolateDatabase { lasting } => lasting,
        }
    }
}

impl fmt::Display for DatabaseStroke {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::RestartDatabase { down } => write!(f, "{} down {}", self.name(), Span(down)),
            Self::IsolateDatabase { lasting } => write!(f, "{} for {}", self.name(), Span(lasting)),
        }
    }
}

impl plan::Stroke for DatabaseStroke {
    /// Who does not say when it is to be quiet wants a database that goes on misbehaving.
    const QUIET_AT: Time = Time::MAX;
    const WRITTEN: &'static str = "`restart-database down TIME`, `isolate-database for TIME`";

    fn read(words: &[&str]) -> Result<Self, Option<&'static str>> {
        Ok(match *words {
            ["restart-database", "down", down] => Self::RestartDatabase { down: span(down)? },
            ["isolate-database", "for", lasting] => Self::IsolateDatabase { lasting: span(lasting)? },
            _ => return Err(None),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw;

    #[test]
    fn what_is_printed_is_read_back() {
        for seed in 0..300 {
            let plan = draw(format!("seed={seed}").parse().expect("it is one"));
            assert!(!plan.is_calm());
            assert_eq!(plan.to_string().parse(), Ok(plan));
        }
    }

    #[test]
    fn a_wrong_plan_is_told_with_line_and_remedy() {
        for (text, line, remedy) in [
            ("seed 1\nchance commit-lost 1%", 2, "there are refused, statement-lost, slow"),
            ("at 3s restart-database", 1, "`restart-database down TIME`"),
        ] {
            let told = text.parse::<DatabasePlan>().expect_err(text).to_string();
            assert!(told.starts_with(&format!("line {line} of the plan, ")), "{told}");
            assert!(told.contains(remedy), "{told}");
        }
    }
}
