//! One consumer group at its coordinator: who is a member, of which generation, with which share.
//!
//! # States
//!
//! ```text
//!            a join                everyone joined            the leader's assignment
//!   Empty ───────────► Preparing ──────────────────► Completing ─────────────────► Stable
//!     ▲                    ▲  ▲                           │                           │
//!     │ nobody joined      │  └── a join, leave, death ───┘                           │
//!     └────────────────────┘  ◄───────── a join, leave, death ────────────────────────┘
//! ```
//!
//! In `Preparing` joins are parked until all known members have joined again, or until the longest rebalance timeout
//! among them is over; those who have not are out then (static members stay until their session ends). In `Completing`
//! syncs are parked until the leader hands in the assignment.
//!
//! A member is dead when its session timeout passes without a heartbeat, a commit or another request of its own; a
//! parked request counts as life. A group's last settled state is remembered apart, since that is all that a new
//! coordinator finds when the group moves.

mod join;
mod leave;
mod member;
mod rebalance;
mod sync;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::{Generation, RequestId, Time};

use crate::message::{
    Answer, DescribedGroup, DescribedMember, GroupState, JoinGroupAnswer, SyncGroupAnswer, Text,
};
pub(crate) use join::Join;
use member::Member;

/// Answers to requests, those that were parked among them.
pub(crate) type Replies = Vec<(RequestId, Answer)>;

/// What a coordinator allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The shortest session timeout a member may ask for.
    pub(crate) min_session: Duration,
    /// The longest.
    pub(crate) max_session: Duration,
    /// How many members a group may have.
    pub(crate) max_size: usize,
    /// How long the first join of an empty group waits for others.
    pub(crate) initial_delay: Duration,
}

/// How long a new member may wait in a parked join before it is taken for dead.
const NEW_MEMBER_LIMIT: Duration = Duration::from_secs(5 * 60);

/// A group.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    phase: Phase,
    generation: Generation,
    protocol_type: Option<Text>,
    protocol: Option<Text>,
    leader: Option<Text>,
    members: BTreeMap<Text, Member>,
    /// The static members' ids by their instances.
    instances: BTreeMap<Text, Text>,
    /// Ids that were handed out to be joined with, and until when.
    pending: BTreeMap<Text, Time>,
    /// What a new coordinator would find.
    settled: Option<Box<Settled>>,
}

/// Where a group stands, with what it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Empty,
    /// For joins.
    Preparing {
        until: Time,
        initial: Option<Initial>,
    },
    /// For the leader's sync; until then for everyone's.
    Completing,
    Stable,
}

/// The first join of an empty group waits a little for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Initial {
    /// However many still come.
    limit: Time,
    /// Whether somebody came since the wait began.
    joined: bool,
}

/// A group's last settled state.
#[derive(Debug, Clone)]
struct Settled {
    generation: Generation,
    protocol_type: Option<Text>,
    protocol: Option<Text>,
    leader: Option<Text>,
    members: BTreeMap<Text, Member>,
    instances: BTreeMap<Text, Text>,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            phase: Phase::Empty,
            generation: Generation(0),
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            pending: BTreeMap::new(),
            settled: None,
        }
    }
}

impl Group {
    pub(crate) const fn state(&self) -> GroupState {
        match self.phase {
            Phase::Empty => GroupState::Empty,
            Phase::Preparing { .. } => GroupState::PreparingRebalance,
            Phase::Completing => GroupState::CompletingRebalance,
            Phase::Stable => GroupState::Stable,
        }
    }

    /// Whether it has neither members nor anyone about to join.
    pub(crate) fn is_idle(&self) -> bool {
        self.phase == Phase::Empty && self.pending.is_empty()
    }

    pub(crate) fn protocol_type(&self) -> Text {
        self.protocol_type.clone().unwrap_or_default()
    }

    /// Each member's metadata of the chosen protocol.
    pub(crate) fn subscriptions(&self) -> impl Iterator<Item = bytes::Bytes> {
        self.members.values().map(|member| member.metadata(self.protocol.as_ref()))
    }

    pub(crate) fn describe(&self) -> DescribedGroup {
        let state = self.state();
        let is_stable = state == GroupState::Stable;
        let members = self.members.iter().map(|(id, member)| DescribedMember {
            member: id.clone(),
            instance: member.instance.clone(),
            client: member.client.clone(),
            host: member.host.clone(),
            metadata: if is_stable { member.metadata(self.protocol.as_ref()) } else { bytes::Bytes::new() },
            // A share of the last generation is told until there is a new one.
            assignment: member.assignment.clone(),
        });
        DescribedGroup {
            state,
            protocol_type: self.protocol_type(),
            protocol: if is_stable { self.protocol.clone().unwrap_or_default() } else { Text::default() },
            members: members.collect(),
        }
    }

    /// Whether someone may commit offsets under this name.
    pub(crate) fn check_commit(
        &mut self,
        now: Time,
        generation: Generation,
        member: &Text,
        instance: Option<&Text>,
    ) -> Result<(), ErrorCode> {
        let is_outsider = generation.0 < 0 && member.is_empty() && instance.is_none();
        if generation.0 < 0 && self.phase == Phase::Empty {
            return Ok(());
        }
        if is_outsider {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.check_member(member, instance)?;
        if generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        self.renew(now, member);
        match self.phase {
            Phase::Completing => Err(ErrorCode::RebalanceInProgress),
            Phase::Empty | Phase::Preparing { .. } | Phase::Stable => Ok(()),
        }
    }

    /// Whether `member` is one, and still is `instance`.
    fn check_member(&self, member: &Text, instance: Option<&Text>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            return match self.instances.get(instance) {
                None => Err(ErrorCode::UnknownMemberId),
                Some(known) if known == member => Ok(()),
                Some(_) => Err(ErrorCode::FencedInstanceId),
            };
        }
        if self.members.contains_key(member) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    /// A sign of life.
    fn renew(&mut self, now: Time, member: &Text) {
        if let Some(member) = self.members.get_mut(member) {
            member.expires = now + member.session_timeout;
        }
    }

    /// When something happens here if nobody asks for anything.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let phase = match self.phase {
            Phase::Preparing { until, .. } => Some(until),
            Phase::Empty | Phase::Completing | Phase::Stable => None,
        };
        let members = self.members.values().filter_map(Member::deadline);
        phase.into_iter().chain(members).chain(self.pending.values().copied()).min()
    }

    /// Lets time pass: sessions end, waits are over.
    pub(crate) fn tick(&mut self, now: Time, limits: Limits, out: &mut Replies) {
        let due = |deadline: Option<Time>| deadline.is_some_and(|deadline| deadline <= now);
        let ended: Vec<_> =
            self.members.iter().filter(|(_, m)| due(m.deadline())).map(|(id, _)| id.clone()).collect();
        let gone = self.pending.len();
        self.pending.retain(|_, until| *until > now);
        let pending_ended = self.pending.len() < gone;
        for id in &ended {
            self.remove(id, ErrorCode::UnknownMemberId, out);
        }
        if !ended.is_empty() {
            self.prepare(now, limits, out);
        }
        if !ended.is_empty() || pending_ended {
            self.complete_if_all_joined(now, out);
        }
        self.end_wait(now, limits, out);
    }

    /// The group has a new coordinator, which knows what was settled last. All that was parked is turned away.
    pub(crate) fn reload(&mut self, now: Time, out: &mut Replies) {
        for (id, member) in &mut self.members {
            member.turn_away(id, ErrorCode::NotCoordinator, out);
        }
        let settled = self.settled.take();
        *self = Self { settled, ..Self::default() };
        let Some(settled) = &self.settled else { return };
        self.generation = settled.generation;
        self.protocol_type.clone_from(&settled.protocol_type);
        self.protocol.clone_from(&settled.protocol);
        self.leader.clone_from(&settled.leader);
        self.members = settled.members.clone();
        self.instances.clone_from(&settled.instances);
        self.phase = if self.members.is_empty() { Phase::Empty } else { Phase::Stable };
        for member in self.members.values_mut() {
            // Who had synced by then is not remembered.
            member.sync_by = None;
            member.expires = now + member.session_timeout;
        }
    }

    /// Remembers what a new coordinator would find.
    fn settle(&mut self) {
        self.settled = Some(Box::new(Settled {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            members: self.members.clone(),
            instances: self.instances.clone(),
        }));
    }

    /// Each member's id and share.
    #[cfg(test)]
    pub(crate) fn assignments(&self) -> impl Iterator<Item = (&Text, &bytes::Bytes)> {
        self.members.iter().map(|(id, member)| (id, &member.assignment))
    }

    /// Everything that must hold of a group.
    #[cfg(any(test, debug_assertions))]
    pub(crate) fn check(&self) {
        for (instance, id) in &self.instances {
            let member = self.members.get(id).expect("an instance is a member");
            assert_eq!(member.instance.as_ref(), Some(instance));
        }
        let statics = self.members.values().filter(|member| member.instance.is_some()).count();
        assert_eq!(statics, self.instances.len(), "every static member has its instance");
        if let Some(leader) = &self.leader {
            assert!(self.members.contains_key(leader), "the leader is a member");
        }
        let parked = |wanted: fn(&Member) -> bool| self.members.values().any(wanted);
        match self.phase {
            Phase::Empty => assert!(self.members.is_empty(), "an empty group has no members"),
            Phase::Preparing { .. } => {
                assert!(!parked(|member| member.syncing.is_some()), "nobody syncs while others join");
            }
            Phase::Completing => {
                assert!(!parked(|member| member.joining.is_some()), "joins are answered");
                assert!(self.leader.is_some(), "someone assigns");
            }
            Phase::Stable => {
                assert!(!parked(|m| m.joining.is_some() || m.syncing.is_some()), "all is answered");
            }
        }
    }
}

/// Answers a join that has failed.
pub(crate) fn refused_join(member: Text, code: ErrorCode) -> Answer {
    JoinGroupAnswer { member, outcome: Err(code) }.into()
}

/// Answers a sync that has failed.
pub(crate) fn refused_sync(code: ErrorCode) -> Answer {
    SyncGroupAnswer { outcome: Err(code) }.into()
}
