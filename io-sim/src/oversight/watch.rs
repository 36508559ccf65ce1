//! What answers reveal: members' ids, assignments, commits, positions, records. It goes into the history as it passes.

use std::sync::Arc;

use bytes::Bytes;
use evenkeel_cluster::message::{
    Answer, CommitOffsetsAnswer, CommitOffsetsRequest, FetchAnswer, FetchOffsetsAnswer, Request,
    SyncGroupRequest,
};

use super::{Oversight, decode, truth};
use crate::history::{Happening, Life, Place, Share};

/// What of a request is needed once it is answered.
#[derive(Debug, Clone)]
pub(crate) enum Asked {
    Join(Arc<str>),
    /// The leader's, with an assignment.
    Sync(SyncGroupRequest),
    Commit(CommitOffsetsRequest),
    Produce,
    Other,
}

impl Asked {
    pub(crate) fn of(request: &Request) -> Self {
        match request {
            Request::JoinGroup(join) => Self::Join(Arc::clone(&join.group)),
            Request::SyncGroup(sync) if !sync.assignments.is_empty() => Self::Sync(sync.clone()),
            Request::CommitOffsets(commit) => Self::Commit(commit.clone()),
            Request::Produce(_) => Self::Produce,
            _ => Self::Other,
        }
    }
}

/// Takes in an answer to somebody; `abandoned` says that whoever asked does not wait for it any more.
pub(crate) fn answer(
    world: &mut impl Oversight,
    life: Life,
    asked: &Asked,
    answer: &Answer,
    abandoned: bool,
) {
    match (asked, answer) {
        (Asked::Join(group), Answer::JoinGroup(answer)) if !answer.member.is_empty() => {
            if let Some(group) = truth::group(&world.facts(), group) {
                world.truth().is_member(group, Arc::clone(&answer.member), life);
            }
        }
        (Asked::Sync(request), Answer::SyncGroup(answer)) if answer.outcome.is_ok() => {
            assignment(world, request);
        }
        (Asked::Commit(request), Answer::CommitOffsets(answer)) => {
            commit(world, life, request, answer, abandoned);
        }
        (_, Answer::Fetch(answer)) => fetch(world, answer),
        (_, Answer::FetchOffsets(answer)) => positions(world, life, answer),
        _ => {}
    }
}

fn assignment(world: &mut impl Oversight, request: &SyncGroupRequest) {
    let facts = world.facts();
    let Some(group) = truth::group(&facts, &request.group) else { return };
    if !world.truth().is_new(group, request.generation) {
        return;
    }
    let mut shares = Vec::new();
    for (member, bytes) in &request.assignments {
        let Some(life) = world.truth().member(group, member) else { continue };
        let topics = decode::assignment(bytes).unwrap_or_default();
        let places = topics.iter().flat_map(|(topic, partitions)| {
            partitions.iter().filter_map(|partition| truth::place(&facts, topic, *partition))
        });
        shares.push(Share { life, places: places.collect() });
    }
    let generation = request.generation;
    world.truth().assigned(group, &shares);
    world.tell(Happening::Assigned { group, generation, shares: shares.into() });
}

fn commit(
    world: &mut impl Oversight,
    life: Life,
    request: &CommitOffsetsRequest,
    answer: &CommitOffsetsAnswer,
    abandoned: bool,
) {
    let facts = world.facts();
    let Some(group) = truth::group(&facts, &request.group) else { return };
    for (asked, answered) in request.topics.iter().zip(&answer.topics) {
        for (commit, (partition, outcome)) in asked.partitions.iter().zip(&answered.partitions) {
            let Some(place) = truth::place(&facts, &asked.topic, *partition) else { continue };
            let metadata = commit.metadata.as_deref().unwrap_or_default();
            world.tell(Happening::Committed {
                group,
                place,
                life,
                generation: request.generation,
                offset: commit.offset,
                settled: decode::settled(metadata, commit.offset),
                outcome: *outcome,
                abandoned,
            });
        }
    }
}

/// Takes in what a fetch brought, whoever asked.
pub(crate) fn fetch(world: &mut impl Oversight, answer: &FetchAnswer) {
    let facts = world.facts();
    for topic in answer.outcome.iter().flatten() {
        for partition in &topic.partitions {
            if let Ok(fetched) = &partition.outcome
                && !fetched.batches.is_empty()
                && let Some(place) = truth::place(&facts, &topic.topic, partition.partition)
            {
                logged(world, place, &fetched.batches);
            }
        }
    }
}

fn logged(world: &mut impl Oversight, place: Place, batches: &[Bytes]) {
    for (offset, event) in world.truth().news(place, batches) {
        world.tell(Happening::Logged { place, offset, event });
    }
}

fn positions(world: &mut impl Oversight, life: Life, answer: &FetchOffsetsAnswer) {
    let facts = world.facts();
    for of_group in &answer.groups {
        let Some(group) = truth::group(&facts, &of_group.group) else { continue };
        for topic in of_group.outcome.iter().flatten() {
            for (partition, stored) in &topic.partitions {
                let Some(place) = truth::place(&facts, &topic.topic, *partition) else { continue };
                let settled = stored
                    .as_ref()
                    .map(|stored| decode::settled(&stored.metadata, stored.offset))
                    .unwrap_or_default();
                let offset = stored.as_ref().map(|stored| stored.offset);
                world.tell(Happening::PositionServed { group, place, life, offset, settled });
            }
        }
    }
}

/// What a request is called where a run is told.
pub(crate) const fn name(request: &Request) -> &'static str {
    match request {
        Request::Produce(_) => "produce",
        Request::Fetch(_) => "fetch",
        Request::ListOffsets(_) => "list offsets",
        Request::Metadata(_) => "metadata",
        Request::CreateTopics(_) => "create topics",
        Request::DescribeConfigs(_) => "describe configs",
        Request::FindCoordinators(_) => "find coordinator",
        Request::JoinGroup(_) => "join",
        Request::SyncGroup(_) => "sync",
        Request::Heartbeat(_) => "heartbeat",
        Request::LeaveGroup(_) => "leave",
        Request::CommitOffsets(_) => "commit",
        Request::FetchOffsets(_) => "fetch offsets",
        _ => "another request",
    }
}
