//! The consumer: everything a member of a group does with the partitions it was assigned.
//!
//! It composes the parts: a [`CommitTracker`] a partition, [`Lanes`] a handler, a [`History`] a delivery. Around them
//! it decides where to begin, what to fetch and when, which event may start, what follows from each outcome, when to
//! commit, and how to let go.
//!
//! What it guarantees:
//! - an offset is committed only when every record below it is settled for every handler (C2);
//! - what belongs to an assignment that ended has no effect any more: late replies are ignored (C3);
//! - running calls, outstanding events and bytes stay within their settings (C8);
//! - a failing, slow or blocked event delays only its own lane (C7).
//!
//! Life of an assignment: `Assigned` → look at the topics → ask for committed positions, and for a start where there is
//! none → read, run, commit → `Revoke` → let running calls finish, commit → [`Action::Released`]. `Lost` cuts it short: calls are cancelled
//! and nothing is committed.

mod assignment;
mod committing;
mod config;
mod incarnation;
mod leading;
mod lineage;
mod messages;
mod reading;
mod running;
#[cfg(test)]
mod tests;
mod truncation;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

use slab::Slab;

pub use config::{ConsumerConfig, HandlerConfig};
pub use messages::{
    Action, Arrival, CallId, HandlerId, Input, Kept, Notice, PerPartition, Read, ReadFault, Ready,
};

use self::assignment::Standing;
use self::committing::Commits;
use self::incarnation::Incarnation;
use self::leading::{Leader, Survey, Want};
use self::lineage::Lineage;
use super::commit::{CommitTracker, Fingerprint, Scope, Ticket};
use super::delivery::History;
use super::lane::{LaneId, LaneKey, Lanes};
use super::{Entropy, Machine, Marks};
use crate::model::{BrokerId, Epoch, LeaderEpoch, Offset, RequestId, Time, TopicName, TopicPartition};

/// One record in flight, and how many handlers still have to settle it.
#[derive(Debug, Clone)]
struct Event<P> {
    partition: usize,
    /// None once the log has lost the record: then nothing is tracked.
    ticket: Option<Ticket>,
    offset: Offset,
    weight: u32,
    unsettled: u32,
    record: P,
}

/// One event for one handler.
#[derive(Debug, Clone)]
struct Delivery {
    event: u32,
    handler: HandlerId,
    lane: Option<LaneId>,
    history: History,
    /// Was tried before: from now on it is called alone, so that it harms no other event of a batch.
    alone: bool,
    state: DeliveryState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DeliveryState {
    /// In the lanes: ready or parked.
    Queued,
    /// In a call.
    Running,
    /// Waits for its next attempt; the number tells this wait from earlier ones.
    Waiting(u64),
    /// Blocks for as long as the assignment lasts.
    Held,
}

/// A call that runs. Its deliveries are gone when the assignment ended before the call did.
#[derive(Debug, Clone)]
struct Call {
    nonce: u32,
    handler: HandlerId,
    started: Time,
    deliveries: Option<(u32, Vec<u32>)>,
}

#[derive(Debug, Clone)]
struct Topic {
    name: TopicName,
    handlers: Vec<HandlerId>,
    fingerprint: Fingerprint,
    incarnation: Incarnation,
}

#[derive(Debug, Clone)]
struct Handler {
    config: HandlerConfig,
    lanes: Lanes,
    /// Deliveries whose wait is over. They count as outstanding already.
    due: VecDeque<u32>,
    /// Deliveries that run or wait for another attempt.
    outstanding: usize,
    running: usize,
    /// Running calls of assignments that ended.
    leftover: usize,
}

#[derive(Debug, Clone)]
struct Partition {
    at: TopicPartition,
    topic: usize,
    epoch: Epoch,
    phase: Phase,
    tracker: CommitTracker,
    position: Offset,
    leader: Option<BrokerId>,
    leader_epoch: Option<LeaderEpoch>,
    /// The leader does not know that epoch: the next look replaces it, even by an older one.
    epoch_refused: bool,
    lineage: Lineage,
    ground: Ground,
    /// The last leader epoch of which the owner before this one had read anything, as long as nothing later was read.
    settled_before: Option<LeaderEpoch>,
    /// For each handler, bytes of its deliveries that are running or will run soon: what fetching ahead is measured by.
    runnable: Vec<u64>,
    /// Bytes of events that some handler has not settled.
    held: u64,
    max_bytes: u32,
    want: Want,
    /// The request to the leader that speaks for this partition.
    asked: Option<RequestId>,
    /// A commit of a drain was refused for good: it waits for none any more.
    commit_refused: bool,
    /// Left alone until then, after something went wrong.
    paused_until: Option<Time>,
    failures: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The committed position is not known yet.
    AwaitingCommitted,
    /// Nothing is committed: the start of the log is to be looked up.
    AwaitingStart,
    /// The position is outside of the log: its bounds are to be looked up.
    AwaitingBounds,
    /// Records are fetched.
    Reading,
    /// A bug was found: nothing more happens here.
    Broken,
}

/// Whether the leader's log is the one that the position is of. Nothing is committed before that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ground {
    /// The group's position was told, and the leader was not asked yet.
    Untested,
    /// The log parted from what was read, and reading went back: perhaps not far enough.
    Parted,
    /// The leader answered with what follows the position.
    Firm,
}

/// See the [module](self).
#[derive(Debug, Clone)]
pub struct Consumer<P> {
    config: ConsumerConfig,
    topics: Vec<Topic>,
    handlers: Vec<Handler>,
    standing: Standing,
    epoch: Epoch,
    partitions: Slab<Partition>,
    places: BTreeMap<TopicPartition, usize>,
    events: Slab<Event<P>>,
    deliveries: Slab<Delivery>,
    calls: Slab<Call>,
    /// Calls that belong to the present assignment.
    live_calls: usize,
    nonce: u32,
    turn: usize,
    retries: BinaryHeap<Reverse<(Time, u64, u32)>>,
    retry_sequence: u64,
    pauses: BTreeSet<(Time, usize)>,
    leaders: BTreeMap<BrokerId, Leader>,
    survey: Survey,
    committed: assignment::CommittedQuery,
    commits: Commits,
    actions: VecDeque<Action<P>>,
    last_request: u64,
    entropy: Entropy,
    marks: Marks,
}

impl Topic {
    /// What its commits speak of.
    fn scope(&self) -> Scope {
        Scope { handlers: self.fingerprint, topic: self.incarnation.id() }
    }
}

impl Partition {
    /// Whether there is something to commit.
    fn has_news(&self) -> bool {
        matches!(self.phase, Phase::Reading | Phase::AwaitingBounds)
            && self.ground == Ground::Firm
            && self.tracker.dirty()
    }

    /// Records from an offset on are of this leader epoch or later ones. What the owner before this one settled beyond its
    /// commit is of no later epoch than it had read of: others stand where the log was cut.
    fn disinherit(&mut self, epoch: Option<LeaderEpoch>, from: Offset) {
        let is_later = |settled: &mut LeaderEpoch| epoch.is_some_and(|epoch| epoch > *settled);
        if self.settled_before.take_if(is_later).is_some() {
            self.tracker.disinherit(from);
        }
    }

    /// Whether there is something to commit that may succeed.
    fn is_to_commit(&self) -> bool {
        self.has_news() && !self.commit_refused
    }
}

impl<P: Kept> Consumer<P> {
    /// A consumer without partitions.
    #[must_use]
    pub fn new(config: ConsumerConfig, entropy: Entropy) -> Self {
        let topics = config
            .topics
            .iter()
            .enumerate()
            .map(|(index, name)| {
                let of_topic = |(_, handler): &(usize, &HandlerConfig)| handler.topic == index;
                let handlers: Vec<usize> =
                    config.handlers.iter().enumerate().filter(of_topic).map(|(id, _)| id).collect();
                let fingerprint = Fingerprint::of(handlers.iter().map(|&id| &*config.handlers[id].name));
                let handlers = handlers.into_iter().map(HandlerId).collect();
                Topic { name: name.clone(), handlers, fingerprint, incarnation: Incarnation::default() }
            })
            .collect();
        let handlers = config
            .handlers
            .iter()
            .map(|handler| Handler {
                config: handler.clone(),
                lanes: Lanes::default(),
                due: VecDeque::new(),
                outstanding: 0,
                running: 0,
                leftover: 0,
            })
            .collect();
        Self {
            topics,
            handlers,
            standing: Standing::Unassigned,
            epoch: Epoch::default(),
            partitions: Slab::new(),
            places: BTreeMap::new(),
            events: Slab::new(),
            deliveries: Slab::new(),
            calls: Slab::new(),
            live_calls: 0,
            nonce: 0,
            turn: 0,
            retries: BinaryHeap::new(),
            retry_sequence: 0,
            pauses: BTreeSet::new(),
            leaders: BTreeMap::new(),
            survey: Survey::default(),
            committed: assignment::CommittedQuery::default(),
            commits: Commits::new(config.metadata_limit),
            actions: VecDeque::new(),
            last_request: 0,
            entropy,
            marks: Marks::default(),
            config,
        }
    }

    /// Calls that have not ended yet, those of earlier assignments included.
    #[must_use]
    pub fn running(&self) -> usize {
        self.calls.len()
    }

    /// Events that some handler has not settled.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.events.len()
    }

    fn request(&mut self) -> RequestId {
        self.last_request += 1;
        RequestId(self.last_request)
    }

    fn act(&mut self, action: Action<P>) {
        self.actions.push_back(action);
    }

    fn notice(&mut self, notice: Notice) {
        self.act(Action::Notice(notice));
    }

    /// What follows from any change: run what may run, fetch what is wanted, commit, let go.
    fn settle_down(&mut self, now: Time) {
        self.start_ready(now);
        self.survey_topics(now);
        self.query_committed(now);
        self.query_leaders(now);
        self.commit_when_due(now);
        self.release_when_drained(now);
    }
}

impl<P: Kept> Machine for Consumer<P> {
    type Input = Input<P>;
    type Action = Action<P>;

    fn handle(&mut self, now: Time, input: Input<P>) {
        match input {
            Input::Assigned { membership, partitions } => self.on_assigned(now, membership, partitions),
            Input::Moved(membership) => self.on_moved(now, membership),
            Input::Revoke { until } => self.on_revoke(now, until),
            Input::Lost => self.on_lost(),
            Input::Committed { id, outcome } => self.on_committed(now, id, outcome),
            Input::Described { id, outcome } => self.on_described(now, id, outcome),
            Input::Listed { id, outcome } => self.on_listed(now, id, outcome),
            Input::Fetched { id, outcome } => self.on_fetched(now, id, outcome),
            Input::Finished { call, outcome, waited } => self.on_finished(now, call, outcome, waited),
            Input::CommitDone { id, outcome } => self.on_commit_done(now, id, outcome),
        }
        self.settle_down(now);
    }

    fn poll(&mut self) -> Option<Action<P>> {
        self.actions.pop_front()
    }

    fn deadline(&self) -> Option<Time> {
        // While partitions are given up, nothing new is asked for.
        let reading = matches!(self.standing, Standing::Assigned(_));
        let asking = [
            self.survey.deadline(),
            self.committed.deadline(),
            self.leaders.values().filter_map(Leader::deadline).min(),
        ];
        [
            self.retries.peek().map(|Reverse((at, _, _))| *at),
            self.pauses.first().map(|(until, _)| *until),
            self.standing.membership().and_then(|_| self.commits.deadline()),
            self.standing.deadline(),
        ]
        .into_iter()
        .chain(asking.into_iter().filter(|_| reading))
        .flatten()
        .min()
    }

    fn tick(&mut self, now: Time) {
        self.wake_retries(now);
        self.end_pauses(now);
        self.cancel_overdue(now);
        self.settle_down(now);
    }

    fn marks(&self) -> &Marks {
        &self.marks
    }
}
