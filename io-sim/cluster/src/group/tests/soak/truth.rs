//! What members were told, and what follows from that: who is in which generation, who may do what.
//!
//! It knows only answers. A generation is what its leader was told of it: its number and its members. From then on only
//! these may send heartbeats, sync and commit in that number, but for static members that were replaced meanwhile. A new
//! coordinator goes back to the last generation that was given shares.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_core::error::ErrorCode;
use evenkeel_core::model::{Generation, Offset};

use super::client::Client;
use crate::message::*;

/// A generation by the word of its coordinator.
#[derive(Debug, Clone, Default)]
struct Roster {
    generation: Generation,
    /// With the instances of static ones.
    members: BTreeMap<Text, Option<Text>>,
    /// Whether the leader has told them all. If it is dead they are those that were answered; the others are dead, too.
    is_whole: bool,
}

impl Roster {
    fn id_of(&self, instance: &Text) -> Option<Text> {
        let mut members = self.members.iter();
        members.find(|(_, known)| known.as_ref() == Some(instance)).map(|(id, _)| id.clone())
    }
}

#[derive(Debug, Default)]
pub(super) struct Truth {
    latest: Roster,
    /// The last one that was given shares.
    settled: Roster,
    /// Which assignment that was; there is only one for each generation.
    assignment: Option<(Generation, u32)>,
    /// Whose joins were given up by those who asked: they are answered to nobody.
    given_up: BTreeSet<Text>,
    /// What was committed last of each partition, and accepted.
    pub(super) committed: BTreeMap<u8, Offset>,
}

impl Truth {
    /// Takes in what was answered in one step.
    pub(super) fn learn(&mut self, answered: &[(Request, Answer)]) {
        let joins = answered.iter().filter_map(|(request, answer)| match (request, answer) {
            (Request::JoinGroup(request), Answer::JoinGroup(answer)) => {
                Some((request, &answer.member, answer.outcome.as_ref().ok()?))
            }
            _ => None,
        });
        for (request, member, joined) in joins.clone() {
            self.come_back(request, member, joined);
        }
        for (.., joined) in joins.clone().filter(|(.., joined)| !joined.members.is_empty()) {
            let member = |member: &JoinedMember| (member.member.clone(), member.instance.clone());
            let members: BTreeMap<_, _> = joined.members.iter().map(member).collect();
            assert!(joined.generation >= self.latest.generation, "generations do not go back: {joined:?}");
            if joined.generation > self.latest.generation {
                self.must_have_joined(&members, joins.clone().map(|(_, member, _)| member).collect());
            } else if self.latest.is_whole {
                assert_eq!(members, self.latest.members, "a generation does not change");
            }
            self.latest = Roster { generation: joined.generation, members, is_whole: true };
        }
        for (request, member, joined) in joins {
            if joined.generation > self.latest.generation {
                self.latest = Roster { generation: joined.generation, ..Roster::default() };
            }
            if joined.generation == self.latest.generation && !self.latest.is_whole {
                self.latest.members.insert(member.clone(), request.instance.clone());
            }
            self.must_be_current(joined.generation, member, "joined");
        }
        for (request, answer) in answered {
            match (request, answer) {
                (Request::SyncGroup(request), Answer::SyncGroup(answer)) => self.synced(request, answer),
                (Request::Heartbeat(request), Answer::Heartbeat(answer)) => {
                    if matches!(answer.outcome, Ok(()) | Err(ErrorCode::RebalanceInProgress)) {
                        self.must_be_current(request.generation, &request.member, "sent a heartbeat");
                    }
                }
                (Request::CommitOffsets(request), Answer::CommitOffsets(answer)) => {
                    self.committed(request, answer);
                }
                _ => {}
            }
        }
    }

    /// Of the last generation's members only those are in the new one that joined again, but for static ones.
    fn must_have_joined(&mut self, members: &BTreeMap<Text, Option<Text>>, answered: BTreeSet<&Text>) {
        for (member, _) in members.iter().filter(|(_, instance)| instance.is_none()) {
            let had_joined = answered.contains(member) || self.given_up.contains(member);
            let is_new = !self.latest.members.contains_key(member);
            assert!(had_joined || is_new, "{member} goes on without having joined");
        }
        self.given_up.clear();
    }

    /// Nobody waits any more for what was asked.
    pub(super) fn give_up(&mut self, request: &Request) {
        if let Request::JoinGroup(request) = request {
            self.given_up.insert(request.member.clone());
        }
    }

    /// A static member under a new id takes the place of its old self, if the generation goes on.
    fn come_back(&mut self, request: &JoinGroupRequest, member: &Text, joined: &Joined) {
        let Some(instance) = &request.instance else { return };
        if !request.member.is_empty() || joined.generation != self.latest.generation {
            return;
        }
        for roster in [&mut self.latest, &mut self.settled] {
            if let Some(old) = roster.id_of(instance).filter(|_| roster.generation == joined.generation) {
                roster.members.remove(&old);
                roster.members.insert(member.clone(), Some(instance.clone()));
            }
        }
    }

    /// The member id of an instance, by what was told last.
    pub(super) fn id_of(&self, instance: &Text) -> Option<Text> {
        self.latest.id_of(instance)
    }

    /// A static member's old self may do nothing any more.
    pub(super) fn retire(&mut self, old: &Text) {
        self.latest.members.remove(old);
    }

    fn must_be_current(&self, generation: Generation, member: &Text, what: &str) {
        let Roster { generation: latest, members, .. } = &self.latest;
        assert_eq!(generation, *latest, "{member} {what} in a generation that is not the latest");
        assert!(members.contains_key(member), "{member} {what} in {latest} without being in it");
    }

    fn synced(&mut self, request: &SyncGroupRequest, answer: &SyncGroupAnswer) {
        let Ok(synced) = &answer.outcome else { return };
        self.must_be_current(request.generation, &request.member, "got a share");
        let (generation, number, _) = read_share(&synced.assignment)
            .unwrap_or_else(|| panic!("{} got no share in {}", request.member, request.generation));
        assert_eq!(generation, request.generation, "{} got a share of another generation", request.member);
        match self.assignment {
            Some((known, first)) if known == generation => {
                assert_eq!(number, first, "{} got a share of another assignment", request.member);
            }
            _ => {
                self.assignment = Some((generation, number));
                self.settled = self.latest.clone();
            }
        }
    }

    fn committed(&mut self, request: &CommitOffsetsRequest, answer: &CommitOffsetsAnswer) {
        for (asked, told) in request.topics.iter().zip(&answer.topics) {
            for (commit, (_, outcome)) in asked.partitions.iter().zip(&told.partitions) {
                if outcome.is_ok() {
                    self.must_be_current(request.generation, &request.member, "committed");
                    let partition = u8::try_from(commit.partition.0).expect("there are few partitions");
                    self.committed.insert(partition, commit.offset);
                }
            }
        }
    }

    /// A new coordinator knows what was settled last. Whoever came since may be unknown to it.
    pub(super) fn move_coordinator(&mut self, clients: &mut [Client]) {
        self.latest = self.settled.clone();
        self.given_up.clear();
        for client in clients {
            client.is_excused = true;
        }
    }
}

/// A share: its generation, the number of the assignment that it is of, its partitions.
pub(super) fn write_share(
    generation: Generation,
    number: u32,
    partitions: impl Iterator<Item = u8>,
) -> bytes::Bytes {
    let head = generation.0.to_be_bytes().into_iter().chain(number.to_be_bytes());
    head.chain(partitions).collect()
}

pub(super) fn read_share(share: &[u8]) -> Option<(Generation, u32, Vec<u8>)> {
    let (generation, rest) = share.split_first_chunk()?;
    let (number, partitions) = rest.split_first_chunk()?;
    Some((Generation(i32::from_be_bytes(*generation)), u32::from_be_bytes(*number), partitions.to_vec()))
}
