//! Whatever a coordinator says, and whenever, a member of a group neither panics nor loops, asks for little at a time, and
//! tells its owner a story that makes sense: an assignment ends before the next begins, and nothing follows the end.
//!
//! Answers go to requests that are out, to some that were, or to none; they are in order, refusals of every sort, or bytes
//! that nobody would write. Run with `cargo +nightly fuzz run group_messages`.
#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_core::error::{ErrorCode, Remedy};
use evenkeel_core::machine::group::protocol::{Assignment, Subscription};
use evenkeel_core::machine::group::{Action, Group, GroupConfig, Input};
use evenkeel_core::machine::{Entropy, Machine};
use evenkeel_core::model::{
    BrokerId, Bytes, Generation, GroupName, MemberId, PartitionId, RequestId, Time, TopicName, TopicPartition,
};
use evenkeel_core::ports::{JoinAnswer, JoinMember, PortError};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

/// One input leads to a few actions and no more.
const ACTIONS: usize = 8;
/// Partitions of a topic. A description of more would be larger than what members share out in a fuzzer's time.
const MOST_PARTITIONS: u32 = 300;

#[derive(Arbitrary, Debug)]
struct Story {
    entropy: u64,
    is_static: bool,
    events: Vec<Event>,
}

#[derive(Arbitrary, Debug)]
enum Event {
    /// The oldest request that is out is answered as a member hopes for.
    Proceed {
        leads: bool,
    },
    /// A request that is out is answered.
    Answer {
        which: u8,
        answer: Answer,
    },
    /// Something comes that nobody asked for, or comes twice.
    Stray {
        id: u8,
        kind: u8,
        answer: Answer,
    },
    Counted(Vec<(u8, u16)>),
    CommitRefused {
        generation: i8,
        code: i16,
    },
    /// The owner lets go of what it was told to.
    Release,
    Pass {
        millis: u16,
    },
    /// Until the machine wants to be woken.
    Sleep,
    Start,
    Stop,
}

#[derive(Arbitrary, Debug)]
enum Answer {
    Good {
        generation: i8,
        leads: bool,
        members: Vec<Wants>,
        counts: Vec<(u8, u16)>,
        share: Vec<(u8, i16)>,
    },
    /// As it is on the wire.
    Wild {
        generation: i32,
        protocol: String,
        member: String,
        leader: String,
        bytes: Vec<Vec<u8>>,
    },
    /// One of the errors that are known, or another.
    Refused(u8),
    Unreachable,
    Unknown,
    Malformed,
}

/// What another member wants.
#[derive(Arbitrary, Debug)]
struct Wants {
    name: u8,
    instance: Option<u8>,
    topics: Vec<u8>,
}

fn topic(number: u8) -> TopicName {
    TopicName::new(format!("t{}", number % 4)).expect("a legal name")
}

fn counts(drawn: &[(u8, u16)]) -> BTreeMap<TopicName, u32> {
    drawn.iter().map(|(name, count)| (topic(*name), u32::from(*count) % MOST_PARTITIONS)).collect()
}

fn text(number: impl std::fmt::Display) -> Arc<str> {
    number.to_string().into()
}

/// The answer as an error, if it is one.
fn error(answer: &Answer) -> Option<PortError> {
    let (server, cause) = (text("broker 1"), text("cut"));
    Some(match answer {
        Answer::Good { .. } | Answer::Wild { .. } => return None,
        Answer::Refused(nth) => {
            let known = ErrorCode::ALL.get(usize::from(*nth)).copied();
            known.unwrap_or(ErrorCode::Other(i16::from(*nth) + 1_000)).into()
        }
        Answer::Unreachable => PortError::Unreachable { server, cause },
        Answer::Unknown => PortError::Unknown { server, cause },
        Answer::Malformed => PortError::Malformed { server, cause },
    })
}

fn joined(answer: Answer, own: &MemberId) -> Result<JoinAnswer, (PortError, MemberId)> {
    if let Some(error) = error(&answer) {
        return Err((error, MemberId(text("m"))));
    }
    Ok(match answer {
        Answer::Good { generation, leads, members, .. } => {
            let others = members.into_iter().map(|wants| JoinMember {
                member: MemberId(text(wants.name)),
                instance: wants.instance.map(text),
                metadata: Subscription {
                    topics: wants.topics.into_iter().map(topic).collect(),
                    ..Subscription::default()
                }
                .encode(),
            });
            let member = if own.0.is_empty() { MemberId(text("m")) } else { own.clone() };
            let leader = if leads { member.clone() } else { MemberId(text("other")) };
            let subscription = Subscription { topics: [topic(0)].into(), ..Subscription::default() };
            let own = JoinMember { member: member.clone(), instance: None, metadata: subscription.encode() };
            JoinAnswer {
                generation: Generation(generation.into()),
                protocol: "range".into(),
                leader,
                member,
                members: std::iter::once(own).chain(others).collect(),
            }
        }
        Answer::Wild { generation, protocol, member, leader, bytes } => JoinAnswer {
            generation: Generation(generation),
            protocol: protocol.into(),
            leader: MemberId(leader.into()),
            member: MemberId(member.clone().into()),
            members: bytes
                .into_iter()
                .map(|bytes| JoinMember {
                    member: MemberId(member.as_str().into()),
                    instance: None,
                    metadata: bytes.into(),
                })
                .collect(),
        },
        _ => return Err((ErrorCode::UnknownServerError.into(), own.clone())),
    })
}

fn synced(answer: Answer) -> Result<Bytes, PortError> {
    match error(&answer) {
        Some(error) => Err(error),
        None => Ok(match answer {
            Answer::Good { share, .. } => {
                let at = |(name, partition): (u8, i16)| TopicPartition {
                    topic: topic(name),
                    partition: PartitionId(partition.into()),
                };
                Assignment { partitions: share.into_iter().map(at).collect(), user_data: None }.encode()
            }
            Answer::Wild { bytes, .. } => bytes.concat().into(),
            _ => Bytes::new(),
        }),
    }
}

fn done(answer: &Answer) -> Result<(), PortError> {
    error(answer).map_or(Ok(()), Err)
}

/// An answer to a request of this kind.
fn input(id: RequestId, kind: u8, answer: Answer, own: &MemberId) -> Input {
    match kind % 7 {
        0 => Input::CoordinatorFound { id, outcome: done(&answer).map(|()| BrokerId(1)) },
        1 => Input::Joined { id, outcome: joined(answer, own) },
        2 => {
            let outcome = done(&answer).map(|()| match &answer {
                Answer::Good { counts: drawn, .. } => counts(drawn),
                _ => BTreeMap::new(),
            });
            Input::TopicsDescribed { id, outcome }
        }
        3 => Input::Synced { id, outcome: synced(answer) },
        4 => Input::HeartbeatDone { id, outcome: done(&answer) },
        5 => Input::Left { id, outcome: done(&answer) },
        _ => Input::Released { id },
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Nothing,
    Partitions,
    Draining(RequestId),
}

struct Watched {
    group: Group,
    now: Time,
    own: MemberId,
    owner: Owner,
    /// Requests to servers that were not answered, with their kinds.
    out: Vec<(RequestId, u8)>,
    stopped: bool,
}

impl Watched {
    fn handle(&mut self, input: Input) {
        if let Input::Released { id } = &input
            && self.owner == Owner::Draining(*id)
        {
            self.owner = Owner::Nothing;
        }
        self.group.handle(self.now, input);
        self.drain();
    }

    fn tick(&mut self) {
        self.group.tick(self.now);
        self.drain();
        let deadline = self.group.deadline();
        assert!(deadline.is_none_or(|next| next > self.now), "{deadline:?} is still due after a tick");
    }

    fn drain(&mut self) {
        for nth in 0.. {
            let Some(action) = self.group.poll() else { return };
            assert!(nth < ACTIONS, "{action:?} is one action too many");
            assert!(!self.stopped, "{action:?} after the end");
            self.see(action);
        }
    }

    fn see(&mut self, action: Action) {
        let is_free = self.owner == Owner::Nothing;
        match action {
            Action::FindCoordinator { id } => self.out.push((id, 0)),
            Action::Join { id, request, .. } => {
                assert!(is_free, "it joins while partitions are owned");
                self.own = request.member;
                self.out.push((id, 1));
            }
            Action::DescribeTopics { id, .. } => self.out.push((id, 2)),
            Action::Sync { id, request, .. } => {
                assert!(is_free, "it syncs while partitions are owned");
                // Each partition goes to one member at most.
                let mut shares = Vec::new();
                for (_, share) in &request.assignments {
                    let share = Assignment::decode(share).expect("what it writes can be read");
                    shares.extend(share.partitions);
                }
                let many = shares.len();
                shares.sort_unstable();
                shares.dedup();
                assert_eq!(shares.len(), many, "a partition is shared out twice");
                self.out.push((id, 3));
            }
            Action::Heartbeat { id, .. } => {
                assert!(!is_free, "a heartbeat without a membership");
                self.out.push((id, 4));
            }
            Action::Leave { id, .. } => {
                assert!(is_free, "it leaves while partitions are owned");
                self.out.push((id, 5));
            }
            Action::Assigned { partitions, .. } => {
                assert!(is_free, "assigned before the last assignment ended");
                assert!(partitions.is_sorted(), "{partitions:?} are not sorted");
                self.owner = Owner::Partitions;
            }
            Action::Moved { .. } => assert!(!is_free, "moved without a membership"),
            Action::Revoke { id } => {
                assert_eq!(self.owner, Owner::Partitions, "revoked what is not owned");
                self.owner = Owner::Draining(id);
            }
            Action::Lost => {
                assert!(!is_free, "lost what is not owned");
                self.owner = Owner::Nothing;
            }
            Action::Failed { error } => assert_eq!(error.remedy(), Remedy::GiveUp),
            Action::Stopped => {
                assert!(is_free, "it ended while partitions are owned");
                self.stopped = true;
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Proceed { leads } => {
                if !self.out.is_empty() {
                    let (id, kind) = self.out.remove(0);
                    let answer = Answer::Good {
                        generation: 1,
                        leads,
                        members: Vec::new(),
                        counts: vec![(0, 3)],
                        share: vec![(0, 1)],
                    };
                    let own = self.own.clone();
                    self.handle(input(id, kind, answer, &own));
                }
            }
            Event::Answer { which, answer } => {
                if !self.out.is_empty() {
                    let (id, kind) = self.out.remove(usize::from(which) % self.out.len());
                    let own = self.own.clone();
                    self.handle(input(id, kind, answer, &own));
                }
            }
            Event::Stray { id, kind, answer } => {
                let own = self.own.clone();
                self.handle(input(RequestId(id.into()), kind, answer, &own));
            }
            Event::Counted(drawn) => self.handle(Input::PartitionsCounted(counts(&drawn))),
            Event::CommitRefused { generation, code } => {
                if let Some(code) = ErrorCode::from_code(code) {
                    let generation = Generation(generation.into());
                    self.handle(Input::CommitRefused { generation, code });
                }
            }
            Event::Release => {
                if let Owner::Draining(id) = self.owner {
                    self.handle(Input::Released { id });
                }
            }
            Event::Pass { millis } => {
                self.now = self.now + Duration::from_millis(millis.into());
                self.tick();
            }
            Event::Sleep => {
                if let Some(deadline) = self.group.deadline() {
                    self.now = self.now.max(deadline);
                    self.tick();
                }
            }
            Event::Start => self.handle(Input::Start),
            Event::Stop => self.handle(Input::Stop),
        }
    }

    /// Who is told to stop twice, lets go and waits, ends.
    fn finish(&mut self) {
        for event in [Event::Stop, Event::Release, Event::Stop] {
            self.happen(event);
        }
        for _ in 0..100 {
            if self.stopped || self.group.deadline().is_none() {
                break;
            }
            self.happen(Event::Release);
            self.happen(Event::Sleep);
        }
        assert!(self.stopped, "it has no end: {:?}", self.group.deadline());
    }
}

fuzz_target!(|story: Story| {
    let group = GroupName::new("fuzz").expect("a legal name");
    let mut config = GroupConfig::new(group, vec![topic(0), topic(1)]);
    config.instance = story.is_static.then(|| text("static"));
    let mut watched = Watched {
        group: Group::new(config, Entropy::new(story.entropy)),
        now: Time::ZERO,
        own: MemberId(text("")),
        owner: Owner::Nothing,
        out: Vec::new(),
        stopped: false,
    };
    watched.happen(Event::Start);
    for event in story.events {
        watched.happen(event);
    }
    watched.finish();
});
