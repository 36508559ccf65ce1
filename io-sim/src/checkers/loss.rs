//! C1 and E2: at rest nothing is left undone but what a policy keeps open.

use evenkeel_core::model::{OnFailure, Time};

use super::ledger::Ledger;
use super::{Breach, Checker, Law, Tested};
use crate::history::{Flavour, Happening};

/// See the [module](self).
#[derive(Debug, Clone, Copy, Default)]
pub struct Loss;

impl Checker for Loss {
    fn laws(&self) -> &'static [Law] {
        &[Law::NoLoss, Law::AtLeastOnce]
    }

    fn see(&mut self, _: &Ledger, _: Time, _: &Happening, _: &mut Tested) -> Result<(), Breach> {
        Ok(())
    }

    fn rest(&mut self, ledger: &Ledger, tested: &mut Tested) -> Result<(), Breach> {
        let facts = ledger.facts();
        for (number, handler) in facts.numbered_handlers() {
            let law = match handler.flavour {
                Flavour::Idempotent => Law::NoLoss,
                Flavour::ExactlyOnce => Law::AtLeastOnce,
            };
            if let Some((place, offset)) = ledger.forgotten(number).first() {
                let story = format!(
                    "the record at {} of {} was not settled by {} when all had come to rest, and {} \
                     lets it go",
                    offset,
                    facts.place_name(*place),
                    facts.handler_name(number),
                    match handler.on_failure {
                        OnFailure::Block => "nothing of its policy (block)",
                        _ => "no exhausted policy",
                    },
                );
                return Err(Breach::new(law, story));
            }
            if !ledger.is_run(number) {
                continue;
            }
            for (_, log) in ledger.logs().filter(|(place, _)| place.topic == handler.topic) {
                for _ in log.records() {
                    tested.count(law);
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
    use crate::history::{Nature, RunEnd};

    #[test]
    fn a_record_that_nobody_settled_is_lost() {
        let mut story = Story::new();
        story.sent_and_logged(0, Some(1), Nature::Good);
        story.sent_and_logged(1, Some(2), Nature::Good);
        story.handled(0, 0, RunEnd::Done);
        story.breaks(Law::NoLoss, "the record at 1 of orders/0 was not settled by billing/charge");
        story.handled(0, 1, RunEnd::Done);
        story.holds(Law::NoLoss, 2);
    }

    #[test]
    fn a_run_that_failed_settles_nothing() {
        for end in [RunEnd::Failed, RunEnd::Panicked, RunEnd::Dropped, RunEnd::World] {
            let mut story = Story::new();
            story.sent_and_logged(0, None, Nature::Good);
            story.handled(0, 0, end);
            story.breaks(Law::NoLoss, "the record at 0");
        }
    }

    #[test]
    fn what_blocks_by_policy_and_what_waits_behind_it_is_not_lost() {
        let mut story = Story::new();
        story.sent_and_logged(0, Some(1), Nature::Poison);
        story.sent_and_logged(1, Some(1), Nature::Good);
        story.breaks(Law::NoLoss, "the record at 0");
        story.handled(0, 0, RunEnd::Failed);
        story.holds(Law::NoLoss, 2);
        story.sent_and_logged(2, Some(2), Nature::Good);
        story.breaks(Law::NoLoss, "the record at 2");
    }

    #[test]
    fn what_waits_behind_a_record_that_blocks_and_was_destroyed_since_is_no_loss() {
        let mut story = Story::new();
        story.sent_and_logged(0, Some(1), Nature::Poison);
        story.sent_and_logged(1, Some(1), Nature::Good);
        story.sent_and_logged(2, Some(2), Nature::Good);
        story.destroyed(0..1);
        story.breaks(Law::NoLoss, "the record at 2 of");
        story.handled(0, 2, RunEnd::Done);
        story.holds(Law::NoLoss, 3);
    }

    #[test]
    fn a_record_that_an_election_cut_off_holds_nobody_up_and_one_that_comes_back_does() {
        let mut story = Story::new();
        story.sent_and_logged(0, Some(1), Nature::Poison);
        story.handled(0, 0, RunEnd::Failed);
        story.truncated(0);
        let mut back = story.clone();
        story.sent_and_logged(1, Some(1), Nature::Good);
        story.breaks(Law::NoLoss, "the record at 0 of");
        back.logged(0);
        back.sent_and_logged(1, Some(1), Nature::Good);
        back.holds(Law::NoLoss, 2);
    }

    #[test]
    fn what_the_world_destroyed_is_nobodys_fault() {
        let mut story = Story::new();
        story.sent_and_logged(0, Some(1), Nature::Good);
        story.destroyed(0..1);
        story.holds(Law::NoLoss, 1);
    }

    #[test]
    fn what_stands_where_the_log_was_cut_must_be_settled_itself() {
        let mut story = Story::new();
        story.sent_and_logged(0, Some(1), Nature::Good);
        story.sent_and_logged(1, Some(1), Nature::Good);
        story.handled(0, 0, RunEnd::Done);
        story.handled(0, 1, RunEnd::Done);
        let late = story.begun(0, 1);
        story.truncated(1);
        story.holds(Law::NoLoss, 1);
        story.sent_and_logged(2, Some(1), Nature::Good);
        story.breaks(Law::NoLoss, "the record at 1");
        story.ended(late, RunEnd::Done);
        story.breaks(Law::NoLoss, "the record at 1");
        story.handled_instead(0, 1, 2, RunEnd::Done);
        story.holds(Law::NoLoss, 2);
    }

    /// One without a record leads for a while, and then one that has it, and nobody need have noticed.
    #[test]
    fn a_record_that_comes_back_is_what_it_was() {
        let mut story = Story::new();
        story.sent_and_logged(0, Some(1), Nature::Good);
        story.sent_and_logged(1, Some(1), Nature::Good);
        story.handled(0, 0, RunEnd::Done);
        let late = story.begun(0, 1);
        story.truncated(0);
        let mut by_then = story.clone();
        by_then.ended(late, RunEnd::Done);
        by_then.logged(0);
        by_then.logged(1);
        by_then.holds(Law::NoLoss, 2);
        story.logged(0);
        story.logged(1);
        story.breaks(Law::NoLoss, "the record at 1");
        story.ended(late, RunEnd::Done);
        story.holds(Law::NoLoss, 2);
    }

    #[test]
    fn what_comes_back_of_a_topic_that_was_deleted_is_another_record() {
        let mut story = Story::new();
        story.sent_and_logged(0, Some(1), Nature::Good);
        story.handled(0, 0, RunEnd::Done);
        story.deleted();
        story.logged(0);
        story.breaks(Law::NoLoss, "the record at 0");
    }

    #[test]
    fn what_the_world_destroyed_is_not_owed_when_it_comes_back() {
        let mut story = Story::new();
        story.sent_and_logged(0, Some(1), Nature::Good);
        story.destroyed(0..1);
        story.truncated(0);
        story.logged(0);
        story.holds(Law::NoLoss, 1);
    }

    #[test]
    fn whoever_took_over_since_a_record_was_cut_off_passes_over_what_stands_there_and_not_it() {
        let mut story = Story::new();
        story.sent_and_logged(0, Some(1), Nature::Good);
        story.sent_and_logged(1, Some(1), Nature::Good);
        story.deployed_without(0);
        story.truncated(1);
        story.sent_and_logged(2, Some(1), Nature::Good);
        story.assigned(2, 0);
        story.served(0, 1, &[]);
        story.committed(2, 0, 2, &[]);
        story.holds(Law::NoLoss, 2);
        story.truncated(1);
        story.logged(1);
        story.breaks(Law::NoLoss, "the record at 1");
    }

    #[test]
    fn what_was_passed_over_while_it_was_cut_off_is_not_owed_when_it_comes_back() {
        let mut story = Story::new();
        story.sent_and_logged(0, Some(1), Nature::Good);
        story.deployed_without(0);
        story.truncated(0);
        story.committed(1, 0, 1, &[]);
        story.logged(0);
        story.holds(Law::NoLoss, 1);
    }

    #[test]
    fn what_was_committed_without_a_handler_is_not_owed_to_it_and_the_rest_is() {
        let mut story = Story::new();
        story.sent_and_logged(0, Some(1), Nature::Good);
        story.sent_and_logged(1, Some(1), Nature::Good);
        story.deployed_without(0);
        story.breaks(Law::NoLoss, "the record at 0");
        story.committed(1, 0, 1, &[]);
        story.breaks(Law::NoLoss, "the record at 1");
        story.handled(1, 1, RunEnd::Done);
        story.holds(Law::NoLoss, 2);
    }

    #[test]
    fn what_was_passed_over_may_hold_up_its_key_once_the_position_was_set_back() {
        let mut story = Story::new();
        story.sent_and_logged(0, Some(1), Nature::Poison);
        story.sent_and_logged(1, Some(1), Nature::Good);
        story.sent_and_logged(2, Some(2), Nature::Good);
        story.deployed_without(0);
        story.committed(1, 0, 1, &[]);
        story.breaks(Law::NoLoss, "the record at 1");
        story.set_from_outside(Some(1));
        story.breaks(Law::NoLoss, "the record at 1");
        story.set_from_outside(None);
        story.breaks(Law::NoLoss, "the record at 2");
        story.handled(1, 2, RunEnd::Done);
        story.holds(Law::NoLoss, 3);
    }

    #[test]
    fn a_settled_set_owes_a_handler_that_joins_all_that_is_in_it() {
        let mut story = Story::new();
        story.sent_and_logged(0, Some(1), Nature::Good);
        story.sent_and_logged(1, Some(1), Nature::Good);
        story.deployed_without(0);
        story.committed(1, 0, 1, &[(1, 2)]);
        story.breaks(Law::NoLoss, "the record at 1");
    }

    #[test]
    fn a_handler_that_nobody_runs_any_more_is_owed_nothing() {
        let mut story = Story::new();
        story.sent_and_logged(0, Some(1), Nature::Good);
        story.deployed_without(0);
        story.breaks(Law::NoLoss, "the record at 0");
        story.deployed_without(1);
        story.is_vacuous(Law::NoLoss);
    }

    #[test]
    fn what_was_lost_is_given_up_late_and_what_came_in_its_place_is_not() {
        let mut story = Story::new();
        story.sent_and_logged(0, Some(1), Nature::Good);
        story.handled(0, 0, RunEnd::Failed);
        let run = story.begun(0, 0);
        story.truncated(0);
        story.sent_and_logged(1, Some(1), Nature::Good);
        story.ended(run, RunEnd::Failed);
        story.given_up(0, 0, 2);
        story.breaks(Law::NoLoss, "the record at 0");
        story.handled_instead(0, 0, 1, RunEnd::Failed);
        story.given_up(0, 0, 1);
        story.holds(Law::NoLoss, 1);
    }

    #[test]
    fn an_exactly_once_handler_settles_when_its_transaction_commits() {
        let mut story = Story::exactly_once();
        story.sent_and_logged(0, Some(1), Nature::Good);
        story.handled(0, 0, RunEnd::Done);
        story.breaks(Law::AtLeastOnce, "the record at 0");
        story.tx(&[0], &[0]);
        story.holds(Law::AtLeastOnce, 1);
    }

    #[test]
    fn nothing_to_judge_is_no_success() {
        Story::new().is_vacuous(Law::NoLoss);
    }
}
