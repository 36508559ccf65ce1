//! A bench for one group: requests by member, answers as short text.

mod rules;
mod soak;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_core::machine::Entropy;
use evenkeel_core::model::{BrokerId, Generation, RequestId, Time};

use super::{Group, Join, Limits, Replies};
use crate::message::{
    Answer, HeartbeatRequest, JoinGroupRequest, LeavingMember, Origin, SyncGroupRequest, Text,
};

const LIMITS: Limits = Limits {
    min_session: Duration::from_secs(6),
    max_session: Duration::from_secs(1_800),
    max_size: 1_000,
    initial_delay: Duration::ZERO,
};

/// A group, its time, and the answers that have come.
struct Bench {
    group: Group,
    now: Time,
    limits: Limits,
    ids: Entropy,
    next: u64,
    answers: BTreeMap<RequestId, Answer>,
}

impl Bench {
    fn new() -> Self {
        Self {
            group: Group::default(),
            now: Time::ZERO,
            limits: LIMITS,
            ids: Entropy::new(1),
            next: 0,
            answers: BTreeMap::new(),
        }
    }

    fn id(&mut self) -> RequestId {
        self.next += 1;
        RequestId(self.next)
    }

    fn keep(&mut self, out: Replies) {
        for (id, answer) in out {
            assert!(self.answers.insert(id, answer).is_none(), "{id} is answered twice");
        }
        self.group.check();
    }

    /// A join of a member with a session of 10 s and a rebalance timeout of 20 s.
    fn join(&mut self, member: &str, change: impl FnOnce(&mut JoinGroupRequest)) -> RequestId {
        let mut request = JoinGroupRequest {
            group: "g".into(),
            session_timeout: Duration::from_secs(10),
            rebalance_timeout: Duration::from_secs(20),
            member: member.into(),
            instance: None,
            protocol_type: "consumer".into(),
            protocols: vec![("range".into(), Bytes::from_static(b"wants"))],
            takes_id_first: false,
            may_skip_assignment: true,
        };
        change(&mut request);
        let origin = Origin { broker: BrokerId(1), client: "c".into(), host: "/h".into() };
        let (id, mut out) = (self.id(), Vec::new());
        self.group.join(
            self.now,
            Join { id, origin: &origin, request },
            self.limits,
            &mut self.ids,
            &mut out,
        );
        self.keep(out);
        id
    }

    fn sync(&mut self, member: &str, generation: i32, assignments: &[(&str, &'static str)]) -> RequestId {
        let request = SyncGroupRequest {
            group: "g".into(),
            generation: Generation(generation),
            member: member.into(),
            instance: None,
            protocol_type: None,
            protocol: None,
            assignments: assignments
                .iter()
                .map(|(member, share)| ((*member).into(), Bytes::from_static(share.as_bytes())))
                .collect(),
        };
        let (id, mut out) = (self.id(), Vec::new());
        self.group.sync(self.now, id, request, &mut out);
        self.keep(out);
        id
    }

    fn heartbeat(&mut self, member: &str, generation: i32) -> String {
        let request = HeartbeatRequest {
            group: "g".into(),
            generation: Generation(generation),
            member: member.into(),
            instance: None,
        };
        let outcome = self.group.heartbeat(self.now, &request);
        self.group.check();
        outcome.map_or_else(|code| format!("{code:?}"), |()| "ok".to_owned())
    }

    fn leave(&mut self, member: &str, instance: Option<&str>) -> String {
        let mut out = Vec::new();
        let leaving = vec![LeavingMember { member: member.into(), instance: instance.map(Text::from) }];
        let outcomes = self.group.leave(self.now, leaving, self.limits, &mut out);
        self.keep(out);
        outcomes[0].1.map_or_else(|code| format!("{code:?}"), |()| "ok".to_owned())
    }

    /// Lets time pass, stopping at every deadline.
    fn pass(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while let Some(at) = self.group.deadline().filter(|at| *at <= end) {
            assert!(at >= self.now, "a deadline does not lie in the past");
            self.now = at;
            let mut out = Vec::new();
            self.group.tick(self.now, self.limits, &mut out);
            self.keep(out);
            assert!(self.group.deadline().is_none_or(|next| next > self.now), "a deadline is dealt with");
        }
        self.now = end;
    }

    /// The answer to a request in a few characters; `parked` if there is none.
    fn answer(&self, id: RequestId) -> String {
        match self.answers.get(&id) {
            None => "parked".to_owned(),
            Some(Answer::JoinGroup(answer)) => match &answer.outcome {
                Ok(joined) => {
                    let role = if joined.leader == answer.member { "leads" } else { "follows" };
                    format!("{role} {} of {}", joined.generation, joined.members.len())
                }
                Err(code) => format!("{code:?}"),
            },
            Some(Answer::SyncGroup(answer)) => match &answer.outcome {
                Ok(synced) => String::from_utf8_lossy(&synced.assignment).into_owned(),
                Err(code) => format!("{code:?}"),
            },
            Some(other) => panic!("{other:?}"),
        }
    }

    /// The member id that a join was answered with.
    fn member(&self, id: RequestId) -> String {
        match &self.answers[&id] {
            Answer::JoinGroup(answer) => answer.member.to_string(),
            other => panic!("{other:?}"),
        }
    }

    /// A stable group of two: the leader and a follower, in generation 2.
    fn of_two() -> (Self, String, String) {
        let mut bench = Self::new();
        let first = bench.join("", |_| {});
        let leader = bench.member(first);
        let second = bench.join("", |_| {});
        let again = bench.join(&leader, |_| {});
        let follower = bench.member(second);
        assert_eq!(
            (bench.answer(again), bench.answer(second)),
            ("leads 2 of 2".into(), "follows 2 of 0".into())
        );
        let waits = bench.sync(&follower, 2, &[]);
        bench.sync(&leader, 2, &[(&leader, "p0"), (&follower, "p1")]);
        assert_eq!(bench.answer(waits), "p1");
        (bench, leader, follower)
    }
}
