//! Joining: who may be a member, and when that makes the group rebalance.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use evenkeel_core::error::ErrorCode;
use evenkeel_core::machine::Entropy;
use evenkeel_core::model::{RequestId, Time};

use super::member::{Member, Protocols};
use super::{Group, Initial, Limits, NEW_MEMBER_LIMIT, Phase, Replies, refused_join};
use crate::message::{JoinGroupAnswer, JoinGroupRequest, Joined, Origin, Text};

/// A join on its way through the checks.
pub(crate) struct Join<'a> {
    pub(crate) id: RequestId,
    pub(crate) origin: &'a Origin,
    pub(crate) request: JoinGroupRequest,
}

impl Group {
    /// Whether a join with these timeouts is acceptable to any group.
    pub(crate) fn check_timeouts(request: &JoinGroupRequest, limits: Limits) -> Result<(), ErrorCode> {
        let legal = limits.min_session..=limits.max_session;
        if request.group.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        if legal.contains(&request.session_timeout) { Ok(()) } else { Err(ErrorCode::InvalidSessionTimeout) }
    }

    /// Takes a join. It is answered now or parked.
    pub(crate) fn join(
        &mut self,
        now: Time,
        join: Join<'_>,
        limits: Limits,
        ids: &mut Entropy,
        out: &mut Replies,
    ) {
        let (id, member) = (join.id, join.request.member.clone());
        if let Err(code) = self.try_join(now, join, limits, ids, out) {
            out.push((id, refused_join(member, code)));
        }
    }

    fn try_join(
        &mut self,
        now: Time,
        join: Join<'_>,
        limits: Limits,
        ids: &mut Entropy,
        out: &mut Replies,
    ) -> Result<(), ErrorCode> {
        let request = &join.request;
        let is_known = self.members.contains_key(&request.member);
        if !is_known && self.members.len() + self.pending.len() >= limits.max_size {
            let is_counted = self.pending.contains_key(&request.member)
                || request.instance.as_ref().is_some_and(|instance| self.instances.contains_key(instance));
            if !is_counted {
                return Err(ErrorCode::GroupMaxSizeReached);
            }
        }
        self.check_protocols(request)?;
        if request.member.is_empty() {
            return self.join_as_new(now, join, limits, ids, out);
        }
        if self.pending.contains_key(&request.member) && request.instance.is_none() {
            let member = request.member.clone();
            self.admit(now, member, join, limits, out);
            return Ok(());
        }
        self.check_member(&request.member, request.instance.as_ref())?;
        self.join_again(now, join, limits, out);
        Ok(())
    }

    /// Whether the group and the joining member can agree on a kind and a strategy.
    fn check_protocols(&self, request: &JoinGroupRequest) -> Result<(), ErrorCode> {
        let agreed = if self.members.is_empty() {
            !request.protocol_type.is_empty() && !request.protocols.is_empty()
        } else {
            self.protocol_type.as_ref() == Some(&request.protocol_type)
                && request.protocols.iter().any(|(name, _)| self.members.values().all(|m| m.supports(name)))
        };
        if agreed { Ok(()) } else { Err(ErrorCode::InconsistentGroupProtocol) }
    }

    fn join_as_new(
        &mut self,
        now: Time,
        join: Join<'_>,
        limits: Limits,
        ids: &mut Entropy,
        out: &mut Replies,
    ) -> Result<(), ErrorCode> {
        let request = &join.request;
        let stem = request.instance.as_ref().unwrap_or(&join.origin.client);
        let member: Text = format!("{stem}-{}", random_uuid(ids)).into();
        match &request.instance {
            Some(instance) => match self.instances.get(instance).cloned() {
                Some(old) => self.replace(now, &old, member, join, limits, out),
                None => self.admit(now, member, join, limits, out),
            },
            None if request.takes_id_first => {
                self.pending.insert(member.clone(), now + request.session_timeout);
                out.push((join.id, refused_join(member, ErrorCode::MemberIdRequired)));
            }
            None => self.admit(now, member, join, limits, out),
        }
        Ok(())
    }

    /// A new member.
    fn admit(&mut self, now: Time, id: Text, join: Join<'_>, limits: Limits, out: &mut Replies) {
        let Join { id: request_id, origin, request } = join;
        self.pending.remove(&id);
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type);
        }
        if let Some(instance) = &request.instance {
            self.instances.insert(instance.clone(), id.clone());
        }
        self.members.insert(
            id.clone(),
            Member {
                instance: request.instance,
                client: origin.client.clone(),
                host: origin.host.clone(),
                session_timeout: request.session_timeout,
                rebalance_timeout: request.rebalance_timeout,
                protocols: Arc::new(Protocols::new(request.protocols)),
                assignment: Bytes::new(),
                joining: Some(request_id),
                syncing: None,
                is_new: true,
                sync_by: None,
                expires: now + NEW_MEMBER_LIMIT,
            },
        );
        if self.leader.is_none() {
            self.leader = Some(id);
        }
        if let Phase::Preparing { initial: Some(Initial { joined, .. }), .. } = &mut self.phase {
            *joined = true;
        }
        self.prepare(now, limits, out);
        self.complete_if_all_joined(now, out);
    }

    /// A member that is known joins again.
    fn join_again(&mut self, now: Time, join: Join<'_>, limits: Limits, out: &mut Replies) {
        let Some(member) = self.members.get(&join.request.member) else { return };
        let is_same = member.protocols.are(&join.request.protocols);
        let is_leader = self.leader.as_ref() == Some(&join.request.member);
        let must_rebalance = match self.phase {
            Phase::Empty | Phase::Preparing { .. } => true,
            // Its answer was lost: it gets it again.
            Phase::Completing => !is_same,
            // Only the leader can ask for a rebalance without a reason, since only it knows one.
            Phase::Stable => is_leader || !is_same,
        };
        if must_rebalance {
            self.update(now, join, limits, out);
            return;
        }
        self.renew(now, &join.request.member);
        let shows_members = is_leader && self.phase == Phase::Completing;
        let joined = self.joined(shows_members, false);
        out.push((join.id, JoinGroupAnswer { member: join.request.member, outcome: Ok(joined) }.into()));
    }

    fn update(&mut self, now: Time, join: Join<'_>, limits: Limits, out: &mut Replies) {
        let request = join.request;
        if let Some(member) = self.members.get_mut(&request.member) {
            member.protocols = Arc::new(Protocols::new(request.protocols));
            member.session_timeout = request.session_timeout;
            member.rebalance_timeout = request.rebalance_timeout;
            member.client = join.origin.client.clone();
            member.host = join.origin.host.clone();
            member.joining = Some(join.id);
        }
        self.prepare(now, limits, out);
        self.complete_if_all_joined(now, out);
    }

    /// A static member is back under a new id: its old self is fenced. The group need not notice if nothing else
    /// changed.
    fn replace(
        &mut self,
        now: Time,
        old: &Text,
        new: Text,
        mut join: Join<'_>,
        limits: Limits,
        out: &mut Replies,
    ) {
        let Some(mut member) = self.members.remove(old) else { return };
        member.turn_away(old, ErrorCode::FencedInstanceId, out);
        member.expires = now + join.request.session_timeout;
        // While it waits for the others it need not fear for its session, even if its old self never got that far.
        member.is_new = false;
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), new.clone());
        }
        self.members.insert(new.clone(), member);
        let leader_before = self.leader.clone();
        if leader_before.as_ref() == Some(old) {
            self.leader = Some(new.clone());
        }
        let is_leader = self.leader.as_ref() == Some(&new);
        join.request.member = new.clone();
        let request = &join.request;
        if let Some(member) = self.members.get_mut(&new) {
            member.protocols = Arc::new(Protocols::new(request.protocols.clone()));
        }
        if self.phase == Phase::Stable && self.choose_protocol() == self.protocol {
            let mut joined = self.joined(is_leader && request.may_skip_assignment, is_leader);
            if !request.may_skip_assignment {
                // A client that cannot skip must not think that it leads: it would assign.
                joined.leader = leader_before.unwrap_or_default();
                joined.skip_assignment = false;
            }
            self.settle();
            out.push((join.id, JoinGroupAnswer { member: new, outcome: Ok(joined) }.into()));
            return;
        }
        self.update(now, join, limits, out);
    }

    /// What a member learns of the present generation.
    pub(super) fn joined(&self, shows_members: bool, skip_assignment: bool) -> Joined {
        let protocol = self.protocol.as_ref();
        let members = self.members.iter().filter(|_| shows_members);
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type(),
            protocol: self.protocol.clone().unwrap_or_default(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment,
            members: members.map(|(id, member)| member.for_leader(id, protocol)).collect(),
        }
    }

    /// The strategy that most members want, of those that all of them support; of equals, the leader's first.
    pub(super) fn choose_protocol(&self) -> Option<Text> {
        let leader = self.leader.as_ref().and_then(|leader| self.members.get(leader));
        let by_preference = leader.or_else(|| self.members.values().next())?.protocols.names();
        let shared: Vec<_> =
            by_preference.filter(|name| self.members.values().all(|m| m.supports(name))).collect();
        let mut votes: BTreeMap<_, _> = shared.iter().map(|name| (*name, 0_usize)).collect();
        for member in self.members.values() {
            let voted = member.protocols.names().find(|name| votes.contains_key(name));
            if let Some(count) = voted.and_then(|name| votes.get_mut(name)) {
                *count += 1;
            }
        }
        // The last of the greatest wins, so the leader's first choice stands last.
        shared.iter().rev().max_by_key(|name| votes.get(*name)).map(|name| (*name).clone())
    }
}

/// A random UUID, version 4.
pub(crate) fn random_uuid(entropy: &mut Entropy) -> String {
    let (high, low) = (entropy.next_u64(), entropy.next_u64());
    let version = (high & 0xffff_ffff_ffff_0fff) | 0x4000;
    let variant = (low & 0x3fff_ffff_ffff_ffff) | 0x8000_0000_0000_0000;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        version >> 32,
        version >> 16 & 0xffff,
        version & 0xffff,
        variant >> 48,
        variant & 0xffff_ffff_ffff
    )
}
