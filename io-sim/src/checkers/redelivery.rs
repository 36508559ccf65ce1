//! C4: what a member was told is settled, or settled itself, it does not hand out again; and a clean stop leaves nothing
//! to be handed out again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use evenkeel_core::model::{Offset, Time};

use super::ledger::Ledger;
use super::{Breach, Checker, Law, Tested};
use crate::history::{End, Flavour, GroupNo, HandlerNo, Happening, Life, Place, RunEnd, RunNo};

/// See the [module](self).
#[derive(Debug, Clone, Default)]
pub struct Redelivery {
    members: BTreeMap<(Life, GroupNo, Place), Member>,
    stored: BTreeMap<(GroupNo, Place), Position>,
    owners: BTreeMap<(GroupNo, Place), Life>,
    runs: BTreeMap<RunNo, (Life, HandlerNo, Place, Offset)>,
}

/// What a member knows of a partition of its own.
#[derive(Debug, Clone, Default)]
struct Member {
    served: Position,
    /// It began to work with what it was served; the next answer belongs to another assignment.
    at_work: bool,
    /// It was served since it was assigned the partition last.
    is_present: bool,
    /// What it committed last. What others do to the group's position is not its fault.
    committed: Position,
    /// What it settled since, for certain.
    settled: BTreeSet<(HandlerNo, Offset)>,
    /// What it is done with since and knows of, if its transactions committed.
    done: BTreeSet<(HandlerNo, Offset)>,
}

#[derive(Debug, Clone, Default)]
struct Position {
    offset: Offset,
    beyond: Arc<[Range<Offset>]>,
    /// The handlers of whoever committed it.
    handlers: Vec<HandlerNo>,
}

impl Position {
    fn covers(&self, offset: Offset) -> bool {
        offset < self.offset || self.beyond.iter().any(|run| run.contains(&offset))
    }
}

impl Checker for Redelivery {
    fn laws(&self) -> &'static [Law] {
        &[Law::Redelivery]
    }

    fn see(
        &mut self,
        ledger: &Ledger,
        _: Time,
        happening: &Happening,
        tested: &mut Tested,
    ) -> Result<(), Breach> {
        match happening {
            Happening::Assigned { group, shares, .. } => {
                self.owners.retain(|(of, _), _| of != group);
                for share in shares.iter() {
                    self.owners.extend(share.places.iter().map(|place| ((*group, *place), share.life)));
                }
                for ((_, of, _), member) in &mut self.members {
                    member.at_work |= of == group;
                    member.is_present &= of != group;
                }
            }
            Happening::Truncated { place, end, .. } => {
                self.members.retain(|(.., at), _| at != place);
                for (_, stored) in self.stored.iter_mut().filter(|((_, at), _)| at == place) {
                    stored.offset = stored.offset.min(*end);
                    stored.beyond = [].into();
                }
                self.runs.retain(|_, (.., at, _)| at != place);
            }
            Happening::PositionServed { group, place, life, offset, settled } => {
                let member = self
                    .members
                    .entry((*life, *group, *place))
                    .or_insert_with(|| Member { at_work: true, ..Member::default() });
                // Of several answers before the work begins any may be the one that arrived: the first knows least.
                if member.at_work {
                    let handlers = ledger.run_by(*life, *group, place.topic);
                    // What is settled for other handlers is not settled for these.
                    let is_theirs =
                        self.stored.get(&(*group, *place)).is_none_or(|stored| stored.handlers == handlers);
                    let beyond = if is_theirs { Arc::clone(settled) } else { [].into() };
                    let mut served = Position { offset: offset.unwrap_or_default(), beyond, handlers };
                    // Of a log that was cut since only what lies below counts, and what was committed in the knowledge.
                    if ledger.was_cut(*place) {
                        let known = self.stored.get(&(*group, *place));
                        let known = known.map_or(Offset::ZERO, |stored| stored.offset);
                        served.offset = served.offset.min(known);
                        served.beyond = [].into();
                    }
                    *member = Member { served, is_present: true, ..Member::default() };
                }
            }
            Happening::Committed { group, place, life, offset, settled, outcome: Ok(()), .. }
                if ledger.can_judge(*life, *group, *place) =>
            {
                let handlers = ledger.run_by(*life, *group, place.topic);
                let position = Position { offset: *offset, beyond: Arc::clone(settled), handlers };
                if let Some(member) = self.members.get_mut(&(*life, *group, *place)) {
                    member.committed = position.clone();
                }
                self.stored.insert((*group, *place), position);
            }
            Happening::PositionSet { group, place, .. } => {
                // Whoever asks once more may be told less than before.
                for ((_, of, at), member) in &mut self.members {
                    member.at_work |= of == group && at == place;
                }
            }
            Happening::RunBegan { run, life, handler, place, offset, .. }
                if ledger.can_judge_handler(*life, *handler, *place) =>
            {
                self.runs.insert(*run, (*life, *handler, *place, *offset));
                let facts = ledger.facts();
                let group = facts.handler(*handler).group;
                let member = self.members.entry((*life, group, *place)).or_default();
                member.at_work = true;
                tested.count(Law::Redelivery);
                let again = |why: &str| {
                    let story = format!(
                        "{life} handed {offset} of {} to {} again, {why}",
                        facts.place_name(*place),
                        facts.handler_name(*handler),
                    );
                    Err(Breach::new(Law::Redelivery, story))
                };
                if member.served.covers(*offset) {
                    return again("which the position it began with says is settled");
                }
                if member.settled.contains(&(*handler, *offset)) {
                    return again("which it had settled itself");
                }
            }
            Happening::RunEnded { run, end } => {
                let Some((life, handler, place, offset)) = self.runs.remove(run) else { return Ok(()) };
                let facts = ledger.facts().handler(handler);
                let Some(member) = self.members.get_mut(&(life, facts.group, place)) else { return Ok(()) };
                if matches!(end, RunEnd::Done | RunEnd::Ignored) {
                    let is_idempotent = facts.flavour == Flavour::Idempotent;
                    // What an exactly-once handler did may have an unknown outcome, and then it is handed out again.
                    if is_idempotent {
                        member.settled.insert((handler, offset));
                    }
                    // In the quiet the reply to its commit comes.
                    if is_idempotent || ledger.is_quiet() {
                        member.done.insert((handler, offset));
                    }
                }
            }
            Happening::GivenUp { life, handler, place, offset, .. } => {
                let group = ledger.facts().handler(*handler).group;
                if let Some(member) = self.members.get_mut(&(*life, group, *place)) {
                    member.done.insert((*handler, *offset));
                }
            }
            Happening::LifeEnded { life, end } => {
                self.runs.retain(|_, (of, ..)| of != life);
                if *end == (End::Stopped { clean: true }) {
                    return self.left_nothing(ledger, *life, tested);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Redelivery {
    /// What a process settled with its last assignment is in the stored positions.
    fn left_nothing(&self, ledger: &Ledger, life: Life, tested: &mut Tested) -> Result<(), Breach> {
        let facts = ledger.facts();
        let owned = self.owners.iter().filter(|(_, owner)| **owner == life).map(|(owned, _)| owned);
        for (group, place) in owned.filter(|(group, place)| ledger.can_judge(life, *group, *place)) {
            let (Some(log), Some(member)) = (ledger.log(*place), self.members.get(&(life, *group, *place)))
            else {
                continue;
            };
            // One that was not told a position knows of nothing that was settled.
            if !member.is_present {
                continue;
            }
            let stored = self.stored.get(&(*group, *place)).cloned().unwrap_or_default();
            let is_committed = |offset| stored.covers(offset) || member.committed.covers(offset);
            for (offset, _) in log.records() {
                let mut handlers = ledger.run_by(life, *group, place.topic).into_iter().peekable();
                // What an earlier assignment settled and could not commit is not known to this one.
                let is_over = handlers.peek().is_some()
                    && handlers.all(|handler| {
                        ledger.is_over(handler, *place, offset) && member.done.contains(&(handler, offset))
                    });
                // What is settled before the first open record is committed by the offset alone.
                let may_be_cut = facts.metadata_is_cut && offset > stored.offset;
                tested.count(Law::Redelivery);
                if is_over && !is_committed(offset) && !may_be_cut {
                    let story = format!(
                        "{life} stopped cleanly and left {offset} of {} settled but not committed: it will be handled again",
                        facts.place_name(*place),
                    );
                    return Err(Breach::new(Law::Redelivery, story));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::Story;
    use super::*;
    use crate::history::Nature;

    #[test]
    fn whoever_took_over_since_the_log_was_cut_begins_where_the_logs_part_and_hands_nothing_out_twice() {
        let mut story = Story::committed_and_cut();
        story.assigned(2, 1);
        story.served(1, 2, &[]);
        story.handled_instead(1, 1, 2, RunEnd::Done);
        story.holds(Law::Redelivery, 3);
        let mut again = story.clone();
        again.handled_instead(1, 1, 2, RunEnd::Done);
        again.breaks(
            Law::Redelivery,
            "handed 1 of orders/0 to billing/charge again, which it had settled itself",
        );
        story.committed(2, 1, 2, &[]);
        story.assigned(3, 0);
        story.served(0, 2, &[]);
        story.handled_instead(0, 1, 2, RunEnd::Done);
        story.breaks(Law::Redelivery, "which the position it began with says is settled");
    }

    #[test]
    fn what_the_position_says_is_settled_is_not_handed_out() {
        for (offset, beyond, handed) in [(1, &[][..], 0), (0, &[(1, 2)], 1)] {
            let mut story = Story::two_records();
            story.served(0, offset, beyond);
            story.handled(0, handed, RunEnd::Done);
            story.breaks(Law::Redelivery, "which the position it began with says is settled");
        }
    }

    #[test]
    fn what_is_settled_for_other_handlers_may_be_handed_out() {
        for other in [false, true] {
            let mut story = Story::two_records();
            if other {
                story.deployed_without(0);
            }
            story.committed(1, 0, 0, &[(1, 2)]);
            story.assigned(2, 1);
            story.served(1, 0, &[(1, 2)]);
            story.handled(1, 1, RunEnd::Done);
            if other {
                story.holds(Law::Redelivery, 1);
            } else {
                story.breaks(Law::Redelivery, "which the position it began with says is settled");
            }
        }
    }

    #[test]
    fn what_was_settled_is_not_handed_out_again_by_the_same_assignment() {
        let mut story = Story::two_records();
        story.served(0, 0, &[]);
        story.handled(0, 0, RunEnd::Failed);
        story.handled(0, 0, RunEnd::Done);
        story.holds(Law::Redelivery, 2);
        let mut next_assignment = story.clone();
        story.handled(0, 0, RunEnd::Done);
        story.breaks(Law::Redelivery, "which it had settled itself");
        next_assignment.served(0, 0, &[]);
        next_assignment.handled(0, 0, RunEnd::Done);
        next_assignment.holds(Law::Redelivery, 3);
    }

    #[test]
    fn of_two_answers_before_the_work_the_first_counts() {
        let mut story = Story::two_records();
        story.served(0, 0, &[]);
        story.served(0, 1, &[]);
        story.handled(0, 0, RunEnd::Done);
        story.holds(Law::Redelivery, 1);
    }

    #[test]
    fn an_answer_after_the_position_was_set_back_counts_although_no_work_was_done() {
        let mut story = Story::two_records();
        story.served(0, 1, &[]);
        let mut told_once = story.clone();
        story.set_from_outside(Some(0));
        story.served(0, 0, &[]);
        story.handled(0, 0, RunEnd::Done);
        story.holds(Law::Redelivery, 1);
        told_once.set_from_outside(Some(0));
        told_once.handled(0, 0, RunEnd::Done);
        told_once.breaks(Law::Redelivery, "which the position it began with says is settled");
    }

    #[test]
    fn a_clean_stop_leaves_nothing_settled_uncommitted() {
        let mut story = Story::two_records();
        story.served(0, 0, &[]);
        story.handled(0, 0, RunEnd::Done);
        story.quiet();
        let mut committed = story.clone();
        story.stopped(0);
        story.breaks(Law::Redelivery, "left 0 of orders/0 settled but not committed");
        committed.committed(1, 0, 1, &[]);
        committed.stopped(0);
        committed.holds(Law::Redelivery, 3);
    }

    #[test]
    fn what_an_assignment_before_settled_is_not_known_to_one_that_was_told_no_position() {
        let mut story = Story::two_records();
        story.served(0, 0, &[]);
        story.handled(0, 0, RunEnd::Done);
        story.quiet();
        story.assigned(2, 0);
        let mut told = story.clone();
        story.stopped(0);
        story.holds(Law::Redelivery, 1);
        told.served(0, 0, &[]);
        told.handled(0, 0, RunEnd::Done);
        told.stopped(0);
        told.breaks(Law::Redelivery, "left 0 of orders/0 settled but not committed");
    }

    #[test]
    fn that_a_transaction_committed_is_known_where_its_reply_comes() {
        for in_the_quiet in [false, true] {
            let mut story = Story::exactly_once();
            for event in 0..2 {
                story.sent_and_logged(event, Some(0), Nature::Good);
            }
            story.assigned(1, 0);
            story.served(0, 0, &[]);
            if in_the_quiet {
                story.quiet();
            }
            story.handled(0, 0, RunEnd::Done);
            story.tx(&[0], &[0]);
            story.quiet();
            story.stopped(0);
            if in_the_quiet {
                story.breaks(Law::Redelivery, "left 0 of orders/0 settled but not committed");
            } else {
                story.holds(Law::Redelivery, 3);
            }
        }
    }

    #[test]
    fn nothing_to_judge_is_no_success() {
        Story::two_records().is_vacuous(Law::Redelivery);
    }
}
