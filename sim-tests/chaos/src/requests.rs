//! What members asked the group coordinators for, and which of it was taken.
//!
//! The coordinators' log says what was taken, but not who asked, and an answer can be lost or in doubt. So each record
//! of the log is given to the request that most likely led to it, and as many requests as were acknowledged must get one.

use std::collections::{BTreeMap, VecDeque};

use evenkeel_core::model::{Generation, Offset, Time};
use evenkeel_sim::decode;
use evenkeel_sim::history::{GroupNo, Happening, Life, Share};

use crate::coordinated::{Coordinated, Shares};
use crate::journal::{Answer, Entry, Position};
use crate::shop::place;

/// All requests of a run.
#[derive(Default)]
pub(crate) struct Requests {
    /// By group and position, in the order of asking. Those that were refused are not among them.
    commits: BTreeMap<(GroupNo, Position), VecDeque<Asked>>,
    /// By group and generation: when it was first asked for, and first answered.
    syncs: BTreeMap<(GroupNo, Generation), (u64, Option<u64>)>,
    /// What was asked for and not yet answered, by the asker's number.
    open_commits: BTreeMap<(Life, u64), (GroupNo, Vec<Position>)>,
    open_syncs: BTreeMap<(Life, u64), (GroupNo, Generation)>,
}

/// A commit of one position.
struct Asked {
    at: u64,
    answered: Option<u64>,
    life: Life,
    generation: Generation,
    /// Whether it is known to have been taken.
    taken: bool,
}

/// What the log of a group's coordinator amounts to.
#[derive(Default)]
pub(crate) struct Taken {
    /// Commits and assignments, at the times at which they were taken.
    pub(crate) pages: Vec<(u64, Happening)>,
    /// What cannot be.
    pub(crate) strange: Vec<String>,
}

/// A record of the log, and between which times it was written.
struct Found {
    at: u64,
    not_before: u64,
    not_after: u64,
    happening: Happening,
}

impl Requests {
    /// A life asked a coordinator. Requests are told in the order of its journal.
    pub(crate) fn asked(&mut self, life: Life, group: GroupNo, at: u64, entry: &Entry) {
        match entry {
            Entry::CommitAsked { nth, generation, positions, .. } => {
                for position in positions {
                    let generation = Generation(*generation);
                    let asked = Asked { at, answered: None, life, generation, taken: false };
                    self.commits.entry((group, position.clone())).or_default().push_back(asked);
                }
                self.open_commits.insert((life, *nth), (group, positions.clone()));
            }
            Entry::SyncAsked { nth, generation, .. } => {
                let id = (group, Generation(*generation));
                let first = self.syncs.entry(id).or_insert((at, None));
                first.0 = first.0.min(at);
                self.open_syncs.insert((life, *nth), id);
            }
            _ => {}
        }
    }

    /// A life was answered.
    pub(crate) fn answered(&mut self, life: Life, at: u64, entry: &Entry) {
        match entry {
            Entry::CommitAnswered { nth, answers } => {
                let Some((group, positions)) = self.open_commits.remove(&(life, *nth)) else { return };
                for (position, answer) in positions.into_iter().zip(answers) {
                    self.answered_one(group, position, life, at, *answer);
                }
            }
            Entry::SyncAnswered { nth } => {
                let open = self.open_syncs.remove(&(life, *nth));
                if let Some(first) = open.and_then(|id| self.syncs.get_mut(&id)) {
                    first.1 = Some(first.1.map_or(at, |first| first.min(at)));
                }
            }
            _ => {}
        }
    }

    fn answered_one(&mut self, group: GroupNo, position: Position, life: Life, at: u64, answer: Answer) {
        let Some(all) = self.commits.get_mut(&(group, position)) else { return };
        let unanswered = |asked: &Asked| asked.life == life && asked.answered.is_none();
        let Some(nth) = all.iter().rposition(unanswered) else { return };
        match answer {
            Answer::Taken => {
                all[nth].answered = Some(at);
                all[nth].taken = true;
            }
            Answer::Refused => {
                all.remove(nth);
            }
            Answer::Unsure => {}
        }
    }

    /// Finds out who asked for what the coordinator of a group took, and when it did.
    pub(crate) fn taken(&mut self, group: GroupNo, name: &str, log: &[(u64, Coordinated)]) -> Taken {
        let mut taken = Taken::default();
        let mut present: Option<(Generation, Shares)> = None;
        let mut found = Vec::new();
        // How many records each position has from here on.
        let mut left: BTreeMap<&Position, usize> = BTreeMap::new();
        for (_, record) in log {
            if let Coordinated::Commit { group, position } = record
                && group == name
            {
                *left.entry(position).or_default() += 1;
            }
        }
        for (millis, record) in log {
            let at = millis * 1_000_000;
            match record {
                Coordinated::Assignment { group: of, generation, shares } if of == name => {
                    let assigned = Some((*generation, shares.clone()));
                    if present != assigned {
                        present = assigned;
                        found.push(self.assigned(group, at, *generation, shares));
                    }
                }
                Coordinated::Commit { group: of, position } if of == name => {
                    let left = left.entry(position).or_insert(1);
                    match self.committed(group, at, position, *left, present.as_ref()) {
                        Some(committed) => found.push(committed),
                        None => {
                            taken
                                .strange
                                .push(format!("{name}: nobody asked for the commit of {position:?}"));
                        }
                    }
                    *left -= 1;
                }
                Coordinated::Assignment { .. } | Coordinated::Commit { .. } => {}
            }
        }
        let of_group = self.commits.iter().filter(|((of, _), _)| *of == group);
        for ((_, position), _) in of_group.filter(|(_, left)| left.iter().any(|asked| asked.taken)) {
            let what = "was acknowledged and is not in the coordinator's log";
            taken.strange.push(format!("{name}: the commit of {position:?} {what}"));
        }
        taken.pages = in_order(found);
        taken
    }

    fn assigned(&self, group: GroupNo, at: u64, generation: Generation, shares: &Shares) -> Found {
        let (asked, answered) = self.syncs.get(&(group, generation)).copied().unwrap_or_default();
        let share = |(life, partitions): &(Life, Vec<i32>)| Share {
            life: *life,
            places: partitions.iter().copied().map(place).collect(),
        };
        let shares = shares.iter().map(share).collect();
        Found {
            at,
            not_before: asked,
            not_after: answered.unwrap_or(u64::MAX),
            happening: Happening::Assigned { group, generation, shares },
        }
    }

    /// The request behind a commit in the log, where `left` more records say the same from this one on.
    fn committed(
        &mut self,
        group: GroupNo,
        at: u64,
        position: &Position,
        left: usize,
        present: Option<&(Generation, Shares)>,
    ) -> Option<Found> {
        let all = self.commits.get_mut(&(group, position.clone()))?;
        let owns = |asked: &Asked| {
            present.is_some_and(|(generation, shares)| {
                let mut own = shares.iter().filter(|(life, _)| *life == asked.life);
                *generation == asked.generation && own.any(|(_, places)| places.contains(&position.partition))
            })
        };
        // As many as were acknowledged must be in the log; who was not answered gets what is over.
        let acknowledged = all.iter().filter(|asked| asked.taken).count();
        let may_be = |asked: &Asked| asked.taken || left > acknowledged;
        let likely = |asked: &Asked| may_be(asked) && owns(asked);
        let nth = all.iter().position(likely).or_else(|| all.iter().position(may_be))?;
        let asked = all.remove(nth)?;
        let offset = Offset(position.offset);
        Some(Found {
            at,
            not_before: asked.at,
            not_after: asked.answered.unwrap_or(u64::MAX),
            happening: Happening::Committed {
                group,
                place: place(position.partition),
                life: asked.life,
                generation: asked.generation,
                offset,
                settled: decode::settled(&position.metadata, offset),
                outcome: Ok(()),
                sent: Time::from_nanos(asked.at),
            },
        })
    }
}

/// The records at times that keep the order of the log, behind what led to them and before what followed.
fn in_order(mut found: Vec<Found>) -> Vec<(u64, Happening)> {
    let mut latest = u64::MAX;
    for record in found.iter_mut().rev() {
        latest = latest.min(record.not_after.saturating_sub(1));
        record.not_after = latest;
    }
    let mut earliest = 0;
    let placed = found.into_iter().map(|record| {
        earliest = record.at.min(record.not_after).max(record.not_before + 1).max(earliest);
        (earliest, record.happening)
    });
    placed.collect()
}
