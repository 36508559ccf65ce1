//! E1 and E3: no effect commits twice, and an effect commits with its claim or not at all.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_core::model::Time;

use super::ledger::Ledger;
use super::{Breach, Checker, Law, Tested};
use crate::history::{EventNo, HandlerNo, Happening, TxNo};

/// See the [module](self).
#[derive(Debug, Clone, Default)]
pub struct Once {
    claims: BTreeMap<(HandlerNo, EventNo), TxNo>,
    effects: BTreeMap<(HandlerNo, EventNo), TxNo>,
}

impl Checker for Once {
    fn laws(&self) -> &'static [Law] {
        &[Law::AtMostOnce, Law::Atomic]
    }

    fn see(
        &mut self,
        ledger: &Ledger,
        _: Time,
        happening: &Happening,
        tested: &mut Tested,
    ) -> Result<(), Breach> {
        let Happening::TxCommitted { tx, claims, effects } = happening else { return Ok(()) };
        let name = |handler: HandlerNo| ledger.facts().handler_name(handler);
        for (what, seen, now) in [("effect", &mut self.effects, effects), ("claim", &mut self.claims, claims)]
        {
            for (handler, event) in now.iter() {
                tested.count(Law::AtMostOnce);
                if let Some(other) = seen.insert((*handler, *event), *tx) {
                    let story = format!(
                        "the {what} of {} for {event} committed in {other} and in {tx}",
                        name(*handler)
                    );
                    return Err(Breach::new(Law::AtMostOnce, story));
                }
            }
        }
        tested.count(Law::Atomic);
        let (claims, effects): (BTreeSet<_>, BTreeSet<_>) =
            (claims.iter().collect(), effects.iter().collect());
        let torn = |whose: &(HandlerNo, EventNo), what: &str| {
            let story = format!("{tx} has {what} of {} for {}", name(whose.0), whose.1);
            Err(Breach::new(Law::Atomic, story))
        };
        if let Some(claim) = claims.difference(&effects).next() {
            return torn(claim, "the claim without the effect");
        }
        if let Some(effect) = effects.difference(&claims).next() {
            return torn(effect, "the effect without the claim");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::Story;
    use super::*;

    #[test]
    fn an_effect_commits_once() {
        let mut story = Story::exactly_once();
        story.tx(&[0, 1], &[0, 1]);
        story.holds(Law::AtMostOnce, 4);
        story.tx(&[2], &[2, 1]);
        story.breaks(Law::AtMostOnce, "the effect of billing/charge for e1 committed in x0 and in x1");
    }

    #[test]
    fn a_claim_commits_once() {
        let mut story = Story::exactly_once();
        story.tx(&[0], &[0]);
        story.tx(&[0], &[]);
        story.breaks(Law::AtMostOnce, "the claim of billing/charge for e0");
    }

    #[test]
    fn claim_and_effect_commit_together() {
        let mut story = Story::exactly_once();
        story.tx(&[0], &[]);
        story.breaks(Law::Atomic, "x0 has the claim without the effect");
        let mut story = Story::exactly_once();
        story.tx(&[], &[0]);
        story.breaks(Law::Atomic, "x0 has the effect without the claim");
    }

    #[test]
    fn nothing_to_judge_is_no_success() {
        Story::exactly_once().is_vacuous(Law::AtMostOnce);
        Story::exactly_once().is_vacuous(Law::Atomic);
    }
}
