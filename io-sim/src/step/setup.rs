//! What a run of the machines is made of, as plain numbers: drawn from a seed, printed, parsed, made smaller.
//!
//! Limits are tiny on purpose, so that edges are daily. What is produced is not listed but follows from the seed and the
//! numbers, event by event: fewer events, keys or topics leave the others as they were.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_core::machine::backoff::Backoff;
use evenkeel_core::machine::commit::MetadataLimit;
use evenkeel_core::model::{OnFailure, Ordering, RetryPolicy, Time};

use crate::faults::Family;
use crate::faults::swarm::Shape;
use crate::history::{
    EventNo, Facts, Flavour, GroupFacts, GroupNo, HandlerFacts, KeyNo, Nature, Sent, ServiceFacts,
    TopicFacts, TopicNo,
};
use crate::seed::{Draw, Seed};

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident $text:literal $range:expr, $plain:literal,)*) => {
        /// The numbers of a run.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct Numbers {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Default for Numbers {
            fn default() -> Self {
                Self { $($name: $plain,)* }
            }
        }

        impl Numbers {
            /// Each number's name, what it can be, and what it is when nothing is to be made of it.
            pub const NAMES: &'static [(&'static str, RangeInclusive<u64>, u64)] = &[$(($text, $range, $plain),)*];

            /// A number by its name.
            #[must_use]
            pub fn get(&self, name: &str) -> Option<u64> {
                match name {
                    $($text => Some(self.$name),)*
                    _ => None,
                }
            }

            /// Sets a number by its name, to the nearest that it can be; false if there is none of this name.
            pub fn set(&mut self, name: &str, to: u64) -> bool {
                match name {
                    $($text => self.$name = to.clamp(*$range.start(), *$range.end()),)*
                    _ => return false,
                }
                true
            }

            /// Sets a number by its name and what was written for it, or says what may be written.
            pub(super) fn read(&mut self, name: &str, written: &str) -> Result<(), String> {
                let Some((_, range, _)) = Self::NAMES.iter().find(|(known, ..)| *known == name) else {
                    let names: Vec<_> = Self::NAMES.iter().map(|(name, ..)| *name).collect();
                    return Err(format!("`set NAME N` takes one of {}", names.join(", ")));
                };
                match written.parse() {
                    Ok(number) if range.contains(&number) => self.set(name, number),
                    _ => return Err(format!("{name} is a whole number from {} to {}", range.start(), range.end())),
                };
                Ok(())
            }
        }
    };
}

numbers! {
    /// Brokers.
    brokers "brokers" 1..=100, 1,
    /// Replicas that must be in sync for an acknowledgement.
    min_in_sync "min-in-sync" 1..=100, 1,
    /// How long a new coordinator loads its groups, in milliseconds.
    coordinator_load "coordinator-load-ms" 0..=86400000, 0,
    /// How long the first member of a group waits for others, in milliseconds.
    rebalance_delay "rebalance-delay-ms" 0..=86400000, 0,
    /// The largest batch that topics take, in bytes.
    max_message "max-message-bytes" 200..=1073741824, 1048588,
    /// The size of log segments in bytes.
    segment "segment-bytes" 14..=1073741824, 1048576,
    /// Topics.
    topics "topics" 1..=100, 1,
    /// Partitions of each topic.
    partitions "partitions" 1..=1000, 1,
    /// Groups.
    groups "groups" 1..=100, 1,
    /// Members of each group.
    members "members" 1..=1000, 1,
    /// Handlers that each group has for each topic.
    handlers "handlers" 1..=100, 1,
    /// Producing processes.
    producers "producers" 1..=1000, 1,
    /// Calls of `produce` that a producing process has out at once.
    pipeline "pipeline" 1..=10000, 1,
    /// Events.
    events "events" 1..=1000000, 10,
    /// Events of one call of `produce`, at most.
    per_send "events-per-send" 1..=10000, 1,
    /// Keys of each producing process.
    keys "keys" 1..=1000000, 1,
    /// Percent of events without a key.
    keyless "keyless-percent" 0..=100, 0,
    /// Percent of events that cannot be handled or decoded.
    bad "bad-percent" 0..=100, 0,
    /// Whether those can be handled after all, everything else being as it was: a yes is 1.
    cured "cured" 0..=1, 0,
    /// Whether handlers may keep events open that they cannot handle: a yes is 1.
    blocking "blocking" 0..=1, 1,
    /// A broker that stays out of reach while all else heals, counted from one.
    frozen_broker "frozen-broker" 0..=100, 0,
    /// A process that goes on standing still while all else heals, counted from one.
    frozen_process "frozen-process" 0..=10000, 0,
    /// Bytes of an event's payload, at most.
    payload "payload-bytes" 0..=1048576, 0,
    /// How long events are produced and faults strike, in milliseconds.
    active "active-ms" 100..=240000, 10000,
    /// In how many bursts events come; zero for evenly.
    bursts "bursts" 0..=10000, 0,
    /// Records of a partition between the committed position and what was read, at most.
    window "window" 1..=1073741824, 100,
    /// Bytes of a partition's unsettled events, at most.
    window_bytes "window-bytes" 1..=1073741824, 67108864,
    /// Bytes of one partition in one fetch.
    fetch "fetch-bytes" 1..=1073741824, 1048576,
    /// How long a broker waits for records, in milliseconds.
    fetch_wait "fetch-wait-ms" 1..=86400000, 500,
    /// The longest metadata of a commit in bytes.
    metadata "metadata-bytes" 0..=1048576, 4096,
    /// How often a member commits while events flow, in milliseconds.
    commit "commit-interval-ms" 1..=86400000, 1000,
    /// How often the topics' partitions are looked at, in milliseconds.
    watch "watch-interval-ms" 100..=86400000, 5000,
    /// Calls that a member runs at once.
    concurrency "concurrency" 1..=100000, 20,
    /// Events of a handler that run or wait for another attempt.
    outstanding "outstanding" 1..=100000, 30,
    /// The session timeout in milliseconds; heartbeats go out at a third.
    session "session-ms" 6000..=86400000, 10000,
    /// The rebalance timeout in milliseconds.
    rebalance "rebalance-timeout-ms" 1000..=86400000, 60000,
    /// How long running calls may go on when partitions are given up, in milliseconds.
    drain "drain-ms" 0..=86400000, 10000,
    /// How long a handler takes at most when nothing goes wrong, in microseconds.
    handling "handling-us" 0..=400000, 1000,
    /// How long after an input actions are performed, at most, in microseconds.
    lag "lag-us" 0..=100000, 0,
    /// Bytes of a batch of several events.
    batch "batch-bytes" 100..=1073741824, 900000,
    /// How long an event may be on its way to the log, in milliseconds.
    delivery "delivery-ms" 500..=86400000, 120000,
    /// How long a broker may wait for replicas, in milliseconds.
    acknowledgement "acknowledgement-ms" 500..=86400000, 30000,
    /// How long the database keeps the transactions of a dead process, in milliseconds.
    linger "linger-ms" 0..=86400000, 100,
}

/// The names of handlers.
const HANDLERS: &[&str] = &["charge", "mail", "count"];
/// The names of topics.
const TOPICS: &[&str] = &["orders", "refunds", "parcels", "visits"];
/// The names of groups.
const GROUPS: &[&str] = &["billing", "shipping", "audit"];

/// See the [module](self).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// What decides everything that the numbers leave open.
    pub seed: Seed,
    /// The numbers.
    pub numbers: Numbers,
}

/// Events that one call of `produce` takes, and when it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedSend {
    /// Not before then.
    pub at: Time,
    /// The events.
    pub events: Arc<[Sent]>,
}

impl Setup {
    /// What a seed gives.
    #[must_use]
    pub fn draw(seed: Seed) -> Self {
        let stream = seed.stream("setup");
        let mut nth = 0;
        let mut next = || {
            nth += 1;
            stream.nth(nth)
        };
        let mut log = |least, most| next().log_uniform(least, most);
        let mut n = Numbers {
            topics: log(1, 3),
            partitions: log(1, 4),
            groups: log(1, 2),
            members: log(1, 3),
            handlers: log(1, 2),
            producers: log(1, 2),
            pipeline: log(1, 8),
            events: log(5, 120),
            per_send: log(1, 8),
            keys: log(1, 30),
            active: log(2_000, 25_000),
            window: log(1, 16),
            fetch_wait: log(100, 2_000),
            commit: log(50, 2_000),
            watch: log(500, 5_000),
            concurrency: log(1, 8),
            outstanding: log(1, 12),
            session: log(6_000, 10_000),
            rebalance: log(4_000, 30_000),
            drain: log(50, 8_000),
            handling: log(1, 300_000),
            delivery: log(1_000, 60_000),
            acknowledgement: log(1_000, 20_000),
            linger: log(1, 20_000),
            segment: log(200, 2_000),
            ..Numbers::default()
        };
        let mut draw = stream.nth(1_000);
        let mut sometimes = |of: &mut u64, times: u64, least: u64, most: u64| {
            let mut draw = draw_of(&mut draw);
            if draw.once_in(times) {
                *of = draw.log_uniform(least, most);
            }
        };
        sometimes(&mut n.coordinator_load, 2, 1, 2_000);
        sometimes(&mut n.rebalance_delay, 2, 1, 3_000);
        sometimes(&mut n.max_message, 4, 200, 2_000);
        sometimes(&mut n.keyless, 2, 5, 60);
        sometimes(&mut n.bad, 2, 1, 8);
        sometimes(&mut n.payload, 4, 8, 400);
        sometimes(&mut n.bursts, 2, 1, 4);
        sometimes(&mut n.window_bytes, 3, 400, 4_000);
        sometimes(&mut n.fetch, 2, 100, 2_000);
        sometimes(&mut n.metadata, 3, 50, 120);
        sometimes(&mut n.lag, 2, 10, 20_000);
        sometimes(&mut n.batch, 2, 150, 1_500);
        // A member hears of a rebalance with its next heartbeat, and what is left must do for a last commit and the join:
        // the options refuse less.
        n.rebalance = n.rebalance.max(2 * (n.session / 3) + 500);
        n.brokers = if draw.once_in(4) { 1 } else { 3 };
        n.min_in_sync = if n.brokers > 1 && draw.once_in(3) { 2 } else { 1 };
        n.blocking = if n.bad == 0 || draw.once_in(2) { 1 } else { 0 };
        if n.bad > 0 && n.blocking > 0 {
            // What is kept open fills the window and what may be outstanding, and then the rest waits, as it should.
            n.window = 100_000;
            n.window_bytes = 1 << 26;
            n.outstanding = 100_000;
            n.concurrency = n.concurrency.max(4);
        }
        // One in fifty is large.
        if n.bad == 0 && draw.once_in(50) {
            n.events = draw.between(300, 1_000);
            n.window = draw.between(20, 200);
        }
        // In half of the runs everything heals.
        let mut frost = seed.stream("frost").nth(0);
        if frost.once_in(2) {
            let which = frost.below(3);
            if which != 0 && n.brokers > 1 {
                n.frozen_broker = 1 + frost.below(n.brokers);
            }
            if which != 1 && n.members > 1 {
                n.frozen_process = 1 + frost.below(n.groups * n.members);
            }
        }
        Self { seed, numbers: n }
    }

    fn has(&self, family: Family) -> bool {
        match family {
            // Machines read no wall clock.
            Family::Clocks => false,
            // A commit without metadata does not tell which life of the topic it is of, nor where the epochs below it
            // began.
            Family::Recreations | Family::UncleanElections => {
                MetadataLimit::new(self.numbers.metadata as usize) != MetadataLimit::NONE
            }
            _ => true,
        }
    }

    /// What it offers to faults.
    #[must_use]
    pub fn shape(&self) -> Shape {
        let n = &self.numbers;
        Shape {
            processes: (n.groups * n.members + n.producers) as u16,
            brokers: n.brokers as u16,
            partitions: (n.topics * n.partitions) as u16,
            groups: n.groups as u16,
            session_timeout: Duration::from_millis(n.session),
            active: Duration::from_millis(n.active),
            families: Family::ALL.iter().copied().filter(|family| self.has(*family)).collect(),
        }
    }

    /// Topics, groups and handlers.
    #[must_use]
    pub fn facts(&self) -> Facts {
        let n = &self.numbers;
        let name = |names: &[&str], nth: u64| -> Arc<str> {
            let many = names.len() as u64;
            let base = names[(nth % many) as usize];
            if nth < many { base.into() } else { format!("{base}-{}", nth / many).into() }
        };
        let mut facts = Facts { metadata_is_cut: n.metadata < 4_096, ..Facts::default() };
        for nth in 0..n.topics {
            facts.topics.push(TopicFacts { name: name(TOPICS, nth), partitions: n.partitions as u32 });
        }
        for group in 0..n.groups {
            facts.groups.push(GroupFacts {
                name: name(GROUPS, group),
                concurrency: n.concurrency as u32,
                session_timeout: Duration::from_millis(n.session),
            });
            facts.services.push(ServiceFacts { name: name(GROUPS, group) });
            for topic in 0..n.topics {
                for nth in 0..n.handlers {
                    let place = (group << 16) | (topic << 8) | nth;
                    let mut draw = self.seed.stream("handlers").nth(place);
                    let handler = self.handler(&mut draw, group, topic, name(HANDLERS, nth));
                    facts.handlers.push(handler);
                }
            }
        }
        facts.services.push(ServiceFacts { name: "shop".into() });
        facts
    }

    fn handler(&self, draw: &mut Draw, group: u64, topic: u64, name: Arc<str>) -> HandlerFacts {
        let may_block = self.numbers.blocking > 0;
        let on_failure = if draw.once_in(2) && may_block { OnFailure::Block } else { OnFailure::Discard };
        let backoff = Backoff {
            first: Duration::from_millis(draw.log_uniform(20, 1_000)),
            longest: Duration::from_millis(draw.log_uniform(1_000, 8_000)),
            jitter_percent: 5,
        };
        let limited = on_failure == OnFailure::Discard;
        let retry = RetryPolicy {
            backoff,
            attempt_limit: Duration::from_millis(draw.log_uniform(500, 8_000)),
            total: limited.then(|| Duration::from_millis(draw.log_uniform(2_000, 60_000))),
            max_attempts: NonZeroU32::new(draw.between(1, 6) as u32).filter(|_| limited),
        };
        HandlerFacts {
            name,
            group: GroupNo(group as u16),
            topic: TopicNo(topic as u16),
            flavour: *draw.pick(&[Flavour::Idempotent, Flavour::ExactlyOnce]),
            ordering: *draw.pick(&[Ordering::Key, Ordering::Key, Ordering::Partition, Ordering::Unordered]),
            concurrency: draw.log_uniform(1, 8) as u32,
            batch: if draw.once_in(3) { draw.between(2, 6) as u32 } else { 1 },
            retry,
            on_failure,
        }
    }

    /// What each producing process sends, in order.
    #[must_use]
    pub fn sends(&self) -> Vec<Vec<PlannedSend>> {
        (0..self.numbers.producers).map(|producer| self.sends_of(producer)).collect()
    }

    fn sends_of(&self, producer: u64) -> Vec<PlannedSend> {
        let n = &self.numbers;
        let stream = self.seed.stream("events");
        let mut sends: Vec<PlannedSend> = Vec::new();
        let mut counts = std::collections::BTreeMap::new();
        let mut events: Vec<Sent> = Vec::new();
        let mut room = 0;
        for event in (producer..n.events).step_by(n.producers as usize) {
            let mut draw = stream.nth(event);
            let topic = TopicNo((draw.bits() % n.topics) as u16);
            let key = if draw.once_in(2) { draw.bits() % n.keys.min(2) } else { draw.bits() % n.keys };
            let key = (draw.below(100) >= n.keyless).then_some(KeyNo((key * n.producers + producer) as u32));
            let nature = match draw.below(100) < n.bad {
                true => *draw.pick(&[Nature::Poison, Nature::Undecodable]),
                false => Nature::Good,
            };
            let nature = if n.cured > 0 { Nature::Good } else { nature };
            if room == 0 {
                room = 1 + draw.bits() % n.per_send;
                if !events.is_empty() {
                    sends.push(PlannedSend { at: Time::ZERO, events: std::mem::take(&mut events).into() });
                }
            }
            room -= 1;
            let count: &mut u32 = counts.entry((topic, key)).or_default();
            events.push(Sent { event: EventNo(event as u32), topic, key, n: *count, nature });
            *count += 1;
        }
        if !events.is_empty() {
            sends.push(PlannedSend { at: Time::ZERO, events: events.into() });
        }
        let times = self.seed.stream("times").of(producer);
        let mut at: Vec<_> = (0..sends.len() as u64)
            .map(|nth| {
                let mut draw = times.nth(nth);
                if n.bursts == 0 {
                    return Time::from_millis(draw.below(n.active));
                }
                let burst = draw.bits() % n.bursts;
                let mut start = self.seed.stream("bursts").nth(burst);
                Time::from_millis(start.below(n.active) + draw.below(50))
            })
            .collect();
        at.sort_unstable();
        for (send, at) in sends.iter_mut().zip(at) {
            send.at = at;
        }
        sends
    }
}

fn draw_of(draw: &mut Draw) -> Draw {
    Seed(draw.bits()).stream("one").nth(0)
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, _, plain) in Numbers::NAMES {
            let number = self.numbers.get(name).unwrap_or_default();
            if number != *plain {
                writeln!(f, "set {name} {number}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_events_leave_the_others_as_they_were() {
        let mut drawn = Setup::draw(Seed(3));
        drawn.numbers.events = 60;
        let all: Vec<_> = drawn.sends().into_iter().flatten().flat_map(|send| send.events.to_vec()).collect();
        drawn.numbers.events = 40;
        let few: Vec<_> = drawn.sends().into_iter().flatten().flat_map(|send| send.events.to_vec()).collect();
        assert!(few.iter().all(|sent| all.contains(sent)));
        assert_eq!((all.len(), few.len()), (60, 40));
    }

    #[test]
    fn numbers_are_known_by_their_names_and_stay_within_their_ranges() {
        let mut numbers = Numbers::default();
        for (name, range, plain) in Numbers::NAMES {
            assert_eq!(numbers.get(name), Some(*plain), "{name}");
            assert!(range.contains(plain), "{name}");
            for (to, end) in [(0, range.start()), (u64::MAX, range.end())] {
                assert!(numbers.set(name, to), "{name}");
                assert_eq!(numbers.get(name), Some(*end), "{name}");
            }
            assert_eq!(numbers.read(name, &range.start().to_string()), Ok(()), "{name}");
            assert_eq!(numbers.get(name), Some(*range.start()), "{name}");
            for wrong in [&*(range.end() + 1).to_string(), "many", "-1"] {
                let refused = numbers.read(name, wrong).expect_err("it is out of range");
                assert!(refused.starts_with(&format!("{name} is a whole number from")), "{refused}");
            }
        }
        assert!(!numbers.set("no such number", 1));
        assert!(numbers.read("no such number", "1").is_err_and(|why| why.contains("takes one of brokers, ")));
    }

    #[test]
    fn each_event_is_sent_once_and_numbered_within_its_key() {
        for seed in 0..300 {
            let setup = Setup::draw(Seed(seed));
            let mut seen = std::collections::BTreeSet::new();
            let mut counts = std::collections::BTreeMap::new();
            for sent in setup.sends().iter().flatten().flat_map(|send| send.events.iter()) {
                assert!(seen.insert(sent.event));
                if sent.key.is_some() {
                    let count: &mut u32 = counts.entry((sent.topic, sent.key)).or_default();
                    assert_eq!(sent.n, *count);
                    *count += 1;
                }
            }
            assert_eq!(seen.len() as u64, setup.numbers.events);
        }
    }
}
