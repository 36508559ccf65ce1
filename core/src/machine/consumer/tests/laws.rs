//! What must hold in the world whatever happens, checked as it happens. The numbers are those of the invariants.
//!
//! The observer keeps books of its own: which event is settled for which handler it knows from the outcomes that it saw,
//! never from the machine.

use std::collections::BTreeSet;

use super::cluster::{Cluster, Log, WEIGHT};
use super::*;
use crate::machine::commit::Scope;
use crate::ports::Commit;

/// One event for one handler: the handler, the log's number, the offset.
pub(super) type Work = (usize, usize, Offset);

/// A call that runs.
#[derive(Debug, Clone)]
pub(super) struct Running {
    pub(super) work: Vec<Work>,
    pub(super) epoch: u64,
}

/// A law was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation(pub(super) String);

pub(super) type Lawful = Result<(), Violation>;

/// What the observer knows.
#[derive(Debug)]
pub(super) struct Laws {
    config: ConsumerConfig,
    /// Where the group begins in each log.
    base: Vec<Offset>,
    /// What was settled, in this life or an earlier one.
    settled: BTreeSet<Work>,
    pub(super) running: BTreeMap<CallId, Running>,
    /// The present assignment: its number, generation, and logs.
    epoch: u64,
    generation: Option<Generation>,
    /// Since the present assignment: started and not settled; tried before; failed attempts; earliest next call; held.
    outstanding: BTreeSet<Work>,
    tried: BTreeSet<Work>,
    attempts: BTreeMap<Work, u32>,
    not_before: BTreeMap<Work, Time>,
    held: BTreeSet<Work>,
    settled_now: BTreeSet<Work>,
    frontiers: BTreeMap<usize, Offset>,
    /// What the coordinator told when the assignment began.
    resumed: BTreeMap<usize, SettledSet>,
    /// The life of each topic that the member reads: what it was told first, or says that it began anew with.
    pub(super) reads: BTreeMap<TopicName, TopicId>,
    /// Topics of which another life was told as well: the member may have taken the first for that of a broker that lags.
    disputed: BTreeSet<TopicName>,
    draining: Option<Time>,
    excused: bool,
    pub(super) metadata_cut: bool,
    /// How often each law was put to the test.
    pub(super) seen: BTreeMap<&'static str, u64>,
}

impl Laws {
    pub(super) fn new(config: ConsumerConfig, cluster: &Cluster) -> Self {
        let base = |log: &Log| cluster.stored.get(&log.at).map_or(log.start, |stored| stored.offset);
        Self {
            config,
            base: cluster.logs.iter().map(base).collect(),
            settled: BTreeSet::new(),
            running: BTreeMap::new(),
            epoch: 0,
            generation: None,
            outstanding: BTreeSet::new(),
            tried: BTreeSet::new(),
            attempts: BTreeMap::new(),
            not_before: BTreeMap::new(),
            held: BTreeSet::new(),
            settled_now: BTreeSet::new(),
            frontiers: BTreeMap::new(),
            resumed: BTreeMap::new(),
            reads: BTreeMap::new(),
            disputed: BTreeSet::new(),
            draining: None,
            excused: false,
            metadata_cut: false,
            seen: BTreeMap::new(),
        }
    }

    pub(super) fn check(&mut self, law: &'static str, holds: bool, what: impl FnOnce() -> String) -> Lawful {
        *self.seen.entry(law).or_default() += 1;
        if holds { Ok(()) } else { Err(Violation(format!("{law}: {}", what()))) }
    }

    fn handlers(&self, log: &Log) -> Vec<usize> {
        let topic = self.config.topics.iter().position(|topic| *topic == log.at.topic);
        let all = self.config.handlers.iter().enumerate();
        all.filter(|(_, handler)| Some(handler.topic) == topic).map(|(id, _)| id).collect()
    }

    pub(super) fn handler_named(&self, name: &str) -> usize {
        self.config.handlers.iter().position(|handler| &*handler.name == name).expect("only ours are named")
    }

    fn settled_by_all(&self, cluster: &Cluster, number: usize, offset: Offset) -> bool {
        let handlers = self.handlers(&cluster.logs[number]);
        handlers.into_iter().all(|handler| self.settled.contains(&(handler, number, offset)))
    }

    /// What must not overlap: `None` for an event that is free.
    fn lane(
        &self,
        cluster: &Cluster,
        (handler, number, offset): Work,
    ) -> Option<(usize, usize, Option<u64>)> {
        let key = cluster.logs[number].key(offset).flatten();
        match self.config.handlers[handler].ordering {
            Ordering::Key => key.map(|key| (handler, number, Some(key))),
            Ordering::Partition => Some((handler, number, None)),
            Ordering::Unordered => None,
        }
    }

    pub(super) fn assigned(&mut self, generation: Generation) {
        self.ended();
        self.epoch += 1;
        self.generation = Some(generation);
        self.excused = false;
    }

    /// The assignment is over.
    pub(super) fn ended(&mut self) {
        self.generation = None;
        self.outstanding.clear();
        self.tried.clear();
        self.attempts.clear();
        self.not_before.clear();
        self.held.clear();
        self.settled_now.clear();
        self.frontiers.clear();
        self.resumed.clear();
        self.reads.clear();
        self.disputed.clear();
        self.draining = None;
    }

    /// The process died: its calls with it.
    pub(super) fn crashed(&mut self) {
        self.ended();
        self.running.clear();
        self.metadata_cut = false;
    }

    pub(super) fn revoked(&mut self, until: Time) {
        self.draining = Some(self.draining.map_or(until, |known| known.min(until)));
    }

    /// The last commit may fail: the coordinator refused one, or the member said that it could not.
    pub(super) fn excuse(&mut self) {
        self.excused = true;
    }

    /// There are more logs.
    pub(super) fn grown(&mut self, cluster: &Cluster) {
        self.base.extend(cluster.logs[self.base.len()..].iter().map(|log| log.start));
    }

    /// A look tells of a life. The first of an assignment is taken for the one that is read.
    pub(super) fn told(&mut self, topic: &TopicName, id: TopicId) {
        if *self.reads.entry(topic.clone()).or_insert(id) != id {
            self.disputed.insert(topic.clone());
        }
    }

    /// The member says that a topic was made anew: what it knew of it belongs to the past.
    pub(super) fn recreated(&mut self, cluster: &Cluster, topic: &TopicName, id: TopicId) -> Lawful {
        let known = self.reads.insert(topic.clone(), id);
        let past = |number: &usize| cluster.logs[*number].at.topic == *topic;
        for running in self.running.values_mut().filter(|running| past(&running.work[0].1)) {
            running.epoch = 0;
        }
        let books = [&mut self.outstanding, &mut self.tried, &mut self.held, &mut self.settled_now];
        for book in books {
            book.retain(|one| !past(&one.1));
        }
        self.attempts.retain(|one, _| !past(&one.1));
        self.not_before.retain(|one, _| !past(&one.1));
        self.frontiers.retain(|number, _| !past(number));
        self.resumed.retain(|number, _| !past(number));
        let rightly = known.is_some_and(|known| known != id) || self.disputed.contains(topic);
        self.check("topics made anew are told", rightly, || format!("{topic}: {known:?}, then {id}"))
    }

    /// The number of the log that the member reads a partition of.
    fn read(&self, cluster: &Cluster, at: &TopicPartition) -> Option<usize> {
        self.reads.get(&at.topic).and_then(|id| cluster.log_of(at, *id))
    }

    /// Whether the member knows which log it reads, and that log is there.
    pub(super) fn knows(&self, cluster: &Cluster, at: &TopicPartition) -> bool {
        self.read(cluster, at).is_some_and(|number| cluster.is_there(number))
    }

    /// The work that a notice is about: it was started.
    pub(super) fn work(
        &self,
        cluster: &Cluster,
        handler: usize,
        at: &TopicPartition,
        offset: Offset,
    ) -> Work {
        let of = |one: &&Work| one.0 == handler && one.2 == offset && cluster.logs[one.1].at == *at;
        *self.outstanding.iter().find(of).expect("only what was started comes to an end")
    }

    /// The coordinator told what is committed.
    pub(super) fn resumed(&mut self, cluster: &Cluster, number: usize) {
        let log = &cluster.logs[number];
        if self.resumed.contains_key(&number) {
            return;
        }
        let set = match cluster.stored.get(&log.at) {
            Some(stored) => {
                let scope = Scope { handlers: self.fingerprint(log), topic: Some(log.id) };
                SettledSet::decode(&stored.metadata, stored.offset, scope).unwrap_or_else(|reason| {
                    let is_ours = !matches!(reason, Unreadable::OtherTopic { .. });
                    SettledSet::empty(if is_ours { stored.offset } else { Offset::ZERO })
                })
            }
            None => SettledSet::empty(log.start),
        };
        self.resumed.insert(number, set);
    }

    fn fingerprint(&self, log: &Log) -> Fingerprint {
        Fingerprint::of(self.handlers(log).into_iter().map(|id| &*self.config.handlers[id].name))
    }

    pub(super) fn run(
        &mut self,
        now: Time,
        cluster: &Cluster,
        call: CallId,
        handler: HandlerId,
        events: &[(usize, Offset, u32)],
    ) -> Lawful {
        let HandlerId(handler) = handler;
        let work: Vec<Work> = events.iter().map(|&(number, offset, _)| (handler, number, offset)).collect();
        let limits = self.config.handlers[handler].clone();
        let revoked = self.generation.is_none() || self.draining.is_some();
        self.check("nothing new starts when revoked", !revoked, || format!("{work:?} starts"))?;
        for (&one, &(number, offset, attempt)) in work.iter().zip(events) {
            let counted = self.attempts.get(&one).copied().unwrap_or_default() + 1;
            self.check("C9 attempts", attempt == counted, || format!("{one:?} #{attempt}, not #{counted}"))?;
            let due = self.not_before.get(&one).is_none_or(|at| *at <= now);
            self.check("C9 waits", due, || format!("{one:?} is tried again at {now} already"))?;
            let again = self.settled_now.contains(&one);
            let told =
                self.resumed.get(&number).is_some_and(|set| offset < set.base() || set.contains(offset));
            let at = &cluster.logs[number].at;
            // Who takes another life for the present one begins anew.
            let knows = self.read(cluster, at) == Some(number) && !self.disputed.contains(&at.topic);
            if knows {
                self.check("C4 redelivery", !again && !told, || format!("{one:?} was settled: {told}"))?;
            }
            let alone = work.len() == 1 || !self.tried.contains(&one);
            self.check("C10 alone", alone, || format!("{one:?} was tried before and shares {work:?}"))?;
            let Some(lane) = self.lane(cluster, one) else { continue };
            let others = self.running.values().flat_map(|running| &running.work).chain(&work);
            let clash =
                others.filter(|other| **other != one).find(|other| self.lane(cluster, **other) == Some(lane));
            let clash = clash.copied();
            self.check("C6 one at a time", clash.is_none(), || format!("{one:?} with {clash:?}"))?;
            let twice = self.running.values().any(|running| running.work.contains(&one));
            self.check("C6 one at a time", !twice, || format!("{one:?} runs twice"))?;
            let from = self.base[number].max(cluster.logs[number].start);
            let before = cluster.logs[number].records.iter().map(|record| (handler, number, record.0)).find(
                |&other| {
                    other.2 >= from
                        && other.2 < offset
                        && self.lane(cluster, other) == Some(lane)
                        && !self.settled.contains(&other)
                },
            );
            if knows {
                self.check("C6 order", before.is_none(), || format!("{one:?} before {before:?}"))?;
            }
        }
        self.tried.extend(if work.len() == 1 { &work[..] } else { &[] });
        self.outstanding.extend(&work);
        self.running.insert(call, Running { work: work.clone(), epoch: self.epoch });
        let calls = self.running.len();
        self.check("C8 calls", calls <= self.config.concurrency, || format!("{calls} calls"))?;
        let of_handler = self.running.values().filter(|running| running.work[0].0 == handler).count();
        self.check("C8 calls of a handler", of_handler <= limits.concurrency.get(), || {
            format!("{of_handler}")
        })?;
        let outstanding = self.outstanding.iter().filter(|one| one.0 == handler).count();
        self.check("C8 outstanding", outstanding <= limits.outstanding.get(), || {
            format!("{outstanding} events")
        })?;
        self.check("C8 batch", work.len() <= limits.batch.get(), || format!("{work:?}"))
    }

    /// A call ends. Answers whether it belongs to the present assignment.
    pub(super) fn finished(&mut self, now: Time, call: CallId, outcome: Outcome) {
        let Some(running) = self.running.remove(&call) else { return };
        if running.epoch != self.epoch || self.generation.is_none() {
            *self.seen.entry("outcomes of ended assignments").or_default() += 1;
            return;
        }
        for &one in &running.work {
            match outcome {
                Outcome::Done | Outcome::AlreadyDone => self.settle(one),
                Outcome::Ignored if running.work.len() == 1 => self.settle(one),
                Outcome::World | Outcome::Cancelled => {
                    self.tried.insert(one);
                }
                _ if running.work.len() > 1 => {
                    self.tried.insert(one);
                }
                _ => {
                    *self.attempts.entry(one).or_default() += 1;
                    let wait = self.config.handlers[one.0].retry.backoff.first * 9 / 10;
                    self.not_before.insert(one, now + wait);
                }
            }
        }
    }

    fn settle(&mut self, one: Work) {
        self.outstanding.remove(&one);
        self.settled.insert(one);
        self.settled_now.insert(one);
    }

    pub(super) fn discarded(&mut self, one: Work, poison: bool, outcome: Outcome, attempts: u32) -> Lawful {
        let counted = self.attempts.get(&one).copied().unwrap_or_default();
        let config = &self.config.handlers[one.0];
        let useless = matches!(outcome, Outcome::Permanent | Outcome::Undecodable);
        let exhausted = config.retry.max_attempts.is_some_and(|most| counted >= most.get());
        let rightly =
            config.on_failure == OnFailure::Discard && attempts == counted && (useless || exhausted);
        self.settle(one);
        self.check("C10 each for itself", poison, || format!("{one:?} was given up for another's failure"))?;
        self.check("C9 discard", rightly, || format!("{one:?} after {attempts} of {counted}: {outcome:?}"))
    }

    pub(super) fn blocked(&mut self, one: Work, poison: bool) -> Lawful {
        self.held.insert(one);
        self.outstanding.remove(&one);
        let blocks = self.config.handlers[one.0].on_failure == OnFailure::Block;
        self.check("C9 block", blocks && poison, || format!("{one:?} is held"))
    }

    pub(super) fn commit(&mut self, cluster: &Cluster, request: &CommitRequest) -> Lawful {
        let generation = request.generation;
        let known = self.generation;
        self.check("C3 generation", known == Some(generation), || format!("{generation} is not {known:?}"))?;
        self.check("commits name something", !request.commits.is_empty(), || "nothing".into())?;
        for Commit { at, offset, metadata, .. } in &request.commits {
            let Some(number) = self.read(cluster, at).or_else(|| cluster.log(at)) else {
                return Err(Violation(format!("{at} is not assigned")));
            };
            let log = &cluster.logs[number];
            let fingerprint = self.fingerprint(log);
            let limit = self.config.metadata_limit.characters();
            self.check("C2 metadata fits", metadata.len() <= limit, || {
                format!("{} characters", metadata.len())
            })?;
            let set = SettledSet::decode(metadata, *offset, fingerprint)
                .map_err(|reason| Violation(format!("C2: {at}: {reason}")))?;
            let last = self.frontiers.insert(number, *offset);
            self.check("C3 forward", last.is_none_or(|last| last <= *offset), || {
                format!("{at}: {offset} after {last:?}")
            })?;
            if !self.knows(cluster, at) {
                continue;
            }
            self.check("C2 end", *offset <= log.end, || {
                format!("{at}: {offset} is past the end {}", log.end)
            })?;
            let from = self.base[number].max(log.start);
            for &(record, _) in log.records.iter().filter(|record| record.0 >= from) {
                let named = record < *offset || set.contains(record);
                let settled = self.settled_by_all(cluster, number, record);
                if record >= *offset && named {
                    self.check("C2 metadata", settled, || format!("{at}: {record} is named, not settled"))?;
                } else if named {
                    self.check("C2 commit", settled, || {
                        format!("{at}: {record} is below {offset}, not settled")
                    })?;
                }
            }
        }
        Ok(())
    }

    /// The member says that everything is given back.
    pub(super) fn released(&mut self, now: Time, cluster: &Cluster) -> Lawful {
        let Some(until) = self.draining else { return Err(Violation("released, though not revoked".into())) };
        // The driver may be late by a little.
        let limit = until + Duration::from_millis(5_025);
        self.check("L2 in time", now <= limit, || format!("at {now}, asked for {until}"))?;
        if !self.excused {
            let settled = self.settled_now.clone();
            for (_, number, offset) in settled {
                let log = &cluster.logs[number];
                if !cluster.is_there(number) {
                    continue;
                }
                let by_all = |handler: usize| self.settled_now.contains(&(handler, number, offset));
                if !self.handlers(log).into_iter().all(by_all) {
                    continue;
                }
                let stored = cluster.stored.get(&log.at);
                let told = stored.is_some_and(|stored| {
                    let set = SettledSet::decode(&stored.metadata, stored.offset, self.fingerprint(log));
                    offset < stored.offset || self.metadata_cut || set.is_ok_and(|set| set.contains(offset))
                });
                self.check("L2 all committed", told, || format!("{}: {offset} was settled", log.at))?;
            }
        }
        self.ended();
        Ok(())
    }

    pub(super) fn window(&mut self, in_flight: usize, logs: usize) -> Lawful {
        let fetched = (2 * self.config.fetch_bytes / WEIGHT).max(1) as usize;
        let by_bytes = usize::try_from(self.config.window_bytes).unwrap_or(usize::MAX) / WEIGHT as usize;
        let limit = logs * (self.config.window_events.min(by_bytes + 1) + fetched);
        self.check("C8 window", in_flight <= limit, || {
            format!("{in_flight} events are held, {limit} allowed")
        })
    }

    /// Whether a held event keeps the window from reaching this one.
    fn out_of_reach(&self, cluster: &Cluster, number: usize, held: Option<Offset>, offset: Offset) -> bool {
        let Some(held) = held else { return false };
        let between = |record: &&(Offset, Option<u64>)| (held..offset).contains(&record.0);
        let window: Vec<_> = cluster.logs[number].records.iter().filter(between).collect();
        let unsettled =
            window.iter().filter(|record| !self.settled_by_all(cluster, number, record.0)).count();
        window.len() >= self.config.window_events
            || unsettled as u64 * u64::from(WEIGHT) >= self.config.window_bytes
    }

    /// What is not at rest, if anything: an event that is neither settled nor held, or a position that lags (C1, L1).
    pub(super) fn unrest(&self, cluster: &Cluster) -> Option<String> {
        for number in cluster.there() {
            let log = &cluster.logs[number];
            let from = self.base[number].max(log.start);
            let held = self.held.iter().filter(|one| one.1 == number).map(|one| one.2).min();
            let mut frontier = held.unwrap_or(log.end);
            for &(offset, _) in log.records.iter().filter(|record| record.0 >= from) {
                for handler in self.handlers(log) {
                    let one = (handler, number, offset);
                    if self.settled.contains(&one) {
                        continue;
                    }
                    frontier = frontier.min(offset);
                    let lane = self.lane(cluster, one);
                    let behind = |held: &Work| {
                        *held == one
                            || (lane.is_some() && held.2 < offset && self.lane(cluster, *held) == lane)
                    };
                    if !self.held.iter().any(behind) && !self.out_of_reach(cluster, number, held, offset) {
                        return Some(format!("C1: {one:?} is neither settled nor held"));
                    }
                }
            }
            let stored = cluster.stored.get(&log.at).map(|stored| stored.offset);
            if stored != Some(frontier) {
                return Some(format!("L1: {} is committed up to {stored:?}, not {frontier}", log.at));
            }
        }
        None
    }
}
