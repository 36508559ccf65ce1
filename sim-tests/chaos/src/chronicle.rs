//! Puts what everybody tells into one order: the history that the checkers judge.
//!
//! Journals have the machine's time. The records of the servers are put where they must have been, by cause and effect:
//! behind what led to them and before what followed from them, in the order of their logs. So no clock of a server decides
//! about right and wrong; within these bounds its time is taken.

use std::collections::BTreeMap;
use std::sync::Arc;

use evenkeel_core::model::{Generation, Offset, Time};
use evenkeel_sim::decode;
use evenkeel_sim::history::{
    CallNo, EventNo, Facts, GroupNo, HandlerNo, Happening, History, Life, Place, RunNo, TxNo,
};

use crate::journal::Entry;
use crate::requests::Requests;
use crate::shop::{TOPIC, place};
use crate::truth::Truth;

/// What was put together, and what is strange about it.
pub(crate) struct Chronicle {
    pub(crate) history: History,
    /// What cannot be, and speaks against the library, Kafka, or this program.
    pub(crate) strange: Vec<String>,
}

#[derive(Default)]
struct Pages {
    pages: Vec<(u64, Happening)>,
    strange: Vec<String>,
    requests: Requests,
}

/// Writes the history of a run.
pub(crate) fn write(
    facts: &Arc<Facts>,
    book: Vec<(u64, Happening)>,
    journals: &[(Life, Vec<(u64, Entry)>)],
    truth: &Truth,
) -> Chronicle {
    let mut pages = Pages::default();
    let sent = sendings(&book);
    pages.pages = book;
    for (life, entries) in journals {
        pages.add_journal(facts, *life, entries);
    }
    pages.add_logs(truth, &sent);
    for (group, facts) in (0..).map(GroupNo).zip(&facts.groups) {
        let of_group = pages.requests.taken(group, &facts.name, &truth.coordinated);
        pages.pages.extend(of_group.pages);
        pages.strange.extend(of_group.strange);
    }
    for (number, transaction) in &truth.transactions {
        pages.pages.push((
            transaction.at,
            Happening::TxCommitted {
                tx: TxNo(number.unsigned_abs()),
                claims: transaction.claims.clone().into(),
                effects: transaction.effects.clone().into(),
            },
        ));
    }
    if truth.strange_claims > 0 {
        pages.strange.push(format!("{} claims are to no event that was produced", truth.strange_claims));
    }
    // Stable: what was added first comes first among equals.
    pages.pages.sort_by_key(|(at, _)| *at);
    let first = pages.pages.first().map_or(0, |(at, _)| *at);
    let mut history = History::new(Arc::clone(facts));
    for (at, mut happening) in pages.pages {
        if let Happening::Committed { sent, .. } = &mut happening {
            *sent = Time::from_nanos(sent.as_nanos().saturating_sub(first));
        }
        history.record(Time::from_nanos(at - first), happening);
    }
    Chronicle { history, strange: pages.strange }
}

/// When each event was first given to the library.
fn sendings(book: &[(u64, Happening)]) -> BTreeMap<EventNo, u64> {
    let mut sent = BTreeMap::new();
    for (at, happening) in book {
        if let Happening::SendBegan { events, .. } = happening {
            sent.extend(events.iter().map(|sent| (sent.event, *at)));
        }
    }
    sent
}

fn group_of(facts: &Facts, name: &str) -> Option<GroupNo> {
    let nth = facts.groups.iter().position(|group| *group.name == *name)?;
    u16::try_from(nth).ok().map(GroupNo)
}

impl Pages {
    fn add(&mut self, at: u64, happening: Happening) {
        self.pages.push((at, happening));
    }

    fn add_journal(&mut self, facts: &Facts, life: Life, entries: &[(u64, Entry)]) {
        for (at, entry) in entries {
            match entry {
                Entry::RunBegan { run, call, handler, partition, offset, event, attempt } => self.add(
                    *at,
                    Happening::RunBegan {
                        run: RunNo(*run),
                        call: CallNo(*call),
                        life,
                        handler: HandlerNo(*handler),
                        place: place(*partition),
                        offset: Offset(*offset),
                        event: EventNo(*event),
                        attempt: *attempt,
                    },
                ),
                Entry::RunEnded { run, end } => {
                    self.add(*at, Happening::RunEnded { run: RunNo(*run), end: (*end).into() });
                }
                Entry::GivenUp { group, handler, partition, offset, attempts } => {
                    let group = group_of(facts, group);
                    let known = facts
                        .numbered_handlers()
                        .find(|(_, known)| Some(known.group) == group && *known.name == **handler);
                    let Some((handler, _)) = known else { continue };
                    let (place, offset) = (place(*partition), Offset(*offset));
                    self.add(*at, Happening::GivenUp { life, handler, place, offset, attempts: *attempts });
                }
                Entry::Bug { what } => self.strange.push(format!("{life} found a bug in itself: {what}")),
                Entry::Served { group, partition, offset, metadata } => {
                    let Some(group) = group_of(facts, group) else { continue };
                    let offset = offset.map(Offset);
                    let settled = offset.map(|offset| decode::settled(metadata, offset)).unwrap_or_default();
                    let place = place(*partition);
                    self.add(*at, Happening::PositionServed { group, place, life, offset, settled });
                }
                Entry::CommitAsked { group, .. } | Entry::SyncAsked { group, .. } => {
                    if let Some(group) = group_of(facts, group) {
                        // Who asks for its share knows in which generation it is.
                        if let Entry::SyncAsked { generation, .. } = entry {
                            let generation = Generation(*generation);
                            self.add(*at, Happening::Joined { group, life, generation });
                        }
                        self.requests.asked(life, group, *at, entry);
                    }
                }
                Entry::CommitAnswered { .. } | Entry::SyncAnswered { .. } => {
                    self.requests.answered(life, *at, entry);
                }
                Entry::MemberAsked { .. } | Entry::MemberAnswered { .. } | Entry::Left { .. } => {}
            }
        }
    }

    /// A record is in its log right behind the moment at which all up to it had been sent.
    fn add_logs(&mut self, truth: &Truth, sent: &BTreeMap<EventNo, u64>) {
        for (partition, records) in &truth.logs {
            let mut latest = 0;
            for (offset, event) in records {
                match event.and_then(|event| sent.get(&event)) {
                    Some(at) => latest = latest.max(at + 1),
                    None => {
                        self.strange.push(format!("the record at {offset} of {partition} was never sent"))
                    }
                }
                let place = Place { topic: TOPIC, partition: *partition };
                self.add(latest, Happening::Logged { place, offset: *offset, event: *event });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinated::Coordinated;
    use crate::journal::{Answer, Position};
    use crate::shop;

    fn position(offset: i64) -> Position {
        Position { partition: 0, offset, metadata: String::new() }
    }

    fn commit(offset: i64) -> (u64, Coordinated) {
        (3, Coordinated::Commit { group: "billing".into(), position: position(offset) })
    }

    fn asked(nth: u64, offset: i64) -> Entry {
        Entry::CommitAsked { nth, group: "billing".into(), generation: 1, positions: vec![position(offset)] }
    }

    fn told(
        journal: Vec<(u64, Entry)>,
        coordinated: Vec<(u64, Coordinated)>,
    ) -> (Vec<(u64, Offset, u64)>, Vec<String>) {
        let life = Life { process: 1, nth: 0 };
        let truth = Truth { coordinated, ..Truth::default() };
        let chronicle = write(&shop::facts(), Vec::new(), &[(life, journal)], &truth);
        let commits = chronicle.history.happenings.iter().filter_map(|(at, happening)| match happening {
            Happening::Committed { offset, sent, outcome: Ok(()), .. } => {
                Some((at.as_nanos(), *offset, sent.as_nanos()))
            }
            _ => None,
        });
        (commits.collect(), chronicle.strange)
    }

    #[test]
    fn a_commit_is_between_its_question_and_its_answer() {
        let answered = Entry::CommitAnswered { nth: 0, answers: vec![Answer::Taken] };
        let began =
            Entry::RunBegan { run: 0, call: 0, handler: 0, partition: 0, offset: 0, event: 0, attempt: 1 };
        let journal =
            vec![(1, began.clone()), (4_000_000, asked(0, 1)), (4_000_009, answered), (5_000_000, began)];
        // The broker's clock says that it was before.
        let (commits, strange) = told(journal, vec![commit(1)]);
        assert_eq!(commits, [(4_000_000, Offset(1), 3_999_999)]);
        assert_eq!(strange, [] as [&str; 0]);
    }

    #[test]
    fn what_was_never_answered_may_be_late() {
        let began =
            Entry::RunBegan { run: 0, call: 0, handler: 0, partition: 0, offset: 0, event: 0, attempt: 1 };
        let (commits, _) = told(vec![(1, began), (2_000_000, asked(0, 1))], vec![commit(1)]);
        assert_eq!(commits, [(2_999_999, Offset(1), 1_999_999)]);
    }

    #[test]
    fn of_two_that_asked_for_the_same_the_one_with_an_answer_was_taken() {
        let answered = Entry::CommitAnswered { nth: 1, answers: vec![Answer::Taken] };
        let began =
            Entry::RunBegan { run: 0, call: 0, handler: 0, partition: 0, offset: 0, event: 0, attempt: 1 };
        let journal = vec![(1, began), (2, asked(0, 1)), (3, asked(1, 1)), (4, answered)];
        let (commits, strange) = told(journal.clone(), vec![commit(1)]);
        assert_eq!(commits.iter().map(|(_, _, sent)| *sent).collect::<Vec<_>>(), [2]);
        assert_eq!(strange, [] as [&str; 0]);
        let (commits, strange) = told(journal, vec![commit(1), commit(1)]);
        assert_eq!(commits.iter().map(|(_, _, sent)| *sent).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(strange, [] as [&str; 0]);
    }

    #[test]
    fn a_commit_whose_answer_is_in_doubt_may_have_been_taken() {
        for (answer, strange) in [(Answer::Unsure, 0), (Answer::Refused, 1)] {
            let answered = Entry::CommitAnswered { nth: 0, answers: vec![answer] };
            let (_, told) = told(vec![(1, asked(0, 1)), (2, answered)], vec![commit(1)]);
            assert_eq!(told.len(), strange, "{told:?}");
        }
    }

    #[test]
    fn an_acknowledged_commit_that_is_nowhere_is_strange() {
        let answered = Entry::CommitAnswered { nth: 0, answers: vec![Answer::Taken] };
        let (commits, strange) = told(vec![(1, asked(0, 1)), (2, answered)], Vec::new());
        assert_eq!(commits, []);
        assert_eq!(strange.len(), 1, "{strange:?}");
    }

    #[test]
    fn a_commit_that_nobody_asked_for_is_strange() {
        let (_, strange) = told(Vec::new(), vec![commit(1)]);
        assert_eq!(strange.len(), 1, "{strange:?}");
    }
}
