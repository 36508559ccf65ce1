//! Whether a run has come to rest: what is not, in words. Cheap questions come first, and one answer is enough unless a
//! person is to be told.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_cluster::message::{
    Answer, CoordinatorKind, DescribeGroupsRequest, EpochEndPartition, EpochEndsRequest, FetchOffsetsGroup,
    FetchOffsetsRequest, FetchPartition, FetchRequest, FetchSession, FindCoordinatorsRequest, GroupState,
    LeaveGroupRequest, LeavingMember, ListOffsetsRequest, ListPartition, MetadataRequest, OfTopic,
    Place as LogPlace, TopicRef,
};
use evenkeel_core::model::{BrokerId, LeaderEpoch, Offset, PartitionId};

use super::process::Role;
use super::world::World;
use crate::history::{GroupNo, Place, TopicNo};

impl World {
    /// What is not at rest: all of it, or something if there is anything.
    pub fn pending(&mut self, all: bool) -> Vec<String> {
        let mut pending = Vec::new();
        for nth in 0..self.processes.len() {
            let process = &self.processes[nth];
            let Some(present) = &process.present else {
                pending.push(format!("process {nth} is down"));
                continue;
            };
            if let Role::Producer(producer) = process.role {
                let (done, of) = (self.produced[producer], self.sends[producer].len());
                if done < of || !present.sending.is_empty() {
                    pending.push(format!(
                        "producer {nth} is at {done} of {of} calls and waits for {}",
                        present.sending.len()
                    ));
                }
            }
        }
        let old = self.waiting_since_before(self.plan.quiet_at);
        if old > 0 {
            pending.push(format!("{old} requests of before the quiet are not answered"));
        }
        if !pending.is_empty() && !all {
            return pending;
        }
        let Some(any) = self.alive.first().copied() else {
            pending.push("no broker runs".to_owned());
            return pending;
        };
        let facts = Arc::clone(&self.facts);
        let places: Vec<Place> = (0..)
            .zip(&facts.topics)
            .flat_map(|(topic, of)| {
                let place =
                    move |partition| Place { topic: TopicNo(topic), partition: PartitionId(partition) };
                (0..of.partitions as i32).map(place)
            })
            .collect();
        for place in &places {
            if !self.read_to_the_end(any, *place) {
                pending.push(format!("{} cannot be read to its end", facts.place_name(*place)));
            }
        }
        for (number, _) in facts.numbered_handlers() {
            let open = self.judge.ledger().forgotten(number);
            if let Some((place, offset)) = open.first() {
                pending.push(format!(
                    "{} records are not settled for {}, the first at {offset} of {}",
                    open.len(),
                    facts.handler_name(number),
                    facts.place_name(*place),
                ));
                if !all {
                    return pending;
                }
            }
        }
        for (nth, group) in (0..).zip(&facts.groups) {
            let members = self.members_of(nth);
            let Some(coordinator) = self.coordinator(any, &group.name) else {
                pending.push(format!("group {} has no coordinator", group.name));
                continue;
            };
            let (state, present) = self.group_state(coordinator, &group.name);
            if state != Some(GroupState::Stable) || present.len() != members {
                pending.push(format!(
                    "group {} is {state:?} with {} of {members} members",
                    group.name,
                    present.len()
                ));
                if !all {
                    return pending;
                }
            }
            for place in &places {
                self.lag(coordinator, GroupNo(nth), &group.name, *place, &mut pending);
            }
        }
        pending
    }

    /// Adds it if a group has not committed all that is over.
    fn lag(
        &mut self,
        coordinator: BrokerId,
        number: GroupNo,
        group: &Arc<str>,
        place: Place,
        pending: &mut Vec<String>,
    ) {
        let ledger = self.judge.ledger();
        let Some(log) = ledger.log(place) else { return };
        if self.facts.handlers_of(number, place.topic).next().is_none() {
            return;
        }
        let open = |offset: &Offset| ledger.open_for(number, place, *offset).next().is_some();
        let end = log.end();
        let frontier = log.records().map(|(offset, _)| offset).find(open).unwrap_or(end);
        let topic = Arc::clone(&self.facts.topics[usize::from(place.topic.0)].name);
        let wanted = FetchOffsetsGroup {
            group: Arc::clone(group),
            topics: Some(vec![OfTopic { topic, partitions: vec![place.partition] }]),
        };
        let stored = match self.query(coordinator, FetchOffsetsRequest { groups: vec![wanted] }.into()) {
            Some(Answer::FetchOffsets(answer)) => answer
                .groups
                .into_iter()
                .filter_map(|group| group.outcome.ok())
                .flatten()
                .flat_map(|topic| topic.partitions)
                .find_map(|(_, stored)| stored),
            _ => None,
        };
        let committed = stored.map_or(Offset::ZERO, |stored| stored.offset);
        if committed > end {
            let at = self.facts.place_name(place);
            pending.push(format!("{group} has committed {committed} of {at}, which ends at {end}"));
        }
        if committed < frontier {
            let at = self.facts.place_name(place);
            pending.push(format!("{group} has committed {committed} of {at}, not {frontier}"));
        }
    }

    fn group_state(
        &mut self,
        coordinator: BrokerId,
        group: &Arc<str>,
    ) -> (Option<GroupState>, Vec<Arc<str>>) {
        let request = DescribeGroupsRequest { groups: vec![Arc::clone(group)] };
        match self.query(coordinator, request.into()) {
            Some(Answer::DescribeGroups(answer)) => match answer.groups.into_iter().next() {
                Some((_, Ok(group))) => {
                    (Some(group.state), group.members.into_iter().map(|member| member.member).collect())
                }
                _ => (None, Vec::new()),
            },
            _ => (None, Vec::new()),
        }
    }

    fn coordinator(&mut self, any: BrokerId, group: &Arc<str>) -> Option<BrokerId> {
        let request = FindCoordinatorsRequest { kind: CoordinatorKind::Group, keys: vec![Arc::clone(group)] };
        match self.query(any, request.into())? {
            Answer::FindCoordinators(answer) => Some(answer.coordinators.into_iter().next()?.1.ok()?.broker),
            _ => None,
        }
    }

    /// Throws a member out of its group, as if it had left.
    pub(super) fn evict(&mut self, group: &Arc<str>, member: usize) {
        let Some(any) = self.alive.first().copied() else { return };
        let Some(coordinator) = self.coordinator(any, group) else { return };
        let (_, members) = self.group_state(coordinator, group);
        if let Some(member) = members.get(member % members.len().max(1)) {
            let leaving = LeavingMember { member: Arc::clone(member), instance: None };
            let request = LeaveGroupRequest { group: Arc::clone(group), members: vec![leaving] };
            self.query(coordinator, request.into());
        }
    }

    /// Who leads a partition, and its epoch.
    fn leader(&mut self, any: BrokerId, place: Place) -> Option<(BrokerId, LeaderEpoch)> {
        let topic = TopicRef::Name(Arc::clone(&self.facts.topics[usize::from(place.topic.0)].name));
        let request = MetadataRequest { topics: Some(vec![topic]), may_create: false };
        let Some(Answer::Metadata(answer)) = self.query(any, request.into()) else { return None };
        let partitions = answer.topics.into_iter().find_map(|topic| topic.partitions.ok())?;
        let known = partitions.into_iter().find(|known| known.partition == place.partition)?;
        Some((known.leader?, known.leader_epoch))
    }

    /// Where a leader's log ends, be it seen by consumers or not.
    pub(super) fn log_end(&mut self, any: BrokerId, place: Place) -> Option<Offset> {
        let (leader, epoch) = self.leader(any, place)?;
        let topic = Arc::clone(&self.facts.topics[usize::from(place.topic.0)].name);
        let wanted = EpochEndPartition { partition: place.partition, current_epoch: None, epoch };
        let request = EpochEndsRequest { topics: vec![OfTopic { topic, partitions: vec![wanted] }] };
        let Some(Answer::EpochEnds(answer)) = self.query(leader, request.into()) else { return None };
        let found = answer.topics.into_iter().flat_map(|topic| topic.partitions).next()?;
        Some(found.outcome.ok()??.1)
    }

    /// Reads what is left of a log, as the world; false if it has no leader.
    pub(super) fn read_to_the_end(&mut self, any: BrokerId, place: Place) -> bool {
        let Some((leader, _)) = self.leader(any, place) else { return false };
        let topic = Arc::clone(&self.facts.topics[usize::from(place.topic.0)].name);
        let list = ListPartition { partition: place.partition, leader_epoch: None, place: LogPlace::Latest };
        let topics = vec![OfTopic { topic: Arc::clone(&topic), partitions: vec![list] }];
        let listed = self.query(leader, ListOffsetsRequest { read_committed: true, topics }.into());
        let Some(Answer::ListOffsets(listed)) = listed else { return false };
        let end = listed
            .topics
            .into_iter()
            .flat_map(|topic| topic.partitions)
            .find_map(|p| p.outcome.ok().flatten());
        let Some(end) = end.map(|listed| listed.offset) else { return false };
        while self.truth.told(place) < end {
            let before = self.truth.told(place);
            let wanted = FetchPartition {
                partition: place.partition,
                leader_epoch: None,
                offset: before,
                last_epoch: None,
                max_bytes: 1 << 20,
            };
            let request = FetchRequest {
                max_wait: Duration::ZERO,
                min_bytes: 0,
                max_bytes: 1 << 20,
                read_committed: true,
                session: FetchSession::Whole,
                topics: vec![OfTopic { topic: Arc::clone(&topic), partitions: vec![wanted] }],
            };
            let Some(Answer::Fetch(answer)) = self.query(leader, request.into()) else { return false };
            self.watch_fetch(&answer);
            if self.truth.told(place) == before {
                return false;
            }
        }
        true
    }
}
