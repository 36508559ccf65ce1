//! What the world does at the cluster on its own account, alike at both levels: it watches what is answered, asks what it
//! wants to know, does to logs what no client asks for, and says what has not come to rest.
//!
//! - `truth` is what it knows, `watch` how it comes to know it; `decode` reads what members write, `telling` has words
//!   for what happens.
//! - `logs` cuts, trims, deletes, makes and grows them; `positions` loses and spoils what groups have stored; `stale`
//!   lets brokers go by an old map; `rest` says what is not at rest.

pub mod decode;
pub(crate) mod logs;
pub(crate) mod positions;
pub(crate) mod rest;
pub(crate) mod rollouts;
pub(crate) mod stale;
pub(crate) mod telling;
pub(crate) mod truth;
pub(crate) mod watch;

use std::sync::Arc;
use std::time::Duration;

use evenkeel_cluster::Input;
use evenkeel_cluster::message::{
    Answer, CoordinatorKind, DescribeGroupsRequest, EpochEndPartition, EpochEndsRequest, FetchOffsetsGroup,
    FetchOffsetsRequest, FetchPartition, FetchRequest, FetchSession, FindCoordinatorsRequest, GroupState,
    LeaveGroupRequest, LeavingMember, ListOffsetsRequest, ListPartition, MetadataRequest, OfTopic,
    Place as LogPlace, Request, StoredOffset, TopicRef,
};
use evenkeel_core::model::{BrokerId, LeaderEpoch, Offset, PartitionId};

use self::truth::Truth;
use crate::checkers::ledger::Ledger;
use crate::history::{Facts, Happening, Place, TopicNo};

/// A configuration of a topic: its name and its value.
pub(crate) type TopicConfig = (Arc<str>, Option<Arc<str>>);

/// A world as its overseer sees it. The methods that are given ask the cluster.
pub(crate) trait Oversight {
    fn facts(&self) -> Arc<Facts>;
    fn ledger(&self) -> &Ledger;
    fn truth(&mut self) -> &mut Truth;
    /// The brokers that run.
    fn alive(&self) -> Vec<BrokerId>;
    /// How topics are configured.
    fn topic_configs(&self) -> Vec<TopicConfig>;
    /// Asks the cluster something that it answers at once.
    fn query(&mut self, broker: BrokerId, request: Request) -> Option<Answer>;
    /// Does something to the cluster that no client can.
    fn strike_cluster(&mut self, input: Input);
    /// Something happened.
    fn tell(&mut self, happening: Happening);

    fn any_broker(&self) -> Option<BrokerId> {
        self.alive().first().copied()
    }

    fn topic_name(&self, place: Place) -> Arc<str> {
        Arc::clone(&self.facts().topics[usize::from(place.topic.0)].name)
    }

    /// The partitions that a topic has now, or had until it was deleted.
    fn places(&mut self, topic: TopicNo) -> Vec<Place> {
        let began = self.facts().topics[usize::from(topic.0)].partitions;
        let partitions = self.truth().grown(topic).unwrap_or(began);
        (0..partitions as i32).map(|number| Place { topic, partition: PartitionId(number) }).collect()
    }

    /// Who leads a partition, and its epoch.
    fn leader(&mut self, place: Place) -> Option<(BrokerId, LeaderEpoch)> {
        let topic = TopicRef::Name(self.topic_name(place));
        let request = MetadataRequest { topics: Some(vec![topic]), may_create: false };
        let any = self.any_broker()?;
        let Answer::Metadata(answer) = self.query(any, request.into())? else { return None };
        let partitions = answer.topics.into_iter().find_map(|topic| topic.partitions.ok())?;
        let known = partitions.into_iter().find(|known| known.partition == place.partition)?;
        Some((known.leader?, known.leader_epoch))
    }

    /// The greatest epoch of a leader's log up to this one, and where it ends, be it seen by consumers or not.
    fn epoch_end(
        &mut self,
        leader: BrokerId,
        place: Place,
        epoch: LeaderEpoch,
    ) -> Option<(LeaderEpoch, Offset)> {
        let topic = self.topic_name(place);
        let wanted = EpochEndPartition { partition: place.partition, current_epoch: None, epoch };
        let request = EpochEndsRequest { topics: vec![OfTopic { topic, partitions: vec![wanted] }] };
        let Answer::EpochEnds(answer) = self.query(leader, request.into())? else { return None };
        let found = answer.topics.into_iter().flat_map(|topic| topic.partitions).next()?;
        found.outcome.ok()?
    }

    /// An offset of a log as consumers are told it.
    fn listed(&mut self, leader: BrokerId, place: Place, wanted: LogPlace) -> Option<Offset> {
        let topic = self.topic_name(place);
        let list = ListPartition { partition: place.partition, leader_epoch: None, place: wanted };
        let topics = vec![OfTopic { topic, partitions: vec![list] }];
        let request = ListOffsetsRequest { read_committed: true, topics };
        let Answer::ListOffsets(answer) = self.query(leader, request.into())? else { return None };
        let found = answer.topics.into_iter().flat_map(|topic| topic.partitions).next()?;
        Some(found.outcome.ok()??.offset)
    }

    /// Reads what is left of a log; answers where it ends for consumers, or nothing if it cannot be read now.
    fn read_to_the_end(&mut self, place: Place) -> Option<Offset>
    where
        Self: Sized,
    {
        let (leader, _) = self.leader(place)?;
        let start = self.listed(leader, place, LogPlace::Earliest)?;
        let end = self.listed(leader, place, LogPlace::Latest)?;
        if self.truth().told(place) < start {
            let offsets = self.truth().told(place)..start;
            self.truth().pass_over(place, start);
            self.tell(Happening::Destroyed { place, offsets });
        }
        while self.truth().told(place) < end {
            let before = self.truth().told(place);
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
                topics: vec![OfTopic { topic: self.topic_name(place), partitions: vec![wanted] }],
            };
            let Answer::Fetch(answer) = self.query(leader, request.into())? else { return None };
            watch::read(self, &answer);
            if self.truth().told(place) == before {
                return None;
            }
        }
        Some(end)
    }

    fn coordinator(&mut self, group: &Arc<str>) -> Option<BrokerId> {
        let request = FindCoordinatorsRequest { kind: CoordinatorKind::Group, keys: vec![Arc::clone(group)] };
        let any = self.any_broker()?;
        let Answer::FindCoordinators(answer) = self.query(any, request.into())? else { return None };
        Some(answer.coordinators.into_iter().next()?.1.ok()?.broker)
    }

    /// What a group has stored for a partition.
    fn stored(&mut self, coordinator: BrokerId, group: &Arc<str>, place: Place) -> Option<StoredOffset> {
        let topic = self.topic_name(place);
        let wanted = FetchOffsetsGroup {
            group: Arc::clone(group),
            topics: Some(vec![OfTopic { topic, partitions: vec![place.partition] }]),
        };
        let answer = self.query(coordinator, FetchOffsetsRequest { groups: vec![wanted] }.into())?;
        let Answer::FetchOffsets(answer) = answer else { return None };
        let topics = answer.groups.into_iter().filter_map(|group| group.outcome.ok()).flatten();
        topics.flat_map(|topic| topic.partitions).find_map(|(_, stored)| stored)
    }

    /// How a group is, and its members' ids.
    fn group_state(
        &mut self,
        coordinator: BrokerId,
        group: &Arc<str>,
    ) -> (Option<GroupState>, Vec<Arc<str>>) {
        let request = DescribeGroupsRequest { groups: vec![Arc::clone(group)] };
        let Some(Answer::DescribeGroups(answer)) = self.query(coordinator, request.into()) else {
            return (None, Vec::new());
        };
        match answer.groups.into_iter().next() {
            Some((_, Ok(group))) => {
                (Some(group.state), group.members.into_iter().map(|member| member.member).collect())
            }
            _ => (None, Vec::new()),
        }
    }

    /// Throws a member out of its group, as if it had left.
    fn evict(&mut self, group: &Arc<str>, member: usize) {
        let Some(coordinator) = self.coordinator(group) else { return };
        let (_, members) = self.group_state(coordinator, group);
        if let Some(member) = members.get(member % members.len().max(1)) {
            let leaving = LeavingMember { member: Arc::clone(member), instance: None };
            let request = LeaveGroupRequest { group: Arc::clone(group), members: vec![leaving] };
            self.query(coordinator, request.into());
        }
    }
}
