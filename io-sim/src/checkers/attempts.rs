//! C9: attempts are counted, waited for and limited as the policy says.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_core::model::{Offset, OnFailure, RetryPolicy, Time};

use super::ledger::Ledger;
use super::{Breach, Checker, Law, Tested};
use crate::history::{CallNo, GroupNo, HandlerNo, Happening, Life, Nature, Place, RunEnd, RunNo};

/// What is added to a wait that is cut short, so that clocks and roundings break no law.
const SLACK: Duration = Duration::from_millis(20);

/// See the [module](self).
#[derive(Debug, Clone, Default)]
pub struct Attempts {
    deliveries: BTreeMap<(Life, HandlerNo, Place, Offset), Delivery>,
    runs: BTreeMap<RunNo, Began>,
    calls: BTreeMap<CallNo, u32>,
}

#[derive(Debug, Clone, Copy)]
struct Delivery {
    began: Time,
    attempt: u32,
    /// How many attempts at least count, and how many at most: what the world did counts as none, and which it was only
    /// the library knows where a transaction is involved.
    counted: u32,
    last: Option<(Time, RunEnd)>,
    /// Time that is not the handler's: from the begin of an attempt that the world ended to the next one.
    excused: Duration,
    /// Since when that lasts now.
    stuck_since: Option<Time>,
    /// The partition may have been assigned anew, and then attempts are counted from the beginning.
    may_be_anew: bool,
}

#[derive(Debug, Clone, Copy)]
struct Began {
    at: Time,
    call: CallNo,
    delivery: (Life, HandlerNo, Place, Offset),
}

impl Checker for Attempts {
    fn laws(&self) -> &'static [Law] {
        &[Law::Attempts]
    }

    fn see(
        &mut self,
        ledger: &Ledger,
        at: Time,
        happening: &Happening,
        tested: &mut Tested,
    ) -> Result<(), Breach> {
        match happening {
            // What is assigned anew is counted anew. But a position may also be told twice, to a request that was repeated.
            Happening::PositionServed { group, place, life, .. } => self.renew(ledger, *life, *group, *place),
            Happening::LifeEnded { life, .. } => {
                self.deliveries.retain(|(of, ..), _| of != life);
                self.forget_runs(|(of, ..)| of == life);
            }
            Happening::Truncated { place, .. } => {
                self.deliveries.retain(|(.., at, _), _| at != place);
                self.forget_runs(|(.., at, _)| at == place);
            }
            Happening::RunBegan { run, call, life, handler, place, offset, attempt, .. }
                if ledger.can_judge_handler(*life, *handler, *place) =>
            {
                tested.count(Law::Attempts);
                let delivery = (*life, *handler, *place, *offset);
                self.runs.insert(*run, Began { at, call: *call, delivery });
                *self.calls.entry(*call).or_default() += 1;
                return self.began(ledger, at, delivery, *attempt);
            }
            Happening::RunEnded { run, end } => {
                if let Some(began) = self.runs.remove(run) {
                    return self.ended(ledger, at, began, *end);
                }
            }
            Happening::GivenUp { life, handler, place, offset, attempts }
                if ledger.can_judge_handler(*life, *handler, *place) =>
            {
                tested.count(Law::Attempts);
                return self.given_up(ledger, at, (*life, *handler, *place, *offset), *attempts);
            }
            _ => {}
        }
        Ok(())
    }
}

fn breach(
    ledger: &Ledger,
    (life, handler, place, offset): (Life, HandlerNo, Place, Offset),
    what: &str,
) -> Breach {
    let (handler, place) = (ledger.facts().handler_name(handler), ledger.facts().place_name(place));
    Breach::new(Law::Attempts, format!("{handler} in {life} with {offset} of {place}: {what}"))
}

/// The least wait after so many attempts.
fn least_wait(policy: &RetryPolicy, attempts: u32) -> Duration {
    let shape = policy.backoff;
    let grown =
        shape.first.saturating_mul(1_u32.checked_shl(attempts - 1).unwrap_or(u32::MAX)).min(shape.longest);
    (grown / 100).saturating_mul(100_u32.saturating_sub(shape.jitter_percent))
}

impl Attempts {
    fn forget_runs(&mut self, which: impl Fn(&(Life, HandlerNo, Place, Offset)) -> bool) {
        for (_, run) in self.runs.extract_if(.., |_, run| which(&run.delivery)) {
            self.calls.remove(&run.call);
        }
    }

    fn renew(&mut self, ledger: &Ledger, life: Life, group: GroupNo, place: Place) {
        for ((of, handler, at, _), delivery) in &mut self.deliveries {
            delivery.may_be_anew |=
                *of == life && *at == place && ledger.facts().handler(*handler).group == group;
        }
    }

    fn began(
        &mut self,
        ledger: &Ledger,
        at: Time,
        id: (Life, HandlerNo, Place, Offset),
        attempt: u32,
    ) -> Result<(), Breach> {
        let policy = ledger.facts().handler(id.1).retry;
        let new = Delivery {
            began: at,
            attempt: 1,
            counted: 0,
            last: None,
            excused: Duration::ZERO,
            stuck_since: None,
            may_be_anew: false,
        };
        let delivery = self.deliveries.entry(id).or_insert(new);
        if delivery.may_be_anew && attempt == 1 {
            *delivery = new;
        }
        if let Some(since) = delivery.stuck_since.take() {
            delivery.excused += at.since(since);
        }
        let wrong = |what: String| Err(breach(ledger, id, &what));
        if attempt > delivery.counted + 1 || attempt < delivery.attempt {
            return wrong(format!(
                "attempt {attempt} follows attempt {}, and {} have failed so far",
                delivery.attempt, delivery.counted,
            ));
        }
        if let Some((ended, RunEnd::Failed | RunEnd::Panicked)) = delivery.last
            && attempt == delivery.attempt + 1
        {
            let waited = at.since(ended);
            // The last attempt comes when the total is over, however soon that is.
            let is_last = policy.total.is_some_and(|total| at.since(delivery.began) + SLACK >= total);
            let least = least_wait(&policy, delivery.attempt);
            if waited + SLACK < least && !is_last {
                return wrong(format!(
                    "attempt {attempt} began {waited:?} after the last failed, {least:?} is the least"
                ));
            }
        }
        delivery.attempt = attempt;
        Ok(())
    }

    fn ended(&mut self, ledger: &Ledger, at: Time, run: Began, end: RunEnd) -> Result<(), Breach> {
        let limit = ledger.facts().handler(run.delivery.1).retry.attempt_limit;
        let took = at.since(run.at);
        let is_batch = self.calls.get(&run.call).is_some_and(|runs| *runs > 1);
        if !self.runs.values().any(|other| other.call == run.call) {
            self.calls.remove(&run.call);
        }
        let stood_still =
            ledger.process(run.delivery.0).and_then(|p| p.resumed).is_some_and(|at| at >= run.at);
        if took > limit + ledger.facts().slack.timers && !stood_still {
            let what = format!("a call took {took:?} and was not cancelled at its limit of {limit:?}");
            return Err(breach(ledger, run.delivery, &what));
        }
        if let Some(delivery) = self.deliveries.get_mut(&run.delivery) {
            let counts = match end {
                RunEnd::Failed | RunEnd::Permanent | RunEnd::Panicked | RunEnd::Dropped => true,
                RunEnd::Done | RunEnd::Ignored | RunEnd::World => false,
            };
            if end == RunEnd::World {
                delivery.stuck_since.get_or_insert(run.at);
            }
            // The events of a batch that failed are tried one by one, and that failure is nobody's attempt.
            if counts && !is_batch {
                delivery.counted += 1;
                delivery.last = Some((at, end));
            } else {
                delivery.last = None;
            }
        }
        Ok(())
    }

    fn given_up(
        &self,
        ledger: &Ledger,
        at: Time,
        id: (Life, HandlerNo, Place, Offset),
        attempts: u32,
    ) -> Result<(), Breach> {
        let handler = ledger.facts().handler(id.1);
        let wrong = |what: String| Err(breach(ledger, id, &what));
        if handler.on_failure == OnFailure::Block {
            return wrong("given up, and its policy is to block".to_owned());
        }
        let record = ledger.log(id.2).and_then(|log| log.record(id.3));
        if record.is_some_and(|record| record.nature == Nature::Undecodable) {
            return Ok(());
        }
        let Some(delivery) = self.deliveries.get(&id) else {
            return wrong(format!("given up after {attempts} attempts, and none was made"));
        };
        let permanent = matches!(delivery.last, Some((_, RunEnd::Permanent)));
        let counted = handler.retry.max_attempts.is_some_and(|most| delivery.counted >= most.get());
        let stuck = delivery.stuck_since.map_or(Duration::ZERO, |since| at.since(since));
        let spent = at.since(delivery.began).saturating_sub(delivery.excused + stuck);
        // One that was handed out before the process stood still is as old as the pause when its first run begins.
        let notice = ledger.facts().slack.notice;
        let resumed = ledger.process(id.0).and_then(|process| process.resumed);
        let is_old = resumed.is_some_and(|at| (at..=at + notice).contains(&delivery.began));
        let late = handler.retry.total.is_some_and(|total| is_old || spent + SLACK >= total);
        if permanent || counted || late {
            return Ok(());
        }
        wrong(format!(
            "given up after {} attempts in {spent:?}, and its policy allows more",
            delivery.counted
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::super::story::Story;
    use super::*;

    fn story(on_failure: OnFailure) -> Story {
        let mut story = Story::with(|handler| {
            handler.on_failure = on_failure;
            handler.retry = RetryPolicy { max_attempts: NonZeroU32::new(2), ..on_failure.default_retries() };
        });
        story.sent_and_logged(0, Some(1), Nature::Good);
        story.assigned(1, 0);
        story
    }

    /// A handler that is given so long for an event.
    fn given_up_after(total: Duration) -> Story {
        let mut story = Story::with(|handler| {
            handler.on_failure = OnFailure::Discard;
            let total = Some(total);
            handler.retry = RetryPolicy { max_attempts: None, total, ..OnFailure::Discard.default_retries() };
        });
        story.sent_and_logged(0, Some(1), Nature::Good);
        story.assigned(1, 0);
        story
    }

    #[test]
    fn the_time_of_an_outage_is_not_the_handlers() {
        let mut story = given_up_after(Duration::from_secs(10));
        story.attempted(0, 0, 1, RunEnd::World);
        story.pass(Duration::from_secs(11));
        let mut at_once = story.clone();
        at_once.given_up(0, 0, 1);
        at_once.breaks(Law::Attempts, "given up after 0 attempts in 0ns, and its policy allows more");
        story.attempted(0, 0, 1, RunEnd::Failed);
        let mut soon = story.clone();
        soon.given_up(0, 0, 1);
        soon.breaks(Law::Attempts, "given up after 1 attempts in 0ns, and its policy allows more");
        story.pass(Duration::from_secs(10));
        story.given_up(0, 0, 1);
        story.holds(Law::Attempts, 3);
    }

    #[test]
    fn what_was_handed_out_before_a_pause_is_as_old_as_the_pause() {
        let mut story = given_up_after(Duration::from_secs(10));
        story.paused_and_resumed(0);
        let mut later = story.clone();
        story.attempted(0, 0, 1, RunEnd::Failed);
        story.given_up(0, 0, 1);
        story.holds(Law::Attempts, 2);
        later.pass(Duration::from_secs(1));
        later.attempted(0, 0, 1, RunEnd::Failed);
        later.given_up(0, 0, 1);
        later.breaks(Law::Attempts, "given up after 1 attempts in 0ns, and its policy allows more");
    }

    #[test]
    fn attempts_are_counted() {
        let mut story = story(OnFailure::Block);
        story.attempted(0, 0, 1, RunEnd::Failed);
        story.pass(Duration::from_secs(1));
        let mut twice = story.clone();
        story.attempted(0, 0, 2, RunEnd::Done);
        story.holds(Law::Attempts, 2);
        twice.attempted(0, 0, 3, RunEnd::Done);
        twice.breaks(Law::Attempts, "attempt 3 follows attempt 1, and 1 have failed");
    }

    #[test]
    fn attempts_begin_anew_with_an_assignment_and_only_then() {
        let mut story = story(OnFailure::Block);
        story.attempted(0, 0, 1, RunEnd::Failed);
        story.pass(Duration::from_secs(1));
        let mut at_once = story.clone();
        at_once.attempted(0, 0, 2, RunEnd::Failed);
        at_once.attempted(0, 0, 1, RunEnd::Done);
        at_once.breaks(Law::Attempts, "attempt 1 follows attempt 2");
        let mut told_twice = story.clone();
        for (story, attempt) in [(&mut story, 1), (&mut told_twice, 2)] {
            story.served(0, 0, &[]);
            story.attempted(0, 0, attempt, RunEnd::Done);
            story.holds(Law::Attempts, 2);
        }
    }

    #[test]
    fn what_the_world_did_is_no_attempt() {
        let mut story = story(OnFailure::Block);
        story.attempted(0, 0, 1, RunEnd::World);
        story.attempted(0, 0, 2, RunEnd::Done);
        story.breaks(Law::Attempts, "attempt 2 follows attempt 1, and 0 have failed");
    }

    #[test]
    fn attempts_are_waited_for() {
        let mut story = story(OnFailure::Block);
        story.attempted(0, 0, 1, RunEnd::Failed);
        story.pass(Duration::from_millis(500));
        story.attempted(0, 0, 2, RunEnd::Done);
        story.breaks(Law::Attempts, "950ms is the least");
    }

    #[test]
    fn a_call_past_its_limit_was_not_cancelled() {
        let mut story = story(OnFailure::Block);
        let run = story.begun(0, 0);
        story.pass(Duration::from_secs(61));
        let mut paused = story.clone();
        story.ended(run, RunEnd::Done);
        story.breaks(Law::Attempts, "was not cancelled at its limit of 60s");
        paused.paused_and_resumed(0);
        paused.ended(run, RunEnd::Done);
        paused.holds(Law::Attempts, 1);
    }

    #[test]
    fn block_never_ends_by_itself_and_discard_only_when_exhausted() {
        let mut block = story(OnFailure::Block);
        block.given_up(0, 0, 9);
        block.breaks(Law::Attempts, "its policy is to block");
        let mut discard = story(OnFailure::Discard);
        discard.attempted(0, 0, 1, RunEnd::Failed);
        let mut exhausted = discard.clone();
        discard.given_up(0, 0, 1);
        discard.breaks(Law::Attempts, "its policy allows more");
        exhausted.pass(Duration::from_secs(1));
        exhausted.attempted(0, 0, 2, RunEnd::Panicked);
        exhausted.given_up(0, 0, 2);
        exhausted.holds(Law::Attempts, 3);
    }

    #[test]
    fn nothing_to_judge_is_no_success() {
        story(OnFailure::Block).is_vacuous(Law::Attempts);
    }
}
