//! Rebalancing: from one generation to the next.

use std::time::Duration;

use bytes::Bytes;
use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::{Generation, Time};

use super::{Group, Initial, Limits, Phase, Replies};
use crate::message::{JoinGroupAnswer, Text};

impl Group {
    /// Begins a rebalance, unless one is on its way.
    pub(super) fn prepare(&mut self, now: Time, limits: Limits, out: &mut Replies) {
        let patience = self.rebalance_timeout();
        let wait = limits.initial_delay.min(patience);
        self.phase = match self.phase {
            Phase::Preparing { .. } => return,
            Phase::Empty => Phase::Preparing {
                until: now + wait,
                initial: Some(Initial { limit: now + patience, joined: false }),
            },
            Phase::Stable => Phase::Preparing { until: now + patience, initial: None },
            Phase::Completing => {
                for member in self.members.values_mut() {
                    member.assignment = Bytes::new();
                    // A parked join stays: it is for the generation that is being prepared. So does the session of
                    // whoever has just brought it, which is longer.
                    if member.syncing.is_some() {
                        member.expires = now + member.session_timeout;
                    }
                    member.turn_sync_away(ErrorCode::RebalanceInProgress, out);
                }
                Phase::Preparing { until: now + patience, initial: None }
            }
        };
        for member in self.members.values_mut() {
            member.sync_by = None;
        }
    }

    fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    /// Goes on once all known members have joined.
    pub(super) fn complete_if_all_joined(&mut self, now: Time, out: &mut Replies) {
        let Phase::Preparing { until, initial } = self.phase else { return };
        let is_complete = match initial {
            None => self.pending.is_empty() && self.members.values().all(|member| member.joining.is_some()),
            // An empty group's first rebalance waits for its delay only, not for ids that were handed out.
            Some(Initial { joined, .. }) => !joined && until <= now,
        };
        if is_complete {
            self.complete(now, out);
        }
    }

    /// Goes on without those who have not joined, when the wait for them is over.
    pub(super) fn end_wait(&mut self, now: Time, limits: Limits, out: &mut Replies) {
        let Phase::Preparing { until, initial } = self.phase else { return };
        if until > now {
            return;
        }
        match initial {
            Some(Initial { limit, joined: true }) if limit > now => {
                let until = limit.min(now + limits.initial_delay);
                self.phase = Phase::Preparing { until, initial: Some(Initial { limit, joined: false }) };
            }
            Some(_) | None => self.complete(now, out),
        }
    }

    /// Begins the next generation with those who have joined.
    fn complete(&mut self, now: Time, out: &mut Replies) {
        let late: Vec<_> = self
            .members
            .iter()
            .filter(|(_, member)| member.joining.is_none() && member.instance.is_none())
            .map(|(id, _)| id.clone())
            .collect();
        for id in &late {
            self.remove(id, ErrorCode::UnknownMemberId, out);
        }
        let has_joined = |group: &Self, id: &Text| group.members.get(id).is_some_and(|m| m.joining.is_some());
        if !self.leader.as_ref().is_some_and(|leader| has_joined(self, leader)) {
            let first = self.members.iter().find(|(_, member)| member.joining.is_some());
            match first.map(|(id, _)| id.clone()) {
                Some(id) => self.leader = Some(id),
                // Static members only, none of which is back: wait on, their sessions will end.
                None if !self.members.is_empty() => {
                    let until = now + self.rebalance_timeout().max(Duration::from_millis(1));
                    self.phase = Phase::Preparing { until, initial: None };
                    return;
                }
                None => {}
            }
        }
        self.generation = Generation(self.generation.0.checked_add(1).unwrap_or(1));
        if self.members.is_empty() {
            self.protocol = None;
            self.leader = None;
            self.phase = Phase::Empty;
            self.settle();
            return;
        }
        self.protocol = self.choose_protocol();
        self.phase = Phase::Completing;
        let sync_by = now + self.rebalance_timeout().max(Duration::from_millis(1));
        let (for_leader, for_others) = (self.joined(true, false), self.joined(false, false));
        for (id, member) in &mut self.members {
            member.sync_by = Some(sync_by);
            if let Some(request) = member.joining.take() {
                member.is_new = false;
                member.expires = now + member.session_timeout;
                let is_leader = for_leader.leader == *id;
                let joined = if is_leader { for_leader.clone() } else { for_others.clone() };
                out.push((request, JoinGroupAnswer { member: id.clone(), outcome: Ok(joined) }.into()));
            }
        }
    }

    /// Takes a member out, telling it `code` if it waits. What the group does about it is up to the caller.
    pub(super) fn remove(&mut self, id: &Text, code: ErrorCode, out: &mut Replies) {
        let Some(mut member) = self.members.remove(id) else { return };
        member.turn_away(id, code, out);
        if let Some(instance) = &member.instance {
            self.instances.remove(instance);
        }
        if self.leader.as_ref() == Some(id) {
            self.leader = self.members.keys().next().cloned();
        }
    }
}
