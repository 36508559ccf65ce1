//! C2 and C3: what is committed is settled, and commits are their owner's and do not go back.

use std::collections::BTreeMap;
use std::ops::Range;

use evenkeel_core::model::{Generation, Offset, Time};

use super::ledger::Ledger;
use super::log::Log;
use super::{Breach, Checker, Law, Tested};
use crate::history::{GroupNo, HandlerNo, Happening, Life, Place};

/// See the [module](self).
#[derive(Debug, Clone, Default)]
pub struct Commits {
    generations: BTreeMap<GroupNo, (Generation, BTreeMap<Place, Life>)>,
    /// Everything below is known to be over.
    cleared: BTreeMap<(HandlerNo, Place), Offset>,
    stored: BTreeMap<(GroupNo, Place), Stored>,
    /// The position that was last told.
    served: BTreeMap<(GroupNo, Place), Served>,
}

#[derive(Debug, Clone, Copy)]
struct Served {
    life: Life,
    at: Time,
    /// Of several answers to one assignment any may be the one that arrived: the least.
    least: Offset,
    /// The next answer is to another assignment.
    is_over: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Stored {
    offset: Offset,
    highest: Offset,
    /// How far its owner knows of commits, and when the one was sent that said so. One of an assignment before that is
    /// taken after the owner was told a position counts for nothing here.
    known: Offset,
    sent: Time,
}

impl Stored {
    fn cut(&mut self, end: Offset) {
        for offset in [&mut self.offset, &mut self.highest, &mut self.known] {
            *offset = (*offset).min(end);
        }
    }
}

/// A commit that the coordinator took.
struct Accepted<'a> {
    group: GroupNo,
    place: Place,
    life: Life,
    generation: Generation,
    offset: Offset,
    settled: &'a [Range<Offset>],
    sent: Time,
}

impl Checker for Commits {
    fn laws(&self) -> &'static [Law] {
        &[Law::CommitSafety, Law::Epochs]
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
                let owners =
                    shares.iter().flat_map(|share| share.places.iter().map(|place| (*place, share.life)));
                self.generations.insert(*group, (*generation, owners.collect()));
                for (_, served) in self.served.iter_mut().filter(|((of, _), _)| of == group) {
                    served.is_over = true;
                }
                Ok(())
            }
            Happening::Committed {
                group,
                place,
                life,
                generation,
                offset,
                settled,
                outcome: Ok(()),
                sent,
            } if !ledger.was_made_anew(*place) => {
                let commit = Accepted {
                    group: *group,
                    place: *place,
                    life: *life,
                    generation: *generation,
                    offset: *offset,
                    settled,
                    sent: *sent,
                };
                if !ledger.can_judge(*life, *group, *place) {
                    // It may not know yet where the log was cut, and may have to go back; not further than that.
                    tested.count(Law::Epochs);
                    return self.goes_on(ledger, &commit);
                }
                tested.count(Law::CommitSafety);
                self.is_safe(ledger, &commit)?;
                tested.count(Law::Epochs);
                self.is_owners(ledger, &commit)
            }
            Happening::Truncated { place, end, .. } => {
                for (_, cleared) in self.cleared.iter_mut().filter(|((_, at), _)| at == place) {
                    *cleared = (*cleared).min(*end);
                }
                // Whoever did not know may have committed since; whoever takes over finds out how far it still holds.
                for (_, stored) in self.stored.iter_mut().filter(|((_, at), _)| at == place) {
                    stored.cut(*end);
                }
                Ok(())
            }
            Happening::PositionSet { group, place, offset } => {
                // What members commit from here on goes on from there.
                let offset = offset.unwrap_or_default();
                let set = Stored { offset, highest: offset, known: offset, sent: at };
                self.stored.insert((*group, *place), set);
                Ok(())
            }
            Happening::PositionServed { group, place, life, offset, .. } => {
                self.is_told(ledger, at, (*group, *place), *life, offset.unwrap_or_default());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn rest(&mut self, ledger: &Ledger, _: &mut Tested) -> Result<(), Breach> {
        for ((group, place), stored) in &self.stored {
            if stored.offset < stored.highest {
                let story = format!(
                    "group {} rests at {} of {}, but {} was committed before: a late commit took it back, and nobody \
                     committed again",
                    ledger.facts().groups[usize::from(group.0)].name,
                    stored.offset,
                    ledger.facts().place_name(*place),
                    stored.highest,
                );
                return Err(Breach::new(Law::Epochs, story));
            }
        }
        Ok(())
    }
}

impl Commits {
    /// Whoever begins knows of all that was committed until then.
    fn is_told(&mut self, ledger: &Ledger, at: Time, id: (GroupNo, Place), life: Life, offset: Offset) {
        let before = self.served.get(&id).filter(|served| served.life == life && !served.is_over);
        let least = before.map_or(offset, |served| served.least.min(offset));
        self.served.insert(id, Served { life, at, least, is_over: false });
        let is_owner =
            self.generations.get(&id.0).is_some_and(|(_, owners)| owners.get(&id.1) == Some(&life));
        // Of a log that was cut, what is stored may speak of what is lost.
        if let Some(stored) = self.stored.get_mut(&id)
            && is_owner
            && !ledger.was_cut(id.1)
            && least > stored.known
        {
            stored.known = least;
            stored.sent = at;
        }
    }

    fn is_safe(&mut self, ledger: &Ledger, commit: &Accepted<'_>) -> Result<(), Breach> {
        let facts = ledger.facts();
        let end = ledger.log(commit.place).map_or(Offset::ZERO, Log::end);
        let at = || facts.place_name(commit.place);
        let unsafe_ = |story: String| Err(Breach::new(Law::CommitSafety, story));
        if commit.offset > end {
            return unsafe_(format!(
                "{} committed {} of {}, which ends at {end}",
                commit.life,
                commit.offset,
                at()
            ));
        }
        for handler in ledger.run_by(commit.life, commit.group, commit.place.topic) {
            let open = |offset: &Offset| {
                let record = ledger.log(commit.place).and_then(|log| log.record(*offset));
                record.is_some_and(|record| !record.destroyed)
                    && !ledger.is_over(handler, commit.place, *offset)
            };
            let cleared = self.cleared.entry((handler, commit.place)).or_default();
            if let Some(offset) = (cleared.0..commit.offset.0).map(Offset).find(open) {
                return unsafe_(format!(
                    "{} committed {} of {} while {offset} was not settled by {}",
                    commit.life,
                    commit.offset,
                    at(),
                    facts.handler_name(handler),
                ));
            }
            *cleared = commit.offset.max(*cleared);
            let named = commit.settled.iter().flat_map(|run| run.start.0..run.end.min(end).0).map(Offset);
            if let Some(offset) = named.into_iter().find(open) {
                return unsafe_(format!(
                    "{} committed {} of {} and named {offset} settled, which {} had not settled",
                    commit.life,
                    commit.offset,
                    at(),
                    facts.handler_name(handler),
                ));
            }
        }
        Ok(())
    }

    /// One that was sent before the other was held up on its way; the member has to say its own again.
    fn goes_on(&self, ledger: &Ledger, commit: &Accepted<'_>) -> Result<(), Breach> {
        let Some(stored) = self.stored.get(&(commit.group, commit.place)) else { return Ok(()) };
        if commit.offset >= stored.known || commit.sent < stored.sent {
            return Ok(());
        }
        let story = format!(
            "{} committed {} of {} after {} had been committed",
            commit.life,
            commit.offset,
            ledger.facts().place_name(commit.place),
            stored.known,
        );
        Err(Breach::new(Law::Epochs, story))
    }

    fn is_owners(&mut self, ledger: &Ledger, commit: &Accepted<'_>) -> Result<(), Breach> {
        let at = || ledger.facts().place_name(commit.place);
        let wrong = |story: String| Err(Breach::new(Law::Epochs, story));
        let Some((generation, owners)) = self.generations.get(&commit.group) else {
            return wrong(format!(
                "{} committed {} of {} in no generation",
                commit.life,
                commit.offset,
                at()
            ));
        };
        if *generation != commit.generation {
            return wrong(format!(
                "{} committed {} of {} under generation {}, and the group is at {generation}",
                commit.life,
                commit.offset,
                at(),
                commit.generation,
            ));
        }
        if owners.get(&commit.place) != Some(&commit.life) {
            return wrong(format!(
                "{} committed {} of {}, which generation {generation} gave to {}",
                commit.life,
                commit.offset,
                at(),
                owners.get(&commit.place).map_or_else(|| "nobody".to_owned(), ToString::to_string),
            ));
        }
        self.goes_on(ledger, commit)?;
        let id = (commit.group, commit.place);
        let is_late =
            self.served.get(&id).is_some_and(|served| served.life == commit.life && commit.sent < served.at);
        let stored = self.stored.entry(id).or_default();
        stored.offset = commit.offset;
        if !is_late {
            if commit.sent >= stored.sent {
                stored.known = commit.offset;
                stored.sent = commit.sent;
            }
            stored.highest = stored.highest.max(commit.offset);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::story::Story;
    use super::*;
    use crate::history::{Nature, RunEnd};

    #[test]
    fn whoever_took_over_since_the_log_was_cut_answers_for_what_it_commits_there() {
        let mut story = Story::committed_and_cut();
        let mut knew_not = story.clone();
        knew_not.committed(1, 0, 2, &[]);
        knew_not.served(0, 2, &[]);
        knew_not.committed(1, 0, 2, &[]);
        knew_not.holds(Law::CommitSafety, 1);
        story.assigned(2, 1);
        story.served(1, 2, &[]);
        story.committed(2, 1, 1, &[]);
        let mut back = story.clone();
        story.committed(2, 1, 2, &[]);
        story.breaks(Law::CommitSafety, "committed 2 of orders/0 while 1 was not settled by billing/charge");
        back.committed(2, 1, 0, &[]);
        back.breaks(Law::Epochs, "committed 0 of orders/0 after 1 had been committed");
    }

    #[test]
    fn a_topic_that_was_made_anew_is_not_judged_and_a_log_that_an_election_emptied_is() {
        let passes_over = |mut story: Story| {
            story.sent_and_logged(2, Some(2), Nature::Good);
            story.assigned(2, 1);
            story.served(1, 0, &[]);
            story.committed(2, 1, 1, &[]);
            story
        };
        let (mut deleted, mut cut) = (Story::two_records(), Story::two_records());
        deleted.deleted();
        passes_over(deleted).is_vacuous(Law::CommitSafety);
        cut.truncated(0);
        passes_over(cut).breaks(Law::CommitSafety, "while 0 was not settled");
    }

    #[test]
    fn what_others_set_may_lie_lower_and_members_go_on_from_there() {
        for set in [None, Some(0)] {
            let mut story = Story::two_records();
            story.handled(0, 0, RunEnd::Done);
            story.handled(0, 1, RunEnd::Done);
            story.committed(1, 0, 2, &[]);
            let mut by_itself = story.clone();
            by_itself.committed(1, 0, 1, &[]);
            by_itself.breaks(Law::Epochs, "after 2 had been committed");
            story.set_from_outside(set);
            story.committed(1, 0, 1, &[]);
            let mut back = story.clone();
            story.holds(Law::Epochs, 2);
            back.committed(1, 0, 0, &[]);
            back.breaks(Law::Epochs, "after 1 had been committed");
        }
    }

    #[test]
    fn a_process_answers_for_its_own_handlers_and_not_for_what_others_passed_over() {
        let mut story = Story::two_records();
        story.deployed_without(0);
        story.committed(1, 0, 1, &[]);
        story.assigned(2, 1);
        let mut too_far = story.clone();
        story.handled(1, 1, RunEnd::Done);
        story.committed(2, 1, 2, &[]);
        story.holds(Law::CommitSafety, 2);
        too_far.committed(2, 1, 2, &[]);
        too_far.breaks(Law::CommitSafety, "while 1 was not settled by billing/charge");
    }

    #[test]
    fn a_commit_past_an_unsettled_record_is_unsafe() {
        let mut story = Story::two_records();
        story.handled(0, 0, RunEnd::Done);
        story.committed(1, 0, 1, &[]);
        story.holds(Law::CommitSafety, 1);
        story.committed(1, 0, 2, &[]);
        story.breaks(Law::CommitSafety, "committed 2 of orders/0 while 1 was not settled by billing/charge");
    }

    #[test]
    fn a_failed_run_settles_nothing() {
        let mut story = Story::two_records();
        story.handled(0, 0, RunEnd::Panicked);
        story.committed(1, 0, 1, &[]);
        story.breaks(Law::CommitSafety, "while 0 was not settled");
    }

    #[test]
    fn what_metadata_names_must_be_settled() {
        let mut story = Story::two_records();
        story.handled(0, 1, RunEnd::Done);
        story.committed(1, 0, 0, &[(1, 2)]);
        story.holds(Law::CommitSafety, 1);
        let mut story = Story::two_records();
        story.committed(1, 0, 0, &[(1, 9)]);
        story.breaks(Law::CommitSafety, "named 1 settled");
    }

    #[test]
    fn a_commit_past_the_end_is_unsafe() {
        let mut story = Story::two_records();
        story.committed(1, 0, 3, &[]);
        story.breaks(Law::CommitSafety, "which ends at 2");
    }

    #[test]
    fn only_the_owner_commits_and_only_in_its_generation() {
        let mut story = Story::two_records();
        story.committed(1, 1, 0, &[]);
        story.breaks(Law::Epochs, "which generation 1 gave to 0.0");
        let mut story = Story::two_records();
        story.assigned(2, 0);
        story.committed(1, 0, 0, &[]);
        story.breaks(Law::Epochs, "under generation 1, and the group is at 2");
    }

    #[test]
    fn a_commit_does_not_go_back_unless_it_was_held_up_on_its_way() {
        let mut story = Story::two_records();
        story.handled(0, 0, RunEnd::Done);
        story.handled(0, 1, RunEnd::Done);
        story.pass(Duration::from_secs(3));
        story.committed(1, 0, 2, &[]);
        story.pass(Duration::from_secs(1));
        let mut late = story.clone();
        story.committed_late(1, 0, 1, Duration::from_secs(1));
        story.breaks(Law::Epochs, "committed 1 of orders/0 after 2");
        late.committed_late(1, 0, 1, Duration::from_secs(2));
        late.breaks(Law::Epochs, "rests at 1 of orders/0, but 2");
        let mut again = late.clone();
        again.pass(Duration::from_secs(1));
        again.committed(1, 0, 1, &[]);
        again.breaks(Law::Epochs, "committed 1 of orders/0 after 2");
        late.committed(1, 0, 2, &[]);
        late.holds(Law::Epochs, 3);
    }

    #[test]
    fn a_commit_of_an_assignment_before_that_is_taken_late_binds_nobody_who_was_told_less() {
        let mut story = Story::two_records();
        story.handled(0, 0, RunEnd::Done);
        story.handled(0, 1, RunEnd::Done);
        story.committed(1, 0, 1, &[]);
        story.pass(Duration::from_secs(3));
        story.served(0, 1, &[]);
        story.pass(Duration::from_secs(1));
        story.committed_late(1, 0, 2, Duration::from_secs(2));
        let mut back = story.clone();
        story.committed(1, 0, 1, &[]);
        story.holds(Law::Epochs, 3);
        let mut next = back.clone();
        back.committed(1, 0, 0, &[]);
        back.breaks(Law::Epochs, "committed 0 of orders/0 after 1 had been committed");
        next.assigned(2, 1);
        next.served(1, 2, &[]);
        next.committed(2, 1, 1, &[]);
        next.breaks(Law::Epochs, "committed 1 of orders/0 after 2 had been committed");
    }

    #[test]
    fn nothing_to_judge_is_no_success() {
        Story::two_records().is_vacuous(Law::CommitSafety);
        Story::two_records().is_vacuous(Law::Epochs);
    }
}
