//! The core's `Runtime` port on tokio: its clock, its timers, its tasks.

use std::time::{Duration, SystemTime};

use evenkeel_core::model::{Time, WallTime};
use evenkeel_core::ports::Runtime;
use tokio::runtime::Handle;
use tokio::time::Instant;

/// A handle to the tokio runtime it was made in, with a clock that starts at zero. A clone shares the clock.
#[derive(Debug, Clone)]
pub struct TokioRuntime {
    start: Instant,
    tasks: Handle,
}

impl TokioRuntime {
    /// Starts the clock.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn current() -> Self {
        Self { start: Instant::now(), tasks: Handle::current() }
    }
}

impl Runtime for TokioRuntime {
    fn now(&self) -> Time {
        Time::ZERO + self.start.elapsed()
    }

    fn wall_now(&self) -> WallTime {
        let micros = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        WallTime(match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => micros(since),
            Err(before) => -micros(before.duration()),
        })
    }

    async fn sleep_until(&self, at: Time) {
        match self.start.checked_add(Duration::from_nanos(at.as_nanos())) {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    fn spawn<F: Future<Output = ()> + Send + 'static>(&self, task: F) {
        self.tasks.spawn(task);
    }

    fn seed(&self) -> u64 {
        getrandom::u64().expect("the operating system has entropy to give")
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn it_sleeps_until_its_own_clock_says_so() {
        let runtime = TokioRuntime::current();
        let at = runtime.now() + Duration::from_millis(20);
        runtime.sleep_until(at).await;
        assert!(runtime.now() >= at);
        // What has passed is not waited for, and the end of time does not come.
        runtime.sleep_until(Time::ZERO).await;
        let never = tokio::time::timeout(Duration::from_millis(1), runtime.sleep_until(Time::MAX));
        assert!(never.await.is_err());
    }

    #[tokio::test]
    async fn a_panic_ends_its_own_task_only() {
        let runtime = TokioRuntime::current();
        let (done, other) = oneshot::channel();
        runtime.spawn(async { panic!("meant to") });
        runtime.spawn(async {
            done.send(()).expect("it is waited for");
        });
        assert_eq!(other.await, Ok(()));
    }

    #[tokio::test]
    async fn seeds_differ() {
        let runtime = TokioRuntime::current();
        assert_ne!(runtime.seed(), runtime.seed());
    }

    #[tokio::test]
    async fn wall_time_is_after_this_was_written() {
        assert!(TokioRuntime::current().wall_now() > WallTime::from_millis(1_700_000_000_000));
    }
}
