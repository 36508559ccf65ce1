//! A bus at work, and how it comes to rest.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use futures_util::future::{Either, join_all, select};

use super::Bus;
use crate::engine::consume::{MemberTask, News};
use crate::machine::Entropy;
use crate::machine::group::{GroupConfig, GroupError};
use crate::machine::member::Member;
use crate::model::{GroupName, Time};
use crate::ports::{Broker, Coordinator, Runtime};

/// How long running calls may go on after partitions are revoked.
const DRAIN: Duration = Duration::from_secs(10);
/// How long a start waits for partitions.
const START: Duration = Duration::from_secs(60);
/// How long a shutdown takes at most unless told otherwise.
const SHUTDOWN: Duration = Duration::from_secs(30);
/// What is left of a shutdown's time when calls are cancelled, for the last commit and the farewell.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why a bus did not start. Nothing of it is left running.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StartError {
    /// It was started before.
    #[error("the bus was started before; register all handlers, then start it once")]
    Twice,
    /// A group gave up.
    #[error(transparent)]
    Group(Arc<GroupError>),
    /// Partitions did not come in time.
    #[error(
        "group {group:?} got no assignment within {waited:?}: see the log for what stands in the way, and check that the brokers can be reached"
    )]
    TimedOut {
        /// The first group that was not ready.
        group: GroupName,
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
    /// Whether events were still being produced.
    pub producing: bool,
}

impl Leftover {
    /// Whether everything came to rest in time.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.groups.is_empty() && !self.producing
    }
}

/// A bus whose handlers are at work. Dropping it stops them as [`shutdown`](Self::shutdown) does, without waiting.
#[must_use = "dropping it stops the handlers"]
pub struct Running<R: Runtime, K: Broker + Coordinator, D: Send + Sync + 'static> {
    bus: Bus<R, K, D>,
    members: Vec<MemberHandle>,
}

struct MemberHandle {
    group: GroupName,
    stop: Sender<Time>,
    /// The first assignment, or why there will be none.
    ready: Receiver<Result<(), Arc<GroupError>>>,
    /// Closed when the member has left.
    left: Receiver<()>,
}

pub(super) async fn start<R, K, D>(bus: &Bus<R, K, D>) -> Result<Running<R, K, D>, StartError>
where
    R: Runtime,
    K: Broker + Coordinator,
    D: Send + Sync + 'static,
{
    let shared = &*bus.shared;
    if shared.started.swap(true, atomic::Ordering::AcqRel) {
        return Err(StartError::Twice);
    }
    let groups = shared.registry.with(|registry| std::mem::take(&mut registry.groups));
    let mut entropy = Entropy::new(shared.runtime.seed());
    let observer = shared.observer.with(|told| told.clone());
    let members = groups.into_iter().map(|(group, handlers)| {
        let config = GroupConfig::new(group.clone(), handlers.consumer.topics.clone());
        let member = Member::new(config, handlers.consumer, DRAIN, entropy.fork());
        let (stop, stops) = async_channel::unbounded();
        let (is_ready, ready) = async_channel::bounded(1);
        let (leaving, left) = async_channel::bounded::<()>(1);
        let (name, observer) = (group.clone(), observer.clone());
        let tell = move |news: News| {
            // The first word counts; later ones find the channel full, which is fine.
            let first_word = match &news {
                News::Assigned { .. } => Some(Ok(())),
                News::Failed(error) => Some(Err(Arc::clone(error))),
                News::Unassigned | News::Notice(_) | News::Stopped => None,
            };
            if let Some(word) = first_word
                && is_ready.try_send(word).is_err()
            {
                tracing::trace!(group = %name, "readiness was told before");
            }
            if let Some(observer) = &observer
                && catch_unwind(AssertUnwindSafe(|| observer(&name, &news))).is_err()
            {
                tracing::error!(group = %name, ?news, "the observer panicked");
            }
        };
        let task = MemberTask {
            runtime: shared.runtime.clone(),
            kafka: Arc::new(shared.kafka.session()),
            group: group.clone(),
            handlers: handlers.invokers,
            observer: Arc::new(tell),
            stop: stops,
        };
        shared.runtime.spawn(async move {
            task.run(member).await;
            drop(leaving);
        });
        MemberHandle { group, stop, ready, left }
    });
    let running = Running { bus: bus.clone(), members: members.collect() };
    let deadline = shared.runtime.now() + START;
    for member in &running.members {
        let ready = std::pin::pin!(member.ready.recv());
        let late = std::pin::pin!(shared.runtime.sleep_until(deadline));
        match select(ready, late).await {
            Either::Left((Ok(Ok(())), _)) => {}
            Either::Left((Ok(Err(error)), _)) => return Err(StartError::Group(error)),
            Either::Left((Err(_), _)) | Either::Right(_) => {
                return Err(StartError::TimedOut { group: member.group.clone(), waited: START });
            }
        }
    }
    Ok(running)
}

impl<R: Runtime, K: Broker + Coordinator, D: Send + Sync + 'static> Running<R, K, D> {
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
        let all_left = join_all(self.members.iter().map(|member| member.left.recv()));
        let mut leftover = Leftover::default();
        let late = std::pin::pin!(runtime.sleep_until(deadline));
        if let Either::Right(_) = select(all_left, late).await {
            let still_here = |member: &&MemberHandle| !member.left.is_closed();
            leftover.groups =
                self.members.iter().filter(still_here).map(|member| member.group.clone()).collect();
        }
        self.bus.shared.calls.close();
        let flushed = std::pin::pin!(self.bus.shared.produced.recv());
        let late = std::pin::pin!(runtime.sleep_until(deadline));
        leftover.producing = matches!(select(flushed, late).await, Either::Right(_));
        leftover
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
