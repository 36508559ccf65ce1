//! A world of random steps: members that come and go, servers that fail, replies that are late, lost or out of order.
//!
//! Everything follows from one seed. Until the quiet time anything may go wrong; then faults stop, all partitions are
//! assigned once more, and everything must come to rest.

use std::collections::BTreeSet;

use super::cluster::{Cluster, Log, place};
use super::laws::{Lawful, Laws, Violation};
use super::*;

const STEPS: usize = 60_000;
const REST_WITHIN: Duration = Duration::from_secs(120);

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weather {
    /// Some requests and calls fail, members come and go, until the quiet time.
    Stormy,
    /// Within a second every request and every call begins to fail, for good.
    Outage,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Step {
    /// A request reaches its server; the second time, if it waited there.
    Arrives {
        life: u32,
        request: Action<Offset>,
        waited: bool,
    },
    Reply {
        life: u32,
        input: Input<Offset>,
    },
    CallEnds {
        life: u32,
        call: CallId,
        outcome: Outcome,
    },
    Assign,
    Lose,
    Rebalance,
    Change,
    Quiet,
    Look,
}

/// Where the member stands, as the group sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    Nothing,
    Partitions,
    PartitionsToBeGiven,
}

pub(super) struct World {
    pub(super) entropy: Entropy,
    pub(super) weather: Weather,
    pub(super) config: ConsumerConfig,
    pub(super) machine: Consumer<Offset>,
    pub(super) now: Time,
    pub(super) queue: BTreeMap<(Time, u64), Step>,
    pub(super) sequence: u64,
    pub(super) cluster: Cluster,
    pub(super) laws: Laws,
    /// Percent of requests that fail.
    pub(super) faults: u32,
    /// In an outage: servers answer, with an error for each partition.
    pub(super) refusing: bool,
    pub(super) outage_at: Time,
    pub(super) life: u32,
    pub(super) held: Held,
    /// The generation that the member was told.
    pub(super) generation: Generation,
    pub(super) quiet_at: Time,
    pub(super) quiet: bool,
    pub(super) assigned: usize,
    /// The look that the member waits for, and what the last one told of topics' lives.
    pub(super) survey: Option<RequestId>,
    pub(super) told: BTreeMap<TopicName, TopicId>,
    /// Which lives the member read when it sent a commit.
    pub(super) commits: BTreeMap<(u32, RequestId), BTreeMap<TopicName, TopicId>>,
    pub(super) requests: Vec<Time>,
    pub(super) marks: BTreeMap<&'static str, u64>,
    /// The last lines of what happened, if wanted: for the report of a failure.
    pub(super) trace: Option<VecDeque<String>>,
}

fn configuration(entropy: &mut Entropy) -> ConsumerConfig {
    let mut config = shop();
    config.topics.push(topic("refunds"));
    let failure = |entropy: &mut Entropy| [OnFailure::Discard, OnFailure::Block][entropy.below(2) as usize];
    config.handlers.clear();
    for (name, topic) in [("charge", 0), ("ship", 0), ("refund", 1)] {
        let mut handler = handler(name, topic, failure(entropy));
        handler.ordering = [Ordering::Key, Ordering::Key, Ordering::Partition, Ordering::Unordered]
            [entropy.below(4) as usize];
        handler.concurrency = number(1 + entropy.below(4) as usize);
        handler.outstanding = number(1 + entropy.below(6) as usize);
        handler.batch = number([1, 1, 2, 4][entropy.below(4) as usize]);
        handler.retry.backoff = Backoff {
            first: Duration::from_millis(20),
            longest: Duration::from_millis(500),
            jitter_percent: 5,
        };
        handler.retry.max_attempts = std::num::NonZeroU32::new(3);
        handler.retry.total = None;
        config.handlers.push(handler);
    }
    config.concurrency = 1 + entropy.below(6) as usize;
    config.window_events = 2 + entropy.below(20) as usize;
    config.window_bytes = u64::from(20 + entropy.below(400));
    config.fetch_bytes = 10 + entropy.below(60);
    config.fetch_wait = Duration::from_millis(u64::from(50 + entropy.below(450)));
    config.commit_interval = Duration::from_millis(u64::from(50 + entropy.below(950)));
    config
}

impl World {
    pub(super) fn new(seed: u64, weather: Weather) -> Self {
        let mut entropy = Entropy::new(seed);
        let config = configuration(&mut entropy);
        let logs: Vec<Log> = ["orders/0", "orders/1", "refunds/0", "refunds/1"]
            .into_iter()
            .enumerate()
            .map(|(number, label)| Log::new(label, 1 + number as i32 % 2, &mut entropy))
            .collect();
        let mut stored = BTreeMap::new();
        for log in &logs {
            if entropy.below(2) == 0 {
                let offset = Offset(log.start.0 + i64::from(entropy.below(4)));
                let offset = offset.min(log.end);
                let metadata: Arc<str> = if entropy.below(4) == 0 { "by hand".into() } else { "".into() };
                stored.insert(log.at.clone(), StoredOffset { offset, leader_epoch: None, metadata });
            }
        }
        let misled = BTreeSet::new();
        let cluster = Cluster { logs, misled, generation: Generation(1), stored };
        let laws = Laws::new(config.clone(), &cluster);
        let quiet_at = Time::from_millis(match weather {
            Weather::Stormy => u64::from(500 + entropy.below(6_000)),
            Weather::Outage => 100_000,
        });
        let faults = if weather == Weather::Stormy { [0, 5, 20, 50][entropy.below(4) as usize] } else { 0 };
        let mut world = Self {
            machine: Consumer::new(config.clone(), entropy.fork()),
            weather,
            config,
            now: Time::ZERO,
            queue: BTreeMap::new(),
            sequence: 0,
            cluster,
            laws,
            faults,
            refusing: entropy.below(2) == 0,
            outage_at: Time::from_millis(u64::from(20 + entropy.below(1_000))),
            life: 0,
            held: Held::Nothing,
            generation: Generation(0),
            quiet_at,
            quiet: false,
            assigned: 0,
            survey: None,
            told: BTreeMap::new(),
            commits: BTreeMap::new(),
            requests: Vec::new(),
            marks: BTreeMap::new(),
            trace: None,
            entropy,
        };
        world.after(1, Step::Assign);
        if weather == Weather::Stormy {
            world.after(300, Step::Rebalance);
            world.after(20, Step::Change);
        }
        world.queue.insert((quiet_at, 0), Step::Quiet);
        world
    }

    pub(super) fn after(&mut self, millis: u64, step: Step) {
        self.sequence += 1;
        self.queue.insert((self.now + Duration::from_millis(millis), self.sequence), step);
    }

    pub(super) fn draw(&mut self, bound: u32) -> u64 {
        u64::from(self.entropy.below(bound))
    }

    pub(super) fn chance(&mut self, percent: u32) -> bool {
        self.entropy.below(100) < percent
    }

    /// Keeps the last lines of what happens.
    pub(super) fn traced(mut self) -> Self {
        self.trace = Some(VecDeque::new());
        self
    }

    pub(super) fn trace(&self) -> String {
        self.trace.iter().flatten().map(|line| format!("{line}\n")).collect()
    }

    fn note(&mut self, sign: &str, what: &dyn std::fmt::Debug) {
        if let Some(lines) = &mut self.trace {
            lines.push_back(format!("{} {sign} {what:?}", self.now));
            if lines.len() > 150 {
                lines.pop_front();
            }
        }
    }

    /// Runs the world to its end. Answers what law was broken, if any.
    pub(super) fn run(&mut self) -> Lawful {
        self.run_until(Time::MAX)
    }

    pub(super) fn run_until(&mut self, end: Time) -> Lawful {
        for _ in 0..STEPS {
            if self.now >= end {
                return Ok(());
            }
            let next = self.queue.first_key_value().map(|((at, _), _)| *at);
            let due = self.machine.deadline();
            if let Some(due) = due.filter(|due| next.is_none_or(|next| *due <= next)) {
                // Now and then the driver is late.
                let late =
                    if self.chance(10) { Duration::from_millis(self.draw(20)) } else { Duration::ZERO };
                self.now = self.now.max(due) + late;
                self.note("←", &"tick");
                self.machine.tick(self.now);
                self.drain()?;
                let deadline = self.machine.deadline();
                let later = deadline.is_none_or(|at| at > self.now);
                self.laws.check("contract: deadline", later, || format!("{deadline:?} is still due"))?;
            } else {
                let Some(((at, _), step)) = self.queue.pop_first() else { return Ok(()) };
                self.now = self.now.max(at);
                self.note("←", &step);
                if self.step(step)? {
                    return Ok(());
                }
                self.drain()?;
            }
            self.tick_early()?;
        }
        Err(Violation("L1: the world does not come to an end".into()))
    }

    fn tick_early(&mut self) -> Lawful {
        let deadline = self.machine.deadline();
        if self.entropy.below(4) == 0 && deadline.is_none_or(|at| at > self.now) {
            self.machine.tick(self.now);
            let action = self.machine.poll();
            let harmless = action.is_none() && self.machine.deadline() == deadline;
            self.laws.check("contract: early tick", harmless, || format!("{action:?}"))?;
        }
        Ok(())
    }

    /// Answers whether the world is at rest.
    fn step(&mut self, step: Step) -> Result<bool, Violation> {
        match step {
            Step::Arrives { life, request, waited } => self.arrives(life, request, waited),
            Step::Reply { life, input } if life == self.life => {
                self.learn(&input);
                self.machine.handle(self.now, input);
            }
            Step::Reply { .. } => {}
            Step::CallEnds { life, call, outcome } => {
                if life == self.life && self.laws.running.contains_key(&call) {
                    self.laws.finished(self.now, call, outcome);
                    self.machine.handle(self.now, Input::Finished { call, outcome, waited: Duration::ZERO });
                }
            }
            Step::Assign => self.assign(),
            Step::Lose => self.lose(),
            Step::Rebalance => self.rebalance(),
            Step::Change => self.change(),
            Step::Quiet => self.fall_quiet(),
            Step::Look => return self.look(),
        }
        Ok(false)
    }

    /// The first look of an assignment tells which lives of topics it is of.
    fn learn(&mut self, input: &Input<Offset>) {
        let Input::Described { id, outcome: Ok(metadata) } = input else { return };
        if self.survey.take_if(|asked| asked == id).is_none() {
            return;
        }
        for topic in metadata.topics.iter().filter(|topic| topic.partitions.is_ok()) {
            let id = topic.id.expect("the world's brokers tell ids");
            self.told.insert(topic.topic.clone(), id);
            self.laws.told(&topic.topic, id);
        }
    }

    fn membership(&self) -> Membership {
        Membership {
            generation: self.generation,
            member: MemberId("m".into()),
            instance: None,
            coordinator: BrokerId(1),
        }
    }

    fn next_generation(&mut self) {
        self.cluster.generation.0 += 1;
        // Nothing that Kafka's coordinator keeps tells a member that the one before was misled.
        for at in std::mem::take(&mut self.cluster.misled) {
            self.cluster.stored.remove(&at);
            *self.laws.seen.entry("commits for a log before").or_default() += 1;
        }
    }

    fn assign(&mut self) {
        if self.held != Held::Nothing {
            return;
        }
        self.held = Held::Partitions;
        self.next_generation();
        self.generation = self.cluster.generation;
        let all = self.quiet || self.weather == Weather::Outage || self.chance(60);
        let there = self.cluster.there().into_iter();
        let mut partitions: Vec<TopicPartition> =
            there.map(|number| self.cluster.logs[number].at.clone()).collect();
        if !all {
            partitions.retain(|_| self.entropy.below(2) == 0);
        }
        self.assigned = partitions.len();
        self.laws.assigned(self.generation);
        self.survey = None;
        self.machine.handle(self.now, Input::Assigned { membership: self.membership(), partitions });
    }

    fn lose(&mut self) {
        if self.held != Held::Nothing {
            self.held = Held::Nothing;
            self.laws.ended();
            self.machine.handle(self.now, Input::Lost);
        }
        // Often at once: the cancelled calls of the assignment before still run.
        let pause = if self.chance(50) { 0 } else { self.draw(300) };
        self.after(pause, Step::Assign);
    }

    fn crash(&mut self) {
        self.next_generation();
        self.gather_marks();
        self.life += 1;
        self.held = Held::Nothing;
        self.laws.crashed();
        self.machine = Consumer::new(self.config.clone(), self.entropy.fork());
        let pause = self.draw(300);
        self.after(pause, Step::Assign);
    }

    fn revoke(&mut self) {
        let until = self.now + Duration::from_millis(self.draw(400));
        self.held = Held::PartitionsToBeGiven;
        self.laws.revoked(until);
        self.machine.handle(self.now, Input::Revoke { until });
    }

    fn rebalance(&mut self) {
        if self.quiet {
            return;
        }
        match (self.held, self.entropy.below(8)) {
            (Held::Nothing, _) => {}
            (_, 0) => self.crash(),
            (_, 1 | 2) => {
                self.next_generation();
                self.laws.excuse();
                let notice = self.draw(200);
                self.after(notice, Step::Lose);
            }
            (_, 3) => self.machine.handle(self.now, Input::Moved(self.membership())),
            (Held::Partitions | Held::PartitionsToBeGiven, _) => self.revoke(),
        }
        let pause = 50 + self.draw(1_500);
        self.after(pause, Step::Rebalance);
    }

    /// Logs grow, lose their beginning, change their leader, and are deleted and made anew with their topic.
    fn change(&mut self) {
        if self.quiet {
            return;
        }
        let number = self.cluster.there()[self.draw(4) as usize];
        if self.entropy.below(60) == 0 {
            let topic = self.cluster.logs[number].at.topic.clone();
            self.note("✗", &topic);
            self.cluster.recreate(&topic, &mut self.entropy);
            self.laws.grown(&self.cluster);
            let pause = 1 + self.draw(200);
            return self.after(pause, Step::Change);
        }
        let chosen = self.entropy.below(10);
        let log = &mut self.cluster.logs[number];
        match chosen {
            0 => {
                log.leader = BrokerId(3 - log.leader.0);
                log.leader_epoch.0 += 1;
            }
            1 => log.start = log.end.min(Offset(log.start.0 + i64::from(self.entropy.below(6)))),
            _ => log.append(&mut self.entropy),
        }
        let pause = 1 + self.draw(200);
        self.after(pause, Step::Change);
    }

    fn fall_quiet(&mut self) {
        self.quiet = true;
        if self.weather == Weather::Outage {
            return;
        }
        match (self.held, self.entropy.below(3)) {
            (Held::Nothing, _) => {}
            (Held::PartitionsToBeGiven, _) => {}
            (Held::Partitions, 0) if self.assigned == 4 => {}
            (Held::Partitions, 1) => self.crash(),
            (Held::Partitions, _) => self.revoke(),
        }
        self.after(500, Step::Look);
    }

    fn look(&mut self) -> Result<bool, Violation> {
        let unrest = self.laws.unrest(&self.cluster);
        if unrest.is_none() && self.held == Held::Partitions && self.laws.running.is_empty() {
            self.laws.check("C1 no loss", true, String::new)?;
            self.laws.check("L1 rest", self.machine.running() == 0, || "calls are left over".into())?;
            self.gather_marks();
            return Ok(true);
        }
        let in_time = self.now < self.quiet_at + REST_WITHIN;
        self.laws.check("L1 in time", in_time, || format!("{unrest:?}, {:?}", self.held))?;
        self.after(500, Step::Look);
        Ok(false)
    }

    pub(super) fn gather_marks(&mut self) {
        for (mark, count) in self.machine.marks().iter() {
            *self.marks.entry(mark).or_default() += count;
        }
    }

    fn drain(&mut self) -> Lawful {
        for _ in 0..10_000 {
            let Some(action) = self.machine.poll() else {
                self.machine.check();
                let in_flight = self.machine.in_flight();
                return self.laws.window(in_flight, self.assigned);
            };
            self.note("  →", &action);
            self.act(action)?;
        }
        Err(Violation("contract: polling does not end".into()))
    }

    fn act(&mut self, action: Action<Offset>) -> Lawful {
        match action {
            Action::Run { call, handler, event, more } => {
                let mut events = Vec::new();
                for ready in std::iter::once(&event).chain(&more) {
                    let (number, offset) = place(ready.record);
                    let at = &self.cluster.logs[number].at;
                    let told = (&at.topic, at.partition);
                    let right = told == (&self.config.topics[ready.topic], ready.partition);
                    self.laws.check("events come with their place", right, || format!("{ready:?}"))?;
                    let attempt = ready.attempt.to_string().parse().expect("a number");
                    events.push((number, offset, attempt));
                }
                self.laws.run(self.now, &self.cluster, call, handler, &events)?;
                let (outcome, wait) = (self.outcome(handler, &events), 1 + self.draw(80));
                self.after(wait, Step::CallEnds { life: self.life, call, outcome });
            }
            Action::Cancel(call) => {
                let wait = self.draw(100);
                self.after(wait, Step::CallEnds { life: self.life, call, outcome: Outcome::Cancelled });
            }
            Action::Released => {
                self.laws.released(self.now, &self.cluster)?;
                self.held = Held::Nothing;
                self.next_generation();
                let pause = self.draw(100);
                self.after(pause, Step::Assign);
            }
            Action::CommitRefused { code, .. } => {
                self.laws.excuse();
                if matches!(code, ErrorCode::IllegalGeneration | ErrorCode::UnknownMemberId) {
                    self.next_generation();
                    self.after(1, Step::Lose);
                }
            }
            Action::PartitionsCounted(_) => {}
            Action::Notice(notice) => return self.notice(notice),
            Action::Commit { .. }
            | Action::Fetch { .. }
            | Action::ListOffsets { .. }
            | Action::Describe { .. }
            | Action::FetchCommitted { .. } => {
                if let Action::Commit { id, request, .. } = &action {
                    self.commits.insert((self.life, *id), self.laws.reads.clone());
                    self.laws.commit(&self.cluster, request)?;
                }
                if let Action::Describe { id, .. } = &action {
                    self.survey = Some(*id);
                }
                if let Action::Fetch { request, .. } = &action {
                    let some = !request.partitions.is_empty();
                    self.laws.check("fetches ask for something", some, || "nothing".into())?;
                }
                self.requests.push(self.now);
                let wait = self.draw(10);
                self.after(wait, Step::Arrives { life: self.life, request: action, waited: false });
            }
        }
        Ok(())
    }

    fn notice(&mut self, notice: Notice) -> Lawful {
        match notice {
            Notice::Discarded { handler, at, offset, outcome, attempts } => {
                let handler = self.laws.handler_named(&handler);
                let one = self.laws.work(&self.cluster, handler, &at, offset);
                let poison = self.poison(handler, one.1, offset);
                self.laws.discarded(one, poison, outcome, attempts)
            }
            Notice::Blocked { handler, at, offset, .. } => {
                let handler = self.laws.handler_named(&handler);
                let one = self.laws.work(&self.cluster, handler, &at, offset);
                let poison = self.poison(handler, one.1, offset);
                self.laws.blocked(one, poison)
            }
            Notice::Bug { at, what } => Err(Violation(format!("bug in {at}: {what}"))),
            Notice::Uncommitted { .. } | Notice::Cancelled { .. } => {
                // Rightly only when the drain ran out of time.
                self.laws.excuse();
                Ok(())
            }
            Notice::PastEnd { at, position } => {
                let rightly = !self.laws.knows(&self.cluster, &at);
                self.laws.check("past the end of another log", rightly, || format!("{at}: {position}"))
            }
            Notice::Truncated { at, .. } => self.laws.check("nothing is cut here", false, || at.to_string()),
            Notice::Recreated { topic } => self.laws.recreated(&self.cluster, &topic, self.told[&topic]),
            Notice::CommitRefused { .. } => {
                self.laws.excuse();
                Ok(())
            }
            Notice::Gap { .. }
            | Notice::MetadataIgnored { .. }
            | Notice::Undecodable { .. }
            | Notice::Trouble { .. }
            | Notice::TopicUnavailable { .. } => Ok(()),
        }
    }
}
