//! Decides each time whether a chance strikes.

use std::collections::BTreeMap;
use std::sync::Arc;

use evenkeel_core::model::Time;

use super::plan::{Chance, Occasion, Plan};
use super::seed::{Draw, Rate, Stream};

/// The dice of a plan: they count how often each chance could have struck whom.
#[derive(Debug, Clone)]
pub struct Dice<C, S> {
    plan: Arc<Plan<C, S>>,
    /// Of the chances that can strike at all.
    streams: BTreeMap<C, Stream>,
    counts: BTreeMap<(C, u64), u64>,
}

impl<C: Chance, S> Dice<C, S> {
    /// Nothing has been thrown yet.
    #[must_use]
    pub fn new(plan: Arc<Plan<C, S>>) -> Self {
        let all = plan.seed.stream("chances");
        let certain = plan.certain.iter().map(|occasion| occasion.chance);
        let chances = plan.chances.keys().copied().chain(certain);
        let streams = chances.map(|chance| (chance, all.named(chance.name()))).collect();
        Self { plan, streams, counts: BTreeMap::new() }
    }

    /// Whether a chance strikes an entity this time; if so, which time it is, and what else the fault needs is drawn from.
    pub fn strikes(&mut self, now: Time, chance: C, entity: u64) -> Option<(Occasion<C>, Draw)> {
        let stream = *self.streams.get(&chance)?;
        let (occasion, mut draw) = self.throw(stream, chance, entity);
        let happens = draw.happens(self.plan.rate(now, chance)) && !self.plan.spared.contains(&occasion);
        let certain = now < self.plan.quiet_at && self.plan.certain.contains(&occasion);
        (happens || certain).then_some((occasion, draw))
    }

    /// Counts one more time that a chance could strike an entity, for those who decide by themselves whether it does.
    pub fn occasion(&mut self, chance: C, entity: u64) -> (Occasion<C>, Draw) {
        let stream = self.plan.seed.stream("chances").named(chance.name());
        let (occasion, mut draw) = self.throw(stream, chance, entity);
        // Whoever decides, what else the fault needs is drawn alike.
        let _ = draw.happens(Rate::NEVER);
        (occasion, draw)
    }

    fn throw(&mut self, stream: Stream, chance: C, entity: u64) -> (Occasion<C>, Draw) {
        let count = self.counts.entry((chance, entity)).or_default();
        let occasion = Occasion { chance, entity, nth: *count };
        *count += 1;
        (occasion, stream.of(entity).nth(occasion.nth))
    }
}
