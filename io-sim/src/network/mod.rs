//! The network between processes and brokers: connections over links, as one machine without a clock.
//!
//! A connection keeps order both ways, as TCP does: what is slow holds up what follows. What a blocked link stops comes
//! when the link is whole again, for TCP sends again; by then the client may have given the connection up, and a server
//! acts on requests that nobody waits for. A connection that fell silent stays so until its client gives it up: that is
//! what a lost packet looks like from above.

pub mod counter;
pub mod link;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::fmt;
use std::time::Duration;

use evenkeel_cluster::message::{Answer, Request};
use evenkeel_core::model::{BrokerId, Time};
use slab::Slab;

use crate::history::Life;
use crate::seed::Stream;
use counter::Counter;
use link::{Link, Links, Way};

/// Names a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Names something that a client waits for: a connection, or an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A request on its way.
#[derive(Debug, Clone)]
pub struct Letter {
    /// What its client waits with.
    pub ticket: Ticket,
    /// When it was sent.
    pub sent: Time,
    /// What it says.
    pub request: Request,
}

/// A connection.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Who opened it.
    pub life: Life,
    /// To whom.
    pub broker: BrokerId,
    /// Whether its client still holds it.
    pub client_holds: bool,
    /// Whether its server does.
    server_holds: bool,
    /// Nothing passes any more.
    silent_out: bool,
    silent_back: bool,
    /// When the last message of each way arrives: none overtakes it.
    last_out: Time,
    last_back: Time,
    /// What the client waits for.
    outstanding: BTreeSet<Ticket>,
    /// What the server is at work on, and what waits behind it.
    at_work: Option<Ticket>,
    queue: VecDeque<Letter>,
}

impl Connection {
    const fn link(&self) -> Link {
        Link { process: self.life.process, broker: self.broker }
    }
}

/// Something arrives.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// A broker is asked for a connection.
    Dial {
        /// What the client waits with.
        ticket: Ticket,
        /// Who asks.
        life: Life,
        /// Whom.
        broker: BrokerId,
    },
    /// The client learns whether it has a connection.
    Dialled {
        /// What it waits with.
        ticket: Ticket,
        /// The connection, unless the broker is dead.
        connection: Option<ConnectionId>,
        /// Who asked.
        life: Life,
        /// Whom.
        broker: BrokerId,
    },
    /// A request arrives.
    Request {
        /// Over which connection.
        connection: ConnectionId,
        /// The request.
        letter: Letter,
    },
    /// The server learns that its client is gone.
    ClientGone {
        /// From which connection.
        connection: ConnectionId,
    },
    /// An answer arrives.
    Answer {
        /// Over which connection.
        connection: ConnectionId,
        /// What the client waits with.
        ticket: Ticket,
        /// The answer.
        answer: Answer,
    },
    /// The client learns that its server is gone.
    ServerGone {
        /// From which connection.
        connection: ConnectionId,
    },
}

/// See the [module](self).
#[derive(Debug, Clone)]
pub struct Network {
    /// Who reaches whom.
    pub links: Links,
    /// When what arrives, by its number in `on_the_way`: sorting moves numbers, not letters.
    deliveries: BinaryHeap<Reverse<(Time, u64, usize)>>,
    on_the_way: Slab<Delivery>,
    sequence: u64,
    connections: BTreeMap<ConnectionId, Connection>,
    tickets: Counter,
}

/// The next message of a connection, or of a dial: what is behind it waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Turn(usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Queue {
    Dial(Ticket),
    Messages(ConnectionId, Way),
}

impl Delivery {
    const fn queue(&self) -> Queue {
        match self {
            Self::Dial { ticket, .. } | Self::Dialled { ticket, .. } => Queue::Dial(*ticket),
            Self::Request { connection, .. } | Self::ClientGone { connection } => {
                Queue::Messages(*connection, Way::Out)
            }
            Self::Answer { connection, .. } | Self::ServerGone { connection } => {
                Queue::Messages(*connection, Way::Back)
            }
        }
    }
}

impl Network {
    /// A network without traffic.
    #[must_use]
    pub fn new(stream: Stream) -> Self {
        Self {
            links: Links::new(stream),
            deliveries: BinaryHeap::new(),
            on_the_way: Slab::new(),
            sequence: 0,
            connections: BTreeMap::new(),
            tickets: Counter::default(),
        }
    }

    /// From here on messages take no time, and what a process is given does not show what others did before.
    pub const fn at_once(&mut self) {
        self.links.at_once();
        self.tickets.count_apart();
    }

    /// A connection, as long as one of its ends holds it.
    #[must_use]
    pub fn connection(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections.get(&id)
    }

    /// A new ticket for a process.
    pub fn ticket(&mut self, process: u16) -> Ticket {
        Ticket(self.tickets.next(process))
    }

    /// When something arrives next.
    #[must_use]
    pub fn next(&self) -> Option<Time> {
        self.deliveries.peek().map(|Reverse((at, ..))| *at)
    }

    fn schedule(&mut self, at: Time, delivery: Delivery) {
        self.sequence += 1;
        let number = self.on_the_way.insert(delivery);
        self.deliveries.push(Reverse((at, self.sequence, number)));
    }

    /// A process asks for a connection.
    pub fn dial(&mut self, now: Time, life: Life, broker: BrokerId) -> Ticket {
        let ticket = self.ticket(life.process);
        let delay = self.links.delay(Link { process: life.process, broker }, Way::Out);
        self.schedule(now + delay, Delivery::Dial { ticket, life, broker });
        ticket
    }

    /// A broker grants a connection, or a dead one's host refuses it.
    pub fn answer_dial(&mut self, now: Time, ticket: Ticket, life: Life, broker: BrokerId, granted: bool) {
        let delay = self.links.delay(Link { process: life.process, broker }, Way::Back);
        let connection = granted.then(|| {
            let id = ConnectionId(ticket.0);
            let connection = Connection {
                life,
                broker,
                client_holds: true,
                server_holds: true,
                silent_out: false,
                silent_back: false,
                last_out: now + delay,
                last_back: now + delay,
                outstanding: BTreeSet::new(),
                at_work: None,
                queue: VecDeque::new(),
            };
            self.connections.insert(id, connection);
            id
        });
        self.schedule(now + delay, Delivery::Dialled { ticket, connection, life, broker });
    }

    /// A client sends a request; `later` comes on top of the link's delay. False if the connection is gone.
    pub fn send(
        &mut self,
        now: Time,
        id: ConnectionId,
        ticket: Ticket,
        request: Request,
        later: Duration,
    ) -> bool {
        let Some(connection) = self.connections.get_mut(&id).filter(|connection| connection.client_holds)
        else {
            return false;
        };
        connection.outstanding.insert(ticket);
        if connection.silent_out {
            return true;
        }
        let at = self.links.delay(connection.link(), Way::Out) + later;
        let at = (now + at).max(connection.last_out);
        connection.last_out = at;
        let letter = Letter { ticket, sent: now, request };
        self.schedule(at, Delivery::Request { connection: id, letter });
        true
    }

    /// A server answers; `later` comes on top of the link's delay.
    pub fn answer(&mut self, now: Time, id: ConnectionId, ticket: Ticket, answer: Answer, later: Duration) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.silent_back || !connection.server_holds {
            return;
        }
        let at = self.links.delay(connection.link(), Way::Back) + later;
        let at = (now + at).max(connection.last_back);
        connection.last_back = at;
        self.schedule(at, Delivery::Answer { connection: id, ticket, answer });
    }

    /// Nothing passes a connection any more, one way.
    pub fn silence(&mut self, id: ConnectionId, way: Way) {
        if let Some(connection) = self.connections.get_mut(&id) {
            match way {
                Way::Out => connection.silent_out = true,
                Way::Back => connection.silent_back = true,
            }
        }
    }

    /// A request has arrived: what the server is to do now, if it is not at work on another.
    pub fn arrived(&mut self, id: ConnectionId, letter: Letter) -> Option<Letter> {
        let connection = self.connections.get_mut(&id).filter(|connection| connection.server_holds)?;
        if connection.at_work.is_some() {
            connection.queue.push_back(letter);
            return None;
        }
        connection.at_work = Some(letter.ticket);
        Some(letter)
    }

    /// A server is done with a request: the next one, if another waits.
    pub fn done(&mut self, id: ConnectionId) -> Option<Letter> {
        let connection = self.connections.get_mut(&id).filter(|connection| connection.server_holds)?;
        let next = connection.queue.pop_front();
        connection.at_work = next.as_ref().map(|letter| letter.ticket);
        next
    }

    /// Batches that are on their way to a broker or wait there, whether or not their producer still lives.
    #[must_use]
    pub fn batches_on_the_way(&self) -> usize {
        let is_batch = |letter: &&Letter| matches!(letter.request, Request::Produce(_));
        let sent = self.on_the_way.iter().filter_map(|(_, delivery)| match delivery {
            Delivery::Request { letter, .. } => Some(letter),
            _ => None,
        });
        let queued = self.connections.values().flat_map(|connection| &connection.queue);
        sent.chain(queued).filter(is_batch).count()
    }

    /// A client gives a connection up: who waited for answers. The server learns of it behind all that was sent.
    pub fn give_up(&mut self, now: Time, id: ConnectionId) -> Vec<Ticket> {
        let Some(connection) = self.connections.get_mut(&id).filter(|connection| connection.client_holds)
        else {
            return Vec::new();
        };
        connection.client_holds = false;
        let waiting = std::mem::take(&mut connection.outstanding).into_iter().collect();
        // A silent connection's farewell is lost too; the server forgets it as its own timers end.
        let at = self.links.delay(connection.link(), Way::Out);
        let at = (now + at).max(connection.last_out);
        connection.last_out = at;
        self.schedule(at, Delivery::ClientGone { connection: id });
        waiting
    }

    /// A server gives a connection up.
    pub fn hang_up(&mut self, now: Time, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id).filter(|connection| connection.server_holds)
        else {
            return;
        };
        connection.server_holds = false;
        connection.queue.clear();
        connection.at_work = None;
        let at = self.links.delay(connection.link(), Way::Back);
        let at = (now + at).max(connection.last_back);
        connection.last_back = at;
        self.schedule(at, Delivery::ServerGone { connection: id });
    }

    /// The server has learnt that a client is gone: what it was at work on.
    pub fn client_gone(&mut self, id: ConnectionId) -> Option<Ticket> {
        self.connections.remove(&id).and_then(|connection| connection.at_work)
    }

    /// The client has learnt that a server is gone: who waited for answers.
    pub fn server_gone(&mut self, id: ConnectionId) -> Vec<Ticket> {
        let Some(connection) = self.connections.remove(&id) else { return Vec::new() };
        connection.outstanding.into_iter().collect()
    }

    /// An answer has arrived: whether its client still waits.
    pub fn answered(&mut self, id: ConnectionId, ticket: Ticket) -> bool {
        let connection = self.connections.get_mut(&id).filter(|connection| connection.client_holds);
        connection.is_some_and(|connection| connection.outstanding.remove(&ticket))
    }

    /// The connections that a process holds.
    pub fn held_by(&self, life: Life) -> Vec<ConnectionId> {
        let held = self.connections.iter().filter(|(_, c)| c.life == life && c.client_holds);
        held.map(|(id, _)| *id).collect()
    }

    /// The connections that a broker holds.
    pub fn held_at(&self, broker: BrokerId) -> Vec<ConnectionId> {
        let held = self.connections.iter().filter(|(_, c)| c.broker == broker && c.server_holds);
        held.map(|(id, _)| *id).collect()
    }

    /// What arrives now. What a blocked link stops is put off until the link is whole.
    pub fn arrive(&mut self, now: Time) -> Option<Delivery> {
        loop {
            let Reverse((at, _, number)) = *self.deliveries.peek()?;
            if at > now {
                return None;
            }
            self.deliveries.pop();
            match self.link_of(&self.on_the_way[number]).map(|link| self.links.blocked(now, link)) {
                Some(Some(until)) => {
                    self.sequence += 1;
                    self.deliveries.push(Reverse((until, self.sequence, number)));
                }
                Some(None) => return Some(self.on_the_way.remove(number)),
                // The connection is gone at both ends.
                None => drop(self.on_the_way.remove(number)),
            }
        }
    }

    /// When what arrives, the oldest first.
    fn in_order(&self) -> Vec<(Time, u64, usize)> {
        let mut all: Vec<_> = self.deliveries.iter().map(|Reverse(entry)| *entry).collect();
        all.sort_unstable();
        all
    }

    /// What could arrive now in whatever order, the oldest first.
    #[must_use]
    pub fn turns(&self, now: Time) -> Vec<Turn> {
        let mut begun = BTreeSet::new();
        let due = self.in_order().into_iter().filter(|(at, ..)| *at <= now);
        due.filter(|(.., number)| begun.insert(self.on_the_way[*number].queue()))
            .map(|(.., number)| Turn(number))
            .collect()
    }

    /// What it is the turn of.
    #[must_use]
    pub fn waiting_in_turn(&self, Turn(number): Turn) -> &Delivery {
        &self.on_the_way[number]
    }

    /// When something arrives that does not yet.
    #[must_use]
    pub fn next_after(&self, now: Time) -> Option<Time> {
        self.deliveries.iter().map(|Reverse((at, ..))| *at).filter(|at| *at > now).min()
    }

    /// Lets it arrive, unless a blocked link puts it off.
    pub fn arrive_in_turn(&mut self, now: Time, Turn(number): Turn) -> Option<Delivery> {
        self.deliveries.retain(|Reverse((.., other))| *other != number);
        let delivery = self.on_the_way.remove(number);
        match self.links.blocked(now, self.link_of(&delivery)?) {
            Some(until) => {
                self.schedule(until, delivery);
                None
            }
            None => Some(delivery),
        }
    }

    /// What is on its way: for each queue its messages in order, and when each that is not due arrives.
    pub fn on_the_way(&self, now: Time) -> impl Iterator<Item = (impl fmt::Debug, Vec<(Time, &Delivery)>)> {
        let mut queues: BTreeMap<Queue, Vec<(Time, &Delivery)>> = BTreeMap::new();
        for (at, _, number) in self.in_order() {
            let delivery = &self.on_the_way[number];
            queues.entry(delivery.queue()).or_default().push((at.max(now), delivery));
        }
        queues.into_iter()
    }

    /// All connections that one of their ends holds.
    pub fn connections(&self) -> impl Iterator<Item = (ConnectionId, &Connection)> {
        self.connections.iter().map(|(id, connection)| (*id, connection))
    }

    fn link_of(&self, delivery: &Delivery) -> Option<Link> {
        match delivery {
            Delivery::Dial { life, broker, .. } | Delivery::Dialled { life, broker, .. } => {
                Some(Link { process: life.process, broker: *broker })
            }
            Delivery::Request { connection, .. }
            | Delivery::ClientGone { connection }
            | Delivery::Answer { connection, .. }
            | Delivery::ServerGone { connection } => self.connections.get(connection).map(Connection::link),
        }
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_cluster::message::DescribeClusterRequest;

    use super::*;
    use crate::seed::Seed;

    const LIFE: Life = Life { process: 0, nth: 0 };
    const BROKER: BrokerId = BrokerId(1);

    fn connected() -> (Network, ConnectionId) {
        let mut network = Network::new(Seed(1).stream("links"));
        let ticket = network.dial(Time::ZERO, LIFE, BROKER);
        assert!(matches!(network.arrive(Time::MAX), Some(Delivery::Dial { .. })));
        network.answer_dial(Time::ZERO, ticket, LIFE, BROKER, true);
        match network.arrive(Time::MAX) {
            Some(Delivery::Dialled { connection: Some(connection), .. }) => (network, connection),
            other => panic!("{other:?}"),
        }
    }

    fn send(network: &mut Network, connection: ConnectionId, later: Duration) -> Ticket {
        let ticket = network.ticket(LIFE.process);
        let request = Request::from(DescribeClusterRequest);
        assert!(network.send(Time::ZERO, connection, ticket, request, later));
        ticket
    }

    fn arrived(network: &mut Network, now: Time) -> Vec<Ticket> {
        std::iter::from_fn(|| network.arrive(now))
            .map(|delivery| match delivery {
                Delivery::Request { letter, .. } => letter.ticket,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn what_is_slow_holds_up_what_follows() {
        let (mut network, connection) = connected();
        let slow = send(&mut network, connection, Duration::from_secs(9));
        let next = send(&mut network, connection, Duration::ZERO);
        assert_eq!(arrived(&mut network, Time::from_millis(8_999)), []);
        assert_eq!(arrived(&mut network, Time::from_millis(9_100)), [slow, next]);
    }

    #[test]
    fn what_a_blocked_link_stops_comes_when_it_is_whole() {
        let (mut network, connection) = connected();
        network.links.isolate_broker(BROKER, Time::from_millis(5_000));
        let first = send(&mut network, connection, Duration::ZERO);
        let second = send(&mut network, connection, Duration::ZERO);
        assert_eq!(arrived(&mut network, Time::from_millis(4_999)), []);
        assert_eq!(arrived(&mut network, Time::from_millis(5_000)), [first, second]);
    }

    #[test]
    fn a_server_works_on_one_request_of_a_connection_at_a_time() {
        let (mut network, connection) = connected();
        let tickets = [(); 3].map(|()| network.ticket(LIFE.process));
        let letter = |ticket| Letter { ticket, sent: Time::ZERO, request: DescribeClusterRequest.into() };
        assert!(network.arrived(connection, letter(tickets[0])).is_some());
        assert!(network.arrived(connection, letter(tickets[1])).is_none());
        assert!(network.arrived(connection, letter(tickets[2])).is_none());
        let mut next = || network.done(connection).map(|letter| letter.ticket);
        assert_eq!([next(), next(), next()], [Some(tickets[1]), Some(tickets[2]), None]);
    }

    #[test]
    fn a_client_that_gave_up_is_told_nothing_and_its_requests_arrive_all_the_same() {
        let (mut network, connection) = connected();
        let ticket = send(&mut network, connection, Duration::from_secs(1));
        assert_eq!(network.give_up(Time::ZERO, connection), [ticket]);
        assert!(matches!(network.arrive(Time::MAX), Some(Delivery::Request { .. })));
        assert!(network.connection(connection).is_some_and(|connection| !connection.client_holds));
        assert!(!network.answered(connection, ticket));
        assert!(matches!(network.arrive(Time::MAX), Some(Delivery::ClientGone { .. })));
    }

    #[test]
    fn a_silent_connection_takes_requests_and_delivers_none() {
        let (mut network, connection) = connected();
        network.silence(connection, Way::Out);
        let ticket = send(&mut network, connection, Duration::ZERO);
        assert_eq!(arrived(&mut network, Time::MAX), []);
        assert_eq!(network.give_up(Time::ZERO, connection), [ticket]);
    }
}
