//! The brokers' side: what arrives goes into the cluster, what comes out goes back, and what can be seen of it is told.

use std::sync::Arc;

use evenkeel_cluster::message::{Answer, Origin, Request};
use evenkeel_cluster::{Action, Input};
use evenkeel_core::machine::Machine;
use evenkeel_core::model::{BrokerId, RequestId};

use super::process::Inlet;
use super::world::World;
use crate::checkers::ledger::Ledger;
use crate::faults::Chance;
use crate::history::{Facts, Happening};
use crate::network::link::{Link, Way};
use crate::network::{ConnectionId, Delivery, Letter, Ticket};
use crate::oversight::truth::Truth;
use crate::oversight::watch::{self, Asked};
use crate::oversight::{Oversight, TopicConfig, stale};
use crate::trace::Kind;

const REQUEST: Kind = Kind::new("request");

/// Requests of the world itself have this number.
const OWN: u64 = 1 << 62;

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
            Delivery::Request { connection, letter } => {
                if let Some(letter) = self.network.arrived(connection, letter) {
                    self.serve(connection, letter);
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
                    watch::learnt(self, self.now, life, &answer);
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

    fn serve(&mut self, connection: ConnectionId, letter: Letter) {
        let Letter { ticket, sent, request } = letter;
        let Some((life, broker)) = self.network.connection(connection).map(|c| (c.life, c.broker)) else {
            return;
        };
        self.note(REQUEST, ticket.0, u64::from(life.process) << 8 | broker.0 as u64, || {
            format!("{life} to broker {broker}: {}", watch::name(&request))
        });
        self.asked.insert(ticket, (connection, sent, Asked::of(&request)));
        let origin = Origin { broker, client: Arc::default(), host: Arc::default() };
        self.cluster.handle(self.now, Input::Request { id: RequestId(ticket.0), origin, request });
        self.drain_cluster();
    }

    /// Lets something happen to the cluster.
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
        if let Some((connection, ..)) = self.asked.remove(&ticket) {
            self.network.hang_up(self.now, connection);
        }
    }

    fn send_back(&mut self, ticket: Ticket, answer: Answer) {
        let Some((connection, sent, asked)) = self.asked.remove(&ticket) else { return };
        let Some((life, broker)) = self.network.connection(connection).map(|c| (c.life, c.broker)) else {
            return;
        };
        let answer = stale::as_known(self, self.now, broker, answer);
        watch::answer(self, life, &asked, sent, &answer);
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
        if let Some(letter) = self.network.done(connection) {
            self.serve(connection, letter);
        }
    }
}

impl Oversight for World {
    fn facts(&self) -> Arc<Facts> {
        Arc::clone(&self.facts)
    }

    fn ledger(&self) -> &Ledger {
        self.judge.ledger()
    }

    fn truth(&mut self) -> &mut Truth {
        &mut self.truth
    }

    fn alive(&self) -> Vec<BrokerId> {
        self.alive.iter().copied().collect()
    }

    fn topic_configs(&self) -> Vec<TopicConfig> {
        let numbers = &self.setup.numbers;
        [
            ("min.insync.replicas", numbers.min_in_sync),
            ("max.message.bytes", numbers.max_message),
            ("internal.segment.bytes", numbers.segment),
        ]
        .map(|(name, number)| (name.into(), Some(number.to_string().into())))
        .to_vec()
    }

    fn query(&mut self, broker: BrokerId, request: Request) -> Option<Answer> {
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

    fn strike_cluster(&mut self, input: Input) {
        match &input {
            Input::BrokerDied { broker } => {
                self.alive.remove(broker);
                self.truth.outdated.remove(broker);
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

    fn tell(&mut self, happening: Happening) {
        World::tell(self, happening);
    }
}
