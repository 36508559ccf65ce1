//! The `Runtime` port of one life of one process: tasks of its node, the world's clock, a wall clock of its own.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use evenkeel_core::model::{Time, WallTime};
use evenkeel_core::ports::Runtime;
use madsim::runtime::NodeHandle;
use madsim::time::Sleep;

use super::state::{Shared, Trouble};
use crate::history::Life;
use crate::seed::Stream;

/// Polls of all tasks of a world that are too many to be anything but a loop.
const MOST_POLLS: u64 = 30_000_000;

/// See the [module](self).
#[derive(Clone)]
pub(crate) struct SimRuntime {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for SimRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SimRuntime").field(&self.inner.life).finish()
    }
}

struct Inner {
    shared: Shared,
    node: NodeHandle,
    life: Life,
    entropy: Stream,
    seeds: AtomicU64,
}

impl SimRuntime {
    pub(crate) fn new(shared: Shared, node: NodeHandle, life: Life, entropy: Stream) -> Self {
        Self { inner: Arc::new(Inner { shared, node, life, entropy, seeds: AtomicU64::new(0) }) }
    }

    pub(crate) fn life(&self) -> Life {
        self.inner.life
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.inner.shared
    }
}

impl Runtime for SimRuntime {
    fn now(&self) -> Time {
        self.inner.shared.now()
    }

    fn wall_now(&self) -> WallTime {
        let state = self.inner.shared.lock();
        state.clocks.get(&self.inner.life.process).copied().unwrap_or_default().shows(state.now())
    }

    fn sleep_until(&self, at: Time) -> impl Future<Output = ()> + Send {
        sleep_until(&self.inner.shared, at)
    }

    fn spawn<F: Future<Output = ()> + Send + 'static>(&self, task: F) {
        let shared = self.inner.shared.clone();
        let task = Watched { task: Box::pin(task), shared };
        // A task of a node that was killed meanwhile never runs.
        drop(self.inner.node.spawn(task));
    }

    fn seed(&self) -> u64 {
        self.inner.entropy.nth(self.inner.seeds.fetch_add(1, Ordering::Relaxed)).bits()
    }
}

/// Completes once the world's time is `at`.
pub(crate) fn sleep_until(shared: &Shared, at: Time) -> Nap {
    Nap { shared: shared.clone(), at, armed: None }
}

/// A sleep that takes one timer, however often it is polled: the scheduler's own takes one at each poll and gives none
/// back.
pub(crate) struct Nap {
    shared: Shared,
    at: Time,
    armed: Option<(Sleep, Waker)>,
}

impl Future for Nap {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let now = self.shared.now();
        if now >= self.at {
            return Poll::Ready(());
        }
        let at = self.at;
        if self.armed.as_ref().is_some_and(|(_, waker)| waker.will_wake(context.waker())) {
            return Poll::Pending;
        }
        let mut sleep = self.shared.time().sleep(at.since(now));
        let polled = Pin::new(&mut sleep).poll(context);
        self.armed = Some((sleep, context.waker().clone()));
        polled
    }
}

/// A task whose polls are counted and whose panic ends it alone.
struct Watched {
    task: Pin<Box<dyn Future<Output = ()> + Send>>,
    shared: Shared,
}

impl Future for Watched {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.shared.lock();
        state.polls += 1;
        if state.polls > MOST_POLLS {
            let polls = state.polls;
            state.trouble.get_or_insert(Trouble::Livelock(polls));
            return Poll::Ready(());
        }
        drop(state);
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| self.task.as_mut().poll(context)));
        polled.unwrap_or_else(|panic| {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("something that is no text");
            self.shared.lock().trouble.get_or_insert(Trouble::Panic(text.to_owned()));
            Poll::Ready(())
        })
    }
}
