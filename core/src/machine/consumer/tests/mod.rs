//! Tests of the consumer: tables by theme over a driver with readable verbs, and a world of random steps.
//!
//! The driver speaks in short texts: a partition is `orders/0`, a record `5a` (offset and key; `5-` has no key), a call
//! `charge orders/0@5`, from the second attempt on `charge orders/0@5 #2`, and a commit `orders/0:5+[7..9]`.

mod beginning;
mod check;
mod cluster;
mod committing;
mod faults;
mod laws;
mod leaving;
mod limits;
mod nonsense;
mod properties;
mod reading;
mod recreated;
mod running;
mod truncation;
mod world;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::error::ErrorCode;
use crate::machine::backoff::Backoff;
use crate::machine::commit::{SettledSet, Unreadable};
use crate::machine::delivery::Outcome;
use crate::machine::group::Membership;
use crate::model::{Generation, GroupName, MemberId, OnFailure, Ordering, PartitionId, TopicId};
use crate::ports::{
    CommitRequest, FetchPartition, FetchRequest, FoundOffset, ListOffset, ListedOffset, Metadata,
    PartitionMetadata, PortError, StartAt, StoredOffset, TopicMetadata,
};

const SECOND: u64 = 1_000;

impl Kept for Offset {
    fn detach(&mut self) {}
}

fn topic(name: &str) -> TopicName {
    TopicName::new(name).expect("tests use legal names")
}

fn at(label: &str) -> TopicPartition {
    let (name, partition) = label.split_once('/').expect("topic/partition");
    TopicPartition { topic: topic(name), partition: PartitionId(partition.parse().expect("a number")) }
}

fn number(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).expect("not zero")
}

/// A handler whose retries come after 1, 2, 4 … 30 seconds sharp.
fn handler(name: &str, topic: usize, on_failure: OnFailure) -> HandlerConfig {
    let mut handler = HandlerConfig::new(name, topic, on_failure);
    handler.retry.backoff = Backoff { jitter_percent: 0, ..Backoff::HANDLER };
    handler
}

/// One topic, `orders`, with one handler, `charge`, which blocks.
fn shop() -> ConsumerConfig {
    let mut config = ConsumerConfig::new(GroupName::new("billing").expect("a legal name"));
    config.topics = vec![topic("orders")];
    config.handlers = vec![handler("charge", 0, OnFailure::Block)];
    config
}

fn unknown() -> PortError {
    PortError::Unknown { server: "broker 1".into(), cause: "connection reset".into() }
}

fn arrivals(records: &str) -> Vec<Arrival<Offset>> {
    let arrival = |record: &str| {
        let (offset, key) = record.split_at(record.len() - 1);
        let offset = Offset(offset.parse().expect("an offset"));
        let key = (key != "-").then(|| u64::from(key.as_bytes()[0]));
        Arrival { offset, key, weight: 10, leader_epoch: None, record: offset }
    };
    records.split_whitespace().map(arrival).collect()
}

/// What a fetch read: records, and no more until after the last one.
fn read(records: &str) -> Read<Offset> {
    let records = arrivals(records);
    let next = records.last().map_or(Offset::ZERO, |last| last.offset.next());
    Read { records, next, leader_epoch: None, high_watermark: next, fault: None }
}

fn described(topics: &[(&str, &[i32])]) -> Metadata {
    let partition = |(number, &leader): (usize, &i32)| PartitionMetadata {
        partition: PartitionId(number as i32),
        leader: (leader > 0).then_some(BrokerId(leader)),
        leader_epoch: None,
    };
    let topic = |(name, leaders): &(&str, &[i32])| TopicMetadata {
        topic: topic(name),
        id: None,
        partitions: Ok(leaders.iter().enumerate().map(partition).collect()),
    };
    Metadata { brokers: Vec::new(), topics: topics.iter().map(topic).collect() }
}

/// A consumer with its world in the hands of a test.
struct Member {
    machine: Consumer<Offset>,
    config: ConsumerConfig,
    now: Time,
    generation: i32,
    /// Requests that are not answered.
    open: VecDeque<Action<Offset>>,
    running: BTreeMap<CallId, String>,
    started: Vec<String>,
    cancelled: Vec<String>,
    notices: Vec<Notice>,
    released: usize,
    refused: Vec<(Generation, ErrorCode)>,
    /// The last count that was told to the group.
    counted: BTreeMap<TopicName, u32>,
    metadata: Metadata,
    requests: usize,
}

impl Member {
    fn new(config: ConsumerConfig) -> Self {
        Self {
            machine: Consumer::new(config.clone(), Entropy::new(1)),
            config,
            now: Time::from_millis(1_000_000),
            generation: 0,
            open: VecDeque::new(),
            running: BTreeMap::new(),
            started: Vec::new(),
            cancelled: Vec::new(),
            notices: Vec::new(),
            released: 0,
            refused: Vec::new(),
            counted: BTreeMap::new(),
            metadata: Metadata::default(),
            requests: 0,
        }
    }

    /// A member that reads these partitions, led by broker 1, from these offsets.
    fn reading(config: ConsumerConfig, from: &[(&str, i64)]) -> Self {
        let mut member = Self::new(config);
        let labels: Vec<&str> = from.iter().map(|(label, _)| *label).collect();
        member.assigned(&labels);
        member.begins(from);
        member
    }

    /// Answers what an assignment asks: these are the committed offsets, and broker 1 leads all.
    fn begins(&mut self, from: &[(&str, i64)]) {
        let mut topics: BTreeMap<TopicName, usize> = BTreeMap::new();
        for (label, _) in from {
            let at = at(label);
            let count = topics.entry(at.topic).or_default();
            *count = (*count).max(at.partition.0 as usize + 1);
        }
        let leaders: Vec<(String, Vec<i32>)> =
            topics.into_iter().map(|(name, count)| (name.to_string(), vec![1; count])).collect();
        let leaders: Vec<(&str, &[i32])> = leaders.iter().map(|(name, ids)| (&**name, &**ids)).collect();
        self.described(&leaders);
        let stored: Vec<_> = from.iter().map(|&(label, offset)| (label, Some((offset, "")))).collect();
        self.committed(&stored);
    }

    fn membership(&self) -> Membership {
        Membership {
            generation: Generation(self.generation),
            member: MemberId("m".into()),
            instance: None,
            coordinator: BrokerId(9),
        }
    }

    fn handle(&mut self, input: Input<Offset>) {
        self.machine.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        for _ in 0..100_000 {
            let Some(action) = self.machine.poll() else { return self.machine.check() };
            match action {
                Action::Run { call, handler, event, more } => {
                    let name = &self.config.handlers[handler.0].name;
                    let place = |ready: &Ready<Offset>| {
                        format!(" {}/{}@{}", self.config.topics[ready.topic], ready.partition, ready.record)
                    };
                    let all: String = std::iter::once(&event).chain(&more).map(place).collect();
                    let attempt = match event.attempt.to_string() {
                        first if first == "1" => String::new(),
                        later => format!(" #{later}"),
                    };
                    let label = format!("{name}{all}{attempt}");
                    self.started.push(label.clone());
                    assert!(self.running.insert(call, label).is_none(), "a call's id is its own");
                }
                Action::Cancel(call) => self.cancelled.push(self.running[&call].clone()),
                Action::Notice(notice) => self.notices.push(notice),
                Action::Released => self.released += 1,
                Action::CommitRefused { generation, code } => self.refused.push((generation, code)),
                Action::PartitionsCounted(counts) => self.counted = counts,
                request => {
                    self.requests += 1;
                    self.open.push_back(request);
                }
            }
        }
        panic!("polling does not end");
    }

    /// Lets time pass, ticking at each deadline. Checks what every machine owes to its driver.
    fn pass(&mut self, millis: u64) {
        let until = self.now + Duration::from_millis(millis);
        for _ in 0..10_000 {
            let Some(deadline) = self.machine.deadline().filter(|at| *at <= until) else {
                self.now = until;
                return;
            };
            self.now = self.now.max(deadline);
            self.machine.tick(self.now);
            self.drain();
            let deadline = self.machine.deadline();
            assert!(deadline.is_none_or(|at| at > self.now), "still due after a tick: {deadline:?}");
        }
        panic!("time does not pass");
    }

    /// Lets time pass in steps until something is so; topics stay described as they were. Answers how long it took.
    fn wait_for(&mut self, step_millis: u64, what: impl Fn(&Self) -> bool) -> u128 {
        let since = self.now;
        for _ in 0..10_000 {
            if what(self) {
                return self.now.since(since).as_millis();
            }
            self.pass(step_millis);
            if self.describes() {
                self.described_again();
            }
        }
        panic!("what was waited for does not come");
    }

    fn assigned(&mut self, labels: &[&str]) {
        self.generation += 1;
        let partitions = labels.iter().map(|label| at(label)).collect();
        self.handle(Input::Assigned { membership: self.membership(), partitions });
    }

    fn revoke(&mut self, within_millis: u64) {
        self.handle(Input::Revoke { until: self.now + Duration::from_millis(within_millis) });
    }

    /// Takes the first open request that `pick` recognises.
    fn take<T>(&mut self, what: &str, pick: impl Fn(&Action<Offset>) -> Option<T>) -> T {
        let found = self.open.iter().enumerate().find_map(|(index, action)| Some((index, pick(action)?)));
        let Some((index, picked)) = found else { panic!("no {what} among {:?}", self.open) };
        self.open.remove(index);
        picked
    }

    fn has(&self, pick: impl Fn(&Action<Offset>) -> bool) -> bool {
        self.open.iter().any(pick)
    }

    fn asked_committed(&mut self) -> RequestId {
        self.take("question for committed offsets", |action| match action {
            Action::FetchCommitted { id, .. } => Some(*id),
            _ => None,
        })
    }

    fn committed_as(&mut self, label: &str, stored: StoredOffset) {
        let id = self.asked_committed();
        self.handle(Input::Committed { id, outcome: Ok(vec![(at(label), Ok(Some(stored)))]) });
    }

    fn committed(&mut self, stored: &[(&str, Option<(i64, &str)>)]) {
        let id = self.asked_committed();
        let answer = |(label, stored): &(&str, Option<(i64, &str)>)| {
            let stored = stored.map(|(offset, metadata)| StoredOffset {
                offset: Offset(offset),
                leader_epoch: None,
                metadata: metadata.into(),
            });
            (at(label), Ok(stored))
        };
        self.handle(Input::Committed { id, outcome: Ok(stored.iter().map(answer).collect()) });
    }

    fn described(&mut self, topics: &[(&str, &[i32])]) {
        self.metadata = described(topics);
        self.described_again();
    }

    /// A look tells this life of `orders`: its id, and the leader epochs of its partitions, led by broker 1.
    fn looks(&mut self, id: u128, leader_epochs: &[i32]) {
        let mut metadata = described(&[("orders", &vec![1; leader_epochs.len()])]);
        metadata.topics[0].id = Some(TopicId(id));
        if let Ok(partitions) = &mut metadata.topics[0].partitions {
            for (partition, &epoch) in partitions.iter_mut().zip(leader_epochs) {
                partition.leader_epoch = Some(LeaderEpoch(epoch));
            }
        }
        self.metadata = metadata;
        self.described_again();
    }

    fn described_again(&mut self) {
        let id = self.take("description", |action| match action {
            Action::Describe { id, .. } => Some(*id),
            _ => None,
        });
        self.handle(Input::Described { id, outcome: Ok(self.metadata.clone()) });
    }

    fn asks_committed(&self) -> bool {
        self.has(|action| matches!(action, Action::FetchCommitted { .. }))
    }

    fn describes(&self) -> bool {
        self.has(|action| matches!(action, Action::Describe { .. }))
    }

    /// Where the open look-up of bounds goes, and for what.
    fn lists(&self) -> Option<(i32, Vec<String>)> {
        self.open.iter().find_map(|action| match action {
            Action::ListOffsets { broker, partitions, .. } => {
                assert!(
                    partitions.iter().all(|asked| asked.start == StartAt::Earliest),
                    "never from the end"
                );
                Some((broker.0, partitions.iter().map(|asked| asked.at.to_string()).collect()))
            }
            _ => None,
        })
    }

    fn listed(&mut self, answers: &[(&str, Result<i64, ErrorCode>)]) {
        self.listed_in(None, answers);
    }

    /// The logs start with records of this leader epoch.
    fn listed_in(&mut self, leader_epoch: Option<LeaderEpoch>, answers: &[(&str, Result<i64, ErrorCode>)]) {
        let id = self.take("look-up of bounds", |action| match action {
            Action::ListOffsets { id, .. } => Some(*id),
            _ => None,
        });
        let answer = |(label, found): &(&str, Result<i64, ErrorCode>)| ListedOffset {
            at: at(label),
            outcome: found.map(|offset| Some(FoundOffset { offset: Offset(offset), leader_epoch })),
        };
        self.handle(Input::Listed { id, outcome: Ok(answers.iter().map(answer).collect()) });
    }

    /// What the open fetches ask for: `1: orders/0@5 orders/1@7`.
    fn fetches(&self) -> Vec<String> {
        let fetch = |action: &Action<Offset>| match action {
            Action::Fetch { broker, request, .. } => {
                let mut asked: Vec<String> = request
                    .partitions
                    .iter()
                    .map(|partition| format!(" {}@{}", partition.at, partition.offset))
                    .collect();
                asked.sort();
                Some(format!("{broker}:{}", asked.concat()))
            }
            _ => None,
        };
        self.open.iter().filter_map(fetch).collect()
    }

    fn take_fetch(&mut self) -> (RequestId, FetchRequest) {
        self.take("fetch", |action| match action {
            Action::Fetch { id, request, .. } => Some((*id, request.clone())),
            _ => None,
        })
    }

    /// Answers the first open fetch: the partition brings these records, all others of the request nothing.
    fn fetched(&mut self, label: &str, records: &str) {
        self.fetched_as(label, Ok(read(records)));
    }

    fn fetched_as(&mut self, label: &str, answer: Result<Read<Offset>, ErrorCode>) {
        let (id, request) = self.take_fetch();
        let mut answer = Some(answer);
        let mut answers = Vec::new();
        for asked in &request.partitions {
            let nothing = Read { next: asked.offset, high_watermark: asked.offset, ..read("") };
            let outcome = if asked.at == at(label) { answer.take() } else { None };
            answers.push((asked.at.clone(), outcome.unwrap_or(Ok(nothing))));
        }
        assert!(answer.is_none(), "{label} was not asked for");
        self.handle(Input::Fetched { id, outcome: Ok(answers) });
    }

    fn fetch_fails(&mut self) {
        let (id, _) = self.take_fetch();
        self.handle(Input::Fetched { id, outcome: Err(unknown()) });
    }

    /// Calls that were started since this was last asked.
    fn started(&mut self) -> Vec<String> {
        std::mem::take(&mut self.started)
    }

    fn finish(&mut self, label: &str, outcome: Outcome) {
        let call = self.running.iter().find(|(_, running)| *running == label).map(|(call, _)| *call);
        let Some(call) = call else { panic!("{label} does not run: {:?}", self.running) };
        self.running.remove(&call);
        self.handle(Input::Finished { call, outcome, waited: Duration::ZERO });
    }

    fn done(&mut self, label: &str) {
        self.finish(label, Outcome::Done);
    }

    /// What the open commit says, or nothing if there is none.
    fn commit(&self) -> Vec<String> {
        let commit = self.open.iter().find_map(|action| match action {
            Action::Commit { request, .. } => Some(request),
            _ => None,
        });
        let Some(request) = commit else { return Vec::new() };
        assert_eq!(request.generation, Generation(self.generation));
        request.commits.iter().map(|commit| self.commit_text(commit)).collect()
    }

    fn commit_text(&self, commit: &crate::ports::Commit) -> String {
        let topic = self.config.topics.iter().position(|topic| *topic == commit.at.topic).expect("ours");
        let handlers = self.config.handlers.iter().filter(|handler| handler.topic == topic);
        let fingerprint = Fingerprint::of(handlers.map(|handler| &*handler.name));
        let set = SettledSet::decode(&commit.metadata, commit.offset, fingerprint).expect("readable");
        let runs: Vec<String> = set.runs().iter().map(|run| format!("{}..{}", run.start, run.end)).collect();
        let beyond = if runs.is_empty() { String::new() } else { format!("+[{}]", runs.join(" ")) };
        format!("{}:{}{beyond}", commit.at, commit.offset)
    }

    fn take_commit(&mut self) -> (RequestId, usize) {
        self.take("commit", |action| match action {
            Action::Commit { id, request, .. } => Some((*id, request.commits.len())),
            _ => None,
        })
    }

    fn commit_accepted(&mut self) {
        let (id, partitions) = self.take_commit();
        self.handle(Input::CommitDone { id, outcome: Ok(vec![Ok(()); partitions]) });
    }

    fn commit_answered(&mut self, outcome: Result<Vec<Result<(), ErrorCode>>, PortError>) {
        let (id, _) = self.take_commit();
        self.handle(Input::CommitDone { id, outcome });
    }

    fn commit_refused(&mut self, code: ErrorCode) {
        self.commit_answered(Err(PortError::Refused(code)));
    }

    fn notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    fn marked(&self, mark: &str) -> bool {
        self.machine.marks().count(mark) > 0
    }
}
