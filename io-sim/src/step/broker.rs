//! The brokers' side: what arrives goes into the cluster, what comes out goes back, and what can be seen of it is told.

use std::sync::Arc;

use bytes::Bytes;
use evenkeel_cluster::message::{
    Answer, CommitOffsetsAnswer, CommitOffsetsRequest, FetchAnswer, FetchOffsetsAnswer, Origin, Request,
    SyncGroupRequest,
};
use evenkeel_cluster::{Action, Input};
use evenkeel_core::machine::Machine;
use evenkeel_core::model::{BrokerId, RequestId};

use super::process::Inlet;
use super::world::World;
use crate::faults::Chance;
use crate::history::{Happening, Life, Place, Share};
use crate::network::link::{Link, Way};
use crate::network::{ConnectionId, Delivery, Ticket};
use crate::trace::Kind;
use crate::world::{decode, truth};

const REQUEST: Kind = Kind::new("request");

/// Requests of the world itself have this number.
const OWN: u64 = 1 << 62;

/// What of a request is needed once it is answered.
#[derive(Debug, Clone)]
pub(super) enum Asked {
    Join(Arc<str>),
    Sync(SyncGroupRequest),
    Commit(CommitOffsetsRequest),
    Produce,
    Other,
}

impl Asked {
    fn of(request: &Request) -> Self {
        match request {
            Request::JoinGroup(join) => Self::Join(Arc::clone(&join.group)),
            Request::SyncGroup(sync) if !sync.assignments.is_empty() => Self::Sync(sync.clone()),
            Request::CommitOffsets(commit) => Self::Commit(commit.clone()),
            Request::Produce(_) => Self::Produce,
            _ => Self::Other,
        }
    }
}

impl World {
    pub(super) fn deliver(&mut self, delivery: Delivery) {
        let now = self.now;
        match delivery {
            Delivery::Dial { ticket, life, broker } => {
                let granted = self.alive.contains(&broker);
                self.network.answer_dial(now, ticket, life, broker, granted);
            }
            Delivery::Dialled { ticket, connection, .. } => match self.waits(ticket) {
                Some(life) => self.receive(life, Inlet::Dialled(ticket, connection)),
                None => {
                    if let Some(connection) = connection {
                        self.network.give_up(now, connection);
                    }
                }
            },
            Delivery::Request { connection, ticket, request } => {
                if let Some(request) = self.network.arrived(connection, ticket, request) {
                    self.serve(connection, ticket, request);
                }
            }
            Delivery::ClientGone { connection } => {
                if let Some(ticket) = self.network.client_gone(connection) {
                    self.asked.remove(&ticket);
                    self.cluster.handle(now, Input::Cancel { id: RequestId(ticket.0) });
                    self.drain_cluster();
                }
            }
            Delivery::Answer { connection, ticket, answer } => {
                if self.network.answered(connection, ticket)
                    && let Some(life) = self.waits(ticket)
                {
                    self.receive(life, Inlet::Answer(ticket, Box::new(answer)));
                }
            }
            Delivery::ServerGone { connection } => {
                for ticket in self.network.server_gone(connection) {
                    if let Some(life) = self.waits(ticket) {
                        self.receive(life, Inlet::Broken(ticket));
                    }
                }
            }
        }
    }

    fn serve(&mut self, connection: ConnectionId, ticket: Ticket, request: Request) {
        let Some((life, broker)) = self.network.connection(connection).map(|c| (c.life, c.broker)) else {
            return;
        };
        self.note(REQUEST, ticket.0, u64::from(life.process) << 8 | broker.0 as u64, || {
            format!("{life} to broker {broker}: {}", name(&request))
        });
        self.asked.insert(ticket, (connection, Asked::of(&request)));
        let origin = Origin { broker, client: Arc::default(), host: Arc::default() };
        self.cluster.handle(self.now, Input::Request { id: RequestId(ticket.0), origin, request });
        self.drain_cluster();
    }

    /// Lets something happen to the cluster.
    pub(super) fn strike_cluster(&mut self, input: Input) {
        match &input {
            Input::BrokerDied { broker } => {
                self.alive.remove(broker);
                for connection in self.network.held_at(*broker) {
                    self.network.hang_up(self.now, connection);
                }
            }
            Input::BrokerStarted { address } => {
                self.alive.insert(address.broker);
            }
            _ => {}
        }
        self.cluster.handle(self.now, input);
        self.drain_cluster();
    }

    /// Asks the cluster something that it answers at once.
    pub(super) fn query(&mut self, broker: BrokerId, request: Request) -> Option<Answer> {
        let origin = Origin { broker, client: Arc::default(), host: Arc::default() };
        self.cluster.handle(self.now, Input::Request { id: RequestId(OWN), origin, request });
        let mut answered = None;
        // All at once: what goes back may let a further request in.
        let actions: Vec<_> = std::iter::from_fn(|| self.cluster.poll()).collect();
        for action in actions {
            match action {
                Action::Answer { id: RequestId(OWN), answer } => answered = Some(answer),
                Action::HangUp { id: RequestId(OWN) } => {}
                Action::Answer { id, answer } => self.send_back(Ticket(id.0), answer),
                Action::HangUp { id } => self.cut_off(Ticket(id.0)),
            }
        }
        self.cluster_due = self.cluster.deadline();
        answered
    }

    pub(super) fn drain_cluster(&mut self) {
        while let Some(action) = self.cluster.poll() {
            match action {
                Action::Answer { id, answer } => self.send_back(Ticket(id.0), answer),
                Action::HangUp { id } => self.cut_off(Ticket(id.0)),
            }
        }
        self.cluster_due = self.cluster.deadline();
    }

    fn cut_off(&mut self, ticket: Ticket) {
        if let Some((connection, _)) = self.asked.remove(&ticket) {
            self.network.hang_up(self.now, connection);
        }
    }

    fn send_back(&mut self, ticket: Ticket, answer: Answer) {
        let Some((connection, asked)) = self.asked.remove(&ticket) else { return };
        let Some((life, broker, holds)) =
            self.network.connection(connection).map(|c| (c.life, c.broker, c.client_holds))
        else {
            return;
        };
        self.watch(life, &asked, &answer, !holds);
        let link = Link { process: life.process, broker }.number();
        let lost = match asked {
            Asked::Commit(_) => self.dice.strikes(self.now, Chance::CommitApplied, link),
            Asked::Produce => self.dice.strikes(self.now, Chance::AppendApplied, link),
            _ => None,
        };
        let later = self.late(link << 1 | 1);
        if let Some(mut draw) = lost {
            // The client learns of a reset, or of nothing.
            if draw.once_in(2) {
                self.network.hang_up(self.now, connection);
                return;
            }
            self.network.silence(connection, Way::Back);
        } else if self.dice.strikes(self.now, Chance::ReplyLost, link).is_some() {
            self.network.silence(connection, Way::Back);
        }
        self.network.answer(self.now, connection, ticket, answer, later);
        if let Some((ticket, request)) = self.network.done(connection) {
            self.serve(connection, ticket, request);
        }
    }

    /// What an answer reveals.
    fn watch(&mut self, life: Life, asked: &Asked, answer: &Answer, abandoned: bool) {
        match (asked, answer) {
            (Asked::Join(group), Answer::JoinGroup(answer)) if !answer.member.is_empty() => {
                if let Some(group) = truth::group(&self.facts, group) {
                    self.truth.is_member(group, Arc::clone(&answer.member), life);
                }
            }
            (Asked::Sync(request), Answer::SyncGroup(answer)) if answer.outcome.is_ok() => {
                self.watch_assignment(request);
            }
            (Asked::Commit(request), Answer::CommitOffsets(answer)) => {
                self.watch_commit(life, request, answer, abandoned);
            }
            (_, Answer::Fetch(answer)) => self.watch_fetch(answer),
            (_, Answer::FetchOffsets(answer)) => self.watch_positions(life, answer),
            _ => {}
        }
    }

    fn watch_assignment(&mut self, request: &SyncGroupRequest) {
        let facts = Arc::clone(&self.facts);
        let Some(group) = truth::group(&facts, &request.group) else { return };
        if !self.truth.is_new(group, request.generation) {
            return;
        }
        let mut shares = Vec::new();
        for (member, bytes) in &request.assignments {
            let Some(life) = self.truth.member(group, member) else { continue };
            let topics = decode::assignment(bytes).unwrap_or_default();
            let places = topics.iter().flat_map(|(topic, partitions)| {
                partitions.iter().filter_map(|partition| truth::place(&facts, topic, *partition))
            });
            shares.push(Share { life, places: places.collect() });
        }
        let generation = request.generation;
        self.truth.assigned(group, &shares);
        self.tell(Happening::Assigned { group, generation, shares: shares.into() });
    }

    fn watch_commit(
        &mut self,
        life: Life,
        request: &CommitOffsetsRequest,
        answer: &CommitOffsetsAnswer,
        abandoned: bool,
    ) {
        let Some(group) = truth::group(&self.facts, &request.group) else { return };
        for (asked, answered) in request.topics.iter().zip(&answer.topics) {
            for (commit, (partition, outcome)) in asked.partitions.iter().zip(&answered.partitions) {
                let Some(place) = truth::place(&self.facts, &asked.topic, *partition) else { continue };
                let metadata = commit.metadata.as_deref().unwrap_or_default();
                self.tell(Happening::Committed {
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

    pub(super) fn watch_fetch(&mut self, answer: &FetchAnswer) {
        for topic in answer.outcome.iter().flatten() {
            for partition in &topic.partitions {
                if let Ok(fetched) = &partition.outcome
                    && !fetched.batches.is_empty()
                    && let Some(place) = truth::place(&self.facts, &topic.topic, partition.partition)
                {
                    self.logged(place, &fetched.batches);
                }
            }
        }
    }

    fn logged(&mut self, place: Place, batches: &[Bytes]) {
        for (offset, event) in self.truth.news(place, batches) {
            self.tell(Happening::Logged { place, offset, event });
        }
    }

    fn watch_positions(&mut self, life: Life, answer: &FetchOffsetsAnswer) {
        for of_group in &answer.groups {
            let Some(group) = truth::group(&self.facts, &of_group.group) else { continue };
            for topic in of_group.outcome.iter().flatten() {
                for (partition, stored) in &topic.partitions {
                    let Some(place) = truth::place(&self.facts, &topic.topic, *partition) else { continue };
                    let settled = stored
                        .as_ref()
                        .map(|stored| decode::settled(&stored.metadata, stored.offset))
                        .unwrap_or_default();
                    let offset = stored.as_ref().map(|stored| stored.offset);
                    self.tell(Happening::PositionServed { group, place, life, offset, settled });
                }
            }
        }
    }
}

const fn name(request: &Request) -> &'static str {
    match request {
        Request::Produce(_) => "produce",
        Request::Fetch(_) => "fetch",
        Request::ListOffsets(_) => "list offsets",
        Request::Metadata(_) => "metadata",
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
