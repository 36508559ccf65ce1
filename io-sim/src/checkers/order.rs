//! C6 and C8: what must not overtake does not, and running calls and batches stay within their settings.

use std::collections::BTreeMap;

use evenkeel_core::model::{Offset, Ordering, Time};

use super::ledger::{Ledger, Run};
use super::{Breach, Checker, Law, Tested};
use crate::history::{CallNo, EventNo, HandlerNo, Happening, KeyNo, Life, Place, RunNo};

/// See the [module](self).
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// The offsets of each lane, ascending; a lane without a key is the whole partition.
    lanes: BTreeMap<(Place, Option<KeyNo>), Vec<Offset>>,
    /// How many of a lane's first offsets are known to be over.
    cleared: BTreeMap<(HandlerNo, Place, Option<KeyNo>), usize>,
    calls: BTreeMap<CallNo, Call>,
    runs: BTreeMap<RunNo, CallNo>,
}

#[derive(Debug, Clone, Copy)]
struct Call {
    life: Life,
    handler: HandlerNo,
    runs: u32,
    open: u32,
}

impl Checker for Order {
    fn laws(&self) -> &'static [Law] {
        &[Law::Order, Law::Limits]
    }

    fn see(
        &mut self,
        ledger: &Ledger,
        _: Time,
        happening: &Happening,
        tested: &mut Tested,
    ) -> Result<(), Breach> {
        match happening {
            Happening::Logged { place, offset, event } => {
                self.lanes.entry((*place, None)).or_default().push(*offset);
                if let Some(key) = event.and_then(|event| key_of(ledger, event)) {
                    self.lanes.entry((*place, Some(key))).or_default().push(*offset);
                }
            }
            Happening::Truncated { place, end, .. } => self.cut(*place, *end),
            Happening::RunBegan { run: number, .. } => {
                let Some(run) = ledger.run(*number) else { return Ok(()) };
                tested.count(Law::Limits);
                self.is_within_limits(ledger, *number, run)?;
                return self.is_in_order(ledger, *number, run, tested);
            }
            Happening::RunEnded { run, .. } => self.ended(*run),
            Happening::LifeEnded { life, .. } => {
                self.calls.retain(|_, call| call.life != *life);
                self.runs.retain(|_, call| self.calls.contains_key(call));
            }
            _ => {}
        }
        Ok(())
    }
}

fn key_of(ledger: &Ledger, event: EventNo) -> Option<KeyNo> {
    ledger.sent(event)?.key
}

impl Order {
    fn cut(&mut self, place: Place, end: Offset) {
        for (_, offsets) in self.lanes.iter_mut().filter(|((at, _), _)| *at == place) {
            offsets.retain(|offset| *offset < end);
        }
        self.cleared.retain(|(_, at, _), _| *at != place);
    }

    fn ended(&mut self, run: RunNo) {
        let Some(number) = self.runs.remove(&run) else { return };
        if let Some(call) = self.calls.get_mut(&number) {
            call.open -= 1;
            if call.open == 0 {
                self.calls.remove(&number);
            }
        }
    }

    fn is_within_limits(&mut self, ledger: &Ledger, number: RunNo, run: &Run) -> Result<(), Breach> {
        let facts = ledger.facts();
        let handler = facts.handler(run.handler);
        let call = Call { life: run.life, handler: run.handler, runs: 0, open: 0 };
        let call = self.calls.entry(run.call).or_insert(call);
        call.runs += 1;
        call.open += 1;
        let events = call.runs;
        self.runs.insert(number, run.call);
        let name = || facts.handler_name(run.handler);
        let too_many = |story: String| Err(Breach::new(Law::Limits, story));
        if events > handler.batch {
            return too_many(format!(
                "{} got a batch of {events} events, its limit is {}",
                name(),
                handler.batch
            ));
        }
        let running = |of: &dyn Fn(&Call) -> bool| {
            self.calls.values().filter(|call| call.life == run.life && of(call)).count()
        };
        let of_handler = running(&|call| call.handler == run.handler);
        if of_handler > handler.concurrency as usize {
            return too_many(format!(
                "{} runs {of_handler} calls of {} at once, its limit is {}",
                run.life,
                name(),
                handler.concurrency,
            ));
        }
        let group = &facts.groups[usize::from(handler.group.0)];
        let of_group = running(&|call| facts.handler(call.handler).group == handler.group);
        if of_group > group.concurrency as usize {
            return too_many(format!(
                "{} runs {of_group} calls of group {} at once, its limit is {}",
                run.life, group.name, group.concurrency,
            ));
        }
        Ok(())
    }

    fn is_in_order(
        &mut self,
        ledger: &Ledger,
        number: RunNo,
        run: &Run,
        tested: &mut Tested,
    ) -> Result<(), Breach> {
        let facts = ledger.facts();
        if !ledger.can_judge_handler(run.life, run.handler, run.place) {
            return Ok(());
        }
        let key = key_of(ledger, run.event);
        let lane = match (facts.handler(run.handler).ordering, key) {
            (Ordering::Unordered, _) | (Ordering::Key, None) => return Ok(()),
            (Ordering::Partition, _) => None,
            (Ordering::Key, Some(key)) => Some(key),
        };
        tested.count(Law::Order);
        let same_lane =
            |other: &Run| other.place == run.place && (lane.is_none() || key_of(ledger, other.event) == lane);
        let broken = |other: Offset, how: &str| {
            let story = format!(
                "{} handed {} of {} to {} {how} {other} of the same {}",
                run.life,
                run.offset,
                facts.place_name(run.place),
                facts.handler_name(run.handler),
                lane.map_or_else(|| "partition".to_owned(), |key| format!("key {key}")),
            );
            Err(Breach::new(Law::Order, story))
        };
        let at_once = |(other, that): &(RunNo, &Run)| {
            let beside = that.call != run.call || that.offset >= run.offset;
            *other != number
                && that.life == run.life
                && that.handler == run.handler
                && beside
                && same_lane(that)
        };
        if let Some((_, other)) = ledger.runs().find(at_once) {
            return broken(other.offset, "while it ran");
        }
        let offsets = self.lanes.get(&(run.place, lane)).map(Vec::as_slice).unwrap_or_default();
        let cleared = self.cleared.entry((run.handler, run.place, lane)).or_default();
        let gone = |offset: Offset| {
            let record = ledger.log(run.place).and_then(|log| log.record(offset));
            record.is_none_or(|record| record.destroyed) || ledger.is_over(run.handler, run.place, offset)
        };
        while offsets.get(*cleared).is_some_and(|offset| *offset < run.offset && gone(*offset)) {
            *cleared += 1;
        }
        let in_this_call =
            |offset: Offset| ledger.runs().any(|(_, other)| other.call == run.call && other.offset == offset);
        let earlier = offsets[*cleared..].iter().take_while(|offset| **offset < run.offset);
        match earlier.into_iter().find(|offset| !gone(**offset) && !in_this_call(**offset)) {
            Some(earlier) => broken(*earlier, "before it was done with"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::Story;
    use super::*;
    use crate::history::{Nature, RunEnd};

    fn story(keys: &[Option<u32>], ordering: Ordering) -> Story {
        let mut story = Story::with(|handler| handler.ordering = ordering);
        for (nth, key) in (0..).zip(keys) {
            story.sent_and_logged(nth, *key, Nature::Good);
        }
        story.assigned(1, 0);
        story
    }

    #[test]
    fn whoever_took_over_since_the_log_was_cut_keeps_the_order_of_what_is_there_now() {
        let mut story = story(&[Some(2), Some(1), Some(3)], Ordering::Key);
        story.handled(0, 1, RunEnd::Done);
        story.truncated(1);
        story.sent_and_logged(3, Some(1), Nature::Good);
        story.sent_and_logged(4, Some(1), Nature::Good);
        let mut knew_not = story.clone();
        knew_not.handled_instead(0, 2, 4, RunEnd::Done);
        knew_not.holds(Law::Order, 1);
        story.assigned(2, 1);
        story.served(1, 1, &[]);
        story.handled_instead(1, 2, 4, RunEnd::Done);
        story.breaks(
            Law::Order,
            "handed 2 of orders/0 to billing/charge before it was done with 1 of the same key k1",
        );
    }

    #[test]
    fn events_of_a_key_do_not_overlap() {
        let mut story = story(&[Some(1), Some(2), Some(1)], Ordering::Key);
        let other = story.begun(0, 1);
        story.begun(0, 0);
        story.holds(Law::Order, 2);
        story.ended(other, RunEnd::Done);
        story.begun(0, 2);
        story.breaks(Law::Order, "handed 2 of orders/0 to billing/charge while it ran 0 of the same key k1");
    }

    #[test]
    fn events_of_a_key_do_not_overtake() {
        let mut story = story(&[Some(1), Some(1)], Ordering::Key);
        story.handled(0, 0, RunEnd::Failed);
        story.begun(0, 1);
        story.breaks(Law::Order, "before it was done with 0 of the same key k1");
    }

    #[test]
    fn a_partition_is_one_lane_if_the_handler_says_so() {
        let mut by_partition = story(&[None, Some(2)], Ordering::Partition);
        by_partition.begun(0, 1);
        by_partition.breaks(Law::Order, "0 of the same partition");
        let mut unordered = story(&[Some(1), Some(1)], Ordering::Unordered);
        unordered.begun(0, 1);
        unordered.begun(0, 0);
        unordered.is_vacuous(Law::Order);
    }

    #[test]
    fn what_was_given_up_holds_nobody_up() {
        let mut story = story(&[Some(1), Some(1)], Ordering::Key);
        story.given_up(0, 0, 1);
        story.begun(0, 1);
        story.holds(Law::Order, 1);
    }

    #[test]
    fn running_calls_stay_within_their_limit() {
        let mut story = story(&[Some(1), Some(2), Some(3)], Ordering::Key);
        story.begun(0, 0);
        story.begun(0, 1);
        story.holds(Law::Limits, 2);
        story.begun(0, 2);
        story.breaks(Law::Limits, "runs 3 calls of billing/charge at once, its limit is 2");
    }

    #[test]
    fn batches_stay_within_their_limit() {
        let mut story = story(&[Some(1), Some(2)], Ordering::Key);
        story.begun_in_call(0, 0, 7);
        story.begun_in_call(0, 1, 7);
        story.breaks(Law::Limits, "a batch of 2 events, its limit is 1");
    }
}
