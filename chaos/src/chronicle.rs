//! Puts what everybody tells into one order: the history that the checkers judge.
//!
//! Journals have the machine's time. The records of the servers are put where they must have been, by cause and effect:
//! behind what led to them and before what followed from them, in the order of their logs. So no clock of a server decides
//! about right and wrong; within these bounds its time is taken.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::{Generation, Offset, PartitionId, Time};
use evenkeel_sim::history::{
    CallNo, EventNo, Facts, GroupNo, HandlerNo, Happening, History, Life, Place, RunNo, Share, TxNo,
};
use evenkeel_sim::world::decode;

use crate::coordinated::Coordinated;
use crate::journal::{Answer, Entry, Position};
use crate::shop::TOPIC;
use crate::truth::Truth;

/// What was put together, and what is strange about it.
pub(crate) struct Chronicle {
    pub(crate) history: History,
    /// What cannot be, and speaks against the library, Kafka, or this program.
    pub(crate) strange: Vec<String>,
}

/// A request that the coordinator may have taken.
struct Asked {
    at: u64,
    answered: Option<u64>,
    life: Life,
    generation: Generation,
    /// Whether this position is known to have been taken.
    taken: bool,
}

#[derive(Default)]
struct Pages {
    pages: Vec<(u64, Happening)>,
    strange: Vec<String>,
    /// By group and position, in the order of asking.
    commits: BTreeMap<(GroupNo, Position), VecDeque<Asked>>,
    /// By group and generation: when it was first asked for, and first answered.
    syncs: BTreeMap<(GroupNo, Generation), (u64, Option<u64>)>,
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
    for group in 0..facts.groups.len() {
        pages.add_coordinator(facts, GroupNo(group as u16), truth);
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
    for ((group, position), left) in &pages.commits {
        if left.iter().any(|asked| asked.taken) {
            let group = &facts.groups[usize::from(group.0)].name;
            pages.strange.push(format!(
                "{group}: the commit of {} of partition {} was acknowledged and is not in the coordinator's log",
                position.offset, position.partition,
            ));
        }
    }
    if truth.strange_claims > 0 {
        pages.strange.push(format!("{} claims are to no event that was produced", truth.strange_claims));
    }
    // Stable: what was added first comes first among equals.
    pages.pages.sort_by_key(|(at, _)| *at);
    let first = pages.pages.first().map_or(0, |(at, _)| *at);
    let mut history = History::new(Arc::clone(facts));
    for (at, happening) in pages.pages {
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

const fn place(partition: i32) -> Place {
    Place { topic: TOPIC, partition: PartitionId(partition) }
}

impl Pages {
    fn add(&mut self, at: u64, happening: Happening) {
        self.pages.push((at, happening));
    }

    fn add_journal(&mut self, facts: &Facts, life: Life, entries: &[(u64, Entry)]) {
        // What was asked for and not yet answered, by number.
        let mut commits: BTreeMap<u64, (GroupNo, Vec<Position>)> = BTreeMap::new();
        let mut syncs: BTreeMap<u64, (GroupNo, Generation)> = BTreeMap::new();
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
                Entry::CommitAsked { nth, group, generation, positions } => {
                    let Some(group) = group_of(facts, group) else { continue };
                    for position in positions {
                        let asked = Asked {
                            at: *at,
                            answered: None,
                            life,
                            generation: Generation(*generation),
                            taken: false,
                        };
                        self.commits.entry((group, position.clone())).or_default().push_back(asked);
                    }
                    commits.insert(*nth, (group, positions.clone()));
                }
                Entry::CommitAnswered { nth, answers } => {
                    let Some((group, positions)) = commits.remove(nth) else { continue };
                    for (position, answer) in positions.into_iter().zip(answers) {
                        self.answer(group, position, life, *at, *answer);
                    }
                }
                Entry::SyncAsked { nth, group, generation } => {
                    let Some(group) = group_of(facts, group) else { continue };
                    let id = (group, Generation(*generation));
                    let asked = self.syncs.entry(id).or_insert((*at, None));
                    asked.0 = asked.0.min(*at);
                    syncs.insert(*nth, id);
                }
                Entry::SyncAnswered { nth } => {
                    let Some(asked) = syncs.remove(nth).and_then(|id| self.syncs.get_mut(&id)) else {
                        continue;
                    };
                    asked.1 = Some(asked.1.map_or(*at, |first| first.min(*at)));
                }
                Entry::Left { .. } => {}
            }
        }
    }

    /// A commit that a life asked for was answered. One that was refused is told at once, and is in no log.
    fn answer(&mut self, group: GroupNo, position: Position, life: Life, at: u64, answer: Answer) {
        let Some(asked) = self.commits.get_mut(&(group, position.clone())) else { return };
        let unanswered = |asked: &Asked| asked.life == life && asked.answered.is_none();
        let Some(nth) = asked.iter().rposition(unanswered) else { return };
        match answer {
            Answer::Taken => {
                asked[nth].answered = Some(at);
                asked[nth].taken = true;
                return;
            }
            Answer::Unsure => return,
            Answer::Refused => {}
        }
        let Some(refused) = asked.remove(nth) else { return };
        let settled = decode::settled(&position.metadata, Offset(position.offset));
        self.add(
            at,
            Happening::Committed {
                group,
                place: place(position.partition),
                life,
                generation: refused.generation,
                offset: Offset(position.offset),
                settled,
                outcome: Err(ErrorCode::IllegalGeneration),
                abandoned: false,
            },
        );
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

    /// Finds out who sent what the coordinator took, and puts it where it was taken.
    fn add_coordinator(&mut self, facts: &Facts, number: GroupNo, truth: &Truth) {
        struct Found {
            at: u64,
            not_before: u64,
            not_after: u64,
            happening: Happening,
        }
        let name = &*facts.groups[usize::from(number.0)].name;
        let (mut now, mut owners) = (None, BTreeMap::new());
        let mut found = Vec::new();
        // How many records each position has from here on.
        let mut left: BTreeMap<&Position, usize> = BTreeMap::new();
        for (_, record) in &truth.coordinated {
            if let Coordinated::Commit { group, position } = record
                && group == name
            {
                *left.entry(position).or_default() += 1;
            }
        }
        for (at, record) in &truth.coordinated {
            let at = at * 1_000_000;
            match record {
                Coordinated::Assignment { group, generation, shares } if group == name => {
                    let all = (*generation, shares.clone());
                    if now.as_ref() == Some(&all) {
                        continue;
                    }
                    now = Some(all);
                    owners = shares.iter().flat_map(|(life, all)| all.iter().map(|p| (*p, *life))).collect();
                    let (asked, answered) =
                        self.syncs.get(&(number, *generation)).copied().unwrap_or_default();
                    let shares = shares.iter().map(|(life, partitions)| Share {
                        life: *life,
                        places: partitions.iter().copied().map(place).collect(),
                    });
                    let (generation, shares) = (*generation, shares.collect());
                    found.push(Found {
                        at,
                        not_before: asked,
                        not_after: answered.unwrap_or(u64::MAX),
                        happening: Happening::Assigned { group: number, generation, shares },
                    });
                }
                Coordinated::Commit { group, position } if group == name => {
                    let owner = owners.get(&position.partition).copied();
                    let generation = now.as_ref().map(|(generation, _)| *generation);
                    let left = left.entry(position).or_insert(1);
                    let asked = self.commits.get_mut(&(number, position.clone())).and_then(|all| {
                        // As many as were acknowledged must be in the log; who was not answered gets what is over.
                        let acknowledged = all.iter().filter(|asked| asked.taken).count();
                        let may_be = |asked: &Asked| asked.taken || *left > acknowledged;
                        let likely = |asked: &Asked| {
                            may_be(asked) && Some(asked.generation) == generation && Some(asked.life) == owner
                        };
                        let nth = all.iter().position(likely).or_else(|| all.iter().position(may_be))?;
                        all.remove(nth)
                    });
                    *left -= 1;
                    let Some(asked) = asked else {
                        self.strange.push(format!("{name}: nobody asked for the commit of {position:?}"));
                        continue;
                    };
                    let offset = Offset(position.offset);
                    found.push(Found {
                        at,
                        not_before: asked.at,
                        not_after: asked.answered.unwrap_or(u64::MAX),
                        happening: Happening::Committed {
                            group: number,
                            place: place(position.partition),
                            life: asked.life,
                            generation: asked.generation,
                            offset,
                            settled: decode::settled(&position.metadata, offset),
                            outcome: Ok(()),
                            abandoned: !asked.taken,
                        },
                    });
                }
                Coordinated::Assignment { .. } | Coordinated::Commit { .. } => {}
            }
        }
        let mut latest = u64::MAX;
        for record in found.iter_mut().rev() {
            latest = latest.min(record.not_after.saturating_sub(1));
            record.not_after = latest;
        }
        let mut earliest = 0;
        for record in found {
            // Never before the one before it in the log.
            earliest = record.at.min(record.not_after).max(record.not_before + 1).max(earliest);
            self.add(earliest, record.happening);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
    ) -> (Vec<(u64, Offset, bool)>, Vec<String>) {
        let life = Life { process: 1, nth: 0 };
        let truth = Truth { coordinated, ..Truth::default() };
        let chronicle = write(&shop::facts(), Vec::new(), &[(life, journal)], &truth);
        let commits = chronicle.history.happenings.iter().filter_map(|(at, happening)| match happening {
            Happening::Committed { offset, abandoned, outcome: Ok(()), .. } => {
                Some((at.as_nanos(), *offset, *abandoned))
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
        assert_eq!(commits, [(4_000_000, Offset(1), false)]);
        assert_eq!(strange, [] as [&str; 0]);
    }

    #[test]
    fn what_was_never_answered_may_be_late() {
        let began =
            Entry::RunBegan { run: 0, call: 0, handler: 0, partition: 0, offset: 0, event: 0, attempt: 1 };
        let (commits, _) = told(vec![(1, began), (2_000_000, asked(0, 1))], vec![commit(1)]);
        assert_eq!(commits, [(2_999_999, Offset(1), true)]);
    }

    #[test]
    fn of_two_that_asked_for_the_same_the_one_with_an_answer_was_taken() {
        let answered = Entry::CommitAnswered { nth: 1, answers: vec![Answer::Taken] };
        let journal = vec![(1, asked(0, 1)), (2, asked(1, 1)), (3, answered)];
        let (commits, strange) = told(journal.clone(), vec![commit(1)]);
        assert_eq!(commits.iter().map(|(_, _, abandoned)| *abandoned).collect::<Vec<_>>(), [false]);
        assert_eq!(strange, [] as [&str; 0]);
        let (commits, strange) = told(journal, vec![commit(1), commit(1)]);
        assert_eq!(commits.iter().map(|(_, _, abandoned)| *abandoned).collect::<Vec<_>>(), [true, false]);
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
