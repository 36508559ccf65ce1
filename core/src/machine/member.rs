//! A member of a consumer group as a whole: its membership and what it does with its partitions.
//!
//! [`Group`] decides who owns what, [`Consumer`] what happens with it. Neither knows the other: this machine carries
//! assignments one way, releases and refused commits the other. It lives here and not in the engine so that the order
//! in which the two learn of each other's news is part of what simulation reaches.

use std::collections::VecDeque;
use std::time::Duration;

use super::consumer::{self, Consumer, ConsumerConfig, Kept};
use super::group::{self, Group, GroupConfig};
use super::{Entropy, Machine, Marks};
use crate::model::{RequestId, Time};

/// Something that happened to a member.
#[derive(Debug, Clone)]
pub enum Input<P> {
    /// Join the group.
    Start,
    /// Give everything up and leave. Running calls may finish until `until`. A second one shortens what is waited for.
    Stop {
        /// When running calls are cancelled.
        until: Time,
    },
    /// For the membership.
    Group(group::Input),
    /// For the partitions.
    Consumer(consumer::Input<P>),
}

/// What a member wants done.
///
/// Assignments and their ends are passed on as news: both halves have acted on them already.
#[derive(Debug, Clone)]
pub enum Action<P> {
    /// Of the membership.
    Group(group::Action),
    /// Of the partitions. [`Released`](consumer::Action::Released), [`CommitRefused`](consumer::Action::CommitRefused)
    /// and [`PartitionsCounted`](consumer::Action::PartitionsCounted) never come out.
    Consumer(consumer::Action<P>),
}

/// See the [module](self).
#[derive(Debug, Clone)]
pub struct Member<P> {
    group: Group,
    consumer: Consumer<P>,
    drain: Duration,
    /// Set once the member is told to stop.
    stop_until: Option<Time>,
    /// The revocation that the consumer is working on.
    revocation: Option<RequestId>,
    actions: VecDeque<Action<P>>,
}

impl<P: Kept> Member<P> {
    /// A member that has not joined yet. `drain` is how long running calls may go on when partitions are revoked.
    #[must_use]
    pub fn new(group: GroupConfig, consumer: ConsumerConfig, drain: Duration, mut entropy: Entropy) -> Self {
        Self {
            group: Group::new(group, entropy.fork()),
            consumer: Consumer::new(consumer, entropy.fork()),
            drain,
            stop_until: None,
            revocation: None,
            actions: VecDeque::new(),
        }
    }

    /// The half that works on the partitions.
    #[must_use]
    pub fn consumer(&self) -> &Consumer<P> {
        &self.consumer
    }

    /// The half that is a member of the group.
    #[must_use]
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// Carries news between the halves until neither has any. What the consumer makes of the membership's news comes
    /// before the next: nothing follows when the member is no more.
    fn route(&mut self, now: Time) {
        loop {
            if let Some(action) = self.consumer.poll() {
                self.take_from_consumer(now, action);
            } else if let Some(action) = self.group.poll() {
                self.take_from_group(now, action);
            } else {
                return;
            }
        }
    }

    fn take_from_group(&mut self, now: Time, action: group::Action) {
        let news = match &action {
            group::Action::Assigned { membership, partitions } => Some(consumer::Input::Assigned {
                membership: membership.clone(),
                partitions: partitions.clone(),
            }),
            group::Action::Moved { membership } => Some(consumer::Input::Moved(membership.clone())),
            group::Action::Revoke { id } => {
                self.revocation = Some(*id);
                Some(consumer::Input::Revoke { until: self.stop_until.unwrap_or(now + self.drain) })
            }
            group::Action::Lost => {
                self.revocation = None;
                Some(consumer::Input::Lost)
            }
            group::Action::FindCoordinator { .. }
            | group::Action::Join { .. }
            | group::Action::DescribeTopics { .. }
            | group::Action::Sync { .. }
            | group::Action::Heartbeat { .. }
            | group::Action::Leave { .. }
            | group::Action::Failed { .. }
            | group::Action::Stopped => None,
        };
        self.actions.push_back(Action::Group(action));
        if let Some(news) = news {
            self.consumer.handle(now, news);
        }
    }

    fn take_from_consumer(&mut self, now: Time, action: consumer::Action<P>) {
        match action {
            consumer::Action::Released => {
                if let Some(id) = self.revocation.take() {
                    self.group.handle(now, group::Input::Released { id });
                }
            }
            consumer::Action::CommitRefused { generation, code } => {
                self.group.handle(now, group::Input::CommitRefused { generation, code });
            }
            consumer::Action::PartitionsCounted(counts) => {
                self.group.handle(now, group::Input::PartitionsCounted(counts));
            }
            other => self.actions.push_back(Action::Consumer(other)),
        }
    }

    fn stop(&mut self, now: Time, until: Time) {
        let until = self.stop_until.map_or(until, |earlier| earlier.min(until));
        let again = self.stop_until.replace(until).is_some();
        if self.revocation.is_some() {
            self.consumer.handle(now, consumer::Input::Revoke { until });
        }
        // A second stop makes the group skip what it waits for, the drain included: only once that is overdue.
        if !again || until <= now {
            self.group.handle(now, group::Input::Stop);
        }
    }
}

impl<P: Kept> Machine for Member<P> {
    type Input = Input<P>;
    type Action = Action<P>;

    fn handle(&mut self, now: Time, input: Input<P>) {
        match input {
            Input::Start => self.group.handle(now, group::Input::Start),
            Input::Stop { until } => self.stop(now, until),
            Input::Group(input) => self.group.handle(now, input),
            Input::Consumer(input) => self.consumer.handle(now, input),
        }
        self.route(now);
    }

    fn poll(&mut self) -> Option<Action<P>> {
        self.actions.pop_front()
    }

    fn deadline(&self) -> Option<Time> {
        [self.group.deadline(), self.consumer.deadline()].into_iter().flatten().min()
    }

    fn tick(&mut self, now: Time) {
        self.group.tick(now);
        self.consumer.tick(now);
        self.route(now);
    }

    fn marks(&self) -> &Marks {
        self.consumer.marks()
    }
}
