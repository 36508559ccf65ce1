//! A bus at work, and how it comes to rest.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use futures_util::future::{Either, join_all, select};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, TryStreamExt};

use super::herald::{FirstFailure, Herald, MemberFailure};
use super::{Bus, Shared, topics};
use crate::engine::consume::MemberTask;
use crate::engine::invoke::Invoke;
use crate::error::SettingError;
use crate::machine::Entropy;
use crate::machine::group::Step;
use crate::machine::member::Member;
use crate::model::{GroupName, Time, TopicName};
use crate::ports::{Broker, Coordinator, Runtime};
use crate::records::RecordRef;

/// How long a start waits for partitions beyond the rebalance timeout. A join may be parked that long, and is given up
/// some seconds later if its answer was lost; the rest is for another one.
const START_GRACE: Duration = Duration::from_secs(30);
/// How long a shutdown takes at most unless told otherwise.
const SHUTDOWN: Duration = Duration::from_secs(30);
/// What is left of a shutdown's time when calls are cancelled, for the last commit and the farewell.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why a bus did not start. The members that had joined meanwhile were stopped and have left, so that no handler runs
/// any more; the bus still produces.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StartError {
    /// It was started before.
    #[error("the bus was started before; register all handlers, then start it once")]
    Twice,
    /// A group has settings and no handlers. Nothing was started: the bus can be, once this is mended.
    #[error("group {group:?} has settings and no handlers; register one, or correct the name")]
    NoHandlers {
        /// The group.
        group: GroupName,
    },
    /// The settings of a group do not fit the connections. Nothing was started: the bus can be, once this is mended.
    #[error("group {group:?}: {cause}")]
    Setting {
        /// The group.
        group: GroupName,
        /// Which setting, and what would work.
        cause: SettingError,
    },
    /// A topic that a handler waits for does not exist. Nothing was started: the bus can be, once this is mended.
    #[error(
        "group {group:?} has a handler of topic {topic:?}, which does not exist; create it, or correct the name"
    )]
    UnknownTopic {
        /// A group that has a handler of it.
        group: GroupName,
        /// The topic.
        topic: TopicName,
    },
    /// A member failed for good.
    #[error(transparent)]
    Member(MemberFailure),
    /// Partitions did not come in time.
    #[error(
        "group {group:?} got no assignment within {waited:?}, when its member was {step}: see the log for what stands in the way, and check that the brokers can be reached"
    )]
    TimedOut {
        /// The group.
        group: GroupName,
        /// What its member was doing at last.
        step: Step,
        /// How long it was waited for.
        waited: Duration,
    },
}

/// What a shutdown left undone.
#[must_use = "tells what will be delivered again"]
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leftover {
    /// Groups whose members had not left when the deadline came. Their partitions are given to others when the session
    /// ends.
    pub groups: Vec<GroupName>,
    /// Groups whose last assignment here ended with handlers cancelled, or with more settled than could be committed.
    /// Those events are delivered again.
    pub unfinished: Vec<GroupName>,
    /// Whether events were still being produced.
    pub producing: bool,
}

impl Leftover {
    /// Whether everything came to rest in time. If so, nothing that was handled is delivered again because of the stop.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.groups.is_empty() && self.unfinished.is_empty() && !self.producing
    }
}

/// A bus whose handlers are at work. Dropping it stops them as [`shutdown`](Self::shutdown) does, without waiting.
#[must_use = "dropping it stops the handlers"]
pub struct Running<R: Runtime, K: Broker + Coordinator, D: Send + Sync + 'static> {
    bus: Bus<R, K, D>,
    members: Vec<MemberHandle>,
    failure: FirstFailure,
}

struct MemberHandle {
    group: GroupName,
    /// How long a start waits for it.
    patience: Duration,
    stop: Sender<Time>,
    /// What the member has begun last on its way to partitions.
    steps: Receiver<Step>,
    /// The first assignment, or why there will be none.
    ready: Receiver<Result<(), MemberFailure>>,
    /// Closed when the member has left.
    left: Receiver<()>,
    /// What it has told of itself.
    herald: Arc<Herald>,
}

pub(super) async fn start<R, K, D>(bus: &Bus<R, K, D>) -> Result<Running<R, K, D>, StartError>
where
    R: Runtime,
    K: Broker + Coordinator,
    D: Send + Sync + 'static,
{
    let shared = &*bus.shared;
    let wanted = shared.registry.with(|registry| registry.topics(shared.answers.as_ref()))?;
    topics::exist(&wanted, &*shared.kafka, &shared.runtime).await?;
    let groups = shared.registry.with(|registry| registry.begin(shared.answers.as_ref()))?;
    let mut entropy = Entropy::new(shared.runtime.seed());
    let failure = FirstFailure::new();
    let observer = shared.observer.with(|told| told.clone());
    let members = groups.into_iter().map(|(group, entry)| {
        let (config, consumer) = (entry.group_config(&group), entry.consumer_config(&group));
        let member = Member::new(config, consumer, entry.settings.drain, entropy.fork());
        let (is_ready, ready) = async_channel::bounded(1);
        let herald = Arc::new(Herald {
            group: group.clone(),
            ready: is_ready,
            failure: failure.clone(),
            observer: observer.clone(),
            is_unfinished: AtomicBool::new(false),
        });
        let patience = entry.settings.rebalance_timeout.saturating_add(START_GRACE);
        launch(shared, entry.invokers, member, herald, ready, patience)
    });
    let members = members.collect();
    let running = Running { bus: bus.clone(), members, failure };
    match running.until_ready().await {
        Ok(()) => Ok(running),
        Err(error) => {
            running.abandon().await;
            Err(error)
        }
    }
}

fn launch<R: Runtime, K: Broker + Coordinator, D>(
    shared: &Shared<R, K, D>,
    handlers: Vec<Arc<dyn Invoke>>,
    member: Member<RecordRef>,
    herald: Arc<Herald>,
    ready: Receiver<Result<(), MemberFailure>>,
    patience: Duration,
) -> MemberHandle {
    let group = herald.group.clone();
    let (begun, steps) = async_channel::bounded(1);
    let (stop, stops) = async_channel::unbounded();
    let (leaving, left) = async_channel::bounded::<()>(1);
    let (teller, told) = (Arc::clone(&herald), Arc::clone(&herald));
    let task = MemberTask {
        runtime: shared.runtime.clone(),
        kafka: Arc::new(shared.kafka.session()),
        group: group.clone(),
        handlers,
        observer: Arc::new(move |news| teller.tell(&news)),
        begun,
        stop: stops,
    };
    shared.runtime.spawn(async move {
        if AssertUnwindSafe(task.run(member)).catch_unwind().await.is_err() {
            herald.panicked();
        }
        drop(leaving);
    });
    MemberHandle { group, patience, stop, steps, ready, left, herald: told }
}

/// Waits for all members at once, so that none that takes long hides the failure of another one.
async fn all_ready(members: &[MemberHandle], runtime: &impl Runtime) -> Result<(), StartError> {
    let all: FuturesUnordered<_> = members.iter().map(|member| member.until_ready(runtime)).collect();
    all.try_collect().await
}

impl MemberHandle {
    async fn until_ready(&self, runtime: &impl Runtime) -> Result<(), StartError> {
        let ready = std::pin::pin!(self.ready.recv());
        let late = std::pin::pin!(runtime.sleep_until(runtime.now() + self.patience));
        match select(ready, late).await {
            Either::Left((Ok(word), _)) => word.map_err(StartError::Member),
            Either::Left((Err(_), _)) | Either::Right(_) => Err(StartError::TimedOut {
                group: self.group.clone(),
                step: self.steps.try_recv().unwrap_or(Step::Find),
                waited: self.patience,
            }),
        }
    }
}

impl<R: Runtime, K: Broker + Coordinator, D: Send + Sync + 'static> Running<R, K, D> {
    /// Completes when the first member of this bus is gone for good, with the reason; never while all is well, nor
    /// because of a shutdown. The other groups go on, so it is for the service to decide: most exit and let themselves
    /// be started again, where they would otherwise stand there and handle nothing.
    ///
    /// It may be asked for many times and from many tasks, before the failure and after.
    ///
    /// # Cancellation
    /// Dropping the future changes nothing.
    pub async fn failed(&self) -> MemberFailure {
        self.failure.wait().await
    }

    /// Comes to rest within 30 s: takes no more events, lets running calls finish, commits, leaves the groups, and
    /// flushes what is being produced. Answers what was left undone, which is nothing unless handlers or servers did
    /// not keep up; that will be delivered again.
    ///
    /// # Cancellation
    /// Dropping the future stops waiting; the members go on coming to rest.
    pub async fn shutdown(self) -> Leftover {
        self.shutdown_within(SHUTDOWN).await
    }

    /// Like [`shutdown`](Self::shutdown), with another limit. Calls that still run shortly before it are cancelled.
    pub async fn shutdown_within(self, limit: Duration) -> Leftover {
        let runtime = self.bus.shared.runtime.clone();
        let begun = runtime.now();
        let deadline = begun + limit;
        self.stop(begun + limit.saturating_sub(FAREWELL.min(limit / 4)));
        let mut leftover = Leftover::default();
        if !self.all_left_by(deadline).await {
            let still_here = |member: &&MemberHandle| !member.left.is_closed();
            leftover.groups =
                self.members.iter().filter(still_here).map(|member| member.group.clone()).collect();
        }
        let unfinished = self.members.iter().filter(|member| member.herald.is_unfinished());
        leftover.unfinished = unfinished.map(|member| member.group.clone()).collect();
        self.bus.shared.calls.close();
        let flushed = std::pin::pin!(self.bus.shared.produced.recv());
        let late = std::pin::pin!(runtime.sleep_until(deadline));
        leftover.producing = matches!(select(flushed, late).await, Either::Right(_));
        leftover
    }

    async fn until_ready(&self) -> Result<(), StartError> {
        all_ready(&self.members, &self.bus.shared.runtime).await
    }

    /// Stops what a start that failed had begun, and waits for it. Asked twice to stop, a member waits for no server.
    async fn abandon(self) {
        for _ in 0..2 {
            let now = self.bus.shared.runtime.now();
            self.stop(now);
            if self.all_left_by(now + FAREWELL).await {
                return;
            }
        }
        tracing::error!("members of a bus that did not start have not ended; this is a bug in evenkeel");
    }

    async fn all_left_by(&self, deadline: Time) -> bool {
        let all_left = join_all(self.members.iter().map(|member| member.left.recv()));
        let late = std::pin::pin!(self.bus.shared.runtime.sleep_until(deadline));
        matches!(select(all_left, late).await, Either::Left(_))
    }

    fn stop(&self, until: Time) {
        for member in &self.members {
            if member.stop.try_send(until).is_err() {
                tracing::trace!(group = %member.group, "the member has left already");
            }
        }
    }
}

impl<R: Runtime, K: Broker + Coordinator, D: Send + Sync + 'static> Drop for Running<R, K, D> {
    fn drop(&mut self) {
        self.stop(self.bus.shared.runtime.now() + SHUTDOWN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::WallTime;

    /// A runtime in which all waits are over at once, or none ever is.
    #[derive(Clone)]
    struct Still {
        over: bool,
    }

    impl Runtime for Still {
        fn now(&self) -> Time {
            Time::ZERO
        }

        fn wall_now(&self) -> WallTime {
            WallTime::from_millis(0)
        }

        async fn sleep_until(&self, _: Time) {
            if !self.over {
                std::future::pending().await
            }
        }

        fn spawn<F: Future<Output = ()> + Send + 'static>(&self, _: F) {}

        fn seed(&self) -> u64 {
            0
        }
    }

    struct Ends {
        ready: Sender<Result<(), MemberFailure>>,
        begun: Sender<Step>,
    }

    fn member(group: &str) -> (MemberHandle, Ends) {
        let (is_ready, ready) = async_channel::bounded(1);
        let (begun, steps) = async_channel::bounded(1);
        let group = GroupName::new(group).expect("a legal name");
        let herald = Herald {
            group: group.clone(),
            ready: is_ready.clone(),
            failure: FirstFailure::new(),
            observer: None,
            is_unfinished: AtomicBool::new(false),
        };
        let handle = MemberHandle {
            group,
            patience: Duration::from_secs(90),
            stop: async_channel::unbounded().0,
            steps,
            ready,
            left: async_channel::bounded(1).1,
            herald: Arc::new(herald),
        };
        (handle, Ends { ready: is_ready, begun })
    }

    #[test]
    fn a_failure_is_told_while_another_group_is_still_waited_for() {
        let (slow, _slow) = member("a-slow");
        let (refused, ends) = member("refused");
        let failure = MemberFailure::Panicked { group: refused.group.clone() };
        ends.ready.try_send(Err(failure)).expect("there is room");
        let members = [slow, refused];
        let outcome = all_ready(&members, &Still { over: false }).now_or_never();
        assert!(matches!(outcome, Some(Err(StartError::Member(_)))), "{outcome:?}");
    }

    #[test]
    fn a_start_is_over_when_all_are_ready() {
        let (members, ends): (Vec<_>, Vec<_>) = ["a", "b"].into_iter().map(member).unzip();
        let runtime = Still { over: false };
        ends[1].ready.try_send(Ok(())).expect("there is room");
        assert!(all_ready(&members, &runtime).now_or_never().is_none());
        // The word of the second was taken by the wait that was given up.
        ends[0].ready.try_send(Ok(())).expect("there is room");
        ends[1].ready.try_send(Ok(())).expect("there is room");
        assert!(matches!(all_ready(&members, &runtime).now_or_never(), Some(Ok(()))));
    }

    #[test]
    fn a_start_that_takes_too_long_says_what_the_member_was_doing() {
        let (member, ends) = member("billing");
        for step in [Step::Find, Step::Join] {
            ends.begun.force_send(step).expect("it is open");
        }
        let outcome = all_ready(&[member], &Still { over: true }).now_or_never();
        let Some(Err(error)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(
            error.to_string(),
            "group \"billing\" got no assignment within 90s, when its member was joining: see the log for what stands \
             in the way, and check that the brokers can be reached"
        );
    }
}
