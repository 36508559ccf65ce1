//! What each bug does: it changes an input, an action, a setting or a claim on its way.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_core::error::ErrorCode;
use evenkeel_core::machine::backoff::Backoff;
use evenkeel_core::machine::commit::{Fingerprint, MetadataLimit, SettledSet};
use evenkeel_core::machine::consumer::{self, Action, CallId, ConsumerConfig, HandlerId, Ready};
use evenkeel_core::machine::delivery::Outcome;
use evenkeel_core::machine::{group, member, produce};
use evenkeel_core::model::{
    Attempt, BrokerId, Offset, PartitionId, RequestId, Time, TopicName, TopicPartition,
};
use evenkeel_core::ports::{Commit, CommitRequest, PortError, ProduceAnswer};

use super::super::ask::{Input, Item};
use super::super::store::Key;
use super::super::world::{Todo, World};
use super::Planted;
use crate::history::{EventNo, HandlerNo, Life};
use crate::oversight::decode;

/// A call's handler and events.
type Work = (HandlerId, Vec<Ready<Item>>);

/// What planted bugs remember. Empty without one.
#[derive(Debug, Clone, Default)]
pub(in crate::step) struct Memory {
    runs: BTreeMap<(usize, CallId), Work>,
    first_done: BTreeSet<(usize, EventNo)>,
    held: BTreeSet<(usize, EventNo)>,
    late: BTreeMap<usize, Result<(), PortError>>,
    last_commit: BTreeMap<usize, RequestId>,
    commits_out: BTreeMap<usize, CommitRequest>,
    commit_failures: BTreeMap<usize, u32>,
    committed: BTreeMap<(usize, TopicPartition), Offset>,
    read: BTreeMap<(usize, TopicPartition), Offset>,
    assigned: BTreeMap<TopicPartition, u32>,
    draining: BTreeSet<usize>,
    failed: BTreeMap<usize, (CallId, Work)>,
    ghosts: Vec<(Life, CallId, Work)>,
    /// When an event of a handler failed last.
    failed_at: BTreeMap<(Life, HandlerId), Time>,
    /// The broker of each fetch that is out.
    fetches: BTreeMap<(usize, RequestId), BrokerId>,
    /// The broker that did not answer a fetch last, and when.
    silent: BTreeMap<usize, (BrokerId, Time)>,
    count: u64,
}

/// Changes the settings of a member, as far as the bug is one of settings.
pub(in crate::step) fn distort_settings(bug: Option<Planted>, config: &mut ConsumerConfig) {
    if bug == Some(Planted::WindowIgnored) {
        config.window_events = usize::MAX;
        config.window_bytes = u64::MAX;
    }
    for handler in &mut config.handlers {
        match bug {
            Some(Planted::OutstandingExceeded) => handler.outstanding = handler.outstanding.saturating_add(1),
            Some(Planted::ConcurrencyExceeded) => handler.concurrency = handler.concurrency.saturating_add(1),
            Some(Planted::BatchExceeded) => handler.batch = handler.batch.saturating_add(1),
            Some(Planted::NoBackoff) => {
                handler.retry.backoff.first = Duration::ZERO;
                handler.retry.backoff.longest = Duration::ZERO;
            }
            Some(Planted::GivenUpEarly) => {
                handler.retry.max_attempts = handler
                    .retry
                    .max_attempts
                    .map(|most| NonZeroU32::new(most.get() - 1).unwrap_or(NonZeroU32::MIN));
            }
            _ => return,
        }
    }
}

/// A wait that is begun anew before it has grown.
pub(in crate::step) fn distort_backoff(planted: Option<Planted>, bug: Planted, backoff: &mut Backoff) {
    if planted == Some(bug) {
        backoff.longest = backoff.first;
    }
}

/// What a claim is about.
pub(in crate::step) const fn distort_key(bug: Option<Planted>, (handler, event): Key) -> Key {
    match bug {
        Some(Planted::ClaimWithoutHandler) => (HandlerNo(0), event),
        _ => (handler, event),
    }
}

fn runs_of(commit: &Commit) -> Vec<Range<Offset>> {
    decode::settled(&commit.metadata, commit.offset).to_vec()
}

impl World {
    fn bug(&self) -> Option<Planted> {
        self.planted
    }

    pub(in crate::step) fn distort_input(&mut self, process: usize, name: &'static str, input: Input) {
        match input {
            Input::Member(member::Input::Consumer(input)) => {
                if let Some(input) = self.distort_consumer(process, input) {
                    self.feed_as_it_is(process, name, Input::Member(member::Input::Consumer(input)));
                }
            }
            Input::Produce(produce::Input::Sent { id, outcome }) => {
                let outcome = match (self.bug(), outcome) {
                    (Some(Planted::UnknownAppendIsWritten), Err(PortError::Unknown { .. })) => {
                        Ok(ProduceAnswer { base_offset: Offset::ZERO })
                    }
                    (Some(Planted::UnknownAppendIsRefused), Err(PortError::Unknown { .. })) => {
                        Err(ErrorCode::InvalidRecord.into())
                    }
                    (_, outcome) => outcome,
                };
                let input = Input::Produce(produce::Input::Sent { id, outcome });
                self.feed_as_it_is(process, name, input);
            }
            Input::Produce(produce::Input::Submit(mut submissions)) => {
                if self.bug() == Some(Planted::SentInReverse) {
                    submissions.reverse();
                }
                self.feed_as_it_is(process, name, Input::Produce(produce::Input::Submit(submissions)));
            }
            other => self.feed_as_it_is(process, name, other),
        }
    }

    fn distort_consumer(
        &mut self,
        process: usize,
        input: consumer::Input<Item>,
    ) -> Option<consumer::Input<Item>> {
        use consumer::Input;
        let bug = self.bug()?;
        Some(match input {
            Input::Finished { call, outcome, waited } => {
                let (handler, events) = self.scratch.runs.remove(&(process, call))?;
                let outcome = match (bug, outcome) {
                    (Planted::PanicIsSuccess, Outcome::Panicked)
                    | (Planted::UndecodableIsSuccess, Outcome::Undecodable) => Outcome::Done,
                    (Planted::WorldIsAttempt, Outcome::World) => Outcome::Failed,
                    (Planted::BatchHeld, Outcome::Done) if self.is_held(process, &events) => Outcome::Failed,
                    (Planted::RetryBeside, Outcome::Failed) => {
                        self.haunt(process, call, (handler, events.clone()), Duration::from_secs(1));
                        Outcome::Done
                    }
                    (_, outcome) => outcome,
                };
                if events.len() > 1 && outcome != Outcome::Done {
                    self.scratch.held.extend(events.iter().map(|ready| (process, ready.record.event)));
                }
                if outcome == Outcome::Done {
                    self.scratch.first_done.extend(events.iter().map(|ready| (process, ready.record.event)));
                }
                if matches!(outcome, Outcome::Failed | Outcome::Permanent)
                    && let Some(life) = self.life_of(process)
                {
                    self.scratch.failed_at.insert((life, handler), self.now);
                }
                if outcome == Outcome::Failed {
                    self.scratch.failed.insert(process, (call, (handler, events)));
                }
                Input::Finished { call, outcome, waited }
            }
            Input::CommitDone { id, outcome } => {
                let refused = outcome.as_ref().map_or(true, |all| all.iter().any(Result::is_err));
                *self.scratch.commit_failures.entry(process).or_default() += u32::from(refused);
                let known = self.scratch.last_commit.get(&process).copied();
                self.scratch.commits_out.remove(&process);
                if bug == Planted::LateCommitAnswer && known != Some(id) {
                    self.scratch.late.insert(process, outcome.map(drop));
                    return None;
                }
                Input::CommitDone { id, outcome }
            }
            Input::Committed { id, outcome: Ok(mut stored) } => {
                for (at, position) in &mut stored {
                    let Ok(Some(position)) = position else { continue };
                    match bug {
                        Planted::OldEpochReused => {
                            if let Some(old) = self.scratch.committed.get(&(process, at.clone())) {
                                position.offset = *old;
                                position.metadata = "".into();
                            }
                        }
                        Planted::SettledForOthers => {
                            let runs = decode::settled(&position.metadata, position.offset);
                            if !runs.is_empty() {
                                position.metadata =
                                    self.encoded(&at.topic, position.offset, runs.to_vec(), process);
                            }
                        }
                        Planted::UnreadableSkipsOne
                            if !position.metadata.is_empty()
                                && !decode::is_readable(&position.metadata, position.offset) =>
                        {
                            position.offset = position.offset.next();
                        }
                        Planted::PositionSkipsOne if !position.metadata.is_empty() => {
                            position.offset = position.offset.next();
                        }
                        _ => {}
                    }
                }
                Input::Committed { id, outcome: Ok(stored) }
            }
            Input::Fetched { id, outcome: Err(error) } => {
                if let Some(broker) = self.scratch.fetches.remove(&(process, id)) {
                    self.scratch.silent.insert(process, (broker, self.now));
                }
                Input::Fetched { id, outcome: Err(error) }
            }
            Input::Fetched { id, outcome: Ok(mut answers) } => {
                for (at, read) in &mut answers {
                    let Ok(read) = read else { continue };
                    self.scratch.read.insert((process, at.clone()), read.next);
                    self.scratch.count += 1;
                    if bug == Planted::RecordSkipped
                        && self.scratch.count.is_multiple_of(5)
                        && !read.records.is_empty()
                    {
                        read.records.remove(0);
                    }
                }
                Input::Fetched { id, outcome: Ok(answers) }
            }
            other => other,
        })
    }

    pub(in crate::step) fn distort_action(&mut self, process: usize, action: Action<Item>) {
        let Some(bug) = self.bug() else { return };
        let action = match action {
            Action::Run { call, handler, event, more } => {
                let mut events = vec![event.clone()];
                events.extend(more.iter().cloned());
                let done =
                    |ready: &Ready<Item>| self.scratch.first_done.contains(&(process, ready.record.event));
                let skip = bug == Planted::FirstHandlerSettles && events.iter().all(done);
                self.scratch.runs.insert((process, call), (handler, events.clone()));
                if skip {
                    let waited = Duration::ZERO;
                    let input = consumer::Input::Finished { call, outcome: Outcome::Done, waited };
                    return self.feed(process, "finished", Input::Member(member::Input::Consumer(input)));
                }
                if bug == Planted::OthersWaitForRetry && self.waits_for_others(process, handler, &event) {
                    return self.haunt(process, call, (handler, events), Duration::from_secs(5));
                }
                Action::Run { call, handler, event, more }
            }
            Action::Cancel(call) => match self.scratch.ghosts.iter().position(|(_, of, _)| *of == call) {
                Some(nth) if bug == Planted::OthersWaitForRetry => {
                    self.scratch.ghosts.remove(nth);
                    let (outcome, waited) = (Outcome::Cancelled, Duration::ZERO);
                    let input = consumer::Input::Finished { call, outcome, waited };
                    return self.feed(process, "finished", Input::Member(member::Input::Consumer(input)));
                }
                Some(_) | None => Action::Cancel(call),
            },
            Action::Notice(consumer::Notice::Uncommitted { .. } | consumer::Notice::Cancelled { .. })
                if bug == Planted::UndoneUntold =>
            {
                return;
            }
            Action::Commit { id, coordinator, mut request } => {
                let failures = self.scratch.commit_failures.get(&process).copied().unwrap_or_default();
                if bug == Planted::CommitsEnd && failures >= 3 {
                    return;
                }
                self.scratch.last_commit.insert(process, id);
                self.distort_commits(process, bug, &mut request);
                for commit in &request.commits {
                    self.scratch.committed.insert((process, commit.at.clone()), commit.offset);
                }
                self.scratch.commits_out.insert(process, request.clone());
                if let Some(late) = self.scratch.late.remove(&process) {
                    let outcome = late.map(|()| vec![Ok(()); request.commits.len()]);
                    let input = consumer::Input::CommitDone { id, outcome };
                    let input = Input::Member(member::Input::Consumer(input));
                    // Answered before it was sent, it is not sent any more.
                    return self.feed_as_it_is(process, "commit", input);
                }
                Action::Commit { id, coordinator, request }
            }
            Action::Fetch { id, broker, mut request } => {
                let silent = self.scratch.silent.get(&process).copied();
                let is_recent = |at: Time| self.now.since(at) < Duration::from_secs(60);
                if bug == Planted::OneBrokerHoldsAll
                    && silent.is_some_and(|(other, at)| other != broker && is_recent(at))
                {
                    let error = PortError::Unreachable { server: "any".into(), cause: "another is".into() };
                    let input = consumer::Input::Fetched { id, outcome: Err(error) };
                    let input = Input::Member(member::Input::Consumer(input));
                    return self.feed_as_it_is(process, "fetch", input);
                }
                self.scratch.fetches.insert((process, id), broker);
                if bug == Planted::CutUnnoticed {
                    request.partitions.iter_mut().for_each(|wanted| wanted.last_fetched_epoch = None);
                }
                if bug == Planted::CreditLost {
                    let returned =
                        |at: &TopicPartition| self.scratch.assigned.get(at).is_some_and(|times| *times > 2);
                    request.partitions.retain(|wanted| !returned(&wanted.at));
                }
                Action::Fetch { id, broker, request }
            }
            other => other,
        };
        self.act_as_it_is(process, action);
    }

    /// Whether these were in a batch that failed.
    fn is_held(&self, process: usize, events: &[Ready<Item>]) -> bool {
        events.iter().all(|ready| self.scratch.held.contains(&(process, ready.record.event)))
    }

    fn distort_commits(&mut self, process: usize, bug: Planted, request: &mut CommitRequest) {
        let mut by_number: BTreeMap<PartitionId, (Offset, Arc<str>)> = BTreeMap::new();
        if bug == Planted::CommitsByPartitionNumber {
            for commit in &request.commits {
                by_number.insert(commit.at.partition, (commit.offset, Arc::clone(&commit.metadata)));
            }
        }
        let draining = self.scratch.draining.contains(&process);
        let stopping =
            self.processes[process].present.as_ref().is_some_and(|present| present.stopping_since.is_some());
        for commit in &mut request.commits {
            let runs = runs_of(commit);
            let read = self.scratch.read.get(&(process, commit.at.clone())).copied().unwrap_or_default();
            match bug {
                Planted::CommitsByPartitionNumber => {
                    if let Some((offset, metadata)) = by_number.get(&commit.at.partition) {
                        commit.offset = *offset;
                        commit.metadata = Arc::clone(metadata);
                    }
                }
                Planted::HighestSettled => {
                    commit.offset = runs.last().map_or(commit.offset, |run| run.end);
                }
                Planted::LastNotNext => commit.offset = Offset((commit.offset.0 - 1).max(0)),
                Planted::OneTooFar => commit.offset = commit.offset.next(),
                Planted::UnstartedCommitted if draining && !stopping => {
                    commit.offset = commit.offset.max(read)
                }
                Planted::InFlightCommitted if stopping => commit.offset = commit.offset.max(read),
                Planted::MetadataShifted if !runs.is_empty() => {
                    let shifted = runs.iter().map(|run| run.start.next()..run.end.next()).collect();
                    commit.metadata = self.encoded(&commit.at.topic, commit.offset, shifted, process);
                }
                Planted::CommitOfAnyLife => {
                    commit.metadata = self.encoded(&commit.at.topic, commit.offset, runs, process);
                }
                Planted::MetadataCutNear if runs.len() > 1 => {
                    // Lengths without the first pair: what follows moves nearer by as much.
                    let by = runs[0].end.0 - commit.offset.0;
                    let moved = runs[1..].iter().map(|run| Offset(run.start.0 - by)..Offset(run.end.0 - by));
                    commit.metadata = self.encoded(&commit.at.topic, commit.offset, moved.collect(), process);
                }
                _ => {}
            }
        }
    }

    fn encoded(&self, topic: &TopicName, base: Offset, runs: Vec<Range<Offset>>, process: usize) -> Arc<str> {
        let Some(present) = self.processes[process].present.as_ref() else { return "".into() };
        let of_topic = present
            .handlers
            .iter()
            .map(|number| self.facts.handler(*number))
            .filter(|handler| *self.facts.topics[usize::from(handler.topic.0)].name == *topic.as_str());
        let handlers = Fingerprint::of(of_topic.map(|handler| &*handler.name));
        SettledSet::new(base, runs).encode(handlers, MetadataLimit::DEFAULT)
    }

    fn life_of(&self, process: usize) -> Option<Life> {
        self.processes[process].present.as_ref().map(|present| present.life)
    }

    /// Whether another event of the handler failed a moment ago.
    fn waits_for_others(&self, process: usize, handler: HandlerId, event: &Ready<Item>) -> bool {
        let failed = self.life_of(process).and_then(|life| self.scratch.failed_at.get(&(life, handler)));
        event.attempt == Attempt::FIRST
            && failed.is_some_and(|at| self.now.since(*at) < Duration::from_secs(10))
    }

    /// A call happens later, whether the machine knows of it or not.
    fn haunt(&mut self, process: usize, call: CallId, work: Work, after: Duration) {
        let Some(life) = self.life_of(process) else { return };
        self.scratch.ghosts.push((life, call, work));
        self.plan_at(self.now + after, Todo::Haunt(life));
    }

    pub(in crate::step) fn haunted(&mut self, life: Life) {
        let process = usize::from(life.process);
        let Some(nth) = self.scratch.ghosts.iter().position(|(of, ..)| *of == life) else { return };
        let Some(present) = self.processes[process].present.as_ref().filter(|present| present.life == life)
        else {
            return;
        };
        if present.paused {
            return self.plan_at(self.now + Duration::from_secs(1), Todo::Haunt(life));
        }
        let (_, call, (handler, events)) = self.scratch.ghosts.remove(nth);
        self.begin_call(process, call, handler, events);
    }

    pub(in crate::step) fn distort_group(&mut self, process: usize, action: group::Action) -> group::Action {
        let bug = self.bug();
        match action {
            group::Action::Assigned { membership, partitions } => {
                self.scratch.draining.remove(&process);
                self.scratch.last_commit.remove(&process);
                for at in &partitions {
                    *self.scratch.assigned.entry(at.clone()).or_default() += 1;
                }
                if bug == Some(Planted::CommitOfLostAssignment)
                    && let Some(mut request) = self.scratch.commits_out.remove(&process)
                    && request.generation != membership.generation
                {
                    request.generation = membership.generation;
                    request.member = membership.member.clone();
                    let (id, coordinator) = (RequestId(u64::MAX), membership.coordinator);
                    self.act_as_it_is(process, Action::Commit { id, coordinator, request });
                }
                group::Action::Assigned { membership, partitions }
            }
            group::Action::Revoke { id } => {
                self.scratch.draining.insert(process);
                self.let_survive(process);
                group::Action::Revoke { id }
            }
            group::Action::Lost => {
                self.let_survive(process);
                group::Action::Lost
            }
            group::Action::Sync { id, broker, mut request } => {
                if bug == Some(Planted::SharedTwice) && request.assignments.len() > 1 {
                    request.assignments[1].1 = request.assignments[0].1.clone();
                }
                group::Action::Sync { id, broker, request }
            }
            other => other,
        }
    }

    fn let_survive(&mut self, process: usize) {
        if self.bug() == Some(Planted::RetrySurvives)
            && let Some((call, work)) = self.scratch.failed.remove(&process)
        {
            self.haunt(process, call, work, Duration::from_secs(4));
        }
    }
}
