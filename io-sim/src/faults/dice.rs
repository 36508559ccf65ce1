//! Decides each time whether a chance strikes, and remembers which did. Or it is told which, and remembers all that might
//! have struck.

use std::collections::BTreeSet;
use std::fmt;
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
    told: Option<Told>,
}

/// Dice that decide nothing.
#[derive(Debug, Clone, Default)]
struct Told {
    asked: Vec<Occasion>,
    certain: BTreeSet<Occasion>,
}

impl Dice {
    /// The dice of a plan.
    #[must_use]
    pub fn new(plan: Arc<FaultPlan>) -> Self {
        Self { dice: faults::Dice::new(plan), struck: Vec::new(), told: None }
    }

    /// Dice that strike only what they are told to.
    #[must_use]
    pub fn told(plan: Arc<FaultPlan>) -> Self {
        Self { told: Some(Told::default()), ..Self::new(plan) }
    }

    /// The next of these decisions strikes, if the dice strike what they are told to.
    pub fn tell(&mut self, occasion: Occasion) {
        if let Some(told) = &mut self.told {
            told.certain.insert(occasion);
        }
    }

    /// What was asked since the last time, in order, if the dice strike what they are told to.
    pub fn take_asked(&mut self) -> Vec<Occasion> {
        self.told.as_mut().map(|told| std::mem::take(&mut told.asked)).unwrap_or_default()
    }

    /// Whether a chance strikes an entity this time; if so, what else the fault needs is drawn from the answer.
    pub fn strikes(&mut self, now: Time, chance: Chance, entity: u64) -> Option<Draw> {
        let (occasion, draw) = match &mut self.told {
            None => self.dice.strikes(now, chance, entity)?,
            Some(told) => {
                let (occasion, draw) = self.dice.occasion(chance, entity);
                told.asked.push(occasion);
                told.certain.contains(&occasion).then_some((occasion, draw))?
            }
        };
        self.struck.push(occasion);
        Some(draw)
    }

    /// What decides how the faults to come look.
    pub(crate) const fn memory(&self) -> &impl fmt::Debug {
        &self.dice
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
    fn what_is_certain_strikes_alone_and_draws_as_it_would_by_chance() {
        let by_chance = struck(dice(|_| {}))[3];
        let certain = |plan: &mut FaultPlan| {
            plan.chances.clear();
            plan.certain.insert(by_chance);
        };
        assert_eq!(struck(dice(certain)), [by_chance]);
        let draw = |mut dice: Dice| {
            let mut throws = (0..300).map(|nth| dice.strikes(Time::ZERO, Chance::Reset, nth % 3));
            throws.find_map(|draw| draw).map(|mut draw| draw.bits())
        };
        let mut told = Dice::told(Arc::new(FaultPlan { quiet_at: Time::MAX, ..FaultPlan::none(Seed(5)) }));
        told.tell(by_chance);
        assert_eq!(draw(told.clone()), draw(dice(certain)));
        assert_eq!(struck(told), [by_chance]);
    }

    #[test]
    fn dice_that_are_told_remember_what_was_asked() {
        let mut told = Dice::told(Arc::new(FaultPlan::none(Seed(5))));
        assert!(told.strikes(Time::ZERO, Chance::Reset, 7).is_none());
        assert!(told.strikes(Time::ZERO, Chance::Reset, 7).is_none());
        let asked = [0, 1].map(|nth| Occasion { chance: Chance::Reset, entity: 7, nth });
        assert_eq!(told.take_asked(), asked);
        assert_eq!(told.take_asked(), []);
    }

    #[test]
    fn what_is_not_in_the_plan_never_strikes() {
        let mut dice = dice(|_| {});
        assert!((0..1_000).all(|nth| dice.strikes(Time::ZERO, Chance::ReplyLost, nth).is_none()));
    }
}
