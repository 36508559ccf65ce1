//! Whether a world is at rest, and what its last state is: read from the cluster itself.

use std::sync::Arc;

use evenkeel_cluster::Input;
use evenkeel_cluster::message::{
    Answer, DescribeGroupsRequest, EpochEndPartition, EpochEndsRequest, FetchOffsetsGroup,
    FetchOffsetsRequest, FetchPartition, FetchRequest, FetchSession, GroupState, LeaveGroupRequest,
    LeavingMember, ListOffsetsRequest, ListPartition, MetadataRequest, OfTopic, Place as LogPlace, TopicRef,
};
use evenkeel_core::model::{BrokerId, LeaderEpoch, Offset, PartitionId, Time};

use super::state::State;
use super::truth;
use crate::history::{GroupNo, Happening, Place, TopicNo};
use crate::trace::digest;

impl State {
    /// Adds what is not at rest; `members` says how many members each group is to have.
    pub(crate) fn pending(&mut self, members: &[usize], pending: &mut Vec<String>) {
        let facts = Arc::clone(&self.history.facts);
        let Some(any) = self.alive.first().copied() else {
            pending.push("no broker runs".to_owned());
            return;
        };
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
            }
        }
        for ((nth, group), members) in (0..).zip(&facts.groups).zip(members) {
            let Some(coordinator) = self.coordinator(any, &group.name) else {
                pending.push(format!("group {} has no coordinator", group.name));
                continue;
            };
            let (state, present) = self.group_state(coordinator, &group.name);
            if state != Some(GroupState::Stable) || present.len() != *members {
                pending.push(format!(
                    "group {} is {state:?} with {} of {members} members",
                    group.name,
                    present.len()
                ));
            }
            for place in &places {
                self.lag(coordinator, GroupNo(nth), &group.name, *place, pending);
            }
        }
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
        let facts = Arc::clone(&self.history.facts);
        let ledger = self.judge.ledger();
        let Some(log) = ledger.log(place) else { return };
        if facts.handlers_of(number, place.topic).next().is_none() {
            return;
        }
        let end = log.end();
        let open = |offset: &Offset| ledger.open_for(number, place, *offset).next().is_some();
        let frontier = log.records().map(|(offset, _)| offset).find(open).unwrap_or(end);
        let topic = Arc::clone(&facts.topics[usize::from(place.topic.0)].name);
        let wanted = FetchOffsetsGroup {
            group: Arc::clone(group),
            topics: Some(vec![OfTopic { topic, partitions: vec![place.partition] }]),
        };
        let answer = self.query(coordinator, FetchOffsetsRequest { groups: vec![wanted] }.into());
        let stored = match answer {
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
            let at = facts.place_name(place);
            pending.push(format!("{group} has committed {committed} of {at}, which ends at {end}"));
        }
        if committed < frontier {
            pending.push(format!(
                "{group} has committed {committed} of {}, not {frontier}",
                facts.place_name(place)
            ));
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
        use evenkeel_cluster::message::{CoordinatorKind, FindCoordinatorsRequest};
        let request = FindCoordinatorsRequest { kind: CoordinatorKind::Group, keys: vec![Arc::clone(group)] };
        match self.query(any, request.into())? {
            Answer::FindCoordinators(answer) => Some(answer.coordinators.into_iter().next()?.1.ok()?.broker),
            _ => None,
        }
    }

    /// Throws a member out of its group, as if it had left.
    pub(crate) fn evict(&mut self, group: &Arc<str>, member: usize) {
        let Some(any) = self.alive.first().copied() else { return };
        let Some(coordinator) = self.coordinator(any, group) else { return };
        let (_, members) = self.group_state(coordinator, group);
        if let Some(member) = members.get(member % members.len().max(1)) {
            let leaving = LeavingMember { member: Arc::clone(member), instance: None };
            let request = LeaveGroupRequest { group: Arc::clone(group), members: vec![leaving] };
            self.query(coordinator, request.into());
            self.wake_pump();
        }
    }

    /// A replica that has not copied for a while comes to lead.
    pub(crate) fn elect_unclean(&mut self, to: BrokerId, partition: PartitionId, topic: &Arc<str>) {
        let place = truth::place(&self.history.facts, topic, partition);
        let (Some(any), Some(place)) = (self.alive.first().copied(), place) else { return };
        // What was acknowledged until now is told, also where nobody has read it, unless nobody leads.
        let is_told = self.read_to_the_end(any, place);
        self.strike_cluster(Input::ElectUnclean { topic: Arc::clone(topic), partition, to });
        if let Some(end) = self.log_end(any, place)
            && (self.truth.cut(place, end) || !is_told)
        {
            self.tell(Happening::Truncated { place, end });
        }
    }

    /// Who leads a partition, and its epoch.
    fn leader(&mut self, any: BrokerId, place: Place) -> Option<(BrokerId, LeaderEpoch)> {
        let topic = TopicRef::Name(Arc::clone(&self.history.facts.topics[usize::from(place.topic.0)].name));
        let request = MetadataRequest { topics: Some(vec![topic]), may_create: false };
        let Some(Answer::Metadata(answer)) = self.query(any, request.into()) else { return None };
        let partitions = answer.topics.into_iter().find_map(|topic| topic.partitions.ok())?;
        let known = partitions.into_iter().find(|known| known.partition == place.partition)?;
        Some((known.leader?, known.leader_epoch))
    }

    /// Where a leader's log ends, be it seen by consumers or not.
    fn log_end(&mut self, any: BrokerId, place: Place) -> Option<Offset> {
        let (leader, epoch) = self.leader(any, place)?;
        let topic = Arc::clone(&self.history.facts.topics[usize::from(place.topic.0)].name);
        let wanted = EpochEndPartition { partition: place.partition, current_epoch: None, epoch };
        let request = EpochEndsRequest { topics: vec![OfTopic { topic, partitions: vec![wanted] }] };
        let Some(Answer::EpochEnds(answer)) = self.query(leader, request.into()) else { return None };
        let found = answer.topics.into_iter().flat_map(|topic| topic.partitions).next()?;
        Some(found.outcome.ok()??.1)
    }

    /// Reads what is left of a log, as the world; false if it has no leader.
    fn read_to_the_end(&mut self, any: BrokerId, place: Place) -> bool {
        let Some((leader, _)) = self.leader(any, place) else { return false };
        let topic = Arc::clone(&self.history.facts.topics[usize::from(place.topic.0)].name);
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
                max_wait: std::time::Duration::ZERO,
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

    /// The run has ended: the last word of the judges, and the last state into the hash.
    pub(crate) fn rest(&mut self) {
        let now: Time = self.now();
        if !self.is_over() {
            self.judge.came_to_rest();
            if let Err(breach) = self.judge.rest(now) {
                self.break_law(breach);
            }
        }
        let words = [now.as_nanos(), self.polls, self.inputs, self.history.happenings.len() as u64];
        self.trace.seal(digest(words));
    }
}
