//! The machine: what each input and each timer means in each state. The picture is at the top of the module.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::assignor::Subscriber;
use super::moves::Ended;
use super::protocol::{Assignment, Subscription};
use super::state::{Description, Errand, Lookup, Pulse, Role, Share, State, Tenure, Then, Timer};
use super::verdict::Verdict;
use super::{Action, GroupConfig, Input, Membership, Step};
use crate::error::ErrorCode;
use crate::machine::{Entropy, Machine, Marks};
use crate::model::{BrokerId, Generation, MemberId, RequestId, Time, TopicName, TopicPartition};
use crate::ports::{JoinAnswer, PortError};

/// One member of a consumer group.
#[derive(Debug, Clone)]
pub struct Group {
    pub(super) config: GroupConfig,
    /// This member's subscription, encoded.
    pub(super) subscription: Bytes,
    pub(super) entropy: Entropy,
    pub(super) marks: Marks,
    pub(super) actions: VecDeque<Action>,
    pub(super) requests: u64,
    /// The id that the coordinator gave; it outlives generations, and is empty until there is one.
    pub(super) member: MemberId,
    /// How often in a row something failed.
    pub(super) failures: u32,
    pub(super) state: State,
}

impl Machine for Group {
    type Input = Input;
    type Action = Action;

    fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::Start => self.on_start(),
            Input::CoordinatorFound { id, outcome } => self.on_coordinator(now, id, outcome),
            Input::Joined { id, outcome } => self.on_joined(now, id, outcome),
            Input::TopicsDescribed { id, outcome } => self.on_described(now, id, outcome),
            Input::Synced { id, outcome } => self.on_synced(now, id, outcome),
            Input::HeartbeatDone { id, outcome } => self.on_heartbeat(now, id, outcome),
            Input::Left { id, .. } => self.on_left(id),
            Input::PartitionsCounted(counts) => self.on_counted(&counts),
            Input::Released { id } => self.on_released(id),
            Input::CommitRefused { generation, code } => self.on_commit_refused(now, generation, code),
            Input::Stop => self.on_stop(),
        }
    }

    fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn deadline(&self) -> Option<Time> {
        self.timer().map(|(at, _)| at)
    }

    fn tick(&mut self, now: Time) {
        // The most serious first: no heartbeat goes out for a session that has ended. Each move either waits for an
        // answer or sets its timer later than `now`.
        while let Some(timer) = self.due(now) {
            match timer {
                Timer::SessionEnd => self.on_session_end(now),
                Timer::DrainLimit => self.on_drain_limit(),
                Timer::Heartbeat => self.heartbeat(now),
                Timer::Retry => self.on_retry(),
            }
        }
    }

    fn marks(&self) -> &Marks {
        &self.marks
    }
}

impl Group {
    /// A member that has not started.
    #[must_use]
    pub fn new(config: GroupConfig, entropy: Entropy) -> Self {
        let topics = config.topics.iter().cloned().collect();
        Self {
            subscription: Subscription { topics, ..Subscription::default() }.encode(),
            config,
            entropy,
            marks: Marks::default(),
            actions: VecDeque::new(),
            requests: 0,
            member: MemberId::default(),
            failures: 0,
            state: State::Idle,
        }
    }

    /// What the [`deadline`](Machine::deadline) is for.
    #[must_use]
    pub fn timer(&self) -> Option<(Time, Timer)> {
        self.state.timers(self.config.session_timeout).min()
    }

    fn due(&self, now: Time) -> Option<Timer> {
        let timers = self.state.timers(self.config.session_timeout);
        timers.filter(|(at, _)| *at <= now).map(|(_, timer)| timer).min()
    }

    // What happens.

    fn on_start(&mut self) {
        match self.state {
            State::Idle => self.find_coordinator(Errand::Join),
            _ => self.marks.hit("started twice"),
        }
    }

    fn on_coordinator(&mut self, now: Time, id: RequestId, outcome: Result<BrokerId, PortError>) {
        match &mut self.state {
            State::FindingCoordinator { id: asked, errand } if *asked == id => match (*errand, outcome) {
                (Errand::Join, Ok(coordinator)) => self.join(coordinator),
                (Errand::Join, Err(error)) => match Verdict::of(&error) {
                    Verdict::GiveUp(code) => self.fail(Step::Find, code, None),
                    _ => self.wait(now, None),
                },
                (Errand::Leave, Ok(coordinator)) => self.leave(Some(coordinator)),
                (Errand::Leave, Err(_)) => self.finish(),
            },
            State::Stable(tenure) | State::Revoking { tenure, .. } if matches!(tenure.pulse, Pulse::LookupOut(asked) if asked == id) => {
                match outcome {
                    Ok(coordinator) => {
                        tenure.membership.coordinator = coordinator;
                        let membership = tenure.membership.clone();
                        self.actions.push_back(Action::Moved { membership });
                        self.heartbeat(now);
                    }
                    Err(error) => match Verdict::of(&error) {
                        Verdict::GiveUp(code) => self.lose_and_fail(Step::Find, code),
                        _ => self.look_up_later(now),
                    },
                }
            }
            _ => self.late(),
        }
    }

    fn on_joined(&mut self, now: Time, id: RequestId, outcome: Result<JoinAnswer, (PortError, MemberId)>) {
        let coordinator = match self.state {
            State::Joining { id: asked, coordinator } if asked == id => coordinator,
            _ => return self.late(),
        };
        let (error, given) = match outcome {
            Ok(answer) => return self.on_generation(now, coordinator, answer),
            Err(refused) => refused,
        };
        if error.code() == Some(ErrorCode::MemberIdRequired)
            && self.member.0.is_empty()
            && !given.0.is_empty()
        {
            self.member = given;
            return self.join(coordinator);
        }
        match Verdict::of(&error) {
            Verdict::AskAgain | Verdict::Rebalance => self.wait(now, Some(coordinator)),
            Verdict::LookUp => self.wait(now, None),
            Verdict::GenerationOver { forgotten } => {
                self.forget_member_if(forgotten);
                self.wait(now, Some(coordinator));
            }
            Verdict::GiveUp(code) => self.fail(Step::Join, code, Some(coordinator)),
        }
    }

    /// The join was answered: a generation begins, with this member as its leader or not.
    fn on_generation(&mut self, now: Time, coordinator: BrokerId, answer: JoinAnswer) {
        let offered = self.config.strategies.iter().any(|strategy| strategy.name() == &*answer.protocol);
        if !offered || answer.member.0.is_empty() {
            self.marks.hit("join's answer makes no sense");
            return self.wait(now, None);
        }
        self.member = answer.member.clone();
        if answer.leader != answer.member {
            return self.sync(now, coordinator, &answer, Vec::new(), Role::Follower);
        }
        let members: Vec<Subscriber> = answer
            .members
            .iter()
            .map(|member| {
                let subscription = Subscription::decode(&member.metadata).unwrap_or_else(|_| {
                    self.marks.hit("a member's subscription cannot be read");
                    Subscription::default()
                });
                Subscriber {
                    member: member.member.clone(),
                    instance: member.instance.clone(),
                    topics: subscription.topics,
                }
            })
            .collect();
        if !members.iter().any(|known| known.member == answer.member) {
            self.marks.hit("join's answer makes no sense");
            return self.wait(now, None);
        }
        let id = self.describe(&members);
        self.state = State::Describing(Description {
            coordinator,
            answer,
            members,
            lookup: Lookup::Out(id),
            joined: now,
        });
    }

    fn on_described(
        &mut self,
        now: Time,
        id: RequestId,
        outcome: Result<BTreeMap<TopicName, u32>, PortError>,
    ) {
        let pending = match &mut self.state {
            State::Describing(pending) if matches!(pending.lookup, Lookup::Out(asked) if asked == id) => {
                pending
            }
            _ => return self.late(),
        };
        match outcome {
            Ok(partitions) => {
                let strategy = self
                    .config
                    .strategies
                    .iter()
                    .find(|strategy| strategy.name() == &*pending.answer.protocol)
                    .expect("only an answer with one of our strategies is described for");
                let assignments = strategy
                    .assign(&pending.members, &partitions)
                    .into_iter()
                    .map(|(member, partitions)| (member, Assignment { partitions, user_data: None }.encode()))
                    .collect();
                let (coordinator, answer) = (pending.coordinator, pending.answer.clone());
                let role = Role::Leader { assigned: partitions };
                self.sync(now, coordinator, &answer, assignments, role);
            }
            Err(error) => {
                if let Verdict::GiveUp(code) = Verdict::of(&error) {
                    let coordinator = pending.coordinator;
                    return self.fail(Step::Describe, code, Some(coordinator));
                }
                let at = now + self.next_wait();
                if let State::Describing(pending) = &mut self.state {
                    pending.lookup = Lookup::Due(at);
                }
            }
        }
    }

    fn on_synced(&mut self, now: Time, id: RequestId, outcome: Result<Bytes, PortError>) {
        let (sent, membership, role) = match &self.state {
            State::Syncing { id: asked, sent, membership, role } if *asked == id => {
                (*sent, membership.clone(), role.clone())
            }
            _ => return self.late(),
        };
        match outcome.as_ref().map(Assignment::decode) {
            Ok(Ok(assignment)) => {
                let partitions = self.wanted(assignment);
                self.take_over(now, sent, Share { membership, role, partitions });
            }
            Ok(Err(_)) => {
                self.marks.hit("the assignment cannot be read");
                self.wait(now, Some(membership.coordinator));
            }
            Err(error) => self.on_no_share(now, Step::Sync, membership.coordinator, error),
        }
    }

    /// A share that had been on its way for long was asked about: whether it is this member's still.
    fn on_confirmed(&mut self, now: Time, outcome: Result<(), PortError>) {
        let State::Confirming { sent, share, .. } = &self.state else { return self.late() };
        match outcome {
            Ok(()) => {
                let (sent, share) = (*sent, share.clone());
                self.take_over(now, sent, share);
            }
            Err(error) => {
                self.marks.hit("a share that came late was another's by then");
                let coordinator = share.membership.coordinator;
                self.on_no_share(now, Step::Heartbeat, coordinator, &error);
            }
        }
    }

    /// The generation gives this member nothing: on to the next.
    fn on_no_share(&mut self, now: Time, step: Step, coordinator: BrokerId, error: &PortError) {
        match Verdict::of(error) {
            Verdict::AskAgain => self.wait(now, Some(coordinator)),
            Verdict::Rebalance => {
                // Others came while this generation was forming: no failure, however often it happens.
                self.failures = 0;
                self.wait(now, Some(coordinator));
            }
            Verdict::LookUp => self.wait(now, None),
            Verdict::GenerationOver { forgotten } => {
                self.forget_member_if(forgotten);
                self.wait(now, Some(coordinator));
            }
            Verdict::GiveUp(code) => self.fail(step, code, Some(coordinator)),
        }
    }

    fn wanted(&mut self, assignment: Assignment) -> Vec<TopicPartition> {
        let wanted: BTreeSet<&TopicName> = self.config.topics.iter().collect();
        let (partitions, strangers): (Vec<_>, Vec<_>) =
            assignment.partitions.into_iter().partition(|at| wanted.contains(&at.topic));
        if !strangers.is_empty() {
            self.marks.hit("assigned a topic that was not asked for");
        }
        partitions
    }

    /// A share may have been on its way for longer than the session lasts, or have waited for the leader as long. What is
    /// known of the coordinator is as old as the question that it answered, so a share that leaves no time for a heartbeat
    /// is confirmed by one before anything is done with it: another member may have its partitions by now.
    fn take_over(&mut self, now: Time, sent: Time, share: Share) {
        let GroupConfig { session_timeout, heartbeat_interval, .. } = self.config;
        if now > sent + session_timeout.saturating_sub(heartbeat_interval) {
            return self.confirm(now, share);
        }
        self.failures = 0;
        let Share { membership, role, partitions } = share;
        self.actions.push_back(Action::Assigned { membership: membership.clone(), partitions });
        let pulse = Pulse::Due((sent + heartbeat_interval).max(now));
        self.state = State::Stable(Tenure { membership, role, renewed: sent, pulse });
    }

    fn on_heartbeat(&mut self, now: Time, id: RequestId, outcome: Result<(), PortError>) {
        if matches!(self.state, State::Confirming { id: asked, .. } if asked == id) {
            return self.on_confirmed(now, outcome);
        }
        let next = self.config.heartbeat_interval;
        let Some((tenure, sent)) = self.state.tenure().and_then(|tenure| match tenure.pulse {
            Pulse::Out { id: asked, sent } if asked == id => Some((tenure, sent)),
            _ => None,
        }) else {
            return self.late();
        };
        match outcome.map_err(|error| Verdict::of(&error)) {
            Ok(()) => {
                tenure.renewed = sent;
                tenure.pulse = Pulse::Due(sent + next);
                self.failures = 0;
            }
            Err(Verdict::Rebalance) => {
                // The group began to wait for us at some time after the heartbeat before this one.
                let limit = tenure.renewed + self.drain_limit();
                if let Some(tenure) = self.state.tenure() {
                    tenure.renewed = sent;
                    tenure.pulse = Pulse::Due(sent + next);
                }
                self.failures = 0;
                self.rebalance(limit);
            }
            Err(Verdict::AskAgain) => {
                let at = now + self.next_wait();
                if let Some(tenure) = self.state.tenure() {
                    tenure.pulse = Pulse::Due(at);
                }
            }
            Err(Verdict::LookUp) => self.look_up_later(now),
            Err(Verdict::GenerationOver { forgotten }) => self.lose_generation(now, forgotten),
            Err(Verdict::GiveUp(code)) => self.lose_and_fail(Step::Heartbeat, code),
        }
    }

    fn on_commit_refused(&mut self, now: Time, generation: Generation, code: ErrorCode) {
        let Some(tenure) = self.state.tenure().filter(|tenure| tenure.membership.generation == generation)
        else {
            return self.late();
        };
        match Verdict::of_code(code) {
            Verdict::Rebalance => {
                let renewed = tenure.renewed;
                self.rebalance(renewed + self.drain_limit());
            }
            Verdict::GenerationOver { forgotten } => self.lose_generation(now, forgotten),
            Verdict::LookUp
                if matches!(code, ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable) =>
            {
                match tenure.pulse {
                    Pulse::LookupDue(_) | Pulse::LookupOut(_) => {
                        self.marks.hit("coordinator is looked for already")
                    }
                    Pulse::Due(_) | Pulse::Out { .. } => self.look_up_later(now),
                }
            }
            Verdict::GiveUp(ErrorCode::FencedInstanceId) => self.lose_and_fail(Step::Commit, code),
            // About the commit and its partitions, not about the membership: for the owner to deal with.
            Verdict::LookUp | Verdict::AskAgain | Verdict::GiveUp(_) => {
                self.marks.hit("commit refused for its own reasons");
            }
        }
    }

    /// A count is compared with the one that was assigned from, not with an earlier look: a broker that lags may have
    /// told the leader that a topic is not there, or it may have come since.
    fn on_counted(&mut self, counts: &BTreeMap<TopicName, u32>) {
        match &self.state {
            State::Stable(Tenure { role: Role::Leader { assigned }, .. }) => {
                let differs =
                    |(topic, count): (&TopicName, &u32)| assigned.get(topic).copied().unwrap_or(0) != *count;
                if counts.iter().any(differs) {
                    self.marks.hit("other partitions than were assigned");
                    self.revoke(Then::Rejoin);
                }
            }
            // Not this member's to assign, or the next count comes when they are assigned.
            _ => self.marks.hit("partitions counted, and nothing to do"),
        }
    }

    fn on_released(&mut self, id: RequestId) {
        match &self.state {
            State::Revoking { id: asked, .. } if *asked == id => {
                if let Some(ended) = Ended::of(&self.state) {
                    self.go_on(&ended);
                }
            }
            _ => self.late(),
        }
    }

    fn on_left(&mut self, id: RequestId) {
        match self.state {
            State::Leaving { id: asked } if asked == id => self.finish(),
            _ => self.late(),
        }
    }

    fn on_stop(&mut self) {
        match &mut self.state {
            State::Idle => self.finish(),
            State::Waiting { coordinator, .. } => {
                let coordinator = *coordinator;
                self.leave(coordinator);
            }
            State::FindingCoordinator { errand: errand @ Errand::Join, .. } => {
                *errand = Errand::Leave;
                if !self.must_leave() {
                    self.finish();
                }
            }
            State::Joining { coordinator, .. }
            | State::Describing(Description { coordinator, .. })
            | State::Syncing { membership: Membership { coordinator, .. }, .. }
            | State::Confirming { share: Share { membership: Membership { coordinator, .. }, .. }, .. } => {
                let coordinator = *coordinator;
                self.leave(Some(coordinator));
            }
            State::Stable(_) => self.revoke(Then::Leave),
            State::Revoking { then: then @ Then::Rejoin, .. } => *then = Then::Leave,
            State::Revoking { tenure, then: Then::Leave, .. } => {
                let coordinator = tenure.membership.coordinator;
                self.marks.hit("stopped without waiting for the owner");
                self.lose();
                self.leave(Some(coordinator));
            }
            State::FindingCoordinator { errand: Errand::Leave, .. } | State::Leaving { .. } => {
                self.marks.hit("stopped without waiting for the coordinator");
                self.finish();
            }
            State::Stopped => self.marks.hit("stopped twice"),
        }
    }

    // What the clock brings.

    fn on_session_end(&mut self, now: Time) {
        let Some(ended) = self.lose() else {
            self.marks.hit("could not describe topics within a session");
            return self.wait(now, None);
        };
        self.marks.hit("session ended");
        match ended.then {
            Then::Rejoin => self.wait(now, None),
            Then::Leave => self.leave(Some(ended.coordinator)),
        }
    }

    fn on_drain_limit(&mut self) {
        self.marks.hit("owner drained for too long");
        if let Some(ended) = self.lose() {
            self.go_on(&ended);
        }
    }

    fn on_retry(&mut self) {
        match &self.state {
            State::Waiting { coordinator: Some(coordinator), .. } => self.join(*coordinator),
            State::Waiting { coordinator: None, .. } => self.find_coordinator(Errand::Join),
            State::Describing(pending) => {
                let members = pending.members.clone();
                let id = self.describe(&members);
                if let State::Describing(pending) = &mut self.state {
                    pending.lookup = Lookup::Out(id);
                }
            }
            _ => {
                let id = self.request();
                if let Some(tenure) = self.state.tenure() {
                    tenure.pulse = Pulse::LookupOut(id);
                    self.actions.push_back(Action::FindCoordinator { id });
                }
            }
        }
    }
}
