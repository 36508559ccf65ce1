//! Decides each time whether a chance strikes, and remembers which did.

use std::sync::Arc;

use evenkeel_cluster::faults;
use evenkeel_core::model::Time;

use super::plan::{FaultPlan, Occasion};
use super::{Chance, Stroke};
use crate::seed::Draw;

/// See the [module](self).
#[derive(Debug, Clone)]
pub struct Dice {
    dice: faults::Dice<Chance, Stroke>,
    struck: Vec<Occasion>,
}

impl Dice {
    /// The dice of a plan.
    #[must_use]
    pub fn new(plan: Arc<FaultPlan>) -> Self {
        Self { dice: faults::Dice::new(plan), struck: Vec::new() }
    }

    /// Whether a chance strikes an entity this time; if so, what else the fault needs is drawn from the answer.
    pub fn strikes(&mut self, now: Time, chance: Chance, entity: u64) -> Option<Draw> {
        let (occasion, draw) = self.dice.strikes(now, chance, entity)?;
        self.struck.push(occasion);
        Some(draw)
    }

    /// All that struck so far.
    #[must_use]
    pub fn struck(&self) -> &[Occasion] {
        &self.struck
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{Rate, Seed};

    fn dice(change: impl FnOnce(&mut FaultPlan)) -> Dice {
        let mut plan = FaultPlan { quiet_at: Time::MAX, ..FaultPlan::none(Seed(5)) };
        plan.chances.insert(Chance::Reset, Rate::percent(20));
        change(&mut plan);
        Dice::new(Arc::new(plan))
    }

    fn struck(mut dice: Dice) -> Vec<Occasion> {
        for nth in 0..300 {
            dice.strikes(Time::ZERO, Chance::Reset, nth % 3);
        }
        dice.struck().to_vec()
    }

    #[test]
    fn sparing_one_leaves_all_others_in_place() {
        let all = struck(dice(|_| {}));
        assert!((30..90).contains(&all.len()), "{}", all.len());
        let spared = all[7];
        let rest = struck(dice(|plan| {
            plan.spared.insert(spared);
        }));
        assert!(rest.iter().eq(all.iter().filter(|occasion| **occasion != spared)));
    }

    #[test]
    fn another_chance_shifts_nothing() {
        let mut both = dice(|plan| {
            plan.chances.insert(Chance::Slow, Rate::ALWAYS);
        });
        for nth in 0..300 {
            assert!(both.strikes(Time::ZERO, Chance::Slow, nth).is_some());
            both.strikes(Time::ZERO, Chance::Reset, nth % 3);
        }
        let resets = both.struck().iter().filter(|occasion| occasion.chance == Chance::Reset);
        assert!(resets.eq(&struck(dice(|_| {}))));
    }

    #[test]
    fn what_is_not_in_the_plan_never_strikes() {
        let mut dice = dice(|_| {});
        assert!((0..1_000).all(|nth| dice.strikes(Time::ZERO, Chance::ReplyLost, nth).is_none()));
    }
}
