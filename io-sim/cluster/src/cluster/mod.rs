//! The cluster as one machine: brokers, topics, groups, and the requests that wait for them.
//!
//! It shares the surface of the core's machines (see [`Machine`]). A request comes in as an
//! [`Input::Request`] and goes out as exactly one [`Action`]: its answer, at once or when what it waits for is there,
//! or a hang-up if the broker that was asked is dead or dies meanwhile. A request whose connection is gone is
//! forgotten by [`Input::Cancel`]; what it did stays done, as with a real broker.
//!
//! All brokers share one state, so that what a controller or a new leader would learn from others is known at once.
//! What a client can tell apart (who leads, who coordinates, who is alive) is checked at every request.

mod admin;
mod brokers;
mod configs;
mod coordinator;
mod describe;
mod groups;
mod laggards;
mod life;
mod memory;
mod positions;
mod quota;
mod records;
mod settings;
#[cfg(test)]
mod tests;
mod waiting;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use evenkeel_core::machine::{Entropy, Machine, Marks};
use evenkeel_core::model::{BrokerId, PartitionId, RequestId, Time, WallTime};

use crate::message::{Answer, BrokerAddress, Origin, Refusal, Request, StoredOffset, Text};
use crate::partition::Clock;
use crate::topics::Topics;
use crate::topics::config::TopicConfig;
use brokers::Brokers;
use coordinator::Slots;
use groups::Groups;
use laggards::Laggards;
use quota::Quotas;
use waiting::Waiting;

pub use settings::ClusterConfig;

/// What can happen to the cluster.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Somebody asks a broker.
    Request {
        /// Comes back with exactly one [`Action`].
        id: RequestId,
        /// Who asks, and whom.
        origin: Origin,
        /// What is asked.
        request: Request,
    },
    /// The connection that a request came over is gone: nobody waits for its answer.
    Cancel {
        /// The request.
        id: RequestId,
    },
    /// A broker starts, perhaps for the first time.
    BrokerStarted {
        /// The broker and where clients reach it.
        address: BrokerAddress,
    },
    /// A broker dies. Its logs stay and are there again when it starts.
    BrokerDied {
        /// The broker.
        broker: BrokerId,
    },
    /// Another in-sync replica is to lead a partition. Without effect if it cannot.
    MoveLeader {
        /// The topic.
        topic: Text,
        /// The partition.
        partition: PartitionId,
        /// Who is to lead.
        to: BrokerId,
    },
    /// A replica leads whether it is in sync or not: records that only others have are lost.
    ElectUnclean {
        /// The topic.
        topic: Text,
        /// The partition.
        partition: PartitionId,
        /// Who is to lead.
        to: BrokerId,
    },
    /// A follower stops copying, or goes on. Without effect on a leader, which does not copy.
    Replication {
        /// The topic.
        topic: Text,
        /// The partition.
        partition: PartitionId,
        /// The follower.
        broker: BrokerId,
        /// Whether it copies.
        runs: bool,
    },
    /// What the wall clock says at the input's time, where that does not follow from the time that has passed: it was set.
    ClockSet {
        /// What it says.
        wall: WallTime,
    },
    /// A group's stored position becomes another or is lost, whoever is in the group: as by expiry, an operator's hand, or a
    /// tool that is not ours.
    SetPosition {
        /// The group.
        group: Text,
        /// The topic.
        topic: Text,
        /// The partition.
        partition: PartitionId,
        /// The position; `None` deletes it.
        position: Option<StoredOffset>,
    },
    /// Another broker coordinates a group, and all that share its place.
    MoveCoordinator {
        /// The group.
        group: Text,
        /// The new coordinator. Without effect if it is dead.
        to: BrokerId,
    },
}

/// What the cluster wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Answer a request.
    Answer {
        /// The request.
        id: RequestId,
        /// Its answer.
        answer: Answer,
    },
    /// Close the connection that a request came over: its broker is dead.
    HangUp {
        /// The request.
        id: RequestId,
    },
}

/// A simulated Kafka cluster.
#[derive(Debug, Clone)]
pub struct Cluster {
    config: ClusterConfig,
    topic_defaults: TopicConfig,
    now: Time,
    entropy: Entropy,
    brokers: Brokers,
    topics: Topics,
    slots: Slots,
    groups: Groups,
    quotas: Quotas,
    next_producer: i64,
    /// Every request without an answer yet, with the broker that was asked.
    open: BTreeMap<RequestId, BrokerId>,
    /// Those that wait for records or replicas.
    waiting: BTreeMap<RequestId, Waiting>,
    due: BTreeSet<(Time, RequestId)>,
    /// Partitions on which something has changed that requests wait for.
    touched: BTreeSet<(Text, PartitionId)>,
    laggards: Laggards,
    next_upkeep: Time,
    next_producer_expiry: Time,
    /// How many bytes may be appended before the logs are weighed again.
    room: u64,
    actions: VecDeque<Action>,
    marks: Marks,
}

impl Cluster {
    /// A cluster without topics and groups. The same seed gives the same ids.
    ///
    /// # Errors
    /// [`Refusal`] if a default of the configuration is not one a topic may have.
    pub fn new(config: ClusterConfig, seed: u64) -> Result<Self, Refusal> {
        let defaults = config.topic_defaults.iter().map(|(name, value)| (&**name, &**value));
        let topic_defaults = TopicConfig::with_defaults(defaults)?;
        let brokers = Brokers::new(&config.brokers);
        Ok(Self {
            topic_defaults,
            now: Time::ZERO,
            entropy: Entropy::new(seed),
            slots: Slots::new(&brokers),
            brokers,
            topics: Topics::default(),
            groups: Groups::default(),
            quotas: Quotas::default(),
            next_producer: 0,
            open: BTreeMap::new(),
            waiting: BTreeMap::new(),
            due: BTreeSet::new(),
            touched: BTreeSet::new(),
            laggards: Laggards::default(),
            next_upkeep: Time::ZERO + config.upkeep_interval,
            next_producer_expiry: Time::ZERO + life::PRODUCER_CHECK,
            room: config.retained_bytes.unwrap_or(u64::MAX),
            actions: VecDeque::new(),
            marks: Marks::default(),
            config,
        })
    }

    /// The wall time that goes with the machine's time.
    fn wall(&self) -> WallTime {
        self.wall_at(self.now)
    }

    /// The wall time that goes with a time, unless the clock is set.
    pub(crate) fn wall_at(&self, time: Time) -> WallTime {
        WallTime(self.config.started.0.saturating_add(micros(time)))
    }

    fn set_clock(&mut self, wall: WallTime) {
        self.config.started = WallTime(wall.0.saturating_sub(micros(self.now)));
    }

    fn clock(&self) -> Clock {
        Clock { now: self.now, wall: self.wall() }
    }

    fn pass(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    /// Answers a request, unless nobody waits for it any more.
    fn reply(&mut self, id: RequestId, answer: impl Into<Answer>) {
        match self.open.remove(&id) {
            Some(_) => self.actions.push_back(Action::Answer { id, answer: answer.into() }),
            None => self.marks.hit("answer for nobody"),
        }
    }

    fn ask(&mut self, id: RequestId, origin: &Origin, request: Request) {
        if !self.brokers.is_alive(origin.broker) {
            self.marks.hit("request to a dead broker");
            self.actions.push_back(Action::HangUp { id });
            return;
        }
        self.open.insert(id, origin.broker);
        match request {
            Request::Produce(request) => self.produce(id, origin, request),
            Request::Fetch(request) => self.fetch(id, origin, request),
            Request::ListOffsets(request) => {
                let answer = self.list_offsets(origin, &request);
                self.reply(id, answer);
            }
            Request::EpochEnds(request) => {
                let answer = self.epoch_ends(origin, &request);
                self.reply(id, answer);
            }
            Request::DeleteRecords(request) => {
                let answer = self.delete_records(origin, &request);
                self.reply(id, answer);
            }
            Request::InitProducer(request) => {
                let answer = self.init_producer(&request);
                self.reply(id, answer);
            }
            Request::Metadata(request) => {
                let answer = self.metadata(request);
                self.reply(id, answer);
            }
            Request::DescribeCluster(_) => {
                let answer = self.describe_cluster();
                self.reply(id, answer);
            }
            Request::CreateTopics(request) => {
                let answer = self.create_topics(&request);
                self.reply(id, answer);
            }
            Request::DeleteTopics(request) => {
                let answer = self.delete_topics(&request);
                self.reply(id, answer);
            }
            Request::CreatePartitions(request) => {
                let answer = self.create_partitions(&request);
                self.reply(id, answer);
            }
            Request::DescribeConfigs(request) => {
                let answer = self.describe_configs(request);
                self.reply(id, answer);
            }
            Request::AlterConfigs(request) => {
                let answer = self.alter_configs(&request);
                self.reply(id, answer);
            }
            Request::FindCoordinators(request) => {
                let answer = self.find_coordinators(&request);
                self.reply(id, answer);
            }
            Request::JoinGroup(request) => self.join_group(id, origin, request),
            Request::SyncGroup(request) => self.sync_group(id, origin, request),
            Request::Heartbeat(request) => {
                let answer = self.heartbeat(origin, &request);
                self.reply(id, answer);
            }
            Request::LeaveGroup(request) => self.leave_group(id, origin, request),
            Request::CommitOffsets(request) => {
                let answer = self.commit_offsets(origin, &request);
                self.reply(id, answer);
            }
            Request::FetchOffsets(request) => {
                let answer = self.fetch_offsets(origin, &request);
                self.reply(id, answer);
            }
            Request::DeleteOffsets(request) => {
                let answer = self.delete_offsets(origin, &request);
                self.reply(id, answer);
            }
            Request::DescribeGroups(request) => {
                let answer = self.describe_groups(origin, &request);
                self.reply(id, answer);
            }
            Request::ListGroups(request) => {
                let answer = self.list_groups(origin, &request);
                self.reply(id, answer);
            }
            Request::DeleteGroups(request) => {
                let answer = self.delete_groups(origin, &request);
                self.reply(id, answer);
            }
        }
    }

    /// What all logs weigh, replicas counted each.
    #[must_use]
    pub fn retained_bytes(&self) -> u64 {
        self.topics
            .iter()
            .flat_map(|(_, topic)| &topic.partitions)
            .map(crate::partition::Partition::bytes)
            .sum()
    }

    /// Everything that must hold, for tests and simulation.
    #[cfg(any(test, debug_assertions))]
    pub fn check(&self) {
        let mut laggards = Laggards::default();
        for (name, topic) in self.topics.iter() {
            for (number, partition) in (0..).zip(&topic.partitions) {
                partition.check();
                laggards.note(name, PartitionId(number), partition.behind_since());
                for id in &partition.waiting {
                    assert!(self.waiting.contains_key(id), "who waits at a partition is known");
                }
            }
        }
        assert_eq!(self.laggards, laggards, "it is known who is behind");
        self.groups.check();
        for id in self.waiting.keys() {
            assert!(self.open.contains_key(id), "who waits will be answered");
        }
        assert_eq!(self.waiting.len(), self.due.len(), "every wait has an end");
    }
}

fn micros(time: Time) -> i64 {
    i64::try_from(time.as_nanos() / 1_000).unwrap_or(i64::MAX)
}

impl Machine for Cluster {
    type Input = Input;
    type Action = Action;

    fn handle(&mut self, now: Time, input: Input) {
        self.pass(now);
        match input {
            Input::Request { id, origin, request } => self.ask(id, &origin, request),
            Input::Cancel { id } => self.cancel(id),
            Input::BrokerStarted { address } => self.broker_started(address),
            Input::BrokerDied { broker } => self.broker_died(broker),
            Input::MoveLeader { topic, partition, to } => self.move_leader(&topic, partition, to, false),
            Input::ElectUnclean { topic, partition, to } => self.move_leader(&topic, partition, to, true),
            Input::Replication { topic, partition, broker, runs } => {
                self.set_replication(&topic, partition, broker, runs);
            }
            Input::ClockSet { wall } => self.set_clock(wall),
            Input::SetPosition { group, topic, partition, position } => {
                self.set_position(&group, &topic, partition, position);
            }
            Input::MoveCoordinator { group, to } => self.move_coordinator(&group, to),
        }
        self.wake();
    }

    fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn deadline(&self) -> Option<Time> {
        let waits = self.due.first().map(|(at, _)| *at);
        let upkeep = (!self.topics.is_empty() || !self.groups.is_empty()).then_some(self.next_upkeep);
        [waits, self.groups.deadline(), upkeep, self.laggards_due()].into_iter().flatten().min()
    }

    fn tick(&mut self, now: Time) {
        self.pass(now);
        self.end_waits();
        self.tick_groups();
        self.drop_laggards();
        if self.next_upkeep <= self.now {
            self.upkeep();
        }
        self.wake();
    }

    fn marks(&self) -> &Marks {
        &self.marks
    }
}
