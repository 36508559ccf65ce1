//! What answers reveal: members' ids, assignments, commits, positions, records. It goes into the history as it passes.

use std::sync::Arc;

use bytes::Bytes;
use evenkeel_cluster::message::{
    Answer, CommitOffsetsAnswer, CommitOffsetsRequest, FetchAnswer, FetchOffsetsAnswer, Request,
    SyncGroupRequest,
};
use evenkeel_core::model::{Offset, Time};

use super::{Oversight, decode, truth};
use crate::history::{Facts, Happening, Life, Place, Share};

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

/// Takes in an answer to what somebody asked; `sent` says when that was.
pub(crate) fn answer(world: &mut impl Oversight, life: Life, asked: &Asked, sent: Time, answer: &Answer) {
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
            commit(world, life, request, sent, answer);
        }
        (_, Answer::Fetch(answer)) => fetch(world, answer),
        (_, Answer::FetchOffsets(answer)) => positions(world, life, answer),
        _ => {}
    }
}

/// Takes in an answer that reached a process which waited for it.
pub(crate) fn learnt(world: &mut impl Oversight, now: Time, life: Life, answer: &Answer) {
    if let Answer::Heartbeat(answer) = answer
        && answer.outcome.is_ok()
    {
        world.truth().is_well(life, now);
    }
    if let Answer::JoinGroup(answer) = answer
        && let Ok(joined) = &answer.outcome
        && let Some(group) = world.truth().group_of(&answer.member, life)
    {
        world.tell(Happening::Joined { group, life, generation: joined.generation });
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
    sent: Time,
    answer: &CommitOffsetsAnswer,
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
                sent,
            });
        }
    }
}

/// Takes in what a member's fetch brought. Who reads a new log from its old position may be the first to show a record
/// of it: those before it are looked up.
fn fetch(world: &mut impl Oversight, answer: &FetchAnswer) {
    let facts = world.facts();
    for (place, batches) in fetched(&facts, answer) {
        if base_offset(batches).is_some_and(|first| world.truth().told(place) < first) {
            world.read_to_the_end(place);
        }
        logged(world, place, batches);
    }
}

/// Takes in what the world's own fetch brought.
pub(crate) fn read(world: &mut impl Oversight, answer: &FetchAnswer) {
    let facts = world.facts();
    for (place, batches) in fetched(&facts, answer) {
        logged(world, place, batches);
    }
}

fn fetched<'a>(facts: &'a Facts, answer: &'a FetchAnswer) -> impl Iterator<Item = (Place, &'a [Bytes])> {
    let topics = answer.outcome.iter().flatten();
    topics.flat_map(|topic| topic.partitions.iter().map(|partition| (&topic.topic, partition))).filter_map(
        |(topic, partition)| {
            let fetched = partition.outcome.as_ref().ok()?;
            let place = truth::place(facts, topic, partition.partition)?;
            (!fetched.batches.is_empty()).then_some((place, &*fetched.batches))
        },
    )
}

/// The first offset of batches as they are stored: it stands in front.
fn base_offset(batches: &[Bytes]) -> Option<Offset> {
    Some(Offset(i64::from_be_bytes(*batches.first()?.first_chunk()?)))
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
