//! Decides what goes wrong: a machine, like the cluster itself.
//!
//! It is asked about each connection and each request, and says what is to become of it; at their times it says that
//! strokes begin and end. What it decides about a request follows from the plan, from whom the request is for, and from
//! how many like it came before: time only says whether it is a storm, or quiet.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_core::error::ErrorCode;
use evenkeel_core::machine::{Machine, Marks};
use evenkeel_core::model::{BrokerId, Time};

use super::words::{BrokerChance as Chance, BrokerPlan, BrokerStroke};
use crate::faults::plan::Chance as _;
use crate::faults::{Dice, Draw, Moment, Occasion, Schedule};
use crate::wire::Api;

/// The longest that a message takes, and that a connection stays silent.
const LONGEST: u64 = 10_000;

/// What is decided about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Matter {
    /// The broker.
    pub(super) broker: BrokerId,
    /// The request's kind; `None` if it is about a new connection.
    pub(super) api: Option<Api>,
}

impl Matter {
    /// See [`Chance`].
    fn entity(self) -> u64 {
        let key = self.api.map_or(0, |api| api.offer().key);
        u64::from(self.broker.0.unsigned_abs()) * 1_000 + u64::from(key.unsigned_abs())
    }

    fn concerns(self, chance: Chance) -> bool {
        self.api.map_or(chance == Chance::Refused, |api| chance.concerns(api))
    }
}

/// What is to become of a request or a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::serve) struct Fate {
    /// How long the request is on its way.
    pub(in crate::serve) out: Duration,
    /// How long the reply is.
    pub(in crate::serve) back: Duration,
    /// What happens to it.
    pub(in crate::serve) deed: Deed,
}

/// What happens to a request or a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::serve) enum Deed {
    /// Nothing.
    #[default]
    Serve,
    /// It never arrives; the connection is silent for as long and then reset.
    LoseRequest(Duration),
    /// It is done and never answered; the connection is silent for as long and then reset.
    LoseReply(Duration),
    /// The connection is reset before it is done.
    ResetBefore,
    /// The connection is reset when it is done.
    ResetAfter,
    /// The connection is reset when so many thousandths of the reply are out.
    Tear(u64),
    /// It is not done: this is the answer.
    Refuse(ErrorCode),
    /// It is done, and answered REQUEST_TIMED_OUT.
    TimeOut,
}

/// What the machine is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// A connection or a request has come; what is to become of it goes out at once.
    Came(Matter),
}

/// What the machine wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// This is what becomes of what came.
    Treat { fate: Fate, struck: Vec<(Occasion<Chance>, Matter)> },
    /// A stroke begins or ends.
    Strike(Moment<BrokerStroke>),
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Saboteur {
    dice: Dice<Chance, BrokerStroke>,
    schedule: Schedule<BrokerStroke>,
    actions: VecDeque<Action>,
    marks: Marks,
}

impl Saboteur {
    pub(super) fn new(plan: BrokerPlan) -> Self {
        Self {
            schedule: Schedule::new(&plan, BrokerStroke::lasting),
            dice: Dice::new(Arc::new(plan)),
            actions: VecDeque::new(),
            marks: Marks::default(),
        }
    }

    /// All chances are put to the dice, so that one that strikes shifts no other; the first that does something counts.
    fn fate(&mut self, now: Time, matter: Matter) -> (Fate, Vec<(Occasion<Chance>, Matter)>) {
        let (mut fate, mut struck) = (Fate::default(), Vec::new());
        for chance in Chance::ALL.iter().copied().filter(|chance| matter.concerns(*chance)) {
            let Some((occasion, mut draw)) = self.dice.strikes(now, chance, matter.entity()) else {
                continue;
            };
            let counts = match deed(chance, &mut draw) {
                None => {
                    let way = if draw.once_in(2) { &mut fate.out } else { &mut fate.back };
                    *way = millis(&mut draw);
                    true
                }
                Some(deed) if fate.deed == Deed::Serve => {
                    fate.deed = deed;
                    true
                }
                Some(_) => false,
            };
            if counts {
                self.marks.hit(chance.name());
                struck.push((occasion, matter));
            }
        }
        (fate, struck)
    }
}

/// What a chance does; `None` if it only takes time.
fn deed(chance: Chance, draw: &mut Draw) -> Option<Deed> {
    Some(match chance {
        Chance::Slow => return None,
        Chance::RequestLost => Deed::LoseRequest(millis(draw)),
        Chance::ReplyLost | Chance::CommitApplied | Chance::AppendApplied => Deed::LoseReply(millis(draw)),
        Chance::Reset if draw.once_in(2) => Deed::ResetBefore,
        Chance::Reset => Deed::ResetAfter,
        Chance::Refused => Deed::ResetBefore,
        Chance::ReplyTorn => Deed::Tear(draw.below(1_000)),
        Chance::AppendTimedOut => Deed::TimeOut,
        Chance::NotLeader => Deed::Refuse(ErrorCode::NotLeaderOrFollower),
        Chance::Loading => Deed::Refuse(ErrorCode::CoordinatorLoadInProgress),
        Chance::NotCoordinator => Deed::Refuse(ErrorCode::NotCoordinator),
        Chance::NoCoordinator => Deed::Refuse(ErrorCode::CoordinatorNotAvailable),
        Chance::Rebalancing => Deed::Refuse(ErrorCode::RebalanceInProgress),
    })
}

fn millis(draw: &mut Draw) -> Duration {
    Duration::from_millis(draw.log_uniform(10, LONGEST))
}

impl Machine for Saboteur {
    type Input = Input;
    type Action = Action;

    fn handle(&mut self, now: Time, Input::Came(matter): Input) {
        let (fate, struck) = self.fate(now, matter);
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

    fn saboteur(plan: &str) -> Saboteur {
        Saboteur::new(plan.parse().expect("it is a plan"))
    }

    fn fate(saboteur: &mut Saboteur, broker: i32, api: Option<Api>) -> Fate {
        let matter = Matter { broker: BrokerId(broker), api };
        saboteur.handle(Time::ZERO, Input::Came(matter));
        match saboteur.poll() {
            Some(Action::Treat { fate, .. }) => fate,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_becomes_of_a_request_does_not_depend_on_those_to_others() {
        let plan = "seed 3\nchance reset 20%\nchance slow 10%\nchance commit-applied 30%";
        let commits = |others: bool| {
            let mut saboteur = saboteur(plan);
            let mut next = |_| {
                if others {
                    fate(&mut saboteur, 1, Some(Api::Fetch));
                    fate(&mut saboteur, 1, None);
                    fate(&mut saboteur, 2, Some(Api::OffsetCommit));
                }
                fate(&mut saboteur, 1, Some(Api::OffsetCommit))
            };
            (0..100).map(&mut next).collect::<Vec<_>>()
        };
        assert_eq!(commits(false), commits(true));
        assert!(commits(true).iter().any(|fate| matches!(fate.deed, Deed::LoseReply(_))));
    }

    #[test]
    fn one_that_is_spared_leaves_all_others_in_place() {
        let plan = "seed 5\nchance reply-torn 20%";
        let torn = |plan: &str| {
            let mut saboteur = saboteur(plan);
            (0..100).map(|_| fate(&mut saboteur, 2, Some(Api::Fetch)).deed).collect::<Vec<_>>()
        };
        let whole = torn(plan);
        let nth = whole.iter().position(|deed| *deed != Deed::Serve).expect("one in five");
        let mut spared = torn(&format!("{plan}\nspare reply-torn of 2001 nth {nth}"));
        assert_eq!(spared[nth], Deed::Serve);
        spared[nth] = whole[nth];
        assert_eq!(spared, whole);
    }

    #[test]
    fn an_error_is_answered_only_where_kafka_may_answer_it() {
        let plan: String =
            Chance::ALL.iter().map(|chance| format!("chance {} 100%\n", chance.name())).collect();
        let certain = |spared: &[&str], api| {
            let lines = plan.lines().filter(|line| !spared.iter().any(|name| line.contains(name)));
            fate(&mut saboteur(&lines.collect::<Vec<_>>().join("\n")), 1, Some(api)).deed
        };
        let general = ["-lost", "reset", "torn"];
        let of = |api| certain(&general, api);
        assert_eq!(of(Api::Metadata), Deed::Serve);
        assert!(matches!(of(Api::Produce), Deed::LoseReply(_)));
        assert!(matches!(of(Api::OffsetCommit), Deed::LoseReply(_)));
        assert_eq!(of(Api::Fetch), Deed::Refuse(ErrorCode::NotLeaderOrFollower));
        assert_eq!(of(Api::Heartbeat), Deed::Refuse(ErrorCode::NotCoordinator));
        assert_eq!(of(Api::FindCoordinator), Deed::Refuse(ErrorCode::CoordinatorNotAvailable));
        assert!(matches!(certain(&[], Api::Metadata), Deed::LoseRequest(_)));
    }

    #[test]
    fn strokes_come_in_time_and_heal() {
        let mut saboteur =
            saboteur("at 2s kill-broker 1 down 3s\nat 1s move-leader partition 0 to 2\nquiet at 60s");
        let mut told = Vec::new();
        while let Some(at) = saboteur.deadline() {
            saboteur.tick(at);
            while let Some(Action::Strike(moment)) = saboteur.poll() {
                told.push((at.as_nanos() / 1_000_000_000, matches!(moment, Moment::Begins(..))));
            }
        }
        assert_eq!(told, [(1, true), (2, true), (5, false)]);
        assert_eq!((saboteur.marks().count("kill-broker"), saboteur.marks().count("move-leader")), (1, 1));
    }
}
