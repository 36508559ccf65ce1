//! Links: who reaches whom, and how long a message takes.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use evenkeel_core::model::{BrokerId, Time};

use crate::seed::Stream;

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// From a process to a broker.
    Out,
    /// From a broker to a process.
    Back,
}

/// The link between a process and a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// The process.
    pub process: u16,
    /// The broker.
    pub broker: BrokerId,
}

impl Link {
    /// Its number among all links, for decisions that belong to it.
    #[must_use]
    pub const fn number(self) -> u64 {
        (self.process as u64) << 32 | self.broker.0 as u32 as u64
    }
}

/// All links.
#[derive(Debug, Clone)]
pub struct Links {
    stream: Stream,
    /// Messages take no time.
    at_once: bool,
    counts: BTreeMap<(Link, Way), u64>,
    processes: BTreeMap<u16, Time>,
    brokers: BTreeMap<BrokerId, Time>,
    cuts: BTreeMap<Link, Time>,
}

impl Links {
    /// All links are whole; delays are drawn from the stream.
    #[must_use]
    pub const fn new(stream: Stream) -> Self {
        Self {
            stream,
            at_once: false,
            counts: BTreeMap::new(),
            processes: BTreeMap::new(),
            brokers: BTreeMap::new(),
            cuts: BTreeMap::new(),
        }
    }

    /// From here on messages take no time.
    pub const fn at_once(&mut self) {
        self.at_once = true;
    }

    /// How long the next message takes on its way: 0.1 to 2 ms, one in twenty up to 60 ms.
    pub fn delay(&mut self, link: Link, way: Way) -> Duration {
        if self.at_once {
            return Duration::ZERO;
        }
        let count = self.counts.entry((link, way)).or_default();
        let mut draw = self.stream.of(link.number()).of(way as u64).nth(*count);
        *count += 1;
        let most = if draw.once_in(20) { 60_000 } else { 2_000 };
        Duration::from_micros(draw.log_uniform(100, most))
    }

    /// A process reaches nobody until then.
    pub fn isolate_process(&mut self, process: u16, until: Time) {
        prolong(self.processes.entry(process).or_default(), until);
    }

    /// Nobody reaches a broker until then.
    pub fn isolate_broker(&mut self, broker: BrokerId, until: Time) {
        prolong(self.brokers.entry(broker).or_default(), until);
    }

    /// A process and a broker do not reach each other until then.
    pub fn cut(&mut self, link: Link, until: Time) {
        prolong(self.cuts.entry(link).or_default(), until);
    }

    /// What is blocked, and until when.
    pub(crate) fn memory(&self, now: Time) -> impl fmt::Debug {
        let open = |until: &Time| *until > now;
        let processes: Vec<_> = self.processes.iter().filter(|(_, until)| open(until)).collect();
        let brokers: Vec<_> = self.brokers.iter().filter(|(_, until)| open(until)).collect();
        let cuts: Vec<_> = self.cuts.iter().filter(|(_, until)| open(until)).collect();
        (processes, brokers, cuts)
    }

    /// All links are whole again.
    pub fn heal(&mut self) {
        self.processes.clear();
        self.brokers.clear();
        self.cuts.clear();
    }

    /// Until when nothing passes a link; `None` if it is whole.
    #[must_use]
    pub fn blocked(&self, now: Time, link: Link) -> Option<Time> {
        let until = [self.processes.get(&link.process), self.brokers.get(&link.broker), self.cuts.get(&link)];
        until.into_iter().flatten().copied().filter(|until| *until > now).max()
    }
}

fn prolong(until: &mut Time, other: Time) {
    *until = other.max(*until);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    #[test]
    fn a_link_is_blocked_by_either_end_and_by_itself_until_the_last_is_over() {
        let link = Link { process: 1, broker: BrokerId(2) };
        let mut links = Links::new(Seed(1).stream("links"));
        let at = Time::from_millis;
        assert_eq!(links.blocked(at(0), link), None);
        links.isolate_process(1, at(10));
        links.isolate_broker(BrokerId(2), at(30));
        links.isolate_broker(BrokerId(2), at(20));
        links.cut(Link { process: 1, broker: BrokerId(3) }, at(90));
        assert_eq!(links.blocked(at(5), link), Some(at(30)));
        assert_eq!(links.blocked(at(30), link), None);
        links.cut(link, at(50));
        links.heal();
        assert_eq!(links.blocked(at(0), link), None);
    }

    #[test]
    fn delays_of_a_link_do_not_depend_on_other_links() {
        let (a, b) = (Link { process: 0, broker: BrokerId(1) }, Link { process: 1, broker: BrokerId(1) });
        let delays = |with_b: bool| {
            let mut links = Links::new(Seed(1).stream("links"));
            let mut next = || {
                if with_b {
                    links.delay(b, Way::Out);
                }
                links.delay(a, Way::Out)
            };
            (0..50).map(|_| next()).collect::<Vec<_>>()
        };
        assert_eq!(delays(true), delays(false));
    }
}
