//! The far side of the network: what arrives at brokers goes into the cluster, what comes out goes back, and what can be
//! seen of it goes into the history.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_cluster::message::{Answer, Origin, Request};
use evenkeel_cluster::{Action, Input};
use evenkeel_core::machine::Machine;
use evenkeel_core::model::{BrokerId, RequestId, Time};

use super::state::{Reply, State};
use crate::checkers::ledger::Ledger;
use crate::faults::Chance;
use crate::history::{Facts, Happening};
use crate::network::link::{Link, Way};
use crate::network::{ConnectionId, Delivery, Letter, Ticket};
use crate::oversight::truth::Truth;
use crate::oversight::watch::{self, Asked};
use crate::oversight::{Oversight, TopicConfig, stale};
use crate::trace::{Kind, digest};

const DELIVERY: Kind = Kind::new("deliver");

/// Requests that the world itself makes have numbers from here on.
const OWN: u64 = 1 << 62;

impl State {
    /// Lets everything happen that is due.
    pub(crate) fn work(&mut self) {
        loop {
            let now = self.now();
            if let Some(((limit, ticket), ())) = self.limits.first_key_value()
                && *limit <= now
            {
                let ticket = *ticket;
                self.time_out(now, ticket);
            } else if let Some(delivery) = self.network.arrive(now) {
                self.deliver(now, delivery);
            } else if self.cluster.deadline().is_some_and(|due| due <= now) {
                self.cluster.tick(now);
                self.drain(now);
            } else if !self.work_on_sessions(now) {
                return;
            }
        }
    }

    /// When there is something to do next.
    pub(crate) fn next_work(&self) -> Option<Time> {
        let limit = self.limits.first_key_value().map(|((at, _), ())| *at);
        [limit, self.network.next(), self.cluster.deadline(), self.sessions.next()]
            .into_iter()
            .flatten()
            .min()
    }

    /// A client's patience is over: with an answer that does not come the whole connection goes.
    fn time_out(&mut self, now: Time, ticket: Ticket) {
        let connection = self.waiting.get(&ticket).and_then(|waiting| waiting.connection);
        self.answer(ticket, Reply::TimedOut);
        self.limits.retain(|(_, other), ()| *other != ticket);
        if let Some(connection) = connection {
            for ticket in self.network.give_up(now, connection) {
                self.answer(ticket, Reply::Reset);
            }
        }
    }

    fn deliver(&mut self, now: Time, delivery: Delivery) {
        match delivery {
            Delivery::Dial { ticket, life, broker } => {
                let granted = self.is_alive(broker);
                self.network.answer_dial(now, ticket, life, broker, granted);
            }
            Delivery::Dialled { ticket, connection, life, .. } => {
                match connection {
                    // Nobody is there any more to hold it.
                    Some(connection) if !self.lives(life) || !self.waiting.contains_key(&ticket) => {
                        self.network.give_up(now, connection);
                    }
                    Some(connection) => self.answer(ticket, Reply::Connected(connection)),
                    None => self.answer(ticket, Reply::Refused),
                }
            }
            Delivery::Request { connection, letter } => {
                if let Some(letter) = self.network.arrived(connection, letter) {
                    self.serve(now, connection, letter);
                }
            }
            Delivery::ClientGone { connection } => {
                if let Some(ticket) = self.network.client_gone(connection) {
                    self.asked.remove(&ticket);
                    self.cluster.handle(now, Input::Cancel { id: RequestId(ticket.0) });
                    self.drain(now);
                }
            }
            Delivery::Answer { connection, ticket, answer } => {
                if self.network.answered(connection, ticket) {
                    if let Some(life) = self.network.connection(connection).map(|c| c.life) {
                        watch::learnt(self, now, life, &answer);
                    }
                    self.answer(ticket, Reply::Answer(answer));
                }
            }
            Delivery::ServerGone { connection } => {
                for ticket in self.network.server_gone(connection) {
                    self.answer(ticket, Reply::Reset);
                }
            }
        }
    }

    fn is_alive(&self, broker: BrokerId) -> bool {
        self.alive.contains(&broker)
    }

    /// A broker takes a request up.
    fn serve(&mut self, now: Time, connection: ConnectionId, letter: Letter) {
        let Letter { ticket, sent, request } = letter;
        let Some((life, broker)) = self.network.connection(connection).map(|c| (c.life, c.broker)) else {
            return;
        };
        self.note(DELIVERY, ticket.0, digest([life.process.into(), broker.0 as u64]), || {
            format!("{life} to broker {broker}: {}", watch::name(&request))
        });
        self.inputs += 1;
        self.asked.insert(ticket, (connection, sent, Asked::of(&request)));
        let origin = Origin { broker, client: "world".into(), host: "world".into() };
        self.cluster.handle(now, Input::Request { id: RequestId(ticket.0), origin, request });
        self.drain(now);
    }

    fn drain(&mut self, now: Time) {
        while let Some(action) = self.cluster.poll() {
            match action {
                Action::Answer { id, answer } => self.send_back(now, Ticket(id.0), answer),
                Action::HangUp { id } => self.cut_off(now, Ticket(id.0)),
            }
        }
    }

    fn cut_off(&mut self, now: Time, ticket: Ticket) {
        if let Some((connection, ..)) = self.asked.remove(&ticket) {
            self.network.hang_up(now, connection);
        }
    }

    fn send_back(&mut self, now: Time, ticket: Ticket, answer: Answer) {
        let Some((connection, sent, asked)) = self.asked.remove(&ticket) else { return };
        let Some((life, broker)) = self.network.connection(connection).map(|c| (c.life, c.broker)) else {
            return;
        };
        let answer = stale::as_known(self, now, broker, answer);
        watch::answer(self, life, &asked, sent, &answer);
        let link = Link { process: life.process, broker }.number();
        let lost = match asked {
            Asked::Commit(_) => self.dice.strikes(now, Chance::CommitApplied, link),
            Asked::Produce => self.dice.strikes(now, Chance::AppendApplied, link),
            _ => None,
        };
        let later = self.late(now, link << 1 | 1);
        if let Some(mut draw) = lost {
            // The client learns of a reset, or of nothing.
            if draw.once_in(2) {
                self.network.hang_up(now, connection);
                return;
            }
            self.network.silence(connection, Way::Back);
        } else if self.dice.strikes(now, Chance::ReplyLost, link).is_some() {
            self.network.silence(connection, Way::Back);
        }
        self.network.answer(now, connection, ticket, answer, later);
        if let Some(letter) = self.network.done(connection) {
            self.serve(now, connection, letter);
        }
    }

    /// How much later than usual a message comes.
    pub(crate) fn late(&mut self, now: Time, entity: u64) -> Duration {
        match self.dice.strikes(now, Chance::Slow, entity) {
            Some(mut draw) => Duration::from_micros(draw.log_uniform(1_000, 10_000_000)),
            None => Duration::ZERO,
        }
    }
}

impl Oversight for State {
    fn facts(&self) -> Arc<Facts> {
        Arc::clone(&self.history.facts)
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
        self.topic_configs.clone()
    }

    fn query(&mut self, broker: BrokerId, request: Request) -> Option<Answer> {
        let now = self.now();
        let origin = Origin { broker, client: "world".into(), host: "world".into() };
        self.cluster.handle(now, Input::Request { id: RequestId(OWN), origin, request });
        let mut answered = None;
        // All at once: what goes back may let a further request in.
        let actions: Vec<_> = std::iter::from_fn(|| self.cluster.poll()).collect();
        for action in actions {
            match action {
                Action::Answer { id: RequestId(OWN), answer } => answered = Some(answer),
                Action::HangUp { id: RequestId(OWN) } => {}
                Action::Answer { id, answer } => self.send_back(now, Ticket(id.0), answer),
                Action::HangUp { id } => self.cut_off(now, Ticket(id.0)),
            }
        }
        self.wake_pump();
        answered
    }

    fn strike_cluster(&mut self, input: Input) {
        let now = self.now();
        match &input {
            Input::BrokerDied { broker } => {
                self.alive.remove(broker);
                self.truth.outdated.remove(broker);
                for connection in self.network.held_at(*broker) {
                    self.network.hang_up(now, connection);
                }
            }
            Input::BrokerStarted { address } => {
                self.alive.insert(address.broker);
            }
            _ => {}
        }
        self.cluster.handle(now, input);
        self.drain(now);
        self.wake_pump();
    }

    fn tell(&mut self, happening: Happening) {
        State::tell(self, happening);
    }
}
