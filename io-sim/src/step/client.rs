//! The client's side of connections: which one a request goes over, and what is concluded when no answer comes.
//!
//! A connection that does not come about means that nothing was sent: unreachable. From the moment a request is handed
//! to a connection anything but an answer leaves its outcome open, and a request that is not answered in time takes its
//! connection with it. Requests that a broker parks have connections of their own.

use std::time::Duration;

use evenkeel_cluster::message::{Answer, Request};
use evenkeel_core::model::{BrokerId, Time};
use evenkeel_core::ports::PortError;

use super::ask::Question;
use super::process::Inlet;
use super::world::World;
use crate::faults::Chance;
use crate::history::Life;
use crate::network::link::{Link, Way};
use crate::network::{ConnectionId, Ticket};
use crate::trace::Kind;

const TIMED_OUT: Kind = Kind::new("timeout");

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a request may go without an answer.
pub(super) const REQUEST: Duration = Duration::from_secs(30);
/// How long a heartbeat may.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(5);
/// What a join may take beyond the rebalance timeout.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// Stands for no broker in particular.
pub(super) const ANY: BrokerId = BrokerId(-1);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    Any,
    Data,
    Produce(u64),
    Fetch,
    Membership,
}

/// A request and its question, until there is a connection for it.
#[derive(Debug, Clone)]
pub(super) struct Letter {
    limit: Duration,
    request: Request,
    question: Question,
}

/// A connection's place in a process.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    lane: Lane,
    broker: BrokerId,
    state: SeatState,
}

#[derive(Debug, Clone)]
enum SeatState {
    Empty,
    Open(ConnectionId, BrokerId),
    Dialling { tried: usize, letters: Vec<Letter> },
}

/// What somebody waits for.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) life: Life,
    since: Time,
    limit: Time,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Connection { lane: Lane, seat: BrokerId },
    Answer { connection: ConnectionId, broker: BrokerId, question: Box<Question> },
}

fn unreachable_(broker: BrokerId) -> PortError {
    PortError::Unreachable { server: server(broker), cause: "no connection".into() }
}

fn unknown(broker: BrokerId) -> PortError {
    PortError::Unknown { server: server(broker), cause: "no answer".into() }
}

fn server(broker: BrokerId) -> std::sync::Arc<str> {
    const NAMES: [&str; 6] = ["any", "broker 1", "broker 2", "broker 3", "broker 4", "broker 5"];
    NAMES.get(broker.0.max(0) as usize).copied().unwrap_or("a broker").into()
}

impl World {
    /// Asks a broker, or any.
    pub(super) fn ask(
        &mut self,
        process: usize,
        lane: Lane,
        broker: BrokerId,
        limit: Duration,
        request: Request,
        question: Question,
    ) {
        if let Some(present) = &self.processes[process].present {
            self.waits_for_one_more(present.life);
        }
        let letter = Letter { limit, request, question };
        let seat = self.seat(process, lane, broker);
        let Some(present) = self.processes[process].present.as_mut() else { return };
        match &mut present.seats[seat].state {
            SeatState::Dialling { letters, .. } => letters.push(letter),
            SeatState::Open(connection, at) => {
                let (connection, at) = (*connection, *at);
                if self.network.connection(connection).is_some_and(|connection| connection.client_holds) {
                    self.send(process, connection, at, letter);
                } else {
                    self.dial(process, seat, 0, vec![letter]);
                }
            }
            SeatState::Empty => self.dial(process, seat, 0, vec![letter]),
        }
    }

    fn seat(&mut self, process: usize, lane: Lane, broker: BrokerId) -> usize {
        let Some(present) = self.processes[process].present.as_mut() else { return 0 };
        let found = present.seats.iter().position(|seat| (seat.lane, seat.broker) == (lane, broker));
        found.unwrap_or_else(|| {
            present.seats.push(Seat { lane, broker, state: SeatState::Empty });
            present.seats.len() - 1
        })
    }

    fn dial(&mut self, process: usize, seat: usize, tried: usize, letters: Vec<Letter>) {
        let Some(present) = self.processes[process].present.as_mut() else { return };
        let life = present.life;
        let entry = &mut present.seats[seat];
        let to = if entry.broker == ANY { BrokerId(tried as i32 + 1) } else { entry.broker };
        let ticket = self.network.dial(self.now, life, to);
        let what = What::Connection { lane: entry.lane, seat: entry.broker };
        entry.state = SeatState::Dialling { tried, letters };
        self.expect(ticket, life, CONNECT, what);
    }

    fn expect(&mut self, ticket: Ticket, life: Life, limit: Duration, what: What) {
        let (since, limit) = (self.now, self.now + limit);
        self.pending.insert(ticket, Pending { life, since, limit, what });
        self.limits.insert((limit, ticket));
    }

    fn forget(&mut self, ticket: Ticket) -> Option<Pending> {
        let pending = self.pending.remove(&ticket)?;
        self.limits.remove(&(pending.limit, ticket));
        Some(pending)
    }

    fn send(&mut self, process: usize, connection: ConnectionId, broker: BrokerId, letter: Letter) {
        let Some(life) = self.processes[process].present.as_ref().map(|present| present.life) else { return };
        let link = Link { process: life.process, broker }.number();
        if self.dice.strikes(self.now, Chance::RequestLost, link).is_some() {
            self.network.silence(connection, Way::Out);
        }
        let reset = self.dice.strikes(self.now, Chance::Reset, link);
        let later = self.late(link << 1);
        let ticket = self.network.ticket(life.process);
        let goes_out = reset.as_ref().is_none_or(|draw| draw.clone().once_in(2));
        if goes_out {
            self.network.send(self.now, connection, ticket, letter.request, later);
        }
        let question = Box::new(letter.question);
        self.expect(ticket, life, letter.limit, What::Answer { connection, broker, question });
        if reset.is_some() {
            self.receive(life, Inlet::Broken(ticket));
            for ticket in self.network.give_up(self.now, connection) {
                self.receive(life, Inlet::Broken(ticket));
            }
        }
    }

    /// How much later than usual a message comes.
    pub(super) fn late(&mut self, entity: u64) -> Duration {
        match self.dice.strikes(self.now, Chance::Slow, entity) {
            Some(mut draw) => Duration::from_micros(draw.log_uniform(1_000, 10_000_000)),
            None => Duration::ZERO,
        }
    }

    /// A client's patience is over.
    pub(super) fn time_out(&mut self) {
        let Some((_, ticket)) = self.limits.pop_first() else { return };
        let Some(life) = self.pending.get(&ticket).map(|pending| pending.life) else { return };
        self.note(TIMED_OUT, ticket.0, u64::from(life.process), || format!("{life} waits no longer"));
        self.receive(life, Inlet::TimedOut(ticket));
    }

    pub(super) fn timed_out(&mut self, ticket: Ticket) {
        let Some(pending) = self.pending.get(&ticket) else { return };
        let life = pending.life;
        match &pending.what {
            What::Connection { .. } => self.dialled(ticket, None),
            What::Answer { connection, .. } => {
                let connection = *connection;
                self.broken(ticket);
                for ticket in self.network.give_up(self.now, connection) {
                    self.receive(life, Inlet::Broken(ticket));
                }
            }
        }
    }

    /// A connection came about, or it did not.
    pub(super) fn dialled(&mut self, ticket: Ticket, connection: Option<ConnectionId>) {
        let Some(Pending { life, what: What::Connection { lane, seat }, .. }) = self.forget(ticket) else {
            // Nobody waits any more.
            if let Some(connection) = connection {
                self.network.give_up(self.now, connection);
            }
            return;
        };
        let process = usize::from(life.process);
        let brokers = self.setup.numbers.brokers as usize;
        let place = self.seat(process, lane, seat);
        let Some(present) = self.processes[process].present.as_mut() else { return };
        let state = std::mem::replace(&mut present.seats[place].state, SeatState::Empty);
        let SeatState::Dialling { tried, letters, .. } = state else {
            present.seats[place].state = state;
            return;
        };
        match connection {
            Some(connection) => {
                let broker = self.network.connection(connection).map_or(seat, |held| held.broker);
                present.seats[place].state = SeatState::Open(connection, broker);
                for letter in letters {
                    self.send(process, connection, broker, letter);
                }
            }
            None if seat == ANY && tried + 1 < brokers => self.dial(process, place, tried + 1, letters),
            None => {
                for letter in letters {
                    self.answered(process, seat, letter.question, Err(unreachable_(seat)));
                }
            }
        }
    }

    /// A connection broke while something was waited for.
    pub(super) fn broken(&mut self, ticket: Ticket) {
        if let Some(Pending { life, what: What::Answer { broker, question, .. }, .. }) = self.forget(ticket) {
            self.answered(usize::from(life.process), broker, *question, Err(unknown(broker)));
        }
    }

    /// An answer came.
    pub(super) fn answer_came(&mut self, ticket: Ticket, answer: Answer) {
        if let Some(Pending { life, what: What::Answer { broker, question, .. }, .. }) = self.forget(ticket) {
            self.answered(usize::from(life.process), broker, *question, Ok(answer));
        }
    }

    fn answered(
        &mut self,
        process: usize,
        broker: BrokerId,
        question: Question,
        answer: Result<Answer, PortError>,
    ) {
        let (name, about) = (question.name(), question.about());
        let input = question.answer(answer);
        self.weigh(process, name, broker, about, &input);
        self.feed(process, name, input);
    }

    /// Who waits with a ticket, if anybody does.
    pub(super) fn waits(&self, ticket: Ticket) -> Option<Life> {
        self.pending.get(&ticket).map(|pending| pending.life)
    }

    /// How many requests wait on connections of before this time, which may have fallen silent.
    /// What a process waits for an answer to.
    pub(super) fn questions(&self, life: Life) -> impl Iterator<Item = &'static str> {
        self.pending.values().filter(move |pending| pending.life == life).map(|pending| match &pending.what {
            What::Connection { .. } => "connection",
            What::Answer { question, .. } => question.name(),
        })
    }

    pub(super) fn waiting_since_before(&self, time: Time) -> usize {
        self.pending.values().filter(|pending| pending.since < time).count()
    }

    /// A process is gone, and with it whatever it waited for.
    pub(super) fn forget_all(&mut self, life: Life) {
        let gone: Vec<_> =
            self.pending.iter().filter(|(_, pending)| pending.life == life).map(|(t, _)| *t).collect();
        for ticket in gone {
            self.forget(ticket);
        }
        for connection in self.network.held_by(life) {
            self.network.give_up(self.now, connection);
        }
    }
}
