//! Decides what goes wrong: a machine that is asked about each connection, statement and COMMIT.
//!
//! What it decides follows from the plan, from which connection it is about, and from how many like it came before: time
//! only says whether it is a storm, or quiet.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_cluster::faults::plan::Chance as _;
use evenkeel_cluster::faults::{Dice, Draw, Moment, Occasion, Schedule};
use evenkeel_core::machine::{Machine, Marks};
use evenkeel_core::model::Time;

use super::words::{DatabaseChance as Chance, DatabasePlan, DatabaseStroke};

/// The longest that a message takes, and that a connection stays silent.
const LONGEST: u64 = 10_000;

/// What is decided about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Matter {
    /// A new connection.
    Connection,
    /// A statement on a connection, by its number.
    Statement(u64),
    /// COMMIT.
    Commit(u64),
}

impl Matter {
    /// See [`Chance`].
    const fn entity(self) -> u64 {
        match self {
            Self::Connection => 0,
            Self::Statement(connection) | Self::Commit(connection) => connection,
        }
    }

    const fn concerns(self, chance: Chance) -> bool {
        match chance {
            Chance::Refused => matches!(self, Self::Connection),
            Chance::Slow | Chance::Silence | Chance::ReplyTorn => !matches!(self, Self::Connection),
            Chance::StatementLost => matches!(self, Self::Statement(_)),
            Chance::CommitLost | Chance::CommitReplyLost => matches!(self, Self::Commit(_)),
        }
    }
}

/// What is to become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Fate {
    /// How long it is on its way.
    pub(crate) out: Duration,
    /// What happens to it.
    pub(crate) deed: Deed,
}

/// What happens to a connection, a statement or COMMIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Deed {
    /// Nothing.
    #[default]
    Serve,
    /// The connection is reset before it arrives.
    Cut,
    /// It never arrives; the connection is reset after so long.
    Silence(Duration),
    /// It is done, and the connection reset instead of the reply.
    LoseReply,
    /// The same for COMMIT.
    LoseCommitReply,
    /// The connection is reset within the reply, after so many thousandths of its first message.
    Tear(u64),
}

/// What the machine wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// This is what becomes of what came.
    Treat { fate: Fate, struck: Vec<Occasion<Chance>> },
    /// A stroke begins or ends.
    Strike(Moment<DatabaseStroke>),
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Saboteur {
    dice: Dice<Chance, DatabaseStroke>,
    schedule: Schedule<DatabaseStroke>,
    actions: VecDeque<Action>,
    marks: Marks,
}

impl Saboteur {
    pub(crate) fn new(plan: DatabasePlan) -> Self {
        Self {
            schedule: Schedule::new(&plan, |stroke| Some(stroke.lasting())),
            dice: Dice::new(Arc::new(plan)),
            actions: VecDeque::new(),
            marks: Marks::default(),
        }
    }
}

/// What a chance does; `None` if it only takes time.
fn deed(chance: Chance, draw: &mut Draw) -> Option<Deed> {
    Some(match chance {
        Chance::Slow => return None,
        Chance::Refused | Chance::CommitLost => Deed::Cut,
        Chance::StatementLost if draw.once_in(2) => Deed::Cut,
        Chance::StatementLost => Deed::LoseReply,
        Chance::Silence => Deed::Silence(millis(draw)),
        Chance::ReplyTorn => Deed::Tear(draw.below(1_000)),
        Chance::CommitReplyLost => Deed::LoseCommitReply,
    })
}

fn millis(draw: &mut Draw) -> Duration {
    Duration::from_millis(draw.log_uniform(10, LONGEST))
}

impl Machine for Saboteur {
    /// What came; what is to become of it goes out at once.
    type Input = Matter;
    type Action = Action;

    /// All chances are put to the dice, so that one that strikes shifts no other; the first that does something counts.
    fn handle(&mut self, now: Time, matter: Matter) {
        let (mut fate, mut struck) = (Fate::default(), Vec::new());
        for chance in Chance::ALL.iter().copied().filter(|chance| matter.concerns(*chance)) {
            let Some((occasion, mut draw)) = self.dice.strikes(now, chance, matter.entity()) else {
                continue;
            };
            match deed(chance, &mut draw) {
                None => fate.out = millis(&mut draw),
                Some(deed) if fate.deed == Deed::Serve => fate.deed = deed,
                Some(_) => continue,
            }
            self.marks.hit(chance.name());
            struck.push(occasion);
        }
        self.actions.push_back(Action::Treat { fate, struck });
    }

    fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn deadline(&self) -> Option<Time> {
        self.schedule.deadline()
    }

    fn tick(&mut self, now: Time) {
        while let Some(moment) = self.schedule.next(now) {
            if let Moment::Begins(_, stroke) = moment {
                self.marks.hit(stroke.name());
            }
            self.actions.push_back(Action::Strike(moment));
        }
    }

    fn marks(&self) -> &Marks {
        &self.marks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deeds(plan: &str, matters: impl IntoIterator<Item = Matter>) -> Vec<Deed> {
        let mut saboteur = Saboteur::new(plan.parse().expect("it is a plan"));
        let mut one = |matter| {
            saboteur.handle(Time::ZERO, matter);
            match saboteur.poll() {
                Some(Action::Treat { fate, .. }) => fate.deed,
                other => panic!("{other:?}"),
            }
        };
        matters.into_iter().map(&mut one).collect()
    }

    #[test]
    fn each_fault_strikes_what_it_is_named_for() {
        let of = |name: &str| {
            let matters = [Matter::Connection, Matter::Statement(1), Matter::Commit(1)];
            deeds(&format!("chance {name} 100%"), matters)
                .iter()
                .map(|deed| *deed != Deed::Serve)
                .collect::<Vec<_>>()
        };
        assert_eq!(of("refused"), [true, false, false]);
        assert_eq!(of("statement-lost"), [false, true, false]);
        assert_eq!(of("silence"), [false, true, true]);
        assert_eq!(of("reply-torn"), [false, true, true]);
        assert_eq!(of("db-commit-lost"), [false, false, true]);
        assert_eq!(of("db-commit-reply-lost"), [false, false, true]);
    }

    #[test]
    fn commits_of_a_connection_do_not_depend_on_what_else_goes_on() {
        let plan = "seed 4\nchance db-commit-lost 20%\nchance statement-lost 20%";
        let alone = deeds(plan, (0..100).map(|_| Matter::Commit(3)));
        let among = (0..100).flat_map(|_| [Matter::Commit(2), Matter::Statement(3), Matter::Commit(3)]);
        let among: Vec<_> = deeds(plan, among).into_iter().skip(2).step_by(3).collect();
        assert_eq!(alone, among);
        assert!(alone.contains(&Deed::Cut) && alone.contains(&Deed::Serve));
    }
}
