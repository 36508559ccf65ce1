//! What is true so far, as far as several checkers need it: which records there are, and what became of each for each
//! handler.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use evenkeel_core::model::{Offset, OnFailure, Ordering, Time};

use super::log::{Log, Record, Standing, index};
use crate::history::{
    CallNo, End, EventNo, Facts, Flavour, GroupNo, HandlerNo, Happening, Life, Nature, Place, RunEnd, RunNo,
    Sent, Share, TopicNo,
};

/// A handler's run that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The call it belongs to.
    pub call: CallNo,
    /// In which process.
    pub life: Life,
    /// The handler.
    pub handler: HandlerNo,
    /// Where the event came from.
    pub place: Place,
    /// Its offset.
    pub offset: Offset,
    /// The event.
    pub event: EventNo,
    /// When it began.
    pub began: Time,
}

/// What is known of a process.
#[derive(Debug, Clone)]
pub struct Process {
    /// What it runs.
    pub handlers: Arc<[HandlerNo]>,
    /// How it ended, if it has.
    pub end: Option<End>,
    /// Whether it stands still.
    pub paused: bool,
    /// When it last went on after a pause.
    pub resumed: Option<Time>,
}

/// See the [module](self).
#[derive(Debug, Clone)]
pub struct Ledger {
    facts: Arc<Facts>,
    logs: BTreeMap<Place, Log>,
    /// Each event as it was made, and when it was first to be sent.
    sent: Vec<Option<(Time, Sent)>>,
    /// Where each event was seen; more than one place if it was written again.
    places: BTreeMap<EventNo, Vec<(Place, Offset)>>,
    claimed: BTreeMap<EventNo, Vec<HandlerNo>>,
    runs: BTreeMap<RunNo, Run>,
    processes: BTreeMap<Life, Process>,
    /// Who is assigned what, and whether the log was not cut since.
    owners: BTreeMap<(GroupNo, Place), (Life, bool)>,
    /// Positions that somebody else set, and nobody committed since.
    set_by_others: BTreeSet<(GroupNo, Place)>,
    quiet: bool,
}

impl Ledger {
    /// What happened, as far as it matters for what is to come.
    pub(crate) const fn memory(&self) -> impl fmt::Debug {
        (
            (&self.logs, &self.owners, &self.set_by_others),
            (&self.sent, &self.places, &self.claimed),
            (&self.runs, &self.processes, self.quiet),
        )
    }

    /// Nothing has happened.
    #[must_use]
    pub const fn new(facts: Arc<Facts>) -> Self {
        Self {
            facts,
            logs: BTreeMap::new(),
            sent: Vec::new(),
            places: BTreeMap::new(),
            claimed: BTreeMap::new(),
            runs: BTreeMap::new(),
            processes: BTreeMap::new(),
            owners: BTreeMap::new(),
            set_by_others: BTreeSet::new(),
            quiet: false,
        }
    }

    /// What was settled beforehand.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Whether faults are over.
    #[must_use]
    pub const fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// A partition's records; `None` if there is none yet.
    #[must_use]
    pub fn log(&self, place: Place) -> Option<&Log> {
        self.logs.get(&place)
    }

    /// Whether a partition's topic was ever deleted.
    #[must_use]
    pub fn was_made_anew(&self, place: Place) -> bool {
        self.logs.get(&place).is_some_and(|log| log.began_anew)
    }

    /// Whether a partition ever lost its last records.
    #[must_use]
    pub fn was_cut(&self, place: Place) -> bool {
        self.logs.get(&place).is_some_and(|log| log.cut_at.is_some())
    }

    /// Whether it is known what a process of a group has read of a partition: not if it held it when it lost its last
    /// records. An offset stood for another event then, and when the process learns of that is not told. Of a
    /// topic that was made anew it is never known.
    #[must_use]
    pub fn can_judge(&self, life: Life, group: GroupNo, place: Place) -> bool {
        self.logs.get(&place).is_none_or(|log| log.cut_at.is_none() || log.took_over.contains(&(group, life)))
    }

    /// The same for the group of a handler.
    #[must_use]
    pub fn can_judge_handler(&self, life: Life, handler: HandlerNo, place: Place) -> bool {
        self.can_judge(life, self.facts.handler(handler).group, place)
    }

    /// Whether a group's position is one that somebody else set, of which its members do not know.
    #[must_use]
    pub fn is_set_by_others(&self, group: GroupNo, place: Place) -> bool {
        self.set_by_others.contains(&(group, place))
    }

    /// Whether any group's position there is one that somebody else set.
    #[must_use]
    pub fn has_position_set_by_others(&self, place: Place) -> bool {
        self.set_by_others.iter().any(|(_, at)| *at == place)
    }

    /// All partitions with records.
    pub fn logs(&self) -> impl Iterator<Item = (Place, &Log)> {
        self.logs.iter().map(|(place, log)| (*place, log))
    }

    /// An event as it was made.
    #[must_use]
    pub fn sent(&self, event: EventNo) -> Option<&Sent> {
        self.sent.get(event.0 as usize)?.as_ref().map(|(_, sent)| sent)
    }

    /// Whether a partition lost its last records when an event might already have been among them.
    #[must_use]
    pub fn may_have_lost(&self, place: Place, event: EventNo) -> bool {
        let began = self.sent.get(event.0 as usize).copied().flatten().map(|(at, _)| at);
        let cut_at = self.logs.get(&place).and_then(|log| log.cut_at);
        cut_at.is_some_and(|cut| began.is_none_or(|began| began <= cut))
    }

    /// A run that has begun and not ended.
    #[must_use]
    pub fn run(&self, run: RunNo) -> Option<&Run> {
        self.runs.get(&run)
    }

    /// Runs that have begun and not ended.
    pub fn runs(&self) -> impl Iterator<Item = (RunNo, &Run)> {
        self.runs.iter().map(|(number, run)| (*number, run))
    }

    /// A process.
    #[must_use]
    pub fn process(&self, life: Life) -> Option<&Process> {
        self.processes.get(&life)
    }

    /// The handlers for a topic that a process of a group runs; all of the group, if nothing is known of the process.
    #[must_use]
    pub fn run_by(&self, life: Life, group: GroupNo, topic: TopicNo) -> Vec<HandlerNo> {
        let process = self.processes.get(&life);
        let runs = |handler: &HandlerNo| process.is_none_or(|process| process.handlers.contains(handler));
        self.facts.handlers_of(group, topic).filter(runs).collect()
    }

    /// Whether any process runs a handler in its last life. One that was taken out is owed nothing.
    #[must_use]
    pub fn is_run(&self, handler: HandlerNo) -> bool {
        let mut lives = self.processes.iter().peekable();
        while let Some((life, process)) = lives.next() {
            let is_last = lives.peek().is_none_or(|(next, _)| next.process != life.process);
            if is_last && process.handlers.contains(&handler) {
                return true;
            }
        }
        false
    }

    /// The processes that live.
    pub fn living(&self) -> impl Iterator<Item = (Life, &Process)> {
        self.processes
            .iter()
            .filter(|(_, process)| process.end.is_none())
            .map(|(life, process)| (*life, process))
    }

    /// What became of a record for a handler.
    #[must_use]
    pub fn standing(&self, handler: HandlerNo, place: Place, offset: Offset) -> Standing {
        self.logs.get(&place).map_or_else(Standing::default, |log| log.standing(handler, offset))
    }

    /// The handlers that a group runs for which a record is not over; none if there is no record or the world destroyed it.
    pub fn open_for(
        &self,
        group: GroupNo,
        place: Place,
        offset: Offset,
    ) -> impl Iterator<Item = HandlerNo> + '_ {
        let log = self.logs.get(&place);
        let wanted = log.and_then(|log| log.record(offset)).is_some_and(|record| !record.destroyed);
        let handlers = self.facts.handlers_of(group, place.topic).filter(move |_| wanted);
        handlers.filter(move |handler| self.is_run(*handler) && !self.is_over(*handler, place, offset))
    }

    /// Whether a record is over for a handler. One that cannot be decoded is, at once, where the policy is to discard.
    #[must_use]
    pub fn is_over(&self, handler: HandlerNo, place: Place, offset: Offset) -> bool {
        let Some(log) = self.logs.get(&place) else { return false };
        let undecodable = log.record(offset).is_some_and(|record| record.nature == Nature::Undecodable);
        let discards = self.facts.handler(handler).on_failure == OnFailure::Discard;
        log.standing(handler, offset).is_over() || undecodable && discards
    }

    /// Records that are open for a handler and must not be: everything but what its policy keeps open for ever, and what
    /// waits behind that.
    pub fn forgotten(&self, handler: HandlerNo) -> Vec<(Place, Offset)> {
        let facts = self.facts.handler(handler);
        let mut forgotten = Vec::new();
        if !self.is_run(handler) {
            return forgotten;
        }
        for (place, log) in self.logs.iter().filter(|(place, _)| place.topic == facts.topic) {
            let blocks = facts.on_failure == OnFailure::Block;
            let mut blocked: Vec<_> = log.may_be_held().filter(|_| blocks).map(|(_, key)| key).collect();
            for (offset, record) in log.records() {
                let may_block = record.nature != Nature::Good && blocks;
                if self.is_over(handler, *place, offset) {
                    if may_block && log.standing(handler, offset).rewound {
                        blocked.push(record.key);
                    }
                    continue;
                }
                let behind = match (facts.ordering, record.key) {
                    (Ordering::Partition, _) => !blocked.is_empty(),
                    (Ordering::Key, Some(key)) => blocked.contains(&Some(key)),
                    (Ordering::Key, None) | (Ordering::Unordered, _) => false,
                };
                // Nobody knows a record as poison who has not tried it.
                let is_held = may_block
                    && (record.nature == Nature::Undecodable || log.standing(handler, offset).tried);
                if !is_held && !behind && !record.destroyed {
                    forgotten.push((*place, offset));
                }
                if may_block {
                    // Also if it was destroyed since it was read.
                    blocked.push(record.key);
                }
            }
        }
        forgotten
    }

    /// Takes in what happened.
    pub fn see(&mut self, at: Time, happening: &Happening) {
        match happening {
            Happening::LifeBegan { life, handlers, .. } => {
                let process =
                    Process { handlers: Arc::clone(handlers), end: None, paused: false, resumed: None };
                self.processes.insert(*life, process);
            }
            Happening::LifeEnded { life, end } => {
                if let Some(process) = self.processes.get_mut(life) {
                    process.end = Some(*end);
                    process.paused = false;
                }
                self.runs.retain(|_, run| run.life != *life);
            }
            Happening::Paused { life } => {
                if let Some(process) = self.processes.get_mut(life) {
                    process.paused = true;
                }
            }
            Happening::Resumed { life } => {
                if let Some(process) = self.processes.get_mut(life) {
                    process.paused = false;
                    process.resumed = Some(at);
                }
            }
            Happening::SendBegan { events, .. } => {
                for sent in events.iter() {
                    let nth = sent.event.0 as usize;
                    if self.sent.len() <= nth {
                        self.sent.resize(nth + 1, None);
                    }
                    self.sent[nth].get_or_insert((at, *sent)).1 = *sent;
                }
            }
            Happening::Logged { place, offset, event } => self.logged(*place, *offset, *event),
            Happening::Destroyed { place, offsets } => {
                self.logs.entry(*place).or_default().destroy(offsets);
            }
            Happening::Truncated { place, end, why } => {
                self.logs.entry(*place).or_default().cut(at, *end, *why);
                for ((_, of), (_, since)) in &mut self.owners {
                    *since &= of != place;
                }
                for seen in self.places.values_mut() {
                    seen.retain(|(at, offset)| at != place || offset < end);
                }
            }
            Happening::RunBegan { run, call, life, handler, place, offset, event, .. } => {
                let (call, life, handler, place) = (*call, *life, *handler, *place);
                let began = Run { call, life, handler, place, offset: *offset, event: *event, began: at };
                self.runs.insert(*run, began);
                let log = self.logs.entry(place).or_default();
                if let Some(standing) = log.standing_of(handler, *offset, *event) {
                    standing.tried = true;
                }
            }
            Happening::RunEnded { run, end } => {
                if let Some(run) = self.runs.remove(run) {
                    self.run_ended(run, *end);
                }
            }
            Happening::GivenUp { handler, place, offset, .. } => {
                let log = self.logs.entry(*place).or_default();
                // What was tried there and cut off since may be given up late, and not the record that has come in its place.
                if !log.standing(*handler, *offset).tried {
                    let of_the_lost = log.cut_off(*handler, *offset..Offset(offset.0 + 1));
                    let tried = of_the_lost.filter(|standing| standing.tried);
                    if tried.map(|standing| standing.given_up = true).count() > 0 {
                        return;
                    }
                }
                if let Some(standing) = log.standing_mut(*handler, *offset) {
                    standing.given_up = true;
                }
            }
            Happening::TxCommitted { claims, .. } => {
                for (handler, event) in claims.iter() {
                    self.claimed.entry(*event).or_default().push(*handler);
                    for (place, offset) in self.places.get(event).cloned().unwrap_or_default() {
                        self.settle(*handler, place, offset);
                    }
                }
            }
            Happening::Quiet => self.quiet = true,
            Happening::Committed { group, place, life, offset, outcome: Ok(()), .. } => {
                self.set_by_others.remove(&(*group, *place));
                self.committed(*group, *place, *life, *offset);
            }
            Happening::PositionSet { group, place, offset } => {
                self.set_by_others.insert((*group, *place));
                self.rewound(*group, *place, offset.unwrap_or_default());
            }
            Happening::Assigned { group, shares, .. } => self.assigned(*group, shares),
            Happening::PositionServed { group, place, life, .. } => {
                if self.owners.get(&(*group, *place)) == Some(&(*life, true))
                    && let Some(log) =
                        self.logs.get_mut(place).filter(|log| log.cut_at.is_some() && !log.began_anew)
                {
                    log.took_over.insert((*group, *life));
                }
            }
            Happening::StopAsked { .. }
            | Happening::SendEnded { .. }
            | Happening::Joined { .. }
            | Happening::Committed { .. } => {}
        }
    }

    /// Who keeps a partition goes on with what it has read.
    fn assigned(&mut self, group: GroupNo, shares: &[Share]) {
        let before: BTreeMap<_, _> = self.owners.extract_if(.., |(of, _), _| *of == group).collect();
        for share in shares {
            for place in share.places.iter() {
                let id = (group, *place);
                let kept = before.get(&id).filter(|(life, _)| *life == share.life);
                self.owners.insert(id, kept.copied().unwrap_or((share.life, true)));
            }
        }
    }

    /// What is committed is gone for the group: also for handlers that the process does not run.
    fn committed(&mut self, group: GroupNo, place: Place, life: Life, offset: Offset) {
        let Some(process) = self.processes.get(&life) else { return };
        let left_out = |handler: &HandlerNo| !process.handlers.contains(handler);
        let left_out: Vec<_> = self.facts.handlers_of(group, place.topic).filter(left_out).collect();
        // Whoever took over since the log was cut speaks of what stands there now.
        let speaks_of_the_lost = !self.can_judge(life, group, place);
        let Some(log) = self.logs.get_mut(&place) else { return };
        for handler in left_out {
            for nth in 0..offset.0.min(log.end().0) {
                if let Some(standing) = log.standing_mut(handler, Offset(nth)) {
                    standing.passed_over = true;
                }
            }
            if speaks_of_the_lost {
                for standing in log.cut_off(handler, Offset::ZERO..offset) {
                    standing.passed_over = true;
                }
            }
        }
    }

    /// Whoever is assigned the partition next begins there.
    fn rewound(&mut self, group: GroupNo, place: Place, offset: Offset) {
        let handlers: Vec<_> = self.facts.handlers_of(group, place.topic).collect();
        let Some(log) = self.logs.get_mut(&place) else { return };
        for handler in handlers {
            let standings = log.standings.entry(handler).or_default();
            for standing in standings.iter_mut().skip(index(offset).unwrap_or_default()) {
                standing.rewound |= standing.passed_over;
            }
            for standing in log.cut_off(handler, offset..Offset(i64::MAX)) {
                standing.rewound |= standing.passed_over;
            }
        }
    }

    fn logged(&mut self, place: Place, offset: Offset, event: Option<EventNo>) {
        let sent = event.and_then(|event| self.sent(event)).copied();
        let record = Record {
            event,
            key: sent.and_then(|sent| sent.key),
            nature: sent.map_or(Nature::Undecodable, |sent| sent.nature),
            destroyed: false,
        };
        self.logs.entry(place).or_default().put(offset, record);
        let Some(event) = event else { return };
        self.places.entry(event).or_default().push((place, offset));
        for handler in self.claimed.get(&event).cloned().unwrap_or_default() {
            self.settle(handler, place, offset);
        }
    }

    fn run_ended(&mut self, run: Run, end: RunEnd) {
        let settles = match (end, self.facts.handler(run.handler).flavour) {
            // What an exactly-once handler did counts when its transaction commits.
            (RunEnd::Done, Flavour::Idempotent) | (RunEnd::Ignored, _) => true,
            (RunEnd::Done, Flavour::ExactlyOnce)
            | (RunEnd::Failed | RunEnd::Permanent | RunEnd::World | RunEnd::Panicked | RunEnd::Dropped, _) => {
                false
            }
        };
        let log = self.logs.entry(run.place).or_default();
        if let Some(standing) = log.standing_of(run.handler, run.offset, run.event) {
            standing.settled |= settles;
            standing.failed = matches!(end, RunEnd::Failed | RunEnd::Permanent | RunEnd::Panicked);
        }
    }

    fn settle(&mut self, handler: HandlerNo, place: Place, offset: Offset) {
        if self.facts.handler(handler).topic != place.topic {
            return;
        }
        if let Some(standing) = self.logs.entry(place).or_default().standing_mut(handler, offset) {
            standing.settled = true;
        }
    }
}
