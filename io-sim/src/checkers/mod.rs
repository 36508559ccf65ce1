//! The judges of a run: each holds one law of the library against the history, and shares no code with what it judges.
//!
//! They see one happening at a time, so that a trace ends at the step that broke a law. At the end they are asked once
//! more about what must hold at rest. A checker that had nothing to judge says so: [`Verdict::Vacuous`] is no success.
//!
//! | law | what | where |
//! |---|---|---|
//! | C1, E2 | no loss | [`loss`] |
//! | C2, C3 | commit safety, epochs | [`commit`] |
//! | C4 | bounded redelivery | [`redelivery`] |
//! | C5 | one owner | [`owner`] |
//! | C6, C8 | order, limits | [`order`] |
//! | C7, C10 | independence | [`pairs`](crate::step::pairs), over two runs of one plan |
//! | C9 | attempts | [`attempts`] |
//! | E1, E3 | at most once, atomic | [`once`] |
//! | P1, P2 | produced is durable, in order | [`produce`] |
//! | W1, W2 | bounded work and memory | the step level, which sees what machines ask for |

pub mod attempts;
pub mod commit;
pub mod ledger;
pub mod log;
pub mod loss;
pub mod once;
pub mod order;
pub mod owner;
pub mod produce;
pub mod redelivery;
#[cfg(test)]
mod story;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use evenkeel_core::model::Time;

use crate::history::{Facts, Happening, History};
use ledger::Ledger;

macro_rules! laws {
    ($($(#[$doc:meta])* $name:ident $number:literal $text:literal,)*) => {
        /// A law of the library.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Law {
            $($(#[$doc])* $name,)*
        }

        impl Law {
            /// All laws that have a judge.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its number among the library's invariants.
            #[must_use]
            pub const fn number(self) -> &'static str {
                match self {
                    $(Self::$name => $number,)*
                }
            }
        }

        impl fmt::Display for Law {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$name => concat!($number, " ", $text),)*
                })
            }
        }
    };
}

laws! {
    /// At rest every record is settled for every handler, or kept open by its policy.
    NoLoss "C1" "no loss",
    /// What is committed is settled.
    CommitSafety "C2" "commit safety",
    /// Commits are their owner's, and do not go back.
    Epochs "C3" "epochs",
    /// What is known to be settled is not handed out again.
    Redelivery "C4" "bounded redelivery",
    /// Only the owner of a partition handles it.
    OneOwner "C5" "one owner",
    /// What must not overtake does not.
    Order "C6" "order",
    /// An event that cannot be handled changes no other's fate, nor when it comes. Judged over pairs of runs.
    Independence "C7" "independence",
    /// Running calls and batches stay within their settings.
    Limits "C8" "limits",
    /// Attempts, waits and time limits follow the policy.
    Attempts "C9" "attempts",
    /// No effect commits twice.
    AtMostOnce "E1" "at most once",
    /// At rest every event has its effect.
    AtLeastOnce "E2" "at least once",
    /// Claim and effect commit together.
    Atomic "E3" "atomic",
    /// What was acknowledged is there; what was rejected is not.
    Durable "P1" "acknowledged is durable",
    /// Events of a key are written in the order of sending.
    SendOrder "P2" "order of sending",
    /// What fails is asked again less and less often.
    Work "W1" "bounded work",
    /// What is read ahead and waited for stays within settings.
    Memory "W2" "bounded memory",
    /// Once faults are over everything comes to rest within a bound. Judged by the world, which knows what is open.
    Liveness "L1" "comes to rest",
}

/// What a law is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// A history: at either level, and of real processes.
    History,
    /// What the machines ask for and hold, which histories do not tell.
    Machines,
    /// Two runs that are compared.
    Pairs,
}

impl Law {
    /// What it is judged by.
    #[must_use]
    pub const fn evidence(self) -> Evidence {
        match self {
            Self::Independence => Evidence::Pairs,
            Self::Work | Self::Memory => Evidence::Machines,
            _ => Evidence::History,
        }
    }

    /// The laws that are judged by histories.
    pub fn of_histories() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|law| law.evidence() == Evidence::History)
    }
}

/// A law that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// Which.
    pub law: Law,
    /// What happened, in words.
    pub story: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.law, self.story)
    }
}

impl Breach {
    /// A law was broken.
    #[must_use]
    pub fn new(law: Law, story: impl Into<String>) -> Self {
        Self { law, story: story.into() }
    }
}

/// What a checker concludes of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The law held as often as it was put to the test.
    Held {
        /// How often that was.
        times: u64,
    },
    /// It did not.
    Broken(Breach),
    /// Nothing put it to the test.
    Vacuous,
}

/// Judges laws.
pub trait Checker: Send {
    /// Which.
    fn laws(&self) -> &'static [Law];

    /// Something happened; the ledger knows of it already. `tested` is told each time that a law is put to the test.
    ///
    /// # Errors
    /// The breach, if it broke a law.
    fn see(
        &mut self,
        ledger: &Ledger,
        at: Time,
        happening: &Happening,
        tested: &mut Tested,
    ) -> Result<(), Breach>;

    /// The run is over and has come to rest.
    ///
    /// # Errors
    /// The breach, if something is wrong that had time until now.
    fn rest(&mut self, ledger: &Ledger, tested: &mut Tested) -> Result<(), Breach> {
        let _ = (ledger, tested);
        Ok(())
    }
}

/// How often each law was put to the test.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tested(BTreeMap<Law, u64>);

impl Tested {
    /// It was, once.
    pub fn count(&mut self, law: Law) {
        *self.0.entry(law).or_default() += 1;
    }

    /// How often.
    #[must_use]
    pub fn times(&self, law: Law) -> u64 {
        self.0.get(&law).copied().unwrap_or_default()
    }

    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        for (law, times) in &other.0 {
            *self.0.entry(*law).or_default() += times;
        }
    }
}

/// The checkers, one of each.
#[derive(Debug, Clone, Default)]
struct Checkers {
    loss: loss::Loss,
    commits: commit::Commits,
    redelivery: redelivery::Redelivery,
    owners: owner::Owners,
    order: order::Order,
    attempts: attempts::Attempts,
    once: once::Once,
    produced: produce::Produced,
}

impl Checkers {
    fn each(&mut self) -> [&mut dyn Checker; 8] {
        [
            &mut self.loss,
            &mut self.commits,
            &mut self.redelivery,
            &mut self.owners,
            &mut self.order,
            &mut self.attempts,
            &mut self.once,
            &mut self.produced,
        ]
    }
}

/// All checkers over one run.
#[derive(Debug, Clone)]
pub struct Judge {
    ledger: Ledger,
    checkers: Checkers,
    tested: Tested,
    breach: Option<(Time, Breach)>,
}

impl Judge {
    /// All laws.
    #[must_use]
    pub fn new(facts: Arc<Facts>) -> Self {
        let checkers = Checkers::default();
        Self { ledger: Ledger::new(facts), checkers, tested: Tested::default(), breach: None }
    }

    /// What is true so far.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What its judgement of all that is to come depends on.
    pub(crate) const fn memory(&self) -> impl fmt::Debug {
        (self.ledger.memory(), &self.checkers)
    }

    /// How often each law was put to the test.
    #[must_use]
    pub const fn tested(&self) -> &Tested {
        &self.tested
    }

    /// The first breach, if there was one.
    #[must_use]
    pub fn breach(&self) -> Option<&Breach> {
        self.breach.as_ref().map(|(_, breach)| breach)
    }

    /// Something happened. After the first breach nothing is judged any more.
    ///
    /// # Errors
    /// The breach, at the happening that broke a law.
    pub fn see(&mut self, at: Time, happening: &Happening) -> Result<(), Breach> {
        if self.breach.is_some() {
            return Ok(());
        }
        self.ledger.see(at, happening);
        for checker in self.checkers.each() {
            if let Err(breach) = checker.see(&self.ledger, at, happening, &mut self.tested) {
                self.breach = Some((at, breach.clone()));
                return Err(breach);
            }
        }
        Ok(())
    }

    /// The world, which sees more than histories tell, has put a law to the test itself.
    pub(crate) fn put_to_test(&mut self, law: Law) {
        self.tested.count(law);
    }

    /// The world has seen that everything came to rest in time, which it alone can judge.
    pub fn came_to_rest(&mut self) {
        self.tested.count(Law::Liveness);
    }

    /// The run has come to rest.
    ///
    /// # Errors
    /// The first breach.
    pub fn rest(&mut self, at: Time) -> Result<(), Breach> {
        if let Some((_, breach)) = &self.breach {
            return Err(breach.clone());
        }
        for checker in self.checkers.each() {
            if let Err(breach) = checker.rest(&self.ledger, &mut self.tested) {
                self.breach = Some((at, breach.clone()));
                return Err(breach);
            }
        }
        Ok(())
    }

    /// What is concluded of a law.
    #[must_use]
    pub fn verdict(&self, law: Law) -> Verdict {
        match &self.breach {
            Some((_, breach)) if breach.law == law => Verdict::Broken(breach.clone()),
            Some(_) | None => match self.tested.times(law) {
                0 => Verdict::Vacuous,
                times => Verdict::Held { times },
            },
        }
    }

    /// Judges a stored history, which has come to rest at its end.
    #[must_use]
    pub fn replay(history: &History) -> Self {
        let mut judge = Self::new(Arc::clone(&history.facts));
        let mut last = Time::ZERO;
        for (at, happening) in &history.happenings {
            last = *at;
            if judge.see(*at, happening).is_err() {
                return judge;
            }
        }
        // A breach is kept, so that nothing is lost here.
        let _ = judge.rest(last);
        judge
    }
}
