//! The moves that a member can make: each sends at most one request and says which state awaits its answer.

use std::mem;
use std::time::Duration;

use bytes::Bytes;

use super::assignor::Subscriber;
use super::member::Group;
use super::state::{Errand, Pulse, Role, Share, State, Tenure, Then};
use super::{Action, GroupError, Membership, Step};
use crate::error::ErrorCode;
use crate::model::{BrokerId, MemberId, RequestId, Time, TopicName};
use crate::ports::{HeartbeatRequest, JoinAnswer, JoinRequest, LeaveRequest, Protocol, SyncRequest};

/// The shortest wait before another attempt, whatever the configuration says: a member never spins.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

impl Group {
    /// An id that no request had.
    pub(super) fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    pub(super) fn late(&mut self) {
        self.marks.hit("late reply ignored");
    }

    /// The wait before the next attempt: it grows until a heartbeat or a sync succeeds.
    pub(super) fn next_wait(&mut self) -> Duration {
        let wait = self.config.backoff.wait(self.failures, &mut self.entropy).max(SHORTEST_WAIT);
        self.failures = self.failures.saturating_add(1);
        wait
    }

    /// Tries again later: to join, or to find the coordinator first.
    pub(super) fn wait(&mut self, now: Time, coordinator: Option<BrokerId>) {
        let until = now + self.next_wait();
        self.state = State::Waiting { until, coordinator };
    }

    pub(super) fn find_coordinator(&mut self, errand: Errand) {
        let id = self.request();
        self.actions.push_back(Action::FindCoordinator { id });
        self.state = State::FindingCoordinator { id, errand };
    }

    pub(super) fn join(&mut self, coordinator: BrokerId) {
        let id = self.request();
        let protocol = |name| Protocol { name, metadata: self.subscription.clone() };
        let request = JoinRequest {
            group: self.config.group.clone(),
            member: self.member.clone(),
            instance: self.config.instance.clone(),
            session_timeout: self.config.session_timeout,
            rebalance_timeout: self.config.rebalance_timeout,
            protocols: self.config.strategies.iter().map(|strategy| protocol(strategy.name())).collect(),
        };
        self.actions.push_back(Action::Join { id, broker: coordinator, request });
        self.state = State::Joining { id, coordinator };
    }

    /// Asks for the partitions of all topics that any member wants.
    pub(super) fn describe(&mut self, members: &[Subscriber]) -> RequestId {
        let id = self.request();
        let mut topics: Vec<TopicName> =
            members.iter().flat_map(|member| member.topics.iter().cloned()).collect();
        topics.sort();
        topics.dedup();
        self.actions.push_back(Action::DescribeTopics { id, topics });
        id
    }

    pub(super) fn sync(
        &mut self,
        now: Time,
        coordinator: BrokerId,
        answer: &JoinAnswer,
        assignments: Vec<(MemberId, Bytes)>,
        role: Role,
    ) {
        let id = self.request();
        let membership = Membership {
            generation: answer.generation,
            member: answer.member.clone(),
            instance: self.config.instance.clone(),
            coordinator,
        };
        let request = SyncRequest {
            group: self.config.group.clone(),
            generation: membership.generation,
            member: membership.member.clone(),
            instance: membership.instance.clone(),
            protocol: answer.protocol.clone(),
            assignments,
        };
        self.actions.push_back(Action::Sync { id, broker: coordinator, request });
        self.state = State::Syncing { id, sent: now, membership, role };
    }

    pub(super) fn heartbeat(&mut self, now: Time) {
        let Some(tenure) = self.state.tenure() else { return };
        let membership = tenure.membership.clone();
        let id = self.tell_of_life(&membership);
        if let Some(tenure) = self.state.tenure() {
            tenure.pulse = Pulse::Out { id, sent: now };
        }
    }

    /// Asks with a heartbeat whether a share is this member's.
    pub(super) fn confirm(&mut self, now: Time, share: Share) {
        let id = self.tell_of_life(&share.membership);
        self.state = State::Confirming { id, sent: now, share };
    }

    fn tell_of_life(&mut self, membership: &Membership) -> RequestId {
        let id = self.request();
        let request = HeartbeatRequest {
            group: self.config.group.clone(),
            generation: membership.generation,
            member: membership.member.clone(),
            instance: membership.instance.clone(),
        };
        self.actions.push_back(Action::Heartbeat { id, broker: membership.coordinator, request });
        id
    }

    /// The coordinator is not where it was: heartbeats pause until it is found.
    pub(super) fn look_up_later(&mut self, now: Time) {
        let at = now + self.next_wait();
        if let Some(tenure) = self.state.tenure() {
            tenure.pulse = Pulse::LookupDue(at);
        }
    }

    /// The group waits for this member to join again, until `limit` at the longest.
    pub(super) fn rebalance(&mut self, limit: Time) {
        if let State::Stable(_) = self.state {
            self.revoke(Then::Rejoin);
        }
        if let State::Revoking { limit: known @ None, .. } = &mut self.state {
            *known = Some(limit);
        }
    }

    /// How long after the last certain renewal of the session the owner may drain: the group may have begun to wait
    /// right after it. Some time is kept for the join itself.
    pub(super) fn drain_limit(&self) -> Duration {
        let margin = self.config.heartbeat_interval.min(self.config.rebalance_timeout / 4);
        self.config.rebalance_timeout.saturating_sub(margin)
    }

    pub(super) fn revoke(&mut self, then: Then) {
        match mem::replace(&mut self.state, State::Stopped) {
            State::Stable(tenure) => {
                let id = self.request();
                self.actions.push_back(Action::Revoke { id });
                self.state = State::Revoking { id, tenure, limit: None, then };
            }
            other => self.state = other,
        }
    }

    /// The assignment is over, released or lost. A lookup that is due or out is used for what comes next.
    pub(super) fn go_on(&mut self, tenure: &Ended) {
        self.state = match (tenure.then, tenure.pulse) {
            (Then::Rejoin, Pulse::Due(_) | Pulse::Out { .. }) => return self.join(tenure.coordinator),
            (Then::Rejoin, Pulse::LookupDue(until)) => State::Waiting { until, coordinator: None },
            (Then::Rejoin, Pulse::LookupOut(id)) => State::FindingCoordinator { id, errand: Errand::Join },
            (Then::Leave, Pulse::Due(_) | Pulse::Out { .. }) => return self.leave(Some(tenure.coordinator)),
            (Then::Leave, Pulse::LookupDue(_)) => return self.leave(None),
            (Then::Leave, Pulse::LookupOut(id)) if self.must_leave() => {
                State::FindingCoordinator { id, errand: Errand::Leave }
            }
            (Then::Leave, Pulse::LookupOut(_)) => return self.finish(),
        };
    }

    /// The coordinator ended the generation.
    pub(super) fn lose_generation(&mut self, now: Time, forgotten: bool) {
        let Some(ended) = self.lose() else { return };
        self.forget_member_if(forgotten);
        match ended.then {
            Then::Rejoin => self.wait(now, Some(ended.coordinator)),
            Then::Leave => self.leave(Some(ended.coordinator)),
        }
    }

    /// Tells the owner that its assignment is over. Whoever calls it sets the next state.
    pub(super) fn lose(&mut self) -> Option<Ended> {
        let ended = Ended::of(&self.state)?;
        self.actions.push_back(Action::Lost);
        Some(ended)
    }

    pub(super) fn forget_member_if(&mut self, forgotten: bool) {
        if forgotten {
            self.member = MemberId::default();
        }
    }

    pub(super) fn lose_and_fail(&mut self, step: Step, code: ErrorCode) {
        if let Some(ended) = self.lose() {
            self.fail(step, code, Some(ended.coordinator));
        }
    }

    /// Gives up for good, and leaves if there is a coordinator to leave.
    pub(super) fn fail(&mut self, step: Step, code: ErrorCode, coordinator: Option<BrokerId>) {
        let error = GroupError {
            group: self.config.group.clone(),
            step,
            code,
            session_timeout: self.config.session_timeout,
        };
        self.actions.push_back(Action::Failed { error });
        match coordinator {
            Some(coordinator) => self.leave(Some(coordinator)),
            None => self.finish(),
        }
    }

    /// Whether the coordinator knows a member that will not come back.
    pub(super) fn must_leave(&self) -> bool {
        self.config.instance.is_none() && !self.member.0.is_empty()
    }

    /// One attempt to leave, with one attempt to find out whom, if need be.
    pub(super) fn leave(&mut self, coordinator: Option<BrokerId>) {
        if !self.must_leave() {
            return self.finish();
        }
        let Some(broker) = coordinator else { return self.find_coordinator(Errand::Leave) };
        let id = self.request();
        let request = LeaveRequest {
            group: self.config.group.clone(),
            member: self.member.clone(),
            instance: self.config.instance.clone(),
        };
        self.actions.push_back(Action::Leave { id, broker, request });
        self.state = State::Leaving { id };
    }

    pub(super) fn finish(&mut self) {
        self.actions.push_back(Action::Stopped);
        self.state = State::Stopped;
    }
}

/// What is known of a membership whose assignment is over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    pub(super) coordinator: BrokerId,
    pub(super) pulse: Pulse,
    pub(super) then: Then,
}

impl Ended {
    pub(super) fn of(state: &State) -> Option<Self> {
        let ended = |tenure: &Tenure, then| Self {
            coordinator: tenure.membership.coordinator,
            pulse: tenure.pulse,
            then,
        };
        match state {
            State::Stable(tenure) => Some(ended(tenure, Then::Rejoin)),
            State::Revoking { tenure, then, .. } => Some(ended(tenure, *then)),
            State::Idle
            | State::Waiting { .. }
            | State::FindingCoordinator { .. }
            | State::Joining { .. }
            | State::Describing(_)
            | State::Syncing { .. }
            | State::Confirming { .. }
            | State::Leaving { .. }
            | State::Stopped => None,
        }
    }
}
