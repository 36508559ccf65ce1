//! Three members and a small model of a coordinator, with requests and replies lost on the way: members of one
//! generation never share a partition, and when the faults stop, all partitions are owned.

use std::collections::BTreeSet;
use std::mem;

use proptest::prelude::*;

use super::*;

const SESSION: Duration = Duration::from_secs(10);

/// Whom to answer: which member's machine, and which of its requests.
type Call = (usize, RequestId);

#[derive(Debug)]
struct Known {
    metadata: Bytes,
    join: Option<Call>,
    sync: Option<Call>,
    assignment: Bytes,
    seen: Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Preparing,
    Completing,
    Settled,
}

/// What Kafka's coordinator does with a classic group, as far as a member can tell.
struct Coordinator {
    phase: Phase,
    generation: i32,
    leader: MemberId,
    given: usize,
    invited: BTreeSet<MemberId>,
    members: BTreeMap<MemberId, Known>,
    replies: Vec<(usize, Input)>,
}

impl Coordinator {
    fn join(&mut self, now: Time, call: Call, request: &JoinRequest) {
        let member = request.member.clone();
        if member.0.is_empty() {
            self.given += 1;
            let given = member_id(&format!("m{}", self.given));
            self.invited.insert(given.clone());
            return self.refuse_join(call, ErrorCode::MemberIdRequired, given);
        }
        let metadata = request.protocols[0].metadata.clone();
        if self.invited.remove(&member) {
            let assignment = Bytes::new();
            self.members.insert(
                member.clone(),
                Known { metadata: metadata.clone(), join: None, sync: None, assignment, seen: now },
            );
        } else if self.phase == Phase::Settled && self.members.contains_key(&member) && self.leader != member
        {
            let (node, id) = call;
            let outcome = Ok(self.answer(&member));
            return self.replies.push((node, Input::Joined { id, outcome }));
        }
        let Some(known) = self.members.get_mut(&member) else {
            return self.refuse_join(call, ErrorCode::UnknownMemberId, MemberId::default());
        };
        (known.metadata, known.join, known.seen) = (metadata, Some(call), now);
        self.prepare();
        self.complete(now);
    }

    fn refuse_join(&mut self, (node, id): Call, code: ErrorCode, given: MemberId) {
        self.replies.push((node, Input::Joined { id, outcome: Err((refused(code), given)) }));
    }

    fn prepare(&mut self) {
        self.phase = Phase::Preparing;
        for known in self.members.values_mut() {
            if let Some((node, id)) = known.sync.take() {
                let outcome = Err(refused(ErrorCode::RebalanceInProgress));
                self.replies.push((node, Input::Synced { id, outcome }));
            }
        }
    }

    fn complete(&mut self, now: Time) {
        if self.phase != Phase::Preparing || self.members.values().any(|known| known.join.is_none()) {
            return;
        }
        self.generation += 1;
        self.phase = if self.members.is_empty() { Phase::Settled } else { Phase::Completing };
        if !self.members.contains_key(&self.leader) {
            self.leader = self.members.keys().next().cloned().unwrap_or_default();
        }
        for member in self.members.keys().cloned().collect::<Vec<_>>() {
            let outcome = Ok(self.answer(&member));
            let known = self.members.get_mut(&member).expect("taken from the list");
            known.seen = now;
            let (node, id) = known.join.take().expect("all have joined");
            self.replies.push((node, Input::Joined { id, outcome }));
        }
    }

    fn answer(&self, member: &MemberId) -> JoinAnswer {
        let members = self.members.iter().map(|(member, known)| JoinMember {
            member: member.clone(),
            instance: None,
            metadata: known.metadata.clone(),
        });
        JoinAnswer {
            generation: Generation(self.generation),
            protocol: Arc::from("range"),
            leader: self.leader.clone(),
            member: member.clone(),
            members: if self.leader == *member { members.collect() } else { Vec::new() },
        }
    }

    /// Whether the member is one of the generation.
    fn check(&mut self, now: Time, member: &MemberId, generation: Generation) -> Result<(), ErrorCode> {
        let current = Generation(self.generation);
        let known = self.members.get_mut(member).ok_or(ErrorCode::UnknownMemberId)?;
        if generation != current {
            return Err(ErrorCode::IllegalGeneration);
        }
        known.seen = now;
        if self.phase == Phase::Preparing { Err(ErrorCode::RebalanceInProgress) } else { Ok(()) }
    }

    fn sync(&mut self, now: Time, call: Call, request: &SyncRequest) {
        let (node, id) = call;
        if let Err(code) = self.check(now, &request.member, request.generation) {
            return self.replies.push((node, Input::Synced { id, outcome: Err(refused(code)) }));
        }
        self.members.get_mut(&request.member).expect("just checked").sync = Some(call);
        if self.phase == Phase::Completing && request.member == self.leader {
            for (member, share) in &request.assignments {
                if let Some(known) = self.members.get_mut(member) {
                    known.assignment = share.clone();
                }
            }
            self.phase = Phase::Settled;
        }
        if self.phase == Phase::Settled {
            for known in self.members.values_mut() {
                if let Some((node, id)) = known.sync.take() {
                    known.seen = now;
                    let outcome = Ok(known.assignment.clone());
                    self.replies.push((node, Input::Synced { id, outcome }));
                }
            }
        }
    }

    fn remove(&mut self, now: Time, member: &MemberId) {
        if self.members.remove(member).is_some() {
            self.prepare();
            self.complete(now);
        }
    }

    fn expire(&mut self, now: Time) {
        let dead: Vec<MemberId> = self
            .members
            .iter()
            .filter(|(_, known)| known.join.is_none() && known.sync.is_none() && known.seen + SESSION <= now)
            .map(|(member, _)| member.clone())
            .collect();
        for member in dead {
            self.remove(now, &member);
        }
    }
}

struct World {
    now: Time,
    dice: Entropy,
    faulty: bool,
    partitions: u32,
    coordinator: Coordinator,
    members: Vec<Group>,
    owned: Vec<Option<(Membership, Vec<TopicPartition>)>>,
    stopped: Vec<bool>,
    /// Requests on their way, and owners that drain.
    pending: Vec<(usize, Action)>,
    /// Calls whose replies get lost.
    cut: BTreeSet<Call>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Entropy::new(seed);
        let members = (0..3).map(|_| Group::new(config(), dice.fork())).collect();
        let mut world = Self {
            now: Time::ZERO,
            dice,
            faulty: true,
            partitions: 5,
            coordinator: Coordinator {
                phase: Phase::Settled,
                generation: 0,
                leader: MemberId::default(),
                given: 0,
                invited: BTreeSet::new(),
                members: BTreeMap::new(),
                replies: Vec::new(),
            },
            members,
            owned: vec![None; 3],
            stopped: vec![false; 3],
            pending: Vec::new(),
            cut: BTreeSet::new(),
        };
        (0..3).for_each(|node| world.input(node, Input::Start));
        world
    }

    fn input(&mut self, node: usize, input: Input) {
        self.members[node].handle(self.now, input);
        self.drain(node);
    }

    fn drain(&mut self, node: usize) {
        while let Some(action) = self.members[node].poll() {
            match action {
                Action::Assigned { membership, partitions } => {
                    self.owned[node] = Some((membership, partitions))
                }
                Action::Lost => self.owned[node] = None,
                Action::Stopped => self.stopped[node] = true,
                Action::Moved { .. } => {}
                Action::Failed { error } => panic!("{error}"),
                request => self.pending.push((node, request)),
            }
        }
    }

    /// Members of the current generation own disjoint partitions.
    fn check(&self) {
        let mut owners = BTreeMap::new();
        for (membership, partitions) in self.owned.iter().flatten() {
            let current = membership.generation.0 == self.coordinator.generation
                && self.coordinator.members.contains_key(&membership.member);
            for at in partitions.iter().filter(|_| current) {
                let other = owners.insert(at.clone(), membership.member.clone());
                assert_eq!(other, None, "{at} has two owners in generation {}", membership.generation);
            }
        }
    }

    fn step(&mut self) {
        let idle = self.pending.is_empty() || (self.faulty && self.dice.below(10) == 0);
        if idle {
            self.let_time_pass();
        } else {
            let which = self.dice.below(self.pending.len() as u32) as usize;
            let (node, action) = self.pending.remove(which);
            self.serve(node, &action);
        }
        for (node, mut reply) in mem::take(&mut self.coordinator.replies) {
            if request_of(&reply).is_some_and(|id| self.cut.remove(&(node, id))) {
                lose(&mut reply);
            }
            self.input(node, reply);
        }
        self.check();
    }

    fn let_time_pass(&mut self) {
        let next = self.members.iter().filter_map(Machine::deadline).min();
        let session = self.coordinator.members.values().map(|known| known.seen + SESSION).min();
        let next = next.into_iter().chain(session).min().unwrap_or(self.now);
        self.now = self.now.max(next) + Duration::from_millis(u64::from(self.dice.below(20)));
        if self.faulty && self.dice.below(20) == 0 {
            self.now = self.now + Duration::from_secs(6);
        }
        self.coordinator.expire(self.now);
        for node in 0..self.members.len() {
            self.members[node].tick(self.now);
            self.drain(node);
        }
    }

    fn serve(&mut self, node: usize, action: &Action) {
        if let Action::Revoke { id } = action {
            self.owned[node] = None;
            return self.input(node, Input::Released { id: *id });
        }
        let id = request_id(action).expect("only requests are pending");
        if self.faulty {
            let error = match self.dice.below(12) {
                0 => Some(PortError::Unreachable { server: Arc::from("broker 1"), cause: Arc::from("down") }),
                1 => Some(refused(ErrorCode::NotCoordinator)),
                2 => Some(refused(ErrorCode::CoordinatorLoadInProgress)),
                3 => {
                    self.cut.insert((node, id));
                    None
                }
                _ => None,
            };
            if let Some(input) = error.and_then(|error| refusal(action, error)) {
                return self.input(node, input);
            }
        }
        let (now, coordinator) = (self.now, &mut self.coordinator);
        match action {
            Action::FindCoordinator { id } => {
                coordinator
                    .replies
                    .push((node, Input::CoordinatorFound { id: *id, outcome: Ok(BrokerId(1)) }));
            }
            Action::DescribeTopics { id, .. } => {
                let outcome = Ok(BTreeMap::from([(topic("t"), self.partitions)]));
                coordinator.replies.push((node, Input::TopicsDescribed { id: *id, outcome }));
            }
            Action::Join { request, .. } => coordinator.join(now, (node, id), request),
            Action::Sync { request, .. } => coordinator.sync(now, (node, id), request),
            Action::Heartbeat { request, .. } => {
                let outcome = coordinator.check(now, &request.member, request.generation).map_err(refused);
                coordinator.replies.push((node, Input::HeartbeatDone { id, outcome }));
            }
            Action::Leave { request, .. } => {
                coordinator.remove(now, &request.member);
                coordinator.replies.push((node, Input::Left { id, outcome: Ok(()) }));
            }
            other => panic!("{other:?} is no request"),
        }
    }

    /// Whether every partition has an owner in the current generation, and every member is in it.
    fn settled(&self) -> bool {
        let running = self.stopped.iter().filter(|stopped| !**stopped).count();
        let current = self.owned.iter().flatten().filter(|(membership, _)| {
            membership.generation.0 == self.coordinator.generation && self.coordinator.phase == Phase::Settled
        });
        let owned: BTreeSet<_> = current.clone().flat_map(|(_, partitions)| partitions).collect();
        current.count() == running
            && self.coordinator.members.len() == running
            && owned.len() == self.partitions as usize
    }

    fn settle(&mut self, what: &str) {
        self.run_until(what, Self::settled);
    }

    fn run_until(&mut self, what: &str, reached: fn(&Self) -> bool) {
        let limit = self.now + Duration::from_secs(120);
        for _ in 0..10_000 {
            if reached(self) {
                return;
            }
            self.step();
            assert!(self.now < limit, "not at rest two minutes after {what}: {:?}", self.members);
        }
        panic!("not at rest after ten thousand steps since {what}: {:?}", self.members);
    }
}

fn request_of(reply: &Input) -> Option<RequestId> {
    match reply {
        Input::CoordinatorFound { id, .. }
        | Input::Joined { id, .. }
        | Input::TopicsDescribed { id, .. }
        | Input::Synced { id, .. }
        | Input::HeartbeatDone { id, .. }
        | Input::Left { id, .. } => Some(*id),
        _ => None,
    }
}

/// The request took effect, the reply is lost.
fn lose(reply: &mut Input) {
    match reply {
        Input::CoordinatorFound { outcome, .. } => *outcome = Err(unknown()),
        Input::Joined { outcome, .. } => *outcome = Err((unknown(), MemberId::default())),
        Input::TopicsDescribed { outcome, .. } => *outcome = Err(unknown()),
        Input::Synced { outcome, .. } => *outcome = Err(unknown()),
        Input::HeartbeatDone { outcome, .. } | Input::Left { outcome, .. } => *outcome = Err(unknown()),
        _ => {}
    }
}

#[test]
fn three_members_share_five_partitions() {
    let mut world = World::new(1);
    world.faulty = false;
    world.settle("the start");
    let mut shares: Vec<usize> =
        world.owned.iter().flatten().map(|(_, partitions)| partitions.len()).collect();
    shares.sort_unstable();
    assert_eq!(shares, [1, 2, 2]);
    assert!(world.now < Time::from_millis(15_000), "it took until {}", world.now);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn after_faults_all_partitions_are_owned_once(seed: u64, steps in 0usize..400) {
        let mut world = World::new(seed);
        for _ in 0..steps {
            world.step();
        }
        world.faulty = false;
        world.settle("the faults");

        world.partitions = 8;
        (0..3).for_each(|node| world.input(node, Input::PartitionsCounted(BTreeMap::from([(topic("t"), 8)]))));
        world.settle("three partitions more");

        world.input(1, Input::Stop);
        world.run_until("one was told to stop", |world| world.stopped[1]);
        world.settle("one member less");
    }
}
