//! P1 and P2: what was acknowledged is in the log and what was rejected is not; events of a key are there in the order of
//! sending.

use std::collections::BTreeMap;
use std::sync::Arc;

use evenkeel_core::model::{Offset, PartitionId, Time};

use super::ledger::Ledger;
use super::{Breach, Checker, Law, Tested};
use crate::history::{EventNo, Fate, Happening, KeyNo, Place, SendNo, Sent};

/// See the [module](self).
#[derive(Debug, Clone, Default)]
pub struct Produced {
    sends: BTreeMap<SendNo, Arc<[Sent]>>,
    written: BTreeMap<EventNo, (PartitionId, Offset)>,
    rejected: BTreeMap<EventNo, SendNo>,
    /// Where each event was first seen, in the order of the logs.
    first: BTreeMap<EventNo, Place>,
    firsts: BTreeMap<(Place, KeyNo), Vec<EventNo>>,
}

impl Checker for Produced {
    fn laws(&self) -> &'static [Law] {
        &[Law::Durable, Law::SendOrder]
    }

    fn see(
        &mut self,
        ledger: &Ledger,
        _: Time,
        happening: &Happening,
        tested: &mut Tested,
    ) -> Result<(), Breach> {
        match happening {
            Happening::SendBegan { send, events, .. } => {
                self.sends.insert(*send, Arc::clone(events));
            }
            Happening::SendEnded { send, fates } => {
                for (sent, fate) in self.sends.remove(send).unwrap_or_default().iter().zip(fates.iter()) {
                    match fate {
                        Fate::Written(partition, offset) => {
                            self.written.insert(sent.event, (*partition, *offset));
                        }
                        Fate::Rejected => {
                            tested.count(Law::Durable);
                            self.rejected.insert(sent.event, *send);
                            if let Some(place) = self.first.get(&sent.event) {
                                return Err(rejected(ledger, sent.event, *send, *place));
                            }
                        }
                        Fate::Unknown => {}
                    }
                }
            }
            Happening::Logged { place, event: Some(event), .. } => {
                if let Some(send) = self.rejected.get(event) {
                    return Err(rejected(ledger, *event, *send, *place));
                }
                let key = ledger.sent(*event).and_then(|sent| sent.key);
                if self.first.insert(*event, *place).is_none()
                    && let Some(key) = key
                {
                    self.firsts.entry((*place, key)).or_default().push(*event);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn rest(&mut self, ledger: &Ledger, tested: &mut Tested) -> Result<(), Breach> {
        for (event, (partition, offset)) in &self.written {
            let Some(sent) = ledger.sent(*event) else { continue };
            let place = Place { topic: sent.topic, partition: *partition };
            if ledger.may_have_lost(place, *event) {
                continue;
            }
            tested.count(Law::Durable);
            let record = ledger.log(place).and_then(|log| log.record(*offset));
            if !record.is_some_and(|record| record.destroyed || record.event == Some(*event)) {
                let story = format!(
                    "{event} was acknowledged at {offset} of {}, where there is {}",
                    ledger.facts().place_name(place),
                    record
                        .and_then(|record| record.event)
                        .map_or_else(|| "nothing".to_owned(), |e| e.to_string()),
                );
                return Err(Breach::new(Law::Durable, story));
            }
        }
        for ((place, key), events) in &self.firsts {
            // An event of unknown fate has no place in the order.
            let is_judged =
                |event: &&EventNo| self.written.contains_key(event) && !ledger.may_have_lost(*place, **event);
            let mut last: Option<&Sent> = None;
            for sent in events.iter().filter(|event| is_judged(event)).filter_map(|e| ledger.sent(*e)) {
                tested.count(Law::SendOrder);
                if let Some(before) = last.filter(|before| before.n > sent.n) {
                    let story = format!(
                        "{} of key {key} (its number {}) is in {} after {} (number {})",
                        sent.event,
                        sent.n,
                        ledger.facts().place_name(*place),
                        before.event,
                        before.n,
                    );
                    return Err(Breach::new(Law::SendOrder, story));
                }
                last = Some(sent);
            }
        }
        Ok(())
    }
}

fn rejected(ledger: &Ledger, event: EventNo, send: SendNo, place: Place) -> Breach {
    let place = ledger.facts().place_name(place);
    Breach::new(Law::Durable, format!("{event} was rejected ({send}) and is in {place}"))
}

#[cfg(test)]
mod tests {
    use super::super::story::Story;
    use super::*;
    use crate::history::Nature;

    fn sent(count: u32) -> Story {
        let mut story = Story::new();
        for event in 0..count {
            story.sent(event, Some(1), Nature::Good);
        }
        story
    }

    #[test]
    fn what_was_acknowledged_is_there() {
        let mut story = sent(1);
        story.answered(0, Fate::Written(PartitionId(0), Offset(0)));
        story.breaks(Law::Durable, "e0 was acknowledged at 0 of orders/0, where there is nothing");
        story.logged(0);
        story.holds(Law::Durable, 1);
    }

    #[test]
    fn a_log_that_was_cut_excuses_only_what_was_sent_before() {
        let mut story = sent(1);
        story.logged(0);
        story.answered(0, Fate::Written(PartitionId(0), Offset(0)));
        story.truncated(0);
        story.is_vacuous(Law::Durable);
        story.pass(std::time::Duration::from_secs(1));
        story.sent(1, Some(1), Nature::Good);
        story.answered(1, Fate::Written(PartitionId(0), Offset(0)));
        story.breaks(Law::Durable, "e1 was acknowledged at 0 of orders/0, where there is nothing");
    }

    #[test]
    fn what_was_rejected_is_not_there() {
        let mut before = sent(1);
        let mut after = before.clone();
        before.logged(0);
        before.answered(0, Fate::Rejected);
        before.breaks(Law::Durable, "e0 was rejected (p0) and is in orders/0");
        after.answered(0, Fate::Rejected);
        after.logged(0);
        after.breaks(Law::Durable, "e0 was rejected (p0) and is in orders/0");
    }

    #[test]
    fn events_of_a_key_are_in_the_order_of_sending() {
        let mut story = sent(2);
        story.logged(1);
        story.logged(0);
        story.answered(1, Fate::Written(PartitionId(0), Offset(0)));
        let mut unknown = story.clone();
        story.answered(0, Fate::Written(PartitionId(0), Offset(1)));
        story.breaks(Law::SendOrder, "e0 of key k1 (its number 0) is in orders/0 after e1 (number 1)");
        unknown.answered(0, Fate::Unknown);
        unknown.holds(Law::SendOrder, 1);
    }

    #[test]
    fn a_record_written_again_counts_where_it_was_first() {
        let mut story = sent(2);
        for event in [0, 1, 0] {
            story.logged(event);
        }
        story.answered(0, Fate::Written(PartitionId(0), Offset(2)));
        story.answered(1, Fate::Written(PartitionId(0), Offset(1)));
        story.holds(Law::SendOrder, 2);
    }

    #[test]
    fn nothing_to_judge_is_no_success() {
        sent(1).is_vacuous(Law::Durable);
        sent(1).is_vacuous(Law::SendOrder);
    }
}
