//! Two hundred members that join, leave, die and linger for five minutes, while coordinators move and brokers die, and
//! what must hold meanwhile, at rest, and when all are gone.
//!
//! The whole cluster is under test, request by request; time stops at each of its deadlines. Storms and calms take
//! turns, since a group that is always disturbed is never stable. What is told to members is held against [`truth`].
//!
//! `EVENKEEL_SOAK_SEEDS=500` tries more seeds than usual. A failure names its seed and step.

mod client;
mod truth;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use evenkeel_core::machine::{Entropy, Machine};
use evenkeel_core::model::{BrokerId, Generation, Offset, PartitionId, RequestId, Time};

use crate::cluster::{Action, Cluster, ClusterConfig, Input};
use crate::message::*;
use client::{Client, Ghost, Life};
use truth::Truth;

const MEMBERS: usize = 200;
const PARTITIONS: u8 = 60;
const BROKERS: i32 = 3;
/// How many seeds an ordinary run tries.
const SEEDS: u64 = 12;
const STEP: Duration = Duration::from_millis(100);
/// Five minutes.
const STEPS: u32 = 3_000;
/// How long the group has to come to rest.
const STEPS_TO_REST: u32 = 900;
const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_secs(20);
const HEARTBEAT: Duration = Duration::from_secs(3);
/// Longer than any parked request may wait.
const PATIENCE: Duration = Duration::from_secs(25);

/// A request that has neither been answered nor given up.
struct Open {
    since: Time,
    request: Request,
}

struct World {
    cluster: Cluster,
    now: Time,
    entropy: Entropy,
    next: u64,
    clients: Vec<Client>,
    ghosts: Vec<Ghost>,
    truth: Truth,
    /// What came of requests: an answer, or a hang-up.
    outcomes: BTreeMap<RequestId, Option<Answer>>,
    open: BTreeMap<RequestId, Open>,
    alive: BTreeSet<i32>,
    /// Whether members come and go.
    storms: bool,
    /// What has happened how often, so that a run in which nothing happens is no success.
    seen: BTreeMap<&'static str, u32>,
}

impl World {
    fn new(seed: u64) -> Self {
        let address = |number| BrokerAddress { broker: BrokerId(number), host: "h".into(), port: 9_000 };
        let config = ClusterConfig {
            brokers: (1..=BROKERS).map(address).collect(),
            coordinator_load: Duration::from_millis(250),
            ..ClusterConfig::default()
        };
        let mut world = Self {
            cluster: Cluster::new(config, seed).expect("legal defaults"),
            now: Time::ZERO,
            entropy: Entropy::new(seed),
            next: 0,
            clients: (0..MEMBERS).map(Client::new).collect(),
            ghosts: Vec::new(),
            truth: Truth::default(),
            outcomes: BTreeMap::new(),
            open: BTreeMap::new(),
            alive: (1..=BROKERS).collect(),
            storms: true,
            seen: BTreeMap::new(),
        };
        let topic = NewTopic {
            name: "t".into(),
            partitions: Some(i32::from(PARTITIONS)),
            replication: Some(3),
            assignment: Vec::new(),
            configs: Vec::new(),
        };
        world.ask_now(1, CreateTopicsRequest { topics: vec![topic], validate_only: false });
        world
    }

    fn see(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn chance(&mut self, in_ten_thousand: u32) -> bool {
        self.entropy.below(10_000) < in_ten_thousand
    }

    fn ask(&mut self, broker: i32, request: impl Into<Request>) -> RequestId {
        self.next += 1;
        let (id, request) = (RequestId(self.next), request.into());
        self.open.insert(id, Open { since: self.now, request: request.clone() });
        let origin = Origin { broker: BrokerId(broker), client: "c".into(), host: "/h".into() };
        self.tell(Input::Request { id, origin, request });
        id
    }

    /// Asks what is answered at once; `None` if the broker hangs up.
    fn ask_now(&mut self, broker: i32, request: impl Into<Request>) -> Option<Answer> {
        let id = self.ask(broker, request);
        self.outcomes.remove(&id).expect("it is answered at once")
    }

    /// Nobody waits for the answer any more, and the cluster is told so.
    fn cancel(&mut self, id: RequestId) {
        if let Some(Open { request, .. }) = self.open.remove(&id) {
            self.truth.give_up(&request);
        }
        self.tell(Input::Cancel { id });
    }

    fn tell(&mut self, input: Input) {
        self.cluster.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        let mut answered = Vec::new();
        while let Some(action) = self.cluster.poll() {
            let (id, outcome) = match action {
                Action::Answer { id, answer } => (id, Some(answer)),
                Action::HangUp { id } => (id, None),
            };
            let open = self.open.remove(&id).unwrap_or_else(|| panic!("{id} is answered, but not open"));
            if let Some(answer) = &outcome {
                answered.push((open.request, answer.clone()));
            }
            self.outcomes.insert(id, outcome);
        }
        self.truth.learn(&answered);
        self.cluster.check();
    }

    /// Lets time pass, stopping at every deadline.
    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(at) = self.cluster.deadline().filter(|at| *at <= end) {
            assert!(at >= self.now, "a deadline does not lie in the past");
            self.now = at;
            self.cluster.tick(self.now);
            self.drain();
            assert!(self.cluster.deadline().is_none_or(|next| next > self.now), "a deadline is dealt with");
        }
        self.now = end;
        for (id, open) in &self.open {
            assert!(open.since + PATIENCE > self.now, "{id} is not answered: {:?}", open.request);
        }
    }

    fn step(&mut self, may_change: bool) {
        if may_change {
            if self.chance(40) {
                self.storms = !self.storms;
            }
            self.disturb_brokers();
        }
        for nth in 0..self.clients.len() {
            self.turn(nth, may_change && self.storms);
        }
        self.wake_ghosts();
        self.no_two_owners();
        self.pass(STEP);
    }

    /// Moves the coordinator, kills a broker, starts one.
    fn disturb_brokers(&mut self) {
        let broker = 1 + self.entropy.below(BROKERS as u32) as i32;
        if self.chance(40) && self.alive.contains(&broker) && self.coordinator() != Some(broker) {
            self.see("a coordinator moved");
            self.truth.move_coordinator(&mut self.clients);
            self.tell(Input::MoveCoordinator { group: "g".into(), to: BrokerId(broker) });
        }
        if self.chance(20) && self.alive.len() > 1 && self.alive.contains(&broker) {
            if self.coordinator() == Some(broker) {
                self.see("a coordinator died");
                self.truth.move_coordinator(&mut self.clients);
            }
            self.alive.remove(&broker);
            self.tell(Input::BrokerDied { broker: BrokerId(broker) });
        }
        if self.chance(100) {
            self.start_broker(broker);
        }
    }

    fn start_broker(&mut self, broker: i32) {
        if self.alive.insert(broker) {
            let address = BrokerAddress { broker: BrokerId(broker), host: "h".into(), port: 9_000 };
            self.tell(Input::BrokerStarted { address });
        }
    }

    fn coordinator(&mut self) -> Option<i32> {
        let any = *self.alive.first()?;
        let request = FindCoordinatorsRequest { kind: CoordinatorKind::Group, keys: vec!["g".into()] };
        match self.ask_now(any, request)? {
            Answer::FindCoordinators(answer) => answer.coordinators[0].1.as_ref().ok().map(|at| at.broker.0),
            other => panic!("{other:?}"),
        }
    }

    /// Nobody shares a partition with another of the same generation.
    fn no_two_owners(&self) {
        let mut owners: BTreeMap<(Generation, u8), &Text> = BTreeMap::new();
        for client in &self.clients {
            let Life::Member { generation, share, .. } = &client.life else { continue };
            for partition in share {
                let other = owners.insert((*generation, *partition), &client.id);
                assert!(other.is_none(), "{partition} belongs to {other:?} and {}", client.id);
            }
        }
    }

    fn describe(&mut self) -> DescribedGroup {
        let coordinator = self.coordinator().expect("all brokers live");
        match self.ask_now(coordinator, DescribeGroupsRequest { groups: vec!["g".into()] }) {
            Some(Answer::DescribeGroups(mut answer)) => answer.groups.remove(0).1.expect("it coordinates"),
            other => panic!("{other:?}"),
        }
    }

    /// Nobody comes, goes or dies any more.
    fn must_be_at_rest(&mut self) {
        let mut owned = [0; PARTITIONS as usize];
        let (mut generations, mut ids) = (BTreeSet::new(), BTreeSet::new());
        for client in &self.clients {
            match &client.life {
                Life::Away => {}
                Life::Member { generation, share, .. } => {
                    generations.insert(*generation);
                    ids.insert(client.id.clone());
                    share.iter().for_each(|partition| owned[usize::from(*partition)] += 1);
                }
                other => panic!("{} is {other:?} still", client.id),
            }
        }
        assert!(ids.len() > 20, "only {} members", ids.len());
        assert_eq!(generations.len(), 1, "all are of one generation: {generations:?}");
        assert_eq!(owned, [1; PARTITIONS as usize], "every partition has one owner");
        assert!(self.open.is_empty(), "everything is answered: {:?}", self.open.keys());
        let described = self.describe();
        assert_eq!(described.state, GroupState::Stable);
        let known: BTreeSet<_> = described.members.iter().map(|member| member.member.clone()).collect();
        assert_eq!(known, ids, "the members are those that live");
        assert_eq!(self.stored(), self.truth.committed, "what was accepted is what is stored");
    }

    fn stored(&mut self) -> BTreeMap<u8, Offset> {
        let coordinator = self.coordinator().expect("all brokers live");
        let group = FetchOffsetsGroup { group: "g".into(), topics: None };
        match self.ask_now(coordinator, FetchOffsetsRequest { groups: vec![group] }) {
            Some(Answer::FetchOffsets(answer)) => {
                let topics = answer.groups[0].outcome.clone().expect("it coordinates");
                let positions = topics.into_iter().flat_map(|topic| topic.partitions);
                positions.filter_map(|(p, stored)| Some((u8::try_from(p.0).ok()?, stored?.offset))).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    /// All die at once, without a word.
    fn must_leave_nothing(&mut self) {
        for client in &mut self.clients {
            client.life = Life::Away;
        }
        self.pass(SESSION + SESSION);
        let described = self.describe();
        assert_eq!((described.state, described.members.len()), (GroupState::Empty, 0));
        let coordinator = self.coordinator().expect("all brokers live");
        let deleted = self.ask_now(coordinator, DeleteGroupsRequest { groups: vec!["g".into()] });
        assert!(
            matches!(&deleted, Some(Answer::DeleteGroups(answer)) if answer.groups[0].1.is_ok()),
            "nobody is left who is about to join: {deleted:?}"
        );
    }
}

/// Five minutes and what follows; answers what has happened.
fn soak(seed: u64, step: &Cell<u32>) -> BTreeMap<&'static str, u32> {
    let mut world = World::new(seed);
    for nth in 0..STEPS {
        step.set(nth);
        world.step(true);
    }
    for broker in 1..=BROKERS {
        world.start_broker(broker);
    }
    for nth in 0..STEPS_TO_REST {
        step.set(STEPS + nth);
        world.step(false);
    }
    world.must_be_at_rest();
    world.must_leave_nothing();
    world.seen
}

#[test]
fn two_hundred_members_come_and_go_for_five_minutes() {
    let seeds =
        std::env::var("EVENKEEL_SOAK_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(SEEDS);
    let mut seen: BTreeMap<&'static str, u32> = BTreeMap::new();
    for seed in 1..=seeds {
        let step = Cell::new(0);
        match catch_unwind(AssertUnwindSafe(|| soak(seed, &step))) {
            Ok(happened) => happened.into_iter().for_each(|(what, n)| *seen.entry(what).or_default() += n),
            Err(_told) => panic!("seed {seed} failed at step {}: see above", step.get()),
        }
    }
    if seeds < SEEDS {
        return;
    }
    for what in [
        "a coordinator moved",
        "a coordinator died",
        "a generation was led",
        "an id came first",
        "a share was given",
        "a rebalance was told of",
        "a static member came back without a rebalance",
        "a leader came back without a rebalance",
        "a parked request was given up",
        "a sync was turned away",
        "a member never synced and was thrown out",
        "a commit was accepted",
        "a late commit was refused",
        "a ghost's commit was refused",
        "a ghost was fenced",
        "a ghost was unknown",
        "a coordinator was still loading",
    ] {
        assert!(seen.contains_key(what), "{what}: never in {seeds} seeds, only {seen:#?}");
    }
}
