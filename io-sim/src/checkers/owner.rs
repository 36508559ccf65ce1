//! C5: only the owner of a partition handles it.
//!
//! Who was thrown out of its group does not know at once: it may go on until its session is over by its own clock, and a
//! process that stood still may act for a moment when it goes on. Nor does a member of the present generation know that
//! has not learnt of it: a coordinator counts a join that its member has given up with the connection. Who has learnt of
//! the generation knows.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_core::model::{Generation, Time};

use super::ledger::Ledger;
use super::{Breach, Checker, Law, Tested};
use crate::history::{GroupNo, Happening, Life, Place};

/// See the [module](self).
#[derive(Debug, Clone, Default)]
pub struct Owners {
    groups: BTreeMap<GroupNo, Owned>,
    /// The last generation that each member has learnt of.
    joined: BTreeMap<(GroupNo, Life), Generation>,
}

#[derive(Debug, Clone)]
struct Owned {
    generation: Generation,
    since: Time,
    members: BTreeSet<Life>,
    owners: BTreeMap<Place, Life>,
    /// Former members, and when the generation began that is without them.
    outsiders: BTreeMap<Life, Time>,
}

impl Checker for Owners {
    fn laws(&self) -> &'static [Law] {
        &[Law::OneOwner]
    }

    fn see(
        &mut self,
        ledger: &Ledger,
        at: Time,
        happening: &Happening,
        tested: &mut Tested,
    ) -> Result<(), Breach> {
        match happening {
            Happening::Assigned { group, generation, shares } => {
                let mut owners = BTreeMap::new();
                for share in shares.iter() {
                    for place in &share.places {
                        if let Some(other) = owners.insert(*place, share.life) {
                            let story = format!(
                                "generation {generation} gave {} to {other} and to {}",
                                ledger.facts().place_name(*place),
                                share.life,
                            );
                            return Err(Breach::new(Law::OneOwner, story));
                        }
                    }
                }
                let members: BTreeSet<_> = shares.iter().map(|share| share.life).collect();
                let mut outsiders = BTreeMap::new();
                if let Some(before) = self.groups.remove(group) {
                    outsiders = before.outsiders;
                    outsiders.extend(before.members.into_iter().map(|life| (life, at)));
                }
                outsiders.retain(|life, _| !members.contains(life));
                self.groups
                    .insert(*group, Owned { generation: *generation, since: at, members, owners, outsiders });
                Ok(())
            }
            Happening::Joined { group, life, generation } => {
                self.joined.insert((*group, *life), *generation);
                Ok(())
            }
            Happening::RunBegan { life, handler, place, .. } => {
                tested.count(Law::OneOwner);
                let group = ledger.facts().handler(*handler).group;
                self.may_run(ledger, at, *life, group, *place)
            }
            _ => Ok(()),
        }
    }
}

impl Owners {
    fn may_run(
        &self,
        ledger: &Ledger,
        at: Time,
        life: Life,
        group: GroupNo,
        place: Place,
    ) -> Result<(), Breach> {
        let facts = ledger.facts();
        let name = || facts.place_name(place);
        let Some(owned) = self.groups.get(&group) else {
            return Err(Breach::new(Law::OneOwner, format!("{life} handles {} in no generation", name())));
        };
        let owner = owned.owners.get(&place);
        if owner == Some(&life) {
            return Ok(());
        }
        let notice = facts.slack.notice;
        let session = facts.groups[usize::from(group.0)].session_timeout;
        let resumed = ledger.process(life).and_then(|process| process.resumed);
        let learnt = self.joined.get(&(group, life)).is_some_and(|learnt| *learnt >= owned.generation);
        let unaware = owned.members.contains(&life) && !learnt;
        let since = owned.outsiders.get(&life).copied().or(unaware.then_some(owned.since));
        let may_not_know = since.is_some_and(|since| {
            at.since(since) <= session + notice || resumed.is_some_and(|resumed| at.since(resumed) <= notice)
        });
        if may_not_know {
            return Ok(());
        }
        let story = format!(
            "{life} handles {}, which generation {} gave to {}",
            name(),
            owned.generation,
            owner.map_or_else(|| "nobody".to_owned(), ToString::to_string),
        );
        Err(Breach::new(Law::OneOwner, story))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::story::Story;
    use super::*;
    use crate::history::{Nature, RunEnd};

    fn one_record() -> Story {
        let mut story = Story::new();
        story.sent_and_logged(0, Some(1), Nature::Good);
        story
    }

    #[test]
    fn a_member_of_the_generation_handles_only_its_share() {
        let mut story = one_record();
        story.assigned(1, 0);
        story.handled(0, 0, RunEnd::Failed);
        story.holds(Law::OneOwner, 1);
        let orders = Story::PLACE;
        story.joined(2, 0);
        story.shares(2, &[(0, &[]), (1, &[orders])]);
        story.handled(0, 0, RunEnd::Done);
        story.breaks(Law::OneOwner, "0.0 handles orders/0, which generation 2 gave to 1.0");
    }

    #[test]
    fn an_outsider_may_go_on_until_its_session_is_over() {
        let mut story = one_record();
        story.assigned(1, 0);
        story.assigned(2, 1);
        story.pass(Duration::from_secs(9));
        story.handled(0, 0, RunEnd::Failed);
        story.holds(Law::OneOwner, 1);
        story.pass(Duration::from_secs(2));
        let mut zombie = story.clone();
        story.handled(0, 0, RunEnd::Failed);
        story.breaks(Law::OneOwner, "0.0 handles orders/0, which generation 2 gave to 1.0");
        zombie.paused_and_resumed(0);
        zombie.handled(0, 0, RunEnd::Failed);
        zombie.holds(Law::OneOwner, 2);
    }

    #[test]
    fn a_member_that_has_not_learnt_of_its_generation_may_go_on_like_an_outsider() {
        let mut story = one_record();
        story.joined(1, 0);
        story.assigned(1, 0);
        story.shares(2, &[(0, &[]), (1, &[Story::PLACE])]);
        story.pass(Duration::from_secs(9));
        story.handled(0, 0, RunEnd::Failed);
        story.holds(Law::OneOwner, 1);
        let mut late = story.clone();
        late.pass(Duration::from_secs(2));
        late.handled(0, 0, RunEnd::Failed);
        late.breaks(Law::OneOwner, "0.0 handles orders/0, which generation 2 gave to 1.0");
        story.joined(2, 0);
        story.handled(0, 0, RunEnd::Failed);
        story.breaks(Law::OneOwner, "0.0 handles orders/0, which generation 2 gave to 1.0");
    }

    #[test]
    fn nobody_handles_without_a_generation() {
        let mut story = one_record();
        story.handled(0, 0, RunEnd::Done);
        story.breaks(Law::OneOwner, "in no generation");
    }

    #[test]
    fn a_generation_gives_nothing_twice() {
        let mut story = one_record();
        story.shares(1, &[(0, &[Story::PLACE]), (1, &[Story::PLACE])]);
        story.breaks(Law::OneOwner, "gave orders/0 to 0.0 and to 1.0");
    }

    #[test]
    fn nothing_to_judge_is_no_success() {
        one_record().is_vacuous(Law::OneOwner);
    }
}
