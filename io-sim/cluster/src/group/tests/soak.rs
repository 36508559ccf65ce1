//! Two hundred members that join, leave and die for five minutes, and what must hold meanwhile and afterwards.
//!
//! Each member is a small program on its own: it joins, syncs (the leader shares out), sends heartbeats, joins again when
//! told to. Its connection never fails; it may die at any time without a word.

use super::*;
use crate::message::GroupState;

const MEMBERS: usize = 200;
const PARTITIONS: usize = 60;

#[derive(Debug, Default, Clone)]
enum Life {
    #[default]
    Away,
    Joining(RequestId),
    Syncing(RequestId, i32),
    /// With a generation and a share, and when the next heartbeat is due.
    Member(i32, Vec<usize>, Time),
}

#[derive(Debug, Default, Clone)]
struct Client {
    id: String,
    life: Life,
}

struct World {
    bench: Bench,
    clients: Vec<Client>,
    entropy: Entropy,
    generations: i32,
}

impl World {
    fn step(&mut self, may_change: bool) {
        for nth in 0..self.clients.len() {
            let fate = self.entropy.below(2_000);
            let Client { id, life } = self.clients[nth].clone();
            self.clients[nth].life = match life {
                Life::Away if may_change && fate < 20 => Life::Joining(self.join(nth, "")),
                Life::Away => Life::Away,
                // It dies without a word, whatever it was doing.
                _ if may_change && fate < 4 => Life::Away,
                Life::Member(..) if may_change && fate < 8 => {
                    self.bench.leave(&id, None);
                    Life::Away
                }
                Life::Joining(request) => self.joined(nth, request),
                Life::Syncing(request, generation) => self.synced(nth, request, generation),
                Life::Member(generation, share, next) if next <= self.bench.now => {
                    match self.bench.heartbeat(&id, generation).as_str() {
                        "ok" => Life::Member(generation, share, self.bench.now + Duration::from_secs(3)),
                        "RebalanceInProgress" => Life::Joining(self.join(nth, &id)),
                        _ => Life::Joining(self.join(nth, "")),
                    }
                }
                member @ Life::Member(..) => member,
            };
            self.no_two_owners();
        }
    }

    fn join(&mut self, nth: usize, id: &str) -> RequestId {
        let tells = nth.is_multiple_of(2);
        self.bench.join(id, |join| join.takes_id_first = tells)
    }

    fn joined(&mut self, nth: usize, request: RequestId) -> Life {
        let Some(Answer::JoinGroup(answer)) = self.bench.answers.get(&request).cloned() else {
            return Life::Joining(request);
        };
        self.clients[nth].id = answer.member.to_string();
        let id = answer.member.to_string();
        match answer.outcome {
            Ok(joined) => {
                let generation = joined.generation.0;
                self.generations = self.generations.max(generation);
                let count = joined.members.len();
                let shares: Vec<(String, Bytes)> = joined
                    .members
                    .iter()
                    .enumerate()
                    .map(|(place, member)| {
                        let share = (0..PARTITIONS).filter(|p| p % count == place).map(|p| p as u8);
                        (member.member.to_string(), share.collect())
                    })
                    .collect();
                let assignments = shares.into_iter().map(|(id, share)| (Text::from(id), share)).collect();
                let request = SyncGroupRequest {
                    group: "g".into(),
                    generation: joined.generation,
                    member: answer.member,
                    instance: None,
                    protocol_type: None,
                    protocol: Some("range".into()),
                    assignments,
                };
                let (sync, mut out) = (self.bench.id(), Vec::new());
                self.bench.group.sync(self.bench.now, sync, request, &mut out);
                self.bench.keep(out);
                Life::Syncing(sync, generation)
            }
            Err(evenkeel_core::error::ErrorCode::MemberIdRequired) => Life::Joining(self.join(nth, &id)),
            Err(_) => Life::Joining(self.join(nth, "")),
        }
    }

    fn synced(&mut self, nth: usize, request: RequestId, generation: i32) -> Life {
        let id = self.clients[nth].id.clone();
        match self.bench.answers.get(&request) {
            Some(Answer::SyncGroup(answer)) => match &answer.outcome {
                Ok(synced) => {
                    let share = synced.assignment.iter().map(|p| usize::from(*p)).collect();
                    Life::Member(generation, share, self.bench.now + Duration::from_secs(3))
                }
                Err(evenkeel_core::error::ErrorCode::RebalanceInProgress) => {
                    Life::Joining(self.join(nth, &id))
                }
                Err(_) => Life::Joining(self.join(nth, "")),
            },
            _ => Life::Syncing(request, generation),
        }
    }

    /// Nobody whose membership the coordinator still honours shares a partition with another of the same generation.
    fn no_two_owners(&self) {
        let mut owners: BTreeMap<(i32, usize), &str> = BTreeMap::new();
        for client in &self.clients {
            let Life::Member(generation, share, _) = &client.life else { continue };
            for partition in share {
                let other = owners.insert((*generation, *partition), &client.id);
                assert!(other.is_none(), "{partition} belongs to {other:?} and {}", client.id);
            }
        }
    }
}

#[test]
fn two_hundred_members_come_and_go_for_five_minutes() {
    for seed in 1..=3 {
        let mut world = World {
            bench: Bench::new(),
            clients: vec![Client::default(); MEMBERS],
            entropy: Entropy::new(seed),
            generations: 0,
        };
        for _ in 0..3_000 {
            world.step(true);
            world.bench.now = world.bench.now + Duration::from_millis(100);
            world.bench.pass(0);
        }
        assert!(world.generations > 10, "seed {seed}: only {} generations", world.generations);
        // At rest: nobody comes, goes or dies any more.
        for _ in 0..900 {
            world.step(false);
            world.bench.now = world.bench.now + Duration::from_millis(100);
            world.bench.pass(0);
        }
        assert_eq!(world.bench.group.state(), GroupState::Stable, "seed {seed}");
        let mut owned = [0; PARTITIONS];
        let mut generations = Vec::new();
        for client in &world.clients {
            if let Life::Member(generation, share, _) = &client.life {
                generations.push(*generation);
                share.iter().for_each(|partition| owned[*partition] += 1);
            }
        }
        generations.dedup();
        assert_eq!(generations.len(), 1, "seed {seed}: all are of one generation");
        assert_eq!(owned, [1; PARTITIONS], "seed {seed}: every partition has one owner");
    }
}
