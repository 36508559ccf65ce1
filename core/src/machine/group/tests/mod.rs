//! A bench for one member: it shows actions as short text, and remembers which request each reply belongs to.

mod convergence;
mod journeys;
mod laws;
mod refusals;
mod stopping;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::protocol::{Assignment, Subscription};
use super::*;
use crate::machine::{Entropy, Machine};
use crate::model::{PartitionId, Time};
use crate::ports::JoinMember;

pub(super) fn topic(name: &str) -> TopicName {
    TopicName::new(name).expect("a legal name")
}

pub(super) fn partition(name: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: topic(name), partition: PartitionId(partition) }
}

pub(super) fn member_id(id: &str) -> MemberId {
    MemberId(Arc::from(id))
}

pub(super) fn config() -> GroupConfig {
    GroupConfig::new(GroupName::new("billing").expect("a legal name"), vec![topic("t")])
}

pub(super) fn subscription(topics: &[&str]) -> Bytes {
    let topics = topics.iter().map(|name| topic(name)).collect();
    Subscription { topics, ..Subscription::default() }.encode()
}

pub(super) fn assignment(partitions: &[TopicPartition]) -> Bytes {
    Assignment { partitions: partitions.iter().cloned().collect(), user_data: None }.encode()
}

/// The answer to a join, for member `m1`: led by `leader`, with `m1` and `m2` as members.
pub(super) fn generation(generation: i32, leader: &str) -> JoinAnswer {
    let member = |id| JoinMember { member: member_id(id), instance: None, metadata: subscription(&["t"]) };
    JoinAnswer {
        generation: Generation(generation),
        protocol: Arc::from("range"),
        leader: member_id(leader),
        member: member_id("m1"),
        members: if leader == "m1" { vec![member("m1"), member("m2")] } else { Vec::new() },
    }
}

pub(super) fn unknown() -> PortError {
    PortError::Unknown { server: Arc::from("broker 1"), cause: Arc::from("timed out") }
}

pub(super) fn refused(code: ErrorCode) -> PortError {
    PortError::Refused(code)
}

/// One action in a few characters.
pub(super) fn shown(action: &Action) -> String {
    match action {
        Action::FindCoordinator { .. } => "Find".to_owned(),
        Action::Join { broker, request, .. } => format!("Join({})@{broker}", request.member),
        Action::DescribeTopics { topics, .. } => {
            format!("Describe({})", topics.iter().map(TopicName::as_str).collect::<Vec<_>>().join(","))
        }
        Action::Sync { broker, request, .. } if request.assignments.is_empty() => {
            format!("Sync({})@{broker}", request.member)
        }
        Action::Sync { broker, request, .. } => {
            format!("Sync({} leads {})@{broker}", request.member, request.assignments.len())
        }
        Action::Heartbeat { broker, .. } => format!("Heartbeat@{broker}"),
        Action::Leave { broker, request, .. } => format!("Leave({})@{broker}", request.member),
        Action::Assigned { partitions, .. } => {
            format!("Assigned({})", partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
        }
        Action::Moved { membership } => format!("Moved@{}", membership.coordinator),
        Action::Revoke { .. } => "Revoke".to_owned(),
        Action::Lost => "Lost".to_owned(),
        Action::Failed { error } => format!("Failed({:?})", error.step),
        Action::Stopped => "Stopped".to_owned(),
    }
}

/// The request that an action is, if it awaits a reply.
pub(super) fn request_id(action: &Action) -> Option<RequestId> {
    match action {
        Action::FindCoordinator { id }
        | Action::Join { id, .. }
        | Action::DescribeTopics { id, .. }
        | Action::Sync { id, .. }
        | Action::Heartbeat { id, .. }
        | Action::Leave { id, .. }
        | Action::Revoke { id } => Some(*id),
        Action::Assigned { .. }
        | Action::Moved { .. }
        | Action::Lost
        | Action::Failed { .. }
        | Action::Stopped => None,
    }
}

/// The reply that refuses a request. `None` for what is no request to a server.
pub(super) fn refusal(action: &Action, error: PortError) -> Option<Input> {
    match action {
        Action::FindCoordinator { id } => Some(Input::CoordinatorFound { id: *id, outcome: Err(error) }),
        Action::Join { id, .. } => {
            Some(Input::Joined { id: *id, outcome: Err((error, MemberId::default())) })
        }
        Action::DescribeTopics { id, .. } => Some(Input::TopicsDescribed { id: *id, outcome: Err(error) }),
        Action::Sync { id, .. } => Some(Input::Synced { id: *id, outcome: Err(error) }),
        Action::Heartbeat { id, .. } => Some(Input::HeartbeatDone { id: *id, outcome: Err(error) }),
        Action::Leave { id, .. } => Some(Input::Left { id: *id, outcome: Err(error) }),
        Action::Revoke { .. }
        | Action::Assigned { .. }
        | Action::Moved { .. }
        | Action::Lost
        | Action::Failed { .. }
        | Action::Stopped => None,
    }
}

/// One member and a clock.
pub(super) struct Bench {
    pub(super) group: Group,
    pub(super) now: Time,
    /// The last request to a server.
    pub(super) asked: Option<Action>,
    /// The last `Revoke`.
    pub(super) revoked: Option<RequestId>,
}

impl Bench {
    pub(super) fn new(config: GroupConfig) -> Self {
        let group = Group::new(config, Entropy::new(7));
        Self { group, now: Time::from_millis(1_000), asked: None, revoked: None }
    }

    fn drain(&mut self) -> String {
        let mut all = Vec::new();
        while let Some(action) = self.group.poll() {
            all.push(shown(&action));
            assert!(all.len() < 20, "no end to {all:?}");
            match action {
                Action::Revoke { id } => self.revoked = Some(id),
                _ if request_id(&action).is_some() => self.asked = Some(action),
                _ => {}
            }
        }
        all.join(" ")
    }

    /// Handles an input; the actions, as text.
    pub(super) fn input(&mut self, input: Input) -> String {
        self.group.handle(self.now, input);
        self.drain()
    }

    /// Lets time pass up to the deadline, if there is one.
    pub(super) fn wake(&mut self) -> String {
        if let Some(deadline) = self.group.deadline() {
            self.now = self.now.max(deadline);
            self.group.tick(self.now);
            assert!(self.group.deadline().is_none_or(|next| next > self.now), "still due after a tick");
        }
        self.drain()
    }

    /// Lets so much time pass, without a tick.
    pub(super) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    fn id(&self) -> RequestId {
        self.asked.as_ref().and_then(request_id).expect("something was asked")
    }

    pub(super) fn found(&mut self, broker: i32) -> String {
        let id = self.id();
        self.input(Input::CoordinatorFound { id, outcome: Ok(BrokerId(broker)) })
    }

    pub(super) fn joined(&mut self, answer: JoinAnswer) -> String {
        let id = self.id();
        self.input(Input::Joined { id, outcome: Ok(answer) })
    }

    pub(super) fn described(&mut self, count: u32) -> String {
        let id = self.id();
        self.input(Input::TopicsDescribed { id, outcome: Ok(BTreeMap::from([(topic("t"), count)])) })
    }

    pub(super) fn synced(&mut self, partitions: &[TopicPartition]) -> String {
        let id = self.id();
        self.input(Input::Synced { id, outcome: Ok(assignment(partitions)) })
    }

    pub(super) fn alive(&mut self) -> String {
        let id = self.id();
        self.input(Input::HeartbeatDone { id, outcome: Ok(()) })
    }

    pub(super) fn released(&mut self) -> String {
        let id = self.revoked.expect("something was revoked");
        self.input(Input::Released { id })
    }

    /// Refuses the last request.
    pub(super) fn refuse(&mut self, error: PortError) -> String {
        let asked = self.asked.clone().expect("something was asked");
        self.input(refusal(&asked, error).expect("only requests are remembered"))
    }

    // Members at the places of their life, all called `m1`, all with broker 1.

    pub(super) fn finding(config: GroupConfig) -> Self {
        let mut bench = Self::new(config);
        assert_eq!(bench.input(Input::Start), "Find");
        bench
    }

    /// Joining without an id.
    pub(super) fn joining_first(config: GroupConfig) -> Self {
        let mut bench = Self::finding(config);
        assert_eq!(bench.found(1), "Join()@1");
        bench
    }

    /// Joining with an id.
    pub(super) fn joining(config: GroupConfig) -> Self {
        let mut bench = Self::joining_first(config);
        let id = bench.id();
        let outcome = Err((refused(ErrorCode::MemberIdRequired), member_id("m1")));
        assert_eq!(bench.input(Input::Joined { id, outcome }), "Join(m1)@1");
        bench
    }

    pub(super) fn describing(config: GroupConfig) -> Self {
        let mut bench = Self::joining(config);
        assert_eq!(bench.joined(generation(5, "m1")), "Describe(t)");
        bench
    }

    pub(super) fn syncing(config: GroupConfig) -> Self {
        let mut bench = Self::joining(config);
        assert_eq!(bench.joined(generation(5, "m2")), "Sync(m1)@1");
        bench
    }

    /// A share came after its session may have ended: with a heartbeat out that asks about it.
    pub(super) fn confirming(config: GroupConfig) -> Self {
        let mut bench = Self::syncing(config);
        bench.pass(Duration::from_secs(25));
        assert_eq!(bench.synced(&[partition("t", 0)]), "Heartbeat@1");
        bench
    }

    pub(super) fn stable(config: GroupConfig) -> Self {
        let mut bench = Self::syncing(config);
        assert_eq!(bench.synced(&[partition("t", 0)]), "Assigned(t/0)");
        bench
    }

    /// Stable, with a heartbeat out.
    pub(super) fn beating(config: GroupConfig) -> Self {
        let mut bench = Self::stable(config);
        assert_eq!(bench.wake(), "Heartbeat@1");
        bench
    }

    /// Stable, looking for a coordinator that moved.
    pub(super) fn looking_up(config: GroupConfig) -> Self {
        let mut bench = Self::beating(config);
        assert_eq!(bench.refuse(refused(ErrorCode::NotCoordinator)), "");
        assert_eq!(bench.wake(), "Find");
        bench
    }

    /// Draining for a rebalance, with a heartbeat out.
    pub(super) fn draining(config: GroupConfig) -> Self {
        let mut bench = Self::beating(config);
        assert_eq!(bench.refuse(refused(ErrorCode::RebalanceInProgress)), "Revoke");
        assert_eq!(bench.wake(), "Heartbeat@1");
        bench
    }

    pub(super) fn leaving(config: GroupConfig) -> Self {
        let mut bench = Self::stable(config);
        assert_eq!(bench.input(Input::Stop), "Revoke");
        assert_eq!(bench.released(), "Leave(m1)@1");
        bench
    }
}
