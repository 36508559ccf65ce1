//! Groups at their coordinators: membership and administration.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::{RequestId, Time};

use super::Cluster;
use super::coordinator::Slot;
use crate::group::{Group, Join, Replies, refused_join, refused_sync};
use crate::message::{
    BrokerAddress, CoordinatorKind, DeleteGroupsAnswer, DeleteGroupsRequest, DescribeGroupsAnswer,
    DescribeGroupsRequest, DescribedGroup, FindCoordinatorsAnswer, FindCoordinatorsRequest, GroupState,
    HeartbeatAnswer, HeartbeatRequest, JoinGroupRequest, LeaveGroupAnswer, LeaveGroupRequest,
    ListGroupsAnswer, ListGroupsRequest, ListedGroup, Origin, Refusal, SyncGroupRequest, Text,
};
use crate::offsets::Offsets;

/// How long a group without members and positions is still listed.
const KEEP_EMPTY: Duration = Duration::from_secs(10 * 60);

/// How long a group rests that is due again as soon as it was dealt with.
const REST: Duration = Duration::from_millis(1);

/// A group with its positions.
#[derive(Debug, Clone, Default)]
pub(super) struct Entry {
    pub(super) group: Group,
    pub(super) offsets: Offsets,
    /// When it last had members.
    idle_since: Time,
    /// It is not looked at before.
    rests_until: Time,
    /// Its place in the order of deadlines.
    due: Option<Time>,
}

impl Entry {
    fn deadline(&self) -> Option<Time> {
        self.group.deadline().map(|at| at.max(self.rests_until))
    }
}

/// All groups.
#[derive(Debug, Clone, Default)]
pub(super) struct Groups {
    by_name: BTreeMap<Text, Entry>,
    due: BTreeSet<(Time, Text)>,
}

impl Groups {
    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    pub(super) fn get(&self, group: &str) -> Option<&Entry> {
        self.by_name.get(group)
    }

    /// Works on a group, which is made if it is not there, and dropped again if nothing came of it.
    pub(super) fn with<T>(&mut self, now: Time, name: &Text, work: impl FnOnce(&mut Entry) -> T) -> T {
        let fresh = || Entry { idle_since: now, ..Entry::default() };
        let is_new = !self.by_name.contains_key(name);
        let entry = self.by_name.entry(name.clone()).or_insert_with(fresh);
        let was_idle = entry.group.is_idle();
        let done = work(entry);
        if !(was_idle && entry.group.is_idle()) {
            entry.idle_since = now;
        }
        let due = entry.deadline();
        if due != entry.due {
            if let Some(before) = entry.due {
                self.due.remove(&(before, name.clone()));
            }
            if let Some(after) = due {
                self.due.insert((after, name.clone()));
            }
            entry.due = due;
        }
        if is_new && entry.group.is_idle() && entry.offsets.is_empty() {
            self.by_name.remove(name);
        }
        done
    }

    /// Works on the groups that are due, on each once: whatever comes of it, this ends, and all deadlines lie ahead.
    pub(super) fn tick(&mut self, now: Time, mut work: impl FnMut(&mut Group)) {
        let due = self.due.iter().take_while(|(at, _)| *at <= now);
        for name in due.map(|(_, name)| name.clone()).collect::<Vec<_>>() {
            self.with(now, &name, |entry| {
                work(&mut entry.group);
                if entry.deadline().is_some_and(|at| at <= now) {
                    entry.rests_until = now + REST;
                }
            });
        }
    }

    fn remove(&mut self, name: &Text) {
        if let Some(Entry { due: Some(due), .. }) = self.by_name.remove(name) {
            self.due.remove(&(due, name.clone()));
        }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }

    pub(super) fn forget_topic(&mut self, topic: &str) {
        for entry in self.by_name.values_mut() {
            entry.offsets.forget_topic(topic);
        }
    }

    /// Forgets what idle groups have had for too long.
    pub(super) fn expire(&mut self, now: Time, limit: Duration) {
        for entry in self.by_name.values_mut().filter(|entry| entry.group.is_idle()) {
            entry.offsets.expire(now, limit, entry.idle_since);
        }
        self.by_name.retain(|_, entry| {
            !(entry.group.is_idle() && entry.offsets.is_empty() && entry.idle_since + KEEP_EMPTY <= now)
        });
    }

    #[cfg(any(test, debug_assertions))]
    pub(super) fn check(&self) {
        for (name, entry) in &self.by_name {
            entry.group.check();
            assert_eq!(entry.due, entry.deadline(), "{name:?} is woken when it is due");
        }
        assert_eq!(self.due.len(), self.by_name.values().filter(|entry| entry.due.is_some()).count());
    }
}

impl Cluster {
    /// Whether the broker that was asked coordinates the group.
    pub(super) fn coordinates(&self, origin: &Origin, group: &str) -> Result<(), ErrorCode> {
        let slot = Slot::of(group);
        match self.slots.coordinator(slot) {
            Some(broker) if broker == origin.broker => {}
            Some(_) | None => return Err(ErrorCode::NotCoordinator),
        }
        if self.slots.is_loading(slot, self.now) {
            return Err(ErrorCode::CoordinatorLoadInProgress);
        }
        Ok(())
    }

    /// Works on a group, then sends what it answers.
    fn with_group<T>(&mut self, name: &Text, work: impl FnOnce(&mut Group, &mut Replies) -> T) -> T {
        let mut out = Replies::new();
        let done = self.groups.with(self.now, name, |entry| work(&mut entry.group, &mut out));
        self.reply_all(out);
        done
    }

    fn reply_all(&mut self, replies: Replies) {
        for (id, answer) in replies {
            self.reply(id, answer);
        }
    }

    pub(super) fn find_coordinators(&self, request: &FindCoordinatorsRequest) -> FindCoordinatorsAnswer {
        let find = |key: &Text| (key.clone(), self.find_coordinator(request.kind, key));
        FindCoordinatorsAnswer { coordinators: request.keys.iter().map(find).collect() }
    }

    fn find_coordinator(&self, kind: CoordinatorKind, key: &str) -> Result<BrokerAddress, Refusal> {
        match kind {
            CoordinatorKind::Group => {
                let broker = self.slots.coordinator(Slot::of(key));
                let address = broker.and_then(|broker| self.brokers.address(broker));
                address.ok_or_else(|| ErrorCode::CoordinatorNotAvailable.into())
            }
            CoordinatorKind::Transaction => {
                Err(Refusal::new(ErrorCode::UnsupportedVersion, "this broker has no transactions"))
            }
            CoordinatorKind::Other(kind) => {
                Err(Refusal::new(ErrorCode::InvalidRequest, format!("coordinator type {kind} is not known")))
            }
        }
    }

    pub(super) fn join_group(&mut self, id: RequestId, origin: &Origin, request: JoinGroupRequest) {
        let limits = self.config.group_limits();
        let refused = Group::check_timeouts(&request, limits)
            .and_then(|()| self.coordinates(origin, &request.group))
            .and_then(|()| {
                let is_unknown = !request.member.is_empty() && self.groups.get(&request.group).is_none();
                if is_unknown { Err(ErrorCode::UnknownMemberId) } else { Ok(()) }
            });
        if let Err(code) = refused {
            self.reply(id, refused_join(request.member, code));
            return;
        }
        let mut ids = self.entropy.fork();
        let now = self.now;
        let name = request.group.clone();
        self.with_group(&name, |group, out| {
            group.join(now, Join { id, origin, request }, limits, &mut ids, out);
        });
    }

    pub(super) fn sync_group(&mut self, id: RequestId, origin: &Origin, request: SyncGroupRequest) {
        if let Err(code) = self.known(origin, &request.group) {
            self.reply(id, refused_sync(code));
            return;
        }
        let now = self.now;
        let name = request.group.clone();
        self.with_group(&name, |group, out| group.sync(now, id, request, out));
    }

    /// Whether the broker coordinates the group and the group exists.
    fn known(&self, origin: &Origin, group: &str) -> Result<(), ErrorCode> {
        if group.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        self.coordinates(origin, group)?;
        self.groups.get(group).map(drop).ok_or(ErrorCode::UnknownMemberId)
    }

    pub(super) fn heartbeat(&mut self, origin: &Origin, request: &HeartbeatRequest) -> HeartbeatAnswer {
        let now = self.now;
        let outcome = self
            .known(origin, &request.group)
            .and_then(|()| self.with_group(&request.group, |group, _| group.heartbeat(now, request)));
        HeartbeatAnswer { outcome }
    }

    pub(super) fn leave_group(&mut self, id: RequestId, origin: &Origin, request: LeaveGroupRequest) {
        let (now, limits) = (self.now, self.config.group_limits());
        let outcome =
            match self.known(origin, &request.group) {
                Ok(()) => Ok(self
                    .with_group(&request.group, |group, out| group.leave(now, request.members, limits, out))),
                Err(ErrorCode::UnknownMemberId) => {
                    let unknown = |member| (member, Err(ErrorCode::UnknownMemberId));
                    Ok(request.members.into_iter().map(unknown).collect())
                }
                Err(code) => Err(code),
            };
        self.reply(id, LeaveGroupAnswer { outcome });
    }

    pub(super) fn describe_groups(
        &self,
        origin: &Origin,
        request: &DescribeGroupsRequest,
    ) -> DescribeGroupsAnswer {
        let dead = || DescribedGroup {
            state: GroupState::Dead,
            protocol_type: Text::default(),
            protocol: Text::default(),
            members: Vec::new(),
        };
        let describe = |name: &Text| {
            let described = self
                .coordinates(origin, name)
                .map(|()| self.groups.get(name).map_or_else(dead, |entry| entry.group.describe()));
            (name.clone(), described)
        };
        DescribeGroupsAnswer { groups: request.groups.iter().map(describe).collect() }
    }

    pub(super) fn list_groups(&self, origin: &Origin, request: &ListGroupsRequest) -> ListGroupsAnswer {
        let is_wanted = |state: GroupState| {
            request.states.is_empty()
                || request.states.iter().any(|wanted| wanted.eq_ignore_ascii_case(state.as_str()))
        };
        let here =
            self.groups.by_name.iter().filter(|(name, entry)| {
                self.coordinates(origin, name).is_ok() && is_wanted(entry.group.state())
            });
        let listed = here.map(|(name, entry)| ListedGroup {
            group: name.clone(),
            protocol_type: entry.group.protocol_type(),
            state: entry.group.state(),
        });
        ListGroupsAnswer { groups: listed.collect() }
    }

    pub(super) fn delete_groups(
        &mut self,
        origin: &Origin,
        request: &DeleteGroupsRequest,
    ) -> DeleteGroupsAnswer {
        let delete = |name: &Text| {
            let outcome = self.coordinates(origin, name).and_then(|()| match self.groups.get(name) {
                None => Err(ErrorCode::GroupIdNotFound),
                Some(entry) if !entry.group.is_idle() => Err(ErrorCode::NonEmptyGroup),
                Some(_) => {
                    self.groups.remove(name);
                    Ok(())
                }
            });
            (name.clone(), outcome)
        };
        DeleteGroupsAnswer { groups: request.groups.iter().map(delete).collect() }
    }

    /// Lets time pass for the groups that are due.
    pub(super) fn tick_groups(&mut self) {
        let (now, limits) = (self.now, self.config.group_limits());
        let mut out = Replies::new();
        self.groups.tick(now, |group| group.tick(now, limits, &mut out));
        self.reply_all(out);
    }

    /// These groups have a new coordinator.
    pub(super) fn reload_groups(&mut self, moved: impl Fn(&str) -> bool) {
        let names: Vec<_> = self.groups.by_name.keys().filter(|name| moved(name)).cloned().collect();
        let now = self.now;
        for name in names {
            self.marks.hit("group moved");
            self.with_group(&name, |group, out| group.reload(now, out));
        }
    }
}
